"""Schemas: valid JSON Schema 2020-12, and true: what they accept is decoded, and what they refuse is refused."""

from __future__ import annotations

import datetime
import decimal
import enum
import functools
import json
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, Required, TypedDict, Union

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Raw

from taut.mcp.function import Function, InvalidArguments


@dataclass
class Point:
    """A place."""

    x: int
    y: float = 0.0
    tags: list[str] = field(default_factory=list)


class Cat(msgspec.Struct, tag=True):
    lives: int = 9


class Dog(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1)]


class Named(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, Meta(min_length=1)]


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


class Options(TypedDict, total=False):
    depth: Required[int]
    follow: bool


class Query(TypedDict):
    text: str
    limit: NotRequired[int]


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


TYPES: dict[str, Any] = {
    "any": Any,
    "object": object,
    "none": None,
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "bytearray": bytearray,
    "raw": Raw,
    "view": memoryview,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "uuid": uuid.UUID,
    "decimal": decimal.Decimal,
    "enum": Color,
    "int_enum": Level,
    "literal": Literal["a", "b", 3],
    "optional": Optional[int],  # noqa: UP045
    "union": int | str | list[bool],
    "tagged": Union[Cat, Dog],  # noqa: UP007
    "maybe_datetime": datetime.datetime | None,
    "list": list,
    "list_int": list[int],
    "nested": list[list[int | None]],
    "tuple": tuple[int, str],
    "tuple_any": tuple[int, ...],
    "set": set[int],
    "frozenset": frozenset[str],
    "dict": dict[str, int],
    "dict_any": dict,
    "named_tuple": Pair,
    "options": Options,
    "query": Query,
    "dataclass": Point,
    "struct": Named,
    "recursive": Tree,
    "list_of_struct": list[Named],
    "dict_of_dataclass": dict[str, Point],
    "constrained": Annotated[int, Meta(ge=1, le=9)],
    "multiple": Annotated[float, Meta(gt=0, multiple_of=0.5)],
    "pattern": Annotated[str, Meta(pattern="^[a-z]+$", max_length=5)],
    "inner": list[Annotated[str, "a word", Meta(min_length=2)]],
    "length": Annotated[list[int], Meta(min_length=1, max_length=2)],
}

#: Types that decode more than their schema says (any number for a Decimal, repeated items of a set) or whose
#: schema does not say what text they take.
LENIENT = {"bytes", "bytearray", "datetime", "maybe_datetime", "date", "time", "timedelta", "uuid", "decimal"}
LENIENT |= {"set", "frozenset"}


def compiled(annotation: Any) -> Function:
    def f(it: Any) -> Any:
        return it

    f.__annotations__ = {"it": annotation, "return": annotation}
    return Function.compile(f)


@functools.cache
def function(name: str) -> Function:
    return compiled(TYPES[name])


@functools.cache
def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(function(name).input_schema)


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


@pytest.mark.parametrize("name", TYPES)
def test_schemas_are_valid(name: str) -> None:
    for schema in (function(name).input_schema, function(name).output_schema):
        if schema is not None:
            jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
            assert schema["type"] == "object"
            assert references(schema) <= {f"#/$defs/{key}" for key in schema.get("$defs", {})}
            assert "title" not in json.dumps(schema)
            assert json.loads(msgspec.json.encode(schema)) == schema


def decodes(name: str, arguments: bytes) -> bool:
    try:
        function(name).decode(arguments)
    except InvalidArguments:
        return False
    return True


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([0.5, 1.0, -1.5, 2.0, 4.5])
    | st.sampled_from(
        ["", "a", "b", "ab", "abcdef", "red", "AAE=", "1", "5.0", "2024-01-01", "Cat", "Dog", "é"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["x", "y", "type", "name", "depth", "text", "value", "children", "lives", "width"]
            ),
            inner | st.sampled_from(["Cat", "Dog"]),
            max_size=3,
        )
    ),
    max_leaves=5,
)


@settings(max_examples=25)
@pytest.mark.parametrize("name", [name for name in TYPES if name not in LENIENT])
@given(value=JSON)
def test_the_decoder_agrees_with_the_schema(name: str, value: object) -> None:
    arguments = json.dumps({"it": value}, ensure_ascii=False)
    assert decodes(name, arguments.encode()) == validator(name).is_valid(json.loads(arguments))


