"""Schemas in one line, whatever a server sends as a schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.cli.schemas import ALL_TYPES, resolve, signature, type_text, types_of

TREE: dict[str, Any] = {"$defs": {"Tree": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}
LOOP: dict[str, Any] = {"$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["null", "integer"]}, "integer | null"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer | null"),
        ({"type": "array", "items": {"type": "string"}}, "string[]"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "(string | null)[]"),
        ({"type": "array"}, "any[]"),
        ({"enum": ["a", 1, None]}, '"a" | 1 | null'),
        ({"enum": list(range(9))}, "0 | 1 | 2 | 3 | 4 | ..."),
        ({"const": "x"}, '"x"'),
        ({"type": "object", "title": "Point"}, "Point"),
        ({"type": "object"}, "object"),
        ({}, "any"),
        (True, "any"),
    ],
)
def test_a_type_is_written_as_one_would_write_it(schema: Any, text: str) -> None:
    assert type_text(schema, {}) == text


def test_a_reference_gives_its_name() -> None:
    root = {"$defs": {"Point": {"type": "object"}}}
    assert type_text({"$ref": "#/$defs/Point"}, root) == "Point"
    assert resolve({"$ref": "#/$defs/a~1b"}, {"$defs": {"a/b": {"type": "null"}}}) == {"type": "null"}


def test_schemas_that_refer_to_themselves_end() -> None:
    assert type_text({"$ref": "#/$defs/Tree"}, TREE).endswith("[]")
    assert types_of({"$ref": "#/$defs/A"}, LOOP) == ALL_TYPES
    assert types_of({"$ref": "#"}, LOOP) == ALL_TYPES
    assert types_of({"$ref": "https://example.com/x"}, LOOP) == ALL_TYPES


def test_a_signature_marks_what_may_be_left_out() -> None:
    schema = {
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "string", "default": "x"},
            "c": {"default": None},
        },
        "required": ["a"],
    }
    assert signature(schema) == [("a", "integer", ""), ("b", "string", ' = "x"'), ("c", "any", "?")]


KEYWORDS = st.sampled_from(
    ["type", "enum", "const", "anyOf", "items", "$ref", "properties", "default", "required", "x"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "array", "#/x", "#/properties", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYWORDS, VALUES, max_size=4))
def test_no_schema_is_too_odd_to_be_shown(schema: dict[str, Any]) -> None:
    assert type_text(schema, schema)
    assert types_of(schema, schema) <= ALL_TYPES
    for name, kind, default in signature(schema):
        assert name in schema["properties"]
        assert kind
        assert default in ("", "?") or default.startswith(" = ")
