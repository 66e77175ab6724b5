"""What a user may answer to a form, and what a form offers as a start."""

from __future__ import annotations

from typing import Any

import pytest

from taut import Elicit, models
from taut.errors import ConfigError
from taut.mcp.form import check_answer, defaults

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 4, "default": "Ada"},
        "age": {"type": "integer", "minimum": 0, "maximum": 9},
        "share": {"type": "number", "maximum": 1, "default": 0.5},
        "vip": {"type": "boolean", "default": False},
        "meal": {"type": "string", "enum": ["fish", "soup"]},
        "size": {
            "type": "string",
            "oneOf": [{"const": "s", "title": "small"}, {"const": "l", "title": "large"}],
        },
        "extras": {
            "type": "array",
            "items": {"type": "string", "enum": ["salt", "oil"]},
            "minItems": 1,
            "maxItems": 2,
        },
        "sides": {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}]}},
    },
    "required": ["name"],
}


@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"age": 3, "share": 1, "vip": True, "meal": "soup", "size": "l", "extras": ["oil"], "sides": ["a"]},
        {"age": 3.0},
        {"age": None, "vip": None},
        {"not asked": 1},
    ],
)
def test_what_fits_is_taken(rest: dict[str, Any]) -> None:
    check_answer(FORM, {"name": "Bob", **rest})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected an object, got null"),
        ([], "expected an object, got an array"),
        ({}, "name: expected a value, got none"),
        ({"name": None}, "name: expected a value, got none"),
        ({"name": 3}, "name: expected a string, got a number"),
        ({"name": "x"}, "name: expected at least 2 characters, got 1"),
        ({"name": "xxxxx"}, "name: expected at most 4 characters, got 5"),
        ({"age": 1.5}, "age: expected an integer, got a number"),
        ({"age": True}, "age: expected an integer, got a boolean"),
        ({"age": -1}, "age: expected at least 0, got -1"),
        ({"share": 1.5}, "share: expected at most 1, got 1.5"),
        ({"share": "1"}, "share: expected a number, got a string"),
        ({"vip": 1}, "vip: expected a boolean, got a number"),
        ({"meal": "meat"}, "meal: expected one of fish, soup, got 'meat'"),
        ({"size": "m"}, "size: expected one of s, l, got 'm'"),
        ({"extras": "oil"}, "extras: expected an array, got a string"),
        ({"extras": []}, "extras: expected at least 1 choices, got 0"),
        ({"extras": ["oil", "oil", "oil"]}, "extras: expected at most 2 choices, got 3"),
        ({"extras": ["fat"]}, "extras: expected one of salt, oil, got 'fat'"),
        ({"sides": [1]}, "sides: expected one of a, got 1"),
    ],
)
def test_what_does_not_is_named(content: Any, said: str) -> None:
    if isinstance(content, dict) and content and "name" not in content:
        content = {"name": "Bob", **content}
    with pytest.raises(ValueError, match="^" + said.replace("(", r"\(") + "$"):
        check_answer(FORM, content)


def test_defaults_are_those_of_the_fields_that_have_one() -> None:
    assert defaults(FORM) == {"name": "Ada", "share": 0.5, "vip": False}
    assert defaults({"type": "object", "properties": {}}) == {}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "properties": {"x": {"type": "object", "properties": {}}}},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}},
        {"type": "object", "properties": {"x": {"type": "array", "items": {"type": "object"}}}},
        {"type": "array", "items": {"type": "string"}},
    ],
)
def test_a_schema_that_is_no_form_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Expected a flat form"):
        Elicit("?", schema)


def test_a_form_travels_as_it_was_written() -> None:
    schema = {**FORM, "$schema": "https://json-schema.org/draft/2020-12/schema", "x-mine": 1}
    assert Elicit("?", schema).params == models.ElicitParams("?", requested_schema=schema)
