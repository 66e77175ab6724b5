/* Block scanning of JSON text: the three loops that run at memory speed, one build per instruction set.
 *
 *   clean_run      how many leading bytes need no look in a string (ASCII, no control, quote or backslash)
 *   string_end     the first quote that no backslash escapes
 *   container_end  the end of the object or array at the start; minds quotes and escapes, checks nothing else
 *
 * The loops are written once, in blocks_loop.h, over the few primitives that each section here defines. The
 * set is chosen when the module loads, so that the wheel needs no more than the baseline of its architecture.
 * Nothing reads outside [text, text + size): the last, partial block is copied and padded with spaces.
 */
#ifndef TAUT_BLOCKS_H
#define TAUT_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#define TAUT_X86 1
#include <emmintrin.h>
#if defined(__GNUC__)
#define TAUT_AVX2 1
#include <immintrin.h>
#endif
#elif defined(__aarch64__) && defined(__ARM_NEON)
#define TAUT_NEON 1
#include <arm_neon.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#endif

#define TAUT_BLOCK 64
enum { TAUT_UNCLOSED = -1, TAUT_TOO_DEEP = -2 };

typedef struct {
    uint64_t quote, backslash, open, close;
} taut_masks;

/* ---- what every instruction set shares ----------------------------------------------------------------- */

static inline int taut_lowest(uint64_t bits) {
#if defined(_MSC_VER) && !defined(__clang__) && (defined(_M_X64) || defined(_M_ARM64))
    unsigned long index;
    _BitScanForward64(&index, bits);
    return (int)index;
#elif defined(__GNUC__)
    return __builtin_ctzll(bits);
#else
    int index = 0;
    while (!(bits & 1)) { bits >>= 1; index++; }
    return index;
#endif
}

static inline int taut_popcount_plain(uint64_t bits) {
    bits -= bits >> 1 & 0x5555555555555555ULL;
    bits = (bits & 0x3333333333333333ULL) + (bits >> 2 & 0x3333333333333333ULL);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
    return (int)(bits * 0x0101010101010101ULL >> 56);
}

/* Bit i of the result is the parity of the bits 0..i: between quotes, it is 1. */
static inline uint64_t taut_prefix_xor_plain(uint64_t bits) {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^= bits << 32;
    return bits;
}

/* The bytes that a run of backslashes of odd length precedes. The addition carries through each run that
 * starts at an odd bit, so that the parity of its end tells that of its length; *carry goes to the next
 * block. */
static inline uint64_t taut_escaped(uint64_t backslash, uint64_t *carry) {
    const uint64_t even = 0x5555555555555555ULL;
    uint64_t follows, odd_starts, sum;
    if (!backslash) {
        uint64_t escaped = *carry;
        *carry = 0;
        return escaped;
    }
    backslash &= ~*carry;
    follows = backslash << 1 | *carry;
    odd_starts = backslash & ~even & ~follows;
    sum = odd_starts + backslash;
    *carry = sum < backslash;
    return (even ^ (sum << 1)) & follows;
}

