"""The outgoing memory of one connection. The contract is in encode.pyx."""

cimport cython


@cython.final
cdef class Outgoing:
    cdef:
        bytearray memory  # as long as `capacity`, but while msgspec writes; None while there is nothing
        Py_ssize_t capacity
        Py_ssize_t start  # memory[start:ready] are whole messages, not yet written out
        Py_ssize_t ready
        Py_ssize_t mark  # where the message in the making begins: a failure goes back to it
        Py_ssize_t end  # where the next byte goes
        readonly bytes delimiter
        bint one_line  # the delimiter holds 0x0A, so a message must not
        bint batching  # between begin_batch and end_batch
        bint busy  # a message is in the making, or a write is under way without the GIL
        int known_fd  # the descriptor that may_block was asked about
        bint may_block

    cdef int begin(self) except -1
    cdef int finish(self) except -1
    cdef int abandon(self) except -1
    cdef int check_idle(self) except -1
    cdef int make_room(self, Py_ssize_t size) except -1
    cdef int put(self, const char* start, Py_ssize_t size) except -1
    cdef int put_buffer(self, object data) except -1
    cdef int put_number(self, Py_ssize_t number) except -1
    cdef int put_raw_id(self, bytes raw_id) except -1
    cdef int put_object(self, object value) except -1
    cdef int put_members(self, bytes members, object value) except -1
    cdef int put_call(self, str method, object params, bytes members) except -1
    cdef void advance(self, Py_ssize_t count) noexcept
