"""The server's end of a WebSocket, on the ASGI scope of that name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from taut.errors import ConnectionClosed, TransportError
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.messages import MessageTransport

if TYPE_CHECKING:
    from taut.transport.http.asgi import Receive, Send

__all__ = ["SUBPROTOCOL", "AsgiWebSocket"]

SUBPROTOCOL = "mcp"
# Close codes (RFC 6455, section 7.4.1).
NORMAL, GOING_AWAY, UNSUPPORTED, TOO_BIG = 1000, 1001, 1003, 1009


class AsgiWebSocket(MessageTransport):
    """An accepted WebSocket: one message a text frame."""

    def __init__(self, receive: Receive, send: Send, *, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits=limits, pauses=True)
        self._receive_event = receive
        self._send_event = send
        self._code = NORMAL
        self._reason = ""
        self._gone = False

    async def _send(self, message: bytes) -> None:
        await self._send_event({"type": "websocket.send", "text": message.decode()})

    async def _receive(self) -> TransportError | None:
        while True:
            await self.may_receive()
            event = await self._receive_event()
            if event["type"] == "websocket.disconnect":
                self._gone = True
                code = event.get("code", 1005)
                return ConnectionClosed(
                    f"the client closed the WebSocket ({code})", clean=code in (NORMAL, GOING_AWAY, 1005)
                )
            text = event.get("text")
            if text is None:
                self._refuse(UNSUPPORTED, "expected text")
            elif len(message := text.encode()) > self.limits.max_message_bytes:
                self._refuse(TOO_BIG, f"expected at most {self.limits.max_message_bytes} bytes")
            else:
                self.take(message)
                self.tell()
            if self._code != NORMAL:
                return ConnectionClosed(f"the WebSocket was closed ({self._code} {self._reason})")

    def _refuse(self, code: int, reason: str) -> None:
        self._code, self._reason = code, reason

    def go_away(self) -> None:
        """Say at the end that it is the server that stops."""
        if self._code == NORMAL:
            self._code = GOING_AWAY

    def _holds(self) -> bool:
        return True

    async def _release(self) -> None:
        if not self._gone:
            self._gone = True
            # Servers differ in what they raise where the client has gone meanwhile.
            with contextlib.suppress(OSError, RuntimeError):
                await self._send_event(
                    {"type": "websocket.close", "code": self._code, "reason": self._reason}
                )
