"""What tests of agents share: a server with a few tools, and a way to run a coroutine and find nothing left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from taut import Server, ToolError, models

T = TypeVar("T")


class World:
    """A server that remembers what it was asked to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.app = Server("world", "1")
        self.gate = asyncio.Event()

        @self.app.tool(annotations=models.ToolAnnotations(read_only_hint=True))
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            self.done.append(f"add {a} {b}")
            return a + b

        @self.app.tool
        def pay(to: str, amount: int) -> str:
            """Pay somebody."""
            self.done.append(f"pay {to} {amount}")
            return f"paid {amount} to {to}"

        @self.app.tool
        def fail(why: str) -> str:
            """Fail."""
            self.done.append("fail")
            raise ToolError(why)

        @self.app.tool
        async def hang() -> str:
            """Wait for the gate."""
            self.done.append("hang")
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.done.append("cancelled")
                raise
            return "through"


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work``, and make sure that it leaves no task behind."""

    async def clean() -> T:
        result = await work
        for _ in range(20):  # what was told to end may take a few turns
            left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            if not left:
                break
            await asyncio.sleep(0)
        assert left == [], "tasks are left"
        return result

    return asyncio.run(clean())


async def until(condition: Callable[[], object]) -> None:
    """Let others run until ``condition`` is so."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")
