"""``logging/setLevel`` (legacy) and ``notifications/message``."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from taut.models._base import JsonValue
from taut.models._messages import NotificationParams, RequestParams
from taut.models.common import LoggingLevel

__all__ = ["LoggingMessageParams", "SetLevelParams"]


class SetLevelParams(RequestParams, frozen=True):
    """``logging/setLevel``: the least severe level to send; since 2026-07-28 a key of ``_meta`` instead."""

    level: LoggingLevel


class LoggingMessageParams(NotificationParams, frozen=True):
    """``notifications/message``; ``data`` is any JSON value, null included."""

    level: LoggingLevel
    data: JsonValue
    logger: str | UnsetType = UNSET
