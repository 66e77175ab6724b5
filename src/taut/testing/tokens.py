"""Counting tokens the same way every time: one for each four characters begun, in each part of what is said.

A history is walked once: of one that has grown since it was last counted only what is new is looked at, so that a
step of an agent costs no more at the end of a long run than at its beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import msgspec

from taut.llm.messages import Audio, Image, Message, Part, Text, Thinking, ToolCall, ToolResult, Usage
from taut.llm.model import ModelRequest, ToolSpec

__all__ = ["TokenCounter", "message_tokens", "tool_tokens"]

T = TypeVar("T")

CHARACTERS_PER_TOKEN = 4
#: What an image or a sound counts, whatever its size.
MEDIA_TOKENS = 256
#: Histories, and sets of tools, whose sums are remembered.
REMEMBERED = 16


class TokenCounter:
    """Counts what requests and answers use."""

    def __init__(self) -> None:
        self._messages = _Sums(message_tokens)
        self._tools = _Sums(tool_tokens)

    def input_tokens(self, request: ModelRequest) -> int:
        """Return the tokens of instructions, messages, tools and the schema of the output."""
        schema = 0 if request.output_schema is None else _json_tokens(request.output_schema)
        instructions = _text_tokens(request.instructions)
        return instructions + schema + self._messages.of(request.messages) + self._tools.of(request.tools)

    def usage(self, input_tokens: int, answer: Message) -> Usage:
        """Return the usage of one request that was answered so."""
        thinking = sum(_part_tokens(part) for part in answer.content if isinstance(part, Thinking))
        return Usage(
            input_tokens=input_tokens,
            output_tokens=message_tokens(answer),
            thinking_tokens=thinking,
            requests=1,
        )


class _Sums(Generic[T]):
    """Sums over sequences that mostly grow at their end, told apart by their first item.

    What was summed up is compared by identity first, which costs next to nothing; a sequence that was changed in its
    middle is summed up again.
    """

    def __init__(self, measure: Callable[[T], int]) -> None:
        self._measure = measure
        self._known: OrderedDict[int, tuple[list[T], int]] = OrderedDict()

    def of(self, items: Sequence[T]) -> int:
        if not items:
            return 0
        # The item is kept alive by the list, so that its id stays its own.
        key = id(items[0])
        seen, total = self._known.pop(key, ([], 0))
        head = items[: len(seen)]
        if (head if isinstance(head, list) else list(head)) != seen:
            seen, total = [], 0
        for item in islice(items, len(seen), None):
            total += self._measure(item)
            seen.append(item)
        self._known[key] = (seen, total)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return total


def message_tokens(message: Message) -> int:
    """Return the tokens of a message."""
    return sum(map(_part_tokens, message.content))


def tool_tokens(tool: ToolSpec) -> int:
    """Return the tokens of a tool's description."""
    return _text_tokens(tool.name) + _text_tokens(tool.description) + _json_tokens(tool.input_schema)


def _part_tokens(part: Part) -> int:
    match part:
        case Text(text) | Thinking(text):
            return _text_tokens(text)
        case ToolCall(_, name, arguments, malformed):
            said = _json_tokens(arguments) if malformed is None else _text_tokens(malformed)
            return _text_tokens(name) + said
        case ToolResult(_, _, str(content)):
            return _text_tokens(content)
        case ToolResult(_, _, content):
            return sum(_part_tokens(part) for part in content if not isinstance(part, str))
        case Image() | Audio():
            return MEDIA_TOKENS


def _text_tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _json_tokens(value: Any) -> int:
    return -(-len(msgspec.json.encode(value)) // CHARACTERS_PER_TOKEN)
