"""Waiting for several things that go on side by side, without task groups: none of it outlives the wait."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from taut.errors import RunSuspended

__all__ = ["gather"]

T = TypeVar("T")


async def gather(work: Iterable[Coroutine[Any, Any, T]], *, limit: int | None = None) -> list[T]:
    """Return what all of ``work`` returns, in its order; at most ``limit`` run at a time.

    Where one fails, the others are cancelled, and the failure is raised once they have ended. Where one is suspended,
    the others go on to their ends first: what they do need not be done again. Cancelled, it cancels them all and
    waits.
    """
    coroutines = list(work)
    if len(coroutines) == 1:
        return [await coroutines[0]]
    loop = asyncio.get_running_loop()
    waiting = iter(enumerate(coroutines))
    results: dict[int, T] = {}
    running: dict[asyncio.Task[T], int] = {}
    suspended: RunSuspended | None = None
    try:
        while True:
            while limit is None or len(running) < limit:
                following = next(waiting, None)
                if following is None:
                    break
                running[loop.create_task(following[1])] = following[0]
            if not running:
                break
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                place = running.pop(task)
                try:
                    results[place] = task.result()
                except RunSuspended as error:
                    suspended = error
    finally:
        for _, coroutine in waiting:
            coroutine.close()  # never begun
        if running:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            for task in running:
                if not task.cancelled():
                    task.exception()  # the first failure is the one that is raised
    if suspended is not None:
        raise suspended
    return [results[place] for place in range(len(coroutines))]
