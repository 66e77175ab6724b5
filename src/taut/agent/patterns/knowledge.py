"""What research has found: facts with their sources, each once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import final

from msgspec import Struct

__all__ = ["Fact", "Findings", "Knowledge", "same"]


class Fact(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that was found, in a sentence, and where: addresses, titles, names of tools."""

    text: str
    sources: list[str]


class Findings(Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker has found: the output of agents that research."""

    facts: list[Fact]


def same(text: str) -> str:
    """Return what two texts have in common that differ in case, space and punctuation only."""
    return " ".join(re.findall(r"\w+", text.casefold()))


@final
class Knowledge:
    """Facts in the order in which they came. One that came before adds its sources to those that are known."""

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._facts: dict[str, Fact] = {}
        self.add(facts)

    def __len__(self) -> int:
        return len(self._facts)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The facts."""
        return tuple(self._facts.values())

    @property
    def sources(self) -> tuple[str, ...]:
        """All sources, each once."""
        return tuple(dict.fromkeys(source for fact in self.facts for source in fact.sources))

    def add(self, facts: Iterable[Fact]) -> int:
        """Take facts; returns how many of them were new."""
        before = len(self._facts)
        for fact in facts:
            key = same(fact.text)
            if not key:
                continue
            known = self._facts.get(key)
            sources: Sequence[str] = fact.sources if known is None else [*known.sources, *fact.sources]
            self._facts[key] = Fact(fact.text if known is None else known.text, list(dict.fromkeys(sources)))
        return len(self._facts) - before

    @property
    def text(self) -> str:
        """All of it, as an agent reads it: facts with the numbers of their sources, then the sources."""
        numbers = {source: number for number, source in enumerate(self.sources, 1)}
        lines = [
            f"- {fact.text}" + "".join(f" [{numbers[source]}]" for source in fact.sources)
            for fact in self.facts
        ]
        if numbers:
            lines += ["", "Sources:", *(f"[{number}] {source}" for source, number in numbers.items())]
        return "\n".join(lines) or "Nothing."
