"""Map-reduce: every review of a shop is read by itself, and a function counts what came.

python map_reduce.py [--model openai:gpt-5-mini]
"""

from collections import Counter
from typing import Literal

import msgspec
from _models import js, run, show

from taut.agent import Agent
from taut.agent.patterns import Mapped, MapReduce
from taut.llm.model import Model
from taut.testing import FunctionModel

REVIEWS = """\
The tea is wonderful, and it came the next day.
Arrived broken, nobody answers my mail.
Fine tea. The parcel was late again.
Best shop in town!"""


class Opinion(msgspec.Struct):
    mood: Literal["good", "mixed", "bad"]
    about: list[Literal["tea", "delivery", "service"]]


class Summary(msgspec.Struct):
    moods: dict[str, int]
    complaints: dict[str, int]


def read(request) -> str:
    text = request.messages[-1].text.lower()
    about = [
        word
        for word, marks in {"tea": "tea", "delivery": "parcel", "service": "mail"}.items()
        if marks in text
    ]
    mood = "bad" if "broken" in text else "mixed" if "late" in text else "good"
    return js(mood=mood, about=about)


def lines(text: str) -> list[str]:
    return text.splitlines()


def count(read: list[Mapped]) -> Summary:
    opinions = [one.output for one in read]
    complaints = Counter(what for one in opinions if one.mood != "good" for what in one.about)
    return Summary(dict(Counter(one.mood for one in opinions)), dict(complaints))


async def main(model: Model) -> None:
    reader = Agent(
        "reader",
        model=model,
        instructions="Say how content the customer is, and with what the review deals.",
        output=Opinion,
    )
    survey = MapReduce("survey", split=lines, map=reader, reduce=count, limit=2, retries=1)
    summary = (await show(survey, REVIEWS)).output
    print(f"moods: {summary.moods}")
    print(f"complaints: {summary.complaints}")


if __name__ == "__main__":
    run(main, FunctionModel(read))
