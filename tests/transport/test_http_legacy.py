"""Sessions of legacy clients over ASGI: routing, answers, streams, cancellation, limits."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from faults.loops import Run
from taut import Context, Server, SessionOptions
from taut.mcp.http.sessions import IDLE_SWEEPS
from taut.mcp.limits import Limits
from transport.asgi import Exchange, scope_of
from transport.asgi import call as modern_call
from transport.garbage import garbage_of
from transport.legacy import HEADERS, LegacyClient, error_of, message_of, text_of

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


def adder(**options: Any) -> Server:
    app = Server("s", **options)

    @app.tool
    def add(a: int, b: int) -> int:
        return a + b

    return app


class Gate:
    """A server whose tool waits until it is let go, and says what it does meanwhile."""

    def __init__(self, **options: Any) -> None:
        self.app = Server("s", **options)
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.closed: list[bool] = []

        @self.app.tool
        async def wait(ctx: Context) -> str:
            self.began.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.ended.put_nowait("cancelled")
                raise
            self.ended.put_nowait("done")
            return "done"

        @self.app.tool
        async def report(ctx: Context) -> str:
            ctx.progress(1, 3)
            self.began.set()
            await self.go.wait()
            ctx.progress(2, 3)
            ctx.progress(3, 3)
            return "reported"

        @self.app.tool
        async def hang_up(ctx: Context) -> str:
            self.closed.append(ctx.close_stream())
            self.began.set()
            await self.go.wait()
            ctx.progress(1)
            return "came back"


class TestSessions:
    @pytest.mark.parametrize("revision", REVISIONS)
    def test_a_session_serves_the_revision_that_was_agreed(self, run: Run, revision: str) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi(), revision=revision)
            result = await client.open()
            assert result["protocolVersion"] == revision
            assert client.session is not None
            assert len(client.session) >= 22
            assert all(0x21 <= ord(character) <= 0x7E for character in client.session)
            exchange = client.call("add", {"a": 1, "b": 2}, id="x")
            message = await exchange.json()
            assert exchange.status == 200
            assert message["id"] == "x"
            assert ("structuredContent" in message["result"]) == (revision >= "2025-06-18")
            assert "resultType" not in message["result"]

        run(main())

    def test_an_unsupported_revision_is_answered_with_the_newest_legacy_one(self, run: Run) -> None:
        async def main() -> None:
            for revision in ("2026-07-28", "1999-01-01"):
                client = LegacyClient(adder().asgi(), revision=revision)
                assert (await client.open())["protocolVersion"] == "2025-11-25"

        run(main())

    def test_both_eras_share_an_endpoint(self, run: Run) -> None:
        async def main() -> None:
            asgi = adder().asgi()
            client = LegacyClient(asgi)
            await client.open()
            legacy = client.call("add", {"a": 1, "b": 2})
            modern = modern_call(asgi, "add", {"a": 3, "b": 4})
            assert text_of(await legacy.json()) == "3"
            assert text_of(await modern.json()) == "7"

        run(main())

    def test_a_session_id_is_needed(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            exchange = client.post("tools/list", mcp_session_id=None)
            assert await client.status(exchange) == 400
            assert error_of(exchange) == (400, -32600, None)
            for method in ("GET", "DELETE"):
                assert await client.status(client.send(b"", method=method, mcp_session_id=None)) == 400

        run(main())

    def test_an_unknown_session_does_not_exist(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            for wrong in ("nope", "", "\xe9", "x" * 5000):
                exchange = client.post("tools/list", mcp_session_id=wrong)
                assert await client.status(exchange) == 404
                assert error_of(exchange) == (404, -32600, None)
            assert await client.status(client.post("initialize", {}, mcp_session_id="nope")) == 404

        run(main())

    def test_a_deleted_session_has_ended(self, run: Run) -> None:
        async def main() -> None:
            asgi = adder().asgi()
            client, other = LegacyClient(asgi), LegacyClient(asgi)
            await client.open()
            await other.open()
            assert await client.status(client.delete()) == 200
            for exchange in (client.post("ping"), client.get(), client.delete()):
                assert await client.status(exchange) == 404
            assert (await other.post("ping").json())["result"] == {}

        run(main())

    def test_a_session_is_initialized_once(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            exchange = client.post("initialize", {"protocolVersion": "2025-11-25"})
            assert await client.status(exchange) == 400
            assert error_of(exchange) == (400, -32600, 1)

        run(main())

    def test_a_refused_initialize_opens_no_session(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi(sessions=SessionOptions(max_sessions=1)))
            exchange = client.post("initialize", {"protocolVersion": 3})
            assert await client.status(exchange) == 200
            assert error_of(exchange) == (200, -32602, 1)
            assert "mcp-session-id" not in exchange.headers
            await client.open()

        run(main())

    def test_a_live_session_is_never_given_up_for_another(self, run: Run) -> None:
        async def main() -> None:
            asgi = adder().asgi(sessions=SessionOptions(max_sessions=1))
            first, second = LegacyClient(asgi), LegacyClient(asgi)
            await first.open()
            params = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            }
            refused = second.post("initialize", params)
            assert await second.status(refused) == 503
            assert refused.headers["retry-after"] == "1"
            assert (await first.post("ping").json())["result"] == {}
            await first.status(first.delete())
            await second.open()

        run(main())

    def test_a_server_without_legacy_revisions_has_no_sessions(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder(revisions=["2026-07-28"]).asgi())
            exchange = client.post("initialize", {"protocolVersion": "2025-11-25"})
            assert await client.status(exchange) == 400
            assert await client.status(client.get()) == 405

        run(main())


class TestHeaders:
    def test_the_revision_of_the_session_is_the_one_in_force(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi(), revision="2025-03-26")
            await client.open()
            for header in (None, "2025-11-25"):
                exchange = client.post(
                    "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, mcp_protocol_version=header
                )
                assert "structuredContent" not in (await exchange.json())["result"]

        run(main())

    @pytest.mark.parametrize("version", ["2031-01-01", "nonsense", ""])
    def test_a_revision_that_is_none_is_a_bad_request(self, run: Run, version: str) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            for message in (message_of("ping", id=1), message_of("notifications/initialized")):
                assert await client.status(client.send(message, mcp_protocol_version=version)) == 400

        run(main())

    def test_a_revision_that_is_not_served_is_a_bad_request(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder(revisions=["2025-11-25", "2025-06-18"]).asgi())
            await client.open()
            exchange = client.post("ping", mcp_protocol_version="2025-03-26")
            assert await client.status(exchange) == 400
            assert msgspec.json.decode(exchange.body)["error"]["data"]["requested"] == "2025-03-26"

        run(main())

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"accept": None}, 200),
            ({"accept": "*/*"}, 200),
            ({"accept": "application/json"}, 406),
            ({"accept": "text/event-stream"}, 406),
            ({"content_type": "text/plain"}, 415),
            ({"origin": "http://evil.example"}, 403),
            ({"host": "evil.example"}, 403),
        ],
    )
    def test_types_and_names_are_checked(self, run: Run, headers: dict[str, str | None], status: int) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            assert await client.status(client.post("ping", **headers)) == status

        run(main())

    def test_other_methods_are_not_allowed(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            exchange = client.send(b"", method="PUT")
            assert await client.status(exchange) == 405
            assert exchange.headers["allow"] == "GET, POST, DELETE"

        run(main())

    def test_a_modern_request_without_a_modern_header_is_told_so(self, run: Run) -> None:
        async def main() -> None:
            meta = {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            client = LegacyClient(adder().asgi())
            exchange = client.post("tools/list", {"_meta": meta})
            assert await client.status(exchange) == 400
            assert error_of(exchange) == (400, -32020, 1)

        run(main())

    def test_a_session_id_that_came_twice_is_refused(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            scope = scope_of({"host": "localhost", "content-type": "application/json"})
            scope["headers"] += [(b"mcp-session-id", str(client.session).encode())] * 2
            exchange = Exchange(client.app, scope, [msgspec.json.encode(message_of("ping", id=1))])
            assert await client.status(exchange) == 400

        run(main())


class TestMessages:
    def test_notifications_and_answers_are_accepted(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            await client.accepted(message_of("notifications/whatever"))
            await client.accepted(message_of("notifications/cancelled", {"requestId": 99}))
            await client.accepted(message_of("notifications/progress", {"progress": "much"}))
            await client.accepted({"jsonrpc": "2.0", "id": 77, "result": {}})

        run(main())

    @pytest.mark.parametrize(
        ("body", "code", "id"),
        [
            (b"{nope", -32700, None),
            (b"", -32700, None),
            (b'{"jsonrpc":"2.0","id":7}', -32600, 7),
            (b'{"jsonrpc":"2.0","id":7,"result":{},"error":{}}', -32600, None),
        ],
    )
    def test_what_is_no_message_is_a_bad_request(self, run: Run, body: bytes, code: int, id: Any) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            exchange = client.send(body)
            await client.status(exchange)
            assert error_of(exchange) == (400, code, id)

        run(main())

    def test_errors_of_requests_are_answers(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi())
            await client.open()
            for method, params, code in (
                ("no/such", None, -32601),
                ("server/discover", None, -32601),
                ("tools/call", {"name": "nothing"}, -32602),
                ("tools/list", {"cursor": "bad"}, -32602),
                ("tools/list", {"_meta": {"progressToken": 1.5}}, -32602),
            ):
                exchange = client.post(method, params, id=5)
                await client.status(exchange)
                assert error_of(exchange) == (200, code, 5)

        run(main())

    def test_a_batch_is_answered_as_one_at_the_one_revision_that_has_them(self, run: Run) -> None:
        app = adder()

        @app.tool
        async def later() -> str:
            await asyncio.sleep(0)
            return "later"

        batch = [
            message_of("tools/call", {"name": "later", "arguments": {}}, id=1),
            message_of("ping", id=2),
            message_of("notifications/cancelled", {"requestId": 5}),
            message_of("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}}, id=3),
            message_of("initialize", {}, id=4),
            {"jsonrpc": "2.0", "id": 6},
        ]

        async def main() -> None:
            client = LegacyClient(app.asgi(), revision="2025-03-26")
            await client.open()
            answers = {answer["id"]: answer for answer in await client.send(batch).json()}
            assert text_of(answers[1]) == "later"
            assert answers[2]["result"] == {}
            assert text_of(answers[3]) == "2"
            assert answers[4]["error"]["code"] == answers[6]["error"]["code"] == -32600
            await client.accepted([message_of("notifications/initialized")])
            other = LegacyClient(app.asgi())
            await other.open()
            exchange = other.send(batch)
            await other.status(exchange)
            assert error_of(exchange) == (400, -32600, None)

        run(main())

    def test_a_batch_that_is_too_long_is_refused(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder(limits=Limits(max_batch=2)).asgi(), revision="2025-03-26")
            await client.open()
            exchange = client.send([message_of("ping", id=id) for id in range(3)])
            assert await client.status(exchange) == 400
            assert b"max_batch" in exchange.body

        run(main())


class TestStreams:
    def test_an_answer_that_comes_later_is_json_when_nothing_came_before(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            client = LegacyClient(gate.app.asgi())
            await client.open()
            exchange = client.call("wait")
            await gate.began.wait()
            gate.go.set()
            assert text_of(await exchange.json()) == "done"

        run(main())

    def test_progress_travels_on_the_stream_of_its_request(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            client = LegacyClient(gate.app.asgi())
            await client.open()
            first, second = client.call("report", token="a"), client.call("report", token="b")
            await gate.began.wait()
            gate.go.set()
            for exchange, token in ((first, "a"), (second, "b")):
                *reports, answer = await exchange.rest()
                assert [report["params"]["progressToken"] for report in reports] == [token] * 3
                assert text_of(answer) == "reported"
                assert exchange.headers["x-accel-buffering"] == "no"

        run(main())

    def test_a_log_level_is_the_session_s(self, run: Run) -> None:
        app = Server("s")

        @app.tool
        def chat(ctx: Context) -> str:
            ctx.debug("detail")
            ctx.warning("look")
            return "x"

        async def main() -> None:
            asgi = app.asgi()
            quiet, loud = LegacyClient(asgi), LegacyClient(asgi)
            for client, level in ((quiet, "error"), (loud, "debug")):
                await client.open()
                assert (await client.post("logging/setLevel", {"level": level}).json())["result"] == {}
            assert text_of(await quiet.call("chat").json()) == "x"
            messages = await loud.call("chat").rest()
            assert [message["params"]["data"] for message in messages[:-1]] == ["detail", "look"]

        run(main())

    def test_a_cancelled_request_is_not_answered_and_its_stream_ends(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            client = LegacyClient(gate.app.asgi())
            await client.open()
            exchange = client.call("wait", id="w")
            await gate.began.wait()
            await client.accepted(message_of("notifications/cancelled", {"requestId": "w"}))
            assert await exchange.rest() == []
            assert exchange.headers["content-type"] == "text/event-stream"
            assert await gate.ended.get() == "cancelled"

        run(main())

    def test_another_session_cannot_cancel(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            asgi = gate.app.asgi()
            client, other = LegacyClient(asgi), LegacyClient(asgi)
            await client.open()
            await other.open()
            exchange = client.call("wait", id="w")
            await gate.began.wait()
            await other.accepted(message_of("notifications/cancelled", {"requestId": "w"}))
            gate.go.set()
            assert text_of(await exchange.json()) == "done"

        run(main())

    def test_an_id_in_flight_is_refused_in_the_same_session_only(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            asgi = gate.app.asgi()
            client, other = LegacyClient(asgi), LegacyClient(asgi)
            await client.open()
            await other.open()
            exchange = client.call("wait", id="w")
            await gate.began.wait()
            again = client.post("ping", id="w")
            await client.status(again)
            assert error_of(again) == (200, -32600, "w")
            assert (await other.post("ping", id="w").json())["result"] == {}
            gate.go.set()
            await exchange.json()
            assert (await client.post("ping", id="w").json())["result"] == {}

        run(main())

    def test_the_end_of_a_session_ends_its_streams_and_handlers(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            client = LegacyClient(gate.app.asgi())
            await client.open()
            exchange, listener = client.call("wait"), client.get()
            await gate.began.wait()
            await client.status(client.delete())
            assert await exchange.rest() == []
            assert await listener.rest() == []
            assert await gate.ended.get() == "cancelled"

        run(main())

    def test_a_client_that_is_gone_does_not_withdraw_its_request(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            asgi = gate.app.asgi()
            client = LegacyClient(asgi)
            await client.open()
            exchange = client.call("wait")
            await gate.began.wait()
            exchange.disconnect()
            await exchange.task
            assert asgi.endpoint.open == 1  # it still counts
            gate.go.set()
            assert await gate.ended.get() == "done"
            await asyncio.sleep(0)
            assert asgi.endpoint.open == 0
            assert (await client.post("ping").json())["result"] == {}

        run(main())


class TestWithoutSessions:
    def test_each_request_is_served_by_itself(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi(sessions=False))
            result = await client.open()
            assert client.session is None
            assert result["protocolVersion"] == "2025-11-25"
            assert "logging" not in result["capabilities"]
            assert result["capabilities"]["tools"] == {}
            structured = {"mcp_protocol_version": "2025-11-25"}, {"mcp_protocol_version": None}
            for headers, expected in zip(structured, (True, False), strict=True):
                exchange = client.post(
                    "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, **headers
                )
                message = await exchange.json()
                assert text_of(message) == "3"
                assert ("structuredContent" in message["result"]) is expected

        run(main())

    def test_a_session_id_means_nothing(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi(sessions=False))
            client.session = "whatever"
            assert (await client.post("ping").json())["result"] == {}
            for exchange in (client.get(), client.delete()):
                assert await client.status(exchange) == 405
                assert exchange.headers["allow"] == "POST"

        run(main())

    def test_progress_is_streamed_without_ids_and_logs_are_not_sent(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            gate.go.set()
            client = LegacyClient(gate.app.asgi(sessions=False))
            exchange = client.call("report", token="t")
            assert len(await exchange.rest()) == 4
            assert b"\nid:" not in exchange.body
            exchange = client.call("hang_up", token="t")
            assert len(await exchange.rest()) == 2
            assert gate.closed == [False]

        run(main())

    def test_requests_of_different_clients_do_not_meet(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            asgi = gate.app.asgi(sessions=False)
            client, other = LegacyClient(asgi), LegacyClient(asgi)
            exchange = client.call("wait", id=1)
            await gate.began.wait()
            await other.accepted(message_of("notifications/cancelled", {"requestId": 1}))
            second = other.call("wait", id=1)
            gate.go.set()
            assert text_of(await exchange.json()) == text_of(await second.json()) == "done"

        run(main())

    @pytest.mark.parametrize("method", ["logging/setLevel", "resources/subscribe", "resources/unsubscribe"])
    def test_what_needs_a_session_is_refused(self, run: Run, method: str) -> None:
        app = adder()

        @app.resource("x://y")
        def y() -> str:
            return "y"

        async def main() -> None:
            client = LegacyClient(app.asgi(sessions=False))
            exchange = client.post(method, {"level": "debug", "uri": "x://y"})
            await client.status(exchange)
            assert error_of(exchange) == (200, -32600, 1)
            assert b"sessions=True" in exchange.body

        run(main())

    def test_what_belongs_to_no_request_leaves_nothing_behind(self, run: Run) -> None:
        app = adder()
        changed: list[Any] = []
        app.on_roots_changed = changed.append

        async def main() -> None:
            client = LegacyClient(app.asgi(sessions=False))
            for _ in range(3):
                await client.accepted(message_of("notifications/roots/list_changed"))
            assert len(app.subscriptions) == 0
            assert changed == []  # there is nobody who could be asked for them

        run(main())

    def test_a_batch_is_answered(self, run: Run) -> None:
        async def main() -> None:
            client = LegacyClient(adder().asgi(sessions=False))
            answers = await client.send([message_of("ping", id=1), message_of("tools/list", id=2)]).json()
            assert {answer["id"] for answer in answers} == {1, 2}

        run(main())


def test_a_plain_call_leaves_nothing_for_the_garbage_collector(run: Run) -> None:
    async def main() -> None:
        client = LegacyClient(adder().asgi())
        await client.open()
        endpoint, begin = client.app.endpoint, client.app.begin  # type: ignore[attr-defined]
        headers = {**HEADERS, "mcp-session-id": str(client.session)}
        body = msgspec.json.encode(
            message_of("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, id=1)
        )

        def call() -> None:
            assert begin(endpoint.admit("POST", scope_of(headers)["headers"]), body).status == 200
            endpoint.leave()

        call()
        assert garbage_of(lambda: [call() for _ in range(10)]) == 0

    run(main())


class TestTime:
    def test_an_idle_session_ends_and_a_connected_one_does_not(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            asgi = gate.app.asgi()
            idle, listening, waiting, gone = (LegacyClient(asgi) for _ in range(4))
            for client in (idle, listening, waiting, gone):
                await client.open()
            listener, call, left = listening.get(), waiting.call("wait"), gone.call("wait")
            await listener.event()
            await gate.began.wait()
            left.disconnect()
            await left.task
            assert asgi.endpoint.legacy is not None
            sessions = asgi.endpoint.legacy.sessions
            assert sessions is not None
            for _ in range(IDLE_SWEEPS):
                sessions.sweep()
            assert len(sessions) == 4
            assert (await idle.post("ping").json())["result"] == {}
            sessions.sweep()
            assert await gone.status(gone.post("ping")) == 404
            assert await gate.ended.get() == "cancelled"
            for _ in range(IDLE_SWEEPS + 1):
                sessions.sweep()
            assert await idle.status(idle.post("ping")) == 404
            assert len(sessions) == 2
            gate.go.set()
            assert text_of(await call.json()) == "done"
            listener.disconnect()
            await listener.task

        run(main())

    def test_the_end_of_the_server_waits_for_handlers_whose_client_is_gone(self, run: Run) -> None:
        async def main() -> None:
            gate = Gate()
            asgi = gate.app.asgi()
            await asgi.start()
            client = LegacyClient(asgi)
            await client.open()
            exchange = client.call("wait")
            await gate.began.wait()
            exchange.disconnect()
            await exchange.task
            await asgi.end()
            assert gate.ended.get_nowait() == "cancelled"
            assert asgi.endpoint.open == 0

        run(main())
