"""Which clients meet which servers, and what happened when they did.

Every client is a process that runs the script in ``clients/_scenario`` and prints what it observed. Over stdio it
starts its server; over HTTP there is one server of each make for all clients. One run serves all tests of a pair. Any
pair can be looked at by hand, peers among themselves too, which tells whose fault a failure is:

    python -m tests.interop.matrix [--http] taut auto mcp2
"""

import functools
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PEERS = ROOT / ".peers"
TIMEOUT_S = 50

LEGACY, MODERN = "2025-11-25", "2026-07-28"


@dataclass(frozen=True)
class Party:
    """A library with a client and a server script here."""

    name: str
    interpreter: str
    script: str
    modern: bool

    def command(self, side: str) -> list[str]:
        return [self.interpreter, str(HERE / side / self.script)]

    @property
    def modes(self) -> list[str]:
        """How its client can be told to open a connection."""
        return ["legacy", "auto", MODERN] if self.modern else ["legacy"]

    def missing(self) -> str | None:
        """Return why it cannot run here, or None."""
        needed = Path(self.interpreter) if self.interpreter != "node" else PEERS / "node" / "node_modules"
        return None if needed.exists() else f"{self.name} is not installed (make peers)"


PARTIES = {
    party.name: party
    for party in (
        Party("taut", sys.executable, "taut_party.py", modern=True),
        Party("mcp2", str(PEERS / "mcp2/bin/python"), "mcp2.py", modern=True),
        Party("mcp1", str(PEERS / "mcp1/bin/python"), "mcp1.py", modern=False),
        Party("fastmcp4", str(PEERS / "fastmcp/bin/python"), "fastmcp4.py", modern=True),
        Party("ts1", "node", "ts1.mjs", modern=False),
        Party("ts2", "node", "ts2.mjs", modern=True),
    )
}


@dataclass(frozen=True)
class Pair:
    """A client in a mode, and a server, over stdio or HTTP."""

    client: Party
    mode: str
    server: Party
    http: bool = False

    @property
    def revision(self) -> str:
        """What the two have to agree on."""
        both_modern = self.client.modern and self.server.modern
        return LEGACY if self.mode == "legacy" or not both_modern else MODERN

    def __str__(self) -> str:
        return f"{self.client.name}[{self.mode}]->{self.server.name}"


def need(pair: Pair) -> None:
    """Skip the test at hand where one of the two is not installed."""
    for party in (pair.client, pair.server):
        if reason := party.missing():
            pytest.skip(reason)


def pairs(*, http: bool = False) -> list[Pair]:
    """Return every pair with taut in it, in every mode that can succeed."""
    taut = PARTIES["taut"]
    found = []
    for party in PARTIES.values():
        modes = [mode for mode in taut.modes if mode != MODERN or party.modern]
        found += [Pair(taut, mode, party, http) for mode in modes]
        if party is not taut:
            found += [Pair(party, mode, taut, http) for mode in party.modes]
    return found


@contextmanager
def serving(party: Party) -> Iterator[str]:
    """Run the party's server over HTTP on a free port; yields its URL. What it says on stderr goes to ours."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryFile("w+") as log:
        child = subprocess.Popen([*party.command("servers"), str(port)], stderr=log, cwd=ROOT)
        try:
            while not _accepts(port):
                if child.poll() is not None:
                    raise RuntimeError(f"the server of {party.name} has ended with {child.returncode}")
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            child.kill()
            child.wait()
            log.seek(0)
            sys.stderr.write(log.read())


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


class Servers:
    """One HTTP server of each make, started when it is first needed; a context manager that ends them."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._urls: dict[str, str] = {}

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *args: object) -> None:
        self._stack.close()

    def url(self, party: Party) -> str:
        if party.name not in self._urls:
            self._urls[party.name] = self._stack.enter_context(serving(party))
        return self._urls[party.name]


@dataclass(frozen=True)
class Outcome:
    """What a client observed, by step; or, with `seen` empty, why there is nothing to see."""

    seen: dict[str, Any]
    stderr: str
    exit_code: int | None


@functools.cache
def outcome(pair: Pair, url: str | None = None) -> Outcome:
    """Run a pair, once: over HTTP with the server at ``url``, else over stdio."""
    target = pair.server.command("servers") if url is None else [url]
    command = [*pair.client.command("clients"), pair.mode, *target]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    except subprocess.TimeoutExpired as error:
        stderr = (error.stderr or b"").decode(errors="replace")
        return Outcome({}, f"no end within {TIMEOUT_S} s\n{stderr}", None)
    line = done.stdout.strip().rpartition("\n")[2]
    return Outcome(json.loads(line) if line.startswith("{") else {}, done.stderr, done.returncode)


def main() -> None:
    *options, client, mode, server = sys.argv[1:]
    pair = Pair(PARTIES[client], mode, PARTIES[server], http="--http" in options)
    with Servers() as servers:
        result = outcome(pair, servers.url(pair.server) if pair.http else None)
    for step, value in result.seen.items():
        print(f"{step:15} {json.dumps(value)}")
    print(f"exit code {result.exit_code}\n{result.stderr}")


if __name__ == "__main__":
    main()
