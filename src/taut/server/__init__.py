"""Servers: `Server` and what its handlers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut._lazy import lazily
from taut.mcp.inputs import Elicit, Elicited, ElicitUrl, ListRoots, Sample
from taut.server.connection import ServerConnection
from taut.server.content import Audio, File, Image
from taut.server.context import Context
from taut.server.registry import TaskOptions
from taut.server.server import Server

if TYPE_CHECKING:
    from taut.mcp.http.events import EventStore, MemoryEventStore
    from taut.server.event_store_sqlite import SQLiteEventStore
    from taut.server.task_store import MemoryTaskStore, TaskStore
    from taut.server.task_store_sqlite import SQLiteTaskStore
    from taut.server.tasks import Tasks

__all__ = [
    "Audio",
    "Context",
    "Elicit",
    "ElicitUrl",
    "Elicited",
    "EventStore",
    "File",
    "Image",
    "ListRoots",
    "MemoryEventStore",
    "MemoryTaskStore",
    "SQLiteEventStore",
    "SQLiteTaskStore",
    "Sample",
    "Server",
    "ServerConnection",
    "TaskOptions",
    "TaskStore",
    "Tasks",
]

#: What few servers use, loaded when it is first asked for.
_HOMES = {
    "EventStore": "taut.mcp.http.events",
    "MemoryEventStore": "taut.mcp.http.events",
    "MemoryTaskStore": "taut.server.task_store",
    "SQLiteEventStore": "taut.server.event_store_sqlite",
    "SQLiteTaskStore": "taut.server.task_store_sqlite",
    "TaskStore": "taut.server.task_store",
    "Tasks": "taut.server.tasks",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, globals())
