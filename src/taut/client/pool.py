"""Many servers by name, each connected to when it is first needed, shared by all who use it, and connected to again.

A `ServerPool` knows the servers; a `ServerLease` is the right to use one of them, and is counted: with the last lease
the connection ends. Connections are made and closed by tasks of the pool, so it does not matter which task asks, which
one releases, which one is cancelled, nor in which order things end.

One pool may be used from many event loops at a time, in threads of their own. A connection belongs to one loop and is
never used from another; a lease belongs to the loop in which it was taken, or first used.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import re
import threading
import time
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, final

import msgspec

from taut import models
from taut.client.backoff import Backoff, Timing
from taut.client.client import Client
from taut.client.pooled import Plan, PooledServer, ServerStatus
from taut.client.server_config import ServerConfig
from taut.client.settings import HttpSettings, TokenProvider
from taut.client.target import Target, command_of
from taut.errors import ConfigError, ConnectionClosed, LocalProtocolError, RequestTimeout, TransportError

__all__ = ["Backoff", "ServerConfig", "ServerLease", "ServerPool", "ServerStatus"]


@final
class ServerPool:
    """Servers by name. Nothing is started before it is asked for: see `lease`.

    :param servers: what to connect to, each as a `ServerConfig` or as the target of a `taut.Client`; no transports, as
        these cannot be connected twice. A server object must not be used from several event loops at a time.
    :param client_options: options of `taut.Client` for all of them: ``sampling``, ``elicitation``, ``roots``,
        ``logging``, ``stderr`` and the like.
    :param auth: where the tokens for servers at URLs come from, by the name of the server.
    :param reconnect: how long a server is left alone that could not be reached.
    :param keep_s: seconds for which a connection is kept that nobody uses, for whoever comes next.
    :param clock: gives seconds, monotonic; with ``sleep`` and ``chance`` (from 0 to 1) what time is for the pool.
    :raises taut.errors.ConfigError: something can never work; names the server.
    """

    def __init__(
        self,
        servers: Mapping[str, ServerConfig | Target],
        *,
        client_options: Mapping[str, Any] = MappingProxyType({}),
        auth: Mapping[str, TokenProvider] = MappingProxyType({}),
        reconnect: Backoff = Backoff(),  # noqa: B008  # it is frozen
        keep_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if keep_s < 0:
            raise ConfigError(f"Expected keep_s of at least 0, got {keep_s:g}")
        #: What each name stands for.
        self.servers: Mapping[str, ServerConfig | Target] = MappingProxyType(dict(servers))
        for name in auth:
            self._check(name)
        common = dict(client_options)
        roots = common.get("roots")
        if roots is not None and not callable(roots):
            common["roots"] = list(roots)  # to be read for each connection
        self._plans = {name: _plan(name, one, common, auth.get(name)) for name, one in self.servers.items()}
        self._timing = Timing(reconnect, keep_s, clock, sleep, chance)
        # What the maker of the pool has set is set for its connections; who happens to need one first leaves no trace.
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()  # for what follows
        self._loops: dict[asyncio.AbstractEventLoop, dict[str, PooledServer]] = {}
        self._closed = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the servers."""
        return tuple(self._plans)

    def lease(self, name: str) -> ServerLease:
        """Take a lease of the server ``name``; release it, or use it as ``async with pool.lease(name) as lease``.

        :raises taut.errors.ConfigError: there is no such server.
        :raises taut.errors.ConnectionClosed: the pool is closed.
        """
        self._check(name)
        if self._closed:
            raise _closed(name)
        lease = ServerLease(self, name)
        try:
            loop = get_running_loop()
        except RuntimeError:  # it will belong to the loop that uses it first
            return lease
        lease._bind(loop)
        return lease

    def status(self) -> dict[str, ServerStatus]:
        """Return how things stand with each server in the running event loop."""
        servers = self._loops.get(get_running_loop(), {})
        return {name: servers[name].status() if name in servers else ServerStatus() for name in self._plans}

    async def close(self) -> None:
        """End all connections and let there be no more: open calls end with `taut.errors.ConnectionClosed`.

        From any task, in any order with releases, twice. Returns when all of the running event loop has ended; other
        loops are told to do the same. Cancelled, it goes on in the background.
        """
        ours = get_running_loop()
        with self._lock:
            self._closed = True
            loops = list(self._loops.items())
        for loop, servers in loops:
            if loop is not ours:
                try:
                    loop.call_soon_threadsafe(_shut, servers)
                except RuntimeError:  # it is closed
                    _abandon(servers)
        own = self._loops.get(ours, {})
        _shut(own)
        for server in own.values():
            await server.wait_ended()
        with self._lock:
            self._loops.pop(ours, None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _check(self, name: str) -> None:
        if name not in self.servers:
            known = ", ".join(self.servers) or "none, as the pool is empty"
            raise ConfigError(f"Expected the name of a server ({known}), got {name!r}")

    def _server(self, name: str, loop: asyncio.AbstractEventLoop) -> PooledServer:
        """Return the server of this name in ``loop``, which is running here."""
        with self._lock:
            if self._closed:
                raise _closed(name)
            servers = self._loops.get(loop)
            if servers is None:
                for gone in [one for one in self._loops if one.is_closed()]:
                    _abandon(self._loops.pop(gone))
                servers = self._loops[loop] = {}
            server = servers.get(name)
            if server is None:
                server = PooledServer(name, self._plans[name], self._timing, loop, self._context)
                servers[name] = server
            return server


@final
class ServerLease:
    """The right to use one server of a pool: `client` for all that a client can do, `tools` and `call_tool` for agents.

    It may be taken in one task, used in many, and released in any. It belongs to one event loop.
    """

    __slots__ = ("_ending", "_pool", "_released", "_server", "name")

    def __init__(self, pool: ServerPool, name: str) -> None:
        #: The name of the server.
        self.name = name
        self._pool = pool
        self._server: PooledServer | None = None
        self._released = False
        self._ending: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()

    # -- use

    async def client(self) -> Client:
        """Return the connected client, which all who hold a lease share: do not close it.

        The server is connected to if it is not, or not any more; once for all who wait. Cancelling one of them is
        nothing to the others, and the attempt goes on as long as there is a lease.

        :raises taut.errors.TautError: it cannot be reached; what `taut.Client.connect` raises, with the server's name.
            The next request tries again, after a pause that grows with each failure.
        :raises taut.errors.ConnectionClosed: the lease was released, or the pool closed.
        """
        server = self._bind(get_running_loop())
        return server.client or await server.connected()

    async def tools(self) -> Sequence[models.Tool]:
        """Return all tools of the server; none where it does not declare any.

        They are kept until the server says that they have changed, or is connected to again: see `version`.

        :raises taut.errors.TautError: as `client`, or as `taut.Client.list_tools`.
        """
        return await self._bind(get_running_loop()).tools()

    @property
    def version(self) -> int:
        """Changes whenever `tools` may return something else; 0 before it has returned anything.

        Read it before `tools` is called, so that no change between the two is missed.
        """
        return 0 if self._server is None else self._server.version

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        replay: bool = False,
        **options: Any,
    ) -> models.CallToolResult:
        """Call a tool; ``options`` as for `taut.Client.call_tool`.

        A connection that was lost is replaced. One that is lost under the call is too, and the call sent once more, if
        it was not sent, or with ``replay``: for tools that may be called twice. ``total_timeout_s`` bounds all of it.

        :raises taut.errors.TautError: as `client`, or as `taut.Client.call_tool`.
        """
        server = self._server
        client = None if server is None else server.client
        if client is None or "total_timeout_s" in options or server.loop is not get_running_loop():  # type: ignore[union-attr]
            return await self._call(name, arguments, replay, options, attempts=2)
        try:
            return await client.call_tool(name, arguments, **options)
        except TransportError as error:
            if not self._may_repeat(client, error, replay):
                raise
        return await self._call(name, arguments, replay, options, attempts=1)

    async def _call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None,
        replay: bool,
        options: dict[str, Any],
        *,
        attempts: int,
    ) -> models.CallToolResult:
        """Connect if need be, and call."""
        loop = get_running_loop()
        total_s: float | None = options.get("total_timeout_s")
        end = None if total_s is None else loop.time() + total_s
        while True:
            try:
                async with asyncio.timeout_at(end) as limit:
                    client = await self.client()
            except TimeoutError:
                if not limit.expired():
                    raise
                raise RequestTimeout("tools/call", total_s or 0.0) from None
            if end is not None:
                options["total_timeout_s"] = max(0.0, end - loop.time())
            attempts -= 1
            try:
                return await client.call_tool(name, arguments, **options)
            except TransportError as error:
                if not attempts or not self._may_repeat(client, error, replay):
                    raise

    def _may_repeat(self, client: Client, error: TransportError, replay: bool) -> bool:
        """Whether a call that ended with ``error`` is to be sent on another connection."""
        lost = client.connection.lost is not None or isinstance(error, ConnectionClosed)
        return lost and (replay or not error.sent) and not self._released and not self._pool._closed

    # -- the end

    async def release(self) -> None:
        """Give the lease back; twice is fine. With the last one the connection ends, which is waited for.

        Cancelled, that goes on in the background. From another event loop nothing is waited for.
        """
        loop = get_running_loop()
        server, self._server = self._server, None
        self._released = True
        if server is not None:
            if server.loop is loop:
                self._ending = server.drop()
            else:
                with contextlib.suppress(RuntimeError):  # that loop is closed, and its connections with it
                    server.loop.call_soon_threadsafe(server.drop)
        ending = [task for task in self._ending if task.get_loop() is loop]
        if ending:
            await asyncio.wait(ending)

    def _bind(self, loop: asyncio.AbstractEventLoop) -> PooledServer:
        """Return the server, for use in ``loop``."""
        server = self._server
        if server is None:
            if self._released:
                raise ConnectionClosed(f"{self.name}: the lease was released", clean=True, sent=False)
            server = self._server = self._pool._server(self.name, loop)
            server.hold()
        elif server.loop is not loop:
            raise LocalProtocolError(
                f"Expected the event loop that this lease of {self.name} belongs to, got another one: take a lease here"
            )
        return server


