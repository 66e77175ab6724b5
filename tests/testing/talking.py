"""Asking a model, and what came of it."""

from __future__ import annotations

import asyncio
from typing import Any

from taut.llm.messages import Message, user
from taut.llm.model import (
    Model,
    ModelEvent,
    ModelRequest,
    ModelResponse,
    Restarted,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)

ADD = ToolSpec(
    "add",
    "Add two numbers.",
    {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)


def request(*messages: Message | str, **members: Any) -> ModelRequest:
    """Return a request; strings are what the user says."""
    said = [user(message) if isinstance(message, str) else message for message in messages]
    return ModelRequest(messages=said, **members)


def ask(model: Model, *requests: ModelRequest) -> list[ModelResponse]:
    """Return the answers to requests that come one after another."""

    async def run() -> list[ModelResponse]:
        return [await model.respond(one) for one in requests]

    return asyncio.run(run())


def ask_streaming(model: Model, one: ModelRequest) -> tuple[ModelResponse, list[ModelEvent]]:
    """Return the answer, and what was streamed of it."""
    events: list[ModelEvent] = []
    return asyncio.run(model.respond(one, events.append)), events


def streamed_text(events: list[ModelEvent]) -> str:
    """Return the text that is valid in the end."""
    text = ""
    for event in events:
        if isinstance(event, Restarted):
            text = ""
        elif isinstance(event, TextDelta):
            text += event.text
    return text


def streamed_arguments(events: list[ModelEvent]) -> dict[str, str]:
    """Return the arguments that were streamed, by the id of the call."""
    found: dict[str, str] = {}
    for event in events:
        if isinstance(event, Restarted):
            found = {}
        elif isinstance(event, ToolCallDelta):
            found[event.id] = found.get(event.id, "") + event.arguments
    return found
