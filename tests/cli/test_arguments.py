"""``name=value`` words become what the tool's schema asks for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut import models
from taut.cli.arguments import read_arguments
from taut.errors import ConfigError

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "choice": {"enum": ["1", "2"]},
        "number": {"type": "integer"},
        "items": {"type": "array", "items": {"type": "string"}},
        "flag": {"type": "boolean"},
        "point": {"$ref": "#/$defs/Point"},
        "name": {"$ref": "#/$defs/Name"},
        "anything": {},
    },
    "required": ["text"],
    "$defs": {"Point": {"type": "object"}, "Name": {"type": "string"}},
}
TOOL = models.Tool("t", SCHEMA)

names = st.text(st.characters(exclude_characters="=", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: not name.endswith(":")
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("text=12", "12"),
        ("text=", ""),
        ("text=a=b:=c", "a=b:=c"),
        ("text:=12", 12),
        ("maybe=null", "null"),
        ("maybe:=null", None),
        ("choice=1", "1"),
        ("number=-12", -12),
        ('items=["a"]', ["a"]),
        ("flag=true", True),
        ('point={"x": 1}', {"x": 1}),
        ("name=7", "7"),
        ("anything=7", 7),
        ("anything=seven", "seven"),
        ("unknown=[1]", [1]),
        ("unknown=word", "word"),
    ],
)
def test_a_value_is_typed_by_its_schema(word: str, value: object) -> None:
    (read,) = read_arguments([word], None, TOOL).values()
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("words", "whole", "message"),
    [
        (["text"], None, "Expected an argument as name=value, got 'text'; t takes text: string, maybe"),
        (["=x"], None, "Expected an argument as name=value, got '=x'"),
        (["text=a", "text=b"], None, "Expected argument text once, got it twice"),
        (["number=one"], None, "Expected integer (as JSON) for number, got 'one'; t takes "),
        (["text:=one"], None, "Expected JSON for text, got 'one' ("),
        ([], "[1]", "Expected a JSON object for --args, got '[1]'"),
        ([], "{", "Expected JSON for --args, got '{' ("),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(
    words: list[str], whole: str | None, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_arguments(words, whole, TOOL)
    assert str(caught.value).startswith(message)


@given(names, texts)
def test_any_text_reaches_a_parameter_that_takes_text(name: str, text: str) -> None:
    tool = models.Tool("t", {"properties": {name: {"type": "string"}}})
    assert read_arguments([f"{name}={text}"], None, tool) == {name: text}


@given(names, json_values)
def test_any_json_value_can_be_given(name: str, value: object) -> None:
    tool = models.Tool("t", {"properties": {name: {"type": "string"}}})
    encoded = msgspec.json.encode(value).decode()
    assert read_arguments([f"{name}:={encoded}"], None, tool) == {name: value}


@given(json_values, names, texts)
def test_whatever_a_server_calls_its_schema_the_outcome_is_arguments_or_an_error(
    schema: object, name: str, text: str
) -> None:
    tool = models.Tool("t", {"properties": schema})
    try:
        names = list(read_arguments([f"{name}={text}"], None, tool))
    except ConfigError as error:
        names, refusal = [name], str(error)
    else:
        refusal = "Expected "
    assert names == [name]
    assert refusal.startswith("Expected ")
