"""One run of an agent: what it was asked, and everything it needs to do its work.

A run is passed by hand, from an agent to the pattern above it and to the tools below it; there is no current run.
What all runs of one tree share is its `Root`.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, final

import msgspec

from taut.agent import events
from taut.agent.budget import Budget, Meter
from taut.agent.concurrent import gather
from taut.agent.result import ApprovalRequest, Decision, RunResult
from taut.errors import AgentError, BudgetExceeded, ConfigError, TautError
from taut.llm.messages import Content, Message, Part, Text, ToolCall, Usage
from taut.steps import Journal, Steps
from taut.telemetry.hooks import Span, Tracer

if TYPE_CHECKING:
    from taut.agent.base import BaseAgent
    from taut.agent.tools import Tool

__all__ = ["Approver", "Failure", "Root", "Run", "parts_of"]

T = TypeVar("T")

logger = logging.getLogger("taut.agent")

#: How many runs may be nested: past it, an agent has most likely called itself.
MAX_DEPTH = 16

#: Decides a call at once: True, False, or a `Decision`; None leaves it open, and the run is suspended. May be async.
Approver: TypeAlias = Callable[
    [ApprovalRequest], "Awaitable[bool | Decision | None] | bool | Decision | None"
]


class Failure(msgspec.Struct, frozen=True):
    """What `Run.settle` returns in place of a result: the failure of one branch."""

    agent: str
    error: str


class Ended(msgspec.Struct, frozen=True):
    """What is recorded of a run that has ended below another one."""

    output: Any
    messages: tuple[Message, ...]
    usage: Usage
    tool_calls: int
    error: str | None = None


@final
class Root:
    """What the runs of one tree share."""

    __slots__ = ("approvals", "approver", "deps", "journal", "listener", "tracer")

    def __init__(
        self,
        journal: Journal,
        *,
        listener: events.Listener | None = None,
        approver: Approver | None = None,
        deps: Any = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.journal = journal
        self.listener = None if listener is None else _shielding(listener)
        self.approver = approver
        self.deps = deps
        self.tracer = tracer
        #: The calls that wait for a decision, by the name of the signal that brings it.
        self.approvals: dict[str, ApprovalRequest] = {}


@final
class Run(Generic[T]):
    """One run of ``agent``, alone or below another.

    ``task`` is what it was asked, ``history`` what was said before, ``tools`` what it gets besides its own.
    ``messages`` are what has been said so far, from the task on: what a partial result shows.
    """

    __slots__ = (
        "_below",
        "_places",
        "agent",
        "depth",
        "history",
        "key",
        "messages",
        "meter",
        "path",
        "root",
        "session",
        "span",
        "steps",
        "task",
        "tools",
    )

    def __init__(
        self,
        agent: BaseAgent[T],
        task: tuple[Part, ...],
        steps: Steps,
        root: Root,
        *,
        above: Run[Any] | None = None,
        key: str = "",
        budget: Budget | None = None,
        history: Sequence[Message] = (),
        session: str | None = None,
        tools: Sequence[Tool] = (),
    ) -> None:
        self.agent = agent
        self.task = task
        self.steps = steps
        self.root = root
        self.path: str = agent.name if above is None else f"{above.path}/{agent.name}"
        #: Tells this run from all others of its tree, whenever it is taken up.
        self.key = key
        self.depth: int = 0 if above is None else above.depth + 1
        self.meter: Meter = Meter(
            self.path, agent.budget if budget is None else budget, None if above is None else above.meter
        )
        self.history = history
        self.session = session
        self.tools = tools
        self.messages: list[Message] = []
        #: The span of the run above, then its own.
        self.span: Span | None = None if above is None else above.span
        #: How many runs below it have been asked for without a place, and with each.
        self._below = 0
        self._places: dict[str, int] = {}

    @property
    def text(self) -> str:
        """The task as text."""
        return "".join(part.text for part in self.task if isinstance(part, Text))

    # -- telling

    def emit(self, event: events.Event) -> None:
        """Tell whoever listens."""
        if self.root.listener is not None:
            self.root.listener(event)

    def note(self, topic: str, text: str, data: Any = None) -> None:
        """Tell of a decision of a pattern, or of something that a user should know."""
        if self.root.listener is not None:
            self.root.listener(events.Noted(self.path, topic, text, data))

    def say(self, message: Message, conversation: list[Message]) -> None:
        """Add to the conversation, and to what has been said in this run."""
        conversation.append(message)
        self.messages.append(message)

    # -- runs below

    def child(
        self,
        agent: BaseAgent[Any],
        task: Content,
        *,
        history: Sequence[Message] = (),
        tools: Sequence[Tool] = (),
        place: str | None = None,
    ) -> Coroutine[Any, Any, RunResult[Any]]:
        """Return what runs ``agent`` below this run, and waits for its result.

        ``place`` tells it from all other runs below this one, whenever the run is taken up; without one it is
        counted, so call this in an order that does not depend on what runs side by side. Await it whenever.

        :raises taut.errors.RunSuspended: it waits for a decision, so this run cannot go on either.
        :raises taut.errors.AgentError: it ended without an output; `taut.errors.BudgetExceeded` for one.
        """
        return self._child(self._place(agent, place), agent, task, history, tools)

    def settle(
        self,
        agent: BaseAgent[Any],
        task: Content,
        *,
        history: Sequence[Message] = (),
        tools: Sequence[Tool] = (),
        place: str | None = None,
    ) -> Coroutine[Any, Any, RunResult[Any] | Failure]:
        """As `child`, but a branch that fails becomes a `Failure`. A budget of this run, or above, still ends it."""
        return self._settle(self._place(agent, place), agent, task, history, tools)

    def _place(self, agent: BaseAgent[Any], place: str | None) -> str:
        if place is None:
            self._below += 1
            place = str(self._below)
        name = f"{place}.{agent.name}"
        count = self._places[name] = self._places.get(name, 0) + 1
        # The second one at a place must not take the decisions of the first.
        return name if count == 1 else f"{name}~{count}"

    async def _settle(self, *child: Any) -> RunResult[Any] | Failure:
        result = await self._child(*child, settle=True)
        return Failure(result.agent, str(result.output)) if result.status == "failed" else result

    def within_call(self, place: str, steps: Steps, meter: Meter) -> Run[T]:
        """Return this run as a call at ``place`` has it: with steps, places and a meter of its own, so that runs below
        it are counted from one for each call, and what they use is recorded with the call.
        """
        run = copy.copy(self)
        run.steps, run.meter = steps, meter
        run.key = f"{self.key}/{place}"
        run._below, run._places = 0, {}
        return run

    def withdraw(self, place: str = "") -> None:
        """Take back the questions of the runs below this one whose places begin with ``place``: nobody needs the
        answers any more.
        """
        self._withdraw(f"approval:{self.key}/{place}")

    def _withdraw(self, *prefixes: str) -> None:
        for signal in [one for one in self.root.approvals if one.startswith(prefixes)]:
            del self.root.approvals[signal]
            self.root.journal.waiting.pop(signal, None)
            self.note("approval withdrawn", signal)

    async def _child(
        self,
        name: str,
        agent: BaseAgent[Any],
        task: Content,
        history: Sequence[Message],
        tools: Sequence[Tool],
        *,
        settle: bool = False,
    ) -> RunResult[Any]:
        if self.depth + 1 >= MAX_DEPTH:
            raise AgentError(
                f"{self.path}: expected at most {MAX_DEPTH} runs inside each other, got one more: "
                "does an agent call itself?"
            )
        ran: list[Run[Any]] = []
        key = f"{self.key}/{name}"

        async def execute(steps: Steps) -> Ended:
            run = Run(
                agent,
                parts_of(task),
                steps,
                self.root,
                above=self,
                key=key,
                history=history,
                tools=tools,
            )
            ran.append(run)
            output = await agent.execute(run)
            return Ended(output, tuple(run.messages), run.meter.usage, run.meter.tool_calls)

        def recover(error: Exception) -> Ended:
            if not settle or (isinstance(error, BudgetExceeded) and self.meter.owns(error)):
                raise error
            if not isinstance(error, (TautError, OSError, TimeoutError)):
                raise error  # a mistake in somebody's code is not the failure of a branch
            used = ran[-1].meter
            return Ended(None, (), used.usage, used.tool_calls, str(error) or type(error).__name__)

        ended = await self.steps.child(name, execute, returns=Ended, recover=recover)
        output = ended.output if ended.error is None else ended.error
        if not ran:  # it ended before, in another process perhaps
            self.meter.charge(ended.usage, ended.tool_calls)
            if ended.error is None:
                output = agent.restored(output)
        if self.root.approvals:  # one that failed may have left some
            self._withdraw(f"approval:{key}:", f"approval:{key}/")
        return RunResult(
            run_id=self.steps.run_id,
            agent=agent.name,
            status="completed" if ended.error is None else "failed",
            output=output,
            messages=ended.messages,
            usage=ended.usage,
            tool_calls=ended.tool_calls,
        )

    async def gather(
        self, work: Iterable[Coroutine[Any, Any, Any]], *, limit: int | None = None
    ) -> list[Any]:
        """Wait for several of `child` and `settle` side by side: see `taut.agent.concurrent.gather`."""
        return await gather(work, limit=limit)

    # -- decisions

    async def approve(self, place: str, tool: str, call: ToolCall, reason: str = "") -> Decision:
        """Return what was decided of a call; ``place`` tells it from all others of this run.

        :raises taut.errors.RunSuspended: nothing has been decided yet.
        """
        signal = f"approval:{self.key or '.'}:{place}"
        if signal not in self.root.journal.signals:
            request = ApprovalRequest(signal, self.path, tool, call)
            self.emit(events.ApprovalAsked(self.path, signal, call, tool, reason))
            decision = await self._ask(request)
            if decision is None:
                self.root.approvals[signal] = request
            else:
                self.steps.signal(signal, decision)
        decided: Decision = await self.steps.wait_signal(signal, returns=Decision)
        return decided

    async def _ask(self, request: ApprovalRequest) -> Decision | None:
        if self.root.approver is None:
            return None
        answer: Any = self.root.approver(request)
        if inspect.isawaitable(answer):
            answer = await answer
        if isinstance(answer, bool):
            return Decision(answer)
        if answer is None or isinstance(answer, Decision):
            return answer
        raise ConfigError(
            f"Expected True, False, None or a Decision of the approver, got {type(answer).__name__}"
        )

    # -- time

    async def within_time(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` within the time of this run's budget.

        :raises taut.errors.BudgetExceeded: it took longer.
        """
        budget = self.meter.budget
        if budget is None or budget.time_s is None:
            return await work
        try:
            async with asyncio.timeout(budget.time_s) as limit:
                return await work
        except TimeoutError:
            if not limit.expired():
                raise
            raise self.meter.out_of_time() from None


def _shielding(listener: events.Listener) -> events.Listener:
    """Return a listener that does not raise: who looks on must not end a run, nor hide how it ends."""

    def hear(event: events.Event) -> None:
        try:
            listener(event)
        except Exception:  # the border to code that is not the run's
            logger.exception("a listener failed at %s of %s", type(event).__name__, event.path)

    return hear


def parts_of(task: Content) -> tuple[Part, ...]:
    """Return what a user says as parts."""
    return (Text(task),) if isinstance(task, str) else tuple(task)
