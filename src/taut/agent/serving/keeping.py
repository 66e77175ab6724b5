"""Runs that survive the process: how they are put into a store of checkpoints, and found there.

A run is kept when it begins, and whenever it does not go on: suspended, ended, or interrupted by the end of its server.
It is found by its owner and its id together, so that nobody finds another one's. One process at a time takes a run up:
it marks it as running in the version that it has seen, and the others are too late.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, final

import msgspec
from msgspec import Struct

from taut.agent.base import BaseAgent
from taut.agent.result import ApprovalRequest, RunState
from taut.agent.serving.served import Outcome, ServedRun
from taut.agent.serving.views import Status
from taut.agent.state.checkpoints import Checkpoint, CheckpointStore
from taut.agent.state.errors import Conflict
from taut.llm.messages import Message, Usage

__all__ = ["Keeper", "Kept"]

logger = logging.getLogger("taut.agent")

#: What the ids of our checkpoints begin with: agents may keep theirs in the same store.
PREFIX = "served:"
#: Seconds after which a run that another process began is no longer believed to go on there.
RUNNING_S = 86_400.0


class Kept(Struct, kw_only=True, omit_defaults=True):
    """A run in a store."""

    run_id: str
    agent: str
    task: str
    owner: str
    origin: str
    session: str | None
    created: float
    at: float
    status: Status
    step: int = 0
    output: bytes | None = None
    error: str = ""
    messages: tuple[Message, ...] = ()
    usage: Usage | None = None
    tool_calls: int = 0
    approvals: tuple[ApprovalRequest, ...] = ()
    state: bytes | None = None

    def outcome(self) -> Outcome:
        """Return what the run has come to."""
        return Outcome(
            status=self.status,
            at=self.at,
            output=self.output,
            error=self.error,
            messages=self.messages,
            usage=self.usage,
            tool_calls=self.tool_calls,
            approvals=self.approvals,
            state=None if self.state is None else RunState.from_bytes(self.state),
        )


@final
class Keeper:
    """Keeps the runs of one server in ``store``, none of them longer than ``keep_s`` after its last change."""

    def __init__(self, store: CheckpointStore, *, keep_s: float, max_runs: int) -> None:
        self._store = store
        self._keep_s = keep_s
        self._max_runs = max_runs

    async def keep(self, run: ServedRun, outcome: Outcome) -> bool:
        """Keep a run that has come to ``outcome``; False: another process has made something else of it.

        A store that fails costs the run nothing but its safety.
        """
        kept = Kept(
            run_id=run.id,
            agent=run.agent.name,
            task=run.task,
            owner=run.owner,
            origin=run.origin,
            session=run.session,
            created=run.created,
            at=outcome.at,
            status=outcome.status,
            step=run.step,
            output=outcome.output,
            error=outcome.error,
            messages=tuple(outcome.messages),
            usage=outcome.usage,
            tool_calls=outcome.tool_calls,
            approvals=tuple(outcome.approvals),
            state=None if outcome.state is None else outcome.state.to_bytes(),
        )
        try:
            await self._save(run, kept, outcome.status, outcome.at)
        except Conflict as conflict:
            if conflict.actual:
                logger.warning("run %s of %s was kept by another process", run.id, run.agent.name)
                return False
            run.version = 0  # it was dropped: as of a run that took longer than runs are kept
            return await self.keep(run, outcome)
        except Exception:  # of a store, which may be the user's
            logger.exception("run %s of %s cannot be kept", run.id, run.agent.name)
        return True

    async def claim(self, run: ServedRun, now: float) -> bool:
        """Mark a run as running here; False: another process has taken it up, or has dropped it."""
        if not run.version:
            return await self.keep(run, run.outcome)
        found = await self._store.load(_key(run.owner, run.id))
        if found is None:
            return False
        try:
            await self._save(run, msgspec.msgpack.decode(found[1], type=Kept), "running", now)
        except Conflict:
            return False
        return True

    async def _save(self, run: ServedRun, kept: Kept, status: Status, now: float) -> None:
        checkpoint = Checkpoint(
            run_id=_key(run.owner, run.id),
            agent=run.agent.name,
            status=status,
            created=run.created,
            updated=now,
            waiting=tuple(one.id for one in kept.approvals),
        )
        saved = await self._store.save(checkpoint, msgspec.msgpack.encode(kept), expected=run.version)
        run.version = saved.version

    async def load(self, owner: str, run_id: str, now: float) -> tuple[Kept, Checkpoint] | None:
        """Return the run of ``owner`` with this id; None: there is none, or not any more."""
        found = await self._store.load(_key(owner, run_id))
        if found is None or self._is_over(found[0], now):
            return None
        kept = msgspec.msgpack.decode(found[1], type=Kept)
        return (kept, found[0]) if kept.owner == owner and kept.run_id == run_id else None

    async def ids(self, owner: str, agents: Mapping[str, BaseAgent[Any]], now: float) -> list[str]:
        """Return the ids of the runs of ``owner``."""
        prefix = _key(owner, "")
        listed = await self._store.list(limit=self._max_runs)
        return [
            one.run_id.removeprefix(prefix)
            for one in listed
            if one.run_id.startswith(prefix) and one.agent in agents and not self._is_over(one, now)
        ]

    async def remove(self, run: ServedRun) -> None:
        """Forget a run."""
        if run.version:
            await self._store.remove(_key(run.owner, run.id))

    async def prune(self, now: float) -> None:
        """Forget the runs whose time is over, and the oldest of too many."""
        listed = await self._store.list(limit=2 * self._max_runs)
        ours = [one for one in listed if one.run_id.startswith(PREFIX)]
        for number, one in enumerate(ours):
            if number >= self._max_runs or self._is_over(one, now):
                await self._store.remove(one.run_id)

    def _is_over(self, checkpoint: Checkpoint, now: float) -> bool:
        """Whether the time of a run is over; one that goes on elsewhere has more of it."""
        keep_s = max(self._keep_s, RUNNING_S) if checkpoint.status == "running" else self._keep_s
        return checkpoint.updated + keep_s < now

    async def close(self) -> None:
        """Let the store let go of its files; the next call takes them up again."""
        await self._store.close()


def _key(owner: str, run_id: str) -> str:
    """Return the id of a run's checkpoint. The owner is hashed: ids stand in the clear where bodies are sealed."""
    return f"{PREFIX}{hashlib.sha256(owner.encode()).hexdigest()[:32]}:{run_id}"
