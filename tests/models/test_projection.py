"""Projection: nothing is said that a revision lacks, and nothing is copied when nothing changes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from taut import models
from taut.errors import LocalProtocolError
from taut.models import UNSET, projection

REVISIONS = pytest.mark.parametrize("revision", models.REVISIONS)


@pytest.mark.parametrize("revision", sorted(models.LEGACY))
def test_a_plain_result_is_returned_itself(revision: str) -> None:
    result = models.CallToolResult([models.TextContent("hi")])
    assert models.project(result, revision) is result


def test_a_complete_result_is_returned_itself() -> None:
    result = models.CallToolResult([models.TextContent("hi")], result_type="complete")
    assert models.project(result, models.LATEST) is result


@pytest.mark.parametrize("revision", ["2025-06-18", "2025-11-25"])
def test_structured_content_that_is_an_object_is_no_reason_to_copy(revision: str) -> None:
    result = models.CallToolResult([models.TextContent("{}")], {"a": 1}, is_error=False, meta={"k": 1})
    assert models.project(result, revision) is result


def test_a_tuple_of_content_is_as_good_as_a_list() -> None:
    result = models.CallToolResult((models.ResourceLink("a:b", "n"),))  # type: ignore[arg-type]
    assert models.to_dict(result, "2024-11-05") == {"content": [{"type": "text", "text": "n: a:b"}]}


def test_the_original_is_never_altered() -> None:
    result = models.CallToolResult(
        [models.ResourceLink("a:b", "n")], [1], result_type="complete", extra={"x": 1}
    )
    before = repr(result)
    for revision in models.REVISIONS:
        models.project(result, revision)
    assert repr(result) == before


def test_what_2026_requires_of_results_is_filled_in() -> None:
    assert models.to_dict(models.CallToolResult([]), models.LATEST) == {
        "content": [],
        "resultType": "complete",
    }
    assert models.to_dict(models.ListToolsResult([]), models.LATEST) == {
        "tools": [],
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
    }
    assert models.to_dict(models.InputRequiredResult(request_state="s"), models.LATEST) == {
        "requestState": "s",
        "resultType": "input_required",
    }


def test_answers_to_input_requests_have_no_result_type() -> None:
    answer = models.ElicitResult("decline", result_type="complete", meta={"k": 1})
    assert models.to_dict(answer, models.LATEST) == {"action": "decline"}


def test_caching_is_not_spoken_of_before_2026() -> None:
    result = models.ListToolsResult(
        [], ttl_ms=5, cache_scope="public", result_type="complete", next_cursor="c"
    )
    for revision in models.LEGACY:
        assert models.to_dict(result, revision) == {"tools": [], "nextCursor": "c"}


TOOL = models.Tool(
    "t",
    {"type": "object"},
    "d",
    title="T",
    output_schema={"type": "object"},
    annotations=models.ToolAnnotations(read_only_hint=True),
    execution=models.ToolExecution(task_support="optional"),
    icons=[models.Icon("https://example.org/i.png")],
    meta={"k": 1},
)


@pytest.mark.parametrize(
    ("revision", "members"),
    [
        ("2024-11-05", "name inputSchema description"),
        ("2025-03-26", "name inputSchema description annotations"),
        ("2025-06-18", "name inputSchema description title outputSchema annotations _meta"),
        ("2025-11-25", "name inputSchema description title outputSchema annotations execution icons _meta"),
        ("2026-07-28", "name inputSchema description title outputSchema annotations icons _meta"),
    ],
)
def test_a_tool_grows_with_the_revisions(revision: str, members: str) -> None:
    assert list(models.to_dict(TOOL, revision)) == members.split()
    listed: Any = models.to_dict(models.ListToolsResult([TOOL]), revision)["tools"][0]
    assert list(listed) == members.split()


@pytest.mark.parametrize(
    ("block", "newer", "older", "text"),
    [
        (
            models.AudioContent.from_bytes(b"12345", "audio/wav", annotations=models.Annotations(priority=1)),
            "2025-03-26",
            "2024-11-05",
            "[audio/wav, 5 bytes]",
        ),
        (
            models.ResourceLink("note://a", "a", title="Note A"),
            "2025-06-18",
            "2025-03-26",
            "Note A: note://a",
        ),
        (models.ResourceLink("note://a", "a"), "2025-06-18", "2024-11-05", "a: note://a"),
    ],
)
def test_content_that_a_revision_lacks_becomes_text(block: Any, newer: str, older: str, text: str) -> None:
    result = models.CallToolResult([block])
    assert models.to_dict(result, newer)["content"][0]["type"] == block.__struct_config__.tag
    [projected] = models.to_dict(result, older)["content"]
    annotations = {} if block.annotations is UNSET else {"annotations": {"priority": 1}}
    assert projected == {"type": "text", "text": text} | annotations


def test_the_size_of_audio_does_not_count_padding() -> None:
    for size in range(7):
        block = models.AudioContent.from_bytes(b"x" * size, "audio/wav")
        projected: Any = models.project(block, "2024-11-05")
        assert projected.text == f"[audio/wav, {size} bytes]"


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "text", [], [{}], msgspec.Raw(b" [1]")])
def test_structured_content_is_an_object_before_2026(value: Any) -> None:
    result = models.CallToolResult([], value)
    assert "structuredContent" not in models.to_dict(result, "2025-11-25")
    assert "structuredContent" in models.to_dict(result, models.LATEST)


class Weather(msgspec.Struct):
    degrees: int


@pytest.mark.parametrize("value", [{"degrees": 1}, Weather(1), msgspec.Raw(b' {"degrees":1}')])
def test_structured_content_may_be_any_object(value: Any) -> None:
    result = models.CallToolResult([], value)
    assert models.to_dict(result, "2025-06-18") == {"content": [], "structuredContent": {"degrees": 1}}


def test_output_schema_is_an_object_before_2026() -> None:
    tool = models.Tool("t", {"type": "object"}, output_schema={"type": "array"})
    assert "outputSchema" not in models.to_dict(tool, "2025-11-25")
    assert models.to_dict(tool, models.LATEST)["outputSchema"] == {"type": "array"}


def test_several_blocks_become_several_messages() -> None:
    blocks: list[models.SamplingContent] = [
        models.TextContent("a"),
        models.ToolUseContent("1", "t", {"x": 1}),
    ]
    params = models.CreateMessageParams([models.SamplingMessage("user", blocks)], 10, tools=[TOOL])
    assert models.to_dict(params, "2025-06-18") == {
        "messages": [
            {"role": "user", "content": {"type": "text", "text": "a"}},
            {
                "role": "user",
                "content": {
                    "type": "text",
                    "text": '{"type":"tool_use","id":"1","name":"t","input":{"x":1}}',
                },
            },
        ],
        "maxTokens": 10,
    }
    assert len(models.to_dict(params, "2025-11-25")["messages"]) == 1


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([models.TextContent("a"), models.TextContent("b")], {"type": "text", "text": "a\nb"}),
        ([models.TextContent("a", meta={"k": 1})], {"type": "text", "text": "a", "_meta": {"k": 1}}),
        ([], {"type": "text", "text": ""}),
        (
            [models.ImageContent("aGk=", "image/png"), models.TextContent("b")],
            {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        ),
    ],
)
def test_a_sampled_message_has_one_block_before_2025_11(blocks: list[Any], content: Any) -> None:
    result = models.CreateMessageResult("assistant", blocks, "m")
    assert models.to_dict(result, "2025-06-18")["content"] == content


def test_tasks_speak_of_ttl_in_2025_and_of_ttl_ms_in_2026() -> None:
    state: dict[str, Any] = {"task_id": "t", "status": "working", "created_at": "", "last_updated_at": ""}
    legacy = models.LegacyTask(**state, ttl_ms=None, poll_interval_ms=5)
    modern = models.GetTaskResult(**state, ttl_ms=None, poll_interval_ms=5)
    assert models.to_dict(legacy, "2025-11-25").items() >= {"ttl": None, "pollInterval": 5}.items()
    assert (
        models.to_dict(modern, models.LATEST).items()
        >= {
            "ttlMs": None,
            "pollIntervalMs": 5,
            "resultType": "complete",
        }.items()
    )


def test_the_result_inside_a_task_is_projected_too() -> None:
    task = models.GetTaskResult(
        task_id="t",
        status="completed",
        created_at="",
        last_updated_at="",
        ttl_ms=1,
        result={"outer": models.CallToolResult([])},
    )
    assert models.to_dict(task, models.LATEST)["result"] == {
        "outer": {"content": [], "resultType": "complete"}
    }


def test_request_meta_is_of_2026() -> None:
    meta = models.RequestMeta(
        progress_token=1,
        protocol_version="2026-07-28",
        client_capabilities=models.ClientCapabilities(),
        log_level="info",
        traceparent="00-x",
        extra={"org.example/k": 1},
    )
    params = models.CallToolParams("t", meta=meta)
    assert models.to_dict(params, "2025-11-25")["_meta"] == {
        "progressToken": 1,
        "traceparent": "00-x",
        "org.example/k": 1,
    }
    assert len(models.to_dict(params, models.LATEST)["_meta"]) == 6


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("2024-11-05", {"roots": {"listChanged": True}, "sampling": {}}),
        ("2025-06-18", {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}}),
        (
            "2025-11-25",
            {
                "roots": {"listChanged": True},
                "sampling": {"context": {}, "tools": {}},
                "elicitation": {"form": {}, "url": {}},
                "tasks": {"list": {}},
                "extensions": {"org.example/x": {}},
            },
        ),
        (
            "2026-07-28",
            {
                "roots": {},
                "sampling": {"context": {}, "tools": {}},
                "elicitation": {"form": {}, "url": {}},
                "extensions": {"org.example/x": {}},
            },
        ),
    ],
)
def test_capabilities_grow_with_the_revisions(revision: str, said: Any) -> None:
    capabilities = models.ClientCapabilities(
        roots=models.RootsCapability(list_changed=True),
        sampling=models.SamplingCapability(context={}, tools={}),
        elicitation=models.ElicitationCapability(form={}, url={}),
        tasks=models.ClientTasksCapability(list={}),
        extensions={"org.example/x": {}},
    )
    assert models.to_dict(capabilities, revision) == said


def test_a_client_without_forms_does_not_offer_them_to_2025_06() -> None:
    """There an empty object would mean forms."""
    capabilities = models.ClientCapabilities(elicitation=models.ElicitationCapability(url={}))
    assert models.to_dict(capabilities, "2025-06-18") == {}
    implicit = models.ClientCapabilities(elicitation=models.ElicitationCapability())
    assert models.to_dict(implicit, "2025-06-18") == {"elicitation": {}}


def test_extra_members_never_override_known_ones() -> None:
    result = models.CallToolResult([], is_error=True, extra={"isError": False, "x": 1})
    assert models.to_dict(result, "2025-11-25") == {"content": [], "isError": True, "x": 1}


def test_input_responses_may_be_models() -> None:
    answer = models.ElicitResult("accept", {"a": 1}, meta={"k": 1})
    params = models.CallToolParams("t", input_responses={"key": answer}, request_state="s")
    assert models.to_dict(params, models.LATEST)["inputResponses"] == {
        "key": {"action": "accept", "content": {"a": 1}}
    }
    assert models.to_dict(params, "2025-11-25") == {"name": "t"}


URL_FORM = models.ElicitParams("m", mode="url", url="https://example.org", elicitation_id="e")


def test_a_url_elicitation_cannot_be_said_in_2025_06() -> None:
    with pytest.raises(LocalProtocolError, match="mode `url`"):
        models.project(URL_FORM, "2025-06-18")
    assert "elicitationId" in models.to_dict(URL_FORM, "2025-11-25")
    assert "elicitationId" not in models.to_dict(URL_FORM, models.LATEST)


def test_a_choice_of_several_cannot_be_said_in_2025_06() -> None:
    field = models.MultiSelectSchema(items=models.MultiSelectItems(type="string", enum=["a"]))
    params = models.ElicitParams("m", models.ElicitSchema({"f": field}).to_dict())
    with pytest.raises(LocalProtocolError, match="the field `f`"):
        models.project(params, "2025-06-18")


def test_titled_choices_are_said_with_enum_names_in_2025_06() -> None:
    choice = models.StringSchema(
        one_of=[models.EnumOption("a", "A"), models.EnumOption("b", "B")], default="a"
    )
    tick = models.BooleanSchema(default=True)
    params = models.ElicitParams("m", models.ElicitSchema({"c": choice, "t": tick}).to_dict(), mode="form")
    assert models.to_dict(params, "2025-06-18") == {
        "message": "m",
        "requestedSchema": {
            "type": "object",
            "properties": {
                "c": {"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]},
                "t": {"type": "boolean", "default": True},
            },
        },
    }


@pytest.mark.parametrize("schema", [{}, {"properties": 1}, {"properties": {"a": 1, "b": {"oneOf": 1}}}])
def test_forms_that_are_no_forms_pass_unchanged(schema: Any) -> None:
    params = models.ElicitParams("m", schema)
    assert models.project(params, "2025-06-18") is params


def test_an_unknown_revision_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="got 2027-01-01"):
        models.project(models.CallToolResult([]), "2027-01-01")


@REVISIONS
def test_plain_objects_pass(revision: str) -> None:
    plain: Any = {"any": ["thing"]}
    weather = Weather(1)
    assert models.project(plain, revision) is plain
    assert models.project(weather, revision) is weather


def test_the_tables_name_attributes_that_exist() -> None:
    tables: list[dict[type[msgspec.Struct], dict[str, Any]]] = [projection.FIELDS, projection.REWRITES]
    for table in tables:
        for struct, attributes in table.items():
            assert set(attributes) <= set(struct.__struct_fields__), struct
