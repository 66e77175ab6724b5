"""What a test writes for a model to say, and how it becomes what a model says.

An `Answer` is text, a part (a tool call mostly, made by `call`), several of them, a message, or a whole response.
`to_message` gives the calls without an id one, and `tell` streams a response the way a model would.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from taut.errors import ConfigError
from taut.llm.messages import Audio, Image, Message, Part, Text, Thinking, ToolCall, ToolResult, assistant
from taut.llm.model import ModelResponse, OnEvent, StopReason, TextDelta, ThinkingDelta, ToolCallDelta, ignore

__all__ = ["Answer", "argument_text", "call", "check_answer", "pieces", "stop_reason", "tell", "to_message"]

#: What may be given as an answer. A sequence is several parts of one message; strings are text.
Answer: TypeAlias = "str | Part | Sequence[str | Part] | Message | ModelResponse"

#: A word and the space after it; space alone only where a text begins with it.
_PIECES = re.compile(r"\S+\s*|\s+")
_SAID = (str, Text, Image, Audio, Thinking, ToolCall, ToolResult)
_ANSWERS = (*_SAID, Message, ModelResponse)


def call(name: str, /, **arguments: Any) -> ToolCall:
    """Return a call of a tool for a script. Its id is given when it is said."""
    return ToolCall("", name, arguments)


def check_answer(answer: object, where: str) -> None:
    """Check that ``answer`` is an `Answer`.

    :raises taut.errors.ConfigError: it is none; ``where`` says which.
    """
    if isinstance(answer, _ANSWERS):
        return
    if isinstance(answer, Sequence) and not isinstance(answer, bytes | bytearray):
        for index, part in enumerate(answer):
            if not isinstance(part, _SAID):
                raise ConfigError(
                    f"Expected text or a part of a message in {where}[{index}], got {type(part).__name__}"
                )
        return
    raise ConfigError(
        f"Expected text, a call, parts, a message or a response as {where}, got {type(answer).__name__}"
    )


def to_message(answer: str | Part | Sequence[str | Part] | Message, new_id: Callable[[], str]) -> Message:
    """Return ``answer`` as the message that a model says, with an id for every call."""
    match answer:
        case Message():
            message = answer
        case str():
            message = assistant(answer)
        case Sequence():
            message = assistant(*answer)
        case _:
            message = assistant(answer)
    if all(part.id for part in message.tool_calls):
        return message
    return Message(
        message.role,
        tuple(
            msgspec.structs.replace(part, id=new_id()) if isinstance(part, ToolCall) and not part.id else part
            for part in message.content
        ),
    )


def stop_reason(message: Message) -> StopReason:
    """Return why a model stops after ``message``."""
    return "tool_calls" if any(isinstance(part, ToolCall) for part in message.content) else "stop"


def argument_text(call: ToolCall) -> str:
    """Return the JSON text of a call's arguments, or what the model said in place of it."""
    return msgspec.json.encode(call.arguments).decode() if call.malformed is None else call.malformed


def pieces(text: str) -> Iterator[str]:
    """Cut a text into words, each with the space after it. Joined they are the text."""
    return (match[0] for match in _PIECES.finditer(text))


def tell(response: ModelResponse, on_event: OnEvent) -> None:
    """Stream a response: texts word by word, a call's name first, then its arguments."""
    if on_event is ignore:
        return
    for part in response.message.content:
        match part:
            case Text(text):
                for piece in pieces(text):
                    on_event(TextDelta(piece))
            case Thinking(text):
                for piece in pieces(text):
                    on_event(ThinkingDelta(piece))
            case ToolCall(id, name):
                on_event(ToolCallDelta(id, name, ""))
                for piece in pieces(argument_text(part)):
                    on_event(ToolCallDelta(id, name, piece))
            case _:  # nothing that is streamed
                pass
