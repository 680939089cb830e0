/* SPDX-License-Identifier: Apache-2.0 */
/* A regular expression, a NUL, and a text to search. Matches lie in the text, one behind the other,
 * and between characters. */
#include "fuzz.h"
#include "text/regex/regex.h"

static bool is_boundary(const char *text, size_t length, size_t at)
{
    return at == length || ((unsigned char)text[at] & 0xC0) != 0x80;
}

static void search(const struct regex *regex, const char *text, size_t length)
{
    struct regex_scan scan = {0};
    size_t last = 0;
    bool found = true, first = true;
    status s = STATUS_OK;
    regex_scan_start(&scan, regex, text, length);
    while (s == STATUS_OK && found) {
        s = regex_scan_next(&scan, &found);
        if (s == STATUS_OK && found) {
            REQUIRE(scan.match_start >= last && scan.match_end >= scan.match_start &&
                    scan.match_end <= length);
            REQUIRE(first || scan.match_end > last || scan.match_start > last);
            REQUIRE(is_boundary(text, length, scan.match_start) &&
                    is_boundary(text, length, scan.match_end));
            last = scan.match_end;
            first = false;
        }
    }
    require_message(s);
    free(scan.stack);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct fuzz_input pattern = take_text(&input);
    struct regex *regex;
    status s = regex_create((const char *)pattern.bytes, pattern.length, &regex);
    require_message(s);
    if (s != STATUS_OK) {
        return 0;
    }
    /* Texts are well-formed UTF-8 where this is called; nothing lies behind them. */
    size_t valid = input.length;
    if (!utf8_valid((const char *)input.bytes, input.length, &valid)) {
        input.length = valid;
    }
    char *text = malloc(input.length > 0 ? input.length : 1);
    REQUIRE(text != NULL);
    if (input.length > 0) {
        memcpy(text, input.bytes, input.length);
    }
    search(regex, text, input.length);
    free(text);
    regex_destroy(regex);
    return 0;
}
