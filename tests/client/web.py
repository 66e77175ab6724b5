"""An HTTP server that does what a test says, byte for byte, to see what a client makes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

Script = Callable[["Asked"], Awaitable[None]]

DISCOVERED: dict[str, Any] = {
    "resultType": "complete",
    "supportedVersions": ["2026-07-28"],
    "capabilities": {
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "prompts": {},
        "logging": {},
    },
    "ttlMs": 0,
    "cacheScope": "private",
}
INITIALIZED: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": DISCOVERED["capabilities"],
    "serverInfo": {"name": "web", "version": "1"},
}


@dataclass
class Asked:
    """One request, and the ways to answer it."""

    verb: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    message: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The JSON-RPC method, or the HTTP one where there is no message."""
        return str(self.message.get("method", "answer" if self.message else self.verb))

    @property
    def name(self) -> str:
        return str(self.message["params"]["name"])

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def reply(
        self, body: bytes = b"", *, status: int = 200, type: str = "application/json", **headers: str
    ) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}"]
        if body:
            lines.append(f"content-type: {type}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.raw("\r\n".join((*lines, "", "")).encode() + body)

    def result(self, result: dict[str, Any], **headers: str) -> None:
        self.reply(encoded(id=self.message["id"], result=result), **headers)

    def text(self, text: str) -> None:
        """Answer a call of a tool."""
        self.result(text_result(text))

    def error(self, code: int, message: str, *, status: int = 200, data: Any = None) -> None:
        error = {"code": code, "message": message} | ({} if data is None else {"data": data})
        self.reply(encoded(id=self.message.get("id"), error=error), status=status)

    def stream(self, **headers: str) -> None:
        """Begin a stream of events."""
        lines = ["HTTP/1.1 200 X", "content-type: text/event-stream", "transfer-encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.raw("\r\n".join((*lines, "", "")).encode())

    def chunk(self, data: bytes) -> None:
        self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    def event(
        self, message: dict[str, Any] | None, *, id: str | None = None, retry: int | None = None
    ) -> None:
        lines = [] if id is None else [f"id: {id}"]
        if retry is not None:
            lines.append(f"retry: {retry}")
        data = "" if message is None else encoded(**message).decode()
        self.chunk("\n".join((*lines, f"data: {data}", "", "")).encode())

    def done(self) -> None:
        """End the stream."""
        self.chunk(b"")

    def drop(self) -> None:
        """Close the connection."""
        self.writer.close()


def encoded(**members: Any) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", **members})


def text_result(text: str) -> dict[str, Any]:
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}


class Web:
    """Serves ``script``, which is called with each request. What it does not answer stays unanswered."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[Asked] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._news = asyncio.Event()
        self._left = asyncio.Event()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/mcp"

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    async def stop(self) -> None:
        """Be gone, in the middle of whatever it is."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            self._server = None

    def methods(self) -> list[str]:
        return [asked.method for asked in self.asked]

    async def heard(self, method: str, count: int = 1) -> Asked:
        """Wait for the request number ``count`` of ``method``."""
        while self.methods().count(method) < count:
            self._news.clear()
            await self._news.wait()
        return [asked for asked in self.asked if asked.method == method][count - 1]

    async def left(self) -> None:
        """Wait until a client has closed a connection."""
        await self._left.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                pairs = [line.split(": ", 1) for line in head[1:] if line]
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(head[0].split()[0], headers, body, writer)
                if body:
                    decoded = msgspec.json.decode(body)
                    asked.message = decoded
                self.asked.append(asked)
                self._news.set()
                await self._script(asked)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except BaseException as error:
            self.failures.append(error)
            raise
        finally:
            self._writers.discard(writer)
            self._left.set()
            writer.close()


@contextlib.asynccontextmanager
async def web(script: Script) -> AsyncIterator[Web]:
    """Serve ``script``; what it raises is raised here."""
    server = Web(script)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        failures = [error for error in server.failures if not isinstance(error, asyncio.CancelledError)]
        if failures:
            raise failures[0]


def modern(then: Script) -> Script:
    """Answer ``server/discover``, and leave the rest to ``then``."""

    async def script(asked: Asked) -> None:
        if asked.method == "server/discover":
            asked.result(DISCOVERED)
        else:
            await then(asked)

    return script


def legacy(then: Script, *, session: str | None = "s-1", events: bool = False) -> Script:
    """Open a session, take notifications; refuse the GET stream unless ``events``; leave the rest to ``then``."""

    async def script(asked: Asked) -> None:
        if asked.method == "server/discover":
            asked.error(-32601, "Method not found")
        elif asked.method == "initialize":
            asked.result(INITIALIZED, **({} if session is None else {"mcp_session_id": session}))
        elif asked.method.startswith("notifications/"):
            asked.reply(status=202)
        elif asked.verb == "DELETE":
            asked.reply(status=204)
        elif asked.verb == "GET" and not events:
            asked.reply(status=405)
        else:
            await then(asked)

    return script


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until ``condition`` holds."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("Expected a condition to hold by now")
