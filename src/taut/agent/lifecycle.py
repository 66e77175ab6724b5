"""The life of an agent in one event loop, as a state machine.

    created ─> starting ─> ready <─> running
                  │          │          │
                  └──────> stopping <───┘
                             │
               starting <─ stopped

Whoever uses the agent is counted: ``async with`` counts, and so does each run. The first user starts it, the last one
stops it; it may be started again. Starting and stopping are tasks of the lifecycle itself: a user who is cancelled
while it waits takes nothing along, and an agent may be entered in one task and left in another.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from typing import Any, Final, final

from taut.errors import AgentStateError

__all__ = ["TRANSITIONS", "AgentState", "Lifecycle"]


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

    ``open`` and ``close`` do the work; ``close`` is also called after an ``open`` that failed or was given up, and
    must not fail then.
    """

    def __init__(
        self, name: str, open: Callable[[], Awaitable[None]], close: Callable[[], Awaitable[None]]
    ) -> None:
        self.state = AgentState.CREATED
        #: The agents that were started along with this one.
        self.members: list[Any] = []
        self._name = name
        self._open = open
        self._close = close
        self._users = 0
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._runs: dict[asyncio.Future[None], asyncio.Task[object]] = {}

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
        """Count one more user, and wait until the agent is ready. Whoever gets no error must `release`."""
        self._users += 1
        try:
            while self.state is AgentState.STOPPING:
                assert self._stopping is not None
                await asyncio.shield(self._stopping)
            if self.state in (AgentState.CREATED, AgentState.STOPPED):
                self._move(AgentState.STARTING)
                self._starting = asyncio.get_running_loop().create_task(self._start())
                self._starting.add_done_callback(self._over)
            if self.state is AgentState.STARTING:
                assert self._starting is not None
                await asyncio.shield(self._starting)
        except BaseException:
            await self.release()
            raise

    async def release(self) -> None:
        """Count one user less. The last one waits until the agent has stopped."""
        self._users -= 1
        if self._users == 0:
            await self._end()

    async def stop(self) -> None:
        """Stop the agent, whoever uses it: runs end with `AgentStateError`. Twice is fine."""
        if self.state is AgentState.RUNNING:
            # Those who wait for their runs hear that the agent was stopped, not that they were cancelled.
            self._move(AgentState.STOPPING)
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
            self._stopping.add_done_callback(self._over)
        await self._end()

    async def _end(self) -> None:
        if self.state is AgentState.STARTING and self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        elif self.state is AgentState.READY:
            self._move(AgentState.STOPPING)
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
            self._stopping.add_done_callback(self._over)
        if self.state is AgentState.STOPPING and self._stopping is not None:
            await asyncio.shield(self._stopping)

    async def _start(self) -> None:
        try:
            await self._open()
        except BaseException:
            self._move(AgentState.STOPPING)
            await self._close()
            self._move(AgentState.STOPPED)
            raise
        self._move(AgentState.READY)

    async def _stop(self) -> None:
        ends = list(self._runs)
        for task in {task for task in self._runs.values() if task is not asyncio.current_task()}:
            task.cancel()
        if ends:
            await asyncio.wait(ends)
        try:
            await self._close()
        finally:
            self._move(AgentState.STOPPED)

    def _over(self, task: asyncio.Task[None]) -> None:
        """Forget a task that is done: it would keep its loop. Those who wait for it hear its failure; there may be
        none.
        """
        if not task.cancelled():
            task.exception()
        if task is self._starting:
            self._starting = None
        if task is self._stopping:
            self._stopping = None

    # -- runs

    def run_began(self) -> asyncio.Future[None]:
        """Note a run in the current task; returns what `run_ended` wants.

        :raises taut.errors.AgentStateError: the agent is being stopped.
        """
        if self.state is AgentState.READY:
            self._move(AgentState.RUNNING)
        elif self.state is not AgentState.RUNNING:
            raise AgentStateError(
                f"{self._name}: expected an agent that is ready, got one that is {self.state}"
            )
        task = asyncio.current_task()
        assert task is not None
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

    @property
    def was_stopped(self) -> bool:
        """Whether a run that is cancelled now is cancelled by `stop`."""
        return self.state in (AgentState.STOPPING, AgentState.STOPPED)
