"""The client's end of one connection: negotiation, the server's requests, and its notifications."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from taut import models
from taut.errors import (
    ConnectTimeout,
    InvalidParams,
    LocalProtocolError,
    MethodNotFound,
    RequestTimeout,
    TautError,
    TransportError,
)
from taut.mcp.client_peer import ClientPeer, ClientProfile
from taut.mcp.inbound import Request
from taut.mcp.inputs import can_answer, capability_of
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.negotiation import Agreement, Negotiation, Step
from taut.mcp.peer import Notification
from taut.transport.base import Transport
from taut.transport.connection import Connection

__all__ = ["Answerer", "ClientConnection"]

#: Answers one method of the server's: gets its params, returns its result, may be async.
Answerer: TypeAlias = Callable[[Any], Any]
Listener: TypeAlias = Callable[[Notification], None]


class ClientConnection(Connection[ClientPeer]):
    """A `ClientPeer` on a transport. ``answerers`` maps the methods that the server may call to callbacks."""

    def __init__(
        self,
        transport: Transport,
        profile: ClientProfile,
        answerers: dict[str, Answerer],
        on_message: Listener,
        on_lost: Callable[[TransportError], None],
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(transport, ClientPeer(transport.out, profile, limits=limits), limits=limits)
        self._answerers = answerers
        self._on_message = on_message
        self._on_lost = on_lost

    # -- negotiation

    async def negotiate(
        self, mode: str, *, probe_timeout_s: float, timeout_s: float, log_level: str | None
    ) -> Agreement:
        """Agree on a revision with the server.

        :raises taut.errors.ConnectTimeout: the server did not answer ``initialize`` in time.
        :raises taut.errors.UnsupportedProtocolVersion: there is no common revision.
        """
        negotiation = Negotiation(mode)
        step: Step | Agreement = negotiation.first()
        while isinstance(step, Step):
            limit = probe_timeout_s if step.is_probe and mode == "auto" else timeout_s
            try:
                result = await self._take(step, limit, log_level)
            except TautError as error:
                step = negotiation.failed(step, _as_connect_error(step, error, mode))
            else:
                step = negotiation.answered(step, result)
        self.adopt(step, log_level)
        return step

    async def _take(self, step: Step, timeout_s: float, log_level: str | None) -> object:
        self.peer.speak(step.revision, log_level=log_level)
        profile = self.peer.profile
        params = models.RequestParams() if step.is_probe else profile.initialize_params(step.revision)
        return await self.ask(step.method, params, timeout_s=timeout_s)

    def adopt(self, agreement: Agreement, log_level: str | None = None) -> None:
        """Use an agreement: the one just reached, or one saved from an earlier connection."""
        self.peer.speak(agreement.revision, log_level=log_level)
        self.peer.agree(agreement)
        self.flush_soon()

    # -- what the server sends

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Hand the request to its callback."""
        answerer = self._answerers.get(request.method)
        if answerer is None:
            raise MethodNotFound(f"Method not found: {request.method}")
        return self._answer(request, answerer)

    async def _answer(self, request: Request, answerer: Answerer) -> None:
        params = request.params()
        needed = capability_of(request.method, params)
        if not can_answer(self.peer.profile.capabilities, needed):
            raise InvalidParams(
                f"{request.method} needs the client capability {needed}, which was not declared"
            )
        request.respond(await run_answerer(answerer, params))

    def on_notification(self, notification: Notification) -> None:
        """Pass it on."""
        self._on_message(notification)

    def connection_lost(self, error: TransportError | None) -> None:
        """End every call, then tell the owner."""
        super().connection_lost(error)
        if self.lost is not None:
            self._on_lost(self.lost)

    # -- streams

    def open_stream(self, params: models.SubscriptionsListenParams) -> Stream:
        """Open ``subscriptions/listen``; the stream ends with the connection, or when it is closed."""
        stream = Stream(self)
        stream.open(params)
        return stream


class Stream:
    """One open ``subscriptions/listen`` request."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._pending: Any = None
        self.ended: asyncio.Future[None] = connection.loop.create_future()

    @property
    def id(self) -> int:
        """The id that the stream's notifications carry."""
        identifier: int = self._pending.id
        return identifier

    def open(self, params: models.SubscriptionsListenParams) -> None:
        """Send the request."""
        connection = self._connection
        if connection.lost is not None:
            raise connection.lost
        self._pending = connection.peer.request(
            "subscriptions/listen", params, self._on_done, now=connection.loop.time()
        )
        connection.flush_soon()

    def _on_done(self, pending: Any) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    @property
    def error(self) -> TautError | None:
        """What ended the stream, if it was an error."""
        error: TautError | None = self._pending.error
        return error

    def check(self) -> None:
        """Raise what ended the stream, if it was an error."""
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        """Tell the server to stop."""
        if not self._pending.done:
            self._connection.peer.cancel(self._pending, "unsubscribed")
            self._connection.flush_soon()


async def run_answerer(answerer: Answerer, params: Any) -> Any:
    """Return what ``answerer`` makes of ``params``, whether it is async or not.

    :raises taut.errors.LocalProtocolError: it returned nothing.
    """
    result = answerer(params)
    if inspect.isawaitable(result):
        waiting: Awaitable[Any] = result
        result = await waiting
    if result is None:
        raise LocalProtocolError("Expected a result from the callback, got None")
    return result


def _as_connect_error(step: Step, error: TautError, mode: str) -> TautError:
    if isinstance(error, RequestTimeout) and not (step.is_probe and mode == "auto"):
        return ConnectTimeout(f"No answer to {step.method} within {error.timeout_s:g} s")
    return error
