"""JSON Schemas as outputs: what they accept, and what cannot be one."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.agent.config.shapes import type_of_schema
from taut.agent.output import OutputType
from taut.errors import ConfigError

PERSON: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Person",
    "type": "object",
    "required": ["first name", "class"],
    "additionalProperties": False,
    "properties": {
        "first name": {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^[a-z]"},
        "class": {"enum": ["a", "b", 3]},
        "_id": {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": 9},
        "share": {"type": "number", "multipleOf": 0.5, "description": "Of all."},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "where": {"$ref": "#/$defs/Place"},
        "more": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "kind": {"const": "person"},
        "any": {},
        "either": {"anyOf": [{"type": "string"}, {"type": "array"}, {"type": "null"}]},
    },
    "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class TestWhatFits:
    @pytest.mark.parametrize(
        "value",
        [
            {"first name": "ada", "class": 3},
            {
                "first name": "ada",
                "class": "a",
                "_id": None,
                "share": 1.5,
                "tags": ["x"],
                "where": {"city": "Rome", "else": 1},
                "more": {"x": True},
                "kind": "person",
                "any": [1, {}],
                "either": [1],
            },
        ],
    )
    def test_it_is_decoded_and_encoded_as_it_was(self, value: Any) -> None:
        output = OutputType(type_of_schema(PERSON))
        decoded = output.decode(msgspec.json.encode(value).decode())
        value.get("where", {}).pop("else", None)
        assert msgspec.to_builtins(decoded) == value

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"first name": ""}, "length >= 1 - at `$.first name`"),
            ({"first name": "ADA"}, "matching regex '^[a-z]'"),
            ({"class": "c"}, "Invalid enum value 'c'"),
            ({"_id": 9}, "`int` <= 8"),
            ({"_id": "x"}, "Expected `int | null`, got `str`"),
            ({"share": 0.3}, "multiple of 0.5"),
            ({"tags": []}, "length >= 1 - at `$.tags`"),
            ({"tags": [1]}, "$.tags[0]"),
            ({"where": {"city": 1}}, "$.where.city"),
            ({"more": {"x": 1}}, "$.more[...]"),
            ({"kind": "dog"}, "Invalid enum value 'dog'"),
            ({"either": 1}, "$.either"),
            ({"age": 1}, "unknown field `age`"),
        ],
    )
    def test_what_does_not_is_told_to_the_model(self, change: dict[str, Any], complaint: str) -> None:
        value = {"first name": "ada", "class": "a", **change}
        with pytest.raises(ValueError, match=r".") as error:
            OutputType(type_of_schema(PERSON)).decode(msgspec.json.encode(value).decode())
        assert complaint in str(error.value)

    def test_the_model_gets_a_schema_that_says_the_same(self) -> None:
        schema = OutputType(type_of_schema(PERSON)).schema
        assert schema is not None
        assert schema["properties"]["share"]["description"] == "Of all."
        assert (schema["required"], schema["additionalProperties"]) == (["first name", "class"], False)
        assert set(schema["properties"]) == set(PERSON["properties"])

    @pytest.mark.parametrize(
        ("schema", "text", "value"),
        [
            ({"type": "array", "items": {"type": "integer"}}, '{"result":[1]}', [1]),
            ({"type": "string"}, "text as it is", "text as it is"),
            ({"enum": ["yes", "no"]}, '{"result":"no"}', "no"),
            ({"type": "object"}, '{"a":1}', {"a": 1}),
            ({"properties": {}}, "{}", {}),
            (True, '{"result":1}', 1),
        ],
    )
    def test_an_output_need_not_be_an_object(self, schema: Any, text: str, value: Any) -> None:
        kind = type_of_schema(schema) if schema is not True else type_of_schema({})
        assert msgspec.to_builtins(OutputType(kind).decode(text)) == value


class TestWhatIsNone:
    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            (
                {"type": "obj"},
                "the schema: expected a type (string, integer, number, boolean, null, array, object)",
            ),
            (
                {"title": "x"},
                "the schema: expected a type (string, integer, number, boolean, null, array, object), got none",
            ),
            ({"type": "string", "minimum": 1}, "minimum: this keyword is not known here; name a Python type"),
            ({"allOf": []}, "allOf: this keyword is not known here"),
            ({"type": "object", "properties": {"a": {"not": {}}}}, "properties.a.not: this keyword"),
            (
                {"type": "object", "properties": {"a": {"type": "string", "if": 1}}},
                "properties.a.if: this keyword",
            ),
            ({"type": "object", "properties": {"a": 1}}, "properties.a: expected a schema, got 1"),
            (
                {"type": "object", "properties": {}, "required": ["a"]},
                "the schema: expected properties in required, got a",
            ),
            (
                {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
                "the schema: expected additionalProperties = true or false beside properties",
            ),
            ({"enum": []}, "the schema: expected an array of choices"),
            ({"enum": [1.5]}, "the schema: expected texts and integers as choices, got 1.5"),
            ({"enum": [True]}, "the schema: expected texts and integers as choices, got True"),
            ({"anyOf": []}, "anyOf: expected an array of schemas"),
            ({"$ref": "#/$defs/X"}, "the schema: expected a $ref into $defs, got '#/$defs/X'"),
            (
                {"type": "array", "items": {"$ref": "#/$defs/T"}, "$defs": {"T": {"$ref": "#/$defs/T"}}},
                "items.T.T.T: expected a ",
            ),
            ({"type": "string", "minLength": "x"}, "the schema: "),
        ],
    )
    def test_it_is_told_where_and_what(self, schema: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as error:
            type_of_schema(schema)
        assert str(error.value).startswith(message)

    def test_unions_that_cannot_be_told_apart(self) -> None:
        one = {"type": "object", "properties": {"a": {"type": "string"}}}
        with pytest.raises(ConfigError, match="Expected an output type with a JSON form"):
            OutputType(type_of_schema({"anyOf": [one, one]}))


SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {"type": "string", "maxLength": 3},
            {"type": "integer", "minimum": -2},
            {"type": "number"},
            {"type": "boolean"},
            {"type": ["string", "null"]},
            {"enum": ["a", "b"]},
        ]
    ),
    lambda below: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, below),
        st.builds(
            lambda properties, closed: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties)[:1],
                "additionalProperties": not closed,
            },
            st.dictionaries(st.sampled_from(["a", "class", "x y", "_p"]), below, max_size=3),
            st.booleans(),
        ),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-4, 4) | st.sampled_from([0.5, "a", "b", "long one", ""]),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "class", "x y", "_p", "q"]), below, max_size=3)
    ),
    max_leaves=6,
)


@given(SCHEMAS, VALUES)
def test_the_type_agrees_with_a_validator(schema: dict[str, Any], value: Any) -> None:
    valid = jsonschema_rs.validator_for(schema).is_valid(value)
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=type_of_schema(schema))
        decoded = True
    except msgspec.ValidationError:
        decoded = False
    assert decoded == valid
