"""Who may reach the endpoint from where: ``Host`` and ``Origin``, on every address that a server binds.

A web page can make a browser send requests to a server on the same machine, under a name of its own that resolves to
127.0.0.1 (DNS rebinding, CVE-2025-66416). Such a request carries that name as its Host, and the page's as its Origin.
"""

from __future__ import annotations

from collections.abc import Iterable

from taut.errors import ConfigError

__all__ = ["LOOPBACK", "Guard"]

#: The names of this machine for itself; allowed when nothing else is said.
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
#: Accepted values that are remembered, so that a browser or client is looked at once.
MAX_REMEMBERED = 64
ANY = "*"


class Guard:
    """Decides by allowlists.

    ``hosts`` are names with a port (``example.com:8443``) or for any port (``example.com``); ``origins`` are origins
    (``https://app.example.com``) besides those whose host is allowed anyway. ``*`` allows everything.

    :raises taut.errors.ConfigError: an origin without a scheme, or a host with one.
    """

    def __init__(self, hosts: Iterable[str] = LOOPBACK, origins: Iterable[str] = ()) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._known: set[tuple[bytes, bytes | None]] = set()
        for host in self._hosts:
            if "/" in host or not host:
                raise ConfigError(
                    f"Expected an allowed host like example.com or example.com:443, got {host!r}"
                )
        for origin in self._origins - {ANY}:
            if "://" not in origin:
                raise ConfigError(f"Expected an allowed origin like https://example.com, got {origin!r}")

    def problem(self, host: bytes | None, origin: bytes | None) -> str | None:
        """Return why a request with these headers is refused; None when it is not."""
        if host is None:
            return "Expected a Host header, got none"
        if (host, origin) in self._known:
            return None
        name = host.decode("latin-1").lower()
        if ANY not in self._hosts and not self._allows_host(name):
            return f"Host not allowed: {name[:100]}"
        if origin is not None:
            shown = origin.decode("latin-1").lower()
            if not self._allows_origin(shown):
                return f"Origin not allowed: {shown[:100]}"
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known.add((host, origin))
        return None

    def _allows_host(self, host: str) -> bool:
        return host in self._hosts or _without_port(host) in self._hosts

    def _allows_origin(self, origin: str) -> bool:
        if ANY in self._origins or origin in self._origins:
            return True
        scheme, _, authority = origin.partition("://")
        return scheme in ("http", "https") and self._allows_host(authority)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host
