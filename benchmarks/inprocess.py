"""A whole ``tools/call`` inside one process: bytes in, the tool, bytes out, no I/O.

    python -m benchmarks.inprocess [--rounds 7]

Shows what of a call is taut's own work and not the kernel's. Each row is the time of one call in a read event
that brings this many; the floor does the same with a bare msgspec decoder and encoder, and nothing else.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable

from benchmarks import _report
from benchmarks._inprocess import call, connected
from benchmarks._operations import OPERATIONS
from benchmarks._report import ratio, spread
from taut._core import COMPILED

ADD = b'{"a":17,"b":25}'


def batch(count: int, *, modern: bool = False) -> bytes:
    return b"".join(call("add", ADD, id=id, modern=modern) for id in range(1, count + 1))


def exchanging(count: int, *, modern: bool = False) -> Callable[[], object]:
    exchange, data = connected(modern=modern).exchange, batch(count, modern=modern)
    replies = exchange(data)
    if replies.count(b'"text":"42"') != count:
        raise SystemExit(f"Expected {count} sums, got {replies[:300]!r}")
    return lambda: exchange(data)


def time_one(run: Callable[[], object], calls: int, *, seconds: float = 0.2) -> float:
    """Return microseconds of CPU for one of the `calls` that each `run` makes."""
    start, done = time.process_time_ns(), 0
    while time.process_time_ns() - start < seconds * 1e9:
        for _ in range(20):
            run()
        done += 20 * calls
    return (time.process_time_ns() - start) / done / 1e3


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.inprocess", description="tools/call without I/O.")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    cases: dict[str, tuple[Callable[[], object], int]] = {
        "taut, 2025-11-25, 1 in a read": (exchanging(1), 1),
        "taut, 2025-11-25, 64 in a read": (exchanging(64), 64),
        "taut, 2026-07-28, 1 in a read": (exchanging(1, modern=True), 1),
        "taut, 2026-07-28, 64 in a read": (exchanging(64, modern=True), 64),
        "floor, 64 in a read": (OPERATIONS["call/64 in a read/floor"](), 64),
    }
    samples: dict[str, list[float]] = defaultdict(list)
    for turn in range(options.rounds):
        for name in _report.rotated(list(cases), turn):
            samples[name].append(time_one(*cases[name]))
    floor = samples["floor, 64 in a read"]
    rows = [[name, spread(samples[name]), ratio(samples[name], floor)] for name in cases]
    print(_report.table(["case", "us/call", "times the floor"], rows))
    core = "compiled core" if COMPILED else "pure core"
    print(f"\nMedian (min-max) of {options.rounds} interleaved rounds, {core}; {_report.machine()['cpu']}.")
    rate = 1e6 / statistics.median(samples["taut, 2025-11-25, 64 in a read"])
    print(f"Calls a second, 64 in a read: {rate:,.0f}")
    _report.save("inprocess", {"samples": samples})
    return 0


if __name__ == "__main__":
    sys.exit(main())
