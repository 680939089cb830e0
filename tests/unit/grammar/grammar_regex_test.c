/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions as grammars: what they match by dialect, where they are anchored, what is
 * refused. Expected values are those of Python's re and of ECMA-262. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/regex_front.h"

static const struct grammar_regex_options ecma = {GRAMMAR_REGEX_ECMA, true};
static const struct grammar_regex_options whole = {GRAMMAR_REGEX_PYTHON, false};

static void check(struct grammar_regex_options options, const char *pattern, const char *text,
                  bool expected)
{
    struct grammar_expressions *arena;
    grammar_node node;
    bool does;
    assert_int_equal(grammar_expressions_create(NULL, &arena), STATUS_OK);
    status s = grammar_regex(arena, pattern, strlen(pattern), options, &node);
    if (s != STATUS_OK) {
        fail_msg("%s: %s", pattern, status_message());
    }
    assert_int_equal(grammar_matches(arena, node, text, strlen(text), &does), STATUS_OK);
    if (does != expected) {
        fail_msg("%s %s %s", pattern, does ? "matches" : "does not match", text);
    }
    grammar_expressions_destroy(arena);
}

static void patterns_of_schemas_search(void **state)
{
    (void)state;
    check(ecma, "b+", "abbc", true);
    check(ecma, "b+", "ac", false);
    check(ecma, "^b+", "bba", true);
    check(ecma, "^b+", "abb", false);
    check(ecma, "b+$", "abb", true);
    check(ecma, "b+$", "abba", false);
    check(ecma, "^[a-z]{2,3}$", "ab", true);
    check(ecma, "^[a-z]{2,3}$", "abcd", false);
    check(ecma, "^a|b$", "axx", true);
    check(ecma, "^a|b$", "xxb", true);
    check(ecma, "^a|b$", "xax", false);
    check(ecma, "(^|,)foo(,|$)", "foo", true);
    check(ecma, "(^|,)foo(,|$)", "a,foo,b", true);
    check(ecma, "(^|,)foo(,|$)", "afoo", false);
    check(ecma, "^(foo|bar$)", "foox", true);
    check(ecma, "^(foo|bar$)", "barx", false);
    check(ecma, "", "anything", true);
    check(ecma, "^$", "", true);
    check(ecma, "^$", "a", false);
    check(ecma, "\xC3\xA9", "caf\xC3\xA9", true);
}

static void whole_patterns_match_whole_texts(void **state)
{
    (void)state;
    check(whole, "b+", "abb", false);
    check(whole, "b+", "bb", true);
    check(whole, "^b+$", "bb", true);
    check(whole, "(^a|b)c$", "bc", true);
    check(whole, "(^a|b)c$", "ac", true);
    check(whole, "x(^a)", "xa", false);
    check(whole, "(?P<year>\\d{4})-(?:0[1-9]|1[0-2])", "2026-11", true);
    check(whole, "(?i)yes|NO", "nO", true);
    check(whole, "(?s).", "\n", true);
    check(whole, ".", "\n", false);
    check(whole, "a*?b", "aab", true);
    check(whole, "a{2}?", "", false);
    check(whole, "\\Aab\\Z", "ab", true);
}

static void dialects_differ(void **state)
{
    (void)state;
    check(ecma, "^\\d$", "\xD9\xA3", false); /* U+0663, a digit of another script */
    check(whole, "\\d", "\xD9\xA3", true);
    check(ecma, "^\\w$", "\xC3\xA9", false);
    check(whole, "\\w", "\xC3\xA9", true);
    check(ecma, "^\\s$", "\xEF\xBB\xBF", true);
    check(ecma, "^\\s$", "\xC2\x85", false);
    check(whole, "\\s", "\x1C", true);
    check(ecma, "^.$", "\r", false);
    check(whole, ".", "\r", true);
    check(ecma, "^[[a]$", "[", true); /* no class in a class */
    check(ecma, "^[a&&b]$", "&", true);
    check(ecma, "^[^]$", "\n", true);
    check(ecma, "^\\u{1F600}$", "\xF0\x9F\x98\x80", true);
    check(ecma, "^\\uD83D\\uDE00$", "\xF0\x9F\x98\x80", true);
    check(ecma, "^\\cJ\\/\\-$", "\n/-", true);
    check(ecma, "^\\p{L}\\p{Script=Greek}$", "a\xCE\xB1", true);
    check(ecma, "^a{,2}$", "a{,2}", true);
    check(whole, "a{,2}", "aa", true);
}

