"""The class of bugs that tasks, scopes and threads make in agent libraries: it must be impossible here.

Connect in one task and close in another, cancel while connecting, agents inside agents, agents in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent.worlds import World, run, until
from taut.agent import Agent, events
from taut.client.pool import ServerPool
from taut.testing import ScriptedModel, call

pytestmark = pytest.mark.processes

NOTES = Path(__file__).resolve().parents[2] / "examples" / "server.py"
SERVER = [sys.executable, str(NOTES)]
SILENT = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def adder(name: str = "a", server: Any = None, **options: Any) -> Agent[Any]:
    script = (call("s__add", a=1, b=2), "Done.")
    return Agent(name, model=ScriptedModel(*script, cycle=True), servers={"s": server or SERVER}, **options)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Any:
    before = {child.pid for child in children()}
    yield
    left = [child for child in children() if child.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert alive == []


def test_entered_in_one_task_and_left_in_another() -> None:
    async def scenario() -> None:
        agent = adder()
        await asyncio.create_task(agent.__aenter__())
        assert (await asyncio.create_task(agent.run("Go"))).output == "Done."
        await asyncio.create_task(agent.__aexit__(None, None, None))
        assert agent.state == "stopped"

    run(scenario())


def test_the_task_that_started_the_server_may_end_before_others_use_it() -> None:
    async def scenario() -> None:
        agent = adder()
        async with agent:
            first = asyncio.create_task(agent.run("Go"))
            await first
            results = await asyncio.gather(*(asyncio.create_task(agent.run("Go")) for _ in range(5)))
            assert all(result.output == "Done." for result in results)

    run(scenario())


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
def test_cancelled_while_it_connects(turns: int) -> None:
    async def scenario() -> None:
        agent = adder(server=SILENT)
        going = asyncio.create_task(agent.run("Go"))
        for _ in range(turns):
            await asyncio.sleep(0)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert agent.state in ("created", "stopped")

    run(scenario())


@pytest.mark.parametrize("count", range(8))
def test_cancelled_at_each_event_of_a_run_with_a_child_process(count: int) -> None:
    async def scenario() -> None:
        agent = adder()
        left = count

        def hear(event: events.Event) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                going.cancel()

        going = asyncio.create_task(agent.run("Go", listener=hear))
        with contextlib.suppress(asyncio.CancelledError):
            await going
        assert going.cancelled() == (left < 0)
        await until(lambda: agent.state == "stopped" and not children())
        assert (await agent.run("Go")).output == "Done."

    run(scenario())


def test_a_timeout_around_a_run_is_a_timeout_and_nothing_else() -> None:
    async def scenario() -> None:
        agent = adder(server=SILENT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await agent.run("Go")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run(scenario())


def test_agents_inside_agents_share_a_server_and_end_in_any_order() -> None:
    async def scenario(order: tuple[int, ...]) -> None:
        pool = ServerPool({"s": SERVER})
        script = (call("s__add", a=1, b=2), "Done.")
        agents = [
            Agent(f"a{n}", model=ScriptedModel(*script, cycle=True), servers=["s"], pool=pool)
            for n in range(3)
        ]
        for agent in agents:
            await agent.__aenter__()
            await agent.run("Go")
        assert len(children()) == 1
        for place in order:
            assert (await agents[place].run("Go")).output == "Done."
            await agents[place].__aexit__(None, None, None)
        await pool.close()

    for order in itertools.permutations(range(3)):
        run(scenario(order))


def test_an_agent_as_the_tool_of_an_agent_as_the_tool_of_an_agent() -> None:
    async def scenario() -> None:
        inner = adder("inner")
        middle = Agent("middle", model=ScriptedModel(call("inner", task="x"), "Done."), tools=[inner])
        outer = Agent("outer", model=ScriptedModel(call("middle", task="x"), "Done."), tools=[middle])
        assert (await outer.run("Go")).output == "Done."
        assert (inner.state, middle.state, outer.state) == ("stopped", "stopped", "stopped")

    run(scenario())


def test_cancelled_deep_inside_all_of_it_ends() -> None:
    async def scenario() -> None:
        world = World()
        inner = Agent("inner", model=ScriptedModel(call("world__hang")), servers={"world": world.app})
        calls = [call("inner", task="x"), call("inner", task="y")]
        outer = Agent("outer", model=ScriptedModel(calls), tools=[inner])
        inner.model = ScriptedModel(call("world__hang"), cycle=True)
        going = asyncio.create_task(outer.run("Go"))
        await until(lambda: world.done.count("hang") == 2)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert world.done.count("cancelled") == 2

    run(scenario())


def test_one_agent_in_many_threads() -> None:
    agent = adder()
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda _: agent.run_sync("Go").output, range(8)))
    assert results == ["Done."] * 8


def test_one_agent_in_a_loop_and_in_threads_at_once() -> None:
    agent = Agent("a", model=ScriptedModel("x", cycle=True))
    begun = threading.Barrier(3)

    def in_thread() -> Any:
        begun.wait()
        return agent.run_sync("Go").output

    async def scenario() -> None:
        async with agent:
            loop = asyncio.get_running_loop()
            others = [loop.run_in_executor(None, in_thread) for _ in range(2)]
            await loop.run_in_executor(None, begun.wait)
            assert (await agent.run("Go")).output == "x"
            assert await asyncio.gather(*others) == ["x", "x"]
        await loop.shutdown_default_executor()

    run(scenario())


def test_a_server_that_dies_between_runs_is_started_again() -> None:
    async def scenario() -> None:
        agent = adder()
        async with agent:
            await agent.run("Go")
            (child,) = children()
            child.kill()
            child.wait(10)
            assert (await agent.run("Go")).output == "Done."

    run(scenario())
