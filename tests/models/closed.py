"""Close the official schemas: the same definitions, where a member that they do not name is an error.

The official ones are open nearly everywhere, so that they cannot notice a member of a later revision.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

#: Definitions that are open by their prose, or that an extension adds members to.
OPEN = {
    "MetaObject",
    "NotificationMetaObject",
    "RequestMetaObject",
    "ResultMetaObject",
    "SubscriptionFilter",  # taskIds, of the tasks extension
    "SubscriptionsListenResultMetaObject",
    # Parts of an allOf, each of which would forbid the other's members.
    "Error",
    "NotificationParams",
    "Result",
    "Task",
}

#: Members that hold a JSON Schema or are open by their prose.
OPEN_MEMBERS = {"_meta", "inputSchema", "outputSchema", "requestedSchema"}

#: Capability `extensions` is in use on 2025-11-25, and capabilities are open.
EXTENSIONS_BEFORE_THEIR_TIME = {"ClientCapabilities", "ServerCapabilities"}


def closed(document: dict[str, Any], revision: str) -> dict[str, Any]:
    """Return a copy of a schema document with its objects closed."""
    copy = deepcopy(document)
    for keyword in ("$defs", "definitions"):
        for name, definition in copy.get(keyword, {}).items():
            if name in OPEN:
                continue
            if revision == "2025-11-25" and name in EXTENSIONS_BEFORE_THEIR_TIME:
                definition["properties"]["extensions"] = {"type": "object"}
            _close(definition)
    return copy


def _close(schema: Any) -> None:
    if not isinstance(schema, dict):
        return
    properties = schema.get("properties")
    if isinstance(properties, dict):
        for name, member in properties.items():
            if name not in OPEN_MEMBERS:
                _close(member)
        params = properties.get("params")
        if isinstance(params, dict) and isinstance(params.get("properties"), dict):
            params["properties"] |= {"_meta": {"type": "object"}}
        if "method" in properties:
            # Until 2025-06-18 a message's definition leaves out its envelope.
            properties |= {"jsonrpc": {}, "id": {}}
        schema.setdefault("additionalProperties", False)
    for keyword in ("anyOf", "oneOf"):
        for branch in schema.get(keyword, ()):
            _close(branch)
    for keyword in ("items", "additionalProperties"):
        _close(schema.get(keyword))
