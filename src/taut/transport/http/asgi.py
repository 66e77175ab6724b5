"""The MCP endpoint as an ASGI application (ASGI 3, HTTP and lifespan).

An answer that is there when the handler returns is sent as one JSON body. Otherwise the exchange is followed: the first
notification, or `quiet_s` seconds of silence, begin a stream of events; then comments keep it alive. A client that
goes away withdraws its request; in the legacy era it may come back for the answer.

Contract with the server: ``exchange`` makes the `Exchange` of an accepted request, ``running`` is the context in which
requests are served. It is entered at ``lifespan.startup`` or, where nobody sends that (a mounted application), with
the first request, and then left when the event loop ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from taut.mcp.http.endpoint import Endpoint
from taut.mcp.http.head import Head
from taut.mcp.http.reply import STREAM_HEADERS, Reply, Response, refusal
from taut.transport.http.body import Disconnected, Message, Receive, read_body
from taut.transport.http.exchange import Exchange
from taut.transport.http.session import Listening

__all__ = ["BODY_S", "AsgiApp", "Receive", "Scope", "Send"]

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
#: Serves one connection scope.
Door = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Seconds without news until a stream begins, and between two comments that keep it alive.
QUIET_S = 15.0
#: Seconds that a client gets for the body of a request.
BODY_S = 30.0


class Beside(Protocol):
    """What an application serves besides its endpoint."""

    def shut_down(self) -> None:
        """End what has begun, gracefully."""

    def give_up(self) -> None:
        """End it as it is."""


class AsgiApp:
    """One MCP endpoint at ``path``; every other path that has no door is not found."""

    def __init__(
        self,
        endpoint: Endpoint,
        exchange: Callable[[Response], Exchange],
        running: Callable[[], contextlib.AbstractAsyncContextManager[object]],
        *,
        path: str = "/mcp",
        quiet_s: float = QUIET_S,
        body_s: float = BODY_S,
    ) -> None:
        self.endpoint = endpoint
        self.path = path.rstrip("/")
        self._exchange = exchange
        self._running = running
        self._quiet_s = quiet_s
        self._body_s = body_s
        self._followed: set[Exchange | Listening] = set()
        self._lives: dict[asyncio.AbstractEventLoop, _Life] = {}
        #: Those in which ``running`` is entered, so that requests can be begun there.
        self.loops: set[asyncio.AbstractEventLoop] = set()
        #: Other paths, and who serves them.
        self.doors: dict[str, Door] = {}
        #: Who serves WebSockets, at the endpoint's path.
        self.websocket: Door | None = None
        self.beside: Beside | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope; see the ASGI specification."""
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return
        path: str = scope["path"]
        if path != self.path or scope.get("root_path"):
            path = _own_path(scope)
            if path.rstrip("/") != self.path:
                if path in self.doors:
                    await self.doors[path](scope, receive, send)
                    return
                await _send_reply(send, refusal(404, f"Expected {self.path or '/'}, got {path[:100]}"))
                return
        endpoint = self.endpoint
        head = endpoint.admit(scope["method"], scope["headers"])
        if isinstance(head, Reply):
            await _send_reply(send, head)
            return
        try:
            if endpoint.auth is not None:
                refused = endpoint.authenticate(head, time.time())
                if inspect.isawaitable(refused):
                    refused = await refused
                if refused is not None:
                    await _send_reply(send, refused)
                    return
            if asyncio.get_running_loop() not in self.loops:
                await self.start()
            answer: Reply | Exchange | Listening
            if head.method == "POST":
                body = await read_body(receive, endpoint, self._body_s)
                answer = body if isinstance(body, Reply) else self.begin(head, body)
            else:
                reader = endpoint.listen(head)
                answer = reader if isinstance(reader, Reply) else Listening(reader)
            if isinstance(answer, Reply):
                await _send_reply(send, answer)
            else:
                await self.follow(answer, receive, send)
        except Disconnected:
            return
        finally:
            endpoint.leave()

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "lifespan":
            await self._lifespan(receive, send)
        elif kind == "websocket" and self.websocket is not None and _own_path(scope).rstrip("/") == self.path:
            await self.websocket(scope, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    def shut_down(self) -> None:
        """End the streams that only wait for changes, so that nothing holds up a server that stops."""
        for exchange in list(self._followed):
            exchange.shut_down()
        if self.beside is not None:
            self.beside.shut_down()

    def give_up(self) -> None:
        """Cancel the handlers of what is being followed; their callers are told."""
        for exchange in list(self._followed):
            exchange.cancel_handlers()
        if self.beside is not None:
            self.beside.give_up()

    # -- one request

    def begin(self, head: Head, body: bytes | bytearray) -> Reply | Exchange:
        """Work on an admitted POST as far as that goes without waiting.

        Returns its whole answer or, where more is to come, the exchange to `follow`.
        """
        answer = self.endpoint.receive(head, body)
        if isinstance(answer, Reply):
            return answer
        exchange = self._exchange(answer)
        exchange.begin()
        return answer.whole() or exchange

    async def ensure_running(self) -> None:
        """Enter ``running`` in this loop, unless it is entered."""
        if asyncio.get_running_loop() not in self.loops:
            await self.start()

    async def read(self, receive: Receive) -> bytes | bytearray | Reply | None:
        """Read a body within its limits; return the refusal of one past them, None where the client went away."""
        try:
            return await read_body(receive, self.endpoint, self._body_s)
        except Disconnected:
            return None

    async def follow(self, exchange: Exchange | Listening, receive: Receive, send: Send) -> None:
        """Send what ``exchange`` says until it has ended; a client that goes away withdraws its request."""
        watch = asyncio.get_running_loop().create_task(_watch(receive, exchange))
        self._followed.add(exchange)
        try:
            await self._send_all(exchange, send)
        except OSError:  # how servers tell of a client that is gone while something is sent
            return
        finally:
            self._followed.discard(exchange)
            watch.cancel()
            await exchange.wait_closed()

    async def _send_all(self, exchange: Exchange | Listening, send: Send) -> None:
        response = exchange.response
        started = False
        while True:
            await exchange.news(self._quiet_s)
            ended = response.ended
            if not started:
                if ended and not response.streams:
                    if response.answered:
                        await _send_reply(send, response.reply())
                    return
                started = True
                await send({"type": "http.response.start", "status": 200, "headers": list(STREAM_HEADERS)})
            await send({"type": "http.response.body", "body": response.events(), "more_body": not ended})
            if ended:
                return
            if not response.unsent_bytes:
                exchange.taken()

    # -- the lifespan

    async def start(self) -> None:
        """Be running in this loop, until `end` or for as long as the loop runs. Raises what the lifespan raises."""
        loop = asyncio.get_running_loop()
        life = self._lives.get(loop)
        if life is None:
            # A loop that has ended has taken its life with it.
            self._lives = {other: life for other, life in self._lives.items() if not other.is_closed()}
            self.loops.intersection_update(self._lives)
            life = self._lives[loop] = _Life(self._running)
        try:
            await asyncio.shield(life.started)
        except Exception:
            self._lives.pop(loop, None)  # the next request tries again
            raise
        if self._lives.get(loop) is life:
            self.loops.add(loop)

    async def end(self) -> None:
        """Stop running in this loop. Raises what the lifespan raises."""
        loop = asyncio.get_running_loop()
        self.loops.discard(loop)
        await self._lives.pop(loop).end()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:  # the border to the user's lifespan
            await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await self.end()
        except Exception as error:  # the same
            await send({"type": "lifespan.shutdown.failed", "message": f"{type(error).__name__}: {error}"})
            return
        await send({"type": "lifespan.shutdown.complete"})


class _Life:
    """Keeps a context entered, in a task of its own: it is left by the task that entered it."""

    def __init__(self, running: Callable[[], contextlib.AbstractAsyncContextManager[object]]) -> None:
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        self._stop = asyncio.Event()
        self._task = loop.create_task(self._live(running))

    async def _live(self, running: Callable[[], contextlib.AbstractAsyncContextManager[object]]) -> None:
        try:
            async with running():
                self.started.set_result(None)
                await self._stop.wait()
        except Exception as error:
            if self.started.done():
                raise
            self.started.set_exception(error)  # told to whoever waits

    async def end(self) -> None:
        self._stop.set()
        await self._task


def _own_path(scope: Scope) -> str:
    """Return the path below the place where the application is mounted.

    Most servers and frameworks say ``root_path`` for all that stands before it. Where a proxy has taken the first part
    of that off the path, Starlette keeps that part in ``app_root_path``. Litestar takes its own prefix off.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not path.startswith(root):
        root = root.removeprefix(scope.get("app_root_path", ""))
    return path.removeprefix(root)


async def _watch(receive: Receive, exchange: Exchange | Listening) -> None:
    """Tell the exchange when its client goes away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.abandon("the client closed the response stream")


async def _send_reply(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.fields()})
    await send({"type": "http.response.body", "body": reply.body})
