/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions of grammars: which texts they stand for, which of them are the same node, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/expression.h"

struct fixture {
    struct grammar_expressions *arena;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    *state = &fixture;
    return grammar_expressions_create(NULL, &fixture.arena);
}

static int tear_down(void **state)
{
    grammar_expressions_destroy(((struct fixture *)*state)->arena);
    return 0;
}

#define OK(expression) assert_int_equal(expression, STATUS_OK)

static struct grammar_expressions *arena_of(void **state)
{
    return ((struct fixture *)*state)->arena;
}

static grammar_node literal(struct grammar_expressions *arena, const char *text)
{
    grammar_node node;
    OK(grammar_literal(arena, text, strlen(text), &node));
    return node;
}

static grammar_node range(struct grammar_expressions *arena, uint32_t first, uint32_t last)
{
    grammar_node node;
    OK(grammar_code_points(arena, &(struct code_point_range){first, last}, 1, &node));
    return node;
}

static grammar_node repeat(struct grammar_expressions *arena, grammar_node node, uint32_t least,
                           uint32_t most)
{
    OK(grammar_repeat(arena, node, least, most, &node));
    return node;
}

static bool matches(struct grammar_expressions *arena, grammar_node node, const char *text)
{
    bool does;
    OK(grammar_matches(arena, node, text, strlen(text), &does));
    return does;
}

static void literals_and_choices(void **state)
{
    struct grammar_expressions *arena = arena_of(state);
    const grammar_node words[] = {literal(arena, "red"), literal(arena, "green"),
                                  literal(arena, "r"), literal(arena, "")};
    grammar_node choice, same;
    OK(grammar_choice(arena, words, COUNT_OF(words), &choice));
    assert_true(matches(arena, choice, "red"));
    assert_true(matches(arena, choice, "r"));
    assert_true(matches(arena, choice, ""));
    assert_false(matches(arena, choice, "re"));
    assert_false(matches(arena, choice, "redgreen"));
    const grammar_node turned[] = {words[2], words[3], choice, words[1]};
    OK(grammar_choice(arena, turned, COUNT_OF(turned), &same));
    assert_int_equal(same, choice);
    OK(grammar_choice(arena, NULL, 0, &choice));
    bool is_empty;
    OK(grammar_is_empty(arena, choice, &is_empty));
    assert_true(is_empty);
    const grammar_node with_nothing[] = {words[0], choice};
    OK(grammar_sequence(arena, with_nothing, 2, &same));
    assert_int_equal(same, choice);
}

static void repeats_are_counted(void **state)
{
    struct grammar_expressions *arena = arena_of(state);
    const grammar_node a = literal(arena, "ab");
    const grammar_node two_or_three = repeat(arena, a, 2, 3);
    assert_false(matches(arena, two_or_three, "ab"));
    assert_true(matches(arena, two_or_three, "abab"));
    assert_true(matches(arena, two_or_three, "ababab"));
    assert_false(matches(arena, two_or_three, "abababab"));
    const grammar_node many = repeat(arena, a, 2, GRAMMAR_UNBOUNDED);
    assert_false(matches(arena, many, "ab"));
    assert_true(matches(arena, many, "abab"));
    assert_true(matches(arena, many, "ababababab"));
    assert_true(matches(arena, repeat(arena, a, 0, GRAMMAR_UNBOUNDED), ""));
    assert_false(matches(arena, repeat(arena, a, 3, 2), ""));
    /* a part that may be empty, any number of times */
    const grammar_node optional = repeat(arena, a, 0, 1);
    assert_true(matches(arena, repeat(arena, optional, 3, GRAMMAR_UNBOUNDED), "abab"));
}

static void code_points_are_utf8(void **state)
{
    struct grammar_expressions *arena = arena_of(state);
    const grammar_node all = range(arena, 0, 0x10FFFF);
    assert_true(matches(arena, all, "\x7F"));
    assert_true(matches(arena, all, "\xC3\xA9"));
    assert_true(matches(arena, all, "\xEF\xBF\xBF"));
    assert_true(matches(arena, all, "\xF4\x8F\xBF\xBF"));
    assert_false(matches(arena, all, "\xF4\x90\x80\x80"));
    assert_false(matches(arena, all, "\xED\xA0\x80")); /* a surrogate */
    assert_false(matches(arena, all, "\xC0\x80"));     /* too long a form */
    /* Every code point at the edges of a crooked range, and none beside it. */
    static const uint32_t edges[][2] = {{0x41, 0x41},      {0x7F, 0x80},   {0x3A9, 0x12345},
                                        {0xFFFF, 0x10000}, {0x7FF, 0x800}, {0x10FFFE, 0x10FFFF},
                                        {0x801, 0xFFE},    {0x40, 0x1F600}};
    for (size_t i = 0; i < COUNT_OF(edges); i++) {
        const grammar_node node = range(arena, edges[i][0], edges[i][1]);
        for (int64_t point = edges[i][0] - 70; point <= edges[i][1] + 70; point++) {
            if (point == edges[i][0] + 200 && edges[i][1] > point + 400) {
                point = edges[i][1] - 200;
            }
            char text[5] = {0};
            if (point <= 0 || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
                continue;
            }
            utf8_encode((int32_t)point, text);
            assert_int_equal(matches(arena, node, text),
                             point >= edges[i][0] && point <= edges[i][1]);
        }
    }
    grammar_node bad;
    assert_int_equal(grammar_code_points(arena, &(struct code_point_range){0, 0x110000}, 1, &bad),
                     STATUS_INVALID);
}

