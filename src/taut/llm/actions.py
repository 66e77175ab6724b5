"""Tools for models that have none: the model writes what it wants to do as JSON, of a schema that leaves no other way.

A request with tools becomes one without: the instructions list the tools, the schema of the answer is one
object for each tool, ``{"tool": name, "arguments": {...}}``, or the final ``{"answer": ...}``, and calls and
results of the conversation are written as text. The answer is turned back into a `ToolCall` or into text. Where
a server enforces the schema (llama.cpp, vLLM, Ollama, LM Studio) this works with models of any size; elsewhere
the instructions must do, so the answer is read with patience: fences, prose around the JSON and the names that
other formats use are understood.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias, final

import msgspec

from taut.errors import ConfigError
from taut.llm.action_reading import Action, Answer, AnswerText, read_action
from taut.llm.messages import Message, Part, Text, Thinking, ToolCall, ToolResult
from taut.llm.model import (
    Model,
    ModelEvent,
    ModelRequest,
    ModelResponse,
    OnEvent,
    Restarted,
    StopReason,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
    ignore,
)
from taut.llm.reading import count_calls, read_arguments
from taut.llm.requesting import error_text
from taut.llm.schemas import move_refs, rooted
from taut.llm.signatures import parameter_notes, signature

__all__ = [
    "PLAIN",
    "SMALL",
    "ActionOptions",
    "JsonActions",
    "action_request",
    "action_schema",
    "respond_with_actions",
]

Respond: TypeAlias = Callable[[ModelRequest, OnEvent], Awaitable[ModelResponse]]

#: Characters of a tool's description that the list of tools shows.
MAX_DESCRIPTION = 500
#: And of what is said of a parameter.
MAX_NOTE = 200


class ActionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What helps a small model along.

    ``after_results`` is said to it behind the results of tools. ``max_repeats`` is how often in a row it may
    make the same call: then that tool is not offered to it, once.

    :raises taut.errors.ConfigError: ``max_repeats`` is not positive.
    """

    after_results: str = ""
    max_repeats: int | None = None

    def __post_init__(self) -> None:
        if self.max_repeats is not None and self.max_repeats < 1:
            raise ConfigError(f"Expected a positive max_repeats, got {self.max_repeats}")


PLAIN = ActionOptions()
#: For models of less than a billion parameters, which forget what they were asked, and repeat themselves.
SMALL = ActionOptions(after_results="Tell the user the answer.", max_repeats=2)


@final
class JsonActions:
    """``model``, with tools that it need not know: see the module. Requests without tools are passed on as they are.

    Closing it closes the model.
    """

    def __init__(self, model: Model, options: ActionOptions = PLAIN) -> None:
        self._model = model
        self._options = options

    @property
    def name(self) -> str:
        """See `taut.llm.Model`."""
        return self._model.name

    def __repr__(self) -> str:
        return f"JsonActions({self._model!r})"

    async def respond(self, request: ModelRequest, on_event: OnEvent = ignore) -> ModelResponse:
        """See `taut.llm.Model`."""
        return await respond_with_actions(self._model.respond, request, on_event, self._options)

    async def close(self) -> None:
        """See `taut.llm.Model`."""
        await self._model.close()


async def respond_with_actions(
    respond: Respond, request: ModelRequest, on_event: OnEvent, options: ActionOptions = PLAIN
) -> ModelResponse:
    """Return the answer to ``request`` of a model without tools, whose `Model.respond` is ``respond``.

    Of what the model says, the text of its answer is told to ``on_event`` as it comes, and a call when it is complete.
    """
    if not request.tools:
        return await respond(request, on_event)
    calls_before = count_calls(request.messages)
    has_schema = request.output_schema is not None
    if request.tool_choice == "none":
        return await respond(_without_tools(request), on_event)
    asked = action_request(request, options)
    telling = None if on_event is ignore else _Telling(on_event, raw=has_schema)
    response = await respond(asked, ignore if telling is None else telling)
    said = response.message.text
    actions = read_action(said, [tool.name for tool in request.tools])
    parts: list[Part] = [part for part in response.message.content if isinstance(part, Thinking)]
    if isinstance(actions, Answer):
        said = (
            actions.text()
            if request.output_schema is None
            else _of_schema(said, actions, request.output_schema)
        )
    calls = _calls(actions, calls_before) if isinstance(actions, list) else []
    stop_reason: StopReason = response.stop_reason
    if calls:
        parts += calls
        said = ""
        stop_reason = "tool_calls" if stop_reason in ("stop", "other") else stop_reason
    elif said:
        parts.append(Text(said))
    if telling is not None:
        telling.end(said, calls)
    message = Message("assistant", tuple(parts))
    return msgspec.structs.replace(response, message=message, stop_reason=stop_reason)


