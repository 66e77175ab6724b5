"""Who asks: the seam between an endpoint and whatever knows its tokens.

The endpoint reads the bearer token of a request (RFC 6750) and has it verified; what comes back is the principal, to
which sessions, event streams and sealed state are bound. Where no verifier is given nobody is asked, and the principal
of every request is empty.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from typing import Protocol

from msgspec import Struct

from taut.errors import ConfigError
from taut.mcp.http.head import Head
from taut.mcp.http.reply import Reply, refusal

__all__ = ["Auth", "Identity", "TokenVerifier"]


class Identity(Struct, frozen=True):
    """Whom a token stands for."""

    #: Names the principal, and no other one; never empty.
    subject: str
    scopes: frozenset[str] = frozenset()
    #: Seconds since the epoch; None: the verifier has seen to that.
    expires_at: float | None = None


class TokenVerifier(Protocol):
    """Knows whom a token stands for."""

    def verify(self, token: str) -> Identity | Awaitable[Identity | None] | None:
        """Return whom ``token`` stands for; None when it is good for nothing here. May be async.

        What it raises ends the request as a fault of the server.
        """


class Auth:
    """Lets requests through by their bearer token.

    ``challenge`` are parameters of the ``WWW-Authenticate`` header of a refusal, such as ``resource_metadata``
    (RFC 9728) and ``scope``.

    :raises taut.errors.ConfigError: a parameter cannot travel in a header.
    """

    def __init__(self, verifier: TokenVerifier, *, challenge: Mapping[str, str] | None = None) -> None:
        self.verifier = verifier
        self._challenge = dict(challenge or {})
        for name, value in self._challenge.items():
            if not (
                name.isascii() and name.replace("_", "").isalnum() and value.isascii() and value.isprintable()
            ):
                raise ConfigError(f"Expected a challenge of printable ASCII text, got {name}={value!r}")

    def admit(self, head: Head, now: float) -> Reply | Awaitable[Reply | None] | None:
        """Find out whom ``head`` comes from and say so in it; return the refusal, if that is what it gets.

        ``now`` are seconds since the epoch.
        """
        token = _bearer_token(head)
        if token is None:
            return self._refuse("Expected an Authorization header with a bearer token, got none", {})
        found = self.verifier.verify(token)
        if inspect.isawaitable(found):
            return self._admit_later(head, found, now)
        return self._decide(head, found, now)

    async def _admit_later(self, head: Head, found: Awaitable[Identity | None], now: float) -> Reply | None:
        return self._decide(head, await found, now)

    def _decide(self, head: Head, identity: Identity | None, now: float) -> Reply | None:
        if identity is None or not identity.subject:
            return self._refuse("The bearer token is not valid here", {"error": "invalid_token"})
        if identity.expires_at is not None and identity.expires_at <= now:
            return self._refuse("The bearer token has expired", {"error": "invalid_token"})
        head.principal = identity.subject
        return None

    def _refuse(self, message: str, parameters: dict[str, str]) -> Reply:
        shown = ", ".join(
            f"{name}={_quoted(value)}" for name, value in (parameters | self._challenge).items()
        )
        challenge = f"Bearer {shown}".strip().encode()
        return refusal(401, message, headers=((b"www-authenticate", challenge),))


def _bearer_token(head: Head) -> str | None:
    raw = head.known.get(b"authorization")
    if raw is None or head.repeated == b"authorization":
        return None
    scheme, _, token = raw.decode("latin-1").partition(" ")
    token = token.strip(" ")
    return token if scheme.lower() == "bearer" and token and token.isascii() and " " not in token else None


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
