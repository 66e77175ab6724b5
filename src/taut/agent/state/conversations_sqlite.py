"""Conversations in an SQLite file: they survive the process, and the processes of one machine share them."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from taut.agent.state._file import StateFile
from taut.agent.state.conversations import (
    MAX_BYTES,
    MAX_MESSAGES,
    SessionInfo,
    check_room,
    check_seen,
    check_sizes,
    decode,
    encode,
)
from taut.agent.state.sealed import Bodies
from taut.errors import ConfigError
from taut.llm.messages import Message

if TYPE_CHECKING:
    from taut.crypto import KeyRing

__all__ = ["SQLiteConversationStore"]

KIND = "message"


class SQLiteConversationStore:
    """Keeps conversations in the file at ``path``, which only its owner may read.

    Each call that changes something is on the disk before it returns. The file may also hold checkpoints and blobs.

    :param keys: seals every message, bound to its session and its position; None: they are kept as they are.
    :param max_messages: of one session.
    :param max_bytes: of the messages of one session, encoded.
    :param busy_s: how long a transaction waits for those of other processes.
    :raises taut.errors.ConfigError: at the first use: the file cannot be opened, is of another version, or is sealed
        and there are no keys, or the other way round; at any use: it cannot be read or written.
    :raises taut.crypto.Forged: a message is not what was written; `taut.crypto.UnknownKey`: these are not its keys.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keys: KeyRing | None = None,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        busy_s: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        check_sizes(max_messages, max_bytes)
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._clock = clock
        self._file = StateFile(path, keys, holds="conversations", busy_s=busy_s)
        self._bodies = self._file.bodies

    async def load(self, session: str) -> list[Message]:
        """See `taut.agent.state.ConversationStore`."""

        def read(file: sqlite3.Connection) -> list[Message]:
            known = _find(file, session)
            if known is None:
                return []
            key, messages, _ = known
            query = "SELECT position, body FROM messages WHERE session = ? ORDER BY position"
            found = file.execute(query, (key,)).fetchall()
            if [position for position, _ in found] != list(range(messages)):
                raise ConfigError(
                    f"The conversation {session!r} is damaged: expected {messages} messages, got {len(found)}"
                )
            return [self._read(body, session, position) for position, body in found]

        return await self._file.read(read)

    def _read(self, body: bytes, session: str, position: int) -> Message:
        plain = self._bodies.unwrap(body, KIND, session, position)
        try:
            return decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The conversation {session!r} is damaged: expected a message at {position}, got {error}"
            ) from error

    async def append(self, session: str, messages: Sequence[Message], *, expected: int | None) -> int:
        """See `taut.agent.state.ConversationStore`."""
        return await self._put(session, messages, expected, keep=True)

    async def replace(self, session: str, messages: Sequence[Message], *, expected: int | None) -> int:
        """See `taut.agent.state.ConversationStore`."""
        return await self._put(session, messages, expected, keep=False)

    async def _put(
        self, session: str, messages: Sequence[Message], expected: int | None, *, keep: bool
    ) -> int:
        encoded = encode(messages)  # here and now: the caller may go on with what it has given

        def put(file: sqlite3.Connection) -> int:
            _, there, size = _find(file, session) or (None, 0, 0)
            check_seen(session, expected, there)
            if not keep:
                there, size = 0, 0
            new, size = there + len(encoded), size + sum(map(len, encoded))
            check_room(session, new, size, self._max_messages, self._max_bytes)
            if not keep or not new:
                _forget(file, session)
            if not new:
                return 0
            upsert = (
                "INSERT INTO sessions (session, messages, bytes, updated) VALUES (?, ?, ?, ?) ON CONFLICT (session) "
                "DO UPDATE SET messages = excluded.messages, bytes = excluded.bytes, updated = excluded.updated "
                "RETURNING id"
            )
            (key,) = file.execute(upsert, (session, new, size, self._clock())).fetchone()
            wrap = self._bodies.wrap
            rows = ((key, at, wrap(body, KIND, session, at)) for at, body in enumerate(encoded, there))
            file.executemany("INSERT INTO messages VALUES (?, ?, ?)", rows)
            return new

        return await self._file.write(put)

    async def clear(self, session: str) -> None:
        """See `taut.agent.state.ConversationStore`."""
        await self._file.write(lambda file: _forget(file, session))

    async def sessions(self, *, limit: int = 100) -> list[SessionInfo]:
        """See `taut.agent.state.ConversationStore`."""
        query = (
            "SELECT session, messages, bytes, updated FROM sessions ORDER BY updated DESC, id DESC LIMIT ?"
        )
        return await self._file.read(
            lambda file: [SessionInfo(*row) for row in file.execute(query, (limit,))]
        )

    async def close(self) -> None:
        """See `taut.agent.state.ConversationStore`."""
        await self._file.close()


def reseal(file: sqlite3.Connection, old: Bodies, new: Bodies) -> int:
    """Seal all messages anew that are not sealed with the current key; return how many."""

    resealed = 0
    query = "SELECT id, sessions.session, position FROM messages JOIN sessions ON id = messages.session"
    for key, session, position in file.execute(query).fetchall():
        row = (key, position)
        (body,) = file.execute("SELECT body FROM messages WHERE session = ? AND position = ?", row).fetchone()
        if (again := new.rewrap(old, body, KIND, session, position)) is not None:
            file.execute("UPDATE messages SET body = ? WHERE session = ? AND position = ?", (again, *row))
            resealed += 1
    return resealed


def _find(file: sqlite3.Connection, session: str) -> tuple[int, int, int] | None:
    """Return the key of a session, and how many messages and bytes it has."""
    query = "SELECT id, messages, bytes FROM sessions WHERE session = ?"
    found: tuple[int, int, int] | None = file.execute(query, (session,)).fetchone()
    return found


def _forget(file: sqlite3.Connection, session: str) -> None:
    file.execute(
        "DELETE FROM messages WHERE session = (SELECT id FROM sessions WHERE session = ?)", (session,)
    )
    file.execute("DELETE FROM sessions WHERE session = ?", (session,))
