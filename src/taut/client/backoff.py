"""When a pool does what it does by itself: how long it leaves a server alone, and what it goes by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from taut.errors import ConfigError

__all__ = ["Backoff", "Timing"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to leave a server alone that could not be reached.

    They double with each failure in a row, up to a maximum, and are each time between half of that and all of it.

    :raises taut.errors.ConfigError: these are no such seconds.
    """

    initial_s: float = 0.5
    maximum_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.initial_s <= self.maximum_s:
            raise ConfigError(
                f"Expected 0 <= initial_s <= maximum_s, got {self.initial_s:g} and {self.maximum_s:g}"
            )

    def pause_s(self, failures: int, share: float, *, asked_s: float | None = None) -> float:
        """Return the pause after so many failures in a row. ``share``, from 0 to 1, is the random part.

        ``asked_s`` is how long the server itself wants to be left alone.
        """
        pause_s = 0.0
        if failures > 0:
            whole_s = min(self.maximum_s, self.initial_s * 2.0 ** min(failures - 1, 64))
            pause_s = whole_s * (1 + share) / 2
        return pause_s if asked_s is None else min(max(pause_s, asked_s), self.maximum_s)


class Timing(NamedTuple):
    """When things are done, and by which clock."""

    backoff: Backoff
    #: Seconds for which a connection is kept that nobody uses.
    keep_s: float
    #: Gives seconds, monotonic.
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    #: Gives numbers from 0 to 1.
    chance: Callable[[], float]
