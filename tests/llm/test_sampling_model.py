"""Models across MCP: a handler that uses its client's model, and a client that answers with one of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faults.loops import Run
from llm.provider import Told
from taut import Client, Context, Server, models
from taut.errors import (
    ConfigError,
    ConnectionClosed,
    InvalidModelAnswer,
    ModelRefused,
    ModelUnavailable,
    RemoteError,
    RequestTimeout,
)
from taut.llm import (
    Audio,
    Image,
    Message,
    ModelRequest,
    ModelResponse,
    ModelSettings,
    OnEvent,
    SamplingModel,
    Text,
    TextDelta,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    assistant,
    ignore,
    sampling_answerer,
    tool_results,
    user,
)

ADD = ToolSpec("add", "Add.", {"properties": {"a": {"type": "integer"}}})
TOOLS = models.ClientCapabilities(sampling=models.SamplingCapability(tools={}))


class Answering:
    """A model that gives one answer, and keeps what it was asked."""

    name = "answering"

    def __init__(self, response: ModelResponse) -> None:
        self.response = response
        self.asked: list[ModelRequest] = []

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        self.asked.append(request)
        return self.response

    async def close(self) -> None:
        """Nothing to do."""


class Asking:
    """What a handler's context does for a model."""

    def __init__(self, result: models.CreateMessageResult | Exception) -> None:
        self.result = result
        self.asked: list[dict[str, Any]] = []

    async def __call__(
        self, messages: list[models.SamplingMessage], **options: Any
    ) -> models.CreateMessageResult:
        self.asked.append({"messages": messages, **options})
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def result(*content: Any, stop: str | None = "endTurn") -> models.CreateMessageResult:
    blocks = list(content) or [models.TextContent("Hello")]
    return models.CreateMessageResult(
        role="assistant",
        content=blocks[0] if len(blocks) == 1 else blocks,
        model="theirs-1",
        stop_reason=models.UNSET if stop is None else stop,
    )


def test_what_the_client_is_asked() -> None:
    ask = Asking(result())
    preferences = models.ModelPreferences(speed_priority=1.0)
    model = SamplingModel(ask, tool_mode="native", preferences=preferences)
    request = ModelRequest(
        messages=[
            user([Text("Hi"), Image("AA", "image/png")]),
            Message("assistant", (Thinking("hm"),)),
            Message("assistant", (Thinking("hm"), Text("One."), ToolCall("c", "add", {"a": 1}))),
            tool_results(ToolResult("c", "add", "no", is_error=True)),
        ],
        instructions="Be brief.",
        tools=[ADD],
        tool_choice="required",
        settings=ModelSettings(temperature=0.0, max_tokens=5, stop=("END",), extra={"tier": "x"}),
    )

    response = asyncio.run(model.respond(request))

    assert response.message == assistant("Hello")
    assert response.model == "theirs-1"
    assert response.usage == Usage(requests=1, cost=None)
    assert ask.asked == [
        {
            "messages": [
                models.SamplingMessage(
                    "user", [models.TextContent("Hi"), models.ImageContent("AA", "image/png")]
                ),
                models.SamplingMessage(
                    "assistant", [models.TextContent("One."), models.ToolUseContent("c", "add", {"a": 1})]
                ),
                models.SamplingMessage(
                    "user",
                    models.ToolResultContent("c", [models.TextContent("Error: no")], is_error=True),
                ),
            ],
            "max_tokens": 5,
            "system_prompt": "Be brief.",
            "temperature": 0.0,
            "stop_sequences": ["END"],
            "model_preferences": preferences,
            "tools": [
                models.Tool(
                    "add", {"type": "object", "properties": {"a": {"type": "integer"}}}, description="Add."
                )
            ],
            "tool_choice": models.ToolChoice("required"),
            "metadata": {"tier": "x"},
        }
    ]


def test_what_is_left_open_is_not_said() -> None:
    ask = Asking(result())

    asyncio.run(SamplingModel(ask).respond(ModelRequest(messages=[user("Hi")])))

    assert ask.asked == [
        {"messages": [models.SamplingMessage("user", models.TextContent("Hi"))], "max_tokens": 1024}
    ]


def test_a_certain_tool_is_asked_for_by_giving_no_other() -> None:
    ask = Asking(result())
    other = ToolSpec("other", "", {})
    request = ModelRequest(messages=[user("Hi")], tools=[other, ADD], tool_choice="add")

    asyncio.run(SamplingModel(ask, tool_mode="native").respond(request))

    assert [tool.name for tool in ask.asked[0]["tools"]] == ["add"]
    assert ask.asked[0]["tool_choice"] == models.ToolChoice("required")


