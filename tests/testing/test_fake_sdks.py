"""The fake server against the SDKs of OpenAI and Anthropic, which know the wire formats best."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

from taut.llm.messages import Message, Text, Thinking, ToolCall, ToolResult, Usage, assistant, user
from taut.llm.model import ModelResponse, StopReason
from taut.testing import FakeOpenAI, Fault, call
from taut.testing.fake_openai import faults

pytestmark = pytest.mark.interop

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
CALLS = [call("add", a=1, b="x y"), call("add", a=2, b="z")]
USAGE = Usage(100, 20, cached_tokens=30, cache_write_tokens=10, thinking_tokens=5, requests=1)


@functools.cache
def sdks() -> tuple[Any, Any]:
    """Return both SDKs, which take seconds to import."""
    return pytest.importorskip("openai"), pytest.importorskip("anthropic")


def response(*parts: Any, reason: StopReason = "stop") -> ModelResponse:
    return ModelResponse(message=assistant(*parts), usage=USAGE, stop_reason=reason)


def run(fake: FakeOpenAI, work: Any) -> Any:
    """Return what ``work`` makes of a client of each SDK's, in the server's own loop; what is left open is an error."""

    openai, anthropic = sdks()

    async def inside() -> Any:
        async with (
            fake,
            openai.AsyncOpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=2) as ours,
            anthropic.AsyncAnthropic(base_url=fake.origin, api_key="sk-test", max_retries=2) as theirs,
        ):
            return await work(ours, theirs)

    return asyncio.run(inside())


CHAT_TOOL = {
    "type": "function",
    "function": {"name": "add", "description": "Add.", "parameters": SCHEMA, "strict": True},
}
RESPONSES_TOOL = {
    "type": "function",
    "name": "add",
    "description": "Add.",
    "parameters": SCHEMA,
    "strict": True,
}
MESSAGES_TOOL = {"name": "add", "description": "Add.", "input_schema": SCHEMA}


class TestChatCompletions:
    def test_tools_are_called_and_answered(self) -> None:
        async def work(client: Any, _: Any) -> None:
            said: list[Any] = [{"role": "system", "content": "Add."}, {"role": "user", "content": "go"}]
            first = await client.chat.completions.create(model="m", messages=said, tools=[CHAT_TOOL])
            (choice,) = first.choices
            assert choice.finish_reason == "tool_calls"
            assert [made.function.arguments for made in choice.message.tool_calls] == [
                '{"a":1,"b":"x y"}',
                '{"a":2,"b":"z"}',
            ]
            said.append(choice.message.model_dump(exclude_none=True))
            said += [
                {"role": "tool", "tool_call_id": made.id, "content": "3"}
                for made in choice.message.tool_calls
            ]
            second = await client.chat.completions.create(model="m", messages=said, tools=[CHAT_TOOL])
            assert second.choices[0].message.content == "It is 3."
            assert second.usage.prompt_tokens_details.cached_tokens == 30
            assert second.usage.completion_tokens_details.reasoning_tokens == 5
            assert second.usage.total_tokens == 120

        fake = FakeOpenAI([CALLS, response("It is 3.")])
        run(fake, work)
        last = fake.seen[-1].request
        assert last is not None
        assert last.instructions == "Add."
        assert [message.role for message in last.messages] == ["user", "assistant", "tool"]
        assert last.messages[1].tool_calls[0] == ToolCall("call_1", "add", {"a": 1, "b": "x y"})
        assert last.messages[2].content == (
            ToolResult("call_1", "add", "3"),
            ToolResult("call_2", "add", "3"),
        )
        assert fake.seen[-1].headers["authorization"] == "Bearer ***"

    def test_a_stream_adds_up(self) -> None:
        async def work(client: Any, _: Any) -> Any:
            async with client.chat.completions.stream(
                model="m",
                messages=[{"role": "user", "content": "go"}],
                tools=[CHAT_TOOL],
                stream_options={"include_usage": True},
            ) as stream:
                kinds = [event.type async for event in stream]
                return kinds, await stream.get_final_completion()

        kinds, final = run(FakeOpenAI([response("I will add.", *CALLS, reason="tool_calls")]), work)
        assert {"content.delta", "content.done", "tool_calls.function.arguments.done"} <= set(kinds)
        (choice,) = final.choices
        assert (choice.message.content, choice.finish_reason) == ("I will add.", "tool_calls")
        assert [made.function.parsed_arguments for made in choice.message.tool_calls] == [
            {"a": 1, "b": "x y"},
            {"a": 2, "b": "z"},
        ]
        assert final.usage.total_tokens == 120

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_refusal_is_one(self, stream: bool) -> None:
        async def work(client: Any, _: Any) -> Any:
            said = [{"role": "user", "content": "go"}]
            if not stream:
                return await client.chat.completions.create(model="m", messages=said)
            async with client.chat.completions.stream(model="m", messages=said) as events:
                return await events.get_final_completion()

        got = run(FakeOpenAI([response("I will not.", reason="refusal")]), work)
        assert (got.choices[0].message.refusal, got.choices[0].message.content) == ("I will not.", None)

    def test_structured_output_is_asked_for(self) -> None:
        from pydantic import BaseModel

        class Answer(BaseModel):
            a: int

        async def work(client: Any, _: Any) -> Any:
            return await client.chat.completions.parse(
                model="m", messages=[{"role": "user", "content": "go"}], response_format=Answer
            )

        fake = FakeOpenAI(['{"a": 3}'])
        assert run(fake, work).choices[0].message.parsed == Answer(a=3)
        assert fake.seen[0].request is not None
        assert fake.seen[0].request.output_schema is not None
        assert fake.seen[0].request.output_schema["properties"]["a"]["type"] == "integer"


class TestResponses:
    def test_tools_are_called_and_answered(self) -> None:
        async def work(client: Any, _: Any) -> None:
            said: list[Any] = [{"role": "user", "content": "go"}]
            first = await client.responses.create(
                model="m", instructions="Add.", input=said, tools=[RESPONSES_TOOL]
            )
            assert [item.type for item in first.output] == [
                "reasoning",
                "message",
                "function_call",
                "function_call",
            ]
            assert first.output_text == "I will."
            said += [item.model_dump(exclude_none=True) for item in first.output]
            said += [
                {"type": "function_call_output", "call_id": item.call_id, "output": "3"}
                for item in first.output
                if item.type == "function_call"
            ]
            second = await client.responses.create(model="m", input=said, tools=[RESPONSES_TOOL])
            assert (second.status, second.output_text) == ("completed", "It is 3.")
            assert second.usage.output_tokens_details.reasoning_tokens == 5
            assert second.usage.input_tokens_details.cached_tokens == 30

        fake = FakeOpenAI([[Thinking("hm", "sig"), "I will.", *CALLS], response("It is 3.")])
        run(fake, work)
        assert fake.seen[0].request is not None
        assert fake.seen[0].request.instructions == "Add."
        last = fake.seen[-1].request
        assert last is not None
        assert last.messages == (
            user("go"),
            assistant(
                Thinking("hm", "sig"),
                "I will.",
                ToolCall("call_1", "add", {"a": 1, "b": "x y"}),
                ToolCall("call_2", "add", {"a": 2, "b": "z"}),
            ),
            Message("tool", (ToolResult("call_1", "add", "3"), ToolResult("call_2", "add", "3"))),
        )

    def test_a_stream_adds_up(self) -> None:
        async def work(client: Any, _: Any) -> Any:
            async with client.responses.stream(model="m", input="go", tools=[RESPONSES_TOOL]) as stream:
                events = [event async for event in stream]
                return events, await stream.get_final_response()

        said = response(Thinking("hm hm", "sig"), "I will add.", *CALLS, reason="tool_calls")
        events, final = run(FakeOpenAI([said]), work)
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == final.output_text == "I will add."
        thought = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
        assert thought == ["hm ", "hm"]
        calls = [item for item in final.output if item.type == "function_call"]
        assert [made.parsed_arguments for made in calls] == [{"a": 1, "b": "x y"}, {"a": 2, "b": "z"}]
        assert final.usage.total_tokens == 120
        # The last event has all that was built from the others.
        assert [item.id for item in final.output] == [item.id for item in events[-1].response.output]

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize(
        ("reason", "status"), [("length", "incomplete"), ("refusal", "completed"), ("stop", "completed")]
    )
    def test_why_it_ends(self, reason: StopReason, status: str, stream: bool) -> None:
        async def work(client: Any, _: Any) -> Any:
            if not stream:
                return await client.responses.create(model="m", input="go")
            return [
                event async for event in await client.responses.create(model="m", input="go", stream=True)
            ][-1].response

        got = run(FakeOpenAI([response("text", reason=reason)]), work)
        assert got.status == status
        (content,) = got.output[0].content
        assert content.type == ("refusal" if reason == "refusal" else "output_text")


class TestMessages:
    def test_tools_are_called_and_answered(self) -> None:
        async def work(_: Any, client: Any) -> None:
            said: list[Any] = [{"role": "user", "content": "go"}]
            first = await client.messages.create(
                model="m", max_tokens=100, system="Add.", messages=said, tools=[MESSAGES_TOOL]
            )
            assert first.stop_reason == "tool_use"
            assert [block.type for block in first.content] == ["thinking", "text", "tool_use", "tool_use"]
            said.append(first.to_param())
            results = [
                {"type": "tool_result", "tool_use_id": id, "content": "3", "is_error": id == "call_2"}
                for id in (block.id for block in first.content if block.type == "tool_use")
            ]
            said.append({"role": "user", "content": results})
            second = await client.messages.create(
                model="m", max_tokens=100, messages=said, tools=[MESSAGES_TOOL]
            )
            assert (second.stop_reason, second.content[0].text) == ("end_turn", "It is 3.")
            assert second.usage.input_tokens == 60
            assert second.usage.cache_read_input_tokens == 30
            assert second.usage.cache_creation_input_tokens == 10
            assert second.usage.output_tokens_details.thinking_tokens == 5

        fake = FakeOpenAI([[Thinking("hm", "sig"), "I will.", *CALLS], response("It is 3.")])
        run(fake, work)
        last = fake.seen[-1].request
        assert last is not None
        assert last.messages[1].content[:2] == (Thinking("hm", "sig"), Text("I will."))
        assert last.messages[2].content == (
            ToolResult("call_1", "add", "3"),
            ToolResult("call_2", "add", "3", is_error=True),
        )
        assert "sk-test" not in str(fake.seen[-1].headers)

    def test_a_stream_adds_up(self) -> None:
        async def work(_: Any, client: Any) -> Any:
            async with client.messages.stream(
                model="m", max_tokens=100, messages=[{"role": "user", "content": "go"}], tools=[MESSAGES_TOOL]
            ) as stream:
                texts = [text async for text in stream.text_stream]
                return texts, await stream.get_final_message()

        said = response(Thinking("hm hm", "sig"), "I will add.", *CALLS, reason="tool_calls")
        texts, final = run(FakeOpenAI([said]), work)
        assert texts == ["I ", "will ", "add."]
        thought, text, first, second = final.content
        assert (thought.thinking, thought.signature, text.text) == ("hm hm", "sig", "I will add.")
        assert [first.input, second.input] == [{"a": 1, "b": "x y"}, {"a": 2, "b": "z"}]
        assert (final.stop_reason, final.usage.output_tokens) == ("tool_use", 20)

    @pytest.mark.parametrize(("reason", "expected"), [("length", "max_tokens"), ("refusal", "refusal")])
    def test_why_it_ends(self, reason: StopReason, expected: str) -> None:
        async def work(_: Any, client: Any) -> Any:
            said = [{"role": "user", "content": "go"}]
            return await client.messages.create(model="m", max_tokens=100, messages=said)

        assert run(FakeOpenAI([response("text", reason=reason)]), work).stop_reason == expected


class TestModels:
    def test_they_are_listed_for_both(self) -> None:
        async def work(ours: Any, theirs: Any) -> Any:
            return (
                [model.id async for model in ours.models.list()],
                (await ours.models.retrieve("large")).id,
                [model.id async for model in theirs.models.list()],
                (await theirs.models.retrieve("large")).display_name,
            )

        names = ("small", "large")
        assert run(FakeOpenAI(models=names), work) == (list(names), "large", list(names), "large")


async def ask(ours: Any, theirs: Any, sdk: str, *, stream: bool = False) -> Any:
    """Ask by the chat completions of one SDK, or by the messages of the other."""
    said = [{"role": "user", "content": "go"}]
    if sdk == "openai":
        got = await ours.chat.completions.create(model="m", messages=said, stream=stream)
    else:
        got = await theirs.messages.create(model="m", max_tokens=100, messages=said, stream=stream)
    return [event async for event in got] if stream else got


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the SDKs try again without a pause."""
    for module in sdks():
        monkeypatch.setattr(module._base_client, "INITIAL_RETRY_DELAY", 0.0)


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
class TestFaults:
    @pytest.mark.parametrize(
        "fault",
        [
            faults.rate_limited(retry_after_ms=1),
            faults.rate_limited(retry_after=0.001),
            faults.server_error(500),
            faults.server_error(503),
            faults.hang_up(),
        ],
    )
    def test_what_is_tried_again(self, sdk: str, fault: Fault) -> None:
        fake = FakeOpenAI(["hello"], faults=[fault])
        got = run(fake, lambda ours, theirs: ask(ours, theirs, sdk))
        assert "hello" in got.model_dump_json()
        assert len(fake.seen) == 2
        assert fake.seen[1].headers["x-stainless-retry-count"] == "1"

    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            (faults.server_error(400), "BadRequestError"),
            (faults.server_error(401), "AuthenticationError"),
            (faults.server_error(403), "PermissionDeniedError"),
            (faults.server_error(404), "NotFoundError"),
        ],
    )
    def test_what_is_not(self, sdk: str, fault: Fault, error: str) -> None:
        module = sdks()[0 if sdk == "openai" else 1]
        with pytest.raises(getattr(module, error), match="The server had an error"):
            run(FakeOpenAI(faults=[fault]), lambda ours, theirs: ask(ours, theirs, sdk))

    def test_a_stream_that_is_cut_is_an_error(self, sdk: str) -> None:
        with pytest.raises(Exception, match=r"peer closed connection|Connection error"):
            run(FakeOpenAI(faults=[faults.cut(2)]), lambda ours, theirs: ask(ours, theirs, sdk, stream=True))

    def test_an_error_in_a_stream_is_one(self, sdk: str) -> None:
        module = sdks()[0 if sdk == "openai" else 1]
        with pytest.raises(module.APIError, match="Overloaded"):
            run(
                FakeOpenAI(faults=[faults.error_event()]),
                lambda ours, theirs: ask(ours, theirs, sdk, stream=True),
            )
