"""Parallel: three reviewers read a change at the same time, and a lead makes one review of theirs.

python parallel.py [--model openai:gpt-5-mini]
"""

from _models import run, show

from taut.agent import Agent
from taut.agent.patterns import Parallel
from taut.errors import ModelUnavailable
from taut.llm.model import Model
from taut.testing import KeyedModel

CHANGE = """\
def find(db, name):
    return [row for row in db.execute(f"SELECT * FROM users WHERE name = '{name}'")]"""

OFFLINE = KeyedModel(
    {
        "security": ["The name is pasted into the SQL: anybody can read all users. Pass it as a parameter."],
        "speed": ["SELECT * reads every column, and the list keeps every row. Name the columns and iterate."],
        "style": [ModelUnavailable("the third model is busy")],
        "Write one review": [
            "Blocker: SQL injection, use a parameter. Then: name the columns, return an iterator."
        ],
    }
)


async def main(model: Model) -> None:
    def reviewer(subject: str) -> Agent:
        return Agent(
            subject, model=model, instructions=f"Review this change for {subject} only. One or two sentences."
        )

    review = Parallel(
        "review",
        [reviewer("security"), reviewer("speed"), reviewer("style")],
        fan_in=Agent("lead", model=model, instructions="Write one review, the worst first. Be brief."),
        on_failure="collect",  # a reviewer who is away does not stop the review
    )
    print((await show(review, CHANGE)).output)


if __name__ == "__main__":
    run(main, OFFLINE)
