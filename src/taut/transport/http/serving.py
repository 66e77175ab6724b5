"""A process that serves an ASGI application over HTTP: uvicorn on uvloop and httptools."""

from __future__ import annotations

import socket

import uvicorn

from taut.errors import ConfigError
from taut.transport.http.asgi import AsgiApp
from taut.transport.http.protocol import NativeHttp
from taut.transport.loop import loop_factory

__all__ = ["listen", "serve", "url_of"]

BACKLOG = 2048
#: Seconds that requests get to be answered once a signal has come.
GRACE_S = 3
#: Seconds that a connection may be idle between two requests: longer than clients keep one for later.
KEEP_ALIVE_S = 75


class _Server(uvicorn.Server):
    """Ends what would hold up the end: streams that wait for changes."""

    def __init__(self, config: uvicorn.Config, app: AsgiApp) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.shut_down()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at ``host``, a name or an address; port 0 lets the system choose one.

    :raises taut.errors.ConfigError: that is not possible.
    """
    if not 0 <= port < 1 << 16:
        raise ConfigError(f"Expected a port from 0 to 65535 to listen at, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"Cannot listen at {host} port {port}: {error}") from error


def url_of(listening: socket.socket, path: str) -> str:
    """Return the URL of what listens there."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}"


def serve(app: AsgiApp, listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT comes, then let open requests end within `GRACE_S` seconds."""
    config = uvicorn.Config(
        app,
        loop="asyncio" if loop_factory() is None else "uvloop",
        http=NativeHttp(app),  # type: ignore[arg-type]  # called like the class that it stands for
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        # Whom to believe about addresses is for the one who puts a proxy in front to say.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    with listening:
        _Server(config, app).run(sockets=[listening])
