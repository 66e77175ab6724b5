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
