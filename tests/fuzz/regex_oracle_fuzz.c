/* SPDX-License-Identifier: Apache-2.0 */
/* 64 bytes that make a regular expression, and an ASCII text: the matches are those that a plain,
 * slow matcher finds (tests/regex_oracle.h). */
#include "fuzz.h"
#include "regex_oracle.h"
#include "text/regex/regex.h"

enum { EXPRESSION_BYTES = 64, MOST_TEXT = 200 };

static void compare(struct oracle *oracle, const struct regex *regex, const char *text,
                    size_t length)
{
    struct regex_scan scan = {0};
    size_t position = 0, last_end = SIZE_MAX;
    bool found = true;
    regex_scan_start(&scan, regex, text, length);
    while (found) {
        size_t start, end;
        bool known;
        const status s = regex_scan_next(&scan, &found);
        const bool expected =
            oracle_next(oracle, text, length, position, last_end, &start, &end, &known);
        if (s == STATUS_LIMIT || !known) {
            break;
        }
        REQUIRE(s == STATUS_OK && found == expected);
        REQUIRE(!found || (scan.match_start == start && scan.match_end == end));
        position = last_end = end;
    }
    free(scan.stack);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct oracle oracle;
    struct buffer pattern = {0};
    struct regex *regex;
    char text[MOST_TEXT];
    size_t taken = length < EXPRESSION_BYTES ? length : EXPRESSION_BYTES, count = 0;
    oracle_make(&oracle, bytes, taken);
    REQUIRE(oracle_write(&oracle, oracle.root, &pattern) == STATUS_OK);
    for (size_t i = taken; i < length && count < MOST_TEXT; i++) {
        text[count++] = (char)(bytes[i] & 127);
    }
    if (regex_create(pattern.data, pattern.length, &regex) == STATUS_OK) {
        compare(&oracle, regex, text, count);
    }
    regex_destroy(regex);
    buffer_destroy(&pattern);
    return 0;
}
