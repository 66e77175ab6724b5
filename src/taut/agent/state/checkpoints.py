"""Where runs are kept that are to go on later, perhaps in another process: the protocol of a store, and one in memory.

The state of a run is bytes (`taut.agent.RunState`), of which a store knows nothing. Beside it stands what is
searched for: whose run it is, how it is, what it waits for. A checkpoint has a version, by which one of several
processes takes up a run and the others see that they are late: load it, save it as running with the version that was
loaded, and go on only if there was no `Conflict`.
"""

from __future__ import annotations

import builtins
import threading
from typing import Protocol

import msgspec

from taut.agent.state.errors import Conflict, StoreFull
from taut.errors import ConfigError

__all__ = ["Checkpoint", "CheckpointStore", "MemoryCheckpointStore"]

MAX_BYTES = 64 * 1024 * 1024


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A saved run, without its state. Times are in seconds since the epoch, as the run tells them.

    ``waiting`` names what the run waits for. ``version`` counts how often it was saved; the store sets it.
    """

    run_id: str
    agent: str
    status: str
    created: float
    updated: float
    waiting: tuple[str, ...] = ()
    version: int = 0


class CheckpointStore(Protocol):
    """Keeps runs. Implement it to keep them elsewhere; its methods may be called from any event loop.

    Cancelling a call leaves open whether it was done, never half of it.
    """

    async def save(self, checkpoint: Checkpoint, state: bytes, *, expected: int | None = None) -> Checkpoint:
        """Keep a run in the place of what was kept of it, and return the checkpoint with its new version.

        It survives whatever the store survives once this returns.

        :param expected: the version that the caller has seen, 0 for a run that is not kept; None: whichever it is.
        :raises Conflict: that is not its version.
        :raises StoreFull: the state is too large.
        """

    async def load(self, run_id: str) -> tuple[Checkpoint, bytes] | None:
        """Return a run and its state; None: there is no such run."""

    async def list(
        self, *, agent: str | None = None, status: str | None = None, limit: int = 100
    ) -> builtins.list[Checkpoint]:
        """Return the runs there are, of an agent, or in a state, those last updated first."""

    async def remove(self, run_id: str) -> None:
        """Forget a run; one that is not there is fine."""

    async def close(self) -> None:
        """Let go of files and threads; a later call takes them up again."""


def check_limit(max_bytes: int) -> None:
    """Raise a `ConfigError` for a limit that nothing fits."""
    if max_bytes < 1:
        raise ConfigError(f"max_bytes: expected at least 1, got {max_bytes}")


def check_size(run_id: str, state: bytes, max_bytes: int) -> None:
    """Raise a `StoreFull` if the state is too large."""
    if len(state) > max_bytes:
        raise StoreFull(f"The state of run {run_id!r}", "max_bytes", max_bytes, len(state))


def check_version(run_id: str, expected: int | None, actual: int) -> None:
    """Raise a `Conflict` if the caller has not seen what there is."""
    if expected is not None and expected != actual:
        raise Conflict(f"Run {run_id!r}", expected, actual)


class MemoryCheckpointStore:
    """Runs that end with the process.

    :param max_bytes: of the state of one run.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        check_limit(max_bytes)
        self._max_bytes = max_bytes
        self._runs: dict[str, tuple[Checkpoint, bytes]] = {}
        # Held for a few dictionary operations: agents of loops in other threads may share the store.
        self._lock = threading.Lock()

    async def save(self, checkpoint: Checkpoint, state: bytes, *, expected: int | None = None) -> Checkpoint:
        """See `CheckpointStore`."""
        check_size(checkpoint.run_id, state, self._max_bytes)
        with self._lock:
            known = self._runs.get(checkpoint.run_id)
            version = 0 if known is None else known[0].version
            check_version(checkpoint.run_id, expected, version)
            saved = msgspec.structs.replace(checkpoint, version=version + 1)
            self._runs[checkpoint.run_id] = (saved, bytes(state))
            return saved

    async def load(self, run_id: str) -> tuple[Checkpoint, bytes] | None:
        """See `CheckpointStore`."""
        with self._lock:
            return self._runs.get(run_id)

    async def list(
        self, *, agent: str | None = None, status: str | None = None, limit: int = 100
    ) -> builtins.list[Checkpoint]:
        """See `CheckpointStore`."""
        with self._lock:
            found = [one for one, _ in self._runs.values()]
        found = [one for one in found if agent in (None, one.agent) and status in (None, one.status)]
        return sorted(found, key=lambda one: (-one.updated, one.run_id))[:limit]

    async def remove(self, run_id: str) -> None:
        """See `CheckpointStore`."""
        with self._lock:
            self._runs.pop(run_id, None)

    async def close(self) -> None:
        """See `CheckpointStore`."""
