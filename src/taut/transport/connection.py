"""Drives a sans-I/O peer over a transport: the only place where bytes, time and tasks meet the protocol.

There is no task of its own: the transport calls in, messages are handled in that call, and all answers leave with
one write at its end. Work that cannot be finished there (asynchronous handlers) runs as one task each.
A connection belongs to this object, not to the task that made it: any task may close it, in any order, twice.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Generic, TypeVar

from taut import models
from taut._core import MessageReader
from taut.errors import (
    INTERNAL_ERROR,
    ConnectionClosed,
    InvalidParams,
    LocalProtocolError,
    ProtocolError,
    RemoteError,
    TransportError,
)
from taut.mcp.inbound import Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.outbound import Pending, ProgressCallback
from taut.mcp.peer import Event, Notification, Peer
from taut.transport.base import Transport

__all__ = ["Connection"]

logger = logging.getLogger("taut")

P = TypeVar("P", bound=Peer)

#: Seconds that a cancelled handler gets to clean up.
STUBBORN_S = 2.0
#: Eager tasks (3.12+) run to their first wait without a turn of the loop.
EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Connection(Generic[P]):
    """A peer on a transport. Subclasses say what happens with a request and with a notification."""

    def __init__(self, transport: Transport, peer: P, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.transport = transport
        self.peer = peer
        self.loop = asyncio.get_running_loop()
        self.lost: TransportError | None = None
        self._reader = MessageReader(
            transport.buffer,
            max_bytes=limits.max_message_bytes,
            max_depth=limits.max_depth,
            max_digits=limits.max_digits,
            max_keys=limits.max_keys,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._callbacks: set[asyncio.Task[None]] = set()
        self._in_read = False
        self._flush_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._ended = self.loop.create_future()

    def start(self) -> None:
        """Begin to read."""
        self.transport.start(self)

    # -- what the transport calls

    def data_received(self) -> None:
        """Handle every message in the buffer, then write every answer."""
        self._in_read = True
        try:
            for message in self._reader.read():
                try:
                    event = self.peer.receive(message)
                    if event is not None:
                        self._dispatch(event)
                except Exception:
                    # Nothing is expected here; should there be a mistake of ours in the handling of one message,
                    # it must not take the messages behind it along.
                    logger.exception("a message could not be handled")
        finally:
            self._in_read = False
        self.transport.flush()

    def eof_received(self) -> None:
        """The peer sends nothing more: by default, the end."""
        self.close()

    def connection_lost(self, error: TransportError | None) -> None:
        """End what is open on both sides, each with an error of its own."""
        self.lost = error or ConnectionClosed("connection closed", clean=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        closed = self.lost if isinstance(self.lost, ConnectionClosed) else ConnectionClosed(str(self.lost))
        self.peer.close(closed)
        for task in self._callbacks:
            task.cancel()
        if not self._ended.done():
            self._ended.set_result(None)

    def _dispatch(self, event: Event | list[Event]) -> None:
        if type(event) is not Request:
            if type(event) is list:
                for part in event:
                    self._dispatch(part)
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

    def call_back(self, callback: Callable[..., object], *args: object) -> None:
        """Call a user's callback, or start it if it is async. One that fails is logged, and takes nothing along."""
        try:
            waiting = callback(*args)
        except Exception:  # the border to callbacks
            logger.exception("a callback failed")
            return
        if inspect.isawaitable(waiting):
            task = self.loop.create_task(_finished(waiting))
            self._callbacks.add(task)
            task.add_done_callback(self._callbacks.discard)

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
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
        except BaseException:  # the same border as in _dispatch
            self.report(request)
        self.flush_soon()

    # -- sending

    def flush_soon(self) -> None:
        """Write what is in ``out`` at the end of this read event or turn of the loop, once."""
        if not self._in_read and not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self.transport.flush()

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
        """Send a request and return its decoded result.

        ``timeout_s`` is measured from the sending, and anew from each progress notification when ``on_progress``
        (which may be async) is given; ``total_timeout_s`` bounds the whole wait. Cancelling the calling task tells
        the peer to stop (``notifications/cancelled``); a late answer is dropped.

        :raises taut.errors.ConnectionClosed: the connection is closed, or ends before the answer.
        :raises taut.errors.RequestTimeout: no answer in time.
        :raises taut.errors.RemoteError: the peer answered with an error.
        :raises taut.errors.LocalProtocolError: the peer did not declare what the method needs.
        """
        if self.lost is not None:
            raise self.lost
        future: asyncio.Future[None] = self.loop.create_future()
        pending = self.peer.request(
            method,
            params,
            lambda _: None if future.done() else future.set_result(None),
            now=self.loop.time(),
            timeout_s=timeout_s,
            total_timeout_s=total_timeout_s,
            on_progress=on_progress,
            meta=meta,
        )
        if on_progress is not None:
            pending.on_progress = self._extending(pending, on_progress)
        if pending.deadline is not None:
            self._arm(pending.deadline)
        self.flush_soon()
        try:
            await future
        except asyncio.CancelledError:
            self.peer.cancel(pending, "cancelled by the caller")
            self.flush_soon()
            raise
        return pending.result()

    def _extending(self, pending: Pending, on_progress: ProgressCallback) -> ProgressCallback:
        def advance(params: models.ProgressParams) -> None:
            self.peer.extend(pending, self.loop.time())
            self.call_back(on_progress, params)

        return advance

    # -- time

    def _arm(self, deadline: float) -> None:
        timer = self._timer
        if timer is None:
            self._timer = self.loop.call_at(deadline, self._on_timer)
        elif deadline < timer.when():
            timer.cancel()
            self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.peer.expire(self.loop.time())
        self.transport.flush()
        deadline = self.peer.next_deadline()
        if deadline is not None and self.lost is None:
            self._arm(deadline)

    # -- the end

    def close(self) -> None:
        """Close the connection: what is unsent is written, what is open ends with `ConnectionClosed`."""
        self.transport.close()

    async def wait_lost(self) -> None:
        """Wait until nothing more can be sent or received; handlers may still run."""
        if not self._ended.done():
            await asyncio.shield(self._ended)

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, its tasks have, and the transport is released.

        A task that has ignored its cancellation for `STUBBORN_S` seconds is left behind.
        """
        await self.wait_lost()
        if self._tasks:
            _, stubborn = await asyncio.wait(self._tasks, timeout=STUBBORN_S)
            if stubborn:
                logger.warning("left behind: %d handler(s) that did not end when cancelled", len(stubborn))
        await self.transport.wait_closed()


async def _finished(waiting: Awaitable[object]) -> None:
    try:
        await waiting
    except Exception:  # the border to callbacks
        logger.exception("a callback failed")


def _cancel(task: asyncio.Task[None], work: Coroutine[Any, Any, None], reason: str | None) -> None:
    task.cancel(reason)
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()  # the task has not begun, and a cancelled one never will
