"""`Swarm`: agents hand a conversation over to each other; whoever answers, answers for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack, cast, final

from taut.agent.base import BaseAgent
from taut.agent.patterns.kinds import one_of
from taut.agent.patterns.pattern import Options, Pattern, by_name
from taut.agent.run import Run
from taut.agent.tools import Call, Tool
from taut.errors import ConfigError, ToolError
from taut.llm.messages import Content, Message, ToolResult
from taut.llm.model import ToolSpec

__all__ = ["HandOff", "Swarm"]

PREFIX = "transfer_to_"
#: Before the task in the result of a hand-off: whoever approved the call may have changed its arguments.
SEPARATOR = ":\n\n"


@final
class HandOff(Tool):
    """The tool ``transfer_to_NAME``: ends the run of the agent that calls it, so that ``agent`` goes on.

    To policies it is ``handoff:NAME``. ``refusal`` is what the model is told where nothing can be handed over any more.
    """

    ends_run = True

    def __init__(self, agent: BaseAgent[Any], *, refusal: str | None = None) -> None:
        schema = {
            "type": "object",
            "properties": {
                "task": {
                    "type": "string",
                    "description": "What is to be done now; the conversation goes along",
                }
            },
            "required": ["task"],
            "additionalProperties": False,
        }
        about = f": {agent.description}" if agent.description else ""
        super().__init__(
            ToolSpec(f"{PREFIX}{agent.name}", f"Hand the conversation over to {agent.name}{about}", schema),
            f"handoff:{agent.name}",
        )
        self.agent = agent
        self._refusal = refusal

    async def call(self, key: str, call: Call) -> ToolResult:
        """See `taut.agent.Tool`."""
        if self._refusal is not None:
            raise ToolError(self._refusal)
        said = call.run.messages[-1]
        if len(said.tool_calls) > 1:
            raise ToolError(f"Call {self.name} alone, once the results of other calls are there.")
        task = call.call.arguments.get("task")
        if not isinstance(task, str) or not task:
            raise ToolError(f"Invalid arguments for {self.name}: expected `task`, a text - at `$.task`")
        return ToolResult(call.call.id, self.name, f"Handed over to {self.agent.name}{SEPARATOR}{task}")


class Swarm(Pattern[Any]):
    """Agents that hand over to each other, by the tools ``transfer_to_NAME`` that each of them gets.

    Whoever takes over sees the conversation so far. The output is that of the agent that answers in the end. An agent
    that takes no tools, as a pattern, cannot hand over: it answers.

    :param first: the name of the agent that begins; without it, the first of ``agents`` does.
    :param paths: who may hand over to whom, by name; agents that are not in it may to all others.
    :param max_handoffs: past it, whoever has the conversation is told to answer.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        agents: Sequence[BaseAgent[Any]],
        *,
        first: str | None = None,
        paths: Mapping[str, Sequence[str]] | None = None,
        max_handoffs: int = 8,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        self._agents = by_name(agents, "agents of a swarm")
        self._first = next(iter(self._agents)) if first is None else first
        paths = {} if paths is None else paths
        for known in (self._first, *paths, *(name for names in paths.values() for name in names)):
            if known not in self._agents:
                raise ConfigError(
                    f"Expected an agent of the swarm ({', '.join(self._agents)}), got {known!r}"
                )
        if max_handoffs < 0:
            raise ConfigError(f"Expected a max_handoffs of at least 0, got {max_handoffs}")
        self._max_handoffs = max_handoffs
        self._paths = {name: tuple(paths.get(name, self._agents)) for name in self._agents}
        self._kind = one_of(self._agents.values())

    @property
    def output_type(self) -> Any:
        """What one of the agents returns."""
        return self._kind

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return list(self._agents.values())

    async def work(self, run: Run[Any]) -> Any:
        """See `taut.agent.BaseAgent`. The messages of the run are the whole conversation."""
        return await self.flow(run)

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        name, task = self._first, cast(Content, run.task)
        for turn in range(self._max_handoffs + 1):
            result = await run.child(
                self._agents[name],
                task,
                place=f"turn.{turn}",
                history=[*run.history, *run.messages],
                tools=self._tools(name, last=turn == self._max_handoffs),
            )
            run.messages.extend(result.messages)
            handed = _handed_over(result.messages)
            if handed is None:
                break
            run.note("hand-off", f"{name} -> {handed[0]}: {handed[1]}", handed[0])
            name, task = handed
        return result.output

    def _tools(self, name: str, *, last: bool) -> list[Tool]:
        refusal = None
        if last:
            refusal = f"There were {self._max_handoffs} hand-offs, and no more are allowed: answer yourself."
        others = [self._agents[other] for other in self._paths[name] if other != name]
        return [HandOff(other, refusal=refusal) for other in others]


def _handed_over(messages: Sequence[Message]) -> tuple[str, str] | None:
    """Return who goes on, and with what; None if a run has ended with an answer."""
    last = messages[-1].content[-1] if messages else None
    if not isinstance(last, ToolResult) or last.is_error or not last.name.startswith(PREFIX):
        return None
    return last.name.removeprefix(PREFIX), last.text.partition(SEPARATOR)[2]
