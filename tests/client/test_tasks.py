"""Calls that go on as tasks, from the client: the same in both eras."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from faults.loops import Run
from taut import Client, Context, Server, TaskOptions, Tasks, ToolError, models
from taut.errors import (
    ConnectionClosed,
    InputRequired,
    InvalidParams,
    LocalProtocolError,
    MethodNotFound,
    MissingRequiredClientCapability,
    RemoteError,
    RequestCancelled,
    RequestTimeout,
    TransportError,
)

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ERAS = ("2025-11-25", "2026-07-28")


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def server() -> Server:
    app = Server("s", tasks=Tasks(poll_s=0.001))

    @app.tool(task="optional")
    async def work(how: str = "well") -> str:
        if how == "badly":
            raise ToolError("no luck")
        if how == "wrongly":
            raise RemoteError("no such table", code=-32001, data=1)
        if how == "forever":
            await asyncio.Event().wait()
        return "done"

    @app.tool(task="required")
    async def long() -> str:
        return "long done"

    @app.tool
    def plain() -> str:
        return "plain"

    @app.tool(task="optional")
    async def asks(ctx: Context) -> str:
        first, second = await asyncio.gather(ctx.elicit("1?", NAME), ctx.elicit("2?", NAME))
        third = await ctx.elicit("3?", NAME)
        return "".join(one.content["name"] for one in (first, second, third))

    return app


def named(params: Any) -> models.ElicitResult:
    return models.ElicitResult(action="accept", content={"name": params.message[0]})


class TestStarting:
    def test_a_task_has_a_result(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                task = await client.start_tool("work")
                assert task.id is not None
                assert (task.status, task.ended) == ("working", False)
                result = await task.result()
                assert isinstance(result, models.CallToolResult)
                assert result.text == "done"
                assert await task.result() is result

        run(main())

    def test_a_call_that_is_answered_at_once_has_no_task(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                task = await client.start_tool("plain")
                assert (task.id, task.status, task.ended) == (None, "completed", True)
                assert (await task.result()).text == "plain"
                assert [state async for state in task] == []
                with pytest.raises(LocalProtocolError, match="answered at once"):
                    await task.cancel()

        run(main())

    def test_older_servers_answer_at_once(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server(), mode="2025-06-18") as client:
                assert (await (await client.start_tool("work")).result()).text == "done"

        run(main())

    def test_the_failure_of_a_tool_is_a_result(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                result = await (await client.start_tool("work", {"how": "badly"})).result()
                assert (result.is_error, result.text) == (True, "no luck")

        run(main())

    def test_an_error_is_raised(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                task = await client.start_tool("work", {"how": "wrongly"})
                with pytest.raises(RemoteError) as raised:
                    await task.result()
                assert (raised.value.code, raised.value.message, raised.value.data) == (
                    -32001,
                    "no such table",
                    1,
                )

        run(main())

    def test_the_time_it_is_kept_is_asked_for(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server(), mode="2025-11-25") as client:
                task = await client.start_tool("work", ttl_s=5)
                assert (await task.look()).ttl_ms == 5_000

        run(main())


class TestFollowing:
    def test_its_states_are_seen_up_to_the_last(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                task = await client.start_tool("work")
                states = [state.status async for state in task]
                assert states[-1] == task.status == "completed"
                assert task.ended

        run(main())

    def test_what_it_asks_is_answered(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era, elicitation=named) as client:
                task = await client.start_tool("asks")
                assert (await task.result()).text == "123"

        run(main())

    def test_what_nobody_answers_can_still_be_answered(self, run: Run) -> None:
        answering: list[Any] = []

        def answer(params: Any) -> models.ElicitResult:
            if not answering:
                raise InputRequired("not now")
            return named(params)

        async def main() -> None:
            async with Client(server(), mode="2026-07-28", elicitation=answer) as client:
                task = await client.start_tool("asks")
                with pytest.raises(InputRequired):
                    await task.result()
                answering.append(True)
                assert (await task.result()).text == "123"

        run(main())

    def test_answers_may_be_given_by_hand(self, run: Run) -> None:
        async def main() -> None:
            async with Client(server(), mode="2026-07-28", elicitation=lambda params: None) as client:
                task = await client.start_tool("asks")
                async for state in task:
                    assert isinstance(state, models.GetTaskResult)
                    if state.input_requests is not models.UNSET:
                        await task.answer(
                            {key: named(one.params) for key, one in state.input_requests.items()}
                        )
                assert (await task.result()).text == "123"

        run(main())

    def test_a_cancelled_task_has_no_result(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                task = await client.start_tool("work", {"how": "forever"})
                await task.cancel()
                with pytest.raises((RequestCancelled, RemoteError), match="cancelled"):
                    await task.result()

        run(main())

    def test_giving_up_waiting_does_not_cancel_it(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                task = await client.start_tool("work", {"how": "forever"})
                waiting = asyncio.ensure_future(task.result())
                await task.look()
                waiting.cancel()
                await asyncio.wait([waiting])
                assert (await task.look()).status == "working"

        run(main())

    def test_a_task_is_taken_up_on_another_connection(self, run: Run) -> None:
        async def main() -> None:
            app = server()
            async with app.running():
                async with Client(app, mode="2026-07-28") as client:
                    name = (await client.start_tool("work")).id
                assert name is not None
                async with Client(app, mode="2026-07-28") as client:
                    assert (await client.task(name).result()).text == "done"
                    with pytest.raises(InvalidParams, match="Task not found"):
                        await client.task("unknown").look()

        run(main())

    def test_the_end_of_the_connection_ends_the_waiting(self, run: Run, era: str) -> None:
        async def main() -> None:
            client = Client(server(), mode=era)
            await client.connect()
            task = await client.start_tool("work", {"how": "forever"})
            waiting = asyncio.ensure_future(task.result())
            await task.look()
            await client.close()
            with pytest.raises(ConnectionClosed):
                await waiting

        run(main())

    def test_looks_that_are_lost_on_the_way_are_repeated(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                task = await client.start_tool("work")
                method = "tasks/get" if era == "2026-07-28" else "tasks/result"
                losses = _lose(client, method, 4)
                assert (await task.result()).text == "done"
                assert losses == [method] * 4
                task = await client.start_tool("work")
                _lose(client, method, 5)
                with pytest.raises(TransportError, match="lost"):
                    await task.result()

        run(main())


class TestCallTool:
    def test_a_client_that_follows_tasks_gets_results(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era, tasks=True, elicitation=named) as client:
                assert (await client.call_tool("work")).text == "done"
                assert (await client.call_tool("long")).text == "long done"
                assert (await client.call_tool("plain")).text == "plain"
                assert (await client.call_tool("asks")).text == "123"
                with pytest.raises(ToolError, match="no luck"):
                    await client.call_tool("work", {"how": "badly"}, raise_on_error=True)

        run(main())

    def test_one_that_does_not_is_refused_what_must_be_one(self, run: Run, era: str) -> None:
        async def main() -> None:
            async with Client(server(), mode=era) as client:
                assert (await client.call_tool("work")).text == "done"
                with pytest.raises((MissingRequiredClientCapability, MethodNotFound)):
                    await client.call_tool("long")

        run(main())

    def test_what_is_asked_before_the_task_is_answered(self, run: Run) -> None:
        app = Server("s", tasks=Tasks(poll_s=0.001))

        @app.tool(task=TaskOptions(support="required", begins="later"))
        async def work(ctx: Context) -> str:
            first = await ctx.elicit("1?", NAME)
            assert await ctx.begin_task()
            second = await ctx.elicit("2?", NAME)
            return first.content["name"] + second.content["name"]

        async def main() -> None:
            async with Client(app, mode="2026-07-28", tasks=True, elicitation=named) as client:
                assert (await client.call_tool("work")).text == "12"
                task = await client.start_tool("work")
                assert task.id is not None
                assert (await task.result()).text == "12"

        run(main())

    @pytest.mark.parametrize("how", ["cancelled", "late"])
    def test_who_gives_up_cancels_the_task(self, run: Run, how: str) -> None:
        async def main() -> None:
            app = Server("s", tasks=Tasks(poll_s=0.001))
            began, ended = asyncio.Event(), asyncio.Event()

            @app.tool(task="required")
            async def forever() -> None:
                began.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            async with Client(app, mode="2026-07-28", tasks=True) as client:
                limit = 0.05 if how == "late" else None
                call = asyncio.ensure_future(client.call_tool("forever", total_timeout_s=limit))
                await began.wait()
                await client.ping()  # behind which the call has been answered
                if how == "cancelled":
                    call.cancel()
                await ended.wait()
                with pytest.raises((asyncio.CancelledError, RequestTimeout)):
                    await call

        run(main())


def _lose(client: Client, method: str, count: int) -> list[str]:
    """Have the next requests with ``method`` lost on their way."""
    lost: list[str] = []
    ask: Callable[..., Any] = client.connection.ask

    async def losing(asked: str, params: object, **options: Any) -> Any:
        if asked == method and len(lost) < count:
            lost.append(asked)
            raise TransportError("lost")
        return await ask(asked, params, **options)

    client.connection.ask = losing  # type: ignore[method-assign]
    return lost
