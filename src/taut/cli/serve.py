"""``taut serve``: run the server of a file or module on stdin and stdout."""

from __future__ import annotations

import sys

from taut.cli.loading import load_server
from taut.cli.parser import Options
from taut.cli.status import Status

__all__ = ["run"]


def run(options: Options) -> Status:
    """Serve until the client closes stdin, or a signal comes."""
    server = load_server(options.words[0])
    if sys.stdin.isatty():
        name = server.implementation.name
        print(
            f"taut: {name} speaks MCP on stdin and stdout; ^C ends it. A client: taut tools FILE",
            file=sys.stderr,
        )
    server.run()
    return Status.OK
