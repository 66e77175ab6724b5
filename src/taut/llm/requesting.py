"""Requests to models: what every provider's wire format needs of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from taut.errors import ModelRefused
from taut.llm.messages import Audio, Image, ToolCall, ToolResult
from taut.llm.model import ModelSettings

__all__ = [
    "NO_SETTINGS",
    "arguments_text",
    "data_url",
    "error_text",
    "merge_settings",
    "merged_body",
    "safe_id",
    "unsupported",
]

#: Settings that leave everything to the model.
NO_SETTINGS = ModelSettings()

_ID = re.compile(r"[^A-Za-z0-9_-]")


def merge_settings(default: ModelSettings, given: ModelSettings) -> ModelSettings:
    """Return ``given`` with what it leaves open from ``default``; members of ``extra`` one by one."""
    if default == NO_SETTINGS:
        return given
    if given == NO_SETTINGS:
        return default
    merged = {
        name: getattr(default, name) if getattr(given, name) in (None, ()) else getattr(given, name)
        for name in given.__struct_fields__
    }
    merged["extra"] = {**default.extra, **given.extra}
    return ModelSettings(**merged)


def merged_body(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``body`` with ``extra`` in it; an object in both is merged by its members."""
    for name, value in extra.items():
        known = body.get(name)
        body[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, Mapping) else value
    return body


def arguments_text(call: ToolCall) -> str:
    """Return the arguments of a call as the JSON text that goes back to the model.

    Malformed ones are wrapped: many servers read this text, and refuse the conversation if it is no JSON.
    """
    arguments = call.arguments if call.malformed is None else {"malformed": call.malformed}
    return msgspec.json.encode(arguments).decode()


def error_text(result: ToolResult, text: str) -> str:
    """Return the text of a result, which says so if it is an error: not every format has a flag for it."""
    if not result.is_error or text[:5].lower() == "error":
        return text
    return f"Error: {text}"


def data_url(part: Image | Audio) -> str:
    """Return a part as a ``data:`` URL."""
    return f"data:{part.mime_type};base64,{part.data}"


def safe_id(id: str) -> str:
    """Return a call's id with letters, digits, ``_`` and ``-`` only; ids may come from another provider."""
    return _ID.sub("_", id)


def unsupported(who: str, part: object, where: str) -> ModelRefused:
    """Return the exception for a part that a provider cannot be given."""
    kind = type(part).__name__
    return ModelRefused(f"{who}: expected no {kind} in {where}, got one: this provider has no place for it")
