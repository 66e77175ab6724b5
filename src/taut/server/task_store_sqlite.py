"""Tasks in an SQLite file: they survive the process, and the processes of one machine share them.

Results stay until their time is over, whatever becomes of the process. A task that was worked on when its process died
has failed, which the next process to look at it finds out. The file must be on a local disk: its journal (WAL) is
shared through memory. Nothing here runs in an event loop: each store has a thread of its own, and a transaction for
each call that ends on the disk before the call returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import secrets
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from taut.errors import ConfigError, LimitExceeded
from taut.mcp.tasks import TaskRecord
from taut.server.task_store import Change

__all__ = ["SQLiteTaskStore"]

T = TypeVar("T")

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
    :raises taut.errors.ConfigError: at the first use: the file cannot be opened, or is of another version.
    """

    shared = True

    def __init__(self, path: str | os.PathLike[str], *, busy_s: float = 5.0) -> None:
        self._path = os.fspath(path)
        self._busy_s = busy_s
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._file: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._inherited: list[object] = []

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
            if _count(file, "SELECT count(*) FROM tasks") >= max_tasks:
                raise LimitExceeded("max_tasks", max_tasks)
            owned = "SELECT count(*) FROM tasks WHERE owner = ?"
            if record.owner and _count(file, owned, record.owner) >= max_per_owner:
                raise LimitExceeded("max_per_owner", max_per_owner)
            expires = None if record.ttl_s is None else record.created + record.ttl_s
            row = (record.id, record.owner, record.created, expires, record.version, _encode(record))
            file.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?)", row)

        await self._run(add, writes=True)

    async def get(self, task_id: str) -> TaskRecord | None:
        """See `taut.server.task_store.TaskStore`."""
        return await self._run(lambda file: _read(file, task_id))

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

        return await self._run(apply, writes=True)

    async def newer(self, seen: Mapping[str, int]) -> list[TaskRecord]:
        """See `taut.server.task_store.TaskStore`."""
        wanted = list(seen.items())

        def read(file: sqlite3.Connection) -> list[TaskRecord]:
            query = "SELECT body FROM tasks WHERE id = ? AND version > ?"
            rows = (file.execute(query, one).fetchone() for one in wanted)
            return [_decode(row[0]) for row in rows if row is not None]

        return await self._run(read)

    async def owned(self, owner: str) -> list[TaskRecord]:
        """See `taut.server.task_store.TaskStore`."""
        query = "SELECT body FROM tasks WHERE owner = ? ORDER BY created, id"
        return await self._run(lambda file: [_decode(row[0]) for row in file.execute(query, (owner,))])

    async def remove(self, task_id: str) -> None:
        """See `taut.server.task_store.TaskStore`."""

        def remove(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM tasks WHERE id = ?", (task_id,))

        await self._run(remove, writes=True)

    async def close(self) -> None:
        """See `taut.server.task_store.TaskStore`."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.wrap_future(thread.submit(self._close_file))
            thread.shutdown()  # it has nothing left to do

    # -- the thread

    async def _run(self, work: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """Do ``work`` in the store's thread, in one transaction."""

        def transact() -> T:
            file = self._open_file()
            if not writes:
                return work(file)
            with _transaction(file):
                return work(file)

        with self._lock:
            if self._pid != os.getpid():
                # A fork: the thread is not here, and the connection must not be used or closed by two processes.
                self._inherited += [self._thread, self._file]
                self._thread, self._file, self._pid = None, None, os.getpid()
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="taut-tasks")
            future = self._thread.submit(transact)
        return await asyncio.wrap_future(future)

    def _open_file(self) -> sqlite3.Connection:
        if self._file is not None:
            return self._file
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            file = sqlite3.connect(
                self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"Cannot keep tasks in {self._path}: {error}") from error
        try:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")
            with _transaction(file):
                version = _count(file, "PRAGMA user_version")
                if version not in (0, VERSION):
                    raise ConfigError(
                        f"Cannot keep tasks in {self._path}: expected version {VERSION}, got {version}"
                    )
                for statement in SCHEMA.split(";"):
                    file.execute(statement)
                file.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException as error:
            file.close()
            if isinstance(error, sqlite3.Error):
                raise ConfigError(f"Cannot keep tasks in {self._path}: {error}") from error
            raise
        self._file = file
        return file

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


@contextlib.contextmanager
def _transaction(file: sqlite3.Connection) -> Iterator[None]:
    """Write all or nothing; the lock is taken at once, so that what was read is still so."""
    file.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


def _read(file: sqlite3.Connection, task_id: str) -> TaskRecord | None:
    row = file.execute("SELECT body FROM tasks WHERE id = ?", (task_id,)).fetchone()
    return None if row is None else _decode(row[0])


def _count(file: sqlite3.Connection, query: str, *values: str) -> int:
    count: int = file.execute(query, values).fetchone()[0]
    return count


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