def _plan(
    name: str, server: ServerConfig | Target, common: dict[str, Any], auth: TokenProvider | None
) -> Plan:
    """Return how to connect to ``server``, having tried whether a client can be made of it."""
    options = common
    try:
        target: Target
        if isinstance(server, ServerConfig):
            target, options = server.target(), server.options(common)
        else:
            target = server
        _check_target(target)
        if auth is not None:
            http = options.get("http") or HttpSettings()
            options = {**options, "http": msgspec.structs.replace(http, auth=auth)}
        Client(target, **options)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
    return Plan(target, options)


def _check_target(target: object) -> None:
    if hasattr(target, "serve"):
        return
    if not isinstance(target, str | Path | Sequence):
        raise ConfigError(
            f"Expected a ServerConfig, or what can be connected to twice: a command, a file, a URL or a Server, got "
            f"{type(target).__name__}"
        )
    if not (isinstance(target, str) and re.match(r"(https?|wss?)://", target, re.IGNORECASE)):
        command_of(target)


def _shut(servers: Mapping[str, PooledServer]) -> None:
    for server in servers.values():
        server.shut()


def _abandon(servers: Mapping[str, PooledServer]) -> None:
    for server in servers.values():
        server.abandon()


def _closed(name: str) -> ConnectionClosed:
    return ConnectionClosed(f"{name}: the pool is closed", clean=True, sent=False)
