"""Docstrings in the three styles, and in none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.mcp.docstring import parse_docstring

GOOGLE = """Search the notes.

    Long text:
        stays.

    Args:
        query: what to look for,
            over two lines
        limit (int, optional): how many: at most 10
        options (dict[str, tuple[int]] | None):
            what else

    Returns:
        The notes.
    """

NUMPY = """Search the notes.

    Long text:
        stays.

    Parameters
    ----------
    query : str
        what to look for,
        over two lines
    limit : int, optional
        how many: at most 10
    options
        what else

    Returns
    -------
    list
        The notes.
    """

SPHINX = """Search the notes.

    Long text:
        stays.

    :param query: what to look for,
        over two lines
    :param int limit: how many: at most 10
    :type limit: int
    :param options: what else
    :returns: The notes.
    """

EXPECTED = {
    "query": "what to look for, over two lines",
    "limit": "how many: at most 10",
    "options": "what else",
}


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (GOOGLE, "Returns:\n    The notes."),
        (NUMPY, "Returns\n-------\nlist\n    The notes."),
        (SPHINX, ":returns: The notes."),
    ],
    ids=["google", "numpy", "sphinx"],
)
def test_parameters_leave_the_description(text: str, rest: str) -> None:
    docstring = parse_docstring(text)
    assert docstring.parameters == EXPECTED
    assert docstring.description == f"Search the notes.\n\nLong text:\n    stays.\n\n{rest}"


@pytest.mark.parametrize("text", [None, "", "   \n  "])
def test_no_docstring_is_no_description(text: str | None) -> None:
    assert parse_docstring(text) == (None, {})


@pytest.mark.parametrize(
    "text",
    [
        "Args are fun: really.",
        "First.\n\nArgs:\nnothing indented",
        "First.\n\nArgs:\n    just prose, no names",
        "First.\n\nParameters\nwithout a rule",
        "First.\n\nLine.\n    indented: text",
        "Parameters",
        "Args:",
    ],
)
def test_what_is_no_section_stays(text: str) -> None:
    assert parse_docstring(text) == (text, {})


def test_only_a_section_leaves_no_description() -> None:
    assert parse_docstring("\n  Args:\n    a: one\n    *args: many\n") == (None, {"a": "one", "args": "many"})
    assert parse_docstring(":param a: one") == (None, {"a": "one"})
    assert parse_docstring("Parameters\n----------\na, b : int\n    both") == (
        None,
        {"a": "both", "b": "both"},
    )


@given(
    st.lists(
        st.sampled_from(["Args:", "Parameters", "---", ":param x: y", "  a: b", "    c", "", "x : int"]),
        max_size=9,
    )
)
def test_any_text_is_read(lines: list[str]) -> None:
    docstring = parse_docstring("\n".join(lines))
    assert docstring.description != ""
    assert all(docstring.parameters.values())
