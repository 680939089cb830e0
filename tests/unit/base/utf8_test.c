/* SPDX-License-Identifier: Apache-2.0 */
/* What is UTF-8 and where it ends: every pair and many triples of bytes at every place of a vector,
 * and random texts, beside a check of one character after the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/base.h"

/* By utf8_decode alone. */
static size_t first_bad(const char *text, size_t length)
{
    size_t at = 0, size;
    while (at < length && utf8_decode(text + at, length - at, &size) >= 0) {
        at += size;
    }
    return at;
}

static void check(const char *text, size_t length)
{
    size_t bad = SIZE_MAX, expected = first_bad(text, length);
    assert_int_equal(utf8_valid(text, length, NULL), expected == length);
    assert_int_equal(utf8_valid(text, length, &bad), expected == length);
    assert_int_equal(bad, expected == length ? SIZE_MAX : expected);
}

static void decode_knows_the_table(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int32_t code_point;
    } cases[] = {
        {"A", 'A'},
        {"\xC2\x80", 0x80},
        {"\xC1\xBF", -1}, /* overlong */
        {"\xDF\xBF", 0x7FF},
        {"\xE0\xA0\x80", 0x800},
        {"\xE0\x9F\xBF", -1},
        {"\xED\x9F\xBF", 0xD7FF},
        {"\xED\xA0\x80", -1}, /* a surrogate */
        {"\xEF\xBF\xBF", 0xFFFF},
        {"\xF0\x90\x80\x80", 0x10000},
        {"\xF0\x8F\xBF\xBF", -1},
        {"\xF4\x8F\xBF\xBF", 0x10FFFF},
        {"\xF4\x90\x80\x80", -1},
        {"\xF5\x80\x80\x80", -1},
        {"\x80", -1},
        {"\xE2\x82", -1}, /* cut off */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t size;
        assert_int_equal(utf8_decode(cases[i].text, strlen(cases[i].text), &size),
                         cases[i].code_point);
    }
}

/* Four bytes at places around a vector's ends, in a text of ASCII. */
static void four_bytes_anywhere(void **state)
{
    (void)state;
    static const unsigned char tails[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90,
                                          0x9F, 0xA0, 0xBF, 0xC2, 0xE1, 0xF1};
    static const size_t places[] = {0, 13, 28, 29, 30, 31, 32, 60};
    char text[96];
    memset(text, 'a', sizeof text);
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            for (size_t i = 0; i < COUNT_OF(tails) * COUNT_OF(tails); i++) {
                const char four[4] = {(char)first, (char)second, (char)tails[i / COUNT_OF(tails)],
                                      (char)tails[i % COUNT_OF(tails)]};
                size_t place = places[(first + second + i) % COUNT_OF(places)];
                memcpy(text + place, four, sizeof four);
                bool valid = first_bad(text, 64) == 64;
                assert_int_equal(utf8_valid(text, 64, NULL), valid);
                memset(text + place, 'a', sizeof four);
            }
        }
    }
}

static void random_texts(void **state)
{
    (void)state;
    uint64_t random = 7;
    char text[300];
    for (int round = 0; round < 200000; round++) {
        size_t length = 0;
        while (length < sizeof text - 8) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            int32_t code_point = (int32_t)(random >> 33 & (random >> 60 & 1 ? 0x7F : 0xFFFF));
            bool surrogate = code_point >= 0xD800 && code_point < 0xE000;
            length += utf8_encode(surrogate ? 0x1F600 : code_point, text + length);
            if ((random >> 20 & 0xF) == 0) {
                break;
            }
        }
        check(text, length);
        if (length > 0) { /* cut off, and with one byte changed */
            check(text, (size_t)(random >> 10) % length);
            text[(size_t)(random >> 30) % length] ^= (char)(random >> 8);
            check(text, length);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_knows_the_table),
        cmocka_unit_test(four_bytes_anywhere),
        cmocka_unit_test(random_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
