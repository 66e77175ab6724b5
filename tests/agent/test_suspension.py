"""Runs that wait for a decision: suspended, made bytes, resumed elsewhere, with nothing done twice."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.worlds import World, run, until
from taut.agent import Agent, BaseAgent, Budget, FunctionTool, Run, RunState, ToolContext, ToolPolicy
from taut.agent import events as ev
from taut.agent.state import MemoryCheckpointStore
from taut.crypto import KeyRing, new_key
from taut.errors import (
    AgentError,
    AgentStateError,
    BudgetExceeded,
    ConfigError,
    ModelUnavailable,
    RunSuspended,
    ToolError,
)
from taut.llm.messages import ToolResult
from taut.testing import KeyedModel, ScriptedModel, call

PAY = call("world__pay", to="Ada", amount=7)
APPROVE = ToolPolicy(approve=("world:pay",))


def one(world: World, *script: Any, **options: Any) -> Agent[Any]:
    return Agent(
        "payer", model=ScriptedModel(*script), servers={"world": world.app}, policy=APPROVE, **options
    )


def elsewhere(state: RunState) -> RunState:
    """The state as another process has it."""
    return RunState.from_bytes(state.to_bytes())


def texts(result: Any) -> list[str]:
    return [
        part.text for message in result.messages for part in message.content if isinstance(part, ToolResult)
    ]


class TestApproval:
    def test_a_run_is_suspended_with_what_it_waits_for(self) -> None:
        world = World()
        result = run(one(world, PAY).run("Pay Ada", run_id="r1"))
        assert (result.status, result.output, world.done) == ("suspended", None, [])
        assert result.state is not None
        (request,) = result.state.approvals
        assert (request.path, request.tool) == ("payer", "world:pay")
        assert request.call.arguments == {"to": "Ada", "amount": 7}

    def test_approved_it_goes_on_where_it_was(self) -> None:
        world = World()
        state = run(one(world, [call("world__add", a=1, b=2), PAY]).run("Pay")).state
        assert world.done == ["add 1 2"]
        state = elsewhere(state)
        state.approve()
        model = ScriptedModel("Paid.")
        again = Agent("payer", model=model, servers={"world": world.app}, policy=APPROVE)
        result = run(again.resume(state))
        assert (result.status, result.output) == ("completed", "Paid.")
        assert texts(result) == ["3", "paid 7 to Ada"]
        assert world.done == ["add 1 2", "pay Ada 7"]
        assert (model.asked, result.usage.requests, result.tool_calls) == (1, 2, 2)

    def test_rejected_the_model_is_told(self) -> None:
        world = World()
        state = elsewhere(run(one(world, PAY).run("Pay")).state)
        state.reject(reason="too much")
        result = run(one(world, "Then not.").resume(state))
        assert texts(result) == ["The call was not approved: too much. Do not repeat it."]
        assert (result.output, world.done) == ("Then not.", [])

    def test_the_arguments_may_be_changed(self) -> None:
        world = World()
        state = elsewhere(run(one(world, PAY).run("Pay")).state)
        state.approve(arguments={"to": "Ada", "amount": 1})
        run(one(world, "Paid.").resume(state))
        assert world.done == ["pay Ada 1"]

    def test_several_calls_are_decided_one_by_one(self) -> None:
        world = World()
        calls = [call("world__pay", to=name, amount=1) for name in ("Ada", "Bob", "Eve")]
        state = elsewhere(run(one(world, calls).run("Pay")).state)
        first, second, third = (request.id for request in state.approvals)
        state.approve(second)
        state.reject(third, reason="no")
        still = run(one(world).resume(state))
        assert (still.status, world.done) == ("suspended", ["pay Bob 1"])
        assert [request.id for request in still.state.approvals] == [first]
        state = elsewhere(still.state)
        state.approve(first)
        result = run(one(world, "Done.").resume(state))
        assert world.done == ["pay Bob 1", "pay Ada 1"]
        assert [text[:8] for text in texts(result)] == ["paid 1 t", "paid 1 t", "The call"]

    def test_resumed_without_a_decision_it_waits_on(self) -> None:
        world = World()
        state = run(one(world, PAY).run("Pay")).state
        still = run(one(world).resume(elsewhere(state)))
        assert (still.status, len(still.state.approvals), world.done) == ("suspended", 1, [])

    def test_nobody_waits_for_a_call_that_is_unknown(self) -> None:
        state = run(one(World(), PAY).run("Pay")).state
        with pytest.raises(ConfigError, match="Expected a call that waits for approval"):
            state.approve("nothing")

    def test_the_state_of_another_agent_is_refused(self) -> None:
        state = run(one(World(), PAY).run("Pay")).state
        with pytest.raises(ConfigError, match="a run of other, got one of payer"):
            run(Agent("other", model=ScriptedModel("x")).resume(state))

    def test_listeners_hear_what_waits_and_nothing_twice(self) -> None:
        world = World()
        heard: list[ev.Event] = []
        state = run(one(world, [call("world__add", a=1, b=2), PAY]).run("Pay", listener=heard.append)).state
        assert [type(event) for event in heard if isinstance(event, ev.ApprovalAsked | ev.Done)] == [
            ev.ApprovalAsked,
            ev.Done,
        ]
        heard.clear()
        state = elsewhere(state)
        state.approve()
        run(one(world, "Paid.").resume(state, listener=heard.append))
        called = [event.call.name for event in heard if isinstance(event, ev.ToolCalled)]
        assert called == ["world__pay"]


class TestNested:
    def build(self, world: World, scripts: dict[str, Any]) -> tuple[Agent[Any], KeyedModel]:
        model = KeyedModel(scripts)
        inner = Agent(
            "inner",
            model=model,
            instructions="I am the inner one",
            servers={"world": world.app},
            policy=APPROVE,
        )
        middle = Agent("middle", model=model, instructions="I am in the middle", tools=[inner])
        return Agent("outer", model=model, instructions="I am the outer one", tools=[middle]), model

    def test_two_deep_and_nothing_is_done_twice(self) -> None:
        world = World()
        outer, _ = self.build(
            world,
            {
                "inner": [call("world__add", a=1, b=2), PAY],
                "middle": [call("inner", task="pay Ada")],
                "outer": [call("middle", task="pay everybody")],
            },
        )
        result = run(outer.run("Go"))
        assert result.status == "suspended"
        assert [request.path for request in result.state.approvals] == ["outer/middle/inner"]
        state = elsewhere(result.state)
        state.approve()
        outer, model = self.build(
            world, {"inner": ["paid"], "middle": ["all paid"], "outer": ["everything is paid"]}
        )
        done = run(outer.resume(state))
        assert done.output == "everything is paid"
        assert world.done == ["add 1 2", "pay Ada 7"]
        assert [asked.asked for asked in model.models.values()] == [1, 1, 1]  # type: ignore[attr-defined]
        assert done.usage.requests == 7

    def test_what_runs_beside_it_is_not_done_again(self) -> None:
        world = World()
        other = Agent("other", model=ScriptedModel("other did it"))
        inner = Agent("inner", model=ScriptedModel(PAY), servers={"world": world.app}, policy=APPROVE)
        calls = [call("other", task="x"), call("inner", task="y")]
        outer = Agent("outer", model=ScriptedModel(calls), tools=[other, inner])
        state = elsewhere(run(outer.run("Go")).state)
        state.approve()
        other = Agent("other", model=ScriptedModel())  # it would say that its script is over
        inner = Agent(
            "inner", model=ScriptedModel("inner did it"), servers={"world": world.app}, policy=APPROVE
        )
        outer = Agent("outer", model=ScriptedModel("Done."), tools=[other, inner])
        assert texts(run(outer.resume(state))) == ["other did it", "inner did it"]

    def test_all_calls_below_are_counted_when_it_is_resumed(self) -> None:
        def look() -> str:
            return "seen"

        def pay() -> str:
            return "paid"

        def build(*scripts: tuple[Any, ...]) -> Agent[Any]:
            models = [ScriptedModel(*script) for script in scripts]
            inner = Agent("inner", model=models[0], tools=[look])
            policy = ToolPolicy(approve=("function:pay",))
            middle = Agent("middle", model=models[1], tools=[inner, pay], policy=policy)
            return Agent("outer", model=models[2], tools=[middle])

        first = build(
            (call("look"), call("look"), "seen twice"),
            (call("inner", task="look"), call("pay")),
            (call("middle", task="all of it"),),
        )
        state = elsewhere(run(first.run("Go")).state)
        state.approve()
        result = run(build((), ("all paid",), ("Done.",)).resume(state))
        assert (result.tool_calls, result.usage.requests) == (5, 8)

    def test_one_that_failed_waits_for_nothing_any_more(self) -> None:
        def pay() -> str:
            return "paid"

        def build(inner_script: Any, outer_script: Any) -> Agent[Any]:
            policy = ToolPolicy(approve=("function:pay",))
            inner = Agent(
                "inner",
                model=ScriptedModel(*inner_script),
                tools=[pay, FunctionTool(lambda: "x", name="look")],
                policy=policy,
                budget=Budget(tool_calls=1),
            )
            return Agent("outer", model=ScriptedModel(*outer_script), tools=[inner, pay], policy=policy)

        heard: list[ev.Event] = []
        calls = [call("pay"), call("look"), call("look")]
        agent = build([calls], [call("inner", task="x"), call("pay")])
        state = run(agent.run("Go", listener=heard.append)).state
        assert [request.path for request in state.approvals] == ["outer"]
        assert list(state.journal.waiting) == [state.approvals[0].id]
        assert "approval withdrawn" in [event.topic for event in heard if isinstance(event, ev.Noted)]

    def test_a_function_that_failed_has_runs_that_wait_for_nothing_any_more(self) -> None:
        world = World()
        waits = Agent("waits", model=ScriptedModel(PAY), servers={"world": world.app}, policy=APPROVE)

        async def ask(context: ToolContext) -> str:
            with contextlib.suppress(RunSuspended):
                await context.run.child(waits, "x")
            raise ToolError("it takes too long")

        outer = Agent(
            "outer",
            model=ScriptedModel(call("ask"), PAY),
            tools=[ask],
            servers={"world": world.app},
            policy=APPROVE,
        )
        state = run(outer.run("Go")).state
        assert [request.path for request in state.approvals] == ["outer"]
        assert list(state.journal.waiting) == [state.approvals[0].id]

    def test_two_at_one_place_do_not_share_a_decision(self) -> None:
        class Twice(BaseAgent[str]):
            def members(self) -> Any:
                return [inner]

            async def work(self, run: Run[str]) -> str:
                return "".join([(await run.child(inner, "x", place="here")).text for _ in range(2)])

        world = World()
        model = ScriptedModel(PAY, "one", PAY, "two")
        inner = Agent("inner", model=model, servers={"world": world.app}, policy=APPROVE)
        asked: list[str] = []
        result = run(Twice("twice").run("Go", approver=lambda one: asked.append(one.id) or True))  # type: ignore[func-returns-value]
        assert result.output == "onetwo"
        assert len(set(asked)) == 2


class TestResuming:
    def test_a_state_is_resumed_once_at_a_time(self) -> None:
        world = World()
        agent = Agent(
            "a",
            model=ScriptedModel(call("world__hang"), "Done."),
            servers={"world": world.app},
            policy=ToolPolicy(approve=("*",)),
        )

        async def scenario() -> None:
            state = (await agent.run("Go")).state
            assert state is not None
            state.approve()
            first = asyncio.ensure_future(agent.resume(state))
            await until(lambda: "hang" in world.done)
            with pytest.raises(AgentStateError, match="a state that no run goes on from, got that of run"):
                await agent.resume(state)
            world.gate.set()
            assert (await first).output == "Done."

        run(scenario())
        assert world.done == ["hang"]

    def test_cancelled_it_can_be_resumed_from_the_same_state(self) -> None:
        world = World()
        calls = [call("world__add", a=1, b=2), call("world__hang")]
        agent = Agent(
            "a",
            model=ScriptedModel(calls, "Done."),
            servers={"world": world.app},
            policy=ToolPolicy(approve=("*",)),
        )

        async def scenario() -> None:
            state = (await agent.run("Go")).state
            assert state is not None
            state.approve()
            first = asyncio.ensure_future(agent.resume(state))
            await until(lambda: "hang" in world.done and "1.0.world__add#1" in state.journal.records)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            world.gate.set()
            assert (await agent.resume(state)).output == "Done."

        run(scenario())
        assert world.done == ["add 1 2", "hang", "cancelled", "hang"]

    def test_the_budget_that_the_run_was_given_is_kept(self) -> None:
        world = World()
        agent = one(world, PAY, PAY, "Done.")
        state = elsewhere(run(agent.run("Pay", budget=Budget(tool_calls=1))).state)
        state.approve()
        with pytest.raises(BudgetExceeded, match="tool_calls is 1") as caught:
            run(agent.resume(state, approver=lambda _: True))
        state = elsewhere(caught.value.result.state)
        assert run(one(world, "Done.").resume(state, budget=Budget(tool_calls=2))).output == "Done."
        assert world.done == ["pay Ada 7"] * 2

    def test_an_exception_that_is_raised_again_has_the_result_of_its_run(self) -> None:
        busy = ModelUnavailable("busy")
        agent = Agent("a", model=ScriptedModel(busy, cycle=True))
        for run_id in ("first", "second"):
            with pytest.raises(ModelUnavailable) as caught:
                run(agent.run("Go", run_id=run_id))
            assert caught.value.result.run_id == run_id

    def test_what_a_run_has_done_before_any_failure_is_kept(self) -> None:
        class Broken:
            name = "broken"

            async def respond(self, request: Any, on_event: Any = None) -> Any:
                raise RuntimeError("a mistake")

            async def close(self) -> None:
                pass

        store = MemoryCheckpointStore()
        with pytest.raises(RuntimeError, match="a mistake"):
            run(Agent("a", model=Broken(), checkpoints=store).run("Go", run_id="r1"))
        assert [(kept.run_id, kept.status) for kept in run(store.list())] == [("r1", "failed")]

    def test_a_store_that_fails_takes_no_result_along(self, caplog: pytest.LogCaptureFixture) -> None:
        class Full(MemoryCheckpointStore):
            async def save(self, *args: Any, **options: Any) -> Any:
                raise OSError("no room")

            async def remove(self, run_id: str) -> None:
                raise OSError("no room")

        for script, status in (((PAY,), "suspended"), (("Done.",), "completed")):
            with pytest.raises(AgentError, match=f"is {status}, but not kept: no room") as caught:
                run(one(World(), *script, checkpoints=Full()).run("Pay"))
            assert caught.value.result.status == status
        assert caught.value.result.output == "Done."
        with pytest.raises(ModelUnavailable) as failed:
            run(one(World(), ModelUnavailable("busy"), checkpoints=Full()).run("Pay"))
        assert failed.value.result.state is not None
        assert "no room" in caplog.text


class TestState:
    def test_it_can_be_sealed(self) -> None:
        state = run(one(World(), PAY).run("Pay", session=None)).state
        keys = KeyRing(new_key())
        sealed = state.to_bytes(keys)
        assert b"Ada" in state.to_bytes()
        assert b"Ada" not in sealed
        assert RunState.from_bytes(sealed, keys).approvals == state.approvals

    @pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80"])
    def test_bytes_that_are_none_are_refused(self, data: bytes) -> None:
        with pytest.raises(ConfigError, match="Expected the state of a run"):
            RunState.from_bytes(data)

    def test_checkpoints_have_what_has_not_ended_well(self) -> None:
        world, store = World(), MemoryCheckpointStore()
        state = run(one(world, PAY, checkpoints=store).run("Pay", run_id="r1")).state
        (kept,) = run(store.list())
        assert (kept.run_id, kept.agent, kept.status) == ("r1", "payer", "suspended")
        assert kept.waiting == tuple(request.id for request in state.approvals)
        loaded = run(store.load("r1"))
        assert loaded is not None
        state = RunState.from_bytes(loaded[1])
        state.approve()
        run(one(world, "Paid.", checkpoints=store).resume(state))
        assert run(store.list()) == []


SCRIPT = '''
import asyncio, sys
from pathlib import Path
from taut.agent import Agent, RunState, ToolPolicy
from taut.testing import ScriptedModel, call

def pay(to: str) -> str:
    """Pay."""
    Path(sys.argv[2]).open("a").write(f"paid {to}\\n")
    return f"paid {to}"

def agent(*script):
    return Agent("payer", model=ScriptedModel(*script), tools=[pay], policy=ToolPolicy(approve=("function:pay",)))

state = Path(sys.argv[1])
if state.exists():
    waiting = RunState.from_bytes(state.read_bytes())
    waiting.approve()
    print(asyncio.run(agent("All paid.").resume(waiting)).output)
else:
    result = agent(call("pay", to="Ada")).run_sync("Pay Ada")
    state.write_bytes(result.state.to_bytes())
    print(result.status)
'''


def test_one_process_begins_and_another_ends_it(tmp_path: Path) -> None:
    (tmp_path / "payer.py").write_text(SCRIPT)
    said = [
        subprocess.run(
            [sys.executable, "payer.py", "run.state", "paid.txt"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["suspended", "All paid."]
    assert (tmp_path / "paid.txt").read_text() == "paid Ada\n"


def test_a_server_that_is_away_ends_a_run_that_can_be_taken_up() -> None:
    world = World()
    away = Agent("payer", model=ScriptedModel(), servers={"world": ["/does/not/exist"]})
    with pytest.raises(ConfigError, match="Cannot start") as caught:
        run(away.run("Add"))
    assert caught.value.result.status == "failed"
    state = elsewhere(caught.value.result.state)
    back = Agent(
        "payer", model=ScriptedModel(call("world__add", a=1, b=2), "3"), servers={"world": world.app}
    )
    assert run(back.resume(state)).output == "3"
