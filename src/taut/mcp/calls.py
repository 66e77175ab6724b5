"""Our requests to one remote party: ids, answers, progress, cancellation, deadlines.

Answers and progress come in through `on_answer` and `on_progress`; requests go to ``out``, or to the reply address
that is given with one. Time is passed in. A `Pending` ends exactly once, also when the party goes away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from taut import models
from taut._core import Envelope, InFlight, Outgoing
from taut.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    RequestCancelled,
    RequestTimeout,
    TautError,
)
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.outbound import Deadlines, Pending, ProgressCallback

__all__ = ["Calls"]


class Calls:
    """The requests that we have sent to one party and that wait for an answer."""

    #: The side that the remote party plays: what it may send is looked up under this name.
    remote_side = ""
    #: Whether the party is told of cancellations with notifications; not where the end of an exchange says it.
    tells_cancellations = True

    def __init__(self, out: Outgoing, *, limits: Limits = DEFAULT_LIMITS) -> None:
        self.out = out
        self.limits = limits
        #: The revision in force; None until it is agreed, and in the modern era of a server, where requests carry it.
        self.revision: str | None = None
        #: What the peer declared that it can do.
        self.remote_capabilities: models.ClientCapabilities | models.ServerCapabilities | None = None
        #: Answers that nobody waited for: late after a cancellation, or unknown.
        self.stray_answers = 0
        self._outbound: InFlight[Pending] = InFlight(limits.max_in_flight)
        self._deadlines = Deadlines()
        self._callable: dict[str, Literal[True] | str] = {}
        self._meta_members = b""

    # -- requests

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
        out: Outgoing | None = None,
    ) -> Pending:
        """Send a request. ``timeout_s`` is measured from now and, with ``on_progress``, from the last progress;
        ``total_timeout_s`` bounds the whole wait. It goes to ``out``, if that is not the party's only way to hear us.

        :raises taut.errors.LocalProtocolError: the peer did not declare what the method needs.
        :raises taut.errors.LimitExceeded: too many of our requests are in flight.
        """
        self._check_callable(method)
        revision = self.revision or models.LATEST_LEGACY
        pending = Pending(method, revision, on_done)
        pending.id = self._open(pending)
        if out is not None:
            pending.out = out
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
            (self.out if out is None else out).request(
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

    def _open(self, pending: Pending) -> int:
        """Remember ``pending`` under an id of its own, which is returned."""
        return self._outbound.open(pending)

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
        if self.tells_cancellations and pending.method not in ("initialize", "server/discover"):
            params = models.CancelledParams(
                request_id=pending.id, reason=msgspec.UNSET if reason is None else reason
            )
            (self.out if pending.out is None else pending.out).notification("notifications/cancelled", params)
        pending.fail(
            error or RequestCancelled(f"{pending.method} was cancelled" + (f": {reason}" if reason else ""))
        )

    def fail(self, pending: Pending, error: TautError) -> None:
        """Stop waiting, as what carried the request cannot bring its answer any more. The peer is not told."""
        if not pending.done:
            self._outbound.pop(pending.id)
            pending.fail(error)

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

    # -- what comes back

    def on_progress(self, message: Envelope) -> None:
        """Take a progress notification.

        :raises taut.errors.InvalidParams: it is malformed.
        """
        params = models.decode_params(
            "notifications/progress", message.params, self.revision or models.LATEST_LEGACY
        )
        pending = self._outbound.get(params.progress_token)
        if pending is not None:
            pending.advance(params)

    def on_answer(self, message: Envelope) -> None:
        """Take a result or an error response; one that nobody waits for is counted."""
        key = message.id_key
        pending = None if key is None else self._outbound.pop(key)
        if pending is None:
            self.stray_answers += 1
            return
        try:
            pending.finish(message)
        except RemoteProtocolError as error:
            pending.fail(error)

    def on_malformed_answer(self, error: RemoteProtocolError) -> None:
        """End the request of ours that a malformed answer names, so that its caller does not wait for another."""
        raw_id = error.id
        pending = self._outbound.pop(int(raw_id)) if raw_id is not None and raw_id[:20].isdigit() else None
        if pending is None:
            self.stray_answers += 1
        else:
            pending.fail(error)

    @property
    def open_calls(self) -> int:
        """How many requests of ours wait for an answer."""
        return len(self._outbound)

    def fail_all(self, error: TautError) -> None:
        """End every request without an answer."""
        for pending in self._outbound.drain():
            pending.fail(error)
