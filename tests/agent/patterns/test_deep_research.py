"""Deep research: the queue, the knowledge, the check of both, and what happens when the means are used up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.patterns.cases import Kit, dug, js, read, research, said, verdict
from agent.worlds import run
from taut.agent import Agent, Budget, RunState
from taut.agent import events as ev
from taut.agent.patterns import DeepResearch, Fact, Findings, Knowledge, ResearchReport
from taut.agent.patterns.knowledge import same
from taut.errors import BudgetExceeded, ConfigError, ModelUnavailable
from taut.llm.messages import Usage
from taut.testing import ScriptedModel, call

MOSS = Fact("Moss is a plant", ["the digger"])
RAIN = Fact("Moss likes rain", ["the digger"])


def questions(*asked: str, worker: str = "digger") -> list[dict[str, str]]:
    return [{"question": one, "worker": worker} for one in asked]


def checked(complete: bool, *asked: str) -> str:
    return js({"missing": "" if complete else "more", "complete": complete, "questions": questions(*asked)})


def researching(
    kit: Kit, plan: list[dict[str, str]], verdicts: Any, worker: Any = None, **options: Any
) -> DeepResearch:
    def findings(request: Any) -> str:
        return js(Findings([Fact(f"Fact of {said(request)}", [f"book of {said(request)}"])]))

    model = kit.model(
        {
            "You plan research": ("planner", js({"questions": plan})),
            "You check research": ("verifier", verdicts),
            "Write a report": ("writer", "The report."),
        }
    )
    workers = [worker or kit.agent("digger", findings, output=Findings)]
    return DeepResearch("research", model, workers=workers, **options)


def prompts(kit: Kit, name: str) -> list[str]:
    return [asked for who, asked in kit.prompts if who == name]


class TestKnowledge:
    def test_a_fact_is_kept_once_with_all_its_sources(self) -> None:
        known = Knowledge([Fact("Moss likes rain.", ["a", "b"])])
        assert (
            known.add([Fact("moss  likes RAIN", ["b", "c"]), Fact("Moss is green", []), Fact("?!", ["x"])])
            == 1
        )
        assert known.facts == (Fact("Moss likes rain.", ["a", "b", "c"]), Fact("Moss is green", []))
        assert (len(known), known.sources) == (2, ("a", "b", "c"))

    def test_it_is_told_with_numbers_of_sources(self) -> None:
        known = Knowledge([Fact("One", ["a", "b"]), Fact("Two", ["b"]), Fact("Three", [])])
        assert known.text == "- One [1] [2]\n- Two [2]\n- Three\n\nSources:\n[1] a\n[2] b"
        assert Knowledge().text == "Nothing."

    @given(st.lists(st.tuples(st.text("aB .", min_size=1, max_size=3), st.lists(st.sampled_from("xyz")))))
    def test_no_fact_and_no_source_is_lost_or_kept_twice(self, given: list[tuple[str, list[str]]]) -> None:
        known = Knowledge()
        new = sum(known.add([Fact(text, sources)]) for text, sources in given)
        keys = {same(text) for text, _ in given} - {""}
        assert new == len(known) == len(keys)
        for fact in known.facts:
            wanted = [
                source for text, sources in given if same(text) == same(fact.text) for source in sources
            ]
            assert fact.sources == list(dict.fromkeys(wanted))


def test_a_report_is_written_from_facts_with_numbers() -> None:
    kit = Kit()
    run(research(kit).run("Describe moss"))
    assert prompts(kit, "writer") == [
        "The objective:\n\nDescribe moss\n\nWhat is known:\n\n"
        "- Moss is a plant [1]\n- Moss likes rain [1]\n\nSources:\n[1] the digger"
    ]


def test_the_verifier_sees_plan_and_knowledge() -> None:
    kit = Kit("fail", {"digger": "?b"})
    plan = questions("?a", "?b", "?c")
    run(researching(kit, plan, checked(True), at_a_time=2).run("Find"))
    assert prompts(kit, "verifier") == [
        "The objective:\n\nFind\n\n## Known\n- Fact of ?a [1]\n\nSources:\n[1] book of ?a\n\n"
        "## Answered questions\n- ?a\n\n## Could not be answered\n- ?b (digger is away)\n\n## Planned questions\n- ?c"
    ]


def test_what_was_not_asked_is_told_and_reported() -> None:
    kit = Kit()
    heard: list[ev.Event] = []
    agent = researching(kit, questions("?a", "?b", "?c"), checked(False, "?d"), max_tasks=2)
    report = run(agent.run("Find", listener=heard.append)).output
    assert (report.complete, report.open) == (False, ("?c", "?d"))
    assert report.reason == "All 2 questions that are allowed have been asked"
    assert prompts(kit, "writer")[0].endswith(
        "Research ended early. All 2 questions that are allowed have been asked.\n\nNot answered:\n\n- ?c\n- ?d"
    )
    topics = [event.topic for event in heard if isinstance(event, ev.Noted)]
    assert topics == ["plan", "facts", "facts", "verdict", "more questions", "research ended"]


def test_rounds_are_bounded() -> None:
    kit = Kit()
    count = iter(range(100))
    agent = researching(kit, questions("?a"), lambda request: checked(False, f"?{next(count)}"), max_rounds=3)
    report = run(agent.run("Find")).output
    assert (report.reason, report.open) == ("There were 3 rounds of questions", ("?2",))
    assert kit.by_name["digger"] == 3


def test_a_question_is_asked_once() -> None:
    kit = Kit()
    agent = researching(kit, questions("What is it?", "what is it"), checked(False, "WHAT is it"))
    report = run(agent.run("Find")).output
    assert (report.reason, kit.by_name["digger"]) == ("There is nothing left to ask", 1)


def test_a_worker_that_there_is_not_is_replaced() -> None:
    kit = Kit()
    report = run(researching(kit, questions("?a", worker="nobody"), checked(True)).run("Find")).output
    assert report.facts == (Fact("Fact of ?a", ["book of ?a"]),)


def test_a_plan_without_questions_is_reported() -> None:
    report = run(researching(Kit(), [], checked(True)).run("Find")).output
    assert report == ResearchReport("The report.", False, "There is nothing left to ask")


@pytest.mark.parametrize("calls", range(11))
def test_when_its_means_are_used_up_there_is_a_report(calls: int) -> None:
    """Plan, two answers, two readings, a verdict, an answer, its reading, a verdict; the report is besides."""
    kit = Kit()
    report = run(research(kit, effort=Budget(model_calls=calls), at_a_time=1).run("Describe moss")).output
    assert kit.total == min(calls, 10) + 1
    assert report.text == "Moss."
    facts = [] if calls < 3 else [MOSS] if calls < 9 else [MOSS, RAIN]
    assert list(report.facts) == facts
    if calls < 10:
        assert (report.complete, "model_calls is" in report.reason) == (False, True)
    else:
        assert report.complete


def test_what_goes_on_when_the_means_are_used_up_may_end() -> None:
    """Both have been asked when ?a uses up the rest and wants more; the answer to ?b comes then, and counts."""
    usage = Usage(input_tokens=10, requests=1)

    async def work() -> ResearchReport:
        b_asked, looked = asyncio.Event(), asyncio.Event()

        def look() -> str:
            """Look."""
            looked.set()
            return "seen"

        async def script(request: Any) -> Any:
            if said(request) == "?a":
                await b_asked.wait()
                return call("look")
            b_asked.set()
            await looked.wait()
            return js(Findings([Fact("Of ?b", [])]))

        worker = Agent(
            "digger", model=ScriptedModel(script, script, usage=usage), tools=[look], output=Findings
        )
        model = ScriptedModel(js({"questions": questions("?a", "?b")}), "The report.", usage=usage)
        agent = DeepResearch("research", model, workers=[worker], effort=Budget(tokens=20))
        report: ResearchReport = (await agent.run("Find")).output
        return report

    report = run(work())
    assert (report.facts, report.open) == ((Fact("Of ?b", []),), ("?a",))
    assert report.reason == "Budget exceeded by research/investigation: tokens is 20, got 20"


def test_the_budget_of_a_worker_is_its_own_failure() -> None:
    kit = Kit()
    worker = kit.agent("digger", "x", output=Findings, budget=Budget(model_calls=0))
    report = run(researching(kit, questions("?a"), checked(False), worker=worker).run("Find")).output
    (failed,) = report.failed
    assert failed.startswith("?a (Budget exceeded by research/investigation/digger: model_calls is 0")


def test_a_budget_above_ends_it_without_a_report() -> None:
    for own in (
        {"budget": Budget(model_calls=3)},
        {"effort": Budget(model_calls=50), "budget": Budget(model_calls=3)},
    ):
        kit = Kit()
        with pytest.raises(BudgetExceeded) as caught:
            run(research(kit, **own).run("Describe moss"))
        assert (caught.value.result.status, caught.value.result.usage.requests) == ("failed", 3)
        assert kit.by_name["writer"] == 0


def test_a_budget_above_does_not_wait_for_other_workers() -> None:
    kit = Kit("wait", {"digger": "?a"})
    worker = kit.agent("digger", "no findings", output=Findings)
    agent = researching(
        kit, questions("?a", "?b"), checked(True), worker=worker, budget=Budget(model_calls=2)
    )
    with pytest.raises(BudgetExceeded, match="by research: model_calls is 2"):
        run(agent.run("Find"))
    assert kit.cancelled == 1


def test_the_report_is_within_the_budget_above() -> None:
    kit = Kit()
    agent = research(kit, effort=Budget(model_calls=3), budget=Budget(model_calls=3))
    with pytest.raises(BudgetExceeded) as caught:
        run(agent.run("Describe moss"))
    state = RunState.from_bytes(caught.value.result.state.to_bytes())
    again = research(kit, effort=Budget(model_calls=3))
    report = run(again.resume(state, budget=Budget(model_calls=4))).output
    assert (report.facts, report.text, kit.total) == ((MOSS,), "Moss.", 4)


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time is as late as is said."""

    later = 0.0

    def time(self) -> float:
        return super().time() + self.later


