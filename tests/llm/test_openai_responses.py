"""The Responses format: what is sent, and what is made of its events."""

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
from taut.llm.openai_responses import ResponsesReader, responses_body

WEATHER = ToolSpec("weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
USAGE = {
    "input_tokens": 75,
    "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 2},
    "output_tokens": 1186,
    "output_tokens_details": {"reasoning_tokens": 1024},
    "total_tokens": 1261,
}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "It is"}, {"type": "summary_text", "text": "about rain."}],
    "encrypted_content": "gAAAA",
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "It rains.", "annotations": []}],
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_a",
    "name": "weather",
    "arguments": '{"city":"Oslo"}',
}


def response(*output: Any, **more: Any) -> dict[str, Any]:
    base = {"id": "resp_1", "object": "response", "status": "completed", "error": None, "model": "gpt-5"}
    return {**base, "incomplete_details": None, "output": list(output), "usage": USAGE, **more}


def event(type: str, **members: Any) -> dict[str, Any]:
    return {"type": type, "sequence_number": 1, **members}


STREAM = sse(
    event("response.created", response=response(status="in_progress", usage=None)),
    event("response.in_progress", response=response(status="in_progress", usage=None)),
    event("response.output_item.added", output_index=0, item={**REASONING, "summary": []}),
    event("response.reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
    event("response.reasoning_summary_text.delta", output_index=0, summary_index=0, delta="It is"),
    event("response.reasoning_summary_part.added", output_index=0, summary_index=1, part={}),
    event("response.reasoning_summary_text.delta", output_index=0, summary_index=1, delta="about rain."),
    event("response.output_item.done", output_index=0, item=REASONING),
    event("response.output_item.added", output_index=1, item={**MESSAGE, "content": []}),
    event("response.content_part.added", output_index=1, content_index=0, part={"type": "output_text"}),
    event("response.output_text.delta", output_index=1, content_index=0, delta="It ", logprobs=[]),
    event("response.output_text.delta", output_index=1, content_index=0, delta="rains.", logprobs=[]),
    event("response.output_text.done", output_index=1, content_index=0, text="It rains."),
    event("response.output_item.done", output_index=1, item=MESSAGE),
    event("response.output_item.added", output_index=2, item={**CALL, "arguments": ""}),
    event("response.function_call_arguments.delta", output_index=2, delta='{"city"'),
    event("response.function_call_arguments.delta", output_index=2, delta=':"Oslo"}'),
    event("response.function_call_arguments.done", output_index=2, arguments='{"city":"Oslo"}'),
    event("response.output_item.done", output_index=2, item=CALL),
    event("response.completed", response=response(REASONING, MESSAGE, CALL)),
    names=True,
)
PARTS = (
    Thinking("It is\n\nabout rain.", 'openai:{"id":"rs_1","encrypted_content":"gAAAA"}'),
    Text("It rains."),
    ToolCall("call_a", "weather", {"city": "Oslo"}),
)


def body(request: ModelRequest, **more: Any) -> dict[str, Any]:
    return responses_body(
        request, request.settings, **{"who": "test", "model": "gpt-5", "stream": False, **more}
    )


def test_a_request_in_full() -> None:
    request = ModelRequest(
        messages=[user([Text("Hi"), Image("AA", "image/png")])],
        instructions="Be brief.",
        tools=[WEATHER],
        tool_choice="weather",
        output_schema={"type": "object", "properties": {"x": {"type": "integer"}}},
        settings=ModelSettings(
            temperature=0.5, max_tokens=9, effort="high", parallel_tool_calls=True, seed=4
        ),
    )

    assert body(request, stream=True) == {
        "model": "gpt-5",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Hi"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA"},
                ],
            }
        ],
        "instructions": "Be brief.",
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": "The weather.",
                "parameters": WEATHER.input_schema,
                "strict": False,
            }
        ],
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": True,
        "text": {
            "format": {
                "type": "json_schema",
                "name": "answer",
                "schema": {"type": "object", "properties": {"x": {"type": "integer"}}},
                "strict": False,
            }
        },
        "reasoning": {"effort": "high"},
        "temperature": 0.5,
        "max_output_tokens": 9,
        "stream": True,
    }


