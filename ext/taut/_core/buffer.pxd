"""The receive memory, for the framers and the parser. The lifetime rule is in buffer.pyx."""

cimport cython


@cython.final
cdef class Slab:
    cdef:
        unsigned char* data  # owned
        Py_ssize_t capacity
        Py_ssize_t pins  # Spans and reservations alive; above 0 nothing of it moves or is overwritten

    cdef int resize(self, Py_ssize_t capacity) except -1
    cdef void pin(self) noexcept
    cdef void unpin(self) noexcept
    cdef bint pinned(self) noexcept


@cython.final
cdef class Span:
    cdef:
        Slab slab  # None once released
        const unsigned char* pointer
        Py_ssize_t length
        Py_ssize_t exports  # buffers handed out and not yet given back

    cdef int check(self) except -1
    # A span of the bytes from `start` to `stop` of this one; it lives on its own.
    cdef Span piece(self, Py_ssize_t start, Py_ssize_t stop)


@cython.final
cdef class ReceiveBuffer:
    cdef:
        Slab slab  # None while nothing is stored
        Py_ssize_t start  # unread bytes are slab.data[start:stop]
        Py_ssize_t stop
        Py_ssize_t searched  # unread bytes that are known to hold no 0x0A, for the framer
        Py_ssize_t reserved  # what the last reserve() promised and commit() has not taken
        Py_ssize_t read_size  # room for the next read: doubles when one fills it
        Py_ssize_t initial
        readonly Py_ssize_t max_bytes
        int known_fd  # the descriptor that may_block was asked about
        bint may_block

    # Offsets are into slab.data. They and pointers into it hold until the next make_room() or settle().
    cdef Span span(self, Py_ssize_t start, Py_ssize_t stop)
    cdef void consume(self, Py_ssize_t count) noexcept
    cdef void settle(self) noexcept
    cdef int make_room(self, Py_ssize_t size) except -1
    cdef void learn(self, Py_ssize_t got, Py_ssize_t room) noexcept
