"""The events of a run: in order, of every run below, and a run that ends when nobody reads it any more."""

from __future__ import annotations

import asyncio
import gc
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


def hanging(world: World) -> Agent[Any]:
    return Agent("a", model=ScriptedModel(call("world__hang"), "Done."), servers={"world": world.app})


def test_two_who_read_get_each_event_once_and_both_the_end() -> None:
    world = World()

    async def scenario() -> None:
        stream = hanging(world).stream("Go")
        readers = [asyncio.ensure_future(read(stream)) for _ in range(2)]
        await until(lambda: "hang" in world.done)
        world.gate.set()
        parts = await asyncio.gather(*readers)
        seen = [event for part in parts for event in part]
        assert len(seen) == len({id(event) for event in seen})
        assert sorted(kinds(seen)) == [
            "Done",
            "StepBegan",
            "StepBegan",
            "Text",
            "ToolCalled",
            "ToolReturned",
            "UsageReported",
            "UsageReported",
        ]

    run(scenario())


def test_a_reader_who_is_cancelled_takes_no_event_and_no_other_reader_along() -> None:
    world = World()

    async def scenario() -> None:
        stream = hanging(world).stream("Go")
        first, second = (asyncio.ensure_future(read(stream)) for _ in range(2))
        await until(lambda: "hang" in world.done)
        first.cancel()
        world.gate.set()
        assert kinds(await second)[-1] == "Done"
        with pytest.raises(asyncio.CancelledError):
            await first

    run(scenario())


def test_closed_before_it_began_it_never_begins() -> None:
    async def scenario() -> None:
        model = ScriptedModel("x")
        stream = Agent("a", model=model).stream("Go")
        await stream.close()
        assert await read(stream) == []
        with pytest.raises(AgentStateError, match="closed before its end"):
            stream.result  # noqa: B018
        assert model.asked == 0

    run(scenario())


def test_read_again_after_its_end_it_ends_at_once() -> None:
    async def scenario() -> None:
        async with Agent("a", model=ScriptedModel("x")).stream("Go") as stream:
            assert kinds(await read(stream))[-1] == "Done"
            assert await read(stream) == []
        assert stream.result.output == "x"

    run(scenario())


def test_one_that_nobody_reads_or_closes_is_no_trouble(recwarn: pytest.WarningsRecorder) -> None:
    world = World()

    async def scenario() -> None:
        Agent("a", model=ScriptedModel("x")).stream("never begun")
        stream = hanging(world).stream("Go")
        await anext(aiter(stream))
        del stream
        gc.collect()

    asyncio.run(scenario())
    gc.collect()
    assert [str(one.message) for one in recwarn] == []


def test_closed_from_inside_the_run() -> None:
    async def leave() -> str:
        await stream.close()
        return "x"

    stream: Any = Agent("a", model=ScriptedModel(call("leave"), "Done."), tools=[leave]).stream("Go")

    async def scenario() -> None:
        assert kinds(await read(stream))[-1] == "ToolCalled"
        with pytest.raises(AgentStateError, match="closed before its end"):
            stream.result  # noqa: B018

    run(scenario())


def test_what_a_listener_raises_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[ev.Event] = []

    def broken(event: ev.Event) -> None:
        heard.append(event)
        raise RuntimeError("a broken listener")

    one = Agent(
        "a", model=ScriptedModel(call("world__add", a=1, b=2), "Done."), servers={"world": World().app}
    )
    assert run(one.run("Go", listener=broken)).output == "Done."
    assert kinds(heard)[-1] == "Done"
    assert "a broken listener" in caplog.text
