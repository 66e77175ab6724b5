"""``POST /v1/messages``, as Anthropic has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taut.llm.messages import Image, Part, Text, Thinking, ToolCall, Usage
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, ToolSpec
from taut.testing.answers import argument_text, pieces
from taut.testing.fake_openai.wire import Asked, History, bad, event, extra_of, member, members, tool_spec

__all__ = ["Messages"]

STOP = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "refusal": "refusal",
    "other": "pause_turn",
}
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
KNOWN = frozenset(
    (
        "max_tokens",
        "messages",
        "model",
        "output_config",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    )
)
Block = dict[str, Any]


class Messages:
    """The wire format of messages. Cached tokens are counted beside the others here, not among them."""

    def parse(self, body: dict[str, Any]) -> ModelRequest:
        """Return the request that a body is."""
        member(body, "model", str)
        history = History()
        said = member(body, "messages", list)
        if said and members(said[0], "messages.0").get("role") != "user":
            raise bad('messages: first message must use the "user" role')
        for index, message in enumerate(said):
            _add(members(message, f"messages.{index}"), f"messages.{index}", history)
        choice = body.get("tool_choice") or {"type": "auto"}
        output = body.get("output_config") or {}
        alone = choice.get("disable_parallel_tool_use")
        return ModelRequest(
            messages=history.messages(),
            instructions=_text(body.get("system") or "", "system"),
            tools=_tools(body.get("tools") or []),
            tool_choice=_choice(choice),
            output_schema=(output.get("format") or {}).get("schema"),
            settings=ModelSettings(
                temperature=body.get("temperature"),
                top_p=body.get("top_p"),
                max_tokens=member(body, "max_tokens", int),
                stop=tuple(body.get("stop_sequences") or ()),
                effort=output.get("effort"),
                parallel_tool_calls=None if alone is None else not alone,
                extra=extra_of(body, KNOWN),
            ),
        )

    def answer(self, response: ModelResponse, asked: Asked) -> dict[str, Any]:
        """Return a ``message``."""
        stop = {"stop_reason": STOP[response.stop_reason], "stop_sequence": None}
        return _head(asked) | {"content": _blocks(response), **stop, "usage": _usage(response.usage)}

    def events(self, response: ModelResponse, asked: Asked) -> list[bytes]:
        """Return the events of a stream."""
        usage = _usage(response.usage)
        begun: Block = {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage | {"output_tokens": 1},
        }
        events = [_event("message_start", message=_head(asked) | begun), _event("ping")]
        for index, (part, block) in enumerate(zip(_said(response), _blocks(response), strict=True)):
            events.append(_event("content_block_start", index=index, content_block=_begun(block)))
            events += [_event("content_block_delta", index=index, delta=delta) for delta in _deltas(part)]
            events.append(_event("content_block_stop", index=index))
        stop = {"stop_reason": STOP[response.stop_reason], "stop_sequence": None}
        events.append(_event("message_delta", delta=stop, usage=usage))
        return [*events, _event("message_stop")]

    def error(self, status: int, message: str, code: str | None = None) -> dict[str, Any]:
        """Return the body of an error."""
        if code == "context_length_exceeded":  # there are no codes here, only words
            message = f"prompt is too long: {message}"
        kind = ERRORS.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}

    def error_event(self, status: int, message: str) -> bytes:
        """Return the event of an error."""
        return event(self.error(status, message), "error")


def _event(kind: str, **members: Any) -> bytes:
    return event({"type": kind, **members}, kind)


def _add(message: Block, where: str, history: History) -> None:
    content = message.get("content")
    blocks = (
        [{"type": "text", "text": content}]
        if isinstance(content, str)
        else member(message, "content", list, where)
    )
    match member(message, "role", str, where):
        case "user":
            _add_user(blocks, where, history)
        case "assistant":
            history.assistant([_part(members(block, where), f"{where}.content") for block in blocks])
        case role:
            raise bad(f"{where}.role: expected 'user' or 'assistant', got {role!r}")


def _add_user(blocks: Sequence[Any], where: str, history: History) -> None:
    """Add results first, as they must come first, and the rest as a message of its own."""
    rest: list[Part] = []
    for index, block in enumerate(blocks):
        place = f"{where}.content.{index}"
        if members(block, place).get("type") != "tool_result":
            rest.append(_part(block, place))
            continue
        if rest:
            raise bad(f"{place}: expected tool_result blocks before all others")
        content = block.get("content", "")
        result = content if isinstance(content, str) else tuple(_plain(part, place) for part in content)
        history.result(
            member(block, "tool_use_id", str, place), result, is_error=block.get("is_error", False)
        )
    if rest:
        history.user(rest)


def _part(block: Block, where: str) -> Part:
    match block:
        case {"type": "thinking", "thinking": str(text), "signature": str(signature)}:
            return Thinking(text, signature)
        case {"type": "tool_use", "id": str(id), "name": str(name), "input": dict(arguments)}:
            return ToolCall(id, name, arguments)
    return _plain(block, where)


def _plain(block: Block, where: str) -> Text | Image:
    match block:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            return Image(data, kind)
    raise bad(
        f"{where}: expected text, an image in base64, thinking, tool_use or tool_result, got {block!r:.80}"
    )


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(member(members(block, where), "text", str, where) for block in content)


def _tools(tools: list[Any]) -> tuple[ToolSpec, ...]:
    found = []
    for index, tool in enumerate(tools):
        where = f"tools.{index}"
        name = member(members(tool, where), "name", str, where)
        found.append(
            tool_spec(name, tool.get("description"), member(tool, "input_schema", dict, where), where)
        )
    return tuple(found)


def _choice(choice: Any) -> str:
    match choice:
        case {"type": "auto" | "any" | "none" as kind}:
            return CHOICES[kind]
        case {"type": "tool", "name": str(name)}:
            return name
    raise bad(f"tool_choice: expected auto, any, none or tool with a name, got {choice!r}")


def _head(asked: Asked) -> Block:
    return {"id": f"msg_{asked.number}", "type": "message", "role": "assistant", "model": asked.model}


def _said(response: ModelResponse) -> list[Text | Thinking | ToolCall]:
    return [part for part in response.message.content if isinstance(part, Text | Thinking | ToolCall)]


def _blocks(response: ModelResponse) -> list[Block]:
    return [_block(part) for part in _said(response)]


def _block(part: Text | Thinking | ToolCall) -> Block:
    match part:
        case Text(text):
            return {"type": "text", "text": text, "citations": None}
        case Thinking(text, signature):
            return {"type": "thinking", "thinking": text, "signature": signature or ""}
        case ToolCall(id, name, arguments, malformed):
            # The real one has an object here, always; text is the nearest to arguments that are none.
            return {
                "type": "tool_use",
                "id": id,
                "name": name,
                "input": arguments if malformed is None else malformed,
            }


def _begun(block: Block) -> Block:
    """Return a block as it is before anything is in it."""
    match block["type"]:
        case "text":
            return block | {"text": ""}
        case "thinking":
            return block | {"thinking": "", "signature": ""}
        case _:
            return block | {"input": {}}


def _deltas(part: Text | Thinking | ToolCall) -> Iterator[Block]:
    match part:
        case Text(text):
            yield from ({"type": "text_delta", "text": piece} for piece in pieces(text))
        case Thinking(text, signature):
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(text))
            yield {"type": "signature_delta", "signature": signature or ""}
        case ToolCall():
            yield {"type": "input_json_delta", "partial_json": ""}
            for piece in pieces(argument_text(part)):
                yield {"type": "input_json_delta", "partial_json": piece}


def _usage(usage: Usage) -> Block:
    return {
        "input_tokens": usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.thinking_tokens},
    }
