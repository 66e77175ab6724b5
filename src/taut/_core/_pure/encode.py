"""Outgoing JSON-RPC messages, in Python: what the compiled module does, whose docstring is the contract."""

from __future__ import annotations

import os
from operator import index
from typing import TYPE_CHECKING, final

from msgspec import UNSET
from msgspec.json import Encoder

from taut._core._pure.buffer import copy_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Outgoing"]

HEAD = b'{"jsonrpc":"2.0",'
ENCODER = Encoder()
WHITE_SPACE = b" \t\r\n"


@final
class Outgoing:
    """The unwritten messages of one connection, each followed by `delimiter`. `len()` counts their bytes."""

    def __init__(self, *, delimiter: bytes = b"\n") -> None:
        self.delimiter = delimiter
        self._ready = bytearray()  # whole messages
        self._batch: bytearray | None = None  # the messages of an open batch
        self._busy = False

    def __len__(self) -> int:
        return len(self._ready)

    def result(self, raw_id: bytes, result: object, *, members: bytes = b"") -> None:
        """Append the answer `result` to the request with the id `raw_id` (JSON text).

        `members`: encoded members (`"a":1,"b":2`) that are put before those of `result`, an object then.
        """
        text = self._with_members(members, result)
        self._add(HEAD, b'"id":', check_id(raw_id), b',"result":', text, b"}")

    def result_raw(self, raw_id: bytes, raw: Buffer) -> None:
        """Append an answer whose result is JSON already."""
        self._add(HEAD, b'"id":', check_id(raw_id), b',"result":', check_text(raw), b"}")

    def error(
        self, raw_id: bytes | None, code: int, message: str, data: object = UNSET, *, null_id: bool = False
    ) -> None:
        """Append an error answer. Without `raw_id` it has no id, or the id null when `null_id`."""
        parts = [HEAD]
        if raw_id is not None:
            parts += (b'"id":', check_id(raw_id), b",")
        elif null_id:
            parts.append(b'"id":null,')
        parts += (b'"error":{"code":%d,"message":' % index(code), self._encode(message))
        if data is not UNSET:
            parts += (b',"data":', self._encode(data))
        self._add(*parts, b"}}")

    def request(self, id: int, method: str, params: object = UNSET, *, members: bytes = b"") -> None:
        """Append a request; `members` as for `result`, put before those of `params`."""
        self._add(HEAD, b'"id":%d,' % index(id), *self._call(method, params, members))

    def notification(self, method: str, params: object = UNSET) -> None:
        """Append a notification."""
        self._add(HEAD, *self._call(method, params, b""))

    def append(self, message: Buffer) -> None:
        """Append a whole message that is encoded already."""
        self._add(check_text(message))

    def begin_batch(self) -> None:
        """Collect the messages that follow into one JSON array, until `end_batch` (revision 2025-03-26)."""
        self._check_idle()
        if self._batch is not None:
            raise RuntimeError("A batch is open already")
        self._batch = bytearray()

    def end_batch(self) -> None:
        """Complete the batch; one without messages leaves nothing."""
        self._check_idle()
        if self._batch is None:
            raise RuntimeError("No batch is open")
        batch, self._batch = self._batch, None
        if batch:
            self._add(batch, b"]")

    def take(self) -> bytes:
        """Return all unwritten bytes, and forget them."""
        self._check_idle()
        data = bytes(self._ready)
        self._ready.clear()
        return data

    def write_fd(self, fd: int) -> int:
        """Write once to `fd`, all if it takes it: bytes written, 0 when it would block; else OSError."""
        self._check_idle()
        if not self._ready:
            return 0
        self._busy = True
        try:
            written = os.write(fd, self._ready)
        except BlockingIOError:
            return 0
        finally:
            self._busy = False
        del self._ready[:written]
        return written

    def _add(self, *parts: bytes | bytearray) -> None:
        self._check_idle()
        message = b"".join(parts)
        if b"\n" in self.delimiter:
            message = message.replace(b"\n", b" ")
        if self._batch is not None:
            self._batch += b"," if self._batch else b"["
            self._batch += message
        else:
            self._ready += message
            self._ready += self.delimiter

    def _encode(self, value: object) -> bytes:
        self._check_idle()
        self._busy = True
        try:
            text = ENCODER.encode(value)
        finally:
            self._busy = False
        if not text:
            raise ValueError(f"Expected a JSON value, got an empty {type(value).__name__}")
        return text

    def _with_members(self, members: bytes, value: object) -> bytes:
        text = self._encode(value)
        if not members:
            return text
        before, brace, inside = text.partition(b"{")
        if not brace or before.strip(WHITE_SPACE):
            raise TypeError(f"Expected a value that encodes to a JSON object, got {type(value).__name__}")
        comma = b" " if inside.lstrip(WHITE_SPACE).startswith(b"}") else b","
        return b"{" + members + before + comma + inside

    def _call(self, method: str, params: object, members: bytes) -> list[bytes]:
        parts = [b'"method":', self._encode(method)]
        if params is UNSET and members:
            parts += (b',"params":{', members, b"}")
        elif params is not UNSET:
            text = self._with_members(members, params)
            if not text.lstrip(WHITE_SPACE).startswith(b"{"):
                raise TypeError(f"Expected params that encode to a JSON object, got {type(params).__name__}")
            parts += (b',"params":', text)
        return [*parts, b"}"]

    def _check_idle(self) -> None:
        if self._busy:
            raise RuntimeError("Outgoing is in use: by another thread, or by the encoding that called back")


def check_id(raw_id: bytes) -> bytes:
    if not raw_id:
        raise ValueError("Expected an id as JSON text, got b''")
    return raw_id


def check_text(data: Buffer) -> bytes:
    text = copy_of(data)
    if not text:
        raise ValueError("Expected JSON text, got an empty buffer")
    return text
