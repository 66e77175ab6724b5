"""The life of an agent: a table of transitions, counted users, and no task or connection left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.worlds import World, run, until
from taut.agent import Agent, AgentState
from taut.agent.lifecycle import TRANSITIONS, Lifecycle
from taut.errors import AgentStateError
from taut.testing import ScriptedModel, call


def test_the_table_has_every_state_and_only_those() -> None:
    assert set(TRANSITIONS) == set(AgentState)
    assert set().union(*TRANSITIONS.values()) == set(AgentState) - {AgentState.CREATED}


class TestAgent:
    def test_it_goes_through_its_states(self) -> None:
        seen = []

        def look(n: int) -> int:
            seen.append(str(one.state))
            return n

        one = Agent("a", model=ScriptedModel(call("look", n=1), "Done."), tools=[look])

        async def scenario() -> None:
            seen.append(str(one.state))
            async with one:
                seen.append(str(one.state))
                await one.run("Go")
                seen.append(str(one.state))
            seen.append(str(one.state))

        run(scenario())
        assert seen == ["created", "ready", "running", "ready", "stopped"]

    def test_a_run_alone_starts_and_stops_it_and_it_may_be_started_again(self) -> None:
        one = Agent("a", model=ScriptedModel("x", cycle=True))

        async def scenario() -> None:
            for _ in range(3):
                await one.run("Go")
                assert one.state == "stopped"

        run(scenario())

    def test_many_runs_at_once_share_one_life(self) -> None:
        world = World()
        one = Agent("a", model=ScriptedModel("x", cycle=True), servers={"world": world.app})

        async def scenario() -> None:
            await asyncio.gather(*(one.run(f"Go {n}") for n in range(50)))
            assert one.state == "stopped"

        run(scenario())

    def test_stopped_its_runs_end_with_an_error_that_says_so(self) -> None:
        world = World()
        one = Agent("a", model=ScriptedModel(call("world__hang")), servers={"world": world.app})

        async def scenario() -> None:
            going = asyncio.ensure_future(one.run("Go"))
            await until(lambda: "hang" in world.done)
            await one.stop()
            assert one.state == "stopped"
            with pytest.raises(AgentStateError, match="a: the agent was stopped"):
                await going
            await one.stop()

        run(scenario())
        assert world.done == ["hang", "cancelled"]

    def test_one_that_cannot_start_says_why_and_may_start_later(self) -> None:
        class Reluctant(Agent[Any]):
            failures = 1

            async def open(self) -> None:
                if self.failures:
                    self.failures -= 1
                    raise OSError("not yet")
                await super().open()

        one = Reluctant("a", model=ScriptedModel("x"))

        async def scenario() -> None:
            with pytest.raises(OSError, match="not yet"):
                await one.run("Go")
            assert one.state == "stopped"
            assert (await one.run("Go")).output == "x"

        run(scenario())

    def test_cancelled_while_it_starts_it_stops(self) -> None:
        opened = asyncio.Event()

        class Slow(Agent[Any]):
            async def open(self) -> None:
                await opened.wait()

        one = Slow("a", model=ScriptedModel("x"))

        async def scenario() -> None:
            entering = asyncio.ensure_future(one.run("Go"))
            await until(lambda: one.state == "starting")
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            assert one.state == "stopped"

        run(scenario())

    def test_one_user_who_is_cancelled_takes_no_other_along(self) -> None:
        opened = asyncio.Event()

        class Slow(Agent[Any]):
            async def open(self) -> None:
                await opened.wait()
                await super().open()

        one = Slow("a", model=ScriptedModel("x"))

        async def scenario() -> None:
            first, second = (asyncio.ensure_future(one.run("Go")) for _ in range(2))
            await until(lambda: one.state == "starting")
            first.cancel()
            await asyncio.wait([first])
            opened.set()
            assert (await second).output == "x"

        run(scenario())


class Lives(RuleBasedStateMachine):
    """Users that come, go, run and are cancelled, in any order: a model of the counted life."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.opened = self.closed = 0
        self.users = 0
        self.runs: list[asyncio.Future[None]] = []
        self.life = Lifecycle("a", self.open, self.close)

    async def open(self) -> None:
        await asyncio.sleep(0)
        self.opened += 1

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    @rule()
    def acquire(self) -> None:
        self.do(self.life.acquire())
        self.users += 1

    @rule(turns=st.integers(0, 4))
    def acquire_and_be_cancelled(self, turns: int) -> None:
        async def scenario() -> bool:
            task = asyncio.ensure_future(self.life.acquire())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            return not task.cancelled() and task.exception() is None

        if self.do(scenario()):
            self.users += 1

    @precondition(lambda self: self.users > len(self.runs))
    @rule()
    def release(self) -> None:
        self.do(self.life.release())
        self.users -= 1

    @precondition(lambda self: self.users > len(self.runs))
    @rule()
    def begin_run(self) -> None:
        async def scenario() -> None:
            self.runs.append(self.life.run_began())

        self.do(scenario())

    @precondition(lambda self: self.runs)
    @rule()
    def end_run(self) -> None:
        self.life.run_ended(self.runs.pop())

    @invariant()
    def the_state_says_what_is_so(self) -> None:
        assert self.life.users == self.users
        if self.runs:
            assert self.life.state is AgentState.RUNNING
        elif self.users:
            assert self.life.state is AgentState.READY
        else:
            assert self.life.state in (AgentState.CREATED, AgentState.STOPPED)
        assert self.opened >= (1 if self.users else 0)
        assert self.closed >= self.opened - (1 if self.users else 0)

    def teardown(self) -> None:
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        assert not left


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
