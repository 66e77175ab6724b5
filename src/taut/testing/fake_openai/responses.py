"""``POST /v1/responses``, as OpenAI has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taut.llm.messages import Image, Text, Thinking, ToolCall, Usage
from taut.llm.model import ModelRequest, ModelResponse, ModelSettings, ToolSpec
from taut.testing.answers import argument_text, pieces
from taut.testing.fake_openai.chat import openai_error, openai_tool_choice, refuses
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

__all__ = ["Responses"]

KNOWN = frozenset(
    (
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "model",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "store",
        "stream",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_p",
    )
)
Item = dict[str, Any]


class Responses:
    """The wire format of responses. Nothing is stored: histories come with each request."""

    def parse(self, body: dict[str, Any]) -> ModelRequest:
        """Return the request that a body is."""
        member(body, "model", str)
        if body.get("previous_response_id") is not None:
            raise bad(
                f"Previous response with id {body['previous_response_id']!r} not found: none is stored here"
            )
        history = History()
        instructions = [body["instructions"]] if body.get("instructions") else []
        said = body.get("input")
        if isinstance(said, str):
            history.user([Text(said)])
        else:
            for index, item in enumerate(member(body, "input", list)):
                _add(members(item, f"input[{index}]"), f"input[{index}]", history, instructions)
        reasoning = body.get("reasoning") or {}
        return ModelRequest(
            messages=history.messages(),
            instructions="\n\n".join(instructions),
            tools=_tools(body.get("tools") or []),
            tool_choice=openai_tool_choice(body.get("tool_choice")),
            output_schema=_schema(body.get("text")),
            settings=ModelSettings(
                temperature=body.get("temperature"),
                top_p=body.get("top_p"),
                max_tokens=body.get("max_output_tokens"),
                effort=reasoning.get("effort"),
                parallel_tool_calls=body.get("parallel_tool_calls"),
                extra=extra_of(body, KNOWN),
            ),
        )

    def answer(self, response: ModelResponse, asked: Asked) -> dict[str, Any]:
        """Return a ``response``."""
        status, reason = _status(response)
        output = _items(response, asked, status)
        return _head(asked, status, reason) | {"output": output, "usage": _usage(response.usage)}

    def events(self, response: ModelResponse, asked: Asked) -> list[bytes]:
        """Return the typed events of a stream."""
        made: list[bytes] = []

        def add(kind: str, **members: Any) -> None:
            made.append(event({"type": kind, "sequence_number": len(made), **members}, kind))

        begun = _head(asked, "in_progress", None) | {"output": [], "usage": None}
        add("response.created", response=begun)
        add("response.in_progress", response=begun)
        whole = self.answer(response, asked)
        for index, item in enumerate(whole["output"]):
            add("response.output_item.added", output_index=index, item=_begun(item))
            _add_item_events(item, index, add)
            add("response.output_item.done", output_index=index, item=item)
        add(f"response.{whole['status']}", response=whole)
        return made

    def error(self, status: int, message: str, code: str | None = None) -> dict[str, Any]:
        """Return the body of an error."""
        return openai_error(status, message, code)

    def error_event(self, status: int, message: str) -> bytes:
        """Return the event of an error."""
        error = openai_error(status, message)["error"]
        code = error["code"] or error["type"]
        return event(
            {"type": "error", "sequence_number": 0, "code": code, "message": message, "param": None}, "error"
        )


def _add(item: Item, where: str, history: History, instructions: list[str]) -> None:
    match item.get("type", "message"):
        case "message":
            _add_message(item, where, history, instructions)
        case "function_call":
            made = check_call(
                member(item, "arguments", str, where),
                member(item, "call_id", str, where),
                member(item, "name", str, where),
            )
            history.assistant([made], join=True)
        case "function_call_output":
            history.result(member(item, "call_id", str, where), _output(item.get("output"), where))
        case "reasoning":
            text = "".join(part["text"] for part in item.get("summary") or ())
            history.assistant([Thinking(text, item.get("encrypted_content"))], join=True)
        case kind:
            raise bad(f"Invalid value for '{where}.type': {kind!r}")


def _add_message(item: Item, where: str, history: History, instructions: list[str]) -> None:
    parts = _parts(item.get("content"), where)
    match member(item, "role", str, where):
        case "system" | "developer":
            instructions.append("".join(part.text for part in parts if isinstance(part, Text)))
        case "user":
            history.user(parts)
        case "assistant":
            history.assistant(parts, join=True)
        case role:
            raise bad(f"Invalid value for '{where}.role': {role!r}")


def _parts(content: Any, where: str) -> Sequence[Text | Image]:
    if isinstance(content, str):
        return [Text(content)]
    parts: list[Text | Image] = []
    for index, part in enumerate(content if isinstance(content, list) else [content]):
        match part:
            case {"type": "input_text" | "output_text", "text": str(text)} | {
                "type": "refusal",
                "refusal": str(text),
            }:
                parts.append(Text(text))
            case {"type": "input_image", "image_url": url}:
                parts.append(image_from_url(url, f"{where}.content[{index}].image_url"))
            case _:
                raise bad(
                    f"Invalid value for '{where}.content[{index}]': expected text, a refusal or an image"
                )
    return parts


def _output(output: Any, where: str) -> str | tuple[Text | Image, ...]:
    return output if isinstance(output, str) else tuple(_parts(output, where))


def _tools(tools: list[Any]) -> tuple[ToolSpec, ...]:
    found = []
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if members(tool, where).get("type") != "function":
            raise bad(f"Invalid value for '{where}.type': expected 'function', got {tool.get('type')!r}")
        name = member(tool, "name", str, where)
        found.append(tool_spec(name, tool.get("description"), tool.get("parameters"), where))
    return tuple(found)


def _schema(text: Any) -> dict[str, Any] | None:
    match (text or {}).get("format"):
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "object"}
        case {"type": "json_schema", "name": str(), "schema": dict(schema)}:
            return schema
    raise bad(
        "Invalid value for 'text.format': expected text, json_object, or json_schema with name and schema"
    )


def _head(asked: Asked, status: str, reason: str | None) -> Item:
    body = asked.body
    return {
        "id": f"resp_{asked.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": asked.model,
        "parallel_tool_calls": body.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None} | (body.get("reasoning") or {}),
        "store": False,
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "metadata": body.get("metadata") or {},
    }


def _status(response: ModelResponse) -> tuple[str, str | None]:
    if response.stop_reason == "length":
        return "incomplete", "max_output_tokens"
    if refuses(response) and not response.message.text:
        return "incomplete", "content_filter"
    return "completed", None


def _items(response: ModelResponse, asked: Asked, status: str) -> list[Item]:
    """Return what the model said as items: texts that follow one another are one message."""
    items: list[Item] = []

    def id(kind: str) -> str:
        return f"{kind}_{asked.number}_{len(items)}"

    for part in response.message.content:
        match part:
            case Text(text):
                said = (
                    {"type": "refusal", "refusal": text}
                    if refuses(response)
                    else {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
                )
                if items and items[-1]["type"] == "message":
                    items[-1]["content"].append(said)
                else:
                    message = {"id": id("msg"), "type": "message", "status": status, "role": "assistant"}
                    items.append({**message, "content": [said]})
            case Thinking(text, signature):
                item: Item = {"id": id("rs"), "type": "reasoning", "summary": []}
                if text:
                    item["summary"].append({"type": "summary_text", "text": text})
                if signature is not None:
                    item["encrypted_content"] = signature
                items.append(item)
            case ToolCall(call_id, name):
                call = {"id": id("fc"), "type": "function_call", "status": status, "call_id": call_id}
                items.append({**call, "name": name, "arguments": argument_text(part)})
            case _:  # nothing that a model says
                pass
    return items


def _begun(item: Item) -> Item:
    """Return an item as it is before anything is in it."""
    empty: Item = {"message": {"content": []}, "reasoning": {"summary": []}}.get(
        item["type"], {"arguments": ""}
    )
    status = {"status": "in_progress"} if "status" in item else {}
    return item | status | empty


def _add_item_events(item: Item, index: int, add: Callable[..., None]) -> None:
    """Add what comes between the beginning of an item and its end."""
    here: Item = {"item_id": item["id"], "output_index": index}
    if item["type"] == "function_call":
        for piece in pieces(item["arguments"]):
            add("response.function_call_arguments.delta", **here, delta=piece)
        add("response.function_call_arguments.done", **here, arguments=item["arguments"])
    elif item["type"] == "reasoning":
        for number, part in enumerate(item["summary"]):
            place = here | {"summary_index": number}
            add("response.reasoning_summary_part.added", **place, part=part | {"text": ""})
            for piece in pieces(part["text"]):
                add("response.reasoning_summary_text.delta", **place, delta=piece)
            add("response.reasoning_summary_text.done", **place, text=part["text"])
            add("response.reasoning_summary_part.done", **place, part=part)
    else:
        for number, part in enumerate(item["content"]):
            _add_content_events(part, here | {"content_index": number}, add)


def _add_content_events(part: Item, place: Item, add: Callable[..., None]) -> None:
    kind = part["type"]
    name = "refusal" if kind == "refusal" else "text"
    more: Item = {} if kind == "refusal" else {"logprobs": []}
    add("response.content_part.added", **place, part=part | {name: ""})
    for piece in pieces(part[name]):
        add(f"response.{kind}.delta", **place, delta=piece, **more)
    add(f"response.{kind}.done", **place, **{name: part[name]}, **more)
    add("response.content_part.done", **place, part=part)


def _usage(usage: Usage) -> Item:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
        "total_tokens": usage.tokens,
    }
