"""`Chain`: agents one after another, each on what the one before it has answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from msgspec import Struct

from taut.agent.base import BaseAgent
from taut.agent.patterns.kinds import one_of, text_of
from taut.agent.patterns.pattern import Options, Pattern, apply, checked, part
from taut.agent.run import Run
from taut.errors import ConfigError
from taut.llm.messages import Content, Part

__all__ = ["Chain", "Link"]


class Link(Struct, frozen=True):
    """Where a chain is between two agents: ``done`` has answered with ``output``, ``following`` is next.

    ``task`` is the text of what the chain was asked.
    """

    task: str
    done: str
    output: Any
    following: str

    @property
    def text(self) -> str:
        """The output as text: JSON where it is not text already."""
        return text_of(self.output)


class Chain(Pattern[Any]):
    """Agents one after another: the first gets the task, each of the others the output of the one before it.

    A gate that stops the chain makes the output so far the chain's output. To fail instead, raise
    `taut.errors.AgentError` in it.

    :param template: the text of every task but the first; ``{task}`` is that of the chain, ``{output}`` what was
        answered last, ``{done}`` by whom, ``{following}`` whose task it is.
    :param between: makes these tasks in place of a template. May be async.
    :param gate: asked before each agent but the first: the reason to stop here; None, or an empty one, to go on.
        May be async.
    :raises taut.errors.ConfigError: there are no agents, or the template has other names than these.
    """

    def __init__(
        self,
        name: str,
        agents: Sequence[BaseAgent[Any]],
        *,
        template: str = "{output}",
        between: Callable[[Link], Any] | None = None,
        gate: Callable[[Link], Any] | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        if between is not None and template != "{output}":
            raise ConfigError("Expected a template or a function between the agents of a chain, got both")
        self._agents = checked(agents, "links of a chain")
        self._template = template
        self._between = between
        self._gate = gate
        self._fill(Link("", "", "", ""))
        self._kind = self._agents[-1].output_type if gate is None else one_of(self._agents)

    @property
    def output_type(self) -> Any:
        """The last agent's; where there is a gate, that of any of them."""
        return self._kind

    def members(self) -> tuple[BaseAgent[Any], ...]:
        """See `taut.agent.BaseAgent`."""
        return self._agents

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        first = self._agents[0]
        output = (await part(run, first, run.task, "0", history=run.history)).output
        done = first
        for place, agent in enumerate(self._agents[1:], 1):
            link = Link(run.text, done.name, output, agent.name)
            reason = await self._reason(run, link)
            if reason:
                run.note("stopped", f"before {agent.name}: {reason}", reason)
                break
            output = (await part(run, agent, await self._task(run, link), str(place))).output
            done = agent
        return output

    async def _reason(self, run: Run[Any], link: Link) -> str | None:
        if self._gate is None:
            return None
        reason: str | None = await apply(run, "gate", self._gate, link, returns=str | None)
        if reason is not None and not isinstance(reason, str):
            raise ConfigError(
                f"{run.path}: expected from the gate a reason to stop, or None, got {type(reason).__name__}"
            )
        return reason

    async def _task(self, run: Run[Any], link: Link) -> Content:
        if self._between is None:
            return self._fill(link)
        task: Content = await apply(run, "between", self._between, link, returns=str | tuple[Part, ...])
        return task

    def _fill(self, link: Link) -> str:
        try:
            return self._template.format(
                task=link.task, output=link.text, done=link.done, following=link.following
            )
        except (KeyError, IndexError, ValueError) as error:
            raise ConfigError(
                "Expected a template with {task}, {output}, {done} and {following} and no other braces, "
                f"got {self._template!r}: {error}"
            ) from None
