"""Who wants to hear of changes, and telling them: ``resources/subscribe`` of the legacy era and
``subscriptions/listen`` of the modern one.

Changes of a list are announced once per turn of the loop, however many entries changed in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut.errors import LimitExceeded
from taut.mcp.inbound import Request, RequestState
from taut.mcp.server_peer import Era

if TYPE_CHECKING:
    from taut.server.connection import ServerConnection

__all__ = ["Subscriptions"]

#: List -> (notification, the member of a filter that asks for it).
LISTS = {
    "tools": ("notifications/tools/list_changed", "tools_list_changed"),
    "prompts": ("notifications/prompts/list_changed", "prompts_list_changed"),
    "resources": ("notifications/resources/list_changed", "resources_list_changed"),
}
SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"


class _Listener:
    """One open ``subscriptions/listen`` request."""

    __slots__ = ("connection", "filter", "request", "uris")

    def __init__(
        self, connection: ServerConnection, request: Request, wanted: models.SubscriptionFilter
    ) -> None:
        self.connection = connection
        self.request = request
        self.filter = wanted
        uris = wanted.resource_subscriptions
        self.uris: frozenset[str] = frozenset() if uris is msgspec.UNSET else frozenset(uris)

    def meta(self) -> dict[str, Any]:
        return {SUBSCRIPTION_ID: self.request.key}


class Subscriptions:
    """The connections of one server and what each of them wants to hear."""

    def __init__(self) -> None:
        self._connections: dict[ServerConnection, set[str]] = {}
        self._listeners: dict[Request, _Listener] = {}
        self._changed: set[str] = set()

    # -- who listens

    def add(self, connection: ServerConnection) -> None:
        """Know ``connection``, which has been started."""
        self._connections[connection] = set()

    def discard(self, connection: ServerConnection) -> None:
        """Forget ``connection``, which has ended."""
        self._connections.pop(connection, None)

    def __len__(self) -> int:
        return len(self._connections)

    def connections(self) -> list[ServerConnection]:
        """Return the open connections."""
        return list(self._connections)

    def subscribe(self, connection: ServerConnection, uri: str) -> None:
        """``resources/subscribe``.

        :raises taut.errors.LimitExceeded: too many subscriptions.
        """
        uris = self._connections.setdefault(connection, set())
        self._check(connection, len(uris) + (uri not in uris))
        uris.add(uri)

    def unsubscribe(self, connection: ServerConnection, uri: str) -> None:
        """``resources/unsubscribe``; one that was not subscribed is fine."""
        self._connections.get(connection, set()).discard(uri)

    def listen(self, connection: ServerConnection, request: Request) -> None:
        """``subscriptions/listen``: acknowledge what is honoured, then keep the request open."""
        wanted: models.SubscriptionFilter = request.params().notifications
        mine = sum(1 for listener in self._listeners.values() if listener.connection is connection)
        uris = wanted.resource_subscriptions
        self._check(connection, mine + 1 + (0 if uris is msgspec.UNSET else len(uris)))
        honoured = models.SubscriptionFilter(
            tools_list_changed=wanted.tools_list_changed,
            prompts_list_changed=wanted.prompts_list_changed,
            resources_list_changed=wanted.resources_list_changed,
            resource_subscriptions=uris,
        )
        listener = _Listener(connection, request, honoured)
        request.defer(lambda reason: self._forget(request))
        self._listeners[request] = listener
        acknowledgement = models.SubscriptionsAcknowledgedParams(notifications=honoured, meta=listener.meta())
        request.notify("notifications/subscriptions/acknowledged", acknowledgement)

    def _forget(self, request: Request) -> None:
        self._listeners.pop(request, None)

    def _check(self, connection: ServerConnection, count: int) -> None:
        maximum = connection.peer.limits.max_subscriptions
        if count > maximum:
            raise LimitExceeded("max_subscriptions", maximum, actual=count)

    # -- telling them

    def list_changed(self, kind: str) -> None:
        """Announce that the list of ``kind`` (tools, prompts, resources) changed, at the end of this turn."""
        if not self._connections:
            return
        if not self._changed:
            next(iter(self._connections)).loop.call_soon(self._announce)
        self._changed.add(kind)

    def _announce(self) -> None:
        changed, self._changed = sorted(self._changed), set()
        for kind in changed:
            method, member = LISTS[kind]
            for connection in self._connections:
                if connection.peer.era is Era.LEGACY and connection.peer.ready:
                    connection.peer.notify(method)
                    connection.flush_soon()
            for listener in self._open():
                if getattr(listener.filter, member) is True:
                    self._notify(listener, method, models.NotificationParams(meta=listener.meta()))

    def resource_updated(self, uri: str) -> None:
        """Tell whoever subscribed to ``uri`` that its contents changed."""
        method = "notifications/resources/updated"
        for connection, uris in self._connections.items():
            if uri in uris:
                connection.peer.notify(method, models.ResourceUpdatedParams(uri=uri))
                connection.flush_soon()
        for listener in self._open():
            if uri in listener.uris:
                self._notify(listener, method, models.ResourceUpdatedParams(uri=uri, meta=listener.meta()))

    def _open(self) -> list[_Listener]:
        for request in [one for one in self._listeners if one.state is not RequestState.OPEN]:
            del self._listeners[request]
        return list(self._listeners.values())

    @staticmethod
    def _notify(listener: _Listener, method: str, params: models.NotificationParams) -> None:
        listener.request.notify(method, params)
        listener.connection.flush_soon()

    def close_of(self, connection: ServerConnection) -> None:
        """End the listen streams of ``connection``: each gets its result, which says that it is over."""
        for listener in self._open():
            if listener.connection is connection:
                listener.request.respond(models.SubscriptionsListenResult.of(listener.request.key))
                connection.flush_soon()
