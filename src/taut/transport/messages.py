"""Base of the transports whose carriers keep messages apart by themselves: WebSocket frames, server-sent events.

Inside, messages are lines, as on every transport. A line end within a message that came in is white space between its
tokens, and becomes one that is no line end; where it is no white space, it makes the message as wrong as it was.

Two tasks serve a carrier: one sends, one receives. When it has ended in one direction, it has ended.
"""

from __future__ import annotations

import asyncio
from typing import Any

from taut._core import Outgoing, ReceiveBuffer
from taut.errors import ConnectionClosed, TransportError
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.base import Receiver

__all__ = ["MessageTransport"]

#: Bytes of a message that are handed over at once.
CHUNK_BYTES = 1024 * 1024
#: Seconds after which `close` gives up on a peer that takes nothing of what is unsent.
LINGER_S = 3.0


class MessageTransport:
    """A transport of whole messages; see `taut.transport.base` for what it does.

    Subclasses say how it is opened, how one message is sent, how messages are received (each told to `take`, then all
    of them with `tell`), and what is released in the end.

    :param pauses: receive nothing while the peer does not take what is sent. For the server's end.
    :param quiet_s: seconds without a message until something is sent that keeps the carrier alive; None for never.
    """

    def __init__(
        self, *, limits: Limits = DEFAULT_LIMITS, pauses: bool = False, quiet_s: float | None = None
    ) -> None:
        self.buffer = ReceiveBuffer(max_bytes=limits.max_message_bytes + 2 * CHUNK_BYTES)
        self.out = Outgoing()
        self.limits = limits
        self.receiver: Receiver | None = None
        self.closing = False
        self._pauses = pauses
        self._quiet_s = quiet_s
        self._task: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._sending = 0  # bytes that were taken from ``out`` and are not sent yet
        self._sent = 0  # messages
        self._drained: asyncio.Future[None] | None = None
        self._lost = False
        self._closed = asyncio.Event()

    # -- what subclasses say

    async def _open(self) -> None:
        """Make the connection, where that is this end's to do."""

    async def _send(self, message: bytes) -> None:
        """Send one message; return when the carrier takes the next one."""
        raise NotImplementedError

    async def _keep_alive(self) -> None:
        """Send something that is no message."""

    async def _receive(self) -> TransportError | None:
        """Receive until the peer ends it; return what is to be said of that, if anything."""
        raise NotImplementedError

    async def _release(self) -> None:
        """Release the carrier, whatever its state."""

    # -- the life of a transport

    async def open(self) -> None:
        """Make the connection before `start` does. Twice is fine.

        :raises taut.errors.TransportError: that was not possible.
        """
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
        await asyncio.shield(self._opening)

    def start(self, receiver: Receiver) -> None:
        """Begin to receive, in the running event loop."""
        self.receiver = receiver
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        error: TransportError | None = None
        try:
            await self.open()
            if len(self.buffer):
                self.tell()
            error = await self._carry()
        except TransportError as failure:
            error = failure
        except OSError as failure:
            error = ConnectionClosed(f"connection lost: {failure.strerror or failure}")
        finally:
            self._lose(error)
            await self._end()

    async def _carry(self) -> TransportError | None:
        """Send and receive until one of both has ended."""
        loop = asyncio.get_running_loop()
        receiving = loop.create_task(self._receive())
        sending = loop.create_task(self._send_all())
        both: tuple[asyncio.Task[Any], ...] = (receiving, sending)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not receiving.done():
                sending.result()
                return None
            return None if self.closing else receiving.result()
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _end(self) -> None:
        try:
            await self._release()
        finally:
            self._closed.set()

    def _lose(self, error: TransportError | None) -> None:
        self._lost = self.closing = True
        self._release_drained()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.connection_lost(error)

    # -- receiving

    def take(self, message: bytes) -> None:
        """Take a message that came in; `tell` the receiver afterwards."""
        if self.closing:
            return
        if b"\n" in message:
            message = message.replace(b"\n", b"\r")
        if len(message) < CHUNK_BYTES:
            self.buffer.feed(message + b"\n")
            return
        view = memoryview(message)
        for start in range(0, len(view), CHUNK_BYTES):
            self.buffer.feed(view[start : start + CHUNK_BYTES])
            self.tell()
        self.buffer.feed(b"\n")

    def tell(self) -> None:
        """Tell the receiver, once there is one, of what was taken."""
        if self.receiver is not None and not self.closing:
            self.receiver.data_received()

    async def may_receive(self) -> None:
        """Wait until the peer takes what is sent; a server's end receives nothing before."""
        if self._pauses:
            await self.drain()

    # -- sending

    @property
    def unsent_bytes(self) -> int:
        """What has been written and is not sent yet."""
        return len(self.out) + self._sending

    def flush(self) -> None:
        """Send what is in ``out``."""
        if len(self.out):
            self._wake.set()

    async def _send_all(self) -> None:
        """Send until the transport is closed and nothing is left."""
        while True:
            await self._news()
            data = self.out.take()
            self._sending = len(data)
            for message in bytes(data).split(b"\n"):
                if message:
                    await self._send(message)
                    self._sent += 1
                    self._sending -= len(message) + 1
                    self._check_drained()
            self._sending = 0
            self._check_drained()
            if self.closing and not len(self.out):
                return

    async def _news(self) -> None:
        """Wait until there is something to send, or this is the end."""
        while not len(self.out) and not self.closing:
            self._wake.clear()
            try:
                async with asyncio.timeout(self._quiet_s):
                    await self._wake.wait()
            except TimeoutError:
                await self._keep_alive()

    async def drain(self) -> None:
        """Wait until less than ``max_unsent_bytes`` is unsent, or the connection is lost."""
        if self.unsent_bytes > self.limits.max_unsent_bytes and not self._lost:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _check_drained(self) -> None:
        if self._drained is not None and self.unsent_bytes <= self.limits.max_unsent_bytes:
            self._release_drained()

    def _release_drained(self) -> None:
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    # -- the end

    def close(self) -> None:
        """End the connection after what is unsent has been sent, or the peer takes none of it for `LINGER_S`."""
        if self.closing:
            return
        self.closing = True
        self._wake.set()
        if self._task is not None:
            if self._opening is not None:
                self._opening.cancel()  # which does nothing to one that is done
            asyncio.get_running_loop().call_later(LINGER_S, self._give_up, self._sent)
        elif self._opening is not None or self._holds():
            self._lost = True
            self._task = asyncio.get_running_loop().create_task(self._end_unstarted())
        else:
            self._lost = True
            self._closed.set()

    def _holds(self) -> bool:
        """Whether there is something to release although nothing was opened here."""
        return False

    async def _end_unstarted(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._end()

    def _give_up(self, sent: int) -> None:
        if self._task is None or self._lost:
            return
        if self._sent != sent:
            asyncio.get_running_loop().call_later(LINGER_S, self._give_up, self._sent)
        else:
            self._task.cancel()

    async def wait_closed(self) -> None:
        """Wait until everything is released. Safe to cancel."""
        await self._closed.wait()
