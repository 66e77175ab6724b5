"""Tools whose calls run as tasks, for clients of 2026-07-28 with the extension (SEP-2663)."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import msgspec
import pytest

from faults.loops import Run
from server.tasks import EXTENSION, Clock, accept, begin, cancel, look, until, update
from taut import Client, Context, Elicit, ListRoots, Server, TaskOptions, Tasks, ToolError, models
from taut.errors import (
    ConfigError,
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    MissingRequiredClientCapability,
    RemoteError,
)

NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


class Named(msgspec.Struct):
    name: str


def client_of(app: Server, **options: Any) -> Client:
    return Client(app, **{"mode": "2026-07-28", "capabilities": EXTENSION} | options)


def with_forms(app: Server) -> Client:
    """A client that may be asked, but answers by hand."""

    def never(params: Any) -> Any:
        raise AssertionError("a task does not ask directly")

    return client_of(app, elicitation=never)


class Bench:
    """A server with one task tool that ends when it is told to."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.tasks = Tasks(clock=self.clock, **options)
        self.app = Server("s", tasks=self.tasks)
        self.let_go = asyncio.Event()
        self.stopped: list[str] = []
        self.ended = asyncio.Event()

        @self.app.tool(task="optional")
        async def work(text: str = "done") -> str:
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.stopped.append(text)
                self.ended.set()
                raise
            return text


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


