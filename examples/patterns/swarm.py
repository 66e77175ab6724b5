"""A swarm: the desk of an airline hands a traveller over to whoever can help; a refund waits for approval.

python swarm.py [--model openai:gpt-5-mini]
"""

from _models import run, show

from taut.agent import Agent, ApprovalRequest, ToolPolicy
from taut.agent.patterns import Swarm
from taut.llm.model import Model
from taut.testing import KeyedModel, call

BOOKINGS = {"K7Q": {"flight": "TA 12", "price": 240, "state": "cancelled by the airline"}}


def booking(code: str) -> dict:
    """Look up a booking."""
    return BOOKINGS.get(code, {})


def refund(code: str, euros: int) -> str:
    """Pay a booking back."""
    return f"{euros} euros go back for {code}"


OFFLINE = KeyedModel(
    {
        "You greet": [call("transfer_to_bookings", task="Find out what happened to booking K7Q")],
        "You know": [
            call("booking", code="K7Q"),
            call("transfer_to_refunds", task="Pay back K7Q: the airline cancelled it, 240 euros"),
        ],
        "You pay back": [
            call("refund", code="K7Q", euros=240),
            "I am sorry that TA 12 was cancelled. 240 euros are on their way to you.",
        ],
    }
)


def approve(request: ApprovalRequest) -> bool:
    """Decide at once; without an approver, the run is suspended until somebody decides."""
    return request.call.arguments["euros"] <= 500


async def main(model: Model) -> None:
    swarm = Swarm(
        "desk",
        [
            Agent("triage", model=model, instructions="You greet travellers and hand them over at once."),
            Agent(
                "bookings",
                model=model,
                instructions="You know the bookings. Hand over when money is to be paid back.",
                description="looks up bookings",
                tools=[booking],
            ),
            Agent(
                "refunds",
                model=model,
                instructions="You pay back what was cancelled by the airline.",
                description="pays back",
                tools=[refund],
                policy=ToolPolicy(approve=("function:refund",)),
            ),
        ],
        max_handoffs=4,
    )
    print((await show(swarm, "My flight K7Q was cancelled. I want my money back.", approver=approve)).output)


if __name__ == "__main__":
    run(main, OFFLINE)
