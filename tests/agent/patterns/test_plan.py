"""Plans: any that can be ordered is carried out in order, and what is wrong with the others is said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.worlds import run
from taut.agent.patterns import Outcome, Task
from taut.agent.patterns.plan import carry_out, depth_of, problems_of, told_with
from taut.errors import RunSuspended


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Plans without a circle, in any order."""
    count = draw(st.integers(0, 9))
    tasks = []
    for number in range(count):
        needs = draw(st.lists(st.integers(0, number - 1), max_size=4)) if number else []
        tasks.append(Task(f"t{number}", draw(st.sampled_from("ab")), "do", [f"t{need}" for need in needs]))
    return draw(st.permutations(tasks))


class Worker:
    """Does tasks, each as late as it likes; fails and suspends those that it is told to."""

    def __init__(self, turns: dict[str, int], failing: set[str], suspended: set[str]) -> None:
        self.turns, self.failing, self.suspended = turns, failing, suspended
        self.outcomes: dict[str, Outcome] = {}
        self.log: list[tuple[str, str]] = []

    async def do(self, task: Task) -> Outcome:
        self.log.append(("began", task.id))
        assert set(task.needs) <= self.outcomes.keys()
        for _ in range(self.turns.get(task.id, 0)):
            await asyncio.sleep(0)
        if task.id in self.suspended:
            raise RunSuspended("a decision is missing")
        self.log.append(("ended", task.id))
        return Outcome(task, task.id, task.id in self.failing)


ids = st.sampled_from([f"t{number}" for number in range(9)])


@given(
    graphs(), st.dictionaries(ids, st.integers(0, 5)), st.sets(ids), st.one_of(st.none(), st.integers(1, 3))
)
def test_any_order_that_there_is_is_kept(
    tasks: list[Task], turns: dict[str, int], failing: set[str], limit: int | None
) -> None:
    assert problems_of(tasks, "ab") == []
    worker = Worker(turns, failing, set())
    run(carry_out(tasks, worker.do, worker.outcomes, limit=limit))
    assert worker.outcomes.keys() == {task.id for task in tasks}
    for task in tasks:
        lacking = [need for need in task.needs if worker.outcomes[need].failed]
        assert worker.log.count(("began", task.id)) == (0 if lacking else 1)
        assert worker.outcomes[task.id].failed == (bool(lacking) or task.id in failing)
        if lacking:
            assert worker.outcomes[task.id].text == f"Not done: it needs {', '.join(lacking)}"
            continue
        for need in task.needs:
            assert worker.log.index(("ended", need)) < worker.log.index(("began", task.id))
    began = [event == "began" for event, _ in worker.log]
    going = [2 * sum(began[: place + 1]) - place - 1 for place in range(len(began))]
    assert limit is None or max(going, default=0) <= limit


@given(graphs(), st.sets(ids))
def test_what_does_not_need_a_suspended_task_is_done(tasks: list[Task], suspended: set[str]) -> None:
    suspended &= {task.id for task in tasks}
    worker = Worker({}, set(), suspended)
    waiting = set(suspended)
    for _ in tasks:
        waiting |= {task.id for task in tasks if not waiting.isdisjoint(task.needs)}
    if suspended:
        with pytest.raises(RunSuspended):
            run(carry_out(tasks, worker.do, worker.outcomes))
    else:
        run(carry_out(tasks, worker.do, worker.outcomes))
    assert worker.outcomes.keys() == {task.id for task in tasks} - waiting


@given(graphs(), st.data())
def test_a_circle_is_refused_and_named(tasks: list[Task], data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 4))
    circle = [
        Task(f"c{n}", "a", "do", [f"c{(n + 1) % length}", *data.draw(needs_of(tasks))]) for n in range(length)
    ]
    plan = data.draw(st.permutations([*tasks, *circle]))
    (problem,) = problems_of(plan, "ab")
    prefix = "Expected tasks that can be ordered, got a circle: "
    assert problem.startswith(prefix)
    named = problem.removeprefix(prefix).removesuffix(".").split(" needs ")
    assert named[0] == named[-1]
    assert set(named) == {task.id for task in circle}
    assert len(named) == length + 1


def needs_of(tasks: list[Task]) -> Any:
    return st.lists(st.sampled_from([task.id for task in tasks])) if tasks else st.just([])


@given(graphs())
def test_the_depth_is_that_of_the_longest_way(tasks: list[Task]) -> None:
    by_id = {task.id: task for task in tasks}

    def below(task: Task) -> int:
        return 1 + max((below(by_id[need]) for need in task.needs), default=0)

    depth = max(map(below, tasks), default=0)
    assert depth_of(tasks) == depth
    assert problems_of(tasks, "ab", max_depth=depth) == []
    if tasks:
        assert problems_of(tasks, "ab", max_depth=depth - 1) == [
            f"Expected at most {depth - 1} tasks one after another, got {depth}."
        ]


def test_what_is_wrong_is_said_all_at_once() -> None:
    tasks = [
        Task("a", "cook", "do", []),
        Task("a", "a", "do", ["z"]),
        Task("no id!", "a", "do", []),
        Task("old", "b", "do", ["old"]),
    ]
    assert problems_of(tasks, ["a", "b"], done={"old"}, max_tasks=3) == [
        "Expected at most 3 tasks, got 4.",
        "Expected a new id for each task, got 'a' again.",
        "Expected a new id for each task, got 'old' again.",
        "Task a: expected a worker (a, b), got 'cook'.",
        "Task a: expected to need tasks that there are, got 'z'.",
        "Expected an id of 1-40 letters, digits, '_' and '-', got 'no id!'.",
    ]
    assert problems_of([Task("new", "a", "do", ["old"])], "a", done={"old"}) == []


def test_a_failure_that_is_raised_cancels_the_others() -> None:
    async def work() -> None:
        log: list[str] = []

        async def do(task: Task) -> Outcome:
            if task.id == "bad":
                raise OSError("gone")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                log.append(task.id)
                raise
            return Outcome(task, "")

        tasks = [Task("long", "a", "do", []), Task("bad", "a", "do", []), Task("late", "a", "do", ["bad"])]
        with pytest.raises(OSError, match="gone"):
            await carry_out(tasks, do, {})
        assert log == ["long"]

    run(work())


def test_a_task_is_told_with_what_it_needs_and_nothing_else() -> None:
    first, second = Task("a", "w", "Find", []), Task("b", "w", "Look", [])
    outcomes = {"a": Outcome(first, "Found."), "b": Outcome(second, "Seen.")}
    assert told_with(first, outcomes) == "Find"
    assert told_with(Task("c", "w", "Write", ["a", "a"]), outcomes) == (
        "Write\n\nThis builds on these results:\n\n## a: Find\nFound."
    )
