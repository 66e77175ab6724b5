"""`EvaluatorOptimizer`: one generates, one evaluates, until it is good enough; the best is what comes out."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeAlias, Unpack

from msgspec import Struct

from taut.agent.base import BaseAgent
from taut.agent.patterns.choosing import Confidence
from taut.agent.patterns.kinds import returned_by, text_of
from taut.agent.patterns.pattern import (
    OnFailure,
    Options,
    Pattern,
    apply,
    branch,
    collects,
    with_others,
)
from taut.agent.run import Failure, Run
from taut.errors import ConfigError
from taut.llm.messages import Content

__all__ = ["Evaluation", "EvaluatorOptimizer", "Rating", "Score"]

EVALUATE = """\
Evaluate this answer.

The task:

{task}

The answer:

{output}"""
IMPROVE = """\
{task}

This was your last answer:

{output}

It was evaluated ({value:.2f} of 1):

{feedback}

Give a better answer, the whole of it."""


class Rating(enum.StrEnum):
    """How good something is, in a word."""

    POOR = "poor"
    FAIR = "fair"
    GOOD = "good"
    EXCELLENT = "excellent"

    @property
    def value_of_1(self) -> float:
        """The rating as a number from 0 to 1."""
        return list(Rating).index(self) / (len(Rating) - 1)


class Evaluation(Struct, frozen=True, forbid_unknown_fields=True):
    """What an evaluator says, with a rating in words. ``feedback`` is told to the generator."""

    feedback: str
    rating: Rating
    needs_improvement: bool

    @property
    def value(self) -> float:
        """How good it is, from 0 to 1."""
        return self.rating.value_of_1


class Score(Struct, frozen=True, forbid_unknown_fields=True):
    """What an evaluator says, with a number from 0 to 1. ``feedback`` is told to the generator."""

    feedback: str
    score: Confidence
    needs_improvement: bool

    @property
    def value(self) -> float:
        """How good it is, from 0 to 1."""
        return self.score


Judgement: TypeAlias = Evaluation | Score


class EvaluatorOptimizer(Pattern[Any]):
    """Has ``generator`` answer, ``evaluator`` judge, and goes round with the feedback until the answer is good enough.

    The output is the best answer that there was, the first of equals.

    :param evaluator: an agent with the output `Evaluation` or `Score`; or a function of the task's text and the answer
        that returns one of them, which may be async, and says so in its annotation.
    :param min_rating: how good is good enough, as a `Rating` or a number; so is what needs no improvement.
    :param until: says in place of these two whether an evaluation is good enough.
    :param max_rounds: how many answers there are at most.
    :param on_failure: of generator or evaluator, once there is an answer: ``collect`` takes the best so far.
    :raises taut.errors.ConfigError: it cannot work like this.
    """

    def __init__(
        self,
        name: str,
        generator: BaseAgent[Any],
        evaluator: BaseAgent[Any] | Callable[[str, Any], Any],
        *,
        min_rating: Rating | float = Rating.GOOD,
        until: Callable[[Judgement], bool] | None = None,
        max_rounds: int = 3,
        on_failure: OnFailure = "fail",
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        kind = evaluator.output_type if isinstance(evaluator, BaseAgent) else returned_by(evaluator)
        if not (isinstance(kind, type) and issubclass(kind, (Evaluation, Score))):
            raise ConfigError(f"Expected an evaluator that returns an Evaluation or a Score, got {kind}")
        value = min_rating.value_of_1 if isinstance(min_rating, Rating) else float(min_rating)
        if not 0 <= value <= 1 or max_rounds < 1:
            raise ConfigError(
                f"Expected a min_rating of 0 to 1 and a max_rounds of at least 1, got {min_rating} and {max_rounds}"
            )
        self._generator = generator
        self._evaluator = evaluator
        self._judgement = kind
        self._min_value = value
        self._until = until
        self._max_rounds = max_rounds
        self._collect = collects(on_failure)

    @property
    def output_type(self) -> Any:
        """The generator's."""
        return self._generator.output_type

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return [one for one in (self._generator, self._evaluator) if isinstance(one, BaseAgent)]

    async def flow(self, run: Run[Any]) -> Any:
        """See `Pattern`."""
        best: Any = None
        best_value = -1.0
        task: Content = run.task
        for number in range(1, self._max_rounds + 1):
            generator, place = self._generator, f"answer.{number}"
            has_answer = best_value >= 0
            answer = await branch(
                run, generator, task, place, collect=self._collect and has_answer, history=run.history
            )
            if isinstance(answer, Failure):
                run.note("failed", f"{generator.name} in round {number}: {answer.error}")
                break
            judged = await self._judge(run, answer.output, number)
            if isinstance(judged, Failure):
                run.note("failed", f"the evaluation of round {number}: {judged.error}")
                return best if has_answer else answer.output
            run.note("evaluation", f"round {number}: {judged.value:.2f}, {judged.feedback}", judged)
            if self._is_enough(judged):
                return answer.output
            if judged.value > best_value:
                best, best_value = answer.output, judged.value
            told = IMPROVE.format(
                task=run.text,
                output=text_of(answer.output),
                value=judged.value,
                feedback=judged.feedback,
            )
            task = with_others(run, told)
        return best

    def _is_enough(self, judged: Judgement) -> bool:
        if self._until is not None:
            return self._until(judged)
        return judged.value >= self._min_value or not judged.needs_improvement

    async def _judge(self, run: Run[Any], output: Any, number: int) -> Judgement | Failure:
        evaluator = self._evaluator
        if not isinstance(evaluator, BaseAgent):
            judged: Judgement = await apply(
                run, "evaluate", evaluator, run.text, output, returns=self._judgement
            )
            return judged
        task = with_others(run, EVALUATE.format(task=run.text, output=text_of(output)))
        result = await branch(run, evaluator, task, f"evaluation.{number}", collect=self._collect)
        if isinstance(result, Failure):
            return result
        judged = result.output
        return judged