class TestInput:
    def test_a_question_is_shown_answered_and_gone(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            answer = await ctx.elicit("Who?", Named)
            return f"Hello, {answer.content.name}!"

        async def main() -> None:
            async with with_forms(app) as client:
                task = await begin(client, "work")
                asking = await until(client, task.task_id, "input_required")
                ((key, question),) = asking.input_requests.items()
                assert isinstance(question, models.ElicitRequest)
                assert question.params.message == "Who?"
                assert type(await update(client, task.task_id, **{key: accept(name="Ada")})) is (
                    models.EmptyResult
                )
                done = await until(client, task.task_id)
                assert done.result["content"][0]["text"] == "Hello, Ada!"
                assert done.input_requests is models.UNSET

        run(main())

    def test_of_several_questions_the_unanswered_remain(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            answers = await ctx.ask(a=Elicit("A?", NAME), b=Elicit("B?", NAME), c=ListRoots())
            return f"{answers['a'].content} {answers['b'].action} {len(answers['c'])}"

        async def main() -> None:
            async with client_of(app, elicitation=lambda params: None, roots=[]) as client:
                task = await begin(client, "work")
                asking = await until(client, task.task_id, "input_required")
                assert list(asking.input_requests) == ["a", "b", "c"]
                await update(client, task.task_id, b={"action": "decline"}, unknown=5)
                asking = await look(client, task.task_id)
                assert (asking.status, list(asking.input_requests)) == ("input_required", ["a", "c"])
                await update(client, task.task_id, b=accept(name="too late"))
                await update(client, task.task_id, a=accept(name="x"), c={"roots": []})
                done = await until(client, task.task_id)
                assert done.result["content"][0]["text"] == "{'name': 'x'} decline 0"

        run(main())

    def test_branches_of_a_handler_ask_each_for_itself(self, run: Run) -> None:
        app = Server("s", tasks=Tasks(max_running=1))

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            answers = await asyncio.gather(*(ctx.elicit(f"{n}?", NAME) for n in range(3)))
            again = await ctx.elicit("Last?", NAME)
            return " ".join(answer.content["name"] for answer in (*answers, again))

        async def main() -> None:
            async with with_forms(app) as client:
                task = await begin(client, "work")
                asked: set[str] = set()
                while (seen := await look(client, task.task_id)).status != "completed":
                    for key, question in (seen.input_requests or {}).items() if seen.input_requests else ():
                        asked.add(key)
                        answer = accept(name=question.params.message[0])
                        await update(client, task.task_id, **{key: answer})
                assert len(asked) == 4
                assert seen.result["content"][0]["text"] == "0 1 2 L"

        run(main())

    def test_a_key_never_comes_twice(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            for _ in range(2):
                await ctx.elicit("Again?", NAME, key="again")
            return "done"

        async def main() -> None:
            async with with_forms(app) as client:
                task = await begin(client, "work")
                seen: list[str] = []
                while (state := await look(client, task.task_id)).status != "completed":
                    if state.input_requests is not models.UNSET:
                        (key,) = state.input_requests
                        seen.append(key)
                        await update(client, task.task_id, **{key: accept(name="x")})
                assert seen == ["again", "again_2"]

        run(main())

    def test_an_answer_that_does_not_fit_is_refused_and_the_question_stays(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            return str((await ctx.elicit("Who?", NAME, key="who")).content)

        async def main() -> None:
            async with with_forms(app) as client:
                task = await begin(client, "work")
                await until(client, task.task_id, "input_required")
                for wrong in (5, {"action": "maybe"}, accept(name=5), accept()):
                    with pytest.raises(InvalidParams):
                        await update(client, task.task_id, who=wrong)
                assert (await look(client, task.task_id)).status == "input_required"
                await update(client, task.task_id, who=accept(name="x"))
                assert (await until(client, task.task_id)).status == "completed"

        run(main())

    def test_what_the_client_cannot_answer_fails_the_task(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            return str(await ctx.sample("Hello"))

        async def main() -> None:
            async with client_of(app) as client:
                done = await until(client, (await begin(client, "work")).task_id)
                assert (done.status, done.error.code) == ("failed", -32021)
                assert done.error.data == {"requiredCapabilities": {"sampling": {}}}

        run(main())

    def test_a_question_that_nobody_waits_for_any_more_is_taken_back(self, run: Run) -> None:
        app = Server("s")
        let_go = asyncio.Event()

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            asking = asyncio.ensure_future(ctx.elicit("Who?", NAME))
            await let_go.wait()
            asking.cancel()
            await asyncio.wait([asking])
            await ctx.elicit("Whom?", NAME)
            return "done"

        async def main() -> None:
            async with with_forms(app) as client:
                task = await begin(client, "work")
                first = await until(client, task.task_id, "input_required")
                let_go.set()
                while (second := await look(client, task.task_id)).input_requests in (
                    first.input_requests,
                    models.UNSET,
                ):
                    pass
                (question,) = second.input_requests.values()
                assert question.params.message == "Whom?"

        run(main())

    def test_one_that_waits_for_its_client_lets_others_work(self, run: Run) -> None:
        app = Server("s", tasks=Tasks(max_running=1))
        let_go = asyncio.Event()
        began: list[str] = []

        @app.tool(task="optional")
        async def asks(ctx: Context) -> str:
            await ctx.elicit("Who?", NAME, key="who")
            began.append("asks")
            return "asked"

        @app.tool(task="optional")
        async def works() -> str:
            began.append("works")
            await let_go.wait()
            return "worked"

        async def main() -> None:
            async with with_forms(app) as client:
                asking = await begin(client, "asks")
                await until(client, asking.task_id, "input_required")
                working = await begin(client, "works")
                waiting = await begin(client, "works")
                while not began:
                    await look(client, working.task_id)
                await update(client, asking.task_id, who=accept(name="x"))
                assert (await look(client, asking.task_id)).status == "working"
                assert began == ["works"]
                let_go.set()
                for task in (asking, working, waiting):
                    assert (await until(client, task.task_id)).status == "completed"
                assert sorted(began) == ["asks", "works", "works"]

        run(main())

    def test_nothing_of_the_context_breaks(self, run: Run) -> None:
        heard: list[Any] = []
        app = Server("s")

        @app.tool(task="optional")
        async def work(ctx: Context) -> str:
            await ctx.progress(1, 2, "half")
            await ctx.info("working")
            await ctx.elicitation_complete("x")
            assert ctx.revision == "2026-07-28"
            assert ctx.client.implementation is not None
            assert ctx.meta is not None
            assert ctx.lifespan is None
            assert not ctx.cancelled
            assert await ctx.begin_task()
            return f"{ctx.request_id} {ctx.task_id}"

        async def main() -> None:
            async with client_of(app, on_notification=heard.append, logging=heard.append) as client:
                result = await client.request(
                    "tools/call", models.CallToolParams(name="work"), on_progress=heard.append
                )
                done = await until(client, result.task_id)
                identifier, task_id = done.result["content"][0]["text"].split()
                assert identifier.isdigit()
                assert task_id == result.task_id
                assert heard == []

        run(main())


class TestBeginningLater:
    def app(self) -> Server:
        app = Server("s")

        @app.tool(task=TaskOptions(support="optional", begins="later"))
        async def work(ctx: Context, long: bool = True) -> str:
            answer = await ctx.elicit("Who?", NAME, key="who")
            assert ctx.task_id is None
            if not long:
                return f"short for {answer.content['name']}"
            is_task = await ctx.begin_task()
            again = await ctx.elicit("Sure?", NAME, key="who") if is_task else answer
            return f"{is_task} for {answer.content['name']} and {again.content['name']}"

        return app

    def test_what_is_asked_before_is_asked_in_the_call(self, run: Run) -> None:
        app = self.app()

        async def main() -> None:
            async with with_forms(app) as client:
                first = await client.request("tools/call", models.CallToolParams(name="work"))
                assert isinstance(first, models.InputRequiredResult)
                assert list(first.input_requests) == ["who"]
                second = await client.request(
                    "tools/call",
                    models.CallToolParams(
                        name="work",
                        input_responses={"who": accept(name="Ada")},
                        request_state=first.request_state,
                    ),
                )
                assert isinstance(second, models.CreateTaskResult)
                await until(client, second.task_id, "input_required")
                await update(client, second.task_id, who=accept(name="Bob"))
                done = await until(client, second.task_id)
                assert done.result["content"][0]["text"] == "True for Ada and Bob"

        run(main())

    def test_a_call_that_never_begins_one_is_answered(self, run: Run) -> None:
        app = self.app()

        async def main() -> None:
            async with client_of(app, elicitation=lambda params: _accepted(name="Ada")) as client:
                assert (await client.call_tool("work", {"long": False})).text == "short for Ada"

        run(main())

    def test_a_client_that_follows_no_tasks_waits(self, run: Run) -> None:
        app = self.app()

        async def main() -> None:
            async with Client(
                app, mode="2026-07-28", elicitation=lambda params: _accepted(name="Ada")
            ) as client:
                assert (await client.call_tool("work")).text == "False for Ada and Ada"

        run(main())

    def test_errors_before_are_those_of_the_call(self, run: Run) -> None:
        app = Server("s")

        @app.tool(task=TaskOptions(begins="later"))
        async def work(ctx: Context, how: str) -> None:
            if how == "told":
                raise ToolError("no")
            if how == "protocol":
                raise InvalidRequest("no such thing")
            raise asyncio.CancelledError

        async def main() -> None:
            async with client_of(app) as client:
                assert (await client.call_tool("work", {"how": "told"})).text == "no"
                with pytest.raises(InvalidRequest, match="no such thing"):
                    await client.call_tool("work", {"how": "protocol"})
                with pytest.raises(InternalError, match="cancelled by the server"):
                    await client.call_tool("work", {"how": "cancelled"})

        run(main())

    def test_a_call_that_is_withdrawn_before_is_cancelled(self, run: Run) -> None:
        app = Server("s")

        async def main() -> None:
            began, ended = asyncio.Event(), asyncio.Event()

            @app.tool(task=TaskOptions(begins="later"))
            async def work(ctx: Context) -> None:
                began.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    assert ctx.cancelled
                    ended.set()

            async with client_of(app) as client:
                call = asyncio.ensure_future(client.call_tool("work"))
                await began.wait()
                call.cancel()
                await ended.wait()

        run(main())


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


def _accepted(**content: Any) -> models.ElicitResult:
    return models.ElicitResult(action="accept", content=content)