def test_a_schema_is_told_in_words() -> None:
    ask = Asking(result(models.TextContent("{}")))
    request = ModelRequest(messages=[user("Hi")], output_schema={"type": "object"})

    asyncio.run(SamplingModel(ask).respond(request))

    assert ask.asked[0]["system_prompt"] == (
        'Your answer must be JSON of this JSON Schema, and nothing else:\n{"type":"object"}'
    )


def test_tools_as_json() -> None:
    ask = Asking(result(models.TextContent('{"tool": "add", "arguments": {"a": 1}}')))
    request = ModelRequest(messages=[user("Hi")], tools=[ADD])

    response = asyncio.run(SamplingModel(ask).respond(request))

    assert response.message == assistant(ToolCall("call_1", "add", {"a": 1}))
    assert "tools" not in ask.asked[0]
    assert '"const":"add"' in ask.asked[0]["system_prompt"]


@pytest.mark.parametrize(
    ("content", "stop", "message", "reason"),
    [
        ((), "endTurn", assistant("Hello"), "stop"),
        ((), None, assistant("Hello"), "stop"),
        ((), "stopSequence", assistant("Hello"), "stop"),
        ((), "maxTokens", assistant("Hello"), "length"),
        ((), "tired", assistant("Hello"), "other"),
        (
            (models.TextContent("a"), models.ToolUseContent("c", "add", {})),
            "toolUse",
            assistant("a", ToolCall("c", "add", {})),
            "tool_calls",
        ),
        ((models.ToolUseContent("c", "add", {}),), None, assistant(ToolCall("c", "add", {})), "tool_calls"),
        (
            (models.ImageContent("AA", "image/png"), models.AudioContent("BB", "audio/wav")),
            "endTurn",
            assistant(Image("AA", "image/png"), Audio("BB", "audio/wav")),
            "stop",
        ),
    ],
)
def test_what_the_client_answers(content: Any, stop: str | None, message: Message, reason: str) -> None:
    told = Told()

    response = asyncio.run(
        SamplingModel(Asking(result(*content, stop=stop))).respond(ModelRequest(messages=[user("Hi")]), told)
    )

    assert response.message == message
    assert response.stop_reason == reason
    assert told.events == ([TextDelta(message.text)] if message.text else [])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RemoteError("User rejected sampling request", code=-1), ModelRefused),
        (RequestTimeout("sampling/createMessage", 5), ModelUnavailable),
        (ConnectionClosed(), ModelUnavailable),
    ],
)
def test_a_client_that_does_not_answer(error: Exception, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="the client's model"):
        asyncio.run(SamplingModel(Asking(error)).respond(ModelRequest(messages=[user("Hi")])))


def test_an_answer_that_is_none() -> None:
    odd = result(models.ToolResultContent("c", []))

    with pytest.raises(InvalidModelAnswer, match="got ToolResultContent"):
        asyncio.run(SamplingModel(Asking(odd)).respond(ModelRequest(messages=[user("Hi")])))


def test_a_mode_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="tool_mode"):
        SamplingModel(Asking(result()), tool_mode="xml")  # type: ignore[arg-type]


# -- both ends


def app_of(request: ModelRequest, answers: list[ModelResponse]) -> Server:
    app = Server("asks")

    @app.tool
    async def think(ctx: Context) -> str:
        response = await SamplingModel.of(ctx).respond(request)
        answers.append(response)
        return response.message.text

    return app


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
def test_a_handler_uses_the_model_of_its_client(run: Run, era: str) -> None:
    async def main() -> None:
        ours = Answering(ModelResponse(message=assistant("Hello"), model="ours-1"))
        answers: list[ModelResponse] = []
        request = ModelRequest(
            messages=[user("Hi"), assistant("Yes?"), user("Who?")],
            instructions="Be brief.",
            settings=ModelSettings(max_tokens=7, temperature=0.5, stop=("END",)),
        )
        answerer = sampling_answerer(ours, settings=ModelSettings(seed=1, max_tokens=9))
        async with Client(app_of(request, answers), mode=era, sampling=answerer) as client:
            told = await client.call_tool("think")
        assert told.content == [models.TextContent("Hello")]
        assert answers[0].model == "ours-1"
        (asked,) = ours.asked
        assert asked.messages == request.messages
        assert asked.instructions == "Be brief."
        assert asked.settings == ModelSettings(max_tokens=7, temperature=0.5, stop=("END",), seed=1)

    run(main())


