"""A client of a legacy server at a URL: sessions, streams that are taken up again, and the stream that stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from web import DISCOVERED, INITIALIZED, Asked, legacy, text_result, until, web

from faults.loops import Run
from taut import Client, models
from taut.client import HttpSettings
from taut.client.http import HttpConnection
from taut.errors import (
    AccessDenied,
    AuthorizationRequired,
    ConnectionClosed,
    HttpError,
    RemoteProtocolError,
    RequestTimeout,
    SessionExpired,
    TransportError,
    UnsupportedProtocolVersion,
)
from taut.mcp.http.resumption import Resumption


def answer_of(asked: Asked, text: str = "ok") -> dict[str, Any]:
    return {"id": asked.message["id"], "result": text_result(text)}


class TestPolling:
    def test_a_stream_that_the_server_closes_is_taken_up_behind_its_last_event(self, run: Run) -> None:
        calls: list[Asked] = []

        async def answer(asked: Asked) -> None:
            if asked.verb == "POST":
                calls.append(asked)
                asked.stream()
                asked.event(None, id="e-1", retry=20)
                asked.done()
            elif "last-event-id" in asked.headers:
                asked.stream()
                asked.event(None, id="e-2")
                asked.event(answer_of(calls[0]), id="e-3")
                asked.done()
            else:
                asked.reply(status=405)

        async def main() -> None:
            async with web(legacy(answer, events=True)) as there, Client(there.url, mode="legacy") as client:
                loop = asyncio.get_running_loop()
                start = loop.time()
                assert (await client.call_tool("t")).text == "ok"
                assert loop.time() - start >= 0.02
                resumed = await there.heard("GET", 2)
                assert resumed.headers["last-event-id"] == "e-1"
                assert resumed.headers["mcp-session-id"] == "s-1"
                assert resumed.headers["accept"] == "text/event-stream"
                assert "content-type" not in resumed.headers

        run(main())

    @pytest.mark.parametrize("how", ["drop", "half"])
    def test_a_stream_that_is_cut_too_and_nothing_comes_twice(self, run: Run, how: str) -> None:
        calls: list[Asked] = []

        def progress(number: int) -> dict[str, Any]:
            token = calls[0].message["params"]["_meta"]["progressToken"]
            params = {"progressToken": token, "progress": number}
            return {"method": "notifications/progress", "params": params}

        async def answer(asked: Asked) -> None:
            if asked.verb == "POST":
                calls.append(asked)
                asked.stream()
                asked.event(progress(1), id="e-1", retry=1)
                asked.event(progress(2), id="e-2")
                if how == "half":
                    asked.raw(b"30\r\nid: e-3\ndata: {")
                asked.drop()
            elif asked.headers.get("last-event-id") == "e-2":
                asked.stream()
                asked.event(progress(2), id="e-2")  # some servers repeat it
                asked.event(progress(3), id="e-3")
                asked.event(answer_of(calls[0]), id="e-4")
                asked.done()
            else:
                asked.reply(status=405)

        async def main() -> None:
            seen: list[float] = []
            async with web(legacy(answer, events=True)) as there, Client(there.url, mode="legacy") as client:
                result = await client.call_tool("t", on_progress=lambda p: seen.append(p.progress))
                assert result.text == "ok"
                assert seen == [1, 2, 3]
                assert len(calls) == 1

        run(main())

    def test_attempts_that_fail_are_followed_by_others(self, run: Run) -> None:
        calls: list[Asked] = []

        async def answer(asked: Asked) -> None:
            if asked.verb == "POST":
                calls.append(asked)
                asked.stream()
                asked.event(None, id="e-1", retry=1)
                asked.done()
            elif "last-event-id" not in asked.headers:
                asked.reply(status=405)
            elif len(there[0].asked) < 8:
                asked.reply(status=503)
            else:
                asked.stream()
                asked.event(answer_of(calls[0]), id="e-2")
                asked.done()

        there: list[Any] = []

        async def main() -> None:
            async with web(legacy(answer, events=True)) as server:
                there.append(server)
                async with Client(server.url, mode="legacy") as client:
                    assert (await client.call_tool("t")).text == "ok"

        quick(run, main)

    @pytest.mark.parametrize(("status", "expected"), [(405, ConnectionClosed), (404, SessionExpired)])
    def test_a_server_that_does_not_go_on_ends_the_call(
        self, run: Run, status: int, expected: type[Exception]
    ) -> None:
        async def answer(asked: Asked) -> None:
            if asked.verb == "POST":
                asked.stream()
                asked.event(None, id="e-1", retry=1)
                asked.done()
            else:
                asked.reply(status=status if "last-event-id" in asked.headers else 405)

        async def main() -> None:
            async with web(legacy(answer, events=True)) as there, Client(there.url, mode="legacy") as client:
                with pytest.raises(expected) as caught:
                    await client.call_tool("t")
                assert caught.value.sent  # type: ignore[attr-defined]
                assert there.methods().count("tools/call") == 1  # it may have been carried out

        run(main())

    def test_waiting_for_the_next_attempt_ends_with_the_call(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.verb == "POST":
                asked.stream()
                asked.event(None, id="e-1", retry=60_000)
                asked.done()
            else:
                asked.reply(status=405)

        async def main() -> None:
            async with web(legacy(answer, events=True)) as there, Client(there.url, mode="legacy") as client:
                with pytest.raises(RequestTimeout):
                    await client.call_tool("t", timeout_s=0.05)
                cancelled = await there.heard("notifications/cancelled")
                assert cancelled.message["params"]["requestId"] == 2
                assert client.connection.peer.open_calls == 0

        run(main())


class TestSessions:
    def test_what_belongs_to_one_says_so(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.text("ok")

        async def main() -> None:
            async with web(legacy(answer)) as there:
                async with Client(there.url) as client:
                    assert client.revision == "2025-11-25"
                    await client.call_tool("t")
                    await there.heard("GET")
                asked = {one.method: one.headers for one in there.asked}
                assert "mcp-session-id" not in asked["initialize"]
                assert "mcp-protocol-version" not in asked["initialize"]
                assert there.methods()[1:3] == ["initialize", "notifications/initialized"]
                for method in ("notifications/initialized", "tools/call", "GET", "DELETE"):
                    assert asked[method]["mcp-session-id"] == "s-1"
                    assert asked[method]["mcp-protocol-version"] == "2025-11-25"
                    assert "mcp-method" not in asked[method]
                assert "content-type" not in asked["DELETE"]

        run(main())

    def test_there_may_be_none(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            assert "mcp-session-id" not in asked.headers
            asked.text("ok")

        async def main() -> None:
            async with web(legacy(answer, session=None)) as there:
                async with Client(there.url) as client:
                    assert (await client.call_tool("t")).text == "ok"
                assert "DELETE" not in there.methods()

        run(main())

    @pytest.mark.parametrize("session", ["", "a b", "x" * 5000])
    def test_an_id_that_is_none_is_refused(self, run: Run, session: str) -> None:
        async def answer(asked: Asked) -> None:
            asked.text("ok")

        async def main() -> None:
            async with web(legacy(answer, session=session)) as there:
                with pytest.raises(RemoteProtocolError, match="session id"):
                    await Client(there.url).connect()

        run(main())

    def test_an_end_that_is_not_answered_does_not_hold_up_the_client(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            if asked.verb != "DELETE":
                await plain(asked)

        async def nothing(asked: Asked) -> None:
            pass

        plain = legacy(nothing)

        async def main() -> None:
            settings = HttpSettings(close_timeout_s=0.02)
            async with web(script) as there, Client(there.url, mode="legacy", http=settings):
                pass

        run(main())


class Sessions:
    """A server that forgets its session when told to, and counts them."""

    def __init__(self, *, status: int = 404, body: bool = False) -> None:
        self.count = 0
        self.forgotten: set[str] = set()
        self.refuses = False
        self._status = status
        self._body = body

    @property
    def current(self) -> str:
        return f"s-{self.count}"

    def forget(self) -> None:
        self.forgotten.add(self.current)

    async def __call__(self, asked: Asked) -> None:
        if asked.method == "initialize":
            if self.refuses:
                asked.reply(status=503)
                return
            self.count += 1
            asked.result(INITIALIZED, mcp_session_id=self.current)
        elif asked.headers.get("mcp-session-id") in self.forgotten:
            if self._body:
                asked.error(-32000, "Bad Request: No valid session ID provided", status=self._status)
            else:
                asked.reply(status=self._status)
        elif asked.verb == "GET":
            asked.reply(status=405)
        elif asked.method.startswith("notifications/") or asked.verb == "DELETE":
            asked.reply(status=202)
        elif asked.method == "tools/call":
            asked.text(asked.headers["mcp-session-id"])
        else:
            asked.result({})


class TestForgottenSessions:
    @pytest.mark.parametrize("sessions", [Sessions, lambda: Sessions(status=400, body=True)])
    def test_are_replaced_once_for_all_calls(self, run: Run, sessions: Any) -> None:
        script = sessions()

        async def main() -> None:
            async with web(script) as there, Client(there.url, mode="legacy") as client:
                assert (await client.call_tool("t")).text == "s-1"
                script.forget()
                results = await asyncio.gather(*(client.call_tool("t") for _ in range(8)))
                assert {result.text for result in results} == {"s-2"}
                assert there.methods().count("initialize") == 2
                assert there.methods().count("notifications/initialized") == 2

        run(main())

    def test_what_they_knew_is_told_again(self, run: Run) -> None:
        script = Sessions()

        async def main() -> None:
            async with web(script) as there, Client(there.url, mode="legacy", log_level="error") as client:
                changes = await client.subscribe("mem://x", "mem://y")
                await client.subscribe("mem://x", tools=True)
                script.forget()
                await client.call_tool("t")
                await there.heard("logging/setLevel", 2)
                uris = [
                    (asked.headers["mcp-session-id"], asked.message["params"]["uri"])
                    for asked in there.asked
                    if asked.method == "resources/subscribe"
                ]
                assert uris[-2:] == [("s-2", "mem://x"), ("s-2", "mem://y")]
                # What changed in between is not known, so all of it is reported.
                assert {(await anext(changes)).uri for _ in range(2)} == {"mem://x", "mem://y"}

        run(main())

    def test_a_server_that_forgets_at_once_is_an_error(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            if asked.method == "tools/call":
                asked.reply(status=404)
            else:
                await sessions(asked)

        sessions = Sessions()

        async def main() -> None:
            async with web(script) as there, Client(there.url, mode="legacy") as client:
                with pytest.raises(SessionExpired):
                    await client.call_tool("t")
                assert sessions.count == 2

        run(main())

    def test_where_no_other_can_be_had_calls_fail_until_one_can(self, run: Run) -> None:
        script = Sessions()

        async def main() -> None:
            async with web(script) as there, Client(there.url, mode="legacy") as client:
                script.forget()
                script.refuses = True
                for result in await asyncio.gather(
                    *(client.call_tool("t") for _ in range(3)), return_exceptions=True
                ):
                    assert isinstance(result, HttpError)
                    assert result.status == 503
                script.refuses = False
                assert (await client.call_tool("t")).text == "s-2"

        run(main())

    def test_a_cancelled_call_does_not_take_the_new_session_from_the_others(self, run: Run) -> None:
        script = Sessions()
        opened = asyncio.Event()

        async def slow(asked: Asked) -> None:
            if asked.method == "initialize" and script.count:
                opened.set()
                await asyncio.sleep(0.02)
            await script(asked)

        async def main() -> None:
            async with web(slow) as there, Client(there.url, mode="legacy") as client:
                script.forget()
                calls = [asyncio.ensure_future(client.call_tool("t")) for _ in range(3)]
                await opened.wait()
                calls[0].cancel()
                results = await asyncio.gather(*calls, return_exceptions=True)
                assert isinstance(results[0], asyncio.CancelledError)
                assert [result.text for result in results[1:]] == ["s-2", "s-2"]  # type: ignore[union-attr]
                assert script.count == 2

        run(main())


class TestTheStreamOfTheSession:
    def test_is_heard_and_taken_up_again(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.verb == "POST":
                asked.result({})
                return
            asked.stream()
            if "last-event-id" not in asked.headers:
                asked.event(updated("mem://x"), id="e-1", retry=1)
                asked.done()
            else:
                asked.event(updated("mem://y"), id="e-2")

        async def main() -> None:
            async with web(legacy(answer, events=True)) as there, Client(there.url, mode="legacy") as client:
                await there.heard("GET")
                changes = await client.subscribe("mem://x", "mem://y")
                assert isinstance(client.connection, HttpConnection)
                again = await there.heard("GET", 2)
                seen = await anext(changes)
                assert (seen if seen.uri == "mem://y" else await anext(changes)).uri == "mem://y"
                assert again.headers["last-event-id"] == "e-1"
                events = client.connection.events
                assert events is not None
                assert events.state == "open"
            assert events.state == "closed"

        run(main())

    @pytest.mark.parametrize("status", [405, 404, 400, 501])
    def test_a_server_may_have_none(self, run: Run, status: int) -> None:
        async def answer(asked: Asked) -> None:
            if asked.verb == "GET":
                asked.reply(status=status)
            else:
                asked.text("ok")

        async def main() -> None:
            script = legacy(answer, session=None, events=True)
            async with web(script) as there, Client(there.url, mode="legacy") as client:
                await there.heard("GET")
                assert (await client.call_tool("t")).text == "ok"
                assert isinstance(client.connection, HttpConnection)
                assert client.connection.events is not None
                assert client.connection.events.state == "none"
                assert there.methods().count("GET") == 1

        run(main())

    def test_it_is_given_up_when_it_keeps_failing(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        async def answer(asked: Asked) -> None:
            if asked.verb == "GET":
                asked.reply(status=503)
            else:
                asked.text("ok")

        async def main() -> None:
            async with web(legacy(answer, events=True)) as there, Client(there.url, mode="legacy") as client:
                assert isinstance(client.connection, HttpConnection)
                events = client.connection.events
                assert events is not None
                await there.heard("GET", 9)
                await until(lambda: events.state == "given up")
                assert isinstance(events.error, HttpError)
                assert (await client.call_tool("t")).text == "ok"

        quick(run, main)
        assert "hears nothing more" in caplog.text

    @pytest.mark.parametrize("failures", [0, 3])
    def test_a_session_that_ends_there_is_replaced_without_a_call(self, run: Run, failures: int) -> None:
        refused: list[Asked] = []

        async def script(asked: Asked) -> None:
            if asked.verb == "GET" and sessions.count == 1 and not sessions.forgotten:
                asked.stream()
                asked.done()
                sessions.forget()
            elif asked.method == "initialize" and sessions.count == 1 and len(refused) < failures:
                refused.append(asked)
                asked.reply(status=503)
            else:
                await sessions(asked)

        sessions = Sessions()

        async def main() -> None:
            async with web(script) as there, Client(there.url, mode="legacy"):
                await there.heard("notifications/initialized", 2)
                assert sessions.count == 2
                assert len(refused) == failures

        quick(run, main)

    def test_a_server_that_knows_no_such_stream_in_a_session_is_left_alone(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            if asked.verb == "GET":
                asked.reply(status=404)
            else:
                await sessions(asked)

        sessions = Sessions()

        async def main() -> None:
            async with web(script) as there, Client(there.url, mode="legacy") as client:
                await there.heard("GET")
                for _ in range(3):
                    assert (await client.call_tool("t")).text == "s-1"
                assert there.methods().count("GET") == 1

        run(main())


def updated(uri: str) -> dict[str, Any]:
    return {"method": "notifications/resources/updated", "params": {"uri": uri}}


class TestQuestions:
    @pytest.mark.parametrize("stream", ["POST", "GET"])
    def test_are_answered_with_a_request_of_their_own(self, run: Run, stream: str) -> None:
        calls: list[Asked] = []

        def ask(asked: Asked) -> None:
            asked.event({"id": "q-1", "method": "ping"})
            params = {"message": "name?", "requestedSchema": {"type": "object", "properties": {}}}
            asked.event({"id": "q-2", "method": "elicitation/create", "params": params})
            asked.event({"id": "q-3", "method": "roots/list"})

        streams: list[Asked] = []

        async def answer(asked: Asked) -> None:
            if asked.verb == "GET":
                asked.stream()
                streams.append(asked)
            elif asked.method == "tools/call":
                calls.append(asked)
                asked.stream()
                ask(asked if stream == "POST" else streams[0])
            else:
                asked.reply(status=202)
                calls.append(asked)
                if len(calls) == 4:
                    calls[0].event(answer_of(calls[0]))
                    calls[0].done()

        async def elicit(params: models.ElicitParams) -> models.ElicitResult:
            await asyncio.sleep(0)
            return models.ElicitResult(action="decline")

        async def main() -> None:
            script = legacy(answer, events=True)
            async with web(script) as there, Client(there.url, mode="legacy", elicitation=elicit) as client:
                await there.heard("GET")
                assert (await client.call_tool("t")).text == "ok"
                answers = {asked.message["id"]: asked for asked in calls[1:]}
                assert answers["q-1"].message["result"] == {}
                assert answers["q-2"].message["result"] == {"action": "decline"}
                assert answers["q-3"].message["error"]["code"] == -32601
                assert answers["q-1"].headers["mcp-session-id"] == "s-1"

        run(main())


class TestRevisions:
    def test_batches_are_read_where_there_are_any(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            if asked.method == "initialize":
                asked.result(INITIALIZED | {"protocolVersion": "2025-03-26"})
            elif asked.method == "tools/call":
                note = {
                    "jsonrpc": "2.0",
                    "method": "notifications/message",
                    "params": {"level": "info", "data": 1},
                }
                result = {"jsonrpc": "2.0", "id": asked.message["id"], "result": text_result("ok")}
                asked.reply(msgspec.json.encode([note, result]))
            else:
                asked.reply(status=202 if asked.verb == "POST" else 405)

        async def main() -> None:
            logs: list[Any] = []
            async with web(script) as there, Client(there.url, mode="legacy", logging=logs.append) as client:
                assert (await client.call_tool("t")).text == "ok"
                assert [one.data for one in logs] == [1]

        run(main())


async def slow_probe(asked: Asked) -> None:
    """A modern server that was not ready for the probe, and refuses what comes after it."""
    if asked.method == "server/discover" and asked.message["id"] == 1:
        await asyncio.sleep(0.05)
    elif asked.method == "initialize":
        asked.error(-32022, "Unsupported", status=400, data={"supported": ["2026-07-28"], "requested": "x"})
    else:
        asked.result(DISCOVERED)


class TestNegotiation:
    @pytest.mark.parametrize("status", [400, 404, 405, 406, 415, 500, 501, 200])
    @pytest.mark.parametrize(
        ("type", "body"),
        [
            ("text/plain", b""),
            ("text/html", b"<html>"),
            ("application/json", b"{}"),
            (
                "application/json",
                b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"m"}}',
            ),
            ("application/json", b'{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}'),
        ],
    )
    def test_a_server_that_makes_nothing_of_a_probe_is_legacy(
        self, run: Run, status: int, type: str, body: bytes
    ) -> None:
        async def script(asked: Asked) -> None:
            if asked.method == "server/discover":
                asked.reply(body, status=status, type=type)
            else:
                await plain(asked)

        async def nothing(asked: Asked) -> None:
            pass

        plain = legacy(nothing)

        async def main() -> None:
            async with web(script) as there, Client(there.url) as client:
                assert client.revision == "2025-11-25"

        run(main())

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (401, AuthorizationRequired),
            (403, AccessDenied),
            (429, HttpError),
            (503, HttpError),
            (302, TransportError),
        ],
    )
    def test_what_says_nothing_of_the_era_ends_it(
        self, run: Run, status: int, expected: type[Exception]
    ) -> None:
        async def script(asked: Asked) -> None:
            asked.reply(status=status, retry_after="7", location="http://127.0.0.2/")

        async def main() -> None:
            async with web(script) as there:
                with pytest.raises(expected) as caught:
                    await Client(there.url).connect()
                assert len(there.asked) == 1
                if expected is HttpError:
                    assert caught.value.retry_after_s == 7  # type: ignore[attr-defined]

        run(main())

    def test_a_modern_server_with_no_common_revision_is_told(self, run: Run) -> None:
        async def script(asked: Asked) -> None:
            asked.error(
                -32022, "Unsupported", status=400, data={"supported": ["2027-01-01"], "requested": "x"}
            )

        async def main() -> None:
            async with web(script) as there:
                with pytest.raises(UnsupportedProtocolVersion):
                    await Client(there.url).connect()
                assert there.methods() == ["server/discover"]

        run(main())

    def test_a_probe_that_overtook_a_slow_server_is_sent_again(self, run: Run) -> None:
        async def main() -> None:
            async with web(slow_probe) as there, Client(there.url, probe_timeout_s=0.02) as client:
                assert client.revision == "2026-07-28"
                assert there.methods() == ["server/discover", "initialize", "server/discover"]

        run(main())

    def test_a_saved_discovery_is_used_without_asking(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            assert asked.headers["mcp-protocol-version"] == "2026-07-28"
            asked.text("ok")

        async def main() -> None:
            saved = msgspec.convert(DISCOVERED, models.DiscoverResult)
            async with web(answer) as there, Client(there.url, discovered=saved) as client:
                assert (await client.call_tool("t")).text == "ok"
                assert there.methods() == ["tools/call"]

        run(main())


def quick(run: Run, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run ``main`` with no waiting between attempts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resumption, "delay_s", lambda self, chance: None if self.failures > 8 else 0.0)
        run(main())
