"""Every method of every revision: its sender, params and result, and the capability that gates it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from taut.models._messages import EmptyResult, NotificationParams, PaginatedParams, RequestParams, Result
from taut.models.completion import CompleteParams, CompleteResult
from taut.models.elicitation import ElicitationCompleteParams, ElicitParams, ElicitResult
from taut.models.inputs import InputRequiredResult
from taut.models.legacy_tasks import (
    LegacyCancelTaskResult,
    LegacyCreateTaskResult,
    LegacyGetTaskPayloadResult,
    LegacyGetTaskResult,
    LegacyListTasksResult,
    LegacyTaskStatusParams,
)
from taut.models.lifecycle import (
    CancelledParams,
    DiscoverResult,
    InitializeParams,
    InitializeResult,
    ProgressParams,
)
from taut.models.logging import LoggingMessageParams, SetLevelParams
from taut.models.prompts import GetPromptParams, GetPromptResult, ListPromptsResult
from taut.models.resources import (
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceParams,
    ReadResourceResult,
    ResourceUpdatedParams,
    SubscribeParams,
    UnsubscribeParams,
)
from taut.models.revisions import LATEST_LEGACY, LEGACY, MODERN, REVISIONS, since
from taut.models.roots import ListRootsResult
from taut.models.sampling import CreateMessageParams, CreateMessageResult
from taut.models.skills import (
    SKILLS_EXTENSION,
    GetSkillParams,
    GetSkillResult,
    ListSkillsResult,
    ReadDirectoryParams,
    ReadDirectoryResult,
)
from taut.models.subscriptions import (
    SubscriptionsAcknowledgedParams,
    SubscriptionsListenParams,
    SubscriptionsListenResult,
)
from taut.models.tasks import (
    TASKS_EXTENSION,
    CancelTaskParams,
    CreateTaskResult,
    GetTaskParams,
    GetTaskResult,
    TaskStatusParams,
    UpdateTaskParams,
)
from taut.models.tools import CallToolParams, CallToolResult, ListToolsResult

__all__ = ["INPUT_METHODS", "METHODS", "MethodSpec", "Sender", "lookup"]

Sender: TypeAlias = Literal["client", "server", "both"]
_NONE: Mapping[str, type[Result]] = MappingProxyType({})


class MethodSpec(Struct, frozen=True):
    """One method: in its newest shape in `METHODS`, in that of a revision from `lookup`.

    ``result`` is None for a notification; ``revisions`` are those that have the method. ``capability`` is the
    dotted path that gates it (see `declares`): declared by the receiver of a request, by the sender of a
    notification; None when nothing gates it. ``alternatives`` are results that may come in place of
    ``result``, by the ``resultType`` that announces them (2025-11-25 has tasks without announcing them).
    """

    method: str
    params: type[Struct]
    result: type[Result] | None
    sender: Sender
    revisions: frozenset[str]
    capability: str | None = None
    alternatives: Mapping[str, type[Result]] = _NONE


_ALL = frozenset(REVISIONS)
_2024 = frozenset({"2024-11-05"})
_2025_11 = frozenset({"2025-11-25"})
_TASKS = f"extensions.{TASKS_EXTENSION}"
_SKILLS = f"extensions.{SKILLS_EXTENSION}"
_INPUT = {"input_required": InputRequiredResult}
_INPUT_OR_TASK: Mapping[str, type[Result]] = {"input_required": InputRequiredResult, "task": CreateTaskResult}
_LEGACY_TASK = {"task": LegacyCreateTaskResult}

_REQUESTS = (
    MethodSpec("initialize", InitializeParams, InitializeResult, "client", LEGACY),
    MethodSpec("ping", RequestParams, EmptyResult, "both", LEGACY),
    MethodSpec("server/discover", RequestParams, DiscoverResult, "client", MODERN),
    MethodSpec("tools/list", PaginatedParams, ListToolsResult, "client", _ALL, "tools"),
    MethodSpec("tools/call", CallToolParams, CallToolResult, "client", _ALL, "tools", _INPUT_OR_TASK),
    MethodSpec("resources/list", PaginatedParams, ListResourcesResult, "client", _ALL, "resources"),
    MethodSpec(
        "resources/templates/list", PaginatedParams, ListResourceTemplatesResult, "client", _ALL, "resources"
    ),
    MethodSpec("resources/read", ReadResourceParams, ReadResourceResult, "client", _ALL, "resources", _INPUT),
    MethodSpec("resources/subscribe", SubscribeParams, EmptyResult, "client", LEGACY, "resources.subscribe"),
    MethodSpec(
        "resources/unsubscribe", UnsubscribeParams, EmptyResult, "client", LEGACY, "resources.subscribe"
    ),
    MethodSpec("prompts/list", PaginatedParams, ListPromptsResult, "client", _ALL, "prompts"),
    MethodSpec("prompts/get", GetPromptParams, GetPromptResult, "client", _ALL, "prompts", _INPUT),
    MethodSpec("completion/complete", CompleteParams, CompleteResult, "client", _ALL, "completions"),
    MethodSpec("logging/setLevel", SetLevelParams, EmptyResult, "client", LEGACY, "logging"),
    MethodSpec(
        "subscriptions/listen", SubscriptionsListenParams, SubscriptionsListenResult, "client", MODERN
    ),
    MethodSpec("roots/list", RequestParams, ListRootsResult, "server", LEGACY, "roots"),
    MethodSpec(
        "sampling/createMessage", CreateMessageParams, CreateMessageResult, "server", LEGACY, "sampling"
    ),
    MethodSpec(
        "elicitation/create",
        ElicitParams,
        ElicitResult,
        "server",
        since("2025-06-18", LATEST_LEGACY),
        "elicitation",
    ),
    MethodSpec("tasks/get", GetTaskParams, GetTaskResult, "client", _2025_11 | MODERN, _TASKS),
    MethodSpec("tasks/cancel", CancelTaskParams, EmptyResult, "client", _2025_11 | MODERN, _TASKS),
    MethodSpec("tasks/update", UpdateTaskParams, EmptyResult, "client", MODERN, _TASKS),
    MethodSpec("skills/list", PaginatedParams, ListSkillsResult, "client", _ALL, _SKILLS),
    MethodSpec("skills/get", GetSkillParams, GetSkillResult, "client", _ALL, _SKILLS),
    MethodSpec("resources/directory/read", ReadDirectoryParams, ReadDirectoryResult, "client", _ALL, _SKILLS),
    MethodSpec("tasks/result", GetTaskParams, LegacyGetTaskPayloadResult, "both", _2025_11, "tasks"),
    MethodSpec("tasks/list", PaginatedParams, LegacyListTasksResult, "both", _2025_11, "tasks.list"),
)

_NOTIFICATIONS = (
    MethodSpec("notifications/initialized", NotificationParams, None, "client", LEGACY),
    MethodSpec("notifications/cancelled", CancelledParams, None, "both", _ALL),
    MethodSpec("notifications/progress", ProgressParams, None, "server", _ALL),
    MethodSpec("notifications/message", LoggingMessageParams, None, "server", _ALL, "logging"),
    MethodSpec(
        "notifications/resources/updated", ResourceUpdatedParams, None, "server", _ALL, "resources.subscribe"
    ),
    MethodSpec(
        "notifications/resources/list_changed",
        NotificationParams,
        None,
        "server",
        _ALL,
        "resources.listChanged",
    ),
    MethodSpec(
        "notifications/tools/list_changed", NotificationParams, None, "server", _ALL, "tools.listChanged"
    ),
    MethodSpec(
        "notifications/prompts/list_changed", NotificationParams, None, "server", _ALL, "prompts.listChanged"
    ),
    MethodSpec(
        "notifications/roots/list_changed", NotificationParams, None, "client", LEGACY, "roots.listChanged"
    ),
    MethodSpec(
        "notifications/subscriptions/acknowledged", SubscriptionsAcknowledgedParams, None, "server", MODERN
    ),
    MethodSpec("notifications/elicitation/complete", ElicitationCompleteParams, None, "server", _2025_11),
    MethodSpec("notifications/tasks", TaskStatusParams, None, "server", MODERN, _TASKS),
    MethodSpec("notifications/tasks/status", LegacyTaskStatusParams, None, "both", _2025_11, "tasks"),
)

#: Every method, in its newest shape; `lookup` gives the shape at a revision.
METHODS: Mapping[str, MethodSpec] = MappingProxyType({s.method: s for s in (*_REQUESTS, *_NOTIFICATIONS)})

#: What ``input_requests`` may ask for (2026-07-28), and what its answer looks like.
INPUT_METHODS: Mapping[str, type[Result]] = MappingProxyType(
    {
        "sampling/createMessage": CreateMessageResult,
        "roots/list": ListRootsResult,
        "elicitation/create": ElicitResult,
    }
)

# Where a method's shape at some revisions is not the newest one; later rows win.
_DIFFERENCES: tuple[tuple[str, frozenset[str], dict[str, object]], ...] = (
    ("tools/call", LEGACY, {"alternatives": _NONE}),
    ("tools/call", _2025_11, {"alternatives": _LEGACY_TASK}),
    ("resources/read", LEGACY, {"alternatives": _NONE}),
    ("prompts/get", LEGACY, {"alternatives": _NONE}),
    ("completion/complete", _2024, {"capability": None}),
    ("sampling/createMessage", _2025_11, {"alternatives": _LEGACY_TASK}),
    ("elicitation/create", _2025_11, {"alternatives": _LEGACY_TASK}),
    ("tasks/get", _2025_11, {"result": LegacyGetTaskResult, "sender": "both", "capability": "tasks"}),
    (
        "tasks/cancel",
        _2025_11,
        {"result": LegacyCancelTaskResult, "sender": "both", "capability": "tasks.cancel"},
    ),
    ("notifications/progress", LEGACY, {"sender": "both"}),
)


def _shapes() -> Mapping[tuple[str, str], MethodSpec]:
    shapes = {(spec.method, revision): spec for spec in METHODS.values() for revision in spec.revisions}
    for method, revisions, changes in _DIFFERENCES:
        for revision in revisions & METHODS[method].revisions:
            shapes[method, revision] = replace(shapes[method, revision], **changes)
    return MappingProxyType(shapes)


_SHAPES = _shapes()


def lookup(method: str, revision: str) -> MethodSpec | None:
    """Return the shape of a method at one revision; None when it does not exist there."""
    return _SHAPES.get((method, revision))
