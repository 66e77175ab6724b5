"""Names of tools: what every provider takes, unique, and the same whatever else is there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut import models
from taut.agent import FunctionTool, ToolPolicy
from taut.agent.toolbox import Toolbox, names_of
from taut.errors import ConfigError


def tools(*names: str) -> list[models.Tool]:
    return [models.Tool(name, {"type": "object"}) for name in names]


def test_names_have_their_server_in_front() -> None:
    assert names_of({"time": tools("now", "zone_of")}) == {
        ("time", "now"): "time__now",
        ("time", "zone_of"): "time__zone_of",
    }


def test_two_that_would_be_the_same_are_told_apart() -> None:
    names = names_of({"a": tools("b__c"), "a__b": tools("c")})
    assert len(set(names.values())) == 2
    assert all(name.startswith("a__b__c_") for name in names.values())


def test_what_no_provider_takes_is_changed_and_marked() -> None:
    (name,) = names_of({"s": tools("read.file")}).values()
    assert re.fullmatch(r"s__read_file_[0-9a-f]{8}", name)


servers = st.dictionaries(
    st.text("ab_-.", min_size=1, max_size=4),
    st.lists(st.text("ab_-.é", min_size=1, max_size=70), max_size=5, unique=True),
    max_size=4,
)


@given(servers)
def test_they_are_unique_and_taken_by_every_provider(given: dict[str, list[str]]) -> None:
    names = names_of({server: tools(*listed) for server, listed in given.items()})
    assert len(set(names.values())) == len(names) == sum(map(len, given.values()))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names.values())


@given(servers)
def test_they_do_not_depend_on_the_order(given: dict[str, list[str]]) -> None:
    forward = names_of({server: tools(*listed) for server, listed in given.items()})
    backward = names_of(
        {server: tools(*reversed(listed)) for server, listed in reversed(list(given.items()))}
    )
    assert forward == backward


def test_more_tools_of_the_same_name_are_refused() -> None:
    box = Toolbox([FunctionTool(lambda: 1, name="a")], ToolPolicy())
    with pytest.raises(ConfigError, match="a name that is free, got 'a'"):
        box.extended([FunctionTool(lambda: 2, name="a")], ToolPolicy())
    assert len(box.extended([FunctionTool(lambda: 2, name="b")], ToolPolicy())) == 2
