"""The investigation within deep research: questions in a queue, workers that answer them, and a model that checks
what is still missing. It stops when its means are used up, and keeps what it has found.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, final

import msgspec
from msgspec import Struct

from taut.agent.agent import Agent
from taut.agent.base import BaseAgent
from taut.agent.budget import Budget
from taut.agent.patterns.choosing import listed
from taut.agent.patterns.kinds import choice_of, list_of
from taut.agent.patterns.knowledge import Fact, Findings, Knowledge, same
from taut.agent.patterns.pattern import branch, part
from taut.agent.result import RunResult
from taut.agent.run import Failure, Run
from taut.errors import BudgetExceeded
from taut.llm.model import Model

__all__ = ["Found", "Investigation", "Limits"]

PLANNER = """\
You plan research; you do none of it yourself. Divide the objective into questions that can be answered one by one, \
the most important first, each for one of these workers:

{workers}

A worker sees its question and nothing else: write down all that it has to know."""
VERIFIER = """\
You check research against its objective: the plan, the questions that are open, and what is known. Say what is \
missing or contradictory, then whether the objective can be reached with what is known, and if not, which questions \
are to be asked besides those that are planned, each for one of these workers:

{workers}

Do not ask for what is known, planned, or could not be found."""
READER = """\
List the facts in what you are given, each a sentence that can be understood alone, with the sources that it names. \
Add nothing."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much is investigated: questions in all, rounds of them, questions at a time."""

    max_tasks: int
    max_rounds: int
    at_a_time: int


