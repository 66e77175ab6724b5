"""Schemas written by hand are shown as they are, and what they say is checked."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import pytest

from taut.errors import ConfigError
from taut.mcp.function import Function, InvalidArguments

CONTACT: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "here", "type": "object", "properties": {"street": {"type": "string"}}}},
    "properties": {
        "name": {"type": "string", "description": "who"},
        "address": {"$ref": "#here"},
        "by": {"enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "required": ["name"],
    "if": {"properties": {"by": {"const": "phone"}}, "required": ["by"]},
    "then": {"required": ["phone"]},
    "additionalProperties": False,
}


def echo(contact: dict[str, Any]) -> dict[str, Any]:
    return contact


def call(fn: Any, arguments: bytes | None, **options: Any) -> Any:
    compiled = Function.compile(fn, **{"input_schema": CONTACT} | options)
    return compiled.call(compiled.decode(arguments))


def test_the_schema_is_kept_and_one_parameter_gets_all_arguments() -> None:
    compiled = Function.compile(echo, input_schema=CONTACT)
    assert compiled.input_schema is CONTACT
    assert [(one.name, one.description, one.required) for one in compiled.arguments][:2] == [
        ("name", "who", True),
        ("address", None, False),
    ]
    assert call(echo, b'{"name": "Ada", "address": {"street": "x"}}') == {
        "name": "Ada",
        "address": {"street": "x"},
    }


def test_no_arguments_are_an_empty_object() -> None:
    assert call(echo, None, input_schema={"type": "object"}) == {}
    assert call(echo, b"null", input_schema={"type": "object"}) == {}


def test_the_parameter_may_have_a_type_of_its_own() -> None:
    class Named(msgspec.Struct):
        name: str

    def greet(who: Named) -> str:
        return who.name

    assert call(greet, b'{"name": "Ada"}') == "Ada"
    with pytest.raises(InvalidArguments, match="name"):
        call(greet, b"{}", input_schema={"type": "object"})


def test_the_context_may_stand_anywhere() -> None:
    class Context: ...

    def keyword(*, ctx: Context, contact: dict[str, Any]) -> Any:
        return ctx, contact

    def positional(ctx: Context, contact: dict[str, Any], /) -> Any:
        return ctx, contact

    for fn in (keyword, positional):
        compiled = Function.compile(fn, input_schema=CONTACT, context_type=Context)
        context = Context()
        assert compiled.call(compiled.decode(b'{"name": ""}'), context) == (context, {"name": ""})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (b"{}", '"name" is a required property - at `$`'),
        (b'{"name": 5}', '5 is not of type "string" - at `$.name`'),
        (b'{"name": "a", "by": "phone"}', '"phone" is a required property'),
        (b'{"name": "a", "address": {"street": 1}}', "at `$.address.street`"),
        (b'{"name": "a", "more": 1}', "more"),
        (b"[]", "Expected `object`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_the_place(arguments: bytes, said: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        call(echo, arguments)
    assert said in str(raised.value)


def test_what_is_said_of_large_arguments_is_short() -> None:
    with pytest.raises(InvalidArguments) as raised:
        call(echo, msgspec.json.encode({"name": ["x" * 10_000]}))
    assert len(str(raised.value)) < 500


def test_without_the_library_the_function_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)
    assert call(echo, b'{"name": 5}') == {"name": 5}
    with pytest.raises(InvalidArguments, match="Expected `object`"):
        call(echo, b"5")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({}, "expected an input_schema of type 'object', got None"),
        ({"type": "string"}, "got 'string'"),
        ({"type": "object", "properties": []}, "properties"),
        ({"type": "object", "properties": {"a": {"type": 5}}}, "input_schema"),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/a"}}}, "nothing is fetched"),
        ({"type": "object", "default": object()}, "expected JSON"),
    ],
)
def test_what_is_no_schema_of_arguments_is_a_mistake(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Function.compile(echo, input_schema=schema)


@pytest.mark.parametrize("fn", [lambda: None, lambda a, b: None])
def test_the_function_has_one_parameter(fn: Any) -> None:
    with pytest.raises(ConfigError, match="expected one parameter for all arguments"):
        Function.compile(fn, input_schema=CONTACT)


def test_an_output_schema_goes_with_any_signature() -> None:
    schema = {"type": "array", "items": {"type": "integer"}}

    def numbers(count: int) -> list[int]:
        return list(range(count))

    compiled = Function.compile(numbers, output_schema=schema)
    assert compiled.output_schema is schema
    assert compiled.structured([0, 1]) == [0, 1]
    with pytest.raises(ConfigError, match="output_schema"):
        Function.compile(numbers, output_schema={"type": "no such type"})
