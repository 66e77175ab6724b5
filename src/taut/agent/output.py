"""What an agent's output must be: text, or JSON of a type. Compiled once, when the agent is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, final

import msgspec

from taut.errors import ConfigError
from taut.mcp.schema import schema_of, translate

__all__ = ["OutputType"]

#: What msgspec raises for text that is not what is wanted.
_MISFITS = (msgspec.DecodeError, UnicodeEncodeError, RecursionError)
#: How many braces of an answer are tried as the beginning of an object.
MAX_BRACES = 200
_OBJECT = json.JSONDecoder()


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

        Where there are words around the JSON, as models without a grammar write, the last object in it counts that
        fits.

        :raises ValueError: it is none; the message is for the model.
        """
        if self.schema is None:
            return text
        try:
            decoded = self._decoder.decode(text)
        except _MISFITS as error:
            decoded = self._last_in(text, error)
        return decoded.result if self._wrapped else decoded

    def _last_in(self, text: str, error: Exception) -> Any:
        found = None
        for part in _objects_in(text):
            try:
                found = self._decoder.decode(part)
            except _MISFITS as other:  # it says more: that one is JSON
                error = other
        if found is None:
            raise ValueError(str(error)) from None
        return found


def _objects_in(text: str) -> Iterator[str]:
    """Yield the JSON objects in a text that are not inside of each other."""
    at = text.find("{")
    for _ in range(MAX_BRACES):
        if at < 0:
            return
        try:
            end = _OBJECT.raw_decode(text, at)[1]
        except (ValueError, RecursionError):
            end = at + 1
        else:
            yield text[at:end]
        at = text.find("{", end)
