"""What a SKILL.md begins with is read as hosts read it, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from taut.mcp.frontmatter import frontmatter_of


def of(text: str) -> dict[str, Any]:
    return frontmatter_of(f"---\nname: n\ndescription: d\n{text}\n---\n")


def test_values_are_those_of_json() -> None:
    text = "a: 2025-01-01\nb: yes\nc: true\nd: 010\ne: 1.5\nf:\ng: [x, {y: '1'}]\nh: 1:30\ni: 0x1F"
    assert of(text) == {
        **{"name": "n", "description": "d", "a": "2025-01-01", "b": "yes", "c": True, "d": 10, "e": 1.5},
        **{"f": None, "g": ["x", {"y": "1"}], "h": "1:30", "i": "0x1F"},
    }


@pytest.mark.parametrize(
    "text", ["1: x", "a: !!binary aGk=", "a: [", "a: !!python/name:os.system x", "a: " + "[" * 5000]
)
def test_what_json_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Expected"):
        of(text)


@pytest.mark.parametrize("name", ["", "A", "a--b", "-a", "a-", "a" * 65, "[]"])
def test_names_follow_the_rules(name: str) -> None:
    with pytest.raises(ValueError, match="Expected a name"):
        frontmatter_of(f"---\nname: {name}\ndescription: d\n---\n")


@pytest.mark.parametrize("content", ["# No", "---\nname: x\n", b"\xff", "---\n- a\n---\n"])
def test_there_has_to_be_one(content: str | bytes) -> None:
    with pytest.raises(ValueError, match="begins with YAML"):
        frontmatter_of(content)


def test_a_description_is_needed() -> None:
    with pytest.raises(ValueError, match="Expected a description"):
        frontmatter_of("---\nname: n\n---\n")
