"""A taut server without I/O: bytes go in, bytes come out, in one call."""

import asyncio

from taut import Server
from taut._core import Outgoing, ReceiveBuffer
from taut.mcp.limits import DEFAULT_LIMITS
from taut.server.connection import ServerConnection
from taut.transport.base import Receiver

INITIALIZE = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    b'"clientInfo":{"name":"bench","version":"1.0"}}}\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
)
META = (
    b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    b'"io.modelcontextprotocol/clientCapabilities":{},'
    b'"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1.0"}}'
)


class Loopback:
    """A transport whose other end is whoever calls `exchange`."""

    def __init__(self) -> None:
        self.buffer = ReceiveBuffer(max_bytes=DEFAULT_LIMITS.max_message_bytes)
        self.out = Outgoing()
        self.receiver: Receiver

    def start(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def flush(self) -> None:
        """Nothing to do: `exchange` takes what is in ``out``."""

    async def drain(self) -> None:
        """Never full."""

    def close(self) -> None:
        self.receiver.connection_lost(None)

    async def wait_closed(self) -> None:
        """Owns nothing."""

    def exchange(self, data: bytes) -> bytes:
        """Deliver `data` as one read event, and return what would have been written at its end."""
        self.buffer.feed(data)
        self.receiver.data_received()
        return self.out.take()


def server() -> Server:
    app = Server("bench", version="1.0")

    @app.tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @app.tool
    def echo(text: str) -> str:
        """Return the text."""
        return text

    return app


def connected(*, modern: bool = False) -> Loopback:
    """Return a loopback with a server behind it that has answered the handshake."""
    transport = Loopback()

    async def connect() -> None:
        ServerConnection(server(), transport).start()

    # Only plain functions are called, so nothing happens outside of `exchange`: the loop is not needed again.
    asyncio.run(connect())
    if not modern:
        transport.exchange(INITIALIZE)
    return transport


def call(tool: str, arguments: bytes, *, id: int = 1, modern: bool = False) -> bytes:
    """Return one encoded ``tools/call``."""
    meta = b"," + META if modern else b""
    return b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"%s","arguments":%s%s}}\n' % (
        id,
        tool.encode(),
        arguments,
        meta,
    )
