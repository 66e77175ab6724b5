"""``tools/list`` and ``tools/call``."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from taut.models._base import JsonObject, JsonValue, Model
from taut.models._messages import InputResponseParams, ListResult, Result
from taut.models.common import Icon
from taut.models.content import ContentBlock, TextContent
from taut.models.legacy_tasks import TaskMetadata
from taut.models.meta import MetaObject

__all__ = [
    "CallToolParams",
    "CallToolResult",
    "ListToolsResult",
    "Tool",
    "ToolAnnotations",
    "ToolExecution",
]


class ToolAnnotations(Model, frozen=True, kw_only=True):
    """Hints about what a tool does (since 2025-03-26); never to be trusted from a server that is not."""

    title: str | UnsetType = UNSET
    read_only_hint: bool | UnsetType = UNSET
    destructive_hint: bool | UnsetType = UNSET
    idempotent_hint: bool | UnsetType = UNSET
    open_world_hint: bool | UnsetType = UNSET


class ToolExecution(Model, frozen=True, kw_only=True):
    """Whether a call may or must be a task (2025-11-25 only)."""

    task_support: Literal["forbidden", "optional", "required"] | UnsetType = UNSET


class Tool(Model, frozen=True):
    """A tool. ``input_schema`` and ``output_schema`` are JSON Schemas, kept as they are."""

    name: str
    input_schema: JsonObject
    description: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    output_schema: JsonObject | UnsetType = UNSET
    annotations: ToolAnnotations | UnsetType = UNSET
    execution: ToolExecution | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    meta: MetaObject | UnsetType = UNSET


class ListToolsResult(ListResult, frozen=True):
    """One page of tools."""

    tools: list[Tool]


class CallToolParams(InputResponseParams, frozen=True):
    """``tools/call``. ``task`` asks 2025-11-25 servers to run the call as a task."""

    name: str
    arguments: JsonObject | UnsetType = UNSET
    task: TaskMetadata | UnsetType = UNSET


class CallToolResult(Result, frozen=True):
    """What a tool answered. ``is_error`` reports the tool's own failure, which a model may act on.

    ``structured_content`` exists since 2025-06-18, and is any JSON value since 2026-07-28; before, an object.
    """

    content: list[ContentBlock]
    structured_content: JsonValue | UnsetType = UNSET
    is_error: bool | UnsetType = UNSET

    @property
    def text(self) -> str:
        """The text of all text blocks, one after another."""
        return "\n".join(block.text for block in self.content if isinstance(block, TextContent))
