"""Where tasks are kept: the protocol of a store, and the store in memory.

A store keeps `TaskRecord` objects, which it need not understand: it files them by id and owner, forgets them when
their time is over, and applies a change to one of them *atomically*. Every method may be called from any event loop
of the process.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from taut.errors import LimitExceeded
from taut.mcp.tasks import TaskRecord

__all__ = ["Change", "MemoryTaskStore", "TaskStore"]

#: From a record to the next one; the same object: nothing changes. May raise, which changes nothing either.
Change = Callable[[TaskRecord], TaskRecord]


class TaskStore(Protocol):
    """Keeps tasks. Implement it to keep them elsewhere."""

    #: Whether other processes may change what is in it: then it is looked at from time to time.
    shared: bool

    @property
    def worker(self) -> str:
        """This process, for ``TaskRecord.worker``."""

    def is_alive(self, worker: str) -> bool:
        """Tell whether the process of that name may still be working on its tasks."""

    async def add(self, record: TaskRecord, *, now: float, max_tasks: int, max_per_owner: int) -> None:
        """Keep a new task, for good: it survives whatever the store survives once this returns.

        What has expired is forgotten first. ``max_per_owner`` is for owners that have a name.

        :raises taut.errors.LimitExceeded: there are too many.
        """

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return the task; None: there is none."""

    async def change(self, task_id: str, change: Change) -> tuple[TaskRecord, TaskRecord] | None:
        """Replace the task by ``change(task)``, atomically; return both. None: there is no such task."""

    async def newer(self, seen: Mapping[str, int]) -> list[TaskRecord]:
        """Return those of the tasks named whose ``version`` is above the one given."""

    async def owned(self, owner: str) -> list[TaskRecord]:
        """Return the tasks of ``owner``, the oldest first."""

    async def remove(self, task_id: str) -> None:
        """Forget a task; one that is not there is fine."""

    async def close(self) -> None:
        """Let go of files and threads; a later call takes them up again."""


class MemoryTaskStore:
    """Tasks that end with the process."""

    shared = False
    worker = ""

    def __init__(self) -> None:
        self._records: dict[str, TaskRecord] = {}
        self._owned: dict[str, set[str]] = {}
        #: When each task may be forgotten; those that were removed stay in it until then.
        self._due: list[tuple[float, str]] = []
        # Held for a few dictionary operations: loops of other threads may serve the same tasks.
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._records)

    def is_alive(self, worker: str) -> bool:
        """Return True: what is here is of this process."""
        return True

    async def add(self, record: TaskRecord, *, now: float, max_tasks: int, max_per_owner: int) -> None:
        """See `TaskStore`."""
        with self._lock:
            while self._due and self._due[0][0] <= now:
                self._forget(heapq.heappop(self._due)[1])
            if len(self._records) >= max_tasks:
                raise LimitExceeded("max_tasks", max_tasks)
            if record.owner and len(self._owned.get(record.owner, ())) >= max_per_owner:
                raise LimitExceeded("max_per_owner", max_per_owner)
            self._records[record.id] = record
            self._owned.setdefault(record.owner, set()).add(record.id)
            if record.ttl_s is not None:
                heapq.heappush(self._due, (record.created + record.ttl_s, record.id))

    def _forget(self, task_id: str) -> None:
        record = self._records.pop(task_id, None)
        if record is not None:
            owned = self._owned[record.owner]
            owned.discard(task_id)
            if not owned:
                del self._owned[record.owner]

    async def get(self, task_id: str) -> TaskRecord | None:
        """See `TaskStore`."""
        return self._records.get(task_id)

    async def change(self, task_id: str, change: Change) -> tuple[TaskRecord, TaskRecord] | None:
        """See `TaskStore`."""
        with self._lock:
            old = self._records.get(task_id)
            if old is None:
                return None
            new = self._records[task_id] = change(old)
            return old, new

    async def newer(self, seen: Mapping[str, int]) -> list[TaskRecord]:
        """See `TaskStore`."""
        with self._lock:
            found = [self._records.get(task_id) for task_id in seen]
        return [one for one in found if one is not None and one.version > seen[one.id]]

    async def owned(self, owner: str) -> list[TaskRecord]:
        """See `TaskStore`."""
        with self._lock:
            found = [self._records[task_id] for task_id in self._owned.get(owner, ())]
        return sorted(found, key=lambda one: (one.created, one.id))

    async def remove(self, task_id: str) -> None:
        """See `TaskStore`."""
        with self._lock:
            self._forget(task_id)

    async def close(self) -> None:
        """See `TaskStore`."""
