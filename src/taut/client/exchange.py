"""One request of a client over HTTP, from its POST to its answer, on however many connections that takes.

The answer is one JSON body, or the last message of a stream of events. A legacy stream that is cut before the answer is
taken up again behind its last event, if events have ids (2025-11-25, "Resumability"). There is no task and no queue:
the pool of connections calls in, and the end of the request calls out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, final

from taut._core import Envelope, Kind, SSEParser
from taut.errors import (
    AnswerTruncated,
    ConfigError,
    LimitExceeded,
    RemoteError,
    RemoteProtocolError,
    SessionExpired,
    TautError,
    TransportError,
)
from taut.mcp.http.resumption import Resumption
from taut.mcp.http.sending import session_id
from taut.mcp.http.status import is_events, is_json, status_error
from taut.mcp.outbound import Pending, decode_error

if TYPE_CHECKING:
    from taut._core import SSEEvent
    from taut.client.http import HttpConnection
    from taut.transport.http.call import Call

__all__ = ["Exchange"]

JSON = b"application/json"
#: Bytes of a body that is no message: enough to say what it is.
MAX_REFUSAL_BYTES = 64 * 1024
#: Seconds that a server gets to end the stream whose last message it has sent, so that the connection can be kept.
LINGER_S = 1.0

#: Statuses after which another attempt to take up a stream makes sense.
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
ERROR = Kind.ERROR

# What is being read.
NOTHING, MESSAGE, EVENTS, REFUSAL = range(4)


@final
class Exchange:
    """A request and what comes back for it. When it has ended, ``on_end`` is set or, if it is no future, called."""

    __slots__ = (
        "_body",
        "_connection",
        "_headers",
        "_on_end",
        "_parser",
        "_reading",
        "_replayed",
        "_resumption",
        "_session",
        "_size",
        "_status",
        "_timer",
        "call",
        "on_news",
        "pending",
    )

    pending: Pending
    call: Call | None

    def __init__(
        self, connection: HttpConnection, on_end: asyncio.Future[None] | Callable[[Pending], None]
    ) -> None:
        self._connection = connection
        self._on_end = on_end
        self._session = connection.headers.session
        self._reading = NOTHING
        self._body: list[bytes] = []
        self._size = 0
        self._resumption: Resumption | None = None
        #: The event behind which the stream was taken up again; None on its first connection.
        self._replayed: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: Told of the first message of a stream.
        self.on_news: Callable[[], None] | None = None
        self.call = None

    # -- what the pool calls

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Decide what the body is."""
        kind = headers.get(b"content-type")
        self._status = status
        self._headers = headers
        if status == 200 and (kind == JSON or is_json(kind)):
            self._reading = MESSAGE
        elif status == 200 and is_events(kind):
            self._reading = EVENTS
            self._parser = SSEParser(max_bytes=self._connection.limits.max_message_bytes)
        else:
            self._reading = REFUSAL
        if self.pending.method == "initialize" and status == 200:
            try:
                self._connection.headers.session = session_id(headers.get(b"mcp-session-id"))
            except ConfigError as error:
                self._fail(RemoteProtocolError(str(error)))

    def data(self, chunk: bytes) -> None:
        """Take a part of the body."""
        if self._reading == EVENTS:
            self._take_events(chunk)
            return
        size = self._size = self._size + len(chunk)
        limit = self._connection.limits.max_message_bytes
        if self._reading == REFUSAL and not is_json(self._headers.get(b"content-type")):
            if size > MAX_REFUSAL_BYTES:
                self._hang_up()
                self.end()  # the status says it all
                return
        elif size > limit:
            if not self.pending.done:
                self._fail(LimitExceeded("max_message_bytes", limit))
            return
        self._body.append(chunk)

    def end(self) -> None:
        """Take the whole answer."""
        self.call = None
        reading, self._reading = self._reading, NOTHING
        if reading == EVENTS and not self.pending.done:
            self._cut(None)
            return
        parts = self._body
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self.pending.done:
            self._stop_timer()
        elif self._replayed is not None:
            self._not_resumed(body)
        elif reading == MESSAGE:
            self._take_message(body)
        else:
            self._refused(body)

    def failed(self, error: TransportError) -> None:
        """There will be no more of the answer."""
        self.call = None
        reading, self._reading = self._reading, NOTHING
        self._body.clear()
        if self.pending.done:
            self._stop_timer()
        elif reading == EVENTS or self._resumption is not None:
            self._cut(error)
        else:
            self._fail(error)

    # -- messages

    def _take_message(self, body: bytes) -> None:
        connection, pending = self._connection, self.pending
        message = connection.parse(body)
        if isinstance(message, RemoteProtocolError):
            self._fail(message)
            return
        if message.kind == ERROR and message.id_key != pending.id:
            self._fail(decode_error(message))  # of a server that could not read the id, or does not say it
            return
        connection.receive(message)
        if not pending.done:
            self._fail(
                RemoteProtocolError(
                    f"Expected the answer to {pending.method} ({pending.id}), got another message"
                )
            )

    def _take_events(self, chunk: bytes) -> None:
        parser = self._parser
        try:
            while events := parser.feed(chunk):
                chunk = b""  # what was refused comes behind what was not
                for event in events:
                    if event.event == "message" and event.data:
                        self._take_event(event)
        except LimitExceeded as error:
            if not self.pending.done:
                self._fail(error)
            return
        resumption = self._resumption
        if parser.last_event_id is not None or parser.retry is not None:
            if resumption is None:
                resumption = self._resumption = Resumption()
            resumption.heard(parser)

    def _take_event(self, event: SSEEvent) -> None:
        if self._replayed is not None and event.id == self._replayed:
            return  # the server was asked to go on behind that
        if self.on_news is not None:
            on_news, self.on_news = self.on_news, None
            on_news()
        message = self._connection.parse(event.data)
        if type(message) is Envelope and message.kind == ERROR and message.id_key is None:
            self._fail(decode_error(message))  # what else could it be about?
        else:
            self._connection.receive(message)

    def _refused(self, body: bytes) -> None:
        self._fail(self._refusal(body))

    def _refusal(self, body: bytes) -> TautError:
        error: TautError | None = None
        if is_json(self._headers.get(b"content-type")) and body:
            message = self._connection.parse(body)
            if not isinstance(message, RemoteProtocolError) and message.kind == ERROR:
                error = decode_error(message)
        in_session = self._session is not None and not self._connection.peer.modern
        return status_error(
            self._status, self._headers, self.pending.method, body=body, error=error, in_session=in_session
        )

    # -- streams that are cut

    def _cut(self, error: TautError | None) -> None:
        """Take the stream up again, or end without an answer."""
        resumption = self._resumption
        if resumption is None or resumption.last_event_id is None or self._connection.peer.modern:
            self._fail(error or self._truncated("the stream of events ended"))
            return
        resumption.cut()
        delay_s = resumption.delay_s(random.random())
        if delay_s is None:
            self._fail(error or self._truncated("no attempt to go on with the stream brought anything"))
        else:
            self._timer = self._connection.loop.call_later(delay_s, self._resume)

    def _resume(self) -> None:
        self._timer = None
        connection, resumption = self._connection, self._resumption
        assert resumption is not None
        if self._session != connection.headers.session:
            self._fail(self._truncated("its session has ended"))
            return
        self._replayed = resumption.last_event_id
        self.call = connection.send(b"GET", connection.headers.listen(self._replayed), b"", self)

    def _not_resumed(self, body: bytes) -> None:
        """The server has answered the attempt with something else than events."""
        if self._status in TEMPORARY:
            self._cut(None)
            return
        error = self._refusal(body)
        if isinstance(error, SessionExpired):
            error.sent = True  # the request was, with the session that is gone
        else:
            error = self._truncated(f"the server does not go on with the stream ({error})")
        self._fail(error)

    def _truncated(self, why: str) -> AnswerTruncated:
        return AnswerTruncated(
            f"Expected the answer to {self.pending.method}, but {why}: it may have been carried out"
        )

    # -- the end

    def on_done(self, pending: Pending) -> None:
        """The request has ended, whatever ended it: nobody reads what is still to come."""
        pending.on_done = _ended  # no cycle: what a call took is free as soon as it has ended
        if self.call is None:
            if self._timer is not None:
                self._stop_timer()
        elif pending.error is None or isinstance(pending.error, RemoteError):
            self._timer = self._connection.loop.call_later(LINGER_S, self._hang_up)
        else:
            self._hang_up()
        on_end = self._on_end
        if not isinstance(on_end, asyncio.Future):
            on_end(pending)
        elif not on_end.done():
            on_end.set_result(None)

    def _fail(self, error: TautError) -> None:
        self._connection.peer.fail(self.pending, error)

    def _hang_up(self) -> None:
        call, self.call = self.call, None
        if call is not None:
            call.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _ended(pending: Pending) -> None:
    """In place of the callback of a request that has ended."""
