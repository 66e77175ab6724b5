"""What waits for an answer, in Python: the same as the compiled module, whose docstring is the contract."""

from __future__ import annotations

from typing import Generic, TypeVar, final

from taut.errors import InvalidMessage, LimitExceeded

__all__ = ["InFlight", "Progress"]

T = TypeVar("T")


@final
class InFlight(Generic[T]):
    """Requests of one direction that are not answered yet, at most `maximum`, oldest first."""

    def __init__(self, maximum: int) -> None:
        if maximum < 1:
            raise ValueError(f"maximum must be positive, got {maximum}")
        self.maximum = maximum
        self._entries: dict[int | str, T] = {}
        self._last_id = 0

    def open(self, entry: T) -> int:
        """Remember `entry` under the next id (1, 2, ...), which is returned; LimitExceeded when full."""
        self._check_room()
        self._last_id += 1
        self._entries[self._last_id] = entry
        return self._last_id

    def admit(self, key: int | str, entry: T) -> None:
        """Remember `entry` under the peer's id; InvalidMessage when it is taken, LimitExceeded when full."""
        if key in self._entries:
            raise InvalidMessage(f"Expected an id that is not in flight, got {key!r} again")
        self._check_room()
        self._entries[key] = entry

    def get(self, key: int | str) -> T | None:
        """Return the entry, or None."""
        return self._entries.get(key)

    def pop(self, key: int | str) -> T | None:
        """Forget the entry and return it, or None."""
        return self._entries.pop(key, None)

    def drain(self) -> list[T]:
        """Forget all entries and return them, oldest first."""
        entries, self._entries = self._entries, {}
        return list(entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def _check_room(self) -> None:
        if len(self._entries) >= self.maximum:
            raise LimitExceeded("max_in_flight", self.maximum)


@final
class Progress:
    """Lets only increasing progress through, and none after `close`: the specification asks for both."""

    def __init__(self) -> None:
        self.closed = False
        self._reached: float | None = None

    def advance(self, progress: float) -> bool:
        """Return whether to send `progress`: it is greater than all before, and the request is open."""
        progress = float(progress)
        if self.closed or progress != progress or (self._reached is not None and progress <= self._reached):
            return False
        self._reached = progress
        return True

    def close(self) -> None:
        """The request was answered or cancelled: nothing may follow."""
        self.closed = True
