"""Bad luck that is the same every time."""

from __future__ import annotations

import asyncio
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from talking import ADD, ask, ask_streaming, request, streamed_arguments, streamed_text

from taut.errors import ConfigError, ModelUnavailable
from taut.llm.model import Model, ModelEvent, Restarted
from taut.testing import ChaosModel, ScriptedModel, call

EVERYTHING: dict[str, Any] = {
    "failure": 0.2,
    "drop": 0.2,
    "cut": 0.3,
    "slow": 0.3,
    "malformed": 0.3,
    "unknown_tool": 0.3,
    "empty": 0.2,
}


def fate(seed: int, **chances: Any) -> list[Any]:
    """Return what became of 40 requests: what was streamed, waited, answered or raised."""
    seen: list[Any] = []

    async def sleep(seconds: float) -> None:
        seen.append(seconds)

    async def run() -> None:
        inner = ScriptedModel(["text", call("add", a=1, b=2)], cycle=True)
        model = ChaosModel(inner, seed=seed, sleep=sleep, **chances)
        for _ in range(40):
            try:
                seen.append(await model.respond(request("x", tools=[ADD]), seen.append))
            except ModelUnavailable as error:
                seen.append((str(error), error.status))
        seen.append(dict(model.injected))

    asyncio.run(run())
    return seen


class TestDeterminism:
    def test_the_same_seed_gives_the_same_luck(self) -> None:
        assert fate(7, **EVERYTHING) == fate(7, **EVERYTHING)
        assert fate(7, **EVERYTHING) != fate(8, **EVERYTHING)

    def test_everything_happens_in_the_end(self) -> None:
        assert set(fate(7, **EVERYTHING)[-1]) == set(EVERYTHING)

    @pytest.mark.parametrize("name", EVERYTHING)
    def test_one_kind_of_luck_does_not_change_another(self, name: str) -> None:
        def failed(**chances: Any) -> list[int]:
            model = ChaosModel(ScriptedModel("x", cycle=True), seed=3, failure=0.3, sleep=no_sleep, **chances)
            found = []
            for number in range(60):
                before = model.injected["failure"]
                try:
                    ask(model, request("x"))
                except ModelUnavailable:
                    if model.injected["failure"] > before:
                        found.append(number)
            return found

        assert failed() == failed(**({} if name == "failure" else {name: 0.5}))
        assert 5 < len(failed()) < 35

    def test_without_faults_it_is_the_model(self) -> None:
        model = ChaosModel(ScriptedModel(["a b", call("x")], name="inner"), seed=1)
        assert isinstance(model, Model)
        answer, events = ask_streaming(model, request("x"))
        assert (answer, events) == ask_streaming(
            ScriptedModel(["a b", call("x")], name="inner"), request("x")
        )
        assert model.name == "inner"
        assert not model.injected


async def no_sleep(seconds: float) -> None:
    pass


def chaos(*script: Any, **options: Any) -> ChaosModel:
    return ChaosModel(ScriptedModel(*script), seed=5, **options)


