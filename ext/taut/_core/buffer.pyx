"""Receive memory that is filled once and read in place.

Bytes go in (`ReceiveBuffer.feed`, `reserve`/`commit`, `read_fd`), a framer finds messages, and `Span` objects
show pieces of the same memory to Python without copying.

The lifetime rule, in one place: memory belongs to a *slab*. A Span holds a reference to its slab and pins it.
While a slab is pinned none of its received bytes is moved, overwritten or freed; new bytes go behind them, or
into a new slab to which only the unread tail is copied. A Span therefore stays right for as long as it lives,
also after its ReceiveBuffer is gone, and costs the whole slab until it is released. Without pins the slab is
reused, grown by `realloc` (which moves pages instead of copying when blocks are large) and given back after a
large message.

Raw pointers and offsets (the cdef interface) carry no pin: they hold until the next `make_room` or `settle`.

A ReceiveBuffer serves one connection and is not meant for several threads at once; if it happens, calls fail
or mix bytes up, but no freed memory is touched. Spans may be released in any thread.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.memoryview cimport PyMemoryView_FromObject
from libc.errno cimport EINTR, errno
from libc.stdint cimport uintptr_t
from libc.string cimport memcmp, memcpy, memmove

from os import strerror

from taut.errors import LimitExceeded

__all__ = ["ReceiveBuffer", "Span", "live_objects"]


cdef extern from "platform.h" nogil:
    Py_ssize_t taut_read(int fd, void* data, Py_ssize_t size)
    bint taut_may_block(int fd)
    bint taut_would_block(int error)
    Py_ssize_t taut_add(Py_ssize_t* counter, Py_ssize_t amount)
    Py_ssize_t taut_load(Py_ssize_t* counter)


cdef enum:
    RETAIN_BYTES = 4 << 20  # a slab above this is given back once its large message is consumed
    MAX_READ_BYTES = 512 << 10  # with an unread tail this still fits into a slab that is retained
    NOGIL_BYTES = 256 << 10  # from here a transfer takes tens of microseconds: let other threads run
    MAX_RESERVE_BYTES = 1 << 30  # keeps size arithmetic far from overflow
    LINE_END_BYTES = 2  # a line of max_bytes may still wait for its CR LF

cdef Py_ssize_t live_slabs = 0
cdef Py_ssize_t live_spans = 0
cdef Py_ssize_t live_bytes = 0


def live_objects():
    """Return how many slabs and spans are alive in this process, and the bytes that the slabs hold."""
    return {
        "slabs": taut_load(&live_slabs),
        "spans": taut_load(&live_spans),
        "bytes": taut_load(&live_bytes),
    }


@cython.final
cdef class Slab:
    def __dealloc__(self):
        if self.data != NULL:
            PyMem_RawFree(self.data)
            taut_add(&live_slabs, -1)
            taut_add(&live_bytes, -self.capacity)

    cdef int resize(self, Py_ssize_t capacity) except -1:
        cdef unsigned char* data = <unsigned char*>PyMem_RawRealloc(self.data, <size_t>capacity)
        if data == NULL:
            raise MemoryError(f"Cannot grow the receive buffer to {capacity} bytes")
        taut_add(&live_bytes, capacity - self.capacity)
        self.data = data
        self.capacity = capacity
        return 0

    cdef void pin(self) noexcept:
        taut_add(&self.pins, 1)

    cdef void unpin(self) noexcept:
        taut_add(&self.pins, -1)

    cdef bint pinned(self) noexcept:
        return taut_load(&self.pins) > 0


cdef Slab new_slab(Py_ssize_t capacity):
    cdef Slab slab = Slab.__new__(Slab)
    slab.data = <unsigned char*>PyMem_RawMalloc(<size_t>capacity)
    if slab.data == NULL:
        raise MemoryError(f"Cannot allocate {capacity} bytes for the receive buffer")
    slab.capacity = capacity
    taut_add(&live_slabs, 1)
    taut_add(&live_bytes, capacity)
    return slab


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Span:
    """Some received bytes, in place: read-only, `bytes(span)` copies them, `memoryview(span)` does not.

    Keeps the memory that it lies in alive; `release` lets go of it early. Compares equal to any bytes-like
    object with the same bytes. Every use after `release` raises ValueError.
    """

    def __init__(self):
        raise TypeError("A Span is made by a ReceiveBuffer or a framer, not directly")

    def __dealloc__(self):
        if self.slab is not None:
            self.slab.unpin()
            taut_add(&live_spans, -1)

    cdef int check(self) except -1:
        if self.slab is None:
            raise ValueError("Span was released")
        return 0

    cdef Span piece(self, Py_ssize_t start, Py_ssize_t stop):
        cdef Span span
        with cython.critical_section(self):
            self.check()
            if not 0 <= start <= stop <= self.length:
                raise IndexError(f"Expected a piece of {self.length} bytes, got {start} to {stop}")
            span = Span.__new__(Span)
            span.slab = self.slab
            span.slab.pin()
            span.pointer = self.pointer + start
            span.length = stop - start
            taut_add(&live_spans, 1)
        return span

    def __getbuffer__(self, Py_buffer* view, int flags):
        with cython.critical_section(self):
            self.check()
            PyBuffer_FillInfo(view, self, <void*>self.pointer, self.length, 1, flags)
            taut_add(&self.exports, 1)

    def __releasebuffer__(self, Py_buffer* view):
        taut_add(&self.exports, -1)

    def __len__(self):
        self.check()
        return self.length

    def __bytes__(self):
        return self.tobytes()

    def __eq__(self, other):
        cdef Py_buffer view
        cdef bint equal
        self.check()
        try:
            PyObject_GetBuffer(other, &view, PyBUF_SIMPLE)
        except TypeError:  # not bytes-like
            return NotImplemented
        with cython.critical_section(self):
            equal = view.len == self.length and (
                view.len == 0 or memcmp(view.buf, self.pointer, <size_t>view.len) == 0
            )
        PyBuffer_Release(&view)
        return equal

    def __repr__(self):
        if self.slab is None:
            return "<Span released>"
        return f"<Span of {self.length} bytes>"

    @cython.critical_section
    def tobytes(self):
        """Return a copy."""
        self.check()
        return PyBytes_FromStringAndSize(<const char*>self.pointer, self.length)

    @cython.critical_section
    def release(self):
        """Let go of the memory now. BufferError while a memoryview of it is alive; twice is fine."""
        if taut_load(&self.exports) > 0:
            raise BufferError(f"Span cannot be released: {self.exports} exported buffers are alive")
        if self.slab is None:
            return
        self.slab.unpin()
        taut_add(&live_spans, -1)
        self.slab = None
        self.pointer = NULL
        self.length = 0

    @property
    def released(self):
        return self.slab is None

    @property
    def address(self):
        """Where the first byte lies: shows, in tests, that nothing was copied."""
        self.check()
        return <uintptr_t>self.pointer


@cython.final
@cython.internal
@cython.no_gc
cdef class Room:
    """The writable end of a slab, lent out by `ReceiveBuffer.reserve`."""

    cdef:
        Slab slab
        unsigned char* pointer
        Py_ssize_t length

    def __dealloc__(self):
        if self.slab is not None:
            self.slab.unpin()

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.pointer, self.length, 0, flags)


@cython.final
@cython.no_gc
cdef class ReceiveBuffer:
    """Owns the bytes received and not yet consumed. The module docstring says who owns what, and until when.

    Holds no memory before the first byte. Once more than `max_bytes` are unread it takes no more:
    LimitExceeded("max_message_bytes"). So memory is bounded by `max_bytes` and one read.
    """

    def __cinit__(self, *, Py_ssize_t initial=65536, Py_ssize_t max_bytes=64 << 20):
        if initial < 1 or max_bytes < 1:
            raise ValueError(f"initial and max_bytes must be positive, got {initial} and {max_bytes}")
        self.initial = initial
        self.read_size = initial
        self.max_bytes = max_bytes
        self.known_fd = -1

    def __len__(self):
        return self.stop - self.start

    @property
    def capacity(self):
        """Bytes of memory held now."""
        return 0 if self.slab is None else self.slab.capacity

    @cython.critical_section
    def feed(self, data):
        """Copy the bytes of `data` in."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.make_room(view.len)
            if view.len > 0:
                # memmove, since `data` may be a view of this very memory.
                memmove(self.slab.data + self.stop, view.buf, <size_t>view.len)
            self.stop += view.len
        finally:
            PyBuffer_Release(&view)

    @cython.critical_section
    def reserve(self, Py_ssize_t size=0):
        """Return writable memory for at least `size` bytes; `commit` says how many were written.

        The view is valid until then: a feed, a read or another reserve ends the reservation.
        """
        cdef Room room
        if not 0 <= size <= MAX_RESERVE_BYTES:
            raise ValueError(f"size must be from 0 to {MAX_RESERVE_BYTES}, got {size}")
        self.make_room(size if size > 0 else self.read_size)
        room = Room.__new__(Room)
        room.slab = self.slab
        room.slab.pin()
        room.pointer = self.slab.data + self.stop
        room.length = self.reserved = self.slab.capacity - self.stop
        return PyMemoryView_FromObject(room)

    @cython.critical_section
    def commit(self, Py_ssize_t count):
        """Take the first `count` bytes that were written into the reserved memory as received."""
        if not 0 <= count <= self.reserved:
            raise ValueError(f"Expected at most the {self.reserved} bytes that are reserved, got {count}")
        self.stop += count
        self.learn(count, self.reserved)
        self.reserved = 0

    @cython.critical_section
    def read_fd(self, int fd):
        """Read once from `fd`: bytes read, 0 at the end of the file, -1 when it would block; else OSError.

        The GIL is kept for small reads of a non-blocking descriptor. They take a microsecond; releasing it
        adds 30 ns when nobody wants it, and 500 us (measured, at most a switch interval of 5 ms) when another
        thread computes.
        """
        cdef Slab slab
        cdef Py_ssize_t room, stop, got
        cdef int error
        self.make_room(self.read_size)
        slab = self.slab
        stop = self.stop
        room = slab.capacity - stop
        if fd != self.known_fd:
            self.may_block = taut_may_block(fd)
            self.known_fd = fd
        while True:
            if self.may_block or room >= NOGIL_BYTES:
                slab.pin()
                with nogil:
                    got = taut_read(fd, slab.data + stop, room)
                    error = errno
                slab.unpin()
                if self.slab is not slab or self.stop != stop:
                    raise RuntimeError("ReceiveBuffer was used by another thread during read_fd")
            else:
                got = taut_read(fd, slab.data + stop, room)
                error = errno
            if got >= 0:
                self.stop += got
                self.learn(got, room)
                return got
            if taut_would_block(error):
                return -1
            if error != EINTR:
                raise OSError(error, strerror(error))
            PyErr_CheckSignals()

    @cython.critical_section
    def take(self, Py_ssize_t count):
        """Consume the first `count` unread bytes and return them as a Span, without copying."""
        cdef Span span
        if not 0 <= count <= self.stop - self.start:
            raise ValueError(f"Expected at most the {self.stop - self.start} unread bytes, got {count}")
        if self.slab is None:
            self.make_room(1)
        span = self.span(self.start, self.start + count)
        self.consume(count)
        self.settle()
        return span

    cdef Span span(self, Py_ssize_t start, Py_ssize_t stop):
        cdef Span span = Span.__new__(Span)
        span.slab = self.slab
        span.slab.pin()
        span.pointer = self.slab.data + start
        span.length = stop - start
        taut_add(&live_spans, 1)
        return span

    cdef void consume(self, Py_ssize_t count) noexcept:
        self.start += count
        self.searched = max(self.searched - count, 0)

    cdef void settle(self) noexcept:
        """Nothing below `start` is needed: reuse the memory, or give it back if it has become too much."""
        cdef Py_ssize_t unread = self.stop - self.start
        if self.slab is None or unread > 0:
            return
        if self.slab.capacity > max(RETAIN_BYTES, self.initial):
            self.slab = None
            self.start = self.stop = self.reserved = 0
        elif not self.slab.pinned():
            self.start = self.stop = self.reserved = 0

    cdef int make_room(self, Py_ssize_t size) except -1:
        """See to it that `size` bytes fit behind `stop`; ends a reservation."""
        cdef Py_ssize_t unread = self.stop - self.start
        cdef Py_ssize_t needed = unread + size
        cdef Slab slab = self.slab
        self.reserved = 0
        if unread > self.max_bytes + LINE_END_BYTES:
            raise LimitExceeded("max_message_bytes", self.max_bytes)
        if slab is None:
            self.slab = new_slab(max(self.initial, size))
            return 0
        if slab.pinned() or (slab.capacity > max(RETAIN_BYTES, self.initial) and needed <= RETAIN_BYTES >> 1):
            if slab.pinned() and slab.capacity - self.stop >= size:
                return 0
            self.slab = new_slab(max(self.initial, needed))
            memcpy(self.slab.data, slab.data + self.start, <size_t>unread)
        else:
            # Moving the tail pays when at least as much is won; otherwise growing is cheaper over time.
            if unread == 0 or (slab.capacity - self.stop < size and unread <= self.start):
                memmove(slab.data, slab.data + self.start, <size_t>unread)
                self.start = 0
                self.stop = unread
            if slab.capacity - self.stop >= size:
                return 0
            if self.start > 0:
                memmove(slab.data, slab.data + self.start, <size_t>unread)
            slab.resize(max(needed, 2 * slab.capacity))
        self.start = 0
        self.stop = unread
        return 0

    cdef void learn(self, Py_ssize_t got, Py_ssize_t room) noexcept:
        if got == room:
            self.read_size = min(2 * self.read_size, max(MAX_READ_BYTES, self.initial))
        elif got < self.read_size >> 2:
            self.read_size = max(self.read_size >> 1, self.initial)
