"""One process that serves an ASGI application over HTTP: uvicorn's connections on uvloop and httptools.

What uvicorn leaves open is here: who gets a connection where several processes accept, a limit of connections, and an
end that loses nothing. Once a signal has come, what waits to be accepted still is, requests on their way are answered
with ``Connection: close``, streams that only wait for changes get their result, and open requests have ``grace_s``
seconds. What is left then is cancelled, and told so. A connection with nothing on it is half closed first: a request
that crosses that end sees it, and was never begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Generator, Iterable
from types import FrameType

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from taut.transport.http.accepting import Acceptor, Board
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.options import HttpOptions
from taut.transport.http.protocol import NativeHttp, NativeProtocol
from taut.transport.http.refusing import Refusal
from taut.transport.loop import loop_factory

__all__ = ["END_S", "HttpServer"]

#: Seconds in which requests that are on their way arrive.
ARRIVAL_S = 0.1
#: Seconds that cancelled requests get to be answered, and again to end.
CANCELLED_S = 0.5
#: Seconds past all graces until a process that is not over is ended without asking: a handler blocks it.
MARGIN_S = 1.0
STEP_S = 0.02
#: Seconds that the end may take besides the grace.
END_S = ARRIVAL_S + 2 * CANCELLED_S + MARGIN_S
#: Descriptors that are kept for other things than connections.
RESERVED_FDS = 64


class HttpServer(uvicorn.Server):
    """Serves ``app`` on one listening socket in one process.

    :param on_ready: called once clients can connect.
    :param board: where several processes that accept on the socket tell each other what they have, and the ``place``
        of this one.
    :param stop_signals: those that end it.
    """

    def __init__(
        self,
        app: AsgiApp,
        options: HttpOptions,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        *,
        on_ready: Callable[[], object],
        board: Board | None = None,
        place: int = 0,
        stop_signals: Iterable[int] = HANDLED_SIGNALS,
    ) -> None:
        self._native = NativeHttp(app, patience=options.connection_patience)
        super().__init__(_config(app, self._native, options))
        self._app = app
        self._listening = listening
        self._tls = tls
        self._grace_s = options.grace_s
        self._max_connections = max(1, min(options.max_connections, _descriptors() - RESERVED_FDS))
        self._on_ready = on_ready
        self._board = board
        self._place = place
        self._stop_signals = tuple(stop_signals)
        self._acceptor: Acceptor | None = None
        self._refusals: set[Refusal] = set()
        self._signal = 0
        self._timer: threading.Timer | None = None

    def serve_until_signal(self) -> int:
        """Serve in a new event loop of this thread; return the signal that ended it."""
        factory = asyncio.SelectorEventLoop if sys.platform == "win32" else loop_factory()
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(self.serve())
        finally:
            self._disarm()
        return self._signal

    # -- signals

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """End gracefully when a signal comes; what they did before is what they do after."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self.handle_exit) for number in self._stop_signals}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the end; a second SIGINT gives open requests no more time."""
        self.force_exit = self.force_exit or (self.should_exit and sig == signal.SIGINT)
        self.stop(sig)

    def stop(self, number: int) -> None:
        """Begin the end, as if the signal ``number`` had come."""
        self._signal = self._signal or number
        self.should_exit = True
        if self._timer is None:
            self._timer = threading.Timer(self._grace_s + END_S, os._exit, (128 + self._signal,))
            self._timer.daemon = True
            self._timer.start()

    def _disarm(self) -> None:
        """Stop the clock, unless threads that still run could hold the process for ever."""
        others = (one for one in threading.enumerate() if one is not threading.current_thread())
        if self._timer is not None and all(one.daemon for one in others):
            self._timer.cancel()

    # -- from the start to the end, as uvicorn calls it

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Enter the lifespan and begin to accept. What the lifespan raises is raised."""
        await self._app.start()
        self._acceptor = Acceptor(
            self._listening,
            self._protocol,
            lambda: len(self.server_state.connections),
            tls=self._tls,
            board=self._board,
            place=self._place,
        )
        self.started = True
        self._on_ready()

    def _protocol(self) -> asyncio.Protocol:
        """Return the protocol of the next connection."""
        if len(self.server_state.connections) < self._max_connections:
            made = self._native(self.config, self.server_state, {})
            if self.should_exit:
                made.finish()
            return made
        refusal = Refusal(self._refusals.discard)
        self._refusals.add(refusal)
        return refusal

    async def on_tick(self, counter: int) -> bool:
        """Do what is due ten times a second; return whether to end."""
        if self._acceptor is not None:
            self._acceptor.report()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End as the module says, then leave the lifespan."""
        assert self._acceptor is not None
        self._acceptor.close()
        connections = self.server_state.connections
        for connection in list(connections):
            if isinstance(connection, NativeProtocol):
                connection.finish()
        self._app.shut_down()
        await self._until_over(min(ARRIVAL_S, self._grace_s))
        for connection in list(connections):
            connection.shutdown()
        self._app.shut_down()  # streams that have begun since
        await self._until_over(self._grace_s)
        if not self._over:
            self._app.give_up()
            await self._until_over(CANCELLED_S)
        await self._cut()
        await self._app.end()

    @property
    def _over(self) -> bool:
        """Whether nobody is connected and nothing is being worked on."""
        state = self.server_state
        opening = self._acceptor is not None and self._acceptor.opening
        return not (state.connections or state.tasks or opening)

    async def _until_over(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (self._over or self.force_exit) and loop.time() < deadline:  # noqa: ASYNC110  # sets tell nobody
            await asyncio.sleep(STEP_S)

    async def _cut(self) -> None:
        """Close and cancel what is left."""
        assert self._acceptor is not None
        for connection in [*self.server_state.connections, *self._refusals]:
            if connection.transport is not None:
                connection.transport.abort()
        left = {*self.server_state.tasks, *self._acceptor.opening}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CANCELLED_S)


def _config(app: AsgiApp, native: NativeHttp, options: HttpOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=native,  # type: ignore[arg-type]  # called like the class that it stands for
        # Without it a request for a WebSocket is one like any other.
        ws="none" if app.websocket is None else "websockets-sansio",
        ws_max_size=app.endpoint.limits.max_message_bytes,
        ws_per_message_deflate=False,
        lifespan="off",  # entered and left without a protocol between, so that its errors stay what they are
        workers=1,
        log_level="warning",
        access_log=False,
        server_header=False,
        # Whom to believe about addresses is for the one who puts a proxy in front to say.
        proxy_headers=bool(options.forwarded_allow_ips),
        forwarded_allow_ips=list(options.forwarded_allow_ips),
        root_path=options.root_path,
    )


def _descriptors() -> int:
    """Return how many descriptors this process may have."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return 1 << 30
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft
