"""Messages in a byte stream, in Python: what the compiled module does, whose docstring is the contract."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, final

from taut._core._common import EXCERPT_BYTES
from taut._core._pure.buffer import ReceiveBuffer, Span, copy_of
from taut.errors import LimitExceeded

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["SSE_KEEPALIVE", "LineFramer", "SSEEvent", "SSEParser", "encode_sse"]

SSE_KEEPALIVE: Final = b": keep-alive\n\n"
BOM = b"\xef\xbb\xbf"
DATA_PREFIX = len(b"data: ")  # from here on it is known whether a line is data, and where its value starts
LINE_END = re.compile(rb"[\r\n]")
DIGITS = re.compile(rb"[0-9]{1,18}")


@final
class LineFramer:
    """Finds lines in `buffer`: 0x0A ends one, blank ones are skipped, oversized ones are refused once."""

    def __init__(self, buffer: ReceiveBuffer, *, max_bytes: int) -> None:
        if not 1 <= max_bytes <= buffer.max_bytes:
            raise ValueError(f"max_bytes must be from 1 to the buffer's {buffer.max_bytes}, got {max_bytes}")
        self.buffer = buffer
        self.max_bytes = max_bytes
        self._dropping = False
        #: How the line began that was refused last.
        self.head = b""

    def next(self) -> Span | None:
        """Return the next line, or None when no line is complete."""
        unread = self.buffer.unread
        while unread:
            found = unread.find(b"\n", self.buffer.searched)
            if found < 0:
                self._check_open_line(unread)
                return None
            line = self.buffer.take(found)
            self.buffer.consume(1)
            if self._dropping:
                self._dropping = False
                continue
            if line.endswith(b"\r"):
                line = Span(line[:-1])
            if len(line) > self.max_bytes:
                self._refuse(bytes(line[:EXCERPT_BYTES]))
            if line.strip(b" \t\r"):
                return line
        return None

    def _check_open_line(self, unread: bytearray) -> None:
        if self._dropping:
            self.buffer.consume(len(unread))
        elif len(unread) - unread.endswith(b"\r") > self.max_bytes:
            head = bytes(unread[:EXCERPT_BYTES])
            self.buffer.consume(len(unread))
            self._dropping = True
            self._refuse(head)
        else:
            self.buffer.searched = len(unread)

    def _refuse(self, head: bytes) -> NoReturn:
        self.head = head[: self.max_bytes]  # what is there wherever the pieces end
        raise LimitExceeded("max_message_bytes", self.max_bytes)


@final
@dataclass(frozen=True, slots=True)
class SSEEvent:
    """One server-sent event. `id` is the last one of the stream, `retry` (ms) came with this very event."""

    event: str
    data: bytes
    id: str | None = None
    retry: int | None = None


@final
class SSEParser:
    """Parses an event stream by the HTML standard, with `max_bytes` for data and for any other line."""

    def __init__(self, *, max_bytes: int) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be positive, got {max_bytes}")
        self.max_bytes = max_bytes
        self.last_event_id: str | None = None
        self.retry: int | None = None
        self._line = bytearray()  # start of a line whose end has not come
        self._data = bytearray()  # data lines of this event, each followed by 0x0A
        self._event_type = ""
        self._event_id: str | None = None
        self._event_retry: int | None = None
        self._events: list[SSEEvent] = []
        self._earlier: deque[list[SSEEvent] | LimitExceeded] = deque()  # due before them
        self._bom_matched = 0
        self._after_cr = False
        self._in_data = False
        self._in_skipped = False
        self._dropping = False

    def feed(self, data: Buffer) -> list[SSEEvent]:
        """Take the next bytes and return the events that are complete.

        Events that were complete before an oversized one are returned first; the next call raises.
        """
        chunk = copy_of(data)
        while self._bom_matched < len(BOM) and chunk:
            if chunk[0] != BOM[self._bom_matched]:
                chunk = BOM[: self._bom_matched] + chunk
                self._bom_matched = len(BOM)
                break
            self._bom_matched += 1
            chunk = chunk[1:]
        if chunk:
            self._parse(chunk)
        return self._due()

    def _due(self) -> list[SSEEvent]:
        if not self._earlier:
            events, self._events = self._events, []
            return events
        outcome = self._earlier.popleft()
        if isinstance(outcome, list):
            return outcome
        raise outcome

    def _parse(self, chunk: bytes) -> None:
        start = 1 if self._after_cr and chunk.startswith(b"\n") else 0
        self._after_cr = False
        while start < len(chunk):
            found = LINE_END.search(chunk, start)
            if found is None:
                self._open_line(chunk[start:])
                return
            stop = found.start()
            self._close_line(chunk[start:stop])
            start = stop + 1
            if chunk[stop] == 0x0D:
                if start == len(chunk):
                    self._after_cr = True
                elif chunk[start] == 0x0A:
                    start += 1

    def _open_line(self, piece: bytes) -> None:
        """Take a piece of a line, not empty, whose end is still to come."""
        if self._in_skipped:
            return
        if self._dropping:
            self._in_skipped = True
            return
        if not self._in_data:
            head = max(DATA_PREFIX - len(self._line), 0)
            self._line += piece[:head]
            piece = piece[head:]
            if self._line.startswith(b":"):
                self._in_skipped = True
                self._line.clear()
                return
            if len(self._line) == DATA_PREFIX and self._line.startswith(b"data:"):
                self._in_data = True
                self._data += self._line[5:].removeprefix(b" ")
                self._line.clear()
        if self._in_data:
            self._data += piece
            too_large = len(self._data) > self.max_bytes
        else:
            self._line += piece
            too_large = len(self._line) > max(self.max_bytes, DATA_PREFIX)
        if too_large:
            self._refuse()
            self._in_skipped = True

    def _close_line(self, piece: bytes) -> None:
        """Take the rest of a line, without its end."""
        if self._in_skipped:
            self._in_skipped = False
        elif self._dropping:
            self._dropping = bool(piece)
        elif self._in_data:
            self._in_data = False
            self._data += piece
            if len(self._data) > self.max_bytes:
                self._refuse()
            else:
                self._data += b"\n"
        elif self._line or piece:
            line = bytes(self._line) + piece
            self._line.clear()
            self._field(line)
        else:
            self._dispatch()

    def _field(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if colon and not name:  # a comment
            return
        if name == b"data":
            if len(self._data) + len(value) > self.max_bytes:
                self._refuse()
                return
            self._data += value + b"\n"
        elif len(line) > self.max_bytes:
            self._refuse()
        elif name == b"event":
            self._event_type = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._event_id = value.decode(errors="replace")
        elif name == b"retry" and DIGITS.fullmatch(value):
            self.retry = self._event_retry = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._event_id
        if self._data:
            event = SSEEvent(
                self._event_type or "message", bytes(self._data[:-1]), self._event_id, self._event_retry
            )
            self._events.append(event)
        self._reset()

    def _refuse(self) -> None:
        self._reset()
        self._in_data = False
        self._dropping = True
        if self._events:
            self._earlier.append(self._events)
            self._events = []
        self._earlier.append(LimitExceeded("max_message_bytes", self.max_bytes))

    def _reset(self) -> None:
        self._data.clear()
        self._line.clear()
        self._event_type = ""
        self._event_retry = None


def encode_sse(
    data: Buffer, *, event: str | None = None, id: str | None = None, retry: int | None = None
) -> bytes:
    """Return one event for the wire; the line ends in `data` (CR, LF or CRLF) arrive as LF."""
    fields = []
    for name, value in (("event", event), ("id", id)):
        if value is None:
            continue
        if "\n" in value or "\r" in value or "\0" in value:
            raise ValueError(f"{name} of a server-sent event must be one line without NUL, got {value!r}")
        fields.append(f"{name}: {value}\n")
    if retry is not None:
        if type(retry) is not int or not 0 <= retry < 10**18:
            raise ValueError(f"retry must be a number of milliseconds, got {retry!r}")
        fields.append(f"retry: {retry}\n")
    lines = copy_of(data).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"".join(["".join(fields).encode(), *[b"data: %b\n" % line for line in lines], b"\n"])
