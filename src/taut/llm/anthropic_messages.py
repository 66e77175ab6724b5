"""The Messages format of Anthropic.

No I/O: `messages_body` makes the body of a request, `MessagesReader` reads the answer, whole or as events.
Thinking keeps its signature, and goes back with the conversation, redacted thinking as well. The format has no
seed and no sound; the setting is left out, and sound refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, final

import msgspec

from taut.errors import InvalidModelAnswer, ModelUnavailable
from taut.llm.failures import read_problem, told_failure
from taut.llm.messages import Image, Message, Part, Text, Thinking, ToolCall, ToolResult, Usage
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, OnEvent, StopReason
from taut.llm.reading import OpenCall, Telling, decode
from taut.llm.requesting import merged_body, safe_id, unsupported
from taut.llm.schemas import closed, rooted

if TYPE_CHECKING:
    from taut._core import SSEEvent

__all__ = ["CacheTtl", "MessagesReader", "messages_body"]

#: How long the provider is to remember the beginning of a conversation; None does not ask for it.
CacheTtl: TypeAlias = Literal["5m", "1h"] | None

#: How signatures of this format begin; others are not sent here.
SIGNED = "anthropic:"
REDACTED = "anthropic-redacted:"

_STOP_REASONS: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}


# -- requests


def messages_body(
    request: ModelRequest,
    settings: ModelSettings,
    *,
    who: str,
    model: str,
    stream: bool,
    max_tokens: int,
    cache: CacheTtl = None,
    thinking: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body that asks ``model`` with ``request``.

    ``max_tokens`` is used where the settings have none: the format wants one. With ``cache``, the ends of the tools and
    the instructions, and of the last message, are where the provider's cache is written and read.

    :raises taut.errors.ModelRefused: a message has a part that this format has no place for.
    """
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens if settings.max_tokens is None else settings.max_tokens,
        "messages": _turns(request, who),
    }
    if request.instructions:
        body["system"] = [{"type": "text", "text": request.instructions}]
    if request.tools:
        body["tools"] = [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": {"type": "object", **tool.input_schema},
            }
            for tool in request.tools
        ]
        choice = _tool_choice(request.tool_choice, settings.parallel_tool_calls)
        if choice is not None:
            body["tool_choice"] = choice
    output: dict[str, Any] = {}
    if settings.effort is not None:
        output["effort"] = settings.effort
    if request.output_schema is not None:
        output["format"] = {"type": "json_schema", "schema": closed(rooted(request.output_schema))}
    given = (
        ("output_config", output or None),
        ("temperature", settings.temperature),
        ("top_p", settings.top_p),
        ("stop_sequences", list(settings.stop) or None),
        ("thinking", None if thinking is None else dict(thinking)),
        ("stream", stream or None),
    )
    body |= {name: value for name, value in given if value is not None}
    if cache is not None:
        _mark(body, cache)
    return merged_body(body, settings.extra)


def _tool_choice(choice: str, parallel: bool | None) -> dict[str, Any] | None:
    if choice == "none":
        return {"type": "none"}
    made: dict[str, Any] = {"type": {"auto": "auto", "required": "any"}.get(choice, "tool")}
    if made["type"] == "tool":
        made["name"] = choice
    if parallel is not None:
        made["disable_parallel_tool_use"] = not parallel
    return None if made == {"type": "auto"} else made


def _mark(body: dict[str, Any], ttl: str) -> None:
    """Mark the ends of what stays the same. Tools come before the instructions, so one mark covers both."""
    mark = {"type": "ephemeral"} if ttl == "5m" else {"type": "ephemeral", "ttl": ttl}
    for fixed in (body.get("system"), body.get("tools")):
        if fixed:
            fixed[-1]["cache_control"] = mark
            break
    if body["messages"]:
        markable = [block for block in body["messages"][-1]["content"] if "thinking" not in block["type"]]
        if markable:
            markable[-1]["cache_control"] = mark


