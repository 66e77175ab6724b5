"""Values made from schemas, held against a validator."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError
from taut.testing import example

TREE = {
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {
                "left": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
                "right": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
            },
            "required": ["left", "right"],
        }
    },
    "$ref": "#/$defs/Tree",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, {}),
        (True, {}),
        ({"const": 4}, 4),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": "string", "default": "d"}, "d"),
        ({"type": ["null", "integer"]}, 0),
        ({"type": "null"}, None),
        ({"type": "boolean"}, False),
        ({"type": "string"}, "a"),
        ({"type": "string", "minLength": 3}, "aaa"),
        ({"type": "string", "maxLength": 0}, ""),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "ABC"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3, "multipleOf": 5}, 5),
        ({"type": "integer", "maximum": -7}, -7),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"minimum": 2}, 2),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True}, [0, 1]),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2}, [1, 2]),
        ({"type": "array"}, []),
        ({"type": "array", "contains": {"const": 1}}, [1]),
        ({"properties": {"a": {"const": 1}, "b": {"const": 2}}, "required": ["b"]}, {"b": 2}),
        ({"type": "object", "minProperties": 1, "additionalProperties": {"const": 1}}, {"key0": 1}),
        ({"anyOf": [{"pattern": "^(?!)$"}, {"const": 1}], "title": "x"}, 1),
        ({"oneOf": [{"required": ["a"]}], "properties": {"a": {"const": 1}}}, {"a": 1}),
        ({"allOf": [{"minimum": 3}, {"maximum": 3}], "type": "integer"}, 3),
        ({"allOf": [{"type": "number"}, {"type": "integer"}, {"minimum": 1}]}, 1),
        ({"allOf": [{"type": "integer"}, {"type": ["number", "null"]}]}, 0),
        ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 2]}]}, 2),
        ({"allOf": [{"minLength": 2}, {"minLength": 4}, {"maxLength": 9}, {"maxLength": 5}]}, "aaaa"),
        ({"allOf": [True, {"const": 2}, True]}, 2),
        ({"allOf": [{"title": "a", "const": 2}, {"title": "b"}]}, 2),
        (
            {
                "allOf": [
                    {"properties": {"a": {"minimum": 1}, "b": {"const": 2}}, "required": ["a"]},
                    {"properties": {"a": {"type": "integer"}}, "required": ["b", "a"]},
                ]
            },
            {"a": 1, "b": 2},
        ),
        ({"type": "array", "items": {"format": "date"}, "minItems": 1, "uniqueItems": True}, ["2026-01-01"]),
        ({"$ref": "#/anyOf/0", "anyOf": [{"const": 1}]}, 1),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 1}}}, 1),
        ({"$ref": "#/$defs/n", "maximum": -1, "$defs": {"n": {"type": "integer"}}}, -1),
        (TREE, {"left": None, "right": None}),
        ({"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}], "$defs": {"n": {"type": "integer"}}}, 0),
    ],
)
def test_known_examples(schema: Any, value: Any) -> None:
    made = example(schema)
    assert made == value
    assert jsonschema_rs.is_valid(schema, made)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (False, "false allows nothing"),
        ({"enum": []}, "enum is empty"),
        ({"anyOf": []}, "anyOf is empty"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no number lies between 3 and 2"),
        ({"type": "integer", "multipleOf": 0.5}, "whole multiples, got multipleOf 0.5"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "no plain text has 3 to 2 characters"),
        ({"pattern": "^(?!)$"}, r"no plain text matches .* give the value in a script"),
        (
            {"type": "array", "minItems": 3, "items": {"enum": [1, 2]}, "uniqueItems": True},
            "no 3 different items",
        ),
        ({"$ref": "#/$defs/x"}, "'#/\\$defs/x' refers to nothing"),
        ({"$ref": "https://example.com/x"}, "a reference within the schema, got 'https"),
        ({"required": ["a"], "properties": {"a": {"$ref": "#"}}}, "'#' refers to itself without an end"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "allOf": [{"$ref": "#/$defs/a"}]}, "refers to itself"),
        ({"not": {"type": "string"}}, "'not' is not understood"),
        ({"allOf": [{"const": 1}, False]}, "false allows nothing"),
        (
            {"type": "array", "items": {"format": "date"}, "minItems": 2, "uniqueItems": True},
            "only one text of the format 'date' is known",
        ),
        ({"type": "float"}, "a type of JSON, got 'float'"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "at once"),
        ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "both parts of it have 'pattern'"),
        (
            {"properties": {"a": {"items": False, "minItems": 1}}, "required": ["a"]},
            r"at \$\.a\[0\]: the schema false",
        ),
    ],
)
def test_what_cannot_be_made_is_an_error(schema: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        example(schema)


def bounds(low: str, high: str, most: int) -> st.SearchStrategy[dict[str, int]]:
    """Two limits of which the lower is not above the upper."""
    pairs = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    return pairs.flatmap(
        lambda pair: st.fixed_dictionaries({}, optional={low: st.just(pair[0]), high: st.just(pair[1])})
    )


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    simple = st.one_of(
        st.builds(lambda limits: {"type": "string", **limits}, bounds("minLength", "maxLength", 40)),
        st.builds(
            lambda limits, shift, kind: (
                {"type": kind} | {key: value - shift for key, value in limits.items()}
            ),
            bounds("minimum", "maximum", 100),
            st.integers(0, 100),
            st.sampled_from(["integer", "number"]),
        ),
        st.builds(
            lambda step, low: {"type": "integer", "multipleOf": step, "minimum": low},
            st.integers(1, 9),
            st.integers(-50, 50),
        ),
        st.sampled_from(
            [{"type": "boolean"}, {"type": "null"}, {"enum": ["x", 1, None]}, {"const": {"a": []}}]
        ),
        st.sampled_from(["date", "date-time", "email", "uuid", "ipv4", "uri"]).map(
            lambda format: {"type": "string", "format": format}
        ),
    )

    def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        def made_object(properties: dict[str, Any], required: list[str], least: int) -> dict[str, Any]:
            return {
                "type": "object",
                "properties": properties,
                "required": [name for name in properties if name in required],
                "minProperties": least,
            }

        return st.one_of(
            st.builds(
                made_object,
                st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
                st.lists(st.sampled_from("abc")),
                st.integers(0, 5),
            ),
            st.builds(
                lambda items, limits: {"type": "array", "items": items, **limits},
                inner,
                bounds("minItems", "maxItems", 4),
            ),
            st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
            inner.map(lambda target: {"allOf": [target], "description": "x"}),
        )

    return st.recursive(simple, deeper, max_leaves=12)


@given(schemas())
def test_what_is_made_is_valid(schema: dict[str, Any]) -> None:
    made = example(schema)
    assert jsonschema_rs.validator_for(schema, validate_formats=True).is_valid(made), made
    assert example(schema) == made


@given(schemas())
def test_references_change_nothing(schema: dict[str, Any]) -> None:
    assert example({"$ref": "#/$defs/it", "$defs": {"it": schema}}) == example(schema)
