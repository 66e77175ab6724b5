"""From a class to the form that elicitation can carry.

A form is narrower than JSON Schema (specification, "Elicitation", requested schema): an object of text, numbers, yes or
no, and choices of text, with no nesting, no references, no unions and no keywords beyond the listed ones. What a
constraint says that a form cannot is checked all the same: when the answer is decoded to the class.
"""

from __future__ import annotations

from typing import Any

from taut.errors import ConfigError
from taut.mcp.schema import schema_of

__all__ = ["form_schema"]

_ANY = ("type", "title", "description", "default")
_KEYWORDS: dict[object, tuple[str, ...]] = {
    "string": ("enum", "minLength", "maxLength", "format"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "boolean": (),
    "array": ("items", "minItems", "maxItems"),
}
_FORMATS = ("email", "uri", "date", "date-time")


def form_schema(kind: type) -> dict[str, Any]:
    """Return the form with the fields of ``kind``: a msgspec Struct, dataclass or TypedDict.

    :raises taut.errors.ConfigError: a field cannot stand in a form.
    """
    schema = schema_of(kind)
    properties = schema.get("properties")
    if schema.get("type") != "object" or not isinstance(properties, dict):
        raise ConfigError(f"Expected a class with fields for a form, got {kind!r}")
    definitions = schema.get("$defs", {})
    form: dict[str, Any] = {"type": "object", "properties": {}}
    for name, field in properties.items():
        form["properties"][name] = _field(f"{kind.__name__}.{name}", field, definitions)
    if required := schema.get("required"):
        form["required"] = required
    return form


def _field(where: str, schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return one field as a form has it."""
    schema = _settled(schema, definitions)
    if _is_choice(schema):
        schema = {**schema, "type": "string"}
    elif schema.get("type") == "array":
        items = _settled(schema.get("items") or {}, definitions)
        if not _is_choice(items):
            raise ConfigError(
                f"{where}: expected choices of text, such as list[Literal['a', 'b']], got another list"
            )
        schema = {**schema, "items": {"type": "string", "enum": items["enum"]}}
    elif schema.get("type") not in _KEYWORDS or "enum" in schema:
        raise ConfigError(
            f"{where}: expected text, a number, a bool, or choices of text, which is all that a form can ask for"
        )
    field = {key: schema[key] for key in (*_ANY, *_KEYWORDS[schema["type"]]) if key in schema}
    if field.get("format") not in _FORMATS:
        field.pop("format", None)
    if field.get("default", 0) is None:  # an optional field that is left out
        del field["default"]
    return field | _bounds(schema)


def _settled(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` without references, and without null: a form leaves a field out instead."""
    while (reference := schema.get("$ref")) is not None:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**definitions[reference.rpartition("/")[2]], **rest}
    members = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(members) == 1:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return _settled({**members[0], **rest}, definitions)
    if "enum" in schema:
        return {**schema, "enum": [value for value in schema["enum"] if value is not None]}
    return schema


def _is_choice(schema: dict[str, Any]) -> bool:
    values = schema.get("enum")
    return bool(values) and all(isinstance(value, str) for value in values or ())


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the exclusive bounds of a number as the inclusive ones that a form has."""
    step = 1 if schema["type"] == "integer" else 0
    bounds = {}
    if "exclusiveMinimum" in schema:
        bounds["minimum"] = schema["exclusiveMinimum"] + step
    if "exclusiveMaximum" in schema:
        bounds["maximum"] = schema["exclusiveMaximum"] - step
    return bounds
