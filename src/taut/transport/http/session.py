"""Sessions of the legacy era on an event loop: their exchanges, their GET streams, and what they say unasked.

A handler belongs to its session, not to the connection that brought the request: it goes on when that is gone, and
whoever comes back gets the rest. There is nothing here for a session in which nothing happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from taut import models
from taut._core import Outgoing
from taut.errors import ConnectionClosed, InvalidRequest
from taut.mcp.http.endpoint import Endpoint
from taut.mcp.http.events import EventsLost
from taut.mcp.http.legacy import NEEDS_SESSION
from taut.mcp.http.sessions import IDLE_SWEEPS, Session, SessionCalls, Sessions
from taut.mcp.http.streams import BatchResponse, Reader, SessionResponse
from taut.mcp.limits import Limits
from taut.mcp.outbound import ProgressCallback
from taut.transport.conversation import Conversation
from taut.transport.http.exchange import Exchange

__all__ = ["Host", "Listening", "SessionExchange", "Subscribers", "Voice"]


class Listening:
    """A GET that is followed, like an `Exchange`."""

    def __init__(self, reader: Reader) -> None:
        self.response = reader
        self._news = asyncio.Event()
        self._greeted = False
        reader.on_news = self._news.set

    async def news(self, timeout_s: float) -> None:
        """Wait until there is something to send, the stream has ended, or the time is up; the first time, do not."""
        reader = self.response
        if not self._greeted:
            self._greeted = True
            await self._replay()
            return
        try:
            async with asyncio.timeout(timeout_s):
                while not (reader.ended or reader.unsent_bytes):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return

    async def _replay(self) -> None:
        reader = self.response
        store = reader.session.store
        if reader.after is None:
            return
        try:
            if store is None:
                raise EventsLost("the session has ended")
            reader.replay(await store.read(reader.session.id, reader.stream, reader.after))
        except EventsLost as error:
            reader.refuse(error)

    def taken(self) -> None:
        """Nobody waits for that."""

    def shut_down(self) -> None:
        """End the stream; the client may come back to another process."""
        self.response.close()

    def cancel_handlers(self) -> None:
        """End the stream: there is no handler."""
        self.response.close()

    def abandon(self, reason: str) -> None:
        """Know that the client is gone."""
        self.response.close()

    async def wait_closed(self) -> None:
        """Leave the stream to the next reader."""
        self.response.close()


class SessionExchange(Exchange):
    """An exchange whose request belongs to a session. Subclasses say how it is worked on.

    Once its client is gone, or was sent away, the handler goes on, and ``host`` knows of it.
    """

    response: SessionResponse

    def __init__(self, response: SessionResponse, limits: Limits, host: Host) -> None:
        Exchange.__init__(self, response, limits)  # super() costs as much as what it calls
        self._host = host
        self._orphan = False

    def begin(self) -> None:
        """Work on what came, as far as that goes without waiting."""
        response = self.response
        self.dispatch(list(response.requests) if isinstance(response, BatchResponse) else response.request)
        if not response.done:
            response.wake = (
                self.wake
            )  # only now: what is answered already, points at nothing that points back

    def flush_soon(self) -> None:
        """Wake the follower; without one, have what was said kept."""
        if self.response.attached:
            super().flush_soon()
        else:
            self.response.settle()

    async def ask(
        self,
        method: str,
        params: object,
        *,
        timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        on_progress: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send a request to the client, on the stream of the request that causes it, and return its decoded result."""
        response = self.response
        self.check_asking(method)
        return await _ask(
            self,
            response.session,
            response.out,
            method,
            params,
            timeout_s,
            total_timeout_s,
            on_progress,
            meta,
        )

    def check_asking(self, method: str) -> None:
        """Refuse to ask where no session connects a question with its answer, or nobody will ever hear it."""
        if self.response.session.sessions is None:
            raise InvalidRequest(f"{method} {NEEDS_SESSION}")
        if not self.response.reachable:
            raise ConnectionClosed(f"{method}: the client is gone, and has no stream to come back to")

    def close_stream(self) -> bool:
        """Let the client hang up and come back for the rest."""
        return self.response.close_stream()

    @property
    def session(self) -> str:
        """The session's id, which nobody else has."""
        return self.response.session.id

    @property
    def subscriber(self) -> Conversation:
        """Who hears of changes: the session, when its request is long answered."""
        return self._host.voice(self.response.session)

    def tell(self, method: str, params: object = msgspec.UNSET) -> None:
        """Notify the client of what belongs to no request, as long as there is its session."""
        session = self.response.session
        if session.sessions is not None:
            session.notices.tell(method, params)

    def abandon(self, reason: str) -> None:
        """Know that the client is gone: that does not withdraw its request."""
        self.response.detach()
        self.taken()
        self.wake()

    async def wait_closed(self) -> None:
        """Return at once while the handler goes on; else wait until it has ended."""
        self.abandon("")
        if self.response.done:
            self.drop_callbacks()
            await self.wait_handlers()
        elif self._tasks and not self._orphan:
            self._orphan = True
            self._host.adopt(self)
            for task in self._tasks:
                task.add_done_callback(self._task_ended)

    def _task_ended(self, _: asyncio.Task[None]) -> None:
        if not self._tasks:
            self.drop_callbacks()
            self._host.release(self)