def test_a_model_that_does_not_think_is_not_asked_for_its_thinking() -> None:
    assert "include" not in body(ModelRequest(messages=[]), model="gpt-4.1")


def test_what_a_model_said_goes_back_item_by_item() -> None:
    request = ModelRequest(
        messages=[
            Message("assistant", PARTS),
            tool_results(
                ToolResult("call_a", "weather", "none", is_error=True),
                ToolResult("call_b", "draw", (Text("a cat"), Image("AA", "image/png"))),
            ),
        ]
    )

    assert body(request)["input"] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "It is\n\nabout rain."}],
            "encrypted_content": "gAAAA",
        },
        {"role": "assistant", "content": "It rains."},
        {
            "type": "function_call",
            "call_id": "call_a",
            "name": "weather",
            "arguments": '{"city":"Oslo"}',
        },
        {"type": "function_call_output", "call_id": "call_a", "output": "Error: none"},
        {
            "type": "function_call_output",
            "call_id": "call_b",
            "output": [
                {"type": "input_text", "text": "a cat"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA"},
            ],
        },
    ]


@pytest.mark.parametrize("signature", [None, "anthropic:x", "openai:{", "EqQB"])
def test_thinking_of_others_is_left_out(signature: str | None) -> None:
    said = Message("assistant", (Thinking("hm", signature), Text("Yes")))

    assert body(ModelRequest(messages=[said]))["input"] == [{"role": "assistant", "content": "Yes"}]


def test_sound_is_refused() -> None:
    with pytest.raises(ModelRefused, match="expected no Audio in a user's message"):
        body(ModelRequest(messages=[user([Audio("AA", "audio/wav")])]))


@pytest.mark.parametrize("piece", [None, 1, 2, 3, 7, 100])
def test_a_stream(piece: int | None) -> None:
    told = Told()

    answer = read(ResponsesReader("test", told), STREAM, piece=piece)

    assert answer.message == Message("assistant", PARTS)
    assert answer.stop_reason == "tool_calls"
    assert answer.model == "gpt-5"
    assert answer.usage == Usage(
        input_tokens=75,
        output_tokens=1186,
        cached_tokens=30,
        cache_write_tokens=2,
        thinking_tokens=1024,
        requests=1,
        cost=None,
    )
    assert told.text(TextDelta) == "It rains."
    assert told.text(ThinkingDelta) == "It is\n\nabout rain."
    assert told.of(ToolCallDelta) == [
        ToolCallDelta("call_a", "weather", ""),
        ToolCallDelta("call_a", "weather", '{"city"'),
        ToolCallDelta("call_a", "weather", ':"Oslo"}'),
    ]


def test_an_answer_in_one_piece() -> None:
    told = Told()
    reader = ResponsesReader("test", told)

    reader.whole(encoded(response(REASONING, MESSAGE, CALL)))

    assert reader.finish().message == Message("assistant", PARTS)
    assert told.text(TextDelta) == "It rains."
    assert told.text(ThinkingDelta) == "It is\n\nabout rain."
    assert told.of(ToolCallDelta) == [ToolCallDelta("call_a", "weather", '{"city":"Oslo"}')]


def test_an_output_that_comes_in_its_items_only() -> None:
    stream = sse(
        event("response.output_item.done", output_index=0, item=MESSAGE),
        event("response.completed", response=response()),
    )

    assert read(ResponsesReader("test", ignore), stream).message == assistant("It rains.")


def test_the_phase_of_a_message_comes_back_with_it() -> None:
    reader = ResponsesReader("test", ignore)
    reader.whole(encoded(response({**MESSAGE, "phase": "commentary"}, CALL)))

    answer = reader.finish()

    assert answer.message.text == "It rains."
    items = body(ModelRequest(messages=[answer.message]))["input"]
    assert items[0] == {"role": "assistant", "content": "It rains.", "phase": "commentary"}
    assert "phase" not in items[1]


