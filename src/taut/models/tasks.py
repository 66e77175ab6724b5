"""Tasks: the extension ``io.modelcontextprotocol/tasks`` of 2026-07-28.

A tool call may be answered by the handle of a task, which is polled, fed with input, and cancelled. The
experimental tasks of 2025-11-25 are in `taut.models.legacy_tasks`.
"""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, UnsetType

from taut.models._base import JsonObject
from taut.models._messages import NotificationParams, RequestParams, Result
from taut.models.common import ErrorObject, TaskStatus
from taut.models.inputs import InputRequest

__all__ = [
    "TASKS_EXTENSION",
    "CancelTaskParams",
    "CreateTaskResult",
    "GetTaskParams",
    "GetTaskResult",
    "TaskParams",
    "TaskStatusParams",
    "UpdateTaskParams",
]

TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"


class TaskParams(RequestParams, frozen=True):
    """Params of every request about one task."""

    task_id: str


class GetTaskParams(TaskParams, frozen=True):
    """``tasks/get``, and ``tasks/result`` of 2025-11-25."""


class CancelTaskParams(TaskParams, frozen=True):
    """``tasks/cancel``."""


class UpdateTaskParams(TaskParams, frozen=True):
    """``tasks/update``: raw results for keys of ``input_requests`` (see `decode_input_response`)."""

    input_responses: JsonObject


class CreateTaskResult(Result, frozen=True, kw_only=True):
    """``resultType: task``: the request goes on as a task. ``ttl_ms`` None means: kept for ever."""

    task_id: str
    status: TaskStatus
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | UnsetType = UNSET
    status_message: str | UnsetType = UNSET


class GetTaskResult(CreateTaskResult, frozen=True, kw_only=True):
    """``tasks/get``: the task, with what its status brings along.

    ``result`` (raw) comes with completed, ``error`` with failed, ``input_requests`` with input_required.
    """

    result: JsonObject | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET
    input_requests: dict[str, InputRequest] | UnsetType = UNSET


class TaskStatusParams(NotificationParams, frozen=True, kw_only=True):
    """``notifications/tasks``: what ``tasks/get`` would answer now."""

    task_id: str
    status: TaskStatus
    created_at: str
    last_updated_at: str
    ttl_ms: int | None
    poll_interval_ms: int | UnsetType = UNSET
    status_message: str | UnsetType = UNSET
    result: JsonObject | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET
    input_requests: dict[str, InputRequest] | UnsetType = UNSET
