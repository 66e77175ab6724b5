"""The bases of params and results, and the messages that carry nothing else."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, UnsetType

from taut.models._base import JsonObject, Model, Open
from taut.models.common import Cursor
from taut.models.meta import MetaObject, RequestMeta

__all__ = [
    "CacheScope",
    "CacheableResult",
    "EmptyResult",
    "InputResponseParams",
    "ListResult",
    "NotificationParams",
    "PaginatedParams",
    "PaginatedResult",
    "RequestParams",
    "Result",
]

CacheScope: TypeAlias = Literal["public", "private"]


class RequestParams(Model, frozen=True, kw_only=True):
    """Params of a request; on their own those of ``ping`` and ``server/discover``."""

    meta: RequestMeta | UnsetType = UNSET


class PaginatedParams(RequestParams, frozen=True, kw_only=True):
    """Params of a list request."""

    cursor: Cursor | UnsetType = UNSET


class InputResponseParams(RequestParams, frozen=True, kw_only=True):
    """Params of a request that may be retried with the input it asked for (2026-07-28).

    ``input_responses`` maps the keys of ``input_requests`` to raw results (see `decode_input_response`);
    ``request_state`` is echoed byte for byte.
    """

    input_responses: JsonObject | UnsetType = UNSET
    request_state: str | UnsetType = UNSET


class NotificationParams(Model, frozen=True, kw_only=True):
    """Params of a notification; on their own those of the ``list_changed`` ones."""

    meta: MetaObject | UnsetType = UNSET


class Result(Open, frozen=True, kw_only=True):
    """Any result. ``result_type`` is of 2026-07-28: absent means complete, and `project` fills it in."""

    meta: MetaObject | UnsetType = UNSET
    result_type: str | UnsetType = UNSET


class EmptyResult(Result, frozen=True, kw_only=True):
    """The result of a request that has nothing to say but that it succeeded."""


class PaginatedResult(Result, frozen=True, kw_only=True):
    """One page of a list; ``next_cursor`` is absent on the last."""

    next_cursor: Cursor | UnsetType = UNSET


class CacheableResult(Result, frozen=True, kw_only=True):
    """A result that a client may reuse (2026-07-28). Absent members mean: not at all, and privately."""

    ttl_ms: int | UnsetType = UNSET
    cache_scope: CacheScope | UnsetType = UNSET

    @property
    def lifetime_ms(self) -> int:
        """How long the result may be reused; 0 when the server said nothing, or a negative number."""
        return 0 if self.ttl_ms is UNSET else max(0, self.ttl_ms)


class ListResult(CacheableResult, frozen=True, kw_only=True):
    """One page of a list that a client may reuse; ``next_cursor`` is absent on the last."""

    next_cursor: Cursor | UnsetType = UNSET
