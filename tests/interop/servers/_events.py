"""Keeps the events of streams in memory, so that the servers on the official Python SDK can resume them."""

from typing import Any

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore


class Events(EventStore):
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self.events.append((stream_id, message))
        return str(len(self.events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str:
        last = int(last_event_id)
        stream = self.events[last - 1][0]
        for number, (other, message) in enumerate(self.events[last:], last + 1):
            if other == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
