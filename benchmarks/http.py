"""Servers over Streamable HTTP, side by side: what one ``tools/call`` costs.

    python -m benchmarks.http --servers taut,mcp2,floor-uvicorn --rounds 5

Each round starts each server anew, in another order, once for each scenario (`_http.SCENARIOS`), warms it up, and
loads it with each number of connections in turn: the CPU time of all its processes per request, requests a second,
latency, and its memory at the end. ``--idle`` opens that many legacy sessions in each server and looks at its memory;
``--workers`` has taut compute in one process and in two. No answer may be wrong, refused or missing.
"""

import argparse
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence

from benchmarks import _report
from benchmarks._driver import LEGACY, BenchmarkError, Cores
from benchmarks._http import SCENARIOS, Caller, HttpServer, Scenario, Talker, generator
from benchmarks._http_peers import SPIN, HttpPeer, http_catalogue
from benchmarks._peers import ROOT
from benchmarks._report import Samples, ratio, spread

CONNECTIONS = (1, 32, 256)
#: The number of connections that all scenarios have, and that servers are compared by.
USUAL = 32
#: Requests before the first measurement: just-in-time compilers want some.
WARM_UP = 3000
FLOOR, OFFICIAL = "floor-uvicorn", "mcp2"
#: Scenario -> server -> column -> one number of each round.
Results = dict[str, dict[str, Samples]]


def start(peer: HttpPeer, scenario: str, cores: set[int]) -> HttpServer:
    return HttpServer(peer.command_for(scenario), cores=cores, environment=peer.environment)


def measure(peer: HttpPeer, scenario: Scenario, samples: Samples, options: argparse.Namespace) -> None:
    """One round of one server in one scenario."""
    tool = peer.tool_for(scenario.name)
    with start(peer, scenario.name, options.cores.server) as server:
        server.wait_ready()
        with Caller(server, scenario, tool, constant=peer.constant) as caller:
            caller.warm_up(connections=USUAL, requests=WARM_UP)
            for connections in options.connections if scenario.name == "json" else (USUAL,):
                seen, cpu_us = caller.load(connections=connections, seconds=options.seconds)
                samples[f"cpu_us@{connections}"].append(cpu_us)
                samples[f"rate@{connections}"].append(seen.requests / seen.seconds)
                samples[f"p50_us@{connections}"].append(seen.p50_us)
                samples[f"p99_us@{connections}"].append(seen.p99_us)
            samples["rss_mb"].append(server.rss_bytes() / 1e6)


