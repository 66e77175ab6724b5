"""Servers over stdio, side by side: what one ``tools/call`` costs, and what the rest costs.

    python -m benchmarks.stdio --servers taut,mcp2,floor --rounds 5

Each round starts each server anew, in another order, and measures one after the other: time from spawn to
the answered handshake, memory at rest, sequential calls (latency), calls with 64 in flight (CPU of the
server, calls a second), the same with ``ping``, and an echo of 1 MB. With ``--big`` one echo of that many MB
per server follows. Every answer is decoded and checked.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict

import msgspec

from benchmarks import _report
from benchmarks._driver import (
    LEGACY,
    MODERN,
    WINDOW,
    BenchmarkError,
    Cores,
    Frames,
    ServerProcess,
    check,
    frame,
)
from benchmarks._peers import ROOT, Peer, catalogue
from benchmarks._report import Samples, ratio, spread

DEFAULT = "taut,mcp2,mcp2-low,fastmcp,ts1,ts2,rmcp,mcp-go,floor,floor-task"
MEGABYTE = 1_000_000
LINE = "The quick brown fox jumps over the lazy dog, and 0123456789 more of them. \n"
PATIENCE_S = 60.0
BASES = {"mcp2": "times less than mcp2", "rmcp": "times less than rmcp", "floor": "times the floor"}
COLUMNS = {
    "calls_per_s": "calls/s",
    "cpu_us": "CPU us/call",
    "p50_us": "p50 us",
    "p99_us": "p99 us",
    "sequential_cpu_us": "CPU us, 1 in flight",
    "ping_cpu_us": "ping CPU us",
    "start_ms": "start ms",
    "rss_mb": "RSS MB",
    "echo_1mb_ms": "1 MB echo ms",
}


class Load:
    """One server under measurement: makes frames with fresh ids and adds the numbers to `samples`."""

    def __init__(self, peer: Peer, server: ServerProcess, samples: Samples, *, revision: str) -> None:
        self.peer = peer
        self.server = server
        self.samples = samples
        self.revision = revision
        self.next_id = 1

    def frames(self, method: str, count: int) -> Frames:
        first, self.next_id = self.next_id, self.next_id + count
        frames = []
        for id in range(first, first + count):
            params = (
                {"name": self.peer.tool, "arguments": self.peer.arguments(id)}
                if method == "tools/call"
                else {}
            )
            frames.append(frame(id, method, params, revision=self.revision))
        return Frames(frames, first_id=first)

    def sequential(self, count: int) -> None:
        frames = self.frames("tools/call", count)
        cpu = self.server.cpu_ns()
        with self.server.patience(PATIENCE_S):
            replies, times = self.server.sequential(frames)
        self.samples["sequential_cpu_us"].append((self.server.cpu_ns() - cpu) / count / 1e3)
        check(replies, frames, self.peer.accepts)
        self.samples["p50_us"].append(statistics.median(times) / 1e3)
        self.samples["p99_us"].append(sorted(times)[count * 99 // 100] / 1e3)

    def pipelined(self, method: str, count: int) -> tuple[float, float]:
        """Return (calls a second, microseconds of the server's CPU for one)."""
        frames = self.frames(method, count)
        cpu, start = self.server.cpu_ns(), time.perf_counter_ns()
        with self.server.patience(PATIENCE_S):
            replies = self.server.pipelined(frames)
        elapsed = time.perf_counter_ns() - start
        cpu = self.server.cpu_ns() - cpu
        check(replies, frames, self.peer.accepts if method == "tools/call" else None)
        return count / elapsed * 1e9, cpu / count / 1e3

    def echo(self, size: int) -> tuple[float, int]:
        """Echo `size` bytes of text; return milliseconds, and the bytes of the request."""
        text = (LINE * (size // len(LINE) + 1))[:size]
        params = {"name": "echo", "arguments": {"text": text}}
        data = frame(self.next_id, "tools/call", params, revision=self.revision)
        self.next_id += 1
        start = time.perf_counter_ns()
        with self.server.patience(PATIENCE_S):
            reply = self.server.exchange(data)
        elapsed_ms = (time.perf_counter_ns() - start) / 1e6
        if msgspec.json.encode(text) not in bytes(reply):
            raise BenchmarkError(f"Expected {size} bytes of text back, got {bytes(reply[:200])!r}")
        self.samples["echo_reply_ratio"].append(len(reply) / size)
        return elapsed_ms, len(data)


def open_server(peer: Peer, cores: Cores) -> ServerProcess:
    return ServerProcess(peer.command, cores=cores, environment=peer.environment, cwd=ROOT)


def measure(peer: Peer, samples: Samples, options: argparse.Namespace, cores: Cores) -> None:
    """One round of one server."""
    with open_server(peer, cores) as server:
        with server.patience(PATIENCE_S):
            samples["start_ms"].append(server.handshake(options.revision))
        samples["rss_mb"].append(server.memory_mb("VmRSS"))
        load = Load(peer, server, samples, revision=options.revision)
        # The first calls warm caches and just-in-time compilers, and tell how many fill the wanted time.
        rate, _ = load.pipelined("tools/call", 200)
        rate, _ = load.pipelined("tools/call", max(500, int(rate * options.seconds)))
        count = max(500, int(rate * options.seconds))
        load.sequential(max(300, count // 10))
        calls_per_s, cpu_us = load.pipelined("tools/call", count)
        samples["calls_per_s"].append(calls_per_s)
        samples["cpu_us"].append(cpu_us)
        if options.revision != MODERN:
            samples["ping_cpu_us"].append(load.pipelined("ping", count)[1])
        if peer.echo:
            load.echo(MEGABYTE)
            samples["echo_1mb_ms"].append(statistics.median(load.echo(MEGABYTE)[0] for _ in range(5)))


def measure_big(peer: Peer, samples: Samples, options: argparse.Namespace, cores: Cores) -> None:
    """Peak memory of one large echo in a fresh process, as a multiple of the message."""
    size = options.big * MEGABYTE
    with open_server(peer, cores) as server:
        with server.patience(PATIENCE_S):
            server.handshake(options.revision)
        load = Load(peer, server, samples, revision=options.revision)
        load.pipelined("tools/call", 100)
        before = server.memory_mb("VmRSS")
        elapsed_ms, message_bytes = load.echo(size)
        samples["big_ms"].append(elapsed_ms)
        samples["big_peak"].append((server.memory_mb("VmHWM") - before) * MEGABYTE / message_bytes)
        samples["big_rss_after_mb"].append(server.memory_mb("VmRSS"))


def report(samples: dict[str, Samples], peers: dict[str, Peer], options: argparse.Namespace) -> str:
    rows = [
        [name, peers[name].version, *[spread(values[column]) for column in COLUMNS]]
        for name, values in samples.items()
    ]
    parts = [_report.table(["server", "version", *COLUMNS.values()], rows)]
    if bases := [name for name in BASES if name in samples]:
        header, rows = ["server"], [[name] for name in samples]
        for base in bases:
            for label, column in (("CPU", "cpu_us"), ("p50", "p50_us")):
                header.append(f"{label}, {BASES[base]}")
                for row in rows:
                    mine, other = samples[row[0]][column], samples[base][column]
                    row.append(ratio(mine, other) if base == "floor" else ratio(other, mine))
        parts.append(_report.table(header, rows))
    if options.big:
        rows = [
            [name, spread(values["big_ms"]), spread(values["big_peak"]), spread(values["big_rss_after_mb"])]
            for name, values in samples.items()
            if peers[name].echo
        ]
        header = ["server", f"{options.big} MB echo ms", "peak memory / message", "RSS after MB"]
        parts.append(_report.table(header, rows))
    return "\n\n".join(parts)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.stdio", description="MCP servers over stdio, side by side."
    )
    parser.add_argument("--servers", default=DEFAULT, help=f"comma-separated (default: {DEFAULT})")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="time of the pipelined phase of a round")
    parser.add_argument("--revision", choices=(LEGACY, MODERN), default=LEGACY)
    parser.add_argument("--big", type=int, default=0, metavar="MB", help="also echo one message of this size")
    return parser.parse_args(arguments)


def main() -> int:
    options = parse()
    cores = Cores.choose()
    known = catalogue()
    names = options.servers.split(",")
    if unknown := set(names) - set(known):
        print(f"Unknown servers: {', '.join(sorted(unknown))}. Known: {', '.join(known)}", file=sys.stderr)
        return 2
    failures: dict[str, str] = {}
    for name in list(names):
        reason = known[name].missing()
        if reason is None and options.revision == MODERN and not known[name].modern:
            reason = f"does not speak {MODERN}"
        if reason is not None:
            failures[name] = reason
            names.remove(name)
    samples: dict[str, Samples] = {name: defaultdict(list) for name in names}
    for turn in range(options.rounds + (1 if options.big else 0)):
        step = measure if turn < options.rounds else measure_big
        for name in _report.rotated(names, turn):
            if name in failures or (step is measure_big and not known[name].echo):
                continue
            print(f"round {turn + 1}: {name}", file=sys.stderr)
            try:
                step(known[name], samples[name], options, cores)
            except BenchmarkError as error:
                failures[name] = str(error)
    print(report(samples, known, options))
    print(
        f"\nMedian (min-max) of {options.rounds} interleaved rounds, {WINDOW} in flight, revision "
        f"{options.revision}, server on core {sorted(cores.server)}, driver on core {sorted(cores.driver)}; "
        f"{_report.machine()['cpu']}."
    )
    for name, reason in failures.items():
        print(f"{name}: {reason}")
    path = _report.save("stdio", {"options": vars(options), "samples": samples, "failures": failures})
    print(f"Raw numbers: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
