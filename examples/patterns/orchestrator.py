"""An orchestrator: a planner divides a party among a cook, a shopper and a host; what can be done together, is.

python orchestrator.py [--model openai:gpt-5-mini]
"""

from _models import js, run, show

from taut.agent import Agent
from taut.agent.patterns import Orchestrator
from taut.llm.model import Model
from taut.testing import KeyedModel

OBJECTIVE = "Plan a birthday dinner for 8, two of them vegetarian, with 100 euros"


def task(id: str, worker: str, task: str, *needs: str) -> dict:
    return {"id": id, "worker": worker, "task": task, "needs": list(needs)}


OFFLINE = KeyedModel(
    {
        "You plan work": [
            # The first plan names somebody that there is not: it is told back, and made again.
            js(tasks=[task("menu", "chef", "A menu for 8, two vegetarian")]),
            js(
                tasks=[
                    task("menu", "cook", "A menu for 8, two of them vegetarian, for 100 euros"),
                    task("list", "shopper", "What to buy, with prices", "menu"),
                    task("seats", "host", "Seat 8 guests at a long table"),
                    task("evening", "host", "The order of the evening", "menu", "seats"),
                ]
            ),
        ],
        "You cook": ["Mushroom risotto, salad, lemon cake."],
        "You shop": ["Rice 6, mushrooms 20, salad 10, cheese 14, cake 18: 68 euros."],
        "You host": [
            "Four on each side, the birthday child in the middle.",
            "19:00 salad, 19:30 risotto, 21:00 cake.",
        ],
        "Others have worked": [
            "Risotto for all at 19:00; shopping costs 68 of 100 euros; seats four by four."
        ],
    }
)


async def main(model: Model) -> None:
    workers = [
        Agent("cook", model=model, description="makes menus", instructions="You cook. Answer in one line."),
        Agent(
            "shopper", model=model, description="buys things", instructions="You shop. Answer in one line."
        ),
        Agent(
            "host",
            model=model,
            description="looks after guests",
            instructions="You host. Answer in one line.",
        ),
    ]
    party = Orchestrator("party", model, workers=workers, plan="full")
    result = await show(party, OBJECTIVE)
    print(result.output)
    print(f"{result.usage.requests} requests")


if __name__ == "__main__":
    run(main, OFFLINE)
