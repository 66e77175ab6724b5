"""The endpoint inside uvicorn's protocol: one write per answer, turns, limits, time, and the end of a connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest

from faults.loops import Run
from taut import Context, Server
from taut.errors import ConfigError
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.http.patience import Patience
from transport.asgi import body_of
from transport.garbage import garbage_of
from transport.http1 import Answer, Connection, alive, call, native, request


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A server whose tools answer at once, soon, when they are let, or in parts; and connections to it."""

    def __init__(self, *, limits: Limits = DEFAULT_LIMITS, **patience: Any) -> None:
        app = Server("s", limits=limits)
        self.clock = Clock()
        self.calls: list[str] = []
        self.go = asyncio.Event()
        self.cancelled = 0

        @app.tool
        def add(a: int, b: int) -> int:
            self.calls.append("add")
            return a + b

        @app.tool
        def text(size: int) -> str:
            return "x" * size

        @app.tool
        async def soon() -> str:
            await asyncio.sleep(0)
            return "soon"

        @app.tool
        async def wait() -> str:
            self.calls.append("wait")
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return "done"

        @app.tool
        async def count(ctx: Context) -> str:
            await ctx.progress(1)
            await self.go.wait()
            return "counted"

        self.asgi = app.asgi()
        self.http = native(self.asgi, clock=self.clock, **patience)

    async def connect(self, **config: Any) -> Connection:
        await alive(self.asgi)
        return Connection(self.asgi, self.http, **config)

    @property
    def open(self) -> int:
        return self.asgi.endpoint.open

    async def pass_time(self, seconds: float, *connections: Connection) -> None:
        self.clock.now += seconds
        self.http.sweep.look()
        for connection in connections:
            await connection.settle()


def value_of(answer: Answer) -> Any:
    """Return what a tool has returned."""
    assert answer.status == 200
    assert answer.complete
    body = answer.body
    if answer.headers["content-type"] == "text/event-stream":
        body = body.rstrip().rpartition(b"data: ")[2]
    result = msgspec.json.decode(body)["result"]
    return (
        result["structuredContent"]["result"]
        if "structuredContent" in result
        else result["content"][0]["text"]
    )


