"""Whether the right tool is found among a thousand: the labelled set, and the set itself.

The floors are a little under what was measured: ``python -m benchmarks.tool_search``.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taut.agent.search import Catalogue, ToolIndex, estimate_tokens
from taut.llm.model import ToolSpec

DATA = Path(__file__).resolve().parent / "data"
TOOLS = [
    msgspec.json.decode(line, type=ToolSpec) for line in (DATA / "tools_1000.jsonl").read_bytes().splitlines()
]
QUERIES: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "queries.jsonl").read_text().splitlines()
]
ABOUT = {path.stem: path.read_text().splitlines()[0] for path in (DATA / "servers").glob("*.txt")}


@pytest.fixture(scope="module")
def index() -> ToolIndex:
    return ToolIndex(TOOLS, about=ABOUT)


def found(index: ToolIndex, queries: Sequence[dict[str, Any]], limit: int) -> float:
    """Return the share of queries for which a right tool is among the first ``limit``."""
    hits = sum(
        any(each.name in query["tools"] for each in index.search(query["query"], limit)) for query in queries
    )
    return hits / len(queries)


def asked(kind: str, half: str) -> list[dict[str, Any]]:
    return [query for query in QUERIES if query["kind"] == kind and query["half"] == half]


@pytest.mark.parametrize(
    ("kind", "half", "at_1", "at_5"),
    [
        ("request", "tuning", 0.70, 0.90),
        ("request", "held_out", 0.60, 0.85),
        ("situation", "tuning", 0.15, 0.36),
        ("situation", "held_out", 0.12, 0.28),
    ],
)
def test_a_right_tool_is_found(index: ToolIndex, kind: str, half: str, at_1: float, at_5: float) -> None:
    queries = asked(kind, half)
    assert found(index, queries, 1) >= at_1
    assert found(index, queries, 5) >= at_5


def test_every_tool_is_found_first_by_its_name(index: ToolIndex) -> None:
    assert [spec.name for spec in TOOLS if index.search(spec.name, 1)[0].name != spec.name] == []


def test_searching_again_finds_the_same(index: ToolIndex) -> None:
    again = ToolIndex(reversed(TOOLS), about=ABOUT)
    for query in QUERIES:
        assert again.search(query["query"], 20) == index.search(query["query"], 20)


def test_the_context_holds_a_fraction() -> None:
    catalogue = Catalogue(TOOLS, about=ABOUT)
    whole = estimate_tokens(*TOOLS)
    assert estimate_tokens(catalogue.overview(20_000)) < whole / 15
    assert estimate_tokens(catalogue.find("open a pull request")) < whole / 100
    assert all(
        ABOUT[name.partition("__")[0]] in catalogue.overview(20_000) for name in (spec.name for spec in TOOLS)
    )


class TestTheSet:
    def test_it_is_what_its_sources_make(self) -> None:
        spec = importlib.util.spec_from_file_location("make_tools", DATA / "make_tools.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for path, text in module.make().items():
            assert path.read_text() == text

    def test_a_thousand_tools_of_forty_servers_and_more(self) -> None:
        assert len({spec.name for spec in TOOLS}) == len(TOOLS) == 1_000
        assert len(ABOUT) >= 40

    def test_names_are_such_as_models_take(self) -> None:
        for spec in TOOLS:
            assert len(spec.name) <= 64
            assert spec.name.replace("_", "").replace("-", "").isalnum()

    def test_descriptions_differ(self) -> None:
        repeated = Counter(spec.description for spec in TOOLS)
        assert sum(count - 1 for count in repeated.values()) < 60

    def test_both_halves_have_queries_of_each_kind(self) -> None:
        count = Counter((query["kind"], query["half"]) for query in QUERIES)
        assert sorted(count) == [
            (kind, half) for kind in ("request", "situation") for half in ("held_out", "tuning")
        ]
        assert min(count.values()) >= 60
        assert len({query["query"] for query in QUERIES}) == len(QUERIES)

    def test_right_tools_exist(self) -> None:
        known = {spec.name for spec in TOOLS}
        for query in QUERIES:
            assert 1 <= len(query["tools"]) <= 4, query
            assert set(query["tools"]) <= known, query
