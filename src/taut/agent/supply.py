"""Where an agent's tools come from, in one event loop: its own ones, and those of its servers as they are now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, final

from taut.agent.concurrent import gather
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


@final
class ToolSupply:
    """The tools of one agent in one event loop.

    Servers are asked for their tools when those are first needed, all side by side, and again when they have changed.
    One that cannot be reached fails what needs it, if it is required, and is otherwise done without until it can be.
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
        self._pool = pool
        self._leases: dict[str, ServerLease] = {}
        if pool is not None:
            self._leases = {name: pool.lease(name) for name in servers}
        self._box: Toolbox | None = None
        self._seen: tuple[int, ...] = ()

    async def close(self) -> None:
        """Give the servers back."""
        while self._leases:
            _, lease = self._leases.popitem()
            await lease.release()

    def _versions(self) -> tuple[int, ...]:
        return tuple(lease.version for lease in self._leases.values())

    async def toolbox(self, note: Callable[[str, str], None]) -> Toolbox:
        """Return the tools as they are now; ``note`` is told of servers that are missing and tools that are refused.

        :raises taut.errors.TautError: a server that is required cannot be reached.
        """
        box = self._box
        if box is not None and (not self._leases or self._versions() == self._seen):
            return box
        names = list(self._leases)
        # What changes while others are still being listed is seen next time. The first listing makes version 1.
        seen = tuple(lease.version or 1 for lease in self._leases.values())
        listed = await gather(self._list(name, note) for name in names)
        about = {name: await self._about(name) for name, tools in zip(names, listed, strict=True) if tools}
        complete = None not in listed
        found = {name: tools for name, tools in zip(names, listed, strict=True) if tools}
        box = self._judged(found, about, note)
        if complete:  # otherwise the missing ones are asked again next time
            self._box, self._seen = box, seen
        return box

    def _is_required(self, name: str) -> bool:
        assert self._pool is not None
        required: bool = getattr(
            self._pool.servers[name], "required", True
        )  # a bare target says nothing of it
        return required

    async def _list(self, name: str, note: Callable[[str, str], None]) -> Sequence[models.Tool] | None:
        lease = self._leases[name]
        try:
            return await lease.tools()
        except TautError as error:
            if self._is_required(name):
                raise
            logger.warning("the server %s is missing: %s", name, error)
            note("server missing", f"{name}: {error}")
            return None

    async def _about(self, name: str) -> str:
        """Return what a server is, in a few words: its user's, or its own."""
        assert self._pool is not None
        described: str = getattr(self._pool.servers[name], "description", "")
        if described:
            return described
        client = await self._leases[name].client()
        title = client.server_info.title if client.server_info is not None else None
        return title or (client.instructions or "").strip().partition("\n")[0]

    def _judged(
        self,
        servers: Mapping[str, Sequence[models.Tool]],
        about: Mapping[str, str],
        note: Callable[[str, str], None],
    ) -> Toolbox:
        tools: list[Tool] = list(self._own)
        if not servers:
            return Toolbox(tools, self._policy)
        # Here: only an agent with servers needs them.
        from taut.agent.pins import check_pins
        from taut.agent.server_tool import ServerTool

        names = names_of(servers)
        refused: dict[str, str] = {}
        for server, listed in servers.items():
            changed = {} if self._pins is None else check_pins(self._pins, server, listed)
            for tool in listed:
                exposed = names[server, tool.name]
                tools.append(ServerTool(exposed, server, tool, self._leases[server]))
                if tool.name in changed:
                    refused[exposed] = changed[tool.name]
        for name, reason in refused.items():
            logger.warning("the tool %s is refused: %s", name, reason)
            note("tool refused", f"{name}: {reason}")
        return Toolbox(tools, self._policy, refused, about)
