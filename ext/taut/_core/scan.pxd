"""The strict walker and the block scanner, for the envelope; _common.py words the faults."""

from libc.stdint cimport uint64_t

cdef enum:
    INLINE_LEVELS = 24  # nesting and keys up to these need no allocation
    INLINE_KEYS = 48


# The numbers of _common.Fault.
cdef enum:
    OK
    EXPECTED_VALUE
    EXPECTED_NAME_OR_END
    EXPECTED_NAME
    EXPECTED_COLON
    EXPECTED_COMMA_OR_BRACE
    EXPECTED_COMMA_OR_BRACKET
    EXPECTED_END
    EXPECTED_DIGIT
    UNKNOWN_LITERAL
    LEADING_ZERO
    CONTROL_CHARACTER
    UNKNOWN_ESCAPE
    BAD_HEX
    LONE_SURROGATE
    BAD_UTF8
    UNCLOSED_STRING
    UNCLOSED_CONTAINER
    WRONG_BRACKET
    BYTE_ORDER_MARK
    DUPLICATE_KEY
    TOO_DEEP
    TOO_MANY_DIGITS
    TOO_MANY_KEYS
    OUT_OF_MEMORY


cdef struct Key:
    uint64_t tag  # equal keys have equal tags: a cheap one in small objects, SipHash in large ones
    Py_ssize_t start  # into the input; with escapes, -1 - offset of the unescaped copy in the arena
    Py_ssize_t length


cdef struct Level:
    Py_ssize_t first_key  # index of its first key; -1 for an array
    Py_ssize_t arena_start
    Py_ssize_t* table  # open addressing, 1 + key index relative to first_key; NULL while the object is small
    Py_ssize_t slots  # a power of two


# One walk over one input. Functions that return an index return -1 after a fault, which is then set.
cdef struct Walker:
    const unsigned char* data
    Py_ssize_t size
    Py_ssize_t max_depth
    Py_ssize_t max_digits
    Py_ssize_t max_keys
    bint unique  # refuse duplicate keys; True unless changed after open_walker
    int fault
    Py_ssize_t offset  # of the fault
    # The last member name read, unescaped; holds until the next name.
    const unsigned char* name
    Py_ssize_t name_length
    bint closed  # next_member met the end of the object
    bint escaped  # the last string read has escapes
    # Open containers, and the keys of those that are objects: two stacks that grow together.
    Py_ssize_t depth
    Py_ssize_t key_count
    Py_ssize_t arena_used
    Level* levels
    Key* keys
    unsigned char* arena
    Py_ssize_t level_capacity
    Py_ssize_t key_capacity
    Py_ssize_t arena_capacity
    Level inline_levels[INLINE_LEVELS]
    Key inline_keys[INLINE_KEYS]


cdef void open_walker(
    Walker* w,
    const unsigned char* data,
    Py_ssize_t size,
    Py_ssize_t max_depth,
    Py_ssize_t max_digits,
    Py_ssize_t max_keys,
) noexcept nogil
cdef void close_walker(Walker* w) noexcept nogil

# Index of the first byte at or after `pos` that is not whitespace.
cdef Py_ssize_t skip_space(Walker* w, Py_ssize_t pos) noexcept nogil
# Index after the value at `pos`, every byte of it checked.
cdef Py_ssize_t validate_value(Walker* w, Py_ssize_t pos) noexcept nogil
# Index after the value at `pos`; of an object, an array or a string only the end is looked for.
cdef Py_ssize_t skip_value_at(Walker* w, Py_ssize_t pos) noexcept nogil
# `pos` is at a `{`: opens it and returns the index after it.
cdef Py_ssize_t open_object(Walker* w, Py_ssize_t pos) noexcept nogil
# `pos` is after the `{` (first) or after a member: the index of the next member's value, its name in
# `w.name`; or `w.closed`, and the index after the `}`.
cdef Py_ssize_t next_member(Walker* w, Py_ssize_t pos, bint first) noexcept nogil
# Index after the whitespace that ends the input.
cdef Py_ssize_t expect_end(Walker* w, Py_ssize_t pos) noexcept nogil

# Length of the unescaped text; `out` has room for `size` bytes. Garbage gives garbage, never a wrong access.
cdef Py_ssize_t unescape(const unsigned char* text, Py_ssize_t size, unsigned char* out) noexcept nogil
# The exception for the fault of `w`.
cdef object fault_of(Walker* w)
