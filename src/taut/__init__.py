"""MCP in Python, with no slack in the wire.

The public names, loaded when they are first used: ``import taut`` itself loads nothing but this module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taut.agent import Agent
    from taut.client import Client, Subscription
    from taut.errors import TautError, ToolError
    from taut.mcp.http.sessions import SessionOptions
    from taut.mcp.limits import Limits
    from taut.server import (
        Audio,
        Context,
        Elicit,
        Elicited,
        ElicitUrl,
        File,
        Image,
        ListRoots,
        Sample,
        Server,
        TaskOptions,
        Tasks,
    )
    from taut.transport.http.patience import Patience

__version__ = "0.1.0.dev0"

__all__ = [
    "Agent",
    "Audio",
    "Client",
    "Context",
    "Elicit",
    "ElicitUrl",
    "Elicited",
    "File",
    "Image",
    "Limits",
    "ListRoots",
    "Patience",
    "Sample",
    "Server",
    "SessionOptions",
    "Subscription",
    "TaskOptions",
    "Tasks",
    "TautError",
    "ToolError",
]

_HOMES = {
    "Agent": "taut.agent",
    "Audio": "taut.server",
    "Client": "taut.client",
    "Context": "taut.server",
    "Elicit": "taut.server",
    "ElicitUrl": "taut.server",
    "Elicited": "taut.server",
    "File": "taut.server",
    "Image": "taut.server",
    "Limits": "taut.mcp.limits",
    "ListRoots": "taut.server",
    "Patience": "taut.transport.http.patience",
    "Sample": "taut.server",
    "Server": "taut.server",
    "SessionOptions": "taut.mcp.http.sessions",
    "Subscription": "taut.client",
    "TaskOptions": "taut.server",
    "Tasks": "taut.server",
    "TautError": "taut.errors",
    "ToolError": "taut.errors",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'taut' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
