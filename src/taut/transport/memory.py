"""A transport within one process and one event loop: two ends, joined by nothing but memory.

The same bytes travel as over a pipe, so everything above behaves as in production; only the kernel is left out.
"""

from __future__ import annotations

import asyncio

from taut._core import Outgoing, ReceiveBuffer
from taut.errors import ConnectionClosed, TransportError
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.base import Receiver

__all__ = ["MemoryTransport", "memory_pair"]

#: Bytes that are handed over at once.
CHUNK_BYTES = 1024 * 1024


class MemoryTransport:
    """One end of a pair; make pairs with `memory_pair`."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.buffer = ReceiveBuffer(max_bytes=limits.max_message_bytes + CHUNK_BYTES)
        self.out = Outgoing()
        self._max_unsent = limits.max_unsent_bytes
        self._other: MemoryTransport | None = None
        self._receiver: Receiver | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._delivering = False
        self._drained: asyncio.Future[None] | None = None
        self._closing = False
        self._closed = asyncio.Event()

    def start(self, receiver: Receiver) -> None:
        """Begin to read, in the running event loop."""
        self._loop = loop = asyncio.get_running_loop()
        self._receiver = receiver
        other = self._other
        if other is None:  # it has come and gone
            loop.call_soon(self._take_last_words)
        else:
            other.flush()

    # -- writing

    def flush(self) -> None:
        """Hand what is in ``out`` to the other end, in the next turn of the loop."""
        other = self._other
        if other is None or self._loop is None or self._delivering or not len(self.out):
            return
        if other._receiver is not None:
            self._delivering = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        other = self._other
        if other is None or other._receiver is None or not len(self.out):
            return
        data = memoryview(self.out.take())
        for start in range(0, len(data), CHUNK_BYTES):
            other.buffer.feed(data[start : start + CHUNK_BYTES])
            if other._receiver is not None:
                other._receiver.data_received()
        self._release_drained()

    async def drain(self) -> None:
        """Wait until the other end has taken what is in ``out``, if that is more than ``max_unsent_bytes``."""
        if len(self.out) > self._max_unsent and not self._closed.is_set():
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def _release_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    # -- the end

    def close(self) -> None:
        """End both directions; the other end sees the end of input after what was sent."""
        if self._closing:
            return
        self._closing = True
        if self._loop is None:
            self._lose(None)
        else:
            self.flush()
            self._loop.call_soon(self._lose, None)

    def _lose(self, error: TransportError | None) -> None:
        receiver, self._receiver = self._receiver, None
        other, self._other = self._other, None
        if self._closed.is_set():
            return
        self._closing = True
        self._closed.set()
        self._release_drained()
        if receiver is not None:
            receiver.connection_lost(error)
        if other is None:
            return
        other._other = None
        if other._loop is not None:
            other._loop.call_soon(other._take_last_words)
        elif len(self.out):
            other.buffer.feed(self.out.take())

    def _take_last_words(self) -> None:
        """The other end is gone; what it left behind is still ours."""
        if self._receiver is not None and len(self.buffer):
            self._receiver.data_received()
        if self._receiver is not None and not self._closing:
            self._receiver.eof_received()
        self._lose(ConnectionClosed("the other end closed the connection", clean=True))

    async def wait_closed(self) -> None:
        """Wait until this end is closed."""
        await self._closed.wait()


def memory_pair(
    *, limits: Limits = DEFAULT_LIMITS, far_limits: Limits | None = None
) -> tuple[MemoryTransport, MemoryTransport]:
    """Return two ends that are joined; each holds what its own reader allows, which ``limits`` say for both."""
    one, two = MemoryTransport(limits=limits), MemoryTransport(limits=far_limits or limits)
    one._other, two._other = two, one
    return one, two
