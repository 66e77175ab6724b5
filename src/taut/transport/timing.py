"""The time of a peer's requests: one timer for all of them, whatever carries them."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

from taut import models
from taut.errors import TransportError
from taut.mcp.limits import Limits
from taut.mcp.outbound import Pending, ProgressCallback
from taut.mcp.peer import Peer
from taut.transport.conversation import Conversation

__all__ = ["Timed"]

P = TypeVar("P", bound=Peer)


class Timed(Conversation, Generic[P]):
    """A conversation whose peer sends requests, which expire."""

    peer: P

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        #: Why nothing can be sent any more; None while it can.
        self.lost: TransportError | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, pending: Pending, on_progress: ProgressCallback | None) -> None:
        """Let ``pending`` expire; its progress, of which ``on_progress`` (perhaps async) is told, puts that off."""
        if on_progress is not None:
            pending.on_progress = self._extending(pending, on_progress)
        deadline = pending.deadline
        if deadline is not None:
            timer = self._timer
            if timer is None:
                self._timer = self.loop.call_at(deadline, self._on_timer)
            elif deadline < timer.when():
                timer.cancel()
                self._timer = self.loop.call_at(deadline, self._on_timer)

    def stop_watching(self) -> None:
        """Let nothing expire any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _extending(self, pending: Pending, on_progress: ProgressCallback) -> ProgressCallback:
        def advance(params: models.ProgressParams) -> None:
            self.peer.extend(pending, self.loop.time())
            self.call_back(on_progress, params)

        return advance

    def _on_timer(self) -> None:
        self._timer = None
        self.peer.expire(self.loop.time())
        self.flush_soon()
        deadline = self.peer.next_deadline()
        if deadline is not None and self.lost is None:
            self._timer = self.loop.call_at(deadline, self._on_timer)
