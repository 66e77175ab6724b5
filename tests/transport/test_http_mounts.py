"""The application mounted in others, and served by servers that are not ours."""

from __future__ import annotations

import contextlib
import http.client
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.loops import Run
from taut import Context, Server
from transport.asgi import HEADERS, Exchange, body_of, scope_of
from transport.served import SERVER, Child, call, post, send

fastapi = pytest.importorskip("fastapi")
litestar = pytest.importorskip("litestar")
starlette = pytest.importorskip("starlette.applications")

App = Callable[[Any, Any, Any], Awaitable[None]]


def in_starlette(inner: App) -> App:
    from starlette.routing import Mount

    made: App = starlette.Starlette(routes=[Mount("/tools", app=inner)])
    return made


def in_starlette_twice(inner: App) -> App:
    from starlette.routing import Mount

    made: App = starlette.Starlette(routes=[Mount("/to", routes=[Mount("/ols", app=inner)])])
    return made


def in_fastapi(inner: App) -> App:
    made = fastapi.FastAPI()
    made.mount("/tools", inner)
    return made  # type: ignore[no-any-return]


def in_litestar(inner: App) -> App:
    made: App = litestar.Litestar(
        [litestar.asgi("/tools", is_mount=True, copy_scope=True)(inner)], openapi_config=None
    )
    return made


FRAMEWORKS = {
    "starlette": (in_starlette, "/tools"),
    "starlette in starlette": (in_starlette_twice, "/to/ols"),
    "fastapi": (in_fastapi, "/tools"),
    "litestar": (in_litestar, "/tools"),
}


@pytest.fixture(params=FRAMEWORKS)
def mount(request: pytest.FixtureRequest) -> tuple[Callable[[App], App], str]:
    return FRAMEWORKS[request.param]


def ask(
    app: App, path: str, tool: str, arguments: dict[str, Any], *, root_path: str = "", **meta: Any
) -> Exchange:
    """Call a tool at ``path``, as a server with ``root_path`` would say it."""
    params = {"name": tool, "arguments": arguments}
    scope = scope_of(
        {**HEADERS, "mcp-method": "tools/call", "mcp-name": tool},
        path=path,
        raw_path=path.encode(),
        root_path=root_path,
        query_string=b"",
        scheme="http",
        http_version="1.1",
        server=("localhost", 80),
        client=("127.0.0.1", 1),
        asgi={"version": "3.0", "spec_version": "2.3"},
        state={},
    )
    return Exchange(app, scope, [body_of("tools/call", params, **meta)])


def example(**options: Any) -> Server:
    app = Server("s", **options)

    @app.tool
    def add(a: int, b: int) -> int:
        return a + b

    @app.tool
    async def count(ctx: Context) -> str:
        await ctx.progress(1, 1)
        return "counted"

    return app


class TestMounted:
    def test_calls_and_streams_find_it(self, mount: tuple[Callable[[App], App], str], run: Run) -> None:
        async def main() -> None:
            wrap, prefix = mount
            outer = wrap(example().asgi())
            answer = await ask(outer, f"{prefix}/mcp", "add", {"a": 1, "b": 2}).json()
            assert answer["result"]["structuredContent"] == {"result": 3}
            stream = ask(outer, f"{prefix}/mcp", "count", {}, progressToken=1)
            progress, result = await stream.events(2)
            assert progress["method"] == "notifications/progress"
            assert result["result"]["content"][0]["text"] == "counted"
            await stream.task

        run(main())

    def test_it_is_nowhere_else(self, mount: tuple[Callable[[App], App], str], run: Run) -> None:
        async def main() -> None:
            wrap, prefix = mount
            outer = wrap(example().asgi())
            for path in ("/mcp", f"{prefix}/else", f"{prefix}/mcp/more"):
                exchange = ask(outer, path, "add", {"a": 1, "b": 2})
                while not exchange.complete:
                    await exchange._next()
                assert exchange.status == 404, path

        run(main())

    def test_a_root_path_that_the_server_says_is_no_part_of_it(
        self, mount: tuple[Callable[[App], App], str], run: Run
    ) -> None:
        async def main() -> None:
            wrap, prefix = mount
            outer = wrap(example().asgi())
            answer = await ask(outer, f"/api{prefix}/mcp", "add", {"a": 1, "b": 2}, root_path="/api").json()
            assert answer["result"]["structuredContent"] == {"result": 3}

        run(main())

    @pytest.mark.parametrize("kind", ["starlette", "fastapi", "litestar"])
    def test_a_proxy_may_have_taken_the_root_path_off(self, kind: str, run: Run) -> None:
        async def main() -> None:
            wrap, prefix = FRAMEWORKS[kind]
            outer = wrap(example().asgi())
            answer = await ask(outer, f"{prefix}/mcp", "add", {"a": 1, "b": 2}, root_path="/api").json()
            assert answer["result"]["structuredContent"] == {"result": 3}

        run(main())

    def test_the_lifespan_of_the_outer_application_can_hold_ours(self, run: Run) -> None:
        story: list[str] = []

        @contextlib.asynccontextmanager
        async def lifespan(app: Server) -> AsyncIterator[str]:
            story.append("entered")
            yield "state"
            story.append("left")

        async def main() -> None:
            app = example(lifespan=lifespan)
            outer = in_starlette(app.asgi())
            async with app.running():
                story.append("serving")
                await ask(outer, "/tools/mcp", "add", {"a": 1, "b": 2}).json()

        run(main())
        assert story == ["entered", "serving", "left"]


