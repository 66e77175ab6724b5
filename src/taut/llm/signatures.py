"""The input of a tool in few words: ``(issue_key: string, minutes: integer, comment?: string = "")``.

A JSON Schema costs a model three times the tokens and says little more. The notation is that of TypeScript, which
models know; ``?`` marks what may be left out. What has no short form (patterns, bounds, conditions) is in the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["parameter_notes", "signature"]

#: Objects within objects are spelled out down to here.
MAX_DEPTH = 3
#: Values of an enumeration that are named.
MAX_VALUES = 12

_NAMES = {"string", "integer", "number", "boolean", "null"}


def signature(schema: Mapping[str, Any]) -> str:
    """Return the parameters of an input schema with their types, the required ones first; ``...`` is anything."""
    if not _properties(schema):
        return (
            "()"
            if not schema or schema.get("additionalProperties") is False or "properties" in schema
            else "(...)"
        )
    return f"({_members(schema, schema, MAX_DEPTH)})"


def parameter_notes(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return the descriptions of the parameters that have one, each on one line."""
    return {
        name: " ".join(each["description"].split())
        for name, each in _properties(schema).items()
        if isinstance(each, dict) and isinstance(each.get("description"), str) and each["description"].strip()
    }


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _members(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
    required = schema.get("required")
    needed = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    members = _properties(schema)
    ordered = sorted(members, key=lambda name: name not in needed)
    return ", ".join(
        f"{name}{'' if name in needed else '?'}: {_type(members[name], root, depth)}{_default(members[name])}"
        for name in ordered
    )


def _default(schema: Any) -> str:
    default = schema.get("default") if isinstance(schema, dict) else None
    return "" if default is None else f" = {_literal(default)}"


def _type(schema: Any, root: Mapping[str, Any], depth: int) -> str:
    """Return the type that a schema describes; ``any`` where there is no short form."""
    if not isinstance(schema, dict) or depth == 0:
        return "any"
    if isinstance(schema.get("$ref"), str):
        # A type that refers to itself ends with the depth.
        return _type(_resolved(schema["$ref"], root), root, depth - 1)
    if "const" in schema:
        return _literal(schema["const"])
    if isinstance(schema.get("enum"), list):
        values = [_literal(value) for value in schema["enum"][:MAX_VALUES]]
        return " | ".join(values + ["…"] * (len(schema["enum"]) > MAX_VALUES))
    for union in ("anyOf", "oneOf"):
        if isinstance(schema.get(union), list):
            return _union([_type(each, root, depth) for each in schema[union]])
    kind = schema.get("type")
    if isinstance(kind, list):
        return _union([_type({**schema, "type": each}, root, depth) for each in kind])
    if kind == "array":
        inner = _type(schema.get("items"), root, depth)
        return f"({inner})[]" if " | " in inner else f"{inner}[]"
    if kind == "object" or "properties" in schema:
        return f"{{{_members(schema, root, depth - 1)}}}" if _properties(schema) and depth > 1 else "object"
    return kind if isinstance(kind, str) and kind in _NAMES else "any"


def _union(types: list[str]) -> str:
    return " | ".join(dict.fromkeys(types)) or "any"


def _literal(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _resolved(ref: str, root: Mapping[str, Any]) -> Any:
    """Return what a reference within the schema points to, or None."""
    if not ref.startswith("#"):
        return None
    found: Any = root
    for part in ref[1:].split("/")[1:]:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found
