"""Agents that use agents: an editor asks two researchers side by side, and shares one server with them.

python multi_agent.py [--model openai:gpt-5-mini]
"""

import argparse
import asyncio
from pathlib import Path

from taut import Agent
from taut.agent import Budget, events
from taut.client import ServerPool
from taut.testing import KeyedModel, call

NOTES = Path(__file__).with_name("notes_server.py")

# A script for each agent, found by its instructions: they run side by side.
SCRIPTS = KeyedModel(
    {
        "You find chores": [call("notes__search", query="letter"), "The letter has to be posted."],
        "You find plans": [call("notes__search", query="lamp"), "There is a plan for a lamp."],
        "You are the editor": [
            [call("chores", task="What is to be done?"), call("plans", task="What is planned?")],
            "Post the letter; then build the lamp.",
        ],
    }
)


async def main(name: str | None) -> None:
    model = name or SCRIPTS
    pool = ServerPool({"notes": NOTES})  # one process, started when it is first needed, shared by all
    shared = {"model": model, "servers": ["notes"], "pool": pool}
    chores = Agent("chores", instructions="You find chores in notes.", description="Finds chores", **shared)
    plans = Agent("plans", instructions="You find plans in notes.", description="Finds plans", **shared)
    editor = Agent(
        "editor",
        model=model,
        instructions="You are the editor. Ask chores and plans, then answer in one sentence.",
        tools=[chores, plans],
        budget=Budget(model_calls=20, tool_calls=20),  # for it and all below it
    )
    async with editor.stream("Plan my day.") as stream:
        async for event in stream:
            match event:
                case events.ToolCalled(path=path, call=made):
                    print(f"{path}: {made.name}")
                case events.Done(path=path, output=output):
                    print(f"{path}: {output!r}")
    print(f"{stream.result.usage.requests} requests in all")
    await pool.close()


parser = argparse.ArgumentParser()
parser.add_argument("--model")
asyncio.run(main(parser.parse_args().model))