static inline int taut_is_clean(unsigned char byte) {
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

/* ---- portable: eight bytes in a word ------------------------------------------------------------------- */

#define TAUT_ONES 0x0101010101010101ULL
#define TAUT_HIGHS 0x8080808080808080ULL
#define TAUT_LOWS 0x7f7f7f7f7f7f7f7fULL

static inline uint64_t taut_load_word(const unsigned char *text) {
    uint64_t word = 0;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    int i;
    for (i = 7; i >= 0; i--) word = word << 8 | text[i];
#else
    memcpy(&word, text, 8);
#endif
    return word;
}

/* The high bit of each byte that is zero; exact, no carry crosses a byte. */
static inline uint64_t taut_zero_bytes(uint64_t word) {
    return ~(((word & TAUT_LOWS) + TAUT_LOWS) | word) & TAUT_HIGHS;
}

/* The high bit of each byte to one bit per byte. */
static inline uint64_t taut_gather(uint64_t highs) {
    return (highs >> 7) * 0x0102040810204080ULL >> 56;
}

static inline void taut_classify_swar(const unsigned char *text, taut_masks *masks) {
    uint64_t quotes = 0, backslashes = 0, opens = 0, closes = 0;
    int i;
    for (i = 0; i < 64; i += 8) {
        const uint64_t word = taut_load_word(text + i);
        const uint64_t folded = word | TAUT_ONES * 0x20; /* '[' -> '{' and ']' -> '}' */
        /* The high bit of a byte stays 0 where it is the wanted one: x + 0x7f reaches 0x80 unless x is 0. The high
         * bit of the byte itself is added at the end, since none of the wanted bytes has it. */
        const uint64_t low = word & TAUT_LOWS, low_folded = folded & TAUT_LOWS;
        const uint64_t quote = (low ^ TAUT_ONES * '"') + TAUT_LOWS;
        const uint64_t backslash = (low ^ TAUT_ONES * '\\') + TAUT_LOWS;
        const uint64_t open = (low_folded ^ TAUT_ONES * '{') + TAUT_LOWS;
        const uint64_t close = (low_folded ^ TAUT_ONES * '}') + TAUT_LOWS;
        const uint64_t ascii = ~word & TAUT_HIGHS;
        if (!(~(quote & backslash & open & close) & ascii)) continue;
        quotes |= taut_gather(~quote & ascii) << i;
        backslashes |= taut_gather(~backslash & ascii) << i;
        opens |= taut_gather(~open & ascii) << i;
        closes |= taut_gather(~close & ascii) << i;
    }
    masks->quote = quotes;
    masks->backslash = backslashes;
    masks->open = opens;
    masks->close = closes;
}

static inline uint64_t taut_special_swar(const unsigned char *text) {
    uint64_t word = taut_load_word(text);
    uint64_t special = taut_zero_bytes(word ^ TAUT_ONES * '"') | taut_zero_bytes(word ^ TAUT_ONES * '\\');
    special |= ~((word & TAUT_LOWS) + TAUT_ONES * 0x60) & TAUT_HIGHS; /* control: + 0x60 stays below 0x80 */
    special |= word & TAUT_HIGHS;
    return taut_gather(special);
}

static inline uint64_t taut_special_swar_16(const unsigned char *text) {
    return taut_special_swar(text) | taut_special_swar(text + 8) << 8;
}

#define TAUT_NAME(function) function##_swar
#define TAUT_TARGET
#define TAUT_CLASSIFY taut_classify_swar
#define TAUT_PREFIX_XOR taut_prefix_xor_plain
#define TAUT_POPCOUNT taut_popcount_plain
#define TAUT_STEP 8
#define TAUT_SPECIAL taut_special_swar
#define TAUT_SPECIAL_16 taut_special_swar_16
#include "blocks_loop.h"

/* ---- x86-64 baseline ----------------------------------------------------------------------------------- */

#if defined(TAUT_X86)

static inline uint64_t taut_special_sse2(const unsigned char *text) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)text);
    __m128i special = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20)); /* signed: 0x80 and above are negative */
    special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    return (uint64_t)(unsigned)_mm_movemask_epi8(special);
}

static inline uint64_t taut_equal_sse2(__m128i bytes, char byte) {
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte)));
}

static inline void taut_classify_sse2(const unsigned char *text, taut_masks *masks) {
    int i;
    memset(masks, 0, sizeof *masks);
    for (i = 0; i < 64; i += 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(text + i));
        const __m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20)); /* '[' -> '{' and ']' -> '}' */
        masks->quote |= taut_equal_sse2(bytes, '"') << i;
        masks->backslash |= taut_equal_sse2(bytes, '\\') << i;
        masks->open |= taut_equal_sse2(folded, '{') << i;
        masks->close |= taut_equal_sse2(folded, '}') << i;
    }
}

#define TAUT_NAME(function) function##_sse2
#define TAUT_TARGET
#define TAUT_CLASSIFY taut_classify_sse2
#define TAUT_PREFIX_XOR taut_prefix_xor_plain
#define TAUT_POPCOUNT taut_popcount_plain
#define TAUT_STEP 16
#define TAUT_SPECIAL taut_special_sse2
#define TAUT_SPECIAL_16 taut_special_sse2
#include "blocks_loop.h"

#endif

