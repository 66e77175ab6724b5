"""``completion/complete``: proposals for an argument of a prompt or a variable of a URI template."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, UnsetType

from taut.models._base import Model
from taut.models._messages import RequestParams, Result

__all__ = [
    "CompleteParams",
    "CompleteResult",
    "Completion",
    "CompletionArgument",
    "CompletionContext",
    "CompletionReference",
    "PromptReference",
    "ResourceTemplateReference",
]


class PromptReference(Model, frozen=True, tag_field="type", tag="ref/prompt"):
    """A prompt, by name."""

    name: str
    title: str | UnsetType = UNSET


class ResourceTemplateReference(Model, frozen=True, tag_field="type", tag="ref/resource"):
    """A resource template, by its URI template."""

    uri: str


CompletionReference: TypeAlias = PromptReference | ResourceTemplateReference


class CompletionArgument(Model, frozen=True):
    """The argument to complete, and what the user typed so far."""

    name: str
    value: str


class CompletionContext(Model, frozen=True, kw_only=True):
    """Arguments that are settled already (since 2025-06-18)."""

    arguments: dict[str, str] | UnsetType = UNSET


class CompleteParams(RequestParams, frozen=True):
    """``completion/complete``."""

    ref: CompletionReference
    argument: CompletionArgument
    context: CompletionContext | UnsetType = UNSET


class Completion(Model, frozen=True):
    """At most 100 values, best first; ``total`` may be more than are listed."""

    values: list[str]
    total: int | UnsetType = UNSET
    has_more: bool | UnsetType = UNSET


class CompleteResult(Result, frozen=True):
    """The proposals."""

    completion: Completion
