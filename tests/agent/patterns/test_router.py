"""Routers: who is chosen, by a model or a function, and what happens if nobody is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.patterns.cases import Kit, js, ranked
from agent.worlds import run
from taut.agent import events as ev
from taut.agent.patterns import Collected, Router
from taut.errors import AgentError, ConfigError, ModelUnavailable
from taut.llm.messages import assistant, user


def routed(kit: Kit, *choices: tuple[str, float], **options: Any) -> Router:
    model = kit.model({"Choose who": ("chooser", ranked("name", *choices))})
    routes = [kit.agent("writer", "written"), kit.agent("painter", "painted")]
    return Router("router", model, routes=routes, **options)


def chosen(choice: Any, **options: Any) -> Router:
    kit = Kit()
    routes = [kit.agent("writer", "written"), kit.agent("painter", "painted")]
    return Router("router", routes=routes, choose=lambda text: choice, **options)


def test_the_chooser_is_told_what_the_routes_are_for() -> None:
    kit = Kit()
    model = kit.model({"Choose who": ("chooser", ranked("name", ("a", 1.0)))})
    run(Router("router", model, routes=[kit.agent("a", "A"), kit.agent("b", "B")]).run("Go"))
    (request,) = model.requests
    assert "- a: It is a\n- b: It is b\n" in request.instructions
    assert '"enum":["a","b","none"]' in js(request.output_schema)


def test_what_was_decided_is_noted() -> None:
    heard: list[ev.Event] = []
    run(routed(Kit(), ("painter", 0.75)).run("Draw", listener=heard.append))
    (note,) = [event for event in heard if isinstance(event, ev.Noted)]
    assert (note.path, note.topic, note.text) == ("router", "route", "painter (0.75) fits")


def test_the_conversation_goes_to_the_route() -> None:
    kit = Kit()
    seen: list[Any] = []

    def look(request: Any) -> str:
        seen.extend(request.messages)
        return "seen"

    before = [user("Hi"), assistant("Hello")]
    router = Router("router", routes=[kit.agent("one", look)], choose=lambda text: "one")
    assert run(router.run("Go", history=before)).output == "seen"
    assert seen == [*before, user("Go")]


def test_several_may_be_chosen() -> None:
    kit = Kit()
    result = run(routed(kit, ("painter", 0.9), ("painter", 0.8), ("writer", 0.7), top_k=2).run("Go"))
    assert result.output == Collected({"painter": "painted", "writer": "written"})
    assert run(routed(kit, ("painter", 0.9), top_k=2).run("Go")).output == Collected({"painter": "painted"})


def test_one_of_several_may_fail() -> None:
    kit = Kit("fail", {"writer": ""})
    choices = (("painter", 0.9), ("writer", 0.7))
    result = run(routed(kit, *choices, top_k=2, on_failure="collect").run("Go"))
    assert result.output == Collected({"painter": "painted"}, {"writer": "writer is away"})
    with pytest.raises(ModelUnavailable):
        run(routed(kit, *choices, top_k=2).run("Go"))


@pytest.mark.parametrize(
    "choices",
    [(("none", 0.9),), (("writer", 0.4),), (("cook", 0.9),), ()],
    ids=["none", "unsure", "made up", "empty"],
)
def test_where_nobody_fits_there_is_a_fallback(choices: Any) -> None:
    kit = Kit()
    fallback = kit.agent("fallback", "fell back")
    assert run(routed(kit, *choices, threshold=0.5, fallback=fallback).run("Go")).output == "fell back"
    with pytest.raises(AgentError, match=r"router: expected a route .* of at least 0\.5, got "):
        run(routed(kit, *choices, threshold=0.5).run("Go"))


def test_the_best_that_there_is_counts() -> None:
    assert run(routed(Kit(), ("cook", 0.9), ("painter", 0.8)).run("Go")).output == "painted"


def test_a_route_may_be_the_fallback() -> None:
    kit = Kit()
    writer = kit.agent("writer", "written")
    router = Router("router", routes=[writer], choose=lambda text: None, fallback=writer)
    assert run(router.run("Go")).output == "written"


def test_a_function_may_choose() -> None:
    assert run(chosen("painter").run("Go")).output == "painted"
    assert run(chosen(["writer", "painter"]).run("Go")).output == "written"
    assert run(chosen(("writer", "painter"), top_k=2).run("Go")).output == Collected(
        {"writer": "written", "painter": "painted"}
    )

    async def choose(text: str) -> str:
        return text

    kit = Kit()
    assert run(Router("r", routes=[kit.agent("a", "A")], choose=choose).run("a")).output == "A"


def test_a_function_that_chooses_what_there_is_not_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"expected a route from `choose` \(writer, painter\), got 'cook'"):
        run(chosen("cook").run("Go"))
    with pytest.raises(AgentError, match="got none; a fallback would take it"):
        run(chosen(None).run("Go"))


def test_a_confidence_that_is_none_is_told_back() -> None:
    kit = Kit()
    answers = iter([ranked("name", ("writer", 7.0)), ranked("name", ("writer", 0.7))])
    model = kit.model({"Choose who": ("chooser", lambda request: next(answers))})
    router = Router("router", model, routes=[kit.agent("writer", "written")])
    assert run(router.run("Go")).output == "written"
    assert kit.by_name["chooser"] == 2
    assert "<= 1.0" in kit.prompts[1][1]


class Text(msgspec.Struct, frozen=True, tag=True):
    words: int


class Picture(msgspec.Struct, frozen=True, tag=True):
    pixels: int


def test_routes_may_have_outputs_of_their_own() -> None:
    kit = Kit()
    routes = [
        kit.agent("writer", js(Text(3)), output=Text),
        kit.agent("painter", js(Picture(4)), output=Picture),
    ]
    router = Router("router", routes=routes, choose=lambda text: text)
    assert run(router.run("painter")).output == Picture(4)
    assert router.restored({"type": "Text", "words": 3}) == Text(3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"choose": None}, "Expected either a model that chooses, or a function"),
        ({"routes": []}, "at least one agent as routes"),
        ({"routes": ["none"]}, "other names than 'none'"),
        ({"routes": ["a", "a"]}, "Expected routes of different names, got 'a' twice"),
        ({"top_k": 2}, "a top_k of 1 to 1 and a threshold"),
        ({"threshold": 2.0}, "a threshold of 0 to 1, got 1 and 2.0"),
        ({"fallback": "a"}, "Expected a fallback of another name than the routes, got 'a'"),
        ({"on_failure": "ignore"}, "Expected on_failure 'fail' or 'collect', got 'ignore'"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    kit = Kit()
    given = {"routes": ["a"], "choose": lambda text: "a", **options}
    given["routes"] = [kit.agent(name, "x") for name in given["routes"]]
    if "fallback" in given:
        given["fallback"] = kit.agent(given["fallback"], "x")
    with pytest.raises(ConfigError, match=words):
        Router("router", **given)
