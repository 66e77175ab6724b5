"""How older revisions say what they have no words for. Each function returns its argument when it will do.

Before 2025-03-26
- audio: text that names the MIME type and the size.

Before 2025-06-18
- a resource link: text with the name and the URI.

Before 2025-11-25
- tool use and tool result: text with the block as JSON;
- several blocks in a sampling message: one message each, of the same role;
- several blocks in a sampling result: the texts joined by newlines, or the first block if not all are text;
- titled choices in a form: ``enum`` with ``enumNames``; defaults, but of tick boxes: nothing;
- the capability to elicit by URL only: nothing, since an empty object means forms;
- a URL elicitation, or a choice of several in a form: `LocalProtocolError`.

Before 2026-07-28
- structured content, or an output schema, that is no object: nothing.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from taut.errors import LocalProtocolError
from taut.models._base import JsonObject, JsonValue
from taut.models.capabilities import ElicitationCapability
from taut.models.content import AudioContent, ResourceLink, TextContent
from taut.models.sampling import SamplingMessage

__all__ = [
    "elicitation",
    "form",
    "lifetime",
    "mode",
    "object_schema",
    "object_value",
    "single_content",
    "single_messages",
    "stand_in",
]

T = TypeVar("T")


def stand_in(content: Struct) -> TextContent:
    """Return the text that stands for content of a type that the revision lacks."""
    if isinstance(content, AudioContent):
        size = len(content.data) * 3 // 4 - content.data.count("=", -2)
        return TextContent(f"[{content.mime_type}, {size} bytes]", annotations=content.annotations)
    if isinstance(content, ResourceLink):
        return TextContent(f"{content.title or content.name}: {content.uri}", annotations=content.annotations)
    return TextContent(msgspec.json.encode(content).decode())


def object_value(value: JsonValue) -> JsonValue | UnsetType:
    """Structured content: only an object, before any JSON value was allowed."""
    if type(value) is dict:
        return value
    if isinstance(value, msgspec.Raw):
        return value if bytes(value).lstrip()[:1] == b"{" else UNSET
    no_object = value is None or isinstance(value, (str, int, float, list, tuple, set, frozenset))
    return UNSET if no_object else value


def object_schema(schema: JsonObject) -> JsonObject | UnsetType:
    """An output schema: only one whose root is an object, before any schema was allowed."""
    return schema if schema.get("type") == "object" else UNSET


def single_messages(messages: list[SamplingMessage]) -> list[SamplingMessage]:
    """Sampling messages of one block each."""
    if not any(isinstance(message.content, list) for message in messages):
        return messages
    return [
        SamplingMessage(message.role, block, message.meta)
        for message in messages
        for block in (message.content if isinstance(message.content, list) else [message.content])
    ]


def single_content(content: Any) -> Any:
    """The one block of a sampling result."""
    if not isinstance(content, list):
        return content
    if all(isinstance(block, TextContent) for block in content) and len(content) != 1:
        return TextContent("\n".join(block.text for block in content))
    return content[0]


def elicitation(capability: ElicitationCapability) -> ElicitationCapability | UnsetType:
    """The capability to ask by form."""
    by_url_only = capability.url is not UNSET and capability.form is UNSET
    return UNSET if by_url_only else capability


def mode(value: T) -> T:
    """Refuse a URL elicitation."""
    if value == "url":
        raise LocalProtocolError("Expected a form elicitation before 2025-11-25, got mode `url`")
    return value


def form(schema: JsonObject) -> JsonObject:
    """The schema of a form as 2025-06-18 writes it."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return schema
    changed = {name: _form_field(name, field) for name, field in properties.items()}
    if all(changed[name] is field for name, field in properties.items()):
        return schema
    return {**schema, "properties": changed}


def _form_field(name: str, field: Any) -> Any:
    if not isinstance(field, dict):
        return field
    kind = field.get("type")
    if kind == "array":
        raise LocalProtocolError(f"Expected no choice of several before 2025-11-25, got the field `{name}`")
    without_default = "default" in field and kind != "boolean"
    options = field.get("oneOf")
    if not (isinstance(options, list) and all(isinstance(option, dict) for option in options)):
        options = None
    if options is None and not without_default:
        return field
    kept = {key: value for key, value in field.items() if not (key == "default" and without_default)}
    if options is not None:
        del kept["oneOf"]
        kept["enum"] = [option.get("const") for option in options]
        kept["enumNames"] = [option.get("title") for option in options]
    return kept


def lifetime(ttl_ms: int) -> int:
    """A time to live that is not negative."""
    return max(0, ttl_ms)
