"""Drives a sans-I/O peer over a transport: the only place where bytes, time and tasks meet the protocol.

There is no task of its own: the transport calls in, messages are handled in that call, and all answers leave with
one write at its end. Work that cannot be finished there (asynchronous handlers) runs as one task each.
A connection belongs to this object, not to the task that made it: any task may close it, in any order, twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, TypeVar

from taut._core import MessageReader
from taut.errors import ConnectionClosed, TransportError
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.outbound import ProgressCallback
from taut.mcp.peer import Peer
from taut.transport.base import Transport
from taut.transport.timing import Timed

__all__ = ["Connection"]

logger = logging.getLogger("taut")

P = TypeVar("P", bound=Peer)


class Connection(Timed[P]):
    """A peer on a transport. Subclasses say what happens with a request and with a notification."""

    def __init__(self, transport: Transport, peer: P, *, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self.transport = transport
        self.peer = peer
        self._reader = MessageReader(
            transport.buffer,
            max_bytes=limits.max_message_bytes,
            max_depth=limits.max_depth,
            max_digits=limits.max_digits,
            max_keys=limits.max_keys,
        )
        self._in_read = False
        self._flush_scheduled = False
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
                        self.dispatch(event)
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
        self.stop_watching()
        closed = self.lost if isinstance(self.lost, ConnectionClosed) else ConnectionClosed(str(self.lost))
        self.peer.close(closed)
        self.drop_callbacks()
        if not self._ended.done():
            self._ended.set_result(None)

    # -- sending

    def flush_soon(self) -> None:
        """Write what is in ``out`` at the end of this read event or turn of the loop, once."""
        if not self._in_read and not self._flush_scheduled:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self.transport.flush()

    async def drain(self) -> None:
        """Wait for a peer that does not keep up."""
        await self.transport.drain()

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
            raise self.lost.with_traceback(None)  # or each who calls in vain would leave his frames there
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
        self.watch(pending, on_progress)
        self.flush_soon()
        try:
            await future
        except asyncio.CancelledError:
            self.peer.cancel(pending, "cancelled by the caller")
            self.flush_soon()
            raise
        return pending.result()

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

        A task that goes on in spite of its cancellation is left behind (`wait_handlers`).
        """
        await self.wait_lost()
        await self.wait_handlers()
        await self.transport.wait_closed()
