"""Many tools: the model sees what it has found, and can call it then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent.worlds import run
from taut import Server
from taut.agent import Agent, RunResult, RunState, ToolPolicy, ToolSearch
from taut.errors import ConfigError
from taut.llm.messages import ToolResult
from taut.testing import ScriptedModel, call

VERBS = ("open", "close", "list", "delete", "archive", "rename", "copy", "move", "print", "count")
NOUNS = ("ticket", "invoice", "calendar", "contact", "folder")


def shop() -> Server:
    app = Server("office", title="Everything of an office")
    for verb in VERBS:
        for noun in NOUNS:
            app.tool(name=f"{verb}_{noun}", description=f"{verb.title()} one {noun}.")(does(verb, noun))
    return app


def does(verb: str, noun: str) -> Callable[[str], str]:
    def tool(id: str) -> str:
        return f"{verb} {noun} {id}"

    return tool


def names(model: ScriptedModel, place: int) -> list[str]:
    return [tool.name for tool in model.requests[place].tools]


def results_of(result: RunResult[Any]) -> list[str]:
    return [
        part.text for message in result.messages for part in message.content if isinstance(part, ToolResult)
    ]


def local() -> str:
    """A tool of the agent itself."""
    return "x"


def test_a_tool_is_found_then_called() -> None:
    model = ScriptedModel(
        call("find_tools", query="archive an invoice"), call("office__archive_invoice", id="7"), "Done."
    )
    agent = Agent("a", model=model, servers={"office": shop()}, tools=[local], search=ToolSearch(limit=3))
    result = run(agent.run("Archive invoice 7"))
    assert names(model, 0) == ["local", "find_tools"]
    assert "office__archive_invoice" in names(model, 1)
    assert len(names(model, 1)) == 5
    assert "office__archive_invoice: Archive one invoice." in results_of(result)[0]
    assert results_of(result)[1] == "archive invoice 7"


def test_few_tools_are_all_shown() -> None:
    model = ScriptedModel("Done.")
    search = ToolSearch(min_tools=100)
    run(Agent("a", model=model, servers={"office": shop()}, search=search).run("Go"))
    assert len(names(model, 0)) == len(VERBS) * len(NOUNS)


def test_the_overview_is_in_the_instructions() -> None:
    model = ScriptedModel("Done.")
    search = ToolSearch(overview_chars=10_000)
    agent = Agent("a", model=model, servers={"office": shop()}, instructions="Be brief.", search=search)
    run(agent.run("Go"))
    told = model.requests[0].instructions
    assert told.startswith("Be brief.")
    assert "Archive one invoice." in told


def test_what_was_found_first_makes_room() -> None:
    model = ScriptedModel(
        call("find_tools", query="archive invoice"), call("find_tools", query="print calendar"), "Done."
    )
    search = ToolSearch(limit=1, max_found=1)
    run(Agent("a", model=model, servers={"office": shop()}, search=search).run("Go"))
    assert sorted(names(model, 1)) == ["find_tools", "office__archive_invoice"]
    assert sorted(names(model, 2)) == ["find_tools", "office__print_calendar"]


def test_nothing_found_says_so_and_a_query_is_needed() -> None:
    model = ScriptedModel([call("find_tools", query="zzz qqq"), call("find_tools", query=" ")], "Done.")
    agent = Agent("a", model=model, servers={"office": shop()}, search=ToolSearch())
    nothing, bad = results_of(run(agent.run("Go")))
    assert nothing.startswith("Nothing was found")
    assert "expected `query`" in bad


def test_what_was_found_is_there_after_a_suspension() -> None:
    def build(model: ScriptedModel) -> Agent[Any]:
        policy = ToolPolicy(approve=("office:archive_invoice",))
        return Agent("a", model=model, servers={"office": shop()}, search=ToolSearch(), policy=policy)

    first = ScriptedModel(
        call("find_tools", query="archive an invoice"), call("office__archive_invoice", id="7")
    )
    state = RunState.from_bytes(run(build(first).run("Go")).state.to_bytes())
    state.approve()
    second = ScriptedModel("Done.")
    result = run(build(second).resume(state))
    assert results_of(result)[1] == "archive invoice 7"
    assert "office__archive_invoice" in names(second, 0)


def test_what_was_found_beside_a_call_that_waits_is_there_afterwards() -> None:
    def build(model: ScriptedModel) -> Agent[Any]:
        policy = ToolPolicy(approve=("function:local",))
        return Agent(
            "a", model=model, servers={"office": shop()}, tools=[local], search=ToolSearch(), policy=policy
        )

    first = ScriptedModel([call("find_tools", query="archive an invoice"), call("local")])
    state = RunState.from_bytes(run(build(first).run("Go")).state.to_bytes())
    state.approve()
    second = ScriptedModel("Done.")
    run(build(second).resume(state))
    assert "office__archive_invoice" in names(second, 0)


def test_no_filter_hides_the_search_of_what_is_hidden() -> None:
    for policy, is_there in (
        (ToolPolicy(allow=("office:*",)), True),
        (ToolPolicy(deny=("find_tools",)), False),
    ):
        model = ScriptedModel("Done.")
        servers = {"office": shop()}
        run(Agent("a", model=model, servers=servers, search=ToolSearch(), policy=policy).run("Go"))
        assert ("find_tools" in names(model, 0)) is is_there


def test_what_was_found_is_found_again_whatever_the_cache_knows() -> None:
    model = ScriptedModel(call("find_tools", query="archive an invoice"), "Done.", cycle=True)
    policy = ToolPolicy(cache_s={"*": 60})
    agent = Agent("a", model=model, servers={"office": shop()}, search=ToolSearch(), policy=policy)
    for place in (1, 3):
        run(agent.run("Go"))
        assert "office__archive_invoice" in names(model, place)


def test_fewer_tools_than_before_need_no_overview() -> None:
    app = shop()

    def answer(request: Any) -> Any:
        for noun in NOUNS:
            for verb in VERBS[1:]:
                app.tools.remove(f"{verb}_{noun}")
        return call("wait")

    async def wait() -> str:
        for _ in range(50):  # until the agent has heard of it
            await asyncio.sleep(0)
        return "x"

    model = ScriptedModel(answer, "Done.")
    search = ToolSearch(overview_chars=1_000)
    run(Agent("a", model=model, servers={"office": app}, tools=[wait], search=search).run("Go"))
    assert "office__open_ticket" in model.requests[0].instructions
    assert [len(names(model, place)) for place in (0, -1)] == [2, 6]
    assert model.requests[-1].instructions == ""


def test_the_index_is_made_once_for_many_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from taut.agent import finding

    made = []

    class Counted(finding.ToolIndex):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(1)
            super().__init__(*args, **options)

    monkeypatch.setattr(finding, "ToolIndex", Counted)
    agent = Agent("a", model=ScriptedModel("x", cycle=True), servers={"office": shop()}, search=ToolSearch())

    async def scenario() -> None:
        async with agent:
            for _ in range(3):
                await agent.run("Go")

    run(scenario())
    assert len(made) == 1


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="search: expected a limit"):
        ToolSearch(limit=30, max_found=20)
