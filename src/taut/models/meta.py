"""``_meta``: the reserved keys, and the typed form that requests carry.

Results, notifications and data objects keep ``_meta`` as a plain dict, since nearly all of its keys belong to
others. A request's `RequestMeta` has the reserved keys as attributes and everything else in ``extra``.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import UNSET, UnsetType

from taut.models._base import EXTRA_MEMBER, JsonObject, Open
from taut.models.capabilities import ClientCapabilities
from taut.models.common import Implementation, LoggingLevel, ProgressToken

__all__ = [
    "CLIENT_CAPABILITIES_KEY",
    "CLIENT_INFO_KEY",
    "LOG_LEVEL_KEY",
    "PROTOCOL_VERSION_KEY",
    "RELATED_TASK_KEY",
    "SERVER_INFO_KEY",
    "SUBSCRIPTION_ID_KEY",
    "TRACE_KEYS",
    "MetaObject",
    "RequestMeta",
]

PROTOCOL_VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CLIENT_INFO_KEY: Final = "io.modelcontextprotocol/clientInfo"
CLIENT_CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
LOG_LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
SERVER_INFO_KEY: Final = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_ID_KEY: Final = "io.modelcontextprotocol/subscriptionId"
RELATED_TASK_KEY: Final = "io.modelcontextprotocol/related-task"

TRACE_KEYS: Final = frozenset({"traceparent", "tracestate", "baggage"})

#: ``_meta`` of anything but a request.
MetaObject: TypeAlias = JsonObject

_NAMES = {
    "progress_token": "progressToken",
    "protocol_version": PROTOCOL_VERSION_KEY,
    "client_info": CLIENT_INFO_KEY,
    "client_capabilities": CLIENT_CAPABILITIES_KEY,
    "log_level": LOG_LEVEL_KEY,
    "extra": EXTRA_MEMBER,
}


class RequestMeta(Open, frozen=True, kw_only=True, rename=_NAMES):
    """``params._meta`` of a request. The protocol keys are of 2026-07-28, and not sent before it.

    ``progress_token`` keeps its JSON type and its size: 1 and "1" differ, and 2**70 is echoed exactly.
    """

    progress_token: ProgressToken | UnsetType = UNSET
    protocol_version: str | UnsetType = UNSET
    client_info: Implementation | UnsetType = UNSET
    client_capabilities: ClientCapabilities | UnsetType = UNSET
    log_level: LoggingLevel | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET
    baggage: str | UnsetType = UNSET
