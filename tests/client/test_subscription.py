"""How a subscription begins and how it ends, in both eras."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from scripted import Scripted

from faults.loops import Run
from taut import Client, Server
from taut.errors import RequestCancelled, RequestTimeout, ResourceNotFound

SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
CHANGED = "notifications/tools/list_changed"


def acknowledged(message: dict[str, Any]) -> dict[str, Any]:
    params = {"_meta": {SUBSCRIPTION: message["id"]}, "notifications": {"toolsListChanged": True}}
    return {"method": "notifications/subscriptions/acknowledged", "params": params}


def changed(message: dict[str, Any]) -> dict[str, Any]:
    return {"method": CHANGED, "params": {"_meta": {SUBSCRIPTION: message["id"]}}}


def ends_with(*rest: Callable[[dict[str, Any]], dict[str, Any]]) -> Scripted:
    """A server that acknowledges, tells of one change, and goes on with ``rest``."""

    def on_message(server: Scripted, message: dict[str, Any]) -> None:
        if message["method"] == "subscriptions/listen":
            server.say(acknowledged(message), changed(message), *(one(message) for one in rest))

    return Scripted(on_message)


class TestTheServerEndsIt:
    def test_with_a_result_the_iteration_ends(self, run: Run) -> None:
        def result(message: dict[str, Any]) -> dict[str, Any]:
            meta = {SUBSCRIPTION: message["id"]}
            return {"id": message["id"], "result": {"resultType": "complete", "_meta": meta}}

        async def main() -> None:
            server = ends_with(result)
            async with Client(server) as client:
                changes = await client.subscribe(tools=True, prompts=True)
                assert [change.method async for change in changes] == [CHANGED]
                await changes.close()
            assert [message["method"] for message in server.heard] == ["subscriptions/listen"]

        run(main())

    def test_with_an_error_the_iteration_raises_it(self, run: Run) -> None:
        def cancelled(message: dict[str, Any]) -> dict[str, Any]:
            params = {"requestId": message["id"], "reason": "going down"}
            return {"method": "notifications/cancelled", "params": params}

        async def main() -> None:
            async with Client(ends_with(cancelled)) as client:
                changes = await client.subscribe(tools=True)
                assert (await anext(changes)).method == CHANGED
                with pytest.raises(RequestCancelled, match="going down"):
                    await anext(changes)

        run(main())

    def test_while_someone_waits(self, run: Run) -> None:
        async def main() -> None:
            app = Server("s")
            async with Client(app) as client:
                changes = await client.subscribe(tools=True)
                waiting = asyncio.ensure_future(anext(changes))
                await client.ping()
                (connection,) = app.subscriptions.connections()
                connection.shut_down()
                with pytest.raises(StopAsyncIteration):
                    await waiting

        run(main())


class TestBeginning:
    def test_what_the_server_honours_is_known(self, run: Run) -> None:
        async def main() -> None:
            async with Client(ends_with()) as client:
                changes = await client.subscribe("mem://x", tools=True, prompts=True)
                assert changes.honoured is not None
                assert changes.honoured.tools_list_changed is True
                assert not changes.honoured.prompts_list_changed
                assert not changes.honoured.resource_subscriptions

        run(main())

    def test_without_an_acknowledgement_it_times_out_and_is_withdrawn(self, run: Run) -> None:
        async def main() -> None:
            server = Scripted(lambda server, message: None)
            async with Client(server, timeout_s=0.01) as client:
                with pytest.raises(RequestTimeout):
                    await client.subscribe(tools=True)
                await client.ping(timeout_s=5)
                assert client.connection.peer.open_calls == 0
            assert [message["method"] for message in server.heard][1:] == ["notifications/cancelled"]

        run(main())

    def test_cancelling_it_withdraws_it(self, run: Run) -> None:
        async def main() -> None:
            heard = asyncio.Event()
            server = Scripted(lambda server, message: heard.set())
            async with Client(server) as client:
                subscribing = asyncio.create_task(client.subscribe(tools=True))
                await heard.wait()
                subscribing.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await subscribing
                await client.ping()
                assert client.connection.peer.open_calls == 0
            assert [message["method"] for message in server.heard][1:] == ["notifications/cancelled"]

        run(main())


def test_a_refused_legacy_subscription_leaves_nothing_subscribed(run: Run) -> None:
    app = Server("s")
    app.resource("mem://x")(lambda: "x")
    heard: list[str] = []

    async def main() -> None:
        keep = lambda notification: heard.append(notification.method)  # noqa: E731
        async with Client(app, mode="legacy", on_notification=keep) as client:
            with pytest.raises(ResourceNotFound):
                await client.subscribe("mem://x", "mem://y")
            app.resource_updated("mem://x")
            await client.ping()

    run(main())
    assert heard == []


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
class TestSeveral:
    def test_closing_one_leaves_the_other(self, run: Run, mode: str) -> None:
        app = Server("s")

        @app.resource("mem://x")
        def x() -> str:
            return "x"

        async def main() -> None:
            async with Client(app, mode=mode) as client:
                one, two = await client.subscribe("mem://x"), await client.subscribe("mem://x")
                await one.close()
                await client.ping()
                app.resource_updated("mem://x")
                assert (await anext(two)).uri == "mem://x"
                await two.close()
                await client.ping()
                app.resource_updated("mem://x")
                with pytest.raises(StopAsyncIteration):
                    await anext(two)

        run(main())

    def test_two_tasks_may_wait_for_the_same_one(self, run: Run, mode: str) -> None:
        app = Server("s")

        async def main() -> None:
            async with Client(app, mode=mode) as client:
                changes = await client.subscribe(tools=True)
                waiting = [asyncio.ensure_future(anext(changes)) for _ in range(2)]
                await client.ping()
                for name in ("a", "b"):
                    app.tool(name=name)(lambda: None)
                    await client.ping()
                assert [(await one).method for one in waiting] == [CHANGED, CHANGED]

        run(main())
