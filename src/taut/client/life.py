"""The life of a client: how its connection comes about, what was agreed on it, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Any, Self

from taut import models
from taut.client.connection import ClientConnection
from taut.client.settings import HttpSettings
from taut.client.side import ClientSide, Owner
from taut.client.target import Target, is_url, open_target
from taut.errors import (
    ConfigError,
    ConnectionClosed,
    HttpError,
    LocalProtocolError,
    RemoteError,
    TransportError,
)
from taut.mcp.client_peer import ClientProfile
from taut.mcp.limits import Limits
from taut.mcp.negotiation import Agreement

__all__ = ["Life"]


class Life:
    """What a client is before and beside its calls. `taut.Client` says with what it connects, and to what."""

    _target: Target
    _mode: str
    _discovered: models.DiscoverResult | None
    _profile: ClientProfile
    _owner: Owner
    _http: HttpSettings
    _limits: Limits
    _child_options: dict[str, Any]
    _connect_timeout_s: float
    _probe_timeout_s: float
    #: What is asked of a modern server with each request, and what a legacy one is told once.
    _log_level: str | None
    _wanted_level: str | None

    _connection: ClientSide | None = None
    _agreement: Agreement | None = None
    _server_task: asyncio.Task[None] | None = None

    async def set_log_level(self, level: str) -> None:
        """Choose the least severe log messages that the server sends from now on."""
        raise NotImplementedError

    # -- beginning and end

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> Agreement:
        """Connect and negotiate; returns what was agreed. Cancelling it leaves nothing behind.

        :raises taut.errors.ConfigError: nothing can be started at the target.
        :raises taut.errors.TransportError: the connection ended, or took too long.
        :raises taut.errors.UnsupportedProtocolVersion: there is no common revision.
        """
        if self._connection is not None:
            raise LocalProtocolError(
                "Expected a client that is not connected; make another one for another connection"
            )
        self._connection = connection = self._open()
        try:
            await connection.open()
            connection.start()
            try:
                self._agreement = await self._agree(connection, self._mode)
            except (HttpError, RemoteError) as error:
                self._agreement = await self._agree_with_older(connection, error)
            await self._ask_for_logs(self._agreement)
        except BaseException:
            await self.close()
            raise
        return self._agreement

    def _open(self) -> ClientSide:
        target, owner, limits = self._target, self._owner, self._limits
        if isinstance(target, str) and is_url(target):
            # Imported here: a client of anything else does without.
            from taut.client.http import open_http

            return open_http(target, self._profile, owner, self._http, limits=limits)
        transport, served = open_target(target, limits=limits, **self._child_options)
        if served is not None:
            server: Any = target
            self._server_task = asyncio.get_running_loop().create_task(server.serve(served))
            self._server_task.add_done_callback(lambda _: transport.close())  # also when it failed to start
        return ClientConnection(transport, self._profile, owner, limits=limits)

    async def _agree_with_older(self, connection: ClientSide, error: HttpError | RemoteError) -> Agreement:
        # Imported here: see above.
        from taut.client.older import may_be_older, open_older

        if not may_be_older(error, self._mode):
            raise error
        connection.close()
        await connection.wait_closed()
        self._connection = older = await open_older(
            str(self._target), self._profile, self._owner, self._http, limits=self._limits
        )
        try:
            await older.open()
            older.start()
            return await self._agree(older, "legacy" if self._mode == "auto" else self._mode)
        except TransportError as nothing:
            raise error from nothing

    async def _agree(self, connection: ClientSide, mode: str) -> Agreement:
        if self._discovered is not None:
            offered = self._discovered.supported_versions
            common = [one for one in models.REVISIONS if one in offered and one in models.MODERN]
            if not common:
                raise ConfigError(f"Expected a modern revision in the saved discovery, got {offered}")
            agreement = Agreement(common[-1], discovered=self._discovered)
            await connection.adopt(agreement, self._log_level)
            return agreement
        return await connection.negotiate(
            mode,
            probe_timeout_s=self._probe_timeout_s,
            timeout_s=self._connect_timeout_s,
            log_level=self._log_level,
        )

    async def _ask_for_logs(self, agreement: Agreement) -> None:
        """Legacy servers are told once; modern ones with each request."""
        logs = models.declares(self.server_capabilities, "logging")
        if self._wanted_level is not None and logs and not agreement.modern:
            with contextlib.suppress(RemoteError):  # no reason to be without the server
                await self.set_log_level(self._wanted_level)

    async def close(self) -> None:
        """Close the connection: open calls end with `ConnectionClosed`, a child process is ended with its group.

        What a server in this process raises at its end is raised here.
        """
        connection = self._connection
        if connection is None:
            return
        connection.close()
        await connection.wait_closed()
        if (served := self._server_task) is not None:
            if self._agreement is None:
                served.cancel()  # it may never have begun to serve: its start may hang
            await asyncio.wait((served,))  # which, cancelled, leaves the server alone
            self._server_task = None
            if not served.cancelled():
                served.result()

    # -- what was agreed

    @property
    def connection(self) -> ClientSide:
        """The open connection.

        :raises taut.errors.ConnectionClosed: there is none.
        """
        if self._connection is None:
            raise ConnectionClosed("not connected: use 'async with', or await connect()", clean=True)
        return self._connection

    @property
    def agreement(self) -> Agreement:
        """What was negotiated; its ``discovered`` can be saved for the next connection."""
        if self._agreement is None:
            raise ConnectionClosed("not connected: use 'async with', or await connect()", clean=True)
        return self._agreement

    @property
    def revision(self) -> str:
        """The protocol revision in use."""
        return self.agreement.revision

    @property
    def session_id(self) -> str | None:
        """The id of the session, over HTTP in the legacy era, for logs. It changes when the server forgets it."""
        return self.connection.session_id

    @property
    def server_capabilities(self) -> models.ServerCapabilities:
        """What the server declared."""
        return self.agreement.server_capabilities

    @property
    def capabilities(self) -> models.ClientCapabilities:
        """What this client declares."""
        return self._profile.capabilities

    @property
    def server_info(self) -> models.Implementation | None:
        """The server's name and version, where it gave them."""
        return self.agreement.server_info

    @property
    def instructions(self) -> str | None:
        """How to use the server, in its own words."""
        return self.agreement.instructions
