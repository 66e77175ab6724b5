"""An SQLite file behind an event loop: the manners that all stores on a disk share.

The file is readable by its owner only, and on a local disk: its journal (WAL) is shared through memory by the processes
of one machine. Nothing runs in an event loop: each `SQLiteFile` has a thread of its own, and does each piece of work in
one transaction, which is on the disk before the call returns. A file of another version, or another kind, is refused.
After a fork the child opens the file for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, final

from taut.errors import ConfigError

__all__ = ["SQLiteFile", "count"]

T = TypeVar("T")

#: Seconds between two attempts at a file that others open at the same moment.
RETRY_S = 0.005


@final
class SQLiteFile:
    """The file at ``path``, opened when it is first used, and again when it is used after `close`.

    Work is a function of the connection. It runs in the file's thread, where it may be under way, or be done, when its
    caller is cancelled. What it raises is raised; what SQLite raises is a `ConfigError` that names the file. It fetches
    all rows that it selects before it does something with them that may fail: a cursor that is left behind, in the
    traceback, holds the file at that moment.

    :param holds: what is kept in it, for errors and for the thread's name.
    :param schema: statements that do nothing where they have been run before.
    :param version: its ``user_version``; 0 is that of a new file.
    :param application: its ``application_id``, which tells files of one version apart.
    :param busy_s: how long a transaction waits for those of other processes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        holds: str,
        schema: str,
        version: int,
        application: int = 0,
        busy_s: float = 5.0,
    ) -> None:
        self._path = os.fspath(path)
        self._holds = holds
        self._schema = schema
        self._version = version
        self._application = application
        self._busy_s = busy_s
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._file: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._inherited: list[object] = []

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` reads, all of it of one moment.

        :raises taut.errors.ConfigError: the file cannot be opened or read.
        """
        return await self._run(work, "BEGIN")

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Let ``work`` read and write; if it raises, nothing was written.

        :raises taut.errors.ConfigError: the file cannot be opened or written; the disk may be full.
        """
        # The lock is taken at once, so that what was read is still so.
        return await self._run(work, "BEGIN IMMEDIATE")

    async def scrub(self) -> None:
        """Write the file anew without what was deleted or overwritten. Takes as much room again for a while.

        :raises taut.errors.ConfigError: there is no room, or another process is at work in the file.
        """

        def rewrite(file: sqlite3.Connection) -> None:
            file.execute("VACUUM")
            # Until then the journal has the new pages, and the file the old ones.
            if count(file, "PRAGMA wal_checkpoint(TRUNCATE)"):
                raise sqlite3.OperationalError(
                    "what was overwritten cannot be wiped while others use the file"
                )

        await self._run(rewrite, None)

    async def close(self) -> None:
        """Let go of file and thread. Twice is fine."""
        with self._lock:
            self._leave_parent()
            thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.wrap_future(thread.submit(self._close_file))
            thread.shutdown()  # it has nothing left to do

    async def _run(self, work: Callable[[sqlite3.Connection], T], begin: str | None) -> T:
        with self._lock:
            self._leave_parent()
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"taut-{self._holds}")
            future: Future[T] = self._thread.submit(self._do, work, begin)
        return await asyncio.wrap_future(future)

    def _leave_parent(self) -> None:
        if self._pid != os.getpid():
            # A fork: the thread is not here, and the connection must not be used or closed by two processes.
            self._inherited += [self._thread, self._file]
            self._thread, self._file, self._pid = None, None, os.getpid()

    # -- the thread

    def _do(self, work: Callable[[sqlite3.Connection], T], begin: str | None) -> T:
        try:
            file = self._file
            if file is None:
                file = self._file = self._open_file()
            if begin is None:
                return work(file)
            with _transaction(file, begin):
                return work(file)
        except sqlite3.Error as error:
            raise ConfigError(f"Cannot keep {self._holds} in {self._path}: {error}") from error

    def _open_file(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise ConfigError(f"Cannot keep {self._holds} in {self._path}: {error}") from error
        file = sqlite3.connect(
            self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._keep_journal(file)
            file.execute("PRAGMA synchronous = FULL")
            with _transaction(file, "BEGIN IMMEDIATE"):
                self._recognise(file)
                for statement in self._schema.split(";"):
                    file.execute(statement)
                file.execute(f"PRAGMA user_version = {self._version}")
                file.execute(f"PRAGMA application_id = {self._application}")
        except BaseException:
            file.close()
            raise
        return file

    def _keep_journal(self, file: sqlite3.Connection) -> None:
        """Have the file's journal be a WAL. Where others open it just now, SQLite says so at once, whatever its timeout
        is (it could be a deadlock), so waiting is for us."""
        end = time.monotonic() + self._busy_s
        while True:
            try:
                file.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(RETRY_S)

    def _recognise(self, file: sqlite3.Connection) -> None:
        version, application = count(file, "PRAGMA user_version"), count(file, "PRAGMA application_id")
        where = f"Cannot keep {self._holds} in {self._path}"
        if (version, application) == (0, 0):
            if self._application and count(file, "SELECT count(*) FROM sqlite_schema"):
                raise ConfigError(f"{where}: expected a new file or one of taut, got one with other tables")
        elif application != self._application:
            raise ConfigError(f"{where}: expected application {self._application}, got {application}")
        elif version != self._version:
            raise ConfigError(f"{where}: expected version {self._version}, got {version}")

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def count(file: sqlite3.Connection, query: str, *values: object) -> int:
    """Return the one number that ``query`` is answered with."""
    number: int = file.execute(query, values).fetchone()[0]
    return number


@contextlib.contextmanager
def _transaction(file: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Write all or nothing."""
    file.execute(begin)
    try:
        yield
        file.execute("COMMIT")
    except BaseException:
        if file.in_transaction:  # a full disk may have rolled it back
            file.execute("ROLLBACK")
        raise
