"""Every official example of 2026-07-28 is read, and said again without loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from spec import definitions, examples, needs_spec
from taut import models

from .counterparts import method_of, model_of

pytestmark = needs_spec

REVISION = models.LATEST


#: Examples that lack members which their own schema requires; taut says them.
INCOMPLETE = {"read-resource-result-response": {"ttlMs": 0, "cacheScope": "private"}}


@pytest.mark.parametrize("path", examples(REVISION), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_example_survives(path: Path) -> None:
    example = json.loads(path.read_bytes())
    said = _again(path.parent.name, example)
    if path.stem in INCOMPLETE:
        example["result"] |= INCOMPLETE[path.stem]
    assert said == example


def test_all_examples_are_here() -> None:
    assert len(examples(REVISION)) >= 129


def _again(definition: str, example: Any) -> Any:
    """Read an example as the model of its definition, and return what taut says for it."""
    schema = definitions(REVISION)[definition]
    method = method_of(schema)
    if definition == "InputRequests":
        return _said(dict[str, models.InputRequest], example)
    if definition == "InputResponses":
        answers = {"github_login": "elicitation/create", "capital_of_france": "sampling/createMessage"}
        read = {key: models.decode_input_response(answers[key], value) for key, value in example.items()}
        return {key: models.to_dict(value, REVISION) for key, value in read.items()}
    if method in models.INPUT_METHODS:
        # A JSON-RPC id is left over from the revisions in which this was a request.
        envelope = {name: example[name] for name in ("id", "jsonrpc") if name in example}
        return envelope | _said(models.InputRequest, example)
    if method is not None:
        params = models.decode_params(method, json.dumps(example.get("params", {})).encode(), REVISION)
        return example | ({"params": models.to_dict(params, REVISION)} if "params" in example else {})
    if "error" in example:
        return example | {"error": _said(models.ErrorObject, example["error"])}
    if set(example) <= {"code", "message", "data"} and "code" in example:
        return _said(models.ErrorObject, example)
    if definition.endswith("ResultResponse"):
        return example | {"result": _said(model_of(definition), example["result"])}
    return _said(model_of(definition), example)


def _said(model: Any, example: Any) -> Any:
    read = models.decode(model, json.dumps(example).encode())
    if isinstance(read, dict):
        return {key: models.to_dict(value, REVISION) for key, value in read.items()}
    assert isinstance(read, msgspec.Struct)
    return models.to_dict(read, REVISION)
