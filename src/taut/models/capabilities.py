"""What a client or a server can do. All of these objects are open: peers may declare more than is listed."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, UnsetType

from taut.models._base import JsonObject, Open

__all__ = [
    "ClientCapabilities",
    "ClientTasksCapability",
    "ElicitationCapability",
    "PromptsCapability",
    "ResourcesCapability",
    "RootsCapability",
    "SamplingCapability",
    "ServerCapabilities",
    "ServerTasksCapability",
    "ToolsCapability",
    "declares",
]


class RootsCapability(Open, frozen=True, kw_only=True):
    """The client lists its roots; ``list_changed`` is legacy only."""

    list_changed: bool | UnsetType = UNSET


class SamplingCapability(Open, frozen=True, kw_only=True):
    """The client samples its model, perhaps with tools or with context of servers."""

    context: JsonObject | UnsetType = UNSET
    tools: JsonObject | UnsetType = UNSET


class ElicitationCapability(Open, frozen=True, kw_only=True):
    """The client asks its user by form, by URL, or both. An empty object means forms only."""

    form: JsonObject | UnsetType = UNSET
    url: JsonObject | UnsetType = UNSET


class PromptsCapability(Open, frozen=True, kw_only=True):
    """The server has prompts."""

    list_changed: bool | UnsetType = UNSET


class ResourcesCapability(Open, frozen=True, kw_only=True):
    """The server has resources."""

    subscribe: bool | UnsetType = UNSET
    list_changed: bool | UnsetType = UNSET


class ToolsCapability(Open, frozen=True, kw_only=True):
    """The server has tools."""

    list_changed: bool | UnsetType = UNSET


class ClientTasksCapability(Open, frozen=True, kw_only=True):
    """Experimental tasks of 2025-11-25 on the client: ``requests`` names what may be run as a task."""

    list: JsonObject | UnsetType = UNSET
    cancel: JsonObject | UnsetType = UNSET
    requests: JsonObject | UnsetType = UNSET


class ServerTasksCapability(Open, frozen=True, kw_only=True):
    """Experimental tasks of 2025-11-25 on the server: ``requests`` names what may be run as a task."""

    list: JsonObject | UnsetType = UNSET
    cancel: JsonObject | UnsetType = UNSET
    requests: JsonObject | UnsetType = UNSET


class ClientCapabilities(Open, frozen=True, kw_only=True):
    """What a client declares: once in ``initialize``, or in ``_meta`` of every request since 2026-07-28."""

    roots: RootsCapability | UnsetType = UNSET
    sampling: SamplingCapability | UnsetType = UNSET
    elicitation: ElicitationCapability | UnsetType = UNSET
    tasks: ClientTasksCapability | UnsetType = UNSET
    experimental: JsonObject | UnsetType = UNSET
    extensions: JsonObject | UnsetType = UNSET


class ServerCapabilities(Open, frozen=True, kw_only=True):
    """What a server declares in the answer to ``initialize`` or ``server/discover``."""

    prompts: PromptsCapability | UnsetType = UNSET
    resources: ResourcesCapability | UnsetType = UNSET
    tools: ToolsCapability | UnsetType = UNSET
    logging: JsonObject | UnsetType = UNSET
    completions: JsonObject | UnsetType = UNSET
    tasks: ServerTasksCapability | UnsetType = UNSET
    experimental: JsonObject | UnsetType = UNSET
    extensions: JsonObject | UnsetType = UNSET


def declares(capabilities: ClientCapabilities | ServerCapabilities, path: str) -> bool:
    """Tell whether a dotted capability path such as ``resources.subscribe`` is declared.

    An object declares by being there, a flag by being true. After ``extensions.`` and ``experimental.`` the
    rest of the path is one key, dots included.
    """
    head, _, rest = path.partition(".")
    keys = (
        [head, *([rest] if head in ("extensions", "experimental") else rest.split("."))] if rest else [head]
    )
    value: Any = capabilities
    for key in keys:
        value = value.get(key, UNSET) if isinstance(value, dict) else _member(value, key)
        if value is UNSET or value is None or value is False:
            return False
    return True


def _member(model: Any, name: str) -> Any:
    if name in ("extra", "meta") or not isinstance(model, Open):
        return UNSET
    for attribute, member in zip(model.__struct_fields__, model.__struct_encode_fields__, strict=True):
        if member == name:
            return getattr(model, attribute)
    return UNSET if model.extra is UNSET else model.extra.get(name, UNSET)
