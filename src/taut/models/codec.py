"""Decode any model, keeping what msgspec alone would lose or refuse.

The first pass is msgspec's own, and is the only one for nearly every message. Only when it refuses the object
does the second pass look at plain Python values and mend, guided by the types:

- members that an `Open` model does not know move into ``extra``;
- content of an unknown ``type`` becomes `UnknownContent`;
- null in an optional member that has no null counts as absent (many peers write one for the other);
- an integral float counts as an integer, as JSON Schema has it;
- trace context that is no text moves into ``extra``: it is never a reason to fail a call (W3C Trace Context).

What is still wrong after that raises `msgspec.ValidationError` with the path of the culprit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, TypeVar, Union, get_args, get_origin, overload

import msgspec
from msgspec import NODEFAULT, Struct

from taut.models._base import EXTRA_MEMBER, UNKNOWN_TAG, JsonValue, Open
from taut.models.content import UnknownContent
from taut.models.meta import TRACE_KEYS

__all__ = ["Buffer", "convert", "decode"]

#: Anything with the buffer protocol.
Buffer: TypeAlias = Any

T = TypeVar("T")
_Mend: TypeAlias = Callable[[Any], Any]


@overload
def decode(type: type[T], raw: Buffer) -> T: ...
@overload
def decode(type: Any, raw: Buffer) -> Any: ...
def decode(type: Any, raw: Buffer) -> Any:
    """Decode JSON text. Raises `msgspec.DecodeError`, or its subclass ValidationError for a wrong shape."""
    try:
        return decoder(type).decode(raw)
    except msgspec.ValidationError:
        return convert(msgspec.json.decode(raw), type)


@overload
def convert(value: JsonValue, type: type[T]) -> T: ...
@overload
def convert(value: JsonValue, type: Any) -> Any: ...
def convert(value: JsonValue, type: Any) -> Any:
    """Turn plain Python values into a model, as leniently as `decode`. Raises `msgspec.ValidationError`."""
    mend = _mender(type)
    return msgspec.convert(value if mend is None else mend(value), type)


@cache
def decoder(type: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a type; building one costs far more than using it."""
    return msgspec.json.Decoder(type)


def flatten(hint: Any) -> Iterator[Any]:
    """Yield the alternatives of a type hint: unions opened, Annotated unwrapped."""
    origin = get_origin(hint)
    if origin is Union or origin is UnionType:
        for alternative in get_args(hint):
            yield from flatten(alternative)
    elif origin is Annotated:
        yield from flatten(get_args(hint)[0])
    else:
        yield hint


@cache
def _mender(hint: Any) -> _Mend | None:
    """Return the function that mends values of a type, or None when there is nothing to mend in them."""
    alternatives = tuple(flatten(hint))
    structs = [a for a in alternatives if isinstance(a, type) and issubclass(a, Struct)]
    lists = [_mender(get_args(a)[0]) for a in alternatives if get_origin(a) is list]
    dicts = [_mender(get_args(a)[1]) for a in alternatives if get_origin(a) is dict]
    mend_object: _Mend | None
    if structs:
        mend_object = _mend_struct(structs[0]) if len(structs) == 1 else _mend_tagged(tuple(structs))
    else:
        mend_object = _mend_values(dicts[0]) if dicts else None
    mend_list = _mend_items(lists[0]) if lists else None
    whole = int in alternatives and float not in alternatives
    if mend_object is None and mend_list is None and not whole:
        return None

    def mend(value: Any) -> Any:
        if isinstance(value, dict):
            return value if mend_object is None else mend_object(value)
        if isinstance(value, list):
            return value if mend_list is None else mend_list(value)
        if whole and isinstance(value, float) and value.is_integer():
            return int(value)
        return value

    return mend


def _mend_struct(struct: type[Struct]) -> _Mend:
    members: dict[str, tuple[_Mend | None, bool]] = {}
    for field in msgspec.structs.fields(struct):
        optional = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
        nullable = any(a is NoneType or a is Any for a in flatten(field.type))
        members[field.encode_name] = (_mender(field.type), optional and not nullable)
    members.pop(EXTRA_MEMBER, None)
    tag_field = struct.__struct_config__.tag_field
    is_open = issubclass(struct, Open)

    def mend(value: dict[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, member in value.items():
            known = members.get(name)
            if known is None or (is_open and name in TRACE_KEYS and not isinstance(member, str)):
                (kept if name == tag_field else extra)[name] = member
            elif member is not None:
                kept[name] = member if known[0] is None else known[0](member)
            elif not known[1]:
                kept[name] = None
        if extra and is_open:
            kept[EXTRA_MEMBER] = extra
        return kept

    return mend


def _mend_tagged(structs: tuple[type[Struct], ...]) -> _Mend:
    tag_field = structs[0].__struct_config__.tag_field
    by_tag = {struct.__struct_config__.tag: _mend_struct(struct) for struct in structs}
    keeps_unknown = UnknownContent in structs

    def mend(value: dict[str, Any]) -> Any:
        tag = value.get(str(tag_field))
        if not isinstance(tag, str):
            return value
        known = by_tag.get(tag)
        if known is not None and tag != UNKNOWN_TAG:
            return known(value)
        return {"type": UNKNOWN_TAG, "raw": value} if keeps_unknown else value

    return mend


def _mend_items(mend: _Mend | None) -> _Mend | None:
    return None if mend is None else lambda values: [mend(value) for value in values]


def _mend_values(mend: _Mend | None) -> _Mend | None:
    return None if mend is None else lambda value: {name: mend(member) for name, member in value.items()}
