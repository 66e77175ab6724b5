"""What every agent is, whether it asks a model itself or is a pattern of other agents: it has a name, a life, and runs.

`BaseAgent` is what patterns inherit: they implement `BaseAgent.work`, and have runs, streams, budgets, suspension and
resumption, nesting and serving from here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

import msgspec

from taut.agent import events
from taut.agent.budget import Budget
from taut.agent.lifecycle import AgentState, Lifecycle
from taut.agent.result import RunResult, RunState
from taut.agent.run import Approver, Root, Run, parts_of
from taut.errors import AgentError, AgentStateError, ConfigError, RunSuspended, TautError
from taut.llm.messages import Content, Message
from taut.steps import InProcess, Journal
from taut.telemetry.hooks import Tracer

if TYPE_CHECKING:
    from taut.agent.state.checkpoints import CheckpointStore
    from taut.agent.stream import RunStream

__all__ = ["BaseAgent"]

logger = logging.getLogger("taut.agent")

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # Without an annotation the output is not known: it may be of any type.
    T = TypeVar("T", default=Any)
else:
    from typing import TypeVar

    T = TypeVar("T")


class BaseAgent(ABC, Generic[T]):
    """An agent. Safe to use from many tasks, and from several threads, each with its event loop.

    In each event loop it has a life of its own (`taut.agent.lifecycle`): ``async with`` keeps it ready, and what it
    uses connected, between runs; a run without it starts the agent and stops it again.

    :param name: of letters, digits, ``_`` and ``-``: it is in paths of events, names of tools and keys of steps.
    :param budget: of each of its runs, unless the run is given another.
    :param checkpoints: where runs are kept that are suspended or have failed.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        budget: Budget | None = None,
        tracer: Tracer | None = None,
        checkpoints: CheckpointStore | None = None,
    ) -> None:
        if not name or not all(one.isalnum() or one in "_-" for one in name):
            raise ConfigError(f"Expected an agent's name of letters, digits, '_' and '-', got {name!r}")
        self.name = name
        self.description = description
        self.budget = budget
        self._tracer = tracer
        self._checkpoints = checkpoints
        self._lives: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Lifecycle] = (
            weakref.WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    @property
    def output_type(self) -> Any:
        """What the output is: a type that msgspec can encode and decode."""
        return Any

    # -- what patterns implement

    @abstractmethod
    async def work(self, run: Run[T]) -> T:
        """Do what ``run`` asks for, and return the output.

        What must not happen twice goes through ``run.child`` and ``run.steps``; see `taut.steps`.
        """

    def members(self) -> Iterable[BaseAgent[Any]]:
        """The agents that this one uses: started and stopped with it."""
        return ()

    async def open(self) -> None:
        """Get ready, in the running loop. What fails here fails the start."""

    async def close(self) -> None:
        """Release what `open` has taken in the running loop, whole or in part."""

    # -- life

    def _life(self) -> Lifecycle:
        loop = asyncio.get_running_loop()
        with self._lock:
            life = self._lives.get(loop)
            if life is None:
                life = self._lives[loop] = Lifecycle(self.name, self._open, self._close)
            return life

    @property
    def state(self) -> AgentState:
        """Where the agent is in its life in the running event loop."""
        return self._life().state

    async def _open(self) -> None:
        started = self._life().members
        for member in self.members():
            await started.enter_async_context(member)
        await self.open()

    async def _close(self) -> None:
        try:
            await self.close()
        finally:
            await self._life().members.aclose()

    async def __aenter__(self) -> Self:
        await self._life().acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._life().release()

    async def stop(self) -> None:
        """Stop it in this loop, whoever uses it: its runs end with `taut.errors.AgentStateError`. Twice is fine."""
        await self._life().stop()

    # -- runs

    async def run(
        self,
        task: Content,
        *,
        session: str | None = None,
        history: Sequence[Message] = (),
        budget: Budget | None = None,
        deps: Any = None,
        approver: Approver | None = None,
        listener: events.Listener | None = None,
        run_id: str | None = None,
    ) -> RunResult[T]:
        """Do a task and return what came of it.

        :param session: the conversation that this belongs to, where the agent has a memory.
        :param history: what was said before, where it has none.
        :param deps: what tools and instructions find as ``deps``; it is not part of the state.
        :param approver: decides calls that need approval at once; without one, or where it returns None, the run is
            suspended, and `resume` goes on from ``result.state``.
        :param listener: gets the events of the run and of all below it; `stream` has them as an iterator.
        :raises taut.errors.BudgetExceeded: a budget is used up; what there is, is in ``error.result``.
        :raises taut.errors.AgentError: it ended without an output, for another reason; or the checkpoint store has
            failed: the result is in ``error.result`` then as well.
        :raises taut.errors.ModelError: the model cannot or will not answer.
        :raises taut.errors.TautError: a server that is required cannot be reached, and the like. Whatever it is,
            ``error.result.state`` can be resumed.
        :raises asyncio.CancelledError: the calling task was cancelled; open calls were cancelled at their servers.
        """
        journal = Journal(run_id=run_id or str(uuid.uuid4()))
        root = Root(journal, listener=listener, approver=approver, deps=deps, tracer=self._tracer)
        return await self._run_root(
            Run(
                self,
                parts_of(task),
                InProcess(journal),
                root,
                budget=budget,
                history=history,
                session=session,
            )
        )

    async def resume(
        self,
        state: RunState,
        *,
        budget: Budget | None = None,
        deps: Any = None,
        approver: Approver | None = None,
        listener: events.Listener | None = None,
    ) -> RunResult[T]:
        """Take up a run where it ended: after a decision, with a larger budget, or once a model is back.

        Steps that have been done are not done again. Otherwise as `run`; ``budget`` is in place of the one that the run
        had. ``state`` goes along with the run: where that ends without a result, cancelled or by a mistake in
        somebody's code, it can be taken up from there again.

        :raises taut.errors.ConfigError: it is the state of another agent's run, or of what the agent was before.
        :raises taut.errors.AgentStateError: a run goes on from this state already.
        """
        if state.agent != self.name:
            raise ConfigError(f"Expected the state of a run of {self.name}, got one of {state.agent}")
        root = Root(state.journal, listener=listener, approver=approver, deps=deps, tracer=self._tracer)
        return await self._run_root(
            Run(
                self,
                state.task,
                InProcess(state.journal),
                root,
                budget=state.budget if budget is None else budget,
                history=state.history,
                session=state.session,
            )
        )

    def stream(self, task: Content, **options: Any) -> RunStream[T]:
        """Do a task and iterate over its events; options as for `run`, which has no other listener then.

        ``async with agent.stream("...") as events: async for event in events: ...``, then ``events.result``. Leaving
        the block early cancels the run.
        """
        from taut.agent.stream import RunStream  # here: it is built on this module

        return RunStream(lambda listener: self.run(task, listener=listener, **options))

    def stream_resumed(self, state: RunState, **options: Any) -> RunStream[T]:
        """Take up a run and iterate over its events; options as for `resume`."""
        from taut.agent.stream import RunStream

        return RunStream(lambda listener: self.resume(state, listener=listener, **options))

    def run_sync(self, task: Content, **options: Any) -> RunResult[T]:
        """Do a task from code without an event loop, in one of its own; options as for `run`. Any thread may.

        :raises taut.errors.AgentStateError: this thread runs an event loop: await `run` there.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            from taut.transport.loop import loop_factory

            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return runner.run(self.run(task, **options))
        raise AgentStateError("Expected a thread without an event loop; in this one, await agent.run(...)")

    # -- one run

    async def _run_root(self, run: Run[T]) -> RunResult[T]:
        journal = run.root.journal
        if journal.in_use:
            raise AgentStateError(
                f"{self.name}: expected a state that no run goes on from, got that of run {journal.run_id}, which does"
            )
        journal.in_use = True
        try:
            output = await self.execute(run)
        except RunSuspended:
            result: RunResult[T] = self._result(run, "suspended")
            run.emit(events.Done(run.path, "suspended", None, run.meter.usage))
        except Exception as error:  # whatever it is, the run can be taken up from what it has done
            result = self._result(run, "failed")
            if isinstance(error, TautError):
                error.result = result
            try:
                await self._keep(result)
            except AgentError:
                logger.exception("the state of a failed run is lost")
            raise
        else:
            result = self._result(run, "completed", output)
        finally:
            journal.in_use = False
        await self._keep(result)
        return result

    async def execute(self, run: Run[T]) -> T:
        """Do the work of a run, alone or below another one: with its span, its time and its place in the agent's
        life; and tell how it ended, unless it waits or was cancelled.
        """
        try:
            output = await self._alive(run)
        except (RunSuspended, asyncio.CancelledError):
            raise
        except BaseException as error:
            run.emit(events.Failed(run.path, str(error) or type(error).__name__))
            raise
        if run.root.listener is not None:
            run.emit(events.Done(run.path, "completed", output, run.meter.usage))
        return output

    async def _alive(self, run: Run[T]) -> T:
        """Do the work as a user of the agent: it is started if need be, and stopped after the last one."""
        life = self._life()
        task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        await life.acquire()
        try:
            token = life.run_began(task)
            try:
                return await self._traced(run)
            except asyncio.CancelledError:
                # Somebody may have cancelled the caller as well: that must not get lost.
                if not life.was_cut(token) or task.uncancel() > cancelling:
                    raise
                raise AgentStateError(f"{run.path}: the agent was stopped") from None
            finally:
                life.run_ended(token)
        finally:
            await life.leave()

    async def _traced(self, run: Run[T]) -> T:
        tracer, span = run.root.tracer, None
        if tracer is not None:
            attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": self.name}
            span = run.span = tracer.begin(f"invoke_agent {self.name}", attributes, run.span)
        try:
            output = await run.within_time(self.work(run))
        except BaseException as error:
            if span is not None:
                span.end(error)
            raise
        if span is not None:
            usage = run.meter.usage
            span.set(
                {
                    "gen_ai.usage.input_tokens": usage.input_tokens,
                    "gen_ai.usage.output_tokens": usage.output_tokens,
                }
            )
            span.end()
        return output

    def restored(self, output: Any) -> T:
        """Return an output that was recorded, in its type again."""
        # Where an integer was too large for MessagePack, it was kept as JSON: its keys are strings.
        converted: T = msgspec.convert(output, self.output_type, str_keys=True)
        return converted

    def _result(self, run: Run[T], status: Any, output: Any = None) -> RunResult[T]:
        state = None
        if status != "completed":
            state = RunState(
                agent=self.name,
                task=run.task,
                journal=run.root.journal,
                session=run.session,
                history=tuple(run.history),
                approvals=list(run.root.approvals.values()),
                usage=run.meter.usage,
                budget=None if run.meter.budget is self.budget else run.meter.budget,
            )
        return RunResult(
            run_id=run.steps.run_id,
            agent=self.name,
            status=status,
            output=output,
            messages=run.messages,
            usage=run.meter.usage,
            tool_calls=run.meter.tool_calls,
            state=state,
        )

    async def _keep(self, result: RunResult[T]) -> None:
        """Save the state of a run that has not ended well; forget it once it has.

        :raises taut.errors.AgentError: the store has failed; the result is in it.
        """
        try:
            await self._save(result)
        except Exception as error:  # the border to a store that may be anybody's
            failed = AgentError(f"{self.name}: run {result.run_id} is {result.status}, but not kept: {error}")
            failed.result = result
            raise failed from error

    async def _save(self, result: RunResult[T]) -> None:
        if self._checkpoints is None:
            return
        if result.state is None:
            await self._checkpoints.remove(result.run_id)
            return
        from taut.agent.state.checkpoints import Checkpoint  # with the store

        now = time.time()
        checkpoint = Checkpoint(
            run_id=result.run_id,
            agent=self.name,
            status=result.status,
            created=now,
            updated=now,
            waiting=tuple(one.id for one in result.state.approvals),
        )
        await self._checkpoints.save(checkpoint, result.state.to_bytes())
