"""Chains: how the output of one agent becomes the task of the next, and what stops them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.patterns.cases import Kit, js, said
from agent.worlds import run
from taut.agent import events as ev
from taut.agent.patterns import Chain, Link
from taut.errors import AgentError, ConfigError
from taut.llm.messages import Image, Text, assistant, user


class Draft(msgspec.Struct, frozen=True):
    title: str
    words: int


def echoing(kit: Kit, name: str) -> Any:
    return kit.agent(name, lambda request: f"{name}({said(request)})")


def test_a_template_shapes_the_tasks() -> None:
    kit = Kit()
    chain = Chain(
        "chain",
        [echoing(kit, "a"), echoing(kit, "b"), echoing(kit, "c")],
        template="{following}, after {done}: {output} [{task}]",
    )
    assert run(chain.run("T")).output == "c(c, after b: b(b, after a: a(T) [T]) [T])"


def test_braces_in_an_output_are_no_template() -> None:
    kit = Kit()
    chain = Chain("chain", [kit.agent("a", "{task} {0}"), echoing(kit, "b")], template="<{output}>")
    assert run(chain.run("T")).output == "b(<{task} {0}>)"


def test_an_output_that_is_no_text_is_told_as_json() -> None:
    kit = Kit()
    draft = Draft("Moss", 3)
    links: list[Link] = []

    async def between(link: Link) -> list[Any]:
        links.append(link)
        return [Text(f"Print {link.text}"), Image("aGk=", "image/png")]

    chain = Chain("chain", [kit.agent("a", js(draft), output=Draft), echoing(kit, "b")], between=between)
    assert run(chain.run("T")).output == 'b(Print {"title":"Moss","words":3})'
    assert links == [Link("T", "a", draft, "b")]


def test_a_gate_stops_it_with_a_reason() -> None:
    kit = Kit()
    heard: list[ev.Event] = []

    def gate(link: Link) -> str | None:
        return {"a": None, "b": "", "c": "c said enough"}[link.done]

    chain = Chain("chain", [echoing(kit, name) for name in "abcd"], gate=gate)
    result = run(chain.run("T", listener=heard.append))
    assert (result.output, kit.by_name["d"]) == ("c(b(a(T)))", 0)
    assert ev.Noted("chain", "stopped", "before d: c said enough", "c said enough") in heard


def test_a_gate_may_fail_it() -> None:
    def gate(link: Link) -> str | None:
        raise AgentError("not fit to print")

    kit = Kit()
    chain = Chain("chain", [echoing(kit, "a"), echoing(kit, "b")], gate=gate)
    with pytest.raises(AgentError, match="not fit to print") as caught:
        run(chain.run("T"))
    assert caught.value.result.messages == [user("T"), assistant("a: a(T)")]


def test_a_gate_that_returns_something_else_is_refused() -> None:
    kit = Kit()
    chain = Chain("chain", [echoing(kit, "a"), echoing(kit, "b")], gate=lambda link: True)
    with pytest.raises(ConfigError, match="from the gate a reason to stop, or None, got bool"):
        run(chain.run("T"))


def test_the_first_agent_gets_history_and_images() -> None:
    kit = Kit()
    seen: list[Any] = []

    def look(request: Any) -> str:
        seen.extend(request.messages)
        return "seen"

    before = [user("Hi"), assistant("Hello")]
    task = [Text("What is it?"), Image("aGk=", "image/png")]
    run(Chain("chain", [kit.agent("a", look)]).run(task, history=before))
    assert seen == [*before, user(task)]


def test_with_a_gate_the_outputs_must_be_told_apart() -> None:
    kit = Kit()
    agents = [kit.agent("a", "x", output=Draft), kit.agent("b", "x", output=dict[str, int])]
    with pytest.raises(ConfigError, match="outputs can be told apart, got Draft, dict"):
        Chain("chain", agents, gate=lambda link: None)
    assert Chain("chain", agents).output_type == dict[str, int]
    agents = [kit.agent("a", "x", output=Draft), kit.agent("b", "x")]
    assert Chain("chain", agents, gate=lambda link: None).output_type == Draft | str


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"agents": []}, "at least one agent as links of a chain, got none"),
        ({"agents": ["a"]}, "Expected agents as links of a chain, got str"),
        ({"template": "{answer}"}, "Expected a template with {task}, {output}"),
        ({"template": "{"}, "Expected a template with {task}, {output}"),
        ({"template": "{task}", "between": lambda link: ""}, "got both"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("{", r"\{")):
        Chain("chain", **{"agents": [Kit().agent("a", "x")], **options})
