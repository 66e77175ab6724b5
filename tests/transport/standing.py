"""Both ends of transports over real servers: uvicorn in the same event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

from taut.mcp.limits import Limits
from taut.transport.base import Transport
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.sse_client import SseTransport
from taut.transport.http.standing import EventSession
from taut.transport.http.websocket import SUBPROTOCOL, AsgiWebSocket
from taut.transport.websocket import WebSocketTransport

__all__ = ["event_pair", "uvicorn_at", "websocket_pair"]

Application = Callable[[Any, Any, Any], Awaitable[None]]


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def uvicorn_at(app: Application | AsgiApp, **options: Any) -> AsyncIterator[str]:
    """Serve ``app``; yields host and port."""
    config = uvicorn.Config(
        app,
        port=0,
        ws="websockets-sansio",
        log_level="warning",
        lifespan=options.pop("lifespan", "off"),
        timeout_graceful_shutdown=1,
        ws_max_size=1 << 30,
        **options,
    )
    server = _Quiet(config)
    task = asyncio.create_task(server.serve())
    while not server.started and not task.done():  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def websocket_pair(limits: Limits) -> AsyncIterator[tuple[Transport, Transport]]:
    """A client's and a server's end of a WebSocket."""
    accepted: asyncio.Future[AsgiWebSocket] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        transport = AsgiWebSocket(receive, send, limits=limits)
        accepted.set_result(transport)
        await transport.wait_closed()

    async with uvicorn_at(app) as place:
        client = WebSocketTransport(f"ws://{place}/mcp", limits=limits)
        await client.open()
        server = await accepted
        try:
            yield client, server
        finally:
            await _closed(client, server)


@contextlib.asynccontextmanager
async def event_pair(limits: Limits) -> AsyncIterator[tuple[Transport, Transport]]:
    """A client's and a server's end of HTTP+SSE."""
    sessions: list[EventSession] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            session = EventSession(receive, send, endpoint="/post", limits=limits)
            sessions.append(session)
            # A server's end names the endpoint before it is served: so the client can be opened first.
            await session.open()
            await session.wait_closed()
            return
        body = b""
        more = True
        while more:
            event = await receive()
            if event["type"] == "http.disconnect":
                return
            body += event.get("body", b"")
            more = event.get("more_body", False)
        status = 202 if await sessions[0].post(body) else 404
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with uvicorn_at(app) as place:
        client = SseTransport(f"http://{place}/sse", limits=limits)
        await client.open()
        try:
            yield client, sessions[0]
        finally:
            await _closed(client, sessions[0])


async def _closed(*transports: Transport) -> None:
    for transport in transports:
        transport.close()
        await transport.wait_closed()
