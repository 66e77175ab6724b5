"""Voting: a model that errs sometimes is asked until one answer is two votes ahead.

python voting.py [--model openai:gpt-5-mini]
"""

import re

from _models import run, show

from taut.agent import Agent
from taut.agent.patterns import Voting
from taut.llm.model import Model
from taut.testing import ScriptedModel

PUZZLE = (
    "A bat and a ball cost 1.10 together. The bat costs 1.00 more than the ball. What does the ball cost?"
)

OFFLINE = ScriptedModel(
    "The ball costs 0.10.",
    "Let the ball be x: x + (x + 1.00) = 1.10, so x = 0.05",
    "I would say 0.05.",
    "It depends.",  # no number: discarded
    "0.05",
)


def number(answer: str) -> str | None:
    """What an answer counts as: its last number; without one, it is no vote."""
    found = re.findall(r"\d+\.\d+", answer)
    return found[-1] if found else None


async def main(model: Model) -> None:
    solver = Agent(
        "solver",
        model=model,
        instructions="Solve the puzzle. End with the number, in the form 0.00.",
    )
    vote = Voting("vote", solver, ahead=2, n=15, normalise=number)
    result = await show(vote, PUZZLE)
    print(f"{number(result.output)}, after {result.usage.requests} votes")


if __name__ == "__main__":
    run(main, OFFLINE)
