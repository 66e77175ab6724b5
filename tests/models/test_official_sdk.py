"""The official Python SDK accepts what taut says, and taut reads what that SDK says in its turn.

The witness that needs no schema files: `sdk_oracle`, run by the interpreter of the official SDK 2.x, which
``make peers`` installs.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from spec import CHECKOUT
from taut import models

from . import from_models

INTERPRETER = CHECKOUT / ".peers" / "mcp2" / "bin" / "python"
ORACLE = Path(__file__).with_name("sdk_oracle.py")
ROUNDS = 6

pytestmark = pytest.mark.skipif(
    not INTERPRETER.exists(), reason="the official SDK is not installed: run `make peers`"
)

#: The official SDK has tasks at no revision: neither their methods, nor a task in place of a result.
UNKNOWN_TO_THE_SDK = {method for method in models.METHODS if "tasks" in method}
TASK_RESULTS = (models.CreateTaskResult, models.LegacyCreateTaskResult)


@pytest.fixture(scope="module")
def judged() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Messages that taut says at every revision, each with what the official SDK makes of it."""
    messages = [
        {"kind": kind, "method": method, "revision": revision, "body": models.to_dict(made, revision)}
        for revision in models.REVISIONS
        for kind, method, made in _made(revision)
    ]
    done = subprocess.run(
        [INTERPRETER, ORACLE],
        input="\n".join(json.dumps(message) for message in messages),
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    return list(zip(messages, verdicts, strict=True))


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


def test_the_sdk_knows_every_message_but_tasks(judged: list[Any]) -> None:
    unknown = {message["method"] for message, verdict in judged if verdict.get("unknown")}
    assert unknown == UNKNOWN_TO_THE_SDK


def test_the_sdk_accepts_what_taut_says(judged: list[Any]) -> None:
    refused = [(message, verdict["error"]) for message, verdict in judged if verdict.get("error")]
    assert refused == []


def test_taut_reads_what_the_sdk_says(judged: list[Any]) -> None:
    for message, verdict in judged:
        if "said" not in verdict:
            continue
        read = models.decode_params if message["kind"] == "params" else models.decode_result
        model = read(message["method"], json.dumps(verdict["said"]).encode(), message["revision"])
        assert models.to_dict(model, message["revision"]) == message["body"]
