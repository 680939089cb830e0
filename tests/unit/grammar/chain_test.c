/* SPDX-License-Identifier: Apache-2.0 */
/* Chains, whose automata are written down at once, are those that the search for states finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "grammar/nodes.h"
#include "grammar/regex_front.h"

#define OK(expression) assert_int_equal(expression, STATUS_OK)

enum { MOST_STATES = 100000 };

static grammar_node expression(struct grammar_expressions *arena, const char *pattern)
{
    const struct grammar_regex_options options = {.dialect = GRAMMAR_REGEX_ECMA};
    grammar_node node;
    OK(grammar_regex(arena, pattern, strlen(pattern), options, &node));
    return node;
}

/* No text of a that is none of b. */
static void assert_within(const struct automaton *a, const struct automaton *b)
{
    uint64_t work = UINT64_MAX;
    struct automaton *rest;
    OK(automaton_product(a, b, true, MOST_STATES, &work, &rest));
    for (uint32_t i = 0; i < rest->state_count; i++) {
        assert_false(rest->accepting[i]);
    }
    automaton_destroy(rest);
}

static void assert_same(struct grammar_expressions *arena, const char *unit, uint32_t least,
                        uint32_t most)
{
    struct automaton *unit_automaton, *made, *found;
    uint64_t work = UINT64_MAX;
    grammar_node parts[3];
    const grammar_node node = expression(arena, unit);
    OK(grammar_literal(arena, "\"", 1, &parts[0]));
    OK(grammar_repeat(arena, node, least, most, &parts[1]));
    parts[2] = parts[0];
    OK(grammar_sequence(arena, parts, 3, &parts[0]));
    OK(grammar_node_automaton(arena, parts[0], &found));
    OK(grammar_node_automaton(arena, node, &unit_automaton));
    const struct chain chain = {unit_automaton, least, most, '"', '"'};
    assert_true(automaton_can_chain(unit_automaton, '"'));
    OK(automaton_chain(&chain, MOST_STATES, &work, &made));
    assert_int_equal(made->state_count, found->state_count);
    assert_within(made, found);
    assert_within(found, made);
    automaton_destroy(made);
    automaton_destroy(found);
    automaton_destroy(unit_automaton);
}

static void chains_are_what_a_search_finds(void **state)
{
    static const char *const units[] = {"[^\"]", "a", "ab|c", "[a-c]|\\\\[nt]", "x[0-9]y?z"};
    static const uint32_t ranges[][2] = {{0, 1}, {1, 1}, {0, 3}, {2, 2}, {1, 20}, {7, 40}};
    (void)state;
    struct grammar_expressions *arena;
    OK(grammar_expressions_create(NULL, &arena));
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        for (size_t j = 0; j < COUNT_OF(ranges); j++) {
            assert_same(arena, units[i], ranges[j][0], ranges[j][1]);
        }
    }
    grammar_expressions_destroy(arena);
}

static void other_units_are_told(void **state)
{
    /* May go on behind its end; returns to its beginning; begins with the last byte; is empty. */
    static const char *const units[] = {"ab?", "a*b", "\"a", "", "a|b\"?"};
    (void)state;
    struct grammar_expressions *arena;
    OK(grammar_expressions_create(NULL, &arena));
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        struct automaton *unit;
        OK(grammar_node_automaton(arena, expression(arena, units[i]), &unit));
        assert_false(automaton_can_chain(unit, '"'));
        automaton_destroy(unit);
    }
    grammar_expressions_destroy(arena);
}

static void limits_hold(void **state)
{
    (void)state;
    struct grammar_expressions *arena;
    struct automaton *unit, *made;
    OK(grammar_expressions_create(NULL, &arena));
    OK(grammar_node_automaton(arena, expression(arena, "a"), &unit));
    const struct chain chain = {unit, 0, 1000, '"', '"'};
    uint64_t work = UINT64_MAX, little = 10;
    assert_int_equal(automaton_chain(&chain, 1002, &work, &made), STATUS_LIMIT);
    assert_int_equal(automaton_chain(&chain, 1003, &little, &made), STATUS_LIMIT);
    OK(automaton_chain(&chain, 1003, &work, &made));
    automaton_destroy(made);
    automaton_destroy(unit);
    grammar_expressions_destroy(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_are_what_a_search_finds),
        cmocka_unit_test(other_units_are_told),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
