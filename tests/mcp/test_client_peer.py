"""The client's side of the peer: what is sent, what is answered, and what is not."""

from __future__ import annotations

from typing import Any

import pytest
from wire import ClientWire

from taut import models
from taut.errors import (
    ConnectionClosed,
    InvalidMessage,
    InvalidParams,
    LimitExceeded,
    LocalProtocolError,
    MethodNotFound,
    ParseError,
    RemoteError,
    RequestCancelled,
    RequestTimeout,
    ResourceNotFound,
)
from taut.mcp.inbound import Request
from taut.mcp.limits import Limits
from taut.mcp.negotiation import Agreement
from taut.mcp.outbound import Pending

TOOLS = models.ServerCapabilities(tools=models.ToolsCapability())


def legacy(
    wire: ClientWire, capabilities: models.ServerCapabilities = TOOLS, revision: str = "2025-11-25"
) -> None:
    result = models.InitializeResult(
        protocol_version=revision, capabilities=capabilities, server_info=models.Implementation("server", "1")
    )
    wire.peer.speak(revision)
    wire.peer.agree(Agreement(revision, initialized=result))
    assert wire.heard_one()["method"] == "notifications/initialized"


def modern(wire: ClientWire, capabilities: models.ServerCapabilities = TOOLS) -> None:
    result = models.DiscoverResult(
        supported_versions=["2026-07-28"], capabilities=capabilities, ttl_ms=0, cache_scope="private"
    )
    wire.peer.agree(Agreement("2026-07-28", discovered=result))


class Calls:
    """Makes calls and keeps how they ended."""

    def __init__(self, wire: ClientWire) -> None:
        self.wire = wire
        self.done: list[Pending] = []

    def call(self, method: str = "tools/call", params: Any = None, **options: Any) -> Pending:
        given = models.CallToolParams(name="t") if params is None else params
        return self.wire.peer.request(method, given, self.done.append, now=options.pop("now", 0.0), **options)


class TestWire:
    def test_a_legacy_request_carries_no_terms(self) -> None:
        wire = ClientWire()
        legacy(wire)
        Calls(wire).call()
        assert wire.heard_one() == {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "t"},
        }

    def test_a_modern_request_carries_its_terms(self) -> None:
        wire = ClientWire(models.ClientCapabilities(sampling=models.SamplingCapability()))
        modern(wire)
        Calls(wire).call()
        assert wire.heard_one()["params"]["_meta"] == {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "client", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"sampling": {}},
        }

    def test_progress_token_and_own_meta_travel_beside_the_terms(self) -> None:
        wire = ClientWire()
        modern(wire)
        Calls(wire).call(on_progress=lambda params: None, meta={"traceparent": "00-a-b-01"})
        meta = wire.heard_one()["params"]["_meta"]
        assert (meta["progressToken"], meta["traceparent"]) == (1, "00-a-b-01")
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"

    def test_params_that_cannot_be_encoded_leave_nothing_behind(self) -> None:
        wire = ClientWire()
        legacy(wire)
        with pytest.raises(LocalProtocolError, match="params of tools/call cannot be encoded"):
            Calls(wire).call(params=models.CallToolParams(name="t", arguments={"x": object()}))
        assert wire.heard() == []
        assert wire.peer.open_calls == 0

    def test_a_method_needs_its_capability_and_revision(self) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        with pytest.raises(LocalProtocolError, match=r"prompts/list needs the capability prompts"):
            calls.call("prompts/list", models.PaginatedParams())
        with pytest.raises(
            LocalProtocolError, match=r"server/discover does not exist in revision 2025-11-25"
        ):
            calls.call("server/discover", models.RequestParams())
        assert wire.heard() == []


