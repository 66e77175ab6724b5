"""The part of the protocol that both sides share: requests in and out, cancellation, progress, deadlines.

A `Peer` is one conversation with one remote party, sans-I/O: parsed messages go in through `receive`, encoded
messages come out in ``out``, time is passed in, and waiting is data. `ServerPeer` and `ClientPeer` add
the lifecycle of their side.

Contract:

- `receive` returns what the driver has to work on (a `Request` or a `Notification`), or None when the peer dealt
  with the message itself. Bad input is answered, never raised.
- A `Request` is answered once or cancelled. A `Pending` ends exactly once, also when the connection does.
- Nothing here reads a clock, waits, or touches a socket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from taut import models
from taut._core import Envelope, InFlight, Kind, Outgoing, parse
from taut.errors import (
    ConnectionClosed,
    InvalidMessage,
    InvalidParams,
    LimitExceeded,
    LocalProtocolError,
    ProtocolError,
    RemoteError,
    RemoteProtocolError,
    RequestCancelled,
    RequestTimeout,
    TautError,
)
from taut.mcp.batch import BatchReply
from taut.mcp.inbound import Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.outbound import Deadlines, Pending, ProgressCallback

__all__ = ["Event", "Message", "Notification", "Peer"]

#: What the reader of a transport hands over: a message, or why a frame is none.
Message = Envelope | RemoteProtocolError

REQUEST = Kind.REQUEST
NOTIFICATION = Kind.NOTIFICATION
BATCH = Kind.BATCH
#: The one revision that has batches.
BATCH_REVISION = "2025-03-26"


class Notification:
    """A notification of the peer that is not about a request in flight."""

    __slots__ = ("envelope", "method", "revision")

    def __init__(self, envelope: Envelope, revision: str) -> None:
        self.envelope = envelope
        self.method: str = envelope.method  # type: ignore[assignment]  # a notification always has one
        self.revision = revision

    def params(self) -> Any:
        """Return the params as the struct of the method.

        :raises taut.errors.InvalidParams: they do not fit.
        """
        return models.decode_params(self.method, self.envelope.params, self.revision)


#: What the driver of a peer works on.
Event = Request | Notification


class Peer:
    """One conversation. Subclasses decide what is allowed when, and say who the caller is."""

    #: The side that the remote party plays: what it may send is looked up under this name.
    remote_side = ""

    def __init__(self, out: Outgoing, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.out = out
        self.limits = limits
        #: The revision in force; None until it is agreed, and in the modern era of a server, where requests carry it.
        self.revision: str | None = None
        #: Legacy log level of this conversation (``logging/setLevel``); None in the modern era.
        self.log_level: str | None = None
        #: Answers that nobody waited for: late after a cancellation, or unknown.
        self.stray_answers = 0
        self._inbound: InFlight[Request] = InFlight(limits.max_in_flight)
        self._outbound: InFlight[Pending] = InFlight(limits.max_in_flight)
        self._deadlines = Deadlines()
        #: What the peer declared that it can do.
        self.remote_capabilities: models.ClientCapabilities | models.ServerCapabilities | None = None
        self._callable: dict[str, Literal[True] | str] = {}
        self._meta_members = b""

    # -- bytes in

    def receive(self, message: Message) -> Event | list[Event] | None:
        """Take one message; return what the driver has to work on: a list for a batch."""
        if type(message) is not Envelope:
            self.reject(message)
            return None
        kind = message.kind
        if kind == REQUEST:
            try:
                return self._on_request(message, self.out)
            except (RemoteError, ProtocolError) as error:
                self.refuse(message, error, self.out)
                return None
        if kind == NOTIFICATION:
            return self._on_notification(message)
        if kind == BATCH:
            return self._on_batch(message)
        self._on_answer(message)
        return None

    def _on_batch(self, message: Envelope) -> list[Event]:
        reply = BatchReply(self.out)
        events: list[Event] = []
        try:
            if self.revision != BATCH_REVISION:
                raise InvalidMessage(
                    "Expected one message, got a batch: only revision 2025-03-26 has batches"
                )
            items = message.items()
            if len(items) > self.limits.max_batch:
                raise LimitExceeded("max_batch", self.limits.max_batch, actual=len(items))
        except RemoteProtocolError as error:
            self.reject(error)
            return []
        for item in items:
            event = self._receive_item(item, reply)
            if event is not None:
                events.append(event)
        reply.seal()
        return events

    def _receive_item(self, item: models.Buffer, reply: BatchReply) -> Event | None:
        limits = self.limits
        try:
            part = parse(
                item, max_depth=limits.max_depth, max_digits=limits.max_digits, max_keys=limits.max_keys
            )
        except RemoteProtocolError as error:
            reply.reject(error)
            return None
        if part.kind == BATCH:
            reply.reject(InvalidMessage("Expected a message in a batch, got an array"))
            return None
        if part.kind != REQUEST:
            event = self.receive(part)
            return event if isinstance(event, Notification) else None
        try:
            if part.method == "initialize":
                raise InvalidMessage("Expected initialize alone, got it in a batch")
            request = self._on_request(part, reply.answers)
        except (RemoteError, ProtocolError) as error:
            self.refuse(part, error, reply.answers)
            return None
        if request is not None:
            reply.expect(request)
        return request

    def reject(self, error: RemoteProtocolError) -> None:
        """Answer a frame that is no message, with its id where one could be read."""
        raise NotImplementedError

    def refuse(self, message: Envelope, error: RemoteError | ProtocolError, out: Outgoing) -> None:
        """Answer a request that will not be worked on."""
        code, data = self.wire_error(error, self.revision)
        out.error(message.id, code, error.message, msgspec.UNSET if data is None else data)

    def wire_error(self, error: RemoteError | ProtocolError, revision: str | None) -> tuple[int, Any]:
        """Return the code and the data that ``error`` has at ``revision``."""
        return error.code, error.data

    def _on_request(self, message: Envelope, answers: Outgoing) -> Request | None:
        raise NotImplementedError

    def _on_notification(self, message: Envelope) -> Notification | None:
        method = message.method
        try:
            if method == "notifications/cancelled":
                self._on_cancelled(message)
                return None
            if method == "notifications/progress":
                self._on_progress(message)
                return None
        except InvalidParams:
            # "Invalid cancellation notifications SHOULD be ignored" (specification, "Cancellation"): there is
            # no answer to a notification, and one that cannot be read names no request.
            return None
        revision = self.revision or models.LATEST_LEGACY
        spec = models.METHODS.get(method or "")
        if spec is None or spec.result is not None or revision not in spec.revisions:
            return None
        if spec.sender not in (self.remote_side, "both"):
            return None
        return Notification(message, revision)

    def _on_cancelled(self, message: Envelope) -> None:
        params = models.decode_params(
            "notifications/cancelled", message.params, self.revision or models.LATEST_LEGACY
        )
        if params.request_id is msgspec.UNSET:
            return
        request = self._inbound.get(params.request_id)
        if request is not None and request.method != "initialize":
            request.cancel(None if params.reason is msgspec.UNSET else params.reason)

    def _on_progress(self, message: Envelope) -> None:
        params = models.decode_params(
            "notifications/progress", message.params, self.revision or models.LATEST_LEGACY
        )
        pending = self._outbound.get(params.progress_token)
        if pending is not None:
            pending.advance(params)

    def _on_answer(self, message: Envelope) -> None:
        key = message.id_key
        pending = None if key is None else self._outbound.pop(key)
        if pending is None:
            self.stray_answers += 1
            return
        try:
            pending.finish(message)
        except RemoteProtocolError as error:
            pending.fail(error)

    def _on_malformed_answer(self, error: RemoteProtocolError) -> None:
        """End the request of ours that a malformed answer names, so that its caller does not wait for another."""
        raw_id = error.id
        pending = self._outbound.pop(int(raw_id)) if raw_id is not None and raw_id[:20].isdigit() else None
        if pending is None:
            self.stray_answers += 1
        else:
            pending.fail(error)

    # -- requests of the peer: called by Request

    def _admit(self, request: Request) -> None:
        self._inbound.admit(request.key, request)

    def _release(self, request: Request) -> None:
        self._inbound.pop(request.key)

    def _check_new(self, message: Envelope) -> None:
        """Refuse an id that is in flight, before any work is done for it."""
        inbound = self._inbound
        if message.id_key in inbound:
            raise InvalidMessage(f"Expected a new request id, got {_shown(message.id)}, which is in flight")
        if len(inbound) >= self.limits.max_in_flight:
            raise LimitExceeded("max_in_flight", self.limits.max_in_flight, actual=len(inbound) + 1)

    @property
    def open_requests(self) -> int:
        """How many requests of the peer are being worked on."""
        return len(self._inbound)

    @property
    def open_calls(self) -> int:
        """How many requests of ours wait for an answer."""
        return len(self._outbound)

    # -- requests of ours

    def request(
        self,
        method: str,
        params: object,
        on_done: Callable[[Pending], None],
        *,
        now: float,
        timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        on_progress: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Pending:
        """Send a request. ``timeout_s`` is measured from now and, with ``on_progress``, from the last progress;
        ``total_timeout_s`` bounds the whole wait.

        :raises taut.errors.LocalProtocolError: the peer did not declare what the method needs.
        :raises taut.errors.LimitExceeded: too many of our requests are in flight.
        """
        self._check_callable(method)
        revision = self.revision or models.LATEST_LEGACY
        pending = Pending(method, revision, on_done)
        pending.id = self._outbound.open(pending)
        pending.on_progress = on_progress
        if timeout_s is not None:
            pending.timeout_s = timeout_s
            pending.deadline = now + timeout_s
        if total_timeout_s is not None:
            pending.total_timeout_s = total_timeout_s
            pending.final_deadline = final = now + total_timeout_s
            pending.deadline = final if pending.deadline is None else min(final, pending.deadline)
        self._deadlines.add(pending, self._outbound)
        try:
            self.out.request(
                pending.id,
                method,
                models.project(params, revision) if params is not msgspec.UNSET else params,
                members=self._request_members(pending, meta),
            )
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self._outbound.pop(pending.id)
            raise LocalProtocolError(f"The params of {method} cannot be encoded: {error}") from error
        except LocalProtocolError:  # nothing that the revision has a word for
            self._outbound.pop(pending.id)
            raise
        return pending

    def _request_members(self, pending: Pending, meta: Mapping[str, Any] | None) -> bytes:
        """Return the encoded ``"_meta": {...}`` of a request, or nothing: the connection's own members, which the
        caller's ``meta`` may replace, and the progress token."""
        if meta:
            own = msgspec.json.decode(b"{%b}" % self._meta_members) | dict(meta)
            if pending.on_progress is not None:
                own["progressToken"] = pending.id
            return b'"_meta":' + msgspec.json.encode(own)
        members = [self._meta_members] if self._meta_members else []
        if pending.on_progress is not None:
            members.append(b'"progressToken":%d' % pending.id)
        return b'"_meta":{%b}' % b",".join(members) if members else b""

    def _check_callable(self, method: str) -> None:
        """Refuse a request that the peer did not say it can answer."""
        allowed = self._callable.get(method)
        if allowed is None:
            allowed = self._callable[method] = self._may_call(method)
        if allowed is not True:
            raise LocalProtocolError(allowed)

    def _may_call(self, method: str) -> Literal[True] | str:
        """Return True, or why the request cannot be sent."""
        if self.revision is None or method not in models.METHODS:
            return True
        spec = models.lookup(method, self.revision)
        if spec is None:
            return f"{method} does not exist in revision {self.revision}"
        declared = self.remote_capabilities
        if spec.capability and not (declared and models.declares(declared, spec.capability)):
            return f"{method} needs the capability {spec.capability}, which the {self.remote_side} did not declare"
        return True

    def cancel(self, pending: Pending, reason: str | None = None, *, error: TautError | None = None) -> None:
        """Stop waiting, and tell the peer. A later answer is dropped.

        ``initialize`` is never cancelled on the wire (specification, "Cancellation").
        """
        if pending.done:
            return
        self._outbound.pop(pending.id)
        if pending.method not in ("initialize", "server/discover"):
            params = models.CancelledParams(
                request_id=pending.id, reason=msgspec.UNSET if reason is None else reason
            )
            self.out.notification("notifications/cancelled", params)
        pending.fail(
            error or RequestCancelled(f"{pending.method} was cancelled" + (f": {reason}" if reason else ""))
        )

    def notify(self, method: str, params: object = msgspec.UNSET) -> None:
        """Send a notification."""
        if params is not msgspec.UNSET:
            params = models.project(params, self.revision or models.LATEST_LEGACY)
        self.out.notification(method, params)

    # -- time

    def next_deadline(self) -> float | None:
        """Return when `expire` may have work; earlier calls do no harm."""
        return self._deadlines.next()

    def expire(self, now: float) -> None:
        """Cancel every request of ours that has waited too long."""
        for key in self._deadlines.expired(now):
            pending = self._outbound.get(key)
            if pending is None or pending.deadline is None:
                continue
            if pending.deadline > now:
                self._deadlines.add(pending, self._outbound)
            else:
                final = pending.deadline == pending.final_deadline
                waited = pending.total_timeout_s if final else pending.timeout_s
                self.cancel(pending, "timeout", error=RequestTimeout(pending.method, waited or 0.0))

    def extend(self, pending: Pending, now: float) -> None:
        """Start the timeout of ``pending`` anew, as its progress shows that it is worked on."""
        if pending.timeout_s is not None and not pending.done:
            deadline = now + pending.timeout_s
            pending.deadline = (
                deadline if pending.final_deadline is None else min(deadline, pending.final_deadline)
            )

    # -- the end

    def close(self, error: ConnectionClosed) -> None:
        """End everything that is open: our calls fail with ``error``, the peer's requests are cancelled."""
        for pending in self._outbound.drain():
            pending.fail(error)
        self.withdraw(str(error))

    def withdraw(self, reason: str) -> None:
        """Cancel every request of the peer that is being worked on: none of them is answered."""
        for request in self._inbound.drain():
            request.cancel(reason)


def _shown(raw_id: bytes | None) -> str:
    return (raw_id or b"")[:80].decode("utf-8", "replace")
