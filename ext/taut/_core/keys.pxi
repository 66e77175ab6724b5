# The keys of open objects, for scan.pyx: the check for duplicates, in linear time whatever the sender chose.
#
# A small object compares each new key with all before it, by a cheap tag first. A large one keeps a hash
# table under a key that no sender knows. Keys with escapes are unescaped first, into memory that goes with
# their object.


cdef inline const unsigned char* key_text(Walker* w, Key* key) noexcept nogil:
    return w.data + key.start if key.start >= 0 else w.arena + (-1 - key.start)


cdef inline bint same_key(Walker* w, Key* a, Key* b) noexcept nogil:
    return a.tag == b.tag and a.length == b.length and memcmp(key_text(w, a), key_text(w, b), a.length) == 0


cdef inline uint64_t quick_tag(const unsigned char* text, Py_ssize_t length) noexcept nogil:
    """Mix the ends and the length: sorts out nearly all keys of a small object without comparing them."""
    cdef uint64_t head = 0, tail = 0
    if length >= 8:
        memcpy(&head, text, 8)
        memcpy(&tail, text + length - 8, 8)
    elif length >= 4:
        memcpy(&head, text, 4)
        memcpy(&tail, text + length - 4, 4)
    elif length > 0:
        head = text[0] | <uint64_t>text[length >> 1] << 8 | <uint64_t>text[length - 1] << 16
    return (head + tail * 0x9E3779B97F4A7C15u) ^ <uint64_t>length << 56


cdef inline int add_key(Walker* w, Py_ssize_t start, Py_ssize_t length) noexcept nogil:
    """Add the name just read to the innermost object, and publish it as `w.name`."""
    cdef Level* level = &w.levels[w.depth - 1]
    cdef Py_ssize_t count = w.key_count - level.first_key
    cdef Py_ssize_t index
    cdef Key* key
    if count >= w.max_keys:
        return <int>fail(w, TOO_MANY_KEYS, start - 1)
    if w.key_count == w.key_capacity and not grow_keys(w):
        return -1
    key = &w.keys[w.key_count]
    key.start = start
    key.length = length
    if w.escaped and not unescape_key(w, key):
        return -1
    w.name = key_text(w, key)
    w.name_length = key.length
    if not w.unique:
        w.arena_used = level.arena_start
        return 0
    if count < SMALL_OBJECT:
        key.tag = quick_tag(w.name, w.name_length)
        for index in range(level.first_key, w.key_count):
            if same_key(w, &w.keys[index], key):
                return <int>fail(w, DUPLICATE_KEY, start - 1)
    else:
        key.tag = taut_siphash(w.name, w.name_length, hash_key)
        if not insert_key(w, level, count):
            return <int>fail(w, w.fault if w.fault else DUPLICATE_KEY, start - 1)
    w.key_count += 1
    return 0


cdef bint insert_key(Walker* w, Level* level, Py_ssize_t count) noexcept nogil:
    """Put the key behind the first `count` into the table; False when it is in there, or after a fault."""
    cdef Key* keys = w.keys + level.first_key
    cdef Key* key = keys + count
    cdef Py_ssize_t slot
    if (level.table == NULL or 2 * (count + 1) > level.slots) and not build_table(w, level, count):
        return False
    slot = <Py_ssize_t>key.tag & (level.slots - 1)
    while level.table[slot] != 0:
        if same_key(w, keys + level.table[slot] - 1, key):
            return False
        slot = (slot + 1) & (level.slots - 1)
    level.table[slot] = count + 1
    return True


cdef bint build_table(Walker* w, Level* level, Py_ssize_t count) noexcept nogil:
    """Make a table with room for four times the `count` keys and put them in."""
    cdef Key* keys = w.keys + level.first_key
    cdef Py_ssize_t slots = 4 * SMALL_OBJECT if level.table == NULL else 2 * level.slots
    cdef Py_ssize_t* table = <Py_ssize_t*>calloc(slots, sizeof(Py_ssize_t))
    cdef Py_ssize_t index, slot
    if table == NULL:
        w.fault = OUT_OF_MEMORY
        return False
    for index in range(count):
        if level.table == NULL:
            keys[index].tag = taut_siphash(key_text(w, keys + index), keys[index].length, hash_key)
        slot = <Py_ssize_t>keys[index].tag & (slots - 1)
        while table[slot] != 0:
            slot = (slot + 1) & (slots - 1)
        table[slot] = index + 1
    free(level.table)
    level.table = table
    level.slots = slots
    return True


cdef bint unescape_key(Walker* w, Key* key) noexcept nogil:
    """Put the unescaped name into the arena, so that both spellings of a key are one key."""
    cdef Py_ssize_t needed = w.arena_used + key.length
    cdef Py_ssize_t length
    cdef unsigned char* arena
    if needed > w.arena_capacity:
        arena = <unsigned char*>realloc(w.arena, 2 * needed)
        if arena == NULL:
            fail(w, OUT_OF_MEMORY, key.start)
            return False
        w.arena = arena
        w.arena_capacity = 2 * needed
    length = unescape(w.data + key.start, key.length, w.arena + w.arena_used)
    key.start = -1 - w.arena_used
    key.length = length
    w.arena_used += length
    return True


cdef bint grow_levels(Walker* w) noexcept nogil:
    cdef Level* levels = <Level*>grow(
        w.levels, w.levels == w.inline_levels, w.level_capacity * <Py_ssize_t>sizeof(Level)
    )
    if levels == NULL:
        fail(w, OUT_OF_MEMORY, 0)
        return False
    w.levels = levels
    w.level_capacity *= 2
    return True


cdef bint grow_keys(Walker* w) noexcept nogil:
    cdef Key* keys = <Key*>grow(w.keys, w.keys == w.inline_keys, w.key_capacity * <Py_ssize_t>sizeof(Key))
    if keys == NULL:
        fail(w, OUT_OF_MEMORY, 0)
        return False
    w.keys = keys
    w.key_capacity *= 2
    return True


cdef void* grow(void* old, bint is_inline, Py_ssize_t size) noexcept nogil:
    """Double an array of `size` bytes; the first time it moves from the walker to the heap."""
    cdef void* new
    if not is_inline:
        return realloc(old, 2 * size)
    new = malloc(2 * size)
    if new != NULL:
        memcpy(new, old, size)
    return new
