"""An agent with a server, a function and a typed output; it streams what it does.

python basic_agent.py                               a scripted model: no network
python basic_agent.py --model local                 a small real one in this process: see docs/models.md
python basic_agent.py --model openai:gpt-5-mini     a large one
"""

import argparse
import asyncio
from pathlib import Path

import msgspec

from taut import Agent
from taut.agent import events
from taut.testing import ScriptedModel, call

NOTES = Path(__file__).with_name("notes_server.py")


class Summary(msgspec.Struct):
    """What the agent answers with: its schema goes to the model, and the answer is checked."""

    title: str
    words: int
    urgent: bool


def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


SCRIPT = ScriptedModel(
    call("notes__search", query="milk"),
    call("count_words", text="Buy milk. Post the letter."),
    '{"title": "Errands", "words": 5, "urgent": "no"}',  # does not fit: the model is told, and tries again
    '{"title": "Errands", "words": 5, "urgent": false}',
)


async def main(model: str | None) -> None:
    agent = Agent(
        "reader",
        model=model or SCRIPT,
        instructions="Find the note about milk, count its words, and summarise it.",
        servers={"notes": NOTES},
        tools=[count_words],
        output=Summary,
    )
    async with agent.stream("What is to be done about the milk?") as stream:
        async for event in stream:
            match event:
                case events.ToolCalled(call=made):
                    print(f"calls {made.name} {msgspec.json.encode(made.arguments).decode()}")
                case events.ToolReturned(result=result):
                    print(f"  {result.text[:70]}")
                case events.Noted(topic=topic, text=text):
                    print(f"{topic}: {text}")
    result = stream.result
    print(result.output)
    print(f"{result.usage.requests} requests, {result.tool_calls} calls")


parser = argparse.ArgumentParser()
parser.add_argument("--model")
asyncio.run(main(parser.parse_args().model))
