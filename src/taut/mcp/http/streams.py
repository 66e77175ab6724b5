"""What a session says, and who listens: the reply addresses of its requests, and the stream that GET opens.

A `SessionResponse` is the reply address of one request (of one batch: `BatchResponse`). Its first listener is the POST
that brought the request. When that is gone, or has been sent away with `SessionResponse.close_stream`, the request goes
on: what is said for it is kept, and a GET with ``Last-Event-ID`` becomes the next listener, a `Reader`.

What belongs to no request is said by `Notices`, to one reader at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from taut import models
from taut._core import SSE_KEEPALIVE, Outgoing, encode_sse
from taut.errors import INTERNAL_ERROR, ProtocolError, RemoteError
from taut.mcp.batch import BatchReply
from taut.mcp.http.events import STANDALONE, EventsLost, Kept, event_id
from taut.mcp.http.reply import Reply, Response, legacy_refusal
from taut.mcp.inbound import ANSWERED, NOBODY, Request, RequestState
from taut.mcp.terms import wire_code

if TYPE_CHECKING:
    from taut.mcp.http.sessions import Session

__all__ = ["BatchResponse", "Notices", "Reader", "SessionResponse"]

#: The revision from which on a client comes back to a stream that the server has closed (SEP-1699), and understands
#: an event without data.
POLLING_SINCE = "2025-11-25"
#: Messages without a request that wait for a reader.
MAX_QUEUED = 256
#: Bytes that a reader may leave unread before it is sent away; it may come back for them.
MAX_UNREAD_BYTES = 8 * 1024 * 1024


def _nobody() -> None:
    """Nobody has to be woken."""


class SessionResponse(Response):
    """The reply address of one request of a session, for as long as the request is worked on.

    The properties that a follower looks at are those of the POST: it has `ended` once it is no longer attached.
    """

    __slots__ = ("_begun", "_finished", "_reader", "_wire", "attached", "last", "session", "stream", "wake")

    def __init__(self, session: Session) -> None:
        super().__init__({})
        self.session = session
        #: Whether the POST still listens.
        self.attached = True
        #: The stream's number in the session; 0 where nothing is kept, or nothing has been said yet.
        self.stream = 0
        #: The number of the newest event.
        self.last = 0
        #: Called when the POST has something to do.
        self.wake: Callable[[], None] = _nobody
        self._begun = False
        self._finished = False
        self._wire: list[bytes] = []
        self._reader: Reader | None = None

    # -- what the requests need of their owner

    @property
    def log_level(self) -> str | None:  # type: ignore[override]  # of the session, as it is now
        """The least severe log message that the client wants."""
        return self.session.log_level

    def wire_error(self, error: RemoteError | ProtocolError, revision: str | None) -> tuple[int, Any]:
        """Return the code and the data of ``error``; a legacy client reads them with status 200."""
        return wire_code(error, revision), error.data

    def _admit(self, request: Request) -> None:
        self.session.admit(request)

    def _release(self, request: Request) -> None:
        self.session.release(request)
        if request.state is not RequestState.CANCELLED:
            return  # whoever has answered it says so
        if self.attached:
            self.wake()
        else:
            self.settle()

    # -- for the POST's follower

    @property
    def done(self) -> bool:
        """Whether nothing more will be said to anybody."""
        return self.request.state is not RequestState.OPEN

    @property
    def ended(self) -> bool:
        """Whether nothing more will be said to the POST."""
        return not self.attached or self.done

    @property
    def streams(self) -> bool:
        """Whether one JSON body cannot carry what there is: a withdrawn request has a stream without an answer."""
        return self._begun or self._events is not None or (self.done and not self.answered)

    def whole(self) -> Reply | None:
        """Return the whole answer if it is there and one JSON body can carry it."""
        request = self.request
        if self._events is not None or self._begun or request.state is not ANSWERED:
            return None
        request._peer = NOBODY  # see Response.whole
        return Reply(200, self.answers.take())

    @property
    def unsent_bytes(self) -> int:
        """What waits to be taken."""
        return super().unsent_bytes + sum(map(len, self._wire))

    def events(self) -> bytes:
        """Take what has been said since the last time, as events; a comment when that is nothing."""
        if self.attached:
            self.settle()
        wire = b"".join(self._wire)
        self._wire.clear()
        return wire or SSE_KEEPALIVE

    # -- the stream

    def settle(self) -> None:
        """Number what has been said, keep it, and hand it to whoever listens."""
        done = self.done
        said = b"" if self._events is None else self._events.take()
        if done:
            said += self.answers.take()
        if self._finished or not (self._begun or self.attached):
            return  # too late, or nobody knows of a stream to come back to
        if not self._begun:
            self._begin()
        for line in said.split(b"\n"):
            if line:
                self._emit(line)
        if done:
            self._finish()

    def _begin(self) -> None:
        self._begun = True
        session = self.session
        if session.store is None:
            return
        self.stream = session.open_stream(self)
        session.store.open_stream(session.id, self.stream, self._raw_ids())
        if session.caller.revision >= POLLING_SINCE:
            self._wire.append(encode_sse(b"", id=event_id(self.stream, 0), retry=session.retry_ms))

    def _raw_ids(self) -> bytes:
        return b"[%b]" % self.request.id

    def _emit(self, line: bytes) -> None:
        session = self.session
        if session.store is None:
            if self.attached:
                self._wire.append(encode_sse(line, event="message"))
            return
        self.last += 1
        session.store.append(session.id, self.stream, self.last, line)
        if self.attached:
            self._wire.append(_event(self.stream, self.last, line))
        elif self._reader is not None:
            self._reader.feed(_event(self.stream, self.last, line))

    def _finish(self) -> None:
        self._finished = True
        session = self.session
        if session.store is not None:
            session.forget_stream(self)
            session.store.close_stream(session.id, self.stream, self.last)
        if self._reader is not None:
            self._reader.close()

    # -- who listens

    @property
    def heard(self) -> bool:
        """Whether somebody listens."""
        return self.attached or (self._reader is not None and not self._reader.closed)

    @property
    def reachable(self) -> bool:
        """Whether what is said now will be heard: by the POST, or by whoever comes back to a stream that has begun."""
        return self.attached or (self._begun and self.session.store is not None)

    def detach(self) -> None:
        """Know that the POST is gone. What is said from now on is kept for who comes back."""
        if self.attached:
            self.attached = False
            self.settle()
        self._wire.clear()

    def close_stream(self) -> bool:
        """Send the listener away, who will come back for the rest; False where it would not know that it can."""
        session = self.session
        if session.store is None or session.caller.revision < POLLING_SINCE or self.done:
            return False
        if self.attached:
            self.settle()
            self.attached = False
            self.wake()
        elif self._reader is not None:
            self._reader.close()
        return True

    def attach(self, reader: Reader) -> None:
        """Make ``reader`` the one listener."""
        if self.attached:
            self.detach()
            self.wake()
        if self._reader is not None:
            self._reader.close()
        self._reader = reader


class BatchResponse(SessionResponse):
    """The reply address of the requests of one batch (2025-03-26): their answers travel together."""

    __slots__ = ("batch", "raw_ids", "requests")

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.batch = BatchReply(self.answers)
        self.requests: list[Request] = []
        self.raw_ids: list[bytes] = []

    def whole(self) -> Reply | None:
        """Return the whole answer if it is there and one JSON body can carry it."""
        return self.reply() if self.done and not self.streams else None

    def expect(self, request: Request) -> None:
        """Know ``request``, whose answer belongs to this batch."""
        self.requests.append(request)
        self.raw_ids.append(request.id)
        self.batch.expect(request)

    @property
    def done(self) -> bool:
        """Whether every request of the batch is answered or withdrawn."""
        return self.batch.complete

    @property
    def answered(self) -> bool:
        """Whether any of them is answered."""
        return len(self.answers) > 0

    def _raw_ids(self) -> bytes:
        return b"[%b]" % b",".join(self.raw_ids)


class Notices:
    """What a session says that belongs to none of its requests. Without a reader it waits, the oldest is given up."""

    __slots__ = ("_queue", "_reader", "last", "out", "session")

    def __init__(self, session: Session, last: int = 0) -> None:
        self.session = session
        self.out = Outgoing()
        #: The number of the newest event that was handed to a reader.
        self.last = last
        self._queue: deque[bytes] = deque(maxlen=MAX_QUEUED)
        self._reader: Reader | None = None

    @property
    def heard(self) -> bool:
        """Whether somebody listens."""
        return self._reader is not None and not self._reader.closed

    def tell(self, method: str, params: object = msgspec.UNSET) -> None:
        """Say a notification."""
        if params is not msgspec.UNSET:
            params = models.project(params, self.session.caller.revision)
        self.out.notification(method, params)
        self.settle()

    def settle(self) -> None:
        """Hand what has been said to the reader."""
        for line in self.out.take().split(b"\n"):
            if not line:
                continue
            if self._reader is not None and not self._reader.closed:
                self._emit(self._reader, line)
            elif line not in self._queue:  # saying twice that a list has changed says nothing more
                self._queue.append(line)

    def _emit(self, reader: Reader, line: bytes) -> None:
        session = self.session
        if session.store is None:
            reader.feed(encode_sse(line, event="message"))
            return
        self.last += 1
        session.store.append(session.id, STANDALONE, self.last, line)
        reader.feed(_event(STANDALONE, self.last, line))

    def attach(self, reader: Reader) -> None:
        """Make ``reader`` the one listener."""
        if self._reader is not None:
            self._reader.close()
        self._reader = reader

    def greet(self, reader: Reader) -> None:
        """Hand ``reader`` what has waited, after the id to come back with."""
        session = self.session
        if session.store is not None and session.caller.revision >= POLLING_SINCE:
            reader.feed(encode_sse(b"", id=event_id(STANDALONE, self.last), retry=session.retry_ms))
        self.catch_up(reader)

    def catch_up(self, reader: Reader) -> None:
        """Hand ``reader`` what has waited."""
        waiting = list(self._queue)
        self._queue.clear()
        for line in waiting:
            self._emit(reader, line)

    def close(self) -> None:
        """Send the reader away."""
        if self._reader is not None:
            self._reader.close()


class Reader:
    """One GET: who it listens to, and what it has not taken yet. To a follower it looks like a `Response`."""

    __slots__ = (
        "_refusal",
        "_replayed",
        "_size",
        "_wire",
        "after",
        "closed",
        "on_news",
        "session",
        "stream",
        "upto",
    )

    def __init__(self, session: Session, stream: int, after: int | None = None) -> None:
        self.session = session
        self.stream = stream
        #: The event behind which it wants to go on; None: it begins.
        self.after = after
        #: The newest event when it came; None when the stream is not open here.
        self.upto: int | None = None
        self.closed = False
        #: Called when there is something to take.
        self.on_news: Callable[[], None] = _nobody
        self._replayed = b""
        self._wire: list[bytes] = []
        self._size = 0
        self._refusal: Reply | None = None

    # -- from the stream

    def feed(self, event: bytes) -> None:
        """Have an event to take. A reader that leaves too many is sent away: it can come back for them."""
        if self.closed:
            return
        self._wire.append(event)
        self._size += len(event)
        if self._size > MAX_UNREAD_BYTES and len(self._wire) > 1:
            self._wire.clear()
            self.closed = True
        self.on_news()

    def close(self) -> None:
        """End, once everything is taken."""
        self.closed = True
        self.on_news()

    # -- replaying

    def replay(self, kept: Kept) -> None:
        """Put what was ``kept`` before what has been said since."""
        assert self.after is not None
        upto = self.upto
        events = [event for event in kept.events if upto is None or event[0] <= upto]
        if upto is not None and self.after + len(events) != upto:
            raise EventsLost(f"What stream {self.stream} has said after event {self.after} is not kept")
        if upto is None and not kept.complete:
            events.append(self._interrupted(kept))
        if upto is None and not events:
            raise EventsLost(f"Stream {self.stream} has ended with event {self.after}")
        self._replayed = b"".join([_event(self.stream, number, message) for number, message in events])
        if upto is None:
            self.close()

    def _interrupted(self, kept: Kept) -> tuple[int, bytes]:
        """Answer requests that a process has left behind unanswered; they may have been worked on.

        :raises taut.mcp.http.events.EventsLost: nobody knows which: the stream has been forgotten.
        """
        store = self.session.store
        assert self.after is not None
        answers = Outgoing(delimiter=b",")
        ids = msgspec.json.decode(kept.requests, type=list[msgspec.Raw])
        if not ids:
            raise EventsLost(f"What stream {self.stream} has said after event {self.after} is not kept")
        for raw_id in ids:
            answers.error(bytes(raw_id), INTERNAL_ERROR, "The server was restarted before it had answered")
        text = answers.take()[:-1]
        number = self.after + len(kept.events) + 1
        message = b"[%b]" % text if len(ids) > 1 else text
        if store is not None:  # the session has not ended meanwhile
            store.append(self.session.id, self.stream, number, message)
            store.close_stream(self.session.id, self.stream, number)
        return number, message

    def refuse(self, error: EventsLost) -> None:
        """Answer with an error instead of a stream."""
        self._refusal = legacy_refusal(400, f"Cannot resume: {error}")
        self.close()

    # -- for the follower

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self.closed

    @property
    def answered(self) -> bool:
        """Whether there is an answer instead of a stream."""
        return self._refusal is not None

    @property
    def streams(self) -> bool:
        """Whether events are to come."""
        return self._refusal is None

    @property
    def unsent_bytes(self) -> int:
        """What waits to be taken."""
        return len(self._replayed) + self._size

    def reply(self) -> Reply:
        """Return the refusal."""
        assert self._refusal is not None
        return self._refusal

    def events(self) -> bytes:
        """Take what has come since the last time; a comment when that is nothing."""
        said = self._replayed + b"".join(self._wire)
        self._replayed = b""
        self._wire.clear()
        self._size = 0
        return said or SSE_KEEPALIVE


def _event(stream: int, number: int, line: bytes) -> bytes:
    return encode_sse(line, event="message", id=event_id(stream, number))
