"""Both event loops that users have: asyncio's own and uvloop's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

FACTORIES: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
#: Seconds after which a coroutine under test hangs.
PATIENCE_S = 12.0


class Run:
    """Runs a coroutine in a new event loop of one kind; one that does not end is a failure."""

    def __init__(self, kind: str, *, patience_s: float = PATIENCE_S) -> None:
        self.kind = kind
        self._patience_s = patience_s

    def __call__(self, main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=FACTORIES[self.kind]) as runner:
            return runner.run(asyncio.wait_for(main, self._patience_s))


class Lines:
    """A sink for a child's stderr that can be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        for text, count, waiter in self._waiting:
            if not waiter.done() and self._count(text) >= count:
                waiter.set_result(None)

    def _count(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    async def hold(self, text: str, count: int = 1) -> None:
        """Wait until ``text`` is in so many lines."""
        if self._count(text) < count:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append((text, count, waiter))
            await waiter
