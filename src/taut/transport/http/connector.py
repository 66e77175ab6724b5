"""Opens connections to one origin: names, addresses raced (RFC 8305), TLS, proxies, unix sockets.

Whatever goes wrong on the way is a `ConnectError` of some kind that names the host: nothing has been sent.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Coroutine
from itertools import chain, zip_longest
from typing import Any, TypeVar, cast

from taut.errors import ConfigError, ConnectError, ConnectTimeout, HostNotFound, ProxyError, TlsError
from taut.transport.http.proxy import Proxy
from taut.transport.http.url import Url

__all__ = ["Connector"]

#: Seconds that one address gets before the next is tried beside it.
STAGGER_S = 0.25
#: Bytes of a proxy's answer to CONNECT.
MAX_TUNNEL_BYTES = 16 * 1024

P = TypeVar("P", bound=asyncio.Protocol)


class Connector:
    """Knows the way to ``url``.

    ``tls`` is a context, or the path of a file with the certificates to trust; None trusts what the system trusts.
    """

    def __init__(
        self,
        url: Url,
        *,
        proxy: Proxy | None,
        uds: str | None,
        tls: ssl.SSLContext | str | None,
        server_name: str | None,
        timeout_s: float,
    ) -> None:
        self.url = url
        self.proxy = proxy
        self._uds = uds
        self._tls = tls
        self._server_name = server_name or url.host
        self._timeout_s = timeout_s
        self._context: asyncio.Task[ssl.SSLContext] | None = None

    @property
    def peer(self) -> str:
        """Who is at the other end, for messages."""
        if self._uds is not None:
            return f"{self.url.origin} at {self._uds}"
        return self.url.origin if self.proxy is None else f"{self.url.origin} through the proxy {self.proxy}"

    async def connect(self, protocol: P) -> P:
        """Return ``protocol``, connected.

        :raises taut.errors.ConnectError: that was not possible; a subclass says at which step.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connect(protocol)
        except TimeoutError:
            raise ConnectTimeout(
                f"{self.peer}: expected a connection within {self._timeout_s:g} s, got none: "
                "is the host up, and no firewall in between?"
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise TlsError(
                f"{self.peer}: expected a certificate that is trusted, got one refused with "
                f"'{error.verify_message}': give the authority's file as tls=, or correct the name"
            ) from error
        except ssl.SSLError as error:
            reason = (error.reason or str(error)).lower().replace("_", " ")
            raise TlsError(
                f"{self.peer}: expected TLS, got '{reason}': is the scheme https right there?"
            ) from error
        except OSError as error:
            raise ConnectError(
                f"{self.peer}: cannot connect ({error.strerror or error}): is the server running there?"
            ) from error
        return protocol

    async def _connect(self, protocol: asyncio.Protocol) -> None:
        loop = asyncio.get_running_loop()
        secure = self.url.scheme == "https"
        if self._uds is not None:
            context = await self._tls_context() if secure else None
            name = self._server_name if secure else None
            await loop.create_unix_connection(lambda: protocol, self._uds, ssl=context, server_hostname=name)
        elif self.proxy is None:
            await self._open(self.url, secure, self._server_name, protocol)
        elif not secure:
            await self._open(self.proxy.url, self.proxy.url.scheme == "https", self.proxy.url.host, protocol)
        else:
            await self._tunnel(self.proxy, protocol)

    async def _open(self, url: Url, secure: bool, server_name: str, protocol: asyncio.Protocol) -> None:
        loop = asyncio.get_running_loop()
        context = await self._tls_context() if secure else None
        sock = await connect_socket(url.host, url.port)
        try:
            await loop.create_connection(
                lambda: protocol, sock=sock, ssl=context, server_hostname=server_name if secure else None
            )
        except BaseException:
            sock.close()
            raise

    async def _tunnel(self, proxy: Proxy, protocol: asyncio.Protocol) -> None:
        """Have the proxy join us with the server, then speak TLS with the server."""
        loop = asyncio.get_running_loop()
        context = await self._tls_context()
        tunnel = _Tunnel(self.url, proxy)
        await self._open(proxy.url, proxy.url.scheme == "https", proxy.url.host, tunnel)
        try:
            await tunnel.opened
            transport = await loop.start_tls(
                tunnel.transport, protocol, context, server_hostname=self._server_name
            )
            if transport is None:
                raise ConnectionResetError("the connection ended within the TLS handshake")
        except BaseException:
            tunnel.transport.abort()
            raise
        protocol.connection_made(transport)

    # -- TLS

    async def _tls_context(self) -> ssl.SSLContext:
        """The context, made once, beside the loop: to read all authorities takes some 30 ms."""
        if isinstance(self._tls, ssl.SSLContext):
            return self._tls
        if self._context is None:
            self._context = asyncio.get_running_loop().create_task(asyncio.to_thread(make_context, self._tls))
        return await asyncio.shield(self._context)

    async def close(self) -> None:
        """Wait until nothing is being made."""
        if self._context is not None:
            await asyncio.wait([self._context])


def make_context(authorities: str | None) -> ssl.SSLContext:
    """Return a context that verifies, and trusts what is in the file ``authorities`` or, with None, the system.

    :raises taut.errors.ConfigError: there are no certificates in that file.
    """
    try:
        context = ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise ConfigError(f"tls: expected a file with certificates at {authorities}, got: {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


# -- addresses


async def connect_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to ``host``, over the address that answers first.

    Addresses are tried in the resolver's order, the families in turns; one that is silent for `STAGGER_S` seconds
    gets company.

    :raises taut.errors.HostNotFound: the name has no address.
    :raises OSError: no address answers; the error is the first one's.
    """
    try:
        found = await resolve(host, port)
    except socket.gaierror as error:
        raise HostNotFound(
            f"{host}: expected a name with an address, got '{error.strerror}': is it spelled right?"
        ) from error
    if len(found) == 1:
        return await _connect_to(found[0][0], found[0][4])
    first = found[0][0]
    same = [info for info in found if info[0] == first]
    other = [info for info in found if info[0] != first]
    ordered = [info for info in chain(*zip_longest(same, other)) if info is not None]
    return await first_of([_connect_to(family, address) for family, _, _, _, address in ordered], STAGGER_S)


async def resolve(host: str, port: int) -> list[tuple[Any, ...]]:
    """Ask the system for the addresses of ``host``."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _connect_to(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A stream may be silent for hours; a peer that has vanished must still be noticed.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def first_of(attempts: list[Coroutine[Any, Any, socket.socket]], stagger_s: float) -> socket.socket:
    """Return the result of the first attempt that succeeds; each starts when the one before has failed or is late."""
    tasks: list[asyncio.Task[socket.socket]] = []
    waiting = attempts[::-1]
    winner: socket.socket | None = None
    try:
        while winner is None:
            running = {task for task in tasks if not task.done()}
            if waiting:
                task = asyncio.ensure_future(waiting.pop())
                tasks.append(task)
                running.add(task)
            elif not running:
                raise cast("BaseException", tasks[0].exception())
            done, _ = await asyncio.wait(
                running, timeout=stagger_s if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((task.result() for task in done if task.exception() is None), None)
        return winner
    finally:
        for attempt in waiting:
            attempt.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and task.exception() is None and task.result() is not winner:
                task.result().close()


# -- tunnels


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel (RFC 9110, section 9.3.6); ``opened`` tells what came of it."""

    transport: asyncio.Transport

    def __init__(self, url: Url, proxy: Proxy) -> None:
        host = f"[{url.host}]" if ":" in url.host else url.host
        self._place = f"{host}:{url.port}"
        self._proxy = proxy
        self._answer = bytearray()
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        place = self._place.encode("ascii")
        lines = [b"CONNECT %b HTTP/1.1" % place, b"Host: %b" % place]
        if self._proxy.authorization is not None:
            lines.append(b"Proxy-Authorization: " + self._proxy.authorization)
        self.transport.write(b"\r\n".join((*lines, b"", b"")))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._answer) > MAX_TUNNEL_BYTES:
                self._refused("headers without an end")
            return
        status = re.match(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n", self._answer)
        if status is None:
            self._refused("no HTTP answer")
        elif status[1] == b"407":
            self._refused("a demand for credentials (407): give them in the proxy's URL")
        elif not status[1].startswith(b"2"):
            self._refused(f"status {status[1].decode()}")
        elif len(self._answer) > end + 4:
            self._refused("bytes before the TLS handshake")
        elif not self.opened.done():
            self.opened.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._refused("the end of the connection")

    def _refused(self, got: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(
                ProxyError(f"the proxy {self._proxy}: expected a tunnel to {self._place}, got {got}")
            )
            # Whoever waited may have been cancelled: nobody is left to look.
            self.opened.exception()
