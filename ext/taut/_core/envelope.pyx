"""JSON-RPC messages, parsed as far as routing needs: kind, id, method, and where the bodies lie.

In: one frame. Out: an `Envelope`, which keeps the frame and the places of its members; bodies (params,
result, error, arguments, _meta) stay JSON text for whoever decodes them into their types. Or an exception
from `taut.errors`, with the raw id of the message when one can be read, so that every bad message can be
answered.

A strict parse checks every byte in the same pass (see scan.pyx). One that is not strict, for forwarding,
checks the members of the message and of its params, and skips what lies deeper.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pyport cimport PY_SSIZE_T_MAX
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memset

from taut._core.buffer cimport ReceiveBuffer, Span
from taut._core.framing cimport LineFramer
from taut._core.scan cimport (
    EXPECTED_COMMA_OR_BRACKET,
    Walker,
    close_walker,
    expect_end,
    fault_of,
    next_member,
    open_object,
    open_walker,
    skip_space,
    skip_value_at,
    unescape,
    validate_value,
)

from taut._core import _common
from taut._core._common import Kind, identified, invalid_message
from taut.errors import LimitExceeded


cdef enum:
    NOGIL_BYTES = 64 << 10
    COPY_BYTES = 1024  # bodies up to this are copied: cheaper than an object that shares memory
    KNOWN_SLOTS = 256
    MAX_ID_DIGITS = 4300  # what int() takes by default

cdef Py_ssize_t EXCERPT_BYTES = _common.EXCERPT_BYTES
cdef object REQUEST = Kind.REQUEST
cdef object NOTIFICATION = Kind.NOTIFICATION
cdef object RESULT = Kind.RESULT
cdef object ERROR = Kind.ERROR
cdef object BATCH = Kind.BATCH


def parse(
    frame,
    *,
    bint strict=True,
    Py_ssize_t max_depth=128,
    Py_ssize_t max_digits=400,
    Py_ssize_t max_keys=10_000,
):
    """Parse one JSON-RPC message.

    `strict` validates everything, as `taut._core.validate` does. Otherwise the bodies are skipped without
    a look inside: for forwarding to someone who validates. Bytes and Spans are kept, other buffers copied.

    Raises ParseError, InvalidMessage or LimitExceeded, with the `id` of the message when one can be read.
    """
    cdef Limits limits
    limits.max_depth = max_depth
    limits.max_digits = max_digits
    limits.max_keys = max_keys
    limits.strict = strict
    if type(frame) is not bytes and type(frame) is not Span:
        frame = copy_of_buffer(frame)
    cdef object message = parse_frame(frame, &limits)
    if type(message) is not Envelope:
        raise message
    return message


@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class Envelope:
    """One parsed JSON-RPC message. It holds its frame until `release`: release a Span only when done here.

    Bodies are JSON text: `bytes` up to 1024 bytes, above that a view into the frame without copying.
    """

    def __init__(self):
        raise TypeError("An Envelope is made by parse() or a MessageReader, not directly")

    @property
    def id(self):
        """The JSON text of the id, exactly as sent; None when there is none."""
        if self.fields.id.stop == 0:
            return None
        with cython.critical_section(self.frame):
            return copy_of(frame_data(self.frame), self.fields.id)

    @property
    def id_key(self):
        """The id as int or str, the same for each spelling of the same id; 1 and "1" stay different."""
        if self.fields.id.stop == 0:
            return None
        with cython.critical_section(self.frame):
            return decode_id(frame_data(self.frame), self.fields.id)

    @property
    def params(self):
        return self.raw(self.fields.params)

    @property
    def result(self):
        return self.raw(self.fields.result)

    @property
    def error(self):
        return self.raw(self.fields.error)

    @property
    def arguments(self):
        """`params.arguments`."""
        return self.raw(self.fields.arguments)

    @property
    def meta(self):
        """`params._meta` or `result._meta`. ParseError when a result that was not validated is bad."""
        if self.fields.result.stop != 0:
            return self.find_meta()
        return self.raw(self.fields.meta)

    @property
    def uri(self):
        """`params.uri`, when it is a string."""
        cdef const unsigned char* data
        with cython.critical_section(self.frame):
            data = frame_data(self.frame)
            return decode_text(data, self.fields.uri) if is_text(data, self.fields.uri) else None

    @property
    def extra_params(self):
        """Whether params has members other than name, uri, arguments and _meta."""
        return self.fields.extra

    def items(self):
        """Return the JSON text of each message of a batch."""
        if self.kind is not BATCH:
            raise ValueError(f"Expected a batch, got a {self.kind.name.lower()}")
        if self.fields.whole.stop == 0:
            raise ValueError("Envelope was released")
        cdef Walker w
        cdef Slice item
        cdef Py_buffer view
        cdef list found = []
        cdef const unsigned char* data = lend(self.frame, &view)
        try:
            open_walker(&w, data, self.size, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX)
            item.stop = self.fields.whole.start
            while data[item.stop] != 0x5D:  # at the `[`, and then at each comma
                item.start = skip_space(&w, item.stop + 1)
                item.stop = skip_value_at(&w, item.start)
                if w.fault:
                    raise fault_of(&w)
                found.append(self.raw(item))
                item.stop = skip_space(&w, item.stop)
                if item.stop >= self.fields.whole.stop or (data[item.stop] != 0x2C and data[item.stop] != 0x5D):
                    w.fault = EXPECTED_COMMA_OR_BRACKET
                    w.offset = item.stop
                    raise fault_of(&w)
            return found
        finally:
            PyBuffer_Release(&view)

    def release(self):
        """Let go of the frame: its bodies read as absent from then on; kind, id, method, name and size stay."""
        cdef bytes id = self.id or b""
        memset(&self.fields, 0, sizeof(Fields))
        self.fields.id.stop = PyBytes_GET_SIZE(id)
        self.frame = id

    def __repr__(self):
        what = self.kind.name.lower() if self.method is None else f"{self.kind.name.lower()} {self.method}"
        with_id = "" if self.fields.id.stop == 0 else f" id={self.id.decode()}"
        return f"<Envelope {what}{with_id}, {self.size} bytes>"

    cdef object raw(self, Slice slice):
        if slice.stop == 0:
            return None
        if slice.stop - slice.start <= COPY_BYTES:
            with cython.critical_section(self.frame):
                return copy_of(frame_data(self.frame), slice)
        if type(self.frame) is Span:
            return (<Span>self.frame).piece(slice.start, slice.stop)
        return memoryview(self.frame)[slice.start:slice.stop]

    cdef object find_meta(self):
        cdef Walker w
        cdef Slice meta
        cdef Py_buffer view
        cdef const unsigned char* data = lend(self.frame, &view)
        open_walker(&w, data, self.fields.result.stop, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX)
        try:
            if data[self.fields.result.start] != 0x7B:
                return None
            meta = find_member(&w, self.fields.result.start, b"_meta", 5)
            if w.fault:
                raise fault_of(&w)
        finally:
            close_walker(&w)
            PyBuffer_Release(&view)
        return self.raw(meta)


@cython.final
cdef class MessageReader:
    """Reads newline-delimited messages from a ReceiveBuffer: framing and strict parsing in one call."""

    def __cinit__(
        self,
        ReceiveBuffer buffer not None,
        *,
        Py_ssize_t max_bytes,
        Py_ssize_t max_depth=128,
        Py_ssize_t max_digits=400,
        Py_ssize_t max_keys=10_000,
    ):
        self.framer = LineFramer(buffer, max_bytes=max_bytes)
        self.limits.max_depth = max_depth
        self.limits.max_digits = max_digits
        self.limits.max_keys = max_keys
        self.limits.strict = True

    def read(self):
        """Return all complete messages in the buffer, in order; a bad one as the exception that says why.

        Short messages are copied out, so that they do not keep the receive memory from being reused; long
        ones share it.
        """
        cdef list messages = []
        cdef object frame
        while True:
            frame = self.next_frame()
            if frame is None:
                return messages
            messages.append(frame if type(frame) is LimitExceeded else parse_frame(frame, &self.limits))

    cdef object next_frame(self):
        """Return the next line, the refusal of one, or None when there is no complete one."""
        cdef ReceiveBuffer buffer = self.framer.buffer
        cdef Py_ssize_t start = 0, stop = 0
        # Left by `return` only: on `continue` and `break`, Cython 3.3 keeps its reference to the object.
        with cython.critical_section(buffer):
            try:
                if not self.framer.next_bounds(&start, &stop):
                    return None
            except LimitExceeded as error:
                return identified(error, parse_frame(self.framer.head, &self.limits), self.framer.head)
            if stop - start <= COPY_BYTES:
                return PyBytes_FromStringAndSize(<const char*>buffer.slab.data + start, stop - start)
            return buffer.span(start, stop)


# ---- from a frame to an envelope ---------------------------------------------------------------------------


cdef object parse_frame(object frame, Limits* limits):
    """Return the Envelope of `frame`, which is bytes or a Span, or the exception that says what is wrong."""
    cdef Walker w
    cdef Slice found
    cdef Py_buffer view
    cdef object error
    cdef Envelope envelope = Envelope.__new__(Envelope)
    cdef Fields* fields = &envelope.fields
    cdef const unsigned char* data = lend(frame, &view)
    cdef Py_ssize_t size = view.len
    found.stop = 0
    open_walker(&w, data, size, limits.max_depth, limits.max_digits, limits.max_keys)
    try:
        if size >= NOGIL_BYTES:
            with nogil:
                walk_message(&w, fields, limits.strict)
                if w.fault:
                    found = find_id(&w)
        else:
            walk_message(&w, fields, limits.strict)
            if w.fault:
                found = find_id(&w)
        if w.fault:
            error = fault_of(&w)
            if isinstance(error, MemoryError):
                raise error
            if found.stop != 0:
                error.id = copy_of(data, found)
            return error
        envelope.frame = frame
        envelope.size = size
        error = classify(&w, envelope)
        if error is None:
            return envelope
        error.is_answer = fields.method.stop == 0 and (fields.result.stop != 0 or fields.error.stop != 0)
        return error
    finally:
        close_walker(&w)
        PyBuffer_Release(&view)


cdef object classify(Walker* w, Envelope envelope):
    """Say what the walk has found; return None, or the exception for what JSON-RPC forbids."""
    cdef const unsigned char* data = w.data
    cdef Fields* fields = &envelope.fields
    cdef Slice body
    cdef bint is_response = fields.result.stop != 0 or fields.error.stop != 0
    if data[fields.whole.start] == 0x5B:
        if data[skip_space(w, fields.whole.start + 1)] == 0x5D:
            return invalid_message("a batch with at least one message", b"[]")
        envelope.kind = BATCH
        return None
    if data[fields.whole.start] != 0x7B:
        return refuse(data, "a JSON object", fields.whole, NULL)
    if fields.error.stop != 0 and fields.method.stop == 0 and is_null(data, fields.id):
        fields.id.stop = 0  # JSON-RPC 2.0, section 5: the id could not be read, which is the same as none
    if fields.id.stop != 0 and not is_id(data, fields.id):
        return refuse(data, "id to be a string or an integer", fields.id, NULL)
    if fields.id.stop - fields.id.start > MAX_ID_DIGITS and data[fields.id.start] != 0x22:
        return LimitExceeded("max_digits", MAX_ID_DIGITS)
    if not is_version(data, fields.version):
        return refuse(data, 'jsonrpc to be "2.0"', fields.version, &fields.id)
    if fields.method.stop != 0:
        if not is_text(data, fields.method):
            return refuse(data, "method to be a string", fields.method, &fields.id)
        if is_response:
            body = fields.result if fields.result.stop != 0 else fields.error
            return refuse(data, "no result or error in a request", body, &fields.id)
        envelope.kind = REQUEST if fields.id.stop != 0 else NOTIFICATION
    elif not is_response:
        return refuse(data, "method, result or error", fields.method, &fields.id)
    elif fields.error.stop != 0:
        if fields.result.stop != 0:
            return refuse(data, "no error beside a result", fields.error, &fields.id)
        if data[fields.error.start] != 0x7B:
            return refuse(data, "error to be an object", fields.error, &fields.id)
        envelope.kind = ERROR
    else:
        if fields.id.stop == 0:
            return refuse(data, "a result to have an id", fields.id, NULL)
        envelope.kind = RESULT
    if fields.params.stop != 0 and data[fields.params.start] != 0x7B:
        return refuse(data, "params to be an object", fields.params, &fields.id)
    if fields.method.stop != 0:
        envelope.method = decode_method(data, fields.method)
        if is_text(data, fields.name):
            envelope.name = decode_text(data, fields.name)
    return None


cdef object refuse(const unsigned char* data, str expected, Slice got, Slice* id):
    cdef Slice excerpt = got
    excerpt.stop = min(got.stop, got.start + EXCERPT_BYTES)
    return invalid_message(
        expected,
        None if got.stop == 0 else copy_of(data, excerpt),
        id=None if id == NULL or id.stop == 0 else copy_of(data, id[0]),
    )


# ---- the walk ----------------------------------------------------------------------------------------------


cdef void walk_message(Walker* w, Fields* fields, bint strict) noexcept nogil:
    cdef Py_ssize_t start = skip_space(w, 0)
    cdef Py_ssize_t stop
    if start < w.size and w.data[start] == 0x7B:
        stop = walk_members(w, start, fields, strict)
    elif strict:
        stop = validate_value(w, start)
    else:
        stop = skip_value_at(w, start)
    fields.whole.start = start
    fields.whole.stop = stop
    expect_end(w, stop)


cdef Py_ssize_t walk_members(Walker* w, Py_ssize_t pos, Fields* fields, bint strict) noexcept nogil:
    """Walk the message at `pos`, an object, and record its members; return the index after it, or -1."""
    cdef Slice* field
    cdef bint first = True
    pos = open_object(w, pos)
    while pos >= 0:
        pos = next_member(w, pos, first)
        if pos < 0 or w.closed:
            break
        first = False
        field = message_field(w, fields)
        if field != NULL:
            field.start = pos
        if field == &fields.params and pos < w.size and w.data[pos] == 0x7B:
            pos = walk_params(w, pos, fields, strict)
        else:
            pos = walk_value(w, pos, strict or is_string_field(w, pos, field, fields))
        if field != NULL:
            field.stop = pos
    return pos


cdef Py_ssize_t walk_params(Walker* w, Py_ssize_t pos, Fields* fields, bint strict) noexcept nogil:
    cdef Slice* field
    cdef bint first = True
    pos = open_object(w, pos)
    while pos >= 0:
        pos = next_member(w, pos, first)
        if pos < 0 or w.closed:
            break
        first = False
        field = params_field(w, fields)
        if field != NULL:
            field.start = pos
        else:
            fields.extra = True
        pos = walk_value(w, pos, strict or is_string_field(w, pos, field, fields))
        if field != NULL:
            field.stop = pos
    return pos


cdef inline Py_ssize_t walk_value(Walker* w, Py_ssize_t pos, bint strict) noexcept nogil:
    return validate_value(w, pos) if strict else skip_value_at(w, pos)


cdef inline bint is_string_field(Walker* w, Py_ssize_t pos, Slice* field, Fields* fields) noexcept nogil:
    """Whether the value at `pos` is a string that the envelope shows decoded, or whose bytes are echoed."""
    return (
        field != NULL and field != &fields.result and field != &fields.arguments and field != &fields.meta
        and pos < w.size and w.data[pos] == 0x22
    )


cdef inline bint named(Walker* w, const char* name, Py_ssize_t length) noexcept nogil:
    return w.name_length == length and memcmp(w.name, name, length) == 0


cdef inline Slice* message_field(Walker* w, Fields* fields) noexcept nogil:
    if w.name_length == 6:
        if named(w, b"method", 6):
            return &fields.method
        if named(w, b"params", 6):
            return &fields.params
        return &fields.result if named(w, b"result", 6) else NULL
    if named(w, b"jsonrpc", 7):
        return &fields.version
    if named(w, b"id", 2):
        return &fields.id
    return &fields.error if named(w, b"error", 5) else NULL


cdef inline Slice* params_field(Walker* w, Fields* fields) noexcept nogil:
    if named(w, b"name", 4):
        return &fields.name
    if named(w, b"arguments", 9):
        return &fields.arguments
    if named(w, b"_meta", 5):
        return &fields.meta
    if named(w, b"uri", 3):
        return &fields.uri
    return NULL


cdef Slice find_member(Walker* w, Py_ssize_t pos, const char* name, Py_ssize_t length) noexcept nogil:
    """Return the place of the member of the object at `pos` that has this name; it is not validated."""
    cdef Slice found
    cdef bint first = True
    found.start = found.stop = 0
    pos = open_object(w, pos)
    while pos >= 0:
        pos = next_member(w, pos, first)
        if pos < 0 or w.closed:
            break
        first = False
        if named(w, name, length):
            found.start = pos
            found.stop = pos = skip_value_at(w, pos)
        else:
            pos = skip_value_at(w, pos)
    return found


cdef Slice find_id(Walker* failed) noexcept nogil:
    """Return the place of the id in a message that a walk refused; what stands around it may be bad.

    No id is better than a wrong one: of two, neither counts, and only a well-formed string or integer does.
    """
    cdef Walker w
    cdef Slice found
    cdef Py_ssize_t pos
    cdef bint first = True
    found.start = found.stop = 0
    open_walker(&w, failed.data, failed.size, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX)
    w.unique = False
    pos = skip_space(&w, 0)
    pos = open_object(&w, pos) if pos < w.size and w.data[pos] == 0x7B else -1
    while pos >= 0:
        pos = next_member(&w, pos, first)
        if pos < 0 or w.closed:
            break
        first = False
        if not named(&w, b"id", 2):
            pos = skip_value_at(&w, pos)
            continue
        if found.stop != 0:
            found.stop = 0
            break
        found.start = pos
        w.max_digits = min(failed.max_digits, <Py_ssize_t>MAX_ID_DIGITS)
        pos = validate_value(&w, pos) if pos < w.size and w.data[pos] != 0x7B and w.data[pos] != 0x5B else -1
        w.max_digits = PY_SSIZE_T_MAX
        if pos >= 0 and is_id(w.data, found_slice(found.start, pos)):
            found.stop = pos
        else:
            break
    close_walker(&w)
    return found


# ---- members -----------------------------------------------------------------------------------------------


cdef inline Slice found_slice(Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef Slice slice
    slice.start = start
    slice.stop = stop
    return slice


cdef inline bint is_text(const unsigned char* data, Slice slice) noexcept nogil:
    return slice.stop != 0 and data[slice.start] == 0x22


cdef inline bint is_null(const unsigned char* data, Slice slice) noexcept nogil:
    return slice.stop != 0 and data[slice.start] == 0x6E


cdef inline bint is_id(const unsigned char* data, Slice slice) noexcept nogil:
    """Whether the valid JSON text is a string or an integer: a number without fraction and exponent."""
    cdef unsigned char c = data[slice.start]
    cdef Py_ssize_t pos
    if c == 0x22:
        return True
    if c != 0x2D and (c < 0x30 or c > 0x39):
        return False
    for pos in range(slice.start + 1, slice.stop):
        if data[pos] < 0x30 or data[pos] > 0x39:
            return False
    return True


cdef bint is_version(const unsigned char* data, Slice slice):
    if slice.stop - slice.start == 5 and memcmp(data + slice.start, b'"2.0"', 5) == 0:
        return True
    # Only a spelling with escapes is left: not worth speed.
    return is_text(data, slice) and slice.stop - slice.start <= 20 and decode_text(data, slice) == "2.0"


cdef inline const unsigned char* frame_data(object frame) except NULL:
    if type(frame) is bytes:
        return <const unsigned char*>PyBytes_AS_STRING(frame)
    if type(frame) is not Span:
        raise TypeError("Envelope was not made by parse() or a MessageReader")
    (<Span>frame).check()
    return (<Span>frame).pointer


cdef inline const unsigned char* lend(object frame, Py_buffer* view) except NULL:
    """Return the bytes of `frame`: it cannot be released before `view` is."""
    if type(frame) is bytes:
        memset(view, 0, sizeof(Py_buffer))  # so there is nothing to release
        view.len = PyBytes_GET_SIZE(frame)
        return <const unsigned char*>PyBytes_AS_STRING(frame)
    PyObject_GetBuffer(frame, view, PyBUF_SIMPLE)
    return <const unsigned char*>view.buf


cdef bytes copy_of_buffer(object data):
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef inline bytes copy_of(const unsigned char* data, Slice slice):
    return PyBytes_FromStringAndSize(<const char*>data + slice.start, slice.stop - slice.start)


cdef str decode_text(const unsigned char* data, Slice slice):
    """Return the string whose valid JSON text, with its quotes, is at `slice`."""
    cdef const unsigned char* text = data + slice.start + 1
    cdef Py_ssize_t length = slice.stop - slice.start - 2
    cdef unsigned char* plain
    if memchr(text, 0x5C, length) == NULL:
        return PyUnicode_DecodeUTF8(<const char*>text, length, NULL)
    plain = <unsigned char*>malloc(length)
    if plain == NULL:
        raise MemoryError(f"Cannot allocate {length} bytes to decode a string")
    try:
        return PyUnicode_DecodeUTF8(<const char*>plain, unescape(text, length, plain), NULL)
    finally:
        free(plain)


cdef object decode_id(const unsigned char* data, Slice slice):
    cdef Py_ssize_t pos = slice.start
    cdef bint negative = data[pos] == 0x2D
    cdef long long number = 0
    if data[pos] == 0x22:
        return decode_text(data, slice)
    if slice.stop - pos > 18:  # may not fit into 64 bits
        return int(copy_of(data, slice))
    pos += negative
    while pos < slice.stop:
        number = 10 * number + (data[pos] - 0x30)
        pos += 1
    return -number if negative else number


# ---- known methods: one string object each, found without making one ---------------------------------------


cdef struct Known:
    const unsigned char* text
    Py_ssize_t length

cdef Known known[KNOWN_SLOTS]
cdef list known_names = [None] * KNOWN_SLOTS
cdef list known_texts = []  # keeps the text alive


cdef inline Py_ssize_t first_slot(const unsigned char* text, Py_ssize_t length) noexcept:
    return (7 * length + 31 * text[length - 1] + 17 * text[length >> 1] + text[0]) & (KNOWN_SLOTS - 1)


cdef str decode_method(const unsigned char* data, Slice slice):
    cdef const unsigned char* text = data + slice.start + 1
    cdef Py_ssize_t length = slice.stop - slice.start - 2
    cdef Py_ssize_t slot
    if length > 0:
        slot = first_slot(text, length)
        while known[slot].text != NULL:
            if known[slot].length == length and memcmp(known[slot].text, text, length) == 0:
                return <str>known_names[slot]
            slot = (slot + 1) & (KNOWN_SLOTS - 1)
    return decode_text(data, slice)


cdef int learn(str name) except -1:
    cdef bytes text = name.encode()
    cdef Py_ssize_t slot = first_slot(text, len(text))
    while known[slot].text != NULL:
        slot = (slot + 1) & (KNOWN_SLOTS - 1)
    known_texts.append(text)
    known[slot].text = text
    known[slot].length = len(text)
    known_names[slot] = name
    return 0


cdef int learn_all() except -1:
    for name in _common.METHODS:
        learn(name)
    return 0


learn_all()
