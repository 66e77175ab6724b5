"""A chain: changes become a release note, in German, if there is anything to tell.

python chain.py [--model openai:gpt-5-mini]
"""

from _models import run, show

from taut.agent import Agent
from taut.agent.patterns import Chain, Link
from taut.llm.model import Model
from taut.testing import KeyedModel

CHANGES = """\
fix: the export no longer drops the last row
chore: update the linter
feat: notes can be pinned"""


def answer_picker(request) -> str:
    changes = request.messages[-1].text.splitlines()
    return "\n".join(line for line in changes if line.startswith(("fix", "feat"))) or "nothing"


OFFLINE = KeyedModel(
    {
        "Pick": [answer_picker, answer_picker],
        "Write": ["Notes can be pinned now. Exports are complete again."],
        "Translate": ["Notizen lassen sich jetzt anheften. Exporte sind wieder vollständig."],
    }
)


def anything_to_tell(link: Link) -> str | None:
    """The gate: a reason to stop before the next agent, or None."""
    return "users would not notice" if link.text.strip().lower() == "nothing" else None


async def main(model: Model) -> None:
    chain = Chain(
        "notes",
        [
            Agent(
                "picker", model=model, instructions="Pick the changes that users notice; else say: nothing"
            ),
            Agent("writer", model=model, instructions="Write one short sentence for each change, for users."),
            Agent("translator", model=model, instructions="Translate into German."),
        ],
        gate=anything_to_tell,
    )
    async with chain:
        for changes in (CHANGES, "chore: update the linter"):
            result = await show(chain, changes)
            print(result.output)


if __name__ == "__main__":
    run(main, OFFLINE)
