"""``name=value`` words to a tool's arguments, typed by its input schema.

``name=value`` is text where the schema allows text, and JSON otherwise. ``name:=JSON`` is JSON in any case. Whether the
arguments fit the schema in full is the server's to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from taut import models
from taut.cli.schemas import ALL_TYPES, signature, types_of
from taut.errors import ConfigError

__all__ = ["read_arguments"]

_WORD = re.compile(r"([^=]+?)(:?=)(.*)", re.DOTALL)


def read_arguments(words: Sequence[str], whole: str | None, tool: models.Tool) -> dict[str, Any]:
    """Return the arguments that ``words`` and ``whole`` (a JSON object; the words win) give to ``tool``.

    :raises taut.errors.ConfigError: a word is no ``name=value``, a name comes twice, or a value is not of its type.
    """
    arguments = {} if whole is None else _object(whole)
    seen: set[str] = set()
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            raise ConfigError(f"Expected an argument as name=value, got {word!r}; {_takes(tool)}")
        name, sign, text = match.groups()
        if name in seen:
            raise ConfigError(f"Expected argument {name} once, got it twice")
        seen.add(name)
        arguments[name] = _json(name, text) if sign == ":=" else _typed(name, text, tool)
    return arguments


def _object(text: str) -> dict[str, Any]:
    value = _json("--args", text)
    if not isinstance(value, dict):
        raise ConfigError(f"Expected a JSON object for --args, got {text[:80]!r}")
    return value


def _json(name: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ConfigError(f"Expected JSON for {name}, got {text[:80]!r} ({error})") from error


def _typed(name: str, text: str, tool: models.Tool) -> Any:
    properties = tool.input_schema.get("properties")
    schema = properties.get(name, {}) if isinstance(properties, dict) else {}
    types = types_of(schema, tool.input_schema)
    if "string" in types and types != ALL_TYPES:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        if types == ALL_TYPES:
            return text
        expected = " or ".join(sorted(types))
        raise ConfigError(
            f"Expected {expected} (as JSON) for {name}, got {text[:80]!r}; {_takes(tool)}"
        ) from None


def _takes(tool: models.Tool) -> str:
    parts = ", ".join(f"{name}: {kind}{default}" for name, kind, default in signature(tool.input_schema))
    return f"{tool.name} takes {parts or 'no arguments'}"
