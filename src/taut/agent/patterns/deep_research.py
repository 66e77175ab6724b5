"""`DeepResearch`: questions are planned, answered by workers and checked, round after round; then a report is written,
also when the means are used up before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Unpack

from msgspec import Struct

from taut.agent.agent import Agent
from taut.agent.base import BaseAgent
from taut.agent.budget import Budget
from taut.agent.patterns.investigation import Found, Investigation, Limits
from taut.agent.patterns.knowledge import Fact, Findings, Knowledge
from taut.agent.patterns.pattern import Options, Pattern, by_name, part, with_others
from taut.agent.run import Run
from taut.errors import ConfigError
from taut.llm.model import Model

__all__ = ["DeepResearch", "ResearchReport"]

RESEARCHER = """\
Answer the question with your tools. List what you find as facts, each a sentence that can be understood alone, with \
its sources: addresses, titles, or names of tools. List nothing that you have not found."""
WRITER = """\
Write a report that answers the objective, from the facts that you are given and nothing else. Cite sources by their \
numbers in brackets, and list those that you cite at the end. Say what is missing or contradictory."""


class ResearchReport(Struct, frozen=True):
    """A report, and what it is made of.

    ``complete`` tells whether the objective was found to be reached; ``reason`` is why research ended. ``open`` are
    questions that were not asked, ``failed`` those without an answer.
    """

    text: str
    complete: bool
    reason: str
    facts: tuple[Fact, ...] = ()
    open: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class DeepResearch(Pattern[ResearchReport]):
    """Researches an objective, and writes a report.

    A planner makes questions, workers answer them, several at a time; facts are kept once, with all their sources.
    After each round a verifier checks plan and knowledge against the objective: it is content, or asks for more.

    :param workers: agents that answer questions. Those with the output `Findings` give facts with their sources; what
        others write is read by ``model``.
    :param tools: of one more worker, ``researcher``, which ``model`` plays.
    :param effort: what research may use; the report is written besides, from what there is. Only ``budget``, and
        those of runs above, end the run without a report.
    :param max_tasks: how many questions there are, ``at_a_time`` of them side by side in one of ``max_rounds`` rounds.
    :param writer: writes the report, from objective and facts; by default an agent of ``model`` does.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        model: Model | str,
        *,
        workers: Sequence[BaseAgent[Any]] = (),
        tools: Iterable[Any] = (),
        effort: Budget | None = None,
        max_tasks: int = 20,
        max_rounds: int = 5,
        at_a_time: int = 4,
        writer: BaseAgent[Any] | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        if min(max_tasks, max_rounds, at_a_time) < 1:
            raise ConfigError(
                "Expected a max_tasks, a max_rounds and an at_a_time of at least 1, got "
                f"{max_tasks}, {max_rounds} and {at_a_time}"
            )
        opened = self._use(model)
        everybody, given = list(workers), list(tools)
        if given:
            about = "Finds facts with its tools"
            everybody.append(
                Agent(
                    "researcher",
                    model=opened,
                    instructions=RESEARCHER,
                    tools=given,
                    output=Findings,
                    description=about,
                )
            )
        limits = Limits(max_tasks=max_tasks, max_rounds=max_rounds, at_a_time=at_a_time)
        self._investigation = Investigation(opened, by_name(everybody, "workers, or tools"), effort, limits)
        self._writer = writer or Agent("writer", model=opened, instructions=WRITER)

    @property
    def output_type(self) -> Any:
        """`ResearchReport`."""
        return ResearchReport

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return [self._investigation, self._writer]

    async def flow(self, run: Run[ResearchReport]) -> ResearchReport:
        """See `Pattern`."""
        result = await run.child(self._investigation, run.task, place="research", history=run.history)
        found: Found = result.output
        text = (await part(run, self._writer, with_others(run, _told(run.text, found)), "report")).text
        return ResearchReport(text, found.complete, found.reason, found.facts, found.open, found.failed)


def _told(objective: str, found: Found) -> str:
    parts = [f"The objective:\n\n{objective}", f"What is known:\n\n{Knowledge(found.facts).text}"]
    missing = [*found.open, *found.failed]
    if not found.complete:
        parts.append(f"Research ended early. {found.reason}.")
    if missing:
        parts.append("Not answered:\n\n" + "\n".join(f"- {one}" for one in missing))
    return "\n\n".join(parts)
