"""One parsed JSON-RPC message, and what its parser records."""

cimport cython

from taut._core.buffer cimport ReceiveBuffer
from taut._core.framing cimport LineFramer


cdef struct Slice:  # of the frame; stop is 0 when the member is absent
    Py_ssize_t start
    Py_ssize_t stop


cdef struct Fields:
    # members of the message
    Slice version
    Slice id
    Slice method
    Slice params
    Slice result
    Slice error
    # members of params
    Slice name
    Slice uri
    Slice arguments
    Slice meta
    bint extra  # params has others
    Slice whole  # the message without the whitespace around it


cdef struct Limits:
    Py_ssize_t max_depth
    Py_ssize_t max_digits
    Py_ssize_t max_keys
    bint strict


@cython.final
cdef class Envelope:
    cdef:
        object frame  # exactly bytes, or a Span: neither ever changes
        Fields fields
        readonly Py_ssize_t size
        readonly object kind  # a Kind
        readonly str method
        readonly str name

    cdef object raw(self, Slice slice)
    cdef object find_meta(self)


@cython.final
cdef class MessageReader:
    cdef:
        LineFramer framer
        Limits limits

    cdef object next_frame(self)
