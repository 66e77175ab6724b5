"""`IntentClassifier`: what somebody wants, out of a list of intents, and what they have said about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import msgspec
from msgspec import Struct

from taut.agent.agent import Agent
from taut.agent.base import BaseAgent
from taut.agent.patterns.choosing import NONE, ranking
from taut.agent.patterns.pattern import Options, Pattern, part
from taut.agent.run import Run
from taut.errors import ConfigError
from taut.llm.model import Model

__all__ = ["Classified", "Guess", "Intent", "IntentClassifier"]

INSTRUCTIONS = """\
Say what the user wants. Do not answer them. These are the intents:

{intents}

Rank the {count} that fit best, the best first: why, which, and how confident you are, from 0 to 1.
If none fits, answer with "none"."""
SLOTS = """
Also list the values that the user has given for what the best intent asks for, in their words. Leave out what they \
have not said."""


class Intent(Struct, frozen=True):
    """One intent: what it means, what people say who have it, and what they may say about it, by name."""

    description: str
    examples: tuple[str, ...] = ()
    slots: dict[str, str] = {}


class Guess(Struct, frozen=True):
    """One intent that it may be. ``confidence`` is from 0 to 1."""

    intent: str
    confidence: float
    reason: str = ""


class Classified(Struct, frozen=True):
    """The intent, ``none`` where no other fits; ``slots`` are what was said about it.

    ``ranked`` are the best guesses, the best first.
    """

    intent: str
    confidence: float
    slots: dict[str, str] = {}
    ranked: tuple[Guess, ...] = ()


class _Slot(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    value: str


class IntentClassifier(Pattern[Classified]):
    """Says which of ``intents`` a text has.

    :param intents: descriptions, or `Intent` objects, by name.
    :param top_k: how many guesses are ranked.
    :param threshold: with less confidence than this, it is ``none``.
    :raises taut.errors.ConfigError: there are no intents, or one is called ``none``.
    """

    def __init__(
        self,
        name: str,
        model: Model | str,
        *,
        intents: Mapping[str, str | Intent],
        top_k: int = 1,
        threshold: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(name, **options)
        if not intents or NONE in intents:
            raise ConfigError(
                f"Expected intents, none of them called {NONE!r}, got {', '.join(intents) or 'no intents'}"
            )
        if top_k < 1 or not 0 <= threshold <= 1:
            raise ConfigError(
                f"Expected a top_k of at least 1 and a threshold of 0 to 1, got {top_k} and {threshold}"
            )
        self._intents = {
            key: Intent(value) if isinstance(value, str) else value for key, value in intents.items()
        }
        self._top_k = top_k
        self._threshold = threshold
        has_slots = any(intent.slots for intent in self._intents.values())
        count = "one" if top_k == 1 else str(min(top_k, len(self._intents)))
        told = "\n".join(_told(key, intent) for key, intent in self._intents.items())
        self._classifier: Agent[Any] = Agent(
            "classifier",
            model=self._use(model),
            instructions=INSTRUCTIONS.format(intents=told, count=count) + (SLOTS if has_slots else ""),
            output=ranking("intent", self._intents, [("slots", list[_Slot])] if has_slots else []),
        )

    @property
    def output_type(self) -> Any:
        """`Classified`."""
        return Classified

    def members(self) -> list[BaseAgent[Any]]:
        """See `taut.agent.BaseAgent`."""
        return [self._classifier]

    async def flow(self, run: Run[Classified]) -> Classified:
        """See `Pattern`."""
        answer = (await part(run, self._classifier, run.task, "classify", history=run.history)).output
        guesses = [msgspec.convert(one, Guess, from_attributes=True) for one in answer.ranked]
        # A model without a grammar may make up an intent.
        known = [one for one in guesses if one.intent in self._intents and one.confidence >= self._threshold]
        best = known[0] if known else Guess(NONE, guesses[0].confidence if guesses else 0.0)
        asked = self._intents[best.intent].slots if known else {}
        slots = {one.name: one.value for one in getattr(answer, "slots", ()) if one.name in asked}
        run.note("intent", f"{best.intent} ({best.confidence:.2f}) {best.reason}".rstrip(), best)
        return Classified(best.intent, best.confidence, slots, tuple(known[: self._top_k]))


def _told(name: str, intent: Intent) -> str:
    lines = [f"- {name}: {intent.description}"]
    lines += [f'  for example: "{example}"' for example in intent.examples]
    lines += [f"  asks for {slot}: {text}" for slot, text in intent.slots.items()]
    return "\n".join(lines)
