"""Connections of an HTTP/1.1 client to one origin, kept for the next request. It knows nothing of MCP.

A request takes an idle connection, the one used last, or waits for a new one, in the order of their coming. Its answer
is told by callbacks: nothing is awaited, and there is no task or future to a request. One timer watches over all.

Sent again without a word is only what provably was not worked on: a request on a used connection that was closed
before it was written to its end, once. Redirects are followed within the origin where method and body stay
(307, 308). All else is the caller's decision; ``error.sent`` helps.

A pool belongs to the event loop of its first request. `Pool.close` ends everything.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final, final

from taut.errors import (
    AnswerTimeout,
    ConfigError,
    ConnectError,
    ConnectionClosed,
    PoolFull,
    RedirectRefused,
    TautError,
    TransportError,
)
from taut.transport.http.call import Answer, Call, Wire
from taut.transport.http.client_protocol import ClientConnection
from taut.transport.http.connector import Connector
from taut.transport.http.fields import check_fields, check_request_line, encode_fields
from taut.transport.http.proxy import parse_proxy, proxy_from_environment
from taut.transport.http.url import parse_url

if TYPE_CHECKING:
    import ssl

__all__ = ["Answer", "Call", "Pool", "encode_fields"]

#: Seconds of rest after which a connection is looked at before it is used: has the server closed it meanwhile?
LOOK_AFTER_S: Final = 0.5
#: Heads of requests that are remembered, checked and encoded.
MAX_REMEMBERED: Final = 256
#: Bytes of a redirect's body that are read to keep the connection.
MAX_REDIRECT_BYTES: Final = 64 * 1024
#: Methods whose requests have no body, mostly.
BARE: Final = (b"GET", b"DELETE")
#: Bytes of a body up to which it is joined with its head, for one packet.
JOINED_BYTES: Final = 64 * 1024
#: Seconds that open connections get to end when the pool is closed.
CLOSE_S: Final = 2.0


@final
class Pool:
    """Requests to the origin of ``url``.

    ``tls`` is an `ssl.SSLContext`, or the path of a file with the certificates to trust; by default what the system
    trusts. ``uds`` is the path of a unix socket to connect to instead of the URL's host. ``proxy`` is a proxy's URL;
    without it the environment is asked (``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) unless
    ``trust_env`` is false, and never for this machine itself. ``idle_s`` is how long a connection is kept without a
    request; a server's ``Keep-Alive: timeout`` may shorten that.

    :raises taut.errors.ConfigError: the URL, the proxy or a number is none that can work.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | str | None = None,
        server_name: str | None = None,
        uds: str | None = None,
        proxy: str | None = None,
        trust_env: bool = True,
        max_connections: int = 100,
        max_waiting: int = 10_000,
        connect_timeout_s: float = 10.0,
        idle_s: float = 30.0,
        max_headers: int = 128,
        max_head_bytes: int = 64 * 1024,
        max_redirects: int = 3,
    ) -> None:
        if max_connections < 1 or connect_timeout_s <= 0 or max_waiting < 0:
            raise ConfigError("Expected a pool of at least one connection, and a positive time to connect")
        self.url = parse_url(url)
        self.max_headers = max_headers
        self.max_head_bytes = max_head_bytes
        self.idle_s = idle_s
        #: The loop's clock, once there is a loop.
        self.time: Callable[[], float] = monotonic
        via = None if proxy is None else parse_proxy(proxy)
        if via is None and trust_env and uds is None:
            via = proxy_from_environment(self.url, os.environ)
        self._connector = Connector(
            self.url, proxy=via, uds=uds, tls=tls, server_name=server_name, timeout_s=connect_timeout_s
        )
        self.peer = self._connector.peer
        self._max_connections = max_connections
        self._max_waiting = max_waiting
        self._max_redirects = max_redirects
        # With a plain proxy in between, the request names the whole URL, and answers to the proxy's demands.
        plain = via if self.url.scheme == "http" else None
        self._target_prefix = b"" if plain is None else self.url.origin.encode("ascii")
        self._constant = b"Host: %b\r\n" % self.url.authority.encode("ascii")
        if plain is not None and plain.authorization is not None:
            self._constant += b"Proxy-Authorization: %b\r\n" % plain.authorization
        self._heads: dict[tuple[bytes, bytes, bytes], bytes] = {}
        self._idle: list[ClientConnection] = []  # the one used last at the end
        self._open: set[ClientConnection] = set()  # all that may carry requests
        self._ending: set[ClientConnection] = set()  # not yet lost
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[Call] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._closed = False
        self._all_lost: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- requests

    def send(
        self,
        method: bytes,
        path: bytes,
        headers: Iterable[tuple[bytes, bytes]] | bytes,
        body: bytes,
        answer: Answer,
        *,
        timeout_s: float | None = None,
    ) -> Call:
        """Send a request; ``answer`` hears what comes of it.

        ``path`` is the request target with its query; ``headers`` are pairs, or the lines that `encode_fields` made of
        them. Host, Content-Length and Connection are set here. ``timeout_s`` is how long the server (and the queue
        before it) may be silent: until the answer begins, and then between two parts of it.

        :raises taut.errors.ConfigError: method, path or headers would break the request apart.
        """
        if not isinstance(headers, bytes):
            headers = encode_fields(headers)
        head = self._heads.get((method, path, headers)) or self._head(method, path, headers)
        wire: Wire
        if body and len(body) <= JOINED_BYTES:
            wire = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        else:
            wire = encode_request(method, head, body)
        now = self.time()
        deadline = inf if timeout_s is None else now + timeout_s
        call = Call(self, (method, path, headers, body), wire, answer, timeout_s, deadline)
        if deadline < self._timer_at:
            self._arm(deadline)
        idle = self._idle
        while idle:
            connection = idle.pop()
            rest_s = now - connection.idle_since
            if not connection.transport.is_closing() and (
                rest_s < LOOK_AFTER_S or (rest_s < connection.idle_limit_s and is_quiet(connection))
            ):
                connection.start(call)
                return call
            connection.abandon()
        self._wait(call)
        return call

    def _head(self, method: bytes, path: bytes, headers: bytes) -> bytes:
        """The part of a head that does not depend on the body; checked once while it is remembered."""
        check_request_line(method, path)
        check_fields(headers)
        if len(self._heads) >= MAX_REMEMBERED:
            self._heads.clear()
        head = b"%b %b%b HTTP/1.1\r\n%b%b" % (method, self._target_prefix, path, self._constant, headers)
        self._heads[method, path, headers] = head
        return head

    def _here(self) -> asyncio.AbstractEventLoop:
        """The pool's loop: the one in which it is first asked for."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self.time = self._loop.time
        return self._loop

    def _wait(self, call: Call) -> None:
        loop = self._here()
        if self._closed:
            loop.call_soon(self.fail, call, self._gone())
        elif len(self._waiting) >= self._max_waiting:
            loop.call_soon(
                self.fail,
                call,
                PoolFull(
                    f"{self.peer}: expected at most {self._max_waiting} requests that wait for one of "
                    f"{self._max_connections} connections, got one more: send less at a time"
                ),
            )
        else:
            self._waiting.append(call)
            self._fill()

    def forget(self, call: Call) -> None:
        """Take ``call`` out of the queue."""
        if call in self._waiting:
            self._waiting.remove(call)

    # -- connections

    def _fill(self) -> None:
        """Begin as many connections as there are calls that wait, within the limit."""
        if self._closed:
            return
        missing = min(
            len(self._waiting) - len(self._connecting),
            self._max_connections - len(self._connecting) - len(self._open),
        )
        for _ in range(missing):
            task = self._here().create_task(self._connect())
            self._connecting.add(task)

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = ClientConnection(self)
        try:
            await self._connector.connect(connection)
            if connection.transport.is_closing():
                raise ConnectError(f"{self.peer}: expected a connection, got one that was closed at once")
        except BaseException as error:
            # uvloop does not tell a protocol whose connection is given up as it begins.
            self.lost(connection)
            self._connecting.discard(task)
            if not isinstance(error, Exception):
                raise
            # Whatever it is, nobody must wait for this connection any more.
            self._not_connected(error)
            return
        self._connecting.discard(task)
        self._open.add(connection)
        self.release(connection)

    def _not_connected(self, error: Exception) -> None:
        """An attempt has failed: one call with it, or all if nothing else is open or under way."""
        if not isinstance(error, TransportError):
            said = str(error) if isinstance(error, TautError) else f"{self.peer}: cannot connect ({error!r})"
            error = ConnectError(said)
        count = 1 if self._connecting or self._open else len(self._waiting)
        failed = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
        self._fill()
        for call in failed:
            self.fail(call, error)

    def release(self, connection: ClientConnection) -> None:
        """Take back a connection that is free: for who waits longest, or to be kept."""
        if self._waiting:
            connection.start(self._waiting.popleft())
            return
        now = connection.idle_since = self.time()
        self._idle.append(connection)
        if now + connection.idle_limit_s < self._timer_at:
            self._arm(now + connection.idle_limit_s)

    def remove(self, connection: ClientConnection) -> None:
        """Strike a connection that carries no further request."""
        if connection in self._open:
            self._open.discard(connection)
            if connection.call is None and connection in self._idle:
                self._idle.remove(connection)
            self._fill()

    def made(self, connection: ClientConnection) -> None:
        """Note a connection that must end before the pool has."""
        self._ending.add(connection)

    def lost(self, connection: ClientConnection) -> None:
        """Strike a connection that has ended."""
        self._ending.discard(connection)
        if self._all_lost is not None and not self._ending and not self._all_lost.done():
            self._all_lost.set_result(None)

    def retry(self, call: Call) -> None:
        """Send ``call`` again, before all others: it was not worked on."""
        call.retried = True
        if call.answer is None:
            return
        for connection in list(self._idle):  # they may have been closed together
            if not is_quiet(connection):
                connection.abandon()
        self._resend(call)

    def _resend(self, call: Call) -> None:
        if self._closed:
            self.fail(call, self._gone())
        elif self._idle:
            self._idle.pop().start(call)
        else:
            self._waiting.appendleft(call)
            self._fill()

    # -- the ends of calls

    def fail(self, call: Call, error: TransportError) -> None:
        """Tell ``call``, unless it has ended."""
        answer, call.answer = call.answer, None
        if answer is not None:
            try:
                answer.failed(error)
            except Exception as failure:  # the border to the caller: other calls go on
                self.report(failure)

    def report(self, error: BaseException) -> None:
        """Tell the loop's exception handler of a callback that failed."""
        self._here().call_exception_handler(
            {"message": "an answer's receiver failed", "exception": error, "pool": repr(self)}
        )

    def redirected(self, connection: ClientConnection, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Follow a redirect within the origin that keeps the method; refuse every other.

        :raises taut.errors.RedirectRefused: it leads elsewhere, or would change the request.
        """
        call = connection.call
        assert call is not None
        if status in (300, 304, 305, 306):
            return
        location = headers[b"location"]
        try:
            here = self.url._replace(target=call.request[1])
            there = here.join(location.decode("utf-8"))
        except (ConfigError, UnicodeDecodeError):
            shown = location.partition(b"?")[0][:100]
            raise self._refusal(status, f"a place that is no URL ({shown!r})") from None
        if (there.scheme, there.host, there.port) != (here.scheme, here.host, here.port):
            raise self._refusal(status, f"another origin, {there.origin}: if that is right, connect there")
        if status not in (307, 308):
            raise self._refusal(status, f"{there.place} as another request: if that is right, use this URL")
        if call.redirects >= self._max_redirects:
            raise self._refusal(status, f"{there.place} after {call.redirects} others")
        call.redirects += 1
        assert call.answer is not None
        connection.redirect(_Redirect(self, call, there.target))

    def follow(self, call: Call, path: bytes) -> None:
        """Send the request of ``call`` to ``path`` instead."""
        method, _, headers, body = call.request
        call.request = (method, path, headers, body)
        call.wire = encode_request(method, self._head(method, path, headers), body)
        self._resend(call)

    def _refusal(self, status: int, where: str) -> RedirectRefused:
        return RedirectRefused(f"{self.peer}: expected an answer, got a redirect ({status}) to {where}")

    # -- time

    def watch(self, call: Call) -> None:
        """Count the time of ``call`` from now."""
        if call.timeout_s is None or call.paused:
            call.deadline = inf
            return
        call.deadline = deadline = self.time() + call.timeout_s
        if deadline < self._timer_at:
            self._arm(deadline)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._here().call_at(at, self._look)

    def _look(self) -> None:
        """End what is due. The timer is not moved with each call, so mostly nothing is."""
        self._timer, self._timer_at = None, inf
        now = self.time()
        for connection in [found for found in self._idle if found.idle_since + found.idle_limit_s <= now]:
            self.remove(connection)
            connection.transport.close()
        busy = [found for found in self._open if found.call is not None and found.call.deadline <= now]
        waiting = [call for call in self._waiting if call.deadline <= now]
        for connection in busy:
            connection.time_out()
        for call in waiting:
            self.forget(call)
            self.fail(call, self._waited(call))
        soonest = min((call.deadline for call in self._waiting), default=inf)
        for connection in self._open:
            running = connection.call
            due = connection.idle_since + connection.idle_limit_s if running is None else running.deadline
            soonest = min(soonest, due)
        if soonest < self._timer_at:
            self._arm(soonest)

    def _waited(self, call: Call) -> AnswerTimeout:
        return AnswerTimeout(
            f"{self.peer}: expected a free connection within {call.timeout_s:g} s, got none: "
            f"{len(self._open)} of {self._max_connections} are open",
            sent=False,
        )

    # -- the end

    async def close(self) -> None:
        """Close every connection; every call that has not ended fails with `ConnectionClosed`.

        From any task of the loop, twice if need be. A cancelled close may be called again.
        """
        self._closed = True
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            self.fail(self._waiting.popleft(), self._gone())
        for connection in list(self._open):
            if connection.call is None:
                self.remove(connection)
                connection.transport.close()
            else:
                connection.fail(self._gone(sent=True))
        connecting = list(self._connecting)
        for task in connecting:
            task.cancel()
        if connecting:
            await asyncio.wait(connecting)
        await self._connector.close()
        await self._wait_lost(CLOSE_S)
        for connection in list(self._ending):
            connection.transport.abort()
        await self._wait_lost(CLOSE_S)

    async def _wait_lost(self, timeout_s: float) -> None:
        if self._ending:
            if self._all_lost is None:
                self._all_lost = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._all_lost], timeout=timeout_s)

    def _gone(self, *, sent: bool = False) -> ConnectionClosed:
        return ConnectionClosed(f"{self.peer}: the pool of connections was closed", clean=True, sent=sent)


@final
class _Redirect:
    """Passes over the body of a redirect, then sends the request to where it leads."""

    def __init__(self, pool: Pool, call: Call, path: bytes) -> None:
        self._pool = pool
        self._call = call
        self._path = path
        self._left = MAX_REDIRECT_BYTES

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Known already."""

    def data(self, chunk: bytes) -> None:
        """Passed over; more than a little is not worth the connection."""
        self._left -= len(chunk)
        connection = self._call.connection
        if self._left < 0 and connection is not None:
            self._call.connection = None
            connection.abandon()
            self.end()

    def end(self) -> None:
        """Go there."""
        self._pool.follow(self._call, self._path)

    def failed(self, error: TransportError) -> None:
        """Not called: a failure is told to the call's own receiver."""


def encode_request(method: bytes, head: bytes, body: bytes) -> Wire:
    """Return a request as it is sent. Long bodies are not copied; some methods have none, and no length then."""
    if not body and method in BARE:
        return head + b"\r\n"
    head = b"%bContent-Length: %d\r\n\r\n" % (head, len(body))
    return head + body if len(body) <= JOINED_BYTES else (head, body)


def is_quiet(connection: ClientConnection) -> bool:
    """Look whether nothing has come in, and nothing has ended, that the loop has not told of yet."""
    sock = connection.transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor < 0:
        return False
    if not hasattr(select, "poll"):  # Windows
        return not select.select([descriptor], [], [], 0)[0]
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)
