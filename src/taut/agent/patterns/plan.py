"""Plans: tasks for workers, which of them need the results of which, and how they are carried out.

A task begins as soon as what it needs is there, and gets the results that it needs and no others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from taut.agent.patterns.kinds import choice_of, list_of
from taut.agent.patterns.side_by_side import SideBySide

__all__ = ["Outcome", "Plan", "Task", "carry_out", "depth_of", "plan_for", "problems_of", "told_with"]

#: Ids are in keys of steps, and in texts for models.
_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Task(Struct, frozen=True, forbid_unknown_fields=True):
    """One task of a plan. ``needs`` are the ids of the tasks whose results it builds on."""

    id: str
    worker: str
    task: str
    needs: list[str]


class Plan(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done next, in any order in which no task comes before what it needs."""

    tasks: list[Task]


class Outcome(Struct, frozen=True):
    """What came of a task: the text of its output, or why it has none."""

    task: Task
    text: str
    failed: bool = False


def plan_for(workers: Iterable[str], *fields: tuple[str, Any]) -> Any:
    """Return the type of a planner's answer, a `Plan` with ``fields`` before the tasks; a model that follows schemas
    cannot name other workers.
    """
    task = msgspec.defstruct(
        "Task", [("worker", choice_of(workers))], bases=(Task,), frozen=True, forbid_unknown_fields=True
    )
    return msgspec.defstruct(
        "Plan", [*fields, ("tasks", list_of(task))], frozen=True, forbid_unknown_fields=True
    )


def problems_of(
    tasks: Sequence[Task],
    workers: Collection[str],
    *,
    done: Collection[str] = (),
    max_tasks: int | None = None,
    max_depth: int | None = None,
) -> list[str]:
    """Return what is wrong with a plan, in words that its planner can repair it by.

    ``done`` are the ids of tasks that have ended, which these may need.
    """
    problems = []
    ids = [task.id for task in tasks]
    if max_tasks is not None and len(tasks) > max_tasks:
        problems.append(f"Expected at most {max_tasks} tasks, got {len(tasks)}.")
    again = dict.fromkeys(id for id in ids if ids.count(id) > 1 or id in done)
    problems += [f"Expected a new id for each task, got {id!r} again." for id in again]
    for task in tasks:
        if not _ID.fullmatch(task.id):
            problems.append(f"Expected an id of 1-40 letters, digits, '_' and '-', got {task.id!r}.")
        if task.worker not in workers:
            problems.append(f"Task {task.id}: expected a worker ({', '.join(workers)}), got {task.worker!r}.")
        unknown = [need for need in task.needs if need not in ids and need not in done]
        problems += [
            f"Task {task.id}: expected to need tasks that there are, got {need!r}." for need in unknown
        ]
    if not problems:
        circle = _circle(tasks)
        if circle:
            problems.append(f"Expected tasks that can be ordered, got a circle: {' needs '.join(circle)}.")
        elif max_depth is not None and (depth := depth_of(tasks)) > max_depth:
            problems.append(f"Expected at most {max_depth} tasks one after another, got {depth}.")
    return problems


def _layers(tasks: Sequence[Task]) -> tuple[list[list[Task]], list[Task]]:
    """Return the tasks in layers, each of which needs only those before it, and what cannot be ordered."""
    layers: list[list[Task]] = []
    left = list(tasks)
    while left:
        missing = {task.id for task in left}
        layer = [task for task in left if missing.isdisjoint(task.needs)]
        if not layer:
            break
        layers.append(layer)
        left = [task for task in left if task not in layer]
    return layers, left


def depth_of(tasks: Sequence[Task]) -> int:
    """Return how many tasks come one after another, at least."""
    return len(_layers(tasks)[0])


def _circle(tasks: Sequence[Task]) -> list[str]:
    """Return ids of tasks that need each other in a circle, the first one again at the end; empty if there is none."""
    left = {task.id: task for task in _layers(tasks)[1]}
    if not left:
        return []
    # What is left needs something that is left: following that comes back to where it was.
    path = [next(iter(left))]
    while True:
        following = next(need for need in left[path[-1]].needs if need in left)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


async def carry_out(
    tasks: Sequence[Task],
    start: Callable[[Task], Coroutine[Any, Any, Outcome]],
    outcomes: dict[str, Outcome],
    *,
    limit: int | None = None,
) -> None:
    """Do the tasks of a plan without problems; ``outcomes``, by id, gets those that have ended, in their order.

    ``start`` returns what does one task; it is called when what that needs is in ``outcomes``. A task that needs a
    failed one fails without having been started.

    :raises taut.errors.RunSuspended: one waits for a decision; what does not need it has been done.
    """
    left = {task.id: task for task in tasks}
    async with SideBySide[str, Outcome](limit=limit) as going:
        while True:
            for task in [one for one in left.values() if outcomes.keys() >= set(one.needs)]:
                del left[task.id]
                lacking = [need for need in task.needs if outcomes[need].failed]
                if lacking:
                    outcomes[task.id] = Outcome(task, f"Not done: it needs {', '.join(lacking)}", True)
                    break  # others may need this one
                going.start(task.id, start(task))
            else:
                ended = await going.next()
                if ended is None:
                    break
                outcomes[ended[0]] = ended[1]
        if going.suspended is not None:
            raise going.suspended


def told_with(task: Task, outcomes: Mapping[str, Outcome]) -> str:
    """Return a task as its worker gets it: with the results that it needs."""
    if not task.needs:
        return task.task
    results = "\n\n".join(
        f"## {id}: {outcomes[id].task.task}\n{outcomes[id].text}" for id in dict.fromkeys(task.needs)
    )
    return f"{task.task}\n\nThis builds on these results:\n\n{results}"
