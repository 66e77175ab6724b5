"""An event loop in a thread of its own, so that the main thread keeps the keyboard: ``input`` with its line editing
and history, and ^C, while servers and models are heard all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, final

from taut.transport.loop import loop_factory

__all__ = ["Foreground"]

T = TypeVar("T")

#: Seconds after which Windows is asked for ^C again: there a wait for a lock cannot be interrupted.
WINDOWS_S = 0.1


@final
class Foreground:
    """``with Foreground() as foreground: foreground.run(work())``, in the main thread.

    The loop runs from the beginning to the end of the block. `run` runs a coroutine in it, and meanwhile answers in
    the main thread what is asked by `ask`. ^C cancels the coroutine, and is raised as KeyboardInterrupt once it has
    ended; a second ^C does not wait for that.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        #: What the main thread is to do; None: a coroutine has ended.
        self._jobs: queue.SimpleQueue[_Question[Any] | None] = queue.SimpleQueue()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._serve, name="taut event loop", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _serve(self) -> None:
        async def live() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._stop.wait()

        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(live())
        finally:
            self._ready.set()  # also where there can be no loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what ``coroutine`` returns, or raise what it raises.

        :raises KeyboardInterrupt: ^C was pressed; the coroutine was cancelled, and has ended.
        """
        loop = self._loop
        assert loop is not None
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            tasks.append(loop.create_task(coroutine))
            tasks[0].add_done_callback(lambda task: self._jobs.put(None))

        loop.call_soon_threadsafe(begin)
        interrupted = False
        while True:
            try:
                question = self._next()
                if question is None:
                    break
                question.drop() if interrupted else question.answer()
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                loop.call_soon_threadsafe(lambda: tasks[0].cancel())
        if interrupted:
            raise KeyboardInterrupt
        return tasks[0].result()

    def _next(self) -> _Question[Any] | None:
        if sys.platform != "win32":
            return self._jobs.get()
        while True:
            with contextlib.suppress(queue.Empty):
                return self._jobs.get(timeout=WINDOWS_S)

    async def ask(self, question: Callable[[], T]) -> T:
        """Return what ``question`` returns, which is called in the main thread, under `run`.

        :raises asyncio.CancelledError: ^C was pressed in place of an answer.
        """
        asked = _Question(question)
        self._jobs.put(asked)
        return await asked.future


@final
class _Question(Generic[T]):
    """A function to be called in the main thread, and the future of what it returns, in the loop that asks."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()

    def answer(self) -> None:
        """Call it. Only ^C is raised here: all else where it was asked."""
        try:
            value = self._function()
        except KeyboardInterrupt:
            self.drop()
            raise
        except Exception as error:  # raised where it was asked
            failure = error
            self._settle(lambda: self.future.set_exception(failure))
        else:
            self._settle(lambda: self.future.set_result(value))

    def drop(self) -> None:
        """Leave it without an answer."""
        self._settle(self.future.cancel)

    def _settle(self, how: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(lambda: None if self.future.done() else how())
