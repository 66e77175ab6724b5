"""The wire format of Anthropic's messages, in and out."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import (
    MESSAGES,
    SCHEMA,
    answered,
    body,
    refused,
    understood,
)

from taut.llm.messages import (
    Image,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    assistant,
)
from taut.llm.model import ModelRequest, ModelSettings, StopReason, ToolSpec


class TestMessages:
    def test_a_whole_body_is_understood(self) -> None:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
        given = {
            "model": "m",
            "max_tokens": 7,
            "system": [
                {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "Be brief."},
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "see"}, image]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "sig"},
                        {"type": "text", "text": "so"},
                        {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
                        {"type": "tool_use", "id": "c2", "name": "add", "input": {}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": "1"},
                        {"type": "tool_result", "tool_use_id": "c2", "content": [image], "is_error": True},
                        {"type": "text", "text": "go on"},
                    ],
                },
                {"role": "assistant", "content": "done"},
                {"role": "user", "content": "thanks"},
            ],
            "tools": [{"name": "add", "description": "Add.", "input_schema": SCHEMA}],
            "tool_choice": {"type": "tool", "name": "add", "disable_parallel_tool_use": True},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
            "stop_sequences": ["END"],
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
        }
        assert understood(MESSAGES, given) == ModelRequest(
            instructions="Be kind.\n\nBe brief.",
            messages=(
                Message("user", (Text("see"), Image("aGk=", "image/png"))),
                assistant(
                    Thinking("hm", "sig"), "so", ToolCall("c1", "add", {"a": 1}), ToolCall("c2", "add", {})
                ),
                Message(
                    "tool",
                    (
                        ToolResult("c1", "add", "1"),
                        ToolResult("c2", "add", (Image("aGk=", "image/png"),), is_error=True),
                    ),
                ),
                Message("user", (Text("go on"),)),
                assistant("done"),
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
                effort="low",
                parallel_tool_calls=False,
                extra={"top_k": 5},
            ),
        )

    @pytest.mark.parametrize(
        ("choice", "expected"), [("auto", "auto"), ("any", "required"), ("none", "none"), (None, "auto")]
    )
    def test_choices_of_tools(self, choice: str | None, expected: str) -> None:
        given = None if choice is None else {"type": choice}
        assert understood(MESSAGES, body(MESSAGES, tool_choice=given)).tool_choice == expected

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"max_tokens": None}, "Invalid type for 'max_tokens'"),
            ({"messages": []}, "at least one message"),
            (
                {"messages": [{"role": "user", "content": "x"}, {"role": "robot", "content": "x"}]},
                "messages.1.role: expected 'user' or 'assistant', got 'robot'",
            ),
            ({"messages": [{"role": "assistant", "content": "x"}]}, 'first message must use the "user" role'),
            (
                {"messages": [{"role": "user", "content": [{"type": "audio"}]}]},
                "messages.0.content.0: expected text",
            ),
            (
                {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]}]},
                "got one for 'c'",
            ),
            (
                {
                    "messages": [
                        {"role": "user", "content": "x"},
                        {
                            "role": "assistant",
                            "content": [{"type": "tool_use", "id": "c", "name": "a", "input": {}}],
                        },
                        {
                            "role": "user",
                            "content": [
                                {"type": "text", "text": "x"},
                                {"type": "tool_result", "tool_use_id": "c", "content": "x"},
                            ],
                        },
                    ]
                },
                "messages.2.content.1: expected tool_result blocks before all others",
            ),
            ({"tools": [{"name": "a"}]}, "Missing required parameter: 'tools.0.input_schema'"),
            ({"tool_choice": {"type": "required"}}, "expected auto, any, none or tool with a name"),
        ],
    )
    def test_what_is_wrong_is_named(self, members: dict[str, Any], message: str) -> None:
        assert message in refused(MESSAGES, body(MESSAGES) | members)

    def test_an_answer_has_blocks(self) -> None:
        got = answered(
            MESSAGES,
            Thinking("hm", "sig"),
            "so: ",
            ToolCall("c1", "add", {"a": 1}),
            ToolCall("c2", "add", {}, malformed='{"a'),
            reason="tool_calls",
        ).json
        assert (got["type"], got["role"], got["id"], got["model"]) == ("message", "assistant", "msg_1", "m")
        assert (got["stop_reason"], got["stop_sequence"]) == ("tool_use", None)
        assert got["content"] == [
            {"type": "thinking", "thinking": "hm", "signature": "sig"},
            {"type": "text", "text": "so: ", "citations": None},
            {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
            {"type": "tool_use", "id": "c2", "name": "add", "input": '{"a'},
        ]
        assert got["usage"] == {
            "input_tokens": 60,
            "cache_creation_input_tokens": 10,
            "cache_read_input_tokens": 30,
            "output_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 5},
        }

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            ("stop", "end_turn"),
            ("length", "max_tokens"),
            ("refusal", "refusal"),
            ("other", "pause_turn"),
        ],
    )
    def test_why_it_ends(self, reason: StopReason, expected: str) -> None:
        assert answered(MESSAGES, "x", reason=reason).json["stop_reason"] == expected
        events = dict(answered(MESSAGES, "x", reason=reason, stream=True).events)
        assert events["message_delta"]["delta"]["stop_reason"] == expected

    def test_a_stream_is_blocks_and_their_deltas(self) -> None:
        events = answered(
            MESSAGES,
            Thinking("hm", "sig"),
            "a b",
            ToolCall("c1", "add", {"a": 1}),
            reason="tool_calls",
            stream=True,
        ).events
        assert all(name == data["type"] for name, data in events)
        assert [name for name, _ in events] == [
            "message_start",
            "ping",
            *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop") * 3,
            "message_delta",
            "message_stop",
        ]
        assert events[0][1]["message"]["content"] == []
        assert events[0][1]["message"]["usage"]["input_tokens"] == 60
        starts = [data["content_block"] for name, data in events if name == "content_block_start"]
        assert starts == [
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "text", "text": "", "citations": None},
            {"type": "tool_use", "id": "c1", "name": "add", "input": {}},
        ]
        assert [(data["index"], data["delta"]) for name, data in events if name == "content_block_delta"] == [
            (0, {"type": "thinking_delta", "thinking": "hm"}),
            (0, {"type": "signature_delta", "signature": "sig"}),
            (1, {"type": "text_delta", "text": "a "}),
            (1, {"type": "text_delta", "text": "b"}),
            (2, {"type": "input_json_delta", "partial_json": ""}),
            (2, {"type": "input_json_delta", "partial_json": '{"a":1}'}),
        ]
        assert events[-2][1]["usage"]["output_tokens"] == 20
