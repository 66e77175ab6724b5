"""Who is told what: from any thread, in any loop, as much as was asked for and no more than is allowed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faults.loops import Run
from taut import Client, Limits, Server, models
from taut.errors import InvalidRequest

ERAS = ("legacy", "2026-07-28")
UPDATED = "notifications/resources/updated"
CHANGED = "notifications/tools/list_changed"


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def server(**options: Any) -> Server:
    app = Server("s", **options)
    for name in "xyz":
        app.resource(f"mem://{name}", name=name)(lambda: "")
    return app


class TestThreads:
    def test_changes_may_be_told_from_any(self, run: Run, era: str) -> None:
        app = server()

        @app.tool(thread=True)
        def change() -> None:
            app.resource_updated("mem://x")
            app.tool(name="new")(lambda: None)

        async def main() -> None:
            asyncio.get_running_loop().set_debug(True)  # which refuses calls from the wrong thread
            async with Client(app, mode=era) as client:
                changes = await client.subscribe("mem://x", tools=True)
                await client.call_tool("change")
                assert {(await anext(changes)).method for _ in range(2)} == {UPDATED, CHANGED}

        run(main())

    def test_a_loop_that_ended_in_the_middle_is_nobody_to_tell(self, run: Run, era: str) -> None:
        app = server()
        client = Client(app, mode=era)

        async def connect() -> None:
            await client.connect()
            app.tool(name=f"t{len(app.tools)}")(lambda: None)

        async def main() -> None:
            async with Client(app, mode=era) as second:
                changes = await second.subscribe(tools=True)
                await second.ping()
                app.tool(name=f"t{len(app.tools)}")(lambda: None)
                assert (await anext(changes)).method == CHANGED

        run(connect())
        app.tool(name=f"t{len(app.tools)}")(lambda: None)
        app.resource_updated("mem://x")
        run(main())


class TestAcknowledgement:
    def test_it_names_what_will_be_told_and_nothing_else(self, run: Run) -> None:
        async def main() -> None:
            app = server()
            async with Client(app, mode="2026-07-28") as client:
                wanted = models.SubscriptionFilter(
                    tools_list_changed=True,
                    prompts_list_changed=False,
                    resource_subscriptions=["mem://x"],
                    task_ids=["1"],
                    extra={"weatherChanged": True},
                )
                heard: list[Any] = []
                client._on_notification = lambda one: heard.append(one.params())
                client.connection.open_stream(models.SubscriptionsListenParams(notifications=wanted))
                await client.ping()
                assert heard[0].notifications == models.SubscriptionFilter(
                    tools_list_changed=True, resource_subscriptions=["mem://x"]
                )

        run(main())


class TestLimit:
    def test_legacy_subscriptions_are_counted(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server(limits=Limits(max_subscriptions=2)), mode="legacy") as client:
                await client.subscribe("mem://x", "mem://y")
                await client.subscribe("mem://x")
                with pytest.raises(InvalidRequest, match="max_subscriptions is 2"):
                    await client.subscribe("mem://z")

        run(main())

    def test_what_is_as_long_as_many_counts_for_many(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server(), mode="2026-07-28") as client:
                await client.subscribe("mem://" + "x" * 10_000)
                with pytest.raises(InvalidRequest, match="max_subscriptions is 1024"):
                    await client.subscribe("mem://" + "x" * 10_000_000)

        run(main())

    def test_streams_and_what_they_ask_for_are_counted_together(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server(limits=Limits(max_subscriptions=4)), mode="2026-07-28") as client:
                one = await client.subscribe("mem://x", "mem://y")
                with pytest.raises(InvalidRequest, match="max_subscriptions is 4, got 5"):
                    await client.subscribe("mem://z")
                await client.subscribe(tools=True)
                await one.close()
                await client.subscribe("mem://x", "mem://y")

        run(main())
