"""Tools for models without tools: what such a model is asked, and what is made of what it writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.provider import Told, pieces
from taut.errors import ConfigError
from taut.llm import (
    ActionOptions,
    Image,
    JsonActions,
    Message,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    OnEvent,
    Restarted,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    ToolSpec,
    Usage,
    assistant,
    ignore,
    tool_results,
    user,
)
from taut.llm.action_reading import AnswerText
from taut.llm.actions import action_request, action_schema
from taut.llm.signatures import signature

ADD = ToolSpec(
    "add",
    "Add two  numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
NOW = ToolSpec("now", "", {"type": "object", "properties": {}, "additionalProperties": False})
TOOLS = [ADD, NOW]
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Writing:
    """A model that writes ``text``, in pieces if somebody listens, and keeps what it was asked."""

    name = "writing"

    def __init__(self, text: str, *, size: int = 3, stop_reason: Any = "stop") -> None:
        self.text = text
        self.size = size
        self.stop_reason = stop_reason
        self.asked: list[ModelRequest] = []
        self.listened = False
        self.closed = 0

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        self.asked.append(request)
        self.listened = on_event is not ignore
        for piece in pieces(self.text, self.size):
            on_event(TextDelta(piece))
        usage = Usage(input_tokens=1, output_tokens=2, requests=1)
        return ModelResponse(
            message=assistant(self.text), usage=usage, stop_reason=self.stop_reason, model="w-1"
        )

    async def close(self) -> None:
        self.closed += 1


def asked(*messages: Message, **more: Any) -> ModelRequest:
    return ModelRequest(messages=messages or [user("Hi")], **{"tools": TOOLS, **more})


def said(
    text: str, *, told: OnEvent = ignore, size: int = 3, stop: str = "stop", **more: Any
) -> ModelResponse:
    model = JsonActions(Writing(text, size=size, stop_reason=stop))
    return asyncio.run(model.respond(asked(**more), told))


# -- what is asked


def test_a_request_in_full() -> None:
    request = asked(
        user("2 and 3?"),
        Message("assistant", (Thinking("hm"), ToolCall("call_1", "add", {"a": 2, "b": 3}))),
        tool_results(ToolResult("call_1", "add", "5")),
        assistant("It is 5."),
        user("Thanks. And now?"),
        instructions="Be brief.",
        settings=ModelSettings(temperature=0),
    )

    made = action_request(request)

    assert made.tools == ()
    assert made.settings == request.settings
    assert made.instructions == (
        "Be brief.\n"
        "\n"
        "Tools:\n"
        "- add(a: integer, b: integer): Add two numbers.\n"
        "- now()\n"
        'Reply with one JSON object. To use a tool: {"tool": "NAME", "arguments": {...}}\n'
        'After the result of the tool, or if you need none: {"answer": "..."}'
    )
    assert [(message.role, message.text) for message in made.messages] == [
        ("user", "2 and 3?"),
        ("assistant", '{"tool":"add","arguments":{"a":2,"b":3}}'),
        ("user", "Result of add: 5"),
        ("assistant", '{"answer":"It is 5."}'),
        ("user", "Thanks. And now?"),
    ]
    assert made.output_schema == {
        "type": "object",
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "tool": {"type": "string", "const": "add"},
                    "arguments": {**ADD.input_schema, "additionalProperties": False},
                },
                "required": ["tool", "arguments"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {
                    "tool": {"type": "string", "const": "now"},
                    "arguments": {"type": "object", "properties": {}, "additionalProperties": False},
                },
                "required": ["tool", "arguments"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {"answer": {"type": "string"}},
                "required": ["answer"],
                "additionalProperties": False,
            },
        ],
    }


def test_what_was_said_beside_a_call_stays() -> None:
    made = action_request(asked(assistant("Let me see.", ToolCall("1", "now", {}), ToolCall("2", "now", {}))))

    assert made.messages[0].text == (
        'Let me see.\n{"tool":"now","arguments":{}}\n{"tool":"now","arguments":{}}'
    )


def test_errors_and_images_of_results() -> None:
    results = tool_results(
        ToolResult("1", "add", "no", is_error=True),
        ToolResult("2", "draw", (Text("a cat"), Image("AA", "image/png"))),
    )

    (message,) = action_request(asked(results)).messages

    assert message.role == "user"
    assert message.content == (
        Text("Result of add: Error: no"),
        Text("Result of draw: a cat"),
        Image("AA", "image/png"),
    )


def test_a_malformed_call_is_shown_as_it_was_written() -> None:
    made = action_request(asked(assistant(ToolCall("1", "add", {}, malformed='{"tool": "add", "argu'))))

    assert made.messages[0].text == '{"tool": "add", "argu'


def names(schema: dict[str, Any]) -> list[str]:
    branches = schema.get("anyOf", [schema])
    return [one["properties"].get("tool", {"const": "answer"})["const"] for one in branches]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ["add", "now", "answer"]),
        ("required", ["add", "now"]),
        ("now", ["now"]),
        ("nothing_like_that", ["add", "now", "answer"]),
    ],
)
def test_the_choice_narrows_the_schema(choice: str, expected: list[str]) -> None:
    made = action_request(asked(tool_choice=choice))

    assert made.output_schema is not None
    assert names(made.output_schema) == expected
    assert ('"answer"' in made.instructions) is ("answer" in expected)


def test_no_tools_are_asked_for_as_text() -> None:
    model = Writing("Hello")
    request = asked(user("Hi"), assistant(ToolCall("1", "now", {})), assistant("Noon."), tool_choice="none")

    response = asyncio.run(JsonActions(model).respond(request))

    assert response.message == assistant("Hello")
    assert model.asked[0].output_schema is None
    assert model.asked[0].tools == ()
    assert [message.text for message in model.asked[0].messages] == [
        "Hi",
        '{"tool":"now","arguments":{}}',
        "Noon.",
    ]


def test_a_request_without_tools_is_passed_on() -> None:
    model = Writing("Hello")
    request = ModelRequest(messages=[user("Hi")])

    response = asyncio.run(JsonActions(model).respond(request))

    assert model.asked == [request]
    assert response.message == assistant("Hello")


def test_answers_of_a_schema_are_shown_as_the_values_that_they_are() -> None:
    made = action_request(asked(assistant('{"name":"Ann"}'), assistant("Hello"), output_schema=PERSON))

    assert made.messages[0].text == '{"answer":{"name":"Ann"}}'
    assert made.messages[1].text == '{"answer":"Hello"}'


def test_a_small_model_is_told_what_to_do_with_results() -> None:
    options = ActionOptions(after_results="Tell the user.")
    results = [assistant(ToolCall("1", "now", {})), tool_results(ToolResult("1", "now", "noon"))]

    last = action_request(asked(*results), options).messages[-1]
    earlier = action_request(asked(*results, assistant("Noon."), user("Thanks")), options)

    assert last.content == (Text("Result of now: noon"), Text("Tell the user."))
    assert earlier.messages[1].content == (Text("Result of now: noon"),)
    assert (
        action_request(asked(*results, tool_choice="required"), options).messages[-1].text
        == "Result of now: noon"
    )


def call_and_result(*calls: ToolCall) -> list[Message]:
    return [assistant(*calls), tool_results(*(ToolResult(one.id, one.name, "x") for one in calls))]


@pytest.mark.parametrize(
    ("history", "offered"),
    [
        ([user("Hi")], ["add", "now", "answer"]),
        (call_and_result(ToolCall("1", "now", {})), ["add", "now", "answer"]),
        (call_and_result(ToolCall("1", "now", {}), ToolCall("2", "now", {})), ["add", "answer"]),
        (2 * call_and_result(ToolCall("1", "now", {})), ["add", "answer"]),
        (
            [*call_and_result(ToolCall("1", "now", {"x": 1})), *call_and_result(ToolCall("2", "now", {}))],
            ["add", "now", "answer"],
        ),
        (
            [
                *call_and_result(ToolCall("1", "now", {})),
                user("Again"),
                *call_and_result(ToolCall("2", "now", {})),
            ],
            ["add", "now", "answer"],
        ),
    ],
)
def test_a_call_that_is_repeated_is_not_offered_again(history: list[Message], offered: list[str]) -> None:
    made = action_request(asked(*history), ActionOptions(max_repeats=2))

    assert made.output_schema is not None
    assert names(made.output_schema) == offered


def test_a_model_that_may_only_answer_is_told_how() -> None:
    history = 2 * call_and_result(ToolCall("1", "now", {}))

    made = action_request(asked(*history, tools=[NOW]), ActionOptions(max_repeats=2))

    assert made.instructions == 'Reply with one JSON object: {"answer": "..."}'
    assert made.output_schema is not None
    assert names(made.output_schema) == ["answer"]


def test_repeats_are_positive() -> None:
    with pytest.raises(ConfigError, match="max_repeats"):
        ActionOptions(max_repeats=0)


# -- schemas

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}},
    "required": ["x"],
    "additionalProperties": False,
}
TREE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "children": {"type": "array", "items": {"$ref": "#"}}},
    "required": ["value"],
    "additionalProperties": False,
}


def accepts(schema: dict[str, Any], value: Any) -> bool:
    jsonschema_rs.meta.validate(schema)
    return bool(jsonschema_rs.validator_for(schema).is_valid(value))


@pytest.mark.parametrize("place", ["$defs", "definitions"])
def test_definitions_of_several_tools_do_not_mix(place: str) -> None:
    first = {"type": "object", "properties": {"p": {"$ref": f"#/{place}/P"}}, place: {"P": POINT}}
    second = {
        "type": "object",
        "properties": {"p": {"$ref": f"#/{place}/P"}},
        place: {"P": {"type": "string"}},
    }
    schema = action_schema([ToolSpec("one", "", first), ToolSpec("two", "", second)], None)

    assert accepts(schema, {"tool": "one", "arguments": {"p": {"x": 1}}})
    assert not accepts(schema, {"tool": "one", "arguments": {"p": "x"}})
    assert accepts(schema, {"tool": "two", "arguments": {"p": "x"}})
    assert not accepts(schema, {"tool": "two", "arguments": {"p": {"x": 1}}})


def test_definitions_that_refer_to_each_other() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "additionalProperties": False}
    tool = ToolSpec(
        "walk",
        "",
        {
            "$ref": "#/$defs/Start",
            "$defs": {"Start": {"properties": {"node": {"$ref": "#/$defs/Node"}}}, "Node": node},
        },
    )
    schema = action_schema([tool], None)

    assert accepts(schema, {"tool": "walk", "arguments": {"node": {"next": {"next": {}}}}})
    assert not accepts(schema, {"tool": "walk", "arguments": {"node": {"next": {"last": {}}}}})


def test_a_schema_that_refers_to_itself() -> None:
    schema = action_schema([ToolSpec("plant", "", TREE), ADD], TREE)
    tree = {"value": 1, "children": [{"value": 2, "children": []}]}
    stump = {"value": 1, "children": [{"children": []}]}

    assert accepts(schema, {"tool": "plant", "arguments": tree})
    assert not accepts(schema, {"tool": "plant", "arguments": stump})
    assert accepts(schema, {"answer": tree})
    assert not accepts(schema, {"answer": stump})


def test_a_reference_into_the_middle_of_a_schema() -> None:
    pair = {
        "type": "object",
        "properties": {"a": POINT, "b": {"$ref": "#/properties/a"}},
        "required": ["a", "b"],
    }
    schema = action_schema([ToolSpec("pair", "", pair)], None)

    assert accepts(schema, {"tool": "pair", "arguments": {"a": {"x": 1}, "b": {"x": 2}}})
    assert not accepts(schema, {"tool": "pair", "arguments": {"a": {"x": 1}, "b": {"y": 2}}})


def test_what_looks_like_a_reference_but_is_a_value_stays() -> None:
    odd = {"type": "object", "properties": {"$ref": {"const": {"$ref": "#/$defs/P"}}}}
    schema = action_schema([ToolSpec("odd", "", odd)], None)

    assert accepts(schema, {"tool": "odd", "arguments": {"$ref": {"$ref": "#/$defs/P"}}})


def test_the_schemas_of_tools_are_left_as_they_were() -> None:
    before = json.dumps([TREE, ADD.input_schema])

    action_schema([ToolSpec("plant", "", TREE), ADD], TREE)

    assert json.dumps([TREE, ADD.input_schema]) == before


def test_the_tool_comes_before_its_arguments() -> None:
    (call, _) = action_schema([NOW], None)["anyOf"]

    assert list(call["properties"]) == ["tool", "arguments"]


def test_arguments_that_may_be_anything_stay_so() -> None:
    schema = action_schema([ToolSpec("any", "", {})], None)

    assert accepts(schema, {"tool": "any", "arguments": {"whatever": 1}})


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({}, "()"),
        ({"type": "object"}, "(...)"),
        (NOW.input_schema, "()"),
        (
            {
                "properties": {"a": {"type": "string"}, "b": {"type": "integer", "default": 3}},
                "required": ["a"],
            },
            "(a: string, b?: integer = 3)",
        ),
        ({"properties": {"u": {"enum": ["C", "F"]}, "k": {"const": 1}}}, '(u?: "C" | "F", k?: 1)'),
        ({"properties": {"x": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, "(x?: string | null)"),
        ({"properties": {"x": {"type": ["string", "null"]}}}, "(x?: string | null)"),
        ({"properties": {"x": {"type": "array", "items": {"type": "integer"}}}}, "(x?: integer[])"),
        ({"properties": {"x": {"type": "array", "items": {"enum": [1, 2]}}}}, "(x?: (1 | 2)[])"),
        ({"properties": {"p": {"$ref": "#/$defs/P"}}, "$defs": {"P": POINT}}, "(p?: {x: integer})"),
        ({"properties": {"p": {"$ref": "#/$defs/None"}}}, "(p?: any)"),
        ({"properties": {"p": True, "q": {}}}, "(p?: any, q?: any)"),
        (
            {"properties": {"c": {"type": "string", "description": " The\n city "}}},
            "(c?: string)",
        ),
        (TREE, "(value: integer, children?: {value: integer, children?: any[]}[])"),
    ],
)
def test_signatures(schema: dict[str, Any], shown: str) -> None:
    assert signature(schema) == shown


# -- what is made of it


def test_a_call() -> None:
    told = Told()

    response = said('{"tool": "add", "arguments": {"a": 1, "b": 2}}', told=told)

    call = ToolCall("call_1", "add", {"a": 1, "b": 2})
    assert response.message == assistant(call)
    assert response.stop_reason == "tool_calls"
    assert response.usage == Usage(input_tokens=1, output_tokens=2, requests=1)
    assert response.model == "w-1"
    assert told.events == [ToolCallDelta("call_1", "add", '{"a":1,"b":2}')]


def test_an_answer() -> None:
    told = Told()

    response = said('{"answer": "It is \\"5\\".\\n"}', told=told)

    assert response.message == assistant('It is "5".\n')
    assert response.stop_reason == "stop"
    assert told.text(TextDelta) == 'It is "5".\n'
    assert len(told.events) > 1


def test_ids_go_on_from_those_of_the_conversation() -> None:
    model = JsonActions(Writing('{"tool": "now", "arguments": {}}'))
    history = call_and_result(ToolCall("x", "now", {}), ToolCall("y", "now", {}))

    response = asyncio.run(model.respond(asked(*history)))

    assert response.message.tool_calls[0].id == "call_3"


def test_nobody_listens() -> None:
    model = Writing('{"answer": "x"}')

    asyncio.run(JsonActions(model).respond(asked()))

    assert not model.listened


@pytest.mark.parametrize(
    "text",
    [
        '{"tool":"add","arguments":{"a":1,"b":2}}',
        ' \n{"tool":"add","arguments":{"a":1,"b":2}}\n',
        '```json\n{"tool":"add","arguments":{"a":1,"b":2}}\n```',
        'Sure! I use {braces}:\n{"tool":"add","arguments":{"a":1,"b":2}} Done.',
        '{"name":"add","parameters":{"a":1,"b":2}}',
        '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>',
        '{"type":"function","function":{"name":"add","arguments":"{\\"a\\": 1, \\"b\\": 2}"}}',
        '{"thought":"I add.","tool":"add","arguments":{"a":1,"b":2}}',
        '{"tool":"add","args":{"a":1,"b":2}}',
        '{"action": {"tool":"add","input":{"a":1,"b":2}}}',
    ],
)
def test_calls_are_read_with_patience(text: str) -> None:
    response = said(text)

    assert response.message == assistant(ToolCall("call_1", "add", {"a": 1, "b": 2}))


def test_several_calls() -> None:
    text = '{"tool":"now","arguments":{}}\n{"tool":"add","arguments":{"a":1,"b":2}}, {"tool":"now"}'

    calls = said(text).message.tool_calls

    assert [(call.id, call.name) for call in calls] == [
        ("call_1", "now"),
        ("call_2", "add"),
        ("call_3", "now"),
    ]


def test_what_a_model_imagines_behind_a_call_is_left_out() -> None:
    text = '{"tool":"now","arguments":{}}\nResult of now: noon\n{"tool":"add","arguments":{"a":1,"b":2}}'

    assert said(text).message == assistant(ToolCall("call_1", "now", {}))


def test_a_call_of_a_tool_that_there_is_not() -> None:
    assert said('{"tool":"fly","arguments":{}}').message == assistant(ToolCall("call_1", "fly", {}))


@pytest.mark.parametrize(
    "text",
    [
        "Hello there.",
        "A set: {1, 2}.",
        '{"name": "Ann", "age": 3}',
        '{"x": 1}',
        "{" * 100,
        "[1, 2]",
        "",
    ],
)
def test_what_is_neither_is_the_answer_as_it_is(text: str) -> None:
    told = Told()

    response = said(text, told=told)

    assert response.message == (assistant(text) if text else assistant())
    assert told.text(TextDelta) == text
    assert told.of(Restarted) == []


def test_a_call_that_is_broken_off() -> None:
    text = '{"tool": "add", "arguments": {"a": 1'

    response = said(text, stop="length")

    assert response.message == assistant(ToolCall("call_1", "add", {}, malformed=text))
    assert response.stop_reason == "length"


def test_arguments_that_are_no_object() -> None:
    response = said('{"tool": "add", "arguments": [1, 2]}')

    assert response.message == assistant(ToolCall("call_1", "add", {}, malformed="[1,2]"))


def test_an_answer_that_is_broken_off() -> None:
    told = Told()

    response = said('{"answer": "Once upon a', told=told, stop="length")

    assert response.message == assistant("Once upon a")
    assert told.text(TextDelta) == "Once upon a"
    assert response.stop_reason == "length"


def test_an_answer_that_is_no_text() -> None:
    told = Told()

    assert said('{"answer": {"x": [1, "}"]} }', told=told).message == assistant('{"x": [1, "}"]}')
    assert told.text(TextDelta) == '{"x": [1, "}"]}'
    assert said('{"answer": 42}').message == assistant("42")


def test_an_answer_that_does_not_come_first() -> None:
    told = Told()

    response = said('{"thought": "hm", "answer": "Yes"}', told=told)

    assert response.message == assistant("Yes")
    assert told.events == [TextDelta("Yes")]


def test_an_argument_called_answer_is_not_told_as_one() -> None:
    told = Told()

    response = said('{"tool": "save", "arguments": {"answer": "x"}}', told=told)

    assert response.message.tool_calls[0].arguments == {"answer": "x"}
    assert told.of(TextDelta) == []


def test_an_answer_of_a_schema() -> None:
    told = Told()

    response = said('{"answer": {"name": "Ann"}}', told=told, output_schema=PERSON)

    assert response.message == assistant('{"name": "Ann"}')
    assert told.text(TextDelta) == '{"name": "Ann"}'


@pytest.mark.parametrize(
    "text",
    ['{"name": "Ann"}', '{"answer": "{\\"name\\": \\"Ann\\"}"}', '```\n{"answer": {"name": "Ann"}}\n```'],
)
def test_answers_of_a_schema_are_read_with_patience(text: str) -> None:
    assert said(text, output_schema=PERSON).message == assistant('{"name": "Ann"}')


def test_an_answer_of_a_schema_that_is_itself_called_answer() -> None:
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}

    bare = said('{"answer": "Yes"}', output_schema=schema)
    wrapped = said('{"answer": {"answer": "Yes"}}', output_schema=schema)

    assert bare.message == wrapped.message == assistant('{"answer": "Yes"}')


def test_a_schema_of_a_string() -> None:
    response = said('{"answer": "{}"}', output_schema={"type": "string"})

    assert response.message == assistant('"{}"')


def test_thinking_stays() -> None:
    class Thinker(Writing):
        async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
            on_event(ThinkingDelta("hm"))
            content = (Thinking("hm", "s"), Text('{"answer": "Yes"}'))
            return ModelResponse(message=Message("assistant", content))

    told = Told()
    response = asyncio.run(JsonActions(Thinker("")).respond(asked(), told))

    assert response.message.content == (Thinking("hm", "s"), Text("Yes"))
    assert told.events == [ThinkingDelta("hm"), TextDelta("Yes")]


def test_an_attempt_that_begins_anew() -> None:
    class Restarting(Writing):
        async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
            on_event(TextDelta('{"answer": "No'))
            on_event(Restarted("cut"))
            return await super().respond(request, on_event)

    told = Told()
    asyncio.run(JsonActions(Restarting('{"answer": "Yes"}')).respond(asked(), told))

    restarted = told.events.index(Restarted("cut"))
    assert "".join(event.text for event in told.events[:restarted]) == "No"  # type: ignore[union-attr]
    assert "".join(event.text for event in told.events[restarted + 1 :]) == "Yes"  # type: ignore[union-attr]


def test_closing_closes_the_model() -> None:
    model = Writing("")

    asyncio.run(JsonActions(model).close())

    assert model.closed == 1
    assert JsonActions(model).name == "writing"


# -- whatever it is

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**50), 2**50)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(
    st.text(max_size=6) | st.sampled_from(["tool", "answer", "arguments", "name"]), VALUES, max_size=4
)
CALLS = st.lists(st.tuples(st.sampled_from(["add", "now"]), ARGUMENTS), min_size=1, max_size=3)
WRITERS: Sequence[Callable[[str], str]] = (
    lambda text: text,
    lambda text: f"```json\n{text}\n```",
    lambda text: f"I will do that: {text}",
)


@given(CALLS, st.sampled_from(WRITERS), st.integers(1, 9))
def test_calls_survive_the_round_trip(
    calls: list[tuple[str, dict[str, Any]]], write: Callable[[str], str], size: int
) -> None:
    wanted = [ToolCall(f"call_{number}", name, given) for number, (name, given) in enumerate(calls, 1)]
    (written,) = action_request(asked(assistant(*wanted))).messages

    told = Told()
    response = said(write(written.text), told=told, size=size)

    assert list(response.message.tool_calls) == wanted
    assert told.of(TextDelta) == []


@given(st.text(), st.booleans(), st.sampled_from([None, 2]), st.integers(1, 9))
def test_answers_survive_the_round_trip(text: str, ascii: bool, indent: int | None, size: int) -> None:
    told = Told()

    response = said(json.dumps({"answer": text}, ensure_ascii=ascii, indent=indent), told=told, size=size)

    assert response.message.text == text
    assert told.text(TextDelta) == text
    assert told.of(Restarted) == []


@given(VALUES, st.sampled_from([None, 2]), st.integers(1, 9))
def test_values_survive_the_round_trip(value: Any, indent: int | None, size: int) -> None:
    told = Told()
    answer = {"name": value}

    response = said(json.dumps({"answer": answer}, indent=indent), told=told, size=size, output_schema=PERSON)

    assert json.loads(response.message.text) == answer
    assert told.text(TextDelta) == response.message.text
    assert told.of(Restarted) == []


@given(st.text(alphabet='{}[]",: \\answertol\n1du8', max_size=40), st.integers(1, 5), st.booleans())
def test_whatever_is_written_is_told_as_it_is_answered(text: str, size: int, has_schema: bool) -> None:
    told = Told()

    response = said(text, told=told, size=size, output_schema=PERSON if has_schema else None)

    after = told.events
    for place, event in enumerate(told.events):
        if isinstance(event, Restarted):
            after = told.events[place + 1 :]
    assert "".join(event.text for event in after if isinstance(event, TextDelta)) == response.message.text


@given(st.lists(st.integers(0, 0xFFFF), max_size=12), st.integers(1, 7))
def test_halves_of_characters_are_read_alike(units: list[int], size: int) -> None:
    written = '{"answer": "' + "".join(f"\\u{unit:04x}" for unit in units) + '"}'
    view = AnswerText(raw=False)

    told = "".join(view.feed(piece) for piece in pieces(written, size))

    assert told == said(written).message.text
    told.encode()  # no halves are left