def _of_schema(said: str, answer: Answer, schema: dict[str, Any]) -> str:
    """Return the JSON of an answer of ``schema``, which models without a grammar wrap once, twice or not at all."""
    if isinstance(answer.value, dict | list) or rooted(schema).get("type", "object") != "object":
        return answer.written
    if isinstance(answer.value, str):
        try:
            if isinstance(msgspec.json.decode(answer.value), dict):
                return answer.value
        except (msgspec.DecodeError, UnicodeEncodeError):
            pass  # then it is no JSON in a string
    return said


def _calls(actions: list[Action], before: int) -> list[ToolCall]:
    made = []
    for number, action in enumerate(actions, before + 1):
        if action.broken is not None:
            made.append(ToolCall(f"call_{number}", action.tool, {}, malformed=action.broken))
        else:
            made.append(read_arguments(f"call_{number}", action.tool, action.arguments))
    return made


# -- requests


def action_request(request: ModelRequest, options: ActionOptions = PLAIN) -> ModelRequest:
    """Return ``request`` without tools, in whose answer the model can write calls of them."""
    tools, may_answer = _choice(request, options.max_repeats)
    raw = request.output_schema is not None
    messages = [_rewritten(message, as_json=True, raw=raw) for message in request.messages]
    if options.after_results and may_answer and request.messages and request.messages[-1].role == "tool":
        messages[-1] = Message("user", (*messages[-1].content, Text(options.after_results)))
    return msgspec.structs.replace(
        request,
        messages=messages,
        instructions=_instructions(request, tools, may_answer),
        tools=(),
        tool_choice="auto",
        output_schema=action_schema(tools, request.output_schema, may_answer=may_answer),
    )


def _without_tools(request: ModelRequest) -> ModelRequest:
    """Return ``request`` for an answer without calls."""
    messages = [_rewritten(message, as_json=False, raw=False) for message in request.messages]
    return msgspec.structs.replace(request, messages=messages, tools=(), tool_choice="auto")


def _choice(request: ModelRequest, max_repeats: int | None) -> tuple[Sequence[ToolSpec], bool]:
    """Return which tools may be called, and whether the model may answer instead."""
    choice = request.tool_choice
    if choice == "auto":
        repeated = None if max_repeats is None else _repeated(request.messages, max_repeats)
        return [tool for tool in request.tools if tool.name != repeated], True
    if choice == "required":
        return request.tools, False
    chosen = [tool for tool in request.tools if tool.name == choice]
    return (chosen, False) if chosen else (request.tools, True)


def _repeated(messages: Sequence[Message], times: int) -> str | None:
    """Return the name of the tool that was called this often in a row with the same arguments, and last."""
    last: ToolCall | None = None
    for message in reversed(messages):
        if message.role == "user":
            return None
        for call in reversed(message.tool_calls):
            if last is None:
                last = call
            elif (call.name, call.arguments) != (last.name, last.arguments):
                return None
            times -= 1
            if times == 0:
                return last.name
    return None


def _instructions(request: ModelRequest, tools: Sequence[ToolSpec], may_answer: bool) -> str:
    """Return the instructions with the list of tools. Short, and the form last: small models lose the thread."""
    lines = [request.instructions, ""] if request.instructions else []
    if tools:
        lines.append("Tools:")
    for tool in tools:
        about = " ".join(tool.description.split())
        if len(about) > MAX_DESCRIPTION:
            about = about[:MAX_DESCRIPTION] + "..."
        lines.append(f"- {tool.name}{signature(tool.input_schema)}{_notes(tool)}{about and f': {about}'}")
    shown = '"..."' if request.output_schema is None else "..."
    if tools:
        lines.append('Reply with one JSON object. To use a tool: {"tool": "NAME", "arguments": {...}}')
        if may_answer:
            lines.append(f'After the result of the tool, or if you need none: {{"answer": {shown}}}')
    else:
        lines.append(f'Reply with one JSON object: {{"answer": {shown}}}')
    return "\n".join(lines)


def _notes(tool: ToolSpec) -> str:
    """Return what is said of the tool's parameters."""
    notes = parameter_notes(tool.input_schema).items()
    said = "; ".join(f"{name}: {note[:MAX_NOTE]}{'...' * (len(note) > MAX_NOTE)}" for name, note in notes)
    return said and f" [{said}]"


