"""A server behind HTTP: its handlers, for exchanges instead of connections."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from taut import models
from taut.errors import ConfigError, MethodNotFound
from taut.mcp.http.auth import Auth
from taut.mcp.http.endpoint import Endpoint
from taut.mcp.http.guard import LOOPBACK, Guard
from taut.mcp.http.legacy import Legacy
from taut.mcp.http.reply import Response
from taut.mcp.http.sessions import Session, SessionOptions, Sessions
from taut.mcp.http.streams import SessionResponse
from taut.mcp.inbound import Request
from taut.mcp.peer import Notification
from taut.server.connection import ServerConnection
from taut.server.methods import METHODS
from taut.transport.base import Transport
from taut.transport.http.asgi import BODY_S, AsgiApp
from taut.transport.http.exchange import Exchange
from taut.transport.http.options import HttpOptions
from taut.transport.http.session import Host, SessionExchange

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["asgi_app", "run_http"]

#: Addresses that stand for all of a machine's: nobody's name.
WILDCARDS = ("", "0.0.0.0", "::")
#: Where the transport of 2024-11-05 is: its stream of events, and what messages are posted to.
SSE_PATH = "/sse"
POST_PATH = "/messages"


class ServerExchange(Exchange):
    """An exchange of the modern era, with the server's handlers behind it."""

    def __init__(self, server: Server, response: Response) -> None:
        # What `Exchange` and `Conversation` do: to call them costs more than what they do, for every request.
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self.limits = server.limits
        self.response = response
        self.server = server

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Hand the request to its method's handler."""
        # Not by way of `request.method`: this is the hot path, as is all of `begin`.
        return METHODS[request.envelope.method](self.server, request, self)  # type: ignore[index]

    def shut_down(self) -> None:
        """End a stream of changes with its result."""
        self.server.subscriptions.close_of(self)


class ServerSessionExchange(SessionExchange):
    """An exchange of the legacy era, with the server's handlers behind it."""

    def __init__(self, server: Server, response: SessionResponse, host: Host) -> None:
        SessionExchange.__init__(self, response, server.limits, host)
        self.server = server

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Hand the request to its method's handler."""
        handler = METHODS.get(request.method)
        if handler is None:  # of an extension that was declared
            raise MethodNotFound(f"Method not found: {request.method}")
        return handler(self.server, request, self)


def asgi_app(
    server: Server,
    path: str,
    guard: Guard,
    *,
    sessions: bool | SessionOptions = True,
    auth: Auth | None = None,
    websocket: bool = False,
    sse: bool = False,
    body_s: float = BODY_S,
) -> AsgiApp:
    """Return the application that serves ``server`` at ``path``."""

    endpoint = Endpoint(
        partial(getattr, server, "profile"), server.tools.get, guard=guard, limits=server.limits, auth=auth
    )
    host = _add_legacy(server, endpoint, sessions)

    def exchange(response: Response) -> Exchange:
        if isinstance(response, SessionResponse):
            return ServerSessionExchange(server, response, host)
        return ServerExchange(server, response)

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[None]:
        async with server.running():
            try:
                yield
            finally:
                await host.close()

    app = AsgiApp(endpoint, exchange, running, path=path, body_s=body_s)
    if websocket or sse:
        _add_standing(server, app, websocket=websocket, sse=sse)
    return app


class StandingConnection(ServerConnection):
    """A connection that stands, of one principal."""

    def __init__(self, server: Server, transport: Transport, principal: str) -> None:
        super().__init__(server, transport)
        self._principal = principal

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Hand the request to its method's handler, and say who asks."""
        request.principal = self._principal
        return super().on_request(request)


def _add_standing(server: Server, app: AsgiApp, *, websocket: bool, sse: bool) -> None:
    """Serve what else was asked for, beside the endpoint of ``app``."""
    # Imported here: most servers do without.
    from taut.transport.http.standing import Standing

    app.beside = standing = Standing(
        app, lambda transport, principal: StandingConnection(server, transport, principal)
    )
    if websocket:
        app.websocket = standing.websocket
    if sse:
        if app.path in (SSE_PATH, POST_PATH):
            raise ConfigError(f"Expected another path than {app.path}, which HTTP+SSE is served at")
        app.doors[SSE_PATH] = standing.events
        app.doors[POST_PATH] = standing.post


def _add_legacy(server: Server, endpoint: Endpoint, options: bool | SessionOptions) -> Host:
    """Serve the legacy era at ``endpoint``, if the server speaks any of its revisions."""
    sessions = Sessions(None if isinstance(options, bool) else options, limits=server.limits)
    host = Host(endpoint, sessions, server.subscriptions)

    def on_notification(session: Session, notification: Notification) -> None:
        changed = server.on_roots_changed
        if notification.method == "notifications/roots/list_changed" and changed is not None:
            voice = host.voice(session)
            voice.call_back(changed, voice)

    if not models.LEGACY.isdisjoint(server.revisions):
        endpoint.legacy = Legacy(
            lambda: server.profile,
            None if options is False else sessions,
            limits=server.limits,
            on_notification=on_notification,
        )
    return host


def run_http(
    server: Server, options: HttpOptions, on_listening: Callable[[str], object] | None = None
) -> None:
    """Serve until a signal comes; ``on_listening`` is told the URL once clients can connect."""
    # Imported here: an application under another ASGI server does without.
    from taut.transport.http.serving import serve

    if options.websocket and importlib.util.find_spec("websockets") is None:
        raise ConfigError("websocket: expected the package websockets, got none: install taut[ws]")
    allowed_hosts = options.allowed_hosts
    if allowed_hosts is None:
        own = f"[{options.host}]" if ":" in options.host else options.host
        allowed_hosts = LOOPBACK if options.host in WILDCARDS else (*LOOPBACK, own)
    if options.workers > 1:
        if server.tasks is not None and not server.tasks.store.shared:
            raise ConfigError(
                f"workers: tasks are kept in the memory of one process, so expected 1, got {options.workers};"
                " give Server(tasks=Tasks(...)) a store that processes share, such as SQLiteTaskStore"
            )
        # Made before they part, so that each opens what another sealed.
        server.state_sealer()
    app = asgi_app(
        server,
        options.path,
        Guard(allowed_hosts, options.allowed_origins),
        sessions=options.keeps_sessions,
        auth=options.auth,
        websocket=options.websocket,
        sse=options.sse,
        body_s=options.connection_patience.body_s,
    )
    serve(app, options, on_listening or (lambda url: None))
