"""One run that is served: it goes on in a task of its own, and whoever may see it looks at this object.

A run is resumed from its journal, also for the first time: the journal is in our hands from the beginning, so that a
run which is interrupted can be taken up again, and what was done is not done again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import msgspec
from msgspec import UNSET, Struct

from taut.agent import events
from taut.agent.base import BaseAgent
from taut.agent.result import ApprovalRequest, RunResult, RunState
from taut.agent.serving.narration import Narrator
from taut.agent.serving.views import Approval, RunInfo, Status, moment
from taut.errors import AgentError, ModelError, ModelUnavailable, TautError
from taut.llm.messages import Message, Usage

__all__ = ["Outcome", "ServedRun"]

logger = logging.getLogger("taut.agent")

#: Characters of a task that are shown where runs are listed.
SHOWN = 500
#: Characters of text that are one event in what is kept of the events.
TEXT = 2_000


class Outcome(Struct, frozen=True, kw_only=True):
    """What a run has come to, and when. ``output`` is JSON; ``state`` is what it can be taken up from."""

    status: Status
    at: float
    output: bytes | None = None
    error: str = ""
    messages: Sequence[Message] = ()
    usage: Usage | None = None
    tool_calls: int = 0
    approvals: Sequence[ApprovalRequest] = ()
    state: RunState | None = None

    @property
    def text(self) -> str:
        """The output as text: JSON where it is not text already."""
        if self.output is None:
            return ""
        value = msgspec.json.decode(self.output)
        return value if isinstance(value, str) else self.output.decode()


@final
class ServedRun:
    """A run. ``owner`` is the principal that it belongs to, empty where nobody asks; ``origin`` tells the session that
    it came from. ``tell(run, what)`` is called with what of it has changed: ``""`` (how it is), ``"events"`` or
    ``"messages"``.
    """

    def __init__(
        self,
        run_id: str,
        agent: BaseAgent[Any],
        task: str,
        *,
        owner: str = "",
        origin: str = "",
        session: str | None = None,
        created: float,
        max_events: int,
        details: bool,
        tell: Callable[[ServedRun, str], None],
        clock: Callable[[], float],
    ) -> None:
        self.id = run_id
        self.agent = agent
        self.task = task
        self.owner = owner
        self.origin = origin
        self.session = session
        self.created = created
        self.outcome = Outcome(status="running", at=created)
        #: Its version where it is kept; 0: it is not.
        self.version = 0
        #: The call that it was started by, where that has a key.
        self.call_key: tuple[str, str] | None = None
        self.path = agent.name
        self.step = 0
        self.message = ""
        self.events: deque[events.Event] = deque(maxlen=max_events)
        self.events_seen = 0
        self._usage: Usage | None = None
        self._narrator = Narrator(details=details)
        self._followers: list[Callable[[str], None]] = []
        self._tell = tell
        self._clock = clock
        self._work: asyncio.Task[None] | None = None
        #: What it comes to if it is ended from outside, why, and whether that is for good.
        self._ending: tuple[Status, str, bool] | None = None

    # -- what is seen of it

    @property
    def status(self) -> Status:
        """How it is."""
        return self.outcome.status

    @property
    def running(self) -> bool:
        """Whether it goes on, here or in another process."""
        return self.outcome.status == "running"

    @property
    def resumable(self) -> bool:
        """Whether it can be taken up again."""
        return not self.running and self.outcome.state is not None

    def info(self) -> RunInfo:
        """Return what is shown of it."""
        outcome = self.outcome
        usage = self._usage if outcome.usage is None else outcome.usage
        return RunInfo(
            run_id=self.id,
            agent=self.agent.name,
            status=outcome.status,
            task=self.task if len(self.task) <= SHOWN else self.task[: SHOWN - 3] + "...",
            created=moment(self.created),
            updated=moment(self.outcome.at),
            path=self.path if self.running else "",
            step=self.step,
            message=self.message if self.running else "",
            usage=UNSET if usage is None else usage,
            tool_calls=outcome.tool_calls,
            approvals=[Approval.of(one) for one in outcome.approvals],
            resumable=self.resumable,
            output=UNSET if outcome.output is None else msgspec.json.decode(outcome.output),
            error=outcome.error,
        )

    @contextmanager
    def followed(self, follower: Callable[[str], None]) -> Iterator[None]:
        """Call ``follower`` with every line of what happens meanwhile; it must not wait, nor raise."""
        self._followers.append(follower)
        try:
            yield
        finally:
            self._followers.remove(follower)

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until it does not go on any more, or the time is over. Cancelling this ends the waiting only."""
        if self._work is not None:
            await asyncio.wait([self._work], timeout=timeout_s)

    # -- its work

    def start(
        self,
        state: RunState,
        *,
        deps: Any,
        claim: Callable[[ServedRun], Awaitable[bool]],
        keep: Callable[[ServedRun, Outcome], Awaitable[None]],
    ) -> None:
        """Go on from ``state``, in a task, if ``claim`` says that it may; ``keep`` is called with what it comes to."""
        self.outcome = Outcome(status="running", at=self._clock())
        self.message = ""
        self._ending = None
        self._changed("")
        self._work = asyncio.get_running_loop().create_task(self._go_on(state, deps, claim, keep))
        self._work.add_done_callback(lambda task: self._over(task, state))

    def end(self, why: str, *, status: Status = "cancelled", final: bool = False) -> None:
        """End it, if it goes on; `wait` tells when it has ended. It can be taken up again, unless this is ``final``."""
        if self._work is not None and self._ending is None and not self._work.done():
            self._ending = (status, why, final)
            self._work.cancel()

    def settle(self, outcome: Outcome) -> None:
        """Be what ``outcome`` says."""
        self.outcome = outcome
        self._changed("")
        if outcome.messages:
            self._changed("messages")

    async def _go_on(
        self,
        state: RunState,
        deps: Any,
        claim: Callable[[ServedRun], Awaitable[bool]],
        keep: Callable[[ServedRun, Outcome], Awaitable[None]],
    ) -> None:
        try:
            if not await claim(self):
                late = "Another process has taken up the run"
                self.settle(Outcome(status="failed", at=self._clock(), error=late))
                return
            result = await self.agent.resume(state, deps=deps, listener=self._hear)
            outcome = _outcome_of(result, self._clock())
        except asyncio.CancelledError:
            outcome = self._ended(state)
        except (AgentError, ModelError) as error:
            outcome = _failed(error, state, self._clock())
        except Exception as error:  # the border to user code: agents, models and tools may be anybody's
            if not isinstance(error, TautError):
                logger.exception("run %s of %s failed", self.id, self.agent.name)
            outcome = _failed(error, state, self._clock())
        try:
            await keep(self, outcome)
        finally:
            self.settle(outcome)

    def _over(self, task: asyncio.Task[None], state: RunState) -> None:
        """Note the end of a task, which may have been cancelled before it began."""
        if self._work is not task:  # it goes on already
            return
        if self.running:
            self.settle(self._ended(state))
        self._work = None

    def _ended(self, state: RunState) -> Outcome:
        """Return what it comes to that was cancelled: by `end`, or by whoever stops the event loop."""
        status, why, final = self._ending or ("failed", "The server was stopped", False)
        state.approvals = []  # those that were not decided are found again
        return Outcome(
            status=status,
            at=self._clock(),
            error=why,
            usage=self._usage,
            state=None if final else state,
        )

    # -- what it tells

    def _hear(self, event: events.Event) -> None:
        self._keep_event(event)
        if isinstance(event, events.StepBegan):
            self.path, self.step = event.path, event.step
        elif isinstance(event, events.UsageReported) and event.path == self.agent.name:
            self._usage = event.usage
        lines = self._narrator.tell(event)
        for line in lines:
            self.message = line
            for follower in tuple(self._followers):
                follower(line)
        if lines:
            self._changed("events")
            if not isinstance(event, events.Text):
                self._changed("")

    def _keep_event(self, event: events.Event) -> None:
        self.events_seen += 1
        # Anything may have been raised, and what it says may be nobody's business.
        if isinstance(event, events.Failed):
            event = events.Failed(event.path, "the log has the details")
        elif isinstance(event, events.Restarted):
            event = events.Restarted(event.path, "the model failed")
        elif isinstance(event, (events.Text, events.Thinking)) and self.events:
            last = self.events[-1]
            if type(last) is type(event) and last.path == event.path and len(last.text) < TEXT:
                self.events_seen -= 1
                self.events[-1] = type(event)(event.path, last.text + event.text)
                return
        self.events.append(event)

    def _changed(self, what: str) -> None:
        self._tell(self, what)


