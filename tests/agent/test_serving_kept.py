"""Runs that are kept: they survive the process, are found by their owners only, and are taken up once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.desks import Clock, Desk, approve, info, read, run_of, serving
from agent.worlds import run
from taut import Client, ToolError, models
from taut.agent import Agent
from taut.agent.serving import RunTable, agent_server
from taut.agent.state import MemoryCheckpointStore, SQLiteCheckpointStore
from taut.client.settings import HttpSettings
from taut.mcp.sealing import new_sealer
from taut.testing import EchoModel

Open = Callable[[], Any]


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the store: as another process would, where it is a file."""
    if request.param == "memory":
        kept = MemoryCheckpointStore()
        return lambda: kept
    return lambda: SQLiteCheckpointStore(tmp_path / "runs.db")


def desk_of(store: Open, **options: Any) -> Desk:
    """The same desk, in a process of its own."""
    return Desk(runs=RunTable(checkpoints=store(), **options))


async def waiting(client: Client, task: str = "Ada") -> str:
    """Start a run, and wait until it waits itself; returns its id."""
    run_id = (await info(client, "run_start", agent="clerk", task=task))["run_id"]
    assert (await info(client, "run_status", run_id=run_id, wait_s=20))["status"] == "suspended"
    return str(run_id)


class TestRestart:
    def test_a_run_that_waits_goes_on_in_another_process(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store)
            async with Client(first.app) as client:
                run_id = await waiting(client)
                before = await info(client, "run_status", run_id=run_id)
            async with Client(second.app) as client:
                assert await info(client, "run_status", run_id=run_id) == before
                await info(client, "run_resume", run_id=run_id, approve="all")
                ended = await info(client, "run_status", run_id=run_id, wait_s=20)
                assert (ended["status"], ended["output"]) == ("completed", "paid Ada")
            assert (first.done, second.done) == (["look"], ["pay Ada"])
            assert (len(first.asked), len(second.asked)) == (2, 1)

        run(main())

    def test_a_run_that_has_ended_is_shown_as_it_was(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store)
            async with Client(first.app) as client:
                result = await client.call_tool("weather", {"task": "Oslo"})
                run_id = run_of(result)
                messages = await read(client, f"run://{run_id}/messages")
                before = await info(client, "run_status", run_id=run_id)
            async with Client(second.app) as client:
                after = await info(client, "run_status", run_id=run_id)
                assert after == before
                assert after["output"] == {"city": "Oslo", "degrees": 4}
                assert await read(client, f"run://{run_id}/messages") == messages
                assert await read(client, f"run://{run_id}/events") == {"before": 0, "events": []}

        run(main())

    def test_a_run_that_the_end_of_its_server_interrupts_goes_on_later(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store)
            async with Client(first.app) as client:
                run_id = (await info(client, "run_start", agent="thinker", task="tea"))["run_id"]
                await first.thinking("tea")
            second.gate.set()
            async with Client(second.app) as client:
                said = await info(client, "run_status", run_id=run_id)
                assert (said["status"], said["error"]) == ("failed", "The server was shut down")
                assert said["resumable"] is True
                await info(client, "run_resume", run_id=run_id)
                ended = await info(client, "run_status", run_id=run_id, wait_s=20)
                assert ended["output"] == "thought about tea"

        run(main())

    def test_a_run_that_was_cancelled_stays_so(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store)
            async with Client(first.app) as client:
                run_id = await waiting(client)
                await info(client, "run_cancel", run_id=run_id)
            async with Client(second.app) as client:
                said = await info(client, "run_status", run_id=run_id)
                assert (said["status"], said.get("resumable")) == ("cancelled", None)

        run(main())

    def test_a_run_of_an_agent_that_is_gone_is_not_there(self, store: Open) -> None:
        async def main() -> None:
            async with Client(desk_of(store).app) as client:
                run_id = await waiting(client)
            other = agent_server(
                "desk", Agent("other", model=EchoModel()), runs=RunTable(checkpoints=store())
            )
            async with Client(other) as client:
                with pytest.raises(ToolError, match="No such run"):
                    await info(client, "run_status", run_id=run_id)

        run(main())


