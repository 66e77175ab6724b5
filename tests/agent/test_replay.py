"""Runs whose process dies: from whatever was recorded until then, they come to the same end, and nothing that was
recorded is done again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import taut.agent.base
import taut.steps
from agent.worlds import run
from taut.agent import (
    Agent,
    BaseAgent,
    Budget,
    FunctionTool,
    Run,
    RunResult,
    RunState,
    ToolContext,
    ToolPolicy,
)
from taut.agent.known import KnownResults
from taut.agent.result import ApprovalRequest
from taut.agent.state import Compaction, MemoryConversationStore
from taut.errors import BudgetExceeded, ToolError
from taut.llm.messages import Message, Text, ToolCall, ToolResult, Usage, assistant, user
from taut.llm.model import ModelRequest, ModelResponse
from taut.steps import InProcess, Journal
from taut.testing import FunctionModel

# What an agent does: for each message that its model writes, the calls in it. A call is of a function (``look``), of
# one that must be approved (``pay``), of one that runs agents itself (``ask``), of one whose result is known for a
# while (``known``), of one that fails (``fail``), or of an agent that does what its own program says.
Program = list[list[Any]]
#: What may be used beyond a budget by those who were let in side by side before one of them had an answer.
MANY_AT_ONCE = {"tool_calls": 0, "model_calls": 27, "tokens": 28 * 11}
FUNCTIONS = ("look", "pay", "ask", "known", "fail")


def programs(depth: int = 2) -> st.SearchStrategy[Program]:
    kinds: st.SearchStrategy[Any] = st.sampled_from(FUNCTIONS)
    if depth:
        kinds = st.one_of(kinds, kinds, programs(depth - 1))
    return st.lists(st.lists(kinds, min_size=1, max_size=3), max_size=3)


def say(program: Program) -> FunctionModel:
    """The model of an agent: it goes by the conversation alone, and its answer tells all that it has seen."""

    def answer(request: ModelRequest) -> ModelResponse:
        begin = max(at for at, message in enumerate(request.messages) if message.role == "user")
        since = request.messages[begin + 1 :]
        asked = sum(message.role == "assistant" for message in since)
        usage = Usage(10, 1, requests=1)
        if asked == len(program):
            return ModelResponse(message=assistant(f"[{'; '.join(results_in(since))}]"), usage=usage)
        calls = [
            ToolCall(f"{asked}.{place}", one, {"place": f"{asked}.{place}"})
            if isinstance(one, str)
            else ToolCall(f"{asked}.{place}", f"agent_{asked}_{place}", {"task": f"do {asked}.{place}"})
            for place, one in enumerate(program[asked])
        ]
        return ModelResponse(message=assistant(*calls), usage=usage)

    return FunctionModel(answer)


def results_in(messages: Iterable[Message]) -> list[str]:
    return [part.text for message in messages for part in message.content if isinstance(part, ToolResult)]


def build(program: Program, name: str = "root", **options: Any) -> Agent[Any]:
    helper = Agent("helper", model=say([["look"], ["look"]]), tools=[FunctionTool(look)])

    async def ask(place: str, context: ToolContext) -> str:
        """Run two agents side by side."""
        both = await context.run.gather([context.run.child(helper, f"{place} {n}") for n in range(2)])
        return f"{both[0].text}+{both[1].text} of {place}"

    tools: list[Any] = [look, pay, FunctionTool(ask), FunctionTool(look, name="known"), fail]
    for asked, calls in enumerate(program):
        for place, one in enumerate(calls):
            if not isinstance(one, str):
                tools.append(build(one, f"agent_{asked}_{place}"))
    policy = ToolPolicy(approve=("function:pay",), cache_s={"known": 60})
    budget = Budget(model_calls=10_000)
    return Agent(name, model=say(program), tools=tools, policy=policy, budget=budget, **options)


def restarted(agent: BaseAgent[Any]) -> BaseAgent[Any]:
    """Return the agent as another process has it: it knows nothing yet."""
    if isinstance(agent, Agent):
        agent._path._known = KnownResults()
    for member in agent.members():
        restarted(member)
    return agent


async def look(place: str) -> str:
    """Look."""
    await asyncio.sleep(0)
    return f"seen {place}"


def pay(place: str) -> str:
    """Pay."""
    return f"paid {place}"


def fail(place: str) -> str:
    """Fail."""
    raise ToolError(place)


class Written(dict[str, Any]):
    """Records of a journal, of which each change is told."""

    def __init__(self, known: dict[str, Any], changed: Callable[[str], None]) -> None:
        super().__init__(known)
        self._changed = changed

    def __setitem__(self, key: str, value: Any) -> None:
        is_new = key not in self
        super().__setitem__(key, value)
        if is_new:
            self._changed(key)

    def pop(self, key: str, default: Any = None) -> Any:
        value = super().pop(key, default)
        self._changed("")
        return value


class Process:
    """One process: the steps that it really does, and a copy of the state after each record that it writes."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.done: list[str] = []
        self.recorded: set[str] = set()
        #: Bytes of the state, and what had been recorded until then, by whichever process.
        self.copies: list[tuple[bytes, frozenset[str]]] = []
        state.journal.records = Written(state.journal.records, self._changed)

    def _changed(self, key: str) -> None:
        if key:
            self.recorded.add(f"{self.state.run_id}:{key}")
        self.copies.append((self.state.to_bytes(), frozenset(self.recorded)))

    def resume(self, agent: BaseAgent[Any], **options: Any) -> RunResult[Any]:
        with logging_steps(self.done):
            return run(agent.resume(self.state, **options))