def measure_idle(peer: HttpPeer, samples: Samples, options: argparse.Namespace) -> None:
    """Open many sessions that then do nothing, and see what each takes."""
    with start(peer, "session", options.cores.server) as server:
        server.wait_ready()
        with Talker(server.port) as talker:
            # The first ones pay for what all share.
            for _ in range(options.idle // 20):
                talker.open_session(server.port)
            before, cpu = server.rss_bytes(), server.cpu_ns()
            for _ in range(options.idle):
                talker.open_session(server.port)
            samples["bytes"].append((server.rss_bytes() - before) / options.idle)
            samples["open_us"].append((server.cpu_ns() - cpu) / options.idle / 1e3)


def measure_workers(peer: HttpPeer, samples: Samples, options: argparse.Namespace) -> None:
    """Call a tool that computes, in one process and in two, with all cores for them."""
    for workers in ("one worker", "two workers"):
        with start(peer, workers, options.cores.server | options.cores.driver) as server:
            server.wait_ready()
            with Caller(server, SCENARIOS["json"], SPIN, constant=False) as caller:
                caller.load(connections=USUAL, seconds=1)
                before = server.cpu_by_process_ns()
                seen, cpu_us = caller.load(connections=USUAL, seconds=options.seconds)
                spent = [after - was for was, after in zip(before, server.cpu_by_process_ns(), strict=True)]
                samples[f"rate, {workers}"].append(seen.requests / seen.seconds)
                samples[f"cpu_us, {workers}"].append(cpu_us)
                samples[f"p99_us, {workers}"].append(seen.p99_us)
                samples[f"limit, {workers}"].append(seen.requests / max(spent) * 1e9)


# -- the report


def scenario_table(
    scenario: Scenario, rows: dict[str, Samples], peers: dict[str, HttpPeer], counts: Sequence[int]
) -> str:
    """One row for each server: the usual load in full, the others by their CPU time and latency."""
    header = ["server", "version", "requests/s", "CPU us", "p50 us", "p99 us"]
    columns = [f"{name}@{USUAL}" for name in ("rate", "cpu_us", "p50_us", "p99_us")]
    for count in counts:
        if count != USUAL:
            header += [f"CPU us, {count} conn.", f"p99 us, {count} conn."]
            columns += [f"cpu_us@{count}", f"p99_us@{count}"]
    header.append("RSS MB")
    columns.append("rss_mb")
    lines = [
        [name, peers[name].version, *[spread(values[column]) for column in columns]]
        for name, values in rows.items()
    ]
    for base, title in ((OFFICIAL, "CPU, times less than mcp2"), (FLOOR, "CPU, times the uvicorn floor")):
        if base in rows:
            header.append(title)
            for line in lines:
                mine, other = rows[line[0]][f"cpu_us@{USUAL}"], rows[base][f"cpu_us@{USUAL}"]
                line.append(ratio(other, mine) if base == OFFICIAL else ratio(mine, other))
    return f"{scenario.title}; {USUAL} connections where none are named:\n\n" + _report.table(header, lines)


def idle_table(rows: dict[str, Samples], options: argparse.Namespace) -> str:
    header = ["server", "bytes of a session", "CPU us to open one"]
    lines = [[name, spread(values["bytes"]), spread(values["open_us"])] for name, values in rows.items()]
    return f"{options.idle:,} idle sessions, {LEGACY}:\n\n" + _report.table(header, lines)


def workers_table(samples: Samples) -> str:
    header = ["", "calls/s", "CPU us", "p99 us", "calls per CPU second of the busiest process"]
    columns = ("rate", "cpu_us", "p99_us", "limit")
    rows = [
        [workers, *[spread(samples[f"{column}, {workers}"]) for column in columns]]
        for workers in ("one worker", "two workers")
    ]
    return "taut, a tool that computes, all cores:\n\n" + _report.table(header, rows)


def targets(results: Results) -> str:
    """Judge what the project has promised itself; a target whose numbers are missing is left out."""

    def middle(scenario: str, server: str, column: str = f"cpu_us@{USUAL}") -> float | None:
        values = results.get(scenario, {}).get(server, {}).get(column)
        return statistics.median(values) if values else None

    def quotient(above: float | None, below: float | None) -> float | None:
        return None if above is None or below is None else above / below

    native, official = middle("json", "taut"), middle("json", OFFICIAL)
    rates = [middle("json", server, f"rate@{USUAL}") for server in ("taut", FLOOR)]
    scaled, limit = (
        [middle("workers", "taut", f"{column}, {workers}") for workers in ("two workers", "one worker")]
        for column in ("rate", "limit")
    )
    wanted = [
        ("native, requests/s over the uvicorn protocol class", quotient(*rates), 0.65, True),
        (
            "native, CPU of the uvicorn protocol class over ours",
            quotient(middle("json", FLOOR), native),
            0.65,
            True,
        ),
        ("native, CPU of the official SDK over ours", quotient(official, native), 22, True),
        (
            "uvicorn, CPU of the official SDK over ours",
            quotient(official, middle("json", "taut-uvicorn")),
            10,
            True,
        ),
        (
            "call in a session, CPU over the modern one",
            quotient(middle("session", "taut"), native),
            1.5,
            False,
        ),
        ("bytes of an idle session", middle("idle", "taut", "bytes"), 2048, False),
        ("two workers over one, calls/s", quotient(*scaled), 1.8, True),
        ("two workers over one, were each alone on a core", quotient(*limit), 1.8, True),
    ]
    lines = []
    for title, value, limit, at_least in wanted:
        if value is not None:
            reached = value >= limit if at_least else value <= limit
            lines.append(
                [
                    title,
                    _report.number(value),
                    f"{'>=' if at_least else '<='} {limit}",
                    "reached" if reached else "missed",
                ]
            )
    return _report.table(["target", "measured", "wanted", ""], lines) if lines else ""


def report(results: Results, peers: dict[str, HttpPeer], options: argparse.Namespace) -> str:
    parts = []
    for name, rows in results.items():
        if name in SCENARIOS:
            counts = options.connections if name == "json" else ()
            parts.append(scenario_table(SCENARIOS[name], rows, peers, counts))
        elif name == "idle":
            parts.append(idle_table(rows, options))
        elif "taut" in rows:
            parts.append(workers_table(rows["taut"]))
    return "\n\n".join([*parts, targets(results)])


# -- the run


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.http", description="MCP servers over HTTP, side by side."
    )
    parser.add_argument(
        "--servers", default=",".join(http_catalogue()), help="comma-separated (default: all)"
    )
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="comma-separated (default: all)")
    parser.add_argument(
        "--connections", default=",".join(map(str, CONNECTIONS)), help="of the first scenario"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="time of each load")
    parser.add_argument("--idle", type=int, default=0, metavar="N", help="also open so many sessions")
    parser.add_argument("--workers", action="store_true", help="also compare two worker processes with one")
    options = parser.parse_args(arguments)
    options.servers = options.servers.split(",")
    options.scenarios = options.scenarios.split(",") if options.scenarios else []
    options.connections = [int(count) for count in options.connections.split(",")]
    for given, known in ((options.servers, http_catalogue()), (options.scenarios, SCENARIOS)):
        if unknown := set(given) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    options.cores = Cores.choose()
    os.sched_setaffinity(0, options.cores.driver)
    return options