def test_when_its_time_is_over_there_is_a_report() -> None:
    kit = Kit("wait", {"digger": "?b"})

    async def work() -> ResearchReport:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clock)

        def pass_time() -> None:
            loop.later = 3600.0

        kit.on_wait = pass_time
        agent = researching(kit, questions("?a", "?b", "?c"), checked(True), effort=Budget(time_s=1800))
        report: ResearchReport = (await agent.run("Find")).output
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return report

    with asyncio.Runner(loop_factory=Clock) as runner:
        report = runner.run(work())
    assert report.reason == "The time for research is over: 1800 s"
    assert [fact.text for fact in report.facts] == ["Fact of ?a", "Fact of ?c"]
    assert (report.open, kit.cancelled) == (("?b",), 1)


def test_a_failure_of_the_planner_ends_it() -> None:
    with pytest.raises(ModelUnavailable, match="planner is away"):
        run(research(Kit("fail", {"planner": ""}), effort=Budget(model_calls=50)).run("Describe moss"))


def test_the_researcher_has_the_tools() -> None:
    def search(query: str) -> str:
        """Search."""
        return f"found {query}"

    found = Findings([Fact("Moss is old", ["search"])])
    model = ScriptedModel(
        js({"questions": questions("How old is moss?", worker="researcher")}),
        call("search", query="moss"),
        js(found),
        checked(True),
        "Old.",
    )
    report = run(DeepResearch("research", model, tools=[search]).run("Describe moss")).output
    assert (report.text, report.facts) == ("Old.", tuple(found.facts))


