"""The client's end of a server at a URL: Streamable HTTP, of both eras.

Each request is a POST of its own, which brings its answer; the pool of connections below knows nothing of MCP. That the
server, or the way to it, is away for a while ends the calls of that time, each with an error, and nothing else. A
legacy session that the server has forgotten is replaced, once for all calls that notice, and they are sent again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from taut import models
from taut._core import Outgoing, parse
from taut.client.exchange import Exchange
from taut.client.listening import EventStream, HttpListening
from taut.client.retry import Retry
from taut.client.settings import HttpSettings
from taut.client.shared import Shared
from taut.client.side import ClientSide, Owner
from taut.client.telling import Told
from taut.errors import (
    AuthorizationRequired,
    ConnectionClosed,
    HeaderMismatch,
    LocalProtocolError,
    RemoteProtocolError,
    RequestCancelled,
    RequestTimeout,
    TransportError,
)
from taut.mcp.client_peer import ClientPeer, ClientProfile
from taut.mcp.http.sending import RequestHeaders, name_of
from taut.mcp.http.tooling import KnownTools, arguments_of
from taut.mcp.limits import DEFAULT_LIMITS, Limits
from taut.mcp.negotiation import LEGACY, Agreement, Negotiation, Step
from taut.mcp.outbound import Pending, ProgressCallback
from taut.mcp.peer import Message
from taut.transport.http.pool import Pool
from taut.transport.http.url import parse_url

if TYPE_CHECKING:
    from taut.transport.http.call import Answer, Call

__all__ = ["HttpConnection", "open_http"]

logger = logging.getLogger("taut")

T = TypeVar("T")

#: Notifications and answers that are on their way at a time; more wait, and their number is limited by the peer.
MAX_TELLING = 32
#: Connections that calls leave free for these; where they do not, others are opened.
RESERVE = 4
#: Seconds that a server gets to take a notification or an answer.
TELL_S = 30.0
#: Pages of a list of tools that are learned.
MAX_PAGES = 1_000


class HttpConnection(ClientSide):
    """A `ClientPeer` whose requests travel to ``path``. ``make_pool`` is told how many connections it may have."""

    def __init__(
        self,
        make_pool: Callable[[int], Pool],
        path: bytes,
        profile: ClientProfile,
        owner: Owner,
        settings: HttpSettings,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(limits)
        self.peer = ClientPeer(Outgoing(), profile, limits=limits)
        self.owner = owner
        self.settings = settings
        self.headers = RequestHeaders(settings.headers)
        self.tools = KnownTools()
        #: Open ``subscriptions/listen`` streams.
        self.streams: set[HttpListening] = set()
        #: The stream of a legacy session; None where there is none, or none yet.
        self.events: EventStream | None = None
        self._make_pool = make_pool
        self._pool = make_pool(settings.max_connections)
        #: For what calls may be waiting for, and what stays, while calls take every connection of the other.
        self._spare: Pool | None = None
        self._path = path
        self._body = Outgoing()
        self._token: str | None = None
        self._agreement: Agreement | None = None
        self._log_level: str | None = None
        #: The session that the server has forgotten, until another one has begun.
        self._forgotten: bytes | None = None
        self._telling: set[Told] = set()
        self._flush_scheduled = False
        self._shared = Shared()
        self._closing: asyncio.Task[None] | None = None

    @property
    def session_id(self) -> str | None:
        """The id of the legacy session; None where there is none."""
        session = self.headers.session
        return None if session is None else session.decode("ascii")

    # -- requests

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
        """Send a request and return its decoded result.

        ``timeout_s`` is measured from the sending, and anew from each progress notification when ``on_progress``
        (which may be async) is given; ``total_timeout_s`` bounds the whole wait. Cancelling the calling task tells
        the server to stop. What is sent again by itself, and when, is in `taut.client.retry`.

        :raises taut.errors.TransportError: the server cannot be reached, or went away; ``sent`` tells whether the
            request may have been carried out.
        :raises taut.errors.HttpError: it answered with an HTTP status instead of a message.
        :raises taut.errors.RequestTimeout: no answer in time.
        :raises taut.errors.RemoteError: the server answered with an error.
        :raises taut.errors.LocalProtocolError: the server did not declare what the method needs, or the tool is one
            that must not be called.
        """
        name = name_of(method, params)
        if self.tools.hides and method == "tools/call" and (problem := self.tools.problem(name)) is not None:
            raise LocalProtocolError(f"The tool {name} must not be called: {problem}")
        final = None if total_timeout_s is None else self.loop.time() + total_timeout_s
        retry: Retry | None = None
        while True:
            if (self._forgotten is not None and method != "initialize") or self.settings.auth is not None:
                await self._prepare(method, timeout_s, total_timeout_s)
            session = self.headers.session
            ended = self.loop.create_future()
            exchange = self.post(
                method,
                name,
                params,
                ended,
                timeout_s=timeout_s,
                total_timeout_s=total_timeout_s,
                on_progress=on_progress,
                meta=meta,
            )
            try:
                await ended
                result: Any = exchange.pending.result()
                return self._shown(result) if method == "tools/list" else result
            except asyncio.CancelledError:
                self.peer.cancel(exchange.pending, "cancelled by the caller")
                self.flush_soon()
                raise
            except (TransportError, HeaderMismatch) as error:
                if self.lost is not None:
                    raise
                if retry is None:
                    retry = Retry(self, method, name)
                if not await self._within(final, method, total_timeout_s, retry.allows(error, session)):
                    raise
            if final is not None:
                total_timeout_s = max(0.0, final - self.loop.time())

    async def _prepare(self, method: str, timeout_s: float | None, total_timeout_s: float | None) -> None:
        """Have a session and a token for the next request."""
        limits = [limit for limit in (timeout_s, total_timeout_s) if limit is not None]
        limit_s = min(limits, default=None)
        end = None if limit_s is None else self.loop.time() + limit_s
        if self._forgotten is not None and method != "initialize":
            await self._within(end, method, limit_s, self.renew())
        if self.settings.auth is not None:
            await self._within(end, method, limit_s, self.authorize())

    async def _within(
        self, end: float | None, method: str, limit_s: float | None, work: Coroutine[Any, Any, T]
    ) -> T:
        """Do what a call of ``method`` needs, until ``end``, which is ``limit_s`` after its beginning."""
        try:
            async with asyncio.timeout_at(end) as limit:
                return await work
        except TimeoutError:
            if not limit.expired():
                raise
            raise RequestTimeout(method, limit_s or 0.0) from None

    def post(
        self,
        method: str,
        name: str | None,
        params: object,
        on_end: asyncio.Future[None] | Callable[[Pending], None],
        *,
        timeout_s: float | None = None,
        total_timeout_s: float | None = None,
        on_progress: ProgressCallback | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Exchange:
        """Send a request; ``on_end`` is set, or called, once it has ended, never from within."""
        if self.lost is not None:
            raise self.lost.with_traceback(None)  # or each who calls in vain would leave his frames there
        if method == "initialize":
            self.headers.session = None
        try:
            head = self.headers.post(method, name)
            if self.tools.mirrors and method == "tools/call":
                head += self.tools.mirrored(name, arguments_of(params))
        except ValueError as error:
            raise LocalProtocolError(f"The params of {method} cannot be encoded: {error}") from error
        exchange = Exchange(self, on_end)
        exchange.pending = pending = self.peer.request(
            method,
            params,
            exchange.on_done,
            now=self.loop.time(),
            timeout_s=timeout_s,
            total_timeout_s=total_timeout_s,
            on_progress=on_progress,
            meta=meta,
            out=self._body,
        )
        pending.out = None  # it is cancelled by other means
        self.watch(pending, on_progress)
        pool = self._pool if method != "subscriptions/listen" else self._beside()
        exchange.call = pool.send(b"POST", self._path, head, self._body.take(), exchange)
        return exchange

    def send(
        self, method: bytes, head: bytes, body: bytes, answer: Answer, *, timeout_s: float | None = None
    ) -> Call:
        """Send an HTTP request to the server's path."""
        return self._pool.send(method, self._path, head, body, answer, timeout_s=timeout_s)

    def listen(self, last_event_id: str | None, answer: Answer) -> Call:
        """Open the stream of a session, which stays."""
        return self._beside().send(b"GET", self._path, self.headers.listen(last_event_id), b"", answer)

    def _beside(self) -> Pool:
        """The pool for what calls may be waiting for, and for what stays: where calls may take all connections of
        their own pool, it must not wait for these, nor leave them none."""
        if self.peer.open_calls + RESERVE < self.settings.max_connections:
            return self._pool
        if self._spare is None:
            self._spare = self._make_pool(self.settings.max_connections + MAX_TELLING)
        return self._spare

    def _shown(self, result: models.ListToolsResult) -> models.ListToolsResult:
        """Learn a page of tools; return it without those whose marks are invalid (2026-07-28, "x-mcp-header")."""
        hidden = self.tools.learn(result.tools, marks=self.peer.modern)
        for name, problem in hidden.items():
            logger.warning("the server's tool %s is left out: %s", name, problem)
        if not hidden:
            return result
        return msgspec.structs.replace(
            result, tools=[tool for tool in result.tools if tool.name not in hidden]
        )

    async def relist(self) -> None:
        """Learn all tools anew, once for all that ask for it now."""
        await self._once("tools", self._relist)

    async def _relist(self) -> None:
        cursor: str | msgspec.UnsetType = msgspec.UNSET
        for _ in range(MAX_PAGES):
            page = await self.ask("tools/list", models.PaginatedParams(cursor=cursor), timeout_s=TELL_S)
            cursor = page.next_cursor
            if cursor is msgspec.UNSET:
                return

    # -- messages of the server

    def parse(self, raw: bytes) -> Message:
        """Return the message, or why it is none."""
        limits = self.limits
        try:
            return parse(
                raw, max_depth=limits.max_depth, max_digits=limits.max_digits, max_keys=limits.max_keys
            )
        except RemoteProtocolError as error:
            return error

    def receive(self, message: Message) -> None:
        """Handle one message."""
        try:
            event = self.peer.receive(message)
            if event is not None:
                self.dispatch(event)
        except Exception:
            # Nothing is expected here; a mistake of ours must not take what follows in the stream along.
            logger.exception("a message could not be handled")
        if len(self.peer.out):
            self.flush_soon()

    # -- messages that are not answered

    def flush_soon(self) -> None:
        """Send notifications and answers, each in a POST of its own, at the end of this turn of the loop."""
        if not self._flush_scheduled and self.lost is None:
            self._flush_scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self.lost is None and len(self.peer.out) and len(self._telling) < MAX_TELLING:
            # Messages never contain the byte that ends them.
            for message in self.peer.out.take().split(b"\n"):
                if message:
                    self._tell(message)

    def _tell(self, message: bytes) -> Told:
        told = Told(self)
        self._telling.add(told)
        if self.settings.auth is None:
            self._send_told(told, message)
        else:
            self.call_back(self._tell_authorized, told, message)
        return told

    async def _tell_authorized(self, told: Told, message: bytes) -> None:
        try:
            await self.authorize()
        except Exception as error:  # the border to the user's provider of tokens
            told.failed(TransportError(f"no token: {error!r}", sent=False))
            return
        if self.lost is None:
            self._send_told(told, message)

    def _send_told(self, told: Told, message: bytes) -> None:
        head = self.headers.message()
        told.call = self._beside().send(b"POST", self._path, head, message, told, timeout_s=TELL_S)

    def told(self, told: Told) -> None:
        """Strike a message that has been taken or refused."""
        self._telling.discard(told)
        if len(self.peer.out):
            self.flush_soon()

    async def drain(self) -> None:
        """Wait until the server has taken what it is told; one that takes nothing is not waited for."""
        self._flush()
        taken = True
        while taken and self._telling and self.lost is None:
            waiting = [told.done for told in self._telling]
            taken = bool((await asyncio.wait(waiting, timeout=TELL_S))[0])
            self._flush()

    async def authorize(self) -> None:
        """Get the token for the next request."""
        assert self.settings.auth is not None
        token = await self.settings.auth.token()
        if token != self._token:
            self._token = token
            self.headers.authorize(token)

    async def renew_token(self, error: AuthorizationRequired) -> bool:
        """Whether there is a better token now that ``error`` has come. A provider that fails has none."""
        try:
            return self.settings.auth is not None and await self.settings.auth.challenged(error)
        except Exception:  # the border to the user's provider of tokens
            logger.exception("the provider of tokens failed")
            return False

    # -- negotiation

    def speak(self, revision: str, log_level: str | None) -> None:
        """Use ``revision`` for what is sent from now on: while negotiating, and once agreed."""
        super().speak(revision, log_level)
        self.headers.speak(self.peer.revision, modern=self.peer.modern)
        # A modern server sees that nobody reads its answer any more.
        self.peer.tells_cancellations = not self.peer.modern

    async def adopt(self, agreement: Agreement, log_level: str | None = None) -> None:
        """Use an agreement: the one just reached, or one saved from an earlier connection."""
        self._agreement = agreement
        self._log_level = log_level
        self.speak(agreement.revision, log_level)
        self.peer.agree(agreement)
        self.headers.speak(agreement.revision, modern=agreement.modern)
        if agreement.modern:
            return
        self._flush()
        await self.drain()  # the server must know before it hears anything else
        if self.settings.listen and self.lost is None:
            self.events = EventStream(self)
            self.events.open()

    def expire(self, session: bytes | None) -> None:
        """Note that the server has forgotten ``session``; the next call begins another."""
        if session is None or session != self.headers.session or self.lost is not None:
            return
        self._forgotten = session

    async def renew(self) -> None:
        """Begin another session in place of the one that the server has forgotten, once for all that need it."""
        await self._once("session", self._renew)

    async def _renew(self) -> None:
        forgotten = self._forgotten
        if forgotten is None or self._agreement is None:
            return
        if self.events is not None:
            self.events.close()
        self.peer.withdraw("the session has ended")
        revision = self._agreement.revision
        self.speak(revision, self._log_level)
        result = await self.ask("initialize", self.peer.profile.initialize_params(revision), timeout_s=TELL_S)
        # It may be another server by now, but not one of the other era.
        agreement = Negotiation(LEGACY).answered(Step("initialize", revision), result)
        assert isinstance(agreement, Agreement)
        await self.adopt(agreement, self._log_level)
        if self._forgotten == forgotten:  # only now: no call must overtake notifications/initialized
            self._forgotten = None
        self.call_back(self.owner.on_session)

    async def _once(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do ``work`` once for all that wait for it now; closed, they are told so."""
        try:
            await self._shared.once(name, work)
        except RequestCancelled:
            raise (self.lost or ConnectionClosed()).with_traceback(None) from None

    # -- streams

    def open_stream(self, params: models.SubscriptionsListenParams) -> HttpListening:
        """Open ``subscriptions/listen``; it is opened again when it is cut."""
        stream = HttpListening(self, params)
        self.streams.add(stream)
        stream.open()
        return stream

    # -- the end

    def close(self) -> None:
        """Close: what is open ends with `ConnectionClosed`, a legacy session is ended. Twice is fine."""
        if self.lost is not None:
            return
        self.lost = lost = ConnectionClosed("connection closed", clean=True)
        self.stop_watching()
        if self.events is not None:
            self.events.close()
        self._shared.cancel()
        self.peer.close(lost)
        for stream in list(self.streams):
            stream.lose(lost)
        for told in self._telling:
            told.cancel()
        self.drop_callbacks()
        self.owner.on_lost(lost)
        self._closing = self.loop.create_task(self._close())

    async def _close(self) -> None:
        if self.headers.session not in (None, self._forgotten):
            end = Told(self)
            end.call = self.send(
                b"DELETE", self.headers.end(), b"", end, timeout_s=self.settings.close_timeout_s
            )
            await asyncio.wait([end.done], timeout=self.settings.close_timeout_s)
        await self._pool.close()
        if self._spare is not None:
            await self._spare.close()
        await self.wait_handlers()

    async def wait_closed(self) -> None:
        """Wait until everything is released. Safe to cancel."""
        if self._closing is not None:
            await asyncio.shield(self._closing)


def open_http(
    url: str, profile: ClientProfile, owner: Owner, settings: HttpSettings, *, limits: Limits = DEFAULT_LIMITS
) -> HttpConnection:
    """Return the client's end of the server at ``url``; nothing is sent yet.

    :raises taut.errors.ConfigError: the URL or the settings cannot work.
    """

    def make_pool(connections: int) -> Pool:
        return Pool(
            url,
            tls=settings.tls,
            uds=settings.uds,
            proxy=settings.proxy,
            trust_env=settings.trust_env,
            max_connections=connections,
            connect_timeout_s=settings.connect_timeout_s,
            idle_s=settings.idle_s,
        )

    return HttpConnection(make_pool, parse_url(url).target, profile, owner, settings, limits=limits)
