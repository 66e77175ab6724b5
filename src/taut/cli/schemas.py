"""What a JSON Schema says in one line: for listings, and to read arguments from the command line."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["resolve", "signature", "type_text", "types_of"]

Schema = dict[str, Any]

ALL_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
#: References that are followed; a schema may refer to itself.
MAX_DEPTH = 8
MAX_CHOICES = 5


def resolve(schema: Any, root: Schema) -> Schema:
    """Return what a local ``$ref`` refers to, or the schema itself; ``{}`` where that is no object."""
    for _ in range(MAX_DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        found: Any = root
        for part in reference[2:].split("/"):
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        schema = found
    return {}


def types_of(schema: Any, root: Schema, depth: int = 0) -> frozenset[str]:
    """Return the JSON types that ``schema`` allows; all of them where it does not say."""
    schema = resolve(schema, root)
    named = schema.get("type")
    if isinstance(named, str):
        named = [named]
    if isinstance(named, list):
        return ALL_TYPES.intersection(one for one in named if isinstance(one, str)) or ALL_TYPES
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return frozenset(map(_type_of_value, schema["enum"]))
    if "const" in schema:
        return frozenset({_type_of_value(schema["const"])})
    for keyword in ("anyOf", "oneOf"):
        alternatives = schema.get(keyword)
        if isinstance(alternatives, list) and alternatives and depth < MAX_DEPTH:
            return frozenset().union(*(types_of(one, root, depth + 1) for one in alternatives))
    return ALL_TYPES


def type_text(schema: Any, root: Schema, depth: int = 0) -> str:
    """Return the type that ``schema`` describes as one would write it: ``string[]``, ``integer | null``."""
    title = str(schema.get("$ref", "")).rpartition("/")[2] if isinstance(schema, dict) else ""
    schema = resolve(schema, root)
    if "enum" in schema or "const" in schema:
        return _choices(schema.get("enum", [schema.get("const")]))
    for keyword in ("anyOf", "oneOf"):
        alternatives = schema.get(keyword)
        if isinstance(alternatives, list) and alternatives and depth < MAX_DEPTH:
            return " | ".join(dict.fromkeys(type_text(one, root, depth + 1) for one in alternatives))
    types = types_of(schema, root)
    if types == {"array"} and depth < MAX_DEPTH:
        item = type_text(schema.get("items", {}), root, depth + 1)
        return f"({item})[]" if " | " in item else f"{item}[]"
    if types == {"object"}:
        return title or str(schema.get("title") or "object")
    return "any" if types == ALL_TYPES else " | ".join(sorted(types, key=lambda one: (one == "null", one)))


def signature(schema: Schema) -> list[tuple[str, str, str]]:
    """Return name, type and default (``= 3``, ``?`` or nothing) of each property of an object schema."""
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, dict):
        return []
    needed = required if isinstance(required, list) else []
    return [
        (name, type_text(one, schema), "" if name in needed else _default(one))
        for name, one in properties.items()
    ]


def _default(schema: Any) -> str:
    if not isinstance(schema, dict) or schema.get("default") is None:
        return "?"
    return f" = {_json(schema['default'])}"


def _choices(values: Any) -> str:
    values = values if isinstance(values, list) else []
    shown = [_json(value) for value in values[:MAX_CHOICES]]
    return " | ".join(shown + ["..."] * (len(values) > MAX_CHOICES)) or "any"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _type_of_value(value: Any) -> str:
    if value is None:
        return "null"
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
    ):
        if isinstance(value, kind):
            return name
    return "object"
