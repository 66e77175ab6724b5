"""``resources/list``, ``resources/templates/list``, ``resources/read``, and legacy subscriptions."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from taut.models._base import Model
from taut.models._messages import (
    CacheableResult,
    InputResponseParams,
    ListResult,
    NotificationParams,
    RequestParams,
)
from taut.models.common import Annotations, Icon
from taut.models.content import ResourceContents
from taut.models.meta import MetaObject

__all__ = [
    "ListResourceTemplatesResult",
    "ListResourcesResult",
    "ReadResourceParams",
    "ReadResourceResult",
    "Resource",
    "ResourceTemplate",
    "ResourceUpdatedParams",
    "SubscribeParams",
    "UnsubscribeParams",
]


class Resource(Model, frozen=True):
    """Something that a server can read, by URI; ``size`` counts bytes before any encoding."""

    uri: str
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    annotations: Annotations | UnsetType = UNSET
    size: int | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    meta: MetaObject | UnsetType = UNSET


class ResourceTemplate(Model, frozen=True):
    """A family of resources, by URI template (RFC 6570)."""

    uri_template: str
    name: str
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    mime_type: str | UnsetType = UNSET
    annotations: Annotations | UnsetType = UNSET
    icons: list[Icon] | UnsetType = UNSET
    meta: MetaObject | UnsetType = UNSET


class ListResourcesResult(ListResult, frozen=True):
    """One page of resources."""

    resources: list[Resource]


class ListResourceTemplatesResult(ListResult, frozen=True):
    """One page of resource templates."""

    resource_templates: list[ResourceTemplate]


class ReadResourceParams(InputResponseParams, frozen=True):
    """``resources/read``."""

    uri: str


class ReadResourceResult(CacheableResult, frozen=True):
    """The contents at a URI: one or, for something like a directory, several."""

    contents: list[ResourceContents]


class SubscribeParams(RequestParams, frozen=True):
    """``resources/subscribe`` (legacy)."""

    uri: str


class UnsubscribeParams(RequestParams, frozen=True):
    """``resources/unsubscribe`` (legacy)."""

    uri: str


class ResourceUpdatedParams(NotificationParams, frozen=True):
    """``notifications/resources/updated``: ``uri`` may lie below the one subscribed to."""

    uri: str
