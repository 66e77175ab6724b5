"""Anthropic's Messages format: what is sent, and what is made of its events."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.provider import Told, encoded, read, sse
from taut.errors import InvalidModelAnswer, ModelRefused, ModelUnavailable
from taut.llm import (
    Audio,
    Image,
    Message,
    ModelRequest,
    ModelSettings,
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
from taut.llm.anthropic_messages import MessagesReader, messages_body

WEATHER = ToolSpec("weather", "The weather.", {"properties": {"city": {"type": "string"}}})


def start(**usage: Any) -> dict[str, Any]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "claude-opus-4-5-20251101",
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1, **usage},
    }
    return {"type": "message_start", "message": message}


def block(index: int, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": members}


def more(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def end(reason: str = "end_turn", **usage: Any) -> list[dict[str, Any]]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 15, **usage}},
        {"type": "message_stop"},
    ]


STREAM = sse(
    start(cache_creation_input_tokens=7, cache_read_input_tokens=100),
    {"type": "ping"},
    block(0, type="thinking", thinking="", signature=""),
    more(0, type="thinking_delta", thinking="It is "),
    more(0, type="thinking_delta", thinking="wet."),
    more(0, type="signature_delta", signature="EqQB"),
    stop(0),
    block(1, type="redacted_thinking", data="EmwK"),
    stop(1),
    block(2, type="text", text=""),
    more(2, type="text_delta", text="Let me "),
    more(2, type="text_delta", text="see: ☔"),
    stop(2),
    block(3, type="tool_use", id="toolu_1", name="weather", input={}),
    more(3, type="input_json_delta", partial_json=""),
    more(3, type="input_json_delta", partial_json='{"city": '),
    more(3, type="input_json_delta", partial_json='"Oslo"}'),
    stop(3),
    *end("tool_use", output_tokens_details={"thinking_tokens": 4}),
    names=True,
)
PARTS = (
    Thinking("It is wet.", "anthropic:EqQB"),
    Thinking("", "anthropic-redacted:EmwK"),
    Text("Let me see: ☔"),
    ToolCall("toolu_1", "weather", {"city": "Oslo"}),
)


def body(request: ModelRequest, **options: Any) -> dict[str, Any]:
    fixed = {"who": "test", "model": "m", "stream": False, "max_tokens": 100}
    return messages_body(request, request.settings, **{**fixed, **options})


def sent(*messages: Message, **options: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = body(ModelRequest(messages=messages), **options)["messages"]
    return made


def test_a_request_in_full() -> None:
    request = ModelRequest(
        messages=[user([Text("Hi"), Image("AA", "image/png")])],
        instructions="Be brief.",
        tools=[WEATHER],
        tool_choice="weather",
        output_schema={"type": "object", "properties": {"x": {"type": "integer", "minimum": 1}}},
        settings=ModelSettings(
            temperature=0.5,
            top_p=0.9,
            max_tokens=9,
            stop=("END",),
            effort="low",
            parallel_tool_calls=False,
            extra={"metadata": {"user_id": "u"}},
        ),
    )

    assert body(request, stream=True, thinking={"type": "adaptive"}) == {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hi"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
                ],
            }
        ],
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [
            {
                "name": "weather",
                "description": "The weather.",
                "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
            }
        ],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        "output_config": {
            "effort": "low",
            "format": {
                "type": "json_schema",
                "schema": {
                    "type": "object",
                    "properties": {"x": {"type": "integer", "description": "(minimum: 1)"}},
                    "additionalProperties": False,
                },
            },
        },
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "thinking": {"type": "adaptive"},
        "metadata": {"user_id": "u"},
        "stream": True,
    }


def test_a_limit_is_always_sent() -> None:
    assert body(ModelRequest(messages=[]))["max_tokens"] == 100


@pytest.mark.parametrize(
    ("choice", "parallel", "said"),
    [
        ("auto", None, None),
        ("auto", True, {"type": "auto", "disable_parallel_tool_use": False}),
        ("required", None, {"type": "any"}),
        ("none", False, {"type": "none"}),
    ],
)
def test_tool_choice(choice: str, parallel: bool | None, said: dict[str, Any] | None) -> None:
    settings = ModelSettings(parallel_tool_calls=parallel)
    request = ModelRequest(messages=[], tools=[WEATHER], tool_choice=choice, settings=settings)

    assert body(request).get("tool_choice") == said


def test_a_conversation_with_calls() -> None:
    messages = sent(
        user("Hi"),
        Message("assistant", PARTS),
        tool_results(
            ToolResult("toolu_1", "weather", "none", is_error=True),
            ToolResult("call:2", "draw", (Text("a cat"), Text(""), Image("AA", "image/png"))),
        ),
        user("And now?"),
    )

    assert messages[1] == {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "It is wet.", "signature": "EqQB"},
            {"type": "redacted_thinking", "data": "EmwK"},
            {"type": "text", "text": "Let me see: ☔"},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
        ],
    }
    assert messages[2]["role"] == "user"
    assert messages[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "none", "is_error": True},
        {
            "type": "tool_result",
            "tool_use_id": "call_2",
            "content": [
                {"type": "text", "text": "a cat"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
            ],
        },
        {"type": "text", "text": "And now?"},
    ]
    assert len(messages) == 3


def test_what_is_empty_is_left_out() -> None:
    assert [turn["role"] for turn in sent(user("Hi"), assistant(""), user("Hello?"))] == ["user"]


@pytest.mark.parametrize("signature", [None, 'openai:{"id":"rs"}', "EqQB"])
def test_thinking_of_others_is_left_out(signature: str | None) -> None:
    (turn,) = sent(Message("assistant", (Thinking("hm", signature), Text("Yes"))))

    assert turn["content"] == [{"type": "text", "text": "Yes"}]


def test_malformed_arguments_go_back_as_an_object() -> None:
    (turn,) = sent(assistant(ToolCall("c", "weather", {}, malformed="{")))

    assert turn["content"][0]["input"] == {"malformed": "{"}


def test_sound_is_refused() -> None:
    with pytest.raises(ModelRefused, match="expected no Audio"):
        sent(user([Audio("AA", "audio/wav")]))


@pytest.mark.parametrize(
    ("cache", "mark"), [("5m", {"type": "ephemeral"}), ("1h", {"type": "ephemeral", "ttl": "1h"})]
)
def test_the_cache_is_marked_where_what_stays_the_same_ends(cache: str, mark: dict[str, str]) -> None:
    request = ModelRequest(messages=[user("a"), assistant("b"), user("c")], instructions="i", tools=[WEATHER])

    made = body(request, cache=cache)

    assert made["system"][-1]["cache_control"] == mark
    assert "cache_control" not in made["tools"][-1]
    assert made["messages"][-1]["content"][-1]["cache_control"] == mark
    assert encoded(made).count(b"cache_control") == 2


def test_without_instructions_the_tools_are_marked() -> None:
    made = body(ModelRequest(messages=[user("a")], tools=[WEATHER]), cache="5m")

    assert "cache_control" in made["tools"][-1]


def test_without_a_cache_nothing_is_marked() -> None:
    assert b"cache_control" not in encoded(body(ModelRequest(messages=[user("a")], instructions="i")))


@pytest.mark.parametrize("piece", [None, 1, 2, 3, 7, 100])
def test_a_stream(piece: int | None) -> None:
    told = Told()

    answer = read(MessagesReader("test", told), STREAM, piece=piece)

    assert answer.message == Message("assistant", PARTS)
    assert answer.stop_reason == "tool_calls"
    assert answer.model == "claude-opus-4-5-20251101"
    assert answer.usage == Usage(
        input_tokens=132,
        output_tokens=15,
        cached_tokens=100,
        cache_write_tokens=7,
        thinking_tokens=4,
        requests=1,
        cost=None,
    )
    assert told.text(TextDelta) == "Let me see: ☔"
    assert told.text(ThinkingDelta) == "It is wet."
    assert told.of(ToolCallDelta) == [
        ToolCallDelta("toolu_1", "weather", ""),
        ToolCallDelta("toolu_1", "weather", '{"city": '),
        ToolCallDelta("toolu_1", "weather", '"Oslo"}'),
    ]


def test_an_answer_in_one_piece() -> None:
    told = Told()
    reader = MessagesReader("test", told)

    reader.whole(
        encoded(
            {
                **start(cache_creation_input_tokens=7, cache_read_input_tokens=100)["message"],
                "content": [
                    {"type": "thinking", "thinking": "It is wet.", "signature": "EqQB"},
                    {"type": "redacted_thinking", "data": "EmwK"},
                    {"type": "text", "text": "Let me see: ☔"},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
                ],
                "stop_reason": "tool_use",
            }
        )
    )

    assert reader.finish().message == Message("assistant", PARTS)
    assert told.text(TextDelta) == "Let me see: ☔"
    assert told.of(ToolCallDelta)[-1] == ToolCallDelta("toolu_1", "weather", '{"city":"Oslo"}')


def test_a_call_without_arguments() -> None:
    stream = sse(start(), block(0, type="tool_use", id="t", name="now", input={}), stop(0), *end("tool_use"))

    assert read(MessagesReader("test", ignore), stream).message.tool_calls == (ToolCall("t", "now", {}),)


def test_arguments_that_are_cut_by_the_limit() -> None:
    stream = sse(
        start(),
        block(0, type="tool_use", id="t", name="now", input={}),
        more(0, type="input_json_delta", partial_json='{"a": '),
        *end("max_tokens"),
    )

    answer = read(MessagesReader("test", ignore), stream)

    assert answer.stop_reason == "length"
    assert answer.message.tool_calls == (ToolCall("t", "now", {}, malformed='{"a": '),)


def test_tools_that_run_at_the_provider_are_not_ours() -> None:
    stream = sse(
        start(),
        block(0, type="server_tool_use", id="s", name="web_search", input={}),
        more(0, type="input_json_delta", partial_json='{"query": "x"}'),
        stop(0),
        block(1, type="web_search_tool_result", tool_use_id="s", content=[]),
        stop(1),
        block(2, type="text", text="Found."),
        more(2, type="citations_delta", citation={}),
        stop(2),
        *end(),
    )

    assert read(MessagesReader("test", ignore), stream).message == assistant("Found.")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "other"),
        ("later", "other"),
    ],
)
def test_reasons_to_stop(said: str, reason: str) -> None:
    stream = sse(start(), block(0, type="text", text="Hi"), *end(said))

    assert read(MessagesReader("test", ignore), stream).stop_reason == reason


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("overloaded_error", ModelUnavailable),
        ("api_error", ModelUnavailable),
        ("rate_limit_error", ModelUnavailable),
        ("invalid_request_error", ModelRefused),
        ("authentication_error", ModelRefused),
    ],
)
def test_errors_within_a_stream(type: str, kind: type[Exception]) -> None:
    error = {"type": "error", "error": {"type": type, "message": "said"}}

    with pytest.raises(kind, match="said"):
        read(MessagesReader("test", ignore), sse(start(), error, names=True))


def test_an_overload_has_its_status() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    with pytest.raises(ModelUnavailable) as raised:
        read(MessagesReader("test", ignore), sse(error))

    assert raised.value.status == 529


def test_a_stream_that_is_cut_is_no_answer() -> None:
    with pytest.raises(ModelUnavailable, match="a stream that ended before its end"):
        read(MessagesReader("test", ignore), STREAM[: STREAM.index(b"event: message_stop")])


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([more(0, type="text_delta", text="x")], "expected a block to start at index 0"),
        ([block(0, type="text", text=""), block(0, type="text", text="")], "expected a new block to start"),
        (
            [block(0, type="text", text=""), more(0, type="thinking_delta", thinking="x")],
            "more of the text block",
        ),
        ([block(0, type="thinking"), more(0, type="text_delta", text="x")], "more of the thinking block"),
        ([block(0, type="tool_use", id="", name="x", input={})], "with its id and name"),
        ([{"type": "content_block_start", "index": 0}], "expected a new block"),
        ([{"type": "error", "error": {}}], "an error with a message"),
    ],
)
def test_events_that_make_no_sense(events: list[Any], said: str) -> None:
    with pytest.raises(InvalidModelAnswer, match=said):
        read(MessagesReader("test", ignore), sse(start(), *events))


def test_what_is_no_message() -> None:
    with pytest.raises(InvalidModelAnswer, match="a message with content"):
        MessagesReader("test", ignore).whole(b'{"type": "message"}')


def test_no_usage_at_all() -> None:
    reader = MessagesReader("test", ignore)
    reader.whole(b'{"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}')

    assert reader.finish().usage == Usage(requests=1, cost=None)


@given(st.lists(st.sampled_from(STREAM.split(b"\n\n")), max_size=12))
def test_events_in_any_order_are_an_answer_or_a_model_error(events: list[bytes]) -> None:
    with contextlib.suppress(InvalidModelAnswer, ModelUnavailable, ModelRefused):
        read(MessagesReader("test", ignore), b"".join(one + b"\n\n" for one in events))
