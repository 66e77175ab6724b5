"""The official Python SDK accepts what taut says, and taut reads what that SDK says in its turn.

The witness that needs no schema files: `sdk_oracle`, run by the interpreter of the official SDK 2.x, which
``make peers`` installs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from spec import CHECKOUT
from taut import models

from . import from_models
from .from_models import mangle

INTERPRETER = CHECKOUT / ".peers" / "mcp2" / "bin" / "python"
ORACLE = Path(__file__).with_name("sdk_oracle.py")
ROUNDS = 6

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not INTERPRETER.exists(), reason="the official SDK is not installed: run `make peers`"
    ),
]

#: The official SDK has tasks and skills at no revision: neither their methods, nor a task in place of a result.
SKILLS = {"skills/list", "skills/get", "resources/directory/read"}
UNKNOWN_TO_THE_SDK = SKILLS | {method for method in models.METHODS if "tasks" in method}
TASK_RESULTS = (models.CreateTaskResult, models.LegacyCreateTaskResult)


Judged: TypeAlias = tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, list[Judged]]:
    """What taut says at every revision, and the same mangled, each with what the official SDK makes of it.

    All in one run, since starting the SDK takes longer than everything else here.
    """
    said = [
        {"kind": kind, "method": method, "revision": revision, "body": models.to_dict(made, revision)}
        for revision in models.REVISIONS
        for kind, method, made in _made(revision)
    ]
    mangled = [
        message | {"body": body}
        for message in said[::ROUNDS]
        for body in mangle(message["body"])
        if isinstance(body, dict)
    ]
    done = subprocess.run(
        [INTERPRETER, ORACLE],
        input="\n".join(json.dumps(message) for message in said + mangled),
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    judged = list(zip(said + mangled, lines, strict=True))
    return {"said": judged[: len(said)], "mangled": judged[len(said) :]}


def _made(revision: str) -> list[tuple[str, str, Any]]:
    maker = from_models.Maker(revision, seed=4)
    made: list[tuple[str, str, Any]] = []
    for method, spec in models.METHODS.items():
        if revision not in spec.revisions:
            continue
        made += [("params", method, maker.params(method)) for _ in range(ROUNDS)]
        if spec.result is not None:
            results = [maker.result(method) for _ in range(ROUNDS)]
            made += [("result", method, result) for result in results if not isinstance(result, TASK_RESULTS)]
    return made


def test_the_sdk_knows_every_message_but_those_of_extensions(verdicts: dict[str, list[Judged]]) -> None:
    unknown = {message["method"] for message, verdict in verdicts["said"] if verdict.get("unknown")}
    assert unknown == UNKNOWN_TO_THE_SDK


def test_the_sdk_accepts_what_taut_says(verdicts: dict[str, list[Judged]]) -> None:
    refused = [(message, verdict["error"]) for message, verdict in verdicts["said"] if verdict.get("error")]
    assert refused == []


def test_taut_reads_what_the_sdk_says(verdicts: dict[str, list[Judged]]) -> None:
    for message, verdict in verdicts["said"]:
        if "said" in verdict:
            model = _read(message | {"body": verdict["said"]})
            assert models.to_dict(model, message["revision"]) == message["body"]


def test_taut_refuses_nothing_that_the_sdk_accepts(verdicts: dict[str, list[Judged]]) -> None:
    """Mangled messages: where taut is the stricter one, a peer that works today would stop working."""
    accepted = [message for message, verdict in verdicts["mangled"] if "said" in verdict]
    assert len(accepted) > 500
    for message in accepted:
        if not _is_rightly_refused(message):
            _read(message)


def _is_rightly_refused(message: dict[str, Any]) -> bool:
    """Tell where taut may be stricter than the SDK, which judges all legacy revisions by that of 2025-11-25."""
    body = message["body"]
    if message["method"] == "notifications/cancelled":
        return body.get("requestId") is None  # optional at that revision only
    return isinstance(body.get("notifications"), dict) and "taskIds" in body["notifications"]  # an extension


def _read(message: dict[str, Any]) -> Any:
    read = models.decode_params if message["kind"] == "params" else models.decode_result
    return read(message["method"], json.dumps(message["body"]).encode(), message["revision"])
