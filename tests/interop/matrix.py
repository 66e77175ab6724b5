"""Which clients meet which servers, and what happened when they did.

Every client is a process that runs the script in ``clients/_scenario`` against a server that it starts, and
prints what it observed. One run serves all tests of a pair. Any pair can be looked at by hand, peers among
themselves too, which tells whose fault a failure is:

    python -m tests.interop.matrix taut auto mcp2
"""

import functools
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A client in a mode, and a server."""

    client: Party
    mode: str
    server: Party

    @property
    def revision(self) -> str:
        """What the two have to agree on."""
        both_modern = self.client.modern and self.server.modern
        return LEGACY if self.mode == "legacy" or not both_modern else MODERN

    def __str__(self) -> str:
        return f"{self.client.name}[{self.mode}]->{self.server.name}"


def pairs() -> list[Pair]:
    """Return every pair with taut in it, in every mode that can succeed."""
    taut = PARTIES["taut"]
    found = []
    for party in PARTIES.values():
        modes = [mode for mode in taut.modes if mode != MODERN or party.modern]
        found += [Pair(taut, mode, party) for mode in modes]
        if party is not taut:
            found += [Pair(party, mode, taut) for mode in party.modes]
    return found


@dataclass(frozen=True)
class Outcome:
    """What a client observed, by step; or, with `seen` empty, why there is nothing to see."""

    seen: dict[str, Any]
    stderr: str
    exit_code: int | None


@functools.cache
def outcome(pair: Pair) -> Outcome:
    """Run a pair, once."""
    command = [*pair.client.command("clients"), pair.mode, *pair.server.command("servers")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
    except subprocess.TimeoutExpired as error:
        stderr = (error.stderr or b"").decode(errors="replace")
        return Outcome({}, f"no end within {TIMEOUT_S} s\n{stderr}", None)
    line = done.stdout.strip().rpartition("\n")[2]
    return Outcome(json.loads(line) if line.startswith("{") else {}, done.stderr, done.returncode)


def main() -> None:
    client, mode, server = sys.argv[1:]
    result = outcome(Pair(PARTIES[client], mode, PARTIES[server]))
    for step, value in result.seen.items():
        print(f"{step:15} {json.dumps(value)}")
    print(f"exit code {result.exit_code}\n{result.stderr}")


if __name__ == "__main__":
    main()
