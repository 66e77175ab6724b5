"""The examples of patterns run as they stand, offline, and show what their patterns do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

EXAMPLES = Path(__file__).parents[2] / "examples" / "patterns"

#: What each says, in this order.
SAID = {
    "chain": [
        "[notes/picker] fix: the export",
        "[notes/writer] Notes can be pinned now.",
        "\nNotizen lassen sich jetzt anheften.",
        "[notes] stopped: before writer: users would not notice",
        "\nnothing",
    ],
    "deep_research": [
        "[bees/investigation] plan: researcher: How many flowers",
        '[bees/investigation/researcher] calls search {"words":"flowers"}',
        "verdict: incomplete: how they live through winter",
        "facts: 2 new of 2",
        "research ended: The verifier is content",
        "\nBees visit up to 5,000 flowers a day [1].",
        "- A honey bee visits up to 5,000 flowers a day. (bees.txt)",
        "complete: True",
    ],
    "evaluator_optimizer": [
        "[message] evaluation: round 1: 0.00, expected at most 50 characters, got 80",
        "[message] evaluation: round 2: 0.67, expected the imperative mood",
        "[message] evaluation: round 3: 1.00, fine",
        "\nclient: heed Retry-After before a retry",
    ],
    "intent": ["\nbook 0.97 to=Ulm, day=Friday", "\ndelay 0.90 train=ICE 513", "\nnone 0.80"],
    "map_reduce": [
        "[survey] split: 4 items",
        '[survey/reader] {"mood":"good"',
        "moods: {'good': 2, 'bad': 1, 'mixed': 1}",
        "complaints: {'service': 1, 'tea': 1, 'delivery': 1}",
    ],
    "orchestrator": [
        "[party] plan refused: Task menu: expected a worker (cook, shopper, host), got 'chef'.",
        "[party] plan: menu (cook)",
        "[party/cook] Mushroom risotto",
        "[party/shopper] Rice 6",
        "[party/synthesiser]",
        "\n7 requests",
    ],
    "parallel": [
        "[review] failed branch: style: the third model is busy",
        "[review/lead] Blocker",
        "\nBlocker: SQL injection",
    ],
    "router": [
        "route: billing (0.90)",
        "route: technical (0.90)",
        "route: front (0.00) Nobody fits: none (0.90)",
        "\nSomebody will read it soon.",
    ],
    "swarm": [
        "[desk] hand-off: triage -> bookings",
        "[desk] hand-off: bookings -> refunds",
        "[desk/refunds] asks for approval of function:refund",
        "[desk/refunds] calls refund",
        "\nI am sorry that TA 12 was cancelled.",
    ],
    "voting": [
        "discarded vote: solver: It depends.",
        "votes: 3 x '0.05', 1 x '0.10'; 1 failed",
        "\n0.05, after 5 votes",
    ],
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=EXAMPLES,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
    )


def test_every_example_is_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("[!_]*.py")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_it_shows_what_the_pattern_does(name: str) -> None:
    done = run(f"{name}.py")
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout
    for part in SAID[name]:
        assert part in said
        said = said.partition(part)[2]


@pytest.mark.parametrize("name", ["chain", "router"])
def test_a_real_model_may_be_named(name: str) -> None:
    done = run(f"{name}.py", "--model", "nowhere:model")
    assert done.returncode == 1
    assert "Expected a model like " in done.stderr
    assert "--model MODEL" in run(f"{name}.py", "--help").stdout
