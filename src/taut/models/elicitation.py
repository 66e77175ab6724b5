"""``elicitation/create``: a server asks the client's user, by a form or by a URL (since 2025-06-18).

The schema of a form travels as the peer wrote it: `ElicitParams.requested_schema` is a plain dict.
`ElicitSchema` and the field schemas below build one, and read one with `ElicitSchema.from_dict`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from taut.models._base import JsonObject, Model
from taut.models._messages import NotificationParams, RequestParams, Result
from taut.models.legacy_tasks import TaskMetadata

__all__ = [
    "BooleanSchema",
    "ElicitParams",
    "ElicitResult",
    "ElicitSchema",
    "ElicitValue",
    "ElicitationCompleteParams",
    "EnumOption",
    "IntegerSchema",
    "MultiSelectItems",
    "MultiSelectSchema",
    "NumberSchema",
    "PrimitiveSchema",
    "StringSchema",
    "UrlElicitationRequiredData",
]

ElicitValue: TypeAlias = str | int | float | bool | list[str] | None


class EnumOption(Model, frozen=True):
    """A choice: ``const`` is the value, ``title`` what the user reads."""

    const: str
    title: str


class _FieldSchema(Model, frozen=True, kw_only=True):
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class StringSchema(_FieldSchema, frozen=True, kw_only=True, tag_field="type", tag="string"):
    """A text field; with ``enum`` or ``one_of`` a choice of one.

    ``one_of`` gives the choices titles; ``enum_names`` does so too, in the way of 2025-06-18.
    """

    format: Literal["email", "uri", "date", "date-time"] | UnsetType = UNSET
    min_length: int | UnsetType = UNSET
    max_length: int | UnsetType = UNSET
    enum: list[str] | UnsetType = UNSET
    enum_names: list[str] | UnsetType = UNSET
    one_of: list[EnumOption] | UnsetType = UNSET
    default: str | UnsetType = UNSET


class NumberSchema(_FieldSchema, frozen=True, kw_only=True, tag_field="type", tag="number"):
    """A field for a number."""

    minimum: int | float | UnsetType = UNSET
    maximum: int | float | UnsetType = UNSET
    default: int | float | UnsetType = UNSET


class IntegerSchema(_FieldSchema, frozen=True, kw_only=True, tag_field="type", tag="integer"):
    """A field for a whole number."""

    minimum: int | float | UnsetType = UNSET
    maximum: int | float | UnsetType = UNSET
    default: int | float | UnsetType = UNSET


class BooleanSchema(_FieldSchema, frozen=True, kw_only=True, tag_field="type", tag="boolean"):
    """A tick box."""

    default: bool | UnsetType = UNSET


class MultiSelectItems(Model, frozen=True, kw_only=True):
    """The choices of a `MultiSelectSchema`: plain (``type`` and ``enum``), or with titles (``any_of``)."""

    type: Literal["string"] | UnsetType = UNSET
    enum: list[str] | UnsetType = UNSET
    any_of: list[EnumOption] | UnsetType = UNSET


class MultiSelectSchema(_FieldSchema, frozen=True, kw_only=True, tag_field="type", tag="array"):
    """A choice of several (since 2025-11-25)."""

    items: MultiSelectItems
    min_items: int | UnsetType = UNSET
    max_items: int | UnsetType = UNSET
    default: list[str] | UnsetType = UNSET


PrimitiveSchema: TypeAlias = StringSchema | NumberSchema | IntegerSchema | BooleanSchema | MultiSelectSchema


class ElicitSchema(Model, frozen=True, tag_field="type", tag="object"):
    """The fields of a form; no nesting."""

    properties: dict[str, PrimitiveSchema]
    required: list[str] | UnsetType = UNSET
    schema_uri: str | UnsetType = UNSET

    @classmethod
    def from_dict(cls, schema: JsonObject) -> ElicitSchema:
        """Read a peer's schema. Raises `msgspec.ValidationError` where it is no form."""
        return msgspec.convert(schema, cls)

    def to_dict(self) -> JsonObject:
        """Return the schema as `ElicitParams` carries it."""
        schema: JsonObject = msgspec.to_builtins(self)
        return schema


class ElicitParams(RequestParams, frozen=True):
    """``elicitation/create``: a request before 2026-07-28, since then a value of ``input_requests``.

    A form needs ``requested_schema``, the mode ``"url"`` (since 2025-11-25) needs ``url``. An absent mode
    means a form. ``elicitation_id`` is of 2025-11-25 only.
    """

    message: str
    requested_schema: JsonObject | UnsetType = UNSET
    mode: Literal["form", "url"] | UnsetType = UNSET
    url: str | UnsetType = UNSET
    elicitation_id: str | UnsetType = UNSET
    task: TaskMetadata | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.mode == "url":
            if self.url is UNSET:
                raise ValueError("Object missing required field `url`")
        elif self.requested_schema is UNSET:
            raise ValueError("Object missing required field `requestedSchema`")


class ElicitResult(Result, frozen=True):
    """What the user did; ``content`` holds the values of an accepted form."""

    action: Literal["accept", "decline", "cancel"]
    content: dict[str, ElicitValue] | UnsetType = UNSET


class ElicitationCompleteParams(NotificationParams, frozen=True):
    """``notifications/elicitation/complete``: what a URL asked for was done (2025-11-25 only)."""

    elicitation_id: str


class UrlElicitationRequiredData(Model, frozen=True):
    """``data`` of error -32042 (2025-11-25 only)."""

    elicitations: list[ElicitParams]
