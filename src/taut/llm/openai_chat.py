"""The chat completions format of OpenAI, which most servers of models speak: vLLM, llama.cpp, Ollama, LM Studio.

No I/O: `chat_body` makes the body of a request, `ChatReader` reads the answer, whole or in pieces. Servers
differ in what they leave out, so the reader takes answers without usage, without an index, without an end mark,
with tool calls in one piece, with arguments that are objects, and with thinking under any of its names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, final

import msgspec

from taut.errors import InvalidModelAnswer, ModelUnavailable
from taut.llm.messages import Audio, Image, Message, Part, Text, Thinking, ToolCall, ToolResult, Usage
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, OnEvent, StopReason, ToolSpec
from taut.llm.reading import OpenCall, Telling, decode, fresh_id, raise_problem
from taut.llm.requesting import arguments_text, data_url, error_text, merged_body, unsupported
from taut.llm.schemas import is_strict, rooted

if TYPE_CHECKING:
    from taut._core import SSEEvent

__all__ = ["ChatReader", "chat_body"]

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
}
#: The names of sound formats, by what follows ``audio/``.
_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}


# -- requests


def chat_body(
    request: ModelRequest,
    settings: ModelSettings,
    *,
    who: str,
    model: str,
    stream: bool,
    max_tokens_name: str = "max_tokens",
    thinking_name: str | None = None,
) -> dict[str, Any]:
    """Return the body that asks ``model`` with ``request``.

    ``max_tokens_name`` is ``max_completion_tokens`` for OpenAI, which has given up the other one.
    ``thinking_name`` is the member of an assistant's message in which the server wants its thinking back; None
    does not send it back.

    :raises taut.errors.ModelRefused: a message has a part that this format has no place for.
    """
    messages: list[dict[str, Any]] = []
    if request.instructions:
        messages.append({"role": "system", "content": request.instructions})
    for message in request.messages:
        messages.extend(_messages(message, who, thinking_name))
    body: dict[str, Any] = {"model": model, "messages": messages}
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice in ("none", "required"):
            body["tool_choice"] = request.tool_choice
        elif request.tool_choice != "auto":
            body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
        if settings.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = settings.parallel_tool_calls
    if request.output_schema is not None:
        schema = rooted(request.output_schema)
        form = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    given = (
        ("temperature", settings.temperature),
        ("top_p", settings.top_p),
        (max_tokens_name, settings.max_tokens),
        ("stop", list(settings.stop) or None),
        ("seed", settings.seed),
        ("reasoning_effort", settings.effort),
    )
    body |= {name: value for name, value in given if value is not None}
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return merged_body(body, settings.extra)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _messages(message: Message, who: str, thinking_name: str | None) -> Iterator[dict[str, Any]]:
    """Yield a message in this format: results of tools are messages of their own, and can only be text."""
    if message.role == "assistant":
        yield _assistant(message, who, thinking_name)
        return
    shown: list[Part] = []
    for part in message.content:
        if not isinstance(part, ToolResult):
            shown.append(part)
            continue
        yield {"role": "tool", "tool_call_id": part.call_id, "content": error_text(part, part.text)}
        if not isinstance(part.content, str):
            seen = [one for one in part.content if not isinstance(one, Text)]
            if seen:
                shown += (Text(f"What {part.name} returned besides its text:"), *seen)
    if shown:
        yield {"role": "user", "content": _content(shown, who)}
    elif message.role == "user":
        yield {"role": "user", "content": ""}


def _assistant(message: Message, who: str, thinking_name: str | None) -> dict[str, Any]:
    texts: list[str] = []
    thinking: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, ToolCall):
            function = {"name": part.name, "arguments": arguments_text(part)}
            calls.append({"id": part.id, "type": "function", "function": function})
        elif isinstance(part, Thinking):
            thinking.append(part.text)
        else:
            raise unsupported(who, part, "an assistant's message")
    text = "".join(texts)
    made: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    if thinking and thinking_name is not None:
        made[thinking_name] = "".join(thinking)
    if calls:
        made["tool_calls"] = calls
    return made


def _content(parts: list[Part], who: str) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    made: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, Text):
            made.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            made.append({"type": "image_url", "image_url": {"url": data_url(part)}})
        elif isinstance(part, Audio):
            kind = part.mime_type.partition("/")[2]
            sound = {"data": part.data, "format": _AUDIO_FORMATS.get(kind, kind)}
            made.append({"type": "input_audio", "input_audio": sound})
        else:
            raise unsupported(who, part, "a user's message")
    return made


# -- answers


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    index: int | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    #: DeepSeek's name for it.
    prompt_cache_hit_tokens: int | None = None

    def read(self) -> Usage:
        """Return it in our terms."""
        read = self.prompt_tokens_details or _InputDetails()
        written = self.completion_tokens_details or _OutputDetails()
        return Usage(
            input_tokens=self.prompt_tokens or 0,
            output_tokens=self.completion_tokens or 0,
            cached_tokens=read.cached_tokens or self.prompt_cache_hit_tokens or 0,
            cache_write_tokens=read.cache_write_tokens or 0,
            thinking_tokens=written.reasoning_tokens or 0,
            requests=1,
            cost=None,
        )


class _Chunk(msgspec.Struct):
    """A completion, or a piece of one: of a stream they differ in the name of one member."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None


# Not strict: some servers write numbers as strings.
_CHUNKS = msgspec.json.Decoder(_Chunk, strict=False)


