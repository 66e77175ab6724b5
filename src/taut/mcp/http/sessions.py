"""The sessions of the legacy era, sans-I/O: who has one, what it costs, and when it ends.

A session belongs to the principal that opened it: to anybody else it does not exist. It is small while nothing happens
in it: tables, calls and streams are made when they are needed, and what clients of one kind declare is shared.

Time is passed in as calls of `Sessions.sweep`: a session that nobody was connected to during `IDLE_SWEEPS` of them, has
ended. A live one is never given up to make room for another.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any, Literal

import msgspec

from taut import models
from taut._core import Outgoing
from taut.errors import ConfigError, ConnectionClosed, InvalidMessage, LimitExceeded
from taut.mcp.calls import Calls
from taut.mcp.http.events import EventStore, MemoryEventStore
from taut.mcp.http.streams import Notices, SessionResponse
from taut.mcp.inbound import Caller, Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.outbound import Pending
from taut.mcp.server_peer import DEFAULT_LOG_LEVEL

__all__ = ["IDLE_SWEEPS", "Session", "SessionCalls", "SessionOptions", "Sessions", "TooManySessions"]

#: Sweeps that a session survives without anybody being connected to it.
IDLE_SWEEPS = 8
#: Random bytes of a session's id.
ID_BYTES = 24
#: The longest id that is looked up.
MAX_ID_BYTES = 64


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the sessions of legacy clients are kept.

    :raises taut.errors.ConfigError: a number that makes no sense.
    """

    #: Where events are kept, so that streams can be resumed; None: nowhere.
    event_store: EventStore | Literal["memory"] | None = "memory"
    #: Seconds after which a session ends to which its client is not connected.
    idle_s: float = 1800.0
    #: Sessions beyond these are refused.
    max_sessions: int = 10_000
    #: Milliseconds that a client which was sent away should wait before it comes back.
    retry_ms: int = 500

    def __post_init__(self) -> None:
        if self.idle_s <= 0:
            raise ConfigError(f"Expected a positive idle_s, got {self.idle_s}")
        if self.max_sessions <= 0:
            raise ConfigError(f"Expected a positive max_sessions, got {self.max_sessions}")
        if self.retry_ms < 0:
            raise ConfigError(f"Expected retry_ms of at least 0, got {self.retry_ms}")


class TooManySessions(Exception):
    """There are ``max_sessions``, and none of them is idle."""


