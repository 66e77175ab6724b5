"""What an agent's output must be: text, or JSON of a type. Compiled once, when the agent is made."""

from __future__ import annotations

import re
from typing import Any, final

import msgspec

from taut.errors import ConfigError
from taut.mcp.schema import schema_of, translate

__all__ = ["OutputType"]

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.DOTALL)


@final
class OutputType:
    """The output type ``kind``: ``str`` for text as it is, anything else that msgspec can decode from JSON.

    A type whose JSON is no object is asked for as ``{"result": ...}``: that is what providers take as a schema.

    :raises taut.errors.ConfigError: msgspec cannot describe or decode the type.
    """

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.schema: dict[str, Any] | None = None
        if kind is str:
            return
        wanted = translate(kind)
        try:
            schema = schema_of(wanted)
            self._wrapped = schema.get("type") != "object"
            if self._wrapped:
                wanted = msgspec.defstruct("Output", [("result", wanted)], frozen=True)
                schema = schema_of(wanted)
            self._decoder = msgspec.json.Decoder(wanted)
        except TypeError as error:
            raise ConfigError(
                f"Expected an output type with a JSON form, got {getattr(kind, '__name__', kind)}: {error}"
            ) from None
        self.schema = schema

    def decode(self, text: str) -> Any:
        """Return the output that a model's ``text`` is.

        JSON in a fenced block, with words around it, is taken as well: models without a grammar write so.

        :raises ValueError: it is none; the message is for the model.
        """
        if self.schema is None:
            return text
        try:
            decoded = self._decoder.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            fenced = _FENCED.search(text)
            if fenced is None:
                raise ValueError(str(error)) from None
            try:
                decoded = self._decoder.decode(fenced[1])
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as second:
                raise ValueError(str(second)) from None
        return decoded.result if self._wrapped else decoded
