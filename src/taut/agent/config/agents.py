"""An agent of a configuration that asks a model itself: the keys of its table, and how it is made of them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from taut.agent.agent import Agent
from taut.agent.base import BaseAgent
from taut.agent.config.kinds import (
    AgentName,
    AnyTable,
    CodeName,
    FilePath,
    ModelName,
    SearchTable,
    ServerName,
    StoreTable,
    ToolTable,
)
from taut.agent.config.parts import Parts
from taut.agent.policy import ToolPolicy
from taut.errors import ConfigError
from taut.llm.model import ModelSettings

__all__ = ["AgentTable", "CompactionTable"]


class CompactionTable(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """How a conversation that has become long is made shorter.

    - ``mode``: put a summary in the place of what is older, drop it, or keep it without the results of tools.
    - ``max_tokens``, ``max_messages``: beyond which it is done.
    - ``keep_tokens``, ``keep_messages``: what stays as it is at the end; a quarter by default.
    """

    mode: Literal["summarise", "drop", "empty_results"] = "summarise"
    max_tokens: int = 100_000
    max_messages: int | None = None
    keep_tokens: int | None = None
    keep_messages: int | None = None

    def __post_init__(self) -> None:
        # The rules are those of the compaction itself; it is loaded where there is one.
        from taut.agent.state.compaction import Compaction

        Compaction(**msgspec.structs.asdict(self))


class AgentTable(AnyTable, frozen=True, kw_only=True, tag="agent"):
    """An agent: a model with instructions and tools.

    - ``model``: a model of ``[models]``, or one like ``openai:gpt-5-mini``, ``anthropic:NAME``, ``ollama:NAME``,
      ``http://host/v1#NAME``, ``local``, ``echo``, ``scripted:answers.json``.
    - ``instructions``, ``instructions_file``: what the model is told before all else.
    - ``servers``: names of ``[servers]`` whose tools it has.
    - ``tools``: functions in Python: ``file.py:name`` or ``package.module:name``.
    - ``agents``: agents of this file that it can hand tasks to, as tools.
    - ``output``: what the output must be: a JSON Schema, or a type in Python; text without it.
    - ``repairs``: how often the model is told that its output does not fit.
    - ``settings``: how the model is to answer.
    - ``tool_choice``: ``auto``, ``none``, ``required`` or the name of the tool to call first.
    - ``tool_mode``: ``json_schema`` has calls written as JSON, for models that know no tools.
    - ``policy``: what it may do with its tools: what is allowed, what takes an approval, limits.
    - ``pins``: a file in which the definitions of tools are pinned: what changes is refused.
    - ``search``: search among many tools: true, or a table.
    - ``memory``: keep conversations: true while the process lives, ``{ sqlite = "file" }`` for longer.
    - ``compaction``: shorten conversations that have become long.
    - ``blobs``: keep what is cut off long results, and let the model read it.
    - ``start_servers``: ``lazily``, when a run first needs them, or ``eagerly``.
    """

    model: ModelName | None = None
    instructions: str | None = None
    instructions_file: FilePath | None = None
    servers: tuple[ServerName, ...] = ()
    tools: tuple[CodeName | ToolTable, ...] = ()
    agents: tuple[AgentName, ...] = ()
    output: CodeName | dict[str, Any] | None = None
    repairs: int = 2
    settings: ModelSettings | None = None
    tool_choice: str = "auto"
    tool_mode: Literal["native", "json_schema"] | None = None
    policy: ToolPolicy | None = None
    pins: FilePath | None = None
    search: bool | SearchTable | None = None
    memory: bool | StoreTable | None = None
    compaction: CompactionTable | None = None
    blobs: bool | StoreTable | None = None
    start_servers: Literal["lazily", "eagerly"] = "lazily"

    def __post_init__(self) -> None:
        if self.instructions is not None and self.instructions_file is not None:
            raise ConfigError("expected instructions or instructions_file, got both")
        if self.compaction is not None and not self.memory:
            raise ConfigError("expected memory beside compaction, got none")
        if self.repairs < 0:
            raise ConfigError(f"expected repairs of at least 0, got {self.repairs}")

    def build(self, name: str, parts: Parts) -> BaseAgent[Any]:
        """See `AnyTable`."""
        tools = [parts.tool(one) for one in self.tools] + parts.all_agents(self.agents)
        pins = self.pinned(parts)
        agent: Agent[Any] = Agent(
            name,
            model=parts.model(self.model),
            instructions=self.told(parts),
            servers=self.servers,
            pool=parts.pool if self.servers else None,
            tools=tools,
            output=parts.output(self.output),
            repairs=self.repairs,
            settings=self.settings,
            tool_choice=self.tool_choice,
            tool_mode=self.tool_mode,
            policy=self.policy,
            pins=pins,
            search=_search(self.search),
            memory=parts.store("conversations", self.memory),
            compaction=_compaction(self.compaction),
            blobs=parts.store("blobs", self.blobs),
            start_servers=self.start_servers,
            **self.common(parts),
        )
        parts.tools[agent] = tools
        return agent

    def told(self, parts: Parts) -> str:
        """Return the instructions."""
        if self.instructions_file is not None:
            return parts.text(self.instructions_file)
        return self.instructions or ""

    def pinned(self, parts: Parts) -> Any:
        """Return where definitions of tools are pinned, if they are."""
        if self.pins is None:
            return None
        from taut.agent.pins import FilePins

        return FilePins(parts.path(self.pins))


def _search(said: bool | SearchTable | None) -> Any:
    if not said:
        return None
    from taut.agent.finding import ToolSearch

    return ToolSearch() if said is True else ToolSearch(**msgspec.structs.asdict(said))


def _compaction(said: CompactionTable | None) -> Any:
    if said is None:
        return None
    from taut.agent.state.compaction import Compaction

    return Compaction(**msgspec.structs.asdict(said))
