"""From what an agents file says to agents that can be run, with their servers, models and stores."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, final

import msgspec

from taut.agent.base import BaseAgent
from taut.agent.config.agents import AgentTable
from taut.agent.config.parts import Parts
from taut.agent.config.reading import AgentFile
from taut.agent.policy import ToolPolicy
from taut.agent.toolbox import Toolbox
from taut.agent.tools import tool_of
from taut.client.pool import ServerPool
from taut.client.server_config import ServerConfig
from taut.errors import ConfigError
from taut.llm.model import Model

__all__ = ["Built", "build"]


@final
class Built:
    """The agents of a file. ``async with`` keeps the main one ready, and closes all that was made at the end.

    - ``agent``: the main agent; ``agents``: those that it is made of, by key, itself among them;
    - ``models``: by the name or description that the file has;
    - ``pool``: the servers; None where the file has none.
    """

    def __init__(self, file: AgentFile, parts: Parts, *, shares: bool) -> None:
        self.file = file
        self.agent: BaseAgent[Any] = parts.agent(file.main)
        self.agents: Mapping[str, BaseAgent[Any]] = MappingProxyType(parts.agents)
        self.models: Mapping[str, Model] = MappingProxyType(parts.models)
        self.pool = parts.pool
        self._parts = parts
        self._shares = shares

    @property
    def memory(self) -> Any:
        """Where the main agent keeps its conversations (`taut.agent.state.ConversationStore`), if it does."""
        table = self.file.agents[self.file.main]
        return self._parts.store("conversations", getattr(table, "memory", None))

    async def tools(self) -> dict[str, Toolbox]:
        """Return what each agent that asks a model can call, by key; servers that are needed for it are connected to.

        :raises taut.errors.TautError: a server that is required cannot be reached.
        """
        from taut.agent.supply import ToolSupply  # it knows servers

        boxes = {}
        for key in self.agents:
            table = self.file.agents[key]
            if not isinstance(table, AgentTable):
                continue
            supply = ToolSupply(
                [tool_of(one, BaseAgent) for one in self._parts.tools[self.agents[key]]],
                table.policy or ToolPolicy(),
                pool=self.pool if table.servers else None,
                servers=table.servers,
                pins=table.pinned(self._parts),
            )
            try:
                boxes[key] = await supply.toolbox(_unheard)
            finally:
                await supply.close()
        return boxes

    async def close(self) -> None:
        """Stop the agents; end models, and servers and stores if they are its own. Twice is fine."""
        async with contextlib.AsyncExitStack() as ending:
            if not self._shares:
                for store in self._parts.stores.values():
                    ending.push_async_callback(store.close)
                if self.pool is not None:
                    ending.push_async_callback(self.pool.close)
            for model in self.models.values():
                ending.push_async_callback(model.close)
            for agent in self.agents.values():
                ending.push_async_callback(agent.stop)

    async def __aenter__(self) -> Self:
        try:
            await self.agent.__aenter__()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.agent.__aexit__(kind, error, trace)
        finally:
            await self.close()


def build(
    file: AgentFile,
    *,
    model: str | Model | None = None,
    shared: Built | None = None,
    client_options: Mapping[str, Any] = MappingProxyType({}),
) -> Built:
    """Make the agents of a file. No server is started, and no model asked, before a run needs it.

    :param model: asked in place of all models that the file names: a model, the name of one, or a description.
    :param shared: agents whose servers and stores to use, which are to be closed after these.
    :param client_options: for the servers: see `taut.client.pool.ServerPool`.
    :raises taut.errors.ConfigError: something of it cannot work: code that is not there, a model without a key.
    """
    try:
        pool = shared.pool if shared is not None else _pool(file, client_options)
        parts = Parts(
            file.directory,
            agents=file.agents,
            models=file.tables.models,
            pool=pool,
            model=model,
            stores=None if shared is None else shared._parts.stores,
        )
        return Built(file, parts, shares=shared is not None)
    except ConfigError as error:
        told = file.problem(error)
        # What it was caused by may show what is hidden; code of the user that failed is for --debug.
        raise told from (error if file.hide(str(error)) == str(error) else None)


def _pool(file: AgentFile, client_options: Mapping[str, Any]) -> ServerPool | None:
    servers = {name: _placed(config, file.directory) for name, config in file.tables.servers.items()}
    return ServerPool(servers, client_options=client_options) if servers else None


def _placed(config: ServerConfig, directory: Path) -> ServerConfig:
    """Return ``config`` with its paths relative to ``directory``."""
    changes: dict[str, Any] = {
        name: str(directory / value)
        for name in ("tls", "uds")
        if (value := getattr(config, name)) is not None
    }
    if config.command is not None:
        changes["cwd"] = str(directory / (config.cwd or ""))
        command = config.command
        if isinstance(command, str) and command.endswith(".py") and (directory / command).is_file():
            changes["command"] = [sys.executable, str(directory / command)]
    return msgspec.structs.replace(config, **changes)


def _unheard(topic: str, text: str) -> None:
    """Servers that are missing are told when a run needs them."""
