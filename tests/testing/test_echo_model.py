"""Models that need no script."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from talking import ADD, ask, request

from taut.errors import ConfigError
from taut.llm.messages import Message, ToolCall, ToolResult, assistant, tool_results, user
from taut.llm.model import Model, ModelRequest, ModelResponse, ModelSettings, ToolSpec
from taut.testing import EchoModel

GREET = ToolSpec(
    "greet", "", {"type": "object", "properties": {"name": {"enum": ["Ada"]}}, "required": ["name"]}
)


def said(model: Model, *messages: Message | str, **members: Any) -> ModelResponse:
    return ask(model, request(*messages, **members))[0]


class TestEcho:
    def test_the_last_text_comes_back(self) -> None:
        assert isinstance(EchoModel(), Model)
        assert said(EchoModel(), "first", "hello").message == assistant("hello")
        assert said(EchoModel()).message == assistant("")

    def test_results_come_back(self) -> None:
        results = tool_results(ToolResult("1", "a", "one"), ToolResult("2", "b", "two"))
        calls = assistant(ToolCall("1", "a", {}), ToolCall("2", "b", {}))
        assert said(EchoModel(), "x", calls, results).message.text == "one\ntwo"

    def test_it_calls_nothing_by_itself(self) -> None:
        assert said(EchoModel(), "x", tools=[ADD]).message.tool_calls == ()

    def test_a_line_calls_a_tool(self) -> None:
        text = 'please\n  ***CALL_TOOL add {"a": 1, "b": [2]}\n***CALL_TOOL ping\nthanks'
        answer = said(EchoModel(), text)
        assert answer.message.tool_calls == (
            ToolCall("call_1", "add", {"a": 1, "b": [2]}),
            ToolCall("call_2", "ping", {}),
        )
        assert answer.stop_reason == "tool_calls"

    @pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", "1", "a=1"])
    def test_what_is_no_object_is_malformed(self, arguments: str) -> None:
        (made,) = said(EchoModel(), f"***CALL_TOOL add {arguments}").message.tool_calls
        assert made == ToolCall("call_1", "add", {}, malformed=arguments)

    def test_a_fixed_answer_stays(self) -> None:
        history = [user("***FIXED_RESPONSE always this"), assistant("always this"), user("***CALL_TOOL add")]
        assert said(EchoModel(), *history).message == assistant("always this")
        assert (
            said(EchoModel(), "x", instructions="Rules\n***FIXED_RESPONSE by rule").message.text == "by rule"
        )
        assert said(EchoModel(), *history, "***FIXED_RESPONSE new").message.text == "new"

    def test_an_unknown_mode_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="echo or auto, got 'loud'"):
            EchoModel("loud")  # type: ignore[arg-type]


class TestAuto:
    def test_it_calls_every_tool_and_tells_the_results(self) -> None:
        model = EchoModel("auto")
        first = said(model, "go", tools=[ADD, GREET])
        assert first.message.tool_calls == (
            ToolCall("call_1", "add", {"a": 0, "b": 0}),
            ToolCall("call_2", "greet", {"name": "Ada"}),
        )
        results = tool_results(ToolResult("call_1", "add", "0"), ToolResult("call_2", "greet", "Hello Ada"))
        last = said(model, "go", first.message, results, tools=[ADD, GREET])
        assert msgspec.json.decode(last.message.text) == {"add": 0, "greet": "Hello Ada"}
        again = said(model, "go", first.message, results, last.message, "again", tools=[ADD, GREET])
        assert [made.name for made in again.message.tool_calls] == ["add", "greet"]

    def test_one_by_one_without_parallel_calls(self) -> None:
        model = EchoModel("auto")
        settings = ModelSettings(parallel_tool_calls=False)
        history: list[Message] = [user("go")]
        names = []
        while True:
            (answer,) = ask(model, ModelRequest(messages=history, tools=[ADD, GREET], settings=settings))
            if not answer.message.tool_calls:
                break
            (made,) = answer.message.tool_calls
            names.append(made.name)
            history += [answer.message, tool_results(ToolResult(made.id, made.name, "ok"))]
        assert names == ["add", "greet"]

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [("none", []), ("greet", ["greet"]), ("required", ["add", "greet"]), ("auto", ["add", "greet"])],
    )
    def test_the_choice_of_tools_is_heeded(self, choice: str, expected: list[str]) -> None:
        answer = said(EchoModel("auto"), "go", tools=[ADD, GREET], tool_choice=choice)
        assert [made.name for made in answer.message.tool_calls] == expected

    def test_where_a_call_is_required_there_is_one(self) -> None:
        history = [user("go"), assistant(ToolCall("1", "add", {})), tool_results(ToolResult("1", "add", "0"))]
        answer = said(EchoModel("auto"), *history, tools=[ADD], tool_choice="required")
        assert [made.name for made in answer.message.tool_calls] == ["add"]

    def test_a_schema_is_answered_with_an_example(self) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
        assert said(EchoModel("auto"), "go", output_schema=schema).message.text == '{"n":3}'

    def test_a_tool_that_no_arguments_are_known_for_is_an_error(self) -> None:
        tool = ToolSpec(
            "x", "", {"type": "object", "required": ["q"], "properties": {"q": {"pattern": "^(?!)$"}}}
        )
        with pytest.raises(ConfigError, match=r"Cannot make an example at \$\.q"):
            said(EchoModel("auto"), "go", tools=[tool])
