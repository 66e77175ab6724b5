"""What a transport is: owned bytes in, owned bytes out, and four callbacks.

A transport fills ``buffer`` and calls ``data_received``; it empties ``out`` when told to `flush`. There is no
queue, stream or task between it and the protocol: one read event may carry many messages, and all their answers
leave with one write.

Contract for every transport (the tests hold each to it):

- callbacks run in the event loop's thread, never from within `flush`;
- after `connection_lost`, which comes exactly once, no other callback comes;
- `close` may be called from any task, in any order, twice; what is unsent is still written while the peer takes it;
- a client that does not read makes the server's ``out`` grow to ``max_unsent_bytes``, then the server stops reading
  from it until it does. A client goes on reading: were both to stop, two that write much would wait for each other.
"""

from __future__ import annotations

from typing import Protocol

from taut._core import Outgoing, ReceiveBuffer
from taut.errors import TransportError

__all__ = ["Receiver", "Transport"]


class Receiver(Protocol):
    """Who is told what happens on a transport."""

    def data_received(self) -> None:
        """New bytes are in the transport's ``buffer``."""

    def eof_received(self) -> None:
        """The peer will send nothing more; it may still read."""

    def connection_lost(self, error: TransportError | None) -> None:
        """Nothing more can be sent or received; ``error`` is None after a clean end."""


class Transport(Protocol):
    """A connection that carries messages in order, both ways."""

    buffer: ReceiveBuffer
    out: Outgoing

    def start(self, receiver: Receiver) -> None:
        """Begin to read, in the running event loop. Call once."""

    def flush(self) -> None:
        """Write what is in ``out``: now as far as the peer takes it, the rest when it can."""

    async def drain(self) -> None:
        """Wait until less than ``max_unsent_bytes`` is unsent, or the connection is lost."""

    def close(self) -> None:
        """End the connection after what is unsent has been written."""

    async def wait_closed(self) -> None:
        """Wait until everything that the transport owns is released. Safe to cancel."""
