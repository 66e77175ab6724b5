"""The MCP endpoint inside uvicorn's HTTP protocol: no scope, no task, no queue between a request and its answer.

A POST to the endpoint is worked on when its body is there; an answer that is there when the handler returns leaves
with one write. One that comes soon is written when the handler says so. One that streams, or takes long, is handed to
uvicorn's own cycle, and every other request to the ASGI application, as if this were not here. What a request is,
`Reading` says.

Requests are answered in the order in which they came: a request that is complete is put into a queue, and the queue is
worked on when the parser is done with what was read, while nothing is being answered and the client takes what is
written. While something waits in it, nothing more is read.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import copy_context
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.protocols.utils import get_client_addr, get_path_with_query_string
from uvicorn.server import ServerState

from taut.mcp.http.head import Head
from taut.mcp.http.reply import Reply, refusal
from taut.transport.http.answers import CONTINUE, LARGE_BYTES, Answers
from taut.transport.http.asgi import AsgiApp, Receive, Scope, Send
from taut.transport.http.exchange import Exchange
from taut.transport.http.patience import DEFAULT_PATIENCE, Patience, Sweep
from taut.transport.http.reading import BETWEEN, BODY, HEAD, Reading, Shared, Turn

__all__ = ["NativeHttp", "NativeProtocol"]

logger = logging.getLogger("taut")

#: Seconds until an exchange that is not answered yet gets a task that follows it.
SOON_S = 1.0
#: Seconds in which a client that is just sending sees that the connection has ended.
CROSSING_S = 0.1

RETRY_AFTER = (b"retry-after", b"1")


class NativeHttp(Shared):
    """Makes the protocols of one server: what uvicorn wants as ``http``."""

    def __init__(
        self, app: AsgiApp, *, patience: Patience = DEFAULT_PATIENCE, sweep: Sweep | None = None
    ) -> None:
        super().__init__(app, patience, Sweep() if sweep is None else sweep)
        self.answers = Answers()
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


class NativeProtocol(Reading):
    """One connection."""

    _shared: NativeHttp

    def __init__(
        self,
        shared: NativeHttp,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(shared, config, server_state, app_state, _loop)
        #: Whether the connection stays after the exchange that is being answered.
        self._keep_alive = True
        #: Whether the server is about to end.
        self._finishing = False
        self._unsent = 0

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

    # -- turns

    def _proceed(self) -> None:
        """Answer what waits, as far as that goes."""
        queue = self._queue
        while queue and self._active is None and not self.flow.write_paused:
            turn = queue.popleft()
            if not isinstance(turn, Turn):
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
            if not isinstance(turn, Turn):  # which may be one whose answer has no body
                surplus = len(queue) - place
                self._drop_waiting(surplus)
                queue.append(Turn(refused, False))
                self._deaf = True
                return
            if isinstance(turn.answer, Head):
                self._endpoint.leave()
                queue[place] = Turn(refused, turn.keep_alive)

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
            if isinstance(turn, Turn) and isinstance(turn.answer, Head):
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
