"""From a class to the form that elicitation can carry, and what may be answered to a form.

A form is narrower than JSON Schema (specification, "Elicitation", requested schema): an object of text, numbers, yes or
no, and choices of text, with no nesting, no references, no unions and no keywords beyond the listed ones. What a
constraint says that a form cannot is checked all the same: when the answer is decoded to the class.
"""

from __future__ import annotations

from typing import Any

import msgspec

from taut.errors import ConfigError
from taut.mcp.schema import schema_of
from taut.models import ElicitSchema

__all__ = ["check_answer", "check_form", "defaults", "form_schema"]

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


def check_form(schema: dict[str, Any]) -> None:
    """Refuse a schema that is no form.

    :raises taut.errors.ConfigError: it nests, refers, or asks for something else than a form can.
    """
    try:
        ElicitSchema.from_dict(schema)
    except msgspec.ValidationError as error:
        raise ConfigError(f"Expected a flat form (specification, Elicitation): {error}") from error


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what the fields of a form are filled with at the start: a user who only agrees accepts these."""
    return {
        name: field["default"] for name, field in schema.get("properties", {}).items() if "default" in field
    }


_NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "an array",
    dict: "an object",
}


def check_answer(schema: dict[str, Any], content: Any) -> None:
    """Refuse an accepted ``content`` that does not fit the form; members that were not asked for are none of its
    business, and null is a field left out.

    :raises ValueError: names the field, what it wants and what it got.
    """
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, got {_shown(content)}")
    for name, field in schema.get("properties", {}).items():
        value = content.get(name)
        if value is not None:
            _check_value(name, field, value)
        elif name in schema.get("required", ()):
            raise ValueError(f"{name}: expected a value, got none")


def _check_value(name: str, field: dict[str, Any], value: Any) -> None:
    kind = field.get("type")
    if kind == "string":
        _check_text(name, field, value)
    elif kind == "boolean":
        _expect(name, "a boolean", value, isinstance(value, bool))
    elif kind == "array":
        _expect(name, "an array", value, isinstance(value, list))
        _check_range(name, len(value), field.get("minItems"), field.get("maxItems"), " choices")
        for item in value:
            _check_choice(name, field.get("items", {}), item)
    else:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind == "integer":
            _expect(name, "an integer", value, number and value % 1 == 0)
        else:
            _expect(name, "a number", value, number)
        _check_range(name, value, field.get("minimum"), field.get("maximum"), "")


def _check_text(name: str, field: dict[str, Any], value: Any) -> None:
    _expect(name, "a string", value, isinstance(value, str))
    _check_choice(name, field, value)
    _check_range(name, len(value), field.get("minLength"), field.get("maxLength"), " characters")


def _check_choice(name: str, field: dict[str, Any], value: Any) -> None:
    titled = field.get("oneOf") or field.get("anyOf")
    choices = [choice.get("const") for choice in titled] if titled else field.get("enum")
    if choices and value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, choices))}, got {value!r}")


def _check_range(name: str, size: float, minimum: float | None, maximum: float | None, of: str) -> None:
    if minimum is not None and size < minimum:
        raise ValueError(f"{name}: expected at least {minimum}{of}, got {size}")
    if maximum is not None and size > maximum:
        raise ValueError(f"{name}: expected at most {maximum}{of}, got {size}")


def _expect(name: str, what: str, value: Any, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{name}: expected {what}, got {_shown(value)}")


def _shown(value: Any) -> str:
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)
