"""JSON at byte level: strict validation (RFC 8259, UTF-8, no duplicate keys), and skipping by blocks.

Input is any buffer and is never copied, kept or changed; output is an index, or an exception from
`taut.errors`. The walker is iterative, its time is linear in the input whatever the sender chose, and its
memory is bounded by the limits: nesting by `max_depth`, keys by `max_keys` for each open object. There are
two ways over a value:

- `validate_value` checks every byte. Strings are checked 16 to 64 bytes at a time while they are plain ASCII.
- `skip_value_at` looks only for the end of a string or container, by blocks of 64 bytes (blocks.h). What it
  skips must be validated before anyone relies on it.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

from os import urandom

from taut._core._common import fault_error


cdef extern from "blocks.h" nogil:
    enum:
        TAUT_TOO_DEEP

    ctypedef struct taut_isa:
        const char* name

    const taut_isa taut_isas[]
    const int taut_isa_count
    const taut_isa* taut_chosen
    bint taut_isa_usable(int index)
    void taut_isa_choose(int index)
    Py_ssize_t taut_short_string(const unsigned char* data, Py_ssize_t start, Py_ssize_t size)
    Py_ssize_t taut_clean_run(const unsigned char* text, Py_ssize_t size)
    Py_ssize_t taut_string_end(const unsigned char* text, Py_ssize_t size)
    Py_ssize_t taut_container_end(const unsigned char* text, Py_ssize_t size, Py_ssize_t max_depth)


cdef extern from "siphash.h" nogil:
    uint64_t taut_siphash(const unsigned char* text, Py_ssize_t size, const uint64_t* key)


cdef enum:
    NOGIL_BYTES = 64 << 10  # from here a walk takes tens of microseconds: let other threads run
    SMALL_OBJECT = 16  # keys that are compared one by one; more get a hash table

cdef uint64_t hash_key[2]


# ---- public functions --------------------------------------------------------------------------------------


def validate(data, *, Py_ssize_t max_depth=128, Py_ssize_t max_digits=400, Py_ssize_t max_keys=10_000):
    """Check that `data` is exactly one JSON value (RFC 8259) in UTF-8, without duplicate keys in any object.

    Raises ParseError with the offset of the first byte that is wrong, or LimitExceeded for nesting deeper
    than `max_depth`, a number of more than `max_digits` digits or an object of more than `max_keys` members.
    """
    cdef Walker w
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        open_walker(&w, <const unsigned char*>view.buf, view.len, max_depth, max_digits, max_keys)
        if view.len >= NOGIL_BYTES:
            with nogil:
                expect_end(&w, validate_value(&w, 0))
        else:
            expect_end(&w, validate_value(&w, 0))
        try:
            if w.fault:
                raise fault_of(&w)
        finally:
            close_walker(&w)
    finally:
        PyBuffer_Release(&view)


def skip_value(data, Py_ssize_t start=0):
    """Return the index after the JSON value that begins at `start`, or after whitespace there.

    Only its end is looked for: the inside of a string, object or array is not validated. Raises ParseError
    when there is no value or no end.
    """
    cdef Walker w
    cdef Py_buffer view
    cdef Py_ssize_t end
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= start <= view.len:
            raise ValueError(f"start must be from 0 to {view.len}, got {start}")
        open_walker(
            &w, <const unsigned char*>view.buf, view.len, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX, PY_SSIZE_T_MAX
        )
        if view.len - start >= NOGIL_BYTES:
            with nogil:
                end = skip_value_at(&w, skip_space(&w, start))
        else:
            end = skip_value_at(&w, skip_space(&w, start))
        if w.fault:
            raise fault_of(&w)
        return end
    finally:
        PyBuffer_Release(&view)


def isa():
    """Return the instruction set that the block loops run on."""
    return taut_chosen.name.decode()


def set_isa(str name not None):
    """Run the block loops on another of `ISAS`, in the whole process: for tests and benchmarks."""
    for index in range(taut_isa_count):
        if taut_isas[index].name == name.encode() and taut_isa_usable(index):
            taut_isa_choose(index)
            return
    raise ValueError(f"Instruction set must be one of {', '.join(ISAS)}, got {name}")


# ---- the life of a walker ----------------------------------------------------------------------------------


cdef void open_walker(
    Walker* w,
    const unsigned char* data,
    Py_ssize_t size,
    Py_ssize_t max_depth,
    Py_ssize_t max_digits,
    Py_ssize_t max_keys,
) noexcept nogil:
    w.data = data
    w.size = size
    w.max_depth = max_depth
    w.max_digits = max_digits
    w.max_keys = max_keys
    w.unique = True
    w.fault = OK
    w.offset = 0
    w.name = NULL
    w.name_length = 0
    w.closed = False
    w.escaped = False
    w.depth = 0
    w.key_count = 0
    w.arena_used = 0
    w.levels = w.inline_levels
    w.keys = w.inline_keys
    w.arena = NULL
    w.level_capacity = INLINE_LEVELS
    w.key_capacity = INLINE_KEYS
    w.arena_capacity = 0


cdef void close_walker(Walker* w) noexcept nogil:
    cdef Py_ssize_t index
    for index in range(w.depth):  # still open after a fault
        free(w.levels[index].table)
    if w.levels != w.inline_levels:
        free(w.levels)
    if w.keys != w.inline_keys:
        free(w.keys)
    free(w.arena)


cdef Py_ssize_t fail(Walker* w, int fault, Py_ssize_t offset) noexcept nogil:
    w.fault = fault
    w.offset = offset
    return -1


cdef object fault_of(Walker* w):
    cdef object got = w.data[w.offset] if w.offset < w.size else None
    cdef bytes key = b""
    cdef Py_ssize_t maximum = 0
    if w.fault == OUT_OF_MEMORY:
        return MemoryError("Cannot allocate memory for the keys of a message")
    if w.fault == DUPLICATE_KEY:
        key = w.name[:w.name_length]
    elif w.fault == TOO_DEEP:
        maximum = w.max_depth
    elif w.fault == TOO_MANY_DIGITS:
        maximum = w.max_digits
    elif w.fault == TOO_MANY_KEYS:
        maximum = w.max_keys
    return fault_error(w.fault, w.offset, got=got, key=key, maximum=maximum)


# ---- tokens ------------------------------------------------------------------------------------------------


cdef inline Py_ssize_t after_space(const unsigned char* data, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    while pos < size and data[pos] <= 0x20 and (
        data[pos] == 0x20 or data[pos] == 0x0A or data[pos] == 0x0D or data[pos] == 0x09
    ):
        pos += 1
    return pos


cdef Py_ssize_t skip_space(Walker* w, Py_ssize_t pos) noexcept nogil:
    return after_space(w.data, pos, w.size)


cdef Py_ssize_t expect_end(Walker* w, Py_ssize_t pos) noexcept nogil:
    if pos < 0:
        return -1
    pos = after_space(w.data, pos, w.size)
    if pos < w.size:
        return fail(w, EXPECTED_END, pos)
    return pos


cdef inline Py_ssize_t read_string(Walker* w, Py_ssize_t start) noexcept nogil:
    """Check the string whose first byte is at `start`; return the index of its closing quote."""
    cdef Py_ssize_t end = taut_short_string(w.data, start, w.size)
    w.escaped = False
    return end if end >= 0 else read_long_string(w, start)


cdef Py_ssize_t read_long_string(Walker* w, Py_ssize_t start) noexcept nogil:
    cdef const unsigned char* data = w.data
    cdef Py_ssize_t size = w.size
    cdef Py_ssize_t pos = start
    cdef unsigned char c
    while True:
        pos += taut_clean_run(data + pos, size - pos)
        if pos >= size:
            return fail(w, UNCLOSED_STRING, start - 1)
        c = data[pos]
        if c == 0x22:
            return pos
        if c == 0x5C:
            w.escaped = True
            pos = read_escape(w, pos, start)
        elif c < 0x20:
            return fail(w, CONTROL_CHARACTER, pos)
        else:
            pos = read_utf8(w, pos)
        if pos < 0:
            return -1


cdef Py_ssize_t read_escape(Walker* w, Py_ssize_t pos, Py_ssize_t start) noexcept nogil:
    """Check the escape whose backslash is at `pos`; return the index after it."""
    cdef unsigned char c
    cdef long unit
    if w.size - pos < 2:
        return fail(w, UNCLOSED_STRING, start - 1)
    c = w.data[pos + 1]
    if c == 0x6E or c == 0x22 or c == 0x5C or c == 0x2F or c == 0x74 or c == 0x72 or c == 0x62 or c == 0x66:
        return pos + 2
    if c != 0x75:
        return fail(w, UNKNOWN_ESCAPE, pos)
    unit = hex_unit(w.data, pos + 2, w.size)
    if unit < 0:
        return fail(w, BAD_HEX, pos)
    if unit & 0xF800 != 0xD800:
        return pos + 6
    # A surrogate: only a high one with a low one right behind it is a character.
    if unit < 0xDC00 and w.size - pos >= 8 and w.data[pos + 6] == 0x5C and w.data[pos + 7] == 0x75:
        unit = hex_unit(w.data, pos + 8, w.size)
        if unit >= 0xDC00 and unit <= 0xDFFF:
            return pos + 12
    return fail(w, LONE_SURROGATE, pos)


cdef long hex_unit(const unsigned char* data, Py_ssize_t pos, Py_ssize_t size) noexcept nogil:
    """Return the number that four hexadecimal digits at `pos` spell, or -1."""
    cdef long unit = 0
    cdef Py_ssize_t end = pos + 4
    cdef unsigned char c
    if size - pos < 4:
        return -1
    while pos < end:
        c = data[pos]
        if c >= 0x30 and c <= 0x39:
            unit = unit << 4 | (c - 0x30)
        elif (c | 0x20) >= 0x61 and (c | 0x20) <= 0x66:
            unit = unit << 4 | ((c | 0x20) - 0x57)
        else:
            return -1
        pos += 1
    return unit


cdef Py_ssize_t read_utf8(Walker* w, Py_ssize_t pos) noexcept nogil:
    """Check the run of multi-byte characters at `pos` (RFC 3629, section 4); return the index after it."""
    cdef const unsigned char* data = w.data
    cdef Py_ssize_t size = w.size
    cdef unsigned char c, second
    while pos < size and data[pos] >= 0x80:
        c = data[pos]
        if c >= 0xE0 and c < 0xF0:
            if size - pos < 3 or (data[pos + 1] & 0xC0) | (data[pos + 2] & 0xC0) << 8 != 0x8080:
                return fail(w, BAD_UTF8, pos)
            second = data[pos + 1]
            if (c == 0xE0 and second < 0xA0) or (c == 0xED and second >= 0xA0):  # overlong; surrogates
                return fail(w, BAD_UTF8, pos)
            pos += 3
        elif c >= 0xC2 and c < 0xE0:
            if size - pos < 2 or data[pos + 1] & 0xC0 != 0x80:
                return fail(w, BAD_UTF8, pos)
            pos += 2
        elif c >= 0xF0 and c <= 0xF4:
            if (
                size - pos < 4 or data[pos + 1] & 0xC0 != 0x80 or data[pos + 2] & 0xC0 != 0x80
                or data[pos + 3] & 0xC0 != 0x80
            ):
                return fail(w, BAD_UTF8, pos)
            second = data[pos + 1]
            if (c == 0xF0 and second < 0x90) or (c == 0xF4 and second >= 0x90):  # overlong; above U+10FFFF
                return fail(w, BAD_UTF8, pos)
            pos += 4
        else:
            return fail(w, BAD_UTF8, pos)
    return pos


cdef inline Py_ssize_t after_digits(
    const unsigned char* data, Py_ssize_t pos, Py_ssize_t size
) noexcept nogil:
    while pos < size and data[pos] >= 0x30 and data[pos] <= 0x39:
        pos += 1
    return pos


cdef Py_ssize_t read_number(Walker* w, Py_ssize_t start) noexcept nogil:
    """Check the number at `start`, which is a digit or a minus sign; return the index after it."""
    cdef const unsigned char* data = w.data
    cdef Py_ssize_t size = w.size
    cdef Py_ssize_t pos = start + (data[start] == 0x2D)
    cdef Py_ssize_t end = after_digits(data, pos, size)
    cdef Py_ssize_t digits = end - pos
    if digits == 0:
        return fail(w, EXPECTED_DIGIT, pos)
    if digits > 1 and data[pos] == 0x30:
        return fail(w, LEADING_ZERO, pos)
    pos = end
    if pos < size and data[pos] == 0x2E:
        pos += 1
        end = after_digits(data, pos, size)
        if end == pos:
            return fail(w, EXPECTED_DIGIT, pos)
        digits += end - pos
        pos = end
    if pos < size and data[pos] | 0x20 == 0x65:
        pos += 1
        if pos < size and (data[pos] == 0x2B or data[pos] == 0x2D):
            pos += 1
        end = after_digits(data, pos, size)
        if end == pos:
            return fail(w, EXPECTED_DIGIT, pos)
        digits += end - pos
        pos = end
    if digits > w.max_digits:
        return fail(w, TOO_MANY_DIGITS, start)
    return pos


cdef Py_ssize_t read_scalar(Walker* w, Py_ssize_t pos) noexcept nogil:
    """Check the number or literal at `pos`, which is inside the input; return the index after it."""
    cdef const unsigned char* text = w.data + pos
    cdef Py_ssize_t left = w.size - pos
    cdef unsigned char c = text[0]
    if (c >= 0x30 and c <= 0x39) or c == 0x2D:
        return read_number(w, pos)
    if c == 0x74:
        return pos + 4 if left >= 4 and memcmp(text, b"true", 4) == 0 else fail(w, UNKNOWN_LITERAL, pos)
    if c == 0x66:
        return pos + 5 if left >= 5 and memcmp(text, b"false", 5) == 0 else fail(w, UNKNOWN_LITERAL, pos)
    if c == 0x6E:
        return pos + 4 if left >= 4 and memcmp(text, b"null", 4) == 0 else fail(w, UNKNOWN_LITERAL, pos)
    if pos == 0 and left >= 3 and memcmp(text, b"\xef\xbb\xbf", 3) == 0:
        return fail(w, BYTE_ORDER_MARK, 0)
    return fail(w, EXPECTED_VALUE, pos)


cdef Py_ssize_t unescape(const unsigned char* text, Py_ssize_t size, unsigned char* out) noexcept nogil:
    cdef Py_ssize_t pos = 0, length = 0, run
    cdef const unsigned char* found
    cdef long unit, low
    while pos < size:
        found = <const unsigned char*>memchr(text + pos, 0x5C, size - pos)
        run = (found - text if found != NULL else size) - pos
        memcpy(out + length, text + pos, run)
        pos += run
        length += run
        if size - pos < 2:
            break
        if text[pos + 1] != 0x75:
            out[length] = short_escape(text[pos + 1])
            length += 1
            pos += 2
            continue
        unit = hex_unit(text, pos + 2, size)
        if unit < 0:
            break
        pos += 6
        if unit & 0xFC00 == 0xD800 and size - pos >= 6:
            low = hex_unit(text, pos + 2, size)
            if low >= 0:
                unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
                pos += 6
        length += encode_utf8(<uint32_t>unit, out + length)
    return length


cdef unsigned char short_escape(unsigned char c) noexcept nogil:
    if c == 0x6E:
        return 0x0A
    if c == 0x74:
        return 0x09
    if c == 0x72:
        return 0x0D
    if c == 0x62:
        return 0x08
    if c == 0x66:
        return 0x0C
    return c


cdef Py_ssize_t encode_utf8(uint32_t point, unsigned char* out) noexcept nogil:
    if point < 0x80:
        out[0] = <unsigned char>point
        return 1
    if point < 0x800:
        out[0] = <unsigned char>(0xC0 | point >> 6)
        out[1] = <unsigned char>(0x80 | (point & 0x3F))
        return 2
    if point < 0x10000:
        out[0] = <unsigned char>(0xE0 | point >> 12)
        out[1] = <unsigned char>(0x80 | (point >> 6 & 0x3F))
        out[2] = <unsigned char>(0x80 | (point & 0x3F))
        return 3
    out[0] = <unsigned char>(0xF0 | (point >> 18 & 0x07))
    out[1] = <unsigned char>(0x80 | (point >> 12 & 0x3F))
    out[2] = <unsigned char>(0x80 | (point >> 6 & 0x3F))
    out[3] = <unsigned char>(0x80 | (point & 0x3F))
    return 4


# ---- containers --------------------------------------------------------------------------------------------


cdef inline int open_level(Walker* w, Py_ssize_t pos, bint is_object) noexcept nogil:
    cdef Level* level
    if w.depth >= w.max_depth:
        return <int>fail(w, TOO_DEEP, pos)
    if w.depth == w.level_capacity and not grow_levels(w):
        return -1
    level = &w.levels[w.depth]
    level.first_key = w.key_count if is_object else -1
    level.arena_start = w.arena_used
    level.table = NULL
    w.depth += 1
    return 0


cdef inline void close_level(Walker* w) noexcept nogil:
    w.depth -= 1
    cdef Level* level = &w.levels[w.depth]
    if level.first_key >= 0:
        w.key_count = level.first_key
        w.arena_used = level.arena_start
        if level.table != NULL:
            free(level.table)


cdef Py_ssize_t open_object(Walker* w, Py_ssize_t pos) noexcept nogil:
    return pos + 1 if open_level(w, pos, True) == 0 else -1


cdef inline Py_ssize_t read_member(Walker* w, Py_ssize_t pos, int otherwise) noexcept nogil:
    """Read a name and its colon at `pos`; return the index after them."""
    cdef Py_ssize_t end
    if pos >= w.size or w.data[pos] != 0x22:
        return fail(w, otherwise, pos)
    end = read_string(w, pos + 1)
    if end < 0 or add_key(w, pos + 1, end - pos - 1) < 0:
        return -1
    end += 1
    if end >= w.size or w.data[end] != 0x3A:
        end = after_space(w.data, end, w.size)
        if end >= w.size or w.data[end] != 0x3A:
            return fail(w, EXPECTED_COLON, end)
    return end + 1


cdef Py_ssize_t next_member(Walker* w, Py_ssize_t pos, bint first) noexcept nogil:
    cdef int otherwise = EXPECTED_NAME_OR_END
    w.closed = False
    pos = after_space(w.data, pos, w.size)
    if pos < w.size and w.data[pos] == 0x7D:
        close_level(w)
        w.closed = True
        return pos + 1
    if not first:
        if pos >= w.size or w.data[pos] != 0x2C:
            return fail(w, EXPECTED_COMMA_OR_BRACE, pos)
        pos = after_space(w.data, pos + 1, w.size)
        otherwise = EXPECTED_NAME
    pos = read_member(w, pos, otherwise)
    return after_space(w.data, pos, w.size) if pos >= 0 else -1


cdef Py_ssize_t validate_value(Walker* w, Py_ssize_t pos) noexcept nogil:
    cdef const unsigned char* data = w.data
    cdef Py_ssize_t size = w.size
    cdef Py_ssize_t base = w.depth
    cdef unsigned char c
    while True:
        # A value is expected; opening a container leads to its first value, or past an empty one.
        pos = after_space(data, pos, size)
        if pos >= size:
            return fail(w, EXPECTED_VALUE, pos)
        c = data[pos]
        if c == 0x22:
            pos = read_string(w, pos + 1) + 1
            if pos == 0:
                return -1
        elif c == 0x7B:
            if open_level(w, pos, True) < 0:
                return -1
            pos = after_space(data, pos + 1, size)
            if pos < size and data[pos] == 0x7D:
                close_level(w)
                pos += 1
            else:
                pos = read_member(w, pos, EXPECTED_NAME_OR_END)
                if pos < 0:
                    return -1
                continue
        elif c == 0x5B:
            if open_level(w, pos, False) < 0:
                return -1
            pos = after_space(data, pos + 1, size)
            if pos >= size or data[pos] != 0x5D:
                continue
            close_level(w)
            pos += 1
        else:
            pos = read_scalar(w, pos)
            if pos < 0:
                return -1
        # After a value: close what ends here, until a comma asks for another one.
        while True:
            if w.depth == base:
                return pos
            pos = after_space(data, pos, size)
            c = data[pos] if pos < size else 0
            if w.levels[w.depth - 1].first_key >= 0:
                if c == 0x2C:
                    pos = read_member(w, after_space(data, pos + 1, size), EXPECTED_NAME)
                    if pos < 0:
                        return -1
                    break
                if c != 0x7D:
                    return fail(w, EXPECTED_COMMA_OR_BRACE, pos)
            else:
                if c == 0x2C:
                    pos += 1
                    break
                if c != 0x5D:
                    return fail(w, EXPECTED_COMMA_OR_BRACKET, pos)
            close_level(w)
            pos += 1


cdef Py_ssize_t skip_value_at(Walker* w, Py_ssize_t pos) noexcept nogil:
    cdef Py_ssize_t end
    cdef unsigned char c
    if pos >= w.size:
        return fail(w, EXPECTED_VALUE, pos)
    c = w.data[pos]
    if c == 0x22:
        end = taut_string_end(w.data + pos + 1, w.size - pos - 1)
        return pos + end + 2 if end >= 0 else fail(w, UNCLOSED_STRING, pos)
    if c != 0x7B and c != 0x5B:
        return read_scalar(w, pos)
    end = taut_container_end(w.data + pos, w.size - pos, w.max_depth - w.depth)
    if end < 0:
        return fail(w, TOO_DEEP if end == TAUT_TOO_DEEP else UNCLOSED_CONTAINER, pos)
    end += pos
    if w.data[end - 1] != c + 2:  # in ASCII, `}` is `{` + 2 and `]` is `[` + 2
        return fail(w, WRONG_BRACKET, end - 1)
    return end


include "keys.pxi"


# ---- set up ------------------------------------------------------------------------------------------------


cdef tuple usable_isas():
    cdef int index
    cdef list usable = [index for index in range(taut_isa_count) if taut_isa_usable(index)]
    return tuple([taut_isas[index].name.decode() for index in usable])


cdef int seed() except -1:
    cdef bytes random = urandom(16)
    memcpy(hash_key, <const unsigned char*>random, 16)
    return 0


ISAS = usable_isas()
set_isa(ISAS[0])
seed()
