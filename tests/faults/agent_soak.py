"""Runs agents until it is told to stop, and says what it holds: one line of JSON for each line of stdin.

echo COUNT | agent_soak.py SERVER...
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from typing import Any

import psutil

from taut.agent import Agent, Budget, ToolPolicy
from taut.agent.patterns import Chain
from taut.client.pool import ServerPool
from taut.errors import BudgetExceeded, ModelRefused
from taut.testing import FunctionModel, call


def shout(text: str) -> str:
    """Say it loudly."""
    return text.upper()


def answer(request: Any) -> Any:
    """Call each tool once, then do what the task says."""
    said = sum(message.role == "assistant" for message in request.messages)
    task = request.messages[0].text
    if said == 0:
        return [call("s__add", a=1, b=2), call("shout", text="x" * 1_000)]
    if task == "fail":
        raise ModelRefused("as asked for")
    if task == "loop" or said == 1:
        return call("s__echo", text="y" * 1_000)
    return "Done."


class World:
    """A few agents that share a server, and every way in which a run can end."""

    def __init__(self, server: list[str]) -> None:
        self.pool = ServerPool({"s": server})
        model = FunctionModel(answer, keep=0)
        options: dict[str, Any] = {"model": model, "servers": ["s"], "pool": self.pool, "tools": [shout]}
        self.agent = Agent("one", **options)
        self.careful = Agent("careful", policy=ToolPolicy(approve=("s:echo",)), **options)
        self.poor = Agent("poor", budget=Budget(model_calls=3), **options)
        self.chain = Chain("both", [self.agent, self.agent])

    async def run(self, number: int) -> str:
        """Run once, in one of seven ways."""
        way = number % 7
        if way == 0:
            return (await self.agent.run("work")).status
        if way == 1:
            return (await self.chain.run("work")).status
        if way == 2:
            suspended = await self.careful.run("work")
            assert suspended.state is not None
            if number % 2:
                return suspended.status
            suspended.state.approve()
            return (await self.careful.resume(suspended.state)).status
        if way == 3:
            try:
                await self.agent.run("fail")
            except ModelRefused:
                return "refused"
        if way == 4:
            try:
                await self.poor.run("loop")
            except BudgetExceeded:
                return "exceeded"
        if way == 5:
            going = asyncio.ensure_future(self.agent.run("work"))
            for _ in range(number % 29):
                await asyncio.sleep(0)
            going.cancel()
            await asyncio.wait([going])
            return "cancelled"
        async with self.agent.stream("work") as stream:
            return [event async for event in stream][-1].__class__.__name__


async def main() -> None:
    world = World(sys.argv[1:])
    async with world.agent, world.careful, world.poor, world.chain:
        loop, number = asyncio.get_running_loop(), 0
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            ways: dict[str, int] = {}
            for _ in range(int(line)):
                number += 1
                way = await world.run(number)
                ways[way] = ways.get(way, 0) + 1
            gc.collect()
            process = psutil.Process()
            held = {
                "rss": process.memory_info().rss,
                "descriptors": process.num_fds(),
                "tasks": len(asyncio.all_tasks()),
                "objects": len(gc.get_objects()),
                "ways": ways,
            }
            print(json.dumps(held), flush=True)


asyncio.run(main())
