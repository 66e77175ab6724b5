"""Conversations that outlive a run: recalled, added to once, compacted when they grow."""

from __future__ import annotations

import asyncio
from typing import Any

from agent.worlds import run
from taut.agent import Agent, RunState, ToolPolicy
from taut.agent.memory import Memory
from taut.agent.state import Compaction, MemoryConversationStore
from taut.llm.messages import Usage, assistant, user
from taut.llm.model import ModelResponse, ModelSettings
from taut.testing import ScriptedModel, call


def one(model: ScriptedModel, store: MemoryConversationStore, **options: Any) -> Agent[Any]:
    def tool(n: int) -> str:
        """Return many words."""
        return "word " * n

    return Agent("a", model=model, memory=store, tools=[tool], **options)


def said(model: ScriptedModel, place: int) -> list[str]:
    return [message.text for message in model.requests[place].messages]


def test_a_session_goes_on_and_sessions_stay_apart() -> None:
    store, model = MemoryConversationStore(), ScriptedModel("one", "two", "three", snapshot=True)
    agent = one(model, store)
    run(agent.run("first", session="s"))
    run(agent.run("second", session="s"))
    run(agent.run("other", session="t"))
    assert said(model, 1) == ["first", "one", "second"]
    assert said(model, 2) == ["other"]
    assert [message.text for message in run(store.load("s"))] == ["first", "one", "second", "two"]


def test_a_run_without_a_session_is_not_kept() -> None:
    store = MemoryConversationStore()
    run(one(ScriptedModel("one"), store).run("first"))
    assert run(store.sessions()) == []


def test_a_run_that_was_suspended_is_kept_once() -> None:
    store = MemoryConversationStore()
    policy = ToolPolicy(approve=("*",))
    run(one(ScriptedModel("hello"), store).run("hi", session="s"))
    state = run(one(ScriptedModel(call("tool", n=1)), store, policy=policy).run("go", session="s")).state
    assert len(run(store.load("s"))) == 2
    state = RunState.from_bytes(state.to_bytes())
    state.approve()
    model = ScriptedModel("done", snapshot=True)
    run(one(model, store, policy=policy).resume(state))
    assert said(model, 0)[:3] == ["hi", "hello", "go"]
    assert [message.role for message in run(store.load("s"))] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


def test_a_long_conversation_is_summarised_before_it_goes_on() -> None:
    store = MemoryConversationStore()
    run(store.append("s", [user(f"message {n} " + "word " * 50) for n in range(20)], expected=0))
    model = ScriptedModel("what was said", "answer", usage=Usage(10, 5, requests=1), snapshot=True)
    result = run(one(model, store, compaction=Compaction(max_tokens=400)).run("go", session="s"))
    assert result.output == "answer"
    assert result.usage.requests == 2
    assert "what was said" in said(model, 1)[0]
    assert said(model, 1)[-1] == "go"
    kept = run(store.load("s"))
    assert len(kept) < 20
    assert kept[-1].text == "answer"


def test_a_run_that_grows_too_long_is_shortened_while_it_goes_on() -> None:
    def counted(tokens: int) -> ModelResponse:
        message = assistant(call("tool", n=2000))
        return ModelResponse(message=message, usage=Usage(tokens, 5, requests=1))

    model = ScriptedModel(
        counted(100),
        counted(5_000),
        "the summary",
        "done",
        usage=Usage(10, 5, requests=1),
        snapshot=True,
    )
    agent = Agent(
        "a",
        model=model,
        tools=[lambda_tool()],
        compaction=Compaction(max_tokens=4_000, keep_tokens=3_000),
    )
    result = run(agent.run("go"))
    assert result.output == "done"
    assert "the summary" in said(model, -1)[0]
    assert len(model.requests[-1].messages) < len(result.messages)


def lambda_tool() -> Any:
    def tool(n: int) -> str:
        """Return many words."""
        return "word " * n

    return tool


def test_what_is_remembered_twice_is_kept_once() -> None:
    """The process may die after the store has it and before that is recorded."""
    store = MemoryConversationStore()
    memory = Memory(store, None, ModelSettings())
    messages = [user("first"), assistant("one")]

    async def twice() -> None:
        await memory.remember("", "s", messages, 0)
        await memory.remember("", "s", messages, 0)

    run(twice())
    assert run(store.load("s")) == messages


def test_two_runs_of_one_session_at_once_are_both_kept() -> None:
    store = MemoryConversationStore()
    agent = one(ScriptedModel("a", "b"), store)

    async def both() -> None:
        await asyncio.gather(agent.run("first", session="s"), agent.run("second", session="s"))

    run(both())
    texts = [message.text for message in run(store.load("s"))]
    assert sorted(texts) == ["a", "b", "first", "second"]
