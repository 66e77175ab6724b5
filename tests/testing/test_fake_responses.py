"""The wire format of responses, in and out."""

from __future__ import annotations

from typing import Any

import pytest
from browsing import (
    PNG,
    RESPONSES,
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


class TestResponses:
    def test_a_whole_body_is_understood(self) -> None:
        given = {
            "model": "m",
            "instructions": "Be kind.",
            "input": [
                {"role": "developer", "content": "Be brief."},
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "see"},
                        {"type": "input_image", "image_url": PNG},
                    ],
                },
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "hm"}],
                    "encrypted_content": "sig",
                },
                {
                    "type": "message",
                    "role": "assistant",
                    "id": "msg_1",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "so", "annotations": []}],
                },
                {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'},
                {"type": "function_call", "call_id": "c2", "name": "add", "arguments": "no"},
                {"type": "function_call_output", "call_id": "c1", "output": "1"},
                {
                    "type": "function_call_output",
                    "call_id": "c2",
                    "output": [
                        {"type": "input_text", "text": "t"},
                        {"type": "input_image", "image_url": PNG},
                    ],
                },
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
                {"role": "user", "content": "thanks"},
            ],
            "tools": [
                {
                    "type": "function",
                    "name": "add",
                    "description": "Add.",
                    "parameters": SCHEMA,
                    "strict": False,
                }
            ],
            "tool_choice": {"type": "function", "name": "add"},
            "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
            "reasoning": {"effort": "high"},
            "max_output_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "parallel_tool_calls": True,
            "store": False,
            "service_tier": "flex",
        }
        assert understood(RESPONSES, given) == ModelRequest(
            instructions="Be kind.\n\nBe brief.",
            messages=(
                Message("user", (Text("see"), Image("aGk=", "image/png"))),
                assistant(
                    Thinking("hm", "sig"),
                    "so",
                    ToolCall("c1", "add", {"a": 1}),
                    ToolCall("c2", "add", {}, malformed="no"),
                ),
                Message(
                    "tool",
                    (
                        ToolResult("c1", "add", "1"),
                        ToolResult("c2", "add", (Text("t"), Image("aGk=", "image/png"))),
                    ),
                ),
                assistant("no"),
                Message("user", (Text("thanks"),)),
            ),
            tools=(ToolSpec("add", "Add.", SCHEMA),),
            tool_choice="add",
            output_schema=SCHEMA,
            settings=ModelSettings(
                temperature=0.5,
                top_p=0.9,
                max_tokens=7,
                effort="high",
                parallel_tool_calls=True,
                extra={"service_tier": "flex"},
            ),
        )

    def test_input_may_be_text(self) -> None:
        assert understood(RESPONSES, {"model": "m", "input": "hello"}).messages == (
            Message("user", (Text("hello"),)),
        )

    @pytest.mark.parametrize(
        ("format", "schema"), [({"type": "text"}, None), ({"type": "json_object"}, {"type": "object"})]
    )
    def test_the_form_of_the_output(self, format: Any, schema: Any) -> None:
        assert understood(RESPONSES, body(RESPONSES) | {"text": {"format": format}}).output_schema == schema

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"input": None}, "Invalid type for 'input'"),
            ({"input": []}, "at least one message"),
            (
                {"input": [{"type": "web_search_call"}]},
                "Invalid value for 'input[0].type': 'web_search_call'",
            ),
            ({"input": [{"role": "robot", "content": "x"}]}, "Invalid value for 'input[0].role': 'robot'"),
            (
                {"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
                "'input[0].content[0]'",
            ),
            ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, "got one for 'c'"),
            (
                {"input": [{"type": "function_call", "call_id": "c", "name": "a", "arguments": "{}"}]},
                "no result was found for c",
            ),
            ({"tools": [{"type": "web_search"}]}, "Invalid value for 'tools[0].type': expected 'function'"),
            ({"previous_response_id": "resp_1"}, "none is stored here"),
            ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "Invalid value for 'text.format'"),
            (
                {"tools": [{"type": "function", "function": {"name": "a"}}]},
                "Missing required parameter: 'tools[0].name'",
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, members: dict[str, Any], message: str) -> None:
        assert message in refused(RESPONSES, body(RESPONSES) | members)

    def test_an_answer_has_items(self) -> None:
        got = answered(
            RESPONSES,
            Thinking("hm", "sig"),
            "so: ",
            "yes",
            ToolCall("c1", "add", {"a": 1}),
            reason="tool_calls",
        ).json
        assert (got["object"], got["id"], got["status"], got["model"]) == (
            "response",
            "resp_1",
            "completed",
            "m",
        )
        text = {"type": "output_text", "annotations": [], "logprobs": []}
        assert got["output"] == [
            {
                "id": "rs_1_0",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "hm"}],
                "encrypted_content": "sig",
            },
            {
                "id": "msg_1_1",
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{**text, "text": "so: "}, {**text, "text": "yes"}],
            },
            {
                "id": "fc_1_2",
                "type": "function_call",
                "status": "completed",
                "call_id": "c1",
                "name": "add",
                "arguments": '{"a":1}',
            },
        ]
        assert got["usage"] == {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 10},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 120,
        }

    @pytest.mark.parametrize(
        ("reason", "parts", "status", "why"),
        [
            ("length", ["x"], "incomplete", {"reason": "max_output_tokens"}),
            ("refusal", [], "incomplete", {"reason": "content_filter"}),
            ("refusal", ["x"], "completed", None),
        ],
    )
    def test_why_it_ends(self, reason: StopReason, parts: list[str], status: str, why: Any) -> None:
        whole = answered(RESPONSES, *parts, reason=reason).json
        assert (whole["status"], whole["incomplete_details"]) == (status, why)
        name, last = answered(RESPONSES, *parts, reason=reason, stream=True).events[-1]
        assert (name, last["type"]) == (f"response.{status}", f"response.{status}")
        assert last["response"]["output"] == whole["output"]
        if parts and reason == "refusal":
            assert whole["output"][0]["content"] == [{"type": "refusal", "refusal": "x"}]

    def test_a_stream_is_typed_events(self) -> None:
        events = answered(
            RESPONSES,
            Thinking("hm"),
            "a b",
            ToolCall("c1", "add", {"a": 1}),
            reason="tool_calls",
            stream=True,
        ).events
        assert all(name == data["type"] for name, data in events)
        assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
        assert [str(name).removeprefix("response.") for name, _ in events] == [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
        added = [data["item"] for name, data in events if name == "response.output_item.added"]
        assert [(item["type"], item.get("content"), item.get("arguments")) for item in added] == [
            ("reasoning", None, None),
            ("message", [], None),
            ("function_call", None, ""),
        ]
        done = [data["item"] for name, data in events if name == "response.output_item.done"]
        assert done == events[-1][1]["response"]["output"]
