"""Sessions and their events in an SQLite file, for clients that come back after the server was restarted.

What is kept is written by a thread of its own, many events in one transaction: a handler never waits for a disk. What
was said in the last moments before a crash may not be in the file; a client that has seen more than the file has, is
refused rather than told something twice.

One process at a time may use a file: sessions are served by the process that has them. Their ids are not in the file,
only what they hash to, so that who can read it cannot take over a session.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

from msgspec import Struct

from taut.errors import ConfigError, TautError
from taut.mcp.http.events import STANDALONE, EventsLost, Kept, Resumed, checked

__all__ = ["SQLiteEventStore"]

logger = logging.getLogger("taut")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (session BLOB PRIMARY KEY, record BLOB NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (
    session BLOB, stream INTEGER, requests BLOB NOT NULL, last INTEGER, PRIMARY KEY (session, stream)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    place INTEGER PRIMARY KEY, session BLOB NOT NULL, stream INTEGER NOT NULL, number INTEGER NOT NULL,
    message BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS events_by_number ON events (session, stream, number);
"""
PAGE_BYTES = 4096
#: Streams of a session that are known, and streams of all sessions that are known to have a gap.
MAX_STREAMS = 1024
MAX_BROKEN = 65_536
#: What is written in one transaction at most.
MAX_JOBS = 1000


