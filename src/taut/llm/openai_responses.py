"""The Responses format of OpenAI, used without state on the server: ``store`` is false, and each request has it all.

No I/O: `responses_body` makes the body of a request, `ResponsesReader` reads the answer, whole or as events.
What a model thought comes encrypted, and goes back with the conversation: it is kept in the signature of a
`Thinking`, with what else the server wants to see again. The format has no seed and no stop sequences; those
settings are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, final

import msgspec

from taut.errors import InvalidModelAnswer, ModelUnavailable
from taut.llm.failures import Problem, read_problem, told_failure
from taut.llm.messages import Image, Message, Part, Text, Thinking, ToolCall, ToolResult, Usage
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, OnEvent, StopReason
from taut.llm.reading import Telling, decode, fresh_id, read_arguments
from taut.llm.requesting import arguments_text, data_url, error_text, merged_body, unsupported
from taut.llm.schemas import is_strict, rooted

if TYPE_CHECKING:
    from taut._core import SSEEvent

__all__ = ["ResponsesReader", "responses_body"]

#: How a signature of this format begins; others are not sent here.
SIGNED = "openai:"
#: Models that think. Others refuse to be asked for their encrypted thinking.
_THINKS = re.compile(r"(.*/)?(o\d|gpt-[5-9]|gpt-oss|codex)")


# -- requests


def responses_body(
    request: ModelRequest, settings: ModelSettings, *, who: str, model: str, stream: bool
) -> dict[str, Any]:
    """Return the body that asks ``model`` with ``request``.

    :raises taut.errors.ModelRefused: a message has a part that this format has no place for.
    """
    items: list[dict[str, Any]] = []
    for message in request.messages:
        items.extend(_assistant(message, who) if message.role == "assistant" else _said(message, who))
    body: dict[str, Any] = {"model": model, "input": items, "store": False}
    if request.instructions:
        body["instructions"] = request.instructions
    if _THINKS.match(model):
        body["include"] = ["reasoning.encrypted_content"]
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.input_schema,
                "strict": is_strict(tool.input_schema),  # which is the default here
            }
            for tool in request.tools
        ]
        if request.tool_choice in ("none", "required"):
            body["tool_choice"] = request.tool_choice
        elif request.tool_choice != "auto":
            body["tool_choice"] = {"type": "function", "name": request.tool_choice}
        if settings.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = settings.parallel_tool_calls
    if request.output_schema is not None:
        schema = rooted(request.output_schema)
        form = {"type": "json_schema", "name": "answer", "schema": schema, "strict": is_strict(schema)}
        body["text"] = {"format": form}
    if settings.effort is not None:
        body["reasoning"] = {"effort": settings.effort}
    given = (
        ("temperature", settings.temperature),
        ("top_p", settings.top_p),
        ("max_output_tokens", settings.max_tokens),
    )
    body |= {name: value for name, value in given if value is not None}
    if stream:
        body["stream"] = True
    return merged_body(body, settings.extra)


def _said(message: Message, who: str) -> Iterator[dict[str, Any]]:
    """Yield what a user or a tool said."""
    shown: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, ToolResult):
            yield {
                "type": "function_call_output",
                "call_id": part.call_id,
                "output": _output(part, who),
            }
        else:
            shown.append(_shown(part, who, "a user's message"))
    if shown or message.role == "user":
        yield {"role": "user", "content": shown}


def _output(result: ToolResult, who: str) -> str | list[dict[str, Any]]:
    if isinstance(result.content, str) or all(isinstance(part, Text) for part in result.content):
        return error_text(result, result.text)
    return [_shown(part, who, "a result") for part in result.content]


def _shown(part: Part, who: str, where: str) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": data_url(part)}
    raise unsupported(who, part, where)


class _Kept(msgspec.Struct, omit_defaults=True):
    """What is kept in a signature: a reasoning item, or the phase of the message that follows."""

    id: str | None = None
    encrypted_content: str | None = None
    phase: str | None = None


_KEPT = msgspec.json.Decoder(_Kept)


def _signed(kept: _Kept) -> str:
    return SIGNED + msgspec.json.encode(kept).decode()


def _kept(signature: str | None) -> _Kept | None:
    """Return what a signature holds; None if it is another provider's, or none."""
    if signature is None or not signature.startswith(SIGNED):
        return None
    try:
        return _KEPT.decode(signature[len(SIGNED) :])
    except msgspec.DecodeError:
        return None


