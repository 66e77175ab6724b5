"""Runs that nobody waits for: started, looked at, taken up, ended; who may, how many, for how long."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

import pytest

from agent.desks import ERAS, LEGACY, MODERN, Clock, Desk, info, reached, read, run_of, serving
from agent.worlds import run, until
from taut import Client, ToolError, models
from taut.agent import Agent, Budget, Decision
from taut.agent.serving import RunTable, agent_server
from taut.client.settings import HttpSettings
from taut.errors import InvalidParams, ModelUnavailable, RemoteError
from taut.testing import ScriptedModel, call


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["memory", "http"])
def over(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def started(client: Client, agent: str = "thinker", task: str = "tea") -> str:
    said = await info(client, "run_start", agent=agent, task=task)
    assert said["status"] == "running"
    return str(said["run_id"])


async def ended(client: Client, run_id: str) -> dict[str, Any]:
    return await info(client, "run_status", run_id=run_id, wait_s=20)


class TestLife:
    def test_a_run_goes_on_by_itself(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, era) as client:
                run_id = await started(client)
                await desk.thinking("tea")
                going = await info(client, "run_status", run_id=run_id)
                assert (going["status"], going["path"], going["step"]) == ("running", "thinker", 1)
                assert going["message"] == "thinker: step 1"
                desk.gate.set()
                done = await ended(client, run_id)
                assert (done["status"], done["output"]) == ("completed", "thought about tea")
                assert done["usage"]["requests"] == 1
                assert "path" not in done

        run(main())

    def test_who_waits_hears_how_it_goes(self, era: str) -> None:
        said: list[str] = []

        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era) as client:
                run_id = await started(client)
                await desk.thinking("tea")
                waiting = asyncio.ensure_future(
                    client.call_tool(
                        "run_status",
                        {"run_id": run_id, "wait_s": 20},
                        on_progress=lambda progress: said.append(str(progress.message)),
                    )
                )
                served = next(iter(desk.runs._runs.values()))
                await until(lambda: served._followers)
                desk.gate.set()
                assert (await waiting).structured_content["status"] == "completed"  # type: ignore[index]

        run(main())
        assert said == ["thinker: thought about tea", "thinker: completed"]

    def test_waiting_has_an_end(self) -> None:
        async def main() -> None:
            desk = Desk(runs=RunTable(max_wait_s=0.01))
            async with Client(desk.app) as client:
                run_id = await started(client)
                for wait_s in (1e9, 0, -1):
                    said = await info(client, "run_status", run_id=run_id, wait_s=wait_s)
                    assert said["status"] == "running"

        run(main())

    def test_a_run_that_is_cancelled_has_its_model_call_cancelled(self, era: str, over: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with reached(desk.app, over, era) as client:
                run_id = await started(client)
                await desk.thinking("tea")
                said = await info(client, "run_cancel", run_id=run_id)
                assert (said["status"], said["error"]) == ("cancelled", "Cancelled by request")
                assert desk.asked == ["tea", "cancelled tea"]
                assert await info(client, "run_cancel", run_id=run_id) == said
                with pytest.raises(ToolError, match="one that is cancelled"):
                    await info(client, "run_resume", run_id=run_id)

        run(main())

    def test_a_run_that_waits_can_be_cancelled(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app) as client:
                run_id = await started(client, "clerk", "Ada")
                assert (await ended(client, run_id))["status"] == "suspended"
                said = await info(client, "run_cancel", run_id=run_id)
                assert said["status"] == "cancelled"
                assert "approvals" not in said

        run(main())

    def test_runs_go_on_side_by_side(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app) as client:
                ids = [await started(client, task=str(number)) for number in range(20)]
                await until(lambda: len(desk.asked) == 20)
                desk.gate.set()
                outputs = [one["output"] for one in [await ended(client, run_id) for run_id in ids]]
                assert outputs == [f"thought about {number}" for number in range(20)]
                listed = (await info(client, "run_list"))["runs"]
                assert {one["run_id"] for one in listed} == set(ids)

        run(main())

    def test_a_run_outlives_the_connection_that_started_it(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with serving(desk.app) as url:
                async with Client(url, mode=MODERN) as client:
                    run_id = await started(client)
                    await desk.thinking("tea")
                desk.gate.set()
                async with Client(url, mode=LEGACY) as client:
                    assert (await ended(client, run_id))["output"] == "thought about tea"

        run(main())


class TestResuming:
    def test_a_run_that_has_failed_goes_on_where_it_failed(self) -> None:
        done: list[str] = []

        def work() -> str:
            """Work."""
            done.append("work")
            return "worked"

        async def main() -> None:
            model = ScriptedModel(call("work"), ModelUnavailable("busy"), "at last")
            app = agent_server("desk", Agent("a", model=model, tools=[work]))
            async with Client(app) as client:
                result = await client.call_tool("a", {"task": "go"})
                assert result.is_error is True
                failed = await info(client, "run_status", run_id=run_of(result))
                assert (failed["status"], failed["resumable"]) == ("failed", True)
                await info(client, "run_resume", run_id=run_of(result))
                assert (await ended(client, run_of(result)))["output"] == "at last"
                assert done == ["work"]

        run(main())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({}, "Expected a decision about one of approval:.:2.0, approval:.:2.1, got none"),
            (
                {"approve": "all", "reject": "approval:.:2.0"},
                "Expected one decision about each call, got two about approval:.:2.0",
            ),
            (
                {"approve": ["x", "approval:.:2.0"]},
                "Expected calls that wait for approval (approval:.:2.0, approval:.:2.1), got x",
            ),
            (
                {"approve": "all", "arguments": {"to": "Eve"}},
                "Expected one call to approve, which gets these arguments, got 2",
            ),
            (
                {"reject": "all", "arguments": {"to": "Eve"}},
                "Expected one call to approve, which gets these arguments, got 0",
            ),
        ],
    )
    def test_decisions_that_make_no_sense_change_nothing(self, arguments: Any, said: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app) as client:
                run_id = await started(client, "clerk", "Ada, Bob")
                waiting = await ended(client, run_id)
                result = await client.call_tool("run_resume", {"run_id": run_id, **arguments})
                assert (result.is_error, result.text) == (True, said)
                assert await info(client, "run_status", run_id=run_id) == waiting
                assert desk.done == ["look"]

        run(main())

    def test_one_decision_of_two_does_what_was_decided(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app) as client:
                run_id = await started(client, "clerk", "Ada, Bob")
                first, second = (await ended(client, run_id))["approvals"]
                await info(client, "run_resume", run_id=run_id, approve=first["id"])
                waiting = await ended(client, run_id)
                assert (waiting["status"], waiting["approvals"]) == ("suspended", [second])
                assert desk.done == ["look", "pay Ada"]
                await info(client, "run_resume", run_id=run_id, approve=["all"])
                assert (await ended(client, run_id))["output"] == "paid Ada; paid Bob"
                assert desk.done == ["look", "pay Ada", "pay Bob"]

        run(main())

    def test_a_run_can_be_taken_up_in_the_turn_in_which_it_was_suspended(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            desk = Desk()
            async with desk.app.running():
                served = await desk.runs.start(desk.clerk, "Ada", owner="", origin="")
                await until(lambda: served.status == "suspended")
                (waiting,) = served.outcome.approvals
                settled: list[str] = []
                settle = served.settle
                monkeypatch.setattr(
                    served, "settle", lambda outcome: (settled.append(outcome.status), settle(outcome))
                )
                desk.runs.resume(served, {waiting.id: Decision(True)})
                await served.wait()
                assert served.outcome.text == "paid Ada"
                assert settled == ["completed"]  # and the end of the first part settles nothing

        run(main())

    def test_a_run_that_goes_on_cannot_be_taken_up(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app) as client:
                run_id = await started(client)
                with pytest.raises(ToolError, match="one that is running"):
                    await info(client, "run_resume", run_id=run_id)

        run(main())

    def test_a_budget_that_is_used_up_is_so_again(self) -> None:
        async def main() -> None:
            model = ScriptedModel(call("work"), "never")
            agent = Agent("a", model=model, tools=[work], budget=Budget(model_calls=1))
            async with Client(agent_server("desk", agent)) as client:
                result = await client.call_tool("a", {"task": "go"})
                await info(client, "run_resume", run_id=run_of(result))
                failed = await ended(client, run_of(result))
                assert failed["error"] == "Budget exceeded by a: model_calls is 1, got 1"
                assert model.asked == 1

        run(main())


def work() -> str:
    """Work."""
    return "worked"


class TestCalls:
    """A call has a key, where an agent makes it: sent again, it is the same call."""

    @staticmethod
    async def call(client: Client, key: str, task: str = "tea") -> models.CallToolResult:
        meta = {"dev.taut/idempotency-key": key}
        return await client.call_tool("thinker", {"task": task}, meta=meta)

    def test_a_call_that_is_sent_again_gets_the_run_that_it_started(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            desk.gate.set()
            async with Client(desk.app, mode=era) as client:
                first, second = await self.call(client, "k"), await self.call(client, "k")
                assert run_of(first) == run_of(second)
                assert run_of(await self.call(client, "other")) != run_of(first)
                assert run_of(await self.call(client, "k", "coffee")) != run_of(first)
                assert desk.asked == ["tea", "tea", "coffee"]

        run(main())

    def test_one_that_was_withdrawn_goes_on_where_it_was(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()
            async with Client(desk.app, mode=era) as client:
                calling = asyncio.ensure_future(self.call(client, "k"))
                await desk.thinking("tea")
                calling.cancel()
                await until(lambda: "cancelled tea" in desk.asked)
                desk.gate.set()
                result = await self.call(client, "k")
                assert result.text == "thought about tea"
                assert len(desk.runs) == 1

        run(main())


class TestLimits:
    def test_too_many_runs_are_refused_until_one_has_ended(self) -> None:
        async def main() -> None:
            desk = Desk(runs=RunTable(max_runs=2))
            async with Client(desk.app) as client:
                first = await started(client, task="1")
                await started(client, "clerk", "Ada")
                await until(lambda: desk.done == ["look"])
                await until(lambda: [one.status for one in desk.runs._runs.values()].count("suspended"))
                for tool in ("run_start", "thinker"):
                    arguments = {"task": "3"} | ({"agent": "thinker"} if tool == "run_start" else {})
                    result = await client.call_tool(tool, arguments)
                    assert result.is_error is True
                    assert result.text.startswith("Limit exceeded: max_runs is 2")
                await info(client, "run_cancel", run_id=first)
                third = await started(client, task="3")
                assert len(desk.runs) == 2
                with pytest.raises(ToolError, match="No such run"):
                    await info(client, "run_status", run_id=first)
                assert (await info(client, "run_status", run_id=third))["status"] == "running"

        run(main())

    def test_one_client_leaves_room_for_others(self) -> None:
        async def main() -> None:
            desk = Desk(runs=RunTable(max_per_owner=1))
            async with Client(desk.app) as greedy, Client(desk.app) as modest:
                await started(greedy, task="1")
                with pytest.raises(ToolError, match="max_per_owner is 1"):
                    await started(greedy, task="2")
                await started(modest, task="3")

        run(main())

    def test_runs_are_forgotten_after_their_time(self) -> None:
        async def main() -> None:
            clock = Clock()
            desk = Desk(runs=RunTable(keep_s=60, clock=clock))
            async with Client(desk.app) as client:
                going = await started(client, task="going")
                waiting = await started(client, "clerk", "Ada")
                await ended(client, waiting)
                clock.now += 60
                assert (await info(client, "run_status", run_id=waiting))["status"] == "suspended"
                clock.now += 1
                with pytest.raises(ToolError, match="No such run"):
                    await info(client, "run_status", run_id=waiting)
                (listed,) = (await info(client, "run_list"))["runs"]
                assert listed["run_id"] == going
                assert len(desk.runs) == 1

        run(main())

    def test_the_times_are_those_of_the_clock(self) -> None:
        async def main() -> None:
            clock = Clock()
            desk = Desk(runs=RunTable(clock=clock))
            async with Client(desk.app) as client:
                run_id = await started(client)
                await desk.thinking("tea")
                clock.now += 1.5
                desk.gate.set()
                said = await ended(client, run_id)
                assert said["created"] == "2027-01-15T08:00:00Z"
                assert said["updated"] == "2027-01-15T08:00:01.500000Z"

        run(main())

    def test_the_last_events_are_kept(self) -> None:
        async def main() -> None:
            desk = Desk(runs=RunTable(max_events=2))
            desk.gate.set()
            async with Client(desk.app) as client:
                result = await client.call_tool("thinker", {"task": "tea"})
                shown = await read(client, f"run://{run_of(result)}/events")
                assert [one["event"] for one in shown["events"]] == ["usage", "done"]
                assert shown["before"] == 2

        run(main())


class TestOwners:
    """Over HTTP, with clients that are authenticated: for everybody else a run does not exist."""

    def test_a_run_is_its_owners(self, era: str) -> None:
        async def main() -> None:
            desk = Desk()

            def client_of(name: str) -> Client:
                settings = HttpSettings(headers={"authorization": f"Bearer {name}"})
                return Client(url, mode=era, http=settings)

            async with serving(desk.app, auth=True) as url, client_of("ada") as ada, client_of("bob") as bob:
                run_id = await started(ada, "clerk", "Eve")
                waiting = await ended(ada, run_id)
                assert waiting["status"] == "suspended"
                for tool in ("run_status", "run_resume", "run_cancel"):
                    for unknown in (run_id, "0" * 32):
                        result = await bob.call_tool(tool, {"run_id": unknown})
                        assert (result.is_error, result.text) == (True, f"No such run: {unknown}")
                for uri in (f"run://{run_id}", f"run://{run_id}/messages", f"run://{run_id}/events"):
                    assert await read(ada, uri)
                    with pytest.raises(RemoteError, match=f"Resource not found: {uri}"):
                        await bob.read_resource(uri)
                assert (await info(bob, "run_list"))["runs"] == []
                (listed,) = (await info(ada, "run_list"))["runs"]
                assert listed == waiting
                # Another connection of the same principal may.
                async with client_of("ada") as again:
                    await info(again, "run_resume", run_id=run_id, approve="all")
                    assert (await ended(again, run_id))["output"] == "paid Eve"

        run(main())

    def test_the_run_behind_a_question_is_its_owners(self) -> None:
        async def main() -> None:
            desk = Desk()

            async def asked(client: Client, **more: Any) -> Any:
                params = models.CallToolParams(name="clerk", arguments={"task": "Eve"}, **more)
                return await client.request("tools/call", params)

            def client_of(name: str) -> Client:
                settings = HttpSettings(headers={"authorization": f"Bearer {name}"})
                return Client(url, mode=MODERN, http=settings, elicitation=lambda params: None)

            async with serving(desk.app, auth=True) as url, client_of("ada") as ada, client_of("bob") as bob:
                of_ada, of_bob = await asked(ada), await asked(bob)
                (key,) = of_ada.input_requests
                answers = {key: models.ElicitResult(action="accept", content={"approve": True})}
                with pytest.raises(InvalidParams):  # the state is sealed for its principal
                    await asked(bob, input_responses=answers, request_state=of_ada.request_state)
                result = await asked(bob, input_responses=answers, request_state=of_bob.request_state)
                assert result.content[0].text.startswith("No such run")
                assert desk.done == ["look", "look"]

        run(main())

    def test_sessions_of_two_clients_are_two_conversations(self) -> None:
        async def main() -> None:
            from taut.agent.state import MemoryConversationStore
            from taut.testing import FunctionModel

            store = MemoryConversationStore()
            model = FunctionModel(lambda request: f"{len(request.messages)} messages")
            app = agent_server("desk", Agent("talker", model=model, memory=store))

            async def say(name: str, session: str) -> str:
                settings = HttpSettings(headers={"authorization": f"Bearer {name}"})
                async with Client(url, http=settings) as client:
                    result = await client.call_tool("talker", {"task": "hi", "session": session})
                    return result.text

            async with serving(app, auth=True) as url:
                assert await say("ada", "main") == "1 messages"
                assert await say("bob", "main") == "1 messages"
                assert await say("ada", "main") == "3 messages"
                # No session of one is that of another by a trick of names.
                assert await say("a", "b/c") == "1 messages"
                assert await say("a%2Fb", "c") == "1 messages"
                assert await say("a/b", "c") == "1 messages"

        run(main())

    def test_whoever_is_nobody_lists_nothing(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with serving(desk.app) as url, Client(url, mode=MODERN) as client:
                await started(client)
                with pytest.raises(ToolError, match="whose runs are meant"):
                    await info(client, "run_list")

        run(main())

    def test_a_session_lists_its_own(self) -> None:
        async def main() -> None:
            desk = Desk()
            async with (
                serving(desk.app) as url,
                Client(url, mode=LEGACY) as one,
                Client(url, mode=LEGACY) as other,
            ):
                run_id = await started(one)
                assert [run["run_id"] for run in (await info(one, "run_list"))["runs"]] == [run_id]
                assert (await info(other, "run_list"))["runs"] == []

        run(main())


@pytest.mark.soak
def test_two_thousand_runs_take_no_memory() -> None:
    async def main() -> None:
        desk = Desk(runs=RunTable(max_runs=20, max_per_owner=20))
        desk.gate.set()
        async with Client(desk.app) as client:

            async def some(count: int) -> None:
                for _ in range(count):
                    await client.call_tool("thinker", {"task": "tea"})
                    desk.asked.clear()

            tracemalloc.start()
            try:
                await some(200)  # what keeps the last of something is full
                gc.collect()
                before = tracemalloc.get_traced_memory()[0]
                await some(1_800)
                gc.collect()
                grown = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            assert len(desk.runs) == 20
            assert grown < 50_000, grown  # 28 bytes a run

    run(main())
