/* SPDX-License-Identifier: Apache-2.0 */
/* Random regular expressions on random texts: the matches that a plain, slow matcher finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "regex_oracle.h"
#include "text/regex/regex.h"

enum { EXPRESSIONS = 6000, TEXTS = 6, MOST_TEXT = 24 };

static uint64_t random_bits(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static int compare(struct oracle *oracle, const char *pattern, const struct regex *regex,
                   const char *text, size_t length)
{
    struct regex_scan scan = {0};
    size_t position = 0, last_end = SIZE_MAX;
    int matches = 0;
    regex_scan_start(&scan, regex, text, length);
    for (;;) {
        size_t start, end;
        bool found = false, known;
        const status s = regex_scan_next(&scan, &found);
        const bool expected =
            oracle_next(oracle, text, length, position, last_end, &start, &end, &known);
        if (s == STATUS_LIMIT || !known) {
            break;
        }
        assert_int_equal(s, STATUS_OK);
        if (found != expected || (found && (scan.match_start != start || scan.match_end != end))) {
            fail_msg("%s on \"%s\" from %zu: %s %zu-%zu, expected %s %zu-%zu", pattern, text,
                     position, found ? "found" : "nothing", found ? scan.match_start : 0,
                     found ? scan.match_end : 0, expected ? "found" : "nothing",
                     expected ? start : 0, expected ? end : 0);
        }
        if (!found) {
            break;
        }
        matches++;
        position = last_end = end;
    }
    free(scan.stack);
    return matches;
}

static void random_expressions_agree(void **state)
{
    (void)state;
    static const char letters[] = "aaabbbcd1_ \n";
    int matches = 0, expressions = 0;
    for (int i = 0; i < EXPRESSIONS; i++) {
        uint8_t bytes[64];
        struct oracle oracle;
        struct buffer pattern = {0};
        struct regex *regex;
        for (size_t j = 0; j < sizeof bytes; j++) {
            bytes[j] = (uint8_t)(random_bits() >> 40);
        }
        oracle_make(&oracle, bytes, sizeof bytes);
        assert_int_equal(oracle_write(&oracle, oracle.root, &pattern), STATUS_OK);
        if (regex_create(pattern.data, pattern.length, &regex) == STATUS_OK) {
            expressions++;
            for (int t = 0; t < TEXTS; t++) {
                char text[MOST_TEXT + 1] = "";
                const size_t length = random_bits() >> 40 & 15;
                for (size_t j = 0; j < length; j++) {
                    text[j] = letters[(random_bits() >> 40) % (sizeof letters - 1)];
                }
                matches += compare(&oracle, pattern.data, regex, text, length);
            }
        } else if (strstr(status_message(), "too ") == NULL) {
            fail_msg("%s: %s", pattern.data, status_message());
        }
        regex_destroy(regex);
        buffer_destroy(&pattern);
    }
    assert_true(expressions > EXPRESSIONS / 10 * 9 && matches > EXPRESSIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_expressions_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
