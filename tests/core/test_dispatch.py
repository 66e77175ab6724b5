"""Requests in flight, and progress that only goes up."""

from __future__ import annotations

import math

import pytest

from taut.errors import InvalidMessage, LimitExceeded


def test_ids_count_from_one_and_are_not_given_twice(core):
    table = core.InFlight(2)
    assert table.open("a") == 1
    assert table.open("b") == 2
    assert table.pop(1) == "a"
    assert table.open("c") == 3
    assert (len(table), 1 in table, 2 in table, 3 in table) == (2, False, True, True)


def test_answer_that_is_late_or_unasked_finds_nothing(core):
    table = core.InFlight(2)
    key = table.open("a")
    assert table.get(key) == "a"
    assert table.pop(key) == "a"
    assert table.pop(key) is None
    assert table.get(key) is None
    assert table.pop(99) is None
    assert table.pop("1") is None


def test_number_and_text_ids_differ(core):
    table = core.InFlight(3)
    table.admit(1, "number")
    table.admit("1", "text")
    table.admit(2**70, "large")
    assert (table.pop("1"), table.pop(1), table.pop(2**70)) == ("text", "number", "large")


@pytest.mark.parametrize("key", [7, "seven"])
def test_id_in_flight_is_refused_and_its_entry_kept(core, key):
    table = core.InFlight(1)
    table.admit(key, "first")
    with pytest.raises(InvalidMessage, match=f"Expected an id that is not in flight, got {key!r} again"):
        table.admit(key, "second")
    assert table.pop(key) == "first"
    table.admit(key, "third")


def test_full_table_refuses_and_stays_as_it_is(core):
    table = core.InFlight(1)
    assert table.open("a") == 1
    for refused in (lambda: table.open("b"), lambda: table.admit("x", "b")):
        with pytest.raises(LimitExceeded) as caught:
            refused()
        assert (caught.value.limit, caught.value.maximum) == ("max_in_flight", 1)
    assert len(table) == 1
    assert table.pop(1) == "a"
    assert table.open("b") == 2


def test_drain_empties_the_table_in_order(core):
    table = core.InFlight(5)
    table.admit("z", 1)
    table.open(2)
    table.admit("a", 3)
    assert table.drain() == [1, 2, 3]
    assert (len(table), table.drain()) == (0, [])
    assert table.open(4) == 2


def test_maximum_is_positive(core):
    with pytest.raises(ValueError, match="maximum must be positive, got 0"):
        core.InFlight(0)
    assert core.InFlight(3).maximum == 3


def test_table_can_be_annotated_at_run_time(core):
    assert core.InFlight[str].__origin__ is core.InFlight


def test_progress_must_increase(core):
    progress = core.Progress()
    steps = [(0, True), (0, False), (0.5, True), (0.4, False), (math.nan, False), (2, True), (math.inf, True)]
    assert [progress.advance(value) for value, _ in steps] == [wanted for _, wanted in steps]


def test_first_progress_may_be_anything(core):
    assert core.Progress().advance(-math.inf)
    assert core.Progress().advance(-5)
    assert not core.Progress().advance(math.nan)


def test_no_progress_after_the_answer(core):
    progress = core.Progress()
    assert progress.advance(1)
    assert not progress.closed
    progress.close()
    progress.close()
    assert progress.closed
    assert not progress.advance(2)
