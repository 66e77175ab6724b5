"""Streams on which a server tells a client of changes over HTTP, kept open across connections that end.

In the legacy era it is one GET, which belongs to the session and goes on behind the last event that came. In the modern
era it is a ``subscriptions/listen``, which begins anew. What may have been missed in between is told to the owner.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, final

from taut import models
from taut._core import SSEParser
from taut.client.exchange import TEMPORARY, Exchange
from taut.errors import (
    AuthorizationRequired,
    HttpError,
    LimitExceeded,
    RequestCancelled,
    SessionExpired,
    TautError,
    TransportError,
)
from taut.mcp.http.resumption import Resumption
from taut.mcp.http.status import is_events, status_error
from taut.mcp.outbound import Pending

if TYPE_CHECKING:
    from taut._core import SSEEvent
    from taut.client.http import HttpConnection
    from taut.transport.http.call import Call

__all__ = ["EventStream", "HttpListening"]

logger = logging.getLogger("taut")

#: Seconds after which a stream counts as one that works, whether or not it has carried anything.
STEADY_S = 10.0


@final
class EventStream:
    """The GET stream of a legacy session.

    ``state`` is ``opening``, ``open``, ``waiting`` (for the next attempt), ``none`` (the server has no such stream),
    ``given up`` or ``closed``.
    """

    def __init__(self, connection: HttpConnection) -> None:
        self.state = "opening"
        #: What the last attempt ended with.
        self.error: TautError | None = None
        self._connection = connection
        self._session = connection.headers.session
        self._resumption = Resumption()
        self._parser: SSEParser | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._call: Call | None = None
        self._since = 0.0
        self._replayed: str | None = None
        self._attempts = 0

    def open(self) -> None:
        """Ask for the stream."""
        self._timer = None
        if self._connection.settings.auth is None:
            self._send()
        else:
            self._connection.call_back(self._send_authorized)

    async def _send_authorized(self) -> None:
        try:
            await self._connection.authorize()
        except Exception as error:  # the border to the user's provider of tokens
            self.failed(TransportError(f"no token: {error!r}", sent=False))
        else:
            self._send()

    def _send(self) -> None:
        if self.state == "closed":
            return
        self.state = "opening"
        self.error = None
        self._attempts += 1
        self._replayed = self._resumption.last_event_id
        self._call = self._connection.listen(self._replayed, self)

    # -- what the pool calls

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """See whether there is such a stream."""
        if status == 200 and is_events(headers.get(b"content-type")):
            self.state = "open"
            self._since = self._connection.loop.time()
            self._parser = SSEParser(max_bytes=self._connection.limits.max_message_bytes)
            if self._attempts > 1 and self._replayed is None:
                self._connection.owner.on_gap()
        else:
            self.error = status_error(status, headers, "GET", in_session=self._session is not None)

    def data(self, chunk: bytes) -> None:
        """Take what the server says."""
        parser = self._parser
        if parser is None:
            return
        while True:
            try:
                events = parser.feed(chunk)
            except LimitExceeded as error:  # one message, which nobody waits for
                logger.warning("ignored a message of the server: %s", error)
            else:
                if not events:
                    break
                self._take(events)
            chunk = b""  # what is left behind those
        self._resumption.heard(parser)

    def _take(self, events: list[SSEEvent]) -> None:
        self._resumption.came_through()
        for event in events:
            if event.event == "message" and event.data and (event.id is None or event.id != self._replayed):
                self._connection.receive(self._connection.parse(event.data))

    def end(self) -> None:
        """The server has ended the stream, or refused it."""
        self._call = None
        error, self._parser = self.error, None
        if error is None or (isinstance(error, HttpError) and error.status in TEMPORARY):
            self._open_later()
        elif isinstance(error, SessionExpired) and self._attempts > 1:
            self._connection.expire(self._session)
            self._connection.call_back(self._begin_anew)
        elif isinstance(error, AuthorizationRequired) and self._connection.settings.auth is not None:
            self._connection.call_back(self._ask_for_token, error)
        else:
            self.state = "none"

    def failed(self, error: TransportError) -> None:
        """The connection has ended, or there was none."""
        self._call = None
        self._parser = None
        self.error = error
        self._open_later()

    # -- the next attempt

    async def _begin_anew(self) -> None:
        """Have another session, which opens a stream of its own. A new one whose first stream is refused with 404 is
        not forgotten: its server has no such streams."""
        self.state = "waiting"
        while True:
            try:
                await self._connection.renew()
            except TautError as error:
                self.error = error
            else:
                return
            self._resumption.cut()
            delay_s = self._resumption.delay_s(random.random())
            if delay_s is None:
                self._give_up()
                return
            await asyncio.sleep(delay_s)

    async def _ask_for_token(self, error: AuthorizationRequired) -> None:
        if self._resumption.failures == 0 and await self._connection.renew_token(error):
            self._open_later()
        else:
            self._give_up()

    def _open_later(self) -> None:
        if self.state == "closed":
            return
        if self.state == "open" and self._connection.loop.time() - self._since > STEADY_S:
            self._resumption.came_through()
        self._resumption.cut()
        delay_s = self._resumption.delay_s(random.random())
        if delay_s is None:
            self._give_up()
            return
        wished_s = self.error.retry_after_s if isinstance(self.error, HttpError) else None
        self.state = "waiting"
        self._timer = self._connection.loop.call_later(max(delay_s, wished_s or 0.0), self.open)

    def _give_up(self) -> None:
        self.state = "given up"
        logger.warning(
            "hears nothing more that belongs to no call: %s", self.error or "the stream keeps ending"
        )

    def close(self) -> None:
        """Close the stream for good."""
        self.state = "closed"
        if self._timer is not None:
            self._timer.cancel()
        if self._call is not None:
            self._call.abort()


@final
class HttpListening:
    """A ``subscriptions/listen`` that is sent again when its stream is cut."""

    def __init__(self, connection: HttpConnection, params: models.SubscriptionsListenParams) -> None:
        self._connection = connection
        self._params = params
        self._resumption = Resumption()
        self._on_end: Callable[[TautError | None], None] | None = None
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._acknowledged = False
        self._since = 0.0
        #: The id that the notifications of the stream carry; another one with each attempt.
        self.id = 0

    def on_end(self, callback: Callable[[TautError | None], None]) -> None:
        """Have ``callback`` told of the end, which is an error unless either side wanted it."""
        self._on_end = callback

    def open(self) -> None:
        """Send the request."""
        self._timer = None
        if self._connection.settings.auth is None:
            self._send()
        else:
            self._connection.call_back(self._send_authorized)

    async def _send_authorized(self) -> None:
        try:
            await self._connection.authorize()
        except Exception as error:  # the border to the user's provider of tokens
            self._end(TransportError(f"no token: {error!r}", sent=False))
        else:
            self._try(self._send)

    def _send(self) -> None:
        if self._closed:
            return
        connection = self._connection
        self._since = connection.loop.time()
        self._exchange = exchange = connection.post("subscriptions/listen", None, self._params, self._on_done)
        exchange.on_news = self._on_news
        self.id = exchange.pending.id

    def _on_news(self) -> None:
        """The server has begun to tell: the first thing that it says is that."""
        self._resumption.came_through()
        if self._acknowledged:
            self._connection.owner.on_gap()
        self._acknowledged = True

    def _on_done(self, pending: Pending) -> None:
        self._exchange = None
        error = pending.error
        wanted = not self._closed and self._acknowledged and self._connection.lost is None
        if not wanted or not isinstance(error, TransportError):
            self._end(error)
        elif isinstance(error, AuthorizationRequired) and self._connection.settings.auth is not None:
            self._connection.call_back(self._ask_for_token, error)
        elif isinstance(error, HttpError) and error.status not in TEMPORARY:
            self._end(error)
        else:
            self._open_later(error)

    async def _ask_for_token(self, error: AuthorizationRequired) -> None:
        if await self._connection.renew_token(error):
            self._open_later(error)
        else:
            self._end(error)

    def _open_later(self, error: TransportError) -> None:
        if self._closed:
            return
        if self._connection.loop.time() - self._since > STEADY_S:
            self._resumption.came_through()
        self._resumption.cut()
        delay_s = self._resumption.delay_s(random.random())
        if delay_s is None:
            self._end(error)
            return
        wished_s = error.retry_after_s if isinstance(error, HttpError) else None
        self._timer = self._connection.loop.call_later(max(delay_s, wished_s or 0.0), self._try, self.open)

    def _try(self, send: Callable[[], None]) -> None:
        try:
            send()
        except TautError as error:  # nobody else would tell those who read
            self._end(error)

    def _end(self, error: TautError | None) -> None:
        self._connection.streams.discard(self)
        self._closed = True
        if self._on_end is not None:
            callback, self._on_end = self._on_end, None
            callback(error)

    def close(self) -> None:
        """Close the stream, which tells the server to stop."""
        if self._exchange is not None:
            self._closed = True
            self._connection.peer.cancel(self._exchange.pending, "unsubscribed")
        else:
            self.lose(RequestCancelled("subscriptions/listen was cancelled: unsubscribed"))

    def lose(self, error: TautError) -> None:
        """End with ``error``, also between two attempts."""
        if self._timer is not None:
            self._timer.cancel()
        self._end(error)
