"""Clients: `Client` and what it hands out, and `ServerPool` for many servers by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut._lazy import lazily
from taut.client.client import Client
from taut.client.settings import HttpSettings, TokenProvider
from taut.client.subscription import Change, Subscription

if TYPE_CHECKING:
    from taut.client.pool import Backoff, ServerConfig, ServerLease, ServerPool, ServerStatus
    from taut.client.tasks import ClientTask

__all__ = [
    "Backoff",
    "Change",
    "Client",
    "ClientTask",
    "HttpSettings",
    "ServerConfig",
    "ServerLease",
    "ServerPool",
    "ServerStatus",
    "Subscription",
    "TokenProvider",
]

#: Loaded when they are first asked for.
_HOMES = {
    "Backoff": "taut.client.pool",
    "ClientTask": "taut.client.tasks",
    "ServerConfig": "taut.client.pool",
    "ServerLease": "taut.client.pool",
    "ServerPool": "taut.client.pool",
    "ServerStatus": "taut.client.pool",
}

__getattr__, __dir__ = lazily(__name__, _HOMES, globals())