class TestTwoProcesses:
    def test_one_of_two_takes_a_run_up(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store)
            async with Client(first.app) as one, Client(second.app) as other:
                run_id = await waiting(one)
                await info(other, "run_status", run_id=run_id)  # it knows the run by now
                for client in (one, other):
                    await info(client, "run_resume", run_id=run_id, approve="all")
                # Whoever was too late shows what the other one makes of it.
                for client in (one, other):
                    said = await info(client, "run_status", run_id=run_id, wait_s=20)
                    while said["status"] == "running":
                        said = await info(client, "run_status", run_id=run_id, wait_s=20)
                    assert (said["status"], said["output"]) == ("completed", "paid Ada")
                assert first.done + second.done == ["look", "pay Ada"]

        run(main())

    def test_the_answer_to_a_question_may_come_to_another_process(self, store: Open) -> None:
        """The modern era: the state of the rounds is sealed with a key that both have."""

        async def main() -> None:
            sealer = new_sealer()
            first = Desk(runs=RunTable(checkpoints=store()), state_sealer=sealer)
            second = Desk(runs=RunTable(checkpoints=store()), state_sealer=sealer)
            params = models.CallToolParams(name="clerk", arguments={"task": "Ada"})
            async with Client(first.app, elicitation=approve) as client:
                asked = await client.request("tools/call", params)
            answers = {key: approve(one.params) for key, one in asked.input_requests.items()}
            again = msgspec.structs.replace(
                params, input_responses=answers, request_state=asked.request_state
            )
            async with Client(second.app, elicitation=approve) as client:
                result = await client.request("tools/call", again)
            assert result.content[0].text == "paid Ada"
            assert (first.done, second.done) == (["look"], ["pay Ada"])

        run(main())

    def test_a_run_that_goes_on_elsewhere_can_be_waited_for(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store, look_s=0.005)
            async with Client(first.app) as one, Client(second.app) as other:
                run_id = (await info(one, "run_start", agent="thinker", task="tea"))["run_id"]
                await first.thinking("tea")
                said = await info(other, "run_status", run_id=run_id, wait_s=0.02)
                assert (said["status"], said["message"]) == ("running", "in another process")
                with pytest.raises(ToolError, match="one that is running"):
                    await info(other, "run_resume", run_id=run_id)
                waiting = asyncio.ensure_future(info(other, "run_status", run_id=run_id, wait_s=20))
                first.gate.set()
                assert (await waiting)["output"] == "thought about tea"

        run(main())

    def test_a_run_that_goes_on_elsewhere_can_be_cancelled(self, store: Open) -> None:
        """As one of a process that has died: what it still comes to does not count."""

        async def main() -> None:
            first, second = desk_of(store), desk_of(store)
            async with Client(first.app) as one, Client(second.app) as other:
                run_id = (await info(one, "run_start", agent="thinker", task="tea"))["run_id"]
                await first.thinking("tea")
                assert (await info(other, "run_cancel", run_id=run_id))["status"] == "cancelled"
                first.gate.set()
                for client in (one, other):
                    said = await info(client, "run_status", run_id=run_id, wait_s=20)
                    assert (said["status"], said["error"]) == ("cancelled", "Cancelled by request")

        run(main())

    def test_a_run_that_takes_longer_than_runs_are_kept_is_kept_in_the_end(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store)
            async with Client(first.app) as client:
                run_id = (await info(client, "run_start", agent="thinker", task="tea"))["run_id"]
                await first.thinking("tea")
                kept = store()
                for one in await kept.list():
                    await kept.remove(one.run_id)
                await kept.close()
                first.gate.set()
                await info(client, "run_status", run_id=run_id, wait_s=20)
            async with Client(second.app) as client:
                assert (await info(client, "run_status", run_id=run_id))["output"] == "thought about tea"

        run(main())


class TestOwners:
    def test_a_kept_run_is_its_owners(self, store: Open) -> None:
        async def main() -> None:
            first, second = desk_of(store), desk_of(store)

            def client_of(url: str, name: str) -> Client:
                return Client(url, http=HttpSettings(headers={"authorization": f"Bearer {name}"}))

            async with serving(first.app, auth=True) as url, client_of(url, "ada") as ada:
                run_id = await waiting(ada)
            async with (
                serving(second.app, auth=True) as url,
                client_of(url, "ada") as ada,
                client_of(url, "bob") as bob,
            ):
                with pytest.raises(ToolError, match="No such run"):
                    await info(bob, "run_status", run_id=run_id)
                assert (await info(bob, "run_list"))["runs"] == []
                (listed,) = (await info(ada, "run_list"))["runs"]
                assert listed["run_id"] == run_id
                with pytest.raises(ToolError, match="No such run"):  # loaded by now, and still not his
                    await info(bob, "run_resume", run_id=run_id, approve="all")

        run(main())


class TestLimits:
    def test_what_is_forgotten_is_not_kept(self) -> None:
        async def main() -> None:
            kept, clock = MemoryCheckpointStore(), Clock()
            desk = Desk(runs=RunTable(max_runs=2, keep_s=60, checkpoints=kept, clock=clock))
            async with Client(desk.app) as client:
                for _ in range(5):
                    await client.call_tool("weather", {"task": "Oslo"})
                assert len(await kept.list()) == 2
                clock.now += 61
                await client.call_tool("weather", {"task": "Oslo"})
                assert len(await kept.list()) == 1
            clock.now += 61
            async with Client(desk.app):
                assert await kept.list() == []

        run(main())

    def test_the_runs_of_others_in_the_same_store_stay(self) -> None:
        async def main() -> None:
            kept, clock = MemoryCheckpointStore(), Clock()
            desk = Desk(runs=RunTable(keep_s=60, checkpoints=kept, clock=clock))
            desk.clerk._checkpoints = kept  # the agent keeps its own, too
            async with Client(desk.app) as client:
                run_id = await waiting(client)
            clock.now += 1e6
            async with Client(desk.app):
                assert [one.run_id for one in await kept.list()] == [run_id]

        run(main())

    def test_a_store_that_fails_costs_a_run_only_its_safety(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(MemoryCheckpointStore):
            async def save(self, *args: Any, **options: Any) -> Any:
                raise OSError("the disk is full")

        async def main() -> None:
            desk = Desk(runs=RunTable(checkpoints=Broken()))
            async with Client(desk.app) as client:
                with caplog.at_level(logging.ERROR, "taut.agent"):
                    assert (await client.call_tool("weather", {"task": "Oslo"})).is_error is not True
                assert "cannot be kept" in caplog.text

        run(main())
