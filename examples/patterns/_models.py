"""What the examples share: a model, played by a script unless ``--model`` names a real one, and a way to watch."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from taut.agent import BaseAgent, RunResult
from taut.agent import events as ev
from taut.llm.model import Model
from taut.llm.open import open_model


def run(main: Callable[[Model], Awaitable[None]], offline: Model) -> None:
    """Run ``main`` with the model that the command line names; without one, with ``offline``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", help="a real model: openai:gpt-5-mini, ollama:qwen3, local, ...")
    name = parser.parse_args().model
    model = open_model(name) if name else offline

    async def run_and_close() -> None:
        try:
            await main(model)
        finally:
            await model.close()

    asyncio.run(run_and_close())


def js(**answer: Any) -> str:
    """A structured answer, as a model writes it."""
    return json.dumps(answer)


async def show(agent: BaseAgent[Any], task: str, **options: Any) -> RunResult[Any]:
    """Run ``agent``, print what happens on the way, and return the result."""
    print(f"> {_line(task)}")
    async with agent.stream(task, **options) as events:
        async for event in events:
            match event:
                case ev.Noted(path, topic, text):
                    print(f"  [{path}] {topic}: {_line(text)}")
                case ev.ToolCalled(path, call):
                    print(f"  [{path}] calls {call.name} {_line(call.arguments)}")
                case ev.ApprovalAsked(path, _, _, tool):
                    print(f"  [{path}] asks for approval of {tool}")
                case ev.Failed(path, error):
                    print(f"  [{path}] failed: {_line(error)}")
                case ev.Done(path, "completed", output, _) if path != agent.name:
                    print(f"  [{path}] {_line(output)}")
    return events.result


def _line(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = " / ".join(text.split("\n"))
    return text if len(text) <= 110 else f"{text[:107]}..."
