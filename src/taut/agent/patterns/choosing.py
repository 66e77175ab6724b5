"""How a model chooses among names: what it is shown, what it must answer, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from taut.agent.patterns.kinds import choice_of, list_of

__all__ = ["NONE", "Confidence", "listed", "ranking"]

#: What is chosen where nothing fits.
NONE = "none"
Confidence = Annotated[float, msgspec.Meta(ge=0, le=1)]


def listed(described: Mapping[str, str]) -> str:
    """Return names and what they stand for, as a model reads them."""
    return "\n".join(f"- {name}: {text}" if text else f"- {name}" for name, text in described.items())


def ranking(field: str, names: Iterable[str], fields: Iterable[tuple[str, Any]] = ()) -> Any:
    """Return the type of a model's answer: ``ranked``, choices of ``field`` with a confidence and a reason."""
    choice = msgspec.defstruct(
        "Choice",
        [("reason", str), (field, choice_of([*names, NONE])), ("confidence", Confidence)],
        frozen=True,
        forbid_unknown_fields=True,
    )
    return msgspec.defstruct(
        "Ranking", [("ranked", list_of(choice)), *fields], frozen=True, forbid_unknown_fields=True
    )
