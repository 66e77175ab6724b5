"""Hearing of changes, the same way in both eras.

In the modern era a subscription is one ``subscriptions/listen`` request. In the legacy era resources are
subscribed one by one, and list changes come to everyone: they are picked from what arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from taut import models
from taut.errors import ConnectionClosed, RemoteError, RequestTimeout, TautError

if TYPE_CHECKING:
    from taut.client.client import Client
    from taut.client.side import Listening

__all__ = ["Change", "Subscription"]

SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
#: Changes that wait to be read; the oldest are dropped beyond that, as a later one says the same.
MAX_WAITING = 1_024


class Change(NamedTuple):
    """What changed: the notification's method and, for a resource, its URI."""

    method: str
    uri: str | None


class Subscription:
    """An async iterator of `Change`; ends when either side closes it, raises when the connection is lost."""

    def __init__(
        self, client: Client, resources: frozenset[str], *, tools: bool, prompts: bool, resource_list: bool
    ) -> None:
        #: What the server agreed to tell (modern era), once `open` has returned; None where it does not say.
        self.honoured: models.SubscriptionFilter | None = None
        self._client = client
        #: The resources whose updates are read here.
        self.resources = resources
        self._lists = {
            method
            for method, wanted in (
                ("notifications/tools/list_changed", tools),
                ("notifications/prompts/list_changed", prompts),
                ("notifications/resources/list_changed", resource_list),
            )
            if wanted
        }
        self._waiting: deque[Change] = deque(maxlen=MAX_WAITING)
        self._wake: asyncio.Future[None] | None = None
        self._acknowledged: asyncio.Future[TautError | None] | None = None
        self._stream: Listening | None = None
        self._closed = False
        self._error: TautError | None = None

    # -- beginning

    async def open(self, timeout_s: float | None) -> None:
        """Subscribe; returns when the server has acknowledged. Cancelling it leaves nothing behind.

        :raises taut.errors.RequestTimeout: no acknowledgement within ``timeout_s``.
        """
        try:
            if self._client.agreement.modern:
                await self._listen(timeout_s)
            else:
                await self._subscribe()
        except BaseException:
            self._closed = True
            if self._stream is not None:
                self._stream.close()
            raise

    async def _subscribe(self) -> None:
        subscribed: set[str] = set()
        try:
            for uri in sorted(self.resources):
                await self._client.request("resources/subscribe", models.SubscribeParams(uri=uri))
                subscribed.add(uri)
        except RemoteError:
            self._client._forget(self)
            await self._unsubscribe(subscribed)
            raise

    async def _listen(self, timeout_s: float | None) -> None:
        wanted = models.SubscriptionFilter(
            tools_list_changed="notifications/tools/list_changed" in self._lists or msgspec.UNSET,
            prompts_list_changed="notifications/prompts/list_changed" in self._lists or msgspec.UNSET,
            resources_list_changed="notifications/resources/list_changed" in self._lists or msgspec.UNSET,
            resource_subscriptions=sorted(self.resources) or msgspec.UNSET,
        )
        connection = self._client.connection
        self._acknowledged = connection.loop.create_future()
        self._stream = stream = connection.open_stream(models.SubscriptionsListenParams(notifications=wanted))
        stream.on_end(self._on_stream_ended)
        done, _ = await asyncio.wait((self._acknowledged,), timeout=timeout_s)
        if not done:
            raise RequestTimeout("subscriptions/listen", timeout_s or 0.0)
        error = self._acknowledged.result()
        if error is not None:
            raise error

    # -- what the server says

    def offer(self, method: str, params: Any) -> None:
        """Take a notification of the server, if it belongs here."""
        if self._stream is not None:
            meta = params.meta
            if meta is msgspec.UNSET or meta.get(SUBSCRIPTION_ID) != self._stream.id:
                return
            if method == "notifications/subscriptions/acknowledged":
                if self._acknowledged is not None and not self._acknowledged.done():
                    self.honoured = params.notifications
                    self._acknowledged.set_result(None)
                return
        uri = getattr(params, "uri", None)
        if method in self._lists or (method == "notifications/resources/updated" and uri in self.resources):
            self._waiting.append(Change(method, uri))
            self._wake_up()

    def catch_up(self) -> None:
        """Report everything once: what has changed while nobody could tell is not known."""
        self._waiting.extend(Change(method, None) for method in sorted(self._lists))
        self._waiting.extend(Change("notifications/resources/updated", uri) for uri in sorted(self.resources))
        self._wake_up()

    def _on_stream_ended(self, error: TautError | None) -> None:
        self._client._forget(self)
        if self._acknowledged is not None and not self._acknowledged.done():
            self._acknowledged.set_result(error)
        if error is None:
            self._closed = True
            self._wake_up()
        else:
            self.end(error)

    def end(self, error: TautError) -> None:
        """End with ``error``: the connection is gone, or the server has cancelled."""
        self._error = error
        self._wake_up()

    # -- reading

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Change:
        while True:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            if self._wake is None or self._wake.done():
                self._wake = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._wake)  # others may wait for it as well

    # -- the end

    def wants(self, uri: str) -> bool:
        """Whether updates of the resource are read here."""
        return uri in self.resources

    async def close(self) -> None:
        """Unsubscribe. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        self._client._forget(self)
        self._wake_up()
        if self._stream is not None:
            self._stream.close()
        elif self._error is None:
            with contextlib.suppress(ConnectionClosed):  # which ends every subscription
                await self._unsubscribe(self.resources)

    async def _unsubscribe(self, resources: Iterable[str]) -> None:
        """End legacy subscriptions, which are one for the whole session, where no other reader is left."""
        for uri in sorted(resources):
            if not self._client._subscribed(uri):
                await self._client.request("resources/unsubscribe", models.UnsubscribeParams(uri=uri))

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
