"""The client's side of a conversation, whatever carries it: negotiation, the server's requests and notifications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, Protocol

from taut import models
from taut.client.answers import Answers
from taut.errors import (
    ConnectTimeout,
    InvalidParams,
    MethodNotFound,
    RequestTimeout,
    TautError,
    TransportError,
)
from taut.mcp.client_peer import ClientPeer
from taut.mcp.inbound import Request
from taut.mcp.negotiation import Agreement, Negotiation, Step
from taut.mcp.peer import Notification
from taut.transport.timing import Timed

__all__ = ["ClientSide", "Listening", "Owner"]


class Owner(NamedTuple):
    """What the owner of a conversation does with what the server says."""

    answers: Answers
    #: Gets every notification that is not about a request in flight.
    on_message: Callable[[Notification], None]
    #: Told once that the conversation is over, and why.
    on_lost: Callable[[TransportError], None]
    #: Told that notifications may have been missed.
    on_gap: Callable[[], None]
    #: Told that the server has forgotten what a legacy session had told it, and has another one.
    on_session: Callable[[], Awaitable[None]]


class Listening(Protocol):
    """An open ``subscriptions/listen``."""

    @property
    def id(self) -> int:
        """The id that the notifications of the stream carry."""

    def on_end(self, callback: Callable[[TautError | None], None]) -> None:
        """Have ``callback`` told of the end, which is an error unless either side wanted it."""

    def close(self) -> None:
        """Tell the server to stop."""


class ClientSide(Timed[ClientPeer]):
    """A `ClientPeer` with the callbacks of its owner behind it."""

    owner: Owner

    async def open(self) -> None:
        """Make the connection, where that takes a while.

        :raises taut.errors.TransportError: that was not possible.
        """

    def start(self) -> None:
        """Begin to hear the server, where it speaks without being asked."""

    # -- negotiation

    @property
    def session_id(self) -> str | None:
        """The id of a legacy session over HTTP."""
        return None

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
        await self.adopt(step, log_level)
        return step

    async def _take(self, step: Step, timeout_s: float, log_level: str | None) -> object:
        self.speak(step.revision, log_level)
        profile = self.peer.profile
        params = models.RequestParams() if step.is_probe else profile.initialize_params(step.revision)
        return await self.ask(step.method, params, timeout_s=timeout_s)

    def speak(self, revision: str, log_level: str | None) -> None:
        """Use ``revision`` for what is sent from now on: while negotiating, and once agreed."""
        self.peer.speak(revision, log_level=log_level)

    async def adopt(self, agreement: Agreement, log_level: str | None = None) -> None:
        """Use an agreement: the one just reached, or one saved from an earlier connection."""
        self.speak(agreement.revision, log_level)
        self.peer.agree(agreement)
        self.flush_soon()

    # -- what the server sends

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Hand the request to its callback."""
        if request.method not in self.owner.answers:
            raise MethodNotFound(f"Method not found: {request.method}")
        return self._answer(request)

    async def _answer(self, request: Request) -> None:
        params = request.params()
        missing = self.owner.answers.undeclared(request.method, params)
        if missing is not None:
            raise InvalidParams(
                f"{request.method} needs the client capability {missing}, which was not declared"
            )
        request.respond(await self.owner.answers.answer(request.method, params))

    def on_notification(self, notification: Notification) -> None:
        """Pass it on."""
        self.owner.on_message(notification)

    # -- streams

    def open_stream(self, params: models.SubscriptionsListenParams) -> Listening:
        """Open ``subscriptions/listen``; the stream ends with the conversation, or when it is closed."""
        raise NotImplementedError

    # -- the end

    def close(self) -> None:
        """Close: what is open ends with `taut.errors.ConnectionClosed`. Twice is fine."""
        raise NotImplementedError

    async def wait_closed(self) -> None:
        """Wait until everything is released. Safe to cancel."""
        raise NotImplementedError


def _as_connect_error(step: Step, error: TautError, mode: str) -> TautError:
    if isinstance(error, RequestTimeout) and not (step.is_probe and mode == "auto"):
        return ConnectTimeout(f"No answer to {step.method} within {error.timeout_s:g} s")
    return error
