"""The chat completions format: what is sent, and what is made of the answers of many servers."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm.provider import Told, chunk, chunks, completion, encoded, read, sse
from taut.errors import ContextTooLong, InvalidModelAnswer, ModelRefused, ModelUnavailable
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
from taut.llm.openai_chat import ChatReader, chat_body

WEATHER = ToolSpec("weather", "The weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


def body(request: ModelRequest, **more: Any) -> dict[str, Any]:
    return chat_body(request, request.settings, **{"who": "test", "model": "m", "stream": False, **more})


def sent(*messages: Message, **more: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = body(ModelRequest(messages=messages), **more)["messages"]
    return made


def test_a_request_in_full() -> None:
    request = ModelRequest(
        messages=[user("Hi")],
        instructions="Be brief.",
        tools=[WEATHER],
        tool_choice="weather",
        output_schema={"type": "object", "properties": {}, "additionalProperties": False},
        settings=ModelSettings(
            temperature=0.0,
            top_p=0.5,
            max_tokens=7,
            stop=("END",),
            seed=1,
            effort="low",
            parallel_tool_calls=False,
            extra={"user": "u", "stream_options": {"include_obfuscation": False}},
        ),
    )

    assert body(request, stream=True) == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "The weather.",
                    "parameters": WEATHER.input_schema,
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                "schema": {"type": "object", "properties": {}, "additionalProperties": False},
                "strict": True,
            },
        },
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 7,
        "stop": ["END"],
        "seed": 1,
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "user": "u",
    }


def test_what_is_left_open_is_not_sent() -> None:
    assert body(ModelRequest(messages=[user("Hi")])) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
    }


@pytest.mark.parametrize(("choice", "said"), [("required", "required"), ("none", "none"), ("auto", None)])
def test_tool_choice(choice: str, said: str | None) -> None:
    made = body(ModelRequest(messages=[], tools=[WEATHER], tool_choice=choice))

    assert made.get("tool_choice") == said


def test_openai_wants_another_name_for_the_limit() -> None:
    request = ModelRequest(messages=[], settings=ModelSettings(max_tokens=3))

    assert body(request, max_tokens_name="max_completion_tokens")["max_completion_tokens"] == 3


def test_a_conversation_with_calls() -> None:
    messages = sent(
        user("Hi"),
        Message("assistant", (Text("Let me see."), ToolCall("c1", "weather", {"city": "Oslo"}))),
        tool_results(ToolResult("c1", "weather", "rain")),
        assistant("It rains."),
    )

    assert messages == [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Oslo"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": "It rains."},
    ]


def test_calls_alone_have_no_content() -> None:
    (message,) = sent(assistant(ToolCall("c1", "weather", {})))

    assert message["content"] is None


def test_malformed_arguments_go_back_as_json() -> None:
    (message,) = sent(assistant(ToolCall("c1", "weather", {}, malformed='{"city": ')))

    assert message["tool_calls"][0]["function"]["arguments"] == '{"malformed":"{\\"city\\": "}'


def test_an_error_of_a_tool_says_that_it_is_one() -> None:
    failed, said = sent(
        tool_results(
            ToolResult("c1", "weather", "no such city", is_error=True),
            ToolResult("c2", "weather", "Error: no", is_error=True),
        )
    )

    assert failed["content"] == "Error: no such city"
    assert said["content"] == "Error: no"


def test_images_of_results_follow_all_results() -> None:
    messages = sent(
        tool_results(
            ToolResult("c1", "draw", (Text("a cat"), Image("AAAA", "image/png"))),
            ToolResult("c2", "weather", "rain"),
        )
    )

    assert [message["role"] for message in messages] == ["tool", "tool", "user"]
    assert messages[0]["content"] == "a cat"
    assert messages[2]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AAAA"},
    }


def test_images_and_sound() -> None:
    (message,) = sent(user([Text("see, hear"), Image("AA", "image/png"), Audio("BB", "audio/mpeg")]))

    assert message["content"] == [
        {"type": "text", "text": "see, hear"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "input_audio", "input_audio": {"data": "BB", "format": "mp3"}},
    ]


def test_an_image_of_the_model_is_refused() -> None:
    with pytest.raises(ModelRefused, match="expected no Image in an assistant's message"):
        sent(assistant(Image("AA", "image/png")))


def test_thinking_goes_back_only_where_it_is_wanted() -> None:
    said = Message("assistant", (Thinking("hm"), Text("Yes")))

    assert sent(said) == [{"role": "assistant", "content": "Yes"}]
    assert sent(said, thinking_name="reasoning_content")[0]["reasoning_content"] == "hm"


def test_a_schema_that_is_a_reference_is_rooted_in_its_object() -> None:
    schema = {
        "$ref": "#/$defs/P",
        "$defs": {"P": {"type": "object", "properties": {"x": {"type": "integer"}}}},
    }

    form = body(ModelRequest(messages=[], output_schema=schema))["response_format"]["json_schema"]

    assert form["schema"]["type"] == "object"
    assert form["schema"]["$defs"] == schema["$defs"]
    assert form["strict"] is False


# -- answers

OPENAI = sse(
    chunk({"role": "assistant", "content": "", "refusal": None}, usage=None, obfuscation="xx"),
    chunk({"content": "It "}, usage=None),
    chunk({"content": "räins ☔"}, usage=None),
    chunk({}, "stop", usage=None),
    chunk(
        usage={
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 4, "accepted_prediction_tokens": 0},
        }
    ),
    "[DONE]",
)
CALLS = sse(
    chunk({"role": "assistant", "content": None}),
    chunk(
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_a",
                    "type": "function",
                    "function": {"name": "weather", "arguments": ""},
                }
            ]
        }
    ),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city"'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": ':"Oslo"}'}}]}),
    chunk(
        {
            "tool_calls": [
                {
                    "index": 1,
                    "id": "call_b",
                    "type": "function",
                    "function": {"name": "time", "arguments": ""},
                }
            ]
        }
    ),
    chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}),
    chunk({}, "tool_calls"),
    "[DONE]",
)


@pytest.mark.parametrize("piece", [None, 1, 2, 3, 5, 7, 64])
def test_a_stream_of_text(piece: int | None) -> None:
    told = Told()

    response = read(ChatReader("test", told), OPENAI, piece=piece)

    assert response.message == assistant("It räins ☔")
    assert told.text(TextDelta) == "It räins ☔"
    assert response.stop_reason == "stop"
    assert response.model == "small-1"
    assert response.usage == Usage(
        input_tokens=19, output_tokens=10, cached_tokens=8, thinking_tokens=4, requests=1, cost=None
    )


@pytest.mark.parametrize("piece", [None, 1, 2, 3, 5, 7, 64])
def test_a_stream_of_calls(piece: int | None) -> None:
    told = Told()

    response = read(ChatReader("test", told), CALLS, piece=piece)

    assert response.message.tool_calls == (
        ToolCall("call_a", "weather", {"city": "Oslo"}),
        ToolCall("call_b", "time", {}),
    )
    assert response.stop_reason == "tool_calls"
    assert told.events == [
        ToolCallDelta("call_a", "weather", ""),
        ToolCallDelta("call_a", "weather", '{"city"'),
        ToolCallDelta("call_a", "weather", ':"Oslo"}'),
        ToolCallDelta("call_b", "time", ""),
        ToolCallDelta("call_b", "time", "{}"),
    ]


def test_an_answer_in_one_piece() -> None:
    reader = ChatReader("test", ignore)

    reader.whole(encoded(completion("Hello")))

    response = reader.finish()
    assert response.message == assistant("Hello")
    assert response.usage == Usage(input_tokens=10, output_tokens=5, requests=1, cost=None)


def test_an_answer_in_one_piece_is_told_as_well() -> None:
    told = Told()
    reader = ChatReader("test", told)

    reader.whole(encoded(completion("Hello")))

    assert reader.told
    assert told.events == [TextDelta("Hello")]


def calls_of(*deltas: list[dict[str, Any]], before: int = 0) -> tuple[ToolCall, ...]:
    stream = sse(*(chunk({"tool_calls": delta}) for delta in deltas), chunk({}, "stop"), "[DONE]")
    response = read(ChatReader("test", ignore, calls_before=before), stream)
    assert response.stop_reason == "tool_calls"
    return response.message.tool_calls


def test_calls_in_one_piece_each_as_ollama_sends_them() -> None:
    first = {
        "id": "call_x",
        "index": 0,
        "type": "function",
        "function": {"name": "a", "arguments": '{"n":1}'},
    }
    second = {
        "id": "call_y",
        "index": 0,
        "type": "function",
        "function": {"name": "a", "arguments": '{"n":2}'},
    }

    assert calls_of([first], [second]) == (
        ToolCall("call_x", "a", {"n": 1}),
        ToolCall("call_y", "a", {"n": 2}),
    )
    assert calls_of([first, second]) == calls_of([first], [second])


def test_calls_without_index_and_id() -> None:
    first = {"function": {"name": "a", "arguments": '{"n":1}'}}
    second = {"function": {"name": "a", "arguments": '{"n":2}'}}

    assert calls_of([first], [second], before=3) == (
        ToolCall("call_4", "a", {"n": 1}),
        ToolCall("call_5", "a", {"n": 2}),
    )


def test_calls_without_id_at_the_same_index() -> None:
    first = {"index": 0, "function": {"name": "a", "arguments": '{"n":1}'}}
    second = {"index": 0, "function": {"name": "a", "arguments": '{"n":2}'}}

    assert [call.arguments for call in calls_of([first], [second])] == [{"n": 1}, {"n": 2}]


def test_a_name_and_an_id_that_are_repeated_with_each_piece() -> None:
    begin = {"index": 0, "id": "c", "function": {"name": "a", "arguments": '{"n"'}}
    more = {"index": 0, "id": "c", "function": {"name": "a", "arguments": ":1}"}}

    assert calls_of([begin], [more]) == (ToolCall("c", "a", {"n": 1}),)


def test_a_name_that_is_repeated_without_an_id() -> None:
    begin = {"index": 0, "id": "c", "function": {"name": "a", "arguments": '{"n"'}}
    more = {"index": 0, "function": {"name": "a", "arguments": ":1}"}}

    assert calls_of([begin], [more]) == (ToolCall("c", "a", {"n": 1}),)


def test_pieces_without_an_index_belong_to_the_last_call() -> None:
    begin = {"id": "c", "function": {"name": "a"}}
    more = {"function": {"arguments": '{"n":1}'}}

    assert calls_of([begin], [more]) == (ToolCall("c", "a", {"n": 1}),)


def test_a_name_in_pieces() -> None:
    begin = {"index": 0, "id": "c", "function": {"name": "get_"}}
    more = {"index": 0, "function": {"name": "weather", "arguments": "{}"}}

    assert calls_of([begin], [more]) == (ToolCall("c", "get_weather", {}),)


def test_arguments_that_are_an_object() -> None:
    assert calls_of([{"id": "c", "function": {"name": "a", "arguments": {"n": 1}}}]) == (
        ToolCall("c", "a", {"n": 1}),
    )


def test_two_calls_with_one_id_get_two() -> None:
    first = {"index": 0, "id": "c", "function": {"name": "a", "arguments": "{}"}}
    second = {"index": 1, "id": "c", "function": {"name": "b", "arguments": "{}"}}

    one, two = calls_of([first, second])

    assert (one.name, two.name) == ("a", "b")
    assert one.id != two.id


@pytest.mark.parametrize(
    ("text", "arguments", "malformed"),
    [
        ("", {}, None),
        ("null", {}, None),
        ('"{\\"n\\": 1}"', {"n": 1}, None),
        ('{"n": ', {}, '{"n": '),
        ("[1]", {}, "[1]"),
        ("n=1", {}, "n=1"),
    ],
)
def test_arguments_that_are_odd(text: str, arguments: dict[str, Any], malformed: str | None) -> None:
    (call,) = calls_of([{"id": "c", "function": {"name": "a", "arguments": text}}])

    assert call == ToolCall("c", "a", arguments, malformed)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thinking_under_either_name(name: str) -> None:
    told = Told()
    stream = sse(chunk({name: "h"}), chunk({name: "m"}), chunk({"content": "Yes"}), chunk({}, "stop"))

    response = read(ChatReader("test", told), stream)

    assert response.message.content == (Thinking("hm"), Text("Yes"))
    assert told.text(ThinkingDelta) == "hm"


def test_thinking_in_parts_of_the_content() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Yes"},
    ]
    stream = sse(chunk({"content": parts}), chunk({"content": "!"}), chunk({}, "stop"))

    assert read(ChatReader("test", ignore), stream).message.content == (Thinking("hm"), Text("Yes!"))


def test_a_stream_that_just_ends_behind_its_reason() -> None:
    response = read(ChatReader("test", ignore), sse(chunk({"content": "Hi"}), chunk({}, "stop")))

    assert response.message.text == "Hi"
    assert response.usage == Usage(requests=1, cost=None)


def test_a_stream_that_is_done_without_a_reason() -> None:
    response = read(ChatReader("test", ignore), sse(chunk({"content": "Hi"}), "[DONE]"))

    assert response.stop_reason == "stop"


def test_a_stream_that_is_cut_is_no_answer() -> None:
    with pytest.raises(ModelUnavailable, match="a stream that ended before its end"):
        read(ChatReader("test", ignore), sse(chunk({"content": "Hi"})))


def test_events_without_data_are_passed_over() -> None:
    stream = b": ping\n\nevent: ping\ndata:\n\n" + sse(*chunks("Hi"))

    assert read(ChatReader("test", ignore), stream).message.text == "Hi"


def test_numbers_as_text_and_members_that_are_null() -> None:
    reader = ChatReader("test", ignore)

    reader.whole(
        encoded(
            completion("Hi", usage={"prompt_tokens": "3", "completion_tokens": None}, system_fingerprint=None)
        )
    )

    assert reader.finish().usage == Usage(input_tokens=3, requests=1, cost=None)


def test_the_names_of_deepseek() -> None:
    reader = ChatReader("test", ignore)

    reader.whole(
        encoded(completion(usage={"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4}))
    )

    assert reader.finish().usage.cached_tokens == 4


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "length"), ("content_filter", "refusal"), ("eos", "other"), ("function_call", "tool_calls")],
)
def test_reasons_to_stop(finish: str, reason: str) -> None:
    response = read(ChatReader("test", ignore), sse(chunk({"content": "Hi"}, finish)))

    assert response.stop_reason == reason


def test_calls_that_are_cut_by_the_limit_say_so() -> None:
    stream = sse(
        chunk({"tool_calls": [{"id": "c", "function": {"name": "a", "arguments": '{"n'}}]}),
        chunk({}, "length"),
    )

    response = read(ChatReader("test", ignore), stream)

    assert response.stop_reason == "length"
    assert response.message.tool_calls == (ToolCall("c", "a", {}, malformed='{"n'),)


def test_a_refusal() -> None:
    told = Told()

    response = read(ChatReader("test", told), sse(chunk({"refusal": "No."}), chunk({}, "stop")))

    assert response.stop_reason == "refusal"
    assert response.message.text == "No."
    assert told.text(TextDelta) == "No."


def test_other_choices_are_not_the_answer() -> None:
    other = {"index": 1, "delta": {"content": "No"}, "finish_reason": None}
    stream = sse(chunk({"content": "Yes"}), {**chunk(), "choices": [other]}, chunk({}, "stop"))

    assert read(ChatReader("test", ignore), stream).message.text == "Yes"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "Overloaded", "type": "server_error"}, ModelUnavailable),
        ({"message": "busy", "code": "rate_limit_exceeded"}, ModelUnavailable),
        ({"message": "what", "type": "invalid_request_error"}, ModelRefused),
        ({"message": "too long", "code": "context_length_exceeded"}, ContextTooLong),
        ({"message": "too long", "code": 400, "type": "exceed_context_size_error"}, ContextTooLong),
        ("out of memory", ModelUnavailable),
    ],
)
def test_errors_within_a_stream(error: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        read(ChatReader("test", ignore), sse(chunk({"content": "Hi"}), {"error": error}))

    assert type(raised.value) is kind
    assert "test: " in str(raised.value)


def test_an_error_that_is_null_is_none() -> None:
    reader = ChatReader("test", ignore)

    reader.whole(encoded(completion("Hi", error=None)))

    assert reader.finish().message.text == "Hi"


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"choices": 1}', b"<html>", b"\xff"])
def test_what_is_no_completion(data: bytes) -> None:
    with pytest.raises(InvalidModelAnswer, match="test: expected an answer in JSON"):
        read(ChatReader("test", ignore), b"data: " + data + b"\n\n")


def test_a_completion_without_a_choice() -> None:
    with pytest.raises(InvalidModelAnswer, match="expected a completion with a choice"):
        ChatReader("test", ignore).whole(b'{"id": "x", "choices": []}')


def test_a_call_without_a_name() -> None:
    with pytest.raises(InvalidModelAnswer, match="the name of a tool"):
        calls_of([{"index": 0, "function": {"arguments": "{}"}}])


@given(st.binary(max_size=60))
def test_whatever_comes_is_an_answer_or_a_model_error(data: bytes) -> None:
    reader = ChatReader("test", ignore)
    with contextlib.suppress(InvalidModelAnswer, ModelUnavailable, ModelRefused):
        reader.whole(data)
        reader.finish()


MEMBERS = [
    *("choices", "delta", "content", "tool_calls", "function", "name", "arguments", "index", "id", "usage"),
    *("error", "message", "type", "code", "finish_reason", "reasoning", "prompt_tokens"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.just("{}"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)


@given(st.lists(JSON, max_size=4))
def test_whatever_json_comes_is_an_answer_or_a_model_error(values: list[Any]) -> None:
    reader = ChatReader("test", ignore)
    with contextlib.suppress(InvalidModelAnswer, ModelUnavailable, ModelRefused):
        read(reader, sse(*(encoded(value).decode() for value in values)))
