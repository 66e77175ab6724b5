"""Work that a peer asks for, whatever brought the request: a connection that stays, or one HTTP exchange.

A request is handled in the call that delivers it. Work that cannot be finished there (asynchronous handlers) runs as
one task each. Whatever a handler raises, its caller gets one answer, which does not leak it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from taut.errors import (
    INTERNAL_ERROR,
    InvalidParams,
    LocalProtocolError,
    ProtocolError,
    RemoteError,
)
from taut.mcp.inbound import Request
from taut.mcp.limits import Limits
from taut.mcp.outbound import ProgressCallback
from taut.mcp.peer import Event, Notification

__all__ = ["Conversation"]

logger = logging.getLogger("taut")

#: Seconds that a cancelled handler gets to clean up.
STUBBORN_S = 2.0
#: Eager tasks (3.12+) run to their first wait without a turn of the loop.
EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
#: Most exchanges never have a task: a set is made for the first.
NONE: frozenset[asyncio.Task[None]] = frozenset()


class Conversation:
    """What a handler's request came on. Subclasses say how bytes travel, and what happens with a request."""

    @property
    def session(self) -> str:
        """What the requests of one legacy client have in common, and nobody else's: unguessable; empty: nothing."""
        return ""

    # Each exchange over HTTP makes one of these: what most of them never need has its first value here.
    _tasks: AbstractSet[asyncio.Task[None]] = NONE
    _callbacks: AbstractSet[asyncio.Task[None]] = NONE

    def __init__(self, limits: Limits) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.limits = limits

    # -- how bytes travel

    def flush_soon(self) -> None:
        """Send what has been said, soon: at the end of this read event or turn of the loop."""
        raise NotImplementedError

    async def drain(self) -> None:
        """Wait for a peer that does not keep up."""
        raise NotImplementedError

    async def ask(
        self,
        method: str,
        params: object,
        *,
        timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        on_progress: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send a request to the peer and return its decoded result."""
        raise LocalProtocolError(f"{method} cannot be asked here: nothing carries requests to this peer")

    def check_asking(self, method: str) -> None:
        """Refuse to `ask` where that cannot work, whatever the peer declared.

        :raises taut.errors.RemoteError: it cannot; says what would have to be different.
        """

    def close_stream(self) -> bool:
        """Let a client that can come back hang up until there is news; False where there is no such client."""
        return False

    @property
    def subscriber(self) -> Conversation:
        """Who hears of what the peer subscribes to here."""
        return self

    def tell(self, method: str, params: object = msgspec.UNSET) -> None:
        """Send a notification that belongs to no request; nothing carries it by default."""

    # -- requests

    def dispatch(self, event: Event | list[Event]) -> None:
        """Work on what came from the peer: at once, or in a task."""
        if type(event) is not Request:
            if type(event) is list:
                for part in event:
                    self.dispatch(part)
            else:
                try:
                    self.on_notification(event)  # type: ignore[arg-type]  # what is left
                except InvalidParams as error:
                    logger.warning("ignored a notification: %s", error)
            return
        try:
            work = self.on_request(event)
        except LocalProtocolError:
            self.report(event)  # a mistake on our side, which is none of the caller's business
        except (RemoteError, ProtocolError) as error:
            event.fail(error)
        except KeyboardInterrupt:
            raise
        except BaseException:
            # The border between protocol and handlers: whatever went wrong, the caller gets an answer
            # that does not leak it, and the connection lives.
            self.report(event)
        else:
            if work is not None:
                self.spawn(event, work)

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Work on ``request``: answer it and return None, or return a coroutine that does."""
        raise NotImplementedError

    def on_notification(self, notification: Notification) -> None:
        """Work on a notification."""

    def report(self, request: Request) -> None:
        """Answer ``request`` after an unexpected exception, and log that exception."""
        logger.exception("%s failed", request.method)
        request.fail(RemoteError(f"Internal error while handling {request.method}", code=INTERNAL_ERROR))

    # -- tasks

    def run_here(self, function: Callable[..., object], *args: object) -> None:
        """Call ``function`` in the loop's thread: now, if this is it, else when the loop comes to it. A loop that is
        closed has nobody left to tell."""
        if threading.get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self.call_back, function, *args)
        elif not self.loop.is_closed():
            function(*args)

    def call_back(self, callback: Callable[..., object], *args: object) -> None:
        """Call a user's callback, or start it if it is async. One that fails is logged, and takes nothing along."""
        try:
            waiting = callback(*args)
        except Exception:  # the border to callbacks
            logger.exception("a callback failed")
            return
        if inspect.isawaitable(waiting):
            task = self.loop.create_task(_finished(waiting))
            if inspect.iscoroutine(waiting):
                task.add_done_callback(lambda _: waiting.close())  # where it was cancelled before it began
            self._callbacks = _kept(task, self._callbacks)

    def spawn(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` as the one task of ``request``; the peer's cancellation cancels it."""
        task: asyncio.Task[None] = asyncio.Task(self._guard(request, work), loop=self.loop, **EAGER)
        if task.done():
            self.flush_soon()
            return
        try:
            request.defer(lambda reason: _cancel(task, work, reason))
        except ProtocolError as error:
            _cancel(task, work, None)
            request.fail(error)
        self._tasks = _kept(task, self._tasks)

    async def _guard(self, request: Request, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LocalProtocolError:
            self.report(request)
        except (RemoteError, ProtocolError) as error:
            request.fail(error)
        except asyncio.CancelledError:
            # Cancelled by the peer: no answer. By anyone else (a handler that cancels itself, our shutdown):
            # the caller still waits, so it is told.
            request.fail(RemoteError(f"{request.method} was cancelled by the server", code=INTERNAL_ERROR))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException:  # the same border as in dispatch
            self.report(request)
        self.flush_soon()

    async def wait_handlers(self) -> None:
        """Wait until the tasks of requests have ended.

        A task that has ignored its cancellation for `STUBBORN_S` seconds is left behind.
        """
        if self._tasks:
            _, stubborn = await asyncio.wait(self._tasks, timeout=STUBBORN_S)
            if stubborn:
                logger.warning("left behind: %d handler(s) that did not end when cancelled", len(stubborn))

    def cancel_handlers(self) -> None:
        """Cancel the handlers that still run: their callers are told that the server did it."""
        for task in self._tasks:
            task.cancel()

    def drop_callbacks(self) -> None:
        """Cancel the callbacks that are still running."""
        for task in self._callbacks:
            task.cancel()


def _kept(task: asyncio.Task[None], among: AbstractSet[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Return ``among`` with ``task`` in it until that ends."""
    tasks = among if isinstance(among, set) else set()
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return tasks


async def _finished(waiting: Awaitable[object]) -> None:
    try:
        await waiting
    except Exception:  # the border to callbacks
        logger.exception("a callback failed")


def _cancel(task: asyncio.Task[None], work: Coroutine[Any, Any, None], reason: str | None) -> None:
    task.cancel(reason)
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()  # the task has not begun, and a cancelled one never will
