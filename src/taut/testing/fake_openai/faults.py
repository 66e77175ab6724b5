"""What goes wrong with a request, on purpose: errors, broken connections, silence, garbage, slowness.

A `Fault` is data; the functions make the common ones. A server takes them from a queue, one a request, where None is
a request that is left alone, or asks a function of the request's number, from 1.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from taut.errors import ConfigError

__all__ = [
    "Fault",
    "Faults",
    "cut",
    "error_event",
    "garbage",
    "hang_up",
    "rate_limited",
    "server_error",
    "slow",
    "stall",
    "wrong_type",
]


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that goes wrong. What an answer is spoilt after, it is spoilt for that request only: the next one with
    the same body gets the answer, whole.

    ``kind``:

    - ``none``: nothing but what the other members say;
    - ``status``: the error ``status`` in place of an answer, which the model is not asked for;
    - ``hang_up``: the connection is closed before a byte of the answer;
    - ``cut``: it is closed after ``after`` events of a stream, or after half of a body;
    - ``stall``: nothing more comes after ``after`` events, or at all, until the client leaves;
    - ``garbage``: event number ``after`` (from 0) of a stream, or the body, is ``body``, which is no JSON;
    - ``error``: in place of event number ``after`` comes an error ``status``, and the end of the stream.

    ``first_byte_s`` and ``between_s`` are pauses before the answer and before each event but the first. ``headers`` are
    added; ``content_type`` is put in place of the right one.
    """

    kind: Literal["none", "status", "hang_up", "cut", "stall", "garbage", "error"] = "none"
    after: int = 0
    status: int = 500
    message: str = "injected"
    body: bytes = b'{"id": "broken'
    content_type: str | None = None
    headers: Mapping[str, str] = {}
    first_byte_s: float = 0.0
    between_s: float = 0.0

    def __post_init__(self) -> None:
        if self.after < 0 or self.first_byte_s < 0 or self.between_s < 0:
            raise ConfigError(
                "Expected a fault after 0 events at least, and pauses of 0 s at least, got "
                f"{self.after}, {self.first_byte_s:g} and {self.between_s:g}"
            )


#: Faults one by one, None for a request without one, or a function of the request's number, from 1.
Faults: TypeAlias = Iterable[Fault | None] | Callable[[int], Fault | None]


class FaultSource:
    """Gives each request its fault. Safe to add to from any thread."""

    def __init__(self, faults: Faults) -> None:
        self._lock = threading.Lock()
        self._function = faults if callable(faults) else None
        self._queue: deque[Fault | None] = deque() if callable(faults) else deque(faults)

    def add(self, faults: Iterable[Fault | None]) -> None:
        """Add faults to the end of the queue."""
        with self._lock:
            self._queue.extend(faults)

    def take(self, number: int) -> Fault | None:
        """Return the fault of a request: of the queue while there is one in it."""
        with self._lock:
            if self._queue:
                return self._queue.popleft()
        return None if self._function is None else self._function(number)


def rate_limited(
    *,
    retry_after: float | str | datetime | None = None,
    retry_after_ms: float | None = None,
    status: int = 429,
) -> Fault:
    """Too many requests (429). ``retry_after`` are seconds, a point in time, or the header as it is."""
    headers: dict[str, str] = {}
    if isinstance(retry_after, datetime):
        headers["retry-after"] = format_datetime(retry_after.astimezone(UTC), usegmt=True)
    elif retry_after is not None:
        headers["retry-after"] = retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
    if retry_after_ms is not None:
        headers["retry-after-ms"] = f"{retry_after_ms:g}"
    return Fault(kind="status", status=status, message="Rate limit reached", headers=headers)


def server_error(status: int = 500, message: str = "The server had an error") -> Fault:
    """A status in place of an answer: 500, 502, 503, 529 (overloaded), or whichever."""
    return Fault(kind="status", status=status, message=message)


def hang_up() -> Fault:
    """The connection is closed, and nothing was said."""
    return Fault(kind="hang_up")


def cut(after: int = 1) -> Fault:
    """The connection is closed in the middle: after so many events, or half of a body."""
    return Fault(kind="cut", after=after)


def stall(after: int = 0) -> Fault:
    """Nothing comes, or nothing more after so many events; the connection stays open."""
    return Fault(kind="stall", after=after)


def garbage(after: int = 1, body: bytes = b'{"id": "broken') -> Fault:
    """An event, or the body, is no JSON."""
    return Fault(kind="garbage", after=after, body=body)


def error_event(after: int = 1, status: int = 529, message: str = "Overloaded") -> Fault:
    """A stream ends with an error that is an event; what is no stream, with the status."""
    return Fault(kind="error", after=after, status=status, message=message)


def slow(first_byte_s: float = 0.0, between_s: float = 0.0) -> Fault:
    """The answer comes, late and slowly."""
    return Fault(first_byte_s=first_byte_s, between_s=between_s)


def wrong_type(content_type: str = "text/html", body: bytes = b"<html>Welcome</html>") -> Fault:
    """A page in place of an answer, with status 200: something in between that is no model."""
    return Fault(kind="garbage", content_type=content_type, body=body)