def _turns(request: ModelRequest, who: str) -> list[dict[str, Any]]:
    """Return the messages with those of one role after another as one; blocks without text are refused, so left out."""
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = list(_blocks(message.content, who, role))
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(parts: tuple[Part, ...], who: str, role: str) -> Iterator[dict[str, Any]]:
    for part in parts:
        if isinstance(part, Text):
            if part.text:
                yield {"type": "text", "text": part.text}
        elif isinstance(part, Image):
            source = {"type": "base64", "media_type": part.mime_type, "data": part.data}
            yield {"type": "image", "source": source}
        elif isinstance(part, Thinking):
            signature = part.signature or ""
            if signature.startswith(SIGNED):
                yield {
                    "type": "thinking",
                    "thinking": part.text,
                    "signature": signature.removeprefix(SIGNED),
                }
            elif signature.startswith(REDACTED):
                yield {"type": "redacted_thinking", "data": signature.removeprefix(REDACTED)}
        elif isinstance(part, ToolCall):
            arguments = part.arguments if part.malformed is None else {"malformed": part.malformed}
            yield {"type": "tool_use", "id": safe_id(part.id), "name": part.name, "input": arguments}
        elif isinstance(part, ToolResult):
            yield _result(part, who)
        else:
            raise unsupported(who, part, f"a message of the {role}")


def _result(result: ToolResult, who: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "tool_result", "tool_use_id": safe_id(result.call_id)}
    if isinstance(result.content, str):
        made["content"] = result.content
    else:
        made["content"] = list(_blocks(result.content, who, "tool"))
    if result.is_error:
        made["is_error"] = True
    return made


# -- answers


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: Any = None


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Answer(msgspec.Struct):
    model: str = ""
    content: list[_Block] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = -1
    message: _Answer | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None


_EVENTS = msgspec.json.Decoder(_Event)
_ANSWERS = msgspec.json.Decoder(_Answer)


class _Open:
    """A block of the answer while it grows."""

    __slots__ = ("block", "call", "pieces")

    def __init__(self, block: _Block) -> None:
        self.block = block
        self.pieces: list[str] = []
        self.call = OpenCall(block.id, block.name) if block.type == "tool_use" else None

    def part(self) -> Part | None:
        """The block as a part; None for blocks of tools that run at the provider."""
        block = self.block
        if self.call is not None:
            return self.call.closed()
        if block.type == "text":
            return Text("".join(self.pieces))
        if block.type == "thinking":
            return Thinking("".join(self.pieces), SIGNED + block.signature if block.signature else None)
        if block.type == "redacted_thinking":
            return Thinking("", REDACTED + block.data)
        return None


