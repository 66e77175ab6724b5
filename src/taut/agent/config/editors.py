"""The JSON Schema of an agents file, for editors: made of the tables, with what their docstrings say of each key.

It is written for draft 7, which the editors of TOML know. `docs/agent.schema.json` is its text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from taut.agent.config.agents import AgentTable
from taut.agent.config.reading import FileTable

__all__ = ["json_schema"]

_BULLET = re.compile(r"^- (``.+?``(?:, ``.+?``)*): (.*?)(?=^- ``|\n\n|\Z)", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"((?:^ *#: .*\n)+) *(\w+):", re.MULTILINE)


def json_schema() -> dict[str, Any]:
    """Return the schema."""
    kinds = {kind.__name__: kind for kind in _structs(FileTable)}
    (_, definitions) = msgspec.json.schema_components([FileTable], ref_template="#/definitions/{name}")
    for name, definition in definitions.items():
        _describe(definition, kinds[name])
    # An agent without a pattern is one that asks a model.
    definitions[AgentTable.__name__]["required"].remove("pattern")
    root = definitions.pop(FileTable.__name__)
    tables = {name: _simplified(definition) for name, definition in sorted(definitions.items())}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Agents of taut",
        **_simplified(root),
        "definitions": tables,
    }


def _structs(kind: Any) -> Iterator[type[Any]]:
    """Yield ``kind`` and every struct below it."""
    seen: set[type[Any]] = set()
    waiting: list[Any] = [msgspec.inspect.type_info(kind)]
    while waiting:
        match waiting.pop():
            case msgspec.inspect.StructType(cls=cls, fields=fields):
                if cls not in seen:
                    seen.add(cls)
                    yield cls
                    waiting += [field.type for field in fields]
            case msgspec.inspect.UnionType(types=types):
                waiting += types
            case msgspec.inspect.DictType(value_type=below):
                waiting.append(below)
            case msgspec.inspect.ListType(item_type=below) | msgspec.inspect.VarTupleType(item_type=below):
                waiting.append(below)
            case msgspec.inspect.Metadata(type=below):
                waiting.append(below)


def _describe(definition: dict[str, Any], kind: type[Any]) -> None:
    """Say what docstring and comments say, and that there are no other keys."""
    definition["description"] = _plain((inspect.getdoc(kind) or "").partition("\n\n")[0])
    definition["additionalProperties"] = False
    definition.pop("title", None)
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        texts.update(_texts(base))
    for key, value in definition["properties"].items():
        if key in texts:
            value["description"] = texts[key]
    pattern = definition["properties"].get("pattern")
    if pattern is not None:
        pattern["description"] = (
            "How the agents of this one work together; without it, it asks a model itself."
        )


def _texts(kind: type[Any]) -> dict[str, str]:
    """Return what is said of the keys of one class."""
    texts: dict[str, str] = {}
    if not issubclass(kind, msgspec.Struct) or kind is msgspec.Struct:
        return texts
    for comment, key in _COMMENT.findall(_source(kind)):
        texts[key] = _plain(re.sub(r"^ *#: ", "", comment, flags=re.MULTILINE))
    for keys, text in _BULLET.findall(inspect.cleandoc(kind.__doc__ or "")):
        for key in re.findall(r"``(.+?)``", keys):
            texts[key] = _plain(text)
    return texts


def _source(kind: type[Any]) -> str:
    try:
        return inspect.getsource(kind)
    except OSError:  # installed without sources: the schema has fewer words then
        return ""


def _plain(text: str) -> str:
    """Return a text of a docstring as Markdown, in one line."""
    return " ".join(text.split()).replace("``", "`").rstrip(";")


def _simplified(schema: Any) -> Any:
    """Return ``schema`` without null, which TOML does not have, and without what draft 7 does not know."""
    if isinstance(schema, list):
        return [_simplified(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _simplified(value) for key, value in schema.items() if key != "discriminator"}
    if made.get("default", ...) in (None, {}, []):
        del made["default"]
    members = made.get("anyOf")
    if isinstance(members, list):
        members = [one for one in members if one != {"type": "null"}]
        del made["anyOf"]
        made |= members[0] if len(members) == 1 else {"anyOf": members}
    if "$ref" in made and len(made) > 1:
        # In draft 7 nothing counts beside a reference.
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    if made.get("required") == []:
        del made["required"]
    return made
