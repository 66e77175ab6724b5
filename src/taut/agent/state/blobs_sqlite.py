"""Blobs in an SQLite file: they survive the process, and the processes of one machine share them.

The data is cut into chunks of one size, so that a part of it is read, and unsealed, without the rest.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from typing import TYPE_CHECKING

import msgspec

from taut._sqlite import count
from taut.agent.state._file import StateFile, get_setting, put_setting
from taut.agent.state.blobs import (
    DEFAULT_MIME_TYPE,
    MAX_BLOB_BYTES,
    MAX_BYTES,
    SECRET_BYTES,
    Blob,
    WhenFull,
    check_blob,
    check_limits,
    check_range,
    describe,
)
from taut.agent.state.errors import BlobNotFound, StoreFull
from taut.agent.state.sealed import Bodies
from taut.errors import ConfigError

if TYPE_CHECKING:
    from taut.crypto import KeyRing

__all__ = ["SQLiteBlobStore"]

CHUNK_BYTES = 256 * 1024
BLOB, CHUNK, SECRET = "blob", "chunk", "blob secret"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Blob).decode


class SQLiteBlobStore:
    """Keeps blobs in the file at ``path``, which only its owner may read.

    Each call that changes something is on the disk before it returns. The file may also hold conversations and
    checkpoints.

    :param keys: seals data and descriptions, bound to their blob; None: they are kept as they are.
    :param max_bytes: of all blobs.
    :param max_blob_bytes: of one.
    :param busy_s: how long a transaction waits for those of other processes.
    :raises taut.errors.ConfigError: at the first use: the file cannot be opened, is of another version, or is sealed
        and there are no keys, or the other way round; at any use: it cannot be read or written.
    :raises taut.crypto.Forged: a blob is not what was written; `taut.crypto.UnknownKey`: these are not its keys.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        keys: KeyRing | None = None,
        max_bytes: int = MAX_BYTES,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        when_full: WhenFull = "drop_oldest",
        busy_s: float = 5.0,
    ) -> None:
        check_limits(max_bytes, max_blob_bytes, when_full)
        self._max_bytes = max_bytes
        self._max_blob_bytes = max_blob_bytes
        self._when_full = when_full
        self._file = StateFile(path, keys, holds="blobs", busy_s=busy_s)
        self._bodies = self._file.bodies

    async def put(self, data: bytes, *, mime_type: str = DEFAULT_MIME_TYPE, name: str = "") -> Blob:
        """See `taut.agent.state.BlobStore`."""
        check_blob(data, self._max_bytes, self._max_blob_bytes)
        data = bytes(data)

        def put(file: sqlite3.Connection) -> Blob:
            blob = describe(_secret(file, self._bodies), data, mime_type, name)
            used = count(file, "SELECT coalesce(max(used), 0) + 1 FROM blobs")
            if file.execute("UPDATE blobs SET used = ? WHERE blob = ?", (used, blob.id)).rowcount:
                return blob
            self._make_room(file, blob.bytes)
            wrap = self._bodies.wrap
            row = (blob.id, used, blob.bytes, wrap(_encode(blob), BLOB, blob.id))
            insert = "INSERT INTO blobs (blob, used, bytes, description) VALUES (?, ?, ?, ?)"
            key = file.execute(insert, row).lastrowid
            for number, start in enumerate(range(0, len(data), CHUNK_BYTES)):
                body = wrap(data[start : start + CHUNK_BYTES], CHUNK, blob.id, number)
                file.execute("INSERT INTO chunks VALUES (?, ?, ?)", (key, number, body))
            return blob

        return await self._file.write(put)

    def _make_room(self, file: sqlite3.Connection, wanted: int) -> None:
        total = count(file, "SELECT coalesce(sum(bytes), 0) FROM blobs") + wanted
        if total > self._max_bytes and self._when_full == "refuse":
            raise StoreFull("A blob", "max_bytes", self._max_bytes, total)
        while total > self._max_bytes:
            key, size = file.execute("SELECT id, bytes FROM blobs ORDER BY used LIMIT 1").fetchone()
            _forget(file, key)
            total -= size

    async def find(self, blob_id: str) -> Blob | None:
        """See `taut.agent.state.BlobStore`."""

        def read(file: sqlite3.Connection) -> Blob | None:
            known = self._find(file, blob_id)
            return None if known is None else known[1]

        return await self._file.read(read)

    def _find(self, file: sqlite3.Connection, blob_id: str) -> tuple[int, Blob] | None:
        row = file.execute("SELECT id, description FROM blobs WHERE blob = ?", (blob_id,)).fetchone()
        if row is None:
            return None
        plain = self._bodies.unwrap(row[1], BLOB, blob_id)
        try:
            return row[0], _decode(plain)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"The blob {blob_id!r} is damaged: expected its description, got {error}"
            ) from error

    async def get(self, blob_id: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `taut.agent.state.BlobStore`."""
        check_range(offset, length)

        def read(file: sqlite3.Connection) -> bytes:
            known = self._find(file, blob_id)
            if known is None:
                raise BlobNotFound(blob_id)
            key, blob = known
            end = blob.bytes if length is None else min(blob.bytes, offset + length)
            if offset >= end:
                return b""
            first, last = offset // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
            query = (
                "SELECT number, body FROM chunks WHERE blob = ? AND number BETWEEN ? AND ? ORDER BY number"
            )
            chunks = file.execute(query, (key, first, last)).fetchall()
            unwrap = self._bodies.unwrap
            data = b"".join(unwrap(body, CHUNK, blob_id, number) for number, body in chunks)
            part = data[offset - first * CHUNK_BYTES : end - first * CHUNK_BYTES]
            if len(part) != end - offset:
                raise ConfigError(
                    f"The blob {blob_id!r} is damaged: expected {end - offset} bytes at {offset}, got {len(part)}"
                )
            return part

        return await self._file.read(read)

    async def remove(self, blob_id: str) -> None:
        """See `taut.agent.state.BlobStore`."""

        def remove(file: sqlite3.Connection) -> None:
            row = file.execute("SELECT id FROM blobs WHERE blob = ?", (blob_id,)).fetchone()
            if row is not None:
                _forget(file, row[0])

        await self._file.write(remove)

    async def close(self) -> None:
        """See `taut.agent.state.BlobStore`."""
        await self._file.close()


def reseal(file: sqlite3.Connection, old: Bodies, new: Bodies) -> int:
    """Seal anew what of blobs is not sealed with the current key; return how many bodies."""
    resealed = 0
    secret = get_setting(file, SECRET)
    if secret is not None and (again := new.rewrap(old, secret, SECRET)) is not None:
        put_setting(file, SECRET, again)
        resealed += 1
    for key, blob_id, description in file.execute("SELECT id, blob, description FROM blobs").fetchall():
        if (again := new.rewrap(old, description, BLOB, blob_id)) is not None:
            file.execute("UPDATE blobs SET description = ? WHERE id = ?", (again, key))
            resealed += 1
        for (number,) in file.execute("SELECT number FROM chunks WHERE blob = ?", (key,)).fetchall():
            row = (key, number)
            (body,) = file.execute("SELECT body FROM chunks WHERE blob = ? AND number = ?", row).fetchone()
            if (again := new.rewrap(old, body, CHUNK, blob_id, number)) is not None:
                file.execute("UPDATE chunks SET body = ? WHERE blob = ? AND number = ?", (again, *row))
                resealed += 1
    return resealed


def _secret(file: sqlite3.Connection, bodies: Bodies) -> bytes:
    """Return the file's secret, by which ids are made; make it if there is none."""
    body = get_setting(file, SECRET)
    if body is not None:
        return bodies.unwrap(body, SECRET)
    secret = secrets.token_bytes(SECRET_BYTES)
    put_setting(file, SECRET, bodies.wrap(secret, SECRET))
    return secret


def _forget(file: sqlite3.Connection, key: int) -> None:
    file.execute("DELETE FROM chunks WHERE blob = ?", (key,))
    file.execute("DELETE FROM blobs WHERE id = ?", (key,))
