"""A client of a server that is older than Streamable HTTP: a stream of events, and messages posted beside it."""

from __future__ import annotations

import pytest
from serving import serving
from web import INITIALIZED, Asked, Script, encoded, text_result, web

from faults.loops import Run
from taut import Client, Server
from taut.client import HttpSettings
from taut.errors import HttpError


def older(status: int, seen: list[str], *, body: bytes = b"") -> Script:
    """Play a server of 2024-11-05 at ``/mcp``, which takes messages at ``/post``; it refuses a POST to ``/mcp``."""
    streams: list[Asked] = []

    async def script(asked: Asked) -> None:
        seen.append(asked.headers.get("authorization", ""))
        if asked.verb == "GET":
            asked.stream()
            asked.chunk(b"event: endpoint\ndata: /post?session=1\n\n")
            streams.append(asked)
        elif not streams:
            asked.reply(body, status=status)
        else:
            asked.reply(status=202)
            if asked.method == "initialize":
                result = INITIALIZED | {"protocolVersion": "2024-11-05"}
                streams[0].event({"id": asked.message["id"], "result": result})
            elif asked.method == "tools/call":
                streams[0].event({"id": asked.message["id"], "result": text_result("ok")})

    return script


class TestOlderServers:
    @pytest.mark.parametrize("status", [400, 404, 405])
    @pytest.mark.parametrize("mode", ["auto", "legacy"])
    def test_are_reached_over_their_stream(self, run: Run, status: int, mode: str) -> None:
        async def main() -> None:
            async with web(older(status, [])) as there, Client(there.url, mode=mode) as client:
                assert client.revision == "2024-11-05"
                assert (await client.call_tool("t")).text == "ok"

        run(main())

    def test_also_where_the_refusal_is_a_message(self, run: Run) -> None:
        refusal = encoded(error={"code": -32600, "message": "Expected GET"})

        async def main() -> None:
            async with web(older(405, [], body=refusal)) as there, Client(there.url) as client:
                assert (await client.call_tool("t")).text == "ok"

        run(main())

    def test_our_own_is_reached_as_well(self, run: Run) -> None:
        app = Server("s")

        @app.tool
        def add(a: int, b: int) -> int:
            return a + b

        async def main() -> None:
            async with serving(app, sse=True) as url, Client(url.replace("/mcp", "/sse")) as client:
                assert (await client.call_tool("add", {"a": 1, "b": 2})).text == "3"

        run(main())

    def test_get_the_headers_that_all_get(self, run: Run) -> None:
        class Tokens:
            async def token(self) -> str:
                return "secret"

            async def challenged(self, error: Exception) -> bool:
                return False

        seen: list[str] = []

        async def main() -> None:
            settings = HttpSettings(auth=Tokens())
            async with web(older(405, seen)) as there, Client(there.url, http=settings) as client:
                await client.call_tool("t")

        run(main())
        assert set(seen) == {"Bearer secret"}

    @pytest.mark.parametrize("mode", ["2026-07-28", "auto"])
    def test_what_is_none_is_told_as_it_was(self, run: Run, mode: str) -> None:
        async def script(asked: Asked) -> None:
            asked.reply(status=404)

        async def main() -> None:
            async with web(script) as there:
                with pytest.raises(HttpError, match="was answered with HTTP status 404"):
                    await Client(there.url, mode=mode).connect()
                assert ("GET" in there.methods()) is (mode == "auto")

        run(main())
