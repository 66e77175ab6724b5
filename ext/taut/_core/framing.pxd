"""Frames found in a receive buffer, for the message reader."""

cimport cython

from taut._core.buffer cimport ReceiveBuffer


@cython.final
cdef class LineFramer:
    cdef:
        readonly ReceiveBuffer buffer
        readonly Py_ssize_t max_bytes
        bint dropping  # inside a line that was refused
        bytes head  # how the line began that was refused last

    # 1 and the bounds of the next line (offsets into buffer.slab.data, already consumed), or 0 when there is
    # none; raises LimitExceeded. The bounds hold until the next call that returns 0 or raises, or until more is
    # received.
    cdef int next_bounds(self, Py_ssize_t* start, Py_ssize_t* stop) except -1
    cdef int refuse(self, const unsigned char* begin, Py_ssize_t size) except -1


cdef struct Bytes:  # a growable array
    unsigned char* data
    Py_ssize_t size
    Py_ssize_t capacity


@cython.final
cdef class SSEParser:
    cdef:
        readonly Py_ssize_t max_bytes
        readonly object last_event_id  # None until the stream sets one
        readonly object retry  # None until the stream sets one
        Bytes line  # start of a line whose end has not come
        Bytes data  # data lines of this event, each followed by 0x0A
        object event_type, event_id, event_retry  # of this event; event_id outlives it, as the standard says
        list events  # not yet returned
        object earlier  # what is due before them, if there were refusals: a deque of those, and of lists of events
        int bom_matched  # bytes of a leading byte order mark; 3 when that is decided
        bint after_cr  # a 0x0A that comes next belongs to the line end before it
        bint in_data  # the open line is a data line: what follows goes straight to `data`
        bint in_skipped  # the open line is not wanted
        bint dropping  # inside an event that was refused

    cdef int parse(self, const unsigned char* start, const unsigned char* end) except -1
    cdef int open_line(self, const unsigned char* start, Py_ssize_t size) except -1
    cdef int close_line(self, const unsigned char* start, Py_ssize_t size) except -1
    cdef int field(self, const unsigned char* start, Py_ssize_t size) except -1
    cdef int dispatch(self) except -1
    cdef int refuse(self) except -1
    cdef list due(self)
