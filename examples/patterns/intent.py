"""An intent classifier: what a traveller wants, and what they have said about it.

python intent.py [--model openai:gpt-5-mini]
"""

from _models import js, run, show

from taut.agent.patterns import Intent, IntentClassifier
from taut.llm.model import Model
from taut.testing import FunctionModel

INTENTS = {
    "book": Intent(
        "wants to buy a ticket",
        examples=("Two seats to Rome, please",),
        slots={"to": "where they go", "day": "when they travel"},
    ),
    "delay": Intent("asks whether a train is late", slots={"train": "the number of the train"}),
    "complain": "is not content with something",
}
SAID = ["A ticket to Ulm for Friday", "Is ICE 513 on time?", "Do you sell umbrellas?"]


def classify(request) -> str:
    text = request.messages[-1].text
    intent, sure, slots = "none", 0.8, {}
    if "ticket" in text:
        intent, sure, slots = "book", 0.97, {"to": "Ulm", "day": "Friday"}
    elif "on time" in text:
        intent, sure, slots = "delay", 0.9, {"train": "ICE 513"}
    return js(
        ranked=[{"reason": "by what they ask for", "intent": intent, "confidence": sure}],
        slots=[{"name": name, "value": value} for name, value in slots.items()],
    )


async def main(model: Model) -> None:
    classifier = IntentClassifier("intents", model, intents=INTENTS, threshold=0.5)
    async with classifier:
        for text in SAID:
            found = (await show(classifier, text)).output
            told = ", ".join(f"{name}={value}" for name, value in found.slots.items())
            print(f"{found.intent} {found.confidence:.2f} {told}".rstrip())


if __name__ == "__main__":
    run(main, FunctionModel(classify))
