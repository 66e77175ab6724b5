"""What every model shares: member names on the wire, absence, and members that no struct knows.

- An attribute is snake_case, its member camelCase; ``meta`` is ``_meta``.
- ``UNSET`` is absence and is never encoded; ``None`` is a JSON null and is. Both survive a round trip.
- Models are frozen: one object may be encoded for many peers, at many revisions, from many threads.
- `Open` models keep members that they do not know in ``extra``. msgspec has no such notion, so decoding goes
  through `taut.models.decode` and encoding through `taut.models.project` or `encode`. An open struct refuses
  unknown members in msgspec's own pass; that refusal is the signal for the slower pass that keeps them,
  which is why messages without unknown members pay nothing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import UNSET, Struct, UnsetType

__all__ = ["UNSET", "JsonObject", "JsonValue", "Model", "Open", "UnsetType"]

#: Any JSON value as plain Python objects. A struct in its place is encoded as an object.
JsonValue: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Any]

#: Wire names that stand for `Open.extra` and for content of an unknown type between the lenient pass and
#: msgspec's conversion. They never travel: `project` replaces them, and a peer gains nothing by sending them.
EXTRA_MEMBER = "taut:extra"
UNKNOWN_TAG = "taut:unknown"

_SPECIAL_NAMES = {"meta": "_meta", "extra": EXTRA_MEMBER, "schema_uri": "$schema"}


def wire_name(attribute: str) -> str:
    """Return the member name of a struct attribute."""
    special = _SPECIAL_NAMES.get(attribute)
    if special is not None:
        return special
    head, *rest = attribute.split("_")
    return head + "".join(word.capitalize() for word in rest)


class Model(Struct, frozen=True, rename=wire_name):
    """Base of all models. Unknown members are ignored when one is decoded."""


class Open(Model, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model whose object is open in the specification: unknown members are kept in ``extra``."""

    extra: JsonObject | UnsetType = UNSET
