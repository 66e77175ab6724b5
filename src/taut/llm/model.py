"""The one interface to models: a request in, events on the way, a response out.

A model is called, not iterated: `Model.respond` is one coroutine, which may be retried, timed out, recorded and
cancelled like any other, and what is streamed on the way goes to a callback. `stream` turns that into an iterator for
who wants one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from msgspec import Struct

from taut.llm.messages import Message, Usage

__all__ = [
    "Model",
    "ModelEvent",
    "ModelRequest",
    "ModelResponse",
    "ModelSettings",
    "OnEvent",
    "Restarted",
    "StopReason",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolSpec",
    "ignore",
]


class ToolSpec(Struct, frozen=True):
    """A tool as a model sees it. ``name`` has 1-64 letters, digits, ``_`` and ``-``; ``input_schema`` is a JSON
    Schema.
    """

    name: str
    description: str
    input_schema: dict[str, Any]


class ModelSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model is to answer; None leaves it to the model.

    ``effort`` is how much it may think: low, medium, high. ``extra`` is merged into the body of the request as it is.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    effort: str | None = None
    parallel_tool_calls: bool | None = None
    extra: dict[str, Any] = {}


class ModelRequest(Struct, frozen=True, kw_only=True):
    """Everything that a model is asked with.

    ``messages`` may be a list that grows after the answer: a model reads it before it first waits, and never keeps
    it. ``tool_choice``: ``auto``, ``none``, ``required``, or the name of the tool to call. ``output_schema``: the
    answer's text is to be JSON of this schema.
    """

    messages: Sequence[Message]
    instructions: str = ""
    tools: Sequence[ToolSpec] = ()
    tool_choice: str = "auto"
    output_schema: dict[str, Any] | None = None
    settings: ModelSettings = ModelSettings()


#: ``stop``: it said what it had to say; ``tool_calls``: it waits for their results; ``length``: it reached a limit;
#: ``refusal``: it, or its provider's filter, will not answer; ``other``.
StopReason: TypeAlias = Literal["stop", "tool_calls", "length", "refusal", "other"]


class ModelResponse(Struct, frozen=True, kw_only=True):
    """What a model answered. ``model`` is the name that it gives itself."""

    message: Message
    usage: Usage = Usage(requests=1)
    stop_reason: StopReason = "stop"
    model: str = ""


class TextDelta(Struct, frozen=True, tag_field="kind", tag="text"):
    """More of the answer's text."""

    text: str


class ThinkingDelta(Struct, frozen=True, tag_field="kind", tag="thinking"):
    """More of what the model thinks."""

    text: str


class ToolCallDelta(Struct, frozen=True, tag_field="kind", tag="tool_call"):
    """More of the JSON text of a tool call's arguments. The first one of a call may have no text."""

    id: str
    name: str
    arguments: str


class Restarted(Struct, frozen=True, tag_field="kind", tag="restarted"):
    """The attempt failed and another one begins: what was streamed of this response is void."""

    reason: str


ModelEvent: TypeAlias = TextDelta | ThinkingDelta | ToolCallDelta | Restarted
OnEvent: TypeAlias = Callable[[ModelEvent], None]


def ignore(event: ModelEvent) -> None:
    """Do nothing with an event."""


@runtime_checkable
class Model(Protocol):
    """A language model. Safe to use from many tasks of one event loop at once."""

    @property
    def name(self) -> str:
        """What it is called, for logs, prices and traces."""

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """Return the answer. ``on_event`` is called with what comes on the way, and must not raise.

        Cancelling it ends the request.

        :raises taut.errors.ModelUnavailable: not now, after all attempts.
        :raises taut.errors.ModelRefused: not like this; `taut.errors.ContextTooLong` where it is the length.
        :raises taut.errors.InvalidModelAnswer: what came is no answer.
        """

    async def close(self) -> None:
        """Release connections. Twice is fine."""