def _outcome_of(result: RunResult[Any], now: float) -> Outcome:
    """Return what a run has come to that was not stopped by an exception.

    :raises Exception: whatever encoding an output of an unknown type raises.
    """
    status: Status = "completed" if result.status == "completed" else "suspended"
    return Outcome(
        status=status,
        at=now,
        output=msgspec.json.encode(result.output) if status == "completed" else None,
        messages=tuple(result.messages),
        usage=result.usage,
        tool_calls=result.tool_calls,
        approvals=() if result.state is None else tuple(result.state.approvals),
        state=result.state,
    )


def _failed(error: Exception, state: RunState, now: float) -> Outcome:
    result = getattr(error, "result", None)
    if not isinstance(result, RunResult):
        state.approvals = []
        return Outcome(status="failed", at=now, error=_words(error), state=state)
    return Outcome(
        status="failed",
        at=now,
        error=_words(error),
        messages=tuple(result.messages),
        usage=result.usage,
        tool_calls=result.tool_calls,
        state=result.state,
    )


def _words(error: Exception) -> str:
    """Return what a client is told: an agent's own failures, and of all others only their kind."""
    if isinstance(error, AgentError):
        return str(error)
    if isinstance(error, ModelUnavailable):
        return "The model cannot be reached now"
    if isinstance(error, ModelError):
        logger.warning("a model failed: %s", error)
        return "The model did not answer as it should; the server's log has the details"
    if isinstance(error, TautError):
        logger.warning("a run failed: %s", error)
    return f"Failed with {type(error).__name__}; the server's log has the details"
