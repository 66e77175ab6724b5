"""Where large results are kept, so that conversations and runs only hold references: the protocol, and one in memory.

The id of a blob is made of its content and of a secret of the store: the same data put twice is one blob, which is what
a step that runs twice needs, and nobody can guess the id of another's data, or find out whether it is there, without
having it. Whoever has an id has the data.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import threading
from typing import Literal, Protocol, TypeAlias

import msgspec

from taut.agent.state.errors import BlobNotFound, StoreFull
from taut.errors import ConfigError

__all__ = ["Blob", "BlobStore", "MemoryBlobStore", "WhenFull"]

#: What a full store does with a new blob: drop those that were put longest ago, or raise `StoreFull`.
WhenFull: TypeAlias = Literal["drop_oldest", "refuse"]

MAX_BYTES = 1024 * 1024 * 1024
MAX_BLOB_BYTES = 64 * 1024 * 1024
SECRET_BYTES = 32
DEFAULT_MIME_TYPE = "application/octet-stream"
#: What takes longer to hash than a thread takes to start.
_LARGE_BYTES = 1024 * 1024


class Blob(msgspec.Struct, frozen=True):
    """A reference to data that is kept elsewhere. ``sha256`` is in hexadecimal digits."""

    id: str
    bytes: int
    mime_type: str
    sha256: str
    name: str = ""


class BlobStore(Protocol):
    """Keeps blobs. Implement it to keep them elsewhere; its methods may be called from any event loop.

    Cancelling a call leaves open whether it was done, never half of it.
    """

    async def put(self, data: bytes, *, mime_type: str = DEFAULT_MIME_TYPE, name: str = "") -> Blob:
        """Keep data, and return what to ask for it with. The same of the same type and name: the same blob, once.

        :raises StoreFull: it is too large, or there is no room and nothing may be dropped.
        """

    async def find(self, blob_id: str) -> Blob | None:
        """Return what is known of a blob; None: there is no such blob, or no longer."""

    async def get(self, blob_id: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return the data of a blob from ``offset``: ``length`` bytes, or what there is up to its end.

        :raises BlobNotFound: there is no such blob, or no longer.
        :raises taut.errors.ConfigError: ``offset`` or ``length`` is negative.
        """

    async def remove(self, blob_id: str) -> None:
        """Forget a blob; one that is not there is fine."""

    async def close(self) -> None:
        """Let go of files and threads; a later call takes them up again."""


def describe(secret: bytes, data: bytes, mime_type: str, name: str) -> Blob:
    """Return the reference to data in a store that has this secret."""
    digest = hashlib.sha256(data)
    identity = msgspec.msgpack.encode((digest.digest(), mime_type, name))
    blob_id = hmac.digest(secret, identity, "sha256")[:16].hex()
    return Blob(blob_id, len(data), mime_type, digest.hexdigest(), name)


def check_limits(max_bytes: int, max_blob_bytes: int, when_full: str) -> None:
    """Raise a `ConfigError` for limits that cannot work."""
    for limit, value in (("max_bytes", max_bytes), ("max_blob_bytes", max_blob_bytes)):
        if value < 1:
            raise ConfigError(f"{limit}: expected at least 1, got {value}")
    if when_full not in ("drop_oldest", "refuse"):
        raise ConfigError(f"when_full: expected drop_oldest or refuse, got {when_full}")


def check_blob(data: bytes, max_bytes: int, max_blob_bytes: int) -> None:
    """Raise a `StoreFull` for what would not fit an empty store."""
    for limit, maximum in (("max_blob_bytes", max_blob_bytes), ("max_bytes", max_bytes)):
        if len(data) > maximum:
            raise StoreFull("A blob", limit, maximum, len(data))


def check_range(offset: int, length: int | None) -> None:
    """Raise a `ConfigError` for what is no range."""
    if offset < 0 or (length is not None and length < 0):
        raise ConfigError(f"Expected offset and length of at least 0, got {offset} and {length}")


class MemoryBlobStore:
    """Blobs that end with the process.

    :param max_bytes: of all blobs.
    :param max_blob_bytes: of one.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES // 4,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        when_full: WhenFull = "drop_oldest",
    ) -> None:
        check_limits(max_bytes, max_blob_bytes, when_full)
        self._max_bytes = max_bytes
        self._max_blob_bytes = max_blob_bytes
        self._when_full = when_full
        self._secret = secrets.token_bytes(SECRET_BYTES)
        #: Those put last come last.
        self._blobs: dict[str, tuple[Blob, bytes]] = {}
        self._bytes = 0
        # Held for a few dictionary operations: agents of loops in other threads may share the store.
        self._lock = threading.Lock()

    async def put(self, data: bytes, *, mime_type: str = DEFAULT_MIME_TYPE, name: str = "") -> Blob:
        """See `BlobStore`."""
        check_blob(data, self._max_bytes, self._max_blob_bytes)
        data = bytes(data)
        if len(data) < _LARGE_BYTES:
            blob = describe(self._secret, data, mime_type, name)
        else:
            blob = await asyncio.to_thread(describe, self._secret, data, mime_type, name)
        with self._lock:
            self._forget(blob.id)
            total = self._bytes + blob.bytes
            if total > self._max_bytes and self._when_full == "refuse":
                raise StoreFull("A blob", "max_bytes", self._max_bytes, total)
            while self._bytes + blob.bytes > self._max_bytes:
                self._forget(next(iter(self._blobs)))
            self._blobs[blob.id] = (blob, data)
            self._bytes += blob.bytes
        return blob

    def _forget(self, blob_id: str) -> None:
        known = self._blobs.pop(blob_id, None)
        if known is not None:
            self._bytes -= known[0].bytes

    async def find(self, blob_id: str) -> Blob | None:
        """See `BlobStore`."""
        with self._lock:
            known = self._blobs.get(blob_id)
        return None if known is None else known[0]

    async def get(self, blob_id: str, offset: int = 0, length: int | None = None) -> bytes:
        """See `BlobStore`."""
        check_range(offset, length)
        with self._lock:
            known = self._blobs.get(blob_id)
        if known is None:
            raise BlobNotFound(blob_id)
        return known[1][offset : None if length is None else offset + length]

    async def remove(self, blob_id: str) -> None:
        """See `BlobStore`."""
        with self._lock:
            self._forget(blob_id)

    async def close(self) -> None:
        """See `BlobStore`."""