class Session:
    """One legacy client. `Sessions` makes them; what is sent and answered goes through `SessionResponse`.

    One without a table (``sessions`` is None) serves a single request, and is gone with it.
    """

    __slots__ = (
        "_calls",
        "_live",
        "_notices",
        "_streams",
        "caller",
        "id",
        "last_stream",
        "log_level",
        "principal",
        "resumed",
        "sessions",
        "sweeps",
        "voice",
    )

    def __init__(self, id: str, principal: str, caller: Caller, sessions: Sessions | None = None) -> None:
        self.id = id
        self.principal = principal
        self.caller = caller
        self.sessions = sessions
        #: What the client wants to hear of the log; without a session it hears nothing, as it cannot say.
        self.log_level: str | None = None if sessions is None else DEFAULT_LOG_LEVEL
        #: Sweeps since it was last heard of.
        self.sweeps = 0
        #: The number of the newest stream.
        self.last_stream = 0
        #: Whether another process has begun it.
        self.resumed = False
        #: What the driver says things with that belong to no request; made when there is something to say.
        self.voice: Any = None
        self._calls: SessionCalls | None = None
        self._live: dict[int | str, Request] | None = None
        self._streams: dict[int, SessionResponse] | None = None
        self._notices: Notices | None = None

    @property
    def store(self) -> EventStore | None:
        """Where events are kept; None: nowhere."""
        return None if self.sessions is None else self.sessions.store

    @property
    def retry_ms(self) -> int:
        """How long a client that was sent away should wait before it comes back."""
        return 0 if self.sessions is None else self.sessions.retry_ms

    # -- requests of the client

    def check_new(self, request: Request) -> None:
        """Refuse an id that is in flight, before any work is done for it."""
        live = self._live
        if live:
            if request.key in live:
                shown = request.id[:80].decode("utf-8", "replace")
                raise InvalidMessage(f"Expected a new request id, got {shown}, which is in flight")
            self._check_room(live)

    def _check_room(self, live: dict[int | str, Request]) -> None:
        maximum = (DEFAULT_LIMITS if self.sessions is None else self.sessions.limits).max_in_flight
        if len(live) >= maximum:
            raise LimitExceeded("max_in_flight", maximum, actual=len(live) + 1)

    def admit(self, request: Request) -> None:
        """Know a request that is being worked on, so that it can be cancelled."""
        if self._live is None:
            self._live = {}
        self.check_new(request)
        self._live[request.key] = request

    def release(self, request: Request) -> None:
        """Forget a request that is answered or withdrawn."""
        live = self._live
        if live is not None and live.get(request.key) is request:
            del live[request.key]
            if not live:
                self._live = None

    def find(self, key: int | str) -> Request | None:
        """Return the open request with this id."""
        return None if self._live is None else self._live.get(key)

    # -- requests to the client

    @property
    def calls(self) -> SessionCalls:
        """Our requests to the client."""
        if self._calls is None:
            self._calls = SessionCalls(self)
        return self._calls

    @property
    def asks(self) -> bool:
        """Whether anything was ever asked."""
        return self._calls is not None

    # -- streams

    def open_stream(self, response: SessionResponse) -> int:
        """Number a new stream, which is returned."""
        self.last_stream += 1
        if self._streams is None:
            self._streams = {}
        self._streams[self.last_stream] = response
        return self.last_stream

    def forget_stream(self, response: SessionResponse) -> None:
        """Know that a stream has ended."""
        if self._streams is not None:
            self._streams.pop(response.stream, None)
            if not self._streams:
                self._streams = None

    def stream(self, number: int) -> SessionResponse | None:
        """Return an open stream."""
        return None if self._streams is None else self._streams.get(number)

    @property
    def notices(self) -> Notices:
        """What belongs to no request."""
        if self._notices is None:
            self._notices = Notices(self)
        return self._notices

    def resume(self, last_stream: int, last_notice: int) -> None:
        """Go on where another process has stopped."""
        self.resumed = True
        self.last_stream = last_stream
        if last_notice:
            self._notices = Notices(self, last_notice)

    @property
    def connected(self) -> bool:
        """Whether its client waits for something, on any connection."""
        if self._notices is not None and self._notices.heard:
            return True
        streams = self._streams or {}
        return any(response.heard for response in streams.values()) or any(
            request._peer.attached for request in (self._live or {}).values()
        )

    # -- the end

    def record(self) -> bytes:
        """Return what another process needs to know."""
        caller = self.caller
        assert isinstance(caller.capabilities, models.ClientCapabilities)
        return msgspec.json.encode(
            _Record(
                self.principal, caller.revision, caller.capabilities, caller.implementation, self.log_level
            )
        )

    def close(self, reason: str) -> None:
        """End what is open: our requests fail, the client's are withdrawn, its readers are sent away."""
        if self._calls is not None:
            self._calls.fail_all(ConnectionClosed(reason, clean=True))
        for request in list((self._live or {}).values()):
            request.cancel(reason)
        for response in list((self._streams or {}).values()):
            response.settle()
        if self._notices is not None:
            self._notices.close()


class SessionCalls(Calls):
    """Our requests to the client of a session, each on the stream of the request that it belongs to."""

    remote_side = "client"

    def __init__(self, session: Session) -> None:
        limits = DEFAULT_LIMITS if session.sessions is None else session.sessions.limits
        super().__init__(Outgoing(), limits=limits)
        self.revision = session.caller.revision
        self.remote_capabilities = session.caller.capabilities
        # What was asked before a restart may still be answered, which must not answer what is asked now.
        self._last_id = secrets.randbits(48) if session.resumed else 0

    def _open(self, pending: Pending) -> int:
        self._last_id += 1
        self._outbound.admit(self._last_id, pending)
        return self._last_id