@settings(max_examples=25)
@pytest.mark.parametrize("name", sorted(LENIENT))
@given(value=JSON)
def test_what_is_decoded_has_the_type_of_the_schema(name: str, value: object) -> None:
    arguments = json.dumps({"it": value}).encode()
    if name != "decimal" and not isinstance(value, (str, list)) and decodes(name, arguments):
        assert validator(name).is_valid({"it": value})


VALUES: dict[str, list[Any]] = {
    "bytes": [b"", b"\x00\xff"],
    "bytearray": [bytearray(b"\x01")],
    "datetime": [
        datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
        datetime.datetime(2024, 1, 2, 3),
    ],
    "maybe_datetime": [None, datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)],
    "date": [datetime.date(2024, 1, 2)],
    "time": [datetime.time(1, 2, 3), datetime.time(1, 2, 3, tzinfo=datetime.UTC)],
    "timedelta": [datetime.timedelta(days=1, seconds=2)],
    "uuid": [uuid.UUID(int=5)],
    "decimal": [decimal.Decimal("1.10")],
    "set": [set(), {1, 2}],
    "frozenset": [frozenset({"a"})],
    "enum": [Color.RED],
    "int_enum": [Level.HIGH],
    "tuple": [(1, "a")],
    "named_tuple": [Pair(1), Pair(1, "x")],
    "options": [{"depth": 1}, {"depth": 1, "follow": True}],
    "dataclass": [Point(1), Point(1, 2.5, ["a"])],
    "tagged": [Cat(), Dog("rex")],
    "recursive": [Tree(1, [Tree(2), Tree(3, [Tree(4)])])],
    "dict_of_dataclass": [{"a": Point(1)}],
    "list_of_struct": [[Named("a"), Named("b")]],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in VALUES.items() for value in values]
)
def test_values_survive_the_journey(name: str, value: object) -> None:
    arguments = msgspec.json.encode({"it": value})
    assert validator(name).is_valid(json.loads(arguments))
    it = function(name)
    got = it.call(it.decode(arguments))
    assert got == value
    assert type(got) is type(value)
    if it.output_schema is not None:
        structured = json.loads(msgspec.json.encode(it.structured(got)))
        jsonschema_rs.Draft202012Validator(it.output_schema).validate(structured)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("datetime", {"type": "string", "format": "date-time"}),
        ("date", {"type": "string", "format": "date"}),
        ("uuid", {"type": "string", "format": "uuid"}),
        ("bytes", {"type": "string", "contentEncoding": "base64"}),
        ("optional", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ("constrained", {"type": "integer", "minimum": 1, "maximum": 9}),
        ("inner", {"type": "array", "items": {"type": "string", "minLength": 2, "description": "a word"}}),
        ("dataclass", {"$ref": "#/$defs/Point"}),
    ],
)
def test_properties(name: str, expected: dict[str, Any]) -> None:
    assert function(name).input_schema["properties"]["it"] == expected


def test_attrs_classes() -> None:
    attrs = pytest.importorskip("attrs")
    size = attrs.make_class(
        "Size", {"width": attrs.field(type=int), "height": attrs.field(type=int, default=1)}
    )
    it = compiled(size)
    assert it.input_schema["$defs"]["Size"]["required"] == ["width"]
    assert it.call(it.decode(b'{"it":{"width":5}}')) == size(5)


def test_definitions_carry_the_docstrings_of_their_types() -> None:
    assert function("dataclass").input_schema["$defs"]["Point"]["description"] == "A place."


def test_types_of_one_name_do_not_collide() -> None:
    def make() -> type:
        @dataclass
        class Point:
            z: str

        return Point

    def f(one: Any, two: Any) -> None: ...

    f.__annotations__ = {"one": Point, "two": make()}
    schema = Function.compile(f).input_schema
    assert len(schema["$defs"]) == 2
    assert jsonschema_rs.is_valid(schema, {"one": {"x": 1}, "two": {"z": "a"}})
    assert not jsonschema_rs.is_valid(schema, {"one": {"x": 1}, "two": {"x": 1}})


def test_a_function_called_like_a_type_does_not_collide() -> None:
    def Arguments(a: Point) -> None: ...

    assert list(Function.compile(Arguments).input_schema["$defs"]) == ["Point"]
