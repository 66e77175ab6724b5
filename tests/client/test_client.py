"""A client's life: connecting, calling, waiting, hearing of changes, closing."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from scripted import Scripted

from faults.loops import Run
from taut import Client, Context, Limits, Server, models
from taut.client.cache import ResponseCache
from taut.errors import (
    ConfigError,
    ConnectionClosed,
    InputRequired,
    LocalProtocolError,
    RequestTimeout,
    UnsupportedProtocolVersion,
)

ERAS = ("legacy", "2026-07-28")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def server(**options: Any) -> Server:
    app = Server("s", "1.2", instructions="be kind", **options)

    @app.tool
    def add(a: int, b: int) -> int:
        return a + b

    @app.resource("mem://x")
    def x() -> str:
        return "x"

    return app


class TestConnecting:
    @pytest.mark.parametrize("mode", ["auto", "legacy", *models.REVISIONS])
    def test_every_mode_reaches_its_revision(self, run: Run, mode: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=mode) as client:
                assert client.revision == {"auto": "2026-07-28", "legacy": "2025-11-25"}.get(mode, mode)
                assert client.server_info == models.Implementation("s", "1.2")
                assert client.instructions == "be kind"
                assert models.declares(client.server_capabilities, "tools")
                await client.ping()
                assert (await client.call_tool("add", {"a": 1, "b": 2})).content == [models.TextContent("3")]

        run(main())

    def test_each_side_in_one_process_has_limits_of_its_own(self, run: Run) -> None:
        async def main() -> None:
            narrow, wide = Limits(max_message_bytes=5_000), Limits(max_message_bytes=1_000_000_000)
            for ours, theirs in ((narrow, wide), (wide, narrow)):
                async with Client(server(limits=theirs), limits=ours, timeout_s=5) as client:
                    assert (await client.call_tool("add", {"a": 1, "b": 2})).content == [
                        models.TextContent("3")
                    ]

        run(main())

    def test_auto_falls_back_to_a_legacy_server(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server(revisions=["2025-06-18"])) as client:
                assert client.revision == "2025-06-18"

        run(main())

    def test_legacy_mode_cannot_speak_to_a_modern_server(self, run: Run) -> None:
        async def main() -> None:
            with pytest.raises(UnsupportedProtocolVersion):
                await Client(server(revisions=["2026-07-28"]), mode="legacy").connect()

        run(main())

    def test_a_saved_discovery_spares_the_question(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server()) as first:
                saved = first.agreement.discovered
            assert saved is not None
            copied = msgspec.json.decode(msgspec.json.encode(saved), type=models.DiscoverResult)
            async with Client(server(), discovered=copied) as second:
                assert second.connection.peer.out is not None
                assert second.connection.peer.open_calls == 0
                assert (await second.call_tool("add", {"a": 1, "b": 1})).structured_content == {"result": 2}

        run(main())

    def test_a_client_connects_once(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server()) as client:
                with pytest.raises(LocalProtocolError, match="not connected"):
                    await client.connect()

        run(main())

    def test_without_a_connection_calls_say_so(self, run: Run) -> None:
        async def main() -> None:
            client = Client(server())
            with pytest.raises(ConnectionClosed, match="not connected"):
                await client.list_tools()
            await client.close()

        run(main())

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            ("", "empty"),
            ("ftp://x/mcp", "URL"),
            ("http://", "host"),
            (3, "int"),
            ("/nonexistent/program", "Cannot start"),
        ],
    )
    def test_targets_that_cannot_work_are_refused(self, run: Run, target: Any, said: str) -> None:
        async def main() -> None:
            with pytest.raises(ConfigError, match=said):
                await Client(target).connect()

        run(main())


class TestCalls:
    def test_a_call_in_flight_ends_when_the_client_closes(self, run: Run, era: str) -> None:
        app = server()
        started = asyncio.Event()

        @app.tool
        async def hang() -> None:
            started.set()
            await asyncio.Event().wait()

        async def main() -> None:
            client = Client(app, mode=era)
            await client.connect()
            call = asyncio.create_task(client.call_tool("hang"))
            await started.wait()
            await asyncio.create_task(client.close())
            with pytest.raises(ConnectionClosed):
                await call
            await client.close()
            with pytest.raises(ConnectionClosed):
                await client.call_tool("hang")

        run(main())

    def test_cancelling_a_call_cancels_its_handler(self, run: Run, era: str) -> None:
        app = server()
        started, cancelled = asyncio.Event(), asyncio.Event()

        @app.tool
        async def hang() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async def main() -> None:
            async with Client(app, mode=era) as client:
                call = asyncio.create_task(client.call_tool("hang"))
                await started.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await cancelled.wait()
                assert client.connection.peer.open_calls == 0
                assert await client.list_tools()

        run(main())

    def test_a_call_that_takes_too_long_is_given_up_on_both_sides(self, run: Run, era: str) -> None:
        app = server()
        cancelled = asyncio.Event()

        @app.tool
        async def hang() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        async def main() -> None:
            async with Client(app, mode=era) as client:
                with pytest.raises(RequestTimeout, match=r"0\.01 s"):
                    await client.call_tool("hang", timeout_s=0.01)
                await cancelled.wait()

        run(main())

    def test_log_messages_reach_their_callback(self, run: Run, era: str) -> None:
        app = server()

        @app.tool
        async def talk(ctx: Context) -> None:
            await ctx.info("one")
            ctx.debug("too quiet")
            ctx.log("error", {"n": 2}, logger="mine")

        async def main() -> None:
            seen: list[tuple[str, Any, Any]] = []
            keep = lambda params: seen.append((params.level, params.data, params.logger))  # noqa: E731
            async with Client(app, mode=era, logging=keep) as client:
                await client.call_tool("talk")
                await client.set_log_level("error")
                await client.call_tool("talk")
            unset = msgspec.UNSET
            assert seen == [("info", "one", unset), ("error", {"n": 2}, "mine"), ("error", {"n": 2}, "mine")]

        run(main())

    def test_input_without_a_callback_is_an_error_that_names_the_question(self, run: Run) -> None:
        request = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {}}}
        result = {"resultType": "input_required", "inputRequests": {"who": request}}
        asking = Scripted(lambda server, message: server.say({"id": message["id"], "result": result}))

        async def main() -> None:
            async with Client(asking) as client:
                with pytest.raises(InputRequired, match=r"'who' with elicitation/create"):
                    await client.call_tool("ask")

        run(main())

    def test_a_server_that_never_stops_asking_is_given_up(self, run: Run) -> None:
        app = server()

        @app.tool
        def again() -> models.InputRequiredResult:
            return models.InputRequiredResult(request_state="x")

        async def main() -> None:
            async with Client(app) as client:
                with pytest.raises(InputRequired, match="after 16 rounds"):
                    await client.call_tool("again")

        run(main())


class TestSubscriptions:
    def test_updates_of_a_resource_arrive(self, run: Run, era: str) -> None:
        app = server()

        @app.resource("mem://y")
        def y() -> str:
            return "y"

        async def main() -> None:
            async with Client(app, mode=era) as client:
                async with await client.subscribe("mem://x", resource_list=True) as changes:
                    app.resource_updated("mem://y")
                    app.resource_updated("mem://x")
                    change = await anext(changes)
                    assert (change.method, change.uri) == ("notifications/resources/updated", "mem://x")
                    app.resources.remove("mem://y")
                    assert (await anext(changes)).method == "notifications/resources/list_changed"
                await client.ping()
                app.resource_updated("mem://x")
                with pytest.raises(StopAsyncIteration):
                    await anext(changes)

        run(main())

    def test_a_lost_connection_ends_the_wait(self, run: Run, era: str) -> None:
        async def main() -> None:
            client = Client(server(), mode=era)
            await client.connect()
            changes = await client.subscribe("mem://x", tools=True)
            waiting = asyncio.ensure_future(anext(changes))
            await client.ping()
            await client.close()
            with pytest.raises(ConnectionClosed):
                await waiting
            await changes.close()

        run(main())

    def test_two_subscriptions_hear_only_their_own(self, run: Run, era: str) -> None:
        app = server()

        @app.resource("mem://y")
        def y() -> str:
            return "y"

        async def main() -> None:
            async with Client(app, mode=era) as client:
                one = await client.subscribe("mem://x")
                two = await client.subscribe("mem://y")
                app.resource_updated("mem://y")
                app.resource_updated("mem://x")
                assert (await anext(one)).uri == "mem://x"
                assert (await anext(two)).uri == "mem://y"

        run(main())


class TestCache:
    def test_what_the_server_allows_is_kept_until_it_changes(self, run: Run) -> None:
        app = server(cache_ttl_ms=60_000)
        reads: list[int] = []

        @app.resource("mem://counted")
        def counted() -> str:
            reads.append(1)
            return str(len(reads))

        async def main() -> None:
            async with Client(app) as client, await client.subscribe("mem://counted") as changes:
                for _ in range(3):
                    assert (await client.read_resource("mem://counted")).contents[0].text == "1"
                app.resource_updated("mem://counted")
                await anext(changes)
                assert (await client.read_resource("mem://counted")).contents[0].text == "2"

        run(main())

    def test_nothing_is_kept_where_the_server_says_nothing(self, run: Run) -> None:
        app = server()
        reads: list[int] = []

        @app.resource("mem://counted")
        def counted() -> str:
            reads.append(1)
            return "x"

        async def main() -> None:
            async with Client(app, mode="legacy") as client:
                for _ in range(2):
                    await client.read_resource("mem://counted")

        run(main())
        assert len(reads) == 2

    def test_time_size_and_negative_lifetimes(self) -> None:
        now = [0.0]
        cache = ResponseCache(lambda: now[0], maximum=2)

        def result(ttl_ms: int) -> models.ListToolsResult:
            return models.ListToolsResult(tools=[], ttl_ms=ttl_ms, cache_scope="private")

        cache.put("tools/list", "", result(1000))
        cache.put("tools/list", "minus", result(-1))
        cache.put("tools/list", "zero", result(0))
        assert cache.get("tools/list", "") is not None
        assert cache.get("tools/list", "minus") is None
        assert cache.get("tools/list", "zero") is None
        now[0] = 1.0
        assert cache.get("tools/list", "") is None
        for key in "abc":
            cache.put("tools/list", key, result(1000))
        assert cache.get("tools/list", "a") is None
        assert len(cache) == 2
        cache.clear()
        assert len(cache) == 0
