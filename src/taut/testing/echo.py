"""A model that needs no script: it echoes, does what the prompt says in so many words, or tries every tool once.

Enough to see whether an agent's configuration works: its servers, its tools, the way of a call and of its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from taut.errors import ConfigError
from taut.llm.messages import Message, Text, ToolCall, ToolResult, Usage
from taut.llm.model import ModelRequest, OnEvent, ToolSpec
from taut.testing.answering import AnsweringModel
from taut.testing.answers import Answer
from taut.testing.examples import example

__all__ = ["EchoModel"]

CALL = "***CALL_TOOL"
FIXED = "***FIXED_RESPONSE"


class EchoModel(AnsweringModel):
    """Answers with the last thing that was said: the user's text, or the results of tools.

    A line ``***CALL_TOOL name {"a": 1}`` of the user's calls the tool, which need not exist, with these arguments;
    several lines, several tools. ``***FIXED_RESPONSE text``, in the instructions or in any message of the user, is
    what is then always answered; the last one counts.

    In ``auto`` mode it calls every tool of the request once after each message of the user, with the arguments that
    their schemas ask for (`taut.testing.example`), all at once or, without parallel calls, one by one; then it
    answers with a JSON object of the results by tool, or with an example of the output's schema if there is one.
    ``tool_choice`` is heeded in this mode.

    For the other settings see `taut.testing.answering.AnsweringModel`.
    """

    def __init__(
        self,
        mode: Literal["echo", "auto"] = "echo",
        *,
        name: str = "echo",
        usage: Usage | None = None,
        keep: int | None = 100,
        snapshot: bool = False,
    ) -> None:
        super().__init__(name=name, usage=usage, keep=keep, snapshot=snapshot)
        if mode not in ("echo", "auto"):
            raise ConfigError(f"Expected the mode echo or auto, got {mode!r}")
        self._mode = mode

    def find(self, request: ModelRequest, on_event: OnEvent) -> Answer:
        """Return what the request itself says to answer."""
        fixed = _fixed(request)
        if fixed is not None:
            return fixed
        last = request.messages[-1] if request.messages else None
        if last is not None and last.role == "user":
            calls = _calls(last.text)
            if calls:
                return calls
        if self._mode == "auto":
            return _auto(request)
        return "" if last is None else _text(last)


def _auto(request: ModelRequest) -> Answer:
    turn = _turn(request.messages)
    called = {made.name for message in turn for made in message.tool_calls}
    left = _left(request, called)
    if left:
        at_once = len(left) if request.settings.parallel_tool_calls is not False else 1
        return [ToolCall("", tool.name, example(tool.input_schema)) for tool in left[:at_once]]
    if request.output_schema is not None:
        return _json(example(request.output_schema))
    results = [
        part
        for message in turn
        if message.role == "tool"
        for part in message.content
        if isinstance(part, ToolResult)
    ]
    return _json({part.name: _value(part.text) for part in results})


def _left(request: ModelRequest, called: set[str]) -> Sequence[ToolSpec]:
    """Return the tools that are to be called now."""
    match request.tool_choice:
        case "none":
            return ()
        case "auto":
            return [tool for tool in request.tools if tool.name not in called]
        case "required":
            return [tool for tool in request.tools if tool.name not in called] or request.tools[:1]
        case name:
            return [tool for tool in request.tools if tool.name == name]


def _turn(messages: Sequence[Message]) -> list[Message]:
    """Return what was said since the user's last message."""
    turn: list[Message] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        turn.append(message)
    return turn[::-1]


def _fixed(request: ModelRequest) -> str | None:
    found = _after(request.instructions, FIXED)
    for message in request.messages:
        if message.role == "user":
            found = _after(message.text, FIXED) or found
    return found[-1].strip() if found else None


def _calls(text: str) -> list[ToolCall]:
    calls = []
    for line in _after(text, CALL):
        name, _, arguments = line.strip().partition(" ")
        calls.append(_call(name, arguments.strip()))
    return calls


def _call(name: str, arguments: str) -> ToolCall:
    try:
        value: Any = msgspec.json.decode(arguments) if arguments else {}
    except msgspec.DecodeError:
        value = None
    if isinstance(value, dict):
        return ToolCall("", name, value)
    return ToolCall("", name, {}, malformed=arguments)


def _after(text: str, mark: str) -> list[str]:
    """Return what follows the mark on the lines that begin with it."""
    if mark not in text:
        return []
    lines = [line.lstrip() for line in text.splitlines()]
    return [line[len(mark) :] for line in lines if line.startswith(mark)]


def _text(message: Message) -> str:
    parts = [part.text for part in message.content if isinstance(part, Text | ToolResult)]
    return "\n".join(parts)


def _value(text: str) -> Any:
    """Return the JSON value that a result is, or its text."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
