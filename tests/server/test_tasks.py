"""Tools whose calls run as tasks, for clients of 2026-07-28 with the extension (SEP-2663)."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from faults.loops import Run
from server.tasks import Bench, begin, cancel, client_of, look, until, update
from taut import Client, Context, Server, TaskOptions, Tasks, ToolError, models
from taut.errors import (
    ConfigError,
    InvalidParams,
    MethodNotFound,
    MissingRequiredClientCapability,
    RemoteError,
)


class TestDeclaration:
    def test_it_is_declared_from_the_first_task_tool_on(self, run: Run) -> None:
        app = Server("s")

        async def declared() -> tuple[Any, Any]:
            async with client_of(app) as modern, Client(app, mode="legacy") as legacy:
                return modern.server_capabilities, legacy.server_capabilities

        before, _ = run(declared())
        assert before.extensions is models.UNSET

        @app.tool(task="optional")
        async def work() -> None: ...

        modern, legacy = run(declared())
        assert modern.extensions == {models.TASKS_EXTENSION: {}}
        assert modern.tasks is models.UNSET
        assert models.declares(legacy, "tasks.requests.tools.call")
        assert models.declares(legacy, "tasks.list")
        assert models.declares(legacy, "tasks.cancel")

    def test_a_server_with_a_store_declares_it_without_tools(self, run: Run) -> None:
        app = Server("s", tasks=Tasks(), extensions={"com.example/x": {}})

        async def main() -> None:
            async with client_of(app) as client:
                assert client.server_capabilities.extensions == {
                    "com.example/x": {},
                    models.TASKS_EXTENSION: {},
                }

        run(main())

    def test_lists_say_which_tools_are_meant_where_the_revision_has_a_word_for_it(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with client_of(bench.app) as modern, Client(bench.app, mode="legacy") as legacy:
                (tool,) = await modern.list_tools()
                assert tool.execution is models.UNSET
                (tool,) = await legacy.list_tools()
                assert tool.execution.task_support == "optional"

        run(main())

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"task": "sometimes"}, "expected 'optional' or 'required', got 'sometimes'"),
            ({"task": TaskOptions(begins="never")}, "to begin 'at once' or 'later'"),  # type: ignore[arg-type]
            ({"task": TaskOptions(ttl_s=0)}, "positive ttl_s"),
            ({"task": TaskOptions(poll_s=-1)}, "positive poll_s"),
            ({"task": TaskOptions(begins="later")}, "async function with a Context"),
        ],
    )
    def test_options_that_cannot_work_are_mistakes(self, options: Any, said: str) -> None:
        async def work() -> None: ...

        with pytest.raises(ConfigError, match=said):
            Server("s").tool(**options)(work)

    def test_a_tool_that_blocks_the_loop_cannot_be_one(self) -> None:
        with pytest.raises(ConfigError, match="make it async or thread=True"):
            Server("s").tool(name="work", task="optional")(lambda: None)

    def test_limits_are_positive(self) -> None:
        with pytest.raises(ConfigError, match="positive max_tasks"):
            Tasks(max_tasks=0)


class TestLife:
    def test_a_call_is_answered_at_once_and_its_result_is_found_later(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with client_of(bench.app) as client:
                task = await begin(client, "work", {"text": "later"})
                assert task.result_type == "task"
                assert (task.status, task.ttl_ms, task.poll_interval_ms) == ("working", 3_600_000, 1_000)
                assert task.created_at == task.last_updated_at == "2027-01-15T08:00:00.000Z"
                assert len(task.task_id) >= 32
                working = await look(client, task.task_id)
                assert (working.status, working.result) == ("working", models.UNSET)
                bench.clock.now += 1.5
                bench.let_go.set()
                done = await until(client, task.task_id)
                assert done.result_type == "complete"
                assert done.status == "completed"
                assert done.last_updated_at == "2027-01-15T08:00:01.500Z"
                assert done.result == {
                    "content": [{"type": "text", "text": "later"}],
                    "resultType": "complete",
                }

        run(main())

    def test_a_failure_of_the_tool_is_a_result(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def work() -> None:
            raise ToolError("no luck")

        async def main() -> None:
            async with client_of(app) as client:
                done = await until(client, (await begin(client, "work")).task_id)
                assert (done.status, done.error) == ("completed", models.UNSET)
                assert done.result["isError"] is True
                assert done.result["content"][0]["text"] == "no luck"

        run(main())

    def test_a_protocol_error_fails_the_task(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def work() -> None:
            raise RemoteError("no such table", code=-32001, data={"table": "t"})

        async def main() -> None:
            async with client_of(app) as client:
                done = await until(client, (await begin(client, "work")).task_id)
                assert (done.status, done.result) == ("failed", models.UNSET)
                assert done.error == models.ErrorObject(-32001, "no such table", {"table": "t"})
                assert done.status_message == "no such table"

        run(main())

    @pytest.mark.parametrize("value", [object(), models.InputRequiredResult(request_state="x")])
    def test_a_result_that_is_none_fails_the_task_without_a_word_of_why(self, run: Run, value: Any) -> None:
        app = Server("s")

        @app.tool(task="optional", structured=False)
        async def work() -> Any:
            return models.CallToolResult([], structured_content=value) if type(value) is object else value

        async def main() -> None:
            async with client_of(app) as client:
                done = await until(client, (await begin(client, "work")).task_id)
                assert done.status == "failed"
                assert done.error.code == -32603

        run(main())

    def test_a_plain_function_works_in_a_thread(self, run: Run) -> None:
        app = Server("s")
        seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")

        @app.tool(task="optional", thread=True)
        def work(ctx: Context) -> str:
            ctx.progress(1)
            ctx.info("working")
            return f"{seen.get()} {ctx.cancelled}"

        async def main() -> None:
            async with client_of(app) as client:
                done = await until(client, (await begin(client, "work")).task_id)
                assert done.result["content"][0]["text"] == "nothing False"

        run(main())

    def test_a_timeout_is_the_tools_failure(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional", timeout=0.01)
        async def work() -> None:
            await asyncio.Event().wait()

        async def main() -> None:
            async with client_of(app) as client:
                done = await until(client, (await begin(client, "work")).task_id)
                assert done.result["isError"] is True

        run(main())

    def test_arguments_that_do_not_fit_are_told_at_once(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with client_of(bench.app) as client:
                result = await client.call_tool("work", {"text": 5})
                assert result.is_error

        run(main())

    def test_the_tools_own_options_win(self, run: Run) -> None:
        app = Server("s", tasks=Tasks(ttl_s=None, poll_s=5))

        @app.tool(task=TaskOptions(ttl_s=60, poll_s=0.25))
        async def short() -> None: ...

        @app.tool(task="optional")
        async def usual() -> None: ...

        async def main() -> None:
            async with client_of(app) as client:
                task = await begin(client, "short")
                assert (task.ttl_ms, task.poll_interval_ms) == (60_000, 250)
                task = await begin(client, "usual")
                assert (task.ttl_ms, task.poll_interval_ms) == (None, 5_000)

        run(main())


class TestCancelling:
    def test_the_handler_is_cancelled_and_the_task_ends_as_cancelled(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with client_of(bench.app) as client:
                task = await begin(client, "work", {"text": "a"})
                await look(client, task.task_id)  # by now it works
                ack = await cancel(client, task.task_id)
                assert type(ack) is models.EmptyResult
                done = await until(client, task.task_id)
                assert (done.status, done.result, done.error) == (
                    "cancelled",
                    models.UNSET,
                    models.UNSET,
                )
                await bench.ended.wait()
                assert bench.stopped == ["a"]

        run(main())

    def test_one_that_has_ended_stays_as_it_is(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            bench.let_go.set()
            async with client_of(bench.app) as client:
                task = await begin(client, "work")
                await until(client, task.task_id)
                assert type(await cancel(client, task.task_id)) is models.EmptyResult
                assert (await look(client, task.task_id)).status == "completed"

        run(main())

    def test_a_handler_that_will_not_stop_cannot_take_it_back(self, run: Run) -> None:
        app = Server("s")
        refusing = asyncio.Event()

        @app.tool(task="optional")
        async def work() -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                refusing.set()
            return "done all the same"

        async def main() -> None:
            async with client_of(app) as client:
                task = await begin(client, "work")
                await look(client, task.task_id)
                await cancel(client, task.task_id)
                await refusing.wait()
                assert (await look(client, task.task_id)).status == "cancelled"

        run(main())

    def test_a_handler_in_a_thread_can_tell(self, run: Run) -> None:
        app = Server("s")
        outcome: list[bool] = []

        async def main() -> None:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()

            @app.tool(task="optional", thread=True)
            def work(ctx: Context) -> None:
                while not ctx.cancelled:
                    pass
                outcome.append(True)
                loop.call_soon_threadsafe(ended.set)

            async with client_of(app) as client:
                task = await begin(client, "work")
                await look(client, task.task_id)
                await cancel(client, task.task_id)
                await ended.wait()
            assert outcome == [True]

        run(main())


class TestWhoMay:
    def test_a_client_without_the_extension_gets_a_plain_answer(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            bench.let_go.set()
            async with Client(bench.app, mode="2026-07-28") as client:
                assert (await client.call_tool("work")).text == "done"

        run(main())

    def test_or_none_where_a_task_is_required(self, run: Run) -> None:
        app = Server("s")
        called: list[int] = []

        @app.tool(task="required")
        async def work() -> None:
            called.append(1)

        async def main() -> None:
            async with Client(app, mode="2026-07-28") as client:
                with pytest.raises(MissingRequiredClientCapability) as raised:
                    await client.call_tool("work")
                needed = {"requiredCapabilities": {"extensions": {models.TASKS_EXTENSION: {}}}}
                assert raised.value.data == needed
                assert called == []

        run(main())

    def test_and_none_to_questions_about_tasks(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with Client(bench.app, mode="2026-07-28") as client:
                for ask in (look, cancel, update):
                    with pytest.raises(MissingRequiredClientCapability):
                        await ask(client, "x")

        run(main())

    def test_an_unknown_task_is_not_found(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with client_of(bench.app) as client:
                for ask in (look, cancel, update):
                    with pytest.raises(InvalidParams, match="Task not found: x"):
                        await ask(client, "x")

        run(main())

    def test_what_the_extension_has_not_is_not_found(self, run: Run) -> None:
        async def main() -> None:
            bench = Bench()
            async with client_of(bench.app) as client:
                for method in ("tasks/result", "tasks/list"):
                    client.connection.peer._callable[method] = True  # it would not even ask
                    with pytest.raises(MethodNotFound):
                        await client.request(method, models.GetTaskParams(task_id="x"))

        run(main())

    def test_the_hint_of_2025_11_25_is_ignored(self, run: Run) -> None:
        app = Server("s")
        app.tool(name="plain")(lambda: "plain")

        @app.tool(task="optional")
        async def work() -> str:
            return "done"

        async def main() -> None:
            async with client_of(app) as client:
                params = models.CallToolParams(name="plain", task=models.TaskMetadata(ttl_ms=1))
                assert (await client.request("tools/call", params)).text == "plain"

        run(main())
