"""Runs that wait for a decision: suspended, made bytes, resumed elsewhere, with nothing done twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.worlds import World, run
from taut.agent import Agent, RunState, ToolPolicy
from taut.agent import events as ev
from taut.agent.state import MemoryCheckpointStore
from taut.crypto import KeyRing, new_key
from taut.errors import ConfigError
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
