"""A request of the peer, from its arrival to its one answer.

The reply address and the cancel token live here, never on the connection or the server: whoever holds the
request can answer it, once, and nobody can answer another one by mistake (CVE-2026-25536).

States: OPEN -> ANSWERED | CANCELLED. After the answer, and after a cancellation, nothing more is sent for it:
no second answer, no progress, no log message.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from math import isfinite
from typing import Any

import msgspec
from msgspec import UNSET

from taut import models
from taut._core import Envelope, Outgoing
from taut.errors import INTERNAL_ERROR, LocalProtocolError, ProtocolError, RemoteError
from taut.mcp.levels import severity

__all__ = ["NOBODY", "Caller", "Request", "RequestState"]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and under which terms: of the session in the legacy era, of each request in the modern one."""

    revision: str
    capabilities: models.ClientCapabilities | models.ServerCapabilities
    implementation: models.Implementation | None = None
    #: The least severe log message that the caller wants; None: no log messages.
    log_level: str | None = None


class RequestState(enum.Enum):
    """Where a request stands."""

    OPEN = "open"
    ANSWERED = "answered"
    CANCELLED = "cancelled"


OPEN = RequestState.OPEN
ANSWERED = RequestState.ANSWERED
CANCELLED = RequestState.CANCELLED


class _Nobody:
    """Owns a request that has ended: no more is said for it, so there is nothing to ask of an owner."""

    log_level: str | None = None


NOBODY = _Nobody()


class Request(msgspec.Struct, eq=False):
    """One request of the peer. Answer it with `respond`, `respond_raw` or `fail`.

    A request that is not answered before control returns to the peer's driver must be kept with `defer`:
    only then can it be cancelled, and does it count against ``max_in_flight``.
    """

    # A Struct is filled in by C: half the time of an __init__ with as many attributes.
    _peer: Any
    envelope: Envelope
    caller: Caller
    meta: models.RequestMeta | None
    _answers: Outgoing
    #: Encoded members that every result has besides its own.
    _members: bytes
    #: Whom the transport has authenticated; empty where nobody asks.
    principal: str = ""
    state: RequestState = RequestState.OPEN
    _deferred: bool = False
    _on_cancel: Callable[[str | None], None] | None = None
    _on_end: Callable[[], None] | None = None
    _last_progress: float | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} id={self.id.decode()} {self.state.value}>"

    @property
    def id(self) -> bytes:
        """The id as the peer wrote it."""
        return self.envelope.id  # type: ignore[return-value]  # a request always has one

    @property
    def method(self) -> str:
        """The method's name."""
        return self.envelope.method  # type: ignore[return-value]

    @property
    def key(self) -> int | str:
        """The id as the peer's cancellations name it."""
        return self.envelope.id_key  # type: ignore[return-value]

    @property
    def progress_token(self) -> int | str | None:
        """The token of ``_meta.progressToken``, its JSON type kept; None when no progress is wanted."""
        if self.meta is None or self.meta.progress_token is msgspec.UNSET:
            return None
        return self.meta.progress_token

    def params(self) -> Any:
        """Return the params as the struct of the method.

        :raises taut.errors.InvalidParams: they do not fit; the message gives the path.
        """
        return models.decode_params(self.method, self.envelope.params, self.caller.revision)

    # -- life

    def defer(self, on_cancel: Callable[[str | None], None]) -> None:
        """Keep the request open beyond this call; ``on_cancel(reason)`` is called if the peer withdraws it. Of several
        such calls the last one counts.

        :raises taut.errors.LimitExceeded: too many requests of this peer are open.
        """
        if not self._deferred:
            self._peer._admit(self)
            self._deferred = True
        self._on_cancel = on_cancel

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the request is answered or cancelled; not for those of a batch, which do so."""
        self._on_end = callback

    def respond(self, result: object) -> None:
        """Answer with ``result``, a struct or a dict, projected to the caller's revision.

        Does nothing once the request is answered or cancelled: a late answer has no reader.
        """
        if self.state is not OPEN:
            return
        members = self._members
        if members and getattr(result, "meta", UNSET) is not UNSET:
            result = _merged(result, self._peer.result_meta)
            members = b""
        try:
            projected = models.project(result, self.caller.revision)
            # The id not by way of the property: one call less on the hot path.
            self._answers.result(self.envelope.id, projected, members=members)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self.fail(RemoteError(f"The result of {self.method} cannot be encoded", code=INTERNAL_ERROR))
            raise LocalProtocolError(f"The result of {self.method} cannot be encoded: {error}") from error
        self.state = ANSWERED
        if self._deferred or self._on_end is not None:
            self._end(ANSWERED)

    def respond_raw(self, result: bytes) -> None:
        """Answer with an encoded result, written as it is."""
        if self.state is OPEN:
            self._answers.result_raw(self.id, result)
            self._end(ANSWERED)

    def fail(self, error: RemoteError | ProtocolError) -> None:
        """Answer with a JSON-RPC error."""
        if self.state is OPEN:
            code, data = self._peer.wire_error(error, self.caller.revision)
            self._answers.error(self.id, code, error.message, msgspec.UNSET if data is None else data)
            self._end(ANSWERED)

    def cancel(self, reason: str | None = None) -> None:
        """Withdraw the request: it is never answered, and whoever works on it is told."""
        if self.state is not OPEN:
            return
        callback = self._on_cancel
        self._end(CANCELLED)
        if callback is not None:
            callback(reason)

    def _end(self, state: RequestState) -> None:
        self.state = state
        if self._deferred:
            self._deferred = False
            self._on_cancel = None
            self._peer._release(self)
        if self._on_end is not None:
            callback, self._on_end = self._on_end, None
            callback()

    # -- what travels beside the answer

    def notify(self, method: str, params: object) -> bool:
        """Send a notification that belongs to this request; False when it is too late for it."""
        if self.state is not OPEN:
            return False
        self._peer.out.notification(method, models.project(params, self.caller.revision))
        return True

    def progress(self, progress: float, total: float | None = None, message: str | None = None) -> bool:
        """Report progress, if the caller asked for it; False when nothing was sent.

        The value must grow with each report (specification, "Progress"); one that does not, or that JSON cannot
        express, is dropped.
        """
        token = self.progress_token
        last = self._last_progress
        if token is None or not isfinite(progress) or (last is not None and not progress > last):
            return False
        self._last_progress = progress
        params = models.ProgressParams(
            progress_token=token,
            progress=progress,
            total=msgspec.UNSET if total is None or not isfinite(total) else total,
            message=msgspec.UNSET if message is None else message,
        )
        return self.notify("notifications/progress", params)

    def log(self, level: str, data: Any, logger: str | None = None) -> bool:
        """Send a log message, if the caller wants messages of this level; False when nothing was sent."""
        wanted = self.caller.log_level if self._peer.log_level is None else self._peer.log_level
        if wanted is None or severity(level) < severity(wanted):
            return False
        params = models.LoggingMessageParams(
            level=level,  # type: ignore[arg-type]  # severity() has refused what is none
            data=data,
            logger=msgspec.UNSET if logger is None else logger,
        )
        return self.notify("notifications/message", params)


def _merged(result: Any, meta: dict[str, Any]) -> Any:
    """Return ``result`` with ``meta`` beside its own ``_meta``, which wins."""
    return msgspec.structs.replace(result, meta=meta | result.meta)
