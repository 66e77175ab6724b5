"""What both sides share: a request that cannot be sent, ``_meta`` of a call, batches, the end of a stream."""

from __future__ import annotations

from typing import Any

import pytest
from test_client_peer import Calls, legacy, modern
from wire import EVERYTHING, ClientWire, ServerWire

from taut import models
from taut.errors import LocalProtocolError, RequestCancelled
from taut.mcp.inbound import Request
from taut.mcp.peer import Notification


class TestRequestsThatCannotBeSent:
    @pytest.mark.parametrize("what", ["endless", "no JSON", "not at this revision"])
    def test_nothing_of_them_stays(self, what: str) -> None:
        endless: dict[str, Any] = {}
        endless["x"] = endless
        params: Any = {
            "endless": models.CallToolParams("t", endless),
            "no JSON": models.CallToolParams("t", {"x": object()}),
            "not at this revision": models.ElicitParams("go", mode="url", url="https://x"),
        }[what]
        wire = ClientWire()
        legacy(wire, revision="2025-06-18")
        calls = Calls(wire)
        with pytest.raises(LocalProtocolError):
            calls.call(params=params, timeout_s=1.0)
        assert wire.peer.open_calls == 0
        wire.peer.expire(2.0)
        assert wire.heard() == []

    def test_a_result_without_end_is_an_internal_error(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        wire = ServerWire()
        request = wire.modern(1, "tools/list")
        with pytest.raises(LocalProtocolError, match="cannot be encoded"):
            request.respond(models.CallToolResult([], structured_content=endless))
        assert wire.heard_one()["error"]["code"] == -32603


class TestMeta:
    def test_a_call_may_set_what_the_connection_says(self) -> None:
        wire = ClientWire()
        modern(wire)
        meta = {"io.modelcontextprotocol/logLevel": "debug", "com.example/x": 1}
        wire.peer.speak("2026-07-28", log_level="error")
        pending = Calls(wire).call(meta=meta, on_progress=lambda params: None)
        sent = wire.heard_one()["params"]["_meta"]
        assert sent["io.modelcontextprotocol/logLevel"] == "debug"
        assert sent["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert (sent["com.example/x"], sent["progressToken"]) == (1, pending.id)

    def test_the_token_is_ours_to_choose(self) -> None:
        wire = ClientWire()
        legacy(wire)
        pending = Calls(wire).call(meta={"progressToken": "mine"}, on_progress=lambda params: None)
        assert wire.heard_one()["params"]["_meta"] == {"progressToken": pending.id}


class TestBatchesForAClient:
    def batch(self, *messages: Any) -> list[Any]:
        return [{"jsonrpc": "2.0", **message} for message in messages]

    def test_a_client_of_that_revision_takes_them(self) -> None:
        wire = ClientWire()
        legacy(wire, EVERYTHING, revision="2025-03-26")
        calls = Calls(wire)
        one, two = calls.call(), calls.call()
        wire.heard()
        events = wire.say(
            self.batch(
                {"id": two.id, "result": {"content": []}},
                {"method": "notifications/tools/list_changed"},
                {"id": 1, "method": "ping"},
                {"id": one.id, "error": {"code": -32603, "message": "no"}},
                {"id": 2, "method": "roots/list"},
            )
        )
        assert calls.done == [two, one]
        assert [type(event) for event in events] == [Notification]
        assert [sorted(answer) for answer in wire.heard_one()] == [
            ["id", "jsonrpc", "result"],
            ["error", "id", "jsonrpc"],
        ]

    def test_a_client_of_another_revision_does_not(self) -> None:
        wire = ClientWire()
        legacy(wire, revision="2025-06-18")
        assert wire.say(self.batch({"id": 1, "method": "ping"})) == []
        assert wire.heard() == []
        assert wire.peer.malformed == 1


class TestTheServerEndsAStream:
    def listen(self, wire: ClientWire) -> tuple[Calls, Any]:
        calls = Calls(wire)
        wanted = models.SubscriptionFilter(tools_list_changed=True)
        pending = calls.call("subscriptions/listen", models.SubscriptionsListenParams(notifications=wanted))
        wire.heard()
        return calls, pending

    def test_a_cancellation_by_the_server_ends_the_stream_that_it_names(self) -> None:
        wire = ClientWire()
        modern(wire, EVERYTHING)
        calls, pending = self.listen(wire)
        wire.notify("notifications/cancelled", {"requestId": pending.id, "reason": "bye"})
        assert calls.done == [pending]
        assert isinstance(pending.error, RequestCancelled)
        assert "bye" in str(pending.error)
        assert wire.heard() == []

    def test_it_can_cancel_nothing_else(self) -> None:
        wire = ClientWire()
        modern(wire, EVERYTHING)
        calls = Calls(wire)
        pending = calls.call()
        for name in (pending.id, str(pending.id), 99):
            wire.notify("notifications/cancelled", {"requestId": name})
        assert calls.done == []

    def test_a_legacy_server_cancels_its_own_requests_only(self) -> None:
        wire = ClientWire(models.ClientCapabilities(roots=models.RootsCapability()))
        legacy(wire)
        calls = Calls(wire)
        calls.call()
        request = wire.call(1, "roots/list")
        assert isinstance(request, Request)
        reasons: list[str | None] = []
        request.defer(reasons.append)
        wire.notify("notifications/cancelled", {"requestId": 1, "reason": "late"})
        assert (reasons, calls.done) == (["late"], [])
