"""Frames found in a receive buffer, for the message reader."""

cimport cython

from taut._core.buffer cimport ReceiveBuffer


@cython.final
cdef class LineFramer:
    cdef:
        readonly ReceiveBuffer buffer
        readonly Py_ssize_t max_bytes
        Py_ssize_t searched  # unread bytes that are known to hold no 0x0A
        bint dropping  # inside a line that was refused

    # 1 and the bounds of the next line (offsets into buffer.slab.data, already consumed), or 0 when there is none;
    # raises LimitExceeded. The bounds hold until the call that returns 0, or the next read into the buffer.
    cdef int next_bounds(self, Py_ssize_t* start, Py_ssize_t* stop) except -1
    cdef int refuse(self) except -1