def test_thinking_without_its_encrypted_form_does_not_go_back() -> None:
    reader = ResponsesReader("test", ignore)
    bare = {"id": "rs_1", "type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    reader.whole(encoded(response(bare, MESSAGE)))

    message = reader.finish().message

    assert message.content[0] == Thinking("hm")
    assert len(body(ModelRequest(messages=[message]))["input"]) == 1


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("max_output_tokens", "length"), ("content_filter", "refusal"), ("steered", "other")],
)
def test_an_incomplete_response(reason: str, expected: str) -> None:
    cut = response(MESSAGE, status="incomplete", incomplete_details={"reason": reason})

    answer = read(ResponsesReader("test", ignore), sse(event("response.incomplete", response=cut)))

    assert answer.stop_reason == expected


def test_a_refusal() -> None:
    told = Told()
    refusal = {**MESSAGE, "content": [{"type": "refusal", "refusal": "No."}]}
    stream = sse(
        event("response.refusal.delta", output_index=0, delta="No."),
        event("response.completed", response=response(refusal)),
    )

    answer = read(ResponsesReader("test", told), stream)

    assert answer.stop_reason == "refusal"
    assert answer.message.text == told.text(TextDelta) == "No."


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", ModelUnavailable),
        ("rate_limit_exceeded", ModelUnavailable),
        ("invalid_prompt", ModelRefused),
        ("image_content_policy_violation", ModelRefused),
    ],
)
def test_a_response_that_failed(code: str, kind: type[Exception]) -> None:
    failed = response(status="failed", error={"code": code, "message": "said"})

    with pytest.raises(kind, match="said") as raised:
        read(ResponsesReader("test", ignore), sse(event("response.failed", response=failed)))
    assert type(raised.value) is kind
    with pytest.raises(kind, match="said"):
        ResponsesReader("test", ignore).whole(encoded(failed))


def test_an_error_event() -> None:
    with pytest.raises(ModelUnavailable, match="slow down"):
        read(
            ResponsesReader("test", ignore),
            sse(event("error", code="rate_limit_exceeded", message="slow down", param=None)),
        )


def test_a_stream_that_is_cut_is_no_answer() -> None:
    with pytest.raises(ModelUnavailable, match="a stream that ended before its end"):
        read(ResponsesReader("test", ignore), STREAM[: STREAM.index(b"event: response.completed")])


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (event("response.function_call_arguments.delta", output_index=3, delta="{"), "to begin at index 3"),
        (event("response.output_text.delta", output_index=0, delta={}), "expected text in the event"),
        (event("response.completed"), "expected a response in the event"),
        (
            event("response.output_item.added", item={"type": "function_call", "call_id": "c"}),
            "the name of a",
        ),
    ],
)
def test_events_that_make_no_sense(broken: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidModelAnswer, match=said):
        read(ResponsesReader("test", ignore), sse(broken))


def test_what_is_no_response() -> None:
    with pytest.raises(InvalidModelAnswer, match="a response with its output"):
        ResponsesReader("test", ignore).whole(b'{"id": "resp"}')


def test_events_of_a_later_version_are_passed_over() -> None:
    stream = sse(event("response.dreaming.delta", delta={"x": 1}), "[DONE]") + STREAM

    assert read(ResponsesReader("test", ignore), stream).message == Message("assistant", PARTS)


@given(st.lists(st.sampled_from(STREAM.split(b"\n\n")), max_size=12))
def test_events_in_any_order_are_an_answer_or_a_model_error(events: list[bytes]) -> None:
    with contextlib.suppress(InvalidModelAnswer, ModelUnavailable, ModelRefused):
        read(ResponsesReader("test", ignore), b"".join(one + b"\n\n" for one in events))
