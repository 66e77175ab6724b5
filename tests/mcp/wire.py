"""A peer, and the other side of its wire as plain Python values."""

from __future__ import annotations

from typing import Any

import msgspec

from taut import models
from taut._core import Outgoing, parse
from taut.errors import RemoteProtocolError
from taut.mcp.client_peer import ClientPeer, ClientProfile
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.peer import Peer
from taut.mcp.server_peer import ServerPeer, ServerProfile

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "tester", "version": "1"},
}

EVERYTHING = models.ServerCapabilities(
    tools=models.ToolsCapability(list_changed=True),
    resources=models.ResourcesCapability(subscribe=True, list_changed=True),
    prompts=models.PromptsCapability(list_changed=True),
    completions={},
    logging={},
)


def server_profile(capabilities: models.ServerCapabilities = EVERYTHING, **options: Any) -> ServerProfile:
    return ServerProfile(models.Implementation("server", "1"), capabilities, **options)


class Wire:
    """Says things to a peer and reads what it says."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def say(self, message: Any) -> Any:
        """Hand a message (a value, or raw bytes) to the peer; return the event that it makes."""
        raw = message if isinstance(message, bytes) else msgspec.json.encode(message)
        try:
            parsed = parse(raw)
        except RemoteProtocolError as error:
            parsed = error
        return self.peer.receive(parsed)

    def call(self, id: Any, method: str, params: Any = None) -> Any:
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
        if params is not None:
            message["params"] = params
        return self.say(message)

    def notify(self, method: str, params: Any = None) -> Any:
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        return self.say(message)

    def answer(self, id: Any, result: Any) -> Any:
        return self.say({"jsonrpc": "2.0", "id": id, "result": result})

    def heard(self) -> list[Any]:
        """Return what the peer has said since the last time."""
        return [msgspec.json.decode(line) for line in self.peer.out.take().splitlines()]

    def heard_one(self) -> Any:
        messages = self.heard()
        assert len(messages) == 1, messages
        return messages[0]


class ServerWire(Wire):
    """The client's side of a server's wire."""

    peer: ServerPeer

    def __init__(self, profile: ServerProfile | None = None, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(ServerPeer(Outgoing(), profile or server_profile(), limits=limits))

    def initialize(self, revision: str = "2025-11-25", capabilities: Any = None) -> Any:
        """Open a legacy session; returns the result of ``initialize``."""
        info = {"name": "tester", "version": "1"}
        params = {"protocolVersion": revision, "capabilities": capabilities or {}, "clientInfo": info}
        assert self.call(0, "initialize", params) is None
        result = self.heard_one()["result"]
        self.notify("notifications/initialized")
        return result

    def modern(self, id: Any, method: str, params: dict[str, Any] | None = None, **meta: Any) -> Any:
        """Send a request of 2026-07-28; ``meta`` replaces members of its ``_meta`` by their last word."""
        own = dict(META)
        for name, value in meta.items():
            own["progressToken" if name == "progressToken" else f"io.modelcontextprotocol/{name}"] = value
        return self.call(id, method, {"_meta": own, **(params or {})})


class ClientWire(Wire):
    """The server's side of a client's wire."""

    peer: ClientPeer

    def __init__(
        self, capabilities: models.ClientCapabilities | None = None, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        profile = ClientProfile(
            models.Implementation("client", "1"), capabilities or models.ClientCapabilities()
        )
        super().__init__(ClientPeer(Outgoing(), profile, limits=limits))
