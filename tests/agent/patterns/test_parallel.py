"""Parallel branches and map-reduce: how many go on at a time, what comes of failures, what is made of the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agent.patterns.cases import Kit, js, mapped, parallel_bare, said
from agent.worlds import run, until
from taut.agent import BaseAgent, Run, RunState
from taut.agent import events as ev
from taut.agent.patterns import Collected, Mapped, MapReduce, Parallel
from taut.errors import AgentError, ConfigError, ModelUnavailable
from taut.llm.messages import Image


class Slow(BaseAgent[str]):
    """Waits until it is let go, and counts how many do."""

    def __init__(self, name: str = "slow") -> None:
        super().__init__(name)
        self.now = self.most = self.ended = 0
        self.gate = asyncio.Event()

    async def work(self, run: Run[str]) -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        finally:
            self.now -= 1
            self.ended += 1
        return run.text


@pytest.mark.parametrize("limit", [1, 3, None])
def test_no_more_go_on_at_a_time_than_are_allowed(limit: int | None) -> None:
    async def work() -> None:
        slow = Slow()
        branches = {str(number): slow for number in range(8)}
        running = asyncio.create_task(Parallel("all", branches, limit=limit).run("x"))
        await until(lambda: slow.now == (limit or 8))
        slow.gate.set()
        await running
        assert (slow.most, slow.ended) == (limit or 8, 8)

        slow = Slow()
        items = MapReduce("all", split=lambda text: list(text), map=slow, limit=limit)
        running = asyncio.create_task(items.run("abcdefgh"))
        await until(lambda: slow.now == (limit or 8))
        slow.gate.set()
        assert [one.output for one in (await running).output] == list("abcdefgh")
        assert slow.most == (limit or 8)

    run(work())


def test_a_failure_cancels_the_other_branches() -> None:
    async def work() -> None:
        slow = Slow()
        kit = Kit("fail", {"broken": ""})
        with pytest.raises(ModelUnavailable):
            await Parallel("all", [slow, kit.agent("broken", "x")]).run("x")
        assert (slow.now, slow.ended) == (0, 1)

    run(work())


def test_without_any_answer_it_fails() -> None:
    kit = Kit("fail", {"left": "", "right": ""})
    with pytest.raises(AgentError, match="at least one branch, got none: l: left is away; r: right is away"):
        run(parallel_bare(kit, on_failure="collect").run("x"))
    kit = Kit("fail", {"mapper": ""})
    with pytest.raises(AgentError, match="at least one item, got none; the first: mapper is away"):
        run(mapped(kit, on_failure="collect").run("ab"))


def test_a_mistake_in_a_branch_is_not_collected() -> None:
    class Broken(BaseAgent[str]):
        async def work(self, run: Run[str]) -> str:
            raise ValueError("a bug")

    kit = Kit()
    with pytest.raises(ValueError, match="a bug"):
        run(Parallel("all", [Broken("broken"), kit.agent("a", "A")], on_failure="collect").run("x"))


def test_branches_wait_for_decisions_while_the_others_end() -> None:
    kit = Kit("act", {"left": "", "right": ""})
    branches = {"l": kit.agent("left", "L"), "r": kit.agent("right", "R"), "m": kit.agent("middle", "M")}
    result = run(Parallel("all", branches).run("x"))
    assert kit.by_name["middle"] == 1
    state = RunState.from_bytes(result.state.to_bytes())
    left, right = state.approvals
    assert (left.path, right.path) == ("all/left", "all/right")
    state.approve(right.id)
    branches = {"l": kit.agent("left", "L"), "r": kit.agent("right", "R"), "m": kit.agent("middle", "M")}
    result = run(Parallel("all", branches).resume(state))
    assert (result.status, kit.acts) == ("suspended", ["right: x"])
    state = RunState.from_bytes(result.state.to_bytes())
    state.reject()
    result = run(Parallel("all", branches).resume(state))
    assert result.output == Collected({"l": "L", "r": "R", "m": "M"})
    assert (kit.acts, kit.repeated) == (["right: x"], [])


class Length(msgspec.Struct, frozen=True):
    letters: int


async def measured(collected: Collected) -> Length:
    return Length(len(collected.text))


def test_a_function_may_make_one_answer() -> None:
    kit = Kit()
    branches = [kit.agent("a", "A"), kit.agent("b", "B")]
    agent = Parallel("all", branches, fan_in=measured)
    assert agent.output_type is Length
    assert run(agent.run("x")).output == Length(len("## a\nA\n\n## b\nB"))
    assert agent.restored({"letters": 3}) == Length(3)
    joined = Parallel("all", branches, fan_in=lambda collected: "+".join(collected.outputs.values()))
    assert (joined.output_type, run(joined.run("x")).output) == (Any, "A+B")


def test_branches_have_the_names_that_they_are_given() -> None:
    kit = Kit()
    agent = kit.agent("a", js(Length(1)), output=Length)
    result = run(Parallel("all", {"first": agent, "second": agent}).run("x"))
    assert result.output == Collected({"first": Length(1), "second": Length(1)})
    assert result.text == '{"outputs":{"first":{"letters":1},"second":{"letters":1}},"failures":{}}'


def test_an_item_is_tried_again() -> None:
    class Flaky(Kit):
        left = 2

        async def _answer(self, name: str, reply: Any, request: Any) -> Any:
            if said(request) == "b" and self.left:
                self.left -= 1
                raise ModelUnavailable("busy")
            return await super()._answer(name, reply, request)

    heard: list[ev.Event] = []
    result = run(mapped(Flaky(), retries=2).run("abc", listener=heard.append))
    assert result.output == [Mapped("a", "A"), Mapped("b", "B"), Mapped("c", "C")]
    notes = [event.text for event in heard if isinstance(event, ev.Noted) and event.topic == "failed item"]
    assert notes == ["1, attempt 1: busy", "1, attempt 2: busy"]
    with pytest.raises(ModelUnavailable):
        run(mapped(Flaky(), retries=1).run("abc"))
    result = run(mapped(Flaky(), retries=1, on_failure="collect").run("abc"))
    assert result.output[1] == Mapped("b", None, "busy")


def test_items_may_be_images_and_data() -> None:
    kit = Kit()
    seen: list[Any] = []

    def look(request: Any) -> str:
        seen.append(request.messages[-1].content)
        return str(len(seen))

    picture = Image("aGk=", "image/png")
    agent = MapReduce(
        "all",
        split=lambda text: [[picture], {"page": 2}, "three"],
        map=kit.agent("look", look),
        reduce=lambda results: [one.item for one in results],
        limit=1,
    )
    assert run(agent.run("x")).output == ["[item 0]", '{"page":2}', "three"]
    assert seen[0] == (picture,)


def test_an_empty_list_is_reduced_too() -> None:
    async def split(text: str) -> list[str]:
        return []

    def count(results: list[Mapped]) -> int:
        return len(results)

    agent = MapReduce("all", split=split, map=Kit().agent("a", "A"), reduce=count)
    assert (agent.output_type, run(agent.run("x")).output) == (int, 0)


def test_there_are_no_more_items_than_are_allowed() -> None:
    with pytest.raises(AgentError, match="expected at most 2 items, got 3"):
        run(mapped(Kit(), max_items=2).run("abc"))


def test_many_items_keep_their_order() -> None:
    async def measure() -> int:
        agent = MapReduce(
            "all", split=lambda text: [str(number) for number in range(1000)], map=Kit().agent("a", said)
        )
        output = (await agent.run("x")).output
        assert [one.output for one in output] == [str(number) for number in range(1000)]
        return len(output)

    assert run(measure()) == 1000


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a: Parallel("all", []), "at least one agent as branches"),
        (lambda a: Parallel("all", {}), "at least one agent as branches"),
        (lambda a: Parallel("all", {"a": "b"}), "Expected agents as branches, got str"),
        (lambda a: Parallel("all", [a, a]), "branches of different names, got 'a' twice"),
        (lambda a: Parallel("all", [a], limit=0), "a limit of at least 1, got 0"),
        (lambda a: Parallel("all", [a], on_failure="x"), "on_failure 'fail' or 'collect', got 'x'"),
        (lambda a: MapReduce("all", split=a, map=a), "an agent that splits into a list, got a, whose"),
        (lambda a: MapReduce("all", split=list, map=a, retries=-1), "at least 0 retries"),
        (lambda a: MapReduce("all", split=list, map=a, limit=0), "a limit and a max_items of at least 1"),
    ],
)
def test_what_cannot_work_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make(Kit().agent("a", "x"))
