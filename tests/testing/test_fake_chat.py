"""The wire format of chat completions, in and out."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import (
    CHAT,
    PNG,
    SCHEMA,
    answered,
    body,
    refused,
    understood,
)

from taut.llm.messages import (
    Audio,
    Image,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    assistant,
)
from taut.llm.model import ModelRequest, ModelSettings, StopReason, ToolSpec


class TestChat:
    def test_a_whole_body_is_understood(self) -> None:
        tool = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": SCHEMA}}
        made = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        bad = {"id": "c2", "type": "function", "function": {"name": "add", "arguments": "[1"}}
        given = {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "see"},
                        {"type": "image_url", "image_url": {"url": PNG}},
                        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
                    ],
                },
                {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [made, bad]},
                {"role": "tool", "tool_call_id": "c2", "content": "no"},
                {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "1"}]},
                {"role": "assistant", "content": "It is 1."},
                {"role": "user", "content": "thanks"},
            ],
            "tools": [tool],
            "tool_choice": {"type": "function", "function": {"name": "add"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
            "temperature": 0.5,
            "top_p": 0.9,
            "max_completion_tokens": 7,
            "stop": "END",
            "seed": 3,
            "reasoning_effort": "low",
            "parallel_tool_calls": False,
            "logit_bias": {"1": 2},
        }
        assert understood(CHAT, given) == ModelRequest(
            instructions="Be kind.\n\nBe brief.",
            messages=(
                Message("user", (Text("see"), Image("aGk=", "image/png"), Audio("aGk=", "audio/mpeg"))),
                assistant(
                    Thinking("hm"), ToolCall("c1", "add", {"a": 1}), ToolCall("c2", "add", {}, malformed="[1")
                ),
                Message("tool", (ToolResult("c2", "add", "no"), ToolResult("c1", "add", "1"))),
                assistant("It is 1."),
                Message("user", (Text("thanks"),)),
            ),
            tools=(ToolSpec("add", "Add.", SCHEMA),),
            tool_choice="add",
            output_schema=SCHEMA,
            settings=ModelSettings(
                temperature=0.5,
                top_p=0.9,
                max_tokens=7,
                stop=("END",),
                seed=3,
                effort="low",
                parallel_tool_calls=False,
                extra={"logit_bias": {"1": 2}},
            ),
        )

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"messages": []}, "at least one message"),
            ({"messages": "x"}, "Invalid type for 'messages': expected an array, got str"),
            ({"messages": [3]}, "Invalid type for 'messages[0]': expected an object, got int"),
            ({"messages": [{"content": "x"}]}, "Missing required parameter: 'messages[0].role'"),
            (
                {"messages": [{"role": "robot", "content": "x"}]},
                "Invalid value for 'messages[0].role': 'robot'",
            ),
            ({"messages": [{"role": "assistant"}]}, "'messages[0].content' or 'messages[0].tool_calls'"),
            (
                {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
                "expected text, image_url or input_audio",
            ),
            (
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "image_url", "image_url": {"url": "https://x"}}],
                        }
                    ]
                },
                "expected a data URL with base64, as this server fetches nothing",
            ),
            ({"messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "got one for 'c1'"),
            ({"messages": [{"role": "user", "content": 3}]}, "expected a string or an array"),
            ({"n": 2}, "Expected one choice"),
            ({"model": None}, "Invalid type for 'model': expected a string, got NoneType"),
            ({"tool_choice": "any"}, "Invalid value for 'tool_choice': 'any'"),
            ({"tools": [{"type": "web_search"}]}, "Invalid value for 'tools[0].type': expected 'function'"),
            ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "expected 1-64 letters, digits"),
            (
                {
                    "tools": [
                        {"type": "function", "function": {"name": "a", "parameters": {"type": "string"}}}
                    ]
                },
                "Invalid schema for function 'a': expected type 'object', got 'string'",
            ),
            ({"response_format": {"type": "json_schema"}}, "Invalid value for 'response_format'"),
            ({"stop": 5}, "Invalid body: TypeError"),
        ],
    )
    def test_what_is_wrong_is_named(self, members: dict[str, Any], message: str) -> None:
        assert message in refused(CHAT, body(CHAT) | members)

    def test_every_call_needs_its_result(self) -> None:
        made = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
        history = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "", "tool_calls": [made]},
        ]
        for rest in ([], [{"role": "user", "content": "y"}], [{"role": "assistant", "content": "y"}]):
            assert "no result was found for c1" in refused(CHAT, {"model": "m", "messages": history + rest})

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            (None, "auto"),
            ("none", "none"),
            ("required", "required"),
            ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}, "required"),
        ],
    )
    def test_choices_of_tools(self, choice: Any, expected: str) -> None:
        assert understood(CHAT, body(CHAT, tool_choice=choice)).tool_choice == expected

    def test_an_object_may_be_any(self) -> None:
        assert understood(CHAT, body(CHAT, response_format={"type": "json_object"})).output_schema == {
            "type": "object"
        }

    def test_an_answer_is_a_completion(self) -> None:
        got = answered(
            CHAT, Thinking("hm"), "so: ", ToolCall("c1", "add", {"a": 1}), reason="tool_calls"
        ).json
        assert got["object"] == "chat.completion"
        assert (got["id"], got["model"]) == ("chatcmpl-1", "m")
        assert got["choices"] == [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "so: ",
                    "refusal": None,
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ]
        assert got["usage"] == {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
        }

    @pytest.mark.parametrize(
        ("reason", "parts", "finish", "member"),
        [
            ("stop", ["x"], "stop", "content"),
            ("length", ["x"], "length", "content"),
            ("other", ["x"], "stop", "content"),
            ("refusal", ["x"], "stop", "refusal"),
            ("refusal", [], "content_filter", None),
        ],
    )
    def test_why_it_ends(self, reason: StopReason, parts: list[str], finish: str, member: str | None) -> None:
        for stream in (False, True):
            got = answered(CHAT, *parts, reason=reason, stream=stream)
            if stream:
                choices = [data["choices"][0] for _, data in got.events if data != "[DONE]"]
                said = {name: value for one in choices for name, value in one["delta"].items() if value}
                assert choices[-1]["finish_reason"] == finish
            else:
                (choice,) = got.json["choices"]
                said = choice["message"]
                assert choice["finish_reason"] == finish
            assert [name for name in ("content", "refusal") if said.get(name)] == ([member] if member else [])

    def test_a_stream_is_chunks(self) -> None:
        got = answered(
            CHAT,
            Thinking("hm"),
            "a b",
            ToolCall("c1", "add", {"a": 1}),
            ToolCall("c2", "sub", {}, malformed='{"a'),
            reason="tool_calls",
            stream=True,
            stream_options={"include_usage": True},
        )
        assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert len(got.chunks) > 1
        *chunks, (_, done) = got.events
        assert done == "[DONE]"
        assert {data["object"] for _, data in chunks} == {"chat.completion.chunk"}
        deltas = [data["choices"][0]["delta"] for _, data in chunks if data["choices"]]
        function = {"name": "add", "arguments": ""}
        assert deltas == [
            {"role": "assistant", "content": "", "refusal": None},
            {"reasoning_content": "hm"},
            {"content": "a "},
            {"content": "b"},
            {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1}'}}]},
            {
                "tool_calls": [
                    {"index": 1, "id": "c2", "type": "function", "function": function | {"name": "sub"}}
                ]
            },
            {"tool_calls": [{"index": 1, "function": {"arguments": '{"a'}}]},
            {},
        ]
        assert chunks[-1][1]["choices"] == []
        assert chunks[-1][1]["usage"]["total_tokens"] == 120
        assert all(data["usage"] is None for _, data in chunks[:-1])

    def test_usage_is_streamed_only_where_it_is_asked_for(self) -> None:
        events = answered(CHAT, "x", stream=True).events
        assert all("usage" not in data for _, data in events[:-1])
