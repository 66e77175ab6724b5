"""``taut serve``: run the server of a file or module, on stdin and stdout or over HTTP."""

from __future__ import annotations

import sys

from taut.cli.loading import load_server
from taut.cli.parser import Options
from taut.cli.status import Status
from taut.errors import ConfigError

__all__ = ["run"]


def run(options: Options) -> Status:
    """Serve until the client closes stdin, or a signal comes."""
    server = load_server(options.words[0])
    if options.http is not None:
        from taut.server.http import run_http

        host, port = _address(options.http)
        name = server.implementation.name
        run_http(
            server,
            host,
            port,
            "/mcp",
            on_listening=lambda url: print(f"taut: {name} at {url}; ^C ends it", file=sys.stderr, flush=True),
        )
        return Status.OK
    if sys.stdin.isatty():
        name = server.implementation.name
        print(
            f"taut: {name} speaks MCP on stdin and stdout; ^C ends it. A client: taut tools FILE",
            file=sys.stderr,
        )
    server.run()
    return Status.OK


def _address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[HOST]:PORT`` or ``PORT``."""
    host, colon, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and (colon or not host)):
        raise ConfigError(f"Expected --http HOST:PORT, got {text!r}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)
