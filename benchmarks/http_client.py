"""Clients over Streamable HTTP, side by side: what one ``call_tool`` costs the caller.

    python -m benchmarks.http_client --clients taut,mcp2,floor --rounds 5

Every client calls the same server (taut's own, pinned to a core of its own) from a process of its own, and reports the
CPU time of that process, one call at a time and with 32 at once. Each checks every answer.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from benchmarks import _report
from benchmarks._driver import LEGACY, MODERN, BenchmarkError, Cores
from benchmarks._http import HttpServer
from benchmarks._http_peers import http_catalogue
from benchmarks._peers import CLIENTS, NODE_MODULES, PEERS, ROOT, npm_pin, python_pin
from benchmarks._report import Samples, ratio, spread

WINDOW = 32
TIMEOUT_S = 180
COLUMNS = {
    "calls_per_s": "calls/s",
    "cpu_us": "CPU us/call",
    "sequential_cpu_us": "CPU us, 1 in flight",
    "p50_us": "p50 us",
}
OFFICIAL, FLOOR = "mcp2", "floor"
BASES = {OFFICIAL: "times less than mcp2", FLOOR: "times the floor"}


@dataclass(frozen=True)
class HttpClient:
    """One client: its command, what it is, and what it says to choose an era."""

    command: list[str]
    version: str
    mode: str = MODERN

    def missing(self) -> str | None:
        """Return why this client cannot run here, or None."""
        needed = NODE_MODULES if self.command[0] == "node" else Path(self.command[0])
        if PEERS in needed.parents and not needed.exists():
            return f"{needed.relative_to(ROOT)} is missing (make peers)"
        return None


def clients() -> dict[str, HttpClient]:
    """Return every known client by name."""

    def here(script: str) -> list[str]:
        return [sys.executable, str(CLIENTS / script)]

    def there(environment: str, script: str) -> list[str]:
        return [str(PEERS / environment / "bin" / "python"), str(CLIENTS / script)]

    def node(script: str) -> list[str]:
        return ["node", str(CLIENTS / script)]

    mcp2 = f"mcp {python_pin('mcp2')}"
    return {
        "taut": HttpClient(here("taut_client.py"), "taut"),
        "taut-legacy": HttpClient(here("taut_client.py"), "taut", "legacy"),
        "mcp2": HttpClient(there("mcp2", "mcp2_client.py"), mcp2),
        "mcp2-legacy": HttpClient(there("mcp2", "mcp2_client.py"), mcp2, "legacy"),
        "mcp1": HttpClient(there("mcp1", "mcp1_client.py"), f"mcp {python_pin('mcp1')}", "legacy"),
        "fastmcp": HttpClient(there("fastmcp", "fastmcp_client.py"), f"fastmcp {python_pin('fastmcp')}"),
        "ts1": HttpClient(
            node("ts1_client.mjs"), f"TypeScript SDK {npm_pin('@modelcontextprotocol/sdk')}", "legacy"
        ),
        "ts2": HttpClient(
            node("ts2_client.mjs"), f"TypeScript SDK {npm_pin('@modelcontextprotocol/client')}"
        ),
        "floor": HttpClient(here("http_floor_client.py"), "uvloop, httptools, msgspec"),
    }


def measure(client: HttpClient, samples: Samples, calls: int, cores: Cores) -> None:
    """Run one client once, against a server that was started for it."""
    peer = http_catalogue()["taut"]
    # The client is what is measured here: it gets the server's core, and the server the driver's.
    with HttpServer(peer.command_for("json"), cores=cores.driver, environment=peer.environment) as server:
        server.wait_ready()
        command = [
            *client.command,
            str(calls),
            str(WINDOW),
            f"http://127.0.0.1:{server.port}/mcp",
            client.mode,
        ]
        os.sched_setaffinity(0, cores.server)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=ROOT)
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"not done within {TIMEOUT_S} s") from error
        finally:
            os.sched_setaffinity(0, cores.driver)
    if done.returncode:
        raise BenchmarkError(
            " / ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}"
        )
    for column, value in json.loads(done.stdout.splitlines()[-1]).items():
        samples[column].append(value)


def report(samples: dict[str, Samples], known: dict[str, HttpClient]) -> str:
    eras = {MODERN: MODERN, "legacy": LEGACY}
    rows = [
        [name, known[name].version, eras[known[name].mode], *[spread(values[column]) for column in COLUMNS]]
        for name, values in samples.items()
    ]
    header = ["client", "version", "revision", *COLUMNS.values()]
    for base in (base for base in BASES if base in samples):
        header.append(f"CPU, {BASES[base]}")
        for row in rows:
            mine, other = samples[row[0]]["cpu_us"], samples[base]["cpu_us"]
            row.append(ratio(mine, other) if base == FLOOR else ratio(other, mine))
    text = _report.table(header, rows)
    if OFFICIAL in samples and "taut" in samples:
        times = statistics.median(samples[OFFICIAL]["cpu_us"]) / statistics.median(samples["taut"]["cpu_us"])
        judged = "reached" if times >= 30 else "missed"
        text += f"\n\nTarget: 30 times less CPU than the official client; measured {times:.1f}: {judged}."
    return text


def main() -> int:
    known = clients()
    parser = argparse.ArgumentParser(prog="benchmarks.http_client", description="MCP clients over HTTP.")
    parser.add_argument("--clients", default=",".join(known), help="comma-separated (default: all)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=3000, help="calls of a round with 32 in flight")
    options = parser.parse_args()
    names = options.clients.split(",")
    if unknown := set(names) - set(known):
        parser.error(f"unknown clients: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    failures = {name: reason for name in names if (reason := known[name].missing())}
    cores = Cores.choose()
    os.sched_setaffinity(0, cores.driver)
    samples: dict[str, Samples] = {name: defaultdict(list) for name in names if name not in failures}
    for turn in range(options.rounds):
        for name in _report.rotated(list(samples), turn):
            if name in failures:
                continue
            print(f"round {turn + 1}: {name}", file=sys.stderr)
            try:
                measure(known[name], samples[name], options.calls, cores)
            except BenchmarkError as error:
                failures[name] = str(error)
    samples = {name: values for name, values in samples.items() if name not in failures}
    print(report(samples, known))
    print(
        f"\nMedian (min-max) of {options.rounds} interleaved rounds, {WINDOW} in flight or 1, client on core "
        f"{sorted(cores.server)}, taut's server on core {sorted(cores.driver)}; {_report.machine()['cpu']}."
    )
    for name, reason in failures.items():
        print(f"{name}: {reason}")
    path = _report.save("http_client", {"options": vars(options), "samples": samples, "failures": failures})
    print(f"Raw numbers: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
