"""When a stream of events that was cut is taken up again, and where.

Waiting is data: `Resumption.delay_s` says for how long, or that it is no use. A server's ``retry`` is a lower bound, to
which chance only adds; failures in a row wait longer and longer, and end it (2025-11-25, "Resumability"; HTML,
"Server-sent events").
"""

from __future__ import annotations

from taut._core import SSEParser

__all__ = ["Resumption"]

#: Seconds before a stream is opened again whose server has not said how long to wait.
FIRST_S = 1.0
#: Seconds that failures in a row lead to at most, unless ``retry`` says more.
LONGEST_S = 30.0
#: Seconds between two attempts at least: ``retry: 0`` is no leave to come as fast as the network allows.
LEAST_S = 0.05
#: No server means more.
MAX_RETRY_S = 86_400.0
#: Failures in a row after which there is no further attempt.
MAX_FAILURES = 8
#: Characters of an event's id that a header carries back.
MAX_ID = 2_048
#: What chance adds at most, as a share of the wait: much after a failure, which many clients may have seen at once.
SPREAD, SPREAD_AFTER_FAILURE = 0.05, 0.25


class Resumption:
    """What is known of one stream of events, through all the connections that carry it."""

    def __init__(self, *, first_s: float = FIRST_S) -> None:
        #: The event behind which to go on; None where events have no ids.
        self.last_event_id: str | None = None
        #: Attempts in a row that brought nothing new.
        self.failures = 0
        self._first_s = first_s
        self._retry_s: float | None = None
        self._news = False

    def heard(self, parser: SSEParser) -> None:
        """Take the position and the ``retry`` of a parser that has just been fed."""
        identifier = parser.last_event_id
        if identifier is not None and identifier != self.last_event_id:
            # An empty one takes the position back; one that no header can carry leads nowhere.
            usable = 0 < len(identifier) <= MAX_ID and identifier.isprintable()
            self.last_event_id = identifier if usable else None
            self.came_through()
        if parser.retry is not None:
            self._retry_s = min(max(parser.retry / 1000, LEAST_S), MAX_RETRY_S)

    def came_through(self) -> None:
        """Note that this connection has carried something."""
        self._news = True
        self.failures = 0

    def cut(self) -> None:
        """Note that the connection is gone."""
        if not self._news:
            self.failures += 1
        self._news = False

    def delay_s(self, chance: float) -> float | None:
        """Return seconds to wait before the next attempt; None to give up. ``chance`` is from 0 to 1."""
        if self.failures > MAX_FAILURES:
            return None
        wait_s = self._first_s if self._retry_s is None else self._retry_s
        if self.failures:
            wait_s = max(wait_s, min(LONGEST_S, self._first_s * 2.0 ** (self.failures - 1)))
            return wait_s * (1 + SPREAD_AFTER_FAILURE * chance)
        return wait_s * (1 + SPREAD * chance)
