"""A router: whoever can help with a ticket gets it; a person gets what nobody else can do.

python router.py [--model openai:gpt-5-mini]
"""

from _models import js, run, show

from taut.agent import Agent
from taut.agent.patterns import Router
from taut.llm.model import Model
from taut.testing import FunctionModel, KeyedModel

TICKETS = [
    "I was charged twice in May",
    "The app crashes when I open a photo",
    "Your song on the radio is nice",
]


def choose(request) -> str:
    text = request.messages[-1].text
    name = "billing" if "charged" in text else "technical" if "crashes" in text else "none"
    return js(ranked=[{"reason": f"'{text[:14]}...'", "name": name, "confidence": 0.9}])


OFFLINE = KeyedModel(
    {
        "Choose who": FunctionModel(choose),
        "invoices": ["The second charge has been found and will be paid back."],
        "software": ["Please update to 4.2, which opens large photos."],
        "person": ["Somebody will read it soon."],
    }
)


async def main(model: Model) -> None:
    def desk(name: str, about: str) -> Agent:
        return Agent(name, model=model, description=about, instructions=f"You answer for: {about}. Be brief.")

    router = Router(
        "desk",
        model,
        routes=[
            desk("billing", "invoices, charges, refunds"),
            desk("technical", "trouble with the software"),
        ],
        fallback=desk("front", "what a person has to read"),
        threshold=0.5,
    )
    async with router:
        for ticket in TICKETS:
            print((await show(router, ticket)).output)


if __name__ == "__main__":
    run(main, OFFLINE)
