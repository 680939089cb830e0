/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions: where Oniguruma's syntax and semantics are their own. The spans are those
 * that the reference library gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/regex/regex.h"

/* The matches as "0-2 5-6 ". */
static void find_all(const char *pattern, const char *text, struct buffer *out)
{
    struct regex *regex;
    if (regex_create(pattern, strlen(pattern), &regex) != STATUS_OK) {
        fail_msg("%s: %s", pattern, status_message());
    }
    struct regex_scan scan = {0};
    regex_scan_start(&scan, regex, text, strlen(text));
    for (;;) {
        bool found;
        assert_int_equal(regex_scan_next(&scan, &found), STATUS_OK);
        if (!found) {
            break;
        }
        assert_int_equal(buffer_format(out, "%zu-%zu ", scan.match_start, scan.match_end),
                         STATUS_OK);
    }
    assert_int_equal(buffer_append(out, "", 0), STATUS_OK);
    free(scan.stack);
    regex_destroy(regex);
}

static void patterns_match(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text, *spans;
    } cases[] = {
        {"a{2,3}+", "aaaaaaab", "0-6 "}, /* the plus repeats, it is not possessive */
        {"a++b", "aaab", "0-4 "},
        {"a?+a", "a", ""},
        {"a{2}?", "aa", "0-2 "}, /* optional, not reluctant */
        {"^b", "a\nb", "2-3 "},
        {"a$", "a\nb", "0-1 "},
        {".+", "a\nb\r", "0-1 2-4 "},
        {"(?m:a.b)", "a\nb", "0-3 "},
        {"[a[bc]]+", "xabcx", "1-4 "},
        {"[a-z&&[^aeiou]]+", "hello", "0-1 2-4 "},
        {"[^a-z&&[aeiou]]+", "hello1", "0-1 2-4 5-6 "},
        {"[\\p{L}&&[^\\p{Han}]]+", "ab中c", "0-2 5-6 "},
        {"\\h+", "xFf0g", "1-4 "},
        {"\\w+", "a_b²", "0-5 "}, /* superscripts are words outside of brackets only */
        {"[\\w]+", "a_b²", "0-3 "},
        {"\\s", "\xE1\xA0\x8E", ""}, /* U+180E is no space any more */
        {"[[:punct:]]+", "+!a", "0-2 "},
        {"\\p{Punct}+", "+!a", "1-2 "},
        {"\\p{^L}+|\\P{^L}", "a1", "0-1 1-2 "},
        {"(?i:k)", "K\xE2\x84\xAA", "0-1 1-4 "}, /* the Kelvin sign */
        {"(?i:'s)", "'\xC5\xBF", "0-3 "},        /* the long s */
        {"a(?i)b|c", "aB C", "0-2 "},            /* (?i) takes the alternatives with it */
        {"(?<=a|bc)d", "ad bcd xd", "1-2 5-6 "},
        {"(?<!a)b", "ab b", "3-4 "},
        {"\\s+(?!\\S)|\\s+", "a   b  ", "1-3 3-4 5-7 "},
        {"(?>a+)ab", "aab", ""},
        {"x*", "axb", "0-0 1-2 3-3 "}, /* none right behind a match */
        {"(?:a*)*b", "aab", "0-3 "},
        {"(?:a|)+?c", "aac", "0-3 "},
        {"\\R", "a\r\nb\n", "1-3 4-5 "},
        {"\\bfoo\\b", "a foo food", "2-5 "},
        {"(?x: a b # c\n )", "ab", "0-2 "},
        {"(?x: a\t\n\v\f\r b [ ] \\  c )", "ab  c", "0-5 "}, /* but for classes and escapes */
        {"(?x: a b) c", "ab c", "0-4 "},
        {"{|a{x|}", "{a{x}", "0-1 1-4 4-5 "},
        {"[]a]+|[a-]|[\\-.]", "]a-.", "0-2 2-3 3-4 "},
        {"\\x{41}\\u0042\\x43\\t", "ABC\t", "0-4 "},
        {"\\A.|.\\z", "abc", "0-1 2-3 "},
        {"a.*?b", "axxbxb", "0-4 "},
        {"a[x]*?b", "axxb axc", "0-4 "},
        {"x+?", "xxx", "0-1 1-2 2-3 "},
        {"a.*?\\z", "abc", "0-3 "},
        {"a\\Z", "a\n", "0-1 "},
        {"a\\Z", "a\n\n", ""},
        {"a\\z", "a\n", ""},
        {"\\Bb", "ab b", "1-2 "},
        {"\\a\\e\\v\\f\\r", "\a\x1b\v\f\r", "0-5 "},
        {"\\012\\cA", "\n\x01", "0-2 "},
        {"\\N", "a\nb", "0-1 2-3 "},
        {"\\O", "a\n", "0-1 1-2 "},
        {"\\H+", "xFg", "0-1 2-3 "},
        {"\\D+|\\W", "a1-", "0-1 2-3 "},
        {"(?#what)a", "ba", "1-2 "},
        {"(?'n'a)(?<m>b)", "ab", "0-2 "},
        {"(?ix-x:A b)", "a b", "0-3 "},
        {"(?i)a(?-i)b", "Ab AB", "0-2 "},
        {"[^\\n\\cA]+", "a\x01z", "0-1 2-3 "},
        {"\xF0\x90\xB5\x8A|\\p{Lo}", "\xF0\x90\xB5\x8A", "0-4 "}, /* a letter of Unicode 16 */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer spans = {0};
        find_all(cases[i].pattern, cases[i].text, &spans);
        if (strcmp(spans.data, cases[i].spans) != 0) {
            fail_msg("%s on \"%s\": %s instead of %s", cases[i].pattern, cases[i].text, spans.data,
                     cases[i].spans);
        }
        buffer_destroy(&spans);
    }
}

