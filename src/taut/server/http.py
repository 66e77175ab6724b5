"""A server behind HTTP: its handlers, for exchanges instead of connections."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from taut.mcp.http.endpoint import Endpoint
from taut.mcp.http.guard import LOOPBACK, Guard
from taut.mcp.http.reply import Response
from taut.mcp.http.values import ParamHeaders
from taut.mcp.inbound import Request
from taut.server.methods import METHODS
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.exchange import Exchange
from taut.transport.http.options import HttpOptions

if TYPE_CHECKING:
    from taut.server.server import Server

__all__ = ["asgi_app", "run_http"]

#: Addresses that stand for all of a machine's: nobody's name.
WILDCARDS = ("", "0.0.0.0", "::")


class ServerExchange(Exchange):
    """An exchange with the server's handlers behind it."""

    def __init__(self, server: Server, response: Response) -> None:
        super().__init__(response, server.limits)
        self.server = server

    def on_request(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Hand the request to its method's handler."""
        return METHODS[request.method](self.server, request, self)

    def shut_down(self) -> None:
        """End a stream of changes with its result."""
        self.server.subscriptions.close_of(self)


def asgi_app(server: Server, path: str, guard: Guard) -> AsgiApp:
    """Return the application that serves ``server`` at ``path``."""

    def param_headers(name: str) -> ParamHeaders | None:
        tool = server.tools.get(name)
        return None if tool is None else tool.param_headers

    endpoint = Endpoint(lambda: server.profile, param_headers, guard=guard, limits=server.limits)
    return AsgiApp(endpoint, lambda response: ServerExchange(server, response), server.running, path=path)


def run_http(
    server: Server, options: HttpOptions, on_listening: Callable[[str], object] | None = None
) -> None:
    """Serve until a signal comes; ``on_listening`` is told the URL once clients can connect."""
    # Imported here: an application under another ASGI server does without.
    from taut.transport.http.serving import serve

    allowed_hosts = options.allowed_hosts
    if allowed_hosts is None:
        own = f"[{options.host}]" if ":" in options.host else options.host
        allowed_hosts = LOOPBACK if options.host in WILDCARDS else (*LOOPBACK, own)
    if options.workers > 1:
        # Made before they part, so that each opens what another sealed.
        server.state_sealer()
    app = asgi_app(server, options.path, Guard(allowed_hosts, options.allowed_origins))
    serve(app, options, on_listening or (lambda url: None))
