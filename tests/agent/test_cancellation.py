"""A run that is ended from outside at each turn of the loop, in every shape that a run has: nothing of it is left, and
the same agents run again."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from agent.worlds import run
from taut import Server
from taut.agent import Agent, BaseAgent, FunctionTool, RunState, ToolContext, ToolPolicy
from taut.agent.state import (
    Compaction,
    MemoryBlobStore,
    MemoryCheckpointStore,
    MemoryConversationStore,
)
from taut.client.pool import ServerPool
from taut.errors import AgentStateError
from taut.llm.messages import Usage, user
from taut.llm.model import ModelRequest
from taut.testing import FunctionModel, call


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def shop() -> Server:
    """A server whose tool takes its time."""
    app = Server("shop")

    @app.tool
    async def price(article: str) -> str:
        await turns(3)
        return f"{article} costs 1"

    return app


class Shape(ABC):
    """Agents and a way to run one of them; made anew for each attempt."""

    #: What the agents are in once nothing goes on.
    at_rest = ("created", "stopped")

    def __init__(self) -> None:
        self.pool = ServerPool({"shop": shop()})
        #: How many models and functions are at work.
        self.busy = 0

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Whoever works for the run, in its own tasks, is counted."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    def answering(self, *calls: Any) -> FunctionModel:
        """Return a model that takes a turn, wants the calls of each item, one after another, and then says that it is
        done. It goes by the conversation: it may be asked by many runs.
        """

        async def answer(request: ModelRequest) -> Any:
            with self.at_work():
                await turns(1)
            if request.instructions.startswith("You are given the beginning of a conversation"):
                return "a summary"
            roles = [message.role for message in request.messages]
            asked = roles[len(roles) - roles[::-1].index("user") :].count("assistant")
            return calls[asked] if asked < len(calls) else "Done."

        return FunctionModel(answer, usage=Usage(500, 5, requests=1))

    @abstractmethod
    def agents(self) -> Iterable[BaseAgent[Any]]:
        """All of them; the first is the one that is run."""

    async def go(self) -> Any:
        """Return the output of a run."""
        agent = next(iter(self.agents()))
        return (await agent.run("Go")).output

    async def begin(self) -> None:  # noqa: B027  # most have nothing to do
        """Get ready."""

    async def end(self) -> None:  # noqa: B027
        """Clean up."""


class Plain(Shape):
    def __init__(self) -> None:
        super().__init__()
        model = self.answering(call("shop__price", article="tea"), call("shop__price", article="cup"))
        self.agent = Agent(
            "plain",
            model=model,
            servers=["shop"],
            pool=self.pool,
            checkpoints=MemoryCheckpointStore(),
            blobs=MemoryBlobStore(),
            policy=ToolPolicy(max_result_chars=3, cache_s={"*": 60}),
        )

    def agents(self) -> Iterable[BaseAgent[Any]]:
        return [self.agent]


class Entered(Plain):
    at_rest = ("ready",)

    async def begin(self) -> None:
        await self.agent.__aenter__()

    async def end(self) -> None:
        await self.agent.__aexit__(None, None, None)


class SideBySide(Shape):
    def __init__(self) -> None:
        super().__init__()

        async def slow(n: int) -> int:
            with self.at_work():
                try:
                    await turns(n)
                finally:
                    await turns(3)
            return n

        inner = Agent(
            "inner", model=self.answering(call("shop__price", article="x")), servers=["shop"], pool=self.pool
        )
        calls = [
            call("slow", n=3),
            call("inner", task="x"),
            call("shop__price", article="tea"),
            call("slow", n=0),
        ]
        policy = ToolPolicy(max_parallel=3)
        outer = Agent(
            "outer",
            model=self.answering(calls),
            tools=[inner, slow],
            servers=["shop"],
            pool=self.pool,
            policy=policy,
        )
        self.all = [outer, inner]

    def agents(self) -> Iterable[BaseAgent[Any]]:
        return self.all


class SideBySideEntered(SideBySide):
    at_rest = ("ready",)

    async def begin(self) -> None:
        await self.all[0].__aenter__()

    async def end(self) -> None:
        await self.all[0].__aexit__(None, None, None)


class Nested(Shape):
    def __init__(self) -> None:
        super().__init__()
        inner = Agent(
            "inner", model=self.answering(call("shop__price", article="x")), servers=["shop"], pool=self.pool
        )
        middle = Agent("middle", model=self.answering(call("inner", task="x")), tools=[inner])

        async def ask(context: ToolContext) -> str:
            with self.at_work():
                return (await context.run.child(middle, "x")).text

        outer = Agent("outer", model=self.answering(call("ask")), tools=[FunctionTool(ask)])
        self.all = [outer, middle, inner]

    def agents(self) -> Iterable[BaseAgent[Any]]:
        return self.all


class Approved(Shape):
    """Suspended, and taken up with an approver that takes its time."""

    def __init__(self) -> None:
        super().__init__()
        calls = [call("shop__price", article="tea"), call("shop__price", article="cup")]
        self.agent = Agent(
            "a",
            model=self.answering(calls),
            servers=["shop"],
            pool=self.pool,
            policy=ToolPolicy(approve=("*",)),
        )

    def agents(self) -> Iterable[BaseAgent[Any]]:
        return [self.agent]

    async def go(self) -> Any:
        async def approve(request: Any) -> bool:
            with self.at_work():
                await turns(2)
            return True

        waiting = await self.agent.run("Go")
        assert waiting.state is not None
        state = RunState.from_bytes(waiting.state.to_bytes())
        state.approve(state.approvals[0].id)
        return (await self.agent.resume(state, approver=approve)).output


class Slow(MemoryConversationStore):
    """A store of which each call takes a turn before and one after it is done."""

    async def load(self, *args: Any, **options: Any) -> Any:
        await turns(1)
        found = await super().load(*args, **options)
        await turns(1)
        return found

    async def append(self, *args: Any, **options: Any) -> Any:
        await turns(1)
        await super().append(*args, **options)
        await turns(1)

    async def replace(self, *args: Any, **options: Any) -> Any:
        await turns(1)
        await super().replace(*args, **options)
        await turns(1)


class Remembering(Shape):
    def __init__(self) -> None:
        super().__init__()
        self.store = Slow()
        self.agent = Agent(
            "a",
            model=self.answering(call("shop__price", article="tea")),
            servers=["shop"],
            pool=self.pool,
            memory=self.store,
            compaction=Compaction(max_tokens=400, keep_tokens=100),
        )

    def agents(self) -> Iterable[BaseAgent[Any]]:
        return [self.agent]

    async def begin(self) -> None:
        await MemoryConversationStore.append(
            self.store, "s", [user("word " * 100) for _ in range(20)], expected=0
        )

    async def go(self) -> Any:
        return (await self.agent.run("Go", session="s")).output


class Streamed(Plain):
    async def go(self) -> Any:
        async with self.agent.stream("Go") as stream:
            async for _ in stream:
                pass
        return stream.result.output


SHAPES = [Plain, Entered, SideBySide, SideBySideEntered, Nested, Approved, Remembering, Streamed]
#: Ends what goes on in the task.
Ending = Callable[[Shape, "asyncio.Task[Any]"], Any]


async def ended_after(make: Callable[[], Shape], count: int, ending: Ending) -> bool:
    """End a run after so many turns, and see what is left of it. Returns whether it was done before that."""
    shape = make()
    await shape.begin()
    going = asyncio.create_task(shape.go())
    await turns(count)
    was_done = going.done()
    if was_done:
        assert await going == "Done."
    else:
        await ending(shape, going)
        assert shape.busy == 0, f"something goes on after {count} turns"
        await turns(30)  # one that is cancelled while it stops leaves that to the background
    for agent in shape.agents():
        assert agent.state in shape.at_rest, f"{agent.name} is {agent.state} after {count} turns"
    held = len(list(shape.agents())) if shape.at_rest == ("ready",) else 0
    assert shape.pool.status()["shop"].users == held
    assert await shape.go() == "Done."
    await shape.end()
    assert shape.pool.status()["shop"].users == 0
    await shape.pool.close()
    return was_done


def at_every_turn(make: Callable[[], Shape], ending: Ending, *, step: int = 1) -> None:
    for count in range(0, 2_000, step):
        if run(ended_after(make, count, ending)):
            assert count > 10
            return
    raise AssertionError("it never came to its end")


async def cancel(shape: Shape, going: asyncio.Task[Any]) -> None:
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going


@pytest.mark.parametrize("shape", SHAPES)
def test_cancelled(shape: type[Shape]) -> None:
    at_every_turn(shape, cancel)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("later", [0, 1, 2, 4])
def test_cancelled_again_while_it_cleans_up(shape: type[Shape], later: int) -> None:
    async def twice(made: Shape, going: asyncio.Task[Any]) -> None:
        going.cancel()
        await turns(later)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    at_every_turn(shape, twice, step=2)


@pytest.mark.parametrize("shape", SHAPES)
def test_out_of_the_callers_time(shape: type[Shape]) -> None:
    """A timeout around a run is a timeout, and leaves no cancellation behind."""

    async def bounded(make: Callable[[], Shape], count: int) -> bool:
        made = make()
        await made.begin()
        task = asyncio.current_task()
        assert task is not None
        was_done = False
        try:
            async with asyncio.timeout(None) as limit:
                asyncio.create_task(expire(limit, count))  # noqa: RUF006  # it ends before the loop does
                await made.go()
                was_done = True
        except TimeoutError:
            pass
        assert task.cancelling() == 0
        assert [agent.state in made.at_rest for agent in made.agents()]
        await made.end()
        await made.pool.close()
        await turns(count)
        return was_done

    async def expire(limit: asyncio.Timeout, count: int) -> None:
        await turns(count)
        if limit.when() is None and not limit.expired():
            try:
                limit.reschedule(asyncio.get_running_loop().time())
            except RuntimeError:  # the block was left
                return

    for count in range(0, 1_000, 3):
        if run(bounded(shape, count)):
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("shape", SHAPES)
def test_stopped(shape: type[Shape]) -> None:
    async def stop(made: Shape, going: asyncio.Task[Any]) -> None:
        agent = next(iter(made.agents()))
        if agent.state == "ready":
            return await cancel(made, going)  # nothing of it is under way
        await agent.stop()
        outcome = (await asyncio.gather(going, return_exceptions=True))[0]
        assert outcome == "Done." or isinstance(outcome, AgentStateError)
        if made.at_rest == ("ready",):
            await agent.run("Go")  # who has entered it starts it again with the next run
        return None

    at_every_turn(shape, stop)


@pytest.mark.parametrize("shape", [SideBySide, Nested])
def test_one_below_stopped(shape: type[Shape]) -> None:
    """That is a failed call, and no more."""

    async def stop(made: Shape, going: asyncio.Task[Any]) -> None:
        *_, inner = made.agents()
        await inner.stop()
        outcome = (await asyncio.gather(going, return_exceptions=True))[0]
        if outcome != "Done.":
            assert isinstance(outcome, AgentStateError)
            assert "while it started" in str(outcome)  # along with the one above

    at_every_turn(shape, stop)
