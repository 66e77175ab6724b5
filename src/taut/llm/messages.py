"""What is said to a model and what it says: messages, their parts, usage. Neutral of every provider.

All are frozen: a message is made once and shared by reference, by the histories of many runs and the requests of many
models. Each encodes to JSON and MessagePack and back (`msgspec`), tagged by ``kind``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

__all__ = [
    "Audio",
    "Content",
    "Image",
    "Message",
    "Part",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "Usage",
    "assistant",
    "tool_results",
    "user",
]


class Text(Struct, frozen=True, tag_field="kind", tag="text"):
    """Text."""

    text: str


class Image(Struct, frozen=True, tag_field="kind", tag="image"):
    """An image; ``data`` is base64."""

    data: str
    mime_type: str


class Audio(Struct, frozen=True, tag_field="kind", tag="audio"):
    """Sound; ``data`` is base64."""

    data: str
    mime_type: str


class Thinking(Struct, frozen=True, tag_field="kind", tag="thinking", omit_defaults=True):
    """What a model thought before it answered. ``signature`` is its provider's, and goes back to it unchanged."""

    text: str
    signature: str | None = None


class ToolCall(Struct, frozen=True, tag_field="kind", tag="tool_call", omit_defaults=True):
    """A model's wish to call a tool.

    ``malformed`` is the text of arguments that are no JSON object; ``arguments`` is empty then. The model is told, and
    may try again.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    malformed: str | None = None


class ToolResult(Struct, frozen=True, tag_field="kind", tag="tool_result", omit_defaults=True):
    """What became of a tool call: text, or text, images and sound. ``is_error``: the tool, or the way to it, failed."""

    call_id: str
    name: str
    content: str | tuple[Text | Image | Audio, ...]
    is_error: bool = False

    @property
    def text(self) -> str:
        """The text of all parts, one after another."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, Text))


Part: TypeAlias = Text | Image | Audio | Thinking | ToolCall | ToolResult
#: What a user says: text, or several parts.
Content: TypeAlias = "str | Sequence[Part]"


class Message(Struct, frozen=True):
    """One message. ``tool`` messages hold the results of the calls in the assistant's message before them, all of
    them.
    """

    role: Literal["user", "assistant", "tool"]
    content: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text of all text parts, one after another."""
        return "".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the message asks for."""
        return tuple(part for part in self.content if isinstance(part, ToolCall))


class Usage(Struct, frozen=True, omit_defaults=True):
    """What was used. Cached input is part of ``input_tokens``, and thinking of ``output_tokens``.

    ``cost`` is in US dollars; None where the model has no known price: then the sum is None as well, since a part of it
    is not known. ``requests`` counts requests to models.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    thinking_tokens: int = 0
    requests: int = 0
    cost: float | None = 0.0

    @property
    def tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.thinking_tokens + other.thinking_tokens,
            self.requests + other.requests,
            cost,
        )


def user(content: Content) -> Message:
    """Return what a user says."""
    return Message("user", (Text(content),) if isinstance(content, str) else tuple(content))


def assistant(*parts: Part | str) -> Message:
    """Return what a model says; strings are text."""
    return Message("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def tool_results(*results: ToolResult) -> Message:
    """Return the results of the calls of one message."""
    return Message("tool", results)