@final
class MessagesReader:
    """Reads one message; see `taut.llm.reading.Reader`."""

    def __init__(self, who: str, on_event: OnEvent) -> None:
        self._who = who
        self._tell = Telling(on_event)
        self._blocks: dict[int, _Open] = {}
        self._usage = _Usage()
        self._counted = False
        self._model = ""
        self._stop_reason: str | None = None
        self._ended = False

    @property
    def told(self) -> bool:
        """See `taut.llm.reading.Reader`."""
        return self._tell.told

    def event(self, event: SSEEvent) -> bool:
        """See `taut.llm.reading.Reader`."""
        if not event.data:
            return False
        found = decode(self._who, event.data, _EVENTS)
        kind = found.type
        if kind == "content_block_delta":
            self._take_delta(found)
        elif kind == "content_block_start":
            self._begin(found)
        elif kind == "message_start" and found.message is not None:
            self._model = found.message.model
            self._count(found.message.usage)
        elif kind == "message_delta":
            self._count(found.usage)
            if found.delta is not None and found.delta.stop_reason:
                self._stop_reason = found.delta.stop_reason
        elif kind == "message_stop":
            self._ended = True
            return True
        elif kind == "error":
            self._fail(found.error)
        return False

    def _fail(self, error: Any) -> None:
        problem = read_problem({"error": error})
        if problem is None:
            raise InvalidModelAnswer(f"{self._who}: expected an error with a message, got {error!r:.200}")
        raise told_failure(self._who, problem)

    def _begin(self, event: _Event) -> None:
        block = event.content_block
        if block is None or event.index in self._blocks:
            raise InvalidModelAnswer(
                f"{self._who}: expected a new block to start, got one at index {event.index}"
            )
        opened = self._blocks[event.index] = _Open(block)
        if opened.call is not None:
            if not block.id or not block.name:
                raise InvalidModelAnswer(
                    f"{self._who}: expected a tool use with its id and name, got one without"
                )
            if block.input:
                opened.call.value = block.input  # replaced by what comes in pieces, if anything does
            self._tell.call(block.id, block.name, "")
        elif block.text:
            opened.pieces.append(block.text)
            self._tell.text(block.text)
        elif block.thinking:
            opened.pieces.append(block.thinking)
            self._tell.thinking(block.thinking)

    def _take_delta(self, event: _Event) -> None:
        opened, delta = self._blocks.get(event.index), event.delta
        if opened is None or delta is None:
            raise InvalidModelAnswer(
                f"{self._who}: expected a block to start at index {event.index} before more of it comes"
            )
        kind, call = delta.type, opened.call
        if kind == "text_delta" and opened.block.type == "text":
            opened.pieces.append(delta.text)
            self._tell.text(delta.text)
        elif kind == "input_json_delta":
            if call is not None and delta.partial_json:
                call.value = None
                call.pieces.append(delta.partial_json)
                self._tell.call(call.id, call.name, delta.partial_json)
        elif kind == "thinking_delta" and opened.block.type == "thinking":
            opened.pieces.append(delta.thinking)
            if delta.thinking:
                self._tell.thinking(delta.thinking)
        elif kind == "signature_delta":
            opened.block.signature += delta.signature
        elif kind in ("text_delta", "thinking_delta"):
            raise InvalidModelAnswer(
                f"{self._who}: expected more of the {opened.block.type} block at index {event.index}, got a {kind}"
            )

    def _count(self, usage: _Usage | None) -> None:
        """Take counts over; later ones include earlier ones."""
        if usage is None:
            return
        self._counted = True
        for name in _Usage.__struct_fields__:
            value = getattr(usage, name)
            if value is not None:
                setattr(self._usage, name, value)

    def whole(self, body: bytes) -> None:
        """See `taut.llm.reading.Reader`."""
        answer = decode(self._who, body, _ANSWERS)
        if answer.content is None:
            raise InvalidModelAnswer(f"{self._who}: expected a message with content, got none")
        self._model = answer.model
        self._count(answer.usage)
        for index, block in enumerate(answer.content):
            self._begin(_Event(index=index, content_block=block))
            if block.type == "tool_use" and block.input:
                self._tell.call(block.id, block.name, msgspec.json.encode(block.input).decode())
        self._stop_reason = answer.stop_reason
        self._ended = True

    def finish(self) -> ModelResponse:
        """See `taut.llm.reading.Reader`."""
        if not self._ended:
            raise ModelUnavailable(
                f"{self._who}: expected the whole answer, got a stream that ended before its end"
            )
        parts = [opened.part() for _, opened in sorted(self._blocks.items())]
        return ModelResponse(
            message=Message("assistant", tuple(part for part in parts if part is not None)),
            usage=self._read_usage(),
            stop_reason=_STOP_REASONS.get(self._stop_reason or "", "other"),
            model=self._model,
        )

    def _read_usage(self) -> Usage:
        if not self._counted:
            return Usage(requests=1, cost=None)
        usage = self._usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        details = usage.output_tokens_details or _OutputDetails()
        return Usage(
            # Here what the cache has read and written is not part of the input; everywhere else it is.
            input_tokens=(usage.input_tokens or 0) + read + written,
            output_tokens=usage.output_tokens or 0,
            cached_tokens=read,
            cache_write_tokens=written,
            thinking_tokens=details.thinking_tokens or 0,
            requests=1,
            cost=None,
        )
