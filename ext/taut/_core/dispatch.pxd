"""Requests in flight and their progress."""

cimport cython


@cython.final
cdef class InFlight:
    cdef:
        readonly Py_ssize_t maximum
        dict entries  # id_key -> entry, oldest first
        long long last_id  # the last id that open() gave out


@cython.final
cdef class Progress:
    cdef:
        double reached
        bint started  # `reached` holds a value that was sent
        readonly bint closed
