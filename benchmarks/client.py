"""Clients over stdio, side by side: what one ``call_tool`` costs the caller.

    python -m benchmarks.client --clients taut,mcp2,floor --rounds 5

Every client calls the same server (the floor, pinned to a core of its own) in a process of its own, and
reports the CPU time of that process, one call at a time and with 64 at once. Each checks every answer.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict

from benchmarks import _report
from benchmarks._driver import WINDOW, Cores
from benchmarks._peers import CLIENTS, NODE_MODULES, PEERS, ROOT, SERVERS
from benchmarks._report import Samples, ratio, spread

COMMANDS = {
    "taut": [sys.executable, str(CLIENTS / "taut_client.py")],
    "mcp2": [str(PEERS / "mcp2/bin/python"), str(CLIENTS / "mcp2_client.py")],
    "fastmcp": [str(PEERS / "fastmcp/bin/python"), str(CLIENTS / "fastmcp_client.py")],
    "ts1": ["node", str(CLIENTS / "ts1_client.mjs")],
    "ts2": ["node", str(CLIENTS / "ts2_client.mjs")],
    "floor": [sys.executable, str(CLIENTS / "floor_client.py")],
}
COLUMNS = {
    "calls_per_s": "calls/s",
    "cpu_us": "CPU us/call",
    "sequential_cpu_us": "CPU us, 1 in flight",
    "p50_us": "p50 us",
}
BASES = {"mcp2": "times less than mcp2", "floor": "times the floor"}
TIMEOUT_S = 120


def missing(name: str) -> str | None:
    """Return why a client cannot run here, or None."""
    if name in ("mcp2", "fastmcp") and not (PEERS / name).exists():
        return f".peers/{name} is missing (make peers)"
    if name in ("ts1", "ts2") and not NODE_MODULES.exists():
        return ".peers/node is missing (make peers)"
    return None


def measure(name: str, samples: Samples, calls: int, cores: Cores) -> str | None:
    """Run one client once; return what went wrong, or None."""
    floor = [sys.executable, str(SERVERS / "floor.py"), "--core", str(min(cores.driver))]
    # The client is what is measured here: it gets the server's core, and the floor the driver's.
    os.sched_setaffinity(0, cores.server)
    try:
        done = subprocess.run(
            [*COMMANDS[name], str(calls), str(WINDOW), *floor],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=ROOT,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    finally:
        os.sched_setaffinity(0, cores.server | cores.driver)
    if done.returncode:
        return " / ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}"
    for column, value in json.loads(done.stdout.splitlines()[-1]).items():
        samples[column].append(value)
    return None


def report(samples: dict[str, Samples]) -> str:
    rows = [[name, *[spread(values[column]) for column in COLUMNS]] for name, values in samples.items()]
    header = ["client", *COLUMNS.values()]
    for base in (base for base in BASES if base in samples):
        header.append(f"CPU, {BASES[base]}")
        for row in rows:
            mine, other = samples[row[0]]["cpu_us"], samples[base]["cpu_us"]
            row.append(ratio(mine, other) if base == "floor" else ratio(other, mine))
    return _report.table(header, rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.client", description="MCP clients over stdio.")
    parser.add_argument("--clients", default=",".join(COMMANDS), help="comma-separated (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=4000, help="calls of a round with 64 in flight")
    options = parser.parse_args()
    names = options.clients.split(",")
    if unknown := set(names) - set(COMMANDS):
        parser.error(f"unknown clients: {', '.join(sorted(unknown))}; known: {', '.join(COMMANDS)}")
    failures = {name: reason for name in names if (reason := missing(name))}
    cores = Cores.choose()
    samples: dict[str, Samples] = {name: defaultdict(list) for name in names if name not in failures}
    for turn in range(options.rounds):
        for name in _report.rotated(list(samples), turn):
            if name not in failures and (reason := measure(name, samples[name], options.calls, cores)):
                failures[name] = reason
    print(report(samples))
    print(
        f"\nMedian (min-max) of {options.rounds} interleaved rounds, {WINDOW} in flight or 1, client on core "
        f"{sorted(cores.server)}, server on core {sorted(cores.driver)}; {_report.machine()['cpu']}."
    )
    for name, reason in failures.items():
        print(f"{name}: {reason}")
    path = _report.save("client", {"options": vars(options), "samples": samples, "failures": failures})
    print(f"Raw numbers: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