/* ---- AVX2 and carry-less multiplication, chosen at run time -------------------------------------------- */

#if defined(TAUT_AVX2)

#define TAUT_TARGET_AVX2 __attribute__((target("avx2,pclmul,popcnt,bmi")))

TAUT_TARGET_AVX2 static inline uint64_t taut_special_avx2(const unsigned char *text) {
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)text);
    __m256i special = _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), bytes);
    special = _mm256_or_si256(special, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('"')));
    special = _mm256_or_si256(special, _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\\')));
    return (uint64_t)(unsigned)_mm256_movemask_epi8(special);
}

TAUT_TARGET_AVX2 static inline uint64_t taut_equal_avx2(__m256i low, __m256i high, char byte) {
    const __m256i wanted = _mm256_set1_epi8(byte);
    const uint64_t first = (unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted));
    return first | (uint64_t)(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)) << 32;
}

TAUT_TARGET_AVX2 static inline void taut_classify_avx2(const unsigned char *text, taut_masks *masks) {
    const __m256i low = _mm256_loadu_si256((const __m256i *)text);
    const __m256i high = _mm256_loadu_si256((const __m256i *)(text + 32));
    const __m256i low_folded = _mm256_or_si256(low, _mm256_set1_epi8(0x20));
    const __m256i high_folded = _mm256_or_si256(high, _mm256_set1_epi8(0x20));
    masks->quote = taut_equal_avx2(low, high, '"');
    masks->backslash = taut_equal_avx2(low, high, '\\');
    masks->open = taut_equal_avx2(low_folded, high_folded, '{');
    masks->close = taut_equal_avx2(low_folded, high_folded, '}');
}

TAUT_TARGET_AVX2 static inline uint64_t taut_prefix_xor_avx2(uint64_t bits) {
    const __m128i product = _mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)bits), _mm_set1_epi8(-1), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

#define TAUT_NAME(function) function##_avx2
#define TAUT_TARGET TAUT_TARGET_AVX2
#define TAUT_CLASSIFY taut_classify_avx2
#define TAUT_PREFIX_XOR taut_prefix_xor_avx2
#define TAUT_POPCOUNT __builtin_popcountll
#define TAUT_STEP 32
#define TAUT_SPECIAL taut_special_avx2
#define TAUT_SPECIAL_16 taut_special_sse2
#include "blocks_loop.h"

#endif

/* ---- AArch64 ------------------------------------------------------------------------------------------- */

#if defined(TAUT_NEON)

