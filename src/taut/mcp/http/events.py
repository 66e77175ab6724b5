"""Events that outlive the connection they were sent on: their ids, and where they are kept (2025-03-26 to 2025-11-25,
"Resumability and Redelivery").

A session numbers its streams: 0 is the one that GET opens, each request whose answer streams has another. A stream
numbers its events from 1. The id of an event is both numbers, so that it is a cursor within its stream and in nothing
else; which session it belongs to is what the session id of the request says.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from typing import Protocol

from msgspec import Struct

from taut.errors import ConfigError, TautError

__all__ = [
    "STANDALONE",
    "EventStore",
    "EventsLost",
    "Kept",
    "MemoryEventStore",
    "Resumed",
    "checked",
    "event_id",
    "read_event_id",
]

#: The stream of what belongs to no request.
STANDALONE = 0

_EVENT_ID = re.compile(rb"(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17})")


def event_id(stream: int, number: int) -> str:
    """Return the id of an event; number 0 stands before the first one."""
    return f"{stream}-{number}"


def read_event_id(raw: bytes) -> tuple[int, int] | None:
    """Return stream and number of an event's id; None when it is none of ours."""
    match = _EVENT_ID.fullmatch(raw)
    return None if match is None else (int(match[1]), int(match[2]))


class EventsLost(TautError):
    """What followed an event is not kept (any more), so that its stream cannot be resumed from there."""


class Kept(Struct, frozen=True):
    """What a stream has said after an event."""

    #: Number and message, without gaps.
    events: list[tuple[int, bytes]]
    #: Whether the stream has ended with them.
    complete: bool
    #: The ids of the requests that are answered on the stream, as a JSON array.
    requests: bytes = b"[]"


class Resumed(Struct, frozen=True):
    """A session that another process has begun."""

    record: bytes
    #: The number of its newest stream.
    last_stream: int
    #: The number of the newest event of `STANDALONE`.
    last_notice: int


def checked(kept: Kept, stream: int, after: int, last: int | None) -> Kept:
    """Return ``kept`` if that is all that the stream has said after ``after``; ``last`` is where it has ended.

    :raises EventsLost: it is not.
    """
    newest = kept.events[-1][0] if kept.events else after
    if newest != after + len(kept.events) or (last is not None and newest != last):
        raise EventsLost(f"What stream {stream} has said after event {after} is not kept")
    return kept


class EventStore(Protocol):
    """Keeps the events of sessions. Everything but `read` and `close` returns at once and never raises: a store that
    cannot keep an event says so when somebody asks for it.

    Sessions are known by their id, which only their client knows.
    """

    def open_session(self, session: str, record: bytes) -> None:
        """Keep what is needed to go on with a session in another process; again when that changes."""

    def load_session(self, session: str) -> Resumed | None:
        """Return a session that this process does not know; None when the store does not either."""

    def end_session(self, session: str) -> None:
        """Forget a session and all its events."""

    def open_stream(self, session: str, stream: int, requests: bytes) -> None:
        """Know a new stream; ``requests`` are the ids of the requests that are answered on it, as a JSON array."""

    def append(self, session: str, stream: int, number: int, message: bytes) -> None:
        """Keep an event."""

    def close_stream(self, session: str, stream: int, last: int) -> None:
        """Know that nothing follows the event ``last`` of a stream."""

    async def read(self, session: str, stream: int, after: int) -> Kept:
        """Return what a stream has said after the event ``after``.

        :raises EventsLost: that is known not to be all there.
        """

    async def close(self) -> None:
        """Write what is not written yet, and release everything."""


class MemoryEventStore:
    """Keeps the newest events in memory: ``max_events`` and ``max_bytes`` of each session, ``max_total_bytes`` of all.

    Past the total, the sessions that have been silent for longest lose theirs first.

    :raises taut.errors.ConfigError: a limit is not positive.
    """

    def __init__(
        self,
        *,
        max_events: int = 256,
        max_bytes: int = 8 * 1024 * 1024,
        max_total_bytes: int = 128 * 1024 * 1024,
    ) -> None:
        for name, value in (("max_events", max_events), ("max_bytes", max_bytes)):
            if value <= 0:
                raise ConfigError(f"Expected a positive {name}, got {value}")
        if max_total_bytes < max_bytes:
            raise ConfigError(f"Expected max_total_bytes of at least {max_bytes}, got {max_total_bytes}")
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_total_bytes = max_total_bytes
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        self._total_bytes = 0

    @property
    def total_bytes(self) -> int:
        """The bytes of all messages that are kept."""
        return self._total_bytes

    def open_session(self, session: str, record: bytes) -> None:
        """Nothing outlives this process."""

    def load_session(self, session: str) -> Resumed | None:
        """Nothing outlives another process either."""
        return None

    def end_session(self, session: str) -> None:
        """Forget a session and all its events."""
        log = self._logs.pop(session, None)
        if log is not None:
            self._total_bytes -= log.size

    def open_stream(self, session: str, stream: int, requests: bytes) -> None:
        """Nobody asks for them: every stream is closed by the process that opened it."""

    def append(self, session: str, stream: int, number: int, message: bytes) -> None:
        """Keep an event."""
        self._add(session, (stream, number, message), len(message))

    def close_stream(self, session: str, stream: int, last: int) -> None:
        """Know that nothing follows the event ``last`` of a stream."""
        self._add(session, (stream, last, None), 0)

    def _add(self, session: str, entry: tuple[int, int, bytes | None], size: int) -> None:
        log = self._logs.get(session)
        if log is None:
            log = self._logs[session] = _Log()
        else:
            self._logs.move_to_end(session)
        log.entries.append(entry)
        log.size += size
        self._total_bytes += size
        while len(log.entries) > self._max_events or log.size > self._max_bytes:
            self._total_bytes -= log.drop()
        while self._total_bytes > self._max_total_bytes:
            self._total_bytes -= self._logs.popitem(last=False)[1].size

    async def read(self, session: str, stream: int, after: int) -> Kept:
        """Return what a stream has said after the event ``after``.

        :raises EventsLost: that is known not to be all there.
        """
        log = self._logs.get(session)
        events: list[tuple[int, bytes]] = []
        last: int | None = None
        for of, number, message in () if log is None else log.entries:
            if of != stream:
                continue
            if message is None:
                last = number
            elif number > after:
                events.append((number, message))
        return checked(Kept(events, last is not None), stream, after, last)

    async def close(self) -> None:
        """Forget everything."""
        self._logs.clear()
        self._total_bytes = 0


class _Log:
    """What is kept of one session, oldest first: (stream, number, message); no message: the stream has ended."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: deque[tuple[int, int, bytes | None]] = deque()
        self.size = 0

    def drop(self) -> int:
        """Forget the oldest; return its bytes."""
        message = self.entries.popleft()[2]
        size = 0 if message is None else len(message)
        self.size -= size
        return size
