"""The runs of one server: who owns them, how many there may be, for how long they are kept.

A run belongs to the authenticated client that started it; for anybody else it does not exist. Without authentication
whoever knows its id may reach it: ids have 128 random bits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, final

from taut.agent.base import BaseAgent
from taut.agent.result import Decision, RunState
from taut.agent.run import parts_of
from taut.agent.serving.served import Outcome, ServedRun
from taut.errors import AgentStateError, ConfigError, ToolError
from taut.steps import Journal

if TYPE_CHECKING:
    from taut.agent.serving.keeping import Keeper
    from taut.agent.state.checkpoints import CheckpointStore

__all__ = ["NoSuchRun", "RunTable"]

logger = logging.getLogger("taut.agent")

#: Bytes of randomness in an id, written as hexadecimal digits: an id is part of a URI, where case may get lost.
ID_BYTES = 16
#: Seconds that runs get to clean up when the server stops.
STOP_S = 2.0


@final
class NoSuchRun(ToolError):
    """There is no such run, or it is somebody else's."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"No such run: {run_id[:100]}")


@final
class RunTable:
    """The runs of the agents that one server serves (`taut.agent.serving.serve_agents`).

    To make room for a new run, an old one that has ended is forgotten. What goes on, or waits, never is: then the new
    run is refused.

    :param max_runs: how many are kept at once.
    :param max_per_owner: how many of one authenticated client, or of one session where nobody is authenticated.
    :param max_events: how many events of each run are kept, the last ones.
    :param max_wait_s: the longest time that a client may wait for a run in one call.
    :param keep_s: how long a run is kept after its last change, unless it goes on.
    :param look_s: how often a run that goes on in another process is looked at, while somebody waits for it.
    :param checkpoints: where runs are kept besides, so that they survive the process: those that wait, that have ended,
        and those that its end has interrupted. Processes that serve the same clients share it.
    :param clock: seconds since the epoch.
    :raises taut.errors.ConfigError: a number that is not positive.
    """

    def __init__(
        self,
        *,
        max_runs: int = 1_000,
        max_per_owner: int = 100,
        max_events: int = 256,
        max_wait_s: float = 30.0,
        keep_s: float = 3600.0,
        look_s: float = 0.5,
        checkpoints: CheckpointStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        numbers = {
            "max_runs": max_runs,
            "max_per_owner": max_per_owner,
            "max_events": max_events,
            "max_wait_s": max_wait_s,
            "keep_s": keep_s,
            "look_s": look_s,
        }
        for name, value in numbers.items():
            if value <= 0:
                raise ConfigError(f"RunTable: expected a positive {name}, got {value}")
        self.max_wait_s = max_wait_s
        self.clock = clock
        self._max_runs = max_runs
        self._max_per_owner = max_per_owner
        self._max_events = max_events
        self._keep_s = keep_s
        self._look_s = look_s
        self._keeper: Keeper | None = None
        if checkpoints is not None:
            from taut.agent.serving.keeping import Keeper  # few tables are kept

            self._keeper = Keeper(checkpoints, keep_s=keep_s, max_runs=max_runs)
        #: The runs by their ids; by whom they count for; and those that do not go on, the last change at the end.
        self._runs: dict[str, ServedRun] = {}
        self._accounts: dict[tuple[str, str], dict[str, ServedRun]] = {}
        self._resting: OrderedDict[str, ServedRun] = OrderedDict()
        #: The ids of runs by the owner and the key of the call that started them.
        self._calls: dict[tuple[str, str], str] = {}
        self._agents: Mapping[str, BaseAgent[Any]] = {}
        self._details = True
        self._tell: Callable[[str, str], None] | None = None
        #: What of which run has changed in this turn of the loop.
        self._changed: dict[tuple[str, str], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._runs)

    # -- the server

    def attach(
        self, agents: Mapping[str, BaseAgent[Any]], *, details: bool, tell: Callable[[str, str], None]
    ) -> None:
        """Be the table of a server with these agents; ``tell(run_id, what)`` tells whoever has subscribed.

        :raises taut.errors.ConfigError: it is the table of another one.
        """
        if self._tell is not None:
            raise ConfigError("Expected a RunTable for each server, got one that is in use")
        self._agents = agents
        self._details = details
        self._tell = tell

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let runs go on inside of the block; those that still do at its end are interrupted."""
        if self._keeper is not None:
            await self._keeper.prune(self.clock())
        self._loop = asyncio.get_running_loop()
        try:
            yield
        finally:
            self._loop = None
            await self._stop()

    async def _stop(self) -> None:
        going = [run for run in self._runs.values() if run.running]
        for run in going:
            run.end("The server was shut down", status="failed")
        if going:
            await asyncio.wait([asyncio.ensure_future(run.wait()) for run in going], timeout=STOP_S)
        for run in going:
            if run.running:
                logger.warning("left behind: run %s of %s did not end when cancelled", run.id, run.agent.name)
        self._announce()
        if self._keeper is not None:
            await self._keeper.close()

    # -- beginning

    async def start(
        self,
        agent: BaseAgent[Any],
        task: str,
        *,
        owner: str,
        origin: str,
        session: str | None = None,
        deps: Any = None,
        call_key: str | None = None,
    ) -> ServedRun:
        """Start a run. The same call, sent again, gets the run that it has started: taken up, if it was interrupted.

        :raises taut.errors.ToolError: there are too many.
        """
        key = None if call_key is None else (owner, call_key)
        if key is not None:
            known = self._runs.get(self._calls.get(key, ""))
            if known is not None and (known.agent, known.task, known.session) == (agent, task, session):
                if known.resumable and known.status != "suspended":
                    self.resume(known, {}, deps=deps)
                return known
        dropped = self._make_room(owner, origin)
        # Imported here: hashing and its libraries are slow to load, and a table may never get a run.
        from secrets import token_hex

        run = self._new(token_hex(ID_BYTES), agent, task, owner, origin, session, self.clock())
        self._enter(run)
        if key is not None:
            self._calls[key] = run.id
            run.call_key = key
        scoped = None if session is None else _scoped(owner, session)
        state = RunState(
            agent=agent.name, task=parts_of(task), journal=Journal(run_id=run.id), session=scoped
        )
        self._go_on(run, state, deps)
        await self._remove(dropped)
        return run

    def _new(
        self,
        run_id: str,
        agent: BaseAgent[Any],
        task: str,
        owner: str,
        origin: str,
        session: str | None,
        created: float,
    ) -> ServedRun:
        return ServedRun(
            run_id,
            agent,
            task,
            owner=owner,
            origin=origin,
            session=session,
            created=created,
            max_events=self._max_events,
            details=self._details,
            tell=self._note,
            clock=self.clock,
        )

    def _go_on(self, run: ServedRun, state: RunState, deps: Any) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise AgentStateError("Expected the event loop in which the server runs, got another one")
        run.start(state, deps=deps, claim=self._claim, keep=self._keep)

    async def _claim(self, run: ServedRun) -> bool:
        """Make sure that no other process takes up ``run``; False: one has."""
        if self._keeper is None or await self._keeper.claim(run, self.clock()):
            return True
        self._forget(run)  # what is kept of it is what counts
        return False

    async def _keep(self, run: ServedRun, outcome: Outcome) -> None:
        if self._keeper is not None and not await self._keeper.keep(run, outcome) and run.id in self._runs:
            self._forget(run)  # what is kept of it is what counts

    def _make_room(self, owner: str, origin: str) -> list[ServedRun]:
        """Forget what must be forgotten before there is another run; returns it."""
        dropped = self._expire()
        own = self._accounts.get(_account(owner, origin), {})
        if len(own) >= self._max_per_owner and (owner or origin):
            dropped.append(self._drop(own.values(), "max_per_owner", self._max_per_owner))
        if len(self._runs) >= self._max_runs:
            dropped.append(self._drop(self._resting.values(), "max_runs", self._max_runs))
        return dropped

    def _drop(self, runs: Iterable[ServedRun], name: str, maximum: int) -> ServedRun:
        """Forget the first of ``runs`` that has ended."""
        ended = next((run for run in runs if not run.running and run.status != "suspended"), None)
        if ended is None:
            raise ToolError(f"Limit exceeded: {name} is {maximum}. Wait for a run to end, or cancel one")
        self._forget(ended)
        return ended

    def _expire(self) -> list[ServedRun]:
        due = self.clock() - self._keep_s
        expired = list(takewhile(lambda run: run.outcome.at < due, self._resting.values()))
        for run in expired:
            self._forget(run)
        return expired

    def _enter(self, run: ServedRun) -> None:
        self._runs[run.id] = run
        self._accounts.setdefault(_account(run.owner, run.origin), {})[run.id] = run
        self._sort(run)

    def _sort(self, run: ServedRun) -> None:
        """Put a run that has changed where it belongs."""
        if run.running:
            self._resting.pop(run.id, None)
        elif run.id in self._runs:
            self._resting[run.id] = run
            self._resting.move_to_end(run.id)

    def _forget(self, run: ServedRun) -> None:
        del self._runs[run.id]
        self._resting.pop(run.id, None)
        account = _account(run.owner, run.origin)
        del self._accounts[account][run.id]
        if not self._accounts[account]:
            del self._accounts[account]
        if run.call_key is not None and self._calls.get(run.call_key) == run.id:
            del self._calls[run.call_key]

    async def _remove(self, dropped: Iterable[ServedRun]) -> None:
        """Forget runs where they are kept, too."""
        if self._keeper is not None:
            for run in dropped:
                await self._keeper.remove(run)

    # -- finding

    async def find(self, run_id: str, owner: str) -> ServedRun:
        """Return the run of ``owner`` with this id.

        :raises NoSuchRun: there is none; no word about one that belongs to somebody else.
        """
        run = self._runs.get(run_id)
        if run is None:
            run = await self._load(run_id, owner)
        if run is None or run.owner != owner:
            raise NoSuchRun(run_id)
        if not run.running and run.outcome.at < self.clock() - self._keep_s:
            self._forget(run)
            await self._remove([run])
            raise NoSuchRun(run_id)
        return run

    async def _load(self, run_id: str, owner: str) -> ServedRun | None:
        if self._keeper is None:
            return None
        found = await self._keeper.load(owner, run_id, self.clock())
        if found is None or run_id in self._runs:  # somebody else may have loaded it meanwhile
            return self._runs.get(run_id)
        kept, checkpoint = found
        agent = self._agents.get(kept.agent)
        if agent is None:
            return None
        run = self._new(run_id, agent, kept.task, owner, kept.origin, kept.session, kept.created)
        run.version = checkpoint.version
        if checkpoint.status == "running":  # in another process, which tells us nothing of it
            run.outcome = Outcome(status="running", at=checkpoint.updated)
            run.message = "in another process"
            return run
        run.step = kept.step
        run.outcome = kept.outcome()
        dropped = self._make_room(owner, kept.origin)
        self._enter(run)
        await self._remove(dropped)
        return run

    async def wait(self, run: ServedRun, wait_s: float) -> ServedRun:
        """Wait until a run does not go on any more, or the time is over; returns it as it is then.

        One that goes on in another process is looked at every ``look_s`` seconds.
        """
        wait_s = min(wait_s, self.max_wait_s)
        if run.id in self._runs:
            await run.wait(wait_s)
            with contextlib.suppress(NoSuchRun):  # it had to make room
                return await self.find(run.id, run.owner)  # another process may have been faster
            return run
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while run.running:
                    await asyncio.sleep(self._look_s)
                    run = await self.find(run.id, run.owner)
        return run

    async def owned(self, owner: str, origin: str) -> list[ServedRun]:
        """Return the runs of an authenticated client, or of a session; those that changed last first.

        :raises taut.errors.ToolError: there is neither.
        """
        if not (owner or origin):
            raise ToolError(
                "Expected an authenticated client, or a session, got neither: whose runs are meant?"
            )
        await self._remove(self._expire())
        if self._keeper is not None and owner:
            for run_id in await self._keeper.ids(owner, self._agents, self.clock()):
                with contextlib.suppress(ToolError):  # there is no room for it
                    await self._load(run_id, owner)
        found = self._accounts.get(_account(owner, origin), {}).values()
        return sorted(found, key=lambda run: (-run.outcome.at, run.id))

    # -- going on, and ending

    def resume(self, run: ServedRun, decisions: Mapping[str, Decision], *, deps: Any = None) -> None:
        """Take up a run, with what was decided of the calls that it waits for.

        :raises taut.errors.ToolError: it cannot be taken up, or does not wait for one of these; nothing is changed.
        """
        state = run.outcome.state
        if not run.resumable or state is None:
            raise ToolError(f"Expected a run that can be taken up again, got one that is {run.status}")
        waiting = {one.id for one in state.approvals}
        unknown = decisions.keys() - waiting
        if unknown:
            raise ToolError(
                f"Expected calls that wait for approval ({', '.join(sorted(waiting)) or 'there is none'}), "
                f"got {', '.join(sorted(unknown))[:200]}"
            )
        if waiting and not decisions:
            raise ToolError(f"Expected a decision about one of {', '.join(sorted(waiting))}, got none")
        for one, decision in decisions.items():
            if decision.approved:
                state.approve(one, arguments=decision.arguments, reason=decision.reason)
            else:
                state.reject(one, reason=decision.reason)
        self._go_on(run, state, deps)

    async def cancel(self, run: ServedRun, why: str) -> None:
        """End a run for good, and wait until it has ended. One that has ended stays as it is.

        One that goes on in another process is not stopped, but what it comes to there does not count.
        """
        if run.running and run.id in self._runs:
            run.end(why, final=True)
            await run.wait(STOP_S)
        elif run.running or run.resumable:
            outcome = Outcome(
                status="cancelled",
                at=self.clock(),
                error=why,
                messages=run.outcome.messages,
                usage=run.outcome.usage,
                tool_calls=run.outcome.tool_calls,
            )
            run.settle(outcome)
            await self._keep(run, outcome)

    # -- telling

    def _note(self, run: ServedRun, what: str) -> None:
        """Tell of a change, once in a turn of the loop."""
        if not what:
            self._sort(run)
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._announce)
        self._changed[run.id, what] = None

    def _announce(self) -> None:
        changed, self._changed = self._changed, {}
        if self._tell is not None:
            for run_id, what in changed:
                self._tell(run_id, what)


def _account(owner: str, origin: str) -> tuple[str, str]:
    """Return whom a run counts for: an authenticated client or, where there are none, a session."""
    return (owner, "" if owner else origin)


def _scoped(owner: str, session: str) -> str:
    """Return the name of a conversation in the agent's memory: that of its owner, whatever others call theirs."""
    from urllib.parse import quote  # here: few calls belong to a session

    return f"{quote(owner, safe='')}/{session}"
