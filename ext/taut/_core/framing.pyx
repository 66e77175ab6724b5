"""Messages in a byte stream: newline-delimited JSON, and server-sent events (WHATWG HTML, 9.2).

Sans-I/O: bytes go in in pieces of any size, frames come out, and where the pieces end makes no difference to
what comes out. `LineFramer` shows lines in place, in the memory of its ReceiveBuffer; `SSEParser` keeps its
own. Both bound what a peer can make them store, and both survive a frame that is too large: it is reported
once and skipped.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp, memcpy

from taut._core.buffer cimport ReceiveBuffer

from collections import deque

from taut._core._common import EXCERPT_BYTES as PY_EXCERPT_BYTES
from taut.errors import LimitExceeded

__all__ = ["SSE_KEEPALIVE", "LineFramer", "SSEEvent", "SSEParser", "encode_sse"]

cdef Py_ssize_t EXCERPT_BYTES = PY_EXCERPT_BYTES


@cython.final
cdef class LineFramer:
    """Finds lines in `buffer`. Only 0x0A ends a line; one 0x0D before it is not part of the line.

    Lines of nothing but whitespace are skipped. A line of more than `max_bytes` is refused as soon as that is
    known, with LimitExceeded("max_message_bytes") once; it is dropped to its end without being stored, and
    the next line follows.
    """

    def __cinit__(self, ReceiveBuffer buffer not None, *, Py_ssize_t max_bytes):
        if not 1 <= max_bytes <= buffer.max_bytes:
            raise ValueError(f"max_bytes must be from 1 to the buffer's {buffer.max_bytes}, got {max_bytes}")
        self.buffer = buffer
        self.max_bytes = max_bytes
        self.head = b""

    def next(self):
        """Return the next line as a Span, without copying, or None when no line is complete."""
        cdef Py_ssize_t start = 0, stop = 0
        with cython.critical_section(self.buffer):
            if self.next_bounds(&start, &stop):
                return self.buffer.span(start, stop)
        return None

    cdef int next_bounds(self, Py_ssize_t* start, Py_ssize_t* stop) except -1:
        cdef ReceiveBuffer buffer = self.buffer
        cdef const unsigned char* begin
        cdef const unsigned char* end
        cdef const unsigned char* found
        while buffer.start < buffer.stop:
            begin = buffer.slab.data + buffer.start
            end = buffer.slab.data + buffer.stop
            found = begin + buffer.searched
            found = <const unsigned char*>memchr(found, 0x0A, <size_t>(end - found))
            if found == NULL:
                if self.dropping:
                    buffer.consume(end - begin)
                    break
                buffer.searched = end - begin
                # A last 0x0D may turn out to belong to the line end.
                if buffer.searched - ((end - 1)[0] == 0x0D) > self.max_bytes:
                    self.dropping = True
                    buffer.consume(buffer.searched)
                    self.refuse(begin, end - begin)
                return 0
            buffer.consume(found + 1 - begin)
            if self.dropping:
                self.dropping = False
                continue
            if found > begin and (found - 1)[0] == 0x0D:
                found -= 1
            if found - begin > self.max_bytes:
                self.refuse(begin, found - begin)
            if is_blank(begin, found):
                continue
            start[0] = begin - buffer.slab.data
            stop[0] = found - buffer.slab.data
            return 1
        buffer.settle()
        return 0

    cdef int refuse(self, const unsigned char* begin, Py_ssize_t size) except -1:
        # Not more than is there wherever the pieces end.
        size = min(size, self.max_bytes, EXCERPT_BYTES)
        self.head = PyBytes_FromStringAndSize(<const char*>begin, size)
        self.buffer.settle()
        raise LimitExceeded("max_message_bytes", self.max_bytes)


cdef bint is_blank(const unsigned char* begin, const unsigned char* end) noexcept nogil:
    while begin < end:
        if begin[0] != 0x20 and begin[0] != 0x09 and begin[0] != 0x0D:
            return False
        begin += 1
    return True


SSE_KEEPALIVE = b": keep-alive\n\n"

cdef const unsigned char* BOM = b"\xef\xbb\xbf"

cdef enum:
    DATA_PREFIX = 6  # "data: ": from here on it is known whether a line is data, and where its value starts
    RETAIN_BYTES = 1 << 20


@cython.final
@cython.freelist(16)
cdef class SSEEvent:
    """One server-sent event. `id` is the last one of the stream, `retry` (ms) came with this very event."""

    cdef:
        readonly str event
        readonly bytes data
        readonly object id
        readonly object retry

    __match_args__ = ("event", "data", "id", "retry")

    def __init__(self, str event not None, bytes data not None, id=None, retry=None):
        self.event = event
        self.data = data
        self.id = id
        self.retry = retry

    def __eq__(self, other):
        if not isinstance(other, SSEEvent):
            return NotImplemented
        return self.as_tuple() == (<SSEEvent>other).as_tuple()

    def __hash__(self):
        return hash(self.as_tuple())

    def __repr__(self):
        return f"SSEEvent(event={self.event!r}, data={self.data!r}, id={self.id!r}, retry={self.retry!r})"

    cdef tuple as_tuple(self):
        return (self.event, self.data, self.id, self.retry)


@cython.final
@cython.no_gc
cdef class SSEParser:
    """Parses an event stream by the HTML standard: CR, LF or CRLF, comments, `id`, `retry`, a leading BOM.

    Two differences: data stays bytes (the JSON parser judges its UTF-8), and an event whose data, or any
    other line, is over `max_bytes` is refused with LimitExceeded("max_message_bytes") and skipped to its
    blank line.
    """

    def __cinit__(self, *, Py_ssize_t max_bytes):
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be positive, got {max_bytes}")
        self.max_bytes = max_bytes
        self.events = []

    def __dealloc__(self):
        PyMem_RawFree(self.line.data)
        PyMem_RawFree(self.data.data)

    @cython.critical_section
    def feed(self, data):
        """Take the next bytes and return the events that are complete.

        Events that were complete before an oversized one are returned first; the next call (`feed(b"")` will
        do) raises.
        """
        cdef Py_buffer view
        cdef const unsigned char* start
        cdef const unsigned char* end
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            start = <const unsigned char*>view.buf
            end = start + view.len
            while self.bom_matched < 3 and start < end:
                if start[0] != BOM[self.bom_matched]:
                    if self.bom_matched > 0:
                        self.parse(BOM, BOM + self.bom_matched)
                    self.bom_matched = 3
                    break
                self.bom_matched += 1
                start += 1
            if start < end:
                self.parse(start, end)
        finally:
            PyBuffer_Release(&view)
        return self.due()

    cdef list due(self):
        cdef list events = self.events
        if self.earlier is None:
            self.events = []
            return events
        outcome = self.earlier.popleft()
        if not self.earlier:
            self.earlier = None
        if type(outcome) is list:
            return outcome
        raise outcome

    cdef int parse(self, const unsigned char* start, const unsigned char* end) except -1:
        cdef const unsigned char* feed = NULL  # next 0x0A, or `end`; kept, so that lone 0x0D cost no rescans
        cdef const unsigned char* stop
        if self.after_cr:
            self.after_cr = False
            if start[0] == 0x0A:
                start += 1
        while start < end:
            if feed < start:
                feed = <const unsigned char*>memchr(start, 0x0A, <size_t>(end - start))
                if feed == NULL:
                    feed = end
            stop = <const unsigned char*>memchr(start, 0x0D, <size_t>(feed - start))
            if stop == NULL:
                stop = feed
            if stop == end:
                self.open_line(start, end - start)
                return 0
            self.close_line(start, stop - start)
            if stop[0] == 0x0D:
                if stop + 1 == end:
                    self.after_cr = True
                elif stop[1] == 0x0A:
                    stop += 1
            start = stop + 1
        return 0

    cdef int open_line(self, const unsigned char* start, Py_ssize_t size) except -1:
        """Take a piece of a line, not empty, whose end is still to come."""
        cdef Py_ssize_t head
        if self.in_skipped:
            return 0
        if self.dropping:
            self.in_skipped = True
            return 0
        if not self.in_data:
            head = min(max(DATA_PREFIX - self.line.size, 0), size)
            append(&self.line, start, head)
            start += head
            size -= head
            if self.line.data[0] == 0x3A:  # a comment
                self.in_skipped = True
                self.line.size = 0
                return 0
            if self.line.size == DATA_PREFIX and memcmp(self.line.data, b"data:", 5) == 0:
                self.in_data = True
                if self.line.data[5] != 0x20:
                    append(&self.data, self.line.data + 5, 1)
                self.line.size = 0
        append(&self.data if self.in_data else &self.line, start, size)
        # Of the data only while it grows: another line may follow data that is as large as may be.
        if self.data.size > self.max_bytes if self.in_data else self.line.size > max(self.max_bytes, DATA_PREFIX):
            self.refuse()
            self.in_skipped = True
        return 0

    cdef int close_line(self, const unsigned char* start, Py_ssize_t size) except -1:
        """Take the rest of a line, without its end."""
        if self.in_skipped:
            self.in_skipped = False
        elif self.dropping:
            self.dropping = size > 0
        elif self.in_data:
            self.in_data = False
            append(&self.data, start, size)
            if self.data.size > self.max_bytes:
                self.refuse()
            else:
                append(&self.data, b"\n", 1)
        elif self.line.size > 0:
            append(&self.line, start, size)
            size = self.line.size
            self.line.size = 0
            self.field(self.line.data, size)
        elif size > 0:
            self.field(start, size)
        else:
            self.dispatch()
        return 0

    cdef int field(self, const unsigned char* start, Py_ssize_t size) except -1:
        cdef const unsigned char* value = <const unsigned char*>memchr(start, 0x3A, <size_t>size)
        cdef const unsigned char* end = start + size
        cdef Py_ssize_t name = size if value == NULL else value - start
        if name == 0:  # a comment
            return 0
        value = end if value == NULL else value + 1
        if value < end and value[0] == 0x20:
            value += 1
        if name == 4 and memcmp(start, b"data", 4) == 0:
            if self.data.size + (end - value) > self.max_bytes:
                return self.refuse()
            append(&self.data, value, end - value)
            append(&self.data, b"\n", 1)
        elif size > self.max_bytes:
            self.refuse()
        elif name == 5 and memcmp(start, b"event", 5) == 0:
            self.event_type = decode(value, end - value)
        elif name == 2 and memcmp(start, b"id", 2) == 0:
            if memchr(value, 0, <size_t>(end - value)) == NULL:
                self.event_id = decode(value, end - value)
        elif name == 5 and memcmp(start, b"retry", 5) == 0:
            if is_digits(value, end):
                self.retry = self.event_retry = int(value[:end - value])
        return 0

    cdef int dispatch(self) except -1:
        """A blank line: the event is complete. One without any data line is none, though its id counts."""
        cdef SSEEvent event
        self.last_event_id = self.event_id
        if self.data.size > 0:
            event = SSEEvent.__new__(SSEEvent)
            event.event = self.event_type or "message"
            event.data = PyBytes_FromStringAndSize(<const char*>self.data.data, self.data.size - 1)
            event.id = self.event_id
            event.retry = self.event_retry
            self.events.append(event)
        clear(&self.data)
        clear(&self.line)
        self.event_type = self.event_retry = None
        return 0

    cdef int refuse(self) except -1:
        clear(&self.data)
        clear(&self.line)
        self.event_type = self.event_retry = None
        self.in_data = False
        self.dropping = True
        if self.earlier is None:
            self.earlier = deque()
        if self.events:
            self.earlier.append(self.events)
            self.events = []
        self.earlier.append(LimitExceeded("max_message_bytes", self.max_bytes))
        return 0


cdef int append(Bytes* target, const unsigned char* start, Py_ssize_t size) except -1:
    cdef Py_ssize_t needed = target.size + size
    cdef unsigned char* data
    if size == 0:
        return 0
    if needed > target.capacity:
        needed = max(needed, 2 * target.capacity, 256)
        data = <unsigned char*>PyMem_RawRealloc(target.data, <size_t>needed)
        if data == NULL:
            raise MemoryError(f"Cannot grow the event buffer to {needed} bytes")
        target.data = data
        target.capacity = needed
    memcpy(target.data + target.size, start, <size_t>size)
    target.size += size
    return 0


cdef void clear(Bytes* target) noexcept:
    target.size = 0
    if target.capacity > RETAIN_BYTES:
        PyMem_RawFree(target.data)
        target.data = NULL
        target.capacity = 0


cdef str decode(const unsigned char* start, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char*>start, size, b"replace")


cdef bint is_digits(const unsigned char* start, const unsigned char* end) noexcept nogil:
    # More than 18 digits are no delay that anyone can wait for, and would not fit 64 bits.
    if not 0 < end - start <= 18:
        return False
    while start < end:
        if not 0x30 <= start[0] <= 0x39:
            return False
        start += 1
    return True


def encode_sse(data, *, str event=None, str id=None, retry=None):
    """Return one event for the wire.

    `data` may hold any bytes: its line ends (CR, LF or CRLF) arrive as LF. `event` and `id` are one line
    each, `retry` is in ms.
    """
    cdef Py_buffer view
    cdef bytes head = b""
    cdef bytes wire
    cdef char* out
    if event is not None or id is not None or retry is not None:
        head = encode_fields(event, id, retry)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if view.len > 0 and (
            memchr(view.buf, 0x0A, <size_t>view.len) != NULL
            or memchr(view.buf, 0x0D, <size_t>view.len) != NULL
        ):
            lines = (<char*>view.buf)[:view.len].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            return b"".join([head, *[b"data: %b\n" % line for line in lines], b"\n"])
        wire = PyBytes_FromStringAndSize(NULL, len(head) + DATA_PREFIX + view.len + 2)
        out = PyBytes_AS_STRING(wire)
        memcpy(out, PyBytes_AS_STRING(head), <size_t>len(head))
        out += len(head)
        memcpy(out, b"data: ", DATA_PREFIX)
        out += DATA_PREFIX
        if view.len > 0:
            memcpy(out, view.buf, <size_t>view.len)
        memcpy(out + view.len, b"\n\n", 2)
        return wire
    finally:
        PyBuffer_Release(&view)


cdef bytes encode_fields(str event, str id, retry):
    cdef list fields = []
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
    return "".join(fields).encode()