class TestAnswers:
    def test_a_plain_tool_is_answered_with_one_write_in_the_same_read(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            for number in range(3):
                connection.protocol.data_received(call("add", a=number, b=1))
                assert connection.transport.writes == number + 1
            answers = connection.answers()
            assert [value_of(answer) for answer in answers] == [1, 2, 3]
            assert answers[0].headers["content-type"] == "application/json"
            assert "connection" not in answers[0].headers
            assert connection.state.total_requests == 3
            assert site.open == 0
            assert not connection.transport.done

        run(main())

    def test_a_head_that_is_known_is_still_judged_by_its_body(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            good = call("add", a=1, b=1)
            await connection.send(good, good)
            await connection.send(
                good.replace(b'"name":"add"', b'"name":"bad"'), b"{".join(good.rsplit(b"}", 1))
            )
            assert connection.statuses == [200, 200, 400, 400]

        run(main())

    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_a_request_may_come_in_pieces(self, size: int, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            data = call("add", a=1, b=1) * 3
            await connection.send(*(data[at : at + size] for at in range(0, len(data), size)))
            assert [value_of(answer) for answer in connection.answers()] == [2, 2, 2]

        run(main())

    def test_a_chunked_body_is_one_body(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            body = body_of("tools/call", {"name": "add", "arguments": {"a": 1, "b": 1}})
            head = request(b"", mcp_method="tools/call", mcp_name="add")
            head = head.replace(b"content-length: 0", b"transfer-encoding: chunked")
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:]))
            await connection.send(head + chunks + b"0\r\nx-trailer: 1\r\n\r\n" + call("add", a=1, b=2))
            assert [value_of(answer) for answer in connection.answers()] == [2, 3]

        run(main())

    def test_a_tool_that_waits_is_answered_without_a_task_of_the_server(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            await connection.send(call("wait"))
            assert connection.transport.writes == 0
            assert not connection.state.tasks
            site.go.set()
            await connection.settle()
            assert value_of(connection.answers()[0]) == "done"
            assert connection.transport.writes == 1
            await connection.send(call("soon"))
            assert connection.transport.writes == 2
            assert site.open == 0

        run(main())

    def test_a_tool_that_tells_of_progress_streams(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            meta = body_of("tools/call", {"name": "count", "arguments": {}}, progressToken=1)
            await connection.send(request(meta, mcp_method="tools/call", mcp_name="count"))
            (answer,) = connection.answers()
            assert answer.headers["content-type"] == "text/event-stream"
            assert b"notifications/progress" in answer.body
            assert not answer.complete
            site.go.set()
            await connection.settle()
            assert value_of(connection.answers()[0]) == "counted"
            await connection.send(call("add", a=1, b=1))
            assert connection.statuses == [200, 200]
            assert site.open == 0

        run(main())

    def test_what_takes_long_is_followed(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            await connection.send(call("wait"))
            await site.pass_time(2, connection)
            assert len(connection.state.tasks) == 1
            site.go.set()
            await connection.settle()
            assert value_of(connection.answers()[0]) == "done"
            assert connection.answers()[0].headers["content-type"] == "application/json"
            assert site.open == 0

        run(main())

    def test_everything_else_is_for_the_application(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            await connection.send(
                request(b"{}", target="/other"),
                request(b"", method="GET"),
                call("add", a=1, b=1).replace(b"/mcp", b"/mcp?x=1"),
                call("add", a=1, b=1),
            )
            assert connection.statuses == [404, 405, 200, 200]
            assert not connection.transport.done

        run(main())

    def test_a_lifespan_that_has_not_begun_is_waited_for(self, run: Run) -> None:
        entered = asyncio.Event()

        async def main() -> None:
            @contextlib.asynccontextmanager
            async def lifespan(app: Server) -> AsyncIterator[None]:
                await entered.wait()
                yield

            app = Server("s", lifespan=lifespan)

            @app.tool
            def add(a: int, b: int) -> int:
                return a + b

            asgi = app.asgi()
            connection = Connection(asgi, native(asgi))
            await connection.send(call("add", a=1, b=1))
            assert connection.answers() == []
            entered.set()
            await connection.settle()
            await connection.send(call("add", a=1, b=2))
            assert [value_of(answer) for answer in connection.answers()] == [2, 3]

        run(main())

    def test_the_date_is_that_of_the_server(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            connection.state.default_headers = [(b"date", b"now")]
            await connection.send(call("add", a=1, b=1))
            connection.state.default_headers = [(b"date", b"then")]
            await connection.send(call("add", a=1, b=1))
            assert [answer.headers["date"] for answer in connection.answers()] == ["now", "then"]

        run(main())

    def test_a_large_answer_is_whole(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            await connection.send(call("text", size=200_000))
            assert value_of(connection.answers()[0]) == "x" * 200_000

        run(main())


class TestConnections:
    @pytest.mark.parametrize("tool", ["wait", "count", "text"])
    def test_a_client_may_ask_for_the_end(self, tool: str, run: Run) -> None:
        async def main() -> None:
            site = Site()
            site.go.set()
            connection = await site.connect()
            arguments = {"size": 3} if tool == "text" else {}
            await connection.send(call(tool, ("connection", "close"), **arguments) + call("text", size=1))
            assert connection.statuses == [200]
            assert connection.answers()[0].headers["connection"] == "close"
            assert connection.transport.is_closing()

        run(main())

    def test_the_older_version_has_one_request(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            await connection.send(call("text", ("connection", "keep-alive"), version="1.0", size=3) * 2)
            assert connection.statuses == [200]
            assert connection.transport.is_closing()

        run(main())

    def test_answers_come_in_the_order_of_the_requests(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            await connection.send(
                call("wait", id=1)
                + request(b"", method="GET")
                + call("text", id=3, size=1)
                + call("soon", id=4)
            )
            assert connection.answers() == []
            assert not connection.transport.reading
            site.go.set()
            await connection.settle()
            assert connection.statuses == [200, 405, 200, 200]
            ids = [msgspec.json.decode(answer.body).get("id") for answer in connection.answers()]
            assert ids == [1, None, 3, 4]
            assert connection.transport.reading
            assert site.open == 0

        run(main())

    def test_what_one_handler_sets_the_next_does_not_find(self, run: Run) -> None:
        mine: ContextVar[str] = ContextVar("mine", default="nobody's")

        async def main() -> None:
            app = Server("s")

            @app.tool
            async def first() -> str:
                await asyncio.sleep(0)
                mine.set("first's")
                return mine.get()

            @app.tool
            def second() -> str:
                return mine.get()

            asgi = await alive(app.asgi())
            connection = Connection(asgi, native(asgi))
            await connection.send(call("first") + call("second"))
            assert [value_of(answer) for answer in connection.answers()] == ["first's", "nobody's"]

        run(main())

    @pytest.mark.parametrize("later", [0, 2])
    def test_a_client_that_goes_away_withdraws_its_requests(self, later: float, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            await connection.send(call("wait") + call("add", a=1, b=1))
            assert site.open == 2
            await site.pass_time(later, connection)
            await connection.lose()
            assert site.cancelled == 1
            assert site.calls == ["wait"]
            assert site.open == 0
            assert not connection.state.connections
            assert not connection.state.tasks

        run(main())

    def test_one_that_goes_away_in_the_middle_of_a_body_leaves_nothing(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            await connection.send(call("add", a=1, b=1)[:-5])
            assert site.open == 1
            await connection.lose()
            assert site.open == 0

        run(main())

    def test_a_client_that_does_not_read_is_not_worked_for(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            connection.protocol.pause_writing()
            await connection.send(call("add", a=1, b=1) * 2)
            assert (site.calls, connection.transport.reading) == ([], False)
            connection.protocol.resume_writing()
            assert connection.statuses == [200, 200]
            assert connection.transport.reading

        run(main())


class TestShutdown:
    def test_an_idle_connection_is_closed_and_a_request_that_crosses_is_not_begun(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            await connection.send(call("add", a=1, b=1))
            connection.protocol.shutdown()
            assert connection.transport.ended
            await connection.send(call("add", a=1, b=1))
            assert connection.statuses == [200]

        run(main())

    def test_before_that_each_request_is_answered_as_the_last(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            for data in (call("add", a=1, b=1), b"GET /else HTTP/1.1\r\nhost: localhost\r\n\r\n"):
                connection = await site.connect()
                connection.protocol.finish()
                assert not connection.transport.done
                await connection.send(data)
                assert b"connection: close" in connection.transport.written
                assert connection.transport.is_closing()

        run(main())

    @pytest.mark.parametrize("tool", ["wait", "count"])
    def test_what_has_begun_is_answered_first(self, tool: str, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            await connection.send(call(tool) + call("add", a=1, b=1))
            connection.protocol.shutdown()
            assert not connection.transport.is_closing()
            assert len(connection.state.tasks) == 1
            site.go.set()
            await connection.settle()
            assert connection.statuses == [200, 200]
            assert connection.transport.is_closing()

        run(main())

    def test_a_body_may_still_arrive(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            data = call("add", a=1, b=1)
            await connection.send(data[:-5])
            connection.protocol.shutdown()
            await connection.send(data[-5:])
            assert connection.statuses == [200]
            assert connection.transport.is_closing()

        run(main())


class TestLimits:
    def test_they_are_positive(self) -> None:
        with pytest.raises(ConfigError, match="positive limit for head_s, got 0"):
            Patience(head_s=0)

    @pytest.mark.parametrize("field", ["x" * 70_000 + ": 1", "x: " + "1" * 70_000])
    @pytest.mark.parametrize("size", [5_000, 100_000])
    def test_a_head_has_an_end(self, field: str, size: int, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            data = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n" + field.encode() + b"\r\n\r\n"
            await connection.send(*(data[at : at + size] for at in range(0, len(data), size)))
            assert connection.statuses == [431]
            assert connection.transport.done

        run(main())

    def test_a_head_has_so_many_fields(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            few = call("add", *(("x", "1") for _ in range(90)), a=1, b=1)
            await connection.send(few, call("add", *(("x", "1") for _ in range(101)), a=1, b=1))
            assert connection.statuses == [200, 431]
            assert connection.transport.done

        run(main())

    @pytest.mark.parametrize("flood", [b"x: 1\r\n", b"x" * 999, b"x: " + b"1" * 999])
    def test_trailers_have_an_end(self, flood: bytes, run: Run) -> None:
        async def main() -> None:
            site = Site(max_head_bytes=5_000)
            connection = await site.connect()
            head = request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
            await connection.send(head, b"0\r\n")
            for _ in range(2_000):
                if connection.transport.done:
                    break
                connection.protocol.data_received(flood)
            assert connection.statuses == [431]
            assert site.open == 0

        run(main())

    def test_a_chunk_size_has_an_end(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site(max_head_bytes=5_000).connect()
            head = request(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
            await connection.send(head, b"5;x=", *(b"y" * 999 for _ in range(6)))
            assert connection.statuses == [431]

        run(main())

    def test_tiny_chunks_are_no_flood(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site(max_head_bytes=500).connect()
            body = body_of("tools/call", {"name": "text", "arguments": {"size": 1}, "x": "y" * 500})
            head = request(b"", mcp_method="tools/call", mcp_name="text")
            head = head.replace(b"content-length: 0", b"transfer-encoding: chunked")
            connection.protocol.data_received(head)
            for byte in body:
                connection.protocol.data_received(b"1\r\n%c\r\n" % byte)
            await connection.send(b"0\r\n\r\n")
            assert connection.statuses == [200]

        run(main())

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_that_is_too_large_is_refused_before_it_is_there(self, chunked: bool, run: Run) -> None:
        async def main() -> None:
            site = Site(limits=Limits(max_message_bytes=1_000))
            connection = await site.connect()
            head = request(b"x" * 2_000)[:-2_000]
            if chunked:
                head = head.replace(b"content-length: 2000", b"transfer-encoding: chunked") + b"7d0\r\n"
            await connection.send(head)
            assert connection.statuses == ([] if chunked else [413])
            await connection.send(b"x" * 1_001)
            assert connection.statuses == [413]
            await connection.send(b"x" * 999 + (b"\r\n0\r\n\r\n" if chunked else b"") + call("text", size=1))
            assert connection.statuses == [413, 200]
            assert site.open == 0

        run(main())

    def test_one_that_is_far_too_large_ends_the_connection(self, run: Run) -> None:
        async def main() -> None:
            site = Site(limits=Limits(max_message_bytes=1_000), max_dropped_bytes=5_000)
            connection = await site.connect()
            await connection.send(request(b"x" * 9_000)[:-9_000])
            assert connection.statuses == [413]
            assert connection.answers()[0].headers["connection"] == "close"
            assert connection.transport.ended
            await connection.send(b"x" * 9_000, call("text", size=1))
            assert connection.statuses == [413]
            await site.pass_time(3)
            assert connection.transport.is_closing()

        run(main())

    def test_a_refused_body_without_end_is_cut(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site(max_dropped_bytes=5_000).connect()
            head = request(b"", accept="image/png").replace(
                b"content-length: 0", b"transfer-encoding: chunked"
            )
            await connection.send(head, *(b"3e8\r\n" + b"x" * 1_000 + b"\r\n" for _ in range(6)))
            assert connection.statuses == [406]
            assert connection.transport.ended

        run(main())

    def test_the_server_has_so_many_requests(self, run: Run) -> None:
        async def main() -> None:
            site = Site(limits=Limits(max_in_flight=1))
            one, other = await site.connect(), await site.connect()
            known = call("add", a=1, b=1)
            await other.send(known, known)
            await one.send(call("wait"))
            await other.send(known, call("soon"))
            assert other.statuses == [200, 200, 503, 503]
            assert other.answers()[2].headers["retry-after"] == "1"
            site.go.set()
            await one.settle()
            await other.send(known)
            assert other.statuses[4:] == [200]

        run(main())

    def test_so_many_requests_wait_behind_one(self, run: Run) -> None:
        async def main() -> None:
            site = Site(max_pipelined=2)
            connection = await site.connect()
            await connection.send(call("wait") + call("text", size=1) * 4)
            assert site.open == 3
            site.go.set()
            await connection.settle()
            assert connection.statuses == [200, 200, 200, 429, 429]
            assert connection.answers()[4].headers["retry-after"] == "1"
            assert site.open == 0
            await connection.send(call("text", size=1) * 5)
            assert connection.statuses[5:] == [200] * 5

        run(main())

    def test_requests_of_the_application_wait_too(self, run: Run) -> None:
        async def main() -> None:
            site = Site(max_pipelined=2)
            connection = await site.connect()
            await connection.send(
                call("wait") + request(b"", method="GET") * 2 + request(b"", method="HEAD") * 3
            )
            site.go.set()
            await connection.settle()
            assert connection.statuses == [200, 405, 405, 429]
            assert connection.transport.done
            assert site.open == 0

        run(main())


class TestExpectations:
    def test_a_client_that_waits_is_told_to_go_on(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            data = call("add", ("expect", "100-continue"), a=1, b=1)
            head, _, body = data.partition(b"\r\n\r\n")
            await connection.send(head + b"\r\n\r\n")
            assert connection.statuses == [100]
            await connection.send(body, data)
            assert connection.statuses == [100, 200, 200]

        run(main())

    def test_it_is_its_turn_that_it_waits_for(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            data = call("add", ("expect", "100-continue"), a=1, b=1)
            head, _, body = data.partition(b"\r\n\r\n")
            await connection.send(call("wait") + head + b"\r\n\r\n")
            assert connection.statuses == []
            site.go.set()
            await connection.settle()
            assert connection.statuses == [200, 100]
            await connection.send(body)
            assert connection.statuses == [200, 100, 200]

        run(main())

    def test_one_that_is_refused_is_the_last(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            head = request(b"xxx", ("expect", "100-continue"), accept="image/png")[:-3]
            await connection.send(head + call("text", size=1))
            assert connection.statuses == [406]
            assert connection.transport.done

        run(main())


class TestTarget:
    @pytest.mark.parametrize(
        ("path", "target"),
        [("/", "/"), ("/a b", "/a%20b"), ("/m\N{LATIN SMALL LETTER E WITH ACUTE}", "/m%C3%A9")],
    )
    def test_the_endpoint_may_be_anywhere(self, path: str, target: str, run: Run) -> None:
        async def main() -> None:
            app = Server("s")
            app.tool(name="add")(lambda: 2)
            asgi = await alive(app.asgi(path=path))
            connection = Connection(asgi, native(asgi))
            data = call("add")
            await connection.send(data.replace(b" /mcp ", f" {target} ".encode()))
            assert connection.statuses == [200]
            assert connection.transport.writes == 1  # by nobody else's cycle
            await connection.send(data.replace(b" /mcp ", b" /m? "))
            assert connection.statuses == [200, 404]

        run(main())

    @pytest.mark.parametrize(
        ("target", "host", "status"),
        [
            ("http://localhost/mcp", "localhost", 200),
            ("http://localhost:80/mcp", "evil.example", 200),
            ("HTTP://a@evil.example/mcp", "localhost", 403),
            ("http://localhost@evil.example/mcp?x", "localhost", 403),
            ("http://evil.example:80/mcp", "localhost", 403),
        ],
    )
    def test_a_target_with_a_host_says_which_host_is_meant(
        self, target: str, host: str, status: int, run: Run
    ) -> None:
        async def main() -> None:
            connection = await Site().connect()
            data = call("add", a=1, b=1).replace(b"host: localhost", f"host: {host}".encode())
            await connection.send(data.replace(b" /mcp ", f" {target} ".encode()))
            assert connection.statuses == [status]

        run(main())


class TestTime:
    def test_a_first_request_that_takes_long_is_a_request(self, run: Run) -> None:
        async def main() -> None:
            site = Site(first_byte_s=7, keep_alive_s=70)
            await (await site.connect()).send(call("wait"))
            connection = await site.connect()
            await connection.send(call("wait"))  # whose head is known
            await site.pass_time(2, connection)
            site.go.set()
            await connection.settle()
            assert value_of(connection.answers()[0]) == "done"
            await site.pass_time(60, connection)
            assert not connection.transport.done
            await site.pass_time(11, connection)
            assert connection.transport.done

        run(main())

    @pytest.mark.parametrize(
        ("sent", "limit", "statuses"),
        [
            (b"", "first_byte_s", []),
            (b"POST /mcp HT", "head_s", [408]),
            (call("add", a=1, b=1)[:-3], "body_s", [408]),
            (call("add", a=1, b=1), "keep_alive_s", [200]),
            (call("add", a=1, b=1) * 2, "keep_alive_s", [200, 200]),
            (request(b"xxx", accept="image/png")[:-1], "body_s", [406]),
            (request(b"xxx", target="/other")[:-1], "body_s", [404]),
        ],
    )
    def test_a_client_is_waited_for_so_long(
        self, sent: bytes, limit: str, statuses: list[int], run: Run
    ) -> None:
        async def main() -> None:
            site = Site(**{limit: 7, "linger_s": 1})
            connection = await site.connect()
            await site.pass_time(1)
            if sent:
                await connection.send(sent)
            else:
                await site.pass_time(-1)
            await site.pass_time(7, connection)
            assert not connection.transport.done
            await site.pass_time(1, connection)
            assert connection.transport.done
            assert connection.statuses == statuses
            await site.pass_time(2, connection)
            assert connection.transport.is_closing()
            assert site.open == 0

        run(main())

    def test_bytes_now_and_then_do_not_win_time(self, run: Run) -> None:
        async def main() -> None:
            site = Site(head_s=7)
            connection = await site.connect()
            for byte in b"POST /mcp HTTP":
                await connection.send(bytes((byte,)))
                await site.pass_time(1, connection)
            assert connection.statuses == [408]

        run(main())

    def test_a_handler_has_all_the_time_it_wants(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            await connection.send(call("wait"))
            await site.pass_time(10_000, connection)
            site.go.set()
            await connection.settle()
            assert connection.statuses == [200]

        run(main())

    def test_a_client_that_does_not_read_is_cut_off(self, run: Run) -> None:
        async def main() -> None:
            site = Site(stalled_s=7)
            connection = await site.connect()
            connection.protocol.pause_writing()
            for connection.transport.unsent in (900, 800, 700):
                await site.pass_time(5, connection)
            assert not connection.transport.done
            await site.pass_time(8, connection)
            assert connection.transport.is_closing()

        run(main())

    def test_nothing_is_timed_where_nobody_is(self, run: Run) -> None:
        async def main() -> None:
            site = Site()
            connection = await site.connect()
            assert site.http.sweep._timer is not None
            await connection.lose()
            assert site.http.sweep._timer is None

        run(main())


class TestMemory:
    def test_a_call_leaves_nothing_for_the_garbage_collector(self, run: Run) -> None:
        async def main() -> None:
            connection = await Site().connect()
            data = call("add", a=1, b=1)
            await connection.send(data)
            assert garbage_of(lambda: [connection.protocol.data_received(data) for _ in range(100)]) == 0

        run(main())