class TestAnswers:
    def test_answers_find_their_calls_in_any_order(self) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        one, two = calls.call(), calls.call()
        wire.answer(2, {"content": []})
        wire.answer(1, {"content": [{"type": "text", "text": "x"}]})
        assert calls.done == [two, one]
        assert one.result() == models.CallToolResult([models.TextContent("x")])

    @pytest.mark.parametrize(
        ("code", "kind"),
        [(-32601, MethodNotFound), (-32602, InvalidParams), (-32002, ResourceNotFound), (-1, RemoteError)],
    )
    def test_an_error_is_raised_as_its_class(self, code: int, kind: type[RemoteError]) -> None:
        wire = ClientWire()
        legacy(wire)
        pending = Calls(wire).call()
        wire.say({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "m", "data": [1]}})
        with pytest.raises(kind) as caught:
            pending.result()
        assert (type(caught.value), caught.value.code, caught.value.data) == (kind, code, [1])

    @pytest.mark.parametrize("id", ["1", 1.0, 99, None, "x"])
    def test_an_answer_to_nobody_is_dropped(self, id: Any) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        calls.call()
        wire.heard()
        wire.answer(id, {"content": []})
        assert (calls.done, wire.peer.open_calls, wire.heard()) == ([], 1, [])

    def test_a_result_of_the_wrong_shape_is_the_servers_error(self) -> None:
        wire = ClientWire()
        legacy(wire)
        pending = Calls(wire).call()
        wire.answer(1, {"content": 3})
        with pytest.raises(InvalidMessage, match="content"):
            pending.result()

    def test_a_malformed_error_object_is_the_servers_error(self) -> None:
        wire = ClientWire()
        legacy(wire)
        pending = Calls(wire).call()
        wire.say(b'{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}')
        with pytest.raises(InvalidMessage):
            pending.result()

    def test_a_frame_that_is_no_message_ends_the_call_that_it_names(self) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        pending = calls.call()
        wire.heard()
        wire.say(b'{"jsonrpc":"2.0","id":1,"result":{"a":1,"a":2}}')
        assert calls.done == [pending]
        assert wire.heard() == []

    def test_garbage_is_counted_and_not_answered(self) -> None:
        wire = ClientWire()
        legacy(wire)
        wire.say(b"starting up...")
        assert (wire.heard(), wire.peer.malformed) == ([], 1)
        assert isinstance(wire.peer.last_malformed, ParseError)


class TestCancellation:
    def test_the_server_is_told_and_a_late_answer_dropped(self) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        pending = calls.call()
        wire.heard()
        wire.peer.cancel(pending, "bored")
        assert wire.heard_one()["params"] == {"requestId": 1, "reason": "bored"}
        with pytest.raises(RequestCancelled, match="bored"):
            pending.result()
        wire.answer(1, {"content": []})
        wire.peer.cancel(pending)
        assert (calls.done, wire.heard(), wire.peer.stray_answers) == ([pending], [], 1)

    def test_initialize_is_never_cancelled_on_the_wire(self) -> None:
        wire = ClientWire()
        params = wire.peer.profile.initialize_params("2025-11-25")
        pending = Calls(wire).call("initialize", params)
        wire.heard()
        wire.peer.cancel(pending)
        assert wire.heard() == []

    def test_closing_ends_every_call_with_its_error(self) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        one, two = calls.call(), calls.call()
        gone = ConnectionClosed("gone")
        wire.peer.close(gone)
        assert [pending.error for pending in (one, two)] == [gone, gone]
        assert wire.peer.open_calls == 0


class TestTime:
    def test_a_call_expires_at_its_deadline_and_not_before(self) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        pending = calls.call(now=100.0, timeout_s=5.0)
        assert wire.peer.next_deadline() == 105.0
        wire.peer.expire(104.9)
        assert not pending.done
        wire.heard()
        wire.peer.expire(105.0)
        with pytest.raises(RequestTimeout, match=r"tools/call within 5 s"):
            pending.result()
        assert wire.heard_one()["method"] == "notifications/cancelled"
        assert wire.peer.next_deadline() is None

    def test_progress_extends_it_up_to_the_total(self) -> None:
        wire = ClientWire()
        legacy(wire)
        pending = Calls(wire).call(timeout_s=5.0, total_timeout_s=8.0, on_progress=lambda params: None)
        wire.peer.extend(pending, 4.0)
        wire.peer.expire(5.0)
        assert not pending.done
        assert wire.peer.next_deadline() == 8.0
        wire.peer.extend(pending, 7.0)
        wire.peer.expire(8.0)
        with pytest.raises(RequestTimeout, match="within 8 s"):
            pending.result()

    def test_a_total_alone_bounds_the_wait(self) -> None:
        wire = ClientWire()
        legacy(wire)
        pending = Calls(wire).call(total_timeout_s=3.0)
        wire.peer.expire(3.0)
        assert isinstance(pending.error, RequestTimeout)

    def test_ended_calls_leave_no_deadlines_behind(self) -> None:
        wire = ClientWire()
        legacy(wire)
        calls = Calls(wire)
        for _ in range(5_000):
            pending = calls.call(timeout_s=60.0)
            wire.answer(pending.id, {"content": []})
        wire.heard()
        assert len(wire.peer._deadlines) < 200


