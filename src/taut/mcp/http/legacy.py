"""The MCP endpoint of the legacy era (2025-03-26 to 2025-11-25), sans-I/O: every check between an HTTP request and its
handler.

With sessions, `initialize` opens one and everything else needs its id; without (``sessions`` is None), each request is
served by itself at the revision of its ``MCP-Protocol-Version``, and what needs a session is refused.

Where clients differ from the specification it is read in their favour: a POST without ``Accept`` takes everything, a
revision in a header may differ from the one that was agreed, which is the one in force.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from taut import models
from taut._core import Buffer, Envelope, Kind, Outgoing, parse
from taut.errors import (
    InvalidMessage,
    InvalidParams,
    InvalidRequest,
    LimitExceeded,
    MethodNotFound,
    ProtocolError,
    RemoteError,
    RemoteProtocolError,
    UnsupportedProtocolVersion,
)
from taut.mcp.http.events import STANDALONE, event_id, read_event_id
from taut.mcp.http.head import Head
from taut.mcp.http.reply import Reply, Response, legacy_refusal, legacy_reply
from taut.mcp.http.sessions import Session, Sessions, TooManySessions
from taut.mcp.http.streams import BatchResponse, Notices, Reader, SessionResponse
from taut.mcp.inbound import OPEN, Caller, Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.peer import BATCH_REVISION, Notification
from taut.mcp.server_peer import ServerProfile
from taut.mcp.terms import decode_meta

__all__ = ["SESSION_ID", "Legacy"]

VERSION = b"mcp-protocol-version"
SESSION_ID = b"mcp-session-id"
LAST_EVENT_ID = b"last-event-id"
#: The revision of a client that does not say which it speaks, and has no session (2025-06-18).
DEFAULT_REVISION = "2025-03-26"
RETRY_AFTER = (b"retry-after", b"1")
ACCEPTED = Reply(202)
#: What is answered to a request that is served by itself, and cannot be.
NEEDS_SESSION = (
    "needs a session, which this server does not keep: serve it with one worker and sessions=True, or speak "
    f"revision {models.LATEST}"
)
#: Methods that change how a session goes on.
OF_SESSIONS = frozenset({"logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
#: Distinct ``initialize`` params remembered: clients of one kind send the same, and share what was decoded.
CALLER_CACHE = 64


class Legacy:
    """The legacy era of one endpoint.

    ``on_notification`` is told what clients say that is not about a request in flight.
    """

    def __init__(
        self,
        profile: Callable[[], ServerProfile],
        sessions: Sessions | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        on_notification: Callable[[Session, Notification], None] = lambda session, notification: None,
    ) -> None:
        self.sessions = sessions
        self.limits = limits
        self._profile = profile
        self._on_notification = on_notification
        self._callers: dict[bytes, Caller] = {}
        self._bare: dict[str, Caller] = {}

    # -- POST

    def receive(self, head: Head, message: Envelope) -> Response | Reply:
        """Take a message; return the request to work on, or what is answered."""
        kind = message.kind
        if kind == Kind.REQUEST and message.method == "initialize":
            return self._initialize(head, message)
        session = self._session(head)
        if isinstance(session, Reply):
            return session
        if kind == Kind.REQUEST:
            response = SessionResponse(session)
            response.request = request = self._begin(session, response, message, response.answers)
            return response if request.state is OPEN else response.reply()
        if kind == Kind.BATCH:
            return self._on_batch(session, message)
        self._on_other(session, message)
        return ACCEPTED

    def reject(self, head: Head, error: RemoteProtocolError) -> Reply:
        """Answer a body that is no message. A malformed answer ends the request of ours that it names."""
        if error.is_answer:
            session = self._session(head)
            if isinstance(session, Reply):
                return session
            if session.asks:
                session.calls.on_malformed_answer(error)
        return legacy_reply(400, error, None if error.is_answer else error.id)

    def _session(self, head: Head) -> Session | Reply:
        """Return the session of a request, or why it has none."""
        known = head.known
        profile = self._profile()
        revision = DEFAULT_REVISION if DEFAULT_REVISION in profile.legacy else profile.legacy[-1]
        if head.repeated is not None:
            return legacy_refusal(400, f"Expected one {head.repeated.decode('latin-1')} header, got two")
        if VERSION in known:
            revision = known[VERSION].decode("latin-1")
            if revision not in profile.legacy:
                return legacy_reply(400, UnsupportedProtocolVersion.of(revision, profile.legacy), None)
        if self.sessions is None:
            return Session("", head.principal or "", self._bare_caller(revision))
        raw_id = known.get(SESSION_ID)
        if raw_id is None:
            return legacy_refusal(
                400, "Expected an Mcp-Session-Id header, got none: initialize opens a session"
            )
        session = self.sessions.find(raw_id.decode("latin-1"), head.principal or "")
        if session is None:
            return legacy_refusal(
                404, "No such session: it has ended, or never was; initialize opens a new one"
            )
        return session

    def _bare_caller(self, revision: str) -> Caller:
        """Return who asks when nobody has introduced itself."""
        caller = self._bare.get(revision)
        if caller is None:
            caller = self._bare[revision] = Caller(
                revision=revision, capabilities=models.ClientCapabilities()
            )
        return caller

    # -- requests

    def _initialize(self, head: Head, message: Envelope) -> Reply:
        raw_id: bytes = message.id  # type: ignore[assignment]  # a request always has one
        sessions = self.sessions
        if sessions is not None and SESSION_ID in head.known:
            session = self._session(head)
            if isinstance(session, Reply):
                return session
            error = InvalidRequest(
                f"Expected one initialize, got a second; revision {session.caller.revision} is agreed"
            )
            return legacy_reply(400, error, raw_id)
        profile = self._profile()
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            caller = self._introduced(profile, message)
            if sessions is not None:
                session = sessions.open(head.principal or "", caller)
                headers = ((SESSION_ID, session.id.encode()),)
        except (RemoteError, ProtocolError) as error:
            return legacy_reply(200, error, raw_id)
        except TooManySessions:
            return legacy_refusal(503, "Too many sessions: none of them is idle", headers=(RETRY_AFTER,))
        result = profile.initialize_result(caller.revision)
        if sessions is None:
            result = msgspec.structs.replace(result, capabilities=_without_session(result.capabilities))
        answer = Outgoing()
        answer.result(raw_id, models.project(result, caller.revision))
        return Reply(200, answer.take(), headers)

    def _introduced(self, profile: ServerProfile, message: Envelope) -> Caller:
        raw = message.params
        known = self._callers.get(raw) if type(raw) is bytes else None
        if known is not None:
            return known
        caller = profile.agree(message)
        if type(raw) is bytes:
            if len(self._callers) >= CALLER_CACHE:
                self._callers.clear()
            self._callers[raw] = caller
        return caller

    def _begin(
        self, session: Session, response: SessionResponse, message: Envelope, answers: Outgoing
    ) -> Request:
        """Return the request that ``message`` is: open, or answered already."""
        caller = session.caller
        request = Request(response, message, caller, None, answers, b"", session.principal)
        method = request.method
        try:
            if message.meta is not None:
                request.meta = decode_meta(message)
            if method not in self._profile().routes(caller.revision):
                raise MethodNotFound(f"Method not found at revision {caller.revision}: {method}")
            session.check_new(request)
            if method == "ping":
                request.respond({})
            elif method in OF_SESSIONS and self.sessions is None:
                raise InvalidRequest(f"{method} {NEEDS_SESSION}")
            elif method == "logging/setLevel":
                session.log_level = request.params().level
                if self.sessions is not None:
                    self.sessions.changed(session)
                request.respond({})
        except (RemoteError, ProtocolError) as error:
            request.fail(error)
        return request

    def _on_batch(self, session: Session, message: Envelope) -> Response | Reply:
        try:
            if session.caller.revision != BATCH_REVISION:
                raise InvalidMessage(
                    f"Expected one message, got a batch: only revision {BATCH_REVISION} has batches"
                )
            items = message.items()
            if len(items) > self.limits.max_batch:
                raise LimitExceeded("max_batch", self.limits.max_batch, actual=len(items))
        except RemoteProtocolError as error:
            return legacy_reply(400, error, None)
        response = BatchResponse(session)
        for item in items:
            self._on_item(session, response, item)
        response.batch.seal()
        if not response.requests and not response.answered:
            return ACCEPTED
        return response.reply() if response.done else response

    def _on_item(self, session: Session, response: BatchResponse, item: Buffer) -> None:
        limits = self.limits
        try:
            part = parse(
                item, max_depth=limits.max_depth, max_digits=limits.max_digits, max_keys=limits.max_keys
            )
            if part.kind == Kind.BATCH:
                raise InvalidMessage("Expected a message in a batch, got an array")
            if part.method == "initialize":
                error = InvalidMessage("Expected initialize alone, got it in a batch")
                error.id = part.id
                raise error
        except RemoteProtocolError as error:
            response.batch.reject(error)
            return
        if part.kind != Kind.REQUEST:
            self._on_other(session, part)
            return
        request = self._begin(session, response, part, response.batch.answers)
        if request.state is OPEN:
            response.expect(request)

    # -- notifications and answers

    def _on_other(self, session: Session, message: Envelope) -> None:
        if message.kind != Kind.NOTIFICATION:
            if session.asks:
                session.calls.on_answer(message)
            return
        method: str = message.method  # type: ignore[assignment]  # a notification always has one
        try:
            if method == "notifications/cancelled":
                self._cancel(session, message)
            elif method == "notifications/progress":
                if session.asks:
                    session.calls.on_progress(message)
            elif self.sessions is not None and _known(method, session.caller.revision):
                self._on_notification(session, Notification(message, session.caller.revision))
        except InvalidParams:
            # There is no answer to a notification, and one that cannot be read names no request.
            return

    def _cancel(self, session: Session, message: Envelope) -> None:
        params = models.decode_params("notifications/cancelled", message.params, session.caller.revision)
        if params.request_id is msgspec.UNSET:
            return
        request = session.find(params.request_id)
        if request is not None:
            request.cancel(None if params.reason is msgspec.UNSET else params.reason)

    # -- GET and DELETE

    def listen(self, head: Head) -> Reader | Reply:
        """Take a GET; return the reader that it is, or what is answered."""
        session = self._session(head)
        if isinstance(session, Reply):
            return session
        raw = head.known.get(LAST_EVENT_ID)
        if raw is None:
            if session.notices.heard:
                return legacy_refusal(
                    409, "Expected one stream of a session, got a second: the first is open"
                )
            reader = Reader(session, STANDALONE)
            session.notices.attach(reader)
            session.notices.greet(reader)
            return reader
        cursor = read_event_id(raw)
        if cursor is None or session.store is None or cursor[0] > session.last_stream:
            return legacy_refusal(400, f"Unknown Last-Event-ID: {raw[:80].decode('latin-1')}")
        return _resumed(session, *cursor)

    def end(self, head: Head) -> Reply:
        """Take a DELETE: the session ends."""
        session = self._session(head)
        if isinstance(session, Reply):
            return session
        if self.sessions is not None:
            self.sessions.end(session, "the client has ended the session")
        return Reply(200)


def _resumed(session: Session, stream: int, after: int) -> Reader | Reply:
    """Return the reader that goes on behind an event. Where that one was sent to is nobody's any more."""
    source = session.notices if stream == STANDALONE else session.stream(stream)
    reader = Reader(session, stream, after)
    if source is None:
        return reader
    if after > source.last:
        return legacy_refusal(400, f"Unknown Last-Event-ID: {event_id(stream, after)}")
    source.attach(reader)
    reader.upto = source.last
    if isinstance(source, Notices):
        source.catch_up(reader)
    return reader


def _known(method: str, revision: str) -> bool:
    """Whether a client may send this notification."""
    spec = models.METHODS.get(method)
    return (
        spec is not None
        and spec.result is None
        and revision in spec.revisions
        and spec.sender in ("client", "both")
    )


def _without_session(capabilities: models.ServerCapabilities) -> models.ServerCapabilities:
    """Return what can be offered to clients that are served one request at a time: nothing is told them later."""
    changes: dict[str, object] = {"logging": msgspec.UNSET}
    for name in ("tools", "prompts"):
        part = getattr(capabilities, name)
        if part is not msgspec.UNSET:
            changes[name] = msgspec.structs.replace(part, list_changed=msgspec.UNSET)
    if capabilities.resources is not msgspec.UNSET:
        changes["resources"] = msgspec.structs.replace(
            capabilities.resources, list_changed=msgspec.UNSET, subscribe=msgspec.UNSET
        )
    return msgspec.structs.replace(capabilities, **changes)
