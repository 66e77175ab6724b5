"""The one way that every tool call takes, whatever the tool is: policies, then the call as a step, then what became
of it.

In this order: is there such a tool, does the policy or a pin refuse it; does somebody approve; is the result known;
is there budget; the call, with its time and its attempts; the cut of a result that is too long. A failure of the
tool, or of the way to it, is a result that the model sees. Only what ends the run is raised: a budget, a decision
that is missing, cancellation; and what breaks an agent below that is nobody's failure but a mistake in code.

A call is one step. Where the tool has steps of its own it is a child, and what it has used is recorded with its
result: a call that is not made again must still be counted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, final

from msgspec import Struct

from taut.agent import events
from taut.agent.budget import Meter
from taut.agent.concurrent import gather
from taut.agent.known import KnownResults
from taut.agent.long_results import LongResults
from taut.agent.toolbox import Entry, Toolbox
from taut.agent.tools import AgentTool, Call
from taut.errors import (
    BudgetExceeded,
    ConnectionClosed,
    RemoteError,
    RequestTimeout,
    RunSuspended,
    TautError,
    ToolError,
    TransportError,
)
from taut.llm.messages import ToolCall, ToolResult, Usage
from taut.steps import Steps

if TYPE_CHECKING:
    from taut.agent.run import Run

__all__ = ["CallPath"]

logger = logging.getLogger("taut.agent")


class Made(Struct, frozen=True):
    """What is recorded of a call that had steps of its own."""

    result: ToolResult
    usage: Usage
    tool_calls: int


@final
class CallPath:
    """The path of one agent's calls. ``known`` are results that may stand for the same call; ``long_results`` cuts
    what is too long.
    """

    def __init__(
        self, *, max_parallel: int, max_calls: int, known: KnownResults, long_results: LongResults
    ) -> None:
        self._max_parallel = max_parallel
        self._max_calls = max_calls
        self._known = known
        self._long_results = long_results

    async def call_all(
        self, run: Run[Any], toolbox: Toolbox, calls: Sequence[ToolCall], step: int
    ) -> list[ToolResult]:
        """Make the calls of one message, side by side; the results are in the order of the calls.

        :raises taut.errors.BudgetExceeded: there is no budget for one of them; those for which there is have been made.
        :raises taut.errors.RunSuspended: one waits for approval; the others have been made.
        """
        if len(calls) == 1:
            return [await self._call(run, toolbox, calls[0], f"{step}.0")]
        made = calls[: self._max_calls]
        # What is under way is not to be cut off, and done again, because there is no budget for more.
        results = await gather(
            (self._call(run, toolbox, call, f"{step}.{place}") for place, call in enumerate(made)),
            limit=self._max_parallel,
            patient=(RunSuspended, BudgetExceeded),
        )
        for place, call in enumerate(calls[self._max_calls :], self._max_calls):
            why = f"Not called: expected at most {self._max_calls} calls, got {len(calls)}"
            results.append(await self._refuse(run, call, f"{step}.{place}", why))
        return results

    async def _call(self, run: Run[Any], toolbox: Toolbox, call: ToolCall, place: str) -> ToolResult:
        entry = toolbox.entries.get(call.name)
        if entry is None:
            return await self._refuse(run, call, place, toolbox.missing(call.name))
        if call.malformed is not None:
            got = call.malformed[:200]
            why = f"Invalid arguments for {call.name}: expected a JSON object, got {got}"
            return await self._refuse(run, call, place, why)
        rules = entry.rules
        if rules.needs_approval:
            decision = await run.approve(place, entry.tool.origin, call)
            if not decision.approved:
                reason = f": {decision.reason}" if decision.reason else ""
                why = f"The call was not approved{reason}. Do not repeat it."
                return await self._refuse(run, call, place, why)
            if decision.arguments is not None:
                call = ToolCall(call.id, call.name, decision.arguments)
        made = Call(call, run, place, timeout_s=rules.timeout_s, replay=rules.idempotent)
        if rules.cache_s:
            return await self._cached(entry, made)
        return await self._make(entry, made)

    async def _refuse(self, run: Run[Any], call: ToolCall, place: str, why: str) -> ToolResult:
        """Answer a call that is not made. It is the step that the call would be: it is told of once, and a call that
        was made before its tool went away stays made.
        """

        async def refuse(key: str) -> ToolResult:
            return _told(run, _failed(call, why))

        return await run.steps.step(f"{place}.{call.name}", refuse, returns=ToolResult)

    async def _cached(self, entry: Entry, call: Call) -> ToolResult:
        run = call.run

        # A step: the run takes the same way when it is taken up, when the result may be forgotten.
        async def look(key: str) -> ToolResult | None:
            known = self._known.get(entry.tool.origin, call.call)
            return None if known is None else _told(run, known)

        result = await run.steps.step(f"{call.place}.known", look, returns=ToolResult | None)
        if result is not None:
            return result
        result = await self._make(entry, call)
        if call.key and not result.is_error:  # one that was made before may be of any age
            self._known.put(entry.tool.origin, call.call, result, entry.rules.cache_s)
        return result

    # -- the call

    async def _make(self, entry: Entry, call: Call) -> ToolResult:
        tool, rules = entry
        run = call.run
        run.meter.take_tool_call()
        if tool.has_steps:
            return await self._make_child(entry, call)
        return await run.steps.step(
            f"{call.place}.{call.call.name}",
            self._attempt,
            entry,
            call,
            returns=ToolResult,
            timeout_s=None if tool.times_itself else rules.timeout_s,
            retry=rules.retry,
            recover=lambda error: _told(run, _failed(call.call, _words(entry, error, run))),
        )

    async def _make_child(self, entry: Entry, call: Call) -> ToolResult:
        run = call.run
        meter = Meter(run.path, None, run.meter)
        was_made = False

        async def make(steps: Steps) -> Made:
            nonlocal was_made
            was_made = True
            call.run = run.within_call(call.place, steps, meter)
            result = await self._attempt(steps.key, entry, call)
            return Made(result, meter.usage, meter.tool_calls)

        def recover(error: Exception) -> Made:
            run.withdraw(f"{call.place}/")  # what some of its runs may still wait for
            result = _told(run, _failed(call.call, _words(entry, error, run)))
            return Made(result, meter.usage, meter.tool_calls)

        made = await run.steps.child(
            f"{call.place}.{call.call.name}",
            make,
            returns=Made,
            timeout_s=entry.rules.timeout_s,
            retry=entry.rules.retry,
            recover=recover,
        )
        if not was_made:
            run.meter.charge(made.usage, made.tool_calls)
        return made.result

    async def _attempt(self, key: str, entry: Entry, call: Call) -> ToolResult:
        tool, rules = entry
        run = call.run
        if run.root.listener is not None and not call.key:  # once for all attempts
            run.emit(events.ToolCalled(run.path, call.call))
        call.key = key
        if run.root.tracer is None:
            result = await tool.call(key, call)
        else:
            result = await _traced(key, entry, call)
        limit = rules.max_result_chars
        if limit is not None and (type(result.content) is not str or len(result.content) > limit):
            result = await self._long_results.cut(result, limit)
        return _told(run, result)


async def _traced(key: str, entry: Entry, call: Call) -> ToolResult:
    run, tool = call.run, entry.tool
    assert run.root.tracer is not None
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.name,
        "gen_ai.tool.call.id": call.call.id,
        "taut.tool.origin": tool.origin,
    }
    span = run.root.tracer.begin(f"execute_tool {tool.name}", attributes, run.span)
    call.span = span
    if tool.has_steps:
        run.span = span  # of the run as this call has it
    try:
        result = await tool.call(key, call)
    except BaseException as error:
        span.end(error)
        raise
    if result.is_error:
        span.set({"error.type": "tool_error"})
    span.end()
    return result


def _told(run: Run[Any], result: ToolResult) -> ToolResult:
    """Tell of a result, and return it."""
    if run.root.listener is not None:
        run.emit(events.ToolReturned(run.path, result))
    return result


def _failed(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, text, True)


def _words(entry: Entry, error: Exception, run: Run[Any]) -> str:
    """Return what the model is told of a failure.

    :raises Exception: ``error`` itself, where it is not the tool's.
    """
    name = entry.tool.name
    if isinstance(error, BudgetExceeded) and run.meter.owns(error):
        raise error
    if isinstance(error, ToolError):
        return str(error)
    if isinstance(error, (RequestTimeout, TimeoutError)):
        limit = entry.rules.timeout_s or getattr(error, "timeout_s", None)
        within = f" within {limit:g} s" if limit else " in time"
        return f"{name} did not answer{within}; it was told to stop."
    if isinstance(error, RemoteError):
        return f"{name} refused the call: {error.message}"
    if isinstance(error, (ConnectionClosed, TransportError)):
        sent = "the call may have been made" if error.sent else "the call was not made"
        return f"{name} cannot be reached ({sent}): {error}"
    if isinstance(error, TautError):
        return f"{name} failed: {error}"
    if isinstance(entry.tool, AgentTool):
        raise error
    # Somebody's code: what it says may be secret, and a model's provider is a stranger.
    logger.error("tool %s failed", entry.tool.origin, exc_info=error)
    return f"{name} failed with {type(error).__name__}; the log has the details."
