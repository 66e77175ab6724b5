"""One connection of an HTTP/1.1 client: one request at a time, its answer told by callbacks as it comes.

Rules:

- A connection is used again only after an answer that was complete, framed, and followed by nothing, and after a
  request that was written to its end. Bytes that nobody asked for close it.
- A request fails with ``sent`` false only when it cannot have been complete at the other side.
- Interim answers (1xx) are passed over; trailers are read and dropped; a protocol is never switched (101).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast, final

import httptools

from taut.errors import (
    AnswerHeadTooLarge,
    AnswerTimeout,
    AnswerTruncated,
    ConnectionClosed,
    InvalidAnswer,
    RedirectRefused,
    TransportError,
)
from taut.transport.http.call import Answer, Call

if TYPE_CHECKING:
    from taut.transport.http.pool import Pool

__all__ = ["ClientConnection"]

# How much of the answer has come. `HEAD` is 0: it is asked for with every header.
HEAD: Final = 0
INTERIM: Final = 1
BODY: Final = 2
COMPLETE: Final = 3
DEAD: Final = 4


class _Surplus(Exception):
    """Something follows a complete answer."""


@final
class ClientConnection(asyncio.Protocol):
    """A connection of ``pool``, which gives it calls with `start` and gets it back through ``release``."""

    __slots__ = (
        "_answer",
        "_feed",
        "_head_bytes",
        "_headers",
        "_keep",
        "_parser",
        "_pool",
        "_repeated",
        "_stage",
        "_unwritten",
        "call",
        "idle_limit_s",
        "idle_since",
        "transport",
        "used",
    )

    transport: asyncio.Transport
    _parser: httptools.HttpResponseParser

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._headers: dict[bytes, bytes] = {}
        self._stage = COMPLETE
        self._keep = True
        self._unwritten = False
        self._head_bytes = 0  # read since the last part of a body, or since the request
        self._repeated = 0
        self.call: Call | None = None
        #: Whether a request has been answered here before.
        self.used = False
        self.idle_since = 0.0
        self.idle_limit_s = pool.idle_s

    # -- what the pool calls

    def start(self, call: Call) -> None:
        """Send the request of ``call``; the connection must be idle."""
        self.call = call
        call.connection = self
        self._answer = cast("Answer", call.answer)
        self._stage = HEAD
        self._head_bytes = 0
        self._repeated = 0
        wire = call.wire
        if isinstance(wire, bytes):
            self.transport.write(wire)
        else:
            self.transport.writelines(wire)
        if call.paused:
            self.transport.pause_reading()

    def redirect(self, answer: Answer) -> None:
        """Tell the rest of this answer to ``answer``. For use within the head's callback."""
        self._answer = answer

    def time_out(self) -> None:
        """End the call: the server was silent for too long."""
        call = self.call
        if call is not None:
            what = "the next part of the answer" if self._answering else f"an answer to {call}"
            self._fail(
                AnswerTimeout(
                    f"{self._pool.peer}: expected {what} within {call.timeout_s:g} s, got nothing: "
                    "raise the timeout if the server needs longer",
                    sent=not self._unwritten,
                )
            )

    def abandon(self) -> None:
        """Close at once, and tell nobody."""
        self.call = None
        self._stage = DEAD
        self._pool.remove(self)
        self.transport.abort()

    def fail(self, error: TransportError) -> None:
        """End the call with ``error``, if there is one, and close."""
        if self.call is None:
            self.abandon()
        else:
            if self._unwritten and not self._answering:
                error.sent = False
            self._fail(error)

    def pause(self) -> None:
        """Stop reading."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self.transport.resume_reading()

    # -- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and the parser for its whole life."""
        self.transport = cast("asyncio.Transport", transport)
        # Then the transport says whenever something is left unwritten: nothing need be asked with each answer.
        self.transport.set_write_buffer_limits(0)
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._pool.made(self)

    def data_received(self, data: bytes) -> None:
        """Read on in the answer."""
        if self.call is None:
            self.abandon()  # nobody asked
            return
        self._head_bytes += len(data)
        try:
            self._feed(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._stage == COMPLETE:
                self._keep = False  # the answer is whole; what follows it is not trusted
            else:
                self._refuse(error)
                return
        if self._stage == COMPLETE:
            self._finish()
            return
        call = self.call
        if call is not None:
            if self._head_bytes > self._pool.max_head_bytes:
                self._fail(self._too_large(f"{self._pool.max_head_bytes} bytes of headers", "more"))
            elif call.timeout_s is not None and not call.paused:
                call.deadline = self._pool.time() + call.timeout_s

    def eof_received(self) -> bool:
        """The server sends nothing more; nothing more is sent to it."""
        self._ended(None)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Nothing more comes."""
        self._ended(error)
        self._pool.lost(self)
        del self._parser, self._feed  # they refer to us

    def pause_writing(self) -> None:
        """A part of the request is not written yet."""
        self._unwritten = True

    def resume_writing(self) -> None:
        """All of the request is written."""
        self._unwritten = False

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._stage == COMPLETE:
            raise _Surplus
        self._headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        name = name.lower()
        headers = self._headers
        if name in headers:
            self._repeat(name, value)
        else:
            headers[name] = value.rstrip()

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self._stage:
            return  # abandoned
        status = self._parser.get_status_code()
        headers = self._headers
        pool = self._pool
        if len(headers) > pool.max_headers or self._head_bytes > pool.max_head_bytes:
            self._check_size(headers)
        if status < 200:
            if status == 101:
                raise self._invalid("the switch to another protocol (101), which was not asked for")
            self._stage = INTERIM
            return
        if b"keep-alive" in headers:
            self._heed(headers[b"keep-alive"])
        if b"transfer-encoding" in headers:
            if headers[b"transfer-encoding"].lower() != b"chunked":
                raise self._invalid(f"the transfer coding {_text(headers[b'transfer-encoding'])}")
            self._headers = {
                b"transfer-encoding": b"chunked"
            }  # the answer's are given away; trailers come to these
        self._stage = BODY
        self._head_bytes = 0
        if 300 <= status < 400 and b"location" in headers:
            pool.redirected(self, status, headers)
        self._answer.head(status, headers)

    def on_body(self, chunk: bytes) -> None:
        """A part of the body."""
        if self._stage == BODY:
            self._head_bytes = 0
            self._answer.data(chunk)

    def on_message_complete(self) -> None:
        """The answer is complete, or was an interim one."""
        if self._stage == BODY:
            self._stage = COMPLETE
            self._keep = self._parser.should_keep_alive()
        elif self._stage == INTERIM:
            self._stage = HEAD

    # -- the head

    @property
    def _answering(self) -> bool:
        """Whether a byte of the answer has come."""
        return self._stage != HEAD or self._head_bytes > 0

    def _repeat(self, name: bytes, value: bytes) -> None:
        """A header that has come before. Joining is quadratic, so it ends where the limits do."""
        self._repeated += 1
        if self._repeated > self._pool.max_headers:
            raise self._too_large(f"{self._pool.max_headers} headers", "more")
        self._headers[name] += b", " + value.rstrip()

    def _check_size(self, headers: dict[bytes, bytes]) -> None:
        """Count what the head takes: more than the head may have come at once."""
        if len(headers) > self._pool.max_headers:
            raise self._too_large(f"{self._pool.max_headers} headers", str(len(headers)))
        size = sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)
        if size > self._pool.max_head_bytes:
            raise self._too_large(f"{self._pool.max_head_bytes} bytes of headers", f"{size} bytes")

    # -- the end of a call

    def _finish(self) -> None:
        """The answer is complete: the connection is free before anybody hears of it."""
        call = self.call
        assert call is not None
        answer = self._answer
        self.call = None
        call.connection = None
        if answer is call.answer:
            call.answer = None
        self.used = True
        pool = self._pool
        if not self._keep or self._unwritten or self.idle_limit_s <= 0:
            self._stage = DEAD
            pool.remove(self)
            self.transport.abort() if self._unwritten else self.transport.close()
        else:
            if call.paused:
                self.transport.resume_reading()
            pool.release(self)
        try:
            answer.end()
        except Exception as error:  # the border to the caller: the connection may be another call's by now
            pool.report(error)

    def _heed(self, keep_alive: bytes) -> None:
        """The server says how long it waits for the next request; be gone a second before."""
        for parameter in keep_alive.lower().split(b","):
            name, _, value = parameter.strip().partition(b"=")
            if name == b"timeout" and value.isdigit() and len(value) < 8:
                self.idle_limit_s = min(self._pool.idle_s, int(value) - 1.0)

    def _fail(self, error: TransportError) -> None:
        call, self.call = self.call, None
        self._stage = DEAD
        self._pool.remove(self)
        self.transport.abort()
        if call is not None:
            call.connection = None
            if call.answer is not None:
                self._pool.fail(call, error)

    def _refuse(self, error: Exception) -> None:
        """The parser has stopped in the middle of the answer."""
        cause = error.__context__
        if isinstance(cause, (InvalidAnswer, RedirectRefused)):
            self._fail(cause)
        elif isinstance(error, httptools.HttpParserCallbackError) and cause is not None:
            self._pool.report(cause)
            self._fail(TransportError(f"{self._pool.peer}: the answer's receiver failed: {cause!r}"))
        else:
            self._fail(self._invalid(f"something else: {error}"))

    def _ended(self, error: Exception | None) -> None:
        """The server, or the way to it, has ended the connection."""
        call = self.call
        if call is None:
            self._stage = DEAD
            self._pool.remove(self)
        elif not self._answering:
            self._unanswered(call, error)
        elif self._stage == BODY and error is None and self._until_close():
            self._stage = COMPLETE
            self._keep = False
            self._finish()
        else:
            where = "within the body" if self._stage == BODY else "within the headers"
            self._fail(
                AnswerTruncated(
                    f"{self._pool.peer}: expected the whole answer to {call}, got the end of the connection "
                    f"{where}{_because(error)}: the request was received, see the server's log"
                )
            )

    def _unanswered(self, call: Call, error: Exception | None) -> None:
        # Only what was not written to its end is known not to have been worked on.
        if self._unwritten and self.used and not call.retried:
            self.call = None
            self._stage = DEAD
            self._pool.remove(self)
            self.transport.abort()
            call.connection = None
            self._pool.retry(call)
            return
        done = "before the request was written" if self._unwritten else "without a byte of it"
        self._fail(
            ConnectionClosed(
                f"{self._pool.peer}: expected an answer to {call}, got the end of the connection "
                f"{done}{_because(error)}: see the server's log",
                sent=not self._unwritten,
            )
        )

    def _until_close(self) -> bool:
        """Whether the body ends with the connection (RFC 9112, section 6.3)."""
        return b"content-length" not in self._headers and b"transfer-encoding" not in self._headers

    # -- errors

    def _invalid(self, got: str) -> InvalidAnswer:
        return InvalidAnswer(
            f"{self._pool.peer}: expected an HTTP/1.1 answer, got {got}: is that an HTTP server, "
            f"and the scheme {self._pool.url.scheme} right?"
        )

    def _too_large(self, expected: str, got: str) -> AnswerHeadTooLarge:
        return AnswerHeadTooLarge(f"{self._pool.peer}: expected at most {expected} in the answer, got {got}")


def _text(value: bytes) -> str:
    return value[:100].decode("latin-1")


def _because(error: Exception | None) -> str:
    return "" if error is None else f" ({error})"
