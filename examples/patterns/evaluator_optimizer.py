"""Evaluator and optimizer: a commit message is written again until the project's rules are kept.

python evaluator_optimizer.py [--model openai:gpt-5-mini]
"""

from _models import run, show

from taut.agent import Agent
from taut.agent.patterns import EvaluatorOptimizer, Score
from taut.llm.model import Model
from taut.testing import ScriptedModel

CHANGE = (
    "The client waits for the pause that a server asks for (Retry-After) before it sends a request again."
)

OFFLINE = ScriptedModel(
    "Added support for the Retry-After header in the HTTP client's logic for retries.",
    "client: added Retry-After support",
    "client: heed Retry-After before a retry",
)


def rules(task: str, message: str) -> Score:
    """Judge a message: an evaluator may be a function, or an agent whose output is a Score or an Evaluation."""
    subject = message.splitlines()[0]
    area, colon, rest = subject.partition(": ")
    broken = []
    if len(subject) > 50:
        broken.append(f"expected at most 50 characters, got {len(subject)}")
    if not colon or " " in area:
        broken.append("expected an area and a colon first")
    if (rest or subject).split()[0].lower() in ("added", "adds", "fixed", "fixes", "changed"):
        broken.append("expected the imperative mood")
    return Score(
        feedback="; ".join(broken) or "fine", score=1 - len(broken) / 3, needs_improvement=bool(broken)
    )


async def main(model: Model) -> None:
    writer = Agent(
        "writer",
        model=model,
        instructions="Write the subject line of the commit message for a change. Answer with the line only.",
    )
    message = EvaluatorOptimizer("message", writer, rules, min_rating=1.0, max_rounds=4)
    print((await show(message, CHANGE)).output)


if __name__ == "__main__":
    run(main, OFFLINE)
