"""The index: what is found first, in which order, and what it takes without breaking."""

from __future__ import annotations

import random
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taut.agent.search import Found, Ranking, ToolIndex
from taut.errors import ConfigError
from taut.llm.model import ToolSpec


def tool(name: str, description: str = "", **properties: Any) -> ToolSpec:
    return ToolSpec(name, description, {"type": "object", "properties": properties})


def names(found: list[Found]) -> list[str]:
    return [each.name for each in found]


MAIL = tool("mail__send_message", "Send an email.", to={"type": "string", "description": "Recipients."})
CHAT = tool("chat__post_message", "Post a message in a channel.", channel={"type": "string"})
ISSUE = tool("trackle__create_issue", "File a new issue.", severity={"enum": ["blocker", "minor"]})
WEATHER = tool("sky__forecast", "What the weather will be like.")
TOOLS = [MAIL, CHAT, ISSUE, WEATHER]


class TestWhatIsFound:
    @pytest.mark.parametrize(
        ("query", "first"),
        [
            ("send an email", MAIL),
            ("mailing somebody", MAIL),
            ("post to a channel", CHAT),
            ("open a bug", ISSUE),  # synonyms of create and of issue
            ("blocker", ISSUE),  # a value of a parameter
            ("recipients", MAIL),  # the description of a parameter
            ("FORECASTS", WEATHER),
        ],
    )
    def test_the_tool_that_fits_is_first(self, query: str, first: ToolSpec) -> None:
        assert names(ToolIndex(TOOLS).search(query))[0] == first.name

    def test_what_has_no_word_of_the_query_is_not_found(self) -> None:
        assert names(ToolIndex(TOOLS).search("weather")) == [WEATHER.name]

    def test_the_word_itself_counts_more_than_its_synonym(self) -> None:
        index = ToolIndex([tool("a", "Delete a file."), tool("b", "Remove a file.")])
        assert names(index.search("remove")) == ["b", "a"]

    def test_many_synonyms_in_one_tool_count_once(self) -> None:
        one, many = (
            ToolIndex([tool("a", "add"), tool("z", "")]),
            ToolIndex([tool("a", "add new"), tool("z", "")]),
        )
        assert many.search("create")[0].score <= one.search("create")[0].score

    def test_what_its_server_is_about_finds_a_tool(self) -> None:
        specs = [tool("kube__top", "Use of memory."), tool("fs__top", "Use of memory.")]
        assert ToolIndex(specs).search("cluster") == []
        index = ToolIndex(specs, about={"kube": "Operates a cluster of containers."})
        assert names(index.search("cluster")) == ["kube__top"]

    def test_the_separator_can_be_another(self) -> None:
        index = ToolIndex([tool("kube-top"), tool("fs-top")], about={"kube": "clusters"}, separator="-")
        assert names(index.search("cluster")) == ["kube-top"]

    def test_parameters_within_parameters_are_searched(self) -> None:
        inner = {"type": "object", "properties": {"postcode": {"type": "string"}}}
        index = ToolIndex([tool("a", "x", parcels={"type": "array", "items": inner}), tool("b", "x")])
        assert names(index.search("postcode")) == ["a"]


class TestNames:
    def test_a_name_finds_its_tool_first_though_another_has_its_words_more_often(self) -> None:
        index = ToolIndex([tool("get_user"), tool("b", "get user, get user by user id: user_get")])
        assert names(index.search("get_user"))[0] == "get_user"

    def test_a_name_without_its_server_finds_all_of_that_name_first(self) -> None:
        index = ToolIndex([tool("b__send"), tool("a__send"), tool("c__other", "send send send")])
        assert names(index.search("send")) == ["a__send", "b__send", "c__other"]

    def test_case_tells_apart_what_only_case_does(self) -> None:
        index = ToolIndex([tool("GET"), tool("get")])
        assert names(index.search("get"))[0] == "get"
        assert names(index.search("GET"))[0] == "GET"

    @given(
        st.sets(st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), min_size=1, max_size=20),
        st.lists(st.sampled_from(["send", "list", "get", "user", "file", "a_b", "a__b"]), max_size=20),
        st.booleans(),
    )
    @settings(deadline=None)
    def test_every_tool_is_found_first_by_its_name(
        self, given_names: set[str], words: list[str], hybrid: bool
    ) -> None:
        specs = [tool(name, " ".join(words[number % 3 :])) for number, name in enumerate(sorted(given_names))]
        index = ToolIndex(specs, embed=letters if hybrid else None)
        for name in given_names:
            assert index.search(name, 1)[0].name == name

    def test_one_name_twice_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="got a twice"):
            ToolIndex([tool("a"), tool("b"), tool("a")])


