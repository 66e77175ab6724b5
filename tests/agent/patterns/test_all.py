"""What every pattern promises as an agent: it runs, fails, is cancelled, keeps budgets, waits for approval, nests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent.patterns.cases import CASES, Case, Kit
from agent.worlds import run, until
from taut.agent import BaseAgent, Budget, Run, RunResult, RunState
from taut.agent import events as ev
from taut.agent.patterns import Chain, Pattern, Router
from taut.agent.patterns.pattern import part
from taut.errors import BudgetExceeded, ModelUnavailable
from taut.llm.messages import assistant, user

TASK = "abc"

every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
with_acts = pytest.mark.parametrize("case", [case for case in CASES if case.acts], ids=lambda case: case.name)


def elsewhere(state: RunState | None) -> RunState:
    """The state as another process has it."""
    assert state is not None
    return RunState.from_bytes(state.to_bytes())


def decided(
    build: Callable[[], BaseAgent[Any]], decide: Callable[[RunState], None], result: RunResult[Any]
) -> tuple[RunResult[Any], list[str]]:
    """Decide and resume with new agents until the run has ended; returns what waited, by path, too."""
    paths = []
    while result.status == "suspended":
        state = elsewhere(result.state)
        assert state.approvals
        paths += [request.path for request in state.approvals]
        decide(state)
        result = run(build().resume(state))
    return result, paths


@every
def test_it_answers(case: Case) -> None:
    kit = case.kit()
    agent = case.build(kit)
    result = run(agent.run(TASK))
    assert (result.status, result.output, result.state) == ("completed", case.output, None)
    assert result.usage.requests == kit.total
    assert result.messages[0] == user(TASK)
    assert result.messages[-1] == assistant(result.text)


@every
def test_it_answers_code_without_an_event_loop(case: Case) -> None:
    assert case.build(case.kit()).run_sync(TASK).output == case.output


@every
def test_its_agents_are_ready_and_stopped_with_it(case: Case) -> None:
    async def work() -> None:
        agent = case.build(case.kit())
        async with agent:
            below = [agent, *agent.members()]
            assert {one.state for one in below} == {"ready"}
            outputs = await asyncio.gather(*(agent.run(TASK) for _ in range(3)))
            assert [one.output for one in outputs] == [case.output] * 3
        assert {one.state for one in below} == {"stopped"}

    run(work())


@every
def test_its_events_say_where_they_are_from(case: Case) -> None:
    async def work() -> list[ev.Event]:
        async with case.build(case.kit()).stream(TASK) as events:
            heard = [event async for event in events]
            assert events.result.output == case.output
        return heard

    heard = run(work())
    root = heard[-1].path
    assert isinstance(heard[-1], ev.Done)
    done = {event.path for event in heard if isinstance(event, ev.Done)}
    assert {path for path in done if not path.endswith("/investigation")} == {root, *case.paths}
    assert all(event.path == root or event.path.startswith(f"{root}/") for event in heard)
    assert {event.path for event in heard if isinstance(event, ev.StepBegan)} == case.paths


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name != "voting"], ids=lambda case: case.name
)
def test_a_failure_ends_it_and_it_can_be_taken_up(case: Case) -> None:
    kit = case.kit("fail")
    with pytest.raises(ModelUnavailable) as caught:
        run(case.build(kit).run(TASK))
    assert caught.value.result.status == "failed"
    state = elsewhere(caught.value.result.state)
    kit.mode = "plain"
    result = run(case.build(kit).resume(state))
    assert result.output == case.output
    assert kit.repeated == []


@pytest.mark.parametrize("case", [case for case in CASES if case.collecting], ids=lambda case: case.name)
def test_where_failures_are_collected_it_goes_on(case: Case) -> None:
    assert case.collecting is not None
    result = run(case.collecting(Kit("fail", case.fails or case.weak)).run(TASK))
    assert (result.status, result.output) == ("completed", case.collected)


@every
def test_cancelled_it_leaves_nothing_running(case: Case) -> None:
    async def work() -> None:
        kit = case.kit("wait")
        agent = case.build(kit)
        running = asyncio.create_task(agent.run(TASK))
        await until(lambda: kit.waiting)
        for _ in range(50):  # whatever else goes on, ends
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert kit.waiting == kit.cancelled
        assert agent.state == "stopped"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(work())


@every
def test_a_stream_that_is_left_ends_it(case: Case) -> None:
    async def work() -> None:
        kit = case.kit("wait")
        async with case.build(kit).stream(TASK) as events:
            async for _ in events:
                if kit.waiting:
                    break
                await asyncio.sleep(0)
        assert kit.waiting == kit.cancelled == 1 or case.acts == 2
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(work())


@every
def test_stopped_by_a_budget_at_any_place_it_goes_on_from_there(case: Case) -> None:
    whole = case.kit()
    run(case.build(whole).run(TASK))
    for calls in range(whole.total):
        kit = case.kit()
        with pytest.raises(BudgetExceeded) as caught:
            run(case.build(kit).run(TASK, budget=Budget(model_calls=calls)))
        partial = caught.value.result
        assert (partial.status, partial.usage.requests, kit.total) == ("failed", calls, calls)
        if calls:
            assert partial.messages
        result = run(case.build(kit).resume(elsewhere(partial.state), budget=Budget(model_calls=1000)))
        assert result.output == case.output
        assert (kit.total, result.usage.requests, kit.repeated) == (whole.total, whole.total, [])


@every
def test_its_own_budget_ends_it(case: Case) -> None:
    class Outer(Pattern[Any]):
        def __init__(self, inner: BaseAgent[Any]) -> None:
            super().__init__("outer")
            self.inner = inner

        def members(self) -> list[BaseAgent[Any]]:
            return [self.inner]

        async def flow(self, run: Run[Any]) -> Any:
            return str(await run.settle(self.inner, run.task))

    agent = case.build(case.kit())
    agent.budget = Budget(model_calls=0)
    assert "model_calls is 0" in run(Outer(agent).run(TASK)).output


@with_acts
def test_approved_elsewhere_it_goes_on_with_nothing_done_twice(case: Case) -> None:
    kit = case.kit("act")
    result = run(case.build(kit).run(TASK))
    assert (result.status, kit.acts) == ("suspended", [])
    result, paths = decided(lambda: case.build(kit), lambda state: state.approve(), result)
    assert (result.status, result.output) == ("completed", case.output)
    assert len(kit.acts) == len(set(kit.acts)) == case.acts == result.tool_calls - (case.name == "swarm")
    assert set(paths) <= case.paths
    assert kit.repeated == []
    assert result.usage.requests == kit.total


@with_acts
def test_rejected_it_goes_on_without(case: Case) -> None:
    kit = case.kit("act")
    result = run(case.build(kit).run(TASK))
    result, paths = decided(lambda: case.build(kit), lambda state: state.reject(reason="no"), result)
    assert (result.status, result.output, kit.acts) == ("completed", case.output, [])
    assert len(kit.refused) == case.acts == len(paths)


@with_acts
def test_an_approver_decides_at_once(case: Case) -> None:
    kit = case.kit("act")
    result = run(case.build(kit).run(TASK, approver=lambda request: True))
    assert (result.output, len(kit.acts)) == (case.output, case.acts)


@with_acts
def test_it_waits_for_approval_within_others(case: Case) -> None:
    kit = case.kit("act")

    def build() -> Chain:
        inner = case.build(kit)
        middle = Router("middle", routes=[inner], choose=lambda text: inner.name)
        return Chain("outer", [kit.agent("before", TASK), middle])

    result, paths = decided(build, lambda state: state.approve(), run(build().run("Go")))
    assert result.text == (case.output if isinstance(case.output, str) else result.text)
    assert set(paths) <= {f"outer/middle/{path}" for path in case.paths}
    assert (len(kit.acts), kit.repeated, kit.by_name["before"]) == (case.acts, [], 1)


@with_acts
def test_others_wait_for_approval_within_it(case: Case) -> None:
    """The weak agents of the tree are patterns in patterns."""

    class Deep(Kit):
        def agent(self, name: str, reply: Any, **options: Any) -> Any:
            inner = super().agent(name, reply, **options)
            if name not in self.weak or name in ("triage", "evaluator"):
                return inner
            middle = Chain(f"{name}_middle", [inner])
            return Router(
                name, routes=[middle], choose=lambda text: f"{name}_middle", description=inner.description
            )

    kit = Deep("act", case.weak)
    result, paths = decided(
        lambda: case.build(kit), lambda state: state.approve(), run(case.build(kit).run(TASK))
    )
    assert result.output == case.output
    for path in paths:
        *above, outer, middle, name = path.split("/")
        assert (outer, middle) == (name, f"{name}_middle")
        assert "/".join([*above, name]) in case.paths
    assert (len(kit.acts), kit.repeated) == (case.acts, [])


class Probe(Pattern[Any]):
    """Keeps what a run below has returned, then waits for approval."""

    def __init__(self, inner: BaseAgent[Any], kit: Kit, seen: list[Any]) -> None:
        super().__init__("probe")
        self.inner, self.seen = inner, seen
        self.waiter = kit.agent("waiter", "over")

    def members(self) -> list[BaseAgent[Any]]:
        return [self.inner, self.waiter]

    async def flow(self, run: Run[Any]) -> Any:
        self.seen.append((await part(run, self.inner, run.task, "inner")).output)
        return (await part(run, self.waiter, "wait", "waiter")).output


@every
def test_what_is_recorded_comes_back_as_it_was(case: Case) -> None:
    kit, seen = Kit("act", {"waiter": ""}), []

    def build() -> Probe:
        return Probe(case.build(kit), kit, seen)

    in_memory = run(build().run(TASK))
    assert in_memory.state is not None
    still = run(build().resume(in_memory.state))
    result, _ = decided(build, lambda state: state.approve(), still)
    assert result.output == "over"
    assert seen == [case.output] * 3
    assert {type(one) for one in seen} == {type(case.output)}
    assert kit.repeated == []
