"""Era, lifecycle and gating on the server's side."""

from __future__ import annotations

from typing import Any

import pytest
from wire import META, ServerWire, server_profile

from taut import models
from taut.errors import ConnectionClosed, InternalError
from taut.mcp.inbound import Request, RequestState
from taut.mcp.limits import Limits
from taut.mcp.peer import Notification
from taut.mcp.server_peer import Era

LIST = "tools/list"


def error_of(wire: ServerWire) -> tuple[Any, int]:
    message = wire.heard_one()
    return message.get("id"), message["error"]["code"]


class TestEra:
    def test_initialize_opens_a_legacy_session(self) -> None:
        wire = ServerWire()
        result = wire.initialize("2025-06-18")
        assert result["protocolVersion"] == "2025-06-18"
        assert wire.peer.era is Era.LEGACY
        assert wire.peer.ready

    @pytest.mark.parametrize("revision", ["2026-07-28", "1999-01-01", "", "2025-13-99"])
    def test_an_unsupported_revision_gets_the_newest_legacy_one(self, revision: str) -> None:
        assert ServerWire().initialize(revision)["protocolVersion"] == "2025-11-25"

    def test_a_request_with_terms_is_served_without_a_session(self) -> None:
        wire = ServerWire()
        request = wire.modern(1, LIST)
        assert isinstance(request, Request)
        assert request.caller.revision == "2026-07-28"
        assert wire.peer.era is Era.MODERN

    def test_a_refused_request_decides_nothing(self) -> None:
        wire = ServerWire()
        wire.modern(1, LIST, protocolVersion="2031-01-01")
        assert error_of(wire) == (1, -32022)
        assert wire.peer.era is None
        wire.initialize()

    def test_initialize_on_a_modern_connection_names_the_versions(self) -> None:
        wire = ServerWire()
        wire.modern(1, LIST)
        wire.call(
            2,
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            },
        )
        error = wire.heard_one()["error"]
        assert error["code"] == -32022
        assert error["data"] == {"supported": ["2026-07-28"], "requested": "2025-11-25"}

    def test_terms_in_a_legacy_session_are_refused(self) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.modern(1, LIST)
        assert error_of(wire) == (1, -32600)

    def test_the_era_does_not_change(self) -> None:
        wire = ServerWire()
        wire.modern(1, LIST)
        wire.call(2, LIST, {})
        assert error_of(wire) == (2, -32602)

    def test_before_initialize_only_ping_is_answered(self) -> None:
        wire = ServerWire()
        wire.call(1, "ping")
        assert wire.heard_one() == {"jsonrpc": "2.0", "id": 1, "result": {}}
        wire.call(2, LIST)
        assert error_of(wire) == (2, -32600)

    def test_a_second_initialize_is_refused(self) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.call(
            1,
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            },
        )
        assert error_of(wire) == (1, -32600)

    def test_a_modern_only_server_answers_initialize_with_its_versions(self) -> None:
        wire = ServerWire(server_profile(revisions=["2026-07-28"]))
        wire.call(
            1,
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            },
        )
        error = wire.heard_one()["error"]
        assert (error["code"], error["data"]["supported"]) == (-32022, ["2026-07-28"])

    def test_a_legacy_only_server_refuses_terms_with_an_error_that_is_not_modern(self) -> None:
        wire = ServerWire(server_profile(revisions=["2025-11-25"]))
        wire.call(1, "server/discover", {"_meta": META})
        assert error_of(wire)[1] == -32022