@contextmanager
def logging_steps(done: list[str]) -> Iterator[None]:
    """Note the keys of all steps that are really done."""

    class Logging(InProcess):
        async def step(
            self, name: str, fn: Callable[..., Awaitable[Any]], /, *args: Any, **options: Any
        ) -> Any:
            async def logged(key: str, *args: Any) -> Any:
                done.append(key)
                return await fn(key, *args)

            return await super().step(name, logged, *args, **options)

    with (
        mock.patch.object(taut.steps, "InProcess", Logging),
        mock.patch.object(taut.agent.base, "InProcess", Logging),
    ):
        yield


def fresh(task: str = "Go", **options: Any) -> RunState:
    return RunState(agent="root", task=(Text(task),), journal=Journal(run_id="r"), **options)


def yes(request: ApprovalRequest) -> bool:
    return True


def summary(result: RunResult[Any]) -> tuple[Any, ...]:
    return result.status, result.output, result.usage, result.tool_calls, tuple(result.messages)


@given(programs())
@settings(max_examples=25, deadline=None)
def test_whenever_it_dies_it_comes_to_the_same_end_and_does_nothing_twice(program: Program) -> None:
    agent = build(program)
    first = Process(fresh())
    whole = first.resume(agent, approver=yes)
    assert whole.status == "completed"
    assert len(first.done) == len(set(first.done))
    assert set(first.state.journal.records) == {key for key in first.state.journal.records if "/" not in key}
    for data, recorded in first.copies[:: 1 + len(first.copies) // 20]:
        later = Process(RunState.from_bytes(data))
        assert summary(later.resume(restarted(agent), approver=yes)) == summary(whole)
        assert not recorded.intersection(later.done)


@given(programs(), st.data())
@settings(max_examples=25, deadline=None)
def test_decisions_may_come_in_any_order_and_the_process_may_die_between_them(
    program: Program, data: st.DataObject
) -> None:
    agent = build(program)
    expected = Process(fresh()).resume(agent, approver=yes)
    state, recorded = fresh(), frozenset[str]()
    while True:
        process = Process(state)
        process.recorded = set(recorded)
        result = process.resume(restarted(agent))
        assert not recorded.intersection(process.done)
        if result.status == "completed":
            break
        state = result.state
        assert state is not None
        recorded = frozenset(process.recorded)
        if process.copies and data.draw(st.booleans(), label="dies"):
            copy, recorded = data.draw(st.sampled_from(process.copies), label="at")
            state = RunState.from_bytes(copy)
            continue  # it has to wait again before anybody can decide
        state = RunState.from_bytes(state.to_bytes())
        waiting = [request.id for request in state.approvals]
        assert len(set(waiting)) == len(waiting)
        for one in data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True), label="approves"):
            state.approve(one)
    assert summary(result) == summary(expected)


