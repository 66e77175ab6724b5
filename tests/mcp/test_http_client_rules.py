"""What a client over HTTP has to know, without a connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut import models
from taut._core import SSEParser
from taut.errors import (
    AccessDenied,
    AuthorizationRequired,
    ConfigError,
    HttpError,
    InvalidRequest,
    MethodNotFound,
    RemoteError,
    SessionExpired,
    TautError,
)
from taut.mcp.http.challenge import read_challenges
from taut.mcp.http.resumption import LONGEST_S, MAX_FAILURES, Resumption
from taut.mcp.http.sending import RequestHeaders, name_of, session_id
from taut.mcp.http.status import is_events, is_json, status_error
from taut.mcp.http.tooling import KnownTools, may_repeat


def lines(head: bytes) -> dict[str, str]:
    """The lines of a head by name; each name comes once, and each line ends."""
    assert head.endswith(b"\r\n") or not head
    pairs = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[:-1]]
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)  # type: ignore[arg-type]  # each pair has two


class TestRequestHeaders:
    def test_of_a_modern_request(self) -> None:
        headers = RequestHeaders({"X-Tenant": " blue "})
        headers.speak("2026-07-28", modern=True)
        assert lines(headers.post("tools/call", "add")) == {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": "2026-07-28",
            "x-tenant": "blue",
            "mcp-method": "tools/call",
            "mcp-name": "add",
        }

    def test_of_a_legacy_one_before_and_in_a_session(self) -> None:
        headers = RequestHeaders()
        headers.speak(None, modern=False)
        assert set(lines(headers.post("initialize"))) == {"content-type", "accept"}
        headers.session = b"s"
        headers.speak("2025-06-18", modern=False)
        assert lines(headers.post("tools/call", "add"))["mcp-session-id"] == "s"
        assert lines(headers.listen("e-1")) == {
            "accept": "text/event-stream",
            "cache-control": "no-store",
            "mcp-protocol-version": "2025-06-18",
            "mcp-session-id": "s",
            "last-event-id": "e-1",
        }
        assert set(lines(headers.end())) == {"mcp-protocol-version", "mcp-session-id"}

    def test_what_changes_is_seen_at_once(self) -> None:
        headers = RequestHeaders()
        headers.authorize("one")
        assert lines(headers.post("ping"))["authorization"] == "Bearer one"
        headers.authorize("two")
        assert lines(headers.post("ping"))["authorization"] == "Bearer two"
        headers.authorize(None)
        assert "authorization" not in lines(headers.post("ping"))

    @pytest.mark.parametrize("token", ["", " secret", "se\r\nb: cret", "se\ncret", "\u20ac"])
    def test_a_token_that_no_header_carries_is_refused_and_not_shown(self, token: str) -> None:
        with pytest.raises(ConfigError) as caught:
            RequestHeaders().authorize(token)
        assert not token or token.strip() not in str(caught.value)

    @given(method=st.text(max_size=20), name=st.text(max_size=20))
    def test_no_name_breaks_a_head(self, method: str, name: str) -> None:
        try:
            name.encode(), method.encode()
        except UnicodeEncodeError:
            return
        headers = RequestHeaders()
        headers.speak("2026-07-28", modern=True)
        assert len(lines(headers.post(method, name))) == 5

    def test_few_heads_are_remembered(self) -> None:
        headers = RequestHeaders()
        for number in range(5_000):
            headers.post("resources/read", f"mem://{number}")
        assert len(headers._known) <= 1_024

    @pytest.mark.parametrize(
        ("method", "params", "name"),
        [
            ("tools/call", models.CallToolParams(name="t"), "t"),
            ("tools/call", {"name": "t"}, "t"),
            ("resources/read", models.ReadResourceParams(uri="mem://x"), "mem://x"),
            ("tasks/get", {"taskId": "1"}, "1"),
            ("tools/call", {"name": 3}, None),
            ("tools/list", models.PaginatedParams(), None),
        ],
    )
    def test_the_name_of_a_request(self, method: str, params: Any, name: str | None) -> None:
        assert name_of(method, params) == name


class TestSessionIds:
    def test_visible_ascii(self) -> None:
        assert session_id(None) is None
        assert session_id(b"~!a-1") == b"~!a-1"

    @pytest.mark.parametrize("raw", [b"", b"a b", b"\x7f", b"\xff", b"a" * 2_000])
    def test_all_else_is_refused(self, raw: bytes) -> None:
        with pytest.raises(ConfigError, match="session id"):
            session_id(raw)


class TestStatuses:
    @pytest.mark.parametrize(
        ("status", "error", "in_session", "expected"),
        [
            (401, None, False, AuthorizationRequired),
            (401, MethodNotFound("m"), True, AuthorizationRequired),
            (403, InvalidRequest("Origin not allowed"), False, AccessDenied),
            (404, None, False, HttpError),
            (404, MethodNotFound("m"), False, MethodNotFound),
            (404, MethodNotFound("m"), True, SessionExpired),
            (400, InvalidRequest("no valid session ID"), True, SessionExpired),
            (400, RemoteError("Server not initialized", code=-32000), True, SessionExpired),
            (400, InvalidRequest("what?"), True, InvalidRequest),
            (400, InvalidRequest("no valid session ID"), False, InvalidRequest),
            (400, None, True, HttpError),
            (500, None, True, HttpError),
            (202, None, True, HttpError),
        ],
    )
    def test_each_is_one_error(
        self, status: int, error: TautError | None, in_session: bool, expected: type[TautError]
    ) -> None:
        found = status_error(status, {}, "tools/call", error=error, in_session=in_session)
        assert type(found) is expected
        if isinstance(found, HttpError):
            assert found.status == status
            assert found.sent is not (400 <= status < 500)

    def test_it_quotes_what_a_person_can_read(self) -> None:
        error = status_error(
            500, {b"content-type": b"text/plain"}, "m", body=b"out\n of \x1b[0m order" + b"x" * 999
        )
        assert "out of [0m order" in str(error)
        assert len(str(error)) < 300
        assert "<" not in str(status_error(500, {b"content-type": b"text/html"}, "m", body=b"<html>"))

    @pytest.mark.parametrize(
        ("raw", "seconds"), [(b"7", 7), (b"9" * 30, None), (b"soon", None), (b"-1", None)]
    )
    def test_how_long_to_wait(self, raw: bytes, seconds: float | None) -> None:
        error = status_error(503, {b"retry-after": raw}, "m")
        assert isinstance(error, HttpError)
        assert error.retry_after_s == seconds

    def test_types(self) -> None:
        assert is_json(b"Application/JSON; charset=utf-8")
        assert is_events(b"text/event-stream;charset=utf-8")
        assert not is_json(None)
        assert not is_json(b"application/jsonp")
        assert not is_events(b"text/html")


class TestChallenges:
    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            (None, ()),
            (b"", ()),
            (b"Basic", (("basic", {}),)),
            (b'Bearer realm="a \\"b\\", c", scope=x', (("bearer", {"realm": 'a "b", c', "scope": "x"}),)),
            (b'Bearer error="e", Basic realm="r"', (("bearer", {"error": "e"}), ("basic", {"realm": "r"}))),
            (
                b'Negotiate abc==, DPoP algs = "ES256"',
                (("negotiate", {"": "abc=="}), ("dpop", {"algs": "ES256"})),
            ),
            (b", ,Bearer", (("bearer", {}),)),
            (b'Bearer realm="open', (("bearer", {}),)),
            (b"@", ()),
        ],
    )
    def test_are_read_as_far_as_they_can_be(self, raw: bytes | None, expected: Any) -> None:
        assert read_challenges(raw) == expected

    @given(st.binary(max_size=200))
    def test_nothing_breaks_them(self, raw: bytes) -> None:
        for scheme, parameters in read_challenges(raw):
            assert scheme == scheme.lower()
            assert all(isinstance(value, str) for value in parameters.values())


def parsed(text: bytes) -> SSEParser:
    parser = SSEParser(max_bytes=1_000)
    parser.feed(text)
    return parser


class TestResumption:
    def test_chance_only_adds(self) -> None:
        state = Resumption()
        state.heard(parsed(b"id: 1\nretry: 500\ndata:\n\n"))
        state.cut()
        assert state.last_event_id == "1"
        assert state.delay_s(0.0) == 0.5
        later = state.delay_s(1.0)
        assert later is not None
        assert 0.5 < later <= 0.6

    def test_no_retry_is_leave_to_come_at_once_again_and_again(self) -> None:
        state = Resumption()
        state.heard(parsed(b"id: 1\nretry: 0\ndata:\n\n"))
        state.cut()
        assert (state.delay_s(0.0) or 0.0) >= 0.05

    def test_failures_in_a_row_wait_longer_and_then_end_it(self) -> None:
        state = Resumption()
        waits = []
        for _ in range(MAX_FAILURES):
            state.cut()
            waits.append(state.delay_s(0.0))
        assert waits == [1, 2, 4, 8, 16, LONGEST_S, LONGEST_S, LONGEST_S]
        state.cut()
        assert state.delay_s(0.0) is None

    def test_never_sooner_than_the_server_says(self) -> None:
        state = Resumption()
        state.heard(parsed(b"retry: 60000\n\n"))
        for _ in range(MAX_FAILURES):
            state.cut()
            wait_s = state.delay_s(0.0)
            assert wait_s is not None
            assert wait_s >= 60

    def test_news_begin_the_count_anew(self) -> None:
        state = Resumption()
        for number in range(50):
            state.heard(parsed(b"id: %d\ndata:\n\n" % number))
            state.cut()
            assert state.failures == 0

    def test_the_same_event_again_is_no_news(self) -> None:
        state = Resumption()
        for _ in range(3):
            state.heard(parsed(b"id: 1\ndata:\n\n"))
            state.cut()
        assert state.failures == 2

    @pytest.mark.parametrize("identifier", [b"", b"a\x01", b"a" * 5_000])
    def test_ids_that_lead_nowhere_are_not_used(self, identifier: bytes) -> None:
        state = Resumption()
        parser = SSEParser(max_bytes=10_000)
        parser.feed(b"id: 1\ndata:\n\n")
        state.heard(parser)
        parser.feed(b"id: %b\ndata:\n\n" % identifier)
        state.heard(parser)
        assert state.last_event_id is None

    def test_a_stream_without_ids_keeps_none(self) -> None:
        state = Resumption()
        state.heard(parsed(b"data: x\n\n"))
        assert state.last_event_id is None


MARKED = {"type": "object", "properties": {"a": {"type": "integer", "x-mcp-header": "A"}}}
INVALID = {"type": "object", "properties": {"a": {"type": "number", "x-mcp-header": "A"}}}


def tool(name: str, schema: dict[str, Any], **hints: bool) -> models.Tool:
    return models.Tool(name=name, input_schema=schema, annotations=models.ToolAnnotations(**hints))


class TestKnownTools:
    def test_marks_are_mirrored(self) -> None:
        tools = KnownTools()
        assert tools.learn([tool("t", MARKED)], marks=True) == {}
        assert tools.mirrored("t", {"a": 42}) == b"mcp-param-a: 42\r\n"
        assert tools.mirrored("t", {"a": 42.0}) == b"mcp-param-a: 42\r\n"
        assert tools.mirrored("t", {"a": True}) == b"mcp-param-a: true\r\n"
        for nothing in ({}, {"a": None}, {"a": [1]}, {"b": 1}):
            assert tools.mirrored("t", nothing) == b""
        assert tools.mirrored("other", {"a": 1}) == tools.mirrored(None, {}) == b""

    def test_invalid_ones_hide_a_tool_until_they_are_mended(self) -> None:
        tools = KnownTools()
        assert set(tools.learn([tool("bad", INVALID), tool("t", MARKED)], marks=True)) == {"bad"}
        assert "integer" in str(tools.problem("bad"))
        assert tools.problem("t") is None
        tools.learn([tool("bad", MARKED)], marks=True)
        assert tools.problem("bad") is None

    def test_other_revisions_know_no_marks(self) -> None:
        tools = KnownTools()
        assert tools.learn([tool("bad", INVALID), tool("t", MARKED)], marks=False) == {}
        assert tools.mirrored("t", {"a": 1}) == b""

    def test_what_may_be_repeated(self) -> None:
        tools = KnownTools()
        tools.learn(
            [
                tool("reads", {}, read_only_hint=True),
                tool("again", {}, idempotent_hint=True),
                tool("no", {}, idempotent_hint=False),
                models.Tool(name="silent", input_schema={}),
            ],
            marks=True,
        )
        assert may_repeat("tools/list", None, tools)
        assert may_repeat("resources/read", "mem://x", tools)
        assert not may_repeat("tasks/update", "1", tools)
        assert not may_repeat("x/y", None, tools)
        names = ("reads", "again", "no", "silent", "unknown")
        assert [may_repeat("tools/call", name, tools) for name in names] == [True, True, False, False, False]
