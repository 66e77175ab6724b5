"""When a call over HTTP is sent again by itself: for each reason once, and never where it might be done twice.

A server that says it has not looked at a request (404 for its session, 401, -32020) gets it again once the reason is
out of the way. Where nobody knows whether a request was carried out, only what bears repeating is repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from taut.errors import AuthorizationRequired, ConnectionClosed, HeaderMismatch, SessionExpired, TautError
from taut.mcp.http.tooling import may_repeat

if TYPE_CHECKING:
    from taut.client.http import HttpConnection

__all__ = ["Retry"]


@final
class Retry:
    """The attempts of one call to ``method``, of the tool ``name`` if it is one; ``session`` is what it was sent in."""

    __slots__ = ("_connection", "_method", "_name", "_reasons")

    def __init__(self, connection: HttpConnection, method: str, name: str | None) -> None:
        self._connection = connection
        self._method = method
        self._name = name
        self._reasons: set[str] = set()

    async def allows(self, error: TautError, session: bytes | None) -> bool:
        """Do away with the reason for ``error``, if that is possible, and tell whether to send the call again."""
        connection = self._connection
        if isinstance(error, SessionExpired):
            connection.expire(session)
            if error.sent and not may_repeat(self._method, self._name, connection.tools):
                return False
            return self._first("session") and self._method != "initialize"
        if isinstance(error, AuthorizationRequired):
            auth = connection.settings.auth
            return auth is not None and self._first("token") and await auth.challenged(error)
        if isinstance(error, HeaderMismatch):
            if self._method != "tools/call" or not connection.peer.modern or not self._first("tools"):
                return False
            await connection.relist()
            return True
        if isinstance(error, ConnectionClosed):
            safe = not error.sent or may_repeat(self._method, self._name, connection.tools)
            return safe and self._first("connection")
        return False

    def _first(self, reason: str) -> bool:
        if reason in self._reasons:
            return False
        self._reasons.add(reason)
        return True
