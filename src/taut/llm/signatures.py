"""Tools written as signatures, for models that are told of them in words: ``(city: string, days?: integer = 3)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["signature"]

#: Levels of objects within objects that are shown, and values of an enumeration.
MAX_DEPTH = 4
MAX_VALUES = 20
#: Characters of an argument's description.
MAX_DESCRIPTION = 200


def signature(schema: Mapping[str, Any]) -> str:
    """Return the arguments of a tool with this ``schema``, and behind them what is said of each."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return "()" if schema.get("additionalProperties") is False or not schema else "(...)"
    shown = f"({_members(schema, schema, MAX_DEPTH)})"
    notes = []
    for name, inner in properties.items():
        about = inner.get("description") if isinstance(inner, Mapping) else None
        if isinstance(about, str) and about.strip():
            about = " ".join(about.split())
            notes.append(
                f"{name}: {about if len(about) <= MAX_DESCRIPTION else about[:MAX_DESCRIPTION] + '...'}"
            )
    return shown + (f" [{'; '.join(notes)}]" if notes else "")


def _members(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> str:
    required = schema.get("required", ())
    made = []
    for name, inner in schema["properties"].items():
        member = f"{name}{'' if name in required else '?'}: {_type(inner, root, depth)}"
        if isinstance(inner, Mapping) and inner.get("default") is not None:
            member += f" = {_json(inner['default'])}"
        made.append(member)
    return ", ".join(made)


def _type(schema: Any, root: Mapping[str, Any], depth: int) -> str:
    if not isinstance(schema, Mapping) or depth == 0:
        return "any"
    if isinstance(schema.get("$ref"), str):
        return _type(_resolved(schema["$ref"], root), root, depth - 1)
    if "const" in schema:
        return _json(schema["const"])
    if isinstance(schema.get("enum"), list):
        values = [_json(value) for value in schema["enum"][:MAX_VALUES]]
        return "|".join(values + ["..."] * (len(schema["enum"]) > MAX_VALUES))
    for name in ("anyOf", "oneOf"):
        if isinstance(schema.get(name), list):
            return "|".join(dict.fromkeys(_type(inner, root, depth) for inner in schema[name]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return "|".join(_type({**schema, "type": one}, root, depth) for one in kind)
    if kind == "array":
        inner = _type(schema.get("items"), root, depth - 1)
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if isinstance(schema.get("properties"), Mapping):
        return f"{{{_members(schema, root, depth - 1)}}}" if depth > 1 else "object"
    return kind if isinstance(kind, str) else "any"


def _resolved(reference: str, root: Mapping[str, Any]) -> Any:
    """Return what a reference within ``root`` leads to; None if it leads nowhere."""
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if reference.startswith("#") else None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
