"""The life of an agent: a table of transitions, counted users, and no task or connection left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.worlds import World, run, until
from taut.agent import Agent, AgentState, BaseAgent, Run, events
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


class Gated:
    """A life whose opening and closing wait for gates, and may fail."""

    def __init__(self, *, open_error: Exception | None = None, close_error: Exception | None = None) -> None:
        self.log: list[str] = []
        self.may_open, self.may_close = asyncio.Event(), asyncio.Event()
        self.open_error, self.close_error = open_error, close_error
        self.life = Lifecycle("a", self.open, self.close)

    async def open(self) -> None:
        self.log.append("opening")
        await self.may_open.wait()
        if self.open_error is not None:
            raise self.open_error
        self.log.append("open")

    async def close(self) -> None:
        self.log.append("closing")
        await self.may_close.wait()
        if self.close_error is not None:
            raise self.close_error
        self.log.append("closed")


class TestChanges:
    """Who comes, leaves and stops while it starts or stops."""

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_those_who_wait_for_a_start_hear_that_it_was_stopped(self, turns: int) -> None:
        async def scenario() -> None:
            gated = Gated()
            gated.may_close.set()
            users = [asyncio.create_task(gated.life.acquire()) for _ in range(2)]
            for _ in range(turns):  # after the first one, the start has not begun yet
                await asyncio.sleep(0)
            await asyncio.gather(gated.life.stop(), gated.life.stop())
            for user in users:
                with pytest.raises(AgentStateError, match="a: the agent was stopped while it started"):
                    await user
            assert (gated.life.state, gated.life.users) == ("stopped", 0)
            gated.may_open.set()
            await gated.life.acquire()
            assert gated.life.state == "ready"
            await gated.life.release()

        run(scenario())

    def test_who_comes_as_the_last_one_leaves_a_start_starts_it_again(self) -> None:
        async def scenario() -> None:
            gated = Gated()
            gated.may_close.set()
            first = asyncio.create_task(gated.life.acquire())
            await until(lambda: gated.log)
            first.cancel()
            await asyncio.sleep(0)
            second = asyncio.create_task(gated.life.acquire())
            gated.may_open.set()
            with pytest.raises(asyncio.CancelledError):
                await first
            await second
            assert gated.log == ["opening", "closing", "closed", "opening", "open"]
            await gated.life.release()

        run(scenario())

    def test_who_comes_while_a_start_that_failed_is_cleaned_up_starts_it_again(self) -> None:
        async def scenario() -> None:
            gated = Gated(open_error=OSError("not yet"))
            gated.may_open.set()
            first = asyncio.create_task(gated.life.acquire())
            await until(lambda: "closing" in gated.log)
            gated.open_error = None
            second = asyncio.create_task(gated.life.acquire())
            stopping = asyncio.create_task(gated.life.stop())
            await asyncio.sleep(0)
            gated.may_close.set()
            with pytest.raises(OSError, match="not yet"):
                await first
            await stopping
            await second
            assert gated.life.state == "ready"
            await gated.life.release()

        run(scenario())

    def test_what_a_start_fails_with_is_told_not_what_its_cleaning_up_fails_with(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def scenario() -> None:
            gated = Gated(open_error=OSError("first"), close_error=OSError("second"))
            gated.may_open.set()
            gated.may_close.set()
            with pytest.raises(OSError, match="first"):
                await gated.life.acquire()
            assert gated.life.state == "stopped"

        run(scenario())
        assert "second" in caplog.text

    def test_a_stop_that_fails_is_told_to_who_stops_and_to_nobody_else(self) -> None:
        async def scenario() -> None:
            gated = Gated(close_error=OSError("no"))
            gated.may_open.set()
            await gated.life.acquire()
            leaving = asyncio.create_task(gated.life.release())
            await until(lambda: "closing" in gated.log)
            following = asyncio.create_task(gated.life.acquire())
            await asyncio.sleep(0)
            gated.may_close.set()
            with pytest.raises(OSError, match="no"):
                await leaving
            await following
            gated.close_error = None
            await gated.life.release()

        run(scenario())

    def test_an_open_that_takes_no_notice_of_its_cancellation_is_closed(self) -> None:
        begun, gate = asyncio.Event(), asyncio.Event()
        log = []

        async def deaf() -> None:
            begun.set()
            try:
                await gate.wait()
            except asyncio.CancelledError:
                log.append("ignored")

        async def close() -> None:
            log.append("closed")

        async def scenario() -> None:
            life = Lifecycle("a", deaf, close)
            entering = asyncio.create_task(life.acquire())
            await begun.wait()
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            assert (life.state, log) == ("stopped", ["ignored", "closed"])

        run(scenario())


class TestOwnModel:
    """A model that the agent has opened itself is closed once no event loop needs it."""

    def build(self, monkeypatch: pytest.MonkeyPatch, *script: Any, **options: Any) -> Agent[Any]:
        monkeypatch.setattr("taut.llm.open.open_model", lambda name: ScriptedModel(*script, cycle=True))
        return Agent("a", model="some:model", **options)

    def test_it_is_closed_with_the_agent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        agent = self.build(monkeypatch, "x")
        assert agent.run_sync("Go").output == "x"
        assert agent.model.closed  # type: ignore[attr-defined]

    def test_it_is_not_closed_under_a_run_in_another_thread(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begun, may_end = threading.Event(), threading.Event()

        def wait() -> str:
            begun.set()
            assert may_end.wait(10)
            return "x"

        agent = self.build(monkeypatch, call("wait"), "x", "y", tools=[wait])
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(agent.run_sync, "Go")
            assert begun.wait(10)
            agent.run_sync("Go")
            assert not agent.model.closed  # type: ignore[attr-defined]
            may_end.set()
            first.result(10)
        assert agent.model.closed  # type: ignore[attr-defined]

    def test_a_server_that_cannot_be_given_back_does_not_keep_it_open(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(supply: Any) -> None:
            raise OSError("no")

        monkeypatch.setattr("taut.agent.supply.ToolSupply.close", fail)
        agent = self.build(monkeypatch, "x")

        async def scenario() -> None:
            with pytest.raises(OSError, match="no"):
                async with agent:
                    pass

        run(scenario())
        assert agent.model.closed  # type: ignore[attr-defined]


#: One who comes, the turns after which he is cancelled (or not), and whether he runs; None: somebody stops it. Then the
#: turns until the next one comes.
visits: st.SearchStrategy[Any] = st.lists(
    st.tuples(
        st.one_of(st.none(), st.tuples(st.one_of(st.none(), st.integers(0, 8)), st.booleans())),
        st.integers(0, 5),
    ),
    max_size=8,
)


@given(visits, st.integers(0, 3), st.integers(0, 3), st.sets(st.integers(0, 4)))
@settings(max_examples=300, deadline=None)
def test_whoever_comes_and_goes_it_is_closed_as_often_as_it_was_opened(
    plan: list[Any], open_turns: int, close_turns: int, failures: set[int]
) -> None:
    """Users come at any time, are cancelled at any time, run or not; it is stopped at any time; starts fail."""
    is_open = False
    starts = 0

    async def open() -> None:
        nonlocal is_open, starts
        assert not is_open
        starts += 1
        is_open = True
        for _ in range(open_turns):
            await asyncio.sleep(0)
        if starts - 1 in failures:
            raise OSError("not this time")

    async def close() -> None:
        nonlocal is_open
        for _ in range(close_turns):
            await asyncio.sleep(0)
        is_open = False

    async def visit(life: Lifecycle, works: bool) -> None:
        await life.acquire()
        try:
            if works:
                task = asyncio.current_task()
                assert task is not None
                token = life.run_began(task)
                try:
                    for _ in range(3):
                        assert is_open
                        await asyncio.sleep(0)
                finally:
                    life.run_ended(token)
        finally:
            await life.release()

    async def scenario() -> None:
        life = Lifecycle("a", open, close)
        tasks, cancels = [], []

        async def cancel(task: asyncio.Task[None], turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()

        for what, turns in plan:
            if what is None:
                tasks.append(asyncio.create_task(life.stop()))
            else:
                tasks.append(asyncio.create_task(visit(life, what[1])))
                if what[0] is not None:
                    cancels.append(asyncio.create_task(cancel(tasks[-1], what[0])))
            for _ in range(turns):
                await asyncio.sleep(0)
        outcomes = await asyncio.gather(*tasks, *cancels, return_exceptions=True)
        for outcome in outcomes:
            assert outcome is None or isinstance(outcome, OSError | AgentStateError | asyncio.CancelledError)
        for _ in range(20):  # what a user who was cancelled has left to the background
            await asyncio.sleep(0)
        assert life.users == 0
        assert life.state in ("created", "stopped")
        assert not is_open

    run(scenario())


class Part(BaseAgent[str]):
    """An agent that says which of its parts have been started and stopped."""

    def __init__(
        self,
        name: str,
        members: Iterable[Part] = (),
        *,
        open_error: Exception | None = None,
        close_error: Exception | None = None,
    ) -> None:
        super().__init__(name)
        self._members = tuple(members)
        self._open_error, self._close_error = open_error, close_error

    def members(self) -> Iterable[Part]:
        return self._members

    async def open(self) -> None:
        if self._open_error is not None:
            raise self._open_error

    async def close(self) -> None:
        if self._close_error is not None:
            raise self._close_error

    async def work(self, run: Run[str]) -> str:
        return "done"


class TestMembers:
    def test_one_that_cannot_be_stopped_keeps_no_other_from_it(self) -> None:
        parts = [Part("a"), Part("b", close_error=OSError("no")), Part("c")]
        whole = Part("whole", parts)

        async def scenario() -> None:
            with pytest.raises(OSError, match="no"):
                async with whole:
                    assert [part.state for part in parts] == ["ready"] * 3
            assert [part.state for part in (*parts, whole)] == ["stopped"] * 4

        run(scenario())

    def test_one_that_cannot_be_started_stops_those_before_it(self) -> None:
        parts = [Part("a"), Part("b", open_error=OSError("no")), Part("c")]
        whole = Part("whole", parts)

        async def scenario() -> None:
            with pytest.raises(OSError, match="no"):
                await whole.run("Go")
            assert [part.state for part in (*parts, whole)] == ["stopped", "stopped", "created", "stopped"]

        run(scenario())

    def test_a_run_that_is_done_is_done_even_if_its_agent_fails_to_stop(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def scenario() -> None:
            assert (await Part("a", close_error=OSError("cannot close")).run("Go")).output == "done"

        run(scenario())
        assert "cannot close" in caplog.text


class TestStop:
    def hanging(self, world: World) -> Agent[Any]:
        return Agent("inner", model=ScriptedModel(call("world__hang")), servers={"world": world.app})

    @pytest.mark.parametrize("stop_first", [True, False])
    def test_who_is_cancelled_as_well_is_cancelled(self, stop_first: bool) -> None:
        world = World()
        one = self.hanging(world)

        async def scenario() -> None:
            going = asyncio.ensure_future(one.run("Go"))
            await until(lambda: "hang" in world.done)
            stopping = asyncio.ensure_future(one.stop())
            if stop_first:
                await until(lambda: one.state == "stopping")
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            await stopping

        run(scenario())

    def test_stopped_along_with_the_one_below_the_one_above_ends(self) -> None:
        world = World()
        inner = self.hanging(world)
        outer = Agent("outer", model=ScriptedModel(call("inner", task="x"), "Done."), tools=[inner])

        async def scenario() -> None:
            going = asyncio.ensure_future(outer.run("Go"))
            await until(lambda: "hang" in world.done)
            await asyncio.gather(inner.stop(), outer.stop())
            with pytest.raises(AgentStateError, match=r"^outer: the agent was stopped"):
                await going

        run(scenario())

    def test_the_one_below_stopped_alone_is_a_failed_call(self) -> None:
        world = World()
        inner = self.hanging(world)
        outer = Agent("outer", model=ScriptedModel(call("inner", task="x"), "Done."), tools=[inner])

        async def scenario() -> None:
            going = asyncio.ensure_future(outer.run("Go"))
            await until(lambda: "hang" in world.done)
            await inner.stop()
            assert (await going).output == "Done."
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

        run(scenario())

    def test_from_inside_a_tool(self) -> None:
        async def halt() -> str:
            await one.stop()
            return "x"

        heard: list[events.Event] = []
        one = Agent("a", model=ScriptedModel(call("halt"), "Done."), tools=[halt])

        async def scenario() -> None:
            with pytest.raises(AgentStateError, match="a: the agent was stopped"):
                await one.run("Go", listener=heard.append)
            assert one.state == "stopped"

        run(scenario())
        assert isinstance(heard[-1], events.Failed)

    def test_a_run_that_comes_while_it_stops_starts_it_again(self) -> None:
        world = World()
        one = Agent("a", model=ScriptedModel(call("world__hang"), "Done."), servers={"world": world.app})

        async def scenario() -> None:
            going = asyncio.ensure_future(one.run("Go"))
            await until(lambda: "hang" in world.done)
            stopping = asyncio.ensure_future(one.stop())
            await until(lambda: one.state == "stopping")
            assert (await one.run("Go")).output == "Done."
            await stopping
            with pytest.raises(AgentStateError):
                await going

        run(scenario())


class Lives(RuleBasedStateMachine):
    """Users that come, go, run and are cancelled, in any order: a model of the counted life."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.opened = self.closed = 0
        self.users = 0
        self.is_stopped = True
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
        self.is_stopped = False

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
        if self.users and self.life.state is AgentState.READY:
            self.is_stopped = False

    @precondition(lambda self: self.users > len(self.runs))
    @rule()
    def release(self) -> None:
        self.do(self.life.release())
        self.users -= 1

    @precondition(lambda self: self.users > len(self.runs) and not self.is_stopped)
    @rule()
    def begin_run(self) -> None:
        async def scenario() -> None:
            task = asyncio.current_task()
            assert task is not None
            self.runs.append(self.life.run_began(task))

        self.do(scenario())

    @precondition(lambda self: self.runs)
    @rule()
    def end_run(self) -> None:
        self.life.run_ended(self.runs.pop())

    @rule(times=st.integers(1, 3), turns=st.integers(0, 4))
    def stop(self, times: int, turns: int) -> None:
        """Those who hold it hold one that is stopped, which the next user starts again."""

        async def scenario() -> None:
            stops = [asyncio.ensure_future(self.life.stop()) for _ in range(times)]
            for _ in range(turns):
                await asyncio.sleep(0)
            while self.runs:
                self.life.run_ended(self.runs.pop())
            await asyncio.gather(*stops)

        self.do(scenario())
        self.is_stopped = True

    @invariant()
    def the_state_says_what_is_so(self) -> None:
        assert self.life.users == self.users
        if self.runs:
            assert self.life.state is AgentState.RUNNING
        elif self.users and not self.is_stopped:
            assert self.life.state is AgentState.READY
        else:
            assert self.life.state in (AgentState.CREATED, AgentState.STOPPED)
        is_open = self.life.state in (AgentState.READY, AgentState.RUNNING)
        assert self.opened >= is_open
        assert self.closed >= self.opened - is_open

    def teardown(self) -> None:
        left = asyncio.all_tasks(self.loop)
        self.loop.close()
        assert not left


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
