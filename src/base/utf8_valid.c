/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a text is UTF-8: 32 bytes at a time where the processor can, one character at a time to
 * find where it is not. */
#include <string.h>

#include "sluice/base.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* John Keiser and Daniel Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte" (2021),
 * section 6: three tables of 16 say for each pair of neighbours which errors its first byte's high
 * half, its first byte's low half and its second byte's high half leave possible; what all three
 * leave is one. */
enum {
    TOO_SHORT = 1 << 0,  /* a leading byte without what follows it */
    TOO_LONG = 1 << 1,   /* ASCII, and a continuation */
    OVERLONG_3 = 1 << 2, /* below U+0800 in three bytes */
    TOO_LARGE = 1 << 3,  /* above U+10FFFF */
    SURROGATE = 1 << 4,
    OVERLONG_2 = 1 << 5,
    TOO_LARGE_1000 = 1 << 6, /* above, and its second byte has the high half 8 */
    OVERLONG_4 = 1 << 6,
    TWO_CONTINUATIONS = 1 << 7, /* fine as the third or the fourth byte */
    ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS,
    LARGE_LOW = ANY_LOW | TOO_LARGE | TOO_LARGE_1000,
};

#define TABLE(name, ...) static const unsigned char name[16] = {__VA_ARGS__}
TABLE(first_high, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
      TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS, TWO_CONTINUATIONS,
      TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE,
      TOO_SHORT | TOO_LARGE | TOO_LARGE_1000 | OVERLONG_4);
TABLE(first_low, ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4, ANY_LOW | OVERLONG_2, ANY_LOW,
      ANY_LOW, ANY_LOW | TOO_LARGE, LARGE_LOW, LARGE_LOW, LARGE_LOW, LARGE_LOW, LARGE_LOW,
      LARGE_LOW, LARGE_LOW, LARGE_LOW, LARGE_LOW | SURROGATE, LARGE_LOW, LARGE_LOW);
TABLE(second_high, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
      TOO_SHORT,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | TOO_LARGE_1000 | OVERLONG_4,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | OVERLONG_3 | TOO_LARGE,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE,
      TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS | SURROGATE | TOO_LARGE, TOO_SHORT, TOO_SHORT,
      TOO_SHORT, TOO_SHORT);
#undef TABLE

#define AVX2 __attribute__((target("avx2")))

AVX2 static __m256i table_of(const unsigned char table[16])
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)table));
}

AVX2 static __m256i high_halves(__m256i bytes)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0F));
}

/* Each byte's neighbour so many places before it, at the beginning the last ones of `before`. */
#define EARLIER(bytes, before, places)                                                             \
    _mm256_alignr_epi8(bytes, _mm256_permute2x128_si256(before, bytes, 0x21), 16 - (places))

/* Not zero where something is wrong. */
AVX2 static __m256i errors_in(__m256i bytes, __m256i before)
{
    const __m256i first = EARLIER(bytes, before, 1);
    const __m256i low = _mm256_and_si256(first, _mm256_set1_epi8(0x0F));
    const __m256i pairs = _mm256_and_si256(
        _mm256_and_si256(_mm256_shuffle_epi8(table_of(first_high), high_halves(first)),
                         _mm256_shuffle_epi8(table_of(first_low), low)),
        _mm256_shuffle_epi8(table_of(second_high), high_halves(bytes)));
    /* The bit 128 where a third or a fourth byte has to be, which is a second continuation. */
    const __m256i third =
        _mm256_subs_epu8(EARLIER(bytes, before, 2), _mm256_set1_epi8((char)(0xE0 - 0x80)));
    const __m256i fourth =
        _mm256_subs_epu8(EARLIER(bytes, before, 3), _mm256_set1_epi8((char)(0xF0 - 0x80)));
    const __m256i expected =
        _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(expected, pairs);
}

AVX2 static bool is_valid_avx2(const char *text, size_t length)
{
    __m256i before = _mm256_setzero_si256(), errors = before;
    for (size_t at = 0; at <= length;
         at += 32) { /* the last block has a byte of padding at least */
        char last[32] = {0};
        const char *from = text + at;
        if (length - at < 32) {
            memcpy(last, from, length - at);
            from = last;
        }
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)from);
        if (_mm256_movemask_epi8(_mm256_or_si256(bytes, before)) != 0) { /* else all is ASCII */
            errors = _mm256_or_si256(errors, errors_in(bytes, before));
        }
        before = bytes;
    }
    return _mm256_testz_si256(errors, errors) != 0;
}
#endif

/* How many bytes from the front are ASCII, as far as whole words tell. */
static size_t ascii_front(const char *text, size_t length)
{
    size_t at = 0;
    for (uint64_t word; at + sizeof word <= length; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
    }
    return at;
}

static size_t first_bad(const char *text, size_t length)
{
    size_t at = 0;
    while (at < length) {
        size_t size = ascii_front(text + at, length - at);
        if (size == 0 && utf8_decode(text + at, length - at, &size) < 0) {
            break;
        }
        at += size;
    }
    return at;
}

bool utf8_valid(const char *text, size_t length, size_t *bad_offset)
{
#if defined(__x86_64__)
    if (length >= 32 && __builtin_cpu_supports("avx2") && is_valid_avx2(text, length)) {
        return true;
    }
#endif
    size_t bad = first_bad(text, length);
    if (bad < length && bad_offset != NULL) {
        *bad_offset = bad;
    }
    return bad >= length;
}
