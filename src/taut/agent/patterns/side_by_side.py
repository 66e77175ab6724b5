"""Coroutines that go on side by side and are taken as they end: for patterns that decide before all have ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final

from taut.agent.concurrent import end
from taut.errors import RunSuspended

__all__ = ["SideBySide"]

K = TypeVar("K")
T = TypeVar("T")


@final
class SideBySide(Generic[K, T]):
    """At most ``limit`` of what was started goes on at a time; none of it outlives the ``async with`` block.

    What ended together is taken in the order in which it began, and a failure is raised when it is taken. One that is
    suspended is left out: `suspended` has its exception, and the others go on, as in `taut.agent.concurrent.gather`.
    """

    def __init__(self, *, limit: int | None = None) -> None:
        self._limit = limit
        self._waiting: deque[tuple[K, Coroutine[Any, Any, T]]] = deque()
        self._running: dict[asyncio.Task[T], K] = {}
        self._ended: deque[tuple[K, asyncio.Task[T]]] = deque()
        self.suspended: RunSuspended | None = None

    def start(self, key: K, work: Coroutine[Any, Any, T]) -> None:
        """Begin ``work``, at the next wait, as soon as the limit allows it."""
        self._waiting.append((key, work))

    async def next(self) -> tuple[K, T] | None:
        """Return the key and the result of one that has ended, or raise what it raised; None if there is none left."""
        while True:
            while self._ended:
                key, task = self._ended.popleft()
                try:
                    return key, task.result()
                except RunSuspended as error:
                    self.suspended = error
            while self._waiting and (self._limit is None or len(self._running) < self._limit):
                key, work = self._waiting.popleft()
                self._running[asyncio.get_running_loop().create_task(work)] = key
            if not self._running:
                return None
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            self._ended.extend((self._running.pop(one), one) for one in list(self._running) if one in done)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._waiting:
            self._waiting.popleft()[1].close()  # never begun
        left = [*self._running, *(task for _, task in self._ended)]
        self._running.clear()
        self._ended.clear()
        await end(left)  # what they end with is not needed, or another failure was raised