class TestModernTerms:
    @pytest.mark.parametrize("missing", ["protocolVersion", "clientCapabilities"])
    def test_a_missing_required_key_is_invalid_params(self, missing: str) -> None:
        wire = ServerWire()
        wire.modern(1, LIST)
        wire.heard()
        meta = {name: value for name, value in META.items() if not name.endswith(missing)}
        wire.call(2, LIST, {"_meta": meta})
        assert error_of(wire) == (2, -32602)

    def test_client_info_is_optional(self) -> None:
        meta = {name: value for name, value in META.items() if not name.endswith("clientInfo")}
        assert isinstance(ServerWire().call(1, LIST, {"_meta": meta}), Request)

    @pytest.mark.parametrize(
        "terms", [{"protocolVersion": 3}, {"clientCapabilities": []}, {"logLevel": "loud"}, {"clientInfo": 3}]
    )
    def test_malformed_terms_are_invalid_params(self, terms: dict[str, Any]) -> None:
        wire = ServerWire()
        wire.modern(1, LIST, **terms)
        assert error_of(wire) == (1, -32602)

    @pytest.mark.parametrize("method", ["ping", "logging/setLevel", "resources/subscribe", "nope"])
    def test_methods_of_the_other_era_are_not_found(self, method: str) -> None:
        wire = ServerWire()
        wire.modern(1, method)
        assert error_of(wire) == (1, -32601)

    def test_discover_lists_modern_versions_and_names_the_server(self) -> None:
        wire = ServerWire(server_profile(instructions="be kind"))
        assert wire.modern("a", "server/discover") is None
        message = wire.heard_one()
        assert message["id"] == "a"
        result = message["result"]
        assert result["supportedVersions"] == ["2026-07-28"]
        assert result["instructions"] == "be kind"
        assert result["resultType"] == "complete"
        assert (result["ttlMs"] >= 0, result["cacheScope"]) == (True, "public")
        assert result["_meta"]["io.modelcontextprotocol/serverInfo"] == {"name": "server", "version": "1"}

    def test_each_request_has_its_own_terms(self) -> None:
        wire = ServerWire()
        one = wire.modern(1, LIST, clientCapabilities={"sampling": {}})
        two = wire.modern(2, LIST)
        assert models.declares(one.caller.capabilities, "sampling")
        assert not models.declares(two.caller.capabilities, "sampling")

    def test_results_name_type_and_server(self) -> None:
        wire = ServerWire()
        wire.modern(1, "tools/call", {"name": "x"}).respond(models.CallToolResult([]))
        result = wire.heard_one()["result"]
        assert result["resultType"] == "complete"
        assert "io.modelcontextprotocol/serverInfo" in result["_meta"]

    def test_a_result_keeps_its_own_meta_beside_the_server_info(self) -> None:
        wire = ServerWire()
        wire.modern(1, "tools/call", {"name": "x"}).respond(models.CallToolResult([], meta={"mine": 1}))
        meta = wire.heard_one()["result"]["_meta"]
        assert meta["mine"] == 1
        assert "io.modelcontextprotocol/serverInfo" in meta


class TestGating:
    def test_a_method_without_its_capability_is_not_found(self) -> None:
        wire = ServerWire(server_profile(models.ServerCapabilities(tools=models.ToolsCapability())))
        wire.initialize()
        wire.call(1, "prompts/list")
        assert error_of(wire) == (1, -32601)

    def test_a_method_that_the_revision_lacks_is_not_found(self) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.call(1, "server/discover")
        assert error_of(wire) == (1, -32601)

    def test_a_method_of_the_server_is_not_found(self) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.call(1, "roots/list")
        assert error_of(wire) == (1, -32601)

    def test_set_level_decides_which_messages_are_sent(self) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.call(1, "logging/setLevel", {"level": "error"})
        assert wire.heard_one()["result"] == {}
        request = wire.call(2, LIST)
        assert not request.log("warning", "x")
        assert request.log("critical", "y")
        assert wire.heard_one()["params"] == {"level": "critical", "data": "y"}

    def test_an_unknown_level_is_invalid_params(self) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.call(1, "logging/setLevel", {"level": "loud"})
        assert error_of(wire) == (1, -32602)

    def test_modern_requests_without_a_level_get_no_log_messages(self) -> None:
        wire = ServerWire()
        assert not wire.modern(1, LIST).log("emergency", "x")
        assert wire.modern(2, LIST, logLevel="info").log("info", "x")
        assert wire.heard_one()["method"] == "notifications/message"


