"""What a run may use, and what it has used.

A run has a meter, and each run below it one of its own: what is used counts for the run itself and for all above it,
and each may have a budget. Money, tokens and model calls are known when a model has answered, so they are checked
before the next request: the last answer may pass a limit, none is asked for beyond it. Tool calls are counted before
they are made. What goes on side by side may together pass a limit by what is under way, or is being counted again in a
run that was taken up.
"""

from __future__ import annotations

from msgspec import Struct

from taut.errors import BudgetExceeded, ConfigError
from taut.llm.messages import Usage

__all__ = ["Budget", "Meter"]


class Budget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of one run and of all below it; None is no limit.

    ``cost`` is in US dollars, and takes models with a known price. ``time_s`` is counted in the process that runs, from
    where it began or took up the run.
    """

    tokens: int | None = None
    cost: float | None = None
    time_s: float | None = None
    tool_calls: int | None = None
    model_calls: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ConfigError(f"budget: expected {name} of at least 0, got {value}")


class Meter:
    """What one run has used, itself and below. ``model_calls`` are in ``usage.requests``."""

    __slots__ = ("budget", "parent", "tool_calls", "usage", "who")

    def __init__(self, who: str, budget: Budget | None, parent: Meter | None) -> None:
        self.who = who
        self.budget = budget
        self.parent = parent
        self.usage = Usage()
        self.tool_calls = 0

    def charge(self, usage: Usage, tool_calls: int = 0) -> None:
        """Count what a model has used, and calls that were made before."""
        meter: Meter | None = self
        while meter is not None:
            meter.usage = meter.usage + usage
            meter.tool_calls += tool_calls
            meter = meter.parent

    def owns(self, error: BudgetExceeded) -> bool:
        """Whether it is the budget of this run that is used up, or that of one above."""
        meter: Meter | None = self
        while meter is not None:
            if error.owner is meter:
                return True
            meter = meter.parent
        return False

    def check(self) -> None:
        """Make sure that another request to a model is within every budget.

        :raises taut.errors.BudgetExceeded: one is used up.
        :raises taut.errors.ConfigError: there is a limit of money, and a model without a known price.
        """
        meter: Meter | None = self
        while meter is not None:
            if meter.budget is not None:
                meter._check(meter.budget)
            meter = meter.parent

    def _check(self, budget: Budget) -> None:
        usage = self.usage
        if budget.model_calls is not None and usage.requests >= budget.model_calls:
            raise self._exceeded("model_calls", budget.model_calls, usage.requests)
        if budget.tokens is not None and usage.tokens >= budget.tokens:
            raise self._exceeded("tokens", budget.tokens, usage.tokens)
        if budget.cost is not None:
            if usage.cost is None:
                raise ConfigError(
                    f"{self.who}: expected models with a known price, since its budget limits the cost, got one "
                    "without: give the model prices, or limit its tokens"
                )
            if usage.cost >= budget.cost:
                raise self._exceeded("cost", budget.cost, usage.cost)

    def take_tool_call(self) -> None:
        """Count a tool call that is about to be made.

        :raises taut.errors.BudgetExceeded: there are none left.
        """
        meter: Meter | None = self
        while meter is not None:
            budget = meter.budget
            if budget is not None and budget.tool_calls is not None and meter.tool_calls >= budget.tool_calls:
                raise meter._exceeded("tool_calls", budget.tool_calls, meter.tool_calls + 1)
            meter = meter.parent
        counted: Meter | None = self
        while counted is not None:
            counted.tool_calls += 1
            counted = counted.parent

    def out_of_time(self) -> BudgetExceeded:
        """Return the error for a run whose time is over."""
        assert self.budget is not None
        assert self.budget.time_s is not None
        return self._exceeded("time_s", self.budget.time_s, self.budget.time_s)

    def _exceeded(self, limit: str, maximum: float, spent: float) -> BudgetExceeded:
        error = BudgetExceeded(limit, maximum, spent, who=self.who)
        error.owner = self
        return error
