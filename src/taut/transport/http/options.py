"""What may be said about serving over HTTP: one struct, checked as a whole before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from taut.errors import ConfigError
from taut.mcp.http.auth import Auth
from taut.mcp.http.sessions import SessionOptions
from taut.transport.http.patience import Patience

__all__ = ["HttpOptions"]

#: Options that hold paths of files.
_PATHS = ("uds", "tls_cert", "tls_key", "tls_client_ca")
#: Options that are lists of words.
_LISTS = ("allowed_hosts", "allowed_origins", "forwarded_allow_ips")


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keywords of ``Server.run("http", ...)``. Make one with `of`, which checks them.

    Where to listen: at ``host`` and ``port`` (0 lets the system choose one), at the unix socket ``uds``, or with the
    socket ``fd`` that listens already (systemd socket activation hands over 3).
    """

    host: str = "127.0.0.1"
    port: int = 8000
    #: Path of a unix socket; what an earlier process left there is replaced.
    uds: str | None = None
    #: Who may connect to it, as bits of a file mode.
    uds_permissions: int = 0o600
    fd: int | None = None

    #: Path of the endpoint.
    path: str = "/mcp"
    #: What a proxy in front has taken off the path.
    root_path: str = ""
    #: Names that clients may reach it by; None for those of this machine for itself, and ``host``.
    allowed_hosts: tuple[str, ...] | None = None
    #: Web pages that may, besides those on allowed hosts.
    allowed_origins: tuple[str, ...] = ()
    #: Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; ``*`` for anyone's.
    forwarded_allow_ips: tuple[str, ...] = ()
    #: Whether legacy clients get sessions, or how they are kept (`taut.SessionOptions`); None: unless several workers
    #: would not share them.
    sessions: Any = None
    #: Who finds out who asks (`taut.mcp.http.auth.Auth`); None: nobody does.
    auth: Any = None
    #: Whether WebSockets are served, at ``path``; needs the extra ``taut[ws]``.
    websocket: bool = False
    #: Whether the HTTP+SSE transport of 2024-11-05 is served too, at ``/sse`` and ``/messages``.
    sse: bool = False

    #: Processes that accept connections.
    workers: int = 1

    #: File with the certificate, and those that vouch for it; makes the server speak TLS.
    tls_cert: str | None = None
    #: File with its key, where that is not in the same file.
    tls_key: str | None = None
    tls_password: str | None = None
    #: File with the authorities that must have signed a client's certificate; clients then need one.
    tls_client_ca: str | None = None

    #: Connections that may wait to be accepted.
    backlog: int = 2048
    #: Open connections of one worker, past which new ones are refused with status 503.
    max_connections: int = 10_000
    #: Seconds that a connection may be idle between two requests: longer than clients keep one for later.
    keep_alive_s: float = 75.0
    #: What else a connection may take (`taut.Patience`), and that; None: the usual.
    patience: Any = None
    #: Seconds that open requests get to be answered once a signal has come.
    grace_s: float = 3.0

    @property
    def keeps_sessions(self) -> bool | SessionOptions:
        """Whether legacy clients get sessions, and how."""
        sessions: bool | SessionOptions | None = self.sessions
        return self.workers == 1 if sessions is None else sessions

    @property
    def connection_patience(self) -> Patience:
        """What a connection may take."""
        given: Patience | None = self.patience
        return Patience(keep_alive_s=self.keep_alive_s) if given is None else given

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> HttpOptions:
        """Return the options given by name.

        :raises taut.errors.ConfigError: one is unknown, of the wrong type or value, or two contradict each other.
        """
        given = dict(options)
        for name in given:
            if name not in cls.__struct_fields__:
                raise ConfigError(
                    f"Expected an option for HTTP ({', '.join(cls.__struct_fields__)}), got {name!r}"
                )
        for name in _PATHS:
            if isinstance(given.get(name), os.PathLike):
                given[name] = os.fspath(given[name])
        for name in _LISTS:
            value = given.get(name)
            if isinstance(value, str):
                raise ConfigError(f"{name}: expected a list of texts, got the text {value!r}")
            if isinstance(value, Iterable):
                given[name] = list(value)
        try:
            made = msgspec.convert(given, cls)
        except msgspec.ValidationError as error:
            problem, _, at = str(error).partition(" - at `$.")
            raise ConfigError(f"{at.rstrip('`')}: {problem[0].lower()}{problem[1:]}") from None
        made._check(given)
        return made

    def _check(self, given: Mapping[str, Any]) -> None:
        places = [name for name in ("uds", "fd") if given.get(name) is not None]
        places += ["host and port"] if "host" in given or "port" in given else []
        if len(places) > 1:
            raise ConfigError(f"Expected one place to listen at, got {' and '.join(places)}")
        if not 0 <= self.port < 1 << 16:
            raise ConfigError(f"port: expected 0 to 65535, got {self.port}")
        if self.path and not self.path.startswith("/"):
            raise ConfigError(f"path: expected one that begins with /, got {self.path!r}")
        if self.root_path and (not self.root_path.startswith("/") or self.root_path.endswith("/")):
            raise ConfigError(
                f"root_path: expected one that begins with / and does not end with it, got {self.root_path!r}"
            )
        for name in ("workers", "backlog", "max_connections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 1 or more, got {getattr(self, name)}")
        for name in ("keep_alive_s", "grace_s"):
            if not 0 < getattr(self, name) <= 86_400:
                raise ConfigError(
                    f"{name}: expected seconds, at most those of a day, got {getattr(self, name):g}"
                )
        if not 0 <= self.uds_permissions <= 0o777:
            raise ConfigError(f"uds_permissions: expected 0 to 0o777, got {self.uds_permissions:#o}")
        if self.tls_cert is None:
            for name in ("tls_key", "tls_password", "tls_client_ca"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{name}: expected tls_cert beside it, got none")
        if not isinstance(self.sessions, bool | SessionOptions | None):
            raise ConfigError(
                f"sessions: expected a bool or SessionOptions, got {type(self.sessions).__name__}"
            )
        if not isinstance(self.patience, Patience | None):
            raise ConfigError(f"patience: expected a Patience, got {type(self.patience).__name__}")
        if self.patience is not None and "keep_alive_s" in given:
            raise ConfigError("keep_alive_s: expected it in patience, which is given, too")
        if not isinstance(self.auth, Auth | None):
            raise ConfigError(f"auth: expected an Auth, got {type(self.auth).__name__}")
        if self.sse and self.workers > 1:
            raise ConfigError(
                f"sse: a session lives in one process, so expected workers=1 for it, got {self.workers}"
            )
        if self.sessions and self.workers > 1:
            raise ConfigError(
                f"sessions: a session lives in one process, so expected workers=1 for it, got {self.workers}"
            )
