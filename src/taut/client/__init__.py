"""Clients: `Client` and what it hands out."""

from taut.client.client import Client
from taut.client.settings import HttpSettings, TokenProvider
from taut.client.subscription import Change, Subscription

__all__ = ["Change", "Client", "HttpSettings", "Subscription", "TokenProvider"]
