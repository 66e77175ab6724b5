"""``POST /v1/chat/completions``, as OpenAI and the servers that do as it does have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from taut.llm.messages import Audio, Part, Text, Thinking, ToolCall, Usage
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, ToolSpec
from taut.testing.answers import argument_text, pieces
from taut.testing.fake_openai.wire import (
    CREATED,
    Asked,
    History,
    bad,
    check_call,
    event,
    extra_of,
    image_from_url,
    member,
    members,
    tool_spec,
)

__all__ = ["Chat", "openai_error", "openai_tool_choice", "refuses"]

FINISH = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "length": "length",
    "refusal": "content_filter",
    "other": "stop",
}
AUDIO = {"wav": "audio/wav", "mp3": "audio/mpeg"}
#: Members that become a part of the request, or that only concern the way of the answer.
KNOWN = frozenset(
    (
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "model",
        "n",
        "parallel_tool_calls",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
    )
)


class Chat:
    """The wire format of chat completions. Thinking is ``reasoning_content``, as vLLM and others have it."""

    def parse(self, body: dict[str, Any]) -> ModelRequest:
        """Return the request that a body is."""
        member(body, "model", str)
        if body.get("n", 1) != 1:
            raise bad("Expected one choice: this server has no more than one answer")
        history = History()
        instructions: list[str] = []
        for index, said in enumerate(member(body, "messages", list)):
            _add(members(said, f"messages[{index}]"), f"messages[{index}]", history, instructions)
        stop = body.get("stop") or ()
        limit = body.get("max_completion_tokens")
        return ModelRequest(
            messages=history.messages(),
            instructions="\n\n".join(instructions),
            tools=_tools(body.get("tools") or []),
            tool_choice=openai_tool_choice(body.get("tool_choice")),
            output_schema=_schema(body.get("response_format")),
            settings=ModelSettings(
                temperature=body.get("temperature"),
                top_p=body.get("top_p"),
                max_tokens=limit if limit is not None else body.get("max_tokens"),
                stop=(stop,) if isinstance(stop, str) else tuple(stop),
                seed=body.get("seed"),
                effort=body.get("reasoning_effort"),
                parallel_tool_calls=body.get("parallel_tool_calls"),
                extra=extra_of(body, KNOWN),
            ),
        )

    def answer(self, response: ModelResponse, asked: Asked) -> dict[str, Any]:
        """Return a ``chat.completion``."""
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
        text = response.message.text
        if text:
            message["refusal" if refuses(response) else "content"] = text
        thinking = "".join(part.text for part in response.message.content if isinstance(part, Thinking))
        if thinking:
            message["reasoning_content"] = thinking
        calls = [_call(made) for made in response.message.tool_calls]
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(response)}
        head = _head(asked, "chat.completion")
        return {**head, "choices": [choice], "usage": _usage(response.usage)}

    def events(self, response: ModelResponse, asked: Asked) -> list[bytes]:
        """Return ``chat.completion.chunk`` events, and ``[DONE]``."""
        options = asked.body.get("stream_options") or {}
        counts = options.get("include_usage") is True
        head = _head(asked, "chat.completion.chunk")
        nothing: dict[str, Any] = {"usage": None} if counts else {}

        def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return event({**head, "choices": [choice], **nothing})

        begun = "" if response.message.text and not refuses(response) else None
        events = [chunk({"role": "assistant", "content": begun, "refusal": None})]
        events += [chunk(delta) for delta in _deltas(response)]
        events.append(chunk({}, _finish(response)))
        if counts:
            events.append(event({**head, "choices": [], "usage": _usage(response.usage)}))
        return [*events, b"data: [DONE]\n\n"]

    def error(self, status: int, message: str, code: str | None = None) -> dict[str, Any]:
        """Return the body of an error."""
        return openai_error(status, message, code)

    def error_event(self, status: int, message: str) -> bytes:
        """Return the event of an error."""
        return event(openai_error(status, message))


def openai_error(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """Return the body of an error as OpenAI has it."""
    kinds = {401: "invalid_request_error", 403: "permission_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
    return {"error": {"message": message, "type": kind, "param": None, "code": code or codes.get(status)}}


def openai_tool_choice(choice: Any) -> str:
    """Return which tool is to be called. ``allowed_tools`` are as all tools: the list is the client's care."""
    match choice:
        case None:
            return "auto"
        case "auto" | "none" | "required":
            return str(choice)
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
            return name
        case {"type": "allowed_tools", "allowed_tools": {"mode": "auto" | "required" as mode}} | {
            "type": "allowed_tools",
            "mode": "auto" | "required" as mode,
        }:
            return str(mode)
    raise bad(f"Invalid value for 'tool_choice': {choice!r}")


