"""The life of an agent in one event loop, as a state machine.

    created ─> starting ─> ready <─> running
                  │          │          │
                  └──────> stopping <───┘
                             │
               starting <─ stopped

Whoever uses the agent is counted: ``async with`` counts, and so does each run. The first user starts it, the last one
stops it; it may be started again. Starting and stopping are tasks of the lifecycle itself, one at a time: a user who is
cancelled while it waits takes nothing along, and an agent may be entered in one task and left in another.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, final

from taut.errors import AgentStateError

__all__ = ["TRANSITIONS", "AgentState", "Lifecycle"]

logger = logging.getLogger("taut.agent")


class AgentState(enum.StrEnum):
    """Where an agent is in its life."""

    CREATED = "created"
    STARTING = "starting"
    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


TRANSITIONS: Final = {
    AgentState.CREATED: frozenset({AgentState.STARTING}),
    AgentState.STARTING: frozenset({AgentState.READY, AgentState.STOPPING}),
    AgentState.READY: frozenset({AgentState.RUNNING, AgentState.STOPPING}),
    AgentState.RUNNING: frozenset({AgentState.READY, AgentState.STOPPING}),
    AgentState.STOPPING: frozenset({AgentState.STOPPED}),
    AgentState.STOPPED: frozenset({AgentState.STARTING}),
}


@final
class Lifecycle:
    """Counts the users of one agent, and opens and closes it with them.

    ``open`` and ``close`` do the work. ``close`` is also called after an ``open`` that failed or was given up; what it
    raises then is logged, since the failure of the start is what is told.
    """

    def __init__(
        self,
        name: str,
        open: Callable[[], Coroutine[Any, Any, None]],
        close: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.state = AgentState.CREATED
        self._name = name
        self._open = open
        self._close = close
        self._users = 0
        #: The members of the agent that were started along with it.
        self.members = contextlib.AsyncExitStack()
        #: What starts or stops it now.
        self._changing: asyncio.Task[None] | None = None
        self._given_up = False
        self._runs: dict[asyncio.Future[None], asyncio.Task[Any]] = {}
        #: The tasks of those that `stop` has cancelled.
        self._cut: set[asyncio.Task[Any]] = set()

    @property
    def users(self) -> int:
        """How many use it."""
        return self._users

    def _move(self, state: AgentState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise AgentStateError(
                f"{self._name}: expected to become one of {', '.join(sorted(TRANSITIONS[self.state]))}, since it is "
                f"{self.state}, got {state}"
            )
        self.state = state

    # -- users

    async def acquire(self) -> None:
        """Count one more user, and wait until the agent is ready. Whoever gets no error must `release`.

        :raises taut.errors.AgentStateError: it was stopped while it started.
        """
        self._users += 1
        try:
            await self._become_ready()
        except BaseException:
            await self.leave()
            raise

    async def _become_ready(self) -> None:
        while self.state is AgentState.STOPPING or (self.state is AgentState.STARTING and self._given_up):
            assert self._changing is not None
            await asyncio.wait([self._changing])  # what it fails with is for those to hear who wanted it
        starting = self._changing if self.state is AgentState.STARTING else None
        if self.state in (AgentState.CREATED, AgentState.STOPPED):
            self._given_up = False
            starting = self._change(AgentState.STARTING, self._start)
        if starting is None:
            return
        await asyncio.wait([starting])
        if not starting.cancelled() and (error := starting.exception()) is not None:
            raise error.with_traceback(None)  # or each who waits would leave his frames there
        if self.state not in (AgentState.READY, AgentState.RUNNING):
            raise AgentStateError(f"{self._name}: the agent was stopped while it started")

    async def release(self) -> None:
        """Count one user less. The last one waits until the agent has stopped, and hears what that fails with."""
        self._users -= 1
        if self._users == 0:
            await self.stop()

    async def leave(self) -> None:
        """As `release`, for a user who has something better to tell: a failure to stop is logged."""
        try:
            await self.release()
        except Exception:  # the border to what agents do in `close`
            logger.exception("the agent %s failed to stop", self._name)

    async def stop(self) -> None:
        """Stop the agent, whoever uses it: runs, and those who wait for its start, end with `AgentStateError`. Twice
        is fine. Cancelled, it goes on in the background.
        """
        if self.state in (AgentState.READY, AgentState.RUNNING):
            await asyncio.shield(self._change(AgentState.STOPPING, self._stop))
            return
        changing = self._changing
        if changing is None:
            return
        if self.state is AgentState.STARTING and not self._given_up:
            self._given_up = True
            changing.cancel()
        await asyncio.wait([changing])

    # -- starting and stopping

    def _change(self, state: AgentState, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        self._move(state)
        task = self._changing = asyncio.get_running_loop().create_task(work())
        task.add_done_callback(self._changed)
        return task

    def _changed(self, task: asyncio.Task[None]) -> None:
        """Forget a task that is done: it would keep its loop. Those who wait for it hear its failure; there may be
        none.
        """
        if not task.cancelled():
            task.exception()
        if task is not self._changing:
            return
        self._changing = None
        if self.state is AgentState.STARTING:  # given up before it began: there is nothing to close
            self._move(AgentState.STOPPING)
            self._move(AgentState.STOPPED)

    async def _start(self) -> None:
        try:
            await self._open()
            if self._given_up:  # whoever was cancelled there took no notice
                raise asyncio.CancelledError
        except BaseException:
            self._move(AgentState.STOPPING)
            try:
                await self._close()
            except Exception:  # the border to what agents do in `close`
                logger.exception("the agent %s failed to stop", self._name)
            finally:
                self._move(AgentState.STOPPED)
            raise
        self._move(AgentState.READY)

    async def _stop(self) -> None:
        ends = list(self._runs)
        self._cut = set(self._runs.values())
        for task in self._cut:
            task.cancel()
        try:
            if ends:
                await asyncio.wait(ends)
            self._cut.clear()
            await self._close()
        finally:
            self._move(AgentState.STOPPED)

    # -- runs

    def run_began(self, task: asyncio.Task[Any]) -> asyncio.Future[None]:
        """Note a run in ``task``, the current one; returns what `run_ended` wants.

        :raises taut.errors.AgentStateError: the agent is being stopped.
        """
        if self.state is AgentState.READY:
            self._move(AgentState.RUNNING)
        elif self.state is not AgentState.RUNNING:
            raise AgentStateError(
                f"{self._name}: expected an agent that is ready, got one that is {self.state}"
            )
        run = asyncio.get_running_loop().create_future()
        self._runs[run] = task
        return run

    def run_ended(self, run: asyncio.Future[None]) -> None:
        """Note its end."""
        del self._runs[run]
        if not run.done():
            run.set_result(None)
        if not self._runs and self.state is AgentState.RUNNING:
            self._move(AgentState.READY)

    def was_cut(self, run: asyncio.Future[None]) -> bool:
        """Whether a run that is cancelled now is cancelled by `stop`."""
        return self._runs[run] in self._cut