@given(programs(), st.sampled_from(["tool_calls", "model_calls", "tokens"]), st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_with_one_larger_budget_after_another_it_comes_to_the_same_end(
    program: Program, limit: str, step: int
) -> None:
    agent = build(program)
    expected = Process(fresh()).resume(agent, approver=yes)
    state, recorded, maximum, before = fresh(), frozenset[str](), 0, 0
    while True:
        process = Process(state)
        process.recorded = set(recorded)
        try:
            budget = Budget(**{limit: maximum})
            result = process.resume(restarted(agent), approver=yes, budget=budget)
            break
        except BudgetExceeded as error:
            used = error.result
            spent = {
                "tool_calls": used.tool_calls,
                "model_calls": used.usage.requests,
                "tokens": used.usage.tokens,
            }
            # A branch may go on before what one beside it had used in the process before has been counted again.
            assert spent[limit] <= maximum + before + MANY_AT_ONCE[limit]
            before = spent[limit]
            state = RunState.from_bytes(used.state.to_bytes())
        assert not recorded.intersection(process.done)
        recorded = frozenset(process.recorded)
        maximum += step * (11 if limit == "tokens" else 1)
    assert summary(result) == summary(expected)


def test_a_session_is_compacted_and_kept_once_whenever_the_process_dies() -> None:
    program: Program = [["look"], ["look", "look"]]
    before = [user("word " * 100) for _ in range(10)]

    def build_one(store: MemoryConversationStore) -> Agent[Any]:
        agent = build(program, memory=store, compaction=Compaction(max_tokens=500, keep_tokens=200))
        script = agent.model

        def answer(request: ModelRequest) -> Any:
            if request.instructions.startswith("You are given the beginning of a conversation"):
                return ModelResponse(message=assistant("a summary"), usage=Usage(10, 1, requests=1))
            return script.respond(request)

        agent.model = FunctionModel(answer)
        return agent

    store = MemoryConversationStore()
    run(store.append("s", before, expected=0))
    first = Process(fresh(session="s"))
    whole = first.resume(build_one(store))
    kept = run(store.load("s"))
    assert whole.usage.requests == 4
    assert kept[-1].text == whole.output
    for data, recorded in first.copies:
        later = Process(RunState.from_bytes(data))
        assert summary(later.resume(build_one(store))) == summary(whole)
        assert not recorded.intersection(later.done)
        assert run(store.load("s")) == kept


@pytest.mark.parametrize(
    "value",
    [
        {"n": 2**70},
        {"n": -(10**40), "x": [1.5, None, True, {"ä": "é\u0000"}]},
        {"big": list(range(1_000))},
        {"": ""},
        {"data": "iVBORw0KGgo="},
    ],
)
def test_any_arguments_survive(value: dict[str, Any]) -> None:
    seen: list[Any] = []

    def take(value: dict[str, Any]) -> dict[str, Any]:
        seen.append(value)
        return value

    def one(*script: Any) -> Agent[Any]:
        from taut.testing import ScriptedModel

        policy = ToolPolicy(approve=("function:pay",))
        return Agent(
            "root",
            model=ScriptedModel(*script),
            tools=[take, FunctionTool(lambda: 1, name="pay")],
            policy=policy,
        )

    calls = [ToolCall("1", "take", {"value": value}), ToolCall("2", "pay", {})]
    state = run(one(calls).run("Go")).state
    assert state is not None
    state = RunState.from_bytes(state.to_bytes())
    state.approve(arguments={})
    result = run(one("Done.").resume(RunState.from_bytes(state.to_bytes())))
    assert result.messages[1].tool_calls[0].arguments == {"value": value}
    assert seen == [value]


class TestFailures:
    """What a run that has failed has done is not done again, whatever it has failed with."""

    def test_children_that_failed_and_children_that_did_not(self) -> None:
        program: Program = [["look"], ["look"]]
        broken = True

        def flaky(request: ModelRequest) -> Any:
            if broken and len(request.messages) > 3:
                raise ConnectionResetError("lost")
            return say(program).respond(request)

        class Both(BaseAgent[str]):
            def members(self) -> list[BaseAgent[Any]]:
                return [steady, shaky]

            async def work(self, run: Run[str]) -> str:
                results = await run.gather([run.child(steady, "x"), run.child(shaky, "x")], limit=1)
                return " ".join(result.text for result in results)

        steady = build(program, "steady")
        shaky = build(program, "shaky")
        shaky.model = FunctionModel(flaky)
        process = Process(fresh())
        with pytest.raises(ConnectionResetError):
            process.resume(Both("root"))
        broken = False
        later = Process(RunState.from_bytes(process.state.to_bytes()))
        assert later.resume(Both("root")).output == "[seen 0.0; seen 1.0] [seen 0.0; seen 1.0]"
        assert not process.recorded.intersection(later.done)
        assert {key.partition("/")[0] for key in later.done} == {"r:2.shaky#1"}