@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
def test_tools_go_through_where_they_are_declared(run: Run, era: str) -> None:
    async def main() -> None:
        call = ToolCall("c2", "add", {"a": 2})
        ours = Answering(ModelResponse(message=assistant("Two.", call), stop_reason="tool_calls"))
        answers: list[ModelResponse] = []
        request = ModelRequest(
            messages=[
                user("Hi"),
                assistant(ToolCall("c1", "add", {"a": 1})),
                tool_results(ToolResult("c1", "add", (Text("1"), Image("AA", "image/png")))),
            ],
            tools=[ADD],
            tool_choice="required",
        )
        answerer = sampling_answerer(ours)
        async with Client(
            app_of(request, answers), mode=era, sampling=answerer, capabilities=TOOLS
        ) as client:
            await client.call_tool("think")
        assert answers[0].message == assistant("Two.", call)
        assert answers[0].stop_reason == "tool_calls"
        (asked,) = ours.asked
        assert [tool.name for tool in asked.tools] == ["add"]
        assert asked.tool_choice == "required"
        assert asked.messages == request.messages

    run(main())


def test_without_that_capability_calls_are_written_as_json(run: Run) -> None:
    async def main() -> None:
        ours = Answering(ModelResponse(message=assistant('{"tool":"add","arguments":{"a":1}}')))
        answers: list[ModelResponse] = []
        request = ModelRequest(messages=[user("Hi")], tools=[ADD])
        async with Client(app_of(request, answers), sampling=sampling_answerer(ours)) as client:
            await client.call_tool("think")
        assert answers[0].message == assistant(ToolCall("call_1", "add", {"a": 1}))
        assert ours.asked[0].tools == []

    run(main())


def test_a_model_that_fails_is_a_refusal_to_the_handler(run: Run) -> None:
    class Failing(Answering):
        async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
            raise ModelUnavailable("busy")

    app = Server("asks")
    seen: list[Exception] = []

    @app.tool
    async def think(ctx: Context) -> str:
        try:
            await SamplingModel.of(ctx).respond(ModelRequest(messages=[user("Hi")]))
        except ModelRefused as error:
            seen.append(error)
        return "done"

    async def main() -> None:
        failing = Failing(ModelResponse(message=assistant("")))
        async with Client(app, mode="legacy", sampling=sampling_answerer(failing)) as client:
            await client.call_tool("think")
        assert len(seen) == 1

    run(main())


@pytest.mark.parametrize(
    ("response", "content", "stop"),
    [
        (ModelResponse(message=assistant()), models.TextContent(""), "endTurn"),
        (
            ModelResponse(message=Message("assistant", (Thinking("hm"), Text("a"))), stop_reason="length"),
            models.TextContent("a"),
            "maxTokens",
        ),
        (ModelResponse(message=assistant("a"), stop_reason="refusal"), models.TextContent("a"), "refusal"),
    ],
)
def test_what_the_server_is_answered(response: ModelResponse, content: Any, stop: str) -> None:
    params = models.CreateMessageParams(
        messages=[models.SamplingMessage("user", models.TextContent("Hi"))], max_tokens=5
    )

    answered = asyncio.run(sampling_answerer(Answering(response))(params))

    assert answered.content == content
    assert answered.stop_reason == stop
    assert answered.model == "answering"


def test_resources_in_results_are_text_to_a_model() -> None:
    blocks: list[Any] = [
        models.EmbeddedResource(models.ResourceContents("a://b", text="inside")),
        models.ResourceLink("a://c", "c"),
        models.UnknownContent({"type": "video", "url": "v"}),
    ]
    params = models.CreateMessageParams(
        messages=[
            models.SamplingMessage("assistant", models.ToolUseContent("c", "add", {})),
            models.SamplingMessage("user", models.ToolResultContent("c", blocks)),
        ],
        max_tokens=5,
    )
    ours = Answering(ModelResponse(message=assistant("ok")))

    asyncio.run(sampling_answerer(ours)(params))

    (seen,) = ours.asked[0].messages[1].content
    assert isinstance(seen, ToolResult)
    assert seen.name == "add"
    assert seen.text == 'inside\nc: a://c\n{"type":"video","url":"v"}'
