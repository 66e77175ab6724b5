"""A client's end of the HTTP+SSE transport of 2024-11-05, which later revisions have replaced.

GET opens a stream of events. The first one, ``endpoint``, says where messages are to be posted, which must be within
the origin; the others are the server's messages. Messages are posted one after the other: they arrive in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from taut._core import SSEEvent, SSEParser
from taut.errors import (
    ConfigError,
    ConnectionClosed,
    ConnectTimeout,
    HttpError,
    InvalidAnswer,
    LimitExceeded,
    TransportError,
)
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.transport.http.call import Call
from taut.transport.http.pool import Pool, encode_fields
from taut.transport.messages import MessageTransport

__all__ = ["SseTransport"]

#: Bytes of a URL in ``endpoint``.
MAX_ENDPOINT_BYTES = 8192
#: Seconds that a server gets to take a message.
TAKE_S = 60.0
EVENTS = b"text/event-stream"


class SseTransport(MessageTransport):
    """A connection to the server whose event stream is at ``url``.

    ``headers`` are sent with each request; ``options`` are those of `taut.transport.http.pool.Pool`. A stream that is
    silent is not taken for dead: servers of that time need not send comments.

    :raises taut.errors.ConfigError: the URL, a header or an option is none that can work.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Iterable[tuple[bytes, bytes]] = (),
        connect_timeout_s: float = 10.0,
        limits: Limits = DEFAULT_LIMITS,
        **options: Any,
    ) -> None:
        super().__init__(limits=limits)
        self._pool = Pool(url, connect_timeout_s=connect_timeout_s, **options)
        self._connect_timeout_s = connect_timeout_s
        common = encode_fields(headers)
        self._get_headers = common + encode_fields([(b"Accept", EVENTS), (b"Cache-Control", b"no-store")])
        self._post_headers = common + encode_fields([(b"Content-Type", b"application/json")])
        self._stream: _Stream | None = None
        self._path = b""
        self._posted: _Posted | None = None

    @property
    def peer(self) -> str:
        """Who is at the other end, for messages."""
        return self._pool.peer

    async def _open(self) -> None:
        self._stream = stream = _Stream(self)
        stream.call = self._pool.send(b"GET", self._pool.url.target, self._get_headers, b"", stream)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                self._path = await asyncio.shield(stream.endpoint)
        except TimeoutError:
            raise ConnectTimeout(
                f"{self.peer}: expected the event 'endpoint' within {self._connect_timeout_s:g} s, got none: "
                "does it speak HTTP+SSE?"
            ) from None
        if self.receiver is None:
            stream.call.pause()

    async def _receive(self) -> TransportError | None:
        stream = self._stream
        assert stream is not None
        assert stream.call is not None
        stream.call.resume()
        return await asyncio.shield(stream.ended)

    async def _send(self, message: bytes) -> None:
        for attempt in range(2):
            self._posted = posted = _Posted()
            posted.call = self._pool.send(
                b"POST", self._path, self._post_headers, message, posted, timeout_s=TAKE_S
            )
            error = await asyncio.shield(posted.ended)
            if error is None:
                break
            if error.sent or attempt:
                raise error
        if not 200 <= posted.status < 300:
            raise HttpError(
                f"{self.peer}: expected status 202 to a message, got {posted.status}", posted.status
            )

    def endpoint_of(self, data: bytes) -> bytes:
        """Return the path that ``data`` of an ``endpoint`` event names.

        :raises taut.errors.InvalidAnswer: it is no URL, or one of another origin.
        """
        here = self._pool.url
        try:
            there = here.join(data[:MAX_ENDPOINT_BYTES].decode("utf-8").strip())
        except (ConfigError, UnicodeDecodeError):
            raise InvalidAnswer(
                f"{self.peer}: expected a URL in the event 'endpoint', got {data[:100]!r}"
            ) from None
        if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
            raise InvalidAnswer(
                f"{self.peer}: expected an endpoint of the origin {here.origin}, got {there.origin}: "
                "messages are not sent elsewhere"
            )
        return there.target

    async def _release(self) -> None:
        for part in (self._stream, self._posted):
            if part is not None and part.call is not None:
                part.call.abort()
        await self._pool.close()


class _Stream:
    """Hears the event stream."""

    def __init__(self, transport: SseTransport) -> None:
        self._transport = transport
        self._parser = SSEParser(max_bytes=transport.limits.max_message_bytes)
        loop = asyncio.get_running_loop()
        self.call: Call | None = None
        #: The path to post to.
        self.endpoint: asyncio.Future[bytes] = loop.create_future()
        #: What is to be said of the end.
        self.ended: asyncio.Future[TransportError | None] = loop.create_future()

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Check that this is a stream of events."""
        media = headers.get(b"content-type", b"none").partition(b";")[0].strip().lower()
        if status != 200:
            self._fail(
                HttpError(f"{self._transport.peer}: expected a stream of events, got status {status}", status)
            )
        elif media != EVENTS:
            self._fail(
                InvalidAnswer(
                    f"{self._transport.peer}: expected text/event-stream, got {media[:100].decode('latin-1')}"
                )
            )

    def data(self, chunk: bytes) -> None:
        """Take what is complete."""
        try:
            for event in self._parser.feed(chunk):
                self._take(event)
        except LimitExceeded as error:
            self._fail(InvalidAnswer(f"{self._transport.peer}: {error}"))
        except TransportError as error:
            self._fail(error)
        self._transport.tell()

    def _take(self, event: SSEEvent) -> None:
        if event.event == "message":
            self._transport.take(event.data)
        elif event.event == "endpoint" and not self.endpoint.done():
            self.endpoint.set_result(self._transport.endpoint_of(event.data))

    def end(self) -> None:
        """The server has ended the stream, and the session with it."""
        self._end(
            ConnectionClosed(f"{self._transport.peer}: the server ended the stream of events", clean=True)
        )

    def failed(self, error: TransportError) -> None:
        """The stream was cut."""
        self._end(error)

    def _fail(self, error: TransportError) -> None:
        assert self.call is not None
        self.call.abort()
        self._end(error)

    def _end(self, error: TransportError) -> None:
        if not self.endpoint.done():
            self.endpoint.set_exception(error)
            self.endpoint.exception()  # told to whoever opens it, if anybody still does
        if not self.ended.done():
            self.ended.set_result(error)


class _Posted:
    """Hears what becomes of a message."""

    def __init__(self) -> None:
        self.status = 0
        self.call: Call | None = None
        self.ended: asyncio.Future[TransportError | None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Note the status; the message's answer comes on the stream."""
        self.status = status

    def data(self, chunk: bytes) -> None:
        """Of no interest."""

    def end(self) -> None:
        """The message was taken, or refused."""
        if not self.ended.done():
            self.ended.set_result(None)

    def failed(self, error: TransportError) -> None:
        """Whether it was taken is not known, unless ``error`` says so."""
        if not self.ended.done():
            self.ended.set_result(error)
