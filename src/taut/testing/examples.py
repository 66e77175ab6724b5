"""From a JSON Schema to a value that it allows: always the same one, small and plain.

Understood are the keywords that tools are described with: ``type``, ``enum``, ``const``, ``default``, ``properties``,
``required``, ``items``, ``prefixItems``, limits of numbers, lengths and counts, ``format``, ``anyOf``, ``oneOf``,
``allOf`` and references within the schema. Optional properties are left out, so that a schema that refers to itself
ends. What cannot be made is an error: a ``pattern`` that no plain text matches, a schema without an end, ``not``,
``if`` and ``dependent...``. Alternatives of ``oneOf`` are taken to exclude each other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from taut.errors import ConfigError

__all__ = ["example"]

#: Keywords that values are not made for.
BEYOND = ("not", "if", "dependentRequired", "dependentSchemas", "propertyNames")
#: Keywords that say nothing of the value.
SILENT = ("$defs", "definitions", "title", "description", "default", "examples", "$schema", "$id")
FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/a",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
#: Tried, after the formats, where a text must match a pattern.
PLAIN = (
    "a",
    "A",
    "1",
    "a1",
    "A1",
    "abc",
    "ABC",
    "123",
    "12345",
    "a-b",
    "a_b",
    "a.b",
    "a/b",
    "/a",
    "#a",
    "0.1",
    "1.0.0",
    "",
)
#: Keywords that say which type is meant where ``type`` is missing.
HINTS = {
    "properties": "object",
    "required": "object",
    "minProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minLength": "string",
    "maxLength": "string",
    "pattern": "string",
    "format": "string",
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
}


def example(schema: Mapping[str, Any] | bool) -> Any:
    """Return a value that ``schema`` allows.

    :raises taut.errors.ConfigError: there is none, or none that can be found.
    """
    return _Maker(schema).make(schema, "$", frozenset(), 0)


class _Maker:
    """Makes values of one schema. ``salt`` tells the items of an array apart that must differ.

    ``within`` are the references that are being followed. None is followed within itself: if there is a value there,
    it would do outside as well.
    """

    def __init__(self, root: Mapping[str, Any] | bool) -> None:
        self._root = root

    def make(self, schema: Mapping[str, Any] | bool, path: str, within: frozenset[str], salt: int) -> Any:
        schema, within = self._opened(schema, path, within)
        if isinstance(schema, bool):
            if not schema:
                raise _none(path, "the schema false allows nothing")
            return {} if salt == 0 else salt
        for key in BEYOND:
            if key in schema:
                raise _none(path, f"{key!r} is not understood; give the value in a script")
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._first(schema, key, path, within, salt)
        if "allOf" in schema:
            return self._all(schema, path, within, salt)
        return self._plain(schema, path, within, salt)

    def _first(
        self, schema: Mapping[str, Any], key: str, path: str, within: frozenset[str], salt: int
    ) -> Any:
        """Make a value of the first alternative that has one."""
        rest = _without(schema, key)
        problem: ConfigError = _none(path, f"{key} is empty")
        for branch in schema[key]:
            try:
                opened, inside = self._opened(branch, path, within)
                return self.make(_merged(opened, rest, path), path, inside, salt)
            except ConfigError as error:
                problem = error
        raise problem

    def _all(self, schema: Mapping[str, Any], path: str, within: frozenset[str], salt: int) -> Any:
        merged: Mapping[str, Any] | bool = _without(schema, "allOf")
        inside = within
        for part in schema["allOf"]:
            opened, followed = self._opened(part, path, within)
            inside |= followed
            merged = _merged(merged, opened, path)
        return self.make(merged, path, inside, salt)

    def _plain(self, schema: Mapping[str, Any], path: str, within: frozenset[str], salt: int) -> Any:
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            values = schema["enum"]
            if not values:
                raise _none(path, "enum is empty")
            return values[salt % len(values)]
        if "default" in schema and salt == 0:
            return schema["default"]
        match _kind(schema):
            case "object":
                return self._object(schema, path, within)
            case "array":
                return self._array(schema, path, within)
            case "string":
                return _string(schema, path, salt)
            case "integer":
                return _number(schema, path, salt, whole=True)
            case "number":
                return _number(schema, path, salt, whole=False)
            case "boolean":
                return salt % 2 == 1
            case "null":
                return None
            case other:
                raise _none(path, f"expected a type of JSON, got {other!r}")

    def _object(self, schema: Mapping[str, Any], path: str, within: frozenset[str]) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        names = list(schema.get("required", ()))
        least = schema.get("minProperties", 0)
        names += [name for name in properties if name not in names][: max(0, least - len(names))]
        names += [f"key{number}" for number in range(len(names), least)]
        return {name: self.make(properties.get(name, others), f"{path}.{name}", within, 0) for name in names}

    def _array(self, schema: Mapping[str, Any], path: str, within: frozenset[str]) -> list[Any]:
        first = schema.get("prefixItems", ())
        items = schema.get("items", True)
        count = max(schema.get("minItems", 0), 1 if "contains" in schema else 0)
        made: list[Any] = []
        for index in range(count):
            one = first[index] if index < len(first) else items
            if index == 0 and not first and "contains" in schema:
                one = schema["contains"] if items is True else _merged(schema["contains"], items, path)
            salt = len(made) if schema.get("uniqueItems") else 0
            made.append(self.make(one, f"{path}[{index}]", within, salt))
        if schema.get("uniqueItems") and any(value in made[:index] for index, value in enumerate(made)):
            raise _none(path, f"no {count} different items were found")
        return made

    def _opened(
        self, schema: Mapping[str, Any] | bool, path: str, within: frozenset[str]
    ) -> tuple[Mapping[str, Any] | bool, frozenset[str]]:
        """Return a schema without a reference at its top, and the references that lead there."""
        while not isinstance(schema, bool) and "$ref" in schema:
            reference = schema["$ref"]
            if reference in within:
                raise _none(path, f"{reference!r} refers to itself without an end")
            within |= {reference}
            schema = _merged(self._resolve(reference, path), _without(schema, "$ref"), path)
        return schema, within

    def _resolve(self, reference: str, path: str) -> Any:
        if not reference.startswith("#"):
            raise _none(path, f"expected a reference within the schema, got {reference!r}")
        found: Any = self._root
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise _none(path, f"{reference!r} refers to nothing") from error
        return found


def _without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _merged(left: Any, right: Any, path: str) -> Any:
    """Return a schema that demands what both do, as far as they speak of different things."""
    if left is False or right is False:
        return False
    if isinstance(left, bool) or isinstance(right, bool):
        return right if isinstance(left, bool) else left
    merged = dict(left)
    for key, value in right.items():
        old: Any = merged.get(key)
        if key not in merged or old == value:
            merged[key] = value
        elif key == "properties":
            merged[key] = old | {
                name: _merged(old[name], one, path) if name in old else one for name, one in value.items()
            }
        elif key == "required":
            merged[key] = list(dict.fromkeys([*old, *value]))
        elif key == "enum":
            merged[key] = [one for one in old if one in value]
        elif key in ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"):
            merged[key] = max(old, value)
        elif key in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
            merged[key] = min(old, value)
        elif key in SILENT:
            pass
        elif key == "type":
            merged[key] = _common_type(old, value, path)
        else:
            raise _none(path, f"both parts of it have {key!r}, and they differ")
    return merged


def _common_type(left: Any, right: Any, path: str) -> Any:
    ones, others = ([kinds] if isinstance(kinds, str) else kinds for kinds in (left, right))
    if "number" in ones and "integer" in others:
        ones = [*ones, "integer"]
    if "number" in others and "integer" in ones:
        others = [*others, "integer"]
    both = [kind for kind in ones if kind in others]
    if not both:
        raise _none(path, f"it is to be {left!r} and {right!r} at once")
    return both


def _kind(schema: Mapping[str, Any]) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((one for one in kind if one != "null"), "null")
    if kind is not None:
        return kind
    return next((implied for key, implied in HINTS.items() if key in schema), "object")


def _string(schema: Mapping[str, Any], path: str, salt: int) -> str:
    least, most = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    pattern, format = schema.get("pattern"), schema.get("format")
    if format in FORMATS and pattern is None and least <= len(FORMATS[format]) <= most:
        if salt:
            raise _none(path, f"only one text of the format {format!r} is known")
        return FORMATS[format]
    found = [text for text in _texts(least, most, salt) if pattern is None or re.search(pattern, text)]
    if len(found) > (salt if pattern is not None else 0):
        return found[salt if pattern is not None else 0]
    wanted = f"matches {pattern!r}" if pattern is not None else f"has {least} to {most} characters"
    raise _none(path, f"no plain text {wanted}; give the value in a script")


def _texts(least: int, most: float, salt: int) -> Iterator[str]:
    """Yield texts of the wanted lengths, plain ones first."""
    start = chr(ord("a") + salt % 26) * (1 + salt // 26)
    for text in (start, *PLAIN, *FORMATS.values()):
        long = text if len(text) >= least else text + (text[-1:] or "a") * (least - len(text))
        if len(long) <= most:
            yield long
        elif least <= most:
            yield long[: int(most)]


def _number(schema: Mapping[str, Any], path: str, salt: int, *, whole: bool) -> float:
    step: float = schema.get("multipleOf", 1)
    if whole and step != int(step):
        raise _none(path, f"expected whole multiples, got multipleOf {step}")
    low: float = schema.get("minimum", -math.inf)
    high: float = schema.get("maximum", math.inf)
    above: float = schema.get("exclusiveMinimum", -math.inf)
    below: float = schema.get("exclusiveMaximum", math.inf)

    def fits(value: float) -> bool:
        return low <= value <= high and above < value < below

    # Multiples of the step: from nought, the lower limit or the upper one, whichever is inside.
    floor, ceiling = max(low, above), min(high, below)
    starts = [0, *(math.ceil(floor / step) for _ in (0,) if floor > -math.inf)]
    starts += [math.floor(ceiling / step) for _ in (0,) if ceiling < math.inf]
    for start in starts:
        for offset in (0, 1, -1):
            for shift in (salt, -salt):
                value = (start + offset + shift) * step
                if fits(value):
                    return int(value) if whole else value
    if not whole and "multipleOf" not in schema and floor < ceiling:
        middle = floor + (ceiling - floor) / (2 + salt)
        if fits(middle):
            return middle
    raise _none(path, f"no number lies between {floor} and {ceiling}")


def _none(path: str, why: str) -> ConfigError:
    return ConfigError(f"Cannot make an example at {path}: {why}")
