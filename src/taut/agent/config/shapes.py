"""A JSON Schema to a type: what ``output`` may say in a configuration, where no Python type is named.

The schema is that of data: objects with properties, arrays, texts, numbers, choices, and unions of those that can be
told apart. A keyword that is not known is refused, not left out: an output that it would forbid must not pass.
"""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union

import msgspec

from taut.errors import ConfigError

__all__ = ["type_of_schema"]

#: Say nothing about what fits.
_NOTES = {
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "format",
}
#: Of msgspec, by the keyword and the types that it belongs to.
_BOUNDS = {
    "minimum": ("ge", ("integer", "number")),
    "maximum": ("le", ("integer", "number")),
    "exclusiveMinimum": ("gt", ("integer", "number")),
    "exclusiveMaximum": ("lt", ("integer", "number")),
    "multipleOf": ("multiple_of", ("integer", "number")),
    "minLength": ("min_length", ("string",)),
    "maxLength": ("max_length", ("string",)),
    "pattern": ("pattern", ("string",)),
    "minItems": ("min_length", ("array",)),
    "maxItems": ("max_length", ("array",)),
}
_PLAIN: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items"},
}
#: How deep references may lead; one that never ends is a circle.
MAX_DEPTH = 32


def type_of_schema(schema: Mapping[str, Any], name: str = "Output") -> Any:
    """Return the type that ``schema`` describes; ``name`` is what its structs are called by.

    :raises taut.errors.ConfigError: it uses a keyword, or a form, that has no type here; names it.
    """
    return _Reader(schema.get("$defs", {})).read(schema, (), name)


class _Reader:
    def __init__(self, definitions: Any) -> None:
        self._definitions = definitions if isinstance(definitions, dict) else {}

    def read(self, schema: Any, path: tuple[str, ...], name: str) -> Any:
        if schema is True or schema == {}:
            return Any
        if not isinstance(schema, dict):
            raise _problem(path, f"expected a schema, got {schema!r}")
        if len(path) > MAX_DEPTH:
            raise _problem(path[:4], "expected a schema that ends, got one that contains itself")
        kind = self._kind(schema, path, name)
        description = schema.get("description")
        return (
            Annotated[kind, msgspec.Meta(description=description)] if isinstance(description, str) else kind
        )

    def _kind(self, schema: dict[str, Any], path: tuple[str, ...], name: str) -> Any:
        if "$ref" in schema:
            _only(schema, {"$ref"}, path)
            target = str(schema["$ref"]).removeprefix("#/$defs/")
            if target not in self._definitions:
                raise _problem(path, f"expected a $ref into $defs, got {schema['$ref']!r}")
            return self.read(self._definitions[target], (*path, target), target)
        for several in ("anyOf", "oneOf"):
            if several in schema:
                _only(schema, {several}, path)
                return self._union(schema[several], (*path, several), name)
        for choices in ("enum", "const"):
            if choices in schema:
                _only(schema, {choices, "type"}, path)
                return _choice(schema[choices] if choices == "enum" else [schema[choices]], path)
        kinds = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kinds, list):
            members = [self._one(kind, _of_type(schema, kind), path, name, others=kinds) for kind in kinds]
            return Union[tuple(members)]  # noqa: UP007 - the members are only known at run time
        return self._one(kinds, schema, path, name)

    def _union(self, schemas: Any, path: tuple[str, ...], name: str) -> Any:
        if not isinstance(schemas, list) or not schemas:
            raise _problem(path, "expected an array of schemas")
        members = [self.read(one, (*path, str(at)), f"{name}{at + 1}") for at, one in enumerate(schemas)]
        return Union[tuple(members)]  # noqa: UP007

    def _one(
        self,
        kind: Any,
        schema: dict[str, Any],
        path: tuple[str, ...],
        name: str,
        others: list[Any] | None = None,
    ) -> Any:
        bounds = {word for word, (_, kinds) in _BOUNDS.items() if kind in kinds}
        if others is None:
            _only(schema, {"type", *bounds, *_KEYWORDS.get(str(kind), ())}, path)
        if kind == "object":
            base = self._object(schema, path, name)
        elif kind == "array":
            base = list[self.read(schema.get("items", True), (*path, "items"), f"{name}Item")]  # type: ignore[misc]
        elif kind in _PLAIN:
            base = _PLAIN[kind]
        else:
            known = ", ".join([*_PLAIN, "array", "object"])
            raise _problem(path, f"expected a type ({known}), got {'none' if kind is None else repr(kind)}")
        limits = {_BOUNDS[word][0]: schema[word] for word in bounds if word in schema}
        try:
            return Annotated[base, msgspec.Meta(**limits)] if limits else base
        except (TypeError, ValueError) as error:
            raise _problem(path, str(error)) from None

    def _object(self, schema: dict[str, Any], path: tuple[str, ...], name: str) -> Any:
        properties = schema.get("properties")
        others = schema.get("additionalProperties", True)
        if properties is None:
            return dict[str, self.read(others, (*path, "additionalProperties"), f"{name}Value")]  # type: ignore[misc]
        if others not in (True, False):
            raise _problem(
                path, "expected additionalProperties = true or false beside properties, got a schema"
            )
        required = schema.get("required", [])
        unknown = [one for one in required if one not in properties]
        if unknown:
            raise _problem(path, f"expected properties in required, got {', '.join(map(str, unknown))}")
        fields: list[Any] = []
        renamed: dict[str, str] = {}
        for at, (key, one) in enumerate(properties.items()):
            python = (
                key if key.isidentifier() and not keyword.iskeyword(key) and key[0] != "_" else f"field_{at}"
            )
            renamed[python] = key
            kind = self.read(one, (*path, "properties", key), f"{name}{key.title().replace('_', '')}")
            if key in required:
                fields.append((python, kind))
            else:
                fields.append((python, Union[kind, msgspec.UnsetType], msgspec.UNSET))  # noqa: UP007
        return msgspec.defstruct(
            "".join(one for one in name if one.isalnum()) or "Output",
            fields,
            rename=renamed,
            kw_only=True,
            frozen=True,
            forbid_unknown_fields=others is False,
        )


def _of_type(schema: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Return what of a schema of several types is about this one."""
    return {
        word: value for word, value in schema.items() if word not in _BOUNDS or kind in _BOUNDS[word][1]
    } | {"type": kind}


def _choice(values: Any, path: tuple[str, ...]) -> Any:
    if not isinstance(values, list) or not values:
        raise _problem(path, "expected an array of choices")
    for value in values:
        if not isinstance(value, str | int | None) or isinstance(value, bool):
            raise _problem(path, f"expected texts and integers as choices, got {value!r}")
    return Literal[tuple(values)]


def _only(schema: dict[str, Any], known: set[str], path: tuple[str, ...]) -> None:
    for word in schema:
        if word not in known and word not in _NOTES:
            raise _problem(
                (*path, word),
                "this keyword is not known here; name a Python type instead, such as 'file.py:Report'",
            )


def _problem(path: tuple[str, ...], message: str) -> ConfigError:
    return ConfigError(f"{'.'.join(path) or 'the schema'}: {message}")
