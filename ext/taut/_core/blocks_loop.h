/* The loops of blocks.h, included once per instruction set; no include guard, on purpose.
 *
 * The section that includes this defines TAUT_NAME, TAUT_TARGET, TAUT_CLASSIFY, TAUT_PREFIX_XOR,
 * TAUT_POPCOUNT, TAUT_STEP, TAUT_SPECIAL (a bit per byte of a step that is not clean) and TAUT_SPECIAL_16
 * (the same for 16 bytes); all are undefined again at the end.
 */

TAUT_TARGET static ptrdiff_t TAUT_NAME(clean_run)(const unsigned char *text, ptrdiff_t size) {
    ptrdiff_t i = 0;
    for (; size - i >= 2 * TAUT_STEP; i += 2 * TAUT_STEP) {
        const uint64_t first = TAUT_SPECIAL(text + i);
        const uint64_t second = TAUT_SPECIAL(text + i + TAUT_STEP);
        if (first | second) return i + (first ? taut_lowest(first) : TAUT_STEP + taut_lowest(second));
    }
    for (; size - i >= 16; i += 16) {
        const uint64_t special = TAUT_SPECIAL_16(text + i);
        if (special) return i + taut_lowest(special);
    }
    if (size >= 16) { /* the last bytes, once more together with some before them that are clean */
        const uint64_t special = TAUT_SPECIAL_16(text + size - 16);
        return special ? size - 16 + taut_lowest(special) : size;
    }
    while (i < size && taut_is_clean(text[i])) i++;
    return i;
}

/* The block at text + i: the input itself, or for the last, partial one a copy padded with spaces. */
static inline const unsigned char *TAUT_NAME(block_at)(const unsigned char *text, ptrdiff_t i, ptrdiff_t size,
                                                       unsigned char *copy) {
    if (size - i >= TAUT_BLOCK) return text + i;
    memset(copy, ' ', TAUT_BLOCK);
    memcpy(copy, text + i, (size_t)(size - i));
    return copy;
}

/* Index of the closing quote of the string whose first byte is text[0], or TAUT_UNCLOSED. */
TAUT_TARGET static ptrdiff_t TAUT_NAME(string_end)(const unsigned char *text, ptrdiff_t size) {
    unsigned char copy[TAUT_BLOCK];
    uint64_t carry = 0;
    ptrdiff_t i;
    for (i = 0; i < size; i += TAUT_BLOCK) {
        taut_masks masks;
        uint64_t quotes;
        TAUT_CLASSIFY(TAUT_NAME(block_at)(text, i, size, copy), &masks);
        quotes = masks.quote & ~taut_escaped(masks.backslash, &carry);
        if (quotes) return i + taut_lowest(quotes);
    }
    return TAUT_UNCLOSED;
}

/* Index after the bracket that closes text[0], TAUT_UNCLOSED, or TAUT_TOO_DEEP above max_depth. */
TAUT_TARGET static ptrdiff_t TAUT_NAME(container_end)(const unsigned char *text, ptrdiff_t size,
                                                      ptrdiff_t max_depth) {
    unsigned char copy[TAUT_BLOCK];
    uint64_t carry = 0, in_string = 0;
    ptrdiff_t depth = 0, i;
    for (i = 0; i < size; i += TAUT_BLOCK) {
        taut_masks masks;
        uint64_t inside;
        ptrdiff_t opens, closes;
        TAUT_CLASSIFY(TAUT_NAME(block_at)(text, i, size, copy), &masks);
        inside = TAUT_PREFIX_XOR(masks.quote & ~taut_escaped(masks.backslash, &carry)) ^ in_string;
        in_string = 0 - (inside >> 63);
        masks.open &= ~inside;
        masks.close &= ~inside;
        opens = TAUT_POPCOUNT(masks.open);
        closes = TAUT_POPCOUNT(masks.close);
        if (depth + opens > max_depth) { /* may become too deep in here: bracket by bracket, in order */
            uint64_t brackets = masks.open | masks.close;
            for (; brackets; brackets &= brackets - 1) {
                const uint64_t bracket = brackets & (0 - brackets);
                if (masks.open & bracket) {
                    if (++depth > max_depth) return TAUT_TOO_DEEP;
                } else if (--depth == 0) {
                    return i + taut_lowest(bracket) + 1;
                }
            }
            continue;
        }
        if (depth <= closes) { /* may end in here: at the close that leaves nothing open before it */
            uint64_t rest = masks.close;
            ptrdiff_t closed = 1;
            for (; rest; rest &= rest - 1, closed++) {
                const uint64_t below = (rest & (0 - rest)) - 1;
                if (depth + TAUT_POPCOUNT(masks.open & below) == closed) return i + taut_lowest(rest) + 1;
            }
        }
        depth += opens - closes;
    }
    return TAUT_UNCLOSED;
}

#undef TAUT_NAME
#undef TAUT_TARGET
#undef TAUT_CLASSIFY
#undef TAUT_PREFIX_XOR
#undef TAUT_POPCOUNT
#undef TAUT_STEP
#undef TAUT_SPECIAL
#undef TAUT_SPECIAL_16