class Found(Struct, frozen=True):
    """What an investigation ends with. ``complete`` is what the verifier says; ``reason`` is why it ended."""

    facts: tuple[Fact, ...]
    complete: bool
    reason: str
    open: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing to find out, and by whom."""

    question: str
    worker: str


@final
class _Notebook:
    """What one investigation has done: its queue, and what came of it."""

    def __init__(self, workers: Mapping[str, BaseAgent[Any]]) -> None:
        self._workers = workers
        self.queue: deque[Question] = deque()
        self.knowledge = Knowledge()
        self.answered: list[str] = []
        self.failed: list[str] = []
        self.begun = 0
        self._seen: set[str] = set()

    def plan(self, questions: Iterable[Question]) -> list[Question]:
        """Take questions that are new; returns them. A worker that there is not is replaced by the first."""
        new = []
        for one in questions:
            if one.worker not in self._workers:
                one = Question(one.question, next(iter(self._workers)))
            if same(one.question) not in self._seen:
                self._seen.add(same(one.question))
                new.append(one)
        self.queue.extend(new)
        return new

    @property
    def text(self) -> str:
        """How far it is, as the verifier reads it."""
        parts = {
            "Known": self.knowledge.text,
            "Answered questions": "\n".join(f"- {one}" for one in self.answered),
            "Could not be answered": "\n".join(f"- {one}" for one in self.failed),
            "Planned questions": "\n".join(f"- {one.question}" for one in self.queue),
        }
        return "\n\n".join(f"## {title}\n{text or 'None.'}" for title, text in parts.items())

    def found(self, complete: bool, reason: str) -> Found:
        """Return what there is."""
        left = tuple(one.question for one in self.queue)
        return Found(self.knowledge.facts, complete, reason, left, tuple(self.failed))


@final
class Investigation(BaseAgent[Found]):
    """Investigates within ``effort`` and ``limits``; when they are used up, it returns what it has found.

    A budget of the runs above it ends it as any other run.
    """

    def __init__(
        self, model: Model, workers: Mapping[str, BaseAgent[Any]], effort: Budget | None, limits: Limits
    ) -> None:
        # Its time is watched in `work`, which keeps what was found; outside, it would be lost.
        budget = None if effort is None else msgspec.structs.replace(effort, time_s=None)
        super().__init__("investigation", budget=budget)
        self._time_s = None if effort is None else effort.time_s
        self._workers = workers
        self._limits = limits
        told = listed({name: agent.description for name, agent in workers.items()})
        question = msgspec.defstruct(
            "Question",
            [("worker", choice_of(workers))],
            bases=(Question,),
            frozen=True,
            forbid_unknown_fields=True,
        )
        plan = msgspec.defstruct(
            "ResearchPlan", [("questions", list_of(question))], frozen=True, forbid_unknown_fields=True
        )
        verdict = msgspec.defstruct(
            "Verdict",
            [("missing", str), ("complete", bool), ("questions", list_of(question))],
            frozen=True,
            forbid_unknown_fields=True,
        )
        self._planner: Agent[Any] = Agent(
            "planner", model=model, instructions=PLANNER.format(workers=told), output=plan
        )
        self._verifier: Agent[Any] = Agent(
            "verifier", model=model, instructions=VERIFIER.format(workers=told), output=verdict
        )
        self._reader: Agent[Findings] = Agent("reader", model=model, instructions=READER, output=Findings)

    @property
    def output_type(self) -> Any:
        """`Found`."""
        return Found

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return [*self._workers.values(), self._planner, self._verifier, self._reader]

    async def work(self, run: Run[Found]) -> Found:
        """See `taut.agent.BaseAgent`."""
        notebook = _Notebook(self._workers)
        complete, reason = False, ""
        try:
            async with asyncio.timeout(self._time_s) as limit:
                complete, reason = await self._investigate(run, notebook)
        except TimeoutError:
            if not limit.expired():
                raise
            reason = f"The time for research is over: {self._time_s:g} s"
            run.withdraw()
        except BudgetExceeded as error:
            if error.owner is not run.meter:
                raise
            reason = str(error)
        run.note("research ended", reason, notebook.found(complete, reason))
        return notebook.found(complete, reason)

    async def _investigate(self, run: Run[Found], notebook: _Notebook) -> tuple[bool, str]:
        """Go on until it is complete, or there is a reason to stop; returns both.

        :raises taut.errors.BudgetExceeded: the means are used up.
        """
        plan = (await part(run, self._planner, run.task, "plan", history=run.history)).output
        self._note(run, "plan", notebook.plan(plan.questions))
        for number in range(1, self._limits.max_rounds + 1):
            if not notebook.queue:
                return False, "There is nothing left to ask"
            await self._round(run, notebook)
            verdict = (await part(run, self._verifier, _told(run, notebook), f"verdict.{number}")).output
            told = "complete" if verdict.complete else "incomplete"
            run.note("verdict", f"{told}: {verdict.missing}" if verdict.missing else told, verdict)
            if verdict.complete:
                return True, verdict.missing or "The verifier is content"
            self._note(run, "more questions", notebook.plan(verdict.questions))
            if notebook.begun >= self._limits.max_tasks:
                return False, f"All {self._limits.max_tasks} questions that are allowed have been asked"
        return False, f"There were {self._limits.max_rounds} rounds of questions"

    def _note(self, run: Run[Found], topic: str, questions: list[Question]) -> None:
        if questions:
            run.note(topic, "; ".join(f"{one.worker}: {one.question}" for one in questions), questions)

    async def _round(self, run: Run[Found], notebook: _Notebook) -> None:
        """Have the next questions answered.

        :raises taut.errors.BudgetExceeded: the means are used up; what came before is in the notebook.
        """
        left = self._limits.max_tasks - notebook.begun
        asked = list(notebook.queue)[: min(left, self._limits.at_a_time)]
        first = notebook.begun
        notebook.begun += len(asked)
        answers: dict[Question, Findings | Failure] = {}

        async def answer(question: Question, number: int) -> BudgetExceeded | None:
            answered = await self._answer(run, question, number)
            if isinstance(answered, BudgetExceeded):
                return answered
            answers[question] = answered
            return None

        try:
            ends = await run.gather(answer(one, number) for number, one in enumerate(asked, first))
        finally:  # when the time is over, what has come is kept
            for one in asked:
                if one in answers:
                    self._take(run, notebook, one, answers[one])
        for ended in ends:
            if ended is not None:
                raise ended

    def _take(
        self, run: Run[Found], notebook: _Notebook, question: Question, answer: Findings | Failure
    ) -> None:
        notebook.queue.remove(question)
        if isinstance(answer, Failure):
            notebook.failed.append(f"{question.question} ({answer.error})")
            run.note("failed question", f"{question.question}: {answer.error}")
            return
        notebook.answered.append(question.question)
        new = notebook.knowledge.add(answer.facts)
        run.note("facts", f"{new} new of {len(answer.facts)}: {question.question}", answer)

    async def _answer(
        self, run: Run[Found], question: Question, number: int
    ) -> Findings | Failure | BudgetExceeded:
        """Return what a worker has found. A failure of its own does not end the investigation, and when the means are
        used up, the others may still end what they are about.
        """
        worker = self._workers[question.worker]
        try:
            result = await branch(run, worker, question.question, f"task.{number}", collect=True)
            if isinstance(result, RunResult) and not isinstance(result.output, Findings):
                told = f"Question: {question.question}\n\nAnswer of {worker.name}:\n\n{result.text}"
                result = await branch(run, self._reader, told, f"reading.{number}", collect=True)
        except BudgetExceeded as error:
            if error.owner is not run.meter:
                raise
            return error
        if isinstance(result, Failure):
            return result
        findings: Findings = result.output
        return findings


def _told(run: Run[Found], notebook: _Notebook) -> str:
    return f"The objective:\n\n{run.text}\n\n{notebook.text}"