def test_a_worker_waits_for_approval_and_others_are_not_asked_again() -> None:
    kit = Kit("act", {"digger": "?b"})
    plan = questions("?a", "?b", "?c")
    result = run(researching(kit, plan, checked(True)).run("Find"))
    assert kit.by_name["digger"] == 3
    state = RunState.from_bytes(result.state.to_bytes())
    assert [request.path for request in state.approvals] == ["research/investigation/digger"]
    state.approve()
    result = run(researching(kit, plan, checked(True)).resume(state))
    assert [fact.text for fact in result.output.facts] == ["Fact of ?a", "Fact of ?b", "Fact of ?c"]
    assert (kit.acts, kit.repeated) == (["digger: ?b"], [])


def test_a_writer_of_its_own() -> None:
    kit = Kit()
    writer = kit.agent("poet", "A poem.", budget=None)
    model = kit.model(
        {
            "You plan": ("planner", js({"questions": questions("What do mosses like?")})),
            "You check": ("verifier", verdict),
            "List": ("reader", read),
        }
    )
    agent = DeepResearch("research", model, workers=[kit.agent("digger", dug)], writer=writer)
    assert run(agent.run("Describe moss")).output.text == "A poem."


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "at least one agent as workers, or tools, got none"),
        ({"max_tasks": 0}, "a max_tasks, a max_rounds and an at_a_time of at least 1"),
        ({"at_a_time": 0}, "a max_tasks, a max_rounds and an at_a_time of at least 1"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DeepResearch("research", Kit().model({}), **options)
