"""The events of a run as an iterator. The run is a task of the stream's own: whoever reads it may stop at any time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final

from taut.agent.events import Event, Listener
from taut.agent.result import RunResult
from taut.errors import AgentStateError

__all__ = ["RunStream"]

T = TypeVar("T")


@final
class RunStream(Generic[T]):
    """Iterate over it for the events, in their order; then `result` has what the run ended with.

    The run begins with ``async with``, or with the first event that is asked for. `close` ends it early: from any
    task of the loop, twice if need be. What ends the run with an exception is raised where the iteration ends, and by
    `result`. Several who read share the events: each goes to one of them.
    """

    def __init__(self, begin: Callable[[Listener], Coroutine[Any, Any, RunResult[T]]]) -> None:
        self._begin = begin
        self._events: deque[Event] = deque()
        self._task: asyncio.Task[RunResult[T]] | None = None
        self._closed = False
        #: Set whenever there may be something for who reads.
        self._news = asyncio.Event()

    @property
    def result(self) -> RunResult[T]:
        """What the run ended with; raises what it raised.

        :raises taut.errors.AgentStateError: it has not ended, or was closed before.
        """
        task = self._task
        if self._closed if task is None else task.cancelled():
            raise AgentStateError("The run was closed before its end")
        if task is None or not task.done():
            raise AgentStateError("Expected a run that has ended: read its events to their end first")
        return task.result()

    def _start(self) -> asyncio.Task[RunResult[T]] | None:
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._begin(self._hear))
            self._task.add_done_callback(self._ended)
        return self._task

    def _hear(self, event: Event) -> None:
        self._events.append(event)
        self._news.set()

    def _ended(self, task: asyncio.Task[RunResult[T]]) -> None:
        if not task.cancelled():
            task.exception()  # it is told to who asks: not everybody does
        self._news.set()

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        task = self._start()
        while not self._events:
            if task is None or task.cancelled():
                raise StopAsyncIteration
            if task.done():
                task.result()
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def close(self) -> None:
        """End the run, if it goes on, and wait until it has ended. One that has not begun never will."""
        self._closed = True
        task = self._task
        if task is None or task.done():
            return
        task.cancel()
        await asyncio.wait([task])
