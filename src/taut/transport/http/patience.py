"""How long a connection may keep the server waiting, and how much of it may wait: the numbers, and the one timer.

Time limits are looked at once per `PERIOD_S` for all connections of a server together, so no request sets a timer, and
a limit is kept to within that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from taut.errors import ConfigError

__all__ = ["DEFAULT_PATIENCE", "Patience", "Sweep"]

#: Seconds between two looks at the connections.
PERIOD_S = 1.0


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection may take: time in seconds, and room.

    :raises taut.errors.ConfigError: a limit is not positive.
    """

    #: From the connection to the first byte of its first request.
    first_byte_s: float = 20.0
    #: From the first byte of a request to the end of its head.
    head_s: float = 10.0
    #: From the end of the head to the end of the body.
    body_s: float = 30.0
    #: Between two requests: longer than clients keep a connection for later, so that they are the ones to close it.
    keep_alive_s: float = 75.0
    #: Without taking a byte of what is sent to it.
    stalled_s: float = 60.0
    #: For a client that has been refused to read why, before the connection is cut.
    linger_s: float = 2.0
    #: Bytes of a head; and what a chunked body may have besides its data.
    max_head_bytes: int = 64 * 1024
    #: Fields of a head.
    max_headers: int = 100
    #: Requests that may wait behind one that is being answered; more are refused.
    max_pipelined: int = 64
    #: Bytes of a refused body that are read, and dropped, to keep the connection.
    max_dropped_bytes: int = 64 * 1024

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not value > 0:
                raise ConfigError(f"Expected a positive limit for {name}, got {value}")


DEFAULT_PATIENCE = Patience()


class Swept(Protocol):
    """What is looked at."""

    def look(self, now: float) -> None:
        """Compare what is waited for with the limits; ``now`` is the clock's time in seconds."""


class Sweep:
    """Looks at every connection once per period, while there are any.

    ``now`` is the time of the last look: near enough for limits of seconds, and read for nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock()
        self._clock = clock
        self._members: set[Swept] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, member: Swept, loop: asyncio.AbstractEventLoop) -> None:
        """Look at ``member`` from now on."""
        if self._timer is None:
            self.now = self._clock()
            self._timer = loop.call_later(PERIOD_S, self._tick, loop)
        self._members.add(member)

    def discard(self, member: Swept) -> None:
        """Look at ``member`` no more."""
        self._members.discard(member)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self) -> None:
        """Look at all of them now."""
        self.now = self._clock()
        for member in list(self._members):
            member.look(self.now)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(PERIOD_S, self._tick, loop)
        self.look()
