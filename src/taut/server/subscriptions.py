"""Who wants to hear of changes, and telling them: ``resources/subscribe`` of the legacy era and
``subscriptions/listen`` of the modern one.

Changes of a list are announced once per turn of the loop, however many entries changed in it.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut.errors import LimitExceeded
from taut.mcp.inbound import Request

if TYPE_CHECKING:
    from taut.transport.conversation import Conversation

__all__ = ["Subscriptions"]

#: List -> (notification, the member of a filter that asks for it).
LISTS = {
    "tools": ("notifications/tools/list_changed", "tools_list_changed"),
    "prompts": ("notifications/prompts/list_changed", "prompts_list_changed"),
    "resources": ("notifications/resources/list_changed", "resources_list_changed"),
}
SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
#: Characters of a URI that count as one subscription: no URI is as long, but somebody may send one that is.
URI_SIZE = 2048


class _Listener:
    """One open ``subscriptions/listen`` request."""

    __slots__ = ("filter", "request", "size", "uris")

    def __init__(self, request: Request, wanted: models.SubscriptionFilter) -> None:
        self.request = request
        self.filter = wanted
        uris = wanted.resource_subscriptions
        self.uris: frozenset[str] = frozenset() if uris is msgspec.UNSET else frozenset(uris)
        tasks = 0 if wanted.task_ids is msgspec.UNSET else len(wanted.task_ids)
        #: What it counts for.
        self.size = 1 + _size(self.uris) + tasks

    def meta(self) -> dict[str, Any]:
        return {SUBSCRIPTION_ID: self.request.key}


class _Subscriber:
    """One conversation, and what it wants to hear: legacy subscriptions, or open streams."""

    __slots__ = ("changed", "connection", "lasting", "listeners", "uris")

    def __init__(self, connection: Conversation, *, lasting: bool) -> None:
        self.connection = connection
        #: Whether it is there without a stream, until it is discarded.
        self.lasting = lasting
        self.uris: set[str] = set()
        self.listeners: dict[Request, _Listener] = {}
        #: The lists that changed in this turn of the loop.
        self.changed: set[str] = set()

    def check(self, count: int) -> None:
        maximum = self.connection.limits.max_subscriptions
        if count > maximum:
            raise LimitExceeded("max_subscriptions", maximum, actual=count)

    # -- in the loop of the connection

    def list_changed(self, kind: str) -> None:
        if not self.changed:
            self.connection.loop.call_soon(self._announce)
        self.changed.add(kind)

    def _announce(self) -> None:
        changed, self.changed = sorted(self.changed), set()
        for kind in changed:
            method, member = LISTS[kind]
            self.connection.tell(method)
            for listener in self.listeners.values():
                if getattr(listener.filter, member) is True:
                    listener.request.notify(method, models.NotificationParams(meta=listener.meta()))
        self.connection.flush_soon()

    def resource_updated(self, uri: str) -> None:
        method = "notifications/resources/updated"
        if uri in self.uris:
            self.connection.tell(method, models.ResourceUpdatedParams(uri=uri))
        for listener in self.listeners.values():
            if uri in listener.uris:
                listener.request.notify(method, models.ResourceUpdatedParams(uri=uri, meta=listener.meta()))
        self.connection.flush_soon()


class Subscriptions:
    """The connections of one server and what each of them wants to hear.

    `list_changed` and `resource_updated` may be called from any thread; each connection is told in its own loop.
    """

    def __init__(self) -> None:
        self._subscribers: dict[Conversation, _Subscriber] = {}

    # -- who listens

    def add(self, connection: Conversation) -> None:
        """Know ``connection``, which has been started."""
        self._subscribers[connection] = _Subscriber(connection, lasting=True)

    def discard(self, connection: Conversation) -> None:
        """Forget ``connection``, which has ended."""
        self._subscribers.pop(connection, None)

    def _of(self, connection: Conversation) -> _Subscriber:
        subscriber = self._subscribers.get(connection)
        if subscriber is None:
            subscriber = self._subscribers[connection] = _Subscriber(connection, lasting=False)
        return subscriber

    def __len__(self) -> int:
        return len(self._subscribers)

    def connections(self) -> list[Conversation]:
        """Return the open connections."""
        return list(self._subscribers)

    def subscribe(self, connection: Conversation, uri: str) -> None:
        """``resources/subscribe``.

        :raises taut.errors.LimitExceeded: too many subscriptions.
        """
        subscriber = self._of(connection)
        subscriber.check(_size(subscriber.uris | {uri}))
        subscriber.uris.add(uri)

    def unsubscribe(self, connection: Conversation, uri: str) -> None:
        """``resources/unsubscribe``; one that was not subscribed is fine."""
        self._of(connection).uris.discard(uri)

    def listen(
        self, connection: Conversation, request: Request, task_ids: Sequence[str] = ()
    ) -> dict[str, Any]:
        """``subscriptions/listen``: acknowledge what is honoured, then keep the request open.

        ``task_ids`` are the tasks whose changes will be sent, by whoever knows of them. Returns the ``_meta`` that
        messages of the stream must carry.

        :raises taut.errors.LimitExceeded: too many subscriptions.
        """
        wanted: models.SubscriptionFilter = request.params().notifications
        honoured = models.SubscriptionFilter(
            tools_list_changed=wanted.tools_list_changed or msgspec.UNSET,
            prompts_list_changed=wanted.prompts_list_changed or msgspec.UNSET,
            resources_list_changed=wanted.resources_list_changed or msgspec.UNSET,
            resource_subscriptions=wanted.resource_subscriptions,
            task_ids=list(task_ids) or msgspec.UNSET,
        )
        subscriber = self._of(connection)
        listener = _Listener(request, honoured)
        try:
            subscriber.check(sum(one.size for one in (*subscriber.listeners.values(), listener)))
            request.defer(lambda reason: self._forget(subscriber, request))
        except LimitExceeded:
            self._forget(subscriber, request)
            raise
        subscriber.listeners[request] = listener
        meta = listener.meta()
        acknowledgement = models.SubscriptionsAcknowledgedParams(notifications=honoured, meta=meta)
        request.notify("notifications/subscriptions/acknowledged", acknowledgement)
        return meta

    def _forget(self, subscriber: _Subscriber, request: Request) -> None:
        subscriber.listeners.pop(request, None)
        if not (subscriber.lasting or subscriber.listeners):
            self.discard(subscriber.connection)

    # -- telling them

    def list_changed(self, kind: str) -> None:
        """Announce that the list of ``kind`` (tools, prompts, resources) changed, at the end of this turn."""
        for subscriber in list(self._subscribers.values()):
            subscriber.connection.run_here(subscriber.list_changed, kind)

    def resource_updated(self, uri: str) -> None:
        """Tell whoever subscribed to ``uri`` that its contents changed."""
        for subscriber in list(self._subscribers.values()):
            subscriber.connection.run_here(subscriber.resource_updated, uri)

    def close_of(self, connection: Conversation) -> None:
        """End the listen streams of ``connection``: each gets its result, which says that it is over."""
        subscriber = self._subscribers.get(connection)
        if subscriber is None:
            return
        for request in list(subscriber.listeners):
            request.respond(models.SubscriptionsListenResult.of(request.key))
            self._forget(subscriber, request)
        connection.flush_soon()


def _size(uris: Set[str]) -> int:
    """Return what subscriptions to ``uris`` count for."""
    return sum([1 + len(uri) // URI_SIZE for uri in uris])
