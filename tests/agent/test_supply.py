"""Where tools come from: servers that are missing, come back, change, answer oddly; and runs that want them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from agent.worlds import run, until
from taut import models
from taut.agent import Agent, FunctionTool
from taut.agent import events as ev
from taut.agent.policy import ToolPolicy
from taut.agent.supply import ToolSupply
from taut.client.pool import ServerConfig, ServerPool
from taut.errors import ConnectError, TautError
from taut.testing import ScriptedModel, call


def tool(name: str) -> models.Tool:
    return models.Tool(name, {"type": "object"})


class Fake:
    """A pool with one server that does as it is told, and the lease of it."""

    def __init__(self, *, required: bool = True) -> None:
        self.servers = {"s": ServerConfig(command="x", required=required, description="A server")}
        self.version = 0
        self.listed: list[models.Tool] = [tool("a")]
        self.error: TautError | None = None
        self.gate: asyncio.Event | None = None
        self.asked = self.released = 0
        self.release_error: Exception | None = None

    def lease(self, name: str) -> Fake:
        return self

    async def tools(self) -> Sequence[models.Tool]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.version = self.version or 1
        return self.listed

    async def release(self) -> None:
        await asyncio.sleep(0)
        self.released += 1
        if self.release_error is not None:
            raise self.release_error

    def supply(self) -> ToolSupply:
        return ToolSupply([], ToolPolicy(), pool=self, servers=["s"])  # type: ignore[arg-type]


class Notes:
    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, topic: str, text: str) -> None:
        self.told.append(f"{topic}: {text}")


def names(box: Any) -> list[str]:
    return list(box.entries)


async def asked_until(supply: ToolSupply, note: Notes, condition: Callable[[Any], object]) -> None:
    """Ask for the tools again and again, as a run does."""
    for _ in range(100):
        if condition(await supply.toolbox(note)):
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def test_tools_are_listed_once_until_they_change() -> None:
    async def scenario() -> None:
        fake, note = Fake(), Notes()
        supply = fake.supply()
        first = await supply.toolbox(note)
        assert await supply.toolbox(note) is first
        assert fake.asked == 1
        fake.listed, fake.version = [tool("a"), tool("b")], 2
        assert names(await supply.toolbox(note)) == ["s__a", "s__b"]
        await supply.close()
        assert fake.released == 1

    run(scenario())


def test_what_changes_while_it_is_listed_is_listed_again() -> None:
    async def scenario() -> None:
        fake, note = Fake(), Notes()
        supply = fake.supply()
        await supply.toolbox(note)
        fake.version, fake.gate = 2, asyncio.Event()
        going = asyncio.ensure_future(supply.toolbox(note))
        await until(lambda: fake.asked == 2)
        fake.version = 3
        fake.gate.set()
        await going
        fake.listed = [tool("b")]
        assert names(await supply.toolbox(note)) == ["s__b"]
        await supply.close()

    run(scenario())


class TestMissing:
    def test_one_that_is_required_fails_what_needs_it_until_it_is_there(self) -> None:
        async def scenario() -> None:
            fake, note = Fake(), Notes()
            fake.error = ConnectError("gone")
            supply = fake.supply()
            for _ in range(2):
                with pytest.raises(ConnectError, match="gone"):
                    await supply.toolbox(note)
            fake.error = None
            assert names(await supply.toolbox(note)) == ["s__a"]
            await supply.close()

        run(scenario())

    def test_one_that_is_not_required_is_told_of_once_and_nobody_waits_for_it(self) -> None:
        async def scenario() -> None:
            fake, note = Fake(required=False), Notes()
            fake.error = ConnectError("gone")
            supply = fake.supply()
            first = await supply.toolbox(note)
            assert names(first) == []
            fake.gate = asyncio.Event()  # the pool waits before it tries again
            for _ in range(5):
                assert await supply.toolbox(note) is first
                await asyncio.sleep(0)
            assert (fake.asked, note.told) == (2, ["server missing: s: gone"])
            fake.gate.set()
            await asked_until(supply, note, lambda box: fake.asked == 4)  # it fails again, and is tried again
            fake.error = None
            await asked_until(supply, note, names)
            assert (fake.asked, len(note.told)) == (6, 1)
            await supply.close()

        run(scenario())

    def test_one_that_goes_away_is_told_of_again(self) -> None:
        async def scenario() -> None:
            fake, note = Fake(required=False), Notes()
            supply = fake.supply()
            assert names(await supply.toolbox(note)) == ["s__a"]
            fake.version, fake.error = 2, ConnectError("lost")
            assert names(await supply.toolbox(note)) == []
            assert note.told == ["server missing: s: lost"]
            await supply.close()

        run(scenario())

    def test_closed_while_it_is_tried_again_nothing_is_left(self) -> None:
        async def scenario() -> None:
            fake, note = Fake(required=False), Notes()
            fake.error = ConnectError("gone")
            supply = fake.supply()
            await supply.toolbox(note)
            fake.gate = asyncio.Event()
            await until(lambda: fake.asked == 2)
            await supply.close()
            assert fake.released == 1

        run(scenario())

    def test_many_runs_at_once_ask_once_more_and_are_told_once(self) -> None:
        async def scenario() -> None:
            fake, note = Fake(required=False), Notes()
            fake.error, fake.gate = ConnectError("gone"), asyncio.Event()
            supply = fake.supply()
            going = [asyncio.ensure_future(supply.toolbox(note)) for _ in range(10)]
            await until(lambda: fake.asked == 10)  # the pool makes one attempt of them
            fake.gate.set()
            for box in await asyncio.gather(*going):
                assert names(box) == []
            await asyncio.sleep(0)
            assert (fake.asked, len(note.told)) == (11, 1)
            await supply.close()

        run(scenario())

    def test_a_run_does_not_wait_for_the_pauses_of_the_pool(self) -> None:
        async def scenario() -> None:
            pauses: list[float] = []

            async def sleep(seconds: float) -> None:
                pauses.append(seconds)
                await asyncio.Event().wait()

            pool = ServerPool(
                {"gone": ServerConfig(command=["/nowhere/at/all"], required=False)}, sleep=sleep
            )
            heard: list[ev.Event] = []
            agent = Agent(
                "a",
                model=ScriptedModel(call("f"), call("f"), call("f"), "Done."),
                tools=[FunctionTool(lambda: 1, name="f")],
                servers=["gone"],
                pool=pool,
            )
            assert (await agent.run("Go", listener=heard.append)).output == "Done."
            assert len(pauses) == 1
            assert len([event for event in heard if isinstance(event, ev.Noted)]) == 1
            await pool.close()

        run(scenario())


def test_a_server_that_lists_a_tool_twice_has_it_once() -> None:
    async def scenario() -> None:
        fake = Fake()
        fake.listed = [tool("a"), msgspec.structs.replace(tool("a"), description="again"), tool("b")]
        supply = fake.supply()
        box = await supply.toolbox(Notes())
        assert [(name, entry.tool.spec.description) for name, entry in box.entries.items()] == [
            ("s__a", ""),
            ("s__b", ""),
        ]
        await supply.close()

    run(scenario())


class TestClosing:
    def test_one_that_fails_keeps_no_other_from_being_given_back(self) -> None:
        async def scenario() -> None:
            good, bad = Fake(), Fake()
            bad.release_error = OSError("no")

            class Both:
                def __init__(self) -> None:
                    self.servers = {"good": good.servers["s"], "bad": bad.servers["s"]}

                def lease(self, name: str) -> Fake:
                    return good if name == "good" else bad

            supply = ToolSupply([], ToolPolicy(), pool=Both(), servers=["bad", "good"])  # type: ignore[arg-type]
            with pytest.raises(OSError, match="no"):
                await supply.close()
            assert (good.released, bad.released) == (1, 1)
            await supply.close()

        run(scenario())

    def test_cancelled_it_goes_on(self) -> None:
        async def scenario() -> None:
            fake = Fake()
            supply = fake.supply()
            closing = asyncio.ensure_future(supply.close())
            await asyncio.sleep(0)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            await until(lambda: fake.released)

        run(scenario())
