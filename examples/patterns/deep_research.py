"""Deep research: questions, facts with their sources, a check of what is missing, and a report within a budget.

python deep_research.py [--model openai:gpt-5-mini]
"""

from _models import js, run, show

from taut.agent import Budget
from taut.agent.patterns import DeepResearch
from taut.llm.model import Model
from taut.testing import KeyedModel, call

LIBRARY = {
    "bees.txt": "A honey bee visits up to 5,000 flowers a day.",
    "winter.txt": "In winter bees form a cluster and keep it at 20 degrees or more by shivering.",
    "honey.txt": "A colony needs about 20 kilograms of honey for a winter.",
}


def search(words: str) -> dict[str, str]:
    """Search the library; returns texts by file."""
    wanted = words.lower().split()
    return {name: text for name, text in LIBRARY.items() if any(word in text.lower() for word in wanted)}


def ask(question: str) -> dict:
    return {"question": question, "worker": "researcher"}


def research(request) -> object:
    last = request.messages[-1]
    if last.role == "user":
        return call("search", words="winter" if "winter" in last.text else "flowers")
    found = dict(line for line in LIBRARY.items() if line[1] in last.content[0].text)
    return js(facts=[{"text": text, "sources": [name]} for name, text in found.items()])


OFFLINE = KeyedModel(
    {
        "You plan research": [js(questions=[ask("How many flowers do bees visit?")])],
        "Answer the question": [research] * 4,
        "You check research": [
            js(
                missing="how they live through winter",
                complete=False,
                questions=[ask("What do bees do in winter?")],
            ),
            js(missing="", complete=True, questions=[]),
        ],
        "Write a report": [
            "Bees visit up to 5,000 flowers a day [1]. In winter they shiver in a cluster of 20 degrees [2] and eat "
            "20 kilograms of honey [3]."
        ],
    }
)


async def main(model: Model) -> None:
    agent = DeepResearch(
        "bees",
        model,
        tools=[search],
        effort=Budget(model_calls=20, time_s=300),  # used up, the report is written from what there is
        max_rounds=3,
    )
    report = (await show(agent, "How do bees live, in summer and in winter?")).output
    print(report.text)
    for fact in report.facts:
        print(f"- {fact.text} ({', '.join(fact.sources)})")
    print(f"complete: {report.complete}")


if __name__ == "__main__":
    run(main, OFFLINE)
