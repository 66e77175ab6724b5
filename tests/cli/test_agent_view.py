"""What an agent does, shown: who speaks when, what goes where, and what a terminal does not get."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.agent import events
from taut.cli.agent_view import AgentView, usage_text
from taut.cli.screen import Screen, clean, fit
from taut.llm.messages import ToolCall, ToolResult, Usage


class Window(io.StringIO):
    """A terminal, as a program sees one."""

    def isatty(self) -> bool:
        return True

    @property
    def rows(self) -> list[str]:
        """What stands on it: a line that is rewritten counts as it was at last."""
        rows = []
        for line in self.getvalue().split("\n"):
            row: list[str] = []
            for part in line.split("\r"):
                row[: len(part)] = part
            rows.append("".join(row).rstrip())
        return rows


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


def at_terminal(*heard: Any, **options: Any) -> tuple[AgentView, Window]:
    """Show events at a terminal that is both stdout and stderr."""
    window = Window()
    view = AgentView("a", Screen(window, window), **options)
    for event in heard:
        view.hear(event)
    return view, window


def in_files(*heard: Any, output: Any = None, **options: Any) -> tuple[str, str]:
    """Show events where stdout and stderr are files; return what is in them."""
    out, err = io.StringIO(), io.StringIO()
    view = AgentView("a", Screen(out, err), **options)
    for event in heard:
        view.hear(event)
    if output is not None:
        view.finish(output)
    return out.getvalue(), err.getvalue()


def call(name: str = "look", **arguments: Any) -> ToolCall:
    return ToolCall("1", name, arguments)


def step(path: str = "a") -> events.StepBegan:
    return events.StepBegan(path, 1)


def used(path: str = "a") -> events.UsageReported:
    return events.UsageReported(path, Usage(requests=1), 0)


class TestAtATerminal:
    def test_text_grows_and_the_output_is_not_shown_twice(self) -> None:
        view, window = at_terminal(step(), events.Text("a", "Hell"), events.Text("a", "o"), used())
        view.finish("Hello")
        assert window.rows == ["Hello", ""]

    def test_an_output_that_was_not_streamed_is_shown(self) -> None:
        view, window = at_terminal(step(), events.Text("a", "Hello"), used())
        view.finish("Other\n")
        assert window.rows == ["Hello", "Other", ""]

    def test_the_last_line_says_what_goes_on_and_leaves_no_trace(self) -> None:
        view, window = at_terminal(step())
        assert window.rows == ["asking the model ..."]
        view.hear(events.Text("a", "I look.\n"))
        view.hear(events.ToolCalled("a", call(x=1)))
        view.hear(events.ToolProgress("a", "1", "look", 1, 4, "half"))
        assert window.rows == ["I look.", '-> look {"x":1}', "look 1/4 half ..."]
        view.hear(events.ToolProgress("a", "1", "look", 2))
        assert window.rows[-1] == "look 2 ..."
        view.hear(events.ToolReturned("a", ToolResult("1", "look", "found\nit", False)))
        assert window.rows == ["I look.", '-> look {"x":1}', "<- look: found it", ""]

    def test_a_status_never_stands_behind_text(self) -> None:
        view, window = at_terminal(step(), events.Text("a", "half a li"))
        view.hear(events.ToolProgress("a/b", "1", "look", 1))
        assert window.rows == ["half a li"]
        view.hear(events.Noted("a", "route", "b"))
        assert window.rows == ["half a li", "route: b", ""]

    def test_those_who_speak_at_once_are_heard_one_after_another(self) -> None:
        _view, window = at_terminal(
            events.Text("a/b", "I am "),
            events.Text("a/c", "and I "),
            events.Text("a/b", "b."),
            events.Text("a/c", "am c."),
            used("a/c"),
            used("a/b"),
        )
        assert window.rows == ["[b] I am b.", "[c] and I am c.", ""]

    def test_who_has_begun_unheard_is_shown_whole(self) -> None:
        _view, window = at_terminal(
            events.Text("a/b", "b"),
            events.Text("a/c", "c1 "),
            used("a/b"),
            events.Text("a/c", "c2"),
            used("a/c"),
        )
        assert window.rows == ["[b] b", "[c] c1 c2", ""]

    def test_an_answer_that_begins_unheard_is_shown_at_the_end(self) -> None:
        view, window = at_terminal(
            events.Text("a/b", "b"),
            step(),
            events.Text("a", "My "),
            used("a/b"),
            events.Text("a", "answer"),
            used(),
        )
        view.finish("My answer")
        assert [row for row in window.rows if row] == ["[b] b", "My answer"]

    def test_a_model_that_begins_again(self) -> None:
        view, window = at_terminal(
            step(), events.Text("a", "Hell"), events.Restarted("a", "cut"), events.Text("a", "Hello"), used()
        )
        view.finish("Hello")
        assert window.rows == ["Hell", "the model begins again: cut", "Hello", ""]

    def test_thinking_is_told_from_text(self) -> None:
        view, window = at_terminal(
            step(),
            events.Thinking("a", "Hm."),
            events.ToolCalled("a", call()),
            step(),
            events.Text("a", "Yes."),
            used(),
        )
        view.finish("Yes.")
        assert window.rows == ["Hm.", "-> look {}", "Yes.", ""]

    def test_lines_are_cut_to_the_window(self) -> None:
        _view, window = at_terminal(events.ToolCalled("a", call(text="x" * 100)))
        assert len(window.rows[0]) == 59
        assert window.rows[0].endswith("xxx...")

    def test_somebody_is_asked_in_quiet(self) -> None:
        view, window = at_terminal(step(), events.Text("a", "half"))
        view.hold()
        before = window.getvalue()
        view.hear(events.Text("a", " more"))
        view.note("a server says")
        assert window.getvalue() == before
        assert before.endswith("half\n")
        view.release()
        assert window.rows == ["half", " more", "a server says", ""]

    def test_stopping_leaves_a_clean_line(self) -> None:
        view, window = at_terminal(step(), events.Text("a", "half"))
        view.stop()
        assert window.rows == ["half", ""]
        view, window = at_terminal(step())
        view.stop()
        assert window.rows == [""]

    def test_quiet_is_the_answer_only(self) -> None:
        heard = (
            step(),
            events.ToolCalled("a", call()),
            events.Text("a/b", "b"),
            step(),
            events.Text("a", "Yes."),
            used(),
        )
        view, window = at_terminal(*heard, quiet=True)
        view.finish("Yes.")
        assert window.rows == ["Yes.", ""]


class TestInFiles:
    def test_stdout_gets_the_output_only(self) -> None:
        heard = (
            step(),
            events.Text("a", "I look."),
            events.ToolCalled("a", call()),
            events.ToolProgress("a", "1", "look", 1, 2),
            events.ToolReturned("a", ToolResult("1", "look", "no", True)),
            step(),
            events.Text("a", "No."),
            used(),
        )
        out, err = in_files(*heard, output="No.")
        assert out == "No.\n"
        assert err == "I look.\n-> look {}\n<- look failed: no\n"

    def test_what_is_shown_of_results_is_bounded(self) -> None:
        _, err = in_files(events.ToolReturned("a", ToolResult("1", "look", "x" * 1000)))
        assert len(err) == 401

    def test_what_others_say_is_told_when_they_have(self) -> None:
        heard = (events.Text("a/b", "one\n"), events.Text("a/b", "two"), events.Failed("a/b", "no more"))
        assert in_files(*heard) == ("", "[b] one\ntwo\n[b] failed: no more\n")

    def test_control_characters_stay_in_data_and_not_in_lines(self) -> None:
        out, err = in_files(events.Noted("a", "x", "\x1b[2J!"), output="\x1b[1m")
        assert (out, err) == ("\x1b[1m\n", "x: [2J!\n")

    def test_an_output_that_is_no_text(self, capsys: pytest.CaptureFixture[str]) -> None:
        out, _ = in_files(output={"a": 1})
        assert out + capsys.readouterr().out == '{\n  "a": 1\n}\n'


class TestColours:
    @pytest.mark.parametrize(
        ("variables", "coloured"),
        [({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": "", "TERM": "dumb"}, False)],
    )
    def test_the_environment_says_whether(
        self, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
    ) -> None:
        if sys.platform == "win32":
            pytest.skip("an old console has none")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        _, window = at_terminal(events.Noted("a", "x", "y"))
        assert (window.getvalue() == "\x1b[90mx: y\x1b[0m\n") is coloured


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    left = clean(text)
    assert not [one for one in left if (ord(one) < 32 and one not in "\t\n") or 127 <= ord(one) < 160]
    assert clean(left) == left


@given(st.text(st.sampled_from("ab \u0301漢字é")), st.integers(0, 30))
def test_what_fits_has_no_more_columns(text: str, columns: int) -> None:
    width = {"漢": 2, "字": 2, "\u0301": 0}
    shown = fit(text, columns)
    assert sum(width.get(one, 1) for one in shown) <= max(columns, 3)
    assert shown == text or shown.endswith("...")


@pytest.mark.parametrize(
    ("usage", "calls", "text"),
    [
        (Usage(1200, 5, requests=1), 0, "1 request, 1,200 tokens in, 5 out"),
        (Usage(1, 5, requests=2, cost=0.0123), 1, "2 requests, 1 tokens in, 5 out, 1 tool call, $0.0123"),
        (
            Usage(0, 0, requests=0, cost=None),
            2,
            "0 requests, 0 tokens in, 0 out, 2 tool calls, cost not known",
        ),
    ],
)
def test_usage_in_words(usage: Usage, calls: int, text: str) -> None:
    assert usage_text(usage, calls) == text
