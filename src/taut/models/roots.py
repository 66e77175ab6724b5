"""``roots/list``: the directories that a client opens to a server."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from taut.models._base import Model
from taut.models._messages import Result
from taut.models.meta import MetaObject

__all__ = ["ListRootsResult", "Root"]


class Root(Model, frozen=True):
    """A ``file:`` URI, and a name to show."""

    uri: str
    name: str | UnsetType = UNSET
    meta: MetaObject | UnsetType = UNSET


class ListRootsResult(Result, frozen=True):
    """The roots of a client."""

    roots: list[Root]
