"""What is shown: in colour on a terminal, as bare text elsewhere."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cli.conftest import Taut
from taut.cli import page, plain
from taut.cli.page import Entries, Entry, Facts, Heading, Table

BLOCKS: list[page.Block] = [
    Heading([("Title", "title"), (" 1", "faint")]),
    Facts([("short", [("value", "")]), ("much longer", [])]),
    Entries([Entry([("name", "name"), ("()", "")], "two\nlines"), Entry([("bare", "")])]),
    Table(["what", "calls/s"], [[("a", ""), ("1", "")], [("longer", ""), ("12,345", "")]], frozenset({1})),
]
ESCAPE = "\x1b["


def test_plain_text_aligns_and_indents_and_leaves_no_spaces_at_the_ends() -> None:
    assert plain.render(BLOCKS) == (
        "Title 1\n\n"
        "short        value\nmuch longer\n\n"
        "name()\n    two\n    lines\nbare\n\n"
        "what    calls/s\na             1\nlonger   12,345\n"
    )


def test_what_is_no_terminal_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    page.show(BLOCKS)
    assert capsys.readouterr().out == plain.render(BLOCKS)


@pytest.mark.parametrize("command", ["tools", "inspect"])
def test_a_terminal_gets_colour(terminal: Any, server: str, command: str) -> None:
    status, shown = terminal(command, server).end()
    assert status == 0
    assert ESCAPE in shown
    assert "read-only" in shown


def test_no_color_is_respected(terminal: Any, server: str) -> None:
    status, shown = terminal("inspect", server, NO_COLOR="1").end()
    assert status == 0
    # Bold stays: it is no colour.
    assert set(re.findall(r"\x1b\[([\d;]*)m", shown)) == {"1", "0"}
    assert "(a: integer, b: integer = 1) -> integer" in shown


def test_a_dumb_terminal_gets_plain_text(terminal: Any, server: str, taut: Taut) -> None:
    assert terminal("inspect", server, TERM="dumb").end() == (0, taut("inspect", server).out)


def test_json_is_never_coloured(terminal: Any, server: str, taut: Taut) -> None:
    assert terminal("tools", server, "--json").end() == (0, taut("tools", server, "--json").out)


def test_a_terminal_without_rich_gets_plain_text(
    terminal: Any, server: str, taut: Taut, tmp_path: Any
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['rich'] = None")
    shown = terminal("inspect", server, PYTHONPATH=str(tmp_path)).end()
    assert shown == (0, taut("inspect", server).out)


def test_progress_is_shown_on_a_terminal_and_removed(terminal: Any, server: str) -> None:
    command = terminal("call", server, "count", "to=3")
    command.wait_for("3/3 counting")
    status, shown = command.end()
    assert (status, shown.split("\r")[-1]) == (0, "done\n")


def test_serving_at_a_terminal_says_what_is_going_on(terminal: Any, server: str) -> None:
    command = terminal("serve", server)
    command.wait_for("taut: example speaks MCP on stdin and stdout; ^C ends it.")
    command.type("\x04")
    assert command.end()[0] == 0
