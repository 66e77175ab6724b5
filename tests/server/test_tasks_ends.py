"""The limits of tasks, their ends, and who hears of them."""

from __future__ import annotations

from typing import Any

import pytest

from faults.loops import Run
from server.tasks import NAME, Bench, accept, begin, client_of, look, until, update
from taut import Client, Context, Server, Tasks, models
from taut.errors import (
    InvalidParams,
    MissingRequiredClientCapability,
    RemoteError,
)


class TestLimits:
    def test_there_are_only_so_many_tasks(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench(max_tasks=2, ttl_s=60)
            async with client_of(bench.app) as client:
                await begin(client, "work")
                await begin(client, "work")
                with pytest.raises(RemoteError) as raised:
                    await begin(client, "work")
                assert raised.value.data == {"limit": "max_tasks", "maximum": 2}
                bench.clock.now += 61
                await begin(client, "work")

        run(main())

    def test_a_task_is_forgotten_when_its_time_is_over(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench(ttl_s=60)
            bench.let_go.set()
            async with client_of(bench.app) as client:
                task = await begin(client, "work")
                await until(client, task.task_id)
                bench.clock.now += 59
                assert (await look(client, task.task_id)).status == "completed"
                bench.clock.now += 1
                with pytest.raises(InvalidParams, match="Task not found"):
                    await look(client, task.task_id)

        run(main())

    def test_work_whose_time_is_over_is_stopped(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench(ttl_s=0.01)  # the loop's time is real; the clock says when it is over
            async with client_of(bench.app) as client:
                await begin(client, "work")
                bench.clock.now += 1
                await bench.ended.wait()

        run(main())

    def test_the_end_of_the_server_ends_its_tasks(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with bench.app.running(), client_of(bench.app) as client:
                task = await begin(client, "work", {"text": "a"})
                await look(client, task.task_id)
            assert bench.stopped == ["a"]
            async with client_of(bench.app) as client:
                failed = await look(client, task.task_id)
                assert failed.status == "failed"
                assert "shut down" in failed.error.message

        run(main())

    def test_a_task_outlives_its_connection(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with bench.app.running():
                async with client_of(bench.app) as client:
                    task = await begin(client, "work")
                bench.let_go.set()
                async with client_of(bench.app) as client:
                    assert (await until(client, task.task_id)).status == "completed"

        run(main())

    def test_a_task_that_has_ended_is_kept_in_the_store_alone(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            bench.let_go.set()
            async with client_of(bench.app) as client:
                for _ in range(10):
                    await until(client, (await begin(client, "work")).task_id)
                (place,) = bench.tasks._places.values()
                assert (len(place.runs), len(bench.tasks._watches)) == (0, 0)
            assert not bench.tasks._places

        run(main())


class TestNotifications:
    def test_a_listener_is_shown_each_state(self, run: Run) -> None:
        app = Server("s")
        heard: list[Any] = []

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            return str((await ctx.elicit("Who?", NAME, key="who")).content)

        async def main() -> None:
            async with client_of(
                app, elicitation=lambda params: None, on_notification=heard.append
            ) as client:
                task = await begin(client, "work")
                wanted = models.SubscriptionFilter(task_ids=[task.task_id, "unknown", task.task_id])
                stream = client.connection.open_stream(models.SubscriptionsListenParams(notifications=wanted))
                await until(client, task.task_id, "input_required")
                await update(client, task.task_id, who=accept(name="x"))
                await until(client, task.task_id)
                stream.close()
                acknowledged, *states = [one.params() for one in heard]
                assert acknowledged.notifications.task_ids == [task.task_id]
                assert states[0].status in ("working", "input_required")
                assert states[-1].status == "completed"
                assert states[-1].result["content"][0]["text"] == "{'name': 'x'}"
                identifier = {"io.modelcontextprotocol/subscriptionId": stream.id}
                assert all(one.meta == identifier for one in states)
                assert [one.task_id for one in states] == [task.task_id] * len(states)

        run(main())

    def test_one_that_has_ended_is_shown_once(self, run: Run) -> None:
        heard: list[Any] = []

        async def main() -> None:
            bench = Bench()
            bench.let_go.set()
            async with client_of(bench.app, on_notification=heard.append) as client:
                task = await begin(client, "work")
                await until(client, task.task_id)
                wanted = models.SubscriptionFilter(task_ids=[task.task_id])
                client.connection.open_stream(models.SubscriptionsListenParams(notifications=wanted))
                await look(client, task.task_id)
                assert [one.method for one in heard] == [
                    "notifications/subscriptions/acknowledged",
                    "notifications/tasks",
                ]
                assert heard[1].params().status == "completed"

        run(main())

    def test_it_takes_the_extension(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with Client(bench.app, mode="2026-07-28") as client:
                wanted = models.SubscriptionFilter(task_ids=["x"])
                with pytest.raises(MissingRequiredClientCapability):
                    await client.request(
                        "subscriptions/listen", models.SubscriptionsListenParams(notifications=wanted)
                    )

        run(main())

    def test_there_are_only_so_many(self, run: Run) -> None:
        from taut import Limits

        async def main() -> None:
            tasks = Tasks()
            app = Server("s", tasks=tasks, limits=Limits(max_subscriptions=2))

            @app.tool(task="optional")
            async def work() -> None: ...

            async with client_of(app) as client:
                names = [(await begin(client, "work")).task_id for _ in range(3)]
                wanted = models.SubscriptionFilter(task_ids=names)
                with pytest.raises(RemoteError) as raised:
                    await client.request(
                        "subscriptions/listen", models.SubscriptionsListenParams(notifications=wanted)
                    )
                assert raised.value.data["limit"] == "max_subscriptions"
                assert not tasks._watches

        run(main())
