"""The catalogue of servers: what to start, what to call, and why one may be missing.

Every server offers the tools ``add(a, b)`` and ``echo(text)`` and gets the same bytes. The compiled peers
are servers made for another purpose, found as binaries: they have tools of their own, so a cheap real one
stands in for ``add``, and there is no ``echo``.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".peers"
SERVERS = ROOT / "benchmarks" / "servers"
CLIENTS = ROOT / "benchmarks" / "clients"
NODE_MODULES = PEERS / "node" / "node_modules"

Arguments = dict[str, object]


def add_arguments(number: int) -> Arguments:
    return {"a": number, "b": 7}


def is_sum(number: int, text: str) -> bool:
    return text == str(number + 7)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One server: its command, the tool that stands for ``add``, and which text the tool may answer."""

    name: str
    command: list[str]
    version: str
    modern: bool = False
    echo: bool = True
    tool: str = "add"
    arguments: Callable[[int], Arguments] = add_arguments
    accepts: Callable[[int, str], bool] = is_sum
    needs: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str | None:
        """Return why this server cannot run here, or None."""
        for path in (self.needs, Path(self.command[0])):
            if path is not None and PEERS in path.parents and not path.exists():
                return f"{path.relative_to(ROOT)} is missing (make peers)"
        if shutil.which(self.command[0]) is None:
            return f"{self.command[0]} is not installed"
        return None


def _python(environment: str, script: str, *options: str) -> list[str]:
    return [str(PEERS / environment / "bin" / "python"), str(SERVERS / script), *options]


def python_pin(environment: str) -> str:
    """Return the version in the one-line requirements file of a peer."""
    file = ROOT / "benchmarks" / "peers" / f"requirements-{environment}.txt"
    return file.read_text().strip().partition("==")[2]


def npm_pin(package: str) -> str:
    """Return the version of a package of the node peers."""
    pins = json.loads((ROOT / "benchmarks" / "peers" / "package.json").read_text())
    return {**pins["dependencies"], **pins["optionalDependencies"]}[package]


def catalogue() -> dict[str, Peer]:
    """Return every known server by name."""
    mcp2, uvloop_version = python_pin("mcp2"), metadata.version("uvloop")
    floor_version = f"uvloop {uvloop_version}, msgspec {metadata.version('msgspec')}"
    floor = [sys.executable, str(SERVERS / "floor.py")]
    peers = [
        Peer(
            name="taut",
            command=[sys.executable, str(SERVERS / "taut_server.py")],
            version=metadata.version("taut"),
            modern=True,
        ),
        Peer(
            name="mcp2",
            command=_python("mcp2", "mcp2_server.py"),
            version=f"mcp {mcp2} MCPServer",
            modern=True,
        ),
        Peer(
            name="mcp2-low",
            command=_python("mcp2", "mcp2_lowlevel.py"),
            version=f"mcp {mcp2} lowlevel",
            modern=True,
        ),
        Peer(
            name="mcp1",
            command=_python("mcp1", "mcp1_server.py"),
            version=f"mcp {python_pin('mcp1')} FastMCP",
        ),
        Peer(
            name="fastmcp",
            command=_python("fastmcp", "fastmcp_server.py"),
            version=f"fastmcp {python_pin('fastmcp')}",
            modern=True,
            environment={"FASTMCP_CHECK_FOR_UPDATES": "off"},
        ),
        Peer(
            name="ts1",
            command=["node", str(SERVERS / "ts1_server.mjs")],
            needs=NODE_MODULES / "@modelcontextprotocol/sdk",
            version=f"TypeScript SDK {npm_pin('@modelcontextprotocol/sdk')}",
        ),
        Peer(
            name="ts2",
            command=["node", str(SERVERS / "ts2_server.mjs")],
            needs=NODE_MODULES / "@modelcontextprotocol/server",
            version=f"TypeScript SDK {npm_pin('@modelcontextprotocol/server')}",
            modern=True,
        ),
        Peer(
            name="rmcp",
            command=[str(NODE_MODULES / "@temporal-cortex/cortex-mcp-linux-x64/bin/cortex-mcp")],
            version="Rust rmcp 1.1.1 (cortex-mcp)",
            echo=False,
            tool="compute_duration",
            arguments=lambda number: {
                "start": "2025-01-01T10:00:00Z",
                "end": f"2025-01-01T10:00:{number % 60:02}Z",
            },
            accepts=lambda number, text: f'"total_seconds": {number % 60},' in text,
        ),
        Peer(
            name="mcp-go",
            command=[str(NODE_MODULES / "mcp-time-linux-x64/bin/mcp-time")],
            version="Go mcp-go 0.33 (mcp-time)",
            echo=False,
            tool="compare_time",
            arguments=lambda number: {
                "time_a": "2025-01-01 10:00:30",
                "time_b": f"2025-01-01 10:00:{number % 60:02}",
            },
            accepts=lambda number, text: text == str((number % 60 < 30) - (number % 60 > 30)),
        ),
        Peer(name="floor", command=floor, version=floor_version, modern=True),
        Peer(
            name="floor-task",
            command=[*floor, "--task"],
            version=f"{floor_version}, a task a call",
            modern=True,
        ),
    ]
    return {peer.name: peer for peer in peers}