class Voice(Conversation):
    """What a session says that belongs to none of its requests: it goes to the GET stream."""

    def __init__(self, session: Session, limits: Limits) -> None:
        super().__init__(limits)
        self._session = session

    def flush_soon(self) -> None:
        """Hand what was said to the stream."""
        self._session.notices.settle()

    async def drain(self) -> None:
        """Nothing piles up here: what nobody takes is given up."""

    def tell(self, method: str, params: object = msgspec.UNSET) -> None:
        """Notify the client."""
        self._session.notices.tell(method, params)

    async def ask(
        self,
        method: str,
        params: object,
        *,
        timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        on_progress: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Any:
        """Send a request to the client and return its decoded result."""
        session = self._session
        return await _ask(
            self, session, session.notices.out, method, params, timeout_s, total_timeout_s, on_progress, meta
        )


class Hub(Conversation):
    """What is said to every session at once, without a subscriber for each."""

    def __init__(self, sessions: Sessions) -> None:
        super().__init__(sessions.limits)
        self._sessions = sessions

    def flush_soon(self) -> None:
        """Nothing waits."""

    def tell(self, method: str, params: object = msgspec.UNSET) -> None:
        """Notify the clients of all sessions but those that hear for themselves."""
        for session in self._sessions:
            if session.voice is None:
                session.notices.tell(method, params)


class Subscribers(Protocol):
    """Who is told of changes."""

    def add(self, connection: Conversation) -> None:
        """Tell ``connection`` from now on."""

    def discard(self, connection: Conversation) -> None:
        """Stop that."""


class Host:
    """The sessions of one endpoint on an event loop: lets time pass, and keeps what outlives its connection."""

    def __init__(self, endpoint: Endpoint, sessions: Sessions, subscribers: Subscribers) -> None:
        self._endpoint = endpoint
        self._sessions = sessions
        self._subscribers = subscribers
        self._interval_s = sessions.options.idle_s / IDLE_SWEEPS
        self._orphans: set[SessionExchange] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._hub: Hub | None = None
        #: Closed with the sessions.
        self.store = sessions.store
        sessions.on_open = self._opened
        sessions.on_end = self._ended

    def _opened(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._rest()
            self._loop = loop
            self._hub = Hub(self._sessions)
            self._subscribers.add(self._hub)
            self._timer = loop.call_later(self._interval_s, self._sweep)

    def _ended(self, session: Session) -> None:
        if session.voice is not None:
            self._subscribers.discard(session.voice)
            session.voice.drop_callbacks()

    def _sweep(self) -> None:
        self._sessions.sweep()
        if len(self._sessions) and self._loop is not None:
            self._timer = self._loop.call_later(self._interval_s, self._sweep)
        else:
            self._rest()

    def _rest(self) -> None:
        """Do nothing until there is a session."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._hub is not None:
            self._subscribers.discard(self._hub)
            self._hub = None

    def voice(self, session: Session) -> Voice:
        """Return what ``session`` says things with that belong to no request."""
        if session.voice is None:
            session.voice = Voice(session, self._sessions.limits)
            self._subscribers.add(session.voice)
        voice: Voice = session.voice
        return voice

    def adopt(self, exchange: SessionExchange) -> None:
        """Count a request whose client is gone like one whose client waits."""
        self._endpoint.open += 1
        self._orphans.add(exchange)

    def release(self, exchange: SessionExchange) -> None:
        """Forget it when it has ended."""
        self._endpoint.leave()
        self._orphans.discard(exchange)

    async def close(self) -> None:
        """End all sessions and wait for their handlers. What was kept of them is written."""
        self._rest()
        orphans = list(self._orphans)
        self._sessions.close("the server is shutting down")
        for exchange in orphans:
            await exchange.wait_handlers()
        if self.store is not None:
            await self.store.close()


async def _ask(
    conversation: Conversation,
    session: Session,
    out: Outgoing,
    method: str,
    params: object,
    timeout_s: float | None,
    total_timeout_s: float | None,
    on_progress: ProgressCallback | None,
    meta: Mapping[str, Any] | None,
) -> Any:
    """Send a request of ours to ``out``, and return its decoded result; see `Connection.ask`."""
    loop = conversation.loop
    calls = session.calls
    future: asyncio.Future[None] = loop.create_future()

    def advance(progress: models.ProgressParams) -> None:
        calls.extend(pending, loop.time())
        assert on_progress is not None
        conversation.call_back(on_progress, progress)

    pending = calls.request(
        method,
        params,
        lambda _: None if future.done() else future.set_result(None),
        now=loop.time(),
        timeout_s=timeout_s,
        total_timeout_s=total_timeout_s,
        on_progress=None if on_progress is None else advance,
        meta=meta,
        out=out,
    )
    conversation.flush_soon()
    watch = _Watch(calls, loop) if pending.deadline is not None else None
    try:
        await future
    except asyncio.CancelledError:
        calls.cancel(pending, "cancelled by the caller")
        raise
    finally:
        if watch is not None:
            watch.stop()
        conversation.flush_soon()
    return pending.result()


class _Watch:
    """Ends the requests of a session whose time is up, as long as one of them waits here."""

    def __init__(self, calls: SessionCalls, loop: asyncio.AbstractEventLoop) -> None:
        self._calls = calls
        self._loop = loop
        self._timer = self._arm()

    def _arm(self) -> asyncio.TimerHandle | None:
        deadline = self._calls.next_deadline()
        return None if deadline is None else self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._calls.expire(self._loop.time())
        self._timer = self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
