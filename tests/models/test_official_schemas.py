"""What taut emits at a revision is valid by its official schema, says nothing that the revision lacks, and is
read back unchanged; what the schema allows is read and said again without loss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from spec import definitions, needs_spec, reference
from taut import models

from . import from_models, from_schemas
from .closed import closed
from .counterparts import method_of, result_definition

pytestmark = needs_spec

EMITTED_PER_REVISION = 2_000
ACCEPTED_PER_REVISION = 1_000

#: Old schemas leave these params open, and nothing has ever been said there: unknown members are ignored.
BARE = (models.RequestParams, models.NotificationParams)


@pytest.mark.parametrize("revision", models.REVISIONS)
def test_emitted_messages_are_valid_and_survive_a_round_trip(revision: str) -> None:
    maker = from_models.Maker(revision, seed=1)
    for definition, method, kind in _rounds(revision, EMITTED_PER_REVISION):
        made = maker.params(method) if kind == "params" else maker.result(method)
        encoded = models.encode(made, revision)
        problem = _first_error(revision, definition, made, _message(definition, method, kind, encoded))
        assert problem is None, f"{definition}: {problem}\n{encoded.decode()}"
        decoded = _decode(method, kind, encoded, revision)
        assert models.encode(decoded, revision) == encoded


@pytest.mark.parametrize("revision", models.REVISIONS)
def test_valid_messages_are_read_and_said_again_without_loss(revision: str) -> None:
    maker = from_schemas.Maker(revision, seed=2)
    for definition, method, kind in _rounds(revision, ACCEPTED_PER_REVISION):
        made = maker.make(definition)
        body = made.get("params", {}) if kind == "params" else made
        spec = models.lookup(method, revision)
        if kind == "params" and spec is not None and spec.params in BARE:
            body = {name: value for name, value in body.items() if name == "_meta"}
        decoded = _decode(method, kind, json.dumps(body).encode(), revision)
        assert models.to_dict(decoded, revision) == body, definition


def _rounds(revision: str, count: int) -> Iterator[tuple[str, str, str]]:
    """Yield definition, method and kind of body, over and over until ``count`` are out."""
    known = definitions(revision)
    bodies = []
    for definition, schema in known.items():
        method = method_of(schema)
        if method is None or models.lookup(method, revision) is None:
            continue
        bodies.append((definition, method, "params"))
        if definition.endswith("Request"):
            bodies.append((result_definition(definition), method, "result"))
    for index in range(count):
        yield bodies[index % len(bodies)]


def _message(definition: str, method: str, kind: str, encoded: bytes) -> Any:
    body = msgspec.json.decode(encoded)
    if kind == "result":
        return body
    message = {"jsonrpc": "2.0", "method": method, "params": body}
    return message | {"id": 1} if definition.endswith("Request") else message


def _decode(method: str, kind: str, raw: bytes, revision: str) -> Any:
    if kind == "params":
        return models.decode_params(method, raw, revision)
    return models.decode_result(method, raw, revision)


#: Alternatives of a method's result are definitions of their own; the tasks extension is in no schema.
ALTERNATIVES: dict[type, str | None] = {
    models.InputRequiredResult: "InputRequiredResult",
    models.LegacyCreateTaskResult: "CreateTaskResult",
    models.CreateTaskResult: None,
}


def _first_error(revision: str, definition: str, made: Any, message: Any) -> str | None:
    alternative = ALTERNATIVES.get(type(made), definition)
    if alternative is None:
        return None
    for validator in _validators(revision, alternative):
        for error in validator.iter_errors(message):
            return f"{error.message} at {'/'.join(map(str, error.instance_path))}"
    return None


@cache
def _validators(revision: str, definition: str) -> tuple[Any, Any]:
    official = reference(revision, definition)
    return jsonschema_rs.validator_for(official), jsonschema_rs.validator_for(closed(official, revision))
