"""Running a coroutine that must leave nothing behind: no task, no child process, no descriptor."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

import psutil

from faults.loops import Run

T = TypeVar("T")

#: Turns of the loop in which what has ended is cleared away.
TURNS = 5


class CleanRun(Run):
    """A `Run` that fails if anything is left."""

    def __call__(self, main: Coroutine[Any, Any, T]) -> T:
        super().__call__(asyncio.sleep(0))  # what the first loop of its kind opens stays
        gc.collect()
        descriptors = len(os.listdir("/proc/self/fd"))
        result = super().__call__(_checked(main))
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= descriptors
        return result


async def _checked(main: Coroutine[Any, Any, T]) -> T:
    tasks, children = asyncio.all_tasks(), _children()
    result = await main
    for _ in range(TURNS):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() <= tasks
    assert _children() <= children
    return result


def _children() -> set[psutil.Process]:
    """Return our child processes, also those that have ended and were not waited for."""
    return set(psutil.Process().children())


class Time:
    """Time that passes when somebody sleeps, and only then."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        #: How long was slept, each time.
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.now_s += seconds

    @property
    def options(self) -> dict[str, Any]:
        """What a pool is made with to go by this time; chance is left out."""
        return {"clock": self.clock, "sleep": self.sleep, "chance": lambda: 1.0}
