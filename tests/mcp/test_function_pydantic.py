"""Functions whose annotations come from pydantic."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Annotated, Any, Literal

import annotated_types
import jsonschema_rs
import msgspec
import pydantic
import pytest
from pydantic import BaseModel, Field

from taut.errors import ConfigError
from taut.mcp.function import Function, InvalidArguments


class Item(BaseModel):
    """An item of an order."""

    sku: str = Field(min_length=2)
    count: int = 1


class Order(BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    number: int = Field(alias="no")
    items: list[Item] = []
    when: datetime.datetime | None = None


class Card(BaseModel):
    kind: Literal["card"]
    digits: str


class Cash(BaseModel):
    kind: Literal["cash"]


Date = Annotated[datetime.date, pydantic.AfterValidator(lambda date: date)]


def order(
    order: Order,
    pay: Annotated[Card | Cash, Field(discriminator="kind", description="how to pay")],
    more: list[Item] = [],  # noqa: B006
    gift: Item | None = None,
    extra: Item = Item(sku="xx"),  # noqa: B008
    limit: Annotated[int, Field(ge=1, le=9, description="at most")] = 3,
) -> Order:
    return order


def run(function: Function, arguments: bytes) -> Any:
    return function.call(function.decode(arguments))


def test_models_are_in_the_schema() -> None:
    schema = Function.compile(order).input_schema
    jsonschema_rs.meta.validate(schema)
    properties = schema["properties"]
    assert properties["order"]["properties"]["no"] == {"type": "integer"}
    assert properties["order"]["additionalProperties"] is False
    assert properties["more"] == {"type": "array", "items": {"$ref": "#/$defs/Item"}, "default": []}
    assert properties["extra"]["default"] == {"sku": "xx", "count": 1}
    assert properties["pay"]["description"] == "how to pay"
    assert properties["limit"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "description": "at most",
        "default": 3,
    }
    assert set(schema["$defs"]) == {"Item", "Card", "Cash"}
    assert schema["$defs"]["Item"]["properties"]["sku"] == {"type": "string", "minLength": 2}
    assert schema["required"] == ["order", "pay"]


def test_models_are_decoded() -> None:
    arguments = (
        b'{"order":{"no":5,"items":[{"sku":"ab"}],"when":"2024-01-02T03:04:05Z"},"pay":{"kind":"cash"}}'
    )
    function = Function.compile(order)
    assert jsonschema_rs.is_valid(function.input_schema, msgspec.json.decode(arguments))
    result = run(function, arguments)
    assert isinstance(result, Order)
    assert result.items == [Item(sku="ab")]
    assert result.when == datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    structured = msgspec.json.decode(msgspec.json.encode(function.structured(result)))
    assert structured["no"] == 5
    assert function.output_schema is not None
    jsonschema_rs.validate(function.output_schema, structured)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (b'{"order":{"no":"x"},"pay":{"kind":"cash"}}', "valid integer.* - at `$.order.no`"),
        (
            b'{"order":{"no":1,"items":[{"sku":"a"}]},"pay":{"kind":"cash"}}',
            "at least 2.* - at `$.order.items[0].sku`",
        ),
        (b'{"order":{"no":1,"on":1},"pay":{"kind":"cash"}}', "not permitted - at `$.order.on`"),
        (b'{"order":{},"pay":{"kind":"cash"}}', "Field required - at `$.order.no`"),
        (
            b'{"order":{"no":1},"pay":{"kind":"gold"}}',
            "does not match any of the expected tags.* - at `$.pay`",
        ),
        (b'{"order":{"no":1},"pay":{"kind":"cash"},"limit":0}', "Expected `int` >= 1 - at `$.limit`"),
        (b'{"order":{"no":1}}', "Object missing required field `pay`"),
        (b'{"order":{"no":1},"pay":{"kind":"cash"},"tip":0}', "Object contains unknown field `tip`"),
    ],
)
def test_bad_models_say_what_and_where(arguments: bytes, message: str) -> None:
    pattern = message.replace("$", r"\$").replace("[0]", r"\[0\]")
    with pytest.raises(InvalidArguments, match=pattern):
        Function.compile(order).decode(arguments)


def test_fields_as_defaults_and_in_annotations() -> None:
    def f(
        a: int = Field(ge=3, description="A"),
        b: str = Field("x", max_length=3),
        c: Annotated[float, Field(gt=2, multiple_of=0.5, title="C", examples=[2.5])] = 5,
        d: Annotated[str, Field(alias="from", pattern="^[a-z]$")] = "q",
        e: Annotated[int, Field(json_schema_extra={"x-mcp-header": "E"}), annotated_types.Lt(5)] = 1,
        g: list[int] = Field(default_factory=list, min_length=1),  # noqa: B008
    ) -> object:
        return a, b, c, d, e, g

    function = Function.compile(f)
    assert function.input_schema["properties"] == {
        "a": {"type": "integer", "minimum": 3, "description": "A"},
        "b": {"type": "string", "maxLength": 3, "default": "x"},
        "c": {
            "type": "number",
            "exclusiveMinimum": 2,
            "multipleOf": 0.5,
            "title": "C",
            "examples": [2.5],
            "default": 5,
        },
        "from": {"type": "string", "pattern": "^[a-z]$", "default": "q"},
        "e": {"type": "integer", "exclusiveMaximum": 5, "x-mcp-header": "E", "default": 1},
        "g": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "default": []},
    }
    assert function.input_schema["required"] == ["a"]
    assert run(function, b'{"a":3,"from":"z"}') == (3, "x", 5, "z", 1, [])
    with pytest.raises(InvalidArguments, match="Expected `int` >= 3"):
        function.decode(b'{"a":2}')


def test_validators_are_run() -> None:
    def f(
        a: Annotated[int, pydantic.AfterValidator(lambda value: value * 2)], b: pydantic.PositiveInt = 1
    ) -> int:
        return a

    assert run(Function.compile(f), b'{"a":2}') == 4
    with pytest.raises(InvalidArguments, match=r"Expected `int` >= 1 - at `\$\.b`"):
        Function.compile(f).decode(b'{"a":2,"b":0}')


def test_models_in_text_arguments() -> None:
    def f(item: Item, n: int = 1, when: Date | None = None, other: Item = Item(sku="zz")) -> object:  # noqa: B008
        return item, n, when, other

    function = Function.compile(f, strings=True)
    got = function.call(function.convert({"item": '{"sku":"ab","count":2}', "n": "4", "when": "2024-01-02"}))
    assert got == (Item(sku="ab", count=2), 4, datetime.date(2024, 1, 2), Item(sku="zz"))
    assert function.call(function.convert({"item": '{"sku":"ab"}'}))[1:3] == (1, None)
    with pytest.raises(InvalidArguments, match=r"at least 2 .* - at `\$\.item\.sku`"):
        function.convert({"item": '{"sku":"a"}'})
    with pytest.raises(InvalidArguments, match=r"Invalid JSON.* - at `\$\.item`"):
        function.convert({"item": '{"sku":'})


class Arbitrary:
    pass


def model_and_arbitrary(a: Item | Arbitrary) -> None: ...
def model_with_callable(a: int, b: Annotated[Callable[[], int], pydantic.SkipValidation]) -> None: ...


@pytest.mark.parametrize(("fn", "name"), [(model_and_arbitrary, "a"), (model_with_callable, "b")])
def test_what_pydantic_cannot_do_is_refused(fn: Callable[..., Any], name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{fn.__name__}\(\): parameter '{name}': "):
        Function.compile(fn)


def test_two_models_of_one_name_are_refused() -> None:
    def make() -> type[BaseModel]:
        class Item(BaseModel):
            other: int

        return Item

    def f(a: Any, b: Any) -> None: ...

    f.__annotations__ = {"a": list[Item], "b": list[make()]}  # type: ignore[misc]
    with pytest.raises(ConfigError, match=r"f\(\): parameter 'b': a second type is called Item"):
        Function.compile(f)


def test_results() -> None:
    def returning(annotation: Any) -> Function:
        def f() -> Any: ...

        f.__annotations__ = {"return": annotation}
        return Function.compile(f)

    def sent(function: Function, value: object) -> Any:
        return msgspec.json.decode(msgspec.json.encode(function.structured(value)))

    many = returning(list[Item])
    assert many.output_schema is not None
    assert many.output_schema["properties"]["result"] == {"type": "array", "items": {"$ref": "#/$defs/Item"}}
    assert sent(many, [Item(sku="ab")]) == {"result": [{"sku": "ab", "count": 1}]}
    assert sent(returning(Item | None), None) == {"result": None}
    assert returning(Item | str).output_schema is not None
    assert returning(Item | Arbitrary).output_schema is None