class TestRequests:
    @pytest.mark.parametrize("id", [1, "1", 2**70, -5, "", "käse", 'q"uote'])
    def test_the_id_comes_back_as_it_was(self, id: Any) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.call(id, LIST).respond({})
        assert wire.heard_one()["id"] == id

    def test_an_id_in_flight_cannot_be_used_again(self) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.call(1, LIST).defer(lambda reason: None)
        wire.call(1, LIST)
        assert error_of(wire) == (1, -32600)
        assert isinstance(wire.call("1", LIST), Request)

    def test_more_requests_than_allowed_are_refused_by_name(self) -> None:
        wire = ServerWire(limits=Limits(max_in_flight=2))
        wire.initialize()
        for id in (1, 2):
            wire.call(id, LIST).defer(lambda reason: None)
        wire.call(3, LIST)
        error = wire.heard_one()["error"]
        assert error["data"] == {"limit": "max_in_flight", "maximum": 2}

    def test_cancelled_requests_are_not_answered(self) -> None:
        wire = ServerWire()
        wire.initialize()
        reasons: list[str | None] = []
        request = wire.call("x", LIST)
        request.defer(reasons.append)
        wire.notify("notifications/cancelled", {"requestId": "x", "reason": "bored"})
        request.respond({})
        assert not request.progress(1)
        assert (reasons, wire.heard(), wire.peer.open_requests) == (["bored"], [], 0)
        assert request.state is RequestState.CANCELLED

    @pytest.mark.parametrize(
        "params", [{"requestId": 99}, {"requestId": [1]}, {}, {"requestId": "x", "reason": 3}]
    )
    def test_cancellations_of_nothing_are_ignored(self, params: dict[str, Any]) -> None:
        wire = ServerWire()
        wire.initialize()
        request = wire.call("1", LIST)
        request.defer(lambda reason: None)
        wire.notify("notifications/cancelled", params)
        assert request.state is RequestState.OPEN
        assert wire.heard() == []

    def test_progress_grows_and_stops_with_the_answer(self) -> None:
        wire = ServerWire()
        wire.initialize()
        request = wire.call(1, "tools/call", {"name": "x", "_meta": {"progressToken": "t"}})
        assert [request.progress(value) for value in (1, 1, 0.5, 2)] == [True, False, False, True]
        request.respond({})
        assert not request.progress(3)
        sent = [message for message in wire.heard() if message.get("method") == "notifications/progress"]
        assert [message["params"] for message in sent] == [
            {"progressToken": "t", "progress": 1},
            {"progressToken": "t", "progress": 2},
        ]

    def test_without_a_token_there_is_no_progress(self) -> None:
        wire = ServerWire()
        wire.initialize()
        assert not wire.call(1, LIST).progress(1)
        assert wire.heard() == []

    def test_a_request_is_answered_once(self) -> None:
        wire = ServerWire()
        wire.initialize()
        request = wire.call(1, LIST)
        request.respond({"a": 1})
        request.respond({"a": 2})
        request.fail(InternalError("late"))
        assert wire.heard_one()["result"] == {"a": 1}

    def test_closing_cancels_what_is_open(self) -> None:
        wire = ServerWire()
        wire.initialize()
        reasons: list[str | None] = []
        wire.call(1, LIST).defer(reasons.append)
        wire.peer.close(ConnectionClosed("gone"))
        assert reasons == ["gone"]
        assert wire.peer.open_requests == 0


