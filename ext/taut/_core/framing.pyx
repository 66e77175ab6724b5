"""Messages in a byte stream: newline-delimited JSON, and server-sent events (WHATWG HTML, 9.2).

Sans-I/O: bytes go in in pieces of any size, frames come out, and where the pieces end makes no difference to what
comes out. `LineFramer` shows lines in place, in the memory of its ReceiveBuffer; `SSEParser` keeps its own. Both bound what a peer
can make them store, and both survive a frame that is too large: it is reported once and skipped.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp, memcpy

from taut._core.buffer cimport ReceiveBuffer

from taut.errors import LimitExceeded


@cython.final
cdef class LineFramer:
    """Finds lines in `buffer`. A line ends with 0x0A and nothing else; one 0x0D before it is not part of the line.

    Lines of nothing but whitespace are skipped. A line of more than `max_bytes` is refused as soon as that is known, with
    LimitExceeded("max_message_bytes") once; it is dropped to its end without being stored, and the next line follows.
    """

    def __init__(self, ReceiveBuffer buffer not None, *, Py_ssize_t max_bytes):
        if not 1 <= max_bytes <= buffer.max_bytes:
            raise ValueError(f"max_bytes must be from 1 to the buffer's {buffer.max_bytes}, got {max_bytes}")
        self.buffer = buffer
        self.max_bytes = max_bytes

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
            found = <const unsigned char*>memchr(begin + self.searched, 0x0A, <size_t>(end - begin - self.searched))
            if found == NULL:
                if self.dropping:
                    buffer.consume(end - begin)
                    break
                self.searched = end - begin
                # A last 0x0D may turn out to belong to the line end.
                if self.searched - (end[-1] == 0x0D) > self.max_bytes:
                    self.dropping = True
                    buffer.consume(self.searched)
                    self.refuse()
                return 0
            buffer.consume(found + 1 - begin)
            self.searched = 0
            if self.dropping:
                self.dropping = False
                continue
            if found > begin and found[-1] == 0x0D:
                found -= 1
            if found - begin > self.max_bytes:
                self.refuse()
            if is_blank(begin, found):
                continue
            start[0] = begin - buffer.slab.data
            stop[0] = found - buffer.slab.data
            return 1
        self.searched = 0
        buffer.settle()
        return 0

    cdef int refuse(self) except -1:
        self.searched = 0
        self.buffer.settle()
        raise LimitExceeded("max_message_bytes", self.max_bytes)


cdef bint is_blank(const unsigned char* begin, const unsigned char* end) noexcept nogil:
    while begin < end:
        if begin[0] != 0x20 and begin[0] != 0x09 and begin[0] != 0x0D:
            return False
        begin += 1
    return True
