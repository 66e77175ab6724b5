"""An ASGI server of few lines: it speaks to an application, and hears what that sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from taut._core import SSEEvent, SSEParser

REVISION = "2026-07-28"
TERMS = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HEADERS = {
    "host": "localhost",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": REVISION,
}
App = Callable[[Any, Any, Any], Awaitable[None]]


class Exchange:
    """One HTTP request to an application, and its response as it comes."""

    def __init__(self, app: App, scope: dict[str, Any], parts: list[bytes], *, whole: bool = True) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.complete = False
        #: The id of the newest event that was returned.
        self.last_event_id: str | None = None
        self._events: list[SSEEvent] = []
        self._parser = SSEParser(max_bytes=1 << 20)
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for left, part in zip(range(len(parts) - 1, -1, -1), parts, strict=True):
            self.feed(part, more=left > 0 or not whole)
        self.task = asyncio.ensure_future(app(scope, self._incoming.get, self._outgoing.put))

    def feed(self, part: bytes, *, more: bool) -> None:
        """Send a part of the body."""
        self._incoming.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def disconnect(self) -> None:
        """Go away."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def _next(self) -> bytes:
        """Return the next part of the response's body."""
        message = await self._outgoing.get()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            message = await self._outgoing.get()
        part: bytes = message.get("body", b"")
        self.body += part
        self.complete = not message.get("more_body", False)
        return part

    async def events(self, count: int) -> list[Any]:
        """Return the messages of the next ``count`` events that have one."""
        found: list[Any] = []
        while len(found) < count:
            event = await self.event()
            if event.data:
                found.append(msgspec.json.decode(event.data))
        return found

    async def event(self) -> SSEEvent:
        """Return the next event as it is."""
        while not self._events:
            assert not self.complete
            self._events += self._parser.feed(await self._next())
        return self._take()

    async def rest(self) -> list[Any]:
        """Return the messages of all events until the end of the response."""
        found: list[Any] = []
        while self._events or not self.complete:
            while self._events:
                event = self._take()
                found += [msgspec.json.decode(event.data)] if event.data else []
            if not self.complete:
                self._events += self._parser.feed(await self._next())
        await self.task
        return found

    def _take(self) -> SSEEvent:
        event = self._events.pop(0)
        self.last_event_id = event.id or self.last_event_id
        return event

    async def whole(self) -> None:
        """Wait for the end of the response."""
        while not self.complete:
            await self._next()
        await self.task

    async def comment(self) -> bytes:
        """Return the next part, which is expected to be no event."""
        return await self._next()

    async def json(self) -> Any:
        """Return the whole response, which is expected to be JSON."""
        await self.whole()
        assert self.headers["content-type"] == "application/json"
        assert int(self.headers["content-length"]) == len(self.body)
        return msgspec.json.decode(self.body)


def scope_of(
    headers: Mapping[str, str], *, method: str = "POST", path: str = "/mcp", **more: Any
) -> dict[str, Any]:
    """Return the scope of an HTTP request."""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "path": path, "headers": raw, **more}


def body_of(method: str, params: dict[str, Any] | None = None, *, id: Any = 1, **meta: Any) -> bytes:
    """Return the JSON text of a request; ``meta`` are further members of its ``_meta``."""
    own = {**(params or {}), "_meta": {**TERMS, **meta}}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": own})


def post(
    app: App, method: str, params: dict[str, Any] | None = None, *, id: Any = 1, **meta: Any
) -> Exchange:
    """Send a request of the modern era."""
    name = next((value for key, value in (params or {}).items() if key in ("name", "uri", "taskId")), None)
    headers = {**HEADERS, "mcp-method": method} | ({} if name is None else {"mcp-name": name})
    return Exchange(app, scope_of(headers), [body_of(method, params, id=id, **meta)])


def call(
    app: App, tool: str, arguments: dict[str, Any] | None = None, *, id: Any = 1, **meta: Any
) -> Exchange:
    """Call a tool."""
    return post(app, "tools/call", {"name": tool, "arguments": arguments or {}}, id=id, **meta)
