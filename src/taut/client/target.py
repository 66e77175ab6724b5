"""From what a client is told to connect to, to a transport."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from taut.errors import ConfigError
from taut.mcp.limits import Limits
from taut.transport.base import Transport
from taut.transport.memory import MemoryTransport, memory_pair
from taut.transport.process import ProcessTransport, StderrSink

if TYPE_CHECKING:
    from taut.client.client import Serves

__all__ = ["Target", "open_target"]

#: A command line, a list of arguments, a Python file with a server, a server object, or a transport.
Target: TypeAlias = "str | Path | Sequence[str] | Serves | Transport"


def command_of(target: str | Path | Sequence[str]) -> list[str]:
    """Return the argument list of a command target.

    :raises taut.errors.ConfigError: it is empty or a URL.
    """
    if isinstance(target, Path):
        return [sys.executable, str(target)]
    if not isinstance(target, str):
        return list(target)
    if target.startswith(("http://", "https://", "ws://", "wss://")):
        raise ConfigError(f"Expected a command, a file, a Server or a Transport, got the URL {target}")
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
    if isinstance(target, (str, Path)) or (isinstance(target, Sequence) and not hasattr(target, "flush")):
        return ProcessTransport(command_of(target), env=env, cwd=cwd, stderr=stderr, limits=limits), None
    if hasattr(target, "serve"):
        ours, theirs = memory_pair(limits=limits, far_limits=getattr(target, "limits", None))
        return ours, theirs
    if hasattr(target, "flush") and hasattr(target, "start"):
        return cast("Transport", target), None
    raise ConfigError(f"Expected a command, a file, a Server or a Transport, got {type(target).__name__}")
