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

from typing import Any

import msgspec

from taut import models
from taut._core import Envelope, InFlight, Kind, Outgoing, parse
from taut.errors import (
    ConnectionClosed,
    InvalidMessage,
    InvalidParams,
    LimitExceeded,
    ProtocolError,
    RemoteError,
    RemoteProtocolError,
)
from taut.mcp.batch import BatchReply
from taut.mcp.calls import Calls
from taut.mcp.inbound import Request
from taut.mcp.limits import DEFAULT_LIMITS, Limits

__all__ = ["BATCH_REVISION", "Event", "Message", "Notification", "Peer"]

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


class Peer(Calls):
    """One conversation. Subclasses decide what is allowed when, and say who the caller is."""

    def __init__(self, out: Outgoing, *, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(out, limits=limits)
        #: Legacy log level of this conversation (``logging/setLevel``); None in the modern era.
        self.log_level: str | None = None
        self._inbound: InFlight[Request] = InFlight(limits.max_in_flight)

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
        self.on_answer(message)
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
                self.on_progress(message)
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

    # -- the end

    def close(self, error: ConnectionClosed) -> None:
        """End everything that is open: our calls fail with ``error``, the peer's requests are cancelled."""
        self.fail_all(error)
        self.withdraw(str(error))

    def withdraw(self, reason: str) -> None:
        """Cancel every request of the peer that is being worked on: none of them is answered."""
        for request in self._inbound.drain():
            request.cancel(reason)


def _shown(raw_id: bytes | None) -> str:
    return (raw_id or b"")[:80].decode("utf-8", "replace")
