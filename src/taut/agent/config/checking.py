"""Tables to structs, with mistakes told by key: ``agent.budget.tokens: expected int, got str``.

msgspec does the conversion; what is added is the whole path, the names that are near to an unknown key or choice, and
errors of structs that check themselves (`taut.errors.ConfigError`), which get the path as well. Values are converted
as their texts say where a number or truth value is wanted: what comes from the environment is text.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from taut.errors import ConfigError

__all__ = ["KeyProblem", "converted", "lower", "named_things", "near", "path_text"]

T = TypeVar("T")

_RESIDUE = re.compile(r" - at `\$([^`]*)`$")
_FIRST = re.compile(r"\.(\w+)(?:\[(\.\.\.|\d+)\])?")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
#: How TOML calls what msgspec names.
_WORDS = {
    "object": "a table",
    "array": "an array",
    "str": "a text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
}


class KeyProblem(ConfigError):
    """Something is wrong with the value at ``path``."""

    def __init__(self, path: tuple[str, ...], message: str) -> None:
        super().__init__(f"{path_text(path)}: {message}" if path else message)
        self.path = path
        self.problem = message


def converted(table: dict[str, Any], kind: type[T], path: tuple[str, ...] = ()) -> T:
    """Return ``table``, which is at ``path``, as ``kind``, a struct.

    :raises KeyProblem: it does not fit; the first mistake that is found.
    """
    _check(table, inspect.type_info(kind), path)
    return msgspec.convert(table, kind, strict=False)


def named_things(
    value: Any, kind: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield the path of every text in ``value``, which fits ``kind``, that is the name of something elsewhere in the
    file; what it names (``Meta(extra={"names": ...})``); and the text.
    """
    match kind:
        case inspect.Metadata():
            extra = kind.extra or {}
            named = isinstance(value, str) and "names" in extra and value not in extra.get("words", ())
            if named and not (extra.get("code") and ":" in value):
                yield path, extra["names"], value
            yield from named_things(value, kind.type, path)
        case inspect.StructType() if isinstance(value, dict):
            for field in kind.fields:
                if field.encode_name in value:
                    yield from named_things(value[field.encode_name], field.type, (*path, field.encode_name))
        case inspect.UnionType():
            member = _text(kind) if isinstance(value, str) else _member(value, kind, path)
            if member is not None:
                yield from named_things(value, member, path)
        case inspect.DictType() if isinstance(value, dict):
            for key, one in value.items():
                yield from named_things(one, kind.value_type, (*path, key))
        case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
            for at, one in enumerate(value):
                yield from named_things(one, kind.item_type, (*path, str(at)))


def near(name: str, known: Iterable[str]) -> str:
    """Return a question about names that look like ``name``, as the end of a message; nothing if none does."""
    found = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def path_text(path: Iterable[str]) -> str:
    """Return a path of keys as TOML writes it."""
    return ".".join(key if _BARE.fullmatch(key) else f'"{key}"' for key in path)


def _check(value: Any, kind: inspect.Type, path: tuple[str, ...]) -> None:
    """Look at the parts first: then what is found in the whole is about the whole."""
    match kind:
        case inspect.Metadata():
            _check(value, kind.type, path)
        case inspect.StructType():
            _check_struct(value, kind, path)
        case inspect.UnionType():
            member = _member(value, kind, path)
            if member is not None:
                _check(value, member, path)
        case inspect.DictType() if isinstance(value, dict):
            for key, one in value.items():
                _check(one, kind.value_type, (*path, key))
        case inspect.ListType() | inspect.VarTupleType() if isinstance(value, list):
            for at, one in enumerate(value):
                _check(one, kind.item_type, (*path, str(at)))