def run(
    options: argparse.Namespace, peers: dict[str, HttpPeer], failures: dict[str, str], results: Results
) -> None:
    """Run all rounds, filling `results`; a server that fails in a scenario is left out of the rest of that."""
    plan = list(options.scenarios) + (["idle"] if options.idle else []) + ["workers"] * options.workers
    for turn in range(options.rounds):
        for name in plan:
            able = "session" if name == "idle" else "json" if name == "workers" else name
            for server in ["taut"] if name == "workers" else _report.rotated(options.servers, turn):
                key = f"{server}, {name}"
                if server in failures or key in failures or able not in peers[server].scenarios:
                    continue
                print(f"round {turn + 1}: {key}", file=sys.stderr)
                samples = results.setdefault(name, {}).setdefault(server, defaultdict(list))
                try:
                    if name == "idle":
                        measure_idle(peers[server], samples, options)
                    elif name == "workers":
                        measure_workers(peers[server], samples, options)
                    else:
                        measure(peers[server], SCENARIOS[name], samples, options)
                except BenchmarkError as error:
                    failures[key] = str(error)
                    del results[name][server]


def main() -> int:
    options = parse()
    peers = http_catalogue()
    failures = {name: reason for name in options.servers if (reason := peers[name].missing())}
    found: Results = {}
    try:
        run(options, peers, failures, found)
    except KeyboardInterrupt:
        print("interrupted: what was measured until now follows", file=sys.stderr)
    # In the order of the catalogue, whichever came first in the first round.
    results = {
        name: {server: rows[server] for server in peers if rows.get(server)} for name, rows in found.items()
    }
    print(report(results, peers, options))
    print(
        f"\nMedian (min-max) of {options.rounds} interleaved rounds, load by {generator()}; servers on core "
        f"{sorted(options.cores.server)}, load on core {sorted(options.cores.driver)}; {_report.machine()['cpu']}."
    )
    for name, reason in failures.items():
        print(f"{name}: {reason}")
    given = {name: value for name, value in vars(options).items() if name != "cores"}
    path = _report.save(
        "http", {"options": given, "generator": generator(), "samples": results, "failures": failures}
    )
    print(f"Raw numbers: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
