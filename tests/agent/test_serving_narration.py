"""What a run does, in lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.agent import events as ev
from taut.agent.serving.narration import LINE, Narrator
from taut.llm.messages import ToolCall, ToolResult, Usage

CALL = ToolCall("1", "pay", {"secret": "x"})


@pytest.mark.parametrize(
    ("event", "line", "without"),
    [
        (ev.StepBegan("a", 3), "a: step 3", "a: step 3"),
        (ev.ToolCalled("a", CALL), "a: calls pay", "a: calls pay"),
        (ev.ToolProgress("a", "1", "pay", 1, 4, "half"), "a: pay 1/4 half", "a: pay 1/4"),
        (ev.ToolProgress("a", "1", "pay", 0.5), "a: pay 0.5", "a: pay 0.5"),
        (ev.ToolReturned("a", ToolResult("1", "pay", "secret")), "a: pay answered", "a: pay answered"),
        (ev.ToolReturned("a", ToolResult("1", "pay", "secret", True)), "a: pay failed", "a: pay failed"),
        (
            ev.ApprovalAsked("a", "id", CALL, "function:pay"),
            "a: pay waits for approval",
            "a: pay waits for approval",
        ),
        (ev.Noted("a", "route", "to b", {"x": 1}), "a: route: to b", "a: route"),
        (ev.Restarted("a", "secret"), "a: the model begins again", "a: the model begins again"),
        (ev.Failed("a", "secret"), "a: failed", "a: failed"),
        (ev.Done("a", "completed", "secret", Usage()), "a: completed", "a: completed"),
        (ev.UsageReported("a", Usage(), 0), None, None),
        (ev.Thinking("a", "secret"), None, None),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, ev.Event) else "",
)
def test_each_event_in_a_line(event: ev.Event, line: str | None, without: str | None) -> None:
    assert Narrator(details=True).tell(event) == ([] if line is None else [line])
    assert Narrator(details=False).tell(event) == ([] if without is None else [without])


def test_text_is_told_line_by_line_and_before_what_follows() -> None:
    narrator = Narrator(details=True)
    assert narrator.tell(ev.Text("a", "one")) == []
    assert narrator.tell(ev.Text("b", "beside")) == []
    assert narrator.tell(ev.Text("a", " line\n\nand ")) == ["a: one line"]
    assert narrator.tell(ev.ToolCalled("a", CALL)) == ["a: and ", "a: calls pay"]
    assert narrator.tell(ev.Done("b", "completed", "", Usage())) == ["b: beside", "b: completed"]


def test_text_that_is_void_is_not_told() -> None:
    narrator = Narrator(details=True)
    narrator.tell(ev.Text("a", "half of"))
    assert narrator.tell(ev.Restarted("a", "cut")) == ["a: the model begins again"]
    assert narrator.tell(ev.Done("a", "completed", "", Usage())) == ["a: completed"]


def test_text_is_nobodys_business_where_that_is_wanted() -> None:
    narrator = Narrator(details=False)
    assert narrator.tell(ev.Text("a", "x\n" * 1_000)) == []
    assert narrator.tell(ev.Done("a", "completed", "", Usage())) == ["a: completed"]


@given(st.lists(st.text(alphabet="ab \n", max_size=LINE)))
def test_no_text_is_lost_and_none_is_held_for_long(pieces: list[str]) -> None:
    narrator = Narrator(details=True)
    told: list[str] = []
    for piece in pieces:
        told += narrator.tell(ev.Text("p", piece))
        assert all(len(text) < LINE for text in narrator._text.values())
    told += narrator.tell(ev.Done("p", "completed", "", Usage()))[:-1]
    assert not narrator._text
    assert "".join(line.removeprefix("p: ") for line in told).replace(" ", "") == "".join(pieces).replace(
        " ", ""
    ).replace("\n", "")