class TestMalformed:
    @pytest.mark.parametrize(
        ("raw", "id", "code"),
        [
            (b"{", None, -32700),
            (b"nonsense", None, -32700),
            (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":[1]}', 7, -32600),
            (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, -32600),
            (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', 7, -32600),
            (b'{"jsonrpc":"2.0","id":7,"method":3}', 7, -32600),
            (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":1,"a":2}}', 7, -32700),
            (b"[]", None, -32600),
            (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, -32600),
        ],
    )
    def test_bad_frames_are_answered_and_the_next_request_too(self, raw: bytes, id: Any, code: int) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.say(raw)
        message = wire.heard_one()
        assert (message["id"], message["error"]["code"]) == (id, code)
        wire.call(8, "ping")
        assert wire.heard_one()["result"] == {}

    def test_the_modern_era_leaves_out_an_unknown_id(self) -> None:
        wire = ServerWire()
        wire.modern(1, LIST)
        wire.say(b"{")
        assert "id" not in wire.heard_one()

    @pytest.mark.parametrize(
        "raw", [b'{"jsonrpc":"2.0","id":1,"error":1}', b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}']
    )
    def test_malformed_answers_are_refused_without_their_id(self, raw: bytes) -> None:
        wire = ServerWire()
        wire.initialize()
        wire.say(raw)
        message = wire.heard_one()
        assert (message["id"], message["error"]["code"], wire.peer.stray_answers) == (None, -32600, 1)

    def test_error_responses_without_an_id_are_not_answered(self) -> None:
        wire = ServerWire()
        wire.initialize()
        for raw in (
            b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"x"}}',
            b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"x"}}',
            b'{"jsonrpc":"2.0","id":99,"result":{}}',
        ):
            wire.say(raw)
        assert wire.heard() == []
        assert wire.peer.stray_answers == 3


class TestNotifications:
    def test_known_ones_reach_the_driver(self) -> None:
        wire = ServerWire()
        wire.initialize()
        event = wire.notify("notifications/roots/list_changed")
        assert isinstance(event, Notification)
        assert event.method == "notifications/roots/list_changed"

    def test_unknown_ones_are_dropped(self) -> None:
        wire = ServerWire()
        wire.initialize()
        assert wire.notify("notifications/nope") is None
        assert wire.notify("tools/list") is None
        assert wire.heard() == []


class TestBatches:
    def wire(self) -> ServerWire:
        wire = ServerWire()
        wire.initialize("2025-03-26")
        return wire

    def test_answers_travel_as_one_array_once_the_last_is_known(self) -> None:
        wire = self.wire()
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        events = wire.say(
            [ping, {"jsonrpc": "2.0", "id": 2, "method": LIST}, {"jsonrpc": "2.0", "id": 3, "method": LIST}]
        )
        assert [type(event) for event in events] == [Request, Request]
        events[1].respond({"n": 3})
        assert wire.heard() == []
        events[0].respond({"n": 2})
        answers = wire.heard_one()
        assert {answer["id"]: answer["result"] for answer in answers} == {1: {}, 2: {"n": 2}, 3: {"n": 3}}

    def test_a_cancelled_member_does_not_hold_the_others(self) -> None:
        wire = self.wire()
        events = wire.say([{"jsonrpc": "2.0", "id": id, "method": LIST} for id in (1, 2)])
        for event in events:
            event.defer(lambda reason: None)
        events[0].respond({})
        wire.notify("notifications/cancelled", {"requestId": 2})
        assert [answer["id"] for answer in wire.heard_one()] == [1]

    def test_bad_members_get_their_own_errors(self) -> None:
        wire = self.wire()
        wire.say(
            b'[1,{"jsonrpc":"2.0","id":2,"method":"nope"},{"jsonrpc":"2.0","id":3,"method":"initialize"}]'
        )
        answers = wire.heard_one()
        assert [(answer["id"], answer["error"]["code"]) for answer in answers] == [
            (None, -32600),
            (2, -32601),
            (3, -32600),
        ]

    def test_notifications_alone_get_no_answer(self) -> None:
        wire = self.wire()
        wire.say([{"jsonrpc": "2.0", "method": "notifications/initialized"}])
        assert wire.heard() == []

    def test_too_many_messages_are_refused_by_name(self) -> None:
        wire = ServerWire(limits=Limits(max_batch=2))
        wire.initialize("2025-03-26")
        wire.say([{"jsonrpc": "2.0", "id": id, "method": "ping"} for id in (1, 2, 3)])
        assert wire.heard_one()["error"]["data"]["limit"] == "max_batch"

    @pytest.mark.parametrize("revision", ["2024-11-05", "2025-06-18", "2025-11-25"])
    def test_no_other_revision_has_them(self, revision: str) -> None:
        wire = ServerWire()
        wire.initialize(revision)
        wire.say([{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
        assert wire.heard_one()["error"]["code"] == -32600
