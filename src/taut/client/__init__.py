"""Clients: `Client` and what it hands out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.client.client import Client
from taut.client.settings import HttpSettings, TokenProvider
from taut.client.subscription import Change, Subscription

if TYPE_CHECKING:
    from taut.client.tasks import ClientTask

__all__ = ["Change", "Client", "ClientTask", "HttpSettings", "Subscription", "TokenProvider"]


def __getattr__(name: str) -> object:
    if name != "ClientTask":  # loaded when it is first asked for
        raise AttributeError(f"module 'taut.client' has no attribute {name!r}")
    from taut.client.tasks import ClientTask

    return ClientTask
