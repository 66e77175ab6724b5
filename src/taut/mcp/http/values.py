"""Values of the message that travel in HTTP headers: ``Mcp-Name`` and ``Mcp-Param-*`` (2026-07-28, "Value Encoding").

A tool's input schema marks with ``x-mcp-header`` which arguments are mirrored. `ParamHeaders` is that table, compiled
once when the tool is registered, so that a call costs nothing for tools without such marks.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from taut import models
from taut.errors import ConfigError, HeaderMismatch

__all__ = ["ANNOTATION", "ParamHeaders", "decode_value", "encode_value"]

ANNOTATION = "x-mcp-header"
PREFIX = b"mcp-param-"

_BEGIN, _END = b"=?base64?", b"?="
_PLAIN = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: An integer, or a decimal number that is one; nobody needs more digits than an exact double has.
_INTEGER = re.compile(r"(-?[0-9]{1,20})(?:\.0{1,20})?")
#: Keywords whose values are data, not schemas.
_DATA = frozenset({"default", "enum", "const", "examples", "required"})
#: Keywords whose values are schemas by name.
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def encode_value(value: str | int | bool) -> bytes:
    """Return ``value`` as a header carries it."""
    if isinstance(value, str):
        raw = value.encode()
        sentinel = raw.startswith(_BEGIN) and raw.endswith(_END)
        return _BEGIN + base64.b64encode(raw) + _END if sentinel or not _PLAIN.fullmatch(raw) else raw
    return str(value).lower().encode()


def decode_value(raw: bytes) -> str | None:
    """Return the text that a header's value stands for; None when it is malformed."""
    raw = raw.strip(b" \t")
    if raw.startswith(_BEGIN) and raw.endswith(_END) and len(raw) >= len(_BEGIN) + len(_END):
        encoded = raw[len(_BEGIN) : -len(_END)]
        try:
            data = base64.b64decode(encoded, validate=True)
            # One text has one encoding: what another reader would see as different is refused.
            return data.decode() if base64.b64encode(data) == encoded else None
        except ValueError:
            return None
    return raw.decode("ascii") if _PLAIN.fullmatch(raw) else None


class ParamHeaders:
    """Which arguments of a tool are mirrored in which headers."""

    __slots__ = ("_table",)

    def __init__(self, table: tuple[tuple[bytes, tuple[str, ...]], ...]) -> None:
        self._table = table

    @classmethod
    def compile(cls, schema: Mapping[str, Any]) -> ParamHeaders | None:
        """Return the table of an input schema; None when it mirrors nothing.

        :raises taut.errors.ConfigError: a mark that the specification forbids, which hides the tool from clients.
        """
        marks = list(_reachable(schema, ()))
        if len(marks) != _count(schema):
            raise ConfigError(f"Expected {ANNOTATION} on properties only, got it below another keyword")
        table: dict[bytes, tuple[str, ...]] = {}
        for path, part in marks:
            name, at = part[ANNOTATION], ".".join(path)
            if not isinstance(name, str) or _TOKEN.fullmatch(name) is None:
                raise ConfigError(f"Expected {ANNOTATION} of {at} to be an HTTP token, got {name!r}")
            if part.get("type") not in ("string", "integer", "boolean"):
                raise ConfigError(
                    f"Expected {ANNOTATION} on a string, integer or boolean, got type {part.get('type')!r} at {at}"
                )
            header = PREFIX + name.lower().encode()
            if header in table:
                raise ConfigError(f"Expected {ANNOTATION} to be unique, got {name!r} again at {at}")
            table[header] = path
        return cls(tuple(table.items())) if table else None

    def encode(self, arguments: Mapping[str, Any]) -> bytes:
        """Return the header lines that mirror ``arguments``. What is absent, null or no such value has none."""
        lines = []
        for name, path in self._table:
            value = _value_at(arguments, path)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, (str, int)):
                lines.append(b"%b: %b\r\n" % (name, encode_value(value)))
        return b"".join(lines)

    def check(self, headers: Mapping[bytes, bytes], arguments: models.Buffer | None) -> None:
        """Check that ``headers`` (by lower-case name) say what ``arguments`` (JSON text) say.

        :raises taut.errors.HeaderMismatch: they do not.
        """
        values = {} if arguments is None else msgspec.json.decode(arguments)
        for name, path in self._table:
            value = _value_at(values, path)
            raw = headers.get(name)
            if value is None and raw is None:
                continue
            shown = name.decode()
            if raw is None:
                raise HeaderMismatch(f"Header mismatch: expected {shown}, got none")
            if value is None:
                raise HeaderMismatch(f"Header mismatch: {shown} has no value at {'.'.join(path)} in the body")
            text = decode_value(raw)
            if text is None or not _equal(text, value):
                raise HeaderMismatch(f"Header mismatch: {shown} does not match {'.'.join(path)} in the body")


def _reachable(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and schema of every marked property that a chain of ``properties`` leads to."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for name, part in properties.items():
        if isinstance(part, dict):
            if ANNOTATION in part:
                yield (*path, name), part
            yield from _reachable(part, (*path, name))


def _count(schema: Any, *, named: bool = False) -> int:
    """Count the marks in a schema, wherever they are."""
    if isinstance(schema, list):
        return sum(_count(item) for item in schema)
    if not isinstance(schema, dict):
        return 0
    own = 0 if named or ANNOTATION not in schema else 1
    return own + sum(
        _count(part, named=not named and name in _NAMED)
        for name, part in schema.items()
        if named or name not in _DATA
    )


def _value_at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(values, dict):
            return None
        values = values.get(name)
    return values


def _equal(text: str, value: object) -> bool:
    if isinstance(value, bool):
        return text == ("true" if value else "false")
    if isinstance(value, int | float):
        match = _INTEGER.fullmatch(text)
        return match is not None and int(match[1]) == value
    return text == value
