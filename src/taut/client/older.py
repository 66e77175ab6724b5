"""What to do about a server at a URL that is older than Streamable HTTP: the transport of 2024-11-05.

Such a server answers a POST with 400, 404 or 405, and a GET of the same URL with a stream of events (2025-11-25,
"Backwards Compatibility").
"""

from __future__ import annotations

from taut import models
from taut.client.connection import ClientConnection
from taut.client.settings import HttpSettings
from taut.client.side import Owner
from taut.errors import HttpError, RemoteError, UnsupportedProtocolVersion
from taut.mcp.client_peer import ClientProfile
from taut.mcp.limits import Limits
from taut.transport.http.sse_client import SseTransport

__all__ = ["may_be_older", "open_older"]

STATUSES = frozenset({400, 404, 405})
MODES = frozenset({"auto", "legacy", *models.LEGACY})


def may_be_older(error: HttpError | RemoteError, mode: str) -> bool:
    """Whether a server that answers ``initialize`` like this may be one of 2024-11-05, and ``mode`` allows that."""
    told = isinstance(error, UnsupportedProtocolVersion)  # which only newer ones say
    return error.status in STATUSES and mode in MODES and not told


async def open_older(
    url: str, profile: ClientProfile, owner: Owner, settings: HttpSettings, *, limits: Limits
) -> ClientConnection:
    """Return a connection to the event stream at ``url``; nothing is sent yet."""
    headers = dict(settings.headers)
    token = None if settings.auth is None else await settings.auth.token()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    transport = SseTransport(
        url,
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        connect_timeout_s=settings.connect_timeout_s,
        limits=limits,
        tls=settings.tls,
        uds=settings.uds,
        proxy=settings.proxy,
        trust_env=settings.trust_env,
        idle_s=settings.idle_s,
    )
    return ClientConnection(transport, profile, owner, limits=limits)
