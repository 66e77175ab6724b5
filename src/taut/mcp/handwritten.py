"""Input schemas that the author of a tool has written: kept as they are, and what they say is checked.

Where a schema says what no signature can (``if``/``then``, ``allOf``, ``$anchor``), the function takes one parameter,
which gets all arguments as one object. Against the schema itself they are checked where ``taut[schema]``
(jsonschema-rs) is installed; elsewhere it is for the function to judge them, as far as the parameter's type does not.
Nothing is ever fetched: a ``$ref`` that leads out of the schema is a `ConfigError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, final

import msgspec

from taut.errors import ConfigError
from taut.mcp.schema import translate
from taut.mcp.signature import Signature

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Decoder", "HandwrittenDecoder", "check_schema"]

#: JSON Schema's word for the instances that it is read against may be the whole of a large argument.
MAX_EXPLANATION = 400


class Decoder(Protocol):
    """From the JSON text of all arguments to what a function is called with; raises `msgspec.DecodeError`."""

    @property
    def type(self) -> Any:
        """What it decodes to."""

    def decode(self, buf: Buffer, /) -> Any:
        """Return the decoded arguments."""


@final
class HandwrittenDecoder:
    """Decodes all arguments into the one parameter of a function, once ``schema`` has been asked.

    :raises taut.errors.ConfigError: the function has no such parameter, or the schema is none.
    """

    __slots__ = ("_arguments", "_errors", "_plain", "type")

    def __init__(self, signature: Signature, schema: dict[str, Any]) -> None:
        names = [one for one in signature.parameters if one.name != signature.context_parameter]
        if len(names) != 1:
            shown = ", ".join(one.name for one in names) or "none"
            raise ConfigError(
                f"{signature.name}(): expected one parameter for all arguments, as input_schema is given, got {shown}"
            )
        if schema.get("type") != "object":
            raise ConfigError(
                f"{signature.name}(): expected an input_schema of type 'object', got {schema.get('type')!r}"
            )
        if not isinstance(schema.get("properties", {}), dict):
            raise ConfigError(f"{signature.name}(): expected the properties of input_schema to be an object")
        self.type = translate(names[0].annotation)
        self._plain = self.type in (Any, dict, dict[str, Any])
        self._arguments = msgspec.json.Decoder(dict[str, Any])
        self._errors = check_schema(schema, f"{signature.name}(): input_schema")

    def decode(self, buf: Buffer, /) -> Any:
        """Return the arguments.

        :raises msgspec.ValidationError: they do not fit the schema, or the parameter's type.
        """
        arguments = self._arguments.decode(buf)
        if self._errors is not None:
            for error in self._errors(arguments):
                raise msgspec.ValidationError(_explained(error))
        return arguments if self._plain else msgspec.convert(arguments, self.type)


def check_schema(schema: dict[str, Any], where: str) -> Callable[[Any], Any] | None:
    """Return what yields the errors of a value; None where jsonschema-rs is not installed.

    :raises taut.errors.ConfigError: it is no JSON, or no JSON Schema 2020-12.
    """
    try:
        msgspec.json.encode(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: expected JSON: {error}") from error
    try:
        import jsonschema_rs  # an extra, and only for whoever writes a schema
    except ImportError:
        return None
    try:
        errors: Callable[[Any], Any] = jsonschema_rs.Draft202012Validator(
            schema, retriever=_refuse
        ).iter_errors
    except ValueError as error:
        raise ConfigError(f"{where}: {_shortened(error)}") from error
    return errors


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not in the schema, and nothing is fetched")


def _explained(error: Any) -> str:
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
    text: str = error.message
    if len(text) > MAX_EXPLANATION:
        text = f"{text[: MAX_EXPLANATION // 2]}...{text[-MAX_EXPLANATION // 2 :]}"
    return f"{text} - at `${path}`"


def _shortened(error: ValueError) -> str:
    return str(error).partition("\n")[0]
