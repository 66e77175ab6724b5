"""What a call came to, as a value: the two twins must come to the same."""

from collections.abc import Callable
from typing import Any

from taut.errors import RemoteProtocolError


def outcome(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, ...]:
    """Return ("returned", value), or what there is to know of the protocol error that was raised."""
    try:
        return "returned", call(*args, **options)
    except RemoteProtocolError as error:
        return describe(error)


def describe(error: RemoteProtocolError) -> tuple[Any, ...]:
    """Return class, message, code, data, offset, limit and id of an error."""
    extras = (getattr(error, name, None) for name in ("offset", "limit", "id"))
    return type(error).__name__, str(error), error.code, error.data, *extras


SHOWN = (
    "id",
    "id_key",
    "method",
    "name",
    "uri",
    "extra_params",
    "size",
    "params",
    "result",
    "error",
    "arguments",
    "meta",
)


def shown(envelope: Any) -> list[Any]:
    """All that an envelope shows; what it finds out late may raise."""
    values = [envelope.kind, repr(envelope)]
    values += [outcome(getattr, envelope, name) for name in SHOWN]
    return values + ([outcome(envelope.items)] if envelope.kind == 5 else [])