@final
class ChatReader:
    """Reads one chat completion; see `taut.llm.reading.Reader`.

    ``calls_before`` counts the calls of the conversation so far. The usage has no cost; it is None in the
    response where the server reports no usage at all.
    """

    def __init__(self, who: str, on_event: OnEvent, *, calls_before: int = 0) -> None:
        self._who = who
        self._tell = Telling(on_event)
        self._before = calls_before
        self._texts: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[OpenCall] = []
        #: Which call has the index that the server gave.
        self._slots: dict[int, OpenCall] = {}
        self._usage: _Usage | None = None
        self._finish: str | None = None
        self._refused = False
        self._ended = False
        self._model = ""

    @property
    def told(self) -> bool:
        """See `taut.llm.reading.Reader`."""
        return self._tell.told

    def event(self, event: SSEEvent) -> bool:
        """See `taut.llm.reading.Reader`."""
        data = event.data
        if data == b"[DONE]":
            self._ended = True
            return True
        if data:
            self.take(decode(self._who, data, _CHUNKS))
        return False

    def whole(self, body: bytes) -> None:
        """See `taut.llm.reading.Reader`."""
        chunk = decode(self._who, body, _CHUNKS)
        self.take(chunk)
        if not chunk.choices:
            raise InvalidModelAnswer(f"{self._who}: expected a completion with a choice, got none")
        self._ended = True

    def value(self, chunk: dict[str, Any]) -> None:
        """Take an answer, or a piece of one, that is decoded already."""
        try:
            self.take(msgspec.convert(chunk, _Chunk, strict=False))
        except msgspec.ValidationError as error:
            raise InvalidModelAnswer(
                f"{self._who}: expected a completion, got something else: {error}"
            ) from None

    def take(self, chunk: _Chunk) -> None:
        """Take a piece of the answer."""
        if chunk.error is not None:
            raise_problem(self._who, chunk.error)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.model:
            self._model = chunk.model
        for choice in chunk.choices or ():
            if choice.index:
                continue  # one of several that ``extra`` has asked for: the first is the answer
            delta = choice.delta or choice.message
            if delta is not None:
                self._take_delta(delta)
            if choice.finish_reason:
                self._finish = choice.finish_reason

    def _take_delta(self, delta: _Delta) -> None:
        thinking = delta.reasoning_content or (delta.reasoning if isinstance(delta.reasoning, str) else "")
        if thinking:
            self._thinking.append(thinking)
            self._tell.thinking(thinking)
        content = delta.content
        if isinstance(content, list):
            content = self._take_parts(content)
        if delta.refusal:
            self._refused = True
            content = (content or "") + delta.refusal
        if content:
            self._texts.append(content)
            self._tell.text(content)
        for call in delta.tool_calls or ():
            self._take_call(call)

    def _take_parts(self, parts: list[Any]) -> str:
        """Take content in parts, as Mistral's thinking models have it; return its text."""
        texts = []
        for part in parts:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text":
                texts.append(str(part.get("text", "")))
            elif kind == "thinking":
                inner = part.get("thinking")
                thinking = inner if isinstance(inner, str) else self._take_parts(inner or [])
                self._thinking.append(thinking)
                self._tell.thinking(thinking)
        return "".join(texts)

    def _take_call(self, delta: _Call) -> None:
        function = delta.function or _Function()
        call = self._open_call(delta, function)
        more = function.arguments
        if isinstance(more, dict):
            call.value = more
            more = msgspec.json.encode(more).decode()
        elif more:
            call.pieces.append(more)
        if more:
            self._tell.call(call.id, call.name, more)

    def _open_call(self, delta: _Call, function: _Function) -> OpenCall:
        """Return the call that a piece belongs to: by its index, or its id, or else the last one.

        Some servers give all calls the same index, or none; a new id, or a name after arguments, begins a new call.
        """
        known = self._slots.get(delta.index) if delta.index is not None else None
        if delta.index is None and delta.id:
            known = next((call for call in self._calls if call.id == delta.id), None)
        elif known is None and delta.index is None and not function.name and self._calls:
            known = self._calls[-1]
        if known is not None and not _is_another(known, delta, function):
            begun = known.pieces or known.value is not None
            if function.name and not begun and function.name != known.name:
                known.name += function.name
            return known
        if not function.name:
            raise InvalidModelAnswer(
                f"{self._who}: expected the name of a tool to call, got a call without one"
            )
        call = OpenCall(self._fresh(delta.id), function.name)
        self._calls.append(call)
        if delta.index is not None:
            self._slots[delta.index] = call
        self._tell.call(call.id, call.name, "")
        return call

    def _fresh(self, id: str | None) -> str:
        taken = {call.id for call in self._calls}
        if id and id not in taken:
            return id
        return fresh_id(self._before + len(self._calls), taken.__contains__)

    def finish(self) -> ModelResponse:
        """See `taut.llm.reading.Reader`."""
        if not self._ended and self._finish is None:
            raise ModelUnavailable(
                f"{self._who}: expected the whole answer, got a stream that ended before its end"
            )
        parts: list[Part] = []
        if self._thinking:
            parts.append(Thinking("".join(self._thinking)))
        if self._texts:
            parts.append(Text("".join(self._texts)))
        parts += (call.closed() for call in self._calls)
        return ModelResponse(
            message=Message("assistant", tuple(parts)),
            usage=Usage(requests=1, cost=None) if self._usage is None else self._usage.read(),
            stop_reason=self._stop_reason(),
            model=self._model,
        )

    def _stop_reason(self) -> StopReason:
        if self._refused:
            return "refusal"
        reason = _STOP_REASONS.get(self._finish or "stop", "other")
        # Some servers say "stop" whatever it was.
        return "tool_calls" if self._calls and reason in ("stop", "other") else reason


def _is_another(known: OpenCall, delta: _Call, function: _Function) -> bool:
    """Whether a piece with the place of ``known`` begins another call."""
    if not function.name:
        return False
    if delta.id and delta.id != known.id:
        return True
    begun = bool(known.pieces) or known.value is not None
    return begun and bool(function.arguments) and known.closed().malformed is None
