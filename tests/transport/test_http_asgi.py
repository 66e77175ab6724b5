"""The ASGI application: JSON or a stream, cancellation, limits, lifespans and mounts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest

from faults.loops import Run
from taut import Context, Server
from taut.mcp.limits import Limits
from taut.transport.http.asgi import AsgiApp
from transport.asgi import HEADERS, Exchange, body_of, call, post, scope_of


def text_of(message: Any) -> str:
    return str(message["result"]["content"][0]["text"])


def application(app: Server, **options: Any) -> AsgiApp:
    asgi = app.asgi()
    for name, value in options.items():
        setattr(asgi, f"_{name}", value)
    return asgi


class Held:
    """A server whose tools wait until they are let go."""

    def __init__(self, **options: Any) -> None:
        self.app = Server("s", **options)
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.cancelled = asyncio.Event()

        @self.app.tool
        async def wait() -> str:
            self.began.set()
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return "done"


class TestAnswers:
    def test_a_plain_tool_is_answered_with_json(self, run: Run) -> None:
        app = Server("s")

        @app.tool
        def add(a: int, b: int) -> int:
            return a + b

        async def main() -> None:
            exchange = call(app.asgi(), "add", {"a": 1, "b": 2}, id="x")
            message = await exchange.json()
            assert exchange.status == 200
            assert message["id"] == "x"
            assert message["result"]["structuredContent"] == {"result": 3}
            assert message["result"]["resultType"] == "complete"

        run(main())

    def test_a_tool_that_waits_is_answered_with_json(self, run: Run) -> None:
        async def main() -> None:
            held = Held()
            exchange = call(held.app.asgi(), "wait")
            await held.began.wait()
            held.go.set()
            assert text_of(await exchange.json()) == "done"

        run(main())

    def test_an_error_keeps_its_status(self, run: Run) -> None:
        async def main() -> None:
            exchange = call(Server("s").asgi(), "nothing")
            assert (await exchange.json())["error"]["code"] == -32602
            assert exchange.status == 400

        run(main())

    def test_a_handler_that_fails_does_not_leak_why(self, run: Run, caplog: pytest.LogCaptureFixture) -> None:
        app = Server("s")

        @app.resource("x://y")
        async def broken() -> str:
            raise ValueError("secret")

        async def main() -> None:
            exchange = post(app.asgi(), "resources/read", {"uri": "x://y"})
            message = await exchange.json()
            assert exchange.status == 200
            assert message["error"]["code"] == -32603
            assert "secret" not in str(message)

        run(main())

    def test_a_question_is_a_result_and_its_answer_another_request(self, run: Run) -> None:
        app = Server("s")

        @app.tool
        async def greet(ctx: Context) -> str:
            answer = await ctx.elicit(
                "Who?", {"type": "object", "properties": {"name": {"type": "string"}}}, key="who"
            )
            return f"Hello, {answer.content['name']}"

        async def main() -> None:
            asgi = app.asgi()
            able = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
            asked = (await call(asgi, "greet", **able).json())["result"]
            assert asked["resultType"] == "input_required"
            again = {
                "name": "greet",
                "arguments": {},
                "inputResponses": {"who": {"action": "accept", "content": {"name": "Ann"}}},
                "requestState": asked["requestState"],
            }
            assert text_of(await post(asgi, "tools/call", again, id=2, **able).json()) == "Hello, Ann"

        run(main())

    def test_mirrored_arguments_are_compared(self, run: Run) -> None:
        app = Server("s")

        @app.tool
        def near(region: Annotated[str, msgspec.Meta(extra_json_schema={"x-mcp-header": "Region"})]) -> str:
            return region

        async def main() -> None:
            asgi = app.asgi()
            assert (await call(asgi, "near", {"region": "eu"}).json())["error"]["code"] == -32020
            headers = {**HEADERS, "mcp-method": "tools/call", "mcp-name": "near", "mcp-param-region": "eu"}
            body = body_of("tools/call", {"name": "near", "arguments": {"region": "eu"}})
            assert text_of(await Exchange(asgi, scope_of(headers), [body]).json()) == "eu"

        run(main())


class TestStreams:
    def test_the_first_notification_begins_a_stream(self, run: Run) -> None:
        app = Server("s")
        go = asyncio.Event()

        @app.tool
        async def work(ctx: Context) -> str:
            ctx.progress(1, 2)
            await go.wait()
            ctx.progress(2, 2)
            return "done"

        async def main() -> None:
            exchange = call(app.asgi(), "work", progressToken="t")
            (first,) = await exchange.events(1)
            assert first["params"] == {"progressToken": "t", "progress": 1, "total": 2}
            assert exchange.status == 200
            assert exchange.headers["content-type"] == "text/event-stream"
            assert exchange.headers["x-accel-buffering"] == "no"
            go.set()
            second, answer = await exchange.events(2)
            assert second["params"]["progress"] == 2
            assert text_of(answer) == "done"
            assert exchange.complete
            await exchange.task

        run(main())

    def test_a_plain_tool_that_notifies_is_a_stream_too(self, run: Run) -> None:
        app = Server("s")

        @app.tool
        def work(ctx: Context) -> str:
            ctx.info("note")
            return "done"

        async def main() -> None:
            asgi = app.asgi()
            level = {"io.modelcontextprotocol/logLevel": "info"}
            note, answer = await call(asgi, "work", **level).events(2)
            assert note["params"]["data"] == "note"
            assert text_of(answer) == "done"
            assert text_of(await call(asgi, "work").json()) == "done"

        run(main())

    def test_silence_begins_a_stream_and_is_commented_on(self, run: Run) -> None:
        async def main() -> None:
            held = Held()
            exchange = call(application(held.app, quiet_s=0.001), "wait")
            assert (await exchange.comment()).startswith(b":")
            assert exchange.headers["content-type"] == "text/event-stream"
            held.go.set()
            while not (
                message := [line for line in (await exchange.comment()).splitlines() if b"data" in line]
            ):
                pass
            assert b"done" in message[0]
            assert exchange.complete

        run(main())

    def test_requests_with_one_id_do_not_meet(self, run: Run) -> None:
        app = Server("s")
        go = asyncio.Event()

        @app.tool
        async def say(text: str, ctx: Context) -> str:
            ctx.progress(1, message=text)
            await go.wait()
            return text

        async def main() -> None:
            asgi = app.asgi()
            exchanges = [call(asgi, "say", {"text": text}, progressToken=1) for text in "ab"]
            for exchange, text in zip(exchanges, "ab", strict=True):
                assert (await exchange.events(1))[0]["params"]["message"] == text
            go.set()
            for exchange, text in zip(exchanges, "ab", strict=True):
                assert text_of((await exchange.events(1))[0]) == text

        run(main())

    def test_listening_hears_of_changes_until_the_server_ends_it(self, run: Run) -> None:
        app = Server("s")
        app.resource("x://y")(lambda: "text")

        async def main() -> None:
            asgi = app.asgi()
            wanted = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": ["x://y"]}}
            exchange = post(asgi, "subscriptions/listen", wanted, id=5)
            (acknowledged,) = await exchange.events(1)
            assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
            assert acknowledged["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 5}
            app.tool(name="new")(lambda: 1)
            assert (await exchange.events(1))[0]["method"] == "notifications/tools/list_changed"
            app.resource_updated("x://y")
            assert (await exchange.events(1))[0]["params"]["uri"] == "x://y"
            asgi.shut_down()
            (end,) = await exchange.events(1)
            assert end["id"] == 5
            assert exchange.complete
            await exchange.task
            assert len(app.subscriptions) == 0

        run(main())


class TestCancellation:
    def test_a_client_that_leaves_cancels_its_request(self, run: Run) -> None:
        async def main() -> None:
            held = Held()
            asgi = held.app.asgi()
            exchange = call(asgi, "wait")
            await held.began.wait()
            assert asgi.endpoint.open == 1
            exchange.disconnect()
            await exchange.task
            assert held.cancelled.is_set()
            assert asgi.endpoint.open == 0

        run(main())

    def test_a_client_that_has_left_before_is_noticed(self, run: Run) -> None:
        async def main() -> None:
            held = Held()
            exchange = call(held.app.asgi(), "wait")
            exchange.disconnect()
            await exchange.task
            assert not held.go.is_set()

        run(main())

    def test_a_listener_that_leaves_is_forgotten(self, run: Run) -> None:
        async def main() -> None:
            app = Server("s")
            exchange = post(app.asgi(), "subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            await exchange.events(1)
            assert len(app.subscriptions) == 1
            exchange.disconnect()
            await exchange.task
            assert len(app.subscriptions) == 0

        run(main())

    def test_leaving_in_the_middle_of_the_body_calls_nothing(self, run: Run) -> None:
        async def main() -> None:
            held = Held()
            asgi = held.app.asgi()
            headers = {**HEADERS, "mcp-method": "tools/call", "mcp-name": "wait"}
            exchange = Exchange(asgi, scope_of(headers), [b'{"jsonrpc"'], whole=False)
            exchange.disconnect()
            await exchange.task
            assert exchange.status == 0
            assert not held.began.is_set()
            assert asgi.endpoint.open == 0

        run(main())


class TestLimits:
    def test_a_body_in_pieces_is_put_together(self, run: Run) -> None:
        async def main() -> None:
            body = body_of("tools/list")
            headers = {**HEADERS, "mcp-method": "tools/list"}
            exchange = Exchange(Server("s").asgi(), scope_of(headers), [bytes([byte]) for byte in body])
            assert (await exchange.json())["result"]["tools"] == []

        run(main())

    @pytest.mark.parametrize("parts", [[b" " * 101], [b" " * 60, b" " * 60]])
    def test_a_body_that_is_too_long_is_not_kept(self, run: Run, parts: list[bytes]) -> None:
        async def main() -> None:
            asgi = Server("s", limits=Limits(max_message_bytes=100)).asgi()
            exchange = Exchange(asgi, scope_of(HEADERS), parts, whole=False)
            if len(parts) == 1:
                exchange.feed(b"", more=False)
            message = await exchange.json()
            assert exchange.status == 413
            assert message["error"]["data"]["limit"] == "max_message_bytes"

        run(main())

    @pytest.mark.parametrize("parts", [[], [b""], [b"{"]])
    def test_a_body_that_never_ends_is_given_up(self, run: Run, parts: list[bytes]) -> None:
        async def main() -> None:
            asgi = application(Server("s"), body_s=0.001)
            exchange = Exchange(asgi, scope_of(HEADERS), parts, whole=False)
            await exchange.json()
            assert exchange.status == 408

        run(main())

    def test_too_many_at_once_are_sent_away(self, run: Run) -> None:
        async def main() -> None:
            held = Held(limits=Limits(max_in_flight=1))
            asgi = held.app.asgi()
            first = call(asgi, "wait")
            await held.began.wait()
            second = call(asgi, "wait")
            await second.json()
            assert (second.status, second.headers["retry-after"]) == (503, "1")
            held.go.set()
            assert text_of(await first.json()) == "done"

        run(main())

    def test_a_client_that_does_not_read_is_given_up(self, run: Run) -> None:
        app = Server("s", limits=Limits(max_unsent_bytes=1000))

        @app.tool
        def flood(ctx: Context) -> str:
            for number in range(10_000):
                ctx.progress(number, message="x" * 100)
            assert ctx.cancelled
            return "never said"

        async def main() -> None:
            exchange = call(app.asgi(), "flood", progressToken=1)
            await exchange.task
            while not exchange.complete:
                await exchange.comment()
            assert b"never said" not in exchange.body
            assert len(exchange.body) < 5000

        run(main())


class TestLifespan:
    def server(self, log: list[str]) -> Server:
        @contextlib.asynccontextmanager
        async def lifespan(server: Server) -> AsyncIterator[str]:
            log.append("in")
            yield "state"
            log.append("out")

        app = Server("s", lifespan=lifespan)

        @app.tool
        def state(ctx: Context) -> str:
            return str(ctx.lifespan)

        return app

    def test_the_protocol_of_the_same_name_enters_and_leaves_it(self, run: Run) -> None:
        log: list[str] = []

        async def main() -> None:
            asgi = self.server(log).asgi()
            incoming: asyncio.Queue[Any] = asyncio.Queue()
            outgoing: asyncio.Queue[Any] = asyncio.Queue()
            task = asyncio.ensure_future(asgi({"type": "lifespan"}, incoming.get, outgoing.put))
            incoming.put_nowait({"type": "lifespan.startup"})
            assert (await outgoing.get())["type"] == "lifespan.startup.complete"
            assert text_of(await call(asgi, "state").json()) == "state"
            assert log == ["in"]
            incoming.put_nowait({"type": "lifespan.shutdown"})
            assert (await outgoing.get())["type"] == "lifespan.shutdown.complete"
            await task
            assert log == ["in", "out"]

        run(main())

    def test_without_it_the_first_request_enters_and_the_loop_leaves(self, run: Run) -> None:
        log: list[str] = []

        async def main() -> None:
            asgi = self.server(log).asgi()
            answers = [call(asgi, "state") for _ in range(3)]
            assert [text_of(await answer.json()) for answer in answers] == ["state"] * 3
            assert log == ["in"]

        run(main())
        assert log == ["in", "out"]

    def test_one_that_fails_is_told(self, run: Run) -> None:
        @contextlib.asynccontextmanager
        async def lifespan(server: Server) -> AsyncIterator[None]:
            raise OSError("no database")
            yield

        async def main() -> None:
            outgoing: asyncio.Queue[Any] = asyncio.Queue()

            async def receive() -> dict[str, str]:
                return {"type": "lifespan.startup"}

            await Server("s", lifespan=lifespan).asgi()({"type": "lifespan"}, receive, outgoing.put)
            message = await outgoing.get()
            assert message["type"] == "lifespan.startup.failed"
            assert "no database" in message["message"]

        run(main())


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "scope", "status"),
        [
            ("/mcp", {"path": "/mcp"}, 200),
            ("/mcp", {"path": "/mcp/"}, 200),
            ("/mcp", {"path": "/other"}, 404),
            ("/mcp", {"path": "/api/mcp", "root_path": "/api"}, 200),
            ("/", {"path": "/api", "root_path": "/api"}, 200),
            ("/", {"path": "/api/", "root_path": "/api"}, 200),
            ("/", {"path": "/mcp"}, 404),
        ],
    )
    def test_one_path_is_served(self, run: Run, path: str, scope: dict[str, str], status: int) -> None:
        async def main() -> None:
            headers = {**HEADERS, "mcp-method": "tools/list"}
            asgi = Server("s").asgi(path)
            exchange = Exchange(asgi, scope_of(headers, **scope), [body_of("tools/list")])
            await exchange.json()
            assert exchange.status == status

        run(main())

    def test_other_hosts_can_be_allowed(self, run: Run) -> None:
        async def main() -> None:
            headers = {**HEADERS, "host": "example.com", "mcp-method": "tools/list"}
            for app, status in (
                (Server("s").asgi(), 403),
                (Server("s").asgi(allowed_hosts=["example.com"]), 200),
            ):
                exchange = Exchange(app, scope_of(headers), [body_of("tools/list")])
                await exchange.json()
                assert exchange.status == status

        run(main())
