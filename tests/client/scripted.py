"""A server that does what a test says, to see what a client makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from taut._core import LineFramer
from taut.errors import TransportError
from taut.transport.base import Transport

DISCOVERED = {
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


class Scripted:
    """Answers ``server/discover`` by itself, and every other message with ``on_message(server, message)``."""

    def __init__(self, on_message: Callable[[Scripted, dict[str, Any]], None]) -> None:
        self._on_message = on_message
        self.heard: list[dict[str, Any]] = []
        self._transport: Transport | None = None
        self._ended = asyncio.Event()

    async def serve(self, transport: Transport) -> None:
        self._transport = transport
        self._lines = LineFramer(transport.buffer, max_bytes=1 << 20)
        transport.start(self)
        await self._ended.wait()

    def say(self, *messages: dict[str, Any]) -> None:
        """Send messages so that they arrive in one read."""
        assert self._transport is not None
        for message in messages:
            self._transport.out.append(msgspec.json.encode({"jsonrpc": "2.0", **message}))
        self._transport.flush()

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def data_received(self) -> None:
        while (line := self._lines.next()) is not None:
            message = msgspec.json.decode(bytes(line))
            if message.get("method") == "server/discover":
                self.say({"id": message["id"], "result": DISCOVERED})
            else:
                self.heard.append(message)
                self._on_message(self, message)

    def eof_received(self) -> None:
        self.close()

    def connection_lost(self, error: TransportError | None) -> None:
        self._ended.set()
