"""A request that is under way in a pool, and who hears its answer."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Protocol, TypeAlias, final

from taut.errors import TransportError

if TYPE_CHECKING:
    from taut.transport.http.client_protocol import ClientConnection
    from taut.transport.http.pool import Pool

__all__ = ["Answer", "Call", "Wire"]

#: A request as it is sent; a long body stands apart from its head.
Wire: TypeAlias = "bytes | tuple[bytes, bytes]"


class Answer(Protocol):
    """Hears the answer to one request, in the loop's thread, never from within `Pool.send`.

    The calls are ``head``, any number of ``data``, ``end``; or ``failed`` in place of whatever is still to come. An
    exception that one raises closes the connection, is told to the loop's exception handler, and ends in ``failed``.
    """

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """The status and the headers, their names in lower case, repeated ones joined with ", "."""

    def data(self, chunk: bytes) -> None:
        """The next bytes of the body."""

    def end(self) -> None:
        """The answer is complete. Its connection may already be used by a request that is sent from here."""

    def failed(self, error: TransportError) -> None:
        """There will be no (more) answer. ``error.sent`` tells whether the request can have been worked on."""


@final
class Call:
    """What `Pool.send` returns: the handle of one request."""

    __slots__ = (
        "answer",
        "connection",
        "deadline",
        "paused",
        "pool",
        "redirects",
        "request",
        "retried",
        "timeout_s",
        "wire",
    )

    def __init__(
        self,
        pool: Pool,
        request: tuple[bytes, bytes, bytes, bytes],
        wire: Wire,
        answer: Answer,
        timeout_s: float | None,
        deadline: float,
    ) -> None:
        self.pool = pool
        #: Method, path, header lines and body.
        self.request = request
        self.wire = wire
        #: None once the call has ended.
        self.answer: Answer | None = answer
        self.timeout_s = timeout_s
        self.deadline = deadline
        #: None while the call waits for one, and when it has ended.
        self.connection: ClientConnection | None = None
        self.paused = self.retried = False
        self.redirects = 0

    def __str__(self) -> str:
        method, target, _, _ = self.request
        path = target.partition(b"?")[0]  # the rest may hold a secret
        return (b"%b %b" % (method, path[:200])).decode("latin-1")

    def abort(self) -> None:
        """Give the request up: nothing more is called back, and its connection is closed unless it is complete."""
        if self.answer is None:
            return
        self.answer = None
        if self.connection is None:
            self.pool.forget(self)
        else:
            self.connection.abandon()

    def pause(self) -> None:
        """Read no more of the answer; what has been read (256 KB at most) still comes. Time does not count."""
        if self.answer is None or self.paused:
            return
        self.paused = True
        self.deadline = inf
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Read on."""
        if self.answer is None or not self.paused:
            return
        self.paused = False
        self.extend(self.timeout_s)
        if self.connection is not None:
            self.connection.resume()

    def extend(self, timeout_s: float | None) -> None:
        """Let the server be silent for ``timeout_s`` seconds from now, and then between any two chunks."""
        if self.answer is not None:
            self.timeout_s = timeout_s
            self.pool.watch(self)
