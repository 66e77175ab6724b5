"""Budgets: tokens, money, time, calls, for a run and all below it; one error, which has what there is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.worlds import run
from taut.agent import Agent, Budget, RunState
from taut.agent.budget import Meter
from taut.errors import BudgetExceeded, ConfigError
from taut.llm.messages import Usage
from taut.testing import ScriptedModel, call


def one(*script: Any, usage: Usage | None = None, **options: Any) -> Agent[Any]:
    def tool(n: int) -> int:
        """Count."""
        return n

    model = ScriptedModel(*script, usage=usage or Usage(10, 5, requests=1, cost=0.25))
    return Agent("a", model=model, tools=[tool], **options)


LOOP = (call("tool", n=1), call("tool", n=2), call("tool", n=3), "Done.")


@pytest.mark.parametrize(
    ("budget", "limit", "requests"),
    [
        (Budget(tokens=30), "tokens", 2),
        (Budget(cost=0.5), "cost", 2),
        (Budget(model_calls=3), "model_calls", 3),
        (Budget(tool_calls=1), "tool_calls", 2),
    ],
)
def test_a_run_ends_at_its_budget_and_can_go_on_with_a_larger_one(
    budget: Budget, limit: str, requests: int
) -> None:
    agent = one(*LOOP, budget=budget)
    with pytest.raises(BudgetExceeded) as caught:
        run(agent.run("Go"))
    error = caught.value
    assert (error.limit, error.maximum) == (limit, getattr(budget, limit))
    assert error.result.status == "failed"
    assert error.result.usage.requests == requests
    assert error.result.messages[0].text == "Go"
    state = RunState.from_bytes(error.result.state.to_bytes())
    rest = one(*LOOP[requests:])
    result = run(rest.resume(state, budget=Budget(tokens=1000)))
    assert (result.output, result.tool_calls, result.usage.requests) == ("Done.", 3, 4)
    assert rest.model.asked == 4 - requests  # type: ignore[attr-defined]


def test_time_ends_what_is_under_way() -> None:
    ended = []

    async def hang() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return ""

    agent = Agent("a", model=ScriptedModel(call("hang")), tools=[hang], budget=Budget(time_s=0.01))
    with pytest.raises(BudgetExceeded, match=r"a: time_s is 0\.01"):
        run(agent.run("Go"))
    assert ended == [True]


class TestTime:
    def hanging(self, **options: Any) -> Agent[Any]:
        async def hang() -> str:
            await asyncio.Event().wait()
            return ""

        return Agent("inner", model=ScriptedModel(call("hang")), tools=[hang], **options)

    def test_that_of_one_below_is_a_failed_call(self) -> None:
        inner = self.hanging(budget=Budget(time_s=0.01))
        outer = Agent("outer", model=ScriptedModel(call("inner", task="x"), "Done."), tools=[inner])
        result = run(outer.run("Go", budget=Budget(time_s=60)))
        assert result.output == "Done."
        assert "Budget exceeded by outer/inner: time_s is 0.01" in result.messages[2].content[0].content  # type: ignore[union-attr]

    def test_that_of_one_above_ends_all(self) -> None:
        for below in (None, Budget(time_s=60), Budget(time_s=0.01)):
            inner = self.hanging(budget=below)
            outer = Agent(
                "outer",
                model=ScriptedModel([call("inner", task="x"), call("inner", task="y")], "Done.", "Done."),
                tools=[inner],
            )
            inner.model = ScriptedModel(call("hang"), cycle=True)
            with pytest.raises(BudgetExceeded, match=r"by outer: time_s is 0\.01") as caught:
                run(outer.run("Go", budget=Budget(time_s=0.01)))
            assert caught.value.result.status == "failed"

    def test_no_time_at_all(self) -> None:
        with pytest.raises(BudgetExceeded, match="time_s is 0"):
            run(self.hanging().run("Go", budget=Budget(time_s=0)))

    def test_it_leaves_no_cancellation_behind(self) -> None:
        async def scenario() -> None:
            with pytest.raises(BudgetExceeded):
                await self.hanging().run("Go", budget=Budget(time_s=0.01))
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

        run(scenario())


def test_an_agent_without_a_budget_does_not_go_on_for_ever() -> None:
    agent = Agent("a", model=ScriptedModel(call("f"), cycle=True), tools=[f])
    with pytest.raises(BudgetExceeded, match="model_calls is 50"):
        run(agent.run("Go"))


def f() -> str:
    """Do nothing."""
    return "x"


def test_what_a_run_below_uses_counts_for_the_one_above() -> None:
    inner = one(*LOOP)
    inner.name = "inner"
    outer = Agent(
        "outer",
        model=ScriptedModel(call("inner", task="x"), "Done.", usage=Usage(1, 1, requests=1)),
        tools=[inner],
        budget=Budget(tokens=40),
    )
    with pytest.raises(BudgetExceeded, match="by outer: tokens is 40") as caught:
        run(outer.run("Go"))
    assert caught.value.result.usage.tokens == 47


def test_money_without_a_price_is_a_mistake_that_is_named() -> None:
    agent = one(*LOOP, usage=Usage(1, 1, requests=1, cost=None), budget=Budget(cost=1.0))
    with pytest.raises(ConfigError, match="a: expected models with a known price"):
        run(agent.run("Go"))


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected tokens of at least 0, got -1"):
        Budget(tokens=-1)


class TestMeter:
    def test_sums_go_up_and_not_down(self) -> None:
        above = Meter("above", None, None)
        below, beside = Meter("below", None, above), Meter("beside", None, above)
        below.charge(Usage(1, 2, requests=1, cost=0.5))
        beside.charge(Usage(3, 4, requests=1, cost=None))
        assert (below.usage.tokens, beside.usage.tokens, above.usage.tokens) == (3, 7, 10)
        assert (below.usage.cost, above.usage.cost) == (0.5, None)

    def test_a_call_that_is_refused_is_not_counted(self) -> None:
        above = Meter("above", Budget(tool_calls=1), None)
        below = Meter("below", None, above)
        below.take_tool_call()
        with pytest.raises(BudgetExceeded) as caught:
            below.take_tool_call()
        assert caught.value.owner is above
        assert (below.tool_calls, above.tool_calls) == (1, 1)
