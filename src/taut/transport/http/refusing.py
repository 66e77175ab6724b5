"""What a connection gets that is one too many."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from typing import Any

from taut.mcp.http.reply import refusal

__all__ = ["Refusal"]

#: Seconds that a refused client gets to read why.
REFUSED_S = 1.0


class Refusal(asyncio.Protocol):
    """Answers a connection that is one too many with status 503, whatever it asks, and closes it."""

    def __init__(self, done: Callable[[Refusal], object]) -> None:
        self._done = done
        self._timer: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        """Say no."""
        self.transport = transport
        transport.write(_REFUSED)
        if transport.can_write_eof():
            transport.write_eof()
        # Closing at once, with the request unread, would reset the connection and take the answer with it.
        self._timer = asyncio.get_running_loop().call_later(REFUSED_S, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        if self._timer is not None:
            self._timer.cancel()
        self._done(self)


def _refused() -> bytes:
    reply = refusal(503, "Too many connections are open", headers=((b"retry-after", b"1"),))
    fields = (*reply.fields(), (b"connection", b"close"))
    head = b"".join(b"%s: %s\r\n" % field for field in fields)
    status = http.HTTPStatus(reply.status)
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, status.phrase.encode(), head, reply.body)


_REFUSED = _refused()
