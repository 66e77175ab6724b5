"""What a client sends without expecting an answer over HTTP: notifications, and its answers to a legacy server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

from taut.errors import SessionExpired, TautError, TransportError
from taut.mcp.http.status import is_events, status_error

if TYPE_CHECKING:
    from taut.client.http import HttpConnection
    from taut.transport.http.call import Call

__all__ = ["Told"]

logger = logging.getLogger("taut")

#: Bytes of a body that are read to keep the connection.
MAX_BODY_BYTES = 64 * 1024


@final
class Told:
    """Hears what comes of one such message. ``done`` is set when the server has taken it, or will not."""

    __slots__ = ("_connection", "_left", "_session", "call", "done")

    call: Call | None

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._session = connection.headers.session
        self._left = MAX_BODY_BYTES
        self.call = None
        self.done: asyncio.Future[None] = connection.loop.create_future()

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """The server has read the message, and perhaps refused it. What it says besides is not waited for."""
        if is_events(headers.get(b"content-type")) and self.call is not None:
            self.call.abort()  # such a body has no end
        taken = 200 <= status < 300
        self._finish(
            None
            if taken
            else status_error(status, headers, "a message", in_session=self._session is not None)
        )

    def data(self, chunk: bytes) -> None:
        """Nothing is expected; more than a little is not worth the connection."""
        self._left -= len(chunk)
        if self._left < 0 and self.call is not None:
            self.call.abort()

    def end(self) -> None:
        """Nothing is left to say."""

    def failed(self, error: TransportError) -> None:
        """Nobody knows whether it arrived."""
        self._finish(error)

    def cancel(self) -> None:
        """Give the message up."""
        if self.call is not None:
            self.call.abort()
        if not self.done.done():
            self.done.set_result(None)

    def _finish(self, error: TautError | None) -> None:
        if self.done.done():
            return
        if isinstance(error, SessionExpired):
            self._connection.expire(self._session)
        elif error is not None and self._connection.lost is None:
            logger.warning("the server did not take a message: %s", error)
        self.done.set_result(None)
        self._connection.told(self)
