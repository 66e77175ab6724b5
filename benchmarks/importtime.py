"""What ``import taut`` costs a process, beside ``import msgspec``, which it cannot do without.

    python -m benchmarks.importtime [--rounds 15]

Each statement runs in an interpreter of its own, in turn; the CPU time and the peak memory are those of the
whole process, less those of an interpreter that does nothing.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import defaultdict

from benchmarks import _report
from benchmarks._report import Samples, ratio, spread

STATEMENTS = {
    "nothing": "pass",
    "msgspec": "import msgspec",
    "msgspec.json": "import msgspec.json",
    "asyncio": "import asyncio",
    "uvloop": "import uvloop",
    "taut": "import taut",
    "taut.Server": "from taut import Server",
    "taut.Client": "from taut import Client",
    "taut.Agent": "from taut import Agent",
}


# Not ru_maxrss: that of a child begins with what its parent had before the exec.
PEAK = "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def measure(statement: str, samples: Samples) -> bool:
    """Run one statement in a fresh interpreter; return whether it succeeded."""
    start = time.perf_counter_ns()
    process = subprocess.Popen(
        [sys.executable, "-c", f"{statement}\n{PEAK}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process.stdout:
        peak = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    samples["wall_ms"].append((time.perf_counter_ns() - start) / 1e6)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        return False
    samples["cpu_ms"].append((usage.ru_utime + usage.ru_stime) * 1e3)
    samples["peak_mb"].append(int(peak.split()[1]) * 1024 / 1e6)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.importtime", description="The cost of import taut.")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    samples: dict[str, Samples] = {name: defaultdict(list) for name in STATEMENTS}
    for turn in range(options.rounds):
        for name in _report.rotated(list(samples), turn):
            if not measure(STATEMENTS[name], samples[name]):
                print(f"{STATEMENTS[name]}: failed")
                del samples[name]
    nothing = samples["nothing"]
    base = min(nothing["wall_ms"])
    rows = []
    for name, values in samples.items():
        net = [wall - base for wall in values["wall_ms"]]
        against = [wall - base for wall in samples["msgspec"]["wall_ms"]]
        share = ratio(net, against) if name != "nothing" else "-"
        rows.append([name, spread(net), share, spread(values["cpu_ms"]), spread(values["peak_mb"])])
    print(
        _report.table(["import", "ms over nothing", "of msgspec", "CPU ms of the process", "peak MB"], rows)
    )
    print(f"\nMedian (min-max) of {options.rounds} interleaved rounds; {_report.machine()['cpu']}.")
    _report.save("importtime", {"samples": samples})
    return 0


if __name__ == "__main__":
    sys.exit(main())