static void sets_of_texts(void **state)
{
    struct grammar_expressions *arena = arena_of(state);
    const grammar_node letters = repeat(arena, range(arena, 'a', 'f'), 1, 4);
    const grammar_node later = repeat(arena, range(arena, 'd', 'z'), 3, GRAMMAR_UNBOUNDED);
    grammar_node both, without, none;
    OK(grammar_both(arena, letters, later, &both));
    assert_true(matches(arena, both, "def"));
    assert_false(matches(arena, both, "de"));
    assert_false(matches(arena, both, "abc"));
    assert_false(matches(arena, both, "defde"));
    OK(grammar_without(arena, letters, literal(arena, "def"), &without));
    assert_true(matches(arena, without, "de"));
    assert_true(matches(arena, without, "defd"));
    assert_false(matches(arena, without, "def"));
    bool answer;
    OK(grammar_overlap(arena, letters, later, &answer));
    assert_true(answer);
    OK(grammar_overlap(arena, without, literal(arena, "def"), &answer));
    assert_false(answer);
    OK(grammar_without(arena, letters, letters, &none));
    OK(grammar_is_empty(arena, none, &answer));
    assert_true(answer);
}

static void json_strings_have_one_form(void **state)
{
    struct grammar_expressions *arena = arena_of(state);
    grammar_node any, quoted, word;
    any = repeat(arena, range(arena, 0, 0x10FFFF), 0, GRAMMAR_UNBOUNDED);
    OK(grammar_json_string_of(arena, any, &quoted));
    assert_true(matches(arena, quoted, "\"\""));
    assert_true(matches(arena, quoted, "\"a\\nb\\\"\\\\\\u001f\xC3\xA9\x7F\""));
    assert_false(matches(arena, quoted, "\"a\nb\""));
    assert_false(matches(arena, quoted, "\"\\u001F\""));
    assert_false(matches(arena, quoted, "\"\\u000a\""));
    assert_false(matches(arena, quoted, "\"\\/\""));
    assert_false(matches(arena, quoted, "\"a"));
    OK(grammar_json_string_of(arena, literal(arena, "a\"b\tc\v"), &word));
    assert_true(matches(arena, word, "\"a\\\"b\\tc\\u000b\""));
    assert_false(matches(arena, word, "\"a\"b\tc\v\""));
}

static void rules_are_not_regular(void **state)
{
    struct grammar_expressions *arena = arena_of(state);
    grammar_rule rule;
    grammar_node reference, out;
    OK(grammar_rule_declare(arena, "node", &rule));
    OK(grammar_reference(arena, rule, &reference));
    assert_int_equal(grammar_both(arena, reference, literal(arena, "a"), &out), STATUS_UNSUPPORTED);
    assert_int_equal(grammar_json_string_of(arena, reference, &out), STATUS_UNSUPPORTED);
    OK(grammar_rule_define(arena, rule, reference));
    assert_int_equal(grammar_rule_define(arena, rule, reference), STATUS_INVALID);
    assert_string_equal(status_message(), "rule \"node\" is defined twice");
}

static void limits_hold(void **state)
{
    (void)state;
    struct grammar_expressions *arena;
    grammar_node node, big;
    bool does;
    OK(grammar_expressions_create(&(struct grammar_limits){.states = 1000, .depth = 5}, &arena));
    node = literal(arena, "xy");
    big = repeat(arena, node, 5000, 5000);
    assert_int_equal(grammar_matches(arena, big, "xy", 2, &does), STATUS_LIMIT);
    status s = STATUS_OK;
    for (int i = 0; i < 6 && s == STATUS_OK; i++) {
        s = grammar_repeat(arena, node, 0, 2, &node);
        if (s == STATUS_OK) {
            const grammar_node pair[] = {node, literal(arena, "z")};
            s = grammar_sequence(arena, pair, 2, &node);
        }
    }
    assert_int_equal(s, STATUS_LIMIT);
    grammar_expressions_destroy(arena);
    /* Work is counted: (a|b)*a(a|b){30} has a billion states. */
    OK(grammar_expressions_create(&(struct grammar_limits){.seconds = 0.05}, &arena));
    const grammar_node ab = range(arena, 'a', 'b');
    const grammar_node parts[] = {repeat(arena, ab, 0, GRAMMAR_UNBOUNDED), literal(arena, "a"),
                                  repeat(arena, ab, 30, 30)};
    OK(grammar_sequence(arena, parts, 3, &node));
    assert_int_equal(grammar_matches(arena, node, "a", 1, &does), STATUS_LIMIT);
    grammar_expressions_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(literals_and_choices, set_up, tear_down),
        cmocka_unit_test_setup_teardown(repeats_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(code_points_are_utf8, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sets_of_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(json_strings_have_one_form, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_are_not_regular, set_up, tear_down),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
