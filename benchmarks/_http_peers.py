"""The catalogue of HTTP servers: how each is started, and which scenarios it can do.

Every server offers ``add(a, b)`` and ``report(a, b)``, which tells of its progress once; the compiled peer has a tool
of its own that stands for ``add``. Each is told the port and the scenario, and chooses its fastest settings for that.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks._http import Tool
from benchmarks._peers import NODE_MODULES, PEERS, ROOT, SERVERS, npm_pin, python_pin

HTTP = SERVERS / "http"
ALL = frozenset({"json", "traced", "sse", "session", "stateless"})
LEGACY_ONLY = frozenset({"session", "stateless"})


def _numbers(number: int) -> dict[str, object]:
    # Two digits each, and two in the sum: all answers of a server are equally long.
    return {"a": 10 + number % 83, "b": 7}


def _is_sum(number: int, text: str) -> bool:
    return text == str(17 + number % 83)


ADD = Tool(name="add", arguments=_numbers, accepts=_is_sum)
REPORT = Tool(name="report", arguments=_numbers, accepts=_is_sum)
#: What `SPIN` computes: some milliseconds of it.
SPIN_ROUNDS = 30_000


def _spun() -> int:
    total = 0
    for number in range(SPIN_ROUNDS):
        total = (total * 31 + number) % 1_000_003
    return total


SPUN = str(_spun())
SPIN = Tool(
    name="spin",
    arguments=lambda number: {"rounds": SPIN_ROUNDS},
    accepts=lambda number, text: text == SPUN,
)
COMPARE = Tool(
    name="compare_time",
    arguments=lambda number: {
        "time_a": "2025-01-01 10:00:30",
        "time_b": f"2025-01-01 10:00:{number % 30:02}",
    },
    accepts=lambda number, text: text == "1",
)


@dataclass(frozen=True, kw_only=True)
class HttpPeer:
    """One server: its command, with ``{port}`` and ``{scenario}`` left open, and what it can do."""

    name: str
    command: list[str]
    version: str
    scenarios: frozenset[str] = ALL
    constant: bool = False
    tool: Tool = ADD
    environment: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Path, ...] = ()

    def missing(self) -> str | None:
        """Return why this server cannot run here, or None."""
        for path in (*self.needs, Path(self.command[0])):
            if PEERS in path.parents and not path.exists():
                return f"{path.relative_to(ROOT)} is missing (make peers)"
        if shutil.which(self.command[0]) is None:
            return f"{self.command[0]} is not installed"
        return None

    def command_for(self, scenario: str) -> list[str]:
        return [part.replace("{scenario}", scenario) for part in self.command]

    def tool_for(self, scenario: str) -> Tool:
        return REPORT if scenario == "sse" else self.tool


def _here(script: str, variant: str) -> list[str]:
    return [sys.executable, str(HTTP / script), "{port}", "{scenario}", variant]


def _there(environment: str, script: str, variant: str = "") -> list[str]:
    python = PEERS / environment / "bin" / "python"
    return [str(python), str(HTTP / script), "{port}", "{scenario}", variant]


def _node(script: str) -> list[str]:
    return ["node", str(HTTP / script), "{port}", "{scenario}"]


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def _own() -> list[HttpPeer]:
    uvicorn, taut = _version("uvicorn"), _version("taut")
    peers = [
        HttpPeer(name="taut", command=_here("taut_server.py", "native"), version=f"{taut}, native"),
        HttpPeer(
            name="taut-uvicorn", command=_here("taut_server.py", "uvicorn"), version=f"{taut}, {uvicorn}"
        ),
    ]
    elsewhere = [
        HttpPeer(
            name=f"taut-{server}",
            command=_here("taut_server.py", server),
            version=f"{taut}, {_version(server)}",
            scenarios=frozenset({"json"}),
        )
        for server in ("granian", "hypercorn")
    ]
    return peers + elsewhere


def _floors() -> list[HttpPeer]:
    titles = {
        "asgi": f"{_version('uvicorn')}, bare application",
        "uvicorn": f"{_version('uvicorn')}, protocol class",
        "loop": f"{_version('uvloop')}, {_version('httptools')}",
    }
    return [
        HttpPeer(
            name=f"floor-{variant}",
            command=_here("floor.py", variant),
            version=title,
            scenarios=frozenset({"json", "traced"} if variant == "uvicorn" else {"json"}),
            constant=True,
        )
        for variant, title in titles.items()
    ]


def http_catalogue() -> dict[str, HttpPeer]:
    """Return every known HTTP server by name."""
    mcp2 = f"mcp {python_pin('mcp2')}"
    peers = [
        *_own(),
        HttpPeer(name="mcp2", command=_there("mcp2", "mcp2_server.py"), version=f"{mcp2} MCPServer"),
        HttpPeer(
            name="mcp2-async",
            command=_there("mcp2", "mcp2_server.py", "async"),
            version=f"{mcp2} MCPServer, async tool",
            scenarios=frozenset({"json"}),
        ),
        HttpPeer(
            name="mcp2-low",
            command=_there("mcp2", "mcp2_server.py", "lowlevel"),
            version=f"{mcp2} lowlevel",
            scenarios=ALL - {"traced", "sse"},
        ),
        HttpPeer(
            name="mcp1",
            command=_there("mcp1", "mcp1_server.py"),
            version=f"mcp {python_pin('mcp1')} FastMCP",
            scenarios=LEGACY_ONLY,
        ),
        HttpPeer(
            name="fastmcp",
            command=_there("fastmcp", "fastmcp_server.py"),
            version=f"fastmcp {python_pin('fastmcp')}",
            environment={"FASTMCP_CHECK_FOR_UPDATES": "off"},
        ),
        HttpPeer(
            name="tiny",
            command=_there("tiny", "tiny_server.py"),
            version=f"aiohttp-tiny-mcp {python_pin('tiny')}",
            scenarios=ALL - {"stateless"},
        ),
        HttpPeer(
            name="ts1",
            command=_node("ts1_server.mjs"),
            version=f"TypeScript SDK {npm_pin('@modelcontextprotocol/sdk')}",
            scenarios=LEGACY_ONLY,
            needs=(NODE_MODULES / "@modelcontextprotocol/sdk",),
        ),
        HttpPeer(
            name="ts2",
            command=_node("ts2_server.mjs"),
            version=f"TypeScript SDK {npm_pin('@modelcontextprotocol/server')}",
            scenarios=ALL - {"traced", "session"},
            needs=(NODE_MODULES / "@modelcontextprotocol/server", NODE_MODULES / "@hono/node-server"),
        ),
        HttpPeer(
            name="mcp-go",
            command=[
                str(NODE_MODULES / "mcp-time-linux-x64/bin/mcp-time"),
                *("--transport", "stream", "--address", "http://127.0.0.1:{port}/mcp"),
            ],
            version="Go mcp-go 0.33 (mcp-time)",
            scenarios=frozenset({"session"}),
            tool=COMPARE,
        ),
        *_floors(),
    ]
    return {peer.name: peer for peer in peers}