def action_schema(
    tools: Sequence[ToolSpec], output_schema: dict[str, Any] | None, *, may_answer: bool = True
) -> dict[str, Any]:
    """Return the schema of what the model may write: one call of ``tools``, or its answer.

    Definitions of the schemas in it are moved to its root, under names of their own, and references with them.
    """
    definitions: dict[str, Any] = {}
    branches: list[dict[str, Any]] = []
    for tool in tools:
        arguments = _hoisted({"type": "object", **tool.input_schema}, tool.name, definitions)
        if arguments.get("properties"):
            # Small models go on for ever with arguments that they make up.
            arguments.setdefault("additionalProperties", False)
        branches.append(_object(tool={"type": "string", "const": tool.name}, arguments=arguments))
    if may_answer:
        answer: dict[str, Any] = {"type": "string"}
        if output_schema is not None:
            answer = _hoisted(output_schema, "", definitions)
        branches.append(_object(answer=answer))
    schema: dict[str, Any] = {"type": "object", "anyOf": branches}
    if len(branches) == 1:
        schema = dict(branches[0])
    if definitions:
        schema["$defs"] = definitions
    return schema


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _hoisted(schema: dict[str, Any], owner: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` as it stands within another one, whose ``definitions`` take up its own.

    ``owner.name`` is new for each pair: names of tools have no dot. A reference to anything but a definition takes the
    whole schema along, as ``owner.``.
    """
    whole = False

    def moved(reference: str) -> str:
        nonlocal whole
        for place in ("#/$defs/", "#/definitions/"):
            if reference.startswith(place):
                return f"#/$defs/{owner}.{reference[len(place) :]}"
        if reference == "#" or reference.startswith("#/"):
            whole = True
            return f"#/$defs/{owner}.{reference[1:]}"
        return reference

    made: dict[str, Any] = move_refs(rooted(schema), moved)
    made.pop("$schema", None)
    for place in ("$defs", "definitions"):
        for name, definition in made.pop(place, {}).items():
            definitions[f"{owner}.{name}"] = definition
    if whole:
        definitions[f"{owner}."] = made
    return dict(made)


def _rewritten(message: Message, *, as_json: bool, raw: bool) -> Message:
    """Return a message with calls and results as text; ``as_json``: with answers as the model is to write them now, and
    ``raw`` if they are JSON themselves."""
    if message.role == "assistant":
        lines = []
        for part in message.content:
            if isinstance(part, ToolCall):
                lines.append(_call_text(part))
            elif isinstance(part, Text) and part.text:
                answers = as_json and not message.tool_calls
                lines.append(_answer_text(part.text, raw=raw) if answers else part.text)
        return Message("assistant", (Text("\n".join(lines)),))
    if not any(isinstance(part, ToolResult) for part in message.content):
        return message
    parts: list[Part] = []
    for part in message.content:
        if not isinstance(part, ToolResult):
            parts.append(part)
            continue
        parts.append(Text(f"Result of {part.name}: {error_text(part, part.text)}"))
        if not isinstance(part.content, str):
            parts += (one for one in part.content if not isinstance(one, Text))
    return Message("user", tuple(parts))


def _call_text(call: ToolCall) -> str:
    if call.malformed is not None:
        return call.malformed
    return _json({"tool": call.name, "arguments": call.arguments})


def _answer_text(text: str, *, raw: bool) -> str:
    if raw:
        try:
            return _json({"answer": msgspec.json.decode(text)})
        except msgspec.DecodeError:
            pass  # said before there was a schema
    return _json({"answer": text})


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# -- what is told


class _Telling:
    """Tells the text of the answer as it comes, out of the JSON around it."""

    __slots__ = ("_on_event", "_raw", "_told", "_view")

    def __init__(self, on_event: OnEvent, *, raw: bool) -> None:
        self._on_event = on_event
        self._raw = raw
        self._told: list[str] = []
        self._view = AnswerText(raw=raw)

    def __call__(self, event: ModelEvent) -> None:
        if isinstance(event, TextDelta):
            self._tell(self._view.feed(event.text))
            return
        if isinstance(event, Restarted):
            self._told.clear()
            self._view = AnswerText(raw=self._raw)
        self._on_event(event)

    def _tell(self, more: str) -> None:
        if more:
            self._told.append(more)
            self._on_event(TextDelta(more))

    def end(self, text: str, calls: list[ToolCall]) -> None:
        """Tell what is still to be told of the answer."""
        told = "".join(self._told)
        if not text.startswith(told):
            self._on_event(Restarted("the answer was read anew, with what came behind it"))
            told = ""
        self._tell(text[len(told) :])
        for call in calls:
            arguments = _json(call.arguments) if call.malformed is None else call.malformed
            self._on_event(ToolCallDelta(call.id, call.name, arguments))
