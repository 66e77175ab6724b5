"""Agent libraries side by side: what one step of an agent costs beyond the tool call in it.

    python -m benchmarks.agent --agents taut,langchain --rounds 5

A step is one request to a model and one call of ``add(a, b)`` on an MCP server over stdio. The model is
instant, a function in the process, so what is left is the library. Each library runs in a process of its own,
calls the same server, and reports the CPU time of its process: of a bare call with the MCP client that it uses,
of a step in runs of 100 steps, and how much more a step costs at the end of such a run than at its fifth step.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict

from benchmarks import _report
from benchmarks._driver import Cores
from benchmarks._peers import PEERS, ROOT, SERVERS
from benchmarks._report import Samples, ratio, spread

AGENTS = ROOT / "benchmarks" / "agents"
PEER = str(PEERS / "agents" / "bin" / "python")
#: Interpreter, script, and what a program that uses the library imports.
LIBRARIES = {
    "taut": (sys.executable, "taut_agent.py", "from taut.agent import Agent"),
    "pydantic-ai": (PEER, "pydantic_ai_agent.py", "from pydantic_ai import Agent"),
    "openai-agents": (PEER, "openai_agents_agent.py", "from agents import Agent"),
    "langchain": (PEER, "langchain_agent.py", "from langchain.agents import create_agent"),
}
COLUMNS = {
    "bare_us": "bare call, CPU us",
    "step_us": "step, CPU us",
    "own_us": "the agent's own, CPU us",
    "growth": "step 100 over step 5",
    "import_ms": "import, CPU ms",
}
TIMEOUT_S = 240


def missing(name: str) -> str | None:
    """Return why a library cannot run here, or None."""
    if name != "taut" and not (PEERS / "agents").exists():
        return ".peers/agents is missing (scripts/peers.sh agents)"
    return None


def measure(name: str, samples: Samples, runs: int, steps: int, cores: Cores) -> str | None:
    """Run one library once; return what went wrong, or None."""
    interpreter, script, _ = LIBRARIES[name]
    server = [sys.executable, str(SERVERS / "taut_server.py")]
    # The agent is what is measured: its server, a child, gets the other core.
    pinned = ["taskset", "-c", str(min(cores.driver)), *server]
    os.sched_setaffinity(0, cores.server)
    try:
        done = subprocess.run(
            [interpreter, str(AGENTS / script), str(runs), str(steps), *pinned],
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
    samples["import_ms"].append(import_ms(name))
    return None


def import_ms(name: str) -> float:
    """Return the CPU time of the library's import, with what it loads, beyond that of an empty process."""
    interpreter, _, statement = LIBRARIES[name]
    code = f"import time; begin = time.process_time(); {statement}; print(time.process_time() - begin)"
    done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout) * 1e3


def report(samples: dict[str, Samples]) -> str:
    rows = [[name, *[spread(values[column]) for column in COLUMNS]] for name, values in samples.items()]
    header = ["agent", *COLUMNS.values()]
    if "taut" in samples:
        header.append("own CPU, times taut's")
        for row in rows:
            row.append(ratio(samples[row[0]]["own_us"], samples["taut"]["own_us"]))
    return _report.table(header, rows)


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.agent", description="Agent libraries, step by step.")
    parser.add_argument("--agents", default=",".join(LIBRARIES), help="comma-separated (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5, help="counted runs of a round")
    parser.add_argument("--steps", type=int, default=100, help="steps of a run")
    options = parser.parse_args()
    names = options.agents.split(",")
    if unknown := set(names) - set(LIBRARIES):
        parser.error(f"unknown libraries: {', '.join(sorted(unknown))}; known: {', '.join(LIBRARIES)}")
    failures = {name: reason for name in names if (reason := missing(name))}
    cores = Cores.choose()
    samples: dict[str, Samples] = {name: defaultdict(list) for name in names if name not in failures}
    began = time.monotonic()
    for turn in range(options.rounds):
        for name in _report.rotated(list(samples), turn):
            if name in failures:
                continue
            reason = measure(name, samples[name], options.runs, options.steps, cores)
            if reason:
                failures[name] = reason
    print(report({name: values for name, values in samples.items() if values}))
    print(
        f"\nMedian (min-max) of {options.rounds} interleaved rounds of {options.runs} runs of {options.steps} steps, "
        f"in {time.monotonic() - began:.0f} s; {_report.machine()['cpu']}."
    )
    for name, reason in failures.items():
        print(f"{name}: {reason}")
    path = _report.save("agent", {"options": vars(options), "samples": samples, "failures": failures})
    print(f"Raw numbers: {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