class SQLiteEventStore:
    """Keeps them in the file ``path``, which is made if need be, readable by its owner only.

    :param max_events: events of one session; the oldest are forgotten.
    :param max_bytes: bytes of their messages.
    :param max_file_bytes: bytes of the file; None: as much as the disk takes. Past it, new events are not kept.
    :param max_waiting_bytes: bytes of messages that may wait to be written; past it the same.
    :param keep_s: seconds after which a session is forgotten that nobody has come back for.
    :raises taut.errors.ConfigError: the file cannot be used.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_events: int = 1024,
        max_bytes: int = 16 * 1024 * 1024,
        max_file_bytes: int | None = None,
        max_waiting_bytes: int = 64 * 1024 * 1024,
        keep_s: float = 86_400.0,
    ) -> None:
        for name, value in (("max_events", max_events), ("max_bytes", max_bytes), ("keep_s", keep_s)):
            if value <= 0:
                raise ConfigError(f"Expected a positive {name}, got {value}")
        self._path = os.fspath(path)
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_pages = None if max_file_bytes is None else max(1, max_file_bytes // PAGE_BYTES)
        self._max_waiting_bytes = max_waiting_bytes
        self._keep_s = keep_s
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Bytes of messages that were put and that were dealt with: each is counted by one thread only.
        self._put_bytes = 0
        self._dealt_bytes = 0
        #: Streams with events that could not be written, the oldest first.
        self._broken: dict[tuple[bytes, int], None] = {}
        #: Sessions that have ended, until the file knows it.
        self._ending: set[bytes] = set()
        #: What is kept of the sessions of this process, and what of it is to be forgotten. Of the thread.
        self._logs: dict[bytes, _Log] = {}
        self._surplus: list[tuple[int]] = []
        self._reader: sqlite3.Connection | None = self._open_file()
        self._place = self._prepare(self._reader)

    def _open_file(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            file = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=5.0)
            file.execute("PRAGMA journal_mode=WAL")
            # A crash of the machine may lose the newest transactions, never the file.
            file.execute("PRAGMA synchronous=NORMAL")
            if self._max_pages is not None:
                file.execute(f"PRAGMA max_page_count={self._max_pages}")
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"Cannot keep events in {self._path}: {error}") from error
        return file

    def _prepare(self, file: sqlite3.Connection) -> int:
        """Make the tables, forget what is too old, and return the newest place."""
        try:
            file.executescript(_SCHEMA)
            old = file.execute(
                "SELECT session FROM sessions WHERE at < ?", (time.time() - self._keep_s,)
            ).fetchall()
            for (key,) in old:
                _forget(file, key)
            (place,) = file.execute("SELECT coalesce(max(place), 0) FROM events").fetchone()
        except sqlite3.Error as error:
            raise ConfigError(f"Cannot keep events in {self._path}: {error}") from error
        return int(place)

    # -- what a session says

    def open_session(self, session: str, record: bytes) -> None:
        """Keep what is needed to go on with a session in another process."""
        key, at = _key(session), time.time()
        upsert = "INSERT INTO sessions VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record"
        self._put(_Job(lambda file: _execute(file, upsert, key, record, at), key))

    def end_session(self, session: str) -> None:
        """Forget a session and all its events."""
        key = _key(session)
        self._ending.add(key)
        self._put(_Job(lambda file: _forget(file, key), key, ends=True))

    def open_stream(self, session: str, stream: int, requests: bytes) -> None:
        """Know a new stream."""
        key = _key(session)

        def add(file: sqlite3.Connection) -> None:
            _execute(file, "INSERT INTO streams VALUES (?, ?, ?, NULL)", key, stream, requests)
            _execute(file, "DELETE FROM streams WHERE session = ? AND stream <= ?", key, stream - MAX_STREAMS)

        self._put(_Job(add, key, stream))

    def append(self, session: str, stream: int, number: int, message: bytes) -> None:
        """Keep an event."""
        key, at = _key(session), time.time()
        self._place += 1
        place = self._place

        def add(file: sqlite3.Connection) -> None:
            _execute(file, "INSERT INTO events VALUES (?, ?, ?, ?, ?)", place, key, stream, number, message)
            _execute(file, "UPDATE sessions SET at = ? WHERE session = ?", at, key)

        self._put(_Job(add, key, stream, size=len(message), place=place))

    def close_stream(self, session: str, stream: int, last: int) -> None:
        """Know that nothing follows the event ``last`` of a stream."""
        key = _key(session)
        update = "UPDATE streams SET last = ? WHERE session = ? AND stream = ?"
        self._put(_Job(lambda file: _execute(file, update, last, key, stream), key, stream))

    # -- who comes back

    def load_session(self, session: str) -> Resumed | None:
        """Return a session of another process."""
        key = _key(session)
        if key in self._ending:
            return None
        try:
            if self._reader is None:
                self._reader = self._open_file()
            file = self._reader
            found = file.execute("SELECT record FROM sessions WHERE session = ?", (key,)).fetchone()
            if found is None:
                return None
            streams = "SELECT coalesce(max(stream), 0) FROM streams WHERE session = ?"
            notices = "SELECT coalesce(max(number), 0) FROM events WHERE session = ? AND stream = ?"
            (last_stream,) = file.execute(streams, (key,)).fetchone()
            (last_notice,) = file.execute(notices, (key, STANDALONE)).fetchone()
        except sqlite3.Error as error:
            logger.error("cannot read sessions from %s: %s", self._path, error)
            return None
        return Resumed(found[0], last_stream, last_notice)

    async def read(self, session: str, stream: int, after: int) -> Kept:
        """Return what a stream has said after the event ``after``.

        :raises taut.mcp.http.events.EventsLost: that is not all there.
        """
        key = _key(session)
        found: list[Kept] = []
        job = _Job(lambda file: found.append(_read(file, key, stream, after)), key, stream, done=Future())
        self._put(job)
        assert job.done is not None
        # Why is for the log to say: paths and the like are none of a client's business.
        lost = EventsLost(f"The events of stream {stream} could not be kept")
        try:
            await asyncio.wrap_future(job.done)
        except EventsLost as error:
            raise (lost if (key, stream) in self._broken else error) from None
        except (sqlite3.Error, TautError) as error:
            logger.error("cannot read events from %s: %s", self._path, error)
            raise lost from error
        if (key, stream) in self._broken:
            raise lost
        return found[-1]

    async def close(self) -> None:
        """Write what is not written yet, and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # -- the thread that writes

    def _put(self, job: _Job) -> None:
        if self._put_bytes - self._dealt_bytes + job.size > self._max_waiting_bytes:
            self._break(job, "the disk does not keep up")
            return
        self._put_bytes += job.size
        if self._thread is None:
            try:
                file = self._open_file()
            except ConfigError as error:
                self._failed(job, error)
                return
            self._thread = threading.Thread(target=self._work, args=(file,), name="taut-events", daemon=True)
            self._thread.start()
        self._queue.put(job)

    def _work(self, file: sqlite3.Connection) -> None:
        with contextlib.closing(file):
            while True:
                jobs = [self._queue.get()]
                while not self._queue.empty() and len(jobs) < MAX_JOBS:
                    jobs.append(self._queue.get())
                self._write(file, [job for job in jobs if job is not None])
                if jobs[-1] is None:
                    return

    def _write(self, file: sqlite3.Connection, jobs: list[_Job]) -> None:
        """Do ``jobs`` in one transaction; one by one if that fails, so that one takes no other along."""
        try:
            file.execute("BEGIN IMMEDIATE")
            file.executemany("DELETE FROM events WHERE place = ?", self._surplus)
            for job in jobs:
                job.work(file)
            file.execute("COMMIT")
        except (sqlite3.Error, EventsLost) as error:
            with contextlib.suppress(sqlite3.Error):  # nothing had begun
                file.execute("ROLLBACK")
            if len(jobs) > 1:
                for job in jobs:
                    self._write(file, [job])
            elif jobs:
                self._failed(jobs[0], error)
            return
        self._surplus.clear()
        for job in jobs:
            self._written(job)

    def _failed(self, job: _Job, error: sqlite3.Error | TautError) -> None:
        self._dealt_bytes += job.size
        if job.done is not None:
            # One that is cancelled takes no outcome; once it is running it cannot be.
            if job.done.set_running_or_notify_cancel():
                job.done.set_exception(error)
        else:
            self._break(job, str(error))

    def _written(self, job: _Job) -> None:
        self._dealt_bytes += job.size
        if job.place:
            log = self._logs.setdefault(job.key, _Log())
            log.add(job.place, job.size)
            while len(log.entries) > self._max_events or log.size > self._max_bytes:
                self._surplus.append((log.drop(),))
        elif job.ends:
            self._logs.pop(job.key, None)
            self._ending.discard(job.key)
            for broken in [one for one in list(self._broken) if one[0] == job.key]:
                self._broken.pop(broken, None)
        elif job.done is not None and job.done.set_running_or_notify_cancel():
            job.done.set_result(None)

    def _break(self, job: _Job, reason: str) -> None:
        """Remember that a stream has a gap, so that nobody takes it for whole."""
        if not self._broken:
            logger.error("cannot keep events in %s: %s", self._path, reason)
        if len(self._broken) >= MAX_BROKEN:
            self._broken.pop(next(iter(self._broken)))
        self._broken[job.key, job.stream] = None


