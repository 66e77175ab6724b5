"""What a model's text is as an output: JSON of a type, in whatever words it comes; what it is told where it is none."""

from __future__ import annotations

import contextlib
import datetime
import enum
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.worlds import run
from taut.agent import Agent, FunctionTool
from taut.agent.output import MAX_BRACES, OutputType
from taut.errors import ConfigError, OutputInvalid
from taut.testing import ScriptedModel, call


class Sum(msgspec.Struct):
    total: int


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class Colour(enum.Enum):
    RED = "red"


SUM = OutputType(Sum)


@pytest.mark.parametrize(
    "text",
    [
        '{"total": 3}',
        ' \n{"total": 3}\n ',
        '```json\n{"total": 3}\n```',
        '```\n{"total": 3}\n```',
        '```JSON\r\n{"total": 3}\r\n```',
        'So:\n```json\n{"total": 3}\n```\nThat is it.',
        '```python\nprint({"total": 1})\n```\nIt prints\n```json\n{"total": 3}\n```',
        'First I thought\n```json\n{"sum": 1}\n```\nbut it is\n```json\n{"total": 3}\n```',
        '```json {"total": 3} ```',
        'The answer is {"total": 3}.',
        '{"total": 3}\n\nI hope that helps {you}!',
        'With {braces} before: {"total": 3}',
        '```json\n{"total": 3}',
    ],
)
def test_json_is_found_among_words(text: str) -> None:
    assert SUM.decode(text) == Sum(3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("three", "JSON is malformed"),
        ("", "Input data was truncated"),
        ('{"total": "three"}', "Expected `int`, got `str` - at `$.total`"),
        ('Here: {"total": "three"}', "Expected `int`, got `str` - at `$.total`"),
        ('```json\n{"total": "three"}\n```', "Expected `int`, got `str` - at `$.total`"),
        ('{"total": 3', "Input data was truncated"),
        ("3", "Expected `object`, got `int`"),
        ("\ud800", "surrogates not allowed"),
        ("[" * 100_000, "Expected `object`, got `array`"),
        ('{"total": ' + "[" * 100_000, "Expected `int`, got `array` - at `$.total`"),
        ("{" * 100_000, "JSON is malformed"),
        ('{"a": ' * 20_000, "aximum recursion depth"),
    ],
)
def test_what_is_none_is_told_in_words_for_the_model(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        SUM.decode(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (None, '{"result": null}', None),
        (Sum | None, '{"result": {"total": 3}}', Sum(3)),
        (Sum | None, '{"result": null}', None),
        (Cat | Dog, '{"result": {"type": "Dog", "name": "Rex"}}', Dog("Rex")),
        (int, '{"result": 1000000000000000000000000000000}', 10**30),
        (float, '{"result": 3}', 3.0),
        (bool, '{"result": true}', True),
        (Literal[1, 2], '{"result": 2}', 2),
        (Colour, '{"result": "red"}', Colour.RED),
        (list[Sum], '{"result": [{"total": 1}]}', [Sum(1)]),
        (dict[str, Sum], '{"a": {"total": 1}}', {"a": Sum(1)}),
        (tuple[int, str], '{"result": [1, "a"]}', (1, "a")),
        (set[int], '{"result": [1, 1]}', {1}),
        (datetime.date, '{"result": "2026-01-02"}', datetime.date(2026, 1, 2)),
        (bytes, '{"result": "aGk="}', b"hi"),
        (Any, '{"result": [1, {"a": null}]}', [1, {"a": None}]),
        (str | int, '{"result": "a"}', "a"),
    ],
)
def test_any_type_can_be_an_output(kind: Any, text: str, value: Any) -> None:
    output = OutputType(kind)
    assert output.schema is not None
    assert output.schema["type"] == "object"
    assert output.decode(text) == value
    assert run(Agent("a", model=ScriptedModel(text), output=kind).run("Go")).output == value


def test_text_is_what_it_is() -> None:
    assert OutputType(str).schema is None
    assert OutputType(str).decode('```json\n{"a": 1}\n```') == '```json\n{"a": 1}\n```'


@given(st.text().filter(lambda words: words.count("{") < MAX_BRACES), st.integers(-(10**40), 10**40))
def test_whatever_stands_before_it_the_json_is_found(words: str, total: int) -> None:
    text = f'{words}\n```json\n{{"total": {total}}}\n```'
    assert isinstance(SUM.decode(text), Sum)


@given(st.text())
def test_no_text_fails_in_another_way(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(SUM.decode(text), Sum)


def test_between_repairs_there_may_be_calls() -> None:
    model = ScriptedModel("three", call("look"), "still three", '{"total": 3}')
    tools = [FunctionTool(lambda: "x", name="look")]
    result = run(Agent("a", model=model, tools=tools, output=Sum, repairs=2).run("Go"))
    assert result.output == Sum(3)
    roles = [message.role for message in result.messages]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "assistant", "user", "assistant"]


def test_without_repairs_the_first_answer_counts() -> None:
    with pytest.raises(OutputInvalid, match="got, after 0 repairs: JSON is malformed"):
        run(Agent("a", model=ScriptedModel("three"), output=Sum, repairs=0).run("Go"))


def test_a_negative_number_of_repairs_is_refused() -> None:
    with pytest.raises(ConfigError, match="repairs"):
        Agent("a", model=ScriptedModel("three"), output=Sum, repairs=-1)
