"""The MCP endpoint inside uvicorn's HTTP protocol: no scope, no task, no queue between a request and its answer.

A POST to the endpoint is judged when its head is there and worked on when its body is; an answer that is there when
the handler returns leaves with one write. One that comes soon is written when the handler says so. One that streams, or
takes long, is handed to uvicorn's own cycle, and every other request to the ASGI application, as if this were not here.

What a request is, llhttp decides and nobody else. A head whose bytes llhttp has read before, at the beginning of a
message and in one piece, means the same again: what was found then is remembered (`Memory`), and a message that has
such a head and exactly the body that it declares is not parsed a second time.

Requests are answered in the order in which they came: a request that is complete is put into a queue, and the queue is
worked on when the parser is done with what was read, while nothing is being answered and the client takes what is
written. While something waits in it, nothing more is read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextvars import copy_context
from typing import Any
from urllib.parse import quote

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string
from uvicorn.server import ServerState

from taut.mcp.http.head import Head
from taut.mcp.http.reply import Reply, refusal
from taut.transport.http.answers import CONTINUE, LARGE_BYTES, Answers
from taut.transport.http.asgi import AsgiApp, Receive, Scope, Send
from taut.transport.http.exchange import Exchange
from taut.transport.http.patience import DEFAULT_PATIENCE, Patience, Sweep

__all__ = ["NativeHttp", "NativeProtocol"]

logger = logging.getLogger("taut")

#: Heads that are remembered, and the longest of them in bytes: at most 2 MiB.
MAX_HEADS = 1024
MAX_HEAD_BYTES = 2048
#: Seconds until an exchange that is not answered yet gets a task that follows it.
SOON_S = 1.0
#: Seconds in which a client that is just sending sees that the connection has ended.
CROSSING_S = 0.1
#: What a chunk may have besides its data: its size and two line ends, with room for leading zeros.
CHUNK_BYTES = 16

BETWEEN, HEAD, BODY = range(3)
VERSIONS = ("1.1", "1.0")

RETRY_AFTER = (b"retry-after", b"1")


class _Busy:
    """Stands before every request of the application, so that uvicorn queues it."""

    response_complete = False


class _Turn:
    """A request that is being received or waits for its turn."""

    __slots__ = ("answer", "body", "expects", "keep_alive")

    def __init__(self, answer: Head | Reply, keep_alive: bool, expects: bool = False) -> None:
        #: A head that was admitted, or what is answered already.
        self.answer = answer
        self.body: bytes | bytearray = b""
        self.keep_alive = keep_alive
        #: Whether the client waits to be told to send the body.
        self.expects = expects


#: A request of the application that waits for its turn.
_Foreign = tuple[RequestResponseCycle, ASGI3Application]


class NativeHttp:
    """Makes the protocols of one server: what uvicorn wants as ``http``. Its connections share what is in here."""

    def __init__(
        self, app: AsgiApp, *, patience: Patience = DEFAULT_PATIENCE, sweep: Sweep | None = None
    ) -> None:
        self.app = app
        self.patience = patience
        self.sweep = Sweep() if sweep is None else sweep
        self.answers = Answers()
        self.target = (quote(app.path, safe="/!$&'()*+,;=:@~") or "/").encode()
        #: The head of a message -> what it means, and how long the message is.
        self.heads: dict[bytes, tuple[Head, int]] = {}
        #: For what begins where another request's handler ends: it must not find what that has set.
        self.context = copy_context()

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> NativeProtocol:
        return NativeProtocol(self, config, server_state, app_state, _loop)

    def remember(self, raw: bytes, head: Head, size: int) -> None:
        """Remember what a head means."""
        if len(raw) <= MAX_HEAD_BYTES:
            if len(self.heads) >= MAX_HEADS:
                self.heads.clear()
            self.heads[raw] = head, size


class NativeProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        shared: NativeHttp,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared = shared
        self._app = shared.app
        self._endpoint = shared.app.endpoint
        self._queue: deque[_Turn | _Foreign] = deque()
        #: What is being answered.
        self._active: Exchange | RequestResponseCycle | None = None
        #: Whether the connection stays after the exchange that is being answered.
        self._keep_alive = True
        #: Whether a message may begin and be answered at once.
        self._idle = True
        #: Whether nothing that comes is looked at any more.
        self._deaf = False
        #: Whether the server is about to end.
        self._finishing = False
        #: Whether the client has sent anything.
        self._fresh = True
        #: When what is waited for began to be.
        self._since = shared.sweep.now
        self._unsent = 0

        # The message that is being received.
        self._part = BETWEEN
        self._message = 0
        self._native = False
        #: Where its body goes; None where that is dropped.
        self._turn: _Turn | None = None
        self._size = 0
        self._pieces = 0
        #: Bytes of it in reads after the one with which its head or body began.
        self._fed = 0
        #: Bytes of its body that follow behind what llhttp takes for the end of the message.
        self._untold = 0

    # -- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._shared.sweep.add(self, self.loop)
        self._since = self._shared.sweep.now

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.sweep.discard(self)
        self._deaf = True
        self._idle = False
        active, self._active = self._active, None
        # The one that is told by uvicorn.
        self.cycle = active if isinstance(active, RequestResponseCycle) else None  # type: ignore[assignment]
        super().connection_lost(exc)
        if isinstance(active, Exchange):
            active.on_news = None
            active.abandon("the client closed the connection")
            self._reap(active)
        self._drop_waiting()

    def _reap(self, exchange: Exchange) -> None:
        """Let a handler that was cancelled end; only then has the request left."""
        task = self.loop.create_task(exchange.wait_closed())
        self.tasks.add(task)
        task.add_done_callback(self._reaped)

    def _reaped(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self._endpoint.leave()

    def finish(self) -> None:
        """Answer each request from now on as the last one; a connection without any stays open."""
        self._finishing = True

    def shutdown(self) -> None:
        """Close the connection once what has begun is answered."""
        self._finishing = True
        active = self._active
        if isinstance(active, RequestResponseCycle):
            active.keep_alive = active.keep_alive and bool(self._queue)
        elif active is not None:
            self._follow(active)  # uvicorn waits for its tasks, and ends them when it has waited enough
        elif not self._queue and self._turn is None:
            self._leave()

    def _leave(self) -> None:
        """Close an idle connection. A request that crosses that is not begun, and its client sees an end, no reset."""
        self._deaf = True
        self._idle = False
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(CROSSING_S, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._idle = False
        self._unsent = 0

    def resume_writing(self) -> None:
        super().resume_writing()
        self._since = self._shared.sweep.now
        self._proceed()

    # -- bytes in

    def data_received(self, data: bytes) -> None:
        if self._idle:
            end = data.find(b"\r\n\r\n") + 4
            known = self._shared.heads.get(data[:end])
            if known is not None and known[1] == len(data) and self.loop in self._app.loops:
                refused = self._endpoint.enter(known[0])
                if refused is None:
                    self._work(known[0], data[end:], True)
                else:
                    self._say(refused, True)
                return
        if self._deaf:
            return
        self._feed(data)
        if not self._deaf or self._queue:
            self._proceed()

    def _feed(self, data: bytes) -> None:
        """Let llhttp read ``data``."""
        if self._fresh:
            self._fresh = False
            self._since = self._shared.sweep.now
        idle, part, message, size = self._idle, self._part, self._message, self._size
        self._idle = False
        try:
            rest = self._take(data)
            while rest:
                rest = self._parse(rest)
        except httptools.HttpParserCallbackError as error:
            raise error.__context__ or error from None  # a mistake of ours
        except httptools.HttpParserError:
            if not self._deaf:
                self.logger.warning("Invalid HTTP request received.")
                self._break_off(refusal(400, "Expected an HTTP request"))
            return
        if self._part != BETWEEN and part == self._part and message == self._message:
            self._count(len(data), self._size - size)
        elif idle and self._part == BETWEEN and message + 1 == self._message and len(self._queue) == 1:
            self._remember(data)

    def _parse(self, data: bytes) -> bytes:
        """Let llhttp read ``data``; return what is left of it behind a request for another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._should_upgrade():
                return self._take(data[upgrade.args[0] :])
            self.handle_websocket_upgrade()
        return b""

    def _take(self, data: bytes) -> bytes:
        """Take the body that llhttp does not read, as far as it is there; return what is behind it."""
        if not self._untold:
            return data
        body, rest = data[: self._untold], data[self._untold :]
        self._untold -= len(body)
        self.on_body(body)
        if not self._untold:
            self.on_message_complete()
        return rest

    def handle_websocket_upgrade(self) -> None:
        self._shared.sweep.discard(self)
        self._deaf = True
        super().handle_websocket_upgrade()

    def _count(self, fed: int, body: int) -> None:
        """Count what a message has besides its data; a head or trailer without end is refused."""
        patience = self._shared.patience
        self._fed += fed - body
        if self._fed > patience.max_head_bytes + CHUNK_BYTES * self._pieces:
            self._break_off(refusal(431, f"Expected at most {patience.max_head_bytes} bytes of headers"))
        elif self._size > patience.max_dropped_bytes and self._native and self._turn is None:
            self._deaf = True
            if not self._queue and self._active is None:
                self._hang_up()

    def _remember(self, data: bytes) -> None:
        """Remember the head of the one message that ``data`` was."""
        turn = self._queue[0]
        if not isinstance(turn, _Turn) or not isinstance(turn.answer, Head):
            return
        end = data.find(b"\r\n\r\n") + 4
        # Framed by its length, with nothing before or after it, and nothing else to heed.
        plain = turn.keep_alive and not turn.expects and not self.parser.should_upgrade()
        plain = plain and b"content-length" in turn.answer.known
        if plain and end + self._size == len(data):
            self._shared.remember(data[:end], turn.answer, len(data))

    # -- what llhttp finds in them

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._part = HEAD
        self._message += 1
        self._fed = self._size = self._pieces = 0
        self._since = self._shared.sweep.now

    def on_headers_complete(self) -> None:
        self._part = BODY
        self._fed = 0
        self._native = True
        self._turn = None
        self._since = self._shared.sweep.now
        if self._deaf:
            return
        patience = self._shared.patience
        headers = self.headers
        if len(headers) > patience.max_headers:
            self._break_off(refusal(431, f"Expected at most {patience.max_headers} headers"))
        elif (
            sum([len(name) + len(value) for name, value in headers]) + len(self.url) > patience.max_head_bytes
        ):
            self._break_off(refusal(431, f"Expected at most {patience.max_head_bytes} bytes of headers"))
        elif self.parser.get_http_version() not in VERSIONS:
            self._break_off(refusal(505, "Expected HTTP/1.1"))
        elif self.parser.should_upgrade() and not self._should_upgrade() and not self._keep_to_http():
            self._break_off(refusal(400, "Expected a body with a length, and no tunnel"))
        elif self._is_ours():
            self._judge()
        else:
            self._pass_on()

    def _keep_to_http(self) -> bool:
        """Whether a request to change the protocol can be read as if it did not ask for that (RFC 9110, section 7.8).

        Some HTTP/2 clients ask with their first request. To llhttp it has no body, so that is read here.
        """
        names = [name for name, _ in self.headers]
        if b"transfer-encoding" in names or self.parser.get_method() == b"CONNECT":
            return False
        if b"content-length" in names:
            self._untold = int(self.headers[names.index(b"content-length")][1])
        return True

    def _is_ours(self) -> bool:
        return (
            self.url == self._shared.target
            and self.parser.get_method() == b"POST"
            and not (self.parser.should_upgrade() and self._should_upgrade())
            and self.limit_concurrency is None
            and self._endpoint.auth is None  # which may have to wait, and knows when a token has expired
            and self.loop in self._app.loops
        )

    def _pass_on(self) -> None:
        """Make it a request of the application, which waits for its turn."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url = url
        self.headers += headers
        self.expect_100_continue = expects
        self.cycle = _Busy  # type: ignore[assignment]
        try:
            super().on_headers_complete()
        except (
            httptools.HttpParserError,
            ValueError,
            AttributeError,
        ):  # a target that is no URL, or has no path
            self._break_off(refusal(400, "Expected an HTTP request"))
            return
        if self.pipeline:
            self._native = False
            if self._active is None and not self._queue:
                self.flow.resume_reading()
            self._queue.append(self.pipeline.pop())

    def _judge(self) -> None:
        parser = self.parser
        keep_alive = parser.should_keep_alive() and parser.get_http_version() == "1.1"
        head = self._endpoint.judge("POST", self.headers)
        refused = head if isinstance(head, Reply) else self._endpoint.enter(head)
        turn = _Turn(head if refused is None else refused, keep_alive, self.expect_100_continue)
        # What comes from here on are trailers; nobody reads those.
        headers, self.headers = self.headers, []
        if refused is None:
            self._turn = turn
            return
        length = next((value for name, value in headers if name == b"content-length"), b"0")
        # Without the 100 nobody knows whether the body will come (RFC 9110, section 10.1.1).
        if turn.expects or int(length) > self._shared.patience.max_dropped_bytes:
            turn.keep_alive = False
        self._deaf = not turn.keep_alive
        self._queue.append(turn)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        self._pieces += 1
        if self._deaf:
            return
        turn = self._turn
        if turn is not None:
            if self._size > self._endpoint.limits.max_message_bytes:
                self._endpoint.leave()
                self._turn = None
                turn.answer = self._endpoint.too_large()
                turn.body = b""
                turn.keep_alive = turn.keep_alive and self._size <= self._shared.patience.max_dropped_bytes
                self._deaf = not turn.keep_alive
                self._queue.append(turn)
            elif turn.body:
                if type(turn.body) is bytes:
                    turn.body = bytearray(turn.body)
                turn.body += body
            else:
                turn.body = body
        elif not self._native:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._untold:
            return
        self._part = BETWEEN
        turn, self._turn = self._turn, None
        if self._deaf:
            return
        if turn is not None:
            self._queue.append(turn)
            self._deaf = not turn.keep_alive
        elif not self._native:
            super().on_message_complete()

    def _break_off(self, reply: Reply) -> None:
        """Answer what is complete, then ``reply``, and close the connection."""
        self._deaf = True
        if self._turn is not None:
            self._turn = None
            self._endpoint.leave()
        elif self._part == BODY and not self._native and self._is_unanswered(self.cycle):
            # Its application waits for a body that will not come.
            if self.cycle is self._active:
                self._active = None
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            else:
                self._queue.pop()
        self._queue.append(_Turn(reply, False))

    def _is_unanswered(self, cycle: RequestResponseCycle) -> bool:
        if cycle is self._active:
            return not cycle.response_started
        return bool(self._queue) and type(self._queue[-1]) is tuple

    # -- turns

    def _proceed(self) -> None:
        """Answer what waits, as far as that goes."""
        queue = self._queue
        while queue and self._active is None and not self.flow.write_paused:
            turn = queue.popleft()
            if not isinstance(turn, _Turn):
                self._active = turn[0]
                turn[0].keep_alive = turn[0].keep_alive and not (self._finishing and not queue)
                self._start_asgi_task(*turn)
            elif isinstance(turn.answer, Reply):
                self._say(turn.answer, turn.keep_alive)
            else:
                self._work(turn.answer, turn.body, turn.keep_alive)
        if self.transport.is_closing():
            return
        waits = self._active is not None or self.flow.write_paused
        if queue:
            self._refuse_surplus()
            self.flow.pause_reading()
        elif not waits:
            self.flow.resume_reading()
            turn_ = self._turn
            if turn_ is not None and turn_.expects and not turn_.body:
                turn_.expects = False
                self.transport.write(CONTINUE)
        self._idle = not (waits or self._deaf or queue or self._part != BETWEEN)

    def _refuse_surplus(self) -> None:
        queue = self._queue
        most = self._shared.patience.max_pipelined
        if len(queue) <= most:
            return
        refused = refusal(429, f"Expected at most {most} requests to wait here", headers=(RETRY_AFTER,))
        for place in range(most, len(queue)):
            turn = queue[place]
            if not isinstance(turn, _Turn):  # which may be one whose answer has no body
                surplus = len(queue) - place
                self._drop_waiting(surplus)
                queue.append(_Turn(refused, False))
                self._deaf = True
                return
            if isinstance(turn.answer, Head):
                self._endpoint.leave()
                queue[place] = _Turn(refused, turn.keep_alive)

    def _work(self, head: Head, body: bytes | bytearray, keep_alive: bool) -> None:
        """Begin to work on a request, and answer it if that is done at once."""
        try:
            answer = self._app.begin(head, body)
        except Exception:  # the border to all that stands behind: this connection ends, and no other
            logger.exception("a request could not be begun")
            self._endpoint.leave()
            self._say(refusal(500, "Internal error"), False)
            return
        if isinstance(answer, Reply):
            self._endpoint.leave()
            self._say(answer, keep_alive)
            return
        self._idle = self._fresh = False
        self._active = answer
        self._keep_alive = keep_alive
        self._since = self._shared.sweep.now
        if answer.response.streams:
            self._follow(answer)
        else:
            answer.on_news = self._on_news

    def _on_news(self) -> None:
        """Answer the exchange that waits, if it has ended; follow it, if it streams."""
        exchange = self._active
        assert isinstance(exchange, Exchange)
        response = exchange.response
        if response.streams:
            self._follow(exchange)
        elif response.ended:
            exchange.on_news = None
            exchange.drop_callbacks()
            self._endpoint.leave()
            if response.answered:
                self._say(response.reply(), self._keep_alive and not (self._finishing and not self._queue))
            else:
                self._hang_up()
            self._done()

    def _follow(self, exchange: Exchange) -> None:
        """Hand the exchange to a cycle of uvicorn's."""
        exchange.on_news = None
        endpoint, follow = self._endpoint, self._app.follow

        async def followed(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await follow(exchange, receive, send)
            finally:
                endpoint.leave()

        cycle = RequestResponseCycle(
            scope=self._scope(),  # type: ignore[arg-type]  # what a cycle reads of it
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=self._keep_alive and not (self._finishing and not self._queue),
            on_response=self.on_response_complete,
        )
        cycle.more_body = False
        self._active = cycle
        self._start_asgi_task(cycle, followed)  # type: ignore[arg-type]  # the same, by other names

    def on_response_complete(self) -> None:
        """Go on after an answer of a cycle's."""
        self.server_state.total_requests += 1
        self._done()

    def _done(self) -> None:
        self._active = None
        self._since = self._shared.sweep.now
        if self.transport.is_closing():
            self._drop_waiting()
        elif self._queue:
            # Not here: this is some handler's context.
            self.loop.call_soon(self._go_on, context=self._shared.context)
        else:
            self._proceed()

    def _go_on(self) -> None:
        if not self.transport.is_closing():
            self._proceed()

    # -- bytes out

    def _say(self, reply: Reply, keep_alive: bool) -> None:
        state = self.server_state
        state.total_requests += 1
        self._fresh = False
        if self.access_log:
            self._log(reply.status)
        self._since = self._shared.sweep.now
        body = reply.body
        if self._finishing and not self._queue:
            keep_alive = False
        self.transport.write(self._shared.answers.encode(reply, keep_alive, state.default_headers))
        if len(body) > LARGE_BYTES:
            self.transport.write(body)
        if not keep_alive:
            self._hang_up()

    def _log(self, status: int) -> None:
        scope: Any = self._scope()
        self.access_logger.info(
            '%s - "%s %s HTTP/%s" %d',
            get_client_addr(scope),
            scope["method"],
            get_path_with_query_string(scope),
            scope["http_version"],
            status,
        )

    def _scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "method": "POST",
            "http_version": "1.1",
            "path": self._app.path,
            "query_string": b"",
            "client": self.client,
            "headers": [],
        }

    def _hang_up(self) -> None:
        """Close the connection after what was written; a client that is still sending gets a chance to read that."""
        self._deaf = True
        self._idle = False
        self._drop_waiting()
        if self._part == BETWEEN or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._since = self._shared.sweep.now
        self.transport.write_eof()
        self.flow.resume_reading()

    def _drop_waiting(self, count: int | None = None) -> None:
        """Forget the last requests, all of them or ``count`` of the complete ones: they will not be answered."""
        queue = self._queue
        turns = [queue.pop() for _ in range(len(queue) if count is None else count)]
        if self._turn is not None:
            turns.append(self._turn)
            self._turn = None
        for turn in turns:
            if isinstance(turn, _Turn) and isinstance(turn.answer, Head):
                self._endpoint.leave()

    # -- time

    def look(self, now: float) -> None:
        """Close the connection if it has been waited for too long."""
        patience = self._shared.patience
        age = now - self._since
        active = self._active
        if self.flow.write_paused or self.transport.is_closing():
            unsent = self.transport.get_write_buffer_size()
            if unsent != self._unsent:
                self._unsent = unsent
                self._since = now
            elif age > patience.stalled_s:
                self.transport.abort()
        elif active is not None:
            if isinstance(active, Exchange) and age > SOON_S:
                self._follow(active)
        elif self._deaf:
            if age > patience.linger_s:
                self.transport.close()
        elif self._part == HEAD:
            self._hasten(age, patience.head_s, "head")
        elif self._part == BODY:
            self._hasten(age, patience.body_s, "body")
        elif age > (patience.first_byte_s if self._fresh else patience.keep_alive_s):
            self.transport.close()

    def _hasten(self, age: float, most: float, part: str) -> None:
        if age <= most:
            return
        if self._part == BODY and self._turn is None:
            self._hang_up()  # it is answered already
        else:
            self._break_off(refusal(408, f"Expected the whole {part} within {most:g} s"))
            self._proceed()
