"""``prompts/list`` and ``prompts/get``."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from taut.models._base import Model
from taut.models._messages import InputResponseParams, ListResult, Result
from taut.models.common import Icon, Role
from taut.models.content import ContentBlock
from taut.models.meta import MetaObject

__all__ = [
    "GetPromptParams",
    "GetPromptResult",
    "ListPromptsResult",
    "Prompt",
    "PromptArgument",
    "PromptMessage",
]


class PromptArgument(Model, frozen=True):
    """One argument of a prompt; its value is text."""

    name: str
    description: str | UnsetType = UNSET
    required: bool | UnsetType = UNSET
    title: str | UnsetType = UNSET


class Prompt(Model, frozen=True):
    """A prompt, or a template of one when it has arguments."""

    name: str
    description: str | UnsetType = UNSET
    arguments: list[PromptArgument] | UnsetType = UNSET
    title: str | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    meta: MetaObject | UnsetType = UNSET


class PromptMessage(Model, frozen=True):
    """One message of a prompt."""

    role: Role
    content: ContentBlock


class ListPromptsResult(ListResult, frozen=True):
    """One page of prompts."""

    prompts: list[Prompt]


class GetPromptParams(InputResponseParams, frozen=True):
    """``prompts/get``."""

    name: str
    arguments: dict[str, str] | UnsetType = UNSET


class GetPromptResult(Result, frozen=True):
    """The messages of a prompt, with its arguments filled in."""

    messages: list[PromptMessage]
    description: str | UnsetType = UNSET
