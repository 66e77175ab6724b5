"""Evaluation and improvement: when it is good enough, what the generator is told, and what comes out in the end."""

from __future__ import annotations

from typing import Any

import pytest

from agent.patterns.cases import Kit, improving, js, said
from agent.worlds import run
from taut.agent import events as ev
from taut.agent.patterns import Evaluation, EvaluatorOptimizer, Rating, Score
from taut.errors import ConfigError, ModelUnavailable


class Rounds:
    """Answers that are numbered, and scores for them."""

    def __init__(self, *scores: float, content: bool = False) -> None:
        self.scores, self.content, self.kit = scores, content, Kit()
        self.number = 0

    def generate(self, request: Any) -> str:
        self.number += 1
        return f"answer {self.number}"

    def evaluate(self, task: str, output: str) -> Score:
        return Score(f"{output} to {task}", self.scores[self.number - 1], not self.content)

    def agent(self, **options: Any) -> EvaluatorOptimizer:
        return EvaluatorOptimizer("better", self.kit.agent("writer", self.generate), self.evaluate, **options)


@pytest.mark.parametrize(
    ("scores", "options", "output", "rounds"),
    [
        ((0.1, 0.9), {"min_rating": 0.8}, "answer 2", 2),
        ((0.7,), {}, "answer 1", 1),
        ((0.6, 0.2, 0.5), {}, "answer 1", 3),
        ((0.2, 0.4, 0.4), {}, "answer 2", 3),
        ((0.9, 0.95, 0.1), {"min_rating": 1.0}, "answer 2", 3),
        ((0.9, 0.95, 1.0), {"min_rating": Rating.EXCELLENT}, "answer 3", 3),
        ((0.0,), {"min_rating": 0}, "answer 1", 1),
        ((0.9, 0.3), {"until": lambda judged: judged.score < 0.5}, "answer 2", 2),
        ((0.3,), {"max_rounds": 1}, "answer 1", 1),
    ],
)
def test_the_best_answer_comes_out(scores: Any, options: Any, output: str, rounds: int) -> None:
    it = Rounds(*scores)
    assert run(it.agent(**options).run("T")).output == output
    assert it.number == rounds


def test_what_needs_no_improvement_is_good_enough() -> None:
    assert run(Rounds(0.2, content=True).agent().run("T")).output == "answer 1"


def test_the_generator_is_told_what_was_wrong() -> None:
    it = Rounds(0.25, 0.9)
    heard: list[ev.Event] = []
    run(it.agent().run("Write", listener=heard.append))
    assert it.kit.prompts[1] == (
        "writer",
        "Write\n\nThis was your last answer:\n\nanswer 1\n\nIt was evaluated (0.25 of 1):\n\nanswer 1 to Write\n\n"
        "Give a better answer, the whole of it.",
    )
    notes = [event.text for event in heard if isinstance(event, ev.Noted)]
    assert notes == ["round 1: 0.25, answer 1 to Write", "round 2: 0.90, answer 2 to Write"]


def test_an_evaluator_sees_task_and_answer() -> None:
    kit = Kit()
    run(improving(kit).run("Write"))
    told = [asked for name, asked in kit.prompts if name == "evaluator"]
    assert told[0] == "Evaluate this answer.\n\nThe task:\n\nWrite\n\nThe answer:\n\ndraft"


def test_ratings_are_ordered() -> None:
    assert [rating.value_of_1 for rating in Rating] == [0, 1 / 3, 2 / 3, 1]
    assert Evaluation("", Rating.FAIR, True).value == 1 / 3
    schema = improving(Kit()).members()[1].output_type
    assert schema is Evaluation


def test_an_answer_that_cannot_be_evaluated_may_be_taken() -> None:
    kit = Kit("fail", {"evaluator": ""})
    assert run(improving(kit, on_failure="collect").run("T")).output == "draft"
    with pytest.raises(ModelUnavailable):
        run(improving(kit).run("T"))
    kit = Kit("fail", {"evaluator": "better"})
    assert run(improving(kit, on_failure="collect").run("T")).output == "draft"


def test_without_an_answer_there_is_nothing_to_take() -> None:
    with pytest.raises(ModelUnavailable):
        run(improving(Kit("fail", {"generator": ""}), on_failure="collect").run("T"))


def test_an_evaluator_may_give_a_number() -> None:
    kit = Kit()
    evaluator = kit.agent("judge", lambda request: js(Score("ok", 0.9, True)), output=Score)
    agent = EvaluatorOptimizer("better", kit.agent("writer", said), evaluator)
    assert run(agent.run("T")).output == "T"


def unsaid(task: str, output: str):  # type: ignore[no-untyped-def]
    return Score("", 1.0, False)


@pytest.mark.parametrize(
    ("evaluator", "options", "words"),
    [
        (unsaid, {}, "an evaluator that returns an Evaluation or a Score, got typing.Any"),
        (None, {}, "an evaluator that returns an Evaluation or a Score, got <class 'str'>"),
        (
            Rounds().evaluate,
            {"min_rating": 2},
            "a min_rating of 0 to 1 and a max_rounds of at least 1, got 2",
        ),
        (Rounds().evaluate, {"max_rounds": 0}, "a max_rounds of at least 1"),
        (Rounds().evaluate, {"on_failure": "x"}, "on_failure 'fail' or 'collect'"),
    ],
)
def test_what_cannot_work_is_refused(evaluator: Any, options: dict[str, Any], words: str) -> None:
    kit = Kit()
    with pytest.raises(ConfigError, match=words):
        EvaluatorOptimizer("better", kit.agent("a", "x"), evaluator or kit.agent("b", "x"), **options)
