"""Where an agent's tools come from, in one event loop: its own ones, and those of its servers as they are now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias, final

from taut.agent.concurrent import end, gather
from taut.agent.policy import ToolPolicy
from taut.agent.toolbox import Toolbox, names_of
from taut.agent.tools import Tool
from taut.errors import TautError

if TYPE_CHECKING:
    from taut import models
    from taut.agent.pins import Pins
    from taut.client.pool import ServerLease, ServerPool

__all__ = ["ToolSupply"]

logger = logging.getLogger("taut.agent")

#: Is told of servers that are missing and of tools that are refused: a topic, and words.
Note: TypeAlias = Callable[[str, str], None]


@final
class ToolSupply:
    """The tools of one agent in one event loop.

    Servers are asked for their tools when those are first needed, all side by side, and again when they have changed.
    One that cannot be reached fails what needs it, if it is required. Otherwise it is done without until it can be: it
    is tried again in the background, and nobody waits for that.
    """

    def __init__(
        self,
        own: Sequence[Tool],
        policy: ToolPolicy,
        *,
        pool: ServerPool | None = None,
        servers: Sequence[str] = (),
        pins: Pins | None = None,
    ) -> None:
        self._own = own
        self._policy = policy
        self._pins = pins
        self._servers: list[_Supplier] = []
        if pool is not None:
            self._servers = [_Supplier(name, pool.servers[name], pool.lease(name)) for name in servers]
        self._box: Toolbox | None = None

    async def close(self) -> None:
        """Give the servers back. Cancelled, that goes on in the background."""
        servers, self._servers = self._servers, []
        if servers:
            ends = [asyncio.ensure_future(server.close()) for server in servers]
            await asyncio.wait(ends)
            for task in ends:
                task.result()

    async def toolbox(self, note: Note) -> Toolbox:
        """Return the tools as they are now; ``note`` is told of servers that are missing and tools that are refused.

        :raises taut.errors.TautError: a server that is required cannot be reached.
        """
        stale = [server for server in self._servers if server.is_stale]
        if self._box is not None and not stale:
            return self._box
        changed = await gather(server.update(note) for server in stale)
        if self._box is None or any(changed):
            self._box = self._judged([server for server in self._servers if server.tools], note)
        return self._box

    def _judged(self, servers: Iterable[_Supplier], note: Note) -> Toolbox:
        tools: list[Tool] = list(self._own)
        listed = {server.name: server.tools for server in servers}
        if not listed:
            return Toolbox(tools, self._policy)
        # Here: only an agent with servers needs them.
        from taut.agent.pins import check_pins
        from taut.agent.server_tool import ServerTool

        names = names_of(listed)
        refused: dict[str, str] = {}
        for server in servers:
            changed = {} if self._pins is None else check_pins(self._pins, server.name, server.tools)
            for tool in server.tools:
                exposed = names[server.name, tool.name]
                tools.append(ServerTool(exposed, server.name, tool, server.lease))
                if tool.name in changed:
                    refused[exposed] = changed[tool.name]
        for name, reason in refused.items():
            logger.warning("the tool %s is refused: %s", name, reason)
            note("tool refused", f"{name}: {reason}")
        return Toolbox(tools, self._policy, refused, {server.name: server.about for server in servers})


@final
class _Supplier:
    """One server: what it was when it was last asked."""

    __slots__ = (
        "_described",
        "_missed",
        "_required",
        "_retrying",
        "_seen",
        "about",
        "lease",
        "name",
        "tools",
    )

    def __init__(self, name: str, config: object, lease: ServerLease) -> None:
        self.name = name
        self.lease = lease
        #: Of different names: of two that have one, the first.
        self.tools: Sequence[models.Tool] = ()
        #: What it is, in a few words: its user's, or its own.
        self.about = ""
        # A bare target says nothing of either.
        self._required: bool = getattr(config, "required", True)
        self._described: str = getattr(config, "description", "")
        #: The version of the lease that the tools are of.
        self._seen = -1
        self._missed = False
        #: Another attempt at a server that is missing.
        self._retrying: asyncio.Task[Sequence[models.Tool]] | None = None

    @property
    def is_stale(self) -> bool:
        """Whether to ask again."""
        if self._retrying is not None:
            return self._retrying.done()
        return self._seen != self.lease.version

    async def update(self, note: Note) -> bool:
        """Ask for the tools, and return whether they may be others than before. Any number of runs may do so at once.

        :raises taut.errors.TautError: it cannot be reached, and is required.
        """
        if not self.is_stale:  # another run was first
            return False
        retried, self._retrying = self._retrying, None
        # What changes while it is being listed is seen next time. The first listing makes version 1.
        seen = self.lease.version or 1
        try:
            if retried is not None and (error := retried.exception()) is not None:
                raise error.with_traceback(None)
            tools = await self.lease.tools()
            self.about = await self._words()
        except TautError as error:
            if self._required:
                raise
            return self._miss(error, note)
        self.tools = tuple({tool.name: tool for tool in reversed(tools)}.values())[::-1]
        self._seen = seen
        self._missed = False
        return True

    def _miss(self, error: TautError, note: Note) -> bool:
        """Go on without it, and try again meanwhile."""
        was_there, self.tools = bool(self.tools), ()
        if not self._missed:
            self._missed = True
            logger.warning("the server %s is missing: %s", self.name, error)
            note("server missing", f"{self.name}: {error}")
        if self._retrying is None:
            self._retrying = asyncio.get_running_loop().create_task(self._retry())
        return was_there

    async def _retry(self) -> Sequence[models.Tool]:
        return await self.lease.tools()  # after the pause that the pool makes

    async def _words(self) -> str:
        if self._described:
            return self._described
        client = await self.lease.client()
        title = client.server_info.title if client.server_info is not None else None
        return title or (client.instructions or "").strip().partition("\n")[0]

    async def close(self) -> None:
        """Give the server back."""
        try:
            if self._retrying is not None:
                await end([self._retrying])
        finally:
            await self.lease.release()
