"""Every example runs as it stands, offline, and says what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

EXAMPLES = Path(__file__).parents[2] / "examples"
#: Started by the tests below, or by other examples.
COVERED = {
    "agent_server.py",
    "approvals.py",
    "basic_agent.py",
    "client.py",
    "elicitation.py",
    "in_memory_test.py",
    "multi_agent.py",
    "notes_server.py",
    "server.py",
    "tool_gateway.py",
}


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=EXAMPLES,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_no_example_is_without_a_test() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == COVERED


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18", "2026-07-28"])
def test_the_client_uses_all_that_the_notes_server_offers(revision: str) -> None:
    said = run("client.py", revision)
    assert said.startswith(f"notes 1.0 speaks {revision}\n")
    for part in (
        "- cover: Draw the cover of a note",
        "There is a note 'Tea' already",
        "  3/3",
        '[{"title":"Errands",',
        "The cover of Tea: image/png, ",
        "Green, 80 degrees.\nRewrite this note in a formal tone:",
    ):
        assert part in said


def test_the_client_sees_structured_content_where_the_revision_has_it() -> None:
    said = run("client.py")
    assert "{'title': 'Tea', 'text': 'Green, 80 degrees.', 'tags': ['home']}" in said
    assert "  log info: {'added': 'Tea'}" in said


def test_elicitation_works_the_same_in_both_eras() -> None:
    assert run("elicitation.py").splitlines() == [
        "2025-11-25: A table for 4 (garden), for Ada.",
        "2025-11-25: Nothing was booked.",
        "2026-07-28: A table for 4 (garden), for Ada.",
        "2026-07-28: Nothing was booked.",
    ]


def test_the_tests_among_the_examples_pass() -> None:
    assert "6 passed" in run(
        "-m", "pytest", "-q", "-c", "/dev/null", "-p", "no:cacheprovider", "in_memory_test.py"
    )


@pytest.mark.parametrize("server", ["server.py", "notes_server.py"])
def test_servers_can_be_served_by_the_command_line(server: str) -> None:
    assert "add(" in run("-m", "taut", "tools", server)


def test_an_agent_streams_repairs_and_answers_in_its_type() -> None:
    assert run("basic_agent.py").splitlines()[-3:] == [
        "repair: Expected `bool`, got `str` - at `$.urgent`",
        "Summary(title='Errands', words=5, urgent=False)",
        "4 requests, 2 calls",
    ]


def test_agents_use_agents_and_share_a_server() -> None:
    said = run("multi_agent.py").splitlines()
    assert said[:2] == ["editor: chores", "editor: plans"]
    assert "editor/plans: 'There is a plan for a lamp.'" in said
    assert said[-2:] == ["editor: 'Post the letter; then build the lamp.'", "6 requests in all"]


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        ("approve", ["  paying 70 to Ada", "completed: Result: paid 70 to Ada"]),
        (
            "reject",
            ["completed: Result: The call was not approved: not before payday. Do not repeat it."],
        ),
    ],
)
def test_an_approval_is_given_by_another_process(decision: str, outcome: list[str], tmp_path: Path) -> None:
    state = str(tmp_path / "run.state")
    assert run("approvals.py", "begin", state).splitlines() == [
        "  looking at household",
        "suspended: pay {'to': 'Ada', 'amount': 70} waits for approval",
    ]
    assert run("approvals.py", decision, state).splitlines() == outcome
    assert not Path(state).exists()


def test_a_gateway_searches_filters_and_caches() -> None:
    said = run("tool_gateway.py")
    for part in (
        "-> find_tools {'query': 'count articles on shelf 42'}",
        "- warehouse__count_shelf_42: Count the articles on shelf number 42.",
        "<- The tool notes__add cannot be used: the policy of this agent does not allow it.",
        "shown to the model at first: 1 of 66 tools",
        "Shelf 42 has 126 articles.",
    ):
        assert part in said


def test_agents_behind_a_server_are_called_watched_and_approved() -> None:
    said = run("agent_server.py")
    assert said.splitlines()
    for part in ("tea", "ordered"):
        assert part in said
