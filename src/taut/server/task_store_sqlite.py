"""Tasks in an SQLite file: they survive the process, and the processes of one machine share them.

Results stay until their time is over, whatever becomes of the process. A task that was worked on when its process died
has failed, which the next process to look at it finds out. The file is one of `taut._sqlite`: on a local disk, and each
call that changes something is on the disk before it returns.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
import sqlite3
import sys
from collections.abc import Mapping

import msgspec

from taut._sqlite import SQLiteFile, count
from taut.errors import LimitExceeded
from taut.mcp.tasks import TaskRecord
from taut.server.task_store import Change

__all__ = ["SQLiteTaskStore"]

#: ``user_version`` of the file: the shape of table and records.
VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, created REAL NOT NULL, expires REAL, version INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS tasks_of_owner ON tasks (owner, created);
CREATE INDEX IF NOT EXISTS tasks_by_end ON tasks (expires);
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TaskRecord).decode


class SQLiteTaskStore:
    """Keeps tasks in the file at ``path``, which only its owner may read: results are as secret as their tools.

    :param busy_s: how long a transaction waits for those of other processes.
    :raises taut.errors.ConfigError: at the first use: the file cannot be opened, or is of another version; at any use:
        it cannot be read or written, as when the disk is full.
    """

    shared = True

    def __init__(self, path: str | os.PathLike[str], *, busy_s: float = 5.0) -> None:
        self._file = SQLiteFile(path, holds="tasks", schema=SCHEMA, version=VERSION, busy_s=busy_s)

    # -- processes

    @property
    def worker(self) -> str:
        """Machine, process, and a mark that tells it from later ones of the same number."""
        return _process(os.getpid())

    def is_alive(self, worker: str) -> bool:
        """Tell whether a process is there. Of one on another machine, or in another container, nothing is known: its
        tasks end with their time."""
        if worker == self.worker:
            return True
        host, _, rest = worker.rpartition("/")[0].rpartition("/")
        if host != socket.gethostname() or not rest.isdigit():
            return True
        # Ours with another mark: a process that had this number before us.
        return int(rest) != os.getpid() and _runs(int(rest))

    # -- the store

    async def add(self, record: TaskRecord, *, now: float, max_tasks: int, max_per_owner: int) -> None:
        """See `taut.server.task_store.TaskStore`."""

        def add(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM tasks WHERE expires <= ?", (now,))
            if count(file, "SELECT count(*) FROM tasks") >= max_tasks:
                raise LimitExceeded("max_tasks", max_tasks)
            owned = "SELECT count(*) FROM tasks WHERE owner = ?"
            if record.owner and count(file, owned, record.owner) >= max_per_owner:
                raise LimitExceeded("max_per_owner", max_per_owner)
            expires = None if record.ttl_s is None else record.created + record.ttl_s
            row = (record.id, record.owner, record.created, expires, record.version, _encode(record))
            file.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?)", row)

        await self._file.write(add)

    async def get(self, task_id: str) -> TaskRecord | None:
        """See `taut.server.task_store.TaskStore`."""
        return await self._file.read(lambda file: _read(file, task_id))

    async def change(self, task_id: str, change: Change) -> tuple[TaskRecord, TaskRecord] | None:
        """See `taut.server.task_store.TaskStore`. ``change`` is called in the store's thread."""

        def apply(file: sqlite3.Connection) -> tuple[TaskRecord, TaskRecord] | None:
            old = _read(file, task_id)
            if old is None:
                return None
            new = change(old)
            if new is not old:
                row = (new.version, _encode(new), task_id)
                file.execute("UPDATE tasks SET version = ?, body = ? WHERE id = ?", row)
            return old, new

        return await self._file.write(apply)

    async def newer(self, seen: Mapping[str, int]) -> list[TaskRecord]:
        """See `taut.server.task_store.TaskStore`."""
        wanted = list(seen.items())

        def read(file: sqlite3.Connection) -> list[TaskRecord]:
            query = "SELECT body FROM tasks WHERE id = ? AND version > ?"
            rows = (file.execute(query, one).fetchone() for one in wanted)
            return [_decode(row[0]) for row in rows if row is not None]

        return await self._file.read(read)

    async def owned(self, owner: str) -> list[TaskRecord]:
        """See `taut.server.task_store.TaskStore`."""
        query = "SELECT body FROM tasks WHERE owner = ? ORDER BY created, id"
        return await self._file.read(
            lambda file: [_decode(row[0]) for row in file.execute(query, (owner,)).fetchall()]
        )

    async def remove(self, task_id: str) -> None:
        """See `taut.server.task_store.TaskStore`."""

        def remove(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM tasks WHERE id = ?", (task_id,))

        await self._file.write(remove)

    async def close(self) -> None:
        """See `taut.server.task_store.TaskStore`."""
        await self._file.close()


def _read(file: sqlite3.Connection, task_id: str) -> TaskRecord | None:
    row = file.execute("SELECT body FROM tasks WHERE id = ?", (task_id,)).fetchone()
    return None if row is None else _decode(row[0])


@functools.cache
def _process(pid: int) -> str:
    return f"{socket.gethostname()}/{pid}/{secrets.token_hex(4)}"


def _runs(pid: int) -> bool:
    """Whether a process of this number is there."""
    if sys.platform == "win32":
        return _runs_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _runs_on_windows(pid: int) -> bool:
    # os.kill would end it.
    import ctypes

    synchronize, timed_out = 0x00100000, 0x00000102
    kernel: object = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(synchronize, False, pid)  # type: ignore[attr-defined]
    if not handle:
        return False
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == timed_out)  # type: ignore[attr-defined]
    finally:
        kernel.CloseHandle(handle)  # type: ignore[attr-defined]
