"""What a model is told of tools: overviews that fit, what is found, what is unknown, signatures in short."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.agent.search import Catalogue, Found, estimate_tokens, one_line, signature
from taut.errors import ConfigError
from taut.llm.model import ToolSpec

NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
SEND = ToolSpec(
    "mail__send_message",
    "Send an email to people. Needs the scope mail.send,\nwhich administrators grant.",
    {
        "type": "object",
        "properties": {
            "html": {"type": "boolean"},
            "to": {"type": "array", "items": {"type": "string"}, "description": "Addresses\nof  people."},
            "priority": {"enum": ["low", "high"]},
        },
        "required": ["to"],
    },
)
TRASH = ToolSpec("mail__trash", "", NOTHING)
BOOK = ToolSpec("rooms__book", "Reserve a meeting room.", NOTHING)
LOCAL = ToolSpec("now", "Tell the time.", NOTHING)
TOOLS = [SEND, BOOK, TRASH, LOCAL]


class TestOverview:
    def test_all_of_it(self) -> None:
        assert Catalogue(TOOLS, about={"mail": "Mailbox"}).overview() == (
            "mail__ (2 tools): Mailbox\n"
            "  send_message: Send an email to people.\n"
            "  trash\n"
            "rooms__ (1 tool)\n"
            "  book: Reserve a meeting room.\n"
            "Tools (1 tool)\n"
            "  now: Tell the time.\n"
            "Search for what a tool takes. The server belongs to the name of a tool: mail__send_message."
        )

    def test_names_where_lines_do_not_fit(self) -> None:
        catalogue = Catalogue(TOOLS)
        assert catalogue.overview(len(catalogue.overview()) - 1).splitlines()[:2] == [
            "mail__ (2 tools)",
            "  send_message trash",
        ]

    def test_some_names_where_not_all_fit(self) -> None:
        catalogue = Catalogue(ToolSpec(f"s__tool_{n}", "", NOTHING) for n in range(100))
        assert "…" not in catalogue.overview(1_000)
        for max_chars, last in ((700, 63), (500, 31), (220, 7)):
            heading, shown, note = catalogue.overview(max_chars).splitlines()
            assert heading == "s__ (100 tools)"
            assert shown == f"  {' '.join(f'tool_{n}' for n in range(last + 1))} …"
            assert note.startswith("These are not all tools")

    def test_servers_where_names_do_not_fit(self) -> None:
        catalogue = Catalogue(ToolSpec(f"server{n}__{'long' * 10}_{n}", "", NOTHING) for n in range(20))
        text = catalogue.overview(600)
        assert text.splitlines()[:2] == ["server0__ (1 tool)", "server1__ (1 tool)"]
        assert "server19__" in text
        assert "not all tools" in text

    def test_servers_that_do_not_fit_are_counted(self) -> None:
        catalogue = Catalogue(ToolSpec(f"server{n}__tool", "", NOTHING) for n in range(20))
        assert catalogue.overview(100) == (
            "server0__ (1 tool)\nserver1__ (1 tool)\n… and 18 more servers. Search for what is to be done."
        )

    def test_no_room_at_all(self) -> None:
        assert Catalogue(TOOLS).overview(10) == ""

    def test_no_tools(self) -> None:
        assert Catalogue([]).overview() == "Search for what a tool takes."

    @given(
        st.lists(
            st.tuples(st.sampled_from(["a__", "bb__", "", "c__c__"]), st.text("xyz_", min_size=1), st.text()),
            max_size=30,
            unique_by=lambda each: each[0] + each[1],
        ),
        st.integers(0, 2_000),
    )
    def test_it_is_never_longer_than_allowed(self, made: list[tuple[str, str, str]], max_chars: int) -> None:
        catalogue = Catalogue([ToolSpec(server + name, text, NOTHING) for server, name, text in made])
        assert len(catalogue.overview(max_chars)) <= max_chars


class TestFind:
    def test_a_tool_is_shown_with_what_it_takes(self) -> None:
        assert Catalogue(TOOLS).find("email", 1) == (
            'mail__send_message(to: string[], html?: boolean, priority?: "low" | "high")\n'
            "Send an email to people.\n"
            "- to: Addresses of people."
        )

    def test_several_tools_are_shown_the_best_first(self) -> None:
        found = Catalogue(TOOLS).find("reserve a room, then send an email", 2)
        assert [part.partition("(")[0] for part in found.split("\n\n")] == [
            "rooms__book",
            "mail__send_message",
        ]

    def test_excluded_tools_are_not_shown(self) -> None:
        assert "mail__send_message" not in Catalogue(TOOLS).find("email", exclude=["mail__send_message"])

    def test_nothing_found_asks_for_other_words(self) -> None:
        assert Catalogue(TOOLS).find("quark").startswith("No tool fits 'quark'.")

    def test_names_alone(self) -> None:
        assert Catalogue(TOOLS).names("email") == ["mail__send_message", "mail__trash"]

    def test_another_finder_is_asked_and_what_is_not_here_is_left_out(self) -> None:
        class Last:
            asked: tuple[str, int, list[str]]

            def search(self, query: str, limit: int = 5, *, exclude: Iterable[str] = ()) -> list[Found]:
                self.asked = (query, limit, list(exclude))
                return [Found("elsewhere", 2.0), Found("now", 1.0)]

        last = Last()
        assert Catalogue(TOOLS, last).names("any", 7, exclude=["x"]) == ["now"]
        assert last.asked == ("any", 7, ["x"])


class TestDescribe:
    def test_everything_is_said(self) -> None:
        name, *text, schema = Catalogue(TOOLS).describe(["mail__send_message"]).splitlines()
        assert name == SEND.name
        assert "\n".join(text) == SEND.description
        assert json.loads(schema.removeprefix("Input: ")) == SEND.input_schema

    def test_a_misspelled_name_gets_the_right_one(self) -> None:
        assert Catalogue(TOOLS).describe(["mail__send_mesage"]) == (
            "There is no tool mail__send_mesage. Did you mean mail__send_message?"
        )

    def test_an_invented_name_gets_those_that_do_it(self) -> None:
        assert Catalogue(TOOLS).suggest("reserve_room") == ["rooms__book"]

    def test_a_name_like_nothing(self) -> None:
        assert Catalogue(TOOLS).describe(["quark", "now"]).split("\n\n")[0] == "There is no tool quark."

    def test_one_name_twice_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="got now twice"):
            Catalogue([LOCAL, LOCAL])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Send it. Then wait.", "Send it."),
        ("  Send\n\n it  ", "Send it"),
        ("Version 2.1 of it", "Version 2.1 of it"),
        ("word " * 10, "word word word…"),
        ("", ""),
    ],
)
def test_one_line(text: str, expected: str) -> None:
    assert one_line(text, 18) == expected


@given(st.text(), st.integers(2, 50))
def test_one_line_is_one_and_fits(text: str, max_chars: int) -> None:
    line = one_line(text, max_chars)
    assert len(line) <= max_chars
    assert len(line.splitlines()) <= 1


def test_tokens_are_a_quarter_of_the_characters() -> None:
    assert estimate_tokens() == 0
    assert estimate_tokens("12345678") == 2
    assert estimate_tokens("123", "45") == 2
    whole = json.dumps(
        {"name": "now", "description": "Tell the time.", "input_schema": NOTHING}, separators=(",", ":")
    )
    assert estimate_tokens(LOCAL) == estimate_tokens(whole)


class TestSignature:
    @pytest.mark.parametrize(
        ("schema", "expected"),
        [
            ({"type": "string"}, "string"),
            ({"type": ["integer", "null"]}, "integer | null"),
            ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string | null"),
            ({"oneOf": [{"type": "string"}, {"type": "string", "format": "uri"}]}, "string"),
            ({"type": "array"}, "any[]"),
            ({"type": "array", "items": {"enum": ["a", 1]}}, '("a" | 1)[]'),
            ({"const": "x"}, '"x"'),
            ({"enum": list(range(13))}, "0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | …"),
            ({"type": "object"}, "object"),
            ({"properties": {"a": {"type": "number"}}}, "{a?: number}"),
            ({"$ref": "#/$defs/point"}, "{x: number, y: number}"),
            ({"$ref": "#/$defs/a~1b"}, "boolean"),
            ({"$ref": "#/$defs/none"}, "any"),
            ({"$ref": "https://example.com/schema"}, "any"),
            ({"$ref": "#/$defs/tree"}, "{children?: any[]}"),
            ({}, "any"),
            (True, "any"),
        ],
    )
    def test_a_type_in_short(self, schema: Any, expected: str) -> None:
        point = {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}}}
        tree = {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        }
        root = {
            "type": "object",
            "properties": {"p": schema},
            "required": ["p"],
            "$defs": {"point": {**point, "required": ["x", "y"]}, "a/b": {"type": "boolean"}, "tree": tree},
        }
        assert signature(root) == f"(p: {expected})"

    def test_required_ones_come_first_each_in_their_order(self) -> None:
        properties = {name: {"type": "string"} for name in "abcd"}
        schema = {"properties": properties, "required": ["d", "b"]}
        assert signature(schema) == "(b: string, d: string, a?: string, c?: string)"

    def test_deep_objects_are_cut(self) -> None:
        deep: dict[str, Any] = {"type": "object", "properties": {"end": {"type": "string"}}}
        for _ in range(5):
            deep = {"type": "object", "properties": {"in": deep}}
        assert signature(deep) == "(in?: {in?: {in?: object}})"

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "type",
                            "properties",
                            "items",
                            "required",
                            "enum",
                            "anyOf",
                            "$ref",
                            "const",
                            "description",
                        ]
                    ),
                    inner,
                )
            ),
        )
    )
    def test_any_schema_has_one(self, schema: Any) -> None:
        spec = ToolSpec(
            "a__b", "weather", schema if isinstance(schema, dict) else {"properties": {"p": schema}}
        )
        assert signature(spec.input_schema).startswith("(")
        assert Catalogue([spec]).find("weather").startswith("a__b(")
