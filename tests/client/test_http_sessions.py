"""A client in a legacy session of our own server, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from serving import serving

from faults.loops import Run
from taut import Client, Context, Server, models
from taut.client import Change
from taut.client.http import HttpConnection
from taut.errors import InvalidParams, RequestTimeout

REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25")


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

    @app.tool
    async def wait() -> str:
        await asyncio.Event().wait()
        return "never"

    @app.resource("mem://x")
    def x() -> str:
        return "x"

    return app


@pytest.mark.parametrize("revision", REVISIONS)
class TestEveryRevision:
    def test_calls_progress_and_logs(self, run: Run, revision: str) -> None:
        seen: list[Any] = []

        async def main() -> None:
            async with serving(server()) as url, Client(url, mode=revision, logging=seen.append) as client:
                assert client.revision == revision
                assert isinstance(client.connection, HttpConnection)
                assert client.connection.headers.session is not None
                results = await asyncio.gather(
                    *(client.call_tool("add", {"a": n, "b": 1}) for n in range(20))
                )
                assert [one.text for one in results] == [str(n + 1) for n in range(20)]
                result = await client.call_tool("work", on_progress=lambda p: seen.append(p.progress))
                seen.append(result.text)
                with pytest.raises(InvalidParams):
                    await client.call_tool("nope")

        run(main())
        assert seen[0] == 1
        assert seen[1].data == "working"
        assert seen[2:] == [2, "done"]

    def test_changes_come_on_the_stream_of_the_session(self, run: Run, revision: str) -> None:
        app = server()

        async def main() -> None:
            async with serving(app) as url, Client(url, mode=revision) as client:
                changes = await client.subscribe("mem://x", tools=True)
                app.resource_updated("mem://x")
                assert await anext(changes) == Change("notifications/resources/updated", "mem://x")

                @app.tool
                def more() -> None:
                    pass

                assert await anext(changes) == Change("notifications/tools/list_changed", None)
                await changes.close()

        run(main())


class TestSessions:
    def test_questions_travel_as_requests(self, run: Run) -> None:
        async def answer(params: models.ElicitParams) -> models.ElicitResult:
            await asyncio.sleep(0)
            return models.ElicitResult(action="accept", content={"name": "Ada"})

        async def main() -> None:
            async with serving(server()) as url, Client(url, mode="legacy", elicitation=answer) as client:
                assert (await client.call_tool("name")).text == "Ada"

        run(main())

    def test_a_cancelled_call_ends_on_the_server(self, run: Run) -> None:
        app = server()

        async def main() -> None:
            async with serving(app) as url, Client(url, mode="legacy") as client:
                with pytest.raises(RequestTimeout):
                    await client.call_tool("wait", timeout_s=0.05)
                assert (await client.call_tool("add", {"a": 1, "b": 1})).text == "2"
                assert client.connection.peer.open_calls == 0

        run(main())

    def test_one_that_the_server_has_lost_is_replaced(self, run: Run) -> None:
        async def main() -> None:
            async with (
                serving(server()) as url,
                serving(server()) as other,
                Client(url, mode="legacy") as client,
                Client(other, mode="legacy") as stranger,
            ):
                connection, elsewhere = client.connection, stranger.connection
                assert isinstance(connection, HttpConnection)
                assert isinstance(elsewhere, HttpConnection)
                first = connection.headers.session
                connection.headers.session = elsewhere.headers.session
                calls = (client.call_tool("add", {"a": n, "b": 1}) for n in range(5))
                assert [one.text for one in await asyncio.gather(*calls)] == ["1", "2", "3", "4", "5"]
                assert connection.headers.session not in (first, elsewhere.headers.session)

        run(main())
