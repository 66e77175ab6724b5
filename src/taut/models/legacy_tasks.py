"""The experimental tasks of 2025-11-25, gone since 2026-07-28: what replaced them is in `taut.models.tasks`.

The attributes of a task are called as in the replacement; on the wire they were ``ttl`` and ``pollInterval``
for ``ttlMs`` and ``pollIntervalMs``, and a new task was nested as ``task``.
"""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from taut.models._base import EXTRA_MEMBER, Model
from taut.models._messages import NotificationParams, PaginatedResult, Result
from taut.models.common import TaskStatus

__all__ = [
    "LegacyCancelTaskResult",
    "LegacyCreateTaskResult",
    "LegacyGetTaskPayloadResult",
    "LegacyGetTaskResult",
    "LegacyListTasksResult",
    "LegacyTask",
    "LegacyTaskStatusParams",
    "RelatedTaskMetadata",
    "TaskMetadata",
]

_LEGACY_NAMES = {
    "task_id": "taskId",
    "status_message": "statusMessage",
    "created_at": "createdAt",
    "last_updated_at": "lastUpdatedAt",
    "ttl_ms": "ttl",
    "poll_interval_ms": "pollInterval",
    "meta": "_meta",
    "result_type": "resultType",
    "extra": EXTRA_MEMBER,
}


class TaskMetadata(Model, frozen=True, kw_only=True, rename=_LEGACY_NAMES):
    """``task`` of a request that should run as a task (2025-11-25)."""

    ttl_ms: int | UnsetType = UNSET


class RelatedTaskMetadata(Model, frozen=True):
    """``_meta["io.modelcontextprotocol/related-task"]`` of a message that belongs to a task (2025-11-25)."""

    task_id: str


class LegacyTask(Model, frozen=True, kw_only=True, rename=_LEGACY_NAMES):
    """The state of a task (2025-11-25)."""

    task_id: str
    status: TaskStatus
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | UnsetType = UNSET
    status_message: str | UnsetType = UNSET


class LegacyCreateTaskResult(Result, frozen=True):
    """The request goes on as a task (2025-11-25)."""

    task: LegacyTask


class LegacyGetTaskResult(Result, frozen=True, kw_only=True, rename=_LEGACY_NAMES):
    """``tasks/get`` (2025-11-25)."""

    task_id: str
    status: TaskStatus
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | UnsetType = UNSET
    status_message: str | UnsetType = UNSET


class LegacyCancelTaskResult(LegacyGetTaskResult, frozen=True, kw_only=True, rename=_LEGACY_NAMES):
    """``tasks/cancel`` (2025-11-25)."""


class LegacyListTasksResult(PaginatedResult, frozen=True):
    """``tasks/list`` (2025-11-25)."""

    tasks: list[LegacyTask]


class LegacyGetTaskPayloadResult(Result, frozen=True, kw_only=True):
    """``tasks/result`` (2025-11-25): the result that the request would have had, as members of ``extra``."""


class LegacyTaskStatusParams(NotificationParams, frozen=True, kw_only=True, rename=_LEGACY_NAMES):
    """``notifications/tasks/status`` (2025-11-25)."""

    task_id: str
    status: TaskStatus
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | UnsetType = UNSET
    status_message: str | UnsetType = UNSET
