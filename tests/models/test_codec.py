"""Decoding: absence and null differ, open objects keep what they do not know, errors name the culprit."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut import models
from taut.errors import InvalidMessage, InvalidParams, LocalProtocolError, MethodNotFound
from taut.models import UNSET

from . import from_models
from .from_models import mangle

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
MODERN_META = json.dumps(
    {models.PROTOCOL_VERSION_KEY: models.LATEST, models.CLIENT_CAPABILITIES_KEY: {}}
).encode()


def test_absence_and_null_differ() -> None:
    absent = models.decode(models.CallToolResult, b'{"content":[]}')
    null = models.decode(models.CallToolResult, b'{"content":[],"structuredContent":null}')
    assert absent.structured_content is UNSET
    assert null.structured_content is None
    assert models.encode(null, models.LATEST) == (
        b'{"content":[],"structuredContent":null,"resultType":"complete"}'
    )


def test_a_task_that_lives_for_ever_keeps_its_null() -> None:
    raw = b'{"resultType":"task","taskId":"t","status":"working",'
    raw += b'"createdAt":"","lastUpdatedAt":"","ttlMs":null}'
    task = models.decode_result("tools/call", raw, models.LATEST)
    assert isinstance(task, models.CreateTaskResult)
    assert task.ttl_ms is None
    assert json.loads(models.encode(task, models.LATEST)) == json.loads(raw)


def test_null_for_an_optional_member_counts_as_absent() -> None:
    params = models.decode_params("tools/list", b'{"cursor":null}', "2025-11-25")
    assert params == models.PaginatedParams()
    tools = models.decode_result(
        "tools/list",
        b'{"tools":[{"name":"t","inputSchema":{"default":null},"description":null}],"nextCursor":null}',
        "2025-11-25",
    )
    assert tools == models.ListToolsResult([models.Tool("t", {"default": None})])


def test_null_for_a_required_member_is_an_error() -> None:
    with pytest.raises(InvalidParams, match=r"Expected `str`, got `null` - at `\$\.params\.name`"):
        models.decode_params("tools/call", b'{"name":null}', "2025-11-25")


def test_an_integral_float_is_an_integer() -> None:
    params = models.decode(models.CreateMessageParams, b'{"messages":[],"maxTokens":1e2}')
    assert params.max_tokens == 100
    assert isinstance(params.max_tokens, int)
    with pytest.raises(msgspec.ValidationError, match="maxTokens"):
        models.decode(models.CreateMessageParams, b'{"messages":[],"maxTokens":1.5}')


@settings(max_examples=40)
@given(st.dictionaries(st.text().map("x".__add__), JSON, min_size=1))
def test_unknown_members_of_a_result_survive(unknown: dict[str, Any]) -> None:
    raw = json.dumps({"content": [], "isError": True} | unknown).encode()
    result = models.decode_result("tools/call", raw, "2025-11-25")
    assert result.extra == unknown
    assert models.to_dict(result, "2025-11-25") == json.loads(raw)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON))
def test_unknown_meta_of_a_request_survives(unknown: dict[str, Any]) -> None:
    typed = models.RequestMeta.__struct_encode_fields__
    meta = {"progressToken": 2**80} | {key: value for key, value in unknown.items() if key not in typed}
    raw = json.dumps({"name": "t", "_meta": meta}).encode()
    assert models.to_dict(models.decode_params("tools/call", raw, "2025-06-18"), "2025-06-18") == json.loads(
        raw
    )


def test_strange_trace_context_is_no_reason_to_fail_a_call() -> None:
    raw = b'{"_meta":{"traceparent":["00"],"tracestate":7,"baggage":"a=b"}}'
    params = models.decode_params("ping", raw, "2025-11-25")
    assert isinstance(params, models.RequestParams)
    assert params.meta == models.RequestMeta(baggage="a=b", extra={"traceparent": ["00"], "tracestate": 7})
    assert models.to_dict(params, "2025-11-25") == json.loads(raw)


def test_unknown_capabilities_survive_at_every_depth() -> None:
    capabilities = {"tools": {"listChanged": True, "paging": 3}, "telepathy": {"range": 1}}
    raw = json.dumps(
        {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": {"name": "s", "version": "1"},
        }
    ).encode()
    result = models.decode_result("initialize", raw, "2025-11-25")
    assert isinstance(result, models.InitializeResult)
    assert result.capabilities.extra == {"telepathy": {"range": 1}}
    assert models.to_dict(result, "2025-11-25") == json.loads(raw)


def test_the_result_of_a_task_is_all_extra() -> None:
    result = models.decode_result("tasks/result", b'{"content":[],"isError":false}', "2025-11-25")
    assert result.extra == {"content": [], "isError": False}


def test_the_stand_in_for_extra_members_cannot_be_smuggled_in() -> None:
    raw = b'{"content":[],"taut:extra":{"content":"other","x":1}}'
    result = models.decode(models.CallToolResult, raw)
    assert models.to_dict(result, "2025-11-25")["content"] == []


@pytest.mark.parametrize("token", [1, "1", 2**70, "", -5])
def test_progress_token_keeps_its_type(token: int | str) -> None:
    raw = json.dumps({"_meta": {"progressToken": token}}).encode()
    params = models.decode_params("ping", raw, "2025-03-26")
    assert isinstance(params, models.RequestParams)
    assert isinstance(params.meta, models.RequestMeta)
    assert params.meta.progress_token == token
    assert type(params.meta.progress_token) is type(token)


@pytest.mark.parametrize(
    ("method", "raw", "message"),
    [
        ("tools/call", b'{"name":1}', "Expected `str`, got `int` - at `$.params.name`"),
        ("tools/call", b"{}", "Object missing required field `name` - at `$.params`"),
        ("tools/call", None, "Object missing required field `name` - at `$.params`"),
        ("tools/call", b"[]", "Expected `object`, got `array` - at `$.params`"),
        ("logging/setLevel", b'{"level":"loud"}', "Invalid enum value 'loud' - at `$.params.level`"),
        ("ping", b'{"_meta":{"progressToken":1.5}}', "got `float` - at `$.params._meta.progressToken`"),
        ("notifications/cancelled", b"{}", "Object missing required field `requestId` - at `$.params`"),
        ("notifications/progress", b'{"progressToken":1,"progress":"1"}', "at `$.params.progress`"),
        ("tools/call", b'{"name":', "Input data was truncated - at `$.params`"),
        ("tools/call", b'{"name":"\xff"}', "at `$.params`"),
        ("tools/call", b'{"name":"t","arguments":' + b"[" * 100_000, "at `$.params`"),
    ],
)
def test_wrong_params_are_refused_with_the_place(method: str, raw: bytes | None, message: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        models.decode_params(method, raw, "2025-06-18")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (b"", "required field `_meta` - at `$.params`"),
        (b',"_meta":{}', "required field `io.modelcontextprotocol/protocolVersion` - at `$.params._meta`"),
        (
            b',"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}',
            "required field `io.modelcontextprotocol/clientCapabilities` - at `$.params._meta`",
        ),
        (
            b',"_meta":' + MODERN_META[:-1] + b',"io.modelcontextprotocol/logLevel":"loud"}',
            "Invalid enum value 'loud'",
        ),
    ],
)
def test_modern_requests_must_say_who_speaks(meta: bytes, message: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        models.decode_params("tools/call", b'{"name":"t"' + meta + b"}", models.LATEST)
    assert message in caught.value.message


def test_modern_notifications_need_no_meta() -> None:
    models.decode_params("notifications/cancelled", b'{"requestId":1}', models.LATEST)


def test_only_one_revision_lets_a_cancellation_name_no_request() -> None:
    assert models.decode_params("notifications/cancelled", b"{}", "2025-11-25") == models.CancelledParams()


def test_a_method_that_the_revision_lacks_is_not_found() -> None:
    with pytest.raises(MethodNotFound, match="ping"):
        models.decode_params("ping", None, models.LATEST)
    with pytest.raises(LocalProtocolError, match="server/discover"):
        models.decode_result("server/discover", b"{}", "2025-11-25")
    with pytest.raises(LocalProtocolError, match="notifications/message"):
        models.decode_result("notifications/message", b"{}", "2025-11-25")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"content":[{"type":"text"}]}', "required field `text` - at `$.result.content[0]`"),
        (b"{}", "required field `content` - at `$.result`"),
        (b"null", "Expected `object`, got `null` - at `$.result`"),
        (b'{"resultType":"odd","content":[]}', "got 'odd' - at `$.result.resultType`"),
        (b'{"resultType":["complete"],"content":[]}', "at `$.result.resultType`"),
        (b'{"resultType":"input_required"}', "at least one of `inputRequests` and `requestState`"),
        (b'{"content":', "Input data was truncated"),
    ],
)
def test_wrong_results_are_refused_with_the_place(raw: bytes, message: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        models.decode_result("tools/call", raw, models.LATEST)
    assert message in caught.value.message


def test_input_is_asked_for_only_where_the_specification_allows() -> None:
    raw = b'{"resultType":"input_required","requestState":"s"}'
    for method in ("tools/call", "prompts/get", "resources/read"):
        assert isinstance(models.decode_result(method, raw, models.LATEST), models.InputRequiredResult)
    with pytest.raises(InvalidMessage, match="resultType"):
        models.decode_result("tools/list", raw, models.LATEST)


def test_an_absent_result_type_means_complete() -> None:
    assert isinstance(
        models.decode_result("tools/call", b'{"content":[]}', models.LATEST), models.CallToolResult
    )


def test_a_legacy_task_stands_in_for_the_result() -> None:
    task = b'{"taskId":"t","status":"working","createdAt":"","lastUpdatedAt":"","ttl":null,"pollInterval":5}'
    raw = b'{"task":' + task + b"}"
    for method in ("tools/call", "sampling/createMessage", "elicitation/create"):
        result = models.decode_result(method, raw, "2025-11-25")
        assert isinstance(result, models.LegacyCreateTaskResult)
        assert result.task.poll_interval_ms == 5
    with pytest.raises(InvalidMessage, match="content"):
        models.decode_result("tools/call", raw, "2025-06-18")


def test_a_negative_time_to_live_is_read_as_zero() -> None:
    raw = b'{"tools":[],"resultType":"complete","ttlMs":-5,"cacheScope":"public"}'
    result = models.decode_result("tools/list", raw, models.LATEST)
    assert isinstance(result, models.ListToolsResult)
    assert result.lifetime_ms == 0
    assert models.to_dict(result, models.LATEST)["ttlMs"] == 0


def test_an_absent_time_to_live_is_zero() -> None:
    assert models.ListToolsResult([]).lifetime_ms == 0


def test_input_responses_are_read_by_the_method_that_asked() -> None:
    answer = models.decode_input_response("elicitation/create", {"action": "accept", "content": {"a": 1}})
    assert answer == models.ElicitResult("accept", {"a": 1})
    with pytest.raises(InvalidParams, match=r"at `\$\.params\.inputResponses\.action`"):
        models.decode_input_response("elicitation/create", {"action": "perhaps"})


@pytest.mark.parametrize(
    ("method", "revision"), [(m, r) for m, spec in models.METHODS.items() for r in sorted(spec.revisions)]
)
def test_whatever_arrives_is_read_or_refused(method: str, revision: str) -> None:
    """Mangled messages end in a model or in the documented error, never in another exception."""
    maker = from_models.Maker(revision, seed=3)
    for _ in range(5):
        plain = models.to_dict(maker.params(method), revision)
        for mangled in mangle(plain):
            try:
                models.decode_params(method, json.dumps(mangled).encode(), revision)
            except InvalidParams as error:
                assert "at `$.params" in error.message  # noqa: PT017
