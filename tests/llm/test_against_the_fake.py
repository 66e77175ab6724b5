"""Our clients against the fake server, which was made apart from them and is checked with the SDKs of the providers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llm.provider import Told, Waits
from taut.errors import InvalidModelAnswer, ModelError, ModelRefused, ModelUnavailable
from taut.llm import (
    Image,
    Message,
    Model,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    Restarted,
    Text,
    TextDelta,
    Thinking,
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
from taut.llm.anthropic import AnthropicModel
from taut.llm.openai import OpenAIModel
from taut.testing import FakeOpenAI
from taut.testing.fake_openai import faults

ADD = ToolSpec("add", "Add.", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})
USAGE = Usage(100, 20, cached_tokens=30, cache_write_tokens=10, thinking_tokens=5, requests=1)
CALLS = (ToolCall("call_a", "add", {"a": 1}), ToolCall("call_b", "add", {"a": 2}))
HI = ModelRequest(messages=[user("Hi")])

Made = Callable[[FakeOpenAI, Waits], Model]


def chat(fake: FakeOpenAI, waits: Waits) -> Model:
    return OpenAIModel("gpt-5", base_url=fake.base_url, api_key="k", timing=waits.timing)


def responses(fake: FakeOpenAI, waits: Waits) -> Model:
    return OpenAIModel("gpt-5", base_url=fake.base_url, api_key="k", api="responses", timing=waits.timing)


def messages(fake: FakeOpenAI, waits: Waits) -> Model:
    return AnthropicModel("claude-sonnet-4-5", base_url=fake.origin, api_key="k", timing=waits.timing)


@pytest.fixture(params=[chat, responses, messages], ids=lambda make: str(make.__name__))
def make(request: pytest.FixtureRequest) -> Made:
    made: Made = request.param
    return made


@pytest.fixture(params=[True, False], ids=["streaming", "whole"])
def told(request: pytest.FixtureRequest) -> Told | None:
    return Told() if request.param else None


def ask(
    make: Made, fake: FakeOpenAI, request: ModelRequest, told: Told | None = None, waits: Waits | None = None
) -> ModelResponse:
    async def main() -> ModelResponse:
        async with fake:
            model = make(fake, waits or Waits())
            try:
                return await model.respond(request, ignore if told is None else told)
            finally:
                await model.close()

    return asyncio.run(main())


def answer(*parts: Any, **more: Any) -> ModelResponse:
    return ModelResponse(message=assistant(*parts), usage=USAGE, **more)


def test_text_and_calls(make: Made, told: Told | None) -> None:
    fake = FakeOpenAI([answer("Let me see.", *CALLS, stop_reason="tool_calls")])

    response = ask(make, fake, ModelRequest(messages=[user("Hi")], tools=[ADD]), told)

    assert response.message.text == "Let me see."
    assert response.message.tool_calls == CALLS
    assert response.stop_reason == "tool_calls"
    if told is not None:
        assert told.text(TextDelta) == "Let me see."
        written = {call.id: "" for call in CALLS}
        for event in told.of(ToolCallDelta):
            written[event.id] += event.arguments
        assert list(written.values()) == ['{"a":1}', '{"a":2}']


def test_the_usage(make: Made, told: Told | None) -> None:
    usage = ask(make, FakeOpenAI([answer("x")]), HI, told).usage

    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.requests) == (100, 20, 30, 1)
    assert usage.cache_write_tokens == (0 if make is chat else 10)  # the fake's chat does not tell
    assert usage.thinking_tokens == 5
    assert usage.cost is not None


@pytest.mark.parametrize("reason", ["stop", "length", "refusal"])
def test_reasons_to_stop(make: Made, told: Told | None, reason: Any) -> None:
    response = ask(make, FakeOpenAI([answer("Hm.", stop_reason=reason)]), HI, told)

    assert response.stop_reason == reason
    assert response.message.text == "Hm."


def test_what_the_server_understands(make: Made) -> None:
    fake = FakeOpenAI([answer("ok")])
    request = ModelRequest(
        messages=[
            user([Text("Look"), Image("AAAA", "image/png")]),
            Message("assistant", (Text("I look."), *CALLS)),
            tool_results(ToolResult("call_a", "add", "1"), ToolResult("call_b", "add", "2")),
            user("And?"),
        ],
        instructions="Be brief.",
        tools=[ADD],
        tool_choice="required",
        output_schema={
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "required": ["a"],
            "additionalProperties": False,
        },
        settings=ModelSettings(temperature=0.5, max_tokens=77, effort="low"),
    )

    ask(make, fake, request)

    seen = fake.seen[-1].request
    assert seen is not None
    assert seen.instructions == "Be brief."
    assert [(tool.name, tool.input_schema) for tool in seen.tools] == [("add", ADD.input_schema)]
    assert seen.tool_choice == "required"
    assert seen.output_schema == request.output_schema
    assert seen.settings.temperature == 0.5
    assert seen.settings.max_tokens == 77
    assert [call for message in seen.messages for call in message.tool_calls] == list(CALLS)
    results = [part for message in seen.messages for part in message.content if isinstance(part, ToolResult)]
    assert [(part.call_id, part.text) for part in results] == [("call_a", "1"), ("call_b", "2")]
    assert Image("AAAA", "image/png") in seen.messages[0].content


@pytest.mark.parametrize("make", [responses, messages], indirect=True)
def test_thinking_comes_back_as_it_was(make: Made, told: Told | None) -> None:
    fake = FakeOpenAI([answer(Thinking("hm", "sealed"), "Yes"), answer("ok")])
    first = None

    async def main() -> None:
        nonlocal first
        async with fake:
            model = make(fake, Waits())
            first = await model.respond(HI, ignore if told is None else told)
            await model.respond(ModelRequest(messages=[user("Hi"), first.message, user("Sure?")]))
            await model.close()

    asyncio.run(main())
    assert first is not None
    assert first.message.content[0] != Thinking("hm")  # it has a signature
    seen = fake.seen[-1].request
    assert seen is not None
    thinking = [part for message in seen.messages for part in message.content if isinstance(part, Thinking)]
    assert [part.text for part in thinking] == ["hm"]


def test_what_passes_is_tried_again(make: Made, told: Told | None) -> None:
    waits = Waits()
    fake = FakeOpenAI(
        [answer("x")] * 3, faults=[faults.rate_limited(retry_after=2), faults.server_error(503), None]
    )

    response = ask(make, fake, HI, told, waits)

    assert response.message == assistant("x")
    assert waits.slept_s == [2.0, 1.0]


def test_a_cut_is_tried_again(make: Made, told: Told | None) -> None:
    fake = FakeOpenAI([answer("Hello there")] * 3, faults=[faults.hang_up(), faults.cut(after=4), None])

    response = ask(make, fake, HI, told)

    assert response.message == assistant("Hello there")
    if told is not None:
        restarted = [place for place, event in enumerate(told.events) if isinstance(event, Restarted)]
        after = told.events[restarted[-1] + 1 :] if restarted else told.events
        assert "".join(event.text for event in after if isinstance(event, TextDelta)) == "Hello there"


def test_an_error_within_a_stream(make: Made) -> None:
    fake = FakeOpenAI([answer("Hello")] * 3, faults=[faults.error_event(after=1)] * 3)

    with pytest.raises(ModelUnavailable, match="Overloaded"):
        ask(make, fake, HI, Told())


def test_garbage(make: Made, told: Told | None) -> None:
    with pytest.raises(InvalidModelAnswer):
        ask(make, FakeOpenAI([answer("x")], faults=[faults.garbage()]), HI, told)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, ModelRefused), (401, ModelRefused), (529, ModelUnavailable)]
)
def test_statuses(make: Made, status: int, kind: type[ModelError]) -> None:
    fake = FakeOpenAI([answer("x")] * 3, faults=[faults.Fault(kind="status", status=status)] * 3)

    with pytest.raises(kind, match="injected") as raised:
        ask(make, fake, HI)
    assert raised.value.status == status
