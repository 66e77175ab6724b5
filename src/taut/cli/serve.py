"""``taut serve``: run the server of a file or module, on stdin and stdout or over HTTP."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from taut.cli.loading import load_server
from taut.cli.parser import Options
from taut.cli.status import Status
from taut.errors import ConfigError
from taut.transport.http.options import HttpOptions

__all__ = ["run"]

#: How some options of HTTP are called on the command line; all others have dashes for underscores.
_FLAGS = {
    "host": "http",
    "port": "http",
    "allowed_hosts": "allowed-host",
    "allowed_origins": "allowed-origin",
    "keep_alive_s": "keep-alive",
    "grace_s": "grace",
    "tls_password": "tls-password-file",
}


def run(options: Options) -> Status:
    """Serve until the client closes stdin, or a signal comes."""
    http = _http_options(options)
    server = load_server(options.words[0])
    name = server.implementation.name
    if http is not None:
        from taut.server.http import run_http

        run_http(
            server,
            http,
            lambda url: print(f"taut: {name} at {url}; ^C ends it", file=sys.stderr, flush=True),
        )
        return Status.OK
    if sys.stdin.isatty():
        print(
            f"taut: {name} speaks MCP on stdin and stdout; ^C ends it. A client: taut tools FILE",
            file=sys.stderr,
        )
    server.run()
    return Status.OK


def _http_options(options: Options) -> HttpOptions | None:
    """Return what the command line says about HTTP; None for a server on stdin and stdout.

    :raises taut.errors.ConfigError: it says what cannot be, or no place to listen at.
    """
    given: dict[str, Any] = {}
    for field in HttpOptions.__struct_fields__:
        value = getattr(options, field, None)
        if value is not None:
            given[field] = value
    if options.tls_password_file is not None:
        given["tls_password"] = _first_line(options.tls_password_file)
    if options.http is not None:
        given["host"], given["port"] = _address(options.http)
    elif given and "uds" not in given and "fd" not in given:
        raise ConfigError(
            f"Expected --http HOST:PORT, --uds PATH or --fd N beside {_flag(next(iter(given)))}"
        )
    if not given:
        return None
    try:
        return HttpOptions.of(given)
    except ConfigError as error:
        raise ConfigError(_in_flags(str(error))) from error


def _in_flags(text: str) -> str:
    """Call options as the command line does."""
    names = "|".join(name for name in HttpOptions.__struct_fields__ if "_" in name)
    text = re.sub(rf"\b({names})\b", lambda found: _flag(found[1]), text)
    name, colon, rest = text.partition(": ")
    return f"{_flag(name)}: {rest}" if colon and name in HttpOptions.__struct_fields__ else text


def _flag(name: str) -> str:
    return "--" + _FLAGS.get(name, name.replace("_", "-"))


def _address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[HOST]:PORT`` or ``PORT``."""
    host, colon, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and (colon or not host)):
        raise ConfigError(f"Expected --http HOST:PORT, got {text!r}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--tls-password-file: cannot read {path}: {error}") from error
