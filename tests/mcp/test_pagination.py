"""Cursors: every page once, whatever happens to the list in between, and no cursor but our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ConfigError, InvalidParams
from taut.mcp.pagination import paginate

NAMES = [f"tool-{i}" for i in range(7)]


def every_page(items: list[str], size: int) -> list[str]:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(len(items) + 1):
        page, cursor = paginate(items, cursor, size, kind="tools", key=str)
        assert len(page) <= size
        seen += page
        if cursor is None:
            return seen
    raise AssertionError("the pages do not end")


BAD = [
    "",
    "x",
    "not-a-cursor",
    "é" * 16,
    "A" * 14 + "==",
    "\x00" * 16,
    "\ud800" * 16,
    *("A" * n for n in range(12, 21)),
]


@given(st.lists(st.text(max_size=5), unique=True, max_size=30), st.integers(1, 12))
def test_the_pages_are_the_list(items: list[str], size: int) -> None:
    assert every_page(items, size) == items


def test_a_list_that_fits_has_no_cursor() -> None:
    assert paginate(NAMES, None, 7, kind="tools") == (NAMES, None)
    assert paginate([], None, 7, kind="tools") == ([], None)


@pytest.mark.parametrize("key", [str, None])
def test_items_added_at_the_end_are_paged(key: type[str] | None) -> None:
    items = list(NAMES)
    first, cursor = paginate(items, None, 4, kind="tools", key=key)
    items += ["late-1", "late-2"]
    second, cursor = paginate(items, cursor, 4, kind="tools", key=key)
    third, end = paginate(items, cursor, 4, kind="tools", key=key)
    assert [*first, *second, *third] == items
    assert end is None


def test_items_that_move_are_neither_skipped_nor_repeated() -> None:
    items = list(NAMES)
    first, cursor = paginate(items, None, 3, kind="tools", key=str)
    items.insert(0, "early")
    items.remove("tool-1")
    items.remove("tool-0")
    assert paginate(items, cursor, 9, kind="tools", key=str)[0] == NAMES[3:]
    assert first == NAMES[:3]


def test_a_cursor_whose_item_is_gone_is_stale() -> None:
    _, cursor = paginate(NAMES, None, 3, kind="tools", key=str)
    with pytest.raises(InvalidParams, match="has changed since") as caught:
        paginate([name for name in NAMES if name != "tool-2"], cursor, 3, kind="tools", key=str)
    assert caught.value.code == -32602
    with pytest.raises(InvalidParams):
        paginate([], cursor, 3, kind="tools", key=str)


@pytest.mark.parametrize("key", [str, None])
def test_a_cursor_of_another_list_is_refused(key: type[str] | None) -> None:
    _, cursor = paginate(NAMES, None, 3, kind="tools", key=key)
    with pytest.raises(InvalidParams, match="not of this prompts list"):
        paginate(NAMES, cursor, 3, kind="prompts", key=key)


@pytest.mark.parametrize("cursor", BAD)
@pytest.mark.parametrize("key", [str, None])
def test_a_bad_cursor_is_refused(cursor: str, key: type[str] | None) -> None:
    with pytest.raises(InvalidParams, match="Invalid cursor"):
        paginate(NAMES, cursor, 3, kind="tools", key=key)


@given(st.integers(0, 15), st.characters())
def test_a_changed_cursor_never_fails_otherwise(at: int, character: str) -> None:
    _, cursor = paginate(NAMES, None, 3, kind="tools", key=str)
    assert cursor is not None
    changed = cursor[:at] + character + cursor[at + 1 :]
    try:
        page, _ = paginate(NAMES, changed, 3, kind="tools", key=str)
    except InvalidParams:
        assert changed != cursor
    else:
        # The offset is only a hint of where the marked item is.
        assert page == NAMES[3:6]


def test_a_page_size_is_at_least_one() -> None:
    with pytest.raises(ConfigError, match="page_size"):
        paginate(NAMES, None, 0, kind="tools")
