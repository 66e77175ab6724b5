"""``sampling/createMessage``: a server asks the client's model for a message."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from taut.models._base import JsonObject, Model
from taut.models._messages import RequestParams, Result
from taut.models.common import Role, UnitInterval
from taut.models.content import SamplingContent
from taut.models.legacy_tasks import TaskMetadata
from taut.models.meta import MetaObject
from taut.models.tools import Tool

__all__ = [
    "CreateMessageParams",
    "CreateMessageResult",
    "ModelHint",
    "ModelPreferences",
    "SamplingMessage",
    "ToolChoice",
]


class SamplingMessage(Model, frozen=True):
    """One message of the conversation. Several blocks in one message exist since 2025-11-25."""

    role: Role
    content: SamplingContent | list[SamplingContent]
    meta: MetaObject | UnsetType = UNSET


class ModelHint(Model, frozen=True):
    """A substring of a model's name."""

    name: str | UnsetType = UNSET


class ModelPreferences(Model, frozen=True, kw_only=True):
    """What matters in the choice of a model, each from 0 to 1; hints come first."""

    hints: list[ModelHint] | UnsetType = UNSET
    cost_priority: UnitInterval | UnsetType = UNSET
    speed_priority: UnitInterval | UnsetType = UNSET
    intelligence_priority: UnitInterval | UnsetType = UNSET


class ToolChoice(Model, frozen=True):
    """Whether the model may, must or must not use the tools (since 2025-11-25)."""

    mode: Literal["auto", "none", "required"] | UnsetType = UNSET


class CreateMessageParams(RequestParams, frozen=True):
    """``sampling/createMessage``: a request before 2026-07-28, since then a value of ``input_requests``."""

    messages: list[SamplingMessage]
    max_tokens: int
    system_prompt: str | UnsetType = UNSET
    model_preferences: ModelPreferences | UnsetType = UNSET
    include_context: Literal["none", "thisServer", "allServers"] | UnsetType = UNSET
    temperature: int | float | UnsetType = UNSET
    stop_sequences: list[str] | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET
    tools: list[Tool] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    task: TaskMetadata | UnsetType = UNSET


class CreateMessageResult(Result, frozen=True):
    """What the model said, and which model it was."""

    role: Role
    content: SamplingContent | list[SamplingContent]
    model: str
    stop_reason: str | UnsetType = UNSET