def _check_struct(value: Any, kind: inspect.StructType, path: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise KeyProblem(path, f"expected a table, got {_kind(value)}")
    fields = {field.encode_name: field for field in kind.fields}
    for key in value:
        if key not in fields and key != kind.tag_field:
            known = [*fields, kind.tag_field] if kind.tag_field else fields
            keys = ", ".join(sorted(str(one) for one in known))
            raise KeyProblem(
                (*path, key), f"unknown key{near(key, map(str, known)) or f'; there are {keys}'}"
            )
    for key, one in value.items():
        if key in fields:
            _check(one, fields[key].type, (*path, key))
    try:
        msgspec.convert(value, kind.cls, strict=False)
    except msgspec.ValidationError as error:
        raise _problem(value, kind, path, str(error)) from None
    except KeyProblem as error:
        raise KeyProblem((*path, *error.path), error.problem) from None
    except ConfigError as error:
        raise _own_problem(str(error), kind, path) from None


def _member(value: Any, kind: inspect.UnionType, path: tuple[str, ...]) -> inspect.Type | None:
    """Return which of a union ``value`` must be; None for what has no parts."""
    if isinstance(value, list):
        return next(
            (one for one in kind.types if isinstance(one, inspect.ListType | inspect.VarTupleType)), None
        )
    if not isinstance(value, dict):
        return None
    structs = [one for one in kind.types if isinstance(one, inspect.StructType)]
    if not structs:
        return next((one for one in kind.types if isinstance(one, inspect.DictType)), None)
    if len(structs) == 1:
        return structs[0]
    field = str(structs[0].tag_field)
    tags = {str(one.tag): one for one in structs}
    tag = value.get(field)
    if tag is None:
        raise KeyProblem((*path, field), f"expected one of {', '.join(tags)}, got none")
    if tag not in tags:
        raise KeyProblem(
            (*path, field), f"expected one of {', '.join(tags)}, got {tag!r}{near(str(tag), tags)}"
        )
    return tags[tag]


def _text(kind: inspect.UnionType) -> inspect.Type | None:
    return next((one for one in kind.types if isinstance(one, inspect.StrType | inspect.Metadata)), None)


def _problem(value: dict[str, Any], kind: inspect.StructType, path: tuple[str, ...], text: str) -> KeyProblem:
    """Return msgspec's error in words of a file, with the rest of the path."""
    residue = _RESIDUE.search(text)
    text = _RESIDUE.sub("", text)
    missing = re.fullmatch(r"Object missing required field `(\w+)`", text)
    if missing is not None:
        return KeyProblem((*path, missing[1]), "expected this key, got none")
    first = _FIRST.match(residue[1]) if residue is not None else None
    if first is None:
        return KeyProblem(path, _in_words(text))
    name = first[1]
    below: tuple[str, ...] = (name,)
    if first[2]:
        below += (first[2],) if first[2].isdecimal() else _key_below(value, kind.cls, name, text)
    field = next((field for field in kind.fields if field.encode_name == name), None)
    if text.startswith("Invalid enum value") and field is not None and not first[2]:
        choices = [str(one) for one in _choices(field.type)]
        got = value[name]
        text = f"expected one of {', '.join(choices)}, got {got!r}{near(str(got), choices)}"
    return KeyProblem((*path, *below), _in_words(text))


def _key_below(value: dict[str, Any], kind: type, name: str, text: str) -> tuple[str, ...]:
    """Return the key of the entry of ``value[name]`` that ``text`` is about: msgspec does not say it."""
    for key, one in value[name].items():
        try:
            msgspec.convert({**value, name: {key: one}}, kind, strict=False)
        except msgspec.ValidationError as error:
            if _RESIDUE.sub("", str(error)) == text:
                return (str(key),)
        except ConfigError:  # of this entry alone; another one is looked for
            continue
    return ()


def _choices(kind: inspect.Type) -> list[Any]:
    match kind:
        case inspect.LiteralType():
            return list(kind.values)
        case inspect.UnionType():
            return [choice for one in kind.types for choice in _choices(one)]
    return []


def _in_words(text: str) -> str:
    """Return msgspec's message in the words of TOML, which has no null."""

    def kinds(found: re.Match[str]) -> str:
        names = [name for name in found[1].split(" | ") if name != "null"]
        return " or ".join(_WORDS.get(name, name) for name in names)

    return lower(re.sub(r"`([^`]*)`", kinds, text))


def lower(text: str) -> str:
    """Return ``text`` as what follows a colon."""
    return text[:1].lower() + text[1:]


def _own_problem(text: str, kind: inspect.StructType, path: tuple[str, ...]) -> KeyProblem:
    """Return what a struct says of itself, with its path in place of a name that it gives itself or one of its keys."""
    name, colon, rest = text.partition(": ")
    if colon and any(field.encode_name == name for field in kind.fields):
        return KeyProblem((*path, name), rest)
    if colon and path and name in (path[-1], "tools"):  # how a policy calls itself
        return KeyProblem(path, rest)
    return KeyProblem(path, lower(text))


def _kind(value: Any) -> str:
    name = {bool: "bool", list: "array", dict: "object"}.get(type(value), type(value).__name__)
    return _WORDS.get(name, name)
