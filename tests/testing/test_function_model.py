"""Models that a function plays."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from talking import ask, ask_streaming, request, streamed_text

from taut.errors import ConfigError, ModelUnavailable
from taut.llm.messages import Text, Thinking, ToolCall, Usage, assistant
from taut.llm.model import Model, ModelRequest, ModelResponse, OnEvent, TextDelta
from taut.testing import FunctionModel, call


def test_it_answers_with_what_the_function_returns() -> None:
    model = FunctionModel(lambda one: f"{len(one.messages)} messages", name="counter")
    assert isinstance(model, Model)
    answer, events = ask_streaming(model, request("a", "b"))
    assert answer.message == assistant("2 messages")
    assert answer.model == "counter"
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["2 ", "messages"]
    assert answer.usage == Usage(input_tokens=2, output_tokens=3, requests=1)


def test_the_function_may_be_async_and_return_parts() -> None:
    async def answer(one: ModelRequest) -> list[Any]:
        await asyncio.sleep(0)
        return [Thinking("hm"), "text", call("add", a=1)]

    (got,) = ask(FunctionModel(answer), request("x"))
    assert got.message.content == (Thinking("hm"), Text("text"), ToolCall("call_1", "add", {"a": 1}))
    assert got.stop_reason == "tool_calls"


def test_a_whole_response_is_returned_as_it_is() -> None:
    whole = ModelResponse(message=assistant("x"), stop_reason="refusal", model="m")
    assert ask(FunctionModel(lambda one: whole), request("x")) == [whole]


def test_what_it_streams_itself_is_not_streamed_again() -> None:
    def answer(one: ModelRequest, on_event: OnEvent) -> str:
        for letter in "abc":
            on_event(TextDelta(letter))
        return "abc"

    _, events = ask_streaming(FunctionModel(answer), request("x"))
    assert events == [TextDelta("a"), TextDelta("b"), TextDelta("c")]


def test_what_it_could_stream_but_does_not_is_streamed() -> None:
    _, events = ask_streaming(FunctionModel(lambda one, on_event: "a b"), request("x"))
    assert events == [TextDelta("a "), TextDelta("b")]


def test_an_argument_with_a_default_is_its_own() -> None:
    model = FunctionModel(lambda one, text="mine": text)
    assert streamed_text(ask_streaming(model, request("x"))[1]) == "mine"


def test_a_builtin_gets_the_request() -> None:
    (answer,) = ask(FunctionModel(str), request("hello"))  # which does not tell its signature
    assert "hello" in answer.message.text


def test_what_it_raises_is_raised() -> None:
    def fail(one: ModelRequest) -> str:
        raise ModelUnavailable("not now")

    with pytest.raises(ModelUnavailable, match="not now"):
        ask(FunctionModel(fail), request("x"))


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(ConfigError, match="a function of the request, got str"):
        FunctionModel("text")  # type: ignore[arg-type]


def test_the_last_requests_are_kept() -> None:
    model = FunctionModel(lambda one: "x", keep=1)
    ask(model, request("a"), request("b"))
    assert [one.messages[0].text for one in model.requests] == ["b"]
    asyncio.run(model.close())
    assert model.closed
