"""Instructions per operation, counted by callgrind: a number that a busy machine cannot change.

    python -m benchmarks.instructions [--only parse,encode] [--check]

Each operation of `benchmarks._operations` runs 100 and 5,100 times in processes of their own (those on many or
large messages, 10 and 60 times); the difference is what the others cost, without imports and set-up. ``--check``
compares with the numbers that ``--save`` wrote before, and fails when one grew by more than 3 %. Needs valgrind.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys

from benchmarks import _report
from benchmarks._operations import OPERATIONS
from benchmarks._peers import ROOT

LOOPS = (100, 5100)
LOOPS_OF_LARGE = (10, 60)
BASELINE = ROOT / "benchmarks" / "instructions.json"
TOLERANCE = 1.03
DEFAULT = (
    "nothing",
    "frame/64x200B/taut",
    "parse/200B/taut",
    "parse/4KB/taut",
    "encode/small/taut",
    "call/legacy",
    "call/modern",
    "http",
)
# Without the collector: how often it runs, and over what, depends on the imports.
PROGRAM = """
import gc, sys
from benchmarks._operations import OPERATIONS
run = OPERATIONS[sys.argv[1]]()
gc.disable()
for _ in range(int(sys.argv[2])):
    run()
"""


def count(name: str, loops: int) -> int:
    """Return the instructions of a process that runs an operation `loops` times."""
    program = [sys.executable, "-c", PROGRAM, name, str(loops)]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    # Once without counting: the first process after a change compiles bytecode.
    subprocess.run(program, cwd=ROOT, env=environment, check=True)
    callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}"]
    done = subprocess.run([*callgrind, *program], capture_output=True, text=True, cwd=ROOT, env=environment)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"{name}: callgrind failed: {done.stderr.strip()[-300:]}")
    return int(found[1])


def per_operation(name: str) -> float:
    few, many = LOOPS_OF_LARGE if any(part in name for part in ("64", "1MB")) else LOOPS
    return (count(name, many) - count(name, few)) / (many - few)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="benchmarks.instructions", description="Instructions per operation."
    )
    parser.add_argument(
        "--only", default=",".join(DEFAULT), help="comma-separated names or beginnings of names"
    )
    parser.add_argument("--save", action="store_true", help=f"write the numbers to {BASELINE.name}")
    parser.add_argument("--check", action="store_true", help=f"compare with {BASELINE.name}")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed", file=sys.stderr)
        return 2
    names = [name for name in OPERATIONS if name.startswith(tuple(options.only.split(",")))]
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts = {name: round(per_operation(name)) for name in names}
    rows = [
        [name, f"{value:,}", f"{value / known[name]:.3f}x" if name in known else "-"]
        for name, value in counts.items()
    ]
    print(_report.table(["operation", "instructions", "of the saved number"], rows))
    if options.save:
        BASELINE.write_text(json.dumps({**known, **counts}, indent=2) + "\n")
    grown = [
        name for name, value in counts.items() if options.check and value > known.get(name, value) * TOLERANCE
    ]
    for name in grown:
        print(f"{name} grew from {known[name]:,} to {counts[name]:,} instructions", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
