"""Opaque cursors over a sequence that may grow while a client pages through it.

A cursor says where the page before it ended and marks the item found there, so no server keeps state and
every worker understands every cursor. With a ``key`` (a tool's name, a resource's URI) the page continues
after that very item, wherever additions and removals have moved it: nothing is skipped or sent twice. Without
one, only a sequence that grows at its end is paged exactly.

A cursor that was not made here, was made for another ``kind`` of list, or marks an item that is gone raises
`InvalidParams` (-32602), as the specification asks. The mark is a short hash and no secret: a forged cursor
can only name an item of the same list, which the client may read anyway.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import TypeVar

from taut.errors import ConfigError, InvalidParams

__all__ = ["paginate"]

T = TypeVar("T")

# Offset of the next item, mark of the item before it: 12 bytes, so that base64 needs no padding.
_CURSOR = struct.Struct(">I8s")


def paginate(
    items: Sequence[T],
    cursor: str | None,
    page_size: int,
    *,
    kind: str,
    key: Callable[[T], str] | None = None,
) -> tuple[Sequence[T], str | None]:
    """Return one page of ``items`` and the cursor of the next one (None: this was the last).

    ``cursor`` None asks for the first page. ``kind`` names the list ("tools", or a method); ``key``
    identifies an item.
    """
    if page_size < 1:
        raise ConfigError(f"page_size: expected at least 1, got {page_size}")
    start = 0 if cursor is None else _start(items, cursor, kind, key)
    end = start + page_size
    page = items[start:end]
    if end >= len(items):
        return page, None
    mark = _mark(kind, end, None if key is None else key(items[end - 1]))
    return page, base64.urlsafe_b64encode(_CURSOR.pack(end, mark)).decode()


def _start(items: Sequence[T], cursor: str, kind: str, key: Callable[[T], str] | None) -> int:
    """Return the index at which the page of ``cursor`` begins."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii"))
        offset, mark = _CURSOR.unpack(raw)
        if base64.urlsafe_b64encode(raw).decode() != cursor:  # the decoder skips what it does not know
            raise ValueError(cursor)
    except (ValueError, struct.error):
        raise InvalidParams("Invalid cursor: expected one that this server gave out") from None
    if key is None:
        if 0 < offset <= len(items) and mark == _mark(kind, offset, None):
            return int(offset)
    else:
        # Where it was, if nothing before it has changed; else anywhere.
        near = (offset,) if 0 < offset <= len(items) else ()
        for end in (*near, *range(1, len(items) + 1)):
            if mark == _mark(kind, end, key(items[end - 1])):
                return int(end)
    raise InvalidParams(f"Invalid cursor: it is not of this {kind} list, or the list has changed since")


def _mark(kind: str, end: int, key: str | None) -> bytes:
    """Return the mark of the item before ``end``: by its key, or by its place when items have none."""
    identity = f"#{end}" if key is None else f"={key}"
    return hashlib.blake2b(f"{kind}\0{identity}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
