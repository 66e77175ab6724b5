"""Agents for a long time: after 10,000 runs that end in every way there is, memory, tasks and descriptors are what they
were."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
SERVER = [sys.executable, str(HERE / "tools.py")]
RUNS, WARM_UP, ROUND = 10_000, 1_500, 2_000
#: Resident bytes that may come and go with the allocator's mood.
SLACK_BYTES = 3 * 1024 * 1024
#: Objects that may: caches of the interpreter, and what is under way in the connection.
SLACK_OBJECTS = 500


def test_memory_tasks_and_descriptors_are_flat_over_10000_runs() -> None:
    child = subprocess.Popen(
        [sys.executable, str(HERE / "agent_soak.py"), *SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    ways: Counter[str] = Counter()

    def run(count: int) -> dict[str, Any]:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(f"{count}\n")
        child.stdin.flush()
        held: dict[str, Any] = json.loads(child.stdout.readline())
        ways.update(held["ways"])
        return held

    try:
        before = run(WARM_UP)
        for _ in range(RUNS // ROUND):
            after = run(ROUND)
        child.stdin.close()
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert set(ways) == {"completed", "suspended", "refused", "exceeded", "cancelled", "Done"}
    assert after["tasks"] == before["tasks"]
    assert after["descriptors"] == before["descriptors"]
    assert after["objects"] <= before["objects"] + SLACK_OBJECTS
    assert after["rss"] <= before["rss"] + SLACK_BYTES
