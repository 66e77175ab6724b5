"""Intents: what somebody wants, and what they have said about it."""

from __future__ import annotations

from typing import Any

import pytest

from agent.patterns.cases import Kit, js
from agent.worlds import run
from taut.agent import events as ev
from taut.agent.patterns import Classified, Guess, Intent, IntentClassifier
from taut.errors import ConfigError

INTENTS = {
    "refund": Intent("Money back", ("Give me my money",), {"order": "the number of the order"}),
    "other": "All else",
}


def classify(
    ranked: list[tuple[str, float]], slots: dict[str, str] | None = None, **options: Any
) -> Classified:
    kit = Kit()
    answer: dict[str, Any] = {
        "ranked": [{"reason": "so", "intent": name, "confidence": sure} for name, sure in ranked]
    }
    answer["slots"] = [{"name": name, "value": value} for name, value in (slots or {}).items()]
    classifier = IntentClassifier("intents", kit.model({"": ("it", js(answer))}), intents=INTENTS, **options)
    result: Classified = run(classifier.run("Money!")).output
    return result


def asked(intents: dict[str, Any], **options: Any) -> tuple[str, str]:
    """What the model is told, and the schema of its answer."""
    model = Kit().model({"": ("it", js({"ranked": [], **({"slots": []} if intents is INTENTS else {})}))})
    run(IntentClassifier("intents", model, intents=intents, **options).run("Money!"))
    (request,) = model.requests
    return request.instructions, js(request.output_schema)


def test_the_model_is_told_all_of_it() -> None:
    told, schema = asked(INTENTS, top_k=7)
    assert '- refund: Money back\n  for example: "Give me my money"\n  asks for order: the number' in told
    assert "- other: All else" in told
    assert "Rank the 2 that fit best" in told
    assert "list the values" in told
    assert '"enum":["refund","other","none"]' in schema
    told, schema = asked({"a": "A"})
    assert "list the values" not in told
    assert "slots" not in schema


def test_what_was_said_is_kept_where_the_intent_asks_for_it() -> None:
    said = {"order": "17", "weather": "fine"}
    assert classify([("refund", 0.9)], said).slots == {"order": "17"}
    assert classify([("other", 0.9)], said).slots == {}


def test_an_unknown_intent_is_none() -> None:
    assert classify([("complain", 0.9)]) == Classified("none", 0.9)
    assert classify([("none", 0.6)], {"order": "17"}) == Classified("none", 0.6)
    assert classify([]) == Classified("none", 0.0)
    assert classify([("complain", 0.9), ("other", 0.5)]).intent == "other"


def test_an_unsure_intent_is_none() -> None:
    assert classify([("refund", 0.4)], threshold=0.5) == Classified("none", 0.4)
    assert classify([("refund", 0.5)], threshold=0.5).intent == "refund"


def test_so_many_are_ranked_as_are_wanted() -> None:
    both = [("refund", 0.7), ("other", 0.2)]
    assert classify(both).ranked == (Guess("refund", 0.7, "so"),)
    assert classify(both, top_k=2).ranked == (Guess("refund", 0.7, "so"), Guess("other", 0.2, "so"))


def test_the_intent_is_noted() -> None:
    heard: list[ev.Event] = []
    kit = Kit()
    answer = js({"ranked": [{"reason": "so", "intent": "a", "confidence": 0.5}]})
    model = kit.model({"": ("it", answer)})
    run(IntentClassifier("intents", model, intents={"a": "A"}).run("x", listener=heard.append))
    assert ev.Noted("intents", "intent", "a (0.50) so", Guess("a", 0.5, "so")) in heard


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"intents": {}}, "Expected intents, none of them called 'none', got no intents"),
        ({"intents": {"none": "Nothing"}}, "Expected intents, none of them called 'none', got none"),
        ({"top_k": 0}, "a top_k of at least 1"),
        ({"threshold": -1.0}, "a threshold of 0 to 1, got 1 and -1.0"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        IntentClassifier("intents", Kit().model({}), **{"intents": {"a": "A"}, **options})