class TestFaults:
    def test_a_failure_leaves_the_answer_for_the_next_attempt(self) -> None:
        inner = ScriptedModel("hello")
        failing = ChaosModel(inner, seed=1, failure=1.0, retry_after_s=0.25)
        with pytest.raises(ModelUnavailable, match="Injected into 'scripted'") as caught:
            ask(failing, request("x"))
        assert caught.value.status in (429, 500, 503, 529, None)
        assert caught.value.retry_after_s == 0.25
        assert inner.asked == 0
        assert failing.injected == {"failure": 1}

    def test_failures_have_all_statuses(self) -> None:
        model = ChaosModel(ScriptedModel("x"), seed=1, failure=1.0)
        statuses = set()
        for _ in range(60):
            with pytest.raises(ModelUnavailable) as caught:
                ask(model, request("x"))
            statuses.add(caught.value.status)
        assert statuses == {429, 500, 503, 529, None}

    def test_a_drop_comes_after_part_of_an_answer(self) -> None:
        events: list[ModelEvent] = []
        model = chaos("hello", drop=1.0)
        with pytest.raises(ModelUnavailable, match="the connection broke"):
            asyncio.run(model.respond(request("x"), events.append))
        assert streamed_text(events)
        assert not any(isinstance(event, Restarted) for event in events)

    def test_a_cut_begins_again(self) -> None:
        answer, events = ask_streaming(chaos("hello there", cut=1.0), request("x"))
        at = next(index for index, event in enumerate(events) if isinstance(event, Restarted))
        assert streamed_text(events[:at])
        assert streamed_text(events) == answer.message.text == "hello there"

    def test_a_cut_may_come_in_the_middle_of_a_call(self) -> None:
        lost = []
        model = ChaosModel(ScriptedModel(call("add", a=1), cycle=True), seed=5, cut=1.0)
        for _ in range(20):
            _, events = ask_streaming(model, request("x", tools=[ADD]))
            at = next(index for index, event in enumerate(events) if isinstance(event, Restarted))
            lost.append(streamed_arguments(events[:at]))
            assert list(streamed_arguments(events).values()) == ['{"a":1}']
        assert {"call_lost": '{"'} in lost
        assert {} in lost  # text, there

    def test_a_pause_is_within_its_limits(self) -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        inner = ScriptedModel("x", cycle=True)
        model = ChaosModel(inner, seed=1, slow=1.0, slow_s=(2.0, 3.0), sleep=sleep)
        ask(model, *(request("x") for _ in range(20)))
        assert len(set(waited)) == 20
        assert all(2.0 <= seconds <= 3.0 for seconds in waited)

    @given(st.integers(0, 1000), st.dictionaries(st.text(string.ascii_letters), st.integers() | st.text()))
    def test_malformed_arguments_are_no_object(self, seed: int, arguments: dict[str, Any]) -> None:
        script = [call("a", **arguments), call("b", **arguments)]
        answer, events = ask_streaming(
            ChaosModel(ScriptedModel(script), seed=seed, malformed=1.0), request("x")
        )
        (spoilt,) = [made for made in answer.message.tool_calls if made.malformed is not None]
        assert spoilt.arguments == {}
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(spoilt.malformed or "")
        assert streamed_arguments(events)[spoilt.id] == spoilt.malformed
        assert len(answer.message.tool_calls) == 2

    def test_an_unknown_tool_is_not_among_the_known(self) -> None:
        answer, events = ask_streaming(chaos(call("add", a=1), unknown_tool=1.0), request("x", tools=[ADD]))
        (made,) = answer.message.tool_calls
        assert made.name == "add_missing"
        assert made.arguments == {"a": 1}
        assert {event.name for event in events if hasattr(event, "name")} == {"add_missing"}

    def test_an_answer_without_calls_has_none_to_spoil(self) -> None:
        model = chaos("text", malformed=1.0, unknown_tool=1.0)
        assert ask_streaming(model, request("x"))[0].message.text == "text"
        assert not model.injected

    def test_an_empty_answer_has_nothing(self) -> None:
        answer, events = ask_streaming(chaos(["text", call("add")], empty=1.0), request("x"))
        assert (answer.message.content, answer.stop_reason, events) == ((), "stop", [])


class TestSettings:
    @pytest.mark.parametrize("chance", [-0.1, 1.1])
    def test_a_probability_is_from_0_to_1(self, chance: float) -> None:
        with pytest.raises(ConfigError, match=f"from 0 to 1 for cut, got {chance}"):
            chaos("x", cut=chance)

    def test_pauses_have_an_order(self) -> None:
        with pytest.raises(ConfigError, match="the least and the most seconds"):
            chaos("x", slow_s=(3.0, 1.0))

    def test_closing_closes_the_model_behind(self) -> None:
        inner = ScriptedModel()
        asyncio.run(ChaosModel(inner, seed=1).close())
        assert inner.closed