/* Comparison results of 64 bytes to 64 bits: each lane keeps one bit, then neighbours are added. */
static inline uint64_t taut_gather_neon(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
    static const uint8_t weights[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bit = vld1q_u8(weights);
    uint8x16_t low = vpaddq_u8(vandq_u8(a, bit), vandq_u8(b, bit));
    uint8x16_t high = vpaddq_u8(vandq_u8(c, bit), vandq_u8(d, bit));
    low = vpaddq_u8(low, high);
    low = vpaddq_u8(low, low);
    return vgetq_lane_u64(vreinterpretq_u64_u8(low), 0);
}

static inline uint64_t taut_special_neon(const unsigned char *text) {
    const uint8x16_t zero = vdupq_n_u8(0);
    const uint8x16_t bytes = vld1q_u8(text);
    uint8x16_t special = vcltq_s8(vreinterpretq_s8_u8(bytes), vdupq_n_s8(0x20)); /* signed, as for SSE2 */
    special = vorrq_u8(special, vceqq_u8(bytes, vdupq_n_u8('"')));
    special = vorrq_u8(special, vceqq_u8(bytes, vdupq_n_u8('\\')));
    return taut_gather_neon(special, zero, zero, zero);
}

static inline uint64_t taut_equal_neon(const uint8x16_t bytes[4], char byte) {
    const uint8x16_t wanted = vdupq_n_u8((uint8_t)byte);
    return taut_gather_neon(vceqq_u8(bytes[0], wanted), vceqq_u8(bytes[1], wanted),
                            vceqq_u8(bytes[2], wanted), vceqq_u8(bytes[3], wanted));
}

static inline void taut_classify_neon(const unsigned char *text, taut_masks *masks) {
    const uint8x16_t fold = vdupq_n_u8(0x20); /* '[' -> '{' and ']' -> '}' */
    uint8x16_t bytes[4], folded[4];
    int i;
    for (i = 0; i < 4; i++) {
        bytes[i] = vld1q_u8(text + 16 * i);
        folded[i] = vorrq_u8(bytes[i], fold);
    }
    masks->quote = taut_equal_neon(bytes, '"');
    masks->backslash = taut_equal_neon(bytes, '\\');
    masks->open = taut_equal_neon(folded, '{');
    masks->close = taut_equal_neon(folded, '}');
}

#define TAUT_NAME(function) function##_neon
#define TAUT_TARGET
#define TAUT_CLASSIFY taut_classify_neon
#define TAUT_PREFIX_XOR taut_prefix_xor_plain
#define TAUT_POPCOUNT taut_popcount_plain
#define TAUT_STEP 16
#define TAUT_SPECIAL taut_special_neon
#define TAUT_SPECIAL_16 taut_special_neon
#include "blocks_loop.h"

#endif

/* ---- the choice ---------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    ptrdiff_t (*clean_run)(const unsigned char *text, ptrdiff_t size);
    ptrdiff_t (*string_end)(const unsigned char *text, ptrdiff_t size);
    ptrdiff_t (*container_end)(const unsigned char *text, ptrdiff_t size, ptrdiff_t max_depth);
} taut_isa;

#define TAUT_ISA(name) {#name, clean_run_##name, string_end_##name, container_end_##name}

/* Best first; the last works everywhere. */
static const taut_isa taut_isas[] = {
#if defined(TAUT_AVX2)
    TAUT_ISA(avx2),
#endif
#if defined(TAUT_X86)
    TAUT_ISA(sse2),
#endif
#if defined(TAUT_NEON)
    TAUT_ISA(neon),
#endif
    TAUT_ISA(swar),
};
static const int taut_isa_count = (int)(sizeof taut_isas / sizeof taut_isas[0]);
static const taut_isa *taut_chosen = &taut_isas[sizeof taut_isas / sizeof taut_isas[0] - 1];

/* Whether this processor runs the set: only AVX2 is above a baseline. */
static inline int taut_isa_usable(int index) {
#if defined(TAUT_AVX2)
    if (index == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("pclmul")
               && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("bmi");
#endif
    return index < taut_isa_count;
}

static inline void taut_isa_choose(int index) { taut_chosen = &taut_isas[index]; }

static inline ptrdiff_t taut_string_end(const unsigned char *text, ptrdiff_t size) {
    return taut_chosen->string_end(text, size);
}

static inline ptrdiff_t taut_container_end(const unsigned char *text, ptrdiff_t size, ptrdiff_t max_depth) {
    return taut_chosen->container_end(text, size, max_depth);
}

/* A bit for each of 16 bytes that is not clean. Most strings, and most pieces between escapes, are shorter:
 * this is the baseline's step, inlined, which a call through the choice cannot be. */
static inline uint64_t taut_special_16(const unsigned char *text) {
#if defined(TAUT_X86)
    return taut_special_sse2(text);
#elif defined(TAUT_NEON)
    return taut_special_neon(text);
#else
    return taut_special_swar_16(text);
#endif
}

static inline ptrdiff_t taut_clean_run(const unsigned char *text, ptrdiff_t size) {
    uint64_t special;
    if (size < 16) return taut_chosen->clean_run(text, size);
    special = taut_special_16(text);
    return special ? taut_lowest(special) : 16 + taut_chosen->clean_run(text + 16, size - 16);
}

/* Index of the closing quote of the string that begins at start, if it is clean and short, else -1. */
static inline ptrdiff_t taut_short_string(const unsigned char *data, ptrdiff_t start, ptrdiff_t size) {
    uint64_t special;
    if (size - start >= 16) {
        special = taut_special_16(data + start);
    } else if (size >= 16) { /* near the end: the last 16 bytes, without those before the string */
        special = taut_special_16(data + size - 16) >> (16 - (size - start));
    } else {
        return -1;
    }
    if (!special) return -1;
    start += taut_lowest(special);
    return data[start] == '"' ? start : -1;
}

#endif
