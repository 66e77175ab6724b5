"""From what a client is told to connect to, to a transport."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from taut.errors import ConfigError
from taut.mcp.limits import Limits
from taut.transport.base import Transport
from taut.transport.memory import MemoryTransport, memory_pair
from taut.transport.process import ProcessTransport, StderrSink

__all__ = ["Serves", "Target", "is_url", "open_target"]

#: A URL, a command line, a list of arguments, a Python file with a server, a server object, or a transport.
Target: TypeAlias = "str | Path | Sequence[str] | Serves | Transport"


class Serves(Protocol):
    """What a server object must do to be a client's target: serve one transport until it ends."""

    async def serve(self, transport: Transport) -> None:
        """Serve the client on ``transport``."""


def is_url(target: object) -> bool:
    """Whether the target is reached over HTTP."""
    return isinstance(target, str) and re.match(r"https?://", target, re.IGNORECASE) is not None


def command_of(target: str | Path | Sequence[str]) -> list[str]:
    """Return the argument list of a command target.

    :raises taut.errors.ConfigError: it is empty, or the URL of something else.
    """
    if isinstance(target, Path):
        return [sys.executable, str(target)]
    if not isinstance(target, str):
        return list(target)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", target):
        raise ConfigError(f"Expected a URL of http, https, ws or wss, a command or a file, got {target}")
    words = shlex.split(target)
    if len(words) == 1 and words[0].endswith(".py"):
        return [sys.executable, words[0]]
    if not words:
        raise ConfigError("Expected a command, got an empty string")
    return words


def open_target(
    target: Target,
    *,
    env: Mapping[str, str] | None,
    cwd: str | None,
    stderr: StderrSink | None,
    limits: Limits,
) -> tuple[Transport, MemoryTransport | None]:
    """Return the transport to ``target`` and, for a server object, the end that the server has to serve.

    :raises taut.errors.ConfigError: nothing can be started there.
    """
    if isinstance(target, str) and re.match(r"wss?://", target, re.IGNORECASE):
        return _websocket(target, limits), None
    if isinstance(target, (str, Path)) or (isinstance(target, Sequence) and not hasattr(target, "flush")):
        return ProcessTransport(command_of(target), env=env, cwd=cwd, stderr=stderr, limits=limits), None
    if hasattr(target, "serve"):
        ours, theirs = memory_pair(limits=limits, far_limits=getattr(target, "limits", None))
        return ours, theirs
    if hasattr(target, "flush") and hasattr(target, "start"):
        return cast("Transport", target), None
    raise ConfigError(f"Expected a command, a file, a Server or a Transport, got {type(target).__name__}")


def _websocket(url: str, limits: Limits) -> Transport:
    # Imported here: it needs a package that few have use for.
    try:
        from taut.transport.websocket import WebSocketTransport
    except ModuleNotFoundError as error:
        if error.name != "websockets":
            raise
        raise ConfigError(f"{url}: expected the package websockets, got none: install taut[ws]") from None
    return WebSocketTransport(url, limits=limits)