class _Job(Struct, eq=False):
    """Something to do in the file, for a session and one of its streams."""

    work: Callable[[sqlite3.Connection], None]
    key: bytes
    stream: int = STANDALONE
    #: Bytes of the message that it keeps, and where.
    size: int = 0
    place: int = 0
    #: Whether the session is gone with it.
    ends: bool = False
    #: Who waits for it.
    done: Future[None] | None = None


class _Log:
    """What the file has of one session, oldest first."""

    __slots__ = ("entries", "size")

    def __init__(self) -> None:
        self.entries: deque[tuple[int, int]] = deque()
        self.size = 0

    def add(self, place: int, size: int) -> None:
        self.entries.append((place, size))
        self.size += size

    def drop(self) -> int:
        """Forget the oldest event; return its place."""
        place, size = self.entries.popleft()
        self.size -= size
        return place


def _key(session: str) -> bytes:
    return hashlib.sha256(session.encode()).digest()


def _execute(file: sqlite3.Connection, statement: str, *values: object) -> None:
    file.execute(statement, values)


def _forget(file: sqlite3.Connection, key: bytes) -> None:
    for table in ("events", "streams", "sessions"):
        file.execute(f"DELETE FROM {table} WHERE session = ?", (key,))


def _read(file: sqlite3.Connection, key: bytes, stream: int, after: int) -> Kept:
    query = (
        "SELECT number, message FROM events WHERE session = ? AND stream = ? AND number > ? ORDER BY number"
    )
    events = file.execute(query, (key, stream, after)).fetchall()
    row = file.execute(
        "SELECT requests, last FROM streams WHERE session = ? AND stream = ?", (key, stream)
    ).fetchone()
    if row is None and stream != STANDALONE:
        raise EventsLost(f"Stream {stream} is not kept")
    requests, last = (b"[]", None) if row is None else row
    if after and not events and last is None:
        query = "SELECT 1 FROM events WHERE session = ? AND stream = ? AND number = ?"
        if file.execute(query, (key, stream, after)).fetchone() is None:
            raise EventsLost(f"Event {after} of stream {stream} is not kept")
    return checked(Kept(events, last is not None, requests), stream, after, last)
