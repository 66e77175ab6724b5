"""A client of the legacy era that speaks to an ASGI application, and sees every byte of the answers."""

from __future__ import annotations

from typing import Any

import msgspec

from transport.asgi import App, Exchange, scope_of

LATEST = "2025-11-25"
HEADERS = {
    "host": "localhost",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}


def message_of(method: str, params: Any = None, *, id: Any = None) -> dict[str, Any]:
    """Return a request, or a notification without ``id``."""
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if id is not None:
        message["id"] = id
    return message if params is None else {**message, "params": params}


class LegacyClient:
    """One client. It has a session once it was opened."""

    def __init__(self, app: App, *, revision: str = LATEST, token: str | None = None) -> None:
        self.app = app
        self.revision = revision
        self.session: str | None = None
        self.headers: dict[str, str] = {} if token is None else {"authorization": f"Bearer {token}"}
        self._last_id = 0

    def send(self, message: Any, *, method: str = "POST", **headers: str | None) -> Exchange:
        """Send a body; ``headers`` replace the right ones, None leaves one out."""
        own: dict[str, str | None] = {**HEADERS, **self.headers}
        if self.session is not None:
            own |= {"mcp-session-id": self.session, "mcp-protocol-version": self.revision}
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = message if isinstance(message, bytes) else msgspec.json.encode(message)
        sent = {name: value for name, value in own.items() if value is not None}
        return Exchange(self.app, scope_of(sent, method=method), [body])

    async def open(self, **capabilities: Any) -> dict[str, Any]:
        """Open a session; return the result of ``initialize``."""
        params = {
            "protocolVersion": self.revision,
            "capabilities": capabilities,
            "clientInfo": {"name": "tester", "version": "1"},
        }
        exchange = self.send(
            message_of("initialize", params, id=0), mcp_session_id=None, mcp_protocol_version=None
        )
        answer = await exchange.json()
        assert exchange.status == 200, answer
        self.session = exchange.headers.get("mcp-session-id")
        self.revision = answer["result"]["protocolVersion"]
        await self.accepted(message_of("notifications/initialized"))
        result: dict[str, Any] = answer["result"]
        return result

    def post(self, method: str, params: Any = None, *, id: Any = None, **headers: str | None) -> Exchange:
        """Send a request, with the next id unless one is given."""
        if id is None:
            self._last_id = id = self._last_id + 1
        return self.send(message_of(method, params, id=id), **headers)

    def call(self, tool: str, arguments: Any = None, *, id: Any = None, token: Any = None) -> Exchange:
        """Call a tool; ``token`` asks for progress."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments or {}}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return self.post("tools/call", params, id=id)

    async def accepted(self, message: Any) -> None:
        """Send what has no answer."""
        assert await self.status(self.send(message)) == 202

    async def answer(self, id: Any, result: Any) -> None:
        """Answer a request of the server."""
        await self.accepted({"jsonrpc": "2.0", "id": id, "result": result})

    def get(self, after: str | None = None, **headers: str | None) -> Exchange:
        """Listen: to what belongs to no request, or behind an event."""
        own = {"content_type": None, "accept": "text/event-stream"} | headers
        return self.send(b"", method="GET", last_event_id=after, **own)

    def delete(self) -> Exchange:
        """End the session."""
        return self.send(b"", method="DELETE", content_type=None, accept=None)

    @staticmethod
    async def status(exchange: Exchange) -> int:
        """Return the status of a whole answer, which is expected to be short."""
        await exchange.whole()
        return exchange.status


def error_of(exchange: Exchange) -> tuple[int, int, Any]:
    """Return status, JSON-RPC code and id of an answer that is an error."""
    message = msgspec.json.decode(exchange.body)
    return exchange.status, message["error"]["code"], message.get("id", "none")


def text_of(message: Any) -> str:
    """Return the text of a tool's result."""
    return str(message["result"]["content"][0]["text"])
