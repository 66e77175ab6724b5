"""What all patterns have in common: options, models of their own, parts that are run below them, functions as steps."""

from __future__ import annotations

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar, Unpack

from taut.agent.base import BaseAgent
from taut.agent.budget import Budget
from taut.agent.patterns.kinds import text_of
from taut.agent.result import RunResult
from taut.agent.run import Failure, Run
from taut.errors import ConfigError
from taut.llm.messages import Content, Message, Text, assistant, user
from taut.llm.model import Model
from taut.telemetry.hooks import Tracer

if TYPE_CHECKING:
    from taut.agent.state.checkpoints import CheckpointStore
    from taut.agent.tools import Tool

__all__ = [
    "OnFailure",
    "Options",
    "Pattern",
    "apply",
    "branch",
    "by_name",
    "checked",
    "collects",
    "part",
    "with_others",
]

T = TypeVar("T")

#: What the failure of a branch does: it fails the run and cancels the others, or is collected beside their outputs.
OnFailure: TypeAlias = Literal["fail", "collect"]


class Options(TypedDict, total=False):
    """What every pattern takes by keyword, as any agent does: see `taut.agent.BaseAgent`."""

    description: str
    budget: Budget | None
    tracer: Tracer | None
    checkpoints: CheckpointStore | None


class Pattern(BaseAgent[T]):
    """An agent made of agents: subclasses implement `flow`.

    The messages of its run are the task and the answer; those of a run that has not ended well also have what its
    parts have answered.
    """

    def __init__(self, name: str, **options: Unpack[Options]) -> None:
        super().__init__(name, **options)
        self._models: list[Model] = []
        self._open_in: set[asyncio.AbstractEventLoop] = set()

    @abstractmethod
    async def flow(self, run: Run[T]) -> T:
        """Do the work of a run, and return its output. As `taut.agent.BaseAgent.work`."""

    async def work(self, run: Run[T]) -> T:
        """See `taut.agent.BaseAgent`."""
        run.messages.append(user(run.task))
        output = await self.flow(run)
        run.messages[1:] = [assistant(text_of(output))]
        return output

    # -- models

    def _use(self, model: Model | str) -> Model:
        """Return the model; one that is opened here, by its name, is closed with the pattern."""
        if not isinstance(model, str):
            return model
        from taut.llm.open import open_model  # it knows all clients

        opened: Model = open_model(model)
        self._models.append(opened)
        return opened

    async def open(self) -> None:
        """See `taut.agent.BaseAgent`."""
        self._open_in.add(asyncio.get_running_loop())

    async def close(self) -> None:
        """Close the models that are the pattern's own, once it is open in no event loop."""
        self._open_in.discard(asyncio.get_running_loop())
        if not self._open_in:
            for model in self._models:
                await model.close()


# -- parts


async def part(
    run: Run[Any],
    agent: BaseAgent[Any],
    task: Content,
    place: str,
    *,
    history: Sequence[Message] = (),
    tools: Sequence[Tool] = (),
) -> RunResult[Any]:
    """Run ``agent`` below ``run``. As `taut.agent.Run.child`; what it answers is a message of ``run``, until that has
    an answer of its own.
    """
    result = await run.child(agent, task, place=place, history=history, tools=tools)
    run.messages.append(assistant(f"{agent.name}: {result.text}"))
    return result


async def branch(
    run: Run[Any],
    agent: BaseAgent[Any],
    task: Content,
    place: str,
    *,
    collect: bool,
    history: Sequence[Message] = (),
) -> RunResult[Any] | Failure:
    """As `part`; with ``collect`` a failure of ``agent`` is returned, as from `taut.agent.Run.settle`."""
    if not collect:
        return await part(run, agent, task, place, history=history)
    result = await run.settle(agent, task, place=place, history=history)
    if isinstance(result, RunResult):
        run.messages.append(assistant(f"{agent.name}: {result.text}"))
    return result


async def apply(
    run: Run[Any],
    name: str,
    function: Callable[..., Any],
    *args: Any,
    returns: Any,
    shape: Callable[[Any], Any] | None = None,
) -> Any:
    """Return what a function of the user returns, async or not, in the ``shape`` that is recorded; it is called once,
    however often the run is taken up.

    What it raises ends the run: a mistake in somebody's code is not the failure of a branch.
    """

    async def call(key: str) -> Any:
        value = function(*args)
        if inspect.isawaitable(value):
            value = await value
        return value if shape is None else shape(value)

    return await run.steps.step(name, call, returns=returns)


# -- what they are given


def with_others(run: Run[Any], text: str) -> Content:
    """Return ``text`` along with the images, sounds and so on of the run's task."""
    others = tuple(one for one in run.task if not isinstance(one, Text))
    return (Text(text), *others) if others else text


def checked(agents: Iterable[BaseAgent[Any]], what: str) -> tuple[BaseAgent[Any], ...]:
    """Return the agents.

    :raises taut.errors.ConfigError: there is none, or one is no agent.
    """
    given = tuple(agents)
    for agent in given:
        if not isinstance(agent, BaseAgent):
            raise ConfigError(f"Expected agents as {what}, got {type(agent).__name__}")
    if not given:
        raise ConfigError(f"Expected at least one agent as {what}, got none")
    return given


def by_name(agents: Iterable[BaseAgent[Any]], what: str) -> dict[str, BaseAgent[Any]]:
    """Return the agents by their names.

    :raises taut.errors.ConfigError: as `checked`, or two have one name.
    """
    named: dict[str, BaseAgent[Any]] = {}
    for agent in checked(agents, what):
        if agent.name in named:
            raise ConfigError(f"Expected {what} of different names, got {agent.name!r} twice")
        named[agent.name] = agent
    return named


def collects(on_failure: str) -> bool:
    """Return whether failures are collected.

    :raises taut.errors.ConfigError: ``on_failure`` is neither.
    """
    if on_failure not in ("fail", "collect"):
        raise ConfigError(f"Expected on_failure 'fail' or 'collect', got {on_failure!r}")
    return on_failure == "collect"
