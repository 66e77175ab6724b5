"""HTTP without sockets: a request goes in, its answer comes out, in one call."""

import asyncio
import atexit
from collections.abc import Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from benchmarks._inprocess import call, server
from benchmarks.servers.http.floor_protocol import UvicornFloor
from taut.mcp.http.head import Head
from taut.mcp.http.reply import Reply
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.protocol import NativeHttp

BODY = call("add", b'{"a":17,"b":25}', modern=True)
FIELDS = (
    (b"host", b"127.0.0.1:8000"),
    (b"accept", b"application/json, text/event-stream"),
    (b"content-type", b"application/json"),
    (b"mcp-protocol-version", b"2026-07-28"),
    (b"mcp-method", b"tools/call"),
    (b"mcp-name", b"add"),
    (b"content-length", b"%d" % len(BODY)),
)


class Wire:
    """A transport that keeps what was written last."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written = data

    def get_extra_info(self, name: str) -> Any:
        return None

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


def served() -> tuple[AsgiApp, asyncio.AbstractEventLoop]:
    """Return an application that has been started, and its loop, which is not running. It is stopped at exit."""
    app, loop = server().asgi(), asyncio.new_event_loop()
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    events.put_nowait({"type": "lifespan.startup"})

    async def send(message: Any) -> None:
        if message["type"] == "lifespan.startup.complete":
            loop.stop()

    def end() -> None:
        events.put_nowait({"type": "lifespan.shutdown"})
        loop.run_until_complete(lifespan)
        loop.close()

    lifespan = loop.create_task(app({"type": "lifespan"}, events.get, send))
    loop.run_forever()
    atexit.register(end)
    return app, loop


def posted() -> Callable[[], Reply]:
    """Return what answers the usual call, from its parsed head to the reply."""
    app, loop = served()

    def post() -> Reply:
        # Whoever works on a request wants to know its loop, which has nothing to do here.
        asyncio._set_running_loop(loop)
        head = app.endpoint.admit("POST", FIELDS)
        if not isinstance(head, Head):
            raise SystemExit(f"Expected to be admitted, got {head}")
        reply = app.begin(head, BODY)
        app.endpoint.leave()
        asyncio._set_running_loop(None)
        if not isinstance(reply, Reply) or reply.status != 200:
            raise SystemExit(f"Expected an answer at once, got {reply}")
        return reply

    return post


def applied() -> Callable[[], Any]:
    """Return what has the ASGI application answer the usual call, and returns the messages of the answer."""
    app, loop = served()
    body = {"type": "http.request", "body": BODY, "more_body": False}
    said: list[Any] = []

    async def receive() -> Any:
        return body

    async def send(message: Any) -> None:
        said.append(message)

    def call() -> list[Any]:
        scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": list(FIELDS)}
        said.clear()
        asyncio._set_running_loop(loop)
        serving = app(scope, receive, send)
        try:
            serving.send(None)
        except StopIteration:
            pass
        else:
            raise SystemExit("Expected an answer at once")
        finally:
            asyncio._set_running_loop(None)
        if said[0]["status"] != 200:
            raise SystemExit(f"Expected an answer, got {said}")
        return said

    return call


def requests(*, new_heads: bool) -> Callable[[], bytes]:
    """Return what makes the bytes of the usual call, with or without a header that is another each time."""
    number = 0
    fixed = b"POST /mcp HTTP/1.1\r\n" + b"".join(b"%s: %s\r\n" % field for field in FIELDS)
    same = fixed + b"\r\n" + BODY

    def make() -> bytes:
        nonlocal number
        number += 1
        return fixed + b"traceparent: 00-%032x-%016x-01\r\n\r\n" % (number, number) + BODY

    return make if new_heads else lambda: same


def connected(*, floor: bool = False, new_heads: bool = False) -> Callable[[], bytes]:
    """Return what reads the usual call on a connection of uvicorn's, ours or the floor's, and returns what it wrote."""
    app, loop = served()
    config = Config(app, http="httptools", ws="none", log_level="critical", access_log=False)
    config.load()
    make: Any = UvicornFloor if floor else NativeHttp(app)
    protocol, wire = make(config, ServerState(), {}, loop), Wire()
    protocol.connection_made(wire)
    request = requests(new_heads=new_heads)

    def exchange() -> bytes:
        asyncio._set_running_loop(loop)
        protocol.data_received(request())
        asyncio._set_running_loop(None)
        return wire.written

    if b"HTTP/1.1 200 OK" not in exchange():
        raise SystemExit(f"Expected an answer, got {wire.written!r}")
    return exchange
