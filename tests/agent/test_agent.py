"""The loop: ask the model, make its calls, ask again, until there is an output of the right form."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Literal

import msgspec
import pytest

from agent.worlds import World, run
from taut.agent import Agent, AgentTool, Budget, FunctionTool, RunResult, RunState, ToolContext, ToolPolicy
from taut.agent import events as ev
from taut.errors import AgentError, ConfigError, ModelRefused, ModelUnavailable, OutputInvalid
from taut.llm.messages import Message, ToolResult, assistant, user
from taut.llm.model import ModelRequest, ModelSettings
from taut.testing import FunctionModel, ScriptedModel, call


class Sum(msgspec.Struct):
    total: int


def agent(*script: Any, **options: Any) -> Agent[Any]:
    return Agent("calc", model=ScriptedModel(*script), **options)


def results_of(result: RunResult[Any]) -> list[ToolResult]:
    return [part for message in result.messages for part in message.content if isinstance(part, ToolResult)]


class TestLoop:
    def test_text_is_the_output(self) -> None:
        result = run(agent("Hello.").run("Hi"))
        assert (result.status, result.output, result.agent) == ("completed", "Hello.", "calc")
        assert [message.role for message in result.messages] == ["user", "assistant"]

    def test_calls_are_made_until_there_are_none(self) -> None:
        world = World()
        one = agent(
            call("world__add", a=1, b=2),
            [call("world__add", a=3, b=4), call("world__pay", to="Ada", amount=7)],
            "Done.",
            servers={"world": world.app},
        )
        result = run(one.run("Add, then pay."))
        assert result.output == "Done."
        assert [one.content for one in results_of(result)] == ["3", "7", "paid 7 to Ada"]
        assert [message.role for message in result.messages] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "tool",
            "assistant",
        ]
        assert (result.tool_calls, result.usage.requests) == (3, 3)

    def test_the_model_is_told_instructions_tools_and_settings(self) -> None:
        world = World()
        model = ScriptedModel("Done.")
        settings = ModelSettings(temperature=0)
        one = Agent(
            "calc", model=model, instructions="Be brief.", servers={"world": world.app}, settings=settings
        )
        run(one.run("Go", history=[user("before"), assistant("yes")]))
        request = model.requests[0]
        assert request.instructions == "Be brief."
        assert [tool.name for tool in request.tools] == [
            "world__add",
            "world__pay",
            "world__fail",
            "world__hang",
        ]
        assert request.tools[0].description == "Add two numbers."
        assert set(request.tools[0].input_schema["properties"]) == {"a", "b"}
        assert request.settings == settings
        assert [message.text for message in request.messages][:3] == ["before", "yes", "Go"]

    def test_the_conversation_is_shared_not_copied(self) -> None:
        """What a step costs must not depend on what was said before."""
        world = World()
        seen: list[Any] = []

        def answer(request: ModelRequest) -> Any:
            seen.append(request.messages)
            return call("world__add", a=1, b=2) if len(seen) < 4 else "Done."

        run(Agent("calc", model=FunctionModel(answer), servers={"world": world.app}).run("Go"))
        assert all(messages is seen[0] for messages in seen)

    def test_instructions_may_depend_on_what_the_run_was_given(self) -> None:
        model = ScriptedModel("Done.")
        one = Agent("calc", model=model, instructions=lambda deps: f"You serve {deps['user']}.")
        run(one.run("Go", deps={"user": "Ada"}))
        assert model.requests[0].instructions == "You serve Ada."

    def test_a_tool_that_is_forced_is_forced_once(self) -> None:
        model = ScriptedModel(call("double", n=2), "4")
        one = Agent("calc", model=model, tools=[lambda_tool()], tool_choice="required")
        run(one.run("Go"))
        assert [request.tool_choice for request in model.requests] == ["required", "auto"]

    def test_after_its_rounds_of_calls_the_model_must_answer(self) -> None:
        model = ScriptedModel(call("double", n=1), call("double", n=2), "4")
        run(Agent("calc", model=model, tools=[lambda_tool()], tool_rounds=2).run("Go"))
        assert [request.tool_choice for request in model.requests] == ["auto", "auto", "none"]

    def test_what_the_model_fails_with_is_raised_with_the_run_so_far(self) -> None:
        one = agent(call("double", n=2), ModelUnavailable("busy", status=503), "4", tools=[lambda_tool()])
        with pytest.raises(ModelUnavailable) as caught:
            run(one.run("Go"))
        partial = caught.value.result
        assert (partial.status, partial.tool_calls) == ("failed", 1)
        resumed = run(one.resume(partial.state))
        assert (resumed.output, resumed.tool_calls, resumed.usage.requests) == ("4", 1, 2)

    def test_a_run_in_a_loop_that_runs_is_refused_by_run_sync(self) -> None:
        async def inside() -> None:
            with pytest.raises(AgentError, match=r"await agent\.run"):
                agent("x").run_sync("Go")

        run(inside())

    def test_run_sync_does_the_same(self) -> None:
        world = World()
        one = agent(call("world__add", a=1, b=2), "Done.", servers={"world": world.app})
        assert one.run_sync("Go").output == "Done."


def double(n: int) -> int:
    """Double a number."""
    return n * 2


def lambda_tool() -> FunctionTool:
    return FunctionTool(double)


class TestFunctions:
    @pytest.mark.parametrize("thread", [False, True])
    def test_a_plain_function_is_a_tool(self, thread: bool) -> None:
        one = agent(call("double", n=21), "Done.", tools=[FunctionTool(double, thread=thread)])
        assert results_of(run(one.run("Go")))[0].content == "42"

    def test_an_async_function_is_a_tool(self) -> None:
        async def later(n: int) -> dict[str, int]:
            await asyncio.sleep(0)
            return {"n": n}

        one = agent(call("later", n=1), "Done.", tools=[later])
        assert results_of(run(one.run("Go")))[0].content == '{"n":1}'

    def test_a_function_may_ask_for_its_context(self) -> None:
        seen = []

        def who(greeting: str, context: ToolContext) -> str:
            context.progress(1, 2, "half")
            seen.append(context.key)
            return f"{greeting} {context.deps}"

        heard: list[Any] = []
        one = agent(call("who", greeting="Hi"), "Done.", tools=[who])
        result = run(one.run("Go", deps="Ada", run_id="r1", listener=heard.append))
        assert results_of(result)[0].content == "Hi Ada"
        assert seen == ["r1:1.0.who#1"]
        progress = next(event for event in heard if isinstance(event, ev.ToolProgress))
        assert (progress.progress, progress.total, progress.message) == (1, 2, "half")

    def test_arguments_that_do_not_fit_are_told_to_the_model(self) -> None:
        one = agent(call("double", n="two"), "Done.", tools=[double])
        failed = results_of(run(one.run("Go")))[0]
        assert failed.is_error
        assert "Expected `int`, got `str` - at `$.n`" in failed.text

    def test_what_a_function_breaks_with_is_logged_and_not_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken() -> str:
            raise RuntimeError("password is hunter2")

        failed = results_of(run(agent(call("broken"), "Done.", tools=[broken]).run("Go")))[0]
        assert failed.is_error
        assert "hunter2" not in failed.text
        assert "hunter2" in caplog.text

    def test_what_it_waited_for_was_cancelled_not_the_run(self, caplog: pytest.LogCaptureFixture) -> None:
        async def impatient() -> None:
            waiting = asyncio.ensure_future(asyncio.Event().wait())
            waiting.cancel()
            await waiting

        result = run(agent([call("impatient")], "Done.", tools=[impatient]).run("Go"))
        assert "impatient failed with RuntimeError" in results_of(result)[0].text
        assert "impatient was cancelled from inside" in caplog.text

    def test_a_function_may_return_anything_that_can_be_waited_for(self) -> None:
        def soon() -> Any:
            return asyncio.ensure_future(asyncio.sleep(0, "later"))

        assert results_of(run(agent(call("soon"), "Done.", tools=[soon]).run("Go")))[0].content == "later"

    def test_what_a_thread_tells_is_heard_in_the_thread_of_the_loop(self) -> None:
        threads: list[tuple[float, int]] = []
        contexts: list[ToolContext] = []

        def work(context: ToolContext) -> str:
            contexts.append(context)
            for n in range(3):
                context.progress(n)
            return "done"

        def hear(event: ev.Event) -> None:
            if isinstance(event, ev.ToolProgress):
                threads.append((event.progress, threading.get_ident()))
            if isinstance(event, ev.ToolReturned):
                contexts[0].progress(4)  # too late

        run(agent(call("work"), "Done.", tools=[FunctionTool(work, thread=True)]).run("Go", listener=hear))
        assert threads == [(n, threading.get_ident()) for n in range(3)]
        contexts[0].progress(5)  # the loop is closed

    def test_a_thread_that_outlives_its_call_is_not_heard(self) -> None:
        begun, may_end = threading.Event(), threading.Event()
        heard: list[ev.Event] = []

        def work(context: ToolContext) -> str:
            begun.set()
            assert may_end.wait(10)
            context.progress(1)
            return "too late"

        async def scenario() -> None:
            one = agent(call("work"), tools=[FunctionTool(work, thread=True)])
            going = asyncio.ensure_future(one.run("Go", listener=heard.append))
            await asyncio.to_thread(begun.wait, 10)
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            may_end.set()
            await asyncio.get_running_loop().shutdown_default_executor()

        run(scenario())
        assert not [event for event in heard if isinstance(event, ev.ToolProgress)]

    @pytest.mark.parametrize("thread", [False, True])
    def test_an_iterator_that_is_over_is_a_failed_call(self, thread: bool) -> None:
        def first() -> str:
            return next(iter(()))

        one = agent(call("first"), "Done.", tools=[FunctionTool(first, thread=thread)])
        assert "first failed with RuntimeError" in results_of(run(one.run("Go")))[0].text

    @pytest.mark.parametrize("value", ["a\udcffb", ["a\udcffb"]])
    def test_text_that_is_no_unicode_can_be_kept_and_sent(self, value: Any) -> None:
        tools = [FunctionTool(lambda: value, name="f"), FunctionTool(lambda: "x", name="pay")]
        one = agent(call("f"), call("pay"), tools=tools, policy=ToolPolicy(approve=("function:pay",)))
        state = run(one.run("Go")).state
        assert state is not None
        state = RunState.from_bytes(state.to_bytes())
        state.approve()
        done = run(agent("Done.", tools=tools, policy=ToolPolicy(approve=("function:pay",))).resume(state))
        assert results_of(done)[0].text in ("a?b", r"['a\udcffb']")

    def test_two_tools_of_one_name_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="different names, got 'double'"):
            agent("x", tools=[double, double])


class TestServers:
    def test_a_failure_of_the_tool_is_a_result(self) -> None:
        one = agent(call("world__fail", why="no luck"), "Done.", servers={"world": World().app})
        failed = results_of(run(one.run("Go")))[0]
        assert (failed.is_error, failed.text) == (True, "no luck")

    def test_a_server_that_is_required_fails_the_run(self) -> None:
        one = agent("Done.", servers={"gone": ["/does/not/exist"]})
        with pytest.raises(Exception, match="gone"):
            run(one.run("Go"))

    def test_servers_by_name_need_a_pool_that_has_them(self) -> None:
        with pytest.raises(ConfigError, match="Expected a pool that has the servers time"):
            agent("x", servers=["time"])

    def test_an_unknown_tool_is_answered_with_those_that_are_like_it(self) -> None:
        one = agent(call("world__ad", a=1, b=2), "Done.", servers={"world": World().app})
        failed = results_of(run(one.run("Go")))[0]
        assert failed.text == "There is no tool 'world__ad'. Did you mean world__add?"

    def test_a_server_started_eagerly_is_there_before_the_first_run(self) -> None:
        world = World()

        async def scenario() -> None:
            one = agent("x", servers={"world": world.app}, start_servers="eagerly")
            async with one:
                assert one._supplies

        run(scenario())


class TestToolsThatRunAgents:
    """What a function does in the run that its context has is done once, and counted, however often it is taken up."""

    policy = ToolPolicy(approve=("function:pay",))

    def build(self, *script: Any) -> Agent[Any]:
        def answer(request: ModelRequest) -> str:
            return f"an answer to {request.messages[-1].text}"

        inner = Agent("inner", model=FunctionModel(answer))

        async def ask(what: str, context: ToolContext) -> str:
            both = await context.run.gather([context.run.child(inner, f"{what} {n}") for n in (1, 2)])
            return f"{both[0].text}, {both[1].text}, {context.run.steps.uuid()}"

        tools = [ask, FunctionTool(lambda: "paid", name="pay")]
        return agent(*script, tools=tools, policy=self.policy)

    def test_calls_that_are_made_later_are_others(self) -> None:
        state = run(self.build(call("ask", what="tea"), call("pay")).run("Go")).state
        assert state is not None
        assert len(state.journal.records) == 3
        state = RunState.from_bytes(state.to_bytes())
        state.approve()
        result = run(self.build(call("ask", what="cup"), "Done.").resume(state))
        tea, paid, cup = (part.text for part in results_of(result))
        assert tea.startswith("an answer to tea 1, an answer to tea 2, ")
        assert paid == "paid"
        assert cup.startswith("an answer to cup 1, an answer to cup 2, ")
        assert tea[-36:] != cup[-36:]

    def test_what_they_used_is_counted_when_they_are_not_called_again(self) -> None:
        state = run(self.build(call("ask", what="tea"), call("pay")).run("Go")).state
        assert state is not None
        used = state.usage
        state = RunState.from_bytes(state.to_bytes())
        state.approve()
        result = run(self.build("Done.").resume(state))
        assert used.requests == 4
        assert (result.usage.requests, result.tool_calls) == (5, 2)

    def test_the_budget_of_an_agent_below_is_not_that_of_the_run(self) -> None:
        inner = Agent("inner", model=ScriptedModel("x"), budget=Budget(model_calls=0))

        async def ask(context: ToolContext) -> str:
            return (await context.run.child(inner, "x")).text

        result = run(agent(call("ask"), "Done.", tools=[ask]).run("Go"))
        assert "ask failed: Budget exceeded by calc/inner: model_calls is 0" in results_of(result)[0].text


class TestOutput:
    def test_json_becomes_the_type(self) -> None:
        result = run(agent('{"total": 3}', output=Sum).run("Go"))
        assert result.output == Sum(3)
        assert result.text == '{"total":3}'

    def test_the_schema_is_asked_for(self) -> None:
        model = ScriptedModel('{"total": 3}')
        run(Agent("calc", model=model, output=Sum).run("Go"))
        schema = model.requests[0].output_schema
        assert schema is not None
        assert schema["properties"] == {"total": {"type": "integer"}}

    @pytest.mark.parametrize(
        ("kind", "text", "value"),
        [
            (list[int], '{"result": [1, 2]}', [1, 2]),
            (Literal["yes", "no"], '{"result": "yes"}', "yes"),
            (int, '{"result": 4}', 4),
            (dict[str, int], '{"a": 1}', {"a": 1}),
        ],
    )
    def test_a_type_that_is_no_object_is_wrapped(self, kind: Any, text: str, value: Any) -> None:
        assert run(agent(text, output=kind).run("Go")).output == value

    def test_json_in_a_fence_is_taken(self) -> None:
        assert run(agent('Here:\n```json\n{"total": 3}\n```\nBye', output=Sum).run("Go")).output == Sum(3)

    def test_what_does_not_fit_is_repaired(self) -> None:
        model = ScriptedModel("three", '{"total": "three"}', '{"total": 3}')
        result = run(Agent("calc", model=model, output=Sum).run("Go"))
        assert result.output == Sum(3)
        told = [message.text for message in result.messages if message.role == "user"][1:]
        assert "JSON is malformed" in told[0]
        assert "Expected `int`, got `str` - at `$.total`" in told[1]

    def test_repairs_are_bounded_and_what_was_said_is_kept(self) -> None:
        with pytest.raises(OutputInvalid, match="expected an output of type Sum") as caught:
            run(agent("1", "2", "3", output=Sum, repairs=1).run("Go"))
        assert [message.text for message in caught.value.result.messages if message.role == "assistant"] == [
            "1",
            "2",
        ]

    def test_a_type_without_a_schema_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigError, match="output type with a JSON form"):
            agent("x", output=object())


class TestAgentsAsTools:
    def test_an_agent_is_called_with_a_task_and_answers_with_its_output(self) -> None:
        inner = Agent("inner", model=ScriptedModel('{"total": 5}'), output=Sum, description="Sums things")
        model = ScriptedModel(call("inner", task="2 and 3"), "Five.")
        outer = Agent("outer", model=model, tools=[inner])
        result = run(outer.run("Go"))
        assert results_of(result)[0].content == '{"total":5}'
        assert model.requests[0].tools[0].description == "Sums things"
        assert result.usage.requests == 3

    def test_one_that_fails_is_a_failed_call(self) -> None:
        inner = Agent("inner", model=ScriptedModel(ModelRefused("no key")))
        outer = Agent("outer", model=ScriptedModel(call("inner", task="x"), "Sorry."), tools=[inner])
        result = run(outer.run("Go"))
        assert results_of(result)[0].text == "inner failed: no key"
        assert result.output == "Sorry."

    def test_one_that_is_out_of_its_own_budget_is_a_failed_call(self) -> None:
        inner = Agent(
            "inner",
            model=ScriptedModel(call("double", n=1), cycle=True),
            tools=[double],
            budget=Budget(model_calls=2),
        )
        outer = Agent("outer", model=ScriptedModel(call("inner", task="x"), "Sorry."), tools=[inner])
        result = run(outer.run("Go"))
        assert "model_calls is 2" in results_of(result)[0].text
        assert result.usage.requests == 4

    def test_a_call_that_is_done_is_not_told_of_again(self) -> None:
        policy = ToolPolicy(approve=("function:pay",))

        def build(inner_script: list[str], *script: Any) -> Agent[Any]:
            inner = Agent("inner", model=ScriptedModel(*inner_script))
            return agent(*script, tools=[inner, FunctionTool(lambda: "paid", name="pay")], policy=policy)

        state = run(build(["yes"], call("inner", task="x"), call("pay")).run("Go")).state
        assert state is not None
        state = RunState.from_bytes(state.to_bytes())
        state.approve()
        heard: list[ev.Event] = []
        run(build([], "Done.").resume(state, listener=heard.append))
        told = [event for event in heard if isinstance(event, ev.ToolCalled | ev.ToolReturned)]
        assert [type(event) for event in told] == [ev.ToolCalled, ev.ToolReturned]

    def test_one_may_have_another_name(self) -> None:
        inner = Agent("inner", model=ScriptedModel("yes"))
        tool = AgentTool(inner, name="ask", description="Ask it")
        outer = Agent("outer", model=ScriptedModel(call("ask", task="x"), "Done."), tools=[tool])
        assert results_of(run(outer.run("Go")))[0].text == "yes"

    def test_agents_that_call_themselves_are_stopped(self) -> None:
        model = ScriptedModel(call("loop", task="again"), cycle=True)
        one = Agent("loop", model=model)
        one._tools.append(AgentTool(one))
        one.members = lambda: ()  # type: ignore[method-assign]  # or it would wait for itself to start
        result: RunResult[Any] | None = None
        with pytest.raises(AgentError) as caught:
            result = run(one.run("Go", budget=Budget(model_calls=100)))
        assert result is None
        assert "model_calls" in str(caught.value) or "inside each other" in str(caught.value)


class TestMembers:
    def test_those_below_are_started_and_stopped_along(self) -> None:
        inner = Agent("inner", model=ScriptedModel("yes"))
        outer = Agent("outer", model=ScriptedModel("x"), tools=[inner])

        async def scenario() -> None:
            async with outer:
                assert (outer.state, inner.state) == ("ready", "ready")
                async with inner:
                    pass
                assert inner.state == "ready"
            assert (outer.state, inner.state) == ("stopped", "stopped")

        run(scenario())


def test_names_that_would_be_ambiguous_in_paths_are_refused() -> None:
    for name in ("", "a/b", "a b", "a.b"):
        with pytest.raises(ConfigError, match="agent's name"):
            Agent(name, model=ScriptedModel("x"))


def test_history_may_be_any_messages() -> None:
    model = ScriptedModel("Done.")
    before = [Message("user", user("a").content)]
    run(Agent("calc", model=model).run("Go", history=before))
    assert before == [user("a")]