static void bad_patterns_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        status expected;
    } cases[] = {
        {"(", STATUS_INVALID},
        {"a)", STATUS_INVALID},
        {"[a", STATUS_INVALID},
        {"*", STATUS_INVALID},
        {"a\\", STATUS_INVALID},
        {"[z-a]", STATUS_INVALID},
        {"a{3,2}", STATUS_INVALID},
        {"\\p{L", STATUS_INVALID},
        {"\\x{110000}", STATUS_INVALID},
        {"(a)\\1", STATUS_UNSUPPORTED},
        {"\\X", STATUS_UNSUPPORTED},
        {"\\p{Nonsense}", STATUS_UNSUPPORTED},
        {"(?s:.)", STATUS_UNSUPPORTED},
        {"(?<=a+)b", STATUS_UNSUPPORTED},
        {"(?:(?:(?:a{99}){99}){99}){99}", STATUS_UNSUPPORTED},
        {"\xFF", STATUS_INVALID},
        {"\\c", STATUS_INVALID},
        {"\\u12", STATUS_INVALID},
        {"\\x", STATUS_INVALID},
        {"\\x{41", STATUS_INVALID},
        {"\\x80", STATUS_UNSUPPORTED},
        {"(?'n", STATUS_INVALID},
        {"(?<n", STATUS_INVALID},
        {"(?#", STATUS_INVALID},
        {"(?i", STATUS_INVALID},
        {"(?q)", STATUS_UNSUPPORTED},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct regex *regex;
        status s = regex_create(cases[i].pattern, strlen(cases[i].pattern), &regex);
        if (s != cases[i].expected) {
            fail_msg("%s: %s", cases[i].pattern, status_name(s));
        }
        assert_null(regex);
    }
    char nested[1000];
    memset(nested, '(', sizeof nested);
    struct regex *regex;
    assert_int_equal(regex_create(nested, sizeof nested, &regex), STATUS_INVALID);
}

static status scan_letters(const char *pattern, size_t length)
{
    struct regex *regex;
    assert_int_equal(regex_create(pattern, strlen(pattern), &regex), STATUS_OK);
    char *text = malloc(length);
    assert_non_null(text);
    memset(text, 'a', length);
    struct regex_scan scan = {0};
    regex_scan_start(&scan, regex, text, length);
    status s;
    bool found;
    do {
        s = regex_scan_next(&scan, &found);
    } while (s == STATUS_OK && found);
    free(scan.stack);
    free(text);
    regex_destroy(regex);
    return s;
}

static void work_is_bounded(void **state)
{
    (void)state;
    assert_int_equal(scan_letters("(?:a|a)*b", 64), STATUS_LIMIT);
    assert_int_equal(scan_letters("(?:a*)*b", 1000), STATUS_LIMIT);
    assert_int_equal(scan_letters("a+b", 100000), STATUS_LIMIT);
    assert_int_equal(scan_letters("\\s*[\\r\\n]+|\\p{L}+|a*b", 1000000), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match),
        cmocka_unit_test(bad_patterns_are_refused),
        cmocka_unit_test(work_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
