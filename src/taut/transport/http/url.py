"""URLs of HTTP servers, read strictly: what is unclear is refused, never guessed (RFC 3986, RFC 9110 section 4.2)."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from typing import NamedTuple

from taut.errors import ConfigError

__all__ = ["Url", "parse_url"]

DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)(.*)", re.ASCII)
_NAME = re.compile(
    r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?", re.ASCII
)
_REFUSED = re.compile(r"[\x00-\x20\x7f\\]")
#: What may stand in a path and a query as it is; the rest is written in percent notation.
_TARGET = "/?:@!$&'()*+,;=-._~%[]"


class Url(NamedTuple):
    """A URL of a server: a lower-case ASCII name or an address without brackets, and the path with its query."""

    scheme: str
    host: str
    port: int
    target: bytes

    @property
    def authority(self) -> str:
        """The host, with the port if that is not the usual one: what the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The part that decides who is asked (RFC 6454)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def place(self) -> str:
        """The URL as an error may show it: without its query, which may hold a secret."""
        return self.origin + self.target.partition(b"?")[0].decode("ascii")

    @property
    def loopback(self) -> bool:
        """Whether the host is this machine."""
        if self.host in ("localhost", "localhost.") or self.host.endswith((".localhost", ".localhost.")):
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return self.origin + self.target.decode("ascii")

    def join(self, reference: str) -> Url:
        """Return the URL that ``reference`` means on a page at this one.

        :raises taut.errors.ConfigError: as `parse_url`.
        """
        return parse_url(urllib.parse.urljoin(str(self), reference))


def parse_url(text: str, schemes: tuple[str, ...] = ("http", "https")) -> Url:
    """Read an absolute URL; a fragment is left out.

    :raises taut.errors.ConfigError: it is no such URL, has another scheme, or carries a user or a password.
    """
    bad = _REFUSED.search(text)
    if bad is not None:
        raise ConfigError(
            f"Expected a URL without spaces, control characters and backslashes, "
            f"got {bad[0]!r} at character {bad.start()}"
        )
    parts = _PARTS.fullmatch(text.partition("#")[0])
    if parts is None or parts[1].lower() not in schemes:
        raise ConfigError(f"Expected a URL like {schemes[-1]}://example.com/mcp, got {_shown(text)}")
    scheme, authority = parts[1].lower(), parts[2]
    if "@" in authority:
        raise ConfigError(
            f"Expected a URL without a user or a password, got one for {_shown(authority.rpartition('@')[2])}: "
            "give credentials as an Authorization header"
        )
    host, port = split_authority(authority, DEFAULT_PORTS.get(scheme, 0))
    target = urllib.parse.quote(parts[3], safe=_TARGET) or "/"
    return Url(scheme, host, port, (target if target.startswith("/") else "/" + target).encode("ascii"))


def split_authority(authority: str, default_port: int) -> tuple[str, int]:
    """Return host and port of ``host``, ``host:port`` or ``[address]:port``.

    :raises taut.errors.ConfigError: the host is none, or the port is no number from 1 to 65535.
    """
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"Expected an address in brackets, got {_shown(authority)}")
        colon, digits = rest[:1], rest[1:]
        host = _address(host)
    else:
        name, colon, digits = authority.partition(":")
        host = _name(name)
    if not colon:
        return host, default_port
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 1 << 16):
        raise ConfigError(f"Expected a port from 1 to 65535, got {_shown(digits)!r} in {_shown(authority)}")
    return host, int(digits)


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text if "%" not in text else ""))
    except ValueError:
        raise ConfigError(f"Expected an IPv6 address in the brackets, got {_shown(text)}") from None


def _name(text: str) -> str:
    """A name in its ASCII form (IDNA), or an IPv4 address."""
    try:
        name = text.lower() if text.isascii() else text.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    if len(name) > 254 or not _NAME.fullmatch(name):
        raise ConfigError(f"Expected the name or address of a host, got {_shown(text)!r}")
    last = name.rstrip(".").rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):  # would be read as an address, in one of many ways
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ConfigError(f"Expected an IPv4 address like 127.0.0.1, got {_shown(text)}") from None
    return name


def _shown(text: str) -> str:
    """``text`` as an error may show it: not endless, and without what stands before an @."""
    return text.rpartition("@")[2][:100] or "nothing"
