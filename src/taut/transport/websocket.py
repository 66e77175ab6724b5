"""A client's WebSocket: one message a text frame, subprotocol ``mcp``. On the `websockets` library.

Binary frames are refused (1003), frames over ``max_message_bytes`` too (1009). Redirects are not followed.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed as Closed
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from taut.errors import (
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    HttpError,
    InvalidAnswer,
    TlsError,
    TransportError,
)
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.http.url import parse_url
from taut.transport.messages import MessageTransport

__all__ = ["WebSocketTransport"]

SUBPROTOCOL = Subprotocol("mcp")
#: Seconds between two pings, and to the answer of one.
PING_S = 20.0


class _Connect(connect):
    """Goes where it is sent, and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for the refusal that it is: the headers are for this server."""
        return exc


class WebSocketTransport(MessageTransport):
    """A connection to the server at ``url``, of scheme ``ws`` or ``wss``.

    ``headers`` are sent with the handshake; ``tls`` is a context, where the system's authorities are not those to
    trust. Proxies are taken from the environment, but for this machine itself.

    :raises taut.errors.ConfigError: it is no such URL.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        connect_timeout_s: float = 10.0,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(limits=limits)
        self.url = parse_url(url, ("ws", "wss"))
        self._headers = list(headers)
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self._socket: ClientConnection | None = None

    async def _open(self) -> None:
        place = self.url.origin
        try:
            self._socket = await _Connect(
                str(self.url),
                subprotocols=[SUBPROTOCOL],
                additional_headers=self._headers,
                user_agent_header=None,
                compression=None,  # messages are small, and it costs more than it saves
                proxy=None if self.url.loopback else True,
                open_timeout=self._connect_timeout_s,
                close_timeout=1.0,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                max_size=self.limits.max_message_bytes,
                max_queue=1,  # messages that wait for us, each of which may be as long as that
                ssl=self._tls if self.url.scheme == "wss" else None,
            )
        except TimeoutError:
            raise ConnectTimeout(
                f"{place}: expected a connection within {self._connect_timeout_s:g} s, got none"
            ) from None
        except InvalidStatus as error:
            status = error.response.status_code
            raise HttpError(f"{place}: expected a WebSocket, got status {status}", status) from None
        except InvalidHandshake as error:
            raise InvalidAnswer(f"{place}: expected a WebSocket, got: {error}", sent=False) from error
        except ssl.SSLError as error:
            raise TlsError(f"{place}: expected TLS with a trusted certificate, got: {error}") from error
        except OSError as error:
            raise ConnectError(f"{place}: cannot connect ({error.strerror or error})") from error
        if self._socket.subprotocol != SUBPROTOCOL:
            raise InvalidAnswer(
                f"{place}: expected the subprotocol mcp, got {self._socket.subprotocol or 'none'}: "
                "is that an MCP server?",
                sent=False,
            )

    async def _send(self, message: bytes) -> None:
        assert self._socket is not None
        try:
            await self._socket.send(message.decode())
        except Closed as error:
            raise self._ended(error) from None

    async def _receive(self) -> TransportError | None:
        socket = self._socket
        assert socket is not None
        try:
            while True:
                message = await socket.recv()
                if isinstance(message, bytes):
                    await socket.close(1003, "expected text")
                    return ConnectionClosed(f"{self.url.origin}: expected text, got a binary frame")
                self.take(message.encode())
                self.tell()
        except Closed as error:
            return self._ended(error)

    def _ended(self, error: Closed) -> ConnectionClosed:
        """What is to be said of the end: of the close frame that came, or was sent because of a mistake."""
        frame = error.sent if error.sent is not None and not error.rcvd_then_sent else error.rcvd
        if frame is None:
            return ConnectionClosed(f"{self.url.origin}: the connection was cut")
        reason = f" {frame.reason}" if frame.reason else ""
        return ConnectionClosed(
            f"{self.url.origin}: the connection was closed ({frame.code}{reason})",
            clean=frame.code in (1000, 1001),
        )

    async def _release(self) -> None:
        if self._socket is not None:
            await self._socket.close()
