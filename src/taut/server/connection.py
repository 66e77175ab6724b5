"""One client of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from taut.errors import MethodNotFound, TransportError
from taut.mcp.inbound import Request
from taut.mcp.peer import Notification
from taut.mcp.server_peer import Era, ServerPeer
from taut.server.methods import METHODS
from taut.transport.base import Transport
from taut.transport.connection import Connection

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["ServerConnection"]

#: Seconds that handlers get to finish once the client has closed its side, or the server was told to stop.
GRACE_S = 0.6


class ServerConnection(Connection[ServerPeer]):
    """A `ServerPeer` on a transport, with the server's handlers behind it."""

    def __init__(self, server: Server, transport: Transport) -> None:
        peer = ServerPeer(transport.out, server.profile, limits=server.limits)
        super().__init__(transport, peer, limits=server.limits)
        self.server = server
        self._grace: asyncio.TimerHandle | None = None
        self._session = ""

    @property
    def session(self) -> str:
        """The connection, as long as it lasts; made up when it is first asked for."""
        if not self._session:
            # Imported here: see taut.mcp.inputs.
            from secrets import token_urlsafe

            self._session = token_urlsafe(24)
        return self._session

    def start(self) -> None:
        """Begin to serve."""
        super().start()
        self.server.subscriptions.add(self)

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Hand the request to its method's handler."""
        handler = METHODS.get(request.method)
        if handler is None:  # of an extension that was declared
            raise MethodNotFound(f"Method not found: {request.method}")
        return handler(self.server, request, self)

    def on_notification(self, notification: Notification) -> None:
        """Tell the server that a client's roots changed."""
        if (
            notification.method == "notifications/roots/list_changed"
            and self.server.on_roots_changed is not None
        ):
            self.call_back(self.server.on_roots_changed, self)

    def tell(self, method: str, params: object = msgspec.UNSET) -> None:
        """Notify the client of a legacy session; a modern one hears what it listens to."""
        if self.peer.era is Era.LEGACY and self.peer.ready and self.lost is None:
            self.peer.notify(method, params)
            self.flush_soon()

    def eof_received(self) -> None:
        """The client is done asking: what is being worked on may still be answered, within `GRACE_S`."""
        self.shut_down()

    def shut_down(self) -> None:
        """Close once every open request is answered, or after `GRACE_S` seconds."""
        self.server.subscriptions.close_of(self)
        if not self._tasks:
            self.close()
            return
        if self._grace is None:
            self._grace = self.loop.call_later(GRACE_S, self._give_up)
            for task in self._tasks:
                task.add_done_callback(self._close_when_idle)

    def _close_when_idle(self, _: asyncio.Task[None]) -> None:
        if not self._tasks and self._grace is not None:
            self._grace.cancel()
            self.close()

    def _give_up(self) -> None:
        # Not answered: whoever has closed its side no longer expects one.
        self.peer.withdraw("the server is shutting down")
        self.loop.call_soon(self.close)

    def connection_lost(self, error: TransportError | None) -> None:
        """Forget the client, cancel what it asked for."""
        self.server.subscriptions.discard(self)
        if self._grace is not None:
            self._grace.cancel()
        super().connection_lost(error)