def refuses(response: ModelResponse) -> bool:
    """Whether the text of an answer says why there is none."""
    return response.stop_reason == "refusal"


def _add(said: dict[str, Any], where: str, history: History, instructions: list[str]) -> None:
    match member(said, "role", str, where):
        case "system" | "developer":
            instructions.append(_text(said.get("content"), where))
        case "user":
            history.user(_user_parts(said.get("content"), where))
        case "assistant":
            history.assistant(_assistant_parts(said, where))
        case "tool":
            history.result(member(said, "tool_call_id", str, where), _text(said.get("content"), where))
        case role:
            raise bad(f"Invalid value for '{where}.role': {role!r}")


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad(f"Invalid type for '{where}.content': expected a string or an array")
    return "".join(member(members(part, where), "text", str, f"{where}.content") for part in content)


def _user_parts(content: Any, where: str) -> Iterator[Part]:
    if not isinstance(content, list):
        yield Text(_text(content, where))
        return
    for index, part in enumerate(content):
        place = f"{where}.content[{index}]"
        match part:
            case {"type": "text", "text": str(text)}:
                yield Text(text)
            case {"type": "image_url", "image_url": {"url": url}}:
                yield image_from_url(url, f"{place}.image_url.url")
            case {
                "type": "input_audio",
                "input_audio": {"data": str(data), "format": "wav" | "mp3" as format},
            }:
                yield Audio(data, AUDIO[format])
            case _:
                raise bad(f"Invalid value for '{place}': expected text, image_url or input_audio")


def _assistant_parts(said: dict[str, Any], where: str) -> Sequence[Part]:
    parts: list[Part] = []
    thought = said.get("reasoning_content") or said.get("reasoning")
    if thought:
        parts.append(Thinking(thought))
    parts += [Text(_text(said[name], where)) for name in ("content", "refusal") if said.get(name)]
    for index, made in enumerate(said.get("tool_calls") or ()):
        place = f"{where}.tool_calls[{index}]"
        function = member(members(made, place), "function", dict, place)
        parts.append(
            check_call(
                member(function, "arguments", str, f"{place}.function"),
                member(made, "id", str, place),
                member(function, "name", str, f"{place}.function"),
            )
        )
    if not parts and said.get("content") is None:
        raise bad(f"Missing required parameter: '{where}.content' or '{where}.tool_calls'")
    return parts


def _tools(tools: list[Any]) -> tuple[ToolSpec, ...]:
    found = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if members(tool, where).get("type") != "function":
            raise bad(f"Invalid value for '{where}.type': expected 'function', got {tool.get('type')!r}")
        function = member(tool, "function", dict, where)
        name = member(function, "name", str, f"{where}.function")
        found.append(
            tool_spec(name, function.get("description"), function.get("parameters"), f"{where}.function")
        )
    return tuple(found)


def _schema(format: Any) -> dict[str, Any] | None:
    match format:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "json_schema", "json_schema": {"name": str(), "schema": dict(schema)}}:
            return schema
    raise bad(
        "Invalid value for 'response_format': expected text, json_object, or json_schema with name and schema"
    )


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{asked.number}", "object": kind, "created": CREATED, "model": asked.model}


def _finish(response: ModelResponse) -> str:
    # A refusal in words is an end like any other, as structured outputs have it.
    return "stop" if refuses(response) and response.message.text else FINISH[response.stop_reason]


def _call(made: ToolCall) -> dict[str, Any]:
    return {
        "id": made.id,
        "type": "function",
        "function": {"name": made.name, "arguments": argument_text(made)},
    }


def _deltas(response: ModelResponse) -> Iterator[dict[str, Any]]:
    index = 0
    for part in response.message.content:
        match part:
            case Thinking(text):
                yield from ({"reasoning_content": piece} for piece in pieces(text))
            case Text(text):
                name = "refusal" if refuses(response) else "content"
                yield from ({name: piece} for piece in pieces(text))
            case ToolCall(id, name):
                function = {"name": name, "arguments": ""}
                yield {"tool_calls": [{"index": index, "id": id, "type": "function", "function": function}]}
                for piece in pieces(argument_text(part)):
                    yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                index += 1
            case _:  # nothing that a model says
                pass


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": usage.thinking_tokens, "audio_tokens": 0},
    }