class TestOrder:
    def test_equal_tools_come_in_the_order_of_their_names(self) -> None:
        specs = [tool(f"tool_{letter}", "Paint a picture.") for letter in "abcdefghij"]
        for seed in range(5):
            random.Random(seed).shuffle(specs)
            found = ToolIndex(specs).search("paint", 10)
            assert names(found) == sorted(spec.name for spec in specs)
            assert len({each.score for each in found}) == 1

    def test_a_limit_cuts_equal_tools_by_name(self) -> None:
        specs = [tool(f"tool_{letter}", "Paint a picture.") for letter in "jihgfedcba"]
        assert names(ToolIndex(specs).search("paint", 3)) == ["tool_a", "tool_b", "tool_c"]

    def test_scores_fall(self) -> None:
        scores = [each.score for each in ToolIndex(TOOLS).search("send a message to a channel")]
        assert len(scores) > 1
        assert scores == sorted(scores, reverse=True)

    def test_excluded_tools_are_not_found(self) -> None:
        index = ToolIndex(TOOLS)
        assert CHAT.name in names(index.search("message"))
        assert CHAT.name not in names(index.search("message", exclude={CHAT.name, "unknown"}))
        assert names(index.search(MAIL.name, exclude=[MAIL.name]))[:1] != [MAIL.name]


class TestEdges:
    @pytest.mark.parametrize("query", ["", "   ", "the of a", "🎉", "\x00", "zzz"])
    def test_a_query_that_says_nothing_finds_nothing(self, query: str) -> None:
        assert ToolIndex(TOOLS).search(query) == []

    def test_an_empty_index_finds_nothing(self) -> None:
        index = ToolIndex([], embed=letters)
        assert len(index) == 0
        assert index.search("anything") == []

    def test_tools_without_any_word(self) -> None:
        index = ToolIndex([tool("_"), tool("-")])
        assert index.search("word") == []
        assert names(index.search("_")) == ["_"]

    @pytest.mark.parametrize("limit", [0, -1])
    def test_no_room_for_anything(self, limit: int) -> None:
        assert ToolIndex(TOOLS).search("message", limit) == []

    def test_more_is_asked_for_than_there_is(self) -> None:
        assert len(ToolIndex(TOOLS).search("send a message", 1000)) == 2

    def test_other_scripts(self) -> None:
        index = ToolIndex(
            [tool("a", "查询城市的天气"), tool("b", "发送电子邮件"), tool("c", "Bücher suchen")]
        )
        assert names(index.search("天气怎么样")) == ["a"]
        assert names(index.search("bucher"))[0] == "c"
        assert names(index.search("BÜCHER"))[0] == "c"

    def test_a_very_long_query(self) -> None:
        query = "word " * 50_000 + "weather"
        assert names(ToolIndex(TOOLS).search(query)) == [WEATHER.name]

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda x: (
                st.lists(x)
                | st.dictionaries(
                    st.sampled_from(["properties", "items", "enum", "description", "type", "a"]), x
                )
            ),
        )
    )
    def test_any_schema_is_taken(self, schema: Any) -> None:
        index = ToolIndex(
            [ToolSpec("a", "weather", schema if isinstance(schema, dict) else {"properties": schema})]
        )
        assert names(index.search("weather")) == ["a"]

    def test_ten_thousand_tools_take_little_memory(self) -> None:
        words = [f"word{number}" for number in range(2_000)]
        rng = random.Random(1)
        specs = [
            tool(f"server{n % 100}__tool_{n}", " ".join(rng.choices(words, k=12)), **{rng.choice(words): {}})
            for n in range(10_000)
        ]
        ToolIndex(specs[:10])  # numpy is loaded
        tracemalloc.start()
        try:
            index = ToolIndex(specs)
            held, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert names(index.search("tool_9876"))[0] == "server76__tool_9876"
        assert held < 10e6
        assert peak < 60e6

    def test_numpy_is_loaded_by_the_first_index_only(self) -> None:
        script = "import sys, taut.agent.search; print('numpy' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    def test_without_numpy_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "numpy", None)
        with pytest.raises(ConfigError, match=r"taut\[search\]"):
            ToolIndex(TOOLS)


