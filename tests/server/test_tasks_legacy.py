"""Tasks of 2025-11-25: asked for by the client, listed, and waited for with ``tasks/result``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from faults.loops import Run
from server.tasks import Clock, begin, cancel, look, until
from taut import Client, Context, Server, TaskOptions, Tasks, ToolError, models
from taut.errors import InternalError, InvalidParams, MethodNotFound, RemoteError
from taut.models import RELATED_TASK_KEY

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def server() -> tuple[Server, asyncio.Event, Clock]:
    clock, let_go = Clock(), asyncio.Event()
    app = Server("s", tasks=Tasks(clock=clock, max_ttl_s=100))

    @app.tool(task="optional")
    async def work(how: str = "well") -> str:
        await let_go.wait()
        if how == "badly":
            raise ToolError("no luck")
        if how == "wrongly":
            raise RemoteError("no such table", code=-32001, data=1)
        return "done"

    @app.tool(task=TaskOptions(support="required", meanwhile="Working on it."))
    async def long() -> str:
        return "done"

    @app.tool
    def plain() -> str:
        return "plain"

    return app, let_go, clock


def legacy(app: Server, **options: Any) -> Client:
    return Client(app, mode="2025-11-25", **options)


async def result_of(client: Client, task_id: str) -> Any:
    return await client.request("tasks/result", models.GetTaskParams(task_id=task_id))


async def call(client: Client, tool: str, **members: Any) -> Any:
    return await client.request("tools/call", models.CallToolParams(name=tool, **members))


class TestAsking:
    def test_a_call_is_a_task_when_the_client_says_so(self, run: Run) -> None:
        async def main() -> None:
            app, let_go, _ = server()
            async with legacy(app) as client:
                task = await begin(client, "work", ttl_ms=60_000)
                assert (task.status, task.ttl_ms, task.poll_interval_ms) == ("working", 60_000, 1_000)
                assert (await look(client, task.task_id)).status == "working"
                let_go.set()
                result = await result_of(client, task.task_id)
                assert result.extra["content"] == [{"type": "text", "text": "done"}]
                assert result.meta == {RELATED_TASK_KEY: {"taskId": task.task_id}}
                assert (await look(client, task.task_id)).status == "completed"
                assert (await client.call_tool("work")).text == "done"

        run(main())

    def test_the_server_bounds_the_time(self, run: Run) -> None:
        async def main() -> None:
            app, _, _ = server()
            async with legacy(app) as client:
                assert (await begin(client, "work", ttl_ms=10**9)).ttl_ms == 100_000
                assert (await begin(client, "work", ttl_ms=-1)).ttl_ms == 3_600_000
                assert (await begin(client, "work")).ttl_ms == 3_600_000

        run(main())

    def test_a_tool_that_requires_a_task_is_not_found_without(self, run: Run) -> None:
        async def main() -> None:
            app, _, _ = server()
            async with legacy(app) as client:
                with pytest.raises(MethodNotFound, match="runs as a task only"):
                    await client.call_tool("long")
                result = await call(client, "long", task=models.TaskMetadata())
                assert result.meta == {"io.modelcontextprotocol/model-immediate-response": "Working on it."}

        run(main())

    def test_nor_is_it_for_clients_older_than_tasks(self, run: Run) -> None:
        async def main() -> None:
            app, let_go, _ = server()
            let_go.set()
            async with Client(app, mode="2025-06-18") as client:
                with pytest.raises(MethodNotFound):
                    await client.call_tool("long")
                assert (await client.call_tool("work")).text == "done"
                tools = {tool.name: tool.execution for tool in await client.list_tools()}
                assert tools["long"] is models.UNSET

        run(main())

    def test_arguments_that_do_not_fit_are_an_error(self, run: Run) -> None:
        async def main() -> None:
            app, _, _ = server()
            async with legacy(app) as client:
                with pytest.raises(InvalidParams, match="how"):
                    await begin(client, "work", {"how": 5})
                assert (await client.call_tool("work", {"how": 5})).is_error

        run(main())


class TestOutcomes:
    def test_a_failure_of_the_tool_is_a_failed_task_with_a_result(self, run: Run) -> None:
        async def main() -> None:
            app, let_go, _ = server()
            let_go.set()
            async with legacy(app) as client:
                task = await begin(client, "work", {"how": "badly"})
                result = await result_of(client, task.task_id)
                assert result.extra["isError"] is True
                state = await look(client, task.task_id)
                assert (state.status, state.status_message) == ("failed", "The tool reported an error")

        run(main())

    def test_a_protocol_error_is_that_of_the_result(self, run: Run) -> None:
        async def main() -> None:
            app, let_go, _ = server()
            let_go.set()
            async with legacy(app) as client:
                task = await begin(client, "work", {"how": "wrongly"})
                with pytest.raises(RemoteError) as raised:
                    await result_of(client, task.task_id)
                assert (raised.value.code, raised.value.data) == (-32001, 1)
                assert (await look(client, task.task_id)).status == "failed"

        run(main())

    def test_a_task_is_cancelled_once(self, run: Run) -> None:
        async def main() -> None:
            app, _, _ = server()
            async with legacy(app) as client:
                task = await begin(client, "work")
                waiting = asyncio.ensure_future(result_of(client, task.task_id))
                await look(client, task.task_id)
                ended = await cancel(client, task.task_id)
                assert (ended.task_id, ended.status) == (task.task_id, "cancelled")
                with pytest.raises(InternalError, match="cancelled"):
                    await waiting
                with pytest.raises(InvalidParams, match="cancelled already"):
                    await cancel(client, task.task_id)

        run(main())

    def test_the_client_is_told_of_each_state(self, run: Run) -> None:
        heard: list[Any] = []

        async def main() -> None:
            app, let_go, _ = server()
            async with legacy(app, on_notification=heard.append) as client:
                task = await begin(client, "work")
                let_go.set()
                await until(client, task.task_id)
                (status,) = [one.params() for one in heard]
                assert (status.task_id, status.status) == (task.task_id, "completed")

        run(main())


class TestWhose:
    def test_a_session_lists_its_own(self, run: Run) -> None:
        async def main() -> None:
            app, _, clock = server()
            async with app.running(), legacy(app) as one, legacy(app) as other:
                names = [(await begin(one, "work", ttl_ms=50_000)).task_id]
                clock.now += 1
                names.append((await begin(one, "work")).task_id)
                page = await one.request("tasks/list", models.PaginatedParams())
                assert [task.task_id for task in page.tasks] == names
                assert page.next_cursor is models.UNSET
                assert (await other.request("tasks/list", models.PaginatedParams())).tasks == []
                clock.now += 60
                page = await one.request("tasks/list", models.PaginatedParams())
                assert [task.task_id for task in page.tasks] == names[1:]

        run(main())

    def test_another_session_finds_nothing(self, run: Run) -> None:
        async def main() -> None:
            app, _, _ = server()
            async with app.running(), legacy(app) as one, legacy(app) as other:
                task = await begin(one, "work")
                for ask in (look, cancel, result_of):
                    with pytest.raises(InvalidParams, match="Task not found"):
                        await ask(other, task.task_id)

        run(main())

    def test_pages_of_a_list(self, run: Run) -> None:
        async def main() -> None:
            app, _, _ = server()
            async with legacy(app) as client:
                made = {(await begin(client, "work")).task_id for _ in range(120)}
                first = await client.request("tasks/list", models.PaginatedParams())
                assert len(first.tasks) == 100
                rest = await client.request("tasks/list", models.PaginatedParams(cursor=first.next_cursor))
                assert {task.task_id for task in (*first.tasks, *rest.tasks)} == made
                with pytest.raises(InvalidParams, match="cursor"):
                    await client.request("tasks/list", models.PaginatedParams(cursor="nonsense"))

        run(main())

    def test_a_task_whose_session_has_ended_does_its_work(
        self, run: Run, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            app = Server("s")
            let_go, ended = asyncio.Event(), asyncio.Event()

            @app.tool(task="optional")
            async def work(ctx: Context) -> None:
                await let_go.wait()
                await ctx.progress(1, 2, "half")
                await ctx.elicitation_complete("x")
                ended.set()

            async with app.running():
                async with legacy(app) as client:
                    await begin(client, "work")
                let_go.set()
                await ended.wait()

        run(main())
        assert not caplog.records


class TestInput:
    def app(self) -> Server:
        app = Server("s")

        @app.tool(task="optional")
        async def asks(ctx: Context) -> str:
            first = await ctx.elicit("Who?", NAME)
            roots = await ctx.list_roots()
            await ctx.elicitation_complete("x")
            assert await ctx.begin_task()
            return f"{first.content['name']} {len(roots)}"

        return app

    def test_the_one_who_waits_for_the_result_is_asked(self, run: Run) -> None:
        seen: list[Any] = []

        def answer(params: Any) -> models.ElicitResult:
            seen.append(params)
            return models.ElicitResult(action="accept", content={"name": "Ada"})

        async def main() -> None:
            async with legacy(self.app(), elicitation=answer, roots=["file:///a"]) as client:
                task = await begin(client, "asks")
                await until(client, task.task_id, "input_required")
                assert seen == []
                result = await result_of(client, task.task_id)
                assert result.extra["content"][0]["text"] == "Ada 1"
                assert seen[0].meta.extra == {RELATED_TASK_KEY: {"taskId": task.task_id}}

        run(main())

    def test_a_question_is_asked_again_when_nobody_was_left_to_answer(self, run: Run) -> None:
        async def main() -> None:
            asked = asyncio.Event()
            answers = [asyncio.get_running_loop().create_future() for _ in range(2)]
            waiting = iter(answers)

            async def answer(params: Any) -> models.ElicitResult:
                asked.set()
                return await next(waiting)

            async with legacy(self.app(), elicitation=answer, roots=[]) as client:
                task = await begin(client, "asks")
                first = asyncio.ensure_future(result_of(client, task.task_id))
                await asked.wait()
                first.cancel()
                asked.clear()
                second = asyncio.ensure_future(result_of(client, task.task_id))
                await asked.wait()
                answers[1].set_result(models.ElicitResult(action="accept", content={"name": "Bob"}))
                assert (await second).extra["content"][0]["text"] == "Bob 0"

        run(main())

    def test_an_error_of_the_client_reaches_the_handler(self, run: Run) -> None:
        def answer(params: Any) -> models.ElicitResult:
            raise RemoteError("not now", code=-32050)

        async def main() -> None:
            async with legacy(self.app(), elicitation=answer, roots=[]) as client:
                task = await begin(client, "asks")
                with pytest.raises(RemoteError) as raised:
                    await result_of(client, task.task_id)
                assert raised.value.code == -32050

        run(main())

    def test_what_does_not_fit_the_form_reaches_the_handler(self, run: Run) -> None:
        def answer(params: Any) -> models.ElicitResult:
            return models.ElicitResult(action="accept", content={"name": 5})

        async def main() -> None:
            async with legacy(self.app(), elicitation=answer, roots=[]) as client:
                task = await begin(client, "asks")
                with pytest.raises(InvalidParams):
                    await result_of(client, task.task_id)

        run(main())
