"""The SQLite file of agents' state. Conversations, checkpoints and blobs may share one, or have one each.

Every store opens the file for itself, as every process does. A file is sealed as a whole or not at all, and a mark in
it tells whether these are its keys.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, final

from taut._sqlite import SQLiteFile
from taut.agent.state.sealed import Bodies
from taut.errors import ConfigError

if TYPE_CHECKING:
    from taut.crypto import KeyRing

__all__ = ["MARK", "StateFile", "get_setting", "open_unchecked", "put_setting"]

T = TypeVar("T")

#: ``application_id`` (taut) and ``user_version`` of the file.
APPLICATION = 0x74617574
VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, session TEXT NOT NULL UNIQUE, messages INTEGER NOT NULL, bytes INTEGER NOT NULL,
    updated REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS messages (
    session INTEGER NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (session, position)
);
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, agent TEXT NOT NULL, status TEXT NOT NULL, updated REAL NOT NULL, version INTEGER NOT NULL,
    checkpoint BLOB NOT NULL, state BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (updated);
CREATE TABLE IF NOT EXISTS blobs (
    id INTEGER PRIMARY KEY, blob TEXT NOT NULL UNIQUE, used INTEGER NOT NULL UNIQUE, bytes INTEGER NOT NULL,
    description BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS chunks (
    blob INTEGER NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (blob, number)
);
"""
#: The setting that tells what the file is sealed with, if at all.
MARK = "keys"


@final
class StateFile:
    """The file as one store uses it (see `taut._sqlite.SQLiteFile`), with its bodies; refused if it has other keys."""

    def __init__(
        self, path: str | os.PathLike[str], keys: KeyRing | None, *, holds: str, busy_s: float
    ) -> None:
        self.bodies = Bodies(keys)
        self._path = os.fspath(path)
        self._holds = holds
        self._file = open_unchecked(path, holds=holds, busy_s=busy_s)
        self._mark: bytes | None = None

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``work`` reads, all of it of one moment."""

        def checked(file: sqlite3.Connection) -> T:
            self._check(file)
            return work(file)

        return await self._file.read(checked)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Let ``work`` read and write; if it raises, nothing was written."""

        def checked(file: sqlite3.Connection) -> T:
            if self._check(file) is None:
                put_setting(file, MARK, self.bodies.wrap(b"", MARK))
            return work(file)

        return await self._file.write(checked)

    async def close(self) -> None:
        """Let go of file and thread. Twice is fine."""
        await self._file.close()

    def _check(self, file: sqlite3.Connection) -> bytes | None:
        """Refuse a file of other keys. Looked at each time: another process may have changed them."""
        mark = get_setting(file, MARK)
        if mark is not None and mark != self._mark:
            if self.bodies.keys is not None and self.bodies.is_plain(mark):
                raise ConfigError(
                    f"Cannot keep {self._holds} in {self._path}: it is not sealed; expected no keys, or that it is "
                    "sealed first (taut.agent.state.reseal)"
                )
            self.bodies.unwrap(mark, MARK, where=self._path)
            self._mark = mark
        return mark


def open_unchecked(path: str | os.PathLike[str], *, holds: str, busy_s: float) -> SQLiteFile:
    """Return the file for who makes or changes its keys."""
    return SQLiteFile(
        path, holds=holds, schema=SCHEMA, version=VERSION, application=APPLICATION, busy_s=busy_s
    )


def get_setting(file: sqlite3.Connection, name: str) -> bytes | None:
    """Return what is noted under ``name``."""
    row = file.execute("SELECT body FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else bytes(row[0])


def put_setting(file: sqlite3.Connection, name: str, body: bytes | None) -> None:
    """Note ``body`` under ``name``; None: forget it."""
    if body is None:
        file.execute("DELETE FROM settings WHERE name = ?", (name,))
    else:
        file.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, body))
