"""Which proxy stands between us and a server: what the environment says (HTTP_PROXY and its kin).

Credentials of a proxy travel in one header and appear in no message and no ``repr``. A server on this machine is
never reached through a proxy that was only found in the environment.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple

from taut.errors import ConfigError
from taut.transport.http.url import Url, parse_url

__all__ = ["Proxy", "parse_proxy", "proxy_from_environment"]


class Proxy(NamedTuple):
    """A proxy, and the value of the ``Proxy-Authorization`` header that it wants."""

    url: Url
    authorization: bytes | None

    def __repr__(self) -> str:
        return f"Proxy({self.url.origin})"

    def __str__(self) -> str:
        return self.url.origin


def parse_proxy(text: str, source: str = "proxy") -> Proxy:
    """Read the URL of a proxy; one without a scheme is taken for http.

    :raises taut.errors.ConfigError: it is no such URL; ``source`` says where it was found.
    """
    scheme, colons, rest = text.strip().partition("://")
    if not colons:
        scheme, rest = "http", text.strip()
    if scheme.lower() not in ("http", "https"):
        raise ConfigError(
            f"{source}: expected an http or https proxy, got one of scheme {scheme[:20]!r}: "
            "set another, or list the server in NO_PROXY"
        )
    authority, slash, path = rest.partition("/")
    userinfo, at, place = authority.rpartition("@")
    try:
        url = parse_url(f"{scheme}://{place}{slash}{path}")
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None
    if not at:
        return Proxy(url, None)
    user, _, password = userinfo.partition(":")
    plain = f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password)}".encode()
    return Proxy(url, b"Basic " + base64.b64encode(plain))


def proxy_from_environment(url: Url, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that ``environ`` names for ``url``; None to connect directly.

    Lower-case names come first. In a CGI program ``HTTP_PROXY`` is a header that the client chose (CVE-2016-5385),
    so it does not count where ``REQUEST_METHOD`` is set.

    :raises taut.errors.ConfigError: the proxy is one that we cannot use.
    """
    if url.loopback:
        return None
    for name in (f"{url.scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if variable == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
                continue
            value = environ.get(variable, "").strip()
            if value:
                excluded = environ.get("no_proxy") or environ.get("NO_PROXY", "")
                return None if bypasses(url, excluded) else parse_proxy(value, variable)
    return None


def bypasses(url: Url, excluded: str) -> bool:
    """Tell whether the list ``excluded`` (NO_PROXY) names the host of ``url``.

    An entry is ``*``, a name (which covers the names below it), an address or a network, each perhaps with a port.
    """
    return any(_names(entry, url) for entry in re.split(r"[\s,]+", excluded.lower()) if entry)


def _names(entry: str, url: Url) -> bool:
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(url.host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of the two is a name, or there is a port
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit():
        if int(port) != url.port:
            return False
        entry = host.strip("[]")
    if entry == url.host:
        return True
    name = entry.removeprefix("*").strip(".")
    own = url.host.rstrip(".")
    return bool(name) and (own == name or own.endswith("." + name))
