"""Waiting for several things that go on side by side, without task groups: none of it outlives the wait."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable
from typing import Any, TypeVar

from taut.errors import RunSuspended

__all__ = ["end", "gather"]

T = TypeVar("T")


async def gather(
    work: Iterable[Coroutine[Any, Any, T]],
    *,
    limit: int | None = None,
    patient: tuple[type[Exception], ...] = (RunSuspended,),
) -> list[T]:
    """Return what all of ``work`` returns, in its order; at most ``limit`` run at a time.

    Where one fails, the others are cancelled, and the failure is raised once they have ended. Where it fails with one
    of ``patient``, as a suspension is, the others go on to their ends first: what they do need not be done again;
    another failure counts for more than a suspension. Cancelled, it cancels them all and waits.
    """
    coroutines = list(work)
    if len(coroutines) == 1:
        return [await coroutines[0]]
    loop = asyncio.get_running_loop()
    waiting = iter(enumerate(coroutines))
    results: dict[int, T] = {}
    running: dict[asyncio.Task[T], int] = {}
    ended: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
    held: Exception | None = None
    try:
        while True:
            while limit is None or len(running) < limit:
                following = next(waiting, None)
                if following is None:
                    break
                task = loop.create_task(following[1])
                task.add_done_callback(ended.put_nowait)
                running[task] = following[0]
            if not running:
                break
            task = await ended.get()
            place = running.pop(task)
            try:
                results[place] = task.result()
            except patient as error:
                if held is None or isinstance(held, RunSuspended):
                    held = error
    finally:
        for _, coroutine in waiting:
            coroutine.close()  # never begun
        await end(running)
    if held is not None:
        raise held
    return [results[place] for place in range(len(coroutines))]


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, whatever they end with.

    Cancelled meanwhile, it cancels them again and waits on: they are no more than a part of the caller's task.
    """
    cancelled: asyncio.CancelledError | None = None
    left = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
        left = [task for task in left if not task.done()]
    for task in tasks:
        if not task.cancelled():
            task.exception()  # another failure is the one that is raised
    if cancelled is not None:
        raise cancelled
