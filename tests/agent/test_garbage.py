"""Run after run, in one loop, in many, ended well or not: nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any

from taut import Server
from taut.agent import Agent, FunctionTool, RunState, ToolContext, ToolPolicy
from taut.errors import ModelUnavailable
from taut.llm.model import ModelRequest
from taut.testing import FunctionModel, call


def build() -> Agent[Any]:
    """An agent whose run needs everything once, and ends as its task says."""
    app = Server("w")

    @app.tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    async def ask(context: ToolContext) -> str:
        """Ask."""
        return (await context.run.child(inner, "x")).text

    def answer(request: ModelRequest) -> Any:
        asked = sum(message.role == "assistant" for message in request.messages)
        task = request.messages[0].text
        if asked == 0:
            return [call("w__add", a=1, b=2), call("ask"), call("inner", task="x"), call("known")]
        if asked == 1 and task == "wait":
            return call("pay")
        if task == "fail":
            raise ModelUnavailable("busy")
        return "done"

    inner = Agent("inner", model=FunctionModel(lambda request: "in", keep=0))
    tools = [ask, inner, FunctionTool(lambda: "x", name="known"), FunctionTool(lambda: "x", name="pay")]
    policy = ToolPolicy(approve=("function:pay",), cache_s={"known": 60})
    return Agent("a", model=FunctionModel(answer, keep=0), servers={"w": app}, tools=tools, policy=policy)


async def once(agent: Agent[Any]) -> None:
    """One run of each kind."""
    heard: list[Any] = []
    assert (await agent.run("go", listener=heard.append)).output == "done"
    with contextlib.suppress(ModelUnavailable):
        await agent.run("fail")
    waiting = (await agent.run("wait")).state
    assert waiting is not None
    state = RunState.from_bytes(waiting.to_bytes())
    state.approve()
    assert (await agent.resume(state)).output == "done"
    async with agent.stream("go") as stream:
        await anext(aiter(stream))
    going = asyncio.ensure_future(agent.run("go"))
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.wait([going])


def grown(once: Callable[[], None], times: int) -> int:
    """Return how many objects there are more after ``times``, having done it until everything is warm."""
    for _ in range(20):
        once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(times):
        once()
    gc.collect()
    return len(gc.get_objects()) - before


def test_in_one_loop() -> None:
    agent = build()
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(agent.__aenter__())
        assert grown(lambda: loop.run_until_complete(once(agent)), 100) < 50
        loop.run_until_complete(agent.__aexit__(None, None, None))
    finally:
        loop.close()


def test_in_a_loop_for_each() -> None:
    agent = build()
    assert grown(lambda: asyncio.run(once(agent)), 100) < 50
    assert grown(lambda: agent.run_sync("go") and None, 100) < 50  # type: ignore[func-returns-value]


def test_a_loop_that_was_closed_without_a_word_is_let_go() -> None:
    agent = build()

    def abandon() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(agent.__aenter__())
        loop.close()
        return weakref.ref(loop)

    first = abandon()
    agent.run_sync("go")
    agent.run_sync("go")
    gc.collect()
    assert first() is None


def test_an_agent_is_let_go() -> None:
    agent = build()
    agent.run_sync("go")
    ref = weakref.ref(agent)
    del agent
    gc.collect()
    assert ref() is None
