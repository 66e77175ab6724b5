"""Swarms: who has the conversation, what goes along, and how often it may be handed over."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.patterns.cases import Kit, js, said
from agent.worlds import run
from taut.agent import Agent, RunState, ToolPolicy
from taut.agent import events as ev
from taut.agent.patterns import Chain, Swarm
from taut.errors import ConfigError
from taut.llm.messages import ToolResult, assistant, user
from taut.testing import FunctionModel, ScriptedModel, call


def to(name: str, task: str = "go on") -> Any:
    return call(f"transfer_to_{name}", task=task)


def scripted(name: str, *script: Any, **options: Any) -> Agent[Any]:
    model = ScriptedModel(*script, snapshot=True)
    return Agent(name, model=model, description=f"Does {name}", **options)


def requests(agent: Agent[Any]) -> Any:
    return agent.model.requests  # type: ignore[attr-defined]


def test_the_conversation_goes_along() -> None:
    a, b = scripted("a", to("b", "pay"), "over"), scripted("b", to("a", "thank"))
    heard: list[ev.Event] = []
    before = [user("Hi"), assistant("Hello")]
    result = run(Swarm("swarm", [a, b]).run("Order", history=before, listener=heard.append))
    assert result.output == "over"
    last = requests(a)[-1].messages
    assert [message.role for message in last] == [
        "user", "assistant", "user", "assistant", "tool", "user", "assistant", "tool", "user",
    ]  # fmt: skip
    assert [message.text for message in last if message.role == "user"] == ["Hi", "Order", "pay", "thank"]
    assert last[4].content[0].text == "Handed over to b:\n\npay"
    assert list(result.messages) == [*last[2:], assistant("over")]
    notes = [(event.path, event.text) for event in heard if isinstance(event, ev.Noted)]
    assert notes == [("swarm", "a -> b: pay"), ("swarm", "b -> a: thank")]


def test_each_can_hand_over_to_all_others() -> None:
    a, b, c = scripted("a", to("c")), scripted("b"), scripted("c", "over")
    run(Swarm("swarm", [a, b, c]).run("x"))
    assert [tool.name for tool in requests(a)[0].tools] == ["transfer_to_b", "transfer_to_c"]
    assert requests(a)[0].tools[0].description == "Hand the conversation over to b: Does b"
    assert [tool.name for tool in requests(c)[0].tools] == ["transfer_to_a", "transfer_to_b"]


def test_paths_say_who_may_hand_over_to_whom() -> None:
    a, b, c = scripted("a", to("c"), to("b")), scripted("b", "over"), scripted("c", "never")
    result = run(Swarm("swarm", [a, b, c], first="a", paths={"a": ["b"], "b": []}).run("x"))
    assert result.output == "over"
    assert [tool.name for tool in requests(a)[0].tools] == ["transfer_to_b"]
    assert "There is no tool 'transfer_to_c'" in requests(a)[1].messages[-1].content[0].text
    assert requests(b)[0].tools == ()


def test_handing_over_in_circles_ends() -> None:
    def a(request: Any) -> Any:
        last = request.messages[-1]
        return "then I answer" if last.role == "tool" and last.content[0].is_error else to("b")

    def b(request: Any) -> Any:
        last = request.messages[-1]
        return "then I do" if last.role == "tool" and last.content[0].is_error else to("a")

    agents = [Agent("a", model=FunctionModel(a)), Agent("b", model=FunctionModel(b))]
    result = run(Swarm("swarm", agents, max_handoffs=3).run("x"))
    assert result.output == "then I do"
    said = [
        part.text for message in result.messages for part in message.content if isinstance(part, ToolResult)
    ]
    assert said[-1] == "There were 3 hand-offs, and no more are allowed: answer yourself."
    assert len(said) == 4


def test_a_hand_off_beside_other_calls_is_not_made() -> None:
    def look() -> str:
        """Look."""
        return "seen"

    a = scripted("a", [call("look"), to("b")], to("b"), tools=[look])
    b = scripted("b", "over")
    assert run(Swarm("swarm", [a, b]).run("x")).output == "over"
    results = [part.text for part in requests(a)[1].messages[-1].content]
    assert results == ["seen", "Call transfer_to_b alone, once the results of other calls are there."]


def test_a_hand_off_without_a_task_is_refused() -> None:
    a, b = scripted("a", call("transfer_to_b"), to("b")), scripted("b", "over")
    assert run(Swarm("swarm", [a, b]).run("x")).output == "over"
    assert "expected `task`, a text" in requests(a)[1].messages[-1].content[0].text


def test_hand_offs_may_need_approval() -> None:
    def build(*script: Any) -> tuple[Agent[Any], Swarm]:
        b = scripted("b", "over")
        a = scripted("a", *script, policy=ToolPolicy(approve=("handoff:b",)))
        return b, Swarm("swarm", [a, b])

    result = run(build(to("b", "pay 100"))[1].run("x"))
    state = RunState.from_bytes(result.state.to_bytes())
    assert [request.tool for request in state.approvals] == ["handoff:b"]
    state.approve(arguments={"task": "pay 1"})
    b, swarm = build()
    assert run(swarm.resume(state)).output == "over"
    assert requests(b)[0].messages[-1] == user("pay 1")

    state = RunState.from_bytes(run(build(to("b"))[1].run("x")).state.to_bytes())
    state.reject(reason="not b")
    assert run(build("then I do it")[1].resume(state)).output == "then I do it"


class Bill(msgspec.Struct, frozen=True):
    amount: int


def test_agents_with_outputs_of_a_type_hand_over_too() -> None:
    """What a hand-off returns is no output of that type, also when the run is taken up."""
    kit = Kit("act", {"b": ""})

    def build() -> Swarm:
        a = kit.agent("a", lambda request: to("b", "bill"), output=Bill)
        return Swarm("swarm", [a, kit.agent("b", js(Bill(7)), output=Bill)])

    result = run(build().run("x"))
    state = RunState.from_bytes(result.state.to_bytes())
    state.approve()
    result = run(build().resume(state))
    assert (result.output, kit.acts, kit.repeated) == (Bill(7), ["b: bill"], [])


def test_a_pattern_answers_for_all() -> None:
    kit = Kit()
    chain = Chain(
        "chain", [kit.agent("one", said), kit.agent("two", lambda request: f"two: {said(request)}")]
    )
    result = run(Swarm("swarm", [scripted("a", to("chain", "print")), chain]).run("x"))
    assert result.output == "two: print"
    assert list(result.messages)[-2:] == [user("print"), assistant("two: print")]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"agents": []}, "at least one agent as agents of a swarm"),
        ({"first": "b"}, r"Expected an agent of the swarm \(a\), got 'b'"),
        ({"paths": {"b": []}}, r"Expected an agent of the swarm \(a\), got 'b'"),
        ({"paths": {"a": ["c"]}}, r"Expected an agent of the swarm \(a\), got 'c'"),
        ({"max_handoffs": -1}, "a max_handoffs of at least 0"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Swarm("swarm", **{"agents": [scripted("a")], **options})
