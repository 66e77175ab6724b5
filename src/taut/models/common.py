"""Small objects that many messages share: roles, annotations, icons, implementations, ids."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from taut.models._base import JsonObject, JsonValue, Model

__all__ = [
    "Annotations",
    "Cursor",
    "ErrorObject",
    "Icon",
    "Implementation",
    "LoggingLevel",
    "MissingRequiredClientCapabilityData",
    "ProgressToken",
    "RequestId",
    "Role",
    "TaskStatus",
    "UnitInterval",
    "UnsupportedProtocolVersionData",
]

RequestId: TypeAlias = str | int
ProgressToken: TypeAlias = str | int
Cursor: TypeAlias = str
Role: TypeAlias = Literal["user", "assistant"]
#: Severities of RFC 5424, least severe first.
LoggingLevel: TypeAlias = Literal[
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"
]
TaskStatus: TypeAlias = Literal["working", "input_required", "completed", "failed", "cancelled"]
UnitInterval: TypeAlias = Annotated[int, Meta(ge=0, le=1)] | Annotated[float, Meta(ge=0, le=1)]


class Annotations(Model, frozen=True, kw_only=True):
    """Hints to a client about the audience, weight and age of content."""

    audience: list[Role] | UnsetType = UNSET
    priority: UnitInterval | UnsetType = UNSET
    last_modified: str | UnsetType = UNSET


class Icon(Model, frozen=True):
    """An image for a user interface: an ``https:`` or ``data:`` URI."""

    src: str
    mime_type: str | UnsetType = UNSET
    sizes: list[str] | UnsetType = UNSET
    theme: Literal["light", "dark"] | UnsetType = UNSET


class Implementation(Model, frozen=True):
    """Name and version of a client or a server; what it says of itself, never verified."""

    name: str
    version: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    website_url: str | UnsetType = UNSET


class ErrorObject(Model, frozen=True):
    """The ``error`` of a JSON-RPC error response, where one is carried inside another message."""

    code: int
    message: str
    data: JsonValue | UnsetType = UNSET


class UnsupportedProtocolVersionData(Model, frozen=True):
    """``data`` of error -32022."""

    supported: list[str]
    requested: str


class MissingRequiredClientCapabilityData(Model, frozen=True):
    """``data`` of error -32021; ``required_capabilities`` is shaped like `ClientCapabilities`."""

    required_capabilities: JsonObject
