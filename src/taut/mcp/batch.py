"""JSON-RPC batches, which revision 2025-03-26 demands and no other has.

The answers to the requests of one batch travel as one array, once the last of them is answered or cancelled; they
are collected in the batch, which is the reply address of its requests. A batch of notifications has no answer.
"""

from __future__ import annotations

from msgspec import UNSET

from taut._core import Outgoing
from taut.errors import RemoteProtocolError
from taut.mcp.inbound import Request

__all__ = ["BatchReply"]


class BatchReply:
    """Collects the answers to one batch and writes them to ``out`` as one array."""

    __slots__ = ("_open", "_out", "_sealed", "answers")

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._open = 0
        self._sealed = False
        self.answers = Outgoing(delimiter=b",")

    @property
    def complete(self) -> bool:
        """Whether nothing more will be answered."""
        return self._sealed and self._open == 0

    def expect(self, request: Request) -> None:
        """Count ``request``, whose answer belongs to this batch."""
        self._open += 1
        request._on_end = self._ended

    def reject(self, error: RemoteProtocolError) -> None:
        """Answer a part that is no message."""
        data = UNSET if error.data is None else error.data
        self.answers.error(error.id, error.code, error.message, data, null_id=True)

    def seal(self) -> None:
        """Say that every message of the batch has been read."""
        self._sealed = True
        self._finish()

    def _ended(self) -> None:
        self._open -= 1
        self._finish()

    def _finish(self) -> None:
        if self._sealed and self._open == 0 and len(self.answers):
            self._out.append(b"[" + self.answers.take()[:-1] + b"]")
