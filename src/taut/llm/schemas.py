"""JSON Schemas as providers want them: closed, rooted in an object, without the keywords that they refuse, or moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

__all__ = ["closed", "is_strict", "move_refs", "rooted"]

#: The keywords whose values are schemas, maps of schemas, and lists of schemas.
_ONE = frozenset(
    {"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
#: What OpenAI takes in a schema that it is to follow strictly.
_STRICT = frozenset(
    {
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "$ref",
        "$defs",
        "enum",
        "const",
    }
    | {"title", "description", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minItems", "maxItems", "pattern"}
)
#: What Anthropic takes in a schema of an answer.
_CLOSED = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "anyOf", "allOf", "$ref", "$defs"}
    | {"enum", "const", "title", "description", "minItems"}
)
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)

Schema = Mapping[str, Any]


def mapped(schema: Any, change: Callable[[Any], Any]) -> Any:
    """Return ``schema`` with ``change`` made of each schema that it is directly made of."""
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name in _ONE:
            made[name] = [change(one) for one in value] if isinstance(value, list) else change(value)
        elif name in _MAPS and isinstance(value, Mapping):
            made[name] = {key: change(inner) for key, inner in value.items()}
        elif name in _LISTS and isinstance(value, list):
            made[name] = [change(inner) for inner in value]
        else:
            made[name] = value
    return made


def rooted(schema: Schema) -> dict[str, Any]:
    """Return a schema whose root is no reference to one of its own definitions: providers want an object there."""
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        found = schema.get("$defs", {}).get(reference[len("#/$defs/") :])
        if isinstance(found, Mapping):
            return {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
    return dict(schema)


def is_strict(schema: Schema) -> bool:
    """Tell whether a schema is as OpenAI's ``strict`` wants it: objects that name and require all they may have."""
    return schema.get("type") == "object" and _is_strict(schema)


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return schema is False
    if not _STRICT.issuperset(schema):
        return False
    if "properties" in schema or schema.get("type") == "object":
        required = set(schema.get("required", ()))
        if schema.get("additionalProperties") is not False or required != set(schema.get("properties", ())):
            return False
    inner: list[Any] = []
    mapped(schema, inner.append)
    return all(_is_strict(one) for one in inner)


def closed(schema: Any) -> Any:
    """Return a schema that Anthropic takes: objects closed, and what it does not enforce put into the description."""
    if not isinstance(schema, Mapping):
        return schema
    made: dict[str, Any] = mapped({k: v for k, v in schema.items() if k in _CLOSED}, closed)
    if "oneOf" in schema and "anyOf" not in schema:
        made["anyOf"] = [closed(one) for one in schema["oneOf"]]
    if made.get("minItems") not in (None, 0, 1):
        del made["minItems"]
    if schema.get("format") in _FORMATS:
        made["format"] = schema["format"]
    if "properties" in made or made.get("type") == "object":
        made["additionalProperties"] = False
    left = {
        name: value
        for name, value in schema.items()
        if name not in made and name not in ("oneOf", "$schema", "default", "examples")
    }
    if left:
        said = ", ".join(f"{name}: {msgspec.json.encode(value).decode()}" for name, value in left.items())
        made["description"] = f"{made.get('description', '')} ({said})".strip()
    return made


def move_refs(schema: Any, change: Callable[[str], str]) -> Any:
    """Return ``schema`` with ``change`` made of each reference within it."""
    made = mapped(schema, lambda inner: move_refs(inner, change))
    if isinstance(made, dict):
        for name in ("$ref", "$dynamicRef"):
            if isinstance(made.get(name), str):
                made[name] = change(made[name])
    return made
