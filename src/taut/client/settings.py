"""How a client speaks HTTP: what its requests carry, whom it trusts, how many connections it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from taut.errors import AuthorizationRequired, ConfigError

if TYPE_CHECKING:
    import ssl

__all__ = ["HttpSettings", "TokenProvider"]


class TokenProvider(Protocol):
    """Where a client gets the tokens from that it presents to its server."""

    async def token(self) -> str | None:
        """Return the bearer token for the next request; None to send none. Asked before each request."""

    async def challenged(self, error: AuthorizationRequired) -> bool:
        """Hear that the server has refused a request (401, or 403 as `taut.errors.AccessDenied`).

        Return True if `token` now gives a better one: the request is then sent again, once.
        """


class HttpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a client that connects to a URL.

    :raises taut.errors.ConfigError: a number is not positive, or there are two sources of authorization.
    """

    #: Sent with every request, besides what the protocol says.
    headers: Mapping[str, str] = {}
    auth: TokenProvider | None = None
    #: An `ssl.SSLContext`, or a file with the certificates to trust; None trusts what the system trusts.
    tls: ssl.SSLContext | str | None = None
    #: Reach the server through this unix socket; the URL then only says what to ask it for.
    uds: str | None = None
    #: The URL of a proxy; None asks the environment (``HTTPS_PROXY`` and its kin) if ``trust_env`` is set.
    proxy: str | None = None
    trust_env: bool = True
    #: Connections at a time. Each call takes one while it waits, and each stream of changes for as long as it lives.
    max_connections: int = 100
    connect_timeout_s: float = 10.0
    #: Seconds that a connection without a request is kept for the next one.
    idle_s: float = 30.0
    #: Seconds that the end of a legacy session may take.
    close_timeout_s: float = 2.0
    #: Open the stream on which a legacy server sends what belongs to no call.
    listen: bool = True

    def __post_init__(self) -> None:
        for name in ("max_connections", "connect_timeout_s", "idle_s", "close_timeout_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"Expected a positive {name}, got {getattr(self, name)}")
        if self.auth is not None and any(name.lower() == "authorization" for name in self.headers):
            raise ConfigError("Expected auth or a header Authorization, got both")

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Without what may be secret: the values of headers, and what stands before the host of the proxy."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["headers"] = list(self.headers)
        shown["proxy"] = None if self.proxy is None else self.proxy.rpartition("@")[2]
        return list(shown.items())

    def __repr__(self) -> str:
        return f"HttpSettings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"
