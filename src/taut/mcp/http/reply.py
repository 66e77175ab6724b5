"""What is answered to an HTTP request, and the one table from JSON-RPC codes to statuses."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct

from taut._core import SSE_KEEPALIVE, Outgoing, encode_sse
from taut.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    ProtocolError,
    RemoteError,
)
from taut.mcp.inbound import NOBODY, Request, RequestState
from taut.mcp.terms import wire_code

__all__ = ["STREAM_HEADERS", "Reply", "Response", "legacy_refusal", "legacy_reply", "refusal"]

#: JSON-RPC error code -> HTTP status (2026-07-28, "Streamable HTTP"); any other is an answer like a result.
STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    MISSING_REQUIRED_CLIENT_CAPABILITY: 400,
    UNSUPPORTED_PROTOCOL_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}

OPEN = RequestState.OPEN

Fields = tuple[tuple[bytes, bytes], ...]
_JSON_TYPE = (b"content-type", b"application/json")
STREAM_HEADERS: Fields = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    # Tells reverse proxies to pass each event on at once.
    (b"x-accel-buffering", b"no"),
)


class Reply(Struct, frozen=True):
    """A whole answer: nothing follows it."""

    status: int
    body: bytes = b""
    #: Besides Content-Type and Content-Length.
    headers: Fields = ()

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return all headers."""
        length = (b"content-length", b"%d" % len(self.body))
        return [_JSON_TYPE, length, *self.headers] if self.body else [length, *self.headers]


def refusal(status: int, message: str, *, code: int = INVALID_REQUEST, headers: Fields = ()) -> Reply:
    """Return a reply that refuses the HTTP request, whatever message it may have carried."""
    out = Outgoing()
    out.error(None, code, message)
    return Reply(status, out.take(), headers)


def legacy_refusal(status: int, message: str, *, code: int = INVALID_REQUEST, headers: Fields = ()) -> Reply:
    """Return the same as a legacy client expects it: with the id null."""
    out = Outgoing()
    out.error(None, code, message, null_id=True)
    return Reply(status, out.take(), headers)


def error_reply(error: RemoteError | ProtocolError, raw_id: bytes | None) -> Reply:
    """Return the reply to a message that is not worked on."""
    out = Outgoing()
    out.error(raw_id, error.code, error.message, UNSET if error.data is None else error.data)
    return Reply(STATUS.get(error.code, 200), out.take())


def legacy_reply(status: int, error: RemoteError | ProtocolError, raw_id: bytes | None) -> Reply:
    """Return the reply to a message of a legacy client that is not worked on."""
    out = Outgoing()
    out.error(
        raw_id, error.code, error.message, UNSET if error.data is None else error.data, null_id=raw_id is None
    )
    return Reply(status, out.take())


class Response:
    """The reply address of one request: nothing of another one can get here.

    The answer is one JSON body, unless something must travel before it: then it is the last event of a stream. What
    has been said is taken with `reply` or `events`.
    """

    __slots__ = ("_events", "answers", "request", "result_meta", "status")

    #: In the modern era each request says what it wants to hear.
    log_level: str | None = None

    def __init__(self, result_meta: dict[str, Any]) -> None:
        self.result_meta = result_meta
        self.status = 200
        #: Where the answer goes.
        self.answers = Outgoing()
        self._events: Outgoing | None = None
        self.request: Request

    # -- what the request needs of its owner

    @property
    def out(self) -> Outgoing:
        """Where what travels beside the answer goes."""
        if self._events is None:
            self._events = Outgoing()
        return self._events

    def wire_error(self, error: RemoteError | ProtocolError, revision: str | None) -> tuple[int, Any]:
        """Return the code and the data of ``error``, which is about to be the answer."""
        code = wire_code(error, revision)
        self.status = STATUS.get(code, 200)
        return code, error.data

    def _admit(self, request: Request) -> None:
        """Nothing to count: the endpoint counts exchanges, and ids of different clients do not meet."""

    def _release(self, request: Request) -> None:
        """See `_admit`."""

    # -- bytes out

    @property
    def ended(self) -> bool:
        """Whether nothing more will be said: the request is answered, or withdrawn."""
        return self.request.state is not RequestState.OPEN

    @property
    def answered(self) -> bool:
        """Whether there is an answer: a request that was withdrawn has none."""
        return self.request.state is RequestState.ANSWERED

    @property
    def streams(self) -> bool:
        """Whether something was said before the answer, so that one JSON body cannot carry it."""
        return self._events is not None

    @property
    def unsent_bytes(self) -> int:
        """What waits to be taken."""
        return len(self.answers) + (0 if self._events is None else len(self._events))

    def reply(self) -> Reply:
        """Return the whole answer; only for one that has `ended` and does not stream."""
        return Reply(self.status, self.answers.take())

    def whole(self) -> Reply | None:
        """Return the whole answer if it is there and one JSON body can carry it."""
        request = self.request
        if self._events is not None or request.state is OPEN:
            return None
        # Nothing is left that points to itself, so it is gone without the garbage collector.
        request._peer = NOBODY
        return Reply(self.status, self.answers.take())

    def events(self) -> bytes:
        """Take what has been said since the last time, as events; a comment when that is nothing."""
        said = b"" if self._events is None else self._events.take()
        if self.ended:
            said += self.answers.take()
        # Messages never contain the byte that ends them.
        events = [encode_sse(line, event="message") for line in said.split(b"\n") if line]
        return b"".join(events) or SSE_KEEPALIVE
