"""Functions: every kind of callable, how it is called, and what it answers to bad arguments."""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import inspect
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
from msgspec import UNSET, Meta, Raw

from taut.errors import ConfigError
from taut.mcp.function import Function, InvalidArguments
from taut.models.content import TextContent

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypeCheckers


class Context:
    """Stands for the context of a server."""


class Child(Context):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@dataclasses.dataclass
class Other:
    z: int


class Node(msgspec.Struct):
    name: str
    children: list[Node] = []


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: the first
        b: the second
    """
    return a + b


def run(function: Function, arguments: bytes | None, context: object = None, **injected: object) -> Any:
    return function.call(function.decode(arguments), context, **injected)


# --- the shape of a function ---


def test_the_plain_case() -> None:
    function = Function.compile(add)
    assert function.name == "add"
    assert function.description == "Add two numbers."
    assert not function.is_async
    assert function.context_parameter is None
    assert function.input_schema == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "the first"},
            "b": {"type": "integer", "description": "the second"},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    assert function.arguments == (("a", "the first", True), ("b", "the second", True))
    assert run(function, b'{"a":1,"b":2}') == 3
    assert run(function, memoryview(b'{"b":2,"a":-5}')) == -3
    assert repr(function) == "<Function add(a, b)>"
    with pytest.raises(AttributeError):
        function.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (None, "Object missing required field `a`"),
        (b'{"a":1}', "Object missing required field `b`"),
        (b'{"a":"1","b":2}', "Expected `int`, got `str` - at `$.a`"),
        (b'{"a":1,"b":null}', "Expected `int`, got `null` - at `$.b`"),
        (b'{"a":1,"b":2.5}', "Expected `int`, got `float` - at `$.b`"),
        (b'{"a":true,"b":2}', "Expected `int`, got `bool` - at `$.a`"),
        (b'{"a":1,"b":2,"c":3}', "Object contains unknown field `c`"),
        (b'{"a":1,"b":2,"A":3}', "Object contains unknown field `A`"),
        (b"[1,2]", "Expected `object`, got `array`"),
        (b'{"a":1,"b":2', "Input data was truncated"),
        (b'{"a":\xff,"b":2}', "JSON is malformed"),
    ],
)
def test_bad_arguments_say_what_and_where(arguments: bytes | None, message: str) -> None:
    with pytest.raises(InvalidArguments, match="^" + message.replace("$", r"\$")) as caught:
        Function.compile(add).decode(arguments)
    assert caught.value.__cause__ is None


def test_bad_text_and_deep_nesting_are_invalid_arguments() -> None:
    def say(text: str, tree: Any = None) -> None: ...

    function = Function.compile(say)
    for bad in (
        b'{"text":"\xff"}',
        b'{"text":"","tree":' + b"[" * 100_000,
        b'{"text":"","tree":' + b"1" * 5000 + b"}",
    ):
        with pytest.raises(InvalidArguments):
            function.decode(bad)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"n":5.0}', 5),
        (b'{"n":-5.000}', -5),
        (b'{"n":0.0,"s":"1.0 \\" 2.0"}', 0),
        (b'{"n":12345678901234567890123.0}', 12345678901234567890123),
    ],
)
def test_a_number_without_a_fraction_is_an_integer(text: bytes, value: int) -> None:
    def f(n: int, s: str = "", x: float = 0.0) -> tuple[int, str]:
        return n, s

    got, said = run(Function.compile(f), text)
    assert (got, type(got)) == (value, int)
    assert said in ("", '1.0 " 2.0')


@pytest.mark.parametrize("number", [b"5.5", b"5.05", b"5.0e1", b"5.00e-1", b'"5.0"'])
def test_other_numbers_are_no_integers(number: bytes) -> None:
    def f(n: int) -> None: ...

    with pytest.raises(InvalidArguments, match="Expected `int`"):
        Function.compile(f).decode(b'{"n":%s}' % number)


def test_no_parameters_and_no_arguments() -> None:
    def ping() -> str:
        return "pong"

    function = Function.compile(ping)
    assert function.input_schema == {"type": "object", "properties": {}, "additionalProperties": False}
    assert run(function, None) == run(function, b"{}") == "pong"
    with pytest.raises(InvalidArguments, match="unknown field `x`"):
        function.decode(b'{"x":1}')


# --- every kind of callable ---


class Service:
    """A service."""

    base = 10

    def method(self, a: int) -> int:
        """Say it by a method."""
        return self.base + a

    @classmethod
    def of_class(cls, a: int) -> int:
        return cls.base + a

    @staticmethod
    def static(a: int) -> int:
        return a

    def __call__(self, a: int) -> int:
        """Say it by an object."""
        return self.base * a


def wrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("fn", "name", "description", "result"),
    [
        (Service().method, "method", "Say it by a method.", 12),
        (Service.of_class, "of_class", None, 12),
        (Service.static, "static", None, 2),
        (Service(), "Service", "Say it by an object.", 20),
        (wrapped(Service().method), "method", "Say it by a method.", 12),
        (wrapped(wrapped(Service.static)), "static", None, 2),
        (functools.partial(Service().method), "method", "Say it by a method.", 12),
        (lambda a: a, "<lambda>", None, 2),
        (Point, "Point", "Point(x: 'int', y: 'int' = 0)", Point(2)),
    ],
)
def test_callables(fn: Callable[..., Any], name: str, description: str | None, result: object) -> None:
    function = Function.compile(fn)
    assert (function.name, function.description) == (name, description)
    key = "x" if fn is Point else "a"
    assert run(function, b'{"%s":2}' % key.encode()) == result


def test_what_a_partial_has_bound_is_no_argument() -> None:
    def f(secret: str, a: int, key: str = "none", *, b: int = 2) -> tuple[object, ...]:
        return secret, a, key, b

    function = Function.compile(functools.partial(f, "s3cret", key="k3y"))
    assert list(function.input_schema["properties"]) == ["a", "b"]
    assert run(function, b'{"a":1}') == ("s3cret", 1, "k3y", 2)
    with pytest.raises(InvalidArguments, match="unknown field `key`"):
        function.decode(b'{"a":1,"key":"mine"}')


def test_positional_only_and_keyword_only_parameters() -> None:
    def f(a: int, /, b: int, c: int = 3, *, d: int, e: int = 5) -> list[int]:
        return [a, b, c, d, e]

    function = Function.compile(f)
    assert function.input_schema["required"] == ["a", "b", "d"]
    assert run(function, b'{"d":4,"b":2,"a":1}') == [1, 2, 3, 4, 5]


def test_async_functions_return_coroutines() -> None:
    class Caller:
        async def __call__(self, a: int) -> int:
            return a

    async def f(a: int) -> int:
        return a

    for fn in (f, functools.partial(f), Caller(), Caller().__call__):
        function = Function.compile(fn)
        assert function.is_async
        coroutine = run(function, b'{"a":1}')
        assert inspect.iscoroutine(coroutine)
        with pytest.raises(StopIteration, match="1"):
            coroutine.send(None)


def test_a_result_is_passed_on_and_an_exception_too() -> None:
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(Function.compile(fail), None)


def test_a_name_can_be_given() -> None:
    assert Function.compile(add, name="sum").name == "sum"


# --- context and injection ---


def test_the_context_is_passed_and_not_in_the_schema() -> None:
    def first(ctx: Context, a: int) -> object:
        return ctx, a

    def last(a: int, ctx: Context) -> object:
        return ctx, a

    def middle(a: int, ctx: Context | None = None, b: int = 2) -> object:
        return ctx, a

    def keyword(a: int, *, ctx: Annotated[Context | None, "the context"] = None) -> object:
        return ctx, a

    def child(a: int, ctx: Child) -> object:
        return ctx, a

    for fn in (first, last, middle, keyword, child):
        function = Function.compile(fn, context_type=Context)
        assert function.context_parameter == "ctx"
        assert "ctx" not in function.input_schema["properties"]
        assert run(function, b'{"a":1}', "the context") == ("the context", 1)
        with pytest.raises(InvalidArguments, match="unknown field `ctx`"):
            function.decode(b'{"a":1,"ctx":2}')


def test_a_context_imported_for_type_checkers_only_is_found() -> None:
    namespace: dict[str, Any] = {}
    exec("def f(a: 'int', ctx: 'Context[str] | None' = None): return ctx", namespace)
    function = Function.compile(namespace["f"], context_type=Context)
    assert function.context_parameter == "ctx"
    assert run(function, b'{"a":1}', "it") == "it"


def test_two_contexts_are_refused() -> None:
    def f(one: Context, two: Context) -> None: ...

    with pytest.raises(ConfigError, match=r"f\(\): parameter 'two': expected one context parameter"):
        Function.compile(f, context_type=Context)


def test_injected_parameters_come_by_keyword() -> None:
    def f(a: int, db: object, b: int = 2, context: int = 3) -> object:
        return a, db, b, context

    function = Function.compile(f, injected=frozenset({"db", "context"}))
    assert list(function.input_schema["properties"]) == ["a", "b"]
    assert run(function, b'{"a":1}', db="db") == (1, "db", 2, 3)
    assert function.call(function.decode(b'{"a":1}'), db="db", context=4) == (1, "db", 2, 4)


# --- annotations are resolved where they were written ---


def test_local_types_and_forward_references() -> None:
    @dataclasses.dataclass
    class Local:
        q: int

    def f(one: Local, many: list[Local], later: Later | None = None) -> Local:
        return one

    class Later(msgspec.Struct):
        r: int

    function = Function.compile(f)
    assert run(function, b'{"one":{"q":1},"many":[],"later":{"r":1}}') == Local(1)
    assert set(function.input_schema["$defs"]) == {"Local", "Later"}


def test_types_of_a_closure() -> None:
    def make() -> Callable[..., Any]:
        @dataclasses.dataclass
        class Local:
            q: int

        def f(one: Local) -> Any:
            return Local, one

        return f

    assert run(Function.compile(make()), b'{"one":{"q":1}}')[1].q == 1


def test_an_unknown_name_is_refused_with_its_parameter() -> None:
    def f(a: int, b: OnlyForTypeCheckers) -> None: ...

    with pytest.raises(
        ConfigError, match=r"^f\(\): parameter 'b': cannot resolve 'OnlyForTypeCheckers': name"
    ):
        Function.compile(f)


def test_an_unknown_result_type_promises_nothing() -> None:
    def f(a: int) -> OnlyForTypeCheckers: ...

    assert Function.compile(f).output_schema is None


# --- what cannot work is refused at registration ---


def star(*args: int) -> None: ...
def stars(**kwargs: int) -> None: ...
def generator() -> Iterator[int]:
    yield 1


async def agenerator() -> AsyncIterator[int]:
    yield 1


def two_dataclasses(a: int, b: Point | Other) -> None: ...
def no_json(a: int, b: complex) -> None: ...
def no_json_inside(a: int, b: list[Callable[[], int]]) -> None: ...
def two_texts(b: bytes | str) -> None: ...
def bad_constraint(b: Annotated[str, Meta(ge=1)]) -> None: ...
def bad_pattern(b: Annotated[int, Meta(pattern="x")]) -> None: ...


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (star, r"star\(\): parameter 'args': \*args and \*\*kwargs have no schema"),
        (stars, r"stars\(\): parameter 'kwargs': \*args and \*\*kwargs have no schema"),
        (generator, r"generator\(\): expected a function that returns its result, got a generator"),
        (agenerator, r"agenerator\(\): expected a function that returns its result, got a generator"),
        (
            two_dataclasses,
            r"two_dataclasses\(\): parameter 'b': .*more than one dataclass.* with a tag \(tag=True\)",
        ),
        (two_texts, r"two_texts\(\): parameter 'b': .*more than one str-like type"),
        (no_json, r"no_json\(\): parameter 'b': expected a type with a JSON form, got <class 'complex'>"),
        (no_json_inside, r"no_json_inside\(\): parameter 'b': expected a type with a JSON form"),
        (bad_constraint, r"bad_constraint\(\): parameter 'b': "),
        (bad_pattern, r"bad_pattern\(\): parameter 'b': "),
    ],
)
def test_functions_that_cannot_work_are_refused(fn: Callable[..., Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Function.compile(fn)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a callable whose signature can be read, got 5"):
        Function.compile(5, name="x")  # type: ignore[arg-type]


# --- defaults ---


class Color(enum.Enum):
    RED = "red"


def test_defaults_are_in_the_schema_as_json() -> None:
    def f(
        a: int = 1,
        b: str | None = None,
        c: Color = Color.RED,
        d: Point = Point(1, 2),  # noqa: B008
        e: list[int] = [1, 2],  # noqa: B006
        g: bytes = b"\x00",
        h: float = float("inf"),
        i: Any = object(),  # noqa: B008
        j: int = None,  # type: ignore[assignment] # noqa: RUF013
    ) -> object:
        return a, b, c, d, e, g, h, i, j

    function = Function.compile(f)
    properties = function.input_schema["properties"]
    assert {name: schema["default"] for name, schema in properties.items() if "default" in schema} == {
        "a": 1,
        "b": None,
        "c": "red",
        "d": {"x": 1, "y": 2},
        "e": [1, 2],
        "g": "AA==",
        "j": None,
    }
    assert "required" not in function.input_schema
    assert run(function, None)[:6] == (1, None, Color.RED, Point(1, 2), [1, 2], b"\x00")
    assert run(function, b'{"j":null}')[-1] is None
    assert run(function, b'{"j":4}')[-1] == 4


# --- raw JSON and buffers ---


def test_raw_parameters_are_views_of_the_arguments() -> None:
    def f(r: Raw, v: memoryview, o: Raw | None = None, w: memoryview | None = None) -> object:
        return r, v, o, w

    function = Function.compile(f)
    assert function.raw_parameters == {"r", "v", "o", "w"}
    assert function.input_schema["properties"]["r"] == {}
    buffer = bytearray(b'{"r": {"a": [1, 2.50]}, "v":"text", "o":null}')
    raw, view, none, default = run(function, buffer)
    assert bytes(raw) == b'{"a": [1, 2.50]}'
    assert isinstance(view, memoryview)
    assert bytes(view) == b'"text"'
    assert bytes(none) == b"null"
    assert default is None
    with pytest.raises(BufferError):
        buffer.append(0)  # the views are views of it
    buffer[6] = ord("[")
    assert bytes(raw)[:1] == b"["


def test_bytes_are_base64() -> None:
    def f(data: bytes) -> bytes:
        return data

    function = Function.compile(f)
    properties = function.input_schema["properties"]
    assert properties == {"data": {"type": "string", "contentEncoding": "base64"}}
    assert run(function, b'{"data":"AAE="}') == b"\x00\x01"
    with pytest.raises(InvalidArguments, match=r"Invalid base64 encoded string - at `\$.data`"):
        function.decode(b'{"data":"AAE"}')


# --- descriptions and annotations of properties ---


def test_descriptions_come_from_annotations_then_docstrings() -> None:
    class Doc:
        documentation = "from Doc"

    def f(
        a: Annotated[int, "text"],
        b: Annotated[int, Meta(description="meta", ge=1)],
        c: Annotated[int, Doc()],
        d: Annotated[int, "inside"] | None,
        e: int,
        g: Annotated[int, "wins"],
    ) -> None:
        """Do.

        Args:
            e: docstring
            g: loses
        """

    arguments = Function.compile(f).arguments
    assert [argument.description for argument in arguments] == [
        "text",
        "meta",
        "from Doc",
        "inside",
        "docstring",
        "wins",
    ]


def test_header_annotations_reach_the_property() -> None:
    def f(region: Annotated[str, Meta(extra_json_schema={"x-mcp-header": "Region"})]) -> None: ...

    assert Function.compile(f).input_schema["properties"]["region"] == {
        "type": "string",
        "x-mcp-header": "Region",
    }


# --- results ---


class Typed(TypedDict):
    a: int


class Pair(NamedTuple):
    a: int
    b: str


def returning(annotation: Any) -> Callable[..., Any]:
    def f() -> Any: ...

    f.__annotations__["return"] = annotation
    return f


WRAPPED = [
    int,
    float,
    bool,
    list[int],
    list[str],
    tuple[int, str],
    set[int],
    Pair,
    Color,
    Literal["a"],
    int | None,
    Point | None,
    str | int,
]
OBJECTS = [Point, Node, Typed, dict[str, int], dict[str, Any], dict, Annotated[Point, "a point"]]
TEXT = [
    str,
    None,
    bytes,
    str | None,
    Any,
    object,
    bytearray,
    memoryview,
    inspect.Signature.empty,
    Annotated[str, "x"],
]
UNKNOWN = [Context, Callable[[], int], list[Context], Point | Other, complex]


@pytest.mark.parametrize("annotation", WRAPPED)
def test_values_are_wrapped(annotation: Any) -> None:
    function = Function.compile(returning(annotation))
    assert function.output_schema is not None
    assert list(function.output_schema["properties"]) == ["result"]
    assert function.output_schema["required"] == ["result"]
    assert function.structured([1]) == {"result": [1]}


@pytest.mark.parametrize("annotation", OBJECTS)
def test_objects_are_sent_as_they_are(annotation: Any) -> None:
    function = Function.compile(returning(annotation))
    assert function.output_schema is not None
    assert function.output_schema["type"] == "object"
    assert "$ref" not in function.output_schema
    value = object()
    assert function.structured(value) is value


@pytest.mark.parametrize("annotation", TEXT + UNKNOWN)
def test_text_and_the_unknown_are_not_structured(annotation: Any) -> None:
    function = Function.compile(returning(annotation))
    assert function.output_schema is None
    assert function.structured("x") is UNSET


def test_structure_can_be_forced_and_forbidden() -> None:
    assert Function.compile(add, structured=False).output_schema is None
    assert Function.compile(add, structured=False).structured(1) is UNSET
    for annotation, schema in ((str, {"type": "string"}), (Any, {}), (object, {}), (None, {"type": "null"})):
        function = Function.compile(returning(annotation), structured=True)
        assert function.output_schema == {
            "type": "object",
            "properties": {"result": schema},
            "required": ["result"],
        }
        assert function.structured("x") == {"result": "x"}
    with pytest.raises(ConfigError, match=r"f\(\): result: expected a type with a JSON form"):
        Function.compile(returning(Context), structured=True)


def test_content_blocks_are_not_structured() -> None:
    blocks = [
        TextContent,
        list[TextContent],
        list[TextContent | str],
        TextContent | None,
        tuple[TextContent, ...],
    ]
    for annotation in (*blocks, Sequence[TextContent], list, list[Any]):
        assert Function.compile(returning(annotation)).output_schema is None
    assert Function.compile(returning(list[str])).output_schema is not None


def test_a_recursive_result_keeps_its_definition() -> None:
    schema = Function.compile(returning(Node)).output_schema
    assert schema is not None
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert schema["type"] == "object"
    assert list(schema["$defs"]) == ["Node"]


# --- text arguments ---


def typed(
    n: int,
    b: bool,
    o: float | None = None,
    items: list[int] | None = None,
    point: Point | None = None,
    color: Color = Color.RED,
    s: str = "",
    any: Any = None,
) -> tuple[object, ...]:
    return n, b, o, items, point, color, s, any


def test_text_is_converted() -> None:
    function = Function.compile(typed, strings=True)
    arguments = {
        "n": "5",
        "b": "true",
        "o": "2.5",
        "items": "[1, 2]",
        "point": ' {"x": 1}',
        "color": "red",
        "s": "5",
        "any": "6",
    }
    expected = (5, True, 2.5, [1, 2], Point(1), Color.RED, "5", "6")
    assert run(function, msgspec.json.encode(arguments)) == expected
    assert function.call(function.convert(arguments)) == expected
    assert run(function, b'{"n":"-1","b":"0","o":"null"}')[:3] == (-1, False, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (b'{"n":5,"b":"1"}', "Expected `str`, got `int` - at `$.n`"),
        (b'{"n":null,"b":"1"}', "Expected `str`, got `null` - at `$.n`"),
        (b'{"n":["1"],"b":"1"}', "Expected `str`, got `array` - at `$.n`"),
        (b'{"n":"five","b":"1"}', "Expected `int`, got `str` - at `$.n`"),
        (b'{"n":"5.5","b":"1"}', "Expected `int`, got `str` - at `$.n`"),
        (b'{"n":"5"}', "Object missing required field `b`"),
        (b'{"n":"5","b":"1","c":""}', "Object contains unknown field `c`"),
        (b'{"n":"5","b":"1","items":"[1"}', "in the JSON text at `$.items`"),
        (b'{"n":"5","b":"1","items":"[null]"}', "Expected `int`, got `null` - at `$.items[0]`"),
        (b'{"n":"5","b":"1","point":"{}"}', "Object missing required field `x` - at `$.point`"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{", "truncated"),
    ],
)
def test_bad_text_says_what_and_where(arguments: bytes, message: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        Function.compile(typed, strings=True).decode(arguments)
    assert message in str(caught.value)


def test_raw_text_arguments_are_refused() -> None:
    def f(r: Raw) -> None: ...

    with pytest.raises(ConfigError, match="parameter 'r': expected a type that text converts to"):
        Function.compile(f, strings=True)


# --- what it costs ---


def test_importing_loads_neither_pydantic_nor_io() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "import taut.mcp.function\n"
        "def f(a: int, b: list[str]) -> dict[str, int]: ...\n"
        "taut.mcp.function.Function.compile(f)\n"
        "loaded = set(sys.modules) - before\n"
        "print(*sorted({'pydantic', 'annotated_types', 'asyncio', 'logging', 'socket'} & loaded))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == ""


def test_a_call_keeps_nothing_alive() -> None:
    class Tracked:
        pass

    kept: list[weakref.ref[Tracked]] = []

    def f(a: int, ctx: Context) -> None: ...

    function = Function.compile(f, context_type=Context)
    tracked = Tracked()
    kept.append(weakref.ref(tracked))
    function.call(function.decode(b'{"a":1}'), tracked)
    del tracked
    gc.collect()
    assert kept[0]() is None
