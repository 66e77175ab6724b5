"""A model's answer as an iterator of events.

`Model.respond` calls back; `stream` turns that around. The request runs in a task that the `ModelStream` owns:
it begins when the stream is entered, and has ended when the stream is closed, which any task may do, at any
moment, twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import final

from taut.errors import LocalProtocolError
from taut.llm.model import Model, ModelEvent, ModelRequest, ModelResponse

__all__ = ["ModelStream", "stream"]


def stream(model: Model, request: ModelRequest) -> ModelStream:
    """Return the answer of ``model`` to ``request`` as a stream::

    async with stream(model, request) as events:
        async for event in events:
            ...
    print(events.response.message.text)
    """
    return ModelStream(model, request)


@final
class ModelStream:
    """The events of one answer. Leaving the ``async with`` early cancels the request.

    Iterating raises what `Model.respond` raises, after the events that came before. Several tasks may iterate;
    each event goes to one of them.
    """

    __slots__ = ("_changed", "_events", "_model", "_request", "_task")

    def __init__(self, model: Model, request: ModelRequest) -> None:
        self._model = model
        self._request = request
        self._events: deque[ModelEvent] = deque()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[ModelResponse] | None = None

    async def __aenter__(self) -> ModelStream:
        if self._task is not None:
            raise LocalProtocolError("Expected a stream that was not entered before, got one that was")
        self._task = asyncio.get_running_loop().create_task(self._model.respond(self._request, self._take))
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> ModelStream:
        return self

    async def __anext__(self) -> ModelEvent:
        """Return the next event.

        :raises taut.errors.ModelError: the request failed.
        """
        task = self._entered()
        while not self._events:
            if task.done():
                if not task.cancelled() and (error := task.exception()) is not None:
                    raise error
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()

    @property
    def response(self) -> ModelResponse:
        """The answer, once it is complete.

        :raises taut.errors.LocalProtocolError: it is not, or was closed before.
        :raises taut.errors.ModelError: the request failed.
        """
        task = self._task
        if task is None or not task.done():
            raise LocalProtocolError(
                "Expected a stream at its end, got one that is not: iterate over it first"
            )
        if task.cancelled():
            raise LocalProtocolError("Expected a stream at its end, got one that was closed before")
        return task.result()

    async def close(self) -> None:
        """End the request, if it has not ended. Cancelling this does not keep it from ending."""
        task = self._task
        if task is None:
            return
        task.cancel()
        if not task.done():
            await asyncio.wait([task])
        self._events.clear()
        self._changed.set()

    def _entered(self) -> asyncio.Task[ModelResponse]:
        if self._task is None:
            raise LocalProtocolError("Expected a stream that is entered: async with stream(...) as events")
        return self._task

    def _take(self, event: ModelEvent) -> None:
        self._events.append(event)
        self._changed.set()

    def _ended(self, task: asyncio.Task[ModelResponse]) -> None:
        if not task.cancelled():
            task.exception()  # whoever iterates is told; a stream that is closed has nobody to tell
        self._changed.set()