def letters(texts: Sequence[str]) -> Sequence[Sequence[float]]:
    """Embed texts by the letters that they have."""
    return [[float(text.lower().count(chr(97 + n))) for n in range(26)] for text in texts]


class Meaning:
    """Embeds texts by what they are about, in two dimensions, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked.append(list(texts))
        return [[1.0, 0.0] if "weather" in text or "umbrella" in text else [0.0, 1.0] for text in texts]


class TestHybrid:
    def test_a_tool_is_found_by_meaning_alone(self) -> None:
        assert ToolIndex(TOOLS).search("umbrella") == []
        assert names(ToolIndex(TOOLS, embed=Meaning()).search("umbrella"))[0] == WEATHER.name

    def test_words_and_meaning_are_joined(self) -> None:
        specs = [
            tool("a", "weather in the city"),
            tool("b", "weather at sea"),
            tool("c", "a boat on the sea"),
        ]
        assert names(ToolIndex(specs, embed=Meaning()).search("umbrella at sea"))[0] == "b"

    def test_words_can_be_given_more_weight(self) -> None:
        specs = [tool("a", "weather"), tool("c", "a boat"), tool("d", "weather")]
        index = ToolIndex(specs, embed=Meaning(), ranking=Ranking(words=3.0))
        assert names(index.search("umbrella boat"))[0] == "c"

    def test_tools_are_embedded_once_with_what_their_server_is_about(self) -> None:
        meaning = Meaning()
        index = ToolIndex([WEATHER, CHAT], about={"sky": "Sky and sun"}, embed=meaning)
        index.search("umbrella")
        index.search("")
        assert meaning.asked == [
            [
                "post message. Post a message in a channel",
                "forecast. What the weather will be like. Sky and sun",
            ],
            ["umbrella"],
        ]

    def test_vectors_of_length_zero_are_like_nothing(self) -> None:
        index = ToolIndex(TOOLS, embed=lambda texts: [[0.0, 0.0] for _ in texts])
        assert names(index.search("weather"))[0] == WEATHER.name

    @pytest.mark.parametrize(
        "vectors",
        [
            [],
            [[1.0]],
            [1.0, 2.0, 3.0, 4.0],
            [[1.0], [1.0, 2.0], [1.0], [1.0]],
            [["a"], ["b"], ["c"], ["d"]],
            [[float("nan")]] * 4,
            None,
        ],
    )
    def test_what_are_no_vectors_is_refused(self, vectors: Any) -> None:
        with pytest.raises(ConfigError, match="Expected embed to return 4 vectors"):
            ToolIndex(TOOLS, embed=lambda texts: vectors)

    def test_a_vector_of_another_length_for_a_query_is_refused(self) -> None:
        index = ToolIndex(TOOLS, embed=lambda texts: [[1.0] * len(texts) for _ in texts])
        with pytest.raises(ConfigError, match="vectors of 4 numbers, as for the tools, got 1"):
            index.search("weather")

    def test_the_error_of_an_embedder_comes_through(self) -> None:
        def fail(texts: Sequence[str]) -> Sequence[Sequence[float]]:
            raise ConnectionError("no service")

        with pytest.raises(ConnectionError, match="no service"):
            ToolIndex(TOOLS, embed=fail)
