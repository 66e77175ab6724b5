"""Sockets that listen: at an address, at a path, or handed over by whoever started this process."""

from __future__ import annotations

import contextlib
import os
import socket
import stat

from taut.errors import ConfigError
from taut.transport.http.options import HttpOptions

__all__ = ["Listening", "adopt", "listen", "listen_unix", "open_listening"]


class Listening:
    """A socket that listens, and the file that it may have made."""

    def __init__(self, listening: socket.socket, path: str | None = None) -> None:
        listening.setblocking(False)
        self.socket = listening
        self._path = path
        self._made = None if path is None else _identity(path)

    def url(self, path: str, *, tls: bool = False) -> str:
        """Return the URL of ``path`` there; for a unix socket ``http://unix:/run/x.sock:/mcp``, as proxies spell it."""
        scheme = "https" if tls else "http"
        name = self.socket.getsockname()
        if self.socket.family == getattr(socket, "AF_UNIX", None):
            return f"{scheme}://unix:{os.fsdecode(name)}:{path}"
        host, port = name[:2]
        return f"{scheme}://[{host}]:{port}{path}" if ":" in host else f"{scheme}://{host}:{port}{path}"

    def close(self) -> None:
        """Close the socket, and remove its file if that is still ours."""
        self.socket.close()
        if self._path is not None and _identity(self._path) == self._made:
            with contextlib.suppress(OSError):  # somebody was faster
                os.unlink(self._path)


def open_listening(options: HttpOptions) -> Listening:
    """Listen where ``options`` say.

    :raises taut.errors.ConfigError: that is not possible.
    """
    if options.fd is not None:
        return Listening(adopt(options.fd))
    if options.uds is not None:
        made = listen_unix(options.uds, permissions=options.uds_permissions, backlog=options.backlog)
        return Listening(made, options.uds)
    return Listening(listen(options.host, options.port, backlog=options.backlog))


def listen(host: str, port: int, *, backlog: int = 2048) -> socket.socket:
    """Return a socket that listens at ``host``, a name or an address; port 0 lets the system choose one.

    :raises taut.errors.ConfigError: that is not possible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except (OSError, OverflowError, UnicodeError) as error:  # a name with a label that is too long
        raise ConfigError(f"Cannot listen at {host} port {port}: {error}") from error


def listen_unix(path: str, *, permissions: int = 0o600, backlog: int = 2048) -> socket.socket:
    """Return a socket that listens at ``path``. A socket file that nobody listens at any more is replaced.

    :raises taut.errors.ConfigError: somebody listens there, the path is another file's, or it cannot be used.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("uds: this platform has no unix sockets; expected host and port")
    _remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(path)
        # Nobody can connect before it listens, so the file is never open to more than it shall be.
        os.chmod(path, permissions)
        made.listen(backlog)
    except OSError as error:
        made.close()
        raise ConfigError(f"uds: cannot listen at {path}: {error}") from error
    return made


def _remove_stale(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return  # nothing is there, or binding will say what is wrong
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"uds: expected a socket or nothing at {path}, got another file")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):  # binding will say what is wrong
                os.unlink(path)
            return
        except OSError:  # its backlog is full: somebody listens, or it is not ours to try
            pass
    raise ConfigError(f"uds: a server listens at {path} already")


def adopt(fd: int) -> socket.socket:
    """Return the listening socket that this process was given as descriptor ``fd``.

    :raises taut.errors.ConfigError: it is none.
    """
    try:
        given = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(f"fd: expected a socket that listens as descriptor {fd}: {error}") from error
    listens = given.type == socket.SOCK_STREAM and bool(
        given.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    )
    if not listens:
        given.detach()
        raise ConfigError(
            f"fd: expected a socket that listens as descriptor {fd}, got one that does not listen"
        )
    given.set_inheritable(False)
    return given


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
