"""Classes become forms that the specification allows."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest

from taut import Elicit, models
from taut.errors import ConfigError
from taut.mcp.form import form_schema


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


class Everything(msgspec.Struct):
    meal: Literal["fish", "soup"]
    size: Size
    day: datetime.date
    age: int | None = None
    side: Literal["salad", None] = None
    extras: list[Literal["salt", "oil"]] = []
    sizes: list[Size] = []
    name: Annotated[str, msgspec.Meta(min_length=2, pattern="^A", description="Who?", title="Name")] = "Ada"
    count: Annotated[int, msgspec.Meta(gt=0, lt=10)] = 3
    share: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.5
    vip: bool = False


FIELDS = {
    "meal": {"type": "string", "enum": ["fish", "soup"]},
    "size": {"type": "string", "enum": ["l", "s"]},
    "day": {"type": "string", "format": "date"},
    "age": {"type": "integer"},
    "side": {"type": "string", "enum": ["salad"]},
    "extras": {"type": "array", "items": {"type": "string", "enum": ["oil", "salt"]}, "default": []},
    "sizes": {"type": "array", "items": {"type": "string", "enum": ["l", "s"]}, "default": []},
    "name": {"type": "string", "minLength": 2, "description": "Who?", "title": "Name", "default": "Ada"},
    "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
    "share": {"type": "number", "minimum": 0.0, "maximum": 1.0, "default": 0.5},
    "vip": {"type": "boolean", "default": False},
}


def test_every_field_is_one_that_a_form_may_have() -> None:
    form = form_schema(Everything)
    assert form == {"type": "object", "properties": FIELDS, "required": ["meal", "size", "day"]}
    assert set(models.ElicitSchema.from_dict(form).properties) == set(FIELDS)


def test_dataclasses_and_typed_dicts_are_forms_as_well() -> None:
    @dataclass
    class A:
        x: int

    class B(TypedDict):
        x: int

    expected = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    assert form_schema(A) == form_schema(B) == expected


@pytest.mark.parametrize(
    "annotation", [dict[str, int], list[str], Size | int, Literal[1, 2], int | str, Everything, Any, None]
)
def test_a_field_that_no_form_can_ask_for_is_named(annotation: Any) -> None:
    kind = msgspec.defstruct("Odd", [("field", annotation)])
    with pytest.raises(ConfigError, match=r"^Odd\.field: expected "):
        form_schema(kind)


def test_what_has_no_fields_is_no_form() -> None:
    with pytest.raises(ConfigError, match=r"^Expected a class with fields for a form, got <class 'int'>$"):
        form_schema(int)


def test_a_question_carries_the_form_of_its_class() -> None:
    assert Elicit("?", Everything).params.requested_schema["properties"] == FIELDS
