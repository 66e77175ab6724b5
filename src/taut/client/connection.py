"""The client's end of one connection that stays."""

from __future__ import annotations

from collections.abc import Callable

from taut import models
from taut.client.side import ClientSide, Owner
from taut.errors import TautError, TransportError
from taut.mcp.client_peer import ClientPeer, ClientProfile
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.outbound import Pending
from taut.transport.base import Transport
from taut.transport.connection import Connection
from taut.transport.messages import MessageTransport

__all__ = ["ClientConnection"]


class ClientConnection(Connection[ClientPeer], ClientSide):
    """A `ClientPeer` on a transport."""

    def __init__(
        self,
        transport: Transport,
        profile: ClientProfile,
        owner: Owner,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(transport, ClientPeer(transport.out, profile, limits=limits), limits=limits)
        self.owner = owner

    async def open(self) -> None:
        """Make the connection, where the transport does so before it starts."""
        if isinstance(self.transport, MessageTransport):
            try:
                await self.transport.open()
            except BaseException as error:  # whatever it is, nobody else tells us of the end
                self.connection_lost(error if isinstance(error, TransportError) else None)
                raise

    def connection_lost(self, error: TransportError | None) -> None:
        """End every call, then tell the owner."""
        super().connection_lost(error)
        if self.lost is not None:
            self.owner.on_lost(self.lost)

    def open_stream(self, params: models.SubscriptionsListenParams) -> Stream:
        """Open ``subscriptions/listen``; the stream ends with the connection, or when it is closed."""
        stream = Stream(self)
        stream.open(params)
        return stream


class Stream:
    """One open ``subscriptions/listen`` request."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._pending: Pending
        self._on_end: Callable[[TautError | None], None] | None = None

    @property
    def id(self) -> int:
        """The id that the stream's notifications carry."""
        return self._pending.id

    def open(self, params: models.SubscriptionsListenParams) -> None:
        """Send the request."""
        connection = self._connection
        if connection.lost is not None:
            raise connection.lost.with_traceback(None)
        self._pending = connection.peer.request(
            "subscriptions/listen", params, self._on_done, now=connection.loop.time()
        )
        connection.flush_soon()

    def on_end(self, callback: Callable[[TautError | None], None]) -> None:
        """Have ``callback`` told of the end, which is an error unless either side wanted it."""
        self._on_end = callback

    def _on_done(self, pending: Pending) -> None:
        if self._on_end is not None:
            self._on_end(pending.error)

    def close(self) -> None:
        """Tell the server to stop."""
        if not self._pending.done:
            self._connection.peer.cancel(self._pending, "unsubscribed")
            self._connection.flush_soon()
