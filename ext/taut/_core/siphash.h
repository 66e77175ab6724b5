/* SipHash-1-3 (Aumasson, Bernstein): a keyed hash whose collisions cannot be prepared without the key.
 *
 * Used for the key sets of large objects only: a sender who could choose colliding keys could make the check
 * for duplicates quadratic.
 */
#ifndef TAUT_SIPHASH_H
#define TAUT_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TAUT_ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))
#define TAUT_SIPROUND(a, b, c, d)                                            \
    do {                                                                     \
        a += b; b = TAUT_ROTL(b, 13); b ^= a; a = TAUT_ROTL(a, 32);          \
        c += d; d = TAUT_ROTL(d, 16); d ^= c;                                \
        a += d; d = TAUT_ROTL(d, 21); d ^= a;                                \
        c += b; b = TAUT_ROTL(b, 17); b ^= c; c = TAUT_ROTL(c, 32);          \
    } while (0)

static inline uint64_t taut_siphash(const unsigned char *text, ptrdiff_t size, const uint64_t key[2]) {
    uint64_t a = key[0] ^ 0x736f6d6570736575ULL, b = key[1] ^ 0x646f72616e646f6dULL;
    uint64_t c = key[0] ^ 0x6c7967656e657261ULL, d = key[1] ^ 0x7465646279746573ULL;
    uint64_t word, last = (uint64_t)size << 56;
    ptrdiff_t i = 0;
    for (; size - i >= 8; i += 8) {
        memcpy(&word, text + i, 8);
        d ^= word;
        TAUT_SIPROUND(a, b, c, d);
        a ^= word;
    }
    word = 0;
    if (size > i) memcpy(&word, text + i, (size_t)(size - i));
    last |= word;
    d ^= last;
    TAUT_SIPROUND(a, b, c, d);
    a ^= last;
    c ^= 0xff;
    TAUT_SIPROUND(a, b, c, d);
    TAUT_SIPROUND(a, b, c, d);
    TAUT_SIPROUND(a, b, c, d);
    return a ^ b ^ c ^ d;
}

#endif
