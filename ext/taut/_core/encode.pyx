"""JSON-RPC messages written straight into the memory that goes to the descriptor.

An `Outgoing` holds the messages of one connection that are not written yet. The envelope is copied around the
payload, which msgspec encodes in place, so a result of 100 MB exists once. A message is there whole or not at
all: when its encoding fails (TypeError from msgspec for a type that JSON has no form for, ValueError,
MemoryError) everything is as before.

Payloads are what msgspec encodes: structs, dicts, lists, `msgspec.Raw`. Floats that JSON cannot express (NaN,
infinities) become null, bytes become base64. Payloads that are JSON already (`msgspec.Raw`, `result_raw`,
`append`) and ids are trusted to be valid; only their line ends, which may stand between tokens, are replaced
by spaces where lines delimit messages.

One connection, one thread at a time: a second thread, or an encoding that calls back into its own Outgoing,
gets RuntimeError.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_FromStringAndSize,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.errno cimport EINTR, errno
from libc.string cimport memchr, memcpy, memmove

from os import strerror

from msgspec import UNSET
from msgspec.json import Encoder

__all__ = ["Outgoing"]


cdef extern from "platform.h" nogil:
    Py_ssize_t taut_write(int fd, const void* data, Py_ssize_t size)
    bint taut_may_block(int fd)
    bint taut_would_block(int error)


cdef enum:
    INITIAL_BYTES = 4096
    PAYLOAD_BYTES = 512  # room made before encoding: most payloads then fit without growing
    RETAIN_BYTES = 4 << 20  # memory above this is given back once it is written
    NOGIL_BYTES = 256 << 10  # from here a transfer takes tens of microseconds: let other threads run

cdef object unset = UNSET
cdef object encode = Encoder().encode
cdef object encode_into = Encoder().encode_into


@cython.final
cdef class Outgoing:
    """The unwritten messages of one connection, each followed by `delimiter`. `len()` counts their bytes."""

    def __cinit__(self, *, bytes delimiter not None=b"\n"):
        self.delimiter = delimiter
        self.one_line = b"\n" in delimiter
        self.known_fd = -1

    def __len__(self):
        return self.ready - self.start

    @cython.critical_section
    def result(self, bytes raw_id not None, result, *, bytes members not None=b""):
        """Append the answer `result` to the request with the id `raw_id` (JSON text).

        `members`: encoded members (`"a":1,"b":2`) that are put before those of `result`, an object then.
        """
        self.begin()
        try:
            self.put(b'{"jsonrpc":"2.0","id":', 22)
            self.put_raw_id(raw_id)
            self.put(b',"result":', 10)
            self.put_members(members, result)
            self.put(b"}", 1)
            self.finish()
        finally:
            if self.busy:
                self.abandon()

    @cython.critical_section
    def result_raw(self, bytes raw_id not None, raw):
        """Append an answer whose result is JSON already."""
        self.begin()
        try:
            self.put(b'{"jsonrpc":"2.0","id":', 22)
            self.put_raw_id(raw_id)
            self.put(b',"result":', 10)
            self.put_buffer(raw)
            self.put(b"}", 1)
            self.finish()
        finally:
            if self.busy:
                self.abandon()

    @cython.critical_section
    def error(self, bytes raw_id, Py_ssize_t code, str message not None, data=unset, *, bint null_id=False):
        """Append an error answer. Without `raw_id` it has no id, or the id null when `null_id`."""
        self.begin()
        try:
            self.put(b'{"jsonrpc":"2.0",', 17)
            if raw_id is not None:
                self.put(b'"id":', 5)
                self.put_raw_id(raw_id)
                self.put(b",", 1)
            elif null_id:
                self.put(b'"id":null,', 10)
            self.put(b'"error":{"code":', 16)
            self.put_number(code)
            self.put(b',"message":', 11)
            self.put_object(message)
            if data is not unset:
                self.put(b',"data":', 8)
                self.put_object(data)
            self.put(b"}}", 2)
            self.finish()
        finally:
            if self.busy:
                self.abandon()

    @cython.critical_section
    def request(self, Py_ssize_t id, str method not None, params=unset, *, bytes members not None=b""):
        """Append a request; `members` as for `result`, put before those of `params`."""
        self.begin()
        try:
            self.put(b'{"jsonrpc":"2.0","id":', 22)
            self.put_number(id)
            self.put(b",", 1)
            self.put_call(method, params, members)
            self.finish()
        finally:
            if self.busy:
                self.abandon()

    @cython.critical_section
    def notification(self, str method not None, params=unset):
        """Append a notification."""
        self.begin()
        try:
            self.put(b'{"jsonrpc":"2.0",', 17)
            self.put_call(method, params, b"")
            self.finish()
        finally:
            if self.busy:
                self.abandon()

    @cython.critical_section
    def append(self, message):
        """Append a whole message that is encoded already."""
        self.begin()
        try:
            self.put_buffer(message)
            self.finish()
        finally:
            if self.busy:
                self.abandon()

    @cython.critical_section
    def begin_batch(self):
        """Collect the messages that follow into one JSON array, until `end_batch` (revision 2025-03-26)."""
        self.check_idle()
        if self.batching:
            raise RuntimeError("A batch is open already")
        self.batching = True

    @cython.critical_section
    def end_batch(self):
        """Complete the batch; one without messages leaves nothing."""
        self.check_idle()
        if not self.batching:
            raise RuntimeError("No batch is open")
        if self.end > self.ready:
            self.put(b"]", 1)
            self.put(PyBytes_AS_STRING(self.delimiter), PyBytes_GET_SIZE(self.delimiter))
        self.ready = self.end
        self.batching = False

    @cython.critical_section
    def take(self):
        """Return all unwritten bytes as a copy, and forget them."""
        cdef bytes data
        self.check_idle()
        if self.ready == self.start:
            return b""
        data = PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self.memory) + self.start, len(self))
        self.advance(len(data))
        return data

    @cython.critical_section
    def write_fd(self, int fd):
        """Write once to `fd`, all if it takes it: bytes written, 0 when it would block; else OSError.

        The GIL is kept for small writes to a non-blocking descriptor, for the same reason as in
        `ReceiveBuffer.read_fd`.
        """
        cdef Py_ssize_t size = self.ready - self.start
        cdef Py_ssize_t written
        cdef const char* data
        cdef int error
        self.check_idle()
        if size == 0:
            return 0
        if fd != self.known_fd:
            self.may_block = taut_may_block(fd)
            self.known_fd = fd
        while True:
            data = PyByteArray_AS_STRING(self.memory) + self.start
            if self.may_block or size >= NOGIL_BYTES:
                self.busy = True
                with nogil:
                    written = taut_write(fd, data, size)
                    error = errno
                self.busy = False
            else:
                written = taut_write(fd, data, size)
                error = errno
            if written >= 0:
                self.advance(written)
                return written
            if taut_would_block(error):
                return 0
            if error != EINTR:
                raise OSError(error, strerror(error))
            PyErr_CheckSignals()
            if self.ready - self.start != size:  # a signal handler wrote or took them
                return 0

    cdef int check_idle(self) except -1:
        if self.busy:
            raise RuntimeError("Outgoing is in use: by another thread, or by the encoding that called back")
        return 0

    cdef int begin(self) except -1:
        self.check_idle()
        self.make_room(1)  # first, since nothing may fail from here to the caller's try
        self.busy = True
        self.mark = self.end
        if self.batching:
            self.put(b"[" if self.end == self.ready else b",", 1)
        return 0

    cdef int finish(self) except -1:
        cdef char* start
        cdef char* end
        if self.one_line:
            start = PyByteArray_AS_STRING(self.memory) + self.mark
            end = PyByteArray_AS_STRING(self.memory) + self.end
            while True:
                start = <char*>memchr(start, 0x0A, <size_t>(end - start))
                if start == NULL:
                    break
                start[0] = 0x20
        if not self.batching:
            self.put(PyBytes_AS_STRING(self.delimiter), PyBytes_GET_SIZE(self.delimiter))
            self.ready = self.end
        self.busy = False
        return 0

    cdef int abandon(self) except -1:
        self.busy = False
        self.end = self.mark
        if self.memory is not None and PyByteArray_GET_SIZE(self.memory) != self.capacity:
            PyByteArray_Resize(self.memory, self.capacity)
        return 0

    cdef int make_room(self, Py_ssize_t size) except -1:
        """See to it that `size` bytes fit behind `end`."""
        cdef Py_ssize_t held = self.end - self.start
        cdef char* data
        if self.capacity - self.end >= size:
            return 0
        if self.memory is None:
            self.memory = PyByteArray_FromStringAndSize(NULL, max(INITIAL_BYTES, size))
            self.capacity = PyByteArray_GET_SIZE(self.memory)
            return 0
        # Moving pays when at least as much is won; otherwise growing is cheaper over time.
        if held <= self.start:
            data = PyByteArray_AS_STRING(self.memory)
            memmove(data, data + self.start, <size_t>held)
            self.mark -= self.start
            self.ready -= self.start
            self.end = held
            self.start = 0
        if self.capacity - self.end < size:
            PyByteArray_Resize(self.memory, max(self.end + size, 2 * self.capacity))
            self.capacity = PyByteArray_GET_SIZE(self.memory)
        return 0

    cdef int put(self, const char* start, Py_ssize_t size) except -1:
        if self.capacity - self.end < size:
            self.make_room(size)
        memcpy(PyByteArray_AS_STRING(self.memory) + self.end, start, <size_t>size)
        self.end += size
        return 0

    cdef int put_buffer(self, object data) except -1:
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len == 0:
                raise ValueError("Expected JSON text, got an empty buffer")
            self.put(<const char*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        return 0

    cdef int put_number(self, Py_ssize_t number) except -1:
        cdef char[20] digits
        cdef int i = 20
        # Negated, so that the least number has a magnitude, too.
        cdef unsigned long long rest = <unsigned long long>number
        if number < 0:
            rest = 0 - rest
        while True:
            i -= 1
            digits[i] = <char>(0x30 + rest % 10)
            rest //= 10
            if rest == 0:
                break
        if number < 0:
            i -= 1
            digits[i] = 0x2D
        return self.put(&digits[i], 20 - i)

    cdef int put_raw_id(self, bytes raw_id) except -1:
        if PyBytes_GET_SIZE(raw_id) == 0:
            raise ValueError("Expected an id as JSON text, got b''")
        return self.put(PyBytes_AS_STRING(raw_id), PyBytes_GET_SIZE(raw_id))

    cdef int put_object(self, object value) except -1:
        cdef Py_ssize_t end
        self.make_room(PAYLOAD_BYTES)
        end = self.end
        encode_into(value, self.memory, end)
        self.end = PyByteArray_GET_SIZE(self.memory)
        if self.end == end:
            raise ValueError(f"Expected a JSON value, got an empty {type(value).__name__}")
        # msgspec has allocated more than it used, so this moves nothing but in rare cases.
        PyByteArray_Resize(self.memory, self.capacity if self.end <= self.capacity else self.end + 64)
        self.capacity = PyByteArray_GET_SIZE(self.memory)
        return 0

    cdef int put_members(self, bytes members, object value) except -1:
        """Put `value`, with `members` before its own if there are any: the value's brace becomes a comma."""
        cdef Py_ssize_t brace, after
        cdef char* text
        if PyBytes_GET_SIZE(members) == 0:
            return self.put_object(value)
        self.put(b"{", 1)
        self.put(PyBytes_AS_STRING(members), PyBytes_GET_SIZE(members))
        brace = self.end - self.mark  # making room may move what is there, and the mark with it
        self.put_object(value)
        brace += self.mark
        text = PyByteArray_AS_STRING(self.memory)
        brace += first_token(text + brace, self.end - brace)
        if brace == self.end or text[brace] != 0x7B:
            raise TypeError(f"Expected a value that encodes to a JSON object, got {type(value).__name__}")
        after = brace + 1 + first_token(text + brace + 1, self.end - brace - 1)
        text[brace] = 0x20 if text[after] == 0x7D else 0x2C
        return 0

    cdef int put_call(self, str method, object params, bytes members) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* text = PyUnicode_AsUTF8AndSize(method, &size)
        cdef Py_ssize_t payload
        cdef bytes quoted
        self.put(b'"method":', 9)
        if is_plain(text, size):
            self.put(b'"', 1)
            self.put(text, size)
            self.put(b'"', 1)
        else:
            quoted = encode(method)
            self.put(PyBytes_AS_STRING(quoted), PyBytes_GET_SIZE(quoted))
        if params is unset and PyBytes_GET_SIZE(members):
            self.put(b',"params":{', 11)
            self.put(PyBytes_AS_STRING(members), PyBytes_GET_SIZE(members))
            self.put(b"}", 1)
        elif params is not unset:
            self.put(b',"params":', 10)
            payload = self.end - self.mark
            self.put_members(members, params)
            payload += self.mark
            if not opens_object(PyByteArray_AS_STRING(self.memory) + payload, self.end - payload):
                raise TypeError(f"Expected params that encode to a JSON object, got {type(params).__name__}")
        return self.put(b"}", 1)

    cdef void advance(self, Py_ssize_t count) noexcept:
        self.start += count
        if self.start < self.end:
            return
        self.start = self.ready = self.end = 0
        if self.capacity > RETAIN_BYTES:
            self.memory = None
            self.capacity = 0


cdef bint is_plain(const char* text, Py_ssize_t size) noexcept nogil:
    """Whether a JSON string may hold this UTF-8 as it is."""
    cdef Py_ssize_t i
    for i in range(size):
        if <unsigned char>text[i] < 0x20 or text[i] == 0x22 or text[i] == 0x5C:
            return False
    return True


cdef Py_ssize_t first_token(const char* text, Py_ssize_t size) noexcept nogil:
    """The index of the first byte that is no white space, or `size`."""
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] != 0x20 and text[i] != 0x09 and text[i] != 0x0A and text[i] != 0x0D:
            return i
    return size


cdef bint opens_object(const char* text, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i = first_token(text, size)
    return i < size and text[i] == 0x7B
