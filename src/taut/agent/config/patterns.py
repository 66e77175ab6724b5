"""The patterns of a configuration: a table each, whose keys are the arguments of the pattern's class.

To add a pattern is to add its table, and to name that in `PATTERNS`: what the keys are, types and docstring say.
"""

from __future__ import annotations

import importlib
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from msgspec import Meta, inspect

from taut.agent.base import BaseAgent
from taut.agent.budget import Budget
from taut.agent.config.kinds import AgentName, AnyTable, CodeName, ModelName, Table, ToolTable
from taut.agent.config.parts import Parts

__all__ = ["PATTERNS"]

#: An agent of the file, or a function in Python, which has a colon in its name.
AgentOrCode: TypeAlias = Annotated[str, Meta(extra={"names": "agents", "code": True})]
#: What the failure of one of several does: it fails the run, or is collected beside the outputs of the others.
OnFailure: TypeAlias = Literal["fail", "collect"]


class PatternTable(AnyTable, frozen=True, kw_only=True):
    """A pattern: agents that work together are an agent. ``made`` is the name of its class in `taut.agent.patterns`."""

    made: ClassVar[str]

    def build(self, name: str, parts: Parts) -> BaseAgent[Any]:
        """See `AnyTable`."""
        own = {
            field.name: value
            for field in inspect.type_info(type(self)).fields  # type: ignore[attr-defined]
            if field.name not in AnyTable.__struct_fields__
            and (value := _resolved(getattr(self, field.name), field.type, parts)) is not None
        }
        made = getattr(importlib.import_module("taut.agent.patterns"), self.made)
        agent: BaseAgent[Any] = made(name, **self.arguments(own), **self.common(parts))
        return agent

    def arguments(self, own: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the class, from its keys with agents, models and code in place of their names."""
        return own


def _resolved(value: Any, kind: inspect.Type, parts: Parts) -> Any:
    """Return ``value`` with what its texts are the names of."""
    match value:
        case str():
            return _named(value, _extra(kind), parts)
        case tuple() | list():
            item = next(one for one in _members(kind) if isinstance(one, inspect.VarTupleType))
            return [_resolved(one, item.item_type, parts) for one in value]
        case dict():
            of = next(one for one in _members(kind) if isinstance(one, inspect.DictType))
            return {key: _resolved(one, of.value_type, parts) for key, one in value.items()}
        case IntentTable():
            return value.intent()
        case ToolTable():
            return parts.tool(value)
    return value


def _named(text: str, extra: dict[str, Any], parts: Parts) -> Any:
    if text in extra.get("words", ()):
        return text
    if extra.get("code") and ":" in text:
        return parts.code.load(text)
    match extra.get("names"):
        case "agents":
            return parts.agent(text)
        case "models":
            return parts.model(text)
    return text


def _members(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _extra(kind: inspect.Type) -> dict[str, Any]:
    """Return what the type of a text says of it."""
    for one in _members(kind):
        if isinstance(one, inspect.Metadata) and one.extra is not None:
            return one.extra
    return {}


# -- the patterns


class ChainTable(PatternTable, frozen=True, kw_only=True, tag="chain"):
    """Agents one after another: the first gets the task, each other one the output of the one before it.

    - ``agents``: in their order.
    - ``template``: the text of every task but the first; ``{task}`` is that of the chain, ``{output}`` what was
      answered last, ``{done}`` by whom, ``{following}`` whose task it is.
    - ``between``: a function in Python that makes these tasks.
    - ``gate``: a function that returns why the chain is to stop here, or nothing.
    """

    made = "Chain"
    agents: tuple[AgentName, ...]
    template: str | None = None
    between: CodeName | None = None
    gate: CodeName | None = None


class RouterTable(PatternTable, frozen=True, kw_only=True, tag="router"):
    """Chooses one of several agents by their descriptions, and has it do the task.

    - ``model``: what chooses.
    - ``choose``: a function of the task's text that chooses in its place.
    - ``routes``: agents, each with a ``description``.
    - ``fallback``: an agent for what fits nobody.
    - ``threshold``: the confidence, from 0 to 1, below which nobody fits.
    - ``top_k``: have so many do the task side by side.
    - ``on_failure``: of one of several: ``fail`` or ``collect``.
    """

    made = "Router"
    routes: tuple[AgentName, ...]
    model: ModelName | None = None
    choose: CodeName | None = None
    fallback: AgentName | None = None
    threshold: float | None = None
    top_k: int | None = None
    on_failure: OnFailure | None = None

    def arguments(self, own: dict[str, Any]) -> dict[str, Any]:
        """See `PatternTable`: a default model is not asked where a function chooses."""
        return {key: one for key, one in own.items() if key != "model" or self.choose is None}


class IntentTable(Table, frozen=True, kw_only=True):
    """One intent.

    - ``description``: what it means.
    - ``examples``: what people say who have it.
    - ``slots``: what they may say about it: names, and what each means.
    """

    description: str
    examples: tuple[str, ...] = ()
    slots: dict[str, str] | None = None

    def intent(self) -> Any:
        """Return it as the pattern takes it."""
        from taut.agent.patterns import Intent

        return Intent(self.description, self.examples, self.slots or {})


class IntentClassifierTable(PatternTable, frozen=True, kw_only=True, tag="intent-classifier"):
    """Says which of several intents a text has.

    - ``model``: what classifies.
    - ``intents``: by name: descriptions, or tables.
    - ``top_k``: how many guesses are ranked.
    - ``threshold``: the confidence, from 0 to 1, below which it is ``none``.
    """

    made = "IntentClassifier"
    intents: dict[str, str | IntentTable]
    model: ModelName | None = None
    top_k: int | None = None
    threshold: float | None = None


class ParallelTable(PatternTable, frozen=True, kw_only=True, tag="parallel"):
    """Gives its task to several agents side by side.

    - ``branches``: agents.
    - ``fan_in``: an agent that gets the task and all answers, or a function in Python.
    - ``on_failure``: of one: ``fail`` cancels the others, ``collect`` goes on with the answers that there are.
    - ``limit``: how many go on at a time.
    """

    made = "Parallel"
    branches: tuple[AgentName, ...]
    fan_in: AgentOrCode | None = None
    on_failure: OnFailure | None = None
    limit: int | None = None


class MapReduceTable(PatternTable, frozen=True, kw_only=True, tag="map-reduce"):
    """Splits its task, has an agent do each item, and makes one output of what came.

    - ``split``: a function of the task's text, or an agent whose output is an array.
    - ``map``: the agent that gets each item as its task.
    - ``reduce``: an agent that gets the task and all results, or a function in Python.
    - ``on_failure``: of an item, after all attempts: ``fail`` or ``collect``.
    - ``retries``: further attempts at an item that has failed.
    - ``limit``: how many items are done at a time.
    - ``max_items``: how many there may be.
    """

    made = "MapReduce"
    split: AgentOrCode
    map: AgentName
    reduce: AgentOrCode | None = None
    on_failure: OnFailure | None = None
    retries: int | None = None
    limit: int | None = None
    max_items: int | None = None


class OrchestratorTable(PatternTable, frozen=True, kw_only=True, tag="orchestrator"):
    """Reaches an objective with several agents, by a plan that a model makes.

    - ``model``: what plans, and answers in the end.
    - ``workers``: agents, each with a ``description``.
    - ``plan``: ``full``: all at once; ``iterative``: one step after another, with the results so far in sight.
    - ``max_steps``, ``max_tasks``: steps one after another, and tasks of one plan.
    - ``repairs``: how often a plan that cannot be carried out is told back.
    - ``synthesiser``: an agent that makes the answer of the results.
    - ``on_failure``: of a task: ``fail`` or ``collect``.
    - ``limit``: how many tasks are done at a time.
    """

    made = "Orchestrator"
    workers: tuple[AgentName, ...]
    model: ModelName | None = None
    plan: Literal["full", "iterative"] | None = None
    max_steps: int | None = None
    max_tasks: int | None = None
    repairs: int | None = None
    synthesiser: AgentName | None = None
    on_failure: OnFailure | None = None
    limit: int | None = None


class EvaluatorOptimizerTable(PatternTable, frozen=True, kw_only=True, tag="evaluator-optimizer"):
    """Has one agent answer and another judge, until the answer is good enough.

    - ``generator``: the agent that answers.
    - ``evaluator``: an agent with ``output = "taut.agent.patterns:Evaluation"``, or ``Score`` of the same module, or
      a function in Python.
    - ``min_rating``: good enough: ``poor``, ``fair``, ``good``, ``excellent``, or a number from 0 to 1.
    - ``until``: a function in Python that says whether an evaluation is good enough.
    - ``max_rounds``: how many answers there are at most.
    - ``on_failure``: once there is an answer: ``collect`` takes the best so far.
    """

    made = "EvaluatorOptimizer"
    generator: AgentName
    evaluator: AgentOrCode
    min_rating: Literal["poor", "fair", "good", "excellent"] | float | None = None
    until: CodeName | None = None
    max_rounds: int | None = None
    on_failure: OnFailure | None = None

    def arguments(self, own: dict[str, Any]) -> dict[str, Any]:
        """See `PatternTable`."""
        if isinstance(self.min_rating, str):
            from taut.agent.patterns import Rating

            own["min_rating"] = Rating(self.min_rating)
        return own


class SwarmTable(PatternTable, frozen=True, kw_only=True, tag="swarm"):
    """Agents that hand the conversation over to each other.

    - ``agents``: each with a ``description``; the first one begins.
    - ``first``: another one that begins.
    - ``paths``: who may hand over to whom; agents that are not in it may to all others.
    - ``max_handoffs``: past it, whoever has the conversation is told to answer.
    """

    made = "Swarm"
    agents: tuple[AgentName, ...]
    first: str | None = None
    paths: dict[str, tuple[str, ...]] | None = None
    max_handoffs: int | None = None


class DeepResearchTable(PatternTable, frozen=True, kw_only=True, tag="deep-research"):
    """Researches an objective in rounds of questions and facts, until a verifier is content, and writes a report.

    - ``model``: what plans, verifies and writes.
    - ``workers``: agents that answer questions, each with a ``description``.
    - ``tools``: functions in Python of one more worker, which ``model`` plays.
    - ``effort``: what research may use; the report is written besides.
    - ``max_tasks``, ``max_rounds``, ``at_a_time``: questions in all, rounds of them, and how many side by side.
    - ``writer``: an agent that writes the report.
    """

    made = "DeepResearch"
    model: ModelName | None = None
    workers: tuple[AgentName, ...] = ()
    tools: tuple[CodeName | ToolTable, ...] = ()
    effort: Budget | None = None
    max_tasks: int | None = None
    max_rounds: int | None = None
    at_a_time: int | None = None
    writer: AgentName | None = None


class VotingTable(PatternTable, frozen=True, kw_only=True, tag="voting"):
    """Asks several agents, or one several times, and takes the answer that most of them give.

    - ``voters``: agents with a vote each; or one, which votes ``n`` times.
    - ``n``: how many votes of one agent; with ``ahead``, how many at most.
    - ``choose``: ``majority``, or a function in Python of all votes.
    - ``ahead``: ask on until one answer is so many votes ahead.
    - ``quorum``: how many votes there must be.
    - ``tie``: without a winner: ``fail``, ``first``, or an agent that decides.
    - ``normalise``: a function in Python: what an output counts as.
    - ``limit``: how many vote at a time.
    """

    made = "Voting"
    voters: tuple[AgentName, ...]
    n: int | None = None
    choose: Annotated[str, Meta(extra={"code": True, "words": ("majority",)})] | None = None
    ahead: int | None = None
    quorum: int | None = None
    tie: Annotated[str, Meta(extra={"names": "agents", "words": ("fail", "first")})] | None = None
    normalise: CodeName | None = None
    limit: int | None = None


PATTERNS: TypeAlias = (
    ChainTable
    | RouterTable
    | IntentClassifierTable
    | ParallelTable
    | MapReduceTable
    | OrchestratorTable
    | EvaluatorOptimizerTable
    | SwarmTable
    | DeepResearchTable
    | VotingTable
)