class Sessions:
    """The sessions of one endpoint.

    ``on_open`` is told of each new one, ``on_end`` of each that has ended.
    """

    def __init__(self, options: SessionOptions | None = None, *, limits: Limits = DEFAULT_LIMITS) -> None:
        options = SessionOptions() if options is None else options
        store = options.event_store
        #: Where events are kept; None: nowhere (any more).
        self.store: EventStore | None = MemoryEventStore() if store == "memory" else store
        self.options = options
        self.retry_ms = options.retry_ms
        self.limits = limits
        self.on_open: Callable[[Session], None] = _ignore
        self.on_end: Callable[[Session], None] = _ignore
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def open(self, principal: str, caller: Caller) -> Session:
        """Open a session.

        :raises TooManySessions: there is no room for it.
        """
        if len(self._sessions) >= self.options.max_sessions:
            raise TooManySessions
        session = Session(secrets.token_urlsafe(ID_BYTES), principal, caller, self)
        if self.store is not None:
            self.store.open_session(session.id, session.record())
        self._add(session)
        return session

    def _add(self, session: Session) -> None:
        self._sessions[session.id] = session
        self.on_open(session)

    def find(self, id: str, principal: str) -> Session | None:
        """Return the session that a request of ``principal`` belongs to; None when there is none of its own."""
        session = self._sessions.get(id)
        if session is None:
            session = self._load(id)
        if session is None or session.principal != principal:
            return None
        session.sweeps = 0
        return session

    def _load(self, id: str) -> Session | None:
        """Take over a session from another process that kept it in the same store."""
        if self.store is None or len(id) > MAX_ID_BYTES or len(self._sessions) >= self.options.max_sessions:
            return None
        found = self.store.load_session(id)
        if found is None:
            return None
        try:
            record = msgspec.json.decode(found.record, type=_Record)
        except msgspec.DecodeError:  # of another version: to its client the session has ended
            return None
        caller = Caller(
            revision=record.revision, capabilities=record.capabilities, implementation=record.implementation
        )
        session = Session(id, record.principal, caller, self)
        session.log_level = record.log_level
        session.resume(found.last_stream, found.last_notice)
        self._add(session)
        return session

    def changed(self, session: Session) -> None:
        """Keep what the client has set."""
        if self.store is not None:
            self.store.open_session(session.id, session.record())

    def end(self, session: Session, reason: str) -> None:
        """End a session, whose id means nothing from now on."""
        if self._sessions.pop(session.id, None) is None:
            return
        session.close(reason)
        # What its followers still say is for nobody to come back to: from here on nothing is kept.
        session.sessions = None
        self.on_end(session)
        if self.store is not None:
            self.store.end_session(session.id)

    def sweep(self) -> None:
        """Let time pass: a session ends after `IDLE_SWEEPS` of these without anybody being connected to it."""
        for session in list(self._sessions.values()):
            if session.connected:
                continue
            session.sweeps += 1
            if session.sweeps > IDLE_SWEEPS:
                self.end(session, "the session was idle for too long")

    def close(self, reason: str) -> None:
        """Stop. What a store keeps of the sessions stays there for the next process."""
        # What is withdrawn now was not withdrawn by its client: who comes back later is to be told.
        store, self.store = self.store, None
        while self._sessions:
            _, session = self._sessions.popitem()
            session.sessions = None
            session.close(reason)
            self.on_end(session)
        self.store = store


def _ignore(session: Session) -> None:
    """Nobody wants to know."""


class _Record(msgspec.Struct, array_like=True):
    """What a store keeps of a session."""

    principal: str
    revision: str
    capabilities: models.ClientCapabilities
    implementation: models.Implementation | None = None
    log_level: str | None = None
