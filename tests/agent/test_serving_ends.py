"""How calls and runs end before their time: withdrawn, cancelled as a task, cut off, or with the server."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from agent.desks import ERAS, LEGACY, MODERN, Desk, approve, info, reached, run_of, serving
from agent.worlds import run, until
from taut import Client, TaskOptions
from taut.agent import Agent, AgentState
from taut.agent.serving import RunTable, agent_server
from taut.errors import RemoteError, RequestCancelled, RequestTimeout
from taut.testing import FunctionModel, ScriptedModel, call


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "http"])
def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def only_run(desk: Desk) -> Any:
    (served,) = desk.runs._runs.values()
    return served


class TestWithdrawn:
    def test_a_call_that_is_withdrawn_cancels_the_model(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, era) as client:
                calling = asyncio.ensure_future(client.call_tool("thinker", {"task": "tea"}))
                await desk.thinking("tea")
                calling.cancel()
                await until(lambda: "cancelled tea" in desk.asked)
                with pytest.raises(asyncio.CancelledError):
                    await calling
                await until(lambda: not only_run(desk).running)
                said = await info(client, "run_status", run_id=only_run(desk).id)
                assert (said["status"], said["error"]) == ("cancelled", "The request was withdrawn")
                # What was done is not lost.
                desk.gate.set()
                await info(client, "run_resume", run_id=said["run_id"])
                ended = await info(client, "run_status", run_id=said["run_id"], wait_s=20)
                assert ended["output"] == "thought about tea"

        run(main())

    def test_a_call_that_takes_too_long_for_the_client(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era) as client:
                with pytest.raises(RequestTimeout):
                    await client.call_tool("thinker", {"task": "tea"}, timeout_s=0.05)
                await until(lambda: "cancelled tea" in desk.asked)

        run(main())

    def test_a_client_that_goes_away_takes_its_call_along(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with desk.app.running():
                async with Client(desk.app, mode=era) as client:
                    calling = asyncio.ensure_future(client.call_tool("thinker", {"task": "tea"}))
                    await desk.thinking("tea")
                await until(lambda: only_run(desk).status == "cancelled")
                assert desk.asked == ["tea", "cancelled tea"]
                assert isinstance((await asyncio.gather(calling, return_exceptions=True))[0], Exception)

        run(main())

    def test_a_modern_client_that_hangs_up_takes_its_call_along(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with serving(desk.app) as url:
                async with Client(url, mode=MODERN) as client:
                    calling = asyncio.ensure_future(client.call_tool("thinker", {"task": "tea"}))
                    await desk.thinking("tea")
                await until(lambda: only_run(desk).status == "cancelled")
                assert isinstance((await asyncio.gather(calling, return_exceptions=True))[0], Exception)

        run(main())

    def test_a_question_that_is_withdrawn_leaves_the_run_waiting(self) -> None:
        async def main() -> None:
            desk = Desk()
            shown = asyncio.Event()

            async def never(params: Any) -> Any:
                shown.set()
                await asyncio.Event().wait()

            async with Client(desk.app, mode=LEGACY, elicitation=never) as client:
                calling = asyncio.ensure_future(client.call_tool("clerk", {"task": "Ada"}))
                await shown.wait()
                calling.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await calling
                said = await info(client, "run_status", run_id=only_run(desk).id)
                assert said["status"] == "suspended"
                await info(client, "run_resume", run_id=said["run_id"], approve="all")
                ended = await info(client, "run_status", run_id=said["run_id"], wait_s=20)
                assert ended["output"] == "paid Ada"
                assert desk.done == ["look", "pay Ada"]

        run(main())


class TestTasks:
    def test_a_task_that_is_cancelled_cancels_the_model(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, era) as client:
                task = await client.start_tool("thinker", {"task": "tea"})
                await desk.thinking("tea")
                await task.cancel()
                await until(lambda: only_run(desk).status == "cancelled")
                assert desk.asked == ["tea", "cancelled tea"]
                with pytest.raises((RequestCancelled, RemoteError)):
                    await task.result()

        run(main())

    def test_a_task_whose_time_is_over_takes_its_run_along(self, era: str) -> None:
        async def main() -> None:
            desk = Desk(task=TaskOptions(ttl_s=0.05, poll_s=0.005))
            async with Client(desk.app, mode=era) as client:
                await client.start_tool("thinker", {"task": "tea"})
                await until(lambda: desk.asked[-1:] == ["cancelled tea"])
                await until(lambda: only_run(desk).status == "cancelled")

        run(main())

    def test_calls_are_no_tasks_where_that_is_not_wanted(self, era: str) -> None:
        async def main() -> None:
            desk = Desk(task=None)
            desk.gate.set()
            async with Client(desk.app, mode=era) as client:
                task = await client.start_tool("thinker", {"task": "tea"})
                assert task.id is None
                assert (await task.result()).text == "thought about tea"
            assert desk.app.tasks is None

        run(main())


class TestShutdown:
    def test_runs_end_before_their_agents_do(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app) as client:
                run_id = (await info(client, "run_start", agent="thinker", task="tea"))["run_id"]
                await desk.thinking("tea")
            assert desk.asked == ["tea", "cancelled tea"]
            assert desk.thinker.state is AgentState.STOPPED
            served = only_run(desk)
            assert (served.status, served.outcome.error) == ("failed", "The server was shut down")
            # The server runs again, and so can the run.
            desk.gate.set()
            async with Client(desk.app) as client:
                await info(client, "run_resume", run_id=run_id)
                ended = await info(client, "run_status", run_id=run_id, wait_s=20)
                assert ended["output"] == "thought about tea"

        run(main())

    def test_a_task_ends_with_the_server(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era) as client:
                await client.start_tool("thinker", {"task": "tea"})
                await desk.thinking("tea")
            assert desk.asked == ["tea", "cancelled tea"]
            assert not only_run(desk).running

        run(main())

    def test_a_run_that_was_just_started_ends_as_well(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with desk.app.running():
                served = await desk.runs.start(desk.thinker, "tea", owner="", origin="")
                served.end("Not wanted", final=True)
            assert (served.status, served.outcome.error) == ("cancelled", "Not wanted")
            assert not served.resumable
            assert desk.asked == []

        run(main())

    def test_a_stubborn_run_is_left_behind_with_a_word(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("taut.agent.serving.table.STOP_S", 0.01)
        let_go = asyncio.Event()

        async def stubborn(request: Any) -> str:
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            return "done"

        async def main() -> None:
            table = RunTable()
            agent = Agent("mule", model=FunctionModel(stubborn))
            app = agent_server("desk", agent, runs=table)

            async def serve() -> None:
                async with app.running():
                    await table.start(agent, "go", owner="", origin="")
                    await until(lambda: agent.state is AgentState.RUNNING)

            with caplog.at_level(logging.WARNING, "taut.agent"):
                leaving = asyncio.ensure_future(serve())
                await until(lambda: "left behind" in caplog.text)
            let_go.set()
            await leaving
            await until(lambda: agent.state is AgentState.STOPPED)

        run(main())


def test_an_agent_may_be_used_beside_the_server() -> None:
    """Its life is counted: the end of the server is not the end of who uses it elsewhere."""

    async def main() -> None:
        agent = Agent("a", model=ScriptedModel("one", "two", "three"))
        async with agent:
            async with Client(agent_server("desk", agent)) as client:
                assert (await client.call_tool("a", {"task": "go"})).text == "one"
                assert (await agent.run("go")).output == "two"
            assert agent.state is AgentState.READY
            assert (await agent.run("go")).output == "three"
        assert agent.state is AgentState.STOPPED

    run(main())


class TestAgentsOfAgents:
    """agent -> MCP -> agent"""

    def test_an_agent_uses_the_agents_of_another_server(self) -> None:
        async def main() -> None:
            desk = Desk()
            desk.gate.set()
            model = ScriptedModel(
                [call("desk__thinker", task="tea"), call("desk__weather", task="Oslo")], "both done"
            )
            boss = Agent("boss", model=model, servers={"desk": desk.app})
            lines: list[str] = []

            def hear(event: Any) -> None:
                if type(event).__name__ == "ToolProgress":
                    lines.append(event.message)

            result = await boss.run("do it", listener=hear)
            assert result.output == "both done"
            said = [
                part.text
                for message in result.messages
                for part in message.content
                if hasattr(part, "call_id")
            ]
            assert said == ["thought about tea", '{"city":"Oslo","degrees":4}']
            assert "thinker: thought about tea" in lines

        run(main())

    def test_to_cancel_the_first_cancels_the_model_of_the_last(self) -> None:
        async def main() -> None:
            desk = Desk()
            middle = Agent(
                "middle", model=ScriptedModel(call("desk__thinker", task="tea")), servers={"desk": desk.app}
            )
            app = agent_server("middle", middle)
            boss = Agent("boss", model=ScriptedModel(call("mid__middle", task="do")), servers={"mid": app})
            running = asyncio.ensure_future(boss.run("go"))
            await desk.thinking("tea")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert desk.asked == ["tea", "cancelled tea"]

        run(main())

    def test_an_approval_that_the_client_agent_cannot_give_comes_back_as_a_way_to_go_on(self) -> None:
        """The boss decides with run_resume, as a model would."""

        async def main() -> None:
            desk = Desk()

            def decide(request: Any) -> Any:
                text = request.messages[-1].content[0].content
                run_id = text.split("Run ")[1].split(" ")[0]
                return call("desk__run_resume", run_id=run_id, approve="all")

            def wait(request: Any) -> Any:
                said = msgspec.json.decode(request.messages[-1].content[0].content)
                return call("desk__run_status", run_id=said["run_id"], wait_s=20)

            model = ScriptedModel(call("desk__clerk", task="Ada"), decide, wait, "paid, at last")
            boss = Agent("boss", model=model, servers={"desk": desk.app})
            assert (await boss.run("pay Ada")).output == "paid, at last"
            assert desk.done == ["look", "pay Ada"]

        run(main())


def test_a_run_of_a_result_is_the_one_that_is_listed() -> None:
    async def main() -> None:
        desk = Desk()
        async with Client(desk.app, elicitation=approve) as client:
            result = await client.call_tool("clerk", {"task": "Ada"})
            (listed,) = (await info(client, "run_list"))["runs"]
            assert listed["run_id"] == run_of(result)

    run(main())
