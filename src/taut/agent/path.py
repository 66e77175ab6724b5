"""The one way that every tool call takes, whatever the tool is: policies, then the call as a step, then what became
of it.

In this order: is there such a tool, does the policy or a pin refuse it; does somebody approve; is the result known;
is there budget; the call, with its time and its attempts; the cut of a result that is too long. A failure of the
tool, or of the way to it, is a result that the model sees. Only what ends the run is raised: a budget, a decision
that is missing, cancellation.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, final

import msgspec

from taut.agent import events
from taut.agent.concurrent import gather
from taut.agent.toolbox import Entry, Toolbox
from taut.agent.tools import Call
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
from taut.llm.messages import Text, ToolCall, ToolResult

if TYPE_CHECKING:
    from taut.agent.run import Run
    from taut.agent.state.blobs import BlobStore

__all__ = ["CallPath"]

logger = logging.getLogger("taut.agent")

#: Results that are kept for the same call.
MAX_CACHED = 1_000


@final
class CallPath:
    """The path of one agent's calls. ``blobs`` keeps what is cut off long results; ``clock`` is for the age of known
    results.
    """

    def __init__(
        self,
        *,
        max_parallel: int,
        max_calls: int,
        blobs: BlobStore | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._max_parallel = max_parallel
        self._max_calls = max_calls
        self._blobs = blobs
        self._clock = clock
        self._known: OrderedDict[tuple[str, bytes], tuple[float, ToolResult]] = OrderedDict()

    async def call_all(
        self, run: Run[Any], toolbox: Toolbox, calls: Sequence[ToolCall], step: int
    ) -> list[ToolResult]:
        """Make the calls of one message, side by side; the results are in the order of the calls.

        :raises taut.errors.BudgetExceeded: there is no budget for one of them.
        :raises taut.errors.RunSuspended: one waits for approval; the others have been made.
        """
        made = calls[: self._max_calls]
        if len(made) == 1:
            results = [await self._call(run, toolbox, made[0], f"{step}.0")]
        else:
            results = await gather(
                (self._call(run, toolbox, call, f"{step}.{place}") for place, call in enumerate(made)),
                limit=self._max_parallel,
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
        if rules.cache_s:
            return await self._cached(run, entry, call, place)
        return await self._make(run, entry, call, place)

    async def _refuse(self, run: Run[Any], call: ToolCall, place: str, why: str) -> ToolResult:
        """Answer a call that is not made; it is a step so that it is told of once, and stays refused."""

        async def refuse(key: str) -> ToolResult:
            return self._ended(run, _failed(call, why))

        return await run.steps.step(f"{place}.refused", refuse, returns=ToolResult)

    async def _make(self, run: Run[Any], entry: Entry, call: ToolCall, place: str) -> ToolResult:
        tool, rules = entry
        run.meter.take_tool_call()
        made = Call(call, run, place, timeout_s=rules.timeout_s, replay=rules.idempotent)
        if tool.has_steps:
            try:
                return await self._attempt("", entry, made)
            except ToolError as error:
                return self._ended(run, _failed(call, str(error)))
        return await run.steps.step(
            f"{place}.{call.name}",
            self._attempt,
            entry,
            made,
            returns=ToolResult,
            timeout_s=None if tool.times_itself else rules.timeout_s,
            retry=rules.retry,
            recover=lambda error: self._ended(run, _failed(call, _words(entry, error))),
        )

    async def _attempt(self, key: str, entry: Entry, made: Call) -> ToolResult:
        tool, rules = entry
        run = made.run
        made.key = key
        tracer = run.root.tracer
        if run.root.listener is not None:
            run.emit(events.ToolCalled(run.path, made.call))
        if tracer is None:
            result = await tool.call(key, made)
        else:
            result = await self._traced(key, entry, made)
        limit = rules.max_result_chars
        if limit is not None and (type(result.content) is not str or len(result.content) > limit):
            result = await self._cut(result, limit)
        return self._ended(run, result)

    def _ended(self, run: Run[Any], result: ToolResult) -> ToolResult:
        if run.root.listener is not None:
            run.emit(events.ToolReturned(run.path, result))
        return result

    async def _traced(self, key: str, entry: Entry, made: Call) -> ToolResult:
        run, tool = made.run, entry.tool
        assert run.root.tracer is not None
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": tool.name,
            "gen_ai.tool.call.id": made.call.id,
            "taut.tool.origin": tool.origin,
        }
        span = run.root.tracer.begin(f"execute_tool {tool.name}", attributes, run.span)
        made.span = span
        try:
            result = await tool.call(key, made)
        except BaseException as error:
            span.end(error)
            raise
        if result.is_error:
            span.set({"error.type": "tool_error"})
        span.end()
        return result

    # -- known results

    async def _cached(self, run: Run[Any], entry: Entry, call: ToolCall, place: str) -> ToolResult:
        key = (entry.tool.origin, msgspec.json.encode(call.arguments, order="deterministic"))
        known = self._known.get(key)
        # Recorded, so that the run takes the same way when it is taken up, when the result may be forgotten.
        fresh = known is not None and known[0] > self._clock()
        result = run.steps.note(
            f"{place}.known", known[1] if known is not None and fresh else None, returns=ToolResult | None
        )
        if result is not None:
            return msgspec.structs.replace(result, call_id=call.id)
        result = await self._make(run, entry, call, place)
        if not result.is_error:
            self._known[key] = (self._clock() + entry.rules.cache_s, result)
            self._known.move_to_end(key)
            if len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
        return result

    # -- long results

    async def _cut(self, result: ToolResult, limit: int) -> ToolResult:
        """Return a result of at most ``limit`` characters of text; the blob store gets the whole, if there is one."""
        text = result.text
        if len(text) <= limit:
            return result
        note = f"\n[cut: {limit} of {len(text)} characters"
        if self._blobs is not None:
            blob = await self._blobs.put(text.encode(), mime_type="text/plain", name=result.name)
            note += f'; read on with read_result(id="{blob.id}", offset={len(text[:limit].encode())})'
        kept = text[:limit] + note + "]"
        if isinstance(result.content, str):
            return ToolResult(result.call_id, result.name, kept, result.is_error)
        others = tuple(part for part in result.content if not isinstance(part, Text))
        return ToolResult(result.call_id, result.name, (Text(kept), *others), result.is_error)


def _failed(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, call.name, text, True)


def _words(entry: Entry, error: Exception) -> str:
    """Return what the model is told of a failure.

    :raises BaseException: ``error`` itself, where it is not the tool's.
    """
    name = entry.tool.name
    if isinstance(error, (BudgetExceeded, RunSuspended)):
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
    # Somebody's code: what it says may be secret, and a model's provider is a stranger.
    logger.error("tool %s failed", entry.tool.origin, exc_info=error)
    return f"{name} failed with {type(error).__name__}; the log has the details."
