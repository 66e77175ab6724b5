"""What a handler may do in a task: ask, say how it goes, and begin the task itself."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from faults.loops import Run
from server.tasks import NAME, accept, begin, client_of, look, until, update, with_forms
from taut import Client, Context, Elicit, ListRoots, Server, TaskOptions, Tasks, ToolError, models
from taut.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
)


class Named(msgspec.Struct):
    name: str


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


class TestSayingHowItGoes:
    @pytest.mark.parametrize("thread", [False, True])
    def test_messages_of_progress_are_what_is_said_of_the_task(self, run: Run, thread: bool) -> None:
        app = Server("s")

        async def main() -> None:
            let_go, waiting = asyncio.Event(), threading.Event()

            def report(ctx: Context) -> None:
                for done in range(50):
                    ctx.progress(done, 50)
                    ctx.progress(done, 50, f"{done} of 50")

            @app.tool(name="inline", task="optional")
            async def inline(ctx: Context) -> str:
                report(ctx)
                await let_go.wait()
                return "done"

            @app.tool(name="threaded", task="optional", thread=True)
            def threaded(ctx: Context) -> str:
                report(ctx)
                waiting.wait(10)
                return "done"

            async with client_of(app) as client:
                task = await begin(client, "threaded" if thread else "inline")
                while (await look(client, task.task_id)).status_message != "49 of 50":
                    pass
                let_go.set()
                waiting.set()
                done = await until(client, task.task_id)
                assert (done.status, done.status_message) == ("completed", models.UNSET)

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


def _accepted(**content: Any) -> models.ElicitResult:
    return models.ElicitResult(action="accept", content=content)
