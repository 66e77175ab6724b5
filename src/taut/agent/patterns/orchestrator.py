"""`Orchestrator`: a model plans who does what, workers do it, and one answer is made of their results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, Unpack

from taut.agent.agent import Agent
from taut.agent.base import BaseAgent
from taut.agent.patterns.choosing import listed
from taut.agent.patterns.pattern import (
    OnFailure,
    Options,
    Pattern,
    branch,
    by_name,
    collects,
    part,
    with_others,
)
from taut.agent.patterns.plan import Outcome, Task, carry_out, plan_for, problems_of, told_with
from taut.agent.result import RunResult
from taut.agent.run import Run
from taut.errors import AgentError, ConfigError
from taut.llm.messages import Content
from taut.llm.model import Model

__all__ = ["Orchestrator", "PlanMode"]

PlanMode: TypeAlias = Literal["full", "iterative"]

PLANNER = """\
You plan work for others; you do none of it yourself. These are the workers:

{workers}

A task has an id of its own, a worker, what to do, and the ids of the tasks that it needs. Tasks that do not need each \
other are done at the same time. A worker sees its task and the results of the tasks that it needs, nothing else: \
write down all that it has to know.
"""
FULL = "Plan everything that is needed to reach the objective, with no more than {depth} tasks one after another."
ITERATIVE = """\
Plan only the next step: the tasks that can be said now. You will see their results before you plan on. When the \
results are enough to reach the objective, set "done" and plan no tasks."""
SYNTHESISER = """\
Others have worked towards an objective. Write the answer that the objective asks for, from their results and nothing \
else. Where something is missing, say so."""
REPAIR = "This plan cannot be carried out:\n{problems}\nMake another one, for the same objective."


class Orchestrator(Pattern[Any]):
    """Reaches an objective with ``workers``, by a plan that ``model`` makes.

    :param plan: ``full``: all tasks are planned at once; ``iterative``: one step after another, each with the results
        of those before it in sight, until the planner says that it is done.
    :param max_steps: how many steps there are, one after another; what there is then, is what the answer is made of.
    :param max_tasks: of one plan.
    :param repairs: how often a plan that cannot be carried out is told back: unknown workers, tasks that need each
        other, or what there is not.
    :param synthesiser: makes the answer, from the objective and the results; by default an agent of ``model`` does.
    :param on_failure: of a task. ``collect``: what needs its result is not done; whoever plans on and answers is told.
    :param limit: how many tasks are done at a time.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        model: Model | str,
        *,
        workers: Sequence[BaseAgent[Any]],
        plan: PlanMode = "full",
        max_steps: int = 8,
        max_tasks: int = 32,
        repairs: int = 2,
        synthesiser: BaseAgent[Any] | None = None,
        on_failure: OnFailure = "fail",
        limit: int | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        if plan not in ("full", "iterative"):
            raise ConfigError(f"Expected plan 'full' or 'iterative', got {plan!r}")
        if min(max_steps, max_tasks) < 1 or repairs < 0 or (limit is not None and limit < 1):
            raise ConfigError(
                "Expected a max_steps, a max_tasks and a limit of at least 1 and at least 0 repairs, got "
                f"{max_steps}, {max_tasks}, {limit} and {repairs}"
            )
        self._workers = by_name(workers, "workers")
        self._full = plan == "full"
        self._max_steps = max_steps
        self._max_tasks = max_tasks
        self._repairs = repairs
        self._collect = collects(on_failure)
        self._limit = limit
        opened = self._use(model)
        told = PLANNER.format(workers=listed({key: one.description for key, one in self._workers.items()}))
        self._planner: Agent[Any] = Agent(
            "planner",
            model=opened,
            instructions=told + (FULL.format(depth=max_steps) if self._full else ITERATIVE),
            output=plan_for(self._workers) if self._full else plan_for(self._workers, ("done", bool)),
        )
        self._synthesiser = synthesiser or Agent("synthesiser", model=opened, instructions=SYNTHESISER)

    @property
    def output_type(self) -> Any:
        """The synthesiser's."""
        return self._synthesiser.output_type

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return [*self._workers.values(), self._planner, self._synthesiser]

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        outcomes: dict[str, Outcome] = {}
        planned: list[Task] = []
        for step in range(1, 2 if self._full else self._max_steps + 1):
            plan = await self._plan(run, step, [outcomes[task.id] for task in planned])
            if not self._full and plan.done:
                break
            if not plan.tasks:
                raise AgentError(f"{run.path}: expected a plan with tasks, got none in step {step}")
            planned += plan.tasks
            await self._carry_out(run, plan.tasks, outcomes)
        else:
            if not self._full:
                run.note("steps used up", f"after {self._max_steps} steps", self._max_steps)
        told = _results(run.text, [outcomes[task.id] for task in planned])
        return (await part(run, self._synthesiser, with_others(run, told), "synthesis")).output

    async def _plan(self, run: Run[Any], step: int, outcomes: list[Outcome]) -> Any:
        """Return a plan that can be carried out.

        :raises taut.errors.AgentError: there is none, after all repairs.
        """
        task: Content = run.task
        if outcomes:
            task = with_others(run, f"{_results(run.text, outcomes)}\n\nPlan step {step}.")
        history = list(run.history)
        problems: list[str] = []
        for attempt in range(self._repairs + 1):
            result = await part(run, self._planner, task, f"plan.{step}.{attempt}", history=history)
            plan = result.output
            problems = problems_of(
                plan.tasks,
                self._workers,
                done={one.task.id for one in outcomes},
                max_tasks=self._max_tasks,
                max_depth=self._max_steps if self._full else None,
            )
            if not problems:
                told = "; ".join(f"{one.id} ({one.worker}): {one.task}" for one in plan.tasks)
                run.note("plan", told or "done", plan)
                return plan
            run.note("plan refused", " ".join(problems), problems)
            history += result.messages
            task = REPAIR.format(problems="\n".join(problems))
        raise AgentError(
            f"{run.path}: expected a plan that can be carried out, got, after {self._repairs} repairs: "
            f"{' '.join(problems)}"
        )

    async def _carry_out(self, run: Run[Any], tasks: Sequence[Task], outcomes: dict[str, Outcome]) -> None:
        async def done(task: Task) -> Outcome:
            worker = self._workers[task.worker]
            told = told_with(task, outcomes)
            result = await branch(run, worker, told, f"task.{task.id}", collect=self._collect)
            if isinstance(result, RunResult):
                return Outcome(task, result.text)
            run.note("failed task", f"{task.id} ({task.worker}): {result.error}", task)
            return Outcome(task, result.error, True)

        await carry_out(tasks, done, outcomes, limit=self._limit)


def _results(objective: str, outcomes: Iterable[Outcome]) -> str:
    told = "\n\n".join(
        f"## {one.task.id} ({one.task.worker}{', failed' if one.failed else ''}): {one.task.task}\n{one.text}"
        for one in outcomes
    )
    return f"The objective:\n\n{objective}\n\nThe results so far:\n\n{told or 'There are none.'}"
