"""How a conversation begins, is measured and is abandoned: initialize, discover, progress, cancelled."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from taut.models._messages import CacheableResult, NotificationParams, RequestParams, Result
from taut.models.capabilities import ClientCapabilities, ServerCapabilities
from taut.models.common import Implementation, ProgressToken, RequestId

__all__ = [
    "CancelledParams",
    "DiscoverResult",
    "InitializeParams",
    "InitializeResult",
    "ProgressParams",
]


class InitializeParams(RequestParams, frozen=True):
    """``initialize``: the newest revision that the client speaks, and what it can do."""

    protocol_version: str
    capabilities: ClientCapabilities
    client_info: Implementation


class InitializeResult(Result, frozen=True):
    """The revision that the server chose, and what it can do."""

    protocol_version: str
    capabilities: ServerCapabilities
    server_info: Implementation
    instructions: str | UnsetType = UNSET


class DiscoverResult(CacheableResult, frozen=True):
    """``server/discover``: the modern revisions that the server speaks, and what it can do."""

    supported_versions: list[str]
    capabilities: ServerCapabilities
    instructions: str | UnsetType = UNSET


class ProgressParams(NotificationParams, frozen=True):
    """``notifications/progress``: ``progress`` grows with every notification of a request."""

    progress_token: ProgressToken
    progress: int | float
    total: int | float | UnsetType = UNSET
    message: str | UnsetType = UNSET


class CancelledParams(NotificationParams, frozen=True):
    """``notifications/cancelled``. Only 2025-11-25 lets ``request_id`` be absent."""

    request_id: RequestId | UnsetType = UNSET
    reason: str | UnsetType = UNSET
