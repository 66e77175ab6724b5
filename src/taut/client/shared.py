"""Work that several calls may need at a time, and that is done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, final

from taut.errors import RequestCancelled

__all__ = ["Shared"]


@final
class Shared:
    """Pieces of work by name, for as long as each is being done."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def once(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do ``work``, or wait for it where it is already being done. The caller may be cancelled, the work is not.

        :raises taut.errors.TautError: what ended the work; `RequestCancelled` after `cancel`.
        """
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda task: self._on_done(name, task))
        await asyncio.wait((task,))  # which, cancelled, leaves the work alone
        if task.cancelled():
            raise RequestCancelled(f"what other calls waited for was given up: {name}")
        task.result()

    def cancel(self) -> None:
        """Give all of it up."""
        for task in self._tasks.values():
            task.cancel()

    def _on_done(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tasks[name]
        if not task.cancelled():
            task.exception()  # told to those who wait, if there are any left
