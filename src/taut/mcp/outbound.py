"""Our requests that wait for the peer's answer, and when to stop waiting.

Time is data: the driver says what the time is, asks `Deadlines.next` when to come back, and takes from
`Deadlines.expired` what has waited too long.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from msgspec import UNSET, DecodeError, Struct

from taut import models
from taut._core import Envelope, InFlight, Outgoing
from taut.errors import InvalidMessage, LocalProtocolError, TautError, from_wire

__all__ = ["Deadlines", "Pending"]

ProgressCallback = Callable[[models.ProgressParams], object]


class Pending(Struct, eq=False):
    """One request of ours. It ends exactly once: with a reply, or with an error.

    ``on_done(pending)`` is called at the end; the outcome is then in ``reply`` or ``error``.
    """

    # A Struct is filled in by C: half the time of an __init__ with as many attributes.
    method: str
    revision: str
    on_done: Callable[[Pending], None]
    id: int = 0
    on_progress: ProgressCallback | None = None
    #: Where it went, if not to the party's only way to hear us; its cancellation follows it.
    out: Outgoing | None = None
    timeout_s: float | None = None
    total_timeout_s: float | None = None
    deadline: float | None = None
    final_deadline: float | None = None
    reply: Envelope | None = None
    error: TautError | None = None
    _last_progress: float | None = None

    def __repr__(self) -> str:
        return f"<Pending {self.method} id={self.id}>"

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.reply is not None or self.error is not None

    def finish(self, reply: Envelope) -> None:
        """End with the peer's reply: a result, or an error response."""
        if reply.error is None:
            self.reply = reply
        else:
            self.error = decode_error(reply)
        self.on_done(self)

    def fail(self, error: TautError) -> None:
        """End without a reply."""
        self.error = error
        self.on_done(self)

    def result(self) -> object:
        """Return the decoded result.

        :raises taut.errors.TautError: what ended the request instead of a result.
        """
        if self.error is not None:
            raise self.error
        if self.reply is None:
            raise LocalProtocolError(f"Expected an ended request, got {self!r}")
        return models.decode_result(self.method, self.reply.result, self.revision)

    def advance(self, params: models.ProgressParams) -> None:
        """Deliver a progress notification; one that does not grow is not delivered."""
        if self._last_progress is not None and not params.progress > self._last_progress:
            return
        self._last_progress = params.progress
        if self.on_progress is not None:
            self.on_progress(params)


def decode_error(reply: Envelope) -> TautError:
    """Return the exception for an error response; a malformed error object is an error of the peer."""
    try:
        error = models.decode(models.ErrorObject, reply.error)
    except DecodeError as problem:
        return InvalidMessage(f"Expected an error object, got one that is none: {problem}")
    return from_wire(error.code, error.message, None if error.data is UNSET else error.data)


class Deadlines:
    """A heap of (deadline, request id), cleaned lazily: an ended request costs nothing when it ends.

    The heap is rebuilt when most of it is dead, so that its size follows the requests in flight and not the
    number of calls within one timeout.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, pending: Pending, waiting: InFlight[Pending]) -> None:
        """Watch ``pending.deadline``; ``waiting`` are the requests that have not ended."""
        heap = self._heap
        if len(heap) > 2 * len(waiting) + 64:
            heap[:] = [item for item in heap if item[1] in waiting]
            heapq.heapify(heap)
        if pending.deadline is not None:
            heapq.heappush(heap, (pending.deadline, pending.id))

    def next(self) -> float | None:
        """Return the earliest time at which something may expire."""
        return self._heap[0][0] if self._heap else None

    def expired(self, now: float) -> Iterator[int]:
        """Take the ids whose deadline has passed; an id may have ended since, or moved its deadline."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[1]
