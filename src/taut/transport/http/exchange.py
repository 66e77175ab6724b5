"""One HTTP exchange whose request is being worked on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from taut.mcp.http.reply import Response
from taut.mcp.limits import Limits
from taut.transport.conversation import Conversation

__all__ = ["Exchange"]


class Exchange(Conversation):
    """A request, its reply address, and whoever follows what is said there. Subclasses say how it is worked on.

    Nothing is awaited until somebody follows: a handler that does not wait is answered without any of this.
    """

    #: Called whenever there may be something to send, by whoever does not `news` for it.
    on_news: Callable[[], object] | None = None
    _news: asyncio.Event | None = None
    _drained: asyncio.Future[None] | None = None

    def __init__(self, response: Response, limits: Limits) -> None:
        Conversation.__init__(self, limits)  # super() costs as much as what it calls
        self.response = response

    def begin(self) -> None:
        """Work on the request, as far as that goes without waiting."""
        self.dispatch(self.response.request)

    # -- for handlers

    def flush_soon(self) -> None:
        """Wake the follower; a client that has let too much pile up has stopped following."""
        if self.response.unsent_bytes > 2 * self.limits.max_unsent_bytes:
            self.abandon("the client does not read")
        self.wake()

    def wake(self) -> None:
        """Have the follower look."""
        if self._news is not None:
            self._news.set()
        elif self.on_news is not None:
            self.on_news()

    async def drain(self) -> None:
        """Wait until the client has taken what was said, if that is more than ``max_unsent_bytes``."""
        if self.response.unsent_bytes > self.limits.max_unsent_bytes and not self.response.ended:
            if self._drained is None:
                self._drained = self.loop.create_future()
            await asyncio.shield(self._drained)

    # -- for the follower

    async def news(self, timeout_s: float) -> None:
        """Wait until there is something to send, the request has ended, or the time is up."""
        if self._news is None:
            self._news = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                while not (self.response.ended or self.response.unsent_bytes):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    def taken(self) -> None:
        """Say that the client has taken all that was said."""
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    # -- the end

    def shut_down(self) -> None:
        """End what would go on for as long as the client listens; the rest may still be answered."""

    def abandon(self, reason: str) -> None:
        """Know that nobody follows any more: in the modern era, that withdraws the request."""
        self.cancel(reason)

    def cancel(self, reason: str) -> None:
        """Withdraw the request: nothing more is said, and its handler is cancelled."""
        self.response.request.cancel(reason)
        self.taken()
        if self._news is not None:
            self._news.set()

    async def wait_closed(self) -> None:
        """Wait until the handler has ended."""
        self.cancel("the exchange is over")
        self.drop_callbacks()
        await self.wait_handlers()
