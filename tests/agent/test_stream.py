"""The events of a run: in order, of every run below, and a run that ends when nobody reads it any more."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agent.worlds import World, run, until
from taut.agent import Agent
from taut.agent import events as ev
from taut.errors import AgentStateError, ModelRefused
from taut.llm.model import Restarted, TextDelta, ThinkingDelta
from taut.testing import FunctionModel, ScriptedModel, call


def kinds(events: list[ev.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def read(stream: Any) -> list[ev.Event]:
    return [event async for event in stream]


def test_everything_is_told_in_its_order() -> None:
    one = Agent(
        "a", model=ScriptedModel(call("world__add", a=1, b=2), "Three."), servers={"world": World().app}
    )

    async def scenario() -> None:
        async with one.stream("Go") as stream:
            events = await read(stream)
        assert [kind for kind in kinds(events) if kind != "Text"] == [
            "StepBegan",
            "UsageReported",
            "ToolCalled",
            "ToolReturned",
            "StepBegan",
            "UsageReported",
            "Done",
        ]
        assert "".join(event.text for event in events if isinstance(event, ev.Text)) == "Three."
        assert stream.result.output == "Three."

    run(scenario())


def test_the_runs_below_are_heard_with_their_paths() -> None:
    inner = Agent("inner", model=ScriptedModel("yes"))
    outer = Agent("outer", model=ScriptedModel(call("inner", task="x"), "Done."), tools=[inner])

    async def scenario() -> None:
        events = await read(outer.stream("Go"))
        assert {event.path for event in events} == {"outer", "outer/inner"}
        assert [event.path for event in events if isinstance(event, ev.Done)] == ["outer/inner", "outer"]

    run(scenario())


def test_thoughts_and_attempts_are_told() -> None:
    def answer(request: Any, on_event: Any) -> str:
        on_event(ThinkingDelta("hm"))
        on_event(TextDelta("wro"))
        on_event(Restarted("cut"))
        on_event(TextDelta("right"))
        return "right"

    async def scenario() -> None:
        events = await read(Agent("a", model=FunctionModel(answer)).stream("Go"))
        assert kinds(events)[:5] == ["StepBegan", "Thinking", "Text", "Restarted", "Text"]

    run(scenario())


def test_left_early_the_run_is_cancelled() -> None:
    world = World()
    one = Agent("a", model=ScriptedModel(call("world__hang")), servers={"world": world.app})

    async def scenario() -> None:
        async with one.stream("Go") as stream:
            async for event in stream:
                if isinstance(event, ev.ToolCalled):
                    break
            await until(lambda: "hang" in world.done)
        with pytest.raises(AgentStateError, match="closed before its end"):
            stream.result  # noqa: B018
        await stream.close()

    run(scenario())
    assert world.done == ["hang", "cancelled"]


def test_it_may_be_closed_from_another_task_while_somebody_reads() -> None:
    world = World()
    one = Agent("a", model=ScriptedModel(call("world__hang")), servers={"world": world.app})

    async def scenario() -> None:
        stream = one.stream("Go")
        reader = asyncio.ensure_future(read(stream))
        await until(lambda: "hang" in world.done)
        await asyncio.gather(stream.close(), stream.close())
        assert "ToolCalled" in kinds(await reader)

    run(scenario())


def test_what_the_run_fails_with_is_raised_at_the_end() -> None:
    async def scenario() -> None:
        stream = Agent("a", model=ScriptedModel(ModelRefused("no key"))).stream("Go")
        seen: list[ev.Event] = []

        async def hear() -> None:
            async for event in stream:
                seen.append(event)  # noqa: PERF401  # what came before the end is wanted

        with pytest.raises(ModelRefused):
            await hear()
        assert kinds(seen)[-1] == "Failed"
        with pytest.raises(ModelRefused):
            stream.result  # noqa: B018

    run(scenario())


def test_no_result_before_the_end() -> None:
    async def scenario() -> None:
        stream = Agent("a", model=ScriptedModel("x")).stream("Go")
        with pytest.raises(AgentStateError, match="Expected a run that has ended"):
            stream.result  # noqa: B018
        await read(stream)

    run(scenario())


def test_events_travel_as_json() -> None:
    async def scenario() -> None:
        one = Agent(
            "a", model=ScriptedModel(call("world__add", a=1, b=2), "x"), servers={"world": World().app}
        )
        for event in await read(one.stream("Go")):
            assert msgspec.json.decode(msgspec.json.encode(event), type=ev.Event) == event

    run(scenario())
