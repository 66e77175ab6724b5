"""The runner reads what the suite saves and lists, and takes no result for a good one."""

import json
from pathlib import Path

import pytest

from .run import LEGS, Leg, Outcome, names_in, outcome_of, report

LISTING = """\
Required for 2026-07-28 (3 scenarios, frozen; run at the 2026-07-28 wire):

Server scenarios (test against a server):
  - server-stateless
  - tools-list [2025-06-18,2026-07-28]

Client scenarios (test against a client):
  - tools_call
  - auth/basic-cimd

Run and reported, but never scored:
  extension (2):
    - auth/dpop [client]
    - tasks-lifecycle [server]
"""


def saved(folder: Path, *statuses: str) -> Path:
    checks = [{"id": f"check-{status}", "status": status, "description": "what"} for status in statuses]
    (folder / "checks.json").write_text(json.dumps(checks))
    return folder


def test_scenarios_are_those_under_the_heading_and_those_marked() -> None:
    assert names_in(LISTING, "server") == ["server-stateless", "tools-list", "tasks-lifecycle"]
    assert names_in(LISTING, "client") == ["tools_call", "auth/basic-cimd", "auth/dpop"]


def test_checks_are_counted_by_status(tmp_path: Path) -> None:
    outcome = outcome_of("one", saved(tmp_path, "SUCCESS", "SUCCESS", "SKIPPED", "INFO", "WARNING"))
    assert not outcome.failed
    assert outcome.checks == {"SUCCESS": 2, "SKIPPED": 1, "INFO": 1, "WARNING": 1}
    assert outcome.complaints == ["WARNING check-WARNING: what"]


def test_a_failed_check_fails_the_scenario(tmp_path: Path) -> None:
    outcome = outcome_of("one", saved(tmp_path, "SUCCESS", "FAILURE"))
    assert outcome.failed
    assert outcome.complaints == ["FAILURE check-FAILURE: what"]


def test_a_scenario_without_a_result_has_failed(tmp_path: Path) -> None:
    assert outcome_of("one", tmp_path).failed
    assert outcome_of("one", None).failed


def test_the_report_names_what_failed_once_and_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Outcome("good"), outcome_of("bad", saved(tmp_path, "FAILURE"))
    assert not report([(Leg("server"), [good, bad]), (Leg("server", "2025-11-25"), [bad])], ["auth/dpop"])
    printed = capsys.readouterr().out
    assert printed.count("check-FAILURE") == 1
    assert "in server --suite all, server --suite all --spec-version 2025-11-25" in printed
    assert "auth/dpop" in printed
    assert report([(Leg("server"), [good])], [])


def test_every_leg_says_how_it_chooses() -> None:
    options = {" ".join(leg.options) for leg in LEGS}
    assert "--requirements 2026-07-28" in options
    assert "--suite all --spec-version 2025-03-26" in options
    assert "--suite all" in options
    assert len({str(leg) for leg in LEGS}) == len(LEGS)