static void looks_ahead_at_the_top(void **state)
{
    (void)state;
    check(ecma, "^(?!foo$).*$", "foo", false);
    check(ecma, "^(?!foo$).*$", "food", true);
    check(ecma, "^(?!foo).*$", "food", false);
    check(ecma, "^(?=.*[0-9])(?=.*[a-z]).{4,8}$", "abc1", true);
    check(ecma, "^(?=.*[0-9])(?=.*[a-z]).{4,8}$", "abcd", false);
    check(ecma, "^a(?!b)", "ac", true);
    check(ecma, "^a(?!b)", "ab", false);
    check(ecma, "a(?!b)", "abac", true);
    check(whole, "(?!.*--)[a-z-]+", "a-b", true);
    check(whole, "(?!.*--)[a-z-]+", "a--b", false);
}

static void what_is_no_automaton_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct grammar_regex_options options;
        const char *pattern;
        status code;
    } cases[] = {
        {{GRAMMAR_REGEX_ECMA, true}, "(a)\\1", STATUS_UNSUPPORTED},
        {{GRAMMAR_REGEX_ECMA, true}, "\\bfoo", STATUS_UNSUPPORTED},
        {{GRAMMAR_REGEX_ECMA, true}, "(?<=a)b", STATUS_UNSUPPORTED},
        {{GRAMMAR_REGEX_ECMA, true}, "(a(?=b))*", STATUS_UNSUPPORTED},
        {{GRAMMAR_REGEX_ECMA, true}, "a**", STATUS_INVALID},
        {{GRAMMAR_REGEX_ECMA, true}, "\\A", STATUS_INVALID},
        {{GRAMMAR_REGEX_ECMA, true}, "\\uD83D\\u12", STATUS_INVALID},
        {{GRAMMAR_REGEX_ECMA, true}, "\\uD83D\\u{DE00}", STATUS_INVALID},
        {{GRAMMAR_REGEX_ECMA, true}, "\\u12", STATUS_INVALID},
        {{GRAMMAR_REGEX_ECMA, true}, "(", STATUS_INVALID},
        {{GRAMMAR_REGEX_ECMA, true}, "[b-a]", STATUS_INVALID},
        {{GRAMMAR_REGEX_ECMA, true}, "(?i)a", STATUS_UNSUPPORTED},
        {{GRAMMAR_REGEX_PYTHON, false}, "a++", STATUS_UNSUPPORTED},
        {{GRAMMAR_REGEX_PYTHON, false}, "(?>a)", STATUS_UNSUPPORTED},
        {{GRAMMAR_REGEX_PYTHON, false}, "\\q", STATUS_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct grammar_expressions *arena;
        grammar_node node;
        assert_int_equal(grammar_expressions_create(NULL, &arena), STATUS_OK);
        const status s = grammar_regex(arena, cases[i].pattern, strlen(cases[i].pattern),
                                       cases[i].options, &node);
        if (s != cases[i].code) {
            fail_msg("%s: %s (%s)", cases[i].pattern, status_name(s), status_message());
        }
        grammar_expressions_destroy(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_of_schemas_search),
        cmocka_unit_test(whole_patterns_match_whole_texts),
        cmocka_unit_test(dialects_differ),
        cmocka_unit_test(looks_ahead_at_the_top),
        cmocka_unit_test(what_is_no_automaton_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
