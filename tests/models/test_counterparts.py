"""Nothing of the official schemas is forgotten: each definition has a model, a method or a reason."""

from __future__ import annotations

import pytest

from spec import definitions, needs_spec
from taut import models

from .counterparts import WITHOUT_MODEL, method_of, model_of

pytestmark = needs_spec

REVISIONS = pytest.mark.parametrize("revision", models.REVISIONS)


@REVISIONS
def test_every_definition_has_a_counterpart(revision: str) -> None:
    missing = [
        name
        for name, schema in definitions(revision).items()
        if name not in WITHOUT_MODEL and method_of(schema) is None and model_of(name) is None
    ]
    assert missing == []


@REVISIONS
def test_the_methods_are_those_of_the_schema(revision: str) -> None:
    documented = {method for schema in definitions(revision).values() if (method := method_of(schema))}
    known = {method for method, spec in models.METHODS.items() if revision in spec.revisions}
    if revision in models.MODERN:
        known |= set(models.INPUT_METHODS)
        # The extensions have no part in the core's schema.
        known -= {"tasks/get", "tasks/cancel", "tasks/update", "notifications/tasks"}
    known -= {"skills/list", "skills/get", "resources/directory/read"}
    assert known == documented


@REVISIONS
def test_senders_are_those_of_the_schema(revision: str) -> None:
    unions = definitions(revision)
    for method in models.METHODS:
        shape = models.lookup(method, revision)
        if shape is None or "extensions." in str(shape.capability):
            continue
        kind = "Notification" if shape.result is None else "Request"
        senders = {
            side.lower()
            for side in ("Client", "Server")
            if method in _methods(unions, unions.get(side + kind, {}))
        }
        assert shape.sender == ("both" if len(senders) == 2 else senders.pop()), method


def test_no_reason_is_left_over() -> None:
    names = {name for revision in models.REVISIONS for name in definitions(revision)}
    assert set(WITHOUT_MODEL) <= names


def _methods(unions: dict[str, dict[str, object]], schema: dict[str, object]) -> set[str]:
    method = method_of(schema)
    if method is not None:
        return {method}
    branches = schema.get("anyOf", [])
    assert isinstance(branches, list)
    return {str(method_of(unions[branch["$ref"].rpartition("/")[2]])) for branch in branches}
