"""Receive memory, in Python: what the compiled module does, whose docstring is the contract.

What differs: a Span owns a copy of its bytes, since Python before 3.12 has no way to lend memory. So nothing
is pinned, `live_objects` has nothing to count, `address` is 0, and a released Span is closed to Python, but
not to C.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, final

from taut.errors import LimitExceeded

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["ReceiveBuffer", "Span", "live_objects"]

MAX_READ_BYTES = 512 << 10
MAX_RESERVE_BYTES = 1 << 30
LINE_END_BYTES = 2  # a line of max_bytes may still wait for its CR LF


def live_objects() -> dict[str, int]:
    """Return zeros: all memory here belongs to the interpreter."""
    return {"slabs": 0, "spans": 0, "bytes": 0}


@final
class Span(bytes):
    """Some received bytes, read-only. Every use after `release` raises ValueError."""

    released = False
    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        self._check()
        return super().__len__()

    def __bytes__(self) -> bytes:
        return self.tobytes()

    def __eq__(self, other: object) -> bool:
        self._check()
        return super().__eq__(other)

    def __repr__(self) -> str:
        return "<Span released>" if self.released else f"<Span of {len(self)} bytes>"

    def tobytes(self) -> bytes:
        """Return a copy."""
        self._check()
        return memoryview(self).tobytes()

    def release(self) -> None:
        """Let go of the memory; twice is fine."""
        self.released = True

    @property
    def address(self) -> int:
        self._check()
        return 0

    def _check(self) -> None:
        if self.released:
            raise ValueError("Span was released")


def copy_of(data: Buffer) -> bytes:
    """Return the bytes of any buffer; of a Span only while it is not released."""
    if isinstance(data, Span):
        return data.tobytes()
    with memoryview(data) as view:
        if not view.c_contiguous:
            raise BufferError("Expected bytes that lie together, got a view with steps")
        return view.tobytes()


@final
class ReceiveBuffer:
    """Owns the bytes received and not yet consumed; takes no more once more than `max_bytes` are unread."""

    def __init__(self, *, initial: int = 65536, max_bytes: int = 64 << 20) -> None:
        if initial < 1 or max_bytes < 1:
            raise ValueError(f"initial and max_bytes must be positive, got {initial} and {max_bytes}")
        self.max_bytes = max_bytes
        self.unread = bytearray()
        self.searched = 0  # unread bytes that are known to hold no 0x0A, for the framer
        self._initial = initial
        self._read_size = initial
        self._room = bytearray()  # what the last reserve() lent out

    def __len__(self) -> int:
        return len(self.unread)

    @property
    def capacity(self) -> int:
        """Bytes of memory held now."""
        return self.unread.__sizeof__() - bytearray().__sizeof__()

    def feed(self, data: Buffer) -> None:
        """Copy the bytes of `data` in."""
        self._check_room()
        self.unread += copy_of(data)

    def reserve(self, size: int = 0) -> memoryview:
        """Return writable memory for at least `size` bytes; `commit` says how many were written."""
        if not 0 <= size <= MAX_RESERVE_BYTES:
            raise ValueError(f"size must be from 0 to {MAX_RESERVE_BYTES}, got {size}")
        self._check_room()
        self._room = bytearray(size or self._read_size)
        return memoryview(self._room)

    def commit(self, count: int) -> None:
        """Take the first `count` bytes that were written into the reserved memory as received."""
        if not 0 <= count <= len(self._room):
            raise ValueError(f"Expected at most the {len(self._room)} bytes that are reserved, got {count}")
        room, self._room = self._room, bytearray()
        self.unread += memoryview(room)[:count]
        self._learn(count)

    def read_fd(self, fd: int) -> int:
        """Read once from `fd`: bytes read, 0 at the end of the file, -1 when it would block; else OSError."""
        self._check_room()
        try:
            data = os.read(fd, self._read_size)
        except BlockingIOError:
            return -1
        self.unread += data
        self._learn(len(data))
        return len(data)

    def take(self, count: int) -> Span:
        """Consume the first `count` unread bytes and return them as a Span."""
        if not 0 <= count <= len(self.unread):
            raise ValueError(f"Expected at most the {len(self.unread)} unread bytes, got {count}")
        with memoryview(self.unread)[:count] as view:
            span = Span(view)
        self.consume(count)
        return span

    def consume(self, count: int) -> None:
        """Drop the first `count` unread bytes."""
        del self.unread[:count]
        self.searched = max(self.searched - count, 0)

    def _check_room(self) -> None:
        self._room = bytearray()
        if len(self.unread) > self.max_bytes + LINE_END_BYTES:
            raise LimitExceeded("max_message_bytes", self.max_bytes)

    def _learn(self, got: int) -> None:
        if got >= self._read_size:
            self._read_size = min(2 * self._read_size, max(MAX_READ_BYTES, self._initial))
        elif got < self._read_size >> 2:
            self._read_size = max(self._read_size >> 1, self._initial)
