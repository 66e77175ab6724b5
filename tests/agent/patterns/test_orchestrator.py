"""Orchestrators: plans, what is done about bad ones, and what workers and planner get to see."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.patterns.cases import Kit, iterative, orchestrator, planned, results, said, worker
from agent.worlds import run, until
from taut.agent import BaseAgent
from taut.agent import events as ev
from taut.agent.patterns import Orchestrator
from taut.errors import AgentError, ConfigError
from taut.llm.messages import Image, Text


def planning(kit: Kit, script: Any, **options: Any) -> Orchestrator:
    return Orchestrator(
        "orchestrator",
        kit.model({"You plan work": ("planner", script), "Others have": ("synthesiser", results)}),
        workers=[kit.agent("digger", worker("digger")), kit.agent("scribe", worker("scribe"))],
        **options,
    )


def prompts(kit: Kit, name: str) -> list[str]:
    return [asked for who, asked in kit.prompts if who == name]


def test_workers_see_only_what_they_need() -> None:
    kit = Kit()
    run(orchestrator(kit).run("Build"))
    assert prompts(kit, "scribe") == [
        "draw",
        "write\n\nThis builds on these results:\n\n## a: dig\ndigger did dig",
    ]
    assert prompts(kit, "digger")[1].endswith(
        "## a: dig\ndigger did dig\n\n## b: write\nscribe did write with a"
    )


def test_the_planner_knows_the_workers() -> None:
    kit = Kit()
    model = kit.model({"You plan": ("planner", planned(("a", "digger", "dig", []))), "": ("s", "over")})
    run(Orchestrator("o", model, workers=[kit.agent("digger", "dug")]).run("Build"))
    request = model.requests[0]
    assert "- digger: It is digger" in request.instructions
    assert request.output_schema is not None
    assert request.output_schema["$defs"]["Task"]["properties"]["worker"]["enum"] == ["digger"]


def test_a_bad_plan_is_told_back_and_repaired() -> None:
    kit = Kit()

    def plan(request: Any) -> str:
        if "cannot be carried out" not in said(request):
            return planned(("a", "cook", "dig", []), ("b", "scribe", "write", ["x"]))
        assert len(request.messages) == 3
        return planned(("a", "digger", "dig", []))

    heard: list[ev.Event] = []
    assert run(planning(kit, plan).run("Build", listener=heard.append)).output == "digger did dig"
    assert prompts(kit, "planner")[1] == (
        "This plan cannot be carried out:\n"
        "Task a: expected a worker (digger, scribe), got 'cook'.\n"
        "Task b: expected to need tasks that there are, got 'x'.\n"
        "Make another one, for the same objective."
    )
    topics = [event.topic for event in heard if isinstance(event, ev.Noted)]
    assert topics == ["plan refused", "plan"]


def test_repairs_are_bounded() -> None:
    kit = Kit()
    circle = planned(("a", "digger", "dig", ["b"]), ("b", "digger", "dig", ["a"]))
    with pytest.raises(
        AgentError, match="after 2 repairs: Expected tasks that can be ordered, got a circle: a needs b"
    ):
        run(planning(kit, circle).run("Build"))
    assert (kit.by_name["planner"], kit.by_name["digger"]) == (3, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_steps": 1}, "at most 1 tasks one after another, got 2"),
        ({"max_tasks": 1}, "at most 1 tasks, got 2"),
    ],
)
def test_plans_are_no_larger_than_is_allowed(options: dict[str, int], words: str) -> None:
    plan = planned(("a", "digger", "dig", []), ("b", "scribe", "write", ["a"]))
    with pytest.raises(AgentError, match=words):
        run(planning(Kit(), plan, **options, repairs=0).run("Build"))


def test_a_plan_without_tasks_is_none() -> None:
    with pytest.raises(AgentError, match="expected a plan with tasks, got none in step 1"):
        run(planning(Kit(), planned()).run("Build"))
    with pytest.raises(AgentError, match="expected a plan with tasks, got none in step 1"):
        run(planning(Kit(), planned(done=False), plan="iterative").run("Build"))


def test_an_iterative_planner_may_be_done_at_once() -> None:
    kit = Kit()
    run(planning(kit, planned(done=True), plan="iterative").run("Build"))
    assert "The results so far:\n\nThere are none." in prompts(kit, "synthesiser")[0]


def test_an_iterative_planner_sees_results_and_failures() -> None:
    kit = Kit("fail", {"scribe": ""})

    def plan(request: Any) -> str:
        text = said(request)
        if "failed" in text:
            return planned(done=True)
        return planned(("b", "scribe", "write", []), done=False)

    run(planning(kit, plan, plan="iterative", on_failure="collect").run("Build"))
    assert prompts(kit, "planner")[1] == (
        "The objective:\n\nBuild\n\nThe results so far:\n\n## b (scribe, failed): write\nscribe is away\n\nPlan step 2."
    )


def test_steps_are_bounded() -> None:
    kit = Kit()
    count = iter(range(100))

    def plan(request: Any) -> str:
        return planned((f"t{next(count)}", "digger", "dig", []), done=False)

    heard: list[ev.Event] = []
    agent = planning(kit, plan, plan="iterative", max_steps=3)
    assert run(agent.run("Build", listener=heard.append)).output == "; ".join(["digger did dig"] * 3)
    assert ev.Noted("orchestrator", "steps used up", "after 3 steps", 3) in heard


def test_tasks_that_do_not_need_each_other_are_done_together() -> None:
    async def work() -> None:
        kit = Kit("wait", {"digger": "", "scribe": "draw"})
        agent = orchestrator(kit)
        async with agent.stream("Build") as events:
            async for _ in events:
                if kit.waiting == 2:
                    break
        assert kit.cancelled == 2
        kit = Kit("wait", {"digger": "", "scribe": "draw"})
        async with orchestrator(kit, limit=1).stream("Build"):
            await until(lambda: kit.waiting)
            for _ in range(50):  # whatever else goes on, ends
                await asyncio.sleep(0)
            assert kit.waiting == 1

    run(work())


def test_the_answer_may_be_made_by_another_agent_and_sees_images() -> None:
    kit = Kit()
    seen: list[Any] = []

    def count(request: Any) -> str:
        seen.append(request.messages[-1].content[1:])
        return '{"result": 4}'

    agent = planning(
        kit,
        planned(("a", "digger", "dig", [])),
        synthesiser=kit.agent("counter", count, output=int),
    )
    assert (agent.output_type, {one.name for one in agent.members()}) == (
        int,
        {"digger", "scribe", "planner", "counter"},
    )
    picture = Image("aGk=", "image/png")
    assert run(agent.run([Text("Count"), picture])).output == 4
    assert seen == [(picture,)]


def test_ids_of_earlier_steps_are_not_taken_again() -> None:
    kit = Kit()
    agent = planning(kit, planned(("a", "digger", "dig", []), done=False), plan="iterative", repairs=1)
    with pytest.raises(AgentError, match="Expected a new id for each task, got 'a' again"):
        run(agent.run("Build"))
    assert (kit.by_name["planner"], kit.by_name["digger"]) == (3, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": []}, "at least one agent as workers"),
        ({"plan": "none"}, "plan 'full' or 'iterative', got 'none'"),
        ({"max_steps": 0}, "a max_steps, a max_tasks and a limit of at least 1"),
        ({"limit": 0}, "a max_steps, a max_tasks and a limit of at least 1"),
        ({"repairs": -1}, "at least 0 repairs"),
        ({"on_failure": "no"}, "on_failure 'fail' or 'collect'"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    kit = Kit()
    workers: list[BaseAgent[Any]] = [kit.agent("a", "x")]
    with pytest.raises(ConfigError, match=words):
        Orchestrator("o", kit.model({}), **{"workers": workers, **options})


def test_iterations_are_recorded_one_by_one() -> None:
    kit = Kit("act", {"scribe": ""})
    result = run(iterative(kit).run("Build"))
    assert (result.status, kit.by_name["planner"], kit.by_name["digger"]) == ("suspended", 2, 1)
    assert [message.text for message in result.messages][2] == "digger: digger did dig"
