"""A model's answer as an iterator."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from llm.provider import Asked, chunks, provider
from taut.errors import LocalProtocolError, ModelUnavailable
from taut.llm import (
    ModelEvent,
    ModelRequest,
    ModelResponse,
    OnEvent,
    OpenAIModel,
    TextDelta,
    assistant,
    ignore,
    stream,
    user,
)

HI = ModelRequest(messages=[user("Hi")])
DONE = ModelResponse(message=assistant("abc"))


class Acting:
    """A model that does what a test says."""

    name = "acting"

    def __init__(self, act: Callable[[OnEvent], Awaitable[ModelResponse]]) -> None:
        self._act = act
        self.cancelled = 0
        self.ended = asyncio.Event()

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        try:
            return await self._act(on_event)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.ended.set()

    async def close(self) -> None:
        """Nothing to do."""


async def says(on_event: OnEvent) -> ModelResponse:
    for letter in "abc":
        await asyncio.sleep(0)
        on_event(TextDelta(letter))
    return DONE


async def hangs(on_event: OnEvent) -> ModelResponse:
    on_event(TextDelta("a"))
    await asyncio.Event().wait()
    return DONE


async def fails(on_event: OnEvent) -> ModelResponse:
    on_event(TextDelta("a"))
    raise ModelUnavailable("busy")


def test_events_and_the_answer() -> None:
    async def main() -> None:
        async with stream(Acting(says), HI) as events:
            told = [event async for event in events]
            assert told == [TextDelta("a"), TextDelta("b"), TextDelta("c")]
            assert events.response is DONE
        assert events.response is DONE
        assert [event async for event in events] == []

    asyncio.run(main())


def test_events_that_nobody_has_waited_for_are_kept() -> None:
    async def main() -> None:
        model = Acting(says)
        async with stream(model, HI) as events:
            await model.ended.wait()
            assert len([event async for event in events]) == 3

    asyncio.run(main())


def test_a_failure_comes_behind_what_was_told() -> None:
    async def main() -> None:
        told: list[ModelEvent] = []
        async with stream(Acting(fails), HI) as events:
            told.append(await anext(events))
            with pytest.raises(ModelUnavailable, match="busy"):
                await anext(events)
            with pytest.raises(ModelUnavailable, match="busy"):
                events.response  # noqa: B018
        assert told == [TextDelta("a")]

    asyncio.run(main())


def test_a_failure_that_nobody_hears_is_no_noise() -> None:
    async def main() -> None:
        model = Acting(fails)
        async with stream(model, HI):
            await model.ended.wait()

    asyncio.run(main())


def test_leaving_early_cancels_the_request() -> None:
    async def main() -> None:
        model = Acting(hangs)
        async with stream(model, HI) as events:
            async for _ in events:
                break
        assert model.cancelled == 1
        with pytest.raises(LocalProtocolError, match="closed before"):
            events.response  # noqa: B018
        assert [event async for event in events] == []

    asyncio.run(main())


def test_another_task_closes_it_while_one_waits() -> None:
    async def main() -> None:
        model = Acting(hangs)
        events = stream(model, HI)
        waiting = asyncio.Event()

        async def listen() -> list[ModelEvent]:
            told = []
            async with events:
                async for event in events:
                    told.append(event)
                    waiting.set()
            return told

        task = asyncio.create_task(listen())
        await waiting.wait()
        await asyncio.sleep(0)
        await asyncio.gather(events.close(), events.close())
        assert await task == [TextDelta("a")]
        assert model.cancelled == 1
        await events.close()

    asyncio.run(main())


def test_closing_before_the_model_has_begun() -> None:
    async def main() -> None:
        model = Acting(says)
        events = stream(model, HI)
        await events.close()
        async with events:
            await events.close()
        assert not model.ended.is_set()

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(8))
def test_closing_at_every_moment(turns: int) -> None:
    async def main() -> None:
        async with stream(Acting(says), HI) as events:
            for _ in range(turns):
                await asyncio.sleep(0)
            await events.close()
            told = [event async for event in events]
        assert told == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(12))
def test_cancelling_who_listens_at_every_moment(turns: int) -> None:
    async def main() -> None:
        async def listen() -> None:
            async with stream(Acting(says), HI) as events:
                async for _ in events:
                    await asyncio.sleep(0)

        task = asyncio.create_task(listen())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_several_tasks_share_the_events() -> None:
    async def main() -> None:
        async with stream(Acting(says), HI) as events:

            async def take() -> list[ModelEvent]:
                return [event async for event in events]

            shares = await asyncio.gather(take(), take(), take())
        assert sorted(event.text for share in shares for event in share) == ["a", "b", "c"]  # type: ignore[union-attr]

    asyncio.run(main())


def test_misuse_is_said() -> None:
    async def main() -> None:
        events = stream(Acting(hangs), HI)
        with pytest.raises(LocalProtocolError, match="entered"):
            await anext(events)
        with pytest.raises(LocalProtocolError, match="at its end"):
            events.response  # noqa: B018
        async with events:
            with pytest.raises(LocalProtocolError, match="not entered before"):
                await events.__aenter__()
            with pytest.raises(LocalProtocolError, match="at its end"):
                events.response  # noqa: B018

    asyncio.run(main())


def test_closing_hangs_up_on_the_provider() -> None:
    async def main() -> None:
        async def script(asked: Asked) -> None:
            asked.begin()
            asked.send(*chunks("Hello")[:3])

        async with provider(script) as server:
            model = OpenAIModel("small", base_url=server.url)
            async with stream(model, HI) as events:
                assert await anext(events) == TextDelta("H")
            await server.until(lambda: server.left == 1)
            await model.close()

    asyncio.run(main())
