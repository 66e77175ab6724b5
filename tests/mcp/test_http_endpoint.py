"""The ladder of checks between an HTTP request and its handler, without HTTP and without handlers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from wire import META, server_profile

from taut import models
from taut.errors import MissingRequiredClientCapability, RemoteError
from taut.mcp.http.endpoint import Endpoint
from taut.mcp.http.guard import Guard
from taut.mcp.http.head import Head
from taut.mcp.http.reply import Reply, Response
from taut.mcp.http.values import ParamHeaders, encode_value
from taut.mcp.limits import Limits

REVISION = "2026-07-28"
HEADERS = {
    "host": "localhost:8000",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": REVISION,
}
MIRRORED = ParamHeaders.compile(
    {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "q": {"type": "string"}}}
)


def endpoint(limits: Limits | None = None, **options: Any) -> Endpoint:
    profile = server_profile(**options)
    return Endpoint(
        lambda: profile,
        {"mirrored": SimpleNamespace(param_headers=MIRRORED)}.get,
        guard=Guard(),
        limits=limits or Limits(),
    )


def ask(
    method: str,
    params: dict[str, Any] | None = None,
    *,
    meta: Any = META,
    headers: dict[str, str | None] | None = None,
    body: bytes | None = None,
    http_method: str = "POST",
    at: Endpoint | None = None,
    more: list[tuple[bytes, bytes]] | None = None,
) -> Response | Reply:
    """Send one request; ``headers`` replace the right ones, None leaves one out."""
    own = {"_meta": meta, **(params or {})} if meta is not None else params or {}
    all_headers: dict[str, str | None] = {**HEADERS, "mcp-method": method}
    name = own.get("name", own.get("uri"))
    if isinstance(name, str) and name.isascii():
        all_headers["mcp-name"] = name
    all_headers |= headers or {}
    raw = [(key.encode(), value.encode()) for key, value in all_headers.items() if value is not None]
    if body is None:
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": 7, "method": method, "params": own})
    target = at or endpoint()
    head = target.admit(http_method, [*raw, *(more or [])])
    if isinstance(head, Reply):
        return head
    try:
        return target.receive(head, body)
    finally:
        target.leave()


def outcome(answer: Response | Reply) -> tuple[int, int | None, Any]:
    """Return HTTP status, JSON-RPC error code and id."""
    assert isinstance(answer, Reply), "got through"
    if not answer.body:
        return answer.status, None, None
    message = msgspec.json.decode(answer.body)
    return answer.status, message.get("error", {}).get("code"), message.get("id")


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in META.items() if not name.endswith(key)}


def speaking(revision: Any) -> dict[str, Any]:
    return {**META, models.PROTOCOL_VERSION_KEY: revision}


CALL = {"name": "add", "arguments": {}}

#: What is wrong -> (how to say it, HTTP status, JSON-RPC code, id of the answer). In the ladder's order.
LADDER: dict[str, tuple[dict[str, Any], int, int | None, Any]] = {
    "a foreign host": ({"headers": {"host": "evil.example:8000"}}, 403, -32600, None),
    "no host": ({"headers": {"host": None}}, 400, -32600, None),
    "two hosts": ({"more": [(b"host", b"localhost")]}, 400, -32600, None),
    "a foreign origin": ({"headers": {"origin": "http://evil.example"}}, 403, -32600, None),
    "an opaque origin": ({"headers": {"origin": "null"}}, 403, -32600, None),
    "GET": ({"http_method": "GET"}, 405, -32600, None),
    "DELETE": ({"http_method": "DELETE"}, 405, -32600, None),
    "no content type": ({"headers": {"content-type": None}}, 415, -32600, None),
    "plain text": ({"headers": {"content-type": "text/plain"}}, 415, -32600, None),
    "another charset": (
        {"headers": {"content-type": "application/json; charset=latin-1"}},
        415,
        -32600,
        None,
    ),
    "no accept": ({"headers": {"accept": None}}, 406, -32600, None),
    "accepts JSON only": ({"headers": {"accept": "application/json"}}, 406, -32600, None),
    "refuses events": ({"headers": {"accept": "application/json, text/event-stream;q=0"}}, 406, -32600, None),
    "no JSON": ({"body": b"{nope"}, 400, -32700, None),
    "no body": ({"body": b""}, 400, -32700, None),
    "a duplicate key": (
        {"body": b'{"jsonrpc":"2.0","id":7,"method":"a","method":"tools/list"}'},
        400,
        -32700,
        7,
    ),
    "no message": ({"body": b'{"jsonrpc":"2.0","id":7}'}, 400, -32600, 7),
    "an id that is none": ({"body": b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}'}, 400, -32600, None),
    "a batch": ({"body": b'[{"jsonrpc":"2.0","id":7,"method":"tools/list"}]'}, 400, -32600, None),
    "an answer": ({"body": b'{"jsonrpc":"2.0","id":7,"result":{}}'}, 400, -32600, None),
    "no _meta": ({"meta": None}, 400, -32602, 7),
    "no version in _meta": ({"meta": without("protocolVersion")}, 400, -32602, 7),
    "no capabilities in _meta": ({"meta": without("clientCapabilities")}, 400, -32602, 7),
    "a version that is no text": ({"meta": speaking(3)}, 400, -32602, 7),
    "a missing pair before a mismatch": (
        {"meta": without("clientCapabilities"), "headers": {"mcp-method": "ping"}},
        400,
        -32602,
        7,
    ),
    "no version header": ({"headers": {"mcp-protocol-version": None}}, 400, -32020, 7),
    "another version header": ({"headers": {"mcp-protocol-version": "2025-11-25"}}, 400, -32020, 7),
    "a mismatch before an unknown version": ({"meta": speaking("2031-01-01")}, 400, -32020, 7),
    "no method header": ({"headers": {"mcp-method": None}}, 400, -32020, 7),
    "another method header": ({"headers": {"mcp-method": "tools/list"}}, 400, -32020, 7),
    "a method header in capitals": ({"headers": {"mcp-method": "Tools/Call"}}, 400, -32020, 7),
    "no name header": ({"headers": {"mcp-name": None}}, 400, -32020, 7),
    "another name header": ({"headers": {"mcp-name": "sub"}}, 400, -32020, 7),
    "a malformed name header": ({"headers": {"mcp-name": "=?base64?YWRk!?="}}, 400, -32020, 7),
    "a name header twice": ({"more": [(b"mcp-name", b"add")]}, 400, -32020, 7),
    "an unknown version": (
        {"meta": speaking("2031-01-01"), "headers": {"mcp-protocol-version": "2031-01-01"}},
        400,
        -32022,
        7,
    ),
}


class TestLadder:
    @pytest.mark.parametrize("case", LADDER.values(), ids=LADDER)
    def test_what_is_wrong_is_told(self, case: tuple[dict[str, Any], int, int | None, Any]) -> None:
        said, status, code, id = case
        at = endpoint()
        assert outcome(ask("tools/call", CALL, at=at, **said)) == (status, code, id)
        assert at.open == 0

    def test_a_right_request_gets_through(self) -> None:
        answer = ask("tools/call", CALL)
        assert isinstance(answer, Response)
        assert (answer.request.method, answer.request.id) == ("tools/call", b"7")

    def test_known_terms_are_checked_against_the_headers_too(self) -> None:
        at = endpoint()
        assert isinstance(ask("tools/call", CALL, at=at), Response)
        assert outcome(ask("tools/call", CALL, at=at, headers={"mcp-method": "x"}))[1] == -32020

    def test_the_allowed_method_is_named(self) -> None:
        answer = ask("tools/call", CALL, http_method="PUT")
        assert isinstance(answer, Reply)
        assert (b"allow", b"POST") in answer.headers

    def test_an_unknown_method_is_not_found(self) -> None:
        assert outcome(ask("tools/nothing")) == (404, -32601, 7)

    @pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe"])
    def test_methods_of_the_legacy_era_are_not_found(self, method: str) -> None:
        assert outcome(ask(method)) == (404, -32601, 7)

    def test_an_unsupported_version_is_answered_with_those_that_are(self) -> None:
        answer = ask("tools/list", meta=speaking("x"), headers={"mcp-protocol-version": "x"})
        assert isinstance(answer, Reply)
        error = msgspec.json.decode(answer.body)["error"]
        assert error["data"] == {"supported": [REVISION], "requested": "x"}

    def test_discover_is_answered_here(self) -> None:
        answer = ask("server/discover")
        assert isinstance(answer, Reply)
        assert answer.status == 200
        result = msgspec.json.decode(answer.body)["result"]
        assert result["supportedVersions"] == [REVISION]
        assert result["resultType"] == "complete"


class TestNotifications:
    BODY = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{}}'

    def test_one_is_accepted_without_a_body(self) -> None:
        assert outcome(ask("x", body=self.BODY)) == (202, None, None)

    def test_one_of_an_unknown_version_is_not(self) -> None:
        headers: dict[str, str | None] = {"mcp-protocol-version": "2031-01-01"}
        assert outcome(ask("x", body=self.BODY, headers=headers)) == (400, -32022, None)

    def test_one_without_a_version_is_not(self) -> None:
        assert outcome(ask("x", body=self.BODY, headers={"mcp-protocol-version": None}))[1] == -32020


class TestHeaders:
    @pytest.mark.parametrize(
        "headers",
        [
            {"host": "127.0.0.1"},
            {"host": "[::1]:9"},
            {"host": "LOCALHOST:1"},
            {"origin": "http://localhost:5173"},
            {"content-type": "Application/JSON; Charset=UTF-8"},
            {"accept": "text/event-stream;q=0.5,application/json"},
            {"accept": "*/*"},
            {"accept": "application/*, text/*;q=0.1"},
            {"mcp-method": " tools/call\t"},
            {"mcp-name": "=?base64?YWRk?="},
            {"mcp-session-id": "ignored", "last-event-id": "1"},
        ],
    )
    def test_other_spellings_are_fine(self, headers: dict[str, str | None]) -> None:
        assert isinstance(ask("tools/call", CALL, headers=headers), Response)

    def test_accept_may_come_in_pieces(self) -> None:
        answer = ask(
            "tools/call",
            CALL,
            headers={"accept": "application/json"},
            more=[(b"accept", b"text/event-stream")],
        )
        assert isinstance(answer, Response)

    @pytest.mark.parametrize("name", ["héllo", " padded ", "=?base64?YWRk?="])
    def test_a_name_that_needs_encoding_is_compared_decoded(self, name: str) -> None:
        call = {"name": name, "arguments": {}}
        encoded = encode_value(name).decode()
        assert isinstance(ask("tools/call", call, headers={"mcp-name": encoded}), Response)

    def test_a_name_that_looks_encoded_must_be(self) -> None:
        call = {"name": "=?base64?YWRk?=", "arguments": {}}
        assert outcome(ask("tools/call", call))[1] == -32020

    def test_the_uri_is_the_name_of_a_resource(self) -> None:
        params = {"uri": "file:///x"}
        assert isinstance(ask("resources/read", params), Response)
        assert outcome(ask("resources/read", params, headers={"mcp-name": "file:///y"}))[1] == -32020

    @pytest.mark.parametrize(("method", "params"), [("tools/list", {}), ("tools/call", CALL)])
    def test_a_head_remembers_nothing_large_of_a_body(self, method: str, params: dict[str, Any]) -> None:
        target = endpoint()
        headers = {**HEADERS, "mcp-method": method, "mcp-name": "add"}
        head = target.admit("POST", [(name.encode(), value.encode()) for name, value in headers.items()])
        assert isinstance(head, Head)
        for uri in ("x://y", "x" * 100_000):
            own = {**params, "uri": uri, "_meta": META}
            body = msgspec.json.encode({"jsonrpc": "2.0", "id": 7, "method": method, "params": own})
            assert isinstance(target.receive(head, body), Response)
            assert 0 < sum(len(part or "") for part in head.agreed) < 1000
            assert "x://y" in head.agreed

    def test_mirrored_arguments_are_compared(self) -> None:
        call = {"name": "mirrored", "arguments": {"region": "eu", "q": "x"}}
        assert isinstance(ask("tools/call", call, headers={"mcp-param-region": "eu"}), Response)
        assert outcome(ask("tools/call", call, headers={"mcp-param-region": "us"})) == (400, -32020, 7)
        assert outcome(ask("tools/call", call)) == (400, -32020, 7)
        twice = [(b"mcp-param-region", b"eu"), (b"mcp-param-region", b"eu")]
        assert outcome(ask("tools/call", call, more=twice)) == (400, -32020, 7)


class TestLimits:
    def test_a_declared_body_that_is_too_long_is_refused_unread(self) -> None:
        at = endpoint(Limits(max_message_bytes=100))
        answer = ask("tools/call", CALL, at=at, headers={"content-length": "101"})
        assert outcome(answer) == (413, -32600, None)
        assert at.open == 0

    def test_more_requests_than_may_be_open_are_sent_away_for_a_second(self) -> None:
        at = endpoint(Limits(max_in_flight=1))
        raw = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
        assert not isinstance(at.admit("POST", raw), Reply)
        answer = at.admit("POST", raw)
        assert isinstance(answer, Reply)
        assert (answer.status, answer.headers) == (503, ((b"retry-after", b"1"),))
        at.leave()
        assert not isinstance(at.admit("POST", raw), Reply)

    def test_nesting_is_bounded(self) -> None:
        at = endpoint(Limits(max_depth=4))
        call = {"name": "add", "arguments": {"a": [[[]]]}}
        assert outcome(ask("tools/call", call, at=at))[:2] == (400, -32700)


class TestResponse:
    def accepted(self, **meta: Any) -> Response:
        answer = ask("tools/call", CALL, meta={**META, **meta})
        assert isinstance(answer, Response)
        return answer

    def test_an_answer_alone_is_one_body(self) -> None:
        response = self.accepted()
        response.request.respond({"x": 1})
        assert response.ended
        assert not response.streams
        reply = response.reply()
        assert reply.status == 200
        assert msgspec.json.decode(reply.body)["result"]["x"] == 1

    def test_what_comes_before_the_answer_makes_a_stream_of_both(self) -> None:
        response = self.accepted(progressToken="t")
        assert response.request.progress(1)
        assert response.streams
        assert b'"progress":1' in response.events()
        assert response.events().startswith(b":")
        response.request.respond({"x": 1})
        last = response.events()
        assert last.startswith(b"event: message\ndata: {")
        assert last.endswith(b"}\n\n")
        assert last.count(b"data:") == 1

    def test_requests_with_the_same_id_do_not_meet(self) -> None:
        at = endpoint()
        one, two = (ask("tools/call", CALL, at=at, meta={**META, "progressToken": 1}) for _ in "ab")
        assert isinstance(one, Response)
        assert isinstance(two, Response)
        one.request.progress(1)
        one.request.respond({})
        assert not two.streams
        assert two.unsent_bytes == 0
        assert not two.ended

    def test_an_error_of_the_handler_has_its_status(self) -> None:
        response = self.accepted()
        response.request.fail(MissingRequiredClientCapability("no", data={}))
        assert response.reply().status == 400

    def test_a_code_that_the_revision_has_taken_away_is_not_passed_on(self) -> None:
        response = self.accepted()
        response.request.fail(RemoteError("gone", code=-32002))
        reply = response.reply()
        assert (reply.status, msgspec.json.decode(reply.body)["error"]["code"]) == (400, -32602)

    def test_nothing_is_said_after_a_cancellation(self) -> None:
        response = self.accepted(progressToken="t")
        response.request.cancel()
        assert not response.request.progress(1)
        response.request.respond({})
        assert response.unsent_bytes == 0
