"""Serving an ASGI application over HTTP, as the options say: where, with TLS or without, in one process or several."""

from __future__ import annotations

import signal
from collections.abc import Callable

from taut.transport.http.asgi import AsgiApp
from taut.transport.http.listening import open_listening
from taut.transport.http.options import HttpOptions
from taut.transport.http.server import HttpServer
from taut.transport.http.tls import server_context

__all__ = ["serve"]

Announce = Callable[[str], object]


def serve(app: AsgiApp, options: HttpOptions, on_listening: Announce = lambda url: None) -> None:
    """Serve until SIGTERM or SIGINT comes; ``on_listening`` is told the URL once clients can connect.

    :raises taut.errors.ConfigError: no listening there, no TLS with these files, no workers on this platform, or none
        of them became ready. What the lifespan raises is raised.
    """
    tls = server_context(options)
    listening = open_listening(options)
    url = listening.url(options.path, tls=tls is not None)
    try:
        if options.workers > 1:
            # Imported here: it needs what POSIX has.
            from taut.transport.http.workers import supervise

            number = supervise(app, options, listening.socket, lambda: on_listening(url))
        else:
            server = HttpServer(app, options, listening.socket, tls, on_ready=lambda: on_listening(url))
            number = server.serve_until_signal()
    finally:
        listening.close()
    if number:
        # As if nobody had caught it: whoever started us sees how we ended.
        signal.raise_signal(number)