class TestProgress:
    def test_only_growing_values_of_open_calls_are_delivered(self) -> None:
        wire = ClientWire()
        legacy(wire)
        seen: list[float] = []
        Calls(wire).call(on_progress=lambda params: seen.append(params.progress))
        for value in (1, 1, 0.5, 2.5):
            wire.notify("notifications/progress", {"progressToken": 1, "progress": value})
        wire.notify("notifications/progress", {"progressToken": "1", "progress": 9})
        wire.notify("notifications/progress", {"progressToken": 1})
        wire.answer(1, {"content": []})
        wire.notify("notifications/progress", {"progressToken": 1, "progress": 10})
        assert seen == [1, 2.5]


class TestRequestsOfTheServer:
    def test_those_that_were_declared_reach_the_driver(self) -> None:
        wire = ClientWire(models.ClientCapabilities(roots=models.RootsCapability()))
        legacy(wire)
        request = wire.call("r", "roots/list")
        assert isinstance(request, Request)
        request.respond(models.ListRootsResult(roots=[models.Root("file:///x")]))
        assert wire.heard_one()["result"] == {"roots": [{"uri": "file:///x"}]}

    @pytest.mark.parametrize("method", ["roots/list", "sampling/createMessage", "tools/list", "nope"])
    def test_others_are_not_found(self, method: str) -> None:
        wire = ClientWire()
        legacy(wire)
        assert wire.call(5, method) is None
        assert wire.heard_one()["error"]["code"] == -32601

    def test_elicitation_is_younger_than_2025_06_18(self) -> None:
        wire = ClientWire(models.ClientCapabilities(elicitation=models.ElicitationCapability()))
        legacy(wire, revision="2025-03-26")
        wire.call(5, "elicitation/create", {"message": "x", "requestedSchema": {}})
        assert wire.heard_one()["error"]["code"] == -32601

    def test_ping_is_answered(self) -> None:
        wire = ClientWire()
        legacy(wire)
        wire.call("p", "ping")
        assert wire.heard_one() == {"jsonrpc": "2.0", "id": "p", "result": {}}

    def test_a_server_that_asks_and_does_not_read_cannot_fill_our_memory(self) -> None:
        wire = ClientWire(limits=Limits(max_unsent_bytes=1_000))
        legacy(wire)
        for number in range(1_000):
            wire.call(number, "ping")
        assert 1_000 < len(wire.peer.out) < 3_000
        answered = wire.heard()
        wire.call("again", "ping")
        assert wire.heard_one() == {"jsonrpc": "2.0", "id": "again", "result": {}}
        assert [one["id"] for one in answered] == list(range(len(answered)))

    def test_in_the_modern_era_nothing_is_answered(self) -> None:
        wire = ClientWire(models.ClientCapabilities(roots=models.RootsCapability()))
        modern(wire)
        assert wire.call(5, "roots/list") is None
        assert (wire.heard(), wire.peer.malformed) == ([], 1)


def test_too_many_calls_in_flight_are_refused_by_name() -> None:
    wire = ClientWire(limits=Limits(max_in_flight=1))
    legacy(wire)
    calls = Calls(wire)
    calls.call()
    with pytest.raises(LimitExceeded, match="max_in_flight is 1"):
        calls.call()
