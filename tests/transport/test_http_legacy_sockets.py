"""Legacy clients of the protocol class that serves sockets: what the ASGI path promises holds there as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import uvicorn
from uvicorn.server import ServerState

from faults.loops import Run
from taut._core import SSEParser
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.protocol import NativeHttp
from transport.legacy import HEADERS, LATEST, message_of, text_of
from transport.test_http_legacy import Gate, adder


class Socket:
    """One connection of a client that reads what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.headers: dict[str, str] = {}
        self.status = 0

    def send(self, message: Any = b"", *, method: str = "POST", **headers: str) -> None:
        body = message if isinstance(message, bytes) else msgspec.json.encode(message)
        own = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = "".join(f"{name}: {value}\r\n" for name, value in own.items())
        head = f"{method} /mcp HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)

    async def head(self) -> None:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        fields = [line.split(": ", 1) for line in lines[1:] if line]
        self.headers = {name.lower(): value for name, value in fields}

    async def json(self) -> Any:
        await self.head()
        body = await self.reader.readexactly(int(self.headers["content-length"]))
        return msgspec.json.decode(body) if body else None

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        part = await self.reader.readexactly(size)
        await self.reader.readexactly(2)
        return part

    async def messages(self) -> list[Any]:
        """Return the messages of a stream, to its end."""
        parser = SSEParser(max_bytes=1 << 20)
        found: list[Any] = []
        while part := await self.chunk():
            found += [msgspec.json.decode(event.data) for event in parser.feed(part) if event.data]
        return found

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def serving(app: AsgiApp) -> AsyncIterator[Any]:
    """Serve on a socket; yields what connects to it."""
    config = uvicorn.Config(app, http="httptools", ws="none", log_config=None)
    config.load()
    state = ServerState()
    native = NativeHttp(app)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: native(config, state, {}), "127.0.0.1", 0)
    await app.start()

    async def connect() -> Socket:
        return Socket(*await asyncio.open_connection(*server.sockets[0].getsockname()[:2]))

    try:
        yield connect
    finally:
        server.close()
        await app.end()
        for connection in list(state.connections):
            connection.transport.abort()
        await server.wait_closed()


async def opened(socket: Socket) -> dict[str, str]:
    """Open a session; return its headers."""
    params = {"protocolVersion": LATEST, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    socket.send(message_of("initialize", params, id=0))
    await socket.json()
    return {"mcp_session_id": socket.headers["mcp-session-id"], "mcp_protocol_version": LATEST}


def call_of(tool: str, id: Any = 1, **arguments: Any) -> dict[str, Any]:
    meta = {"progressToken": "t"}
    return message_of("tools/call", {"name": tool, "arguments": arguments, "_meta": meta}, id=id)


def test_calls_of_a_session_over_one_connection(run: Run) -> None:
    async def main() -> None:
        async with serving(adder().asgi()) as connect:
            socket = await connect()
            session = await opened(socket)
            for number in range(3):
                socket.send(call_of("add", number, a=number, b=1), **session)
                assert text_of(await socket.json()) == str(number + 1)
            socket.send(message_of("notifications/initialized"), **session)
            assert (await socket.json(), socket.status) == (None, 202)
            socket.send(method="DELETE", **session)
            assert (await socket.json(), socket.status) == (None, 200)
            socket.send(message_of("ping", id=1), **session)
            await socket.json()
            assert socket.status == 404
            await socket.close()

    run(main())


def test_a_lost_connection_does_not_withdraw_the_request(run: Run) -> None:
    async def main() -> None:
        gate = Gate()
        asgi = gate.app.asgi()
        async with serving(asgi) as connect:
            first, second = await connect(), await connect()
            session = await opened(first)
            first.send(call_of("report"), **session)
            await first.head()
            assert b"id: 1-1" in await first.chunk()
            await first.close()
            second.send(method="GET", last_event_id="1-1", **session)
            await second.head()
            gate.go.set()
            *reports, answer = await second.messages()
            assert [report["params"]["progress"] for report in reports] == [2, 3]
            assert text_of(answer) == "reported"
            await second.close()

    run(main())


def test_a_connection_that_is_lost_before_anything_was_said(run: Run) -> None:
    async def main() -> None:
        gate = Gate()
        asgi = gate.app.asgi()
        async with serving(asgi) as connect:
            first, second = await connect(), await connect()
            session = await opened(first)
            first.send(call_of("wait"), **session)
            await gate.began.wait()
            await first.close()
            second.send(message_of("ping", id=8), **session)
            assert (await second.json())["result"] == {}
            assert gate.ended.empty()
            gate.go.set()
            assert await gate.ended.get() == "done"
            second.send(message_of("ping", id=9), **session)
            await second.json()
            assert asgi.endpoint.open == 0
            await second.close()

    run(main())


def test_a_cancelled_request_ends_without_an_answer(run: Run) -> None:
    async def main() -> None:
        gate = Gate()
        async with serving(gate.app.asgi()) as connect:
            first, second = await connect(), await connect()
            session = await opened(first)
            first.send(call_of("wait", 5), **session)
            await gate.began.wait()
            second.send(message_of("notifications/cancelled", {"requestId": 5}), **session)
            await second.json()
            assert second.status == 202
            await first.head()
            assert await first.messages() == []
            first.send(message_of("ping", id=6), **session)
            assert (await first.json())["result"] == {}
            await first.close()
            await second.close()

    run(main())