def _assistant(message: Message, who: str) -> Iterator[dict[str, Any]]:
    """Yield what the model said, item by item and in its order, as the server checks that."""
    phase: str | None = None
    for part in message.content:
        if isinstance(part, Text):
            item: dict[str, Any] = {"role": "assistant", "content": part.text}
            if phase is not None:
                item["phase"], phase = phase, None
            yield item
        elif isinstance(part, ToolCall):
            arguments = arguments_text(part)
            yield {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": arguments}
        elif isinstance(part, Thinking):
            kept = _kept(part.signature)
            if kept is None:
                continue
            if kept.phase is not None:
                phase = kept.phase
                continue
            summary = [{"type": "summary_text", "text": part.text}] if part.text else []
            yield {
                "type": "reasoning",
                "id": kept.id,
                "summary": summary,
                "encrypted_content": kept.encrypted_content,
            }
        else:
            raise unsupported(who, part, "an assistant's message")


# -- answers


class _Piece(msgspec.Struct):
    type: str = ""
    text: str = ""
    refusal: str = ""


class _Item(msgspec.Struct):
    type: str = ""
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: Any = None
    summary: list[_Piece] | None = None
    content: list[_Piece] | None = None
    encrypted_content: str | None = None
    phase: str | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    model: str | None = None
    output: list[_Item] | None = None
    usage: _Usage | None = None
    incomplete_details: _Incomplete | None = None
    error: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    delta: Any = None
    output_index: int = 0
    summary_index: int = 0
    item: _Item | None = None
    response: _Response | None = None
    error: Any = None
    code: Any = None
    message: str | None = None


_EVENTS = msgspec.json.Decoder(_Event, strict=False)
_RESPONSES = msgspec.json.Decoder(_Response, strict=False)
_DELTAS = frozenset(
    {
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_text.delta",
        "response.function_call_arguments.delta",
    }
)


@final
class ResponsesReader:
    """Reads one response; see `taut.llm.reading.Reader`. ``calls_before`` counts the calls in the conversation."""

    def __init__(self, who: str, on_event: OnEvent, *, calls_before: int = 0) -> None:
        self._who = who
        self._tell = Telling(on_event)
        self._before = calls_before
        #: Items that are complete, and the function calls that are not, by their index.
        self._items: dict[int, _Item] = {}
        self._open: dict[int, _Item] = {}
        self._response: _Response | None = None

    @property
    def told(self) -> bool:
        """See `taut.llm.reading.Reader`."""
        return self._tell.told

    def event(self, event: SSEEvent) -> bool:
        """See `taut.llm.reading.Reader`."""
        if not event.data or event.data == b"[DONE]":
            return False
        found = decode(self._who, event.data, _EVENTS)
        kind = found.type or event.event
        if kind in _DELTAS:
            self._take_delta(kind, found)
        elif kind == "response.output_item.added" and found.item is not None:
            self._begin(found.output_index, found.item)
        elif kind == "response.output_item.done" and found.item is not None:
            self._items[found.output_index] = found.item
        elif kind == "response.reasoning_summary_part.added" and found.summary_index:
            self._tell.thinking("\n\n")
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            if found.response is None:
                raise InvalidModelAnswer(f"{self._who}: expected a response in the event {kind}, got none")
            self._end(found.response)
            return True
        elif kind == "error":
            problem = read_problem({"error": found.error}) or Problem(
                found.message or "an error without a message",
                frozenset({found.code} if isinstance(found.code, str) else ()),
            )
            raise told_failure(self._who, problem)
        return False

    def whole(self, body: bytes) -> None:
        """See `taut.llm.reading.Reader`."""
        response = decode(self._who, body, _RESPONSES)
        if response.output is None and response.error is None:
            raise InvalidModelAnswer(f"{self._who}: expected a response with its output, got none")
        for index, item in enumerate(response.output or ()):
            self._begin(index, item, whole=True)
        self._end(response)

    def _begin(self, index: int, item: _Item, *, whole: bool = False) -> None:
        if item.type == "function_call":
            if not item.name:
                raise InvalidModelAnswer(f"{self._who}: expected the name of a function to call, got none")
            if not item.call_id:
                taken = {one.call_id for one in self._open.values()}
                item.call_id = fresh_id(self._before + len(self._open), taken.__contains__)
            self._open[index] = item
            self._tell.call(item.call_id, item.name, (item.arguments or "") if whole else "")
        elif whole and item.type == "message":
            for piece in item.content or ():
                if piece.text or piece.refusal:
                    self._tell.text(piece.text or piece.refusal)
        elif whole and item.type == "reasoning" and (text := _thought(item)):
            self._tell.thinking(text)

    def _take_delta(self, kind: str, event: _Event) -> None:
        more = event.delta
        if not isinstance(more, str):
            raise InvalidModelAnswer(f"{self._who}: expected text in the event {kind}, got {more!r:.100}")
        if not more:
            return
        if kind == "response.function_call_arguments.delta":
            call = self._open.get(event.output_index)
            if call is None or call.call_id is None:
                raise InvalidModelAnswer(
                    f"{self._who}: expected a function call to begin at index {event.output_index} "
                    "before its arguments come"
                )
            self._tell.call(call.call_id, call.name or "", more)
        elif kind.startswith("response.reasoning"):
            self._tell.thinking(more)
        else:
            self._tell.text(more)

    def _end(self, response: _Response) -> None:
        if response.error is not None:
            problem = read_problem({"error": response.error}) or Problem("a failure without a message")
            raise told_failure(self._who, problem)
        if response.status == "failed":
            raise told_failure(self._who, Problem("the response failed, without an error"))
        self._response = response

    def finish(self) -> ModelResponse:
        """See `taut.llm.reading.Reader`."""
        response = self._response
        if response is None:
            raise ModelUnavailable(
                f"{self._who}: expected the whole answer, got a stream that ended before its end"
            )
        # Some servers leave the output out of the last event.
        items = dict(enumerate(response.output)) if response.output else self._items
        parts: list[Part] = []
        refused = False
        for index, item in sorted(items.items()):
            if item.type == "reasoning":
                # Without its encrypted form the server would not know it again.
                kept = _Kept(item.id, item.encrypted_content) if item.encrypted_content else None
                parts.append(Thinking(_thought(item), None if kept is None else _signed(kept)))
            elif item.type == "message":
                if item.phase is not None:
                    parts.append(Thinking("", _signed(_Kept(phase=item.phase))))
                for piece in item.content or ():
                    refused = refused or bool(piece.refusal)
                    if piece.text or piece.refusal:
                        parts.append(Text(piece.text or piece.refusal))
            elif item.type == "function_call":
                parts.append(self._call(index, item))
        return ModelResponse(
            message=Message("assistant", tuple(parts)),
            usage=_read_usage(response.usage),
            stop_reason=_stop_reason(response, parts, refused),
            model=response.model or "",
        )

    def _call(self, index: int, item: _Item) -> ToolCall:
        begun = self._open.get(index)
        id = item.call_id or (begun.call_id if begun is not None else None)
        if not id or not item.name:
            raise InvalidModelAnswer(
                f"{self._who}: expected a function call with its id and name, got one without"
            )
        return read_arguments(id, item.name, "" if item.arguments is None else item.arguments)


def _thought(item: _Item) -> str:
    """The text of a reasoning item: its summary, or the thinking itself where a server shows that."""
    return "\n\n".join(piece.text for piece in (item.summary or item.content or ()))


def _read_usage(usage: _Usage | None) -> Usage:
    if usage is None:
        return Usage(requests=1, cost=None)
    read = usage.input_tokens_details or _InputDetails()
    written = usage.output_tokens_details or _OutputDetails()
    return Usage(
        input_tokens=usage.input_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        cached_tokens=read.cached_tokens or 0,
        cache_write_tokens=read.cache_write_tokens or 0,
        thinking_tokens=written.reasoning_tokens or 0,
        requests=1,
        cost=None,
    )


def _stop_reason(response: _Response, parts: list[Part], refused: bool) -> StopReason:
    if response.status == "incomplete":
        reason = response.incomplete_details.reason if response.incomplete_details is not None else None
        if reason == "max_output_tokens":
            return "length"
        return "refusal" if reason == "content_filter" else "other"
    if refused:
        return "refusal"
    return "tool_calls" if any(isinstance(part, ToolCall) for part in parts) else "stop"