#: What is served: our application alone, and below Starlette, which sends it no lifespan.
PROGRAM = """
from contextlib import asynccontextmanager
from starlette.applications import Starlette
from starlette.routing import Mount
from server import app, say

asgi = app.asgi()
mounted = Starlette(routes=[Mount("/tools", app=app.asgi())])
"""


class Foreign:
    """A server of another make, with ``app`` behind it."""

    def __init__(self, folder: Path, kind: str, app: str) -> None:
        (folder / "server.py").write_text(SERVER)
        (folder / "program.py").write_text(PROGRAM)
        python = [sys.executable, "-m"]
        if kind == "uvicorn":
            command, pattern = ["uvicorn", "--port", "0", f"program:{app}"], r"running on (http://\S+)"
        elif kind == "hypercorn":
            command, pattern = (
                ["hypercorn", "-b", "127.0.0.1:0", f"program:{app}"],
                r"Running on (http://\S+)",
            )
        else:
            command = ["granian", "--interface", "asgi", "--uds", "s", f"program:{app}"]
            pattern = "(Started) worker-1"
        self.kind = kind
        self.child = Child(folder, [*python, *command], pattern)
        self.path = "/mcp" if app == "asgi" else "/tools/mcp"
        if kind == "granian":
            self.child.url = f"http://unix:{folder / 's'}:/mcp"

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection; some say that they serve a moment before they do."""
        while True:
            connection = self.child.connect()
            try:
                connection.connect()
                return connection
            except ConnectionRefusedError:
                assert self.child.child.poll() is None


SERVERS = [
    "uvicorn",
    # Slower to start, and no part of what we serve with.
    pytest.param("hypercorn", marks=pytest.mark.interop),
    pytest.param("granian", marks=pytest.mark.interop),
]


@pytest.fixture(params=SERVERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["asgi", "mounted"])
def foreign(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[Foreign]:
    pytest.importorskip(kind)
    made = Foreign(tmp_path, kind, request.param)
    try:
        yield made
    finally:
        made.child.close()


class TestServedByOthers:
    def test_calls_streams_and_the_end_of_them(self, foreign: Foreign) -> None:
        child, path = foreign.child, foreign.path
        connection = foreign.connect()
        assert [call(connection, "add", path=path, a=number, b=1) for number in range(3)] == [1, 2, 3]

        response = post(
            connection, "tools/call", {"name": "count", "arguments": {"to": 3}}, path=path, progressToken=1
        )
        assert response.headers["content-type"] == "text/event-stream"
        body = response.read()
        assert body.count(b"notifications/progress") == 3
        assert b"counted" in body

        # A client that goes away withdraws its request.
        leaving = foreign.connect()
        send(leaving, "tools/call", {"name": "wait", "arguments": {"seconds": 600}}, path=path)
        child.must_hear("waiting")
        leaving.close()
        child.must_hear("cancelled")
        assert call(connection, "add", path=path, a=1, b=1) == 2

        said = child.stop(signal.SIGINT)
        assert said.count("entered") == 1
        # Nobody told the mounted one to end, and granian stops the loop with its tasks where they are.
        untold = foreign.kind == "granian" and path != "/mcp"
        assert said.count("left") == (0 if untold else 1)
        assert "Traceback" not in said
