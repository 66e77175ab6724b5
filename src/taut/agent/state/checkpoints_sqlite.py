"""Saved runs in an SQLite file: they survive the process, and any process of the machine may take one up."""

from __future__ import annotations

import builtins
import os
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from taut._sqlite import count
from taut.agent.state._file import StateFile
from taut.agent.state.checkpoints import MAX_BYTES, Checkpoint, check_limit, check_size, check_version
from taut.agent.state.sealed import Bodies
from taut.errors import ConfigError

if TYPE_CHECKING:
    from taut.crypto import KeyRing

__all__ = ["SQLiteCheckpointStore"]

CHECKPOINT, STATE = "checkpoint", "state"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Checkpoint).decode


class SQLiteCheckpointStore:
    """Keeps runs in the file at ``path``, which only its owner may read.

    Each call that changes something is on the disk before it returns. The file may also hold conversations and blobs.

    :param keys: seals checkpoints and states, bound to their run and to each other; None: they are kept as they are.
        The name of the agent and the status of a run can be read without keys, and what is listed is searched by them.
    :param max_bytes: of the state of one run.
    :param busy_s: how long a transaction waits for those of other processes.
    :raises taut.errors.ConfigError: at the first use: the file cannot be opened, is of another version, or is sealed
        and there are no keys, or the other way round; at any use: it cannot be read or written.
    :raises taut.crypto.Forged: a run is not what was written; `taut.crypto.UnknownKey`: these are not its keys.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keys: KeyRing | None = None,
        max_bytes: int = MAX_BYTES,
        busy_s: float = 5.0,
    ) -> None:
        check_limit(max_bytes)
        self._max_bytes = max_bytes
        self._file = StateFile(path, keys, holds="checkpoints", busy_s=busy_s)
        self._bodies = self._file.bodies

    async def save(self, checkpoint: Checkpoint, state: bytes, *, expected: int | None = None) -> Checkpoint:
        """See `taut.agent.state.CheckpointStore`."""
        check_size(checkpoint.run_id, state, self._max_bytes)
        run_id, wrap = checkpoint.run_id, self._bodies.wrap

        def put(file: sqlite3.Connection) -> Checkpoint:
            query = "SELECT coalesce(max(version), 0) FROM runs WHERE run_id = ?"
            version = count(file, query, run_id)
            check_version(run_id, expected, version)
            new = msgspec.structs.replace(checkpoint, version=version + 1)
            bodies = wrap(_encode(new), CHECKPOINT, run_id), wrap(state, STATE, run_id, new.version)
            row = (run_id, new.agent, new.status, new.updated, new.version, *bodies)
            file.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return new

        return await self._file.write(put)

    async def load(self, run_id: str) -> tuple[Checkpoint, bytes] | None:
        """See `taut.agent.state.CheckpointStore`."""

        def read(file: sqlite3.Connection) -> tuple[Checkpoint, bytes] | None:
            query = "SELECT checkpoint, state FROM runs WHERE run_id = ?"
            row = file.execute(query, (run_id,)).fetchone()
            if row is None:
                return None
            checkpoint = self._read(row[0], run_id)
            return checkpoint, self._bodies.unwrap(row[1], STATE, run_id, checkpoint.version)

        return await self._file.read(read)

    def _read(self, body: bytes, run_id: str) -> Checkpoint:
        return read_checkpoint(self._bodies, body, run_id)

    async def list(
        self, *, agent: str | None = None, status: str | None = None, limit: int = 100
    ) -> builtins.list[Checkpoint]:
        """See `taut.agent.state.CheckpointStore`."""
        query = (
            "SELECT checkpoint, run_id FROM runs WHERE (agent = ?1 OR ?1 IS NULL) AND (status = ?2 OR ?2 IS NULL) "
            "ORDER BY updated DESC, run_id LIMIT ?3"
        )

        def read(file: sqlite3.Connection) -> builtins.list[Checkpoint]:
            return [self._read(*row) for row in file.execute(query, (agent, status, limit)).fetchall()]

        return await self._file.read(read)

    async def remove(self, run_id: str) -> None:
        """See `taut.agent.state.CheckpointStore`."""

        def remove(file: sqlite3.Connection) -> None:
            file.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))

        await self._file.write(remove)

    async def close(self) -> None:
        """See `taut.agent.state.CheckpointStore`."""
        await self._file.close()


def read_checkpoint(bodies: Bodies, body: bytes, run_id: str) -> Checkpoint:
    """Return the checkpoint in a row.

    :raises taut.errors.ConfigError: there is none.
    """
    plain = bodies.unwrap(body, CHECKPOINT, run_id)
    try:
        return _decode(plain)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The run {run_id!r} is damaged: expected a checkpoint, got {error}") from error


def reseal(file: sqlite3.Connection, old: Bodies, new: Bodies) -> int:
    """Seal anew what of runs is not sealed with the current key; return how many bodies."""
    resealed = 0
    for (run_id,) in file.execute("SELECT run_id FROM runs").fetchall():
        query = "SELECT checkpoint, state FROM runs WHERE run_id = ?"
        body, state = file.execute(query, (run_id,)).fetchone()
        version = read_checkpoint(old, body, run_id).version
        for column, again in (
            ("checkpoint", new.rewrap(old, body, CHECKPOINT, run_id)),
            ("state", new.rewrap(old, state, STATE, run_id, version)),
        ):
            if again is not None:
                file.execute(f"UPDATE runs SET {column} = ? WHERE run_id = ?", (again, run_id))
                resealed += 1
    return resealed
