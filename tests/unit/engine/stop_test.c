/* SPDX-License-Identifier: Apache-2.0 */
/* Stop strings: what is found must not depend on how the text arrived. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/stop.h"
#include "sluice/base.h"

enum { NOT_FOUND = -1 };

/* Feeds the text in pieces of `piece` bytes; where it is cut, or NOT_FOUND. */
static int cut_in_pieces(const char *text, size_t piece, const char *const *stops, int stop_count)
{
    size_t length = strlen(text);
    for (size_t fresh = 0; fresh < length; fresh += piece) {
        size_t known = fresh + piece < length ? fresh + piece : length;
        size_t cut, end;
        if (stop_find(text, known, fresh, stops, stop_count, &cut, &end)) {
            return (int)cut;
        }
    }
    return NOT_FOUND;
}

static void pieces_do_not_matter(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *stops[3];
        int stop_count, cut;
    } cases[] = {
        {"hello\n\nworld", {"\n\n"}, 1, 5},
        {"hello world", {"\n\n"}, 1, NOT_FOUND},
        {"", {"a"}, 1, NOT_FOUND},
        {"a", {"a"}, 1, 0},
        {"aabaabaaab", {"aaab"}, 1, 6},
        {"xabcd", {"abcd", "b"}, 2, 2},      /* "b" is complete first */
        {"xabcd", {"c", "abc", "bc"}, 3, 1}, /* together: the longest */
        {"stop STOP", {"STOP", "END"}, 2, 5},
        {"\xc3\xa9\xc3\xa8", {"\xc3\xa8"}, 1, 2},
        {"aaaa", {"aaa", "aaaa"}, 2, 0},
        {"no stops", {NULL}, 0, NOT_FOUND},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (size_t piece = 1; piece <= strlen(cases[i].text) + 1; piece++) {
            int cut = cut_in_pieces(cases[i].text, piece, cases[i].stops, cases[i].stop_count);
            if (cut != cases[i].cut) {
                fail_msg("\"%s\" in pieces of %zu: %d", cases[i].text, piece, cut);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pieces_do_not_matter)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
