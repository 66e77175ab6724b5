"""WebSockets and HTTP+SSE beside the endpoint: who may come in, what is said, how it ends. On uvicorn, over sockets."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import websockets.asyncio.client as ws
from websockets.exceptions import ConnectionClosed as Closed
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from faults.loops import Run
from taut import Client, Context, Server
from taut.client import HttpSettings
from taut.errors import (
    ConfigError,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    HttpError,
    InvalidAnswer,
    TautError,
    TransportError,
)
from taut.mcp.http.auth import Auth, Identity
from taut.mcp.limits import Limits
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.options import HttpOptions
from taut.transport.http.pool import Pool
from taut.transport.http.sse_client import SseTransport
from taut.transport.http.standing import Standing
from taut.transport.websocket import WebSocketTransport
from transport.scripted_http import Peer, ask, send, serving, until
from transport.served import serving as served
from transport.standing import uvicorn_at

pytestmark = pytest.mark.processes

JSON = [(b"Content-Type", b"application/json")]
MCP = [Subprotocol("mcp")]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2024-11-05",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


def make_server(**options: Any) -> Server:
    app = Server("standing", **options)

    @app.tool
    def add(a: int, b: int) -> int:
        return a + b

    @app.tool
    async def count(to: int, ctx: Context) -> str:
        for number in range(to):
            await ctx.progress(number, to)
        return "counted"

    @app.tool
    def who(ctx: Context) -> str:
        return ctx.principal

    @app.tool
    async def wait() -> None:
        await asyncio.Event().wait()

    return app


class Verifier:
    def verify(self, token: str) -> Identity | None:
        return Identity(token) if token in ("ann", "bob") else None


def standing_of(app: AsgiApp) -> Standing:
    assert isinstance(app.beside, Standing)
    return app.beside


class TestWebSocket:
    def test_a_client_calls_and_hears_progress(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(websocket=True)
            async with uvicorn_at(app) as place, Client(f"ws://{place}/mcp") as client:
                heard: list[float] = []
                result = await client.call_tool("add", {"a": 1, "b": 2})
                assert result.structured_content == {"result": 3}
                await client.call_tool(
                    "count", {"to": 3}, on_progress=lambda params: heard.append(params.progress)
                )
                assert heard == [0, 1, 2]
                many = await asyncio.gather(*(client.call_tool("add", {"a": n, "b": 1}) for n in range(100)))
                assert [result.structured_content for result in many] == [
                    {"result": n + 1} for n in range(100)
                ]
                assert standing_of(app).count == 1
            assert standing_of(app).count == 0

        run(main())

    @pytest.mark.parametrize(
        ("options", "status"),
        [
            ({"origin": Origin("https://evil.example"), "subprotocols": MCP}, 403),
            ({"host": "evil.example", "subprotocols": MCP}, 403),
            ({}, 400),
            ({"subprotocols": [Subprotocol("other")]}, 400),
            ({"path": "/other", "subprotocols": MCP}, 403),
        ],
    )
    def test_who_is_not_let_in(self, run: Run, options: dict[str, Any], status: int) -> None:
        options = dict(options)

        async def main() -> None:
            async with uvicorn_at(make_server().asgi(websocket=True)) as place:
                url = f"ws://{place}{options.pop('path', '/mcp')}"
                host = options.pop("host", None)
                if host is not None:
                    name, _, port = place.partition(":")
                    url = f"ws://{host}:{port}/mcp"
                    options.update(host=name, port=int(port))
                with pytest.raises(InvalidStatus) as caught:
                    await ws.connect(url, proxy=None, **options)
                assert caught.value.response.status_code == status

        run(main())

    def test_without_the_option_there_are_none(self, run: Run) -> None:
        async def main() -> None:
            async with uvicorn_at(make_server().asgi()) as place:
                with pytest.raises(HttpError, match="403"):
                    await Client(f"ws://{place}/mcp").connect()

        run(main())

    def test_too_many_are_refused(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(websocket=True)
            standing_of(app)._max_connections = 1
            async with uvicorn_at(app) as place, Client(f"ws://{place}/mcp"):
                with pytest.raises(HttpError, match="503"):
                    await Client(f"ws://{place}/mcp").connect()

        run(main())

    def test_a_token_is_asked_for_and_names_the_principal(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(websocket=True, auth=Auth(Verifier()))
            async with uvicorn_at(app) as place:
                url = f"ws://{place}/mcp"
                with pytest.raises(HttpError, match="401"):
                    await Client(url).connect()
                transport = WebSocketTransport(url, headers=[("Authorization", "Bearer ann")])
                async with Client(transport) as client:
                    assert (await client.call_tool("who", {})).content[0].text == "ann"

        run(main())

    @pytest.mark.parametrize(("frame", "code"), [(b"{}", 1003), ('"' + "x" * 5000 + '"', 1009)])
    def test_frames_that_are_no_messages_close_it(self, run: Run, frame: bytes | str, code: int) -> None:
        async def main() -> None:
            app = make_server(limits=Limits(max_message_bytes=4096)).asgi(websocket=True)
            async with (
                uvicorn_at(app) as place,
                ws.connect(f"ws://{place}/mcp", subprotocols=MCP, proxy=None) as socket,
            ):
                await socket.send(frame)
                with pytest.raises(Closed) as caught:
                    await socket.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == code

        run(main())

    def test_bad_messages_are_answered_and_lines_within_are_white_space(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(websocket=True)
            async with (
                uvicorn_at(app) as place,
                ws.connect(f"ws://{place}/mcp", subprotocols=MCP, proxy=None) as socket,
            ):
                await socket.send("no json")
                assert json.loads(await socket.recv())["error"]["code"] == -32700
                await socket.send(json.dumps(INITIALIZE, indent=2))
                assert json.loads(await socket.recv())["result"]["protocolVersion"] == "2024-11-05"
                await socket.send('{"jsonrpc":"2.0","id":"a\nb","method":"ping"}')
                assert json.loads(await socket.recv())["error"]["code"] == -32700

        run(main())

    def test_a_server_that_stops_says_so(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(websocket=True)
            async with (
                uvicorn_at(app) as place,
                ws.connect(f"ws://{place}/mcp", subprotocols=MCP, proxy=None) as socket,
            ):
                app.shut_down()
                with pytest.raises(Closed) as caught:
                    await socket.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1001

        run(main())

    def test_calls_in_flight_end_when_the_server_goes(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(websocket=True)
            async with uvicorn_at(app) as place, Client(f"ws://{place}/mcp") as client:
                call = asyncio.create_task(client.call_tool("wait", {}))
                await until(lambda: standing_of(app).count == 1)
                await client.call_tool("add", {"a": 1, "b": 1})
                app.give_up()
                with pytest.raises(ConnectionClosed, match="closed"):
                    await call

        run(main())

    def test_nobody_there(self, run: Run) -> None:
        async def main() -> None:
            with pytest.raises(ConnectError, match="cannot connect"):
                await Client("ws://127.0.0.1:1/mcp").connect()

        run(main())

    def test_another_kind_of_server(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

        async def main() -> None:
            async with serving(script) as url:
                with pytest.raises(TransportError, match="302"):
                    await Client(url.replace("http", "ws")).connect()

        run(main())

    @pytest.mark.parametrize("url", ["ws://", "ws://user:secret@host/", "wss://host:x"])
    def test_urls_are_read_strictly(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            WebSocketTransport(url)
        assert "secret" not in str(caught.value)


class TestEvents:
    def test_a_client_calls_and_hears_progress(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(sse=True)
            async with uvicorn_at(app) as place, Client(SseTransport(f"http://{place}/sse")) as client:
                heard: list[float] = []
                result = await client.call_tool("add", {"a": 1, "b": 2})
                assert result.structured_content == {"result": 3}
                await client.call_tool(
                    "count", {"to": 3}, on_progress=lambda params: heard.append(params.progress)
                )
                assert heard == [0, 1, 2]
                assert standing_of(app).count == 1
            await until(lambda: standing_of(app).count == 0)
            assert not standing_of(app)._sessions

        run(main())

    @pytest.mark.parametrize("mode", ["auto", "legacy", "2024-11-05"])
    def test_a_client_of_the_url_finds_out(self, run: Run, mode: str) -> None:
        async def main() -> None:
            app = make_server().asgi(sse=True, auth=Auth(Verifier()))
            settings = HttpSettings(headers={"Authorization": "Bearer ann"})
            async with (
                uvicorn_at(app) as place,
                Client(f"http://{place}/sse", mode=mode, http=settings) as client,
            ):
                assert (await client.call_tool("who", {})).content[0].text == "ann"
                assert client.revision == ("2024-11-05" if mode == "2024-11-05" else "2025-11-25")
                assert standing_of(app).count == 1

        run(main())

    @pytest.mark.parametrize(("mode", "asked"), [("auto", 3), ("legacy", 2), ("2026-07-28", 1)])
    def test_what_is_no_older_server_is_reported_as_it_answered(
        self, run: Run, mode: str, asked: int
    ) -> None:
        async def script(peer: Peer) -> None:
            while True:
                requests.append((await peer.request())[0])
                await peer.say(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

        async def main() -> None:
            async with serving(script) as url:
                with pytest.raises(HttpError, match="404"):
                    await Client(f"{url}/mcp", mode=mode).connect()
            methods = [head.partition(b" ")[0] for head in requests]
            assert methods == [b"POST", b"POST", b"GET"][3 - asked :] if asked > 1 else methods == [b"POST"]

        requests: list[bytes] = []
        run(main())

    def test_the_endpoint_is_beside_it(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(sse=True, websocket=True)
            async with uvicorn_at(app) as place, Client(f"http://{place}/mcp") as client:
                assert (await client.call_tool("add", {"a": 1, "b": 2})).structured_content == {"result": 3}

        run(main())

    def test_a_session_has_an_id_that_cannot_be_guessed(self, run: Run) -> None:
        async def main() -> None:
            async with uvicorn_at(make_server().asgi(sse=True), root_path="/below") as place:
                pool = Pool(f"http://{place}")
                ids = set()
                for _ in range(2):
                    heard = send(pool, b"/sse", b"", method=b"GET")
                    await until(lambda heard=heard: b"\n\n" in heard.body)  # type: ignore[misc]
                    event, data = heard.body.decode().splitlines()[:2]
                    assert event == "event: endpoint"
                    path, _, session_id = data.partition("?session_id=")
                    assert path == "data: /below/messages"
                    assert len(session_id) * 6 >= 128
                    ids.add(session_id)
                assert len(ids) == 2
                await pool.close()

        run(main())

    @pytest.mark.parametrize(
        ("method", "path", "headers", "body", "status"),
        [
            (b"GET", b"/sse", [(b"Origin", b"https://evil.example")], b"", 403),
            (b"GET", b"/sse", [(b"Accept", b"application/json")], b"", 406),
            (b"POST", b"/sse", JSON, b"{}", 405),
            (b"GET", b"/messages", [], b"", 405),
            (b"POST", b"/messages", JSON, b"{}", 404),
            (b"POST", b"/messages?session_id=x", JSON, b"{}", 404),
            (b"POST", b"/messages?session_id=x", [(b"Origin", b"https://evil.example"), *JSON], b"{}", 403),
            (b"POST", b"/messages?session_id=x", [(b"Content-Type", b"text/plain")], b"{}", 415),
            (b"POST", b"/messages?session_id=x", JSON, b"x" * 5000, 413),
        ],
    )
    def test_what_is_refused(
        self,
        run: Run,
        method: bytes,
        path: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        status: int,
    ) -> None:
        async def main() -> None:
            app = make_server(limits=Limits(max_message_bytes=4096)).asgi(sse=True)
            async with uvicorn_at(app) as place:
                pool = Pool(f"http://{place}")
                heard = await ask(pool, path, body, method=method, headers=headers)
                assert heard.status == status
                assert not standing_of(app)._sessions
                assert app.endpoint.open == 0
                await pool.close()

        run(main())

    def test_a_session_belongs_to_who_opened_it(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(sse=True, auth=Auth(Verifier()))
            async with uvicorn_at(app) as place:
                pool = Pool(f"http://{place}")
                assert (await ask(pool, b"/sse", b"", method=b"GET")).status == 401
                ann = SseTransport(f"http://{place}/sse", headers=[(b"Authorization", b"Bearer ann")])
                async with Client(ann) as client:
                    assert (await client.call_tool("who", {})).content[0].text == "ann"
                    (session_id,) = standing_of(app)._sessions
                    path = f"/messages?session_id={session_id}".encode()
                    for token, status in ((b"bob", 404), (b"eve", 401), (b"ann", 202)):
                        headers = [(b"Authorization", b"Bearer " + token), *JSON]
                        body = b'{"jsonrpc":"2.0","method":"notifications/x"}'
                        assert (await ask(pool, path, body, headers=headers)).status == status
                await pool.close()

        run(main())

    def test_a_client_that_goes_away_ends_its_session(self, run: Run) -> None:
        async def main() -> None:
            app = make_server().asgi(sse=True)
            async with uvicorn_at(app) as place:
                pool = Pool(f"http://{place}")
                heard = send(pool, b"/sse", b"", method=b"GET")
                await heard.begun.wait()
                assert standing_of(app).count == 1
                assert heard.call is not None
                heard.call.abort()
                await until(lambda: standing_of(app).count == 0)
                await pool.close()

        run(main())

    def test_sessions_live_in_one_process(self) -> None:
        with pytest.raises(ConfigError, match="sse"):
            HttpOptions.of({"sse": True, "workers": 2})

    def test_the_paths_must_differ(self) -> None:
        with pytest.raises(ConfigError, match="/sse"):
            make_server().asgi("/sse", sse=True)


class TestProcess:
    """In the server that taut brings along."""

    @pytest.mark.parametrize("kind", ["websocket", "sse"])
    def test_clients_of_each_kind_are_served_and_told_of_the_end(
        self, run: Run, tmp_path: Path, kind: str
    ) -> None:
        with served(tmp_path, "--websocket", "--sse") as server:

            async def main() -> None:
                place = f"127.0.0.1:{server.port}"
                target = f"ws://{place}/mcp" if kind == "websocket" else SseTransport(f"http://{place}/sse")
                async with Client(target) as client, Client(server.url) as beside:
                    for one in (client, beside):
                        result = await one.call_tool("add", {"a": 1, "b": 2})
                        assert result.structured_content == {"result": 3}
                    call = asyncio.create_task(client.call_tool("wait", {"seconds": 60}))
                    await asyncio.to_thread(server.must_hear, "waiting")
                    server.child.send_signal(signal.SIGTERM)
                    with pytest.raises(TautError):
                        await call

            run(main())
            assert "left" in server.end()

    def test_a_request_for_a_websocket_is_refused_where_there_are_none(
        self, run: Run, tmp_path: Path
    ) -> None:
        with served(tmp_path) as server:

            async def main() -> None:
                with pytest.raises(HttpError, match=r"status 40[05]"):
                    await Client(f"ws://127.0.0.1:{server.port}/mcp").connect()

            run(main())


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n"


class TestEventsClient:
    @pytest.mark.parametrize(
        ("answer", "error", "what"),
        [
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", HttpError, "404"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", InvalidAnswer, "text/event-stream"),
            (STREAM + b"event: endpoint\ndata: https://evil.example/x\n\n", InvalidAnswer, "evil.example"),
            (STREAM + b"event: endpoint\ndata: //evil.example/x\n\n", InvalidAnswer, "evil.example"),
            (STREAM + b"event: endpoint\ndata: http://127.0.0.1:1/x\n\n", InvalidAnswer, "127.0.0.1:1"),
            (STREAM + b"event: endpoint\ndata: /a b\n\n", InvalidAnswer, "URL"),
            (STREAM + b"event: endpoint\ndata: \xff\n\n", InvalidAnswer, "URL"),
            (STREAM, ConnectionClosed, "ended the stream"),
            (b"", ConnectionClosed, "without a byte"),
        ],
    )
    def test_a_stream_that_is_none(
        self, run: Run, answer: bytes, error: type[TransportError], what: str
    ) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(answer)

        async def main() -> None:
            async with serving(script) as url:
                with pytest.raises(error, match=what):
                    await Client(SseTransport(f"{url}/sse")).connect()

        run(main())

    def test_an_endpoint_that_does_not_come(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.say(STREAM)
            await peer.rest()

        async def main() -> None:
            async with serving(script) as url:
                with pytest.raises(ConnectTimeout, match="endpoint"):
                    await Client(SseTransport(f"{url}/sse", connect_timeout_s=0.05)).connect()

        run(main())

    def test_messages_arrive_in_order_and_a_refusal_is_the_end(self, run: Run) -> None:
        posted: list[bytes] = []

        async def script(peer: Peer) -> None:
            head, body = await peer.request()
            if head.startswith(b"GET"):
                await peer.say(STREAM + b"event: endpoint\ndata: /there?s=1\n\n")
                await peer.rest()
                return
            while True:
                assert head.startswith(b"POST /there?s=1 ")
                posted.append(body)
                status = b"202 Accepted" if len(posted) < 50 else b"404 Not Found"
                await peer.say(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
                head, body = await peer.request()

        async def main() -> None:
            lost: asyncio.Future[TransportError | None] = asyncio.get_running_loop().create_future()

            class Receiver:
                def data_received(self) -> None: ...
                def eof_received(self) -> None: ...
                def connection_lost(self, error: TransportError | None) -> None:
                    lost.set_result(error)

            async with serving(script) as url:
                transport = SseTransport(f"{url}/sse")
                transport.start(Receiver())
                for number in range(60):
                    transport.out.append(b"%d" % number)
                    transport.flush()
                error = await lost
                assert isinstance(error, HttpError)
                assert error.status == 404
                await transport.wait_closed()
            assert posted == [b"%d" % number for number in range(50)]

        run(main())

    def test_closed_while_it_connects(self, run: Run) -> None:
        async def script(peer: Peer) -> None:
            await peer.rest()

        async def main() -> None:
            async with serving(script) as url:
                transport = SseTransport(f"{url}/sse")
                opening = asyncio.create_task(transport.open())
                await asyncio.sleep(0)
                transport.close()
                await transport.wait_closed()
                await asyncio.wait([opening])
                assert opening.cancelled()

        run(main())
