"""`Router`: the agent that fits a task best is chosen, and does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from msgspec import Struct

from taut.agent.agent import Agent
from taut.agent.base import BaseAgent
from taut.agent.patterns.branches import Collected, branch_out, restored_branches
from taut.agent.patterns.choosing import NONE, listed, ranking
from taut.agent.patterns.kinds import one_of
from taut.agent.patterns.pattern import OnFailure, Options, Pattern, apply, by_name, collects, part
from taut.agent.run import Run
from taut.errors import AgentError, ConfigError
from taut.llm.model import Model

__all__ = ["Route", "Router"]

INSTRUCTIONS = """\
Choose who is to do the task that you are given. Do not do it yourself.

{routes}

Answer with the {count}, the best first: why, who, and how confident you are that they can do it, from 0 to 1.
If nobody fits, answer with "none"."""


class Route(Struct, frozen=True):
    """One choice: the agent's name, how confident whoever chose is, and why."""

    name: str
    confidence: float = 1.0
    reason: str = ""


class Router(Pattern[Any]):
    """Chooses one of ``routes`` by their descriptions, and has it do the task.

    :param model: chooses; or ``choose`` does, a function of the task's text that returns a name, several, or None where
        nobody fits. May be async.
    :param fallback: does the task where nobody fits, or nobody with a confidence of ``threshold``; without one, the run
        fails with `taut.errors.AgentError`.
    :param top_k: have so many do the task side by side; the output is a `Collected` then.
    :param on_failure: of one of several.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        model: Model | str | None = None,
        *,
        routes: Sequence[BaseAgent[Any]],
        choose: Callable[[str], Any] | None = None,
        fallback: BaseAgent[Any] | None = None,
        threshold: float = 0.0,
        top_k: int = 1,
        on_failure: OnFailure = "fail",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        self._routes = by_name(routes, "routes")
        if (model is None) == (choose is None):
            raise ConfigError("Expected either a model that chooses, or a function `choose`")
        if NONE in self._routes:
            raise ConfigError(f"Expected routes of other names than {NONE!r}, which stands for nobody")
        if not 1 <= top_k <= len(self._routes) or not 0 <= threshold <= 1:
            raise ConfigError(
                f"Expected a top_k of 1 to {len(self._routes)} and a threshold of 0 to 1, got {top_k} and {threshold}"
            )
        self._choose = choose
        self._fallback = fallback
        self._threshold = threshold
        self._top_k = top_k
        self._collect = collects(on_failure)
        self._all = dict(self._routes)
        if fallback is not None and self._all.setdefault(fallback.name, fallback) is not fallback:
            raise ConfigError(f"Expected a fallback of another name than the routes, got {fallback.name!r}")
        self._kind: Any = Collected if top_k > 1 else one_of(self._all.values())
        self._chooser = None if model is None else self._make_chooser(self._use(model))

    def _make_chooser(self, model: Model) -> Agent[Any]:
        routes = listed({name: agent.description for name, agent in self._routes.items()})
        count = "one that fits best" if self._top_k == 1 else f"{self._top_k} that fit best"
        return Agent(
            "chooser",
            model=model,
            instructions=INSTRUCTIONS.format(routes=routes, count=count),
            output=ranking("name", self._routes),
        )

    @property
    def output_type(self) -> Any:
        """What one of the routes returns; `Collected` where several are chosen."""
        return self._kind

    def restored(self, output: Any) -> Any:
        """See `taut.agent.BaseAgent`."""
        return restored_branches(output, self._all) if self._top_k > 1 else super().restored(output)

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return [*self._all.values(), *([] if self._chooser is None else [self._chooser])]

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        chosen = await self._chosen(run)
        for route in chosen:
            run.note("route", f"{route.name} ({route.confidence:.2f}) {route.reason}".rstrip(), route)
        agents = {route.name: self._all[route.name] for route in chosen}
        if self._top_k > 1:
            return await branch_out(run, agents, run.task, collect=self._collect, limit=None)
        (agent,) = agents.values()
        return (await part(run, agent, run.task, "route", history=run.history)).output

    async def _chosen(self, run: Run[Any]) -> list[Route]:
        routes = await self._by_function(run) if self._chooser is None else await self._by_model(run)
        best: dict[str, Route] = {}
        for route in routes:
            if route.name in self._routes and route.confidence >= self._threshold:
                best.setdefault(route.name, route)
        if best:
            return list(best.values())[: self._top_k]
        told = ", ".join(f"{route.name} ({route.confidence:.2f})" for route in routes) or NONE
        if self._fallback is None:
            raise AgentError(
                f"{run.path}: expected a route for this task with a confidence of at least {self._threshold:g}, "
                f"got {told}; a fallback would take it"
            )
        return [Route(self._fallback.name, 0.0, f"Nobody fits: {told}")]

    async def _by_model(self, run: Run[Any]) -> list[Route]:
        assert self._chooser is not None
        answer = (await part(run, self._chooser, run.task, "choice", history=run.history)).output
        return [Route(one.name, one.confidence, one.reason) for one in answer.ranked]

    async def _by_function(self, run: Run[Any]) -> list[Route]:
        assert self._choose is not None
        names = await apply(run, "choose", self._choose, run.text, returns=str | list[str] | None)
        chosen = [names] if isinstance(names, str) else list(names or ())
        for name in chosen:
            if name not in self._routes:
                known = ", ".join(self._routes)
                raise ConfigError(f"{run.path}: expected a route from `choose` ({known}), got {name!r}")
        return [Route(name) for name in chosen]
