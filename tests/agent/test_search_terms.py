"""Text into terms: where names are split, what endings are dropped, what other scripts become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.agent.search.stem import stem
from taut.agent.search.terms import expanded, terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("create_issue", ["creat", "issu"]),
        ("list-pods", ["list", "pod"]),
        ("getHTTPStatus", ["get", "http", "statu"]),  # codespell:ignore
        ("createCharge.v2", ["creat", "charg", "v2"]),
        ("mail__send_message", ["mail", "send", "messag"]),  # codespell:ignore
        ("Sends the messages of a user.", ["send", "messag", "user"]),  # codespell:ignore
        ("Menü für Gäste", ["menu", "fur", "gast"]),
        ("ﬁle", ["file"]),
        ("查询天气", ["查询", "询天", "天气"]),
        ("天", ["天"]),
        ("search 天気 now", ["search", "天気", "now"]),
        ("🎉 -- __", []),
        ("", []),
    ],
)
def test_text_becomes_terms(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


# The examples of Porter's paper, step by step.
@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("cats", "cat"),
        ("feed", "feed"),
        ("agreed", "agre"),  # codespell:ignore
        ("plastered", "plaster"),
        ("bled", "bled"),
        ("motoring", "motor"),
        ("sing", "sing"),
        ("conflated", "conflat"),
        ("hopping", "hop"),
        ("falling", "fall"),
        ("hissing", "hiss"),
        ("failing", "fail"),
        ("filing", "file"),
        ("happy", "happi"),
        ("sky", "sky"),
        ("relational", "relat"),
        ("conditional", "condit"),
        ("rational", "ration"),
        ("vietnamization", "vietnam"),
        ("callousness", "callous"),
        ("triplicate", "triplic"),
        ("formative", "form"),
        ("hopefulness", "hope"),
        ("revival", "reviv"),
        ("adjustment", "adjust"),
        ("adoption", "adopt"),
        ("effective", "effect"),
        ("probate", "probat"),
        ("rate", "rate"),
        ("cease", "ceas"),
        ("controll", "control"),  # codespell:ignore
        ("roll", "roll"),
    ],
)
def test_a_stem_is_that_of_the_paper(word: str, expected: str) -> None:
    assert stem(word) == expected


@pytest.mark.parametrize("word", ["s3", "k8s", "über", "天気", "id", ""])
def test_what_is_no_english_word_is_its_own_stem(word: str) -> None:
    assert stem(word) == word


@pytest.mark.parametrize(
    "words",
    [("invoice", "invoices", "invoiced"), ("schedule", "schedules", "scheduling"), ("deploy", "deployment")],
)
def test_forms_of_a_word_have_one_stem(words: tuple[str, ...]) -> None:
    assert len({stem(word) for word in words}) == 1


class TestExpanded:
    def test_a_word_brings_those_that_mean_the_same(self) -> None:
        (term, synonyms), *rest = expanded("email")
        assert (term, rest) == (stem("email"), [])
        assert stem("mail") in synonyms

    def test_a_term_is_wished_for_once(self) -> None:
        assert [term for term, _ in expanded("send mail, sends mails, sending")] == ["send", "mail"]

    def test_no_term_is_its_own_synonym(self) -> None:
        for term, synonyms in expanded("create new ticket and order a file for the customer"):
            assert term not in synonyms


@given(st.text())
def test_any_text_has_terms_without_spaces_or_capitals(text: str) -> None:
    for term in terms(text):
        assert term
        assert not any(c.isspace() for c in term)
        assert term == term.lower()
