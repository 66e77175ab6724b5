"""A client of a server at a URL: the modern era, against our own server and against scripts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from serving import serving
from web import Asked, encoded, legacy, modern, text_result, until, web

from faults.loops import Run
from taut import Client, Context, Server, models
from taut.client import Change, HttpSettings
from taut.errors import (
    AccessDenied,
    AuthorizationRequired,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    HttpError,
    InvalidParams,
    LimitExceeded,
    LocalProtocolError,
    MethodNotFound,
    RemoteProtocolError,
    RequestTimeout,
)
from taut.mcp.http.resumption import Resumption
from taut.mcp.limits import Limits


def server() -> Server:
    app = Server("s", version="1")

    @app.tool
    def add(a: int, b: int) -> int:
        return a + b

    @app.tool
    async def work(ctx: Context) -> str:
        ctx.progress(1, 2)
        ctx.info("working")
        await asyncio.sleep(0)
        ctx.progress(2, 2)
        return "done"

    @app.tool
    async def name(ctx: Context) -> str:
        answer = await ctx.elicit("name?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return str(answer.content["name"])

    @app.resource("mem://x")
    def x() -> str:
        return "x"

    return app


async def nothing(asked: Asked) -> None:
    """Leave the request unanswered."""


class TestOurServer:
    def test_calls_on_one_connection(self, run: Run) -> None:
        async def main() -> None:
            async with serving(server()) as url, Client(url) as client:
                assert client.revision == "2026-07-28"
                assert client.server_info is not None
                for number in range(3):
                    result = await client.call_tool("add", {"a": number, "b": 1})
                    assert result.structured_content == {"result": number + 1}
                assert {tool.name for tool in await client.list_tools()} == {"add", "work", "name"}
                with pytest.raises(InvalidParams, match="nope"):
                    await client.call_tool("nope")

        run(main())

    def test_calls_at_a_time(self, run: Run) -> None:
        async def main() -> None:
            async with serving(server()) as url, Client(url) as client:
                results = await asyncio.gather(
                    *(client.call_tool("add", {"a": n, "b": 1}) for n in range(50))
                )
                assert [one.structured_content["result"] for one in results] == list(range(1, 51))
                assert client.connection.peer.open_calls == 0

        run(main())

    def test_progress_and_logs_come_before_the_result(self, run: Run) -> None:
        seen: list[Any] = []

        async def main() -> None:
            async with serving(server()) as url, Client(url, logging=seen.append) as client:
                result = await client.call_tool("work", on_progress=lambda p: seen.append(p.progress))
                seen.append(result.text)

        run(main())
        assert seen[0] == 1
        assert seen[1].data == "working"
        assert seen[2:] == [2, "done"]

    def test_questions_are_answered_by_calling_again(self, run: Run) -> None:
        def answer(params: models.ElicitParams) -> models.ElicitResult:
            return models.ElicitResult(action="accept", content={"name": "Ada"})

        async def main() -> None:
            async with serving(server()) as url, Client(url, elicitation=answer) as client:
                assert (await client.call_tool("name")).text == "Ada"

        run(main())

    def test_changes_are_heard(self, run: Run) -> None:
        app = server()

        async def main() -> None:
            async with serving(app) as url, Client(url) as client:
                async with await client.subscribe("mem://x", tools=True) as changes:
                    app.resource_updated("mem://x")
                    assert await anext(changes) == Change("notifications/resources/updated", "mem://x")
                assert client.connection.peer.open_calls == 0
                assert (await client.call_tool("add", {"a": 1, "b": 1})).structured_content == {"result": 2}

        run(main())


class TestHeaders:
    def test_they_say_what_the_body_says(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.method == "resources/read":
                asked.result({"resultType": "complete", "contents": []})
            elif asked.method == "prompts/get":
                asked.result({"resultType": "complete", "messages": []})
            else:
                asked.text("x")

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                await client.call_tool("tøøl")
                await client.read_resource("mem://x")
                await client.get_prompt("p")
                discover, tool, read, prompt = (asked.headers for asked in there.asked)
                assert discover["mcp-method"] == "server/discover"
                assert discover["mcp-protocol-version"] == "2026-07-28"
                assert discover["accept"] == "application/json, text/event-stream"
                assert "mcp-name" not in discover
                assert tool["mcp-name"] == "=?base64?dMO4w7hs?="
                assert (read["mcp-method"], read["mcp-name"]) == ("resources/read", "mem://x")
                assert (prompt["mcp-method"], prompt["mcp-name"]) == ("prompts/get", "p")
                assert there.connections == 1

        run(main())

    def test_own_ones_go_with_every_request(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.text(asked.headers["x-tenant"])

        async def main() -> None:
            settings = HttpSettings(headers={"X-Tenant": "blue"})
            async with web(modern(answer)) as there, Client(there.url, http=settings) as client:
                assert (await client.call_tool("t")).text == "blue"

        run(main())

    @pytest.mark.parametrize(
        "headers",
        [{"a b": "x"}, {"x": "a\r\nb: c"}, {"Mcp-Method": "x"}, {"Content-Length": "1"}, {"x": "\u2028"}],
    )
    def test_malformed_ones_are_refused(self, run: Run, headers: dict[str, str]) -> None:
        async def main() -> None:
            with pytest.raises(ConfigError, match="header"):
                await Client("http://127.0.0.1:1/mcp", http=HttpSettings(headers=headers)).connect()

        run(main())


SCHEMA = {"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
BAD = {"type": "object", "properties": {"x": {"type": "number", "x-mcp-header": "X"}}}


def listed(*tools: dict[str, Any]) -> dict[str, Any]:
    return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": list(tools)}


class TestMirroredArguments:
    def test_listed_tools_are_known(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.method == "tools/list":
                asked.result(listed({"name": "t", "inputSchema": SCHEMA}))
            else:
                asked.text(asked.headers.get("mcp-param-region", "none"))

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                assert (await client.call_tool("t", {"region": "eu"})).text == "none"
                await client.list_tools()
                assert (await client.call_tool("t", {"region": "eu"})).text == "eu"
                assert (await client.call_tool("t", {"region": "\u00fc "})).text == "=?base64?w7wg?="
                assert (await client.call_tool("t", {"region": None})).text == "none"
                assert (await client.call_tool("t")).text == "none"

        run(main())

    def test_a_mismatch_makes_the_client_list_again_once(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.method == "tools/list":
                asked.result(listed({"name": "t", "inputSchema": SCHEMA}))
            elif "mcp-param-region" in asked.headers:
                asked.text("ok")
            else:
                asked.error(-32020, "Header mismatch", status=400)

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                calls = (client.call_tool("t", {"region": "eu"}) for _ in range(3))
                assert {one.text for one in await asyncio.gather(*calls)} == {"ok"}
                assert there.methods().count("tools/list") == 1
                assert there.methods().count("tools/call") == 6

        run(main())

    def test_tools_with_invalid_marks_are_left_out_and_not_called(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def answer(asked: Asked) -> None:
            assert asked.method == "tools/list"
            asked.result(listed({"name": "bad", "inputSchema": BAD}, {"name": "t", "inputSchema": SCHEMA}))

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                assert [tool.name for tool in await client.list_tools()] == ["t"]
                with pytest.raises(LocalProtocolError, match="bad must not be called"):
                    await client.call_tool("bad", {"x": 1})
                assert "tools/call" not in there.methods()

        run(main())
        assert "bad is left out" in caplog.text


def error_body(code: int, **members: Any) -> bytes:
    return encoded(**members, error={"code": code, "message": "m"})


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "type", "body", "expected"),
        [
            (500, "text/plain", b"out of order", HttpError),
            (503, "text/html", b"<html>", HttpError),
            (200, "text/html", b"<html>", HttpError),
            (202, "", b"", HttpError),
            (401, "text/plain", b"who", AuthorizationRequired),
            (403, "text/plain", b"no", AccessDenied),
            (
                404,
                "application/json",
                b'{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"m"}}',
                MethodNotFound,
            ),
            (
                400,
                "application/json",
                b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"m"}}',
                InvalidParams,
            ),
            (
                200,
                "application/json",
                b'{"jsonrpc":"2.0","error":{"code":-32602,"message":"m"}}',
                InvalidParams,
            ),
            (200, "application/json", b"{", RemoteProtocolError),
            (200, "application/json", b'{"jsonrpc":"2.0","id":99,"result":{}}', RemoteProtocolError),
        ],
    )
    def test_each_ends_its_call_and_nothing_else(
        self, run: Run, status: int, type: str, body: bytes, expected: Any
    ) -> None:
        async def answer(asked: Asked) -> None:
            if asked.name == "bad":
                asked.reply(body, status=status, type=type)
            else:
                asked.text("fine")

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                with pytest.raises(expected) as caught:
                    await client.call_tool("bad")
                if isinstance(caught.value, HttpError):
                    assert caught.value.status == status
                assert (await client.call_tool("t")).text == "fine"
                assert there.methods().count("tools/call") == 2

        run(main())

    def test_a_challenge_is_read(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.reply(status=401, www_authenticate='Bearer realm="r", scope="a b", Basic')

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                with pytest.raises(AuthorizationRequired) as caught:
                    await client.call_tool("t")
                assert caught.value.challenges == (("bearer", {"realm": "r", "scope": "a b"}), ("basic", {}))

        run(main())

    @pytest.mark.parametrize("streams", [False, True])
    def test_a_message_over_the_limit_ends_its_call_while_it_arrives(self, run: Run, streams: bool) -> None:
        async def answer(asked: Asked) -> None:
            if asked.name != "big":
                asked.text("fine")
            elif streams:
                asked.stream()
                for _ in range(4):
                    asked.chunk(b"data: " + b"x" * 60_000)
            else:
                asked.raw(
                    b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 10000000\r\n\r\n"
                )
                asked.raw(b" " * 200_000)

        async def main() -> None:
            limits = Limits(max_message_bytes=100_000)
            async with web(modern(answer)) as there, Client(there.url, limits=limits) as client:
                with pytest.raises(LimitExceeded, match="max_message_bytes is 100000"):
                    await client.call_tool("big")
                assert (await client.call_tool("t")).text == "fine"

        run(main())


class TestStreams:
    def test_an_answer_in_pieces(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.stream()
            note = {"method": "notifications/message", "params": {"level": "info", "data": "\u2028"}}
            asked.chunk(b": a comment\r\n\r\nevent: ping\ndata: {}\n\n")
            asked.event(note)
            asked.chunk(b'data: {"jsonrpc":"2.0",\rdata: "id":%d,' % asked.message["id"])
            asked.chunk(
                b'\r\ndata: "result":' + __import__("json").dumps(text_result("ok")).encode() + b"}\n"
            )
            asked.chunk(b"\n")
            asked.done()

        async def main() -> None:
            logs: list[Any] = []
            async with web(modern(answer)) as there, Client(there.url, logging=logs.append) as client:
                for _ in range(2):
                    assert (await client.call_tool("t")).text == "ok"
                assert [one.data for one in logs] == ["\u2028"] * 2
                assert there.connections == 1

        run(main())

    def test_a_stream_that_ends_without_the_answer_ends_the_call(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.stream()
            asked.done()

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                with pytest.raises(ConnectionClosed, match="may have been carried out") as caught:
                    await client.call_tool("t")
                assert caught.value.sent
                assert there.methods().count("tools/call") == 1

        run(main())


class TestTime:
    def test_a_silent_server_ends_the_call_and_its_connection(self, run: Run) -> None:
        async def main() -> None:
            async with web(modern(nothing)) as there, Client(there.url) as client:
                with pytest.raises(RequestTimeout):
                    await client.call_tool("t", timeout_s=0.02)
                assert there.methods() == [
                    "server/discover",
                    "tools/call",
                ]  # nothing is told: the end says it
                assert client.connection.peer.open_calls == 0

        run(main())

    def test_a_cancelled_call_closes_its_stream(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.stream()
            asked.event({"method": "notifications/message", "params": {"level": "info", "data": 1}})

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                call = asyncio.ensure_future(client.call_tool("t"))
                await there.heard("tools/call")
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await there.left()
                assert "notifications/cancelled" not in there.methods()
                assert client.connection.peer.open_calls == 0

        run(main())

    def test_progress_puts_the_timeout_off_and_the_total_does_not_move(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.stream()
            token = asked.message["params"]["_meta"]["progressToken"]
            number = 0
            while not asked.writer.is_closing():
                number += 1
                asked.event(
                    {
                        "method": "notifications/progress",
                        "params": {"progressToken": token, "progress": number},
                    }
                )
                await asyncio.sleep(0.01)

        async def main() -> None:
            seen: list[float] = []
            async with web(modern(answer)) as there, Client(there.url) as client:
                with pytest.raises(RequestTimeout, match=r"within 0\.2 s"):
                    await client.call_tool(
                        "t", timeout_s=0.1, total_timeout_s=0.2, on_progress=lambda p: seen.append(p.progress)
                    )
            assert len(seen) > 5

        run(main())


class TestAServerThatGoesAway:
    def test_before_the_call(self, run: Run) -> None:
        async def main() -> None:
            async with web(modern(nothing)) as there, Client(there.url) as client:
                await there.stop()
                with pytest.raises((ConnectError, ConnectionClosed)):
                    await client.call_tool("t")
                with pytest.raises(ConnectError):
                    await client.call_tool("t")

        run(main())

    def test_with_calls_open_and_back_again(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.name == "fine":
                asked.text("fine")
            elif asked.name == "half":
                asked.raw(b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
            elif asked.name == "stream":
                asked.stream()

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                names = ("silent", "half", "stream")
                calls = [asyncio.ensure_future(client.call_tool(name)) for name in names]
                await there.heard("tools/call", 3)
                await asyncio.sleep(0.01)
                await there.stop()
                for result in await asyncio.gather(*calls, return_exceptions=True):
                    assert isinstance(result, ConnectionClosed)
                    assert result.sent
                assert client.connection.peer.open_calls == 0
                await there.start(there.port)
                assert (await client.call_tool("fine")).text == "fine"

        run(main())

    def test_what_only_reads_is_sent_again_once(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.method == "tools/list" and there_lists(asked):
                asked.drop()
            else:
                asked.result(listed())

        seen: list[str] = []

        def there_lists(asked: Asked) -> bool:
            seen.append(asked.method)
            return len(seen) == 1

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                assert await client.list_tools() == []
                assert there.methods().count("tools/list") == 2

        run(main())

    @pytest.mark.parametrize("hint", ["readOnlyHint", "idempotentHint", None])
    def test_a_tool_is_called_again_if_it_says_that_it_may(self, run: Run, hint: str | None) -> None:
        calls: list[str] = []

        async def answer(asked: Asked) -> None:
            if asked.method == "tools/list":
                annotations = {} if hint is None else {hint: True}
                asked.result(
                    listed({"name": "t", "inputSchema": {"type": "object"}, "annotations": annotations})
                )
                return
            calls.append(asked.name)
            if len(calls) == 1:
                asked.drop()
            else:
                asked.text("again")

        async def main() -> None:
            async with web(modern(answer)) as there, Client(there.url) as client:
                await client.list_tools()
                if hint is None:
                    with pytest.raises(ConnectionClosed):
                        await client.call_tool("t")
                else:
                    assert (await client.call_tool("t")).text == "again"

        run(main())
        assert len(calls) == (1 if hint is None else 2)


class TestTheEnd:
    def test_open_calls_end_when_the_client_is_closed_twice_by_another_task(self, run: Run) -> None:
        async def main() -> None:
            async with web(modern(nothing)) as there:
                client = Client(there.url)
                await client.connect()
                call = asyncio.ensure_future(client.call_tool("t"))
                await there.heard("tools/call")
                await asyncio.gather(client.close(), client.close())
                with pytest.raises(ConnectionClosed):
                    await call
                with pytest.raises(ConnectionClosed):
                    await client.call_tool("t")

        run(main())

    def test_a_cancelled_connect_leaves_nothing(self, run: Run) -> None:
        async def main() -> None:
            async with web(nothing) as there:
                before = asyncio.all_tasks()
                client = Client(there.url)
                connecting = asyncio.ensure_future(client.connect())
                await there.heard("server/discover")
                connecting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await connecting
                await client.close()
                await there.left()
                await asyncio.sleep(0)
                assert asyncio.all_tasks() == before

        run(main())


class _Tokens:
    def __init__(self, *tokens: str | None, renew: bool = True) -> None:
        self._tokens = list(tokens)
        self._renew = renew
        self.challenges: list[AuthorizationRequired] = []

    async def token(self) -> str | None:
        return self._tokens[0]

    async def challenged(self, error: AuthorizationRequired) -> bool:
        self.challenges.append(error)
        if len(self._tokens) > 1:
            self._tokens.pop(0)
        return self._renew


class TestTokens:
    def test_a_refused_one_is_replaced_and_the_call_sent_again(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            if asked.headers.get("authorization") == "Bearer good":
                asked.text("ok")
            else:
                asked.reply(status=401, www_authenticate="Bearer")

        async def main() -> None:
            tokens = _Tokens(None, "good")
            settings = HttpSettings(auth=tokens)
            async with web(modern(answer)) as there, Client(there.url, http=settings) as client:
                assert (await client.call_tool("t")).text == "ok"
                assert (await client.call_tool("t")).text == "ok"
                assert len(tokens.challenges) == 1
                assert there.methods().count("tools/call") == 3

        run(main())

    def test_once_only(self, run: Run) -> None:
        async def answer(asked: Asked) -> None:
            asked.reply(status=403)

        async def main() -> None:
            tokens = _Tokens("a")
            settings = HttpSettings(auth=tokens)
            async with web(modern(answer)) as there, Client(there.url, http=settings) as client:
                with pytest.raises(AccessDenied):
                    await client.call_tool("t")
                assert there.methods().count("tools/call") == 2

        run(main())

    def test_a_provider_that_fails_holds_nothing_up(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        class Failing(_Tokens):
            async def token(self) -> str | None:
                if self.challenges:
                    raise RuntimeError("the vault is closed")
                return None

        async def answer(asked: Asked) -> None:
            if asked.method == "tools/call":
                asked.text("ok")
            else:
                asked.reply(status=202)

        async def main() -> None:
            tokens = Failing(None)
            settings = HttpSettings(auth=tokens)
            async with (
                web(legacy(answer)) as there,
                Client(there.url, mode="legacy", http=settings, roots=["file:///x"]) as client,
            ):
                await there.heard("GET")
                tokens.challenges.append(AuthorizationRequired("m", 401))
                client.roots_changed()
                with pytest.raises(RuntimeError, match="vault"):
                    await client.call_tool("t")
                await until(lambda: "the vault is closed" in caplog.text)
                tokens.challenges.clear()
                assert (await client.call_tool("t")).text == "ok"
                assert "notifications/roots/list_changed" not in there.methods()

        run(main())


class TestSubscriptions:
    def test_one_that_is_cut_is_opened_again_and_reports_what_it_may_have_missed(self, run: Run) -> None:
        def acknowledge(asked: Asked) -> None:
            identifier = asked.message["id"]
            meta = {"io.modelcontextprotocol/subscriptionId": identifier}
            wanted = asked.message["params"]["notifications"]
            params = {"notifications": wanted, "_meta": meta}
            asked.event({"method": "notifications/subscriptions/acknowledged", "params": params})

        async def answer(asked: Asked) -> None:
            asked.stream()
            acknowledge(asked)
            if len(listens) == 1:
                asked.drop()

        listens: list[Asked] = []

        async def script(asked: Asked) -> None:
            listens.append(asked)
            await answer(asked)

        async def main() -> None:
            async with web(modern(script)) as there, Client(there.url) as client:
                changes = await client.subscribe("mem://x", tools=True)
                await there.heard("subscriptions/listen", 2)
                assert await anext(changes) == Change("notifications/tools/list_changed", None)
                assert await anext(changes) == Change("notifications/resources/updated", "mem://x")
                assert listens[0].message["id"] != listens[1].message["id"]
                meta = {"io.modelcontextprotocol/subscriptionId": listens[1].message["id"]}
                listens[1].event({"method": "notifications/tools/list_changed", "params": {"_meta": meta}})
                assert await anext(changes) == Change("notifications/tools/list_changed", None)
                listens[1].event(
                    {"id": listens[1].message["id"], "result": {"resultType": "complete", "_meta": meta}}
                )
                listens[1].done()
                with pytest.raises(StopAsyncIteration):
                    await anext(changes)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Resumption, "delay_s", lambda self, chance: 0.0)
            run(main())

    @pytest.mark.parametrize("waits", [False, True])
    def test_it_ends_with_the_client(self, run: Run, waits: bool) -> None:
        async def script(asked: Asked) -> None:
            asked.stream()
            meta = {"io.modelcontextprotocol/subscriptionId": asked.message["id"]}
            params = {"notifications": {}, "_meta": meta}
            asked.event({"method": "notifications/subscriptions/acknowledged", "params": params})
            if waits:
                asked.drop()

        async def main() -> None:
            async with web(modern(script)) as there:
                async with Client(there.url) as client:
                    changes = await client.subscribe(tools=True)
                    if waits:
                        await there.left()
                    reading = asyncio.ensure_future(anext(changes))
                    await asyncio.sleep(0)
                with pytest.raises(ConnectionClosed):
                    await reading

        run(main())


class TestManyConnections:
    def test_answers_do_not_wait_for_the_calls_that_wait_for_them(self, run: Run) -> None:
        calls: dict[str, Asked] = {}

        async def answer(asked: Asked) -> None:
            if asked.method == "tools/call":
                question = f"q{asked.message['id']}"
                calls[question] = asked
                asked.stream()
                params = {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}
                asked.event({"id": question, "method": "elicitation/create", "params": params})
            else:
                asked.reply(status=202)
                call = calls[asked.message["id"]]
                call.event({"id": call.message["id"], "result": text_result("ok")})
                call.done()

        def decline(params: models.ElicitParams) -> models.ElicitResult:
            return models.ElicitResult(action="decline")

        async def main() -> None:
            settings = HttpSettings(max_connections=5)
            async with (
                web(legacy(answer)) as there,
                Client(there.url, mode="legacy", http=settings, elicitation=decline) as client,
            ):
                results = await asyncio.gather(*(client.call_tool("t") for _ in range(20)))
                assert {one.text for one in results} == {"ok"}

        run(main())
