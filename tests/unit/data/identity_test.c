/* SPDX-License-Identifier: Apache-2.0 */
/* Identities: which differences are another job's, which are another arithmetic's, and what they
 * say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/identity.h"

static const char now[] = "arithmetic: 2, this GPU\ndata: x\nmodel default top_p: 0.9\nseed: 2\n";

static enum identity_verdict compare(const char *there, char why[IDENTITY_WHY_BYTES])
{
    why[0] = '\0';
    return identity_compare(there, strlen(there), now, why, IDENTITY_WHY_BYTES);
}

static void lines_are_compared_in_any_order(void **state)
{
    (void)state;
    char why[IDENTITY_WHY_BYTES];
    assert_int_equal(compare(now, why), IDENTITY_SAME);
    assert_int_equal(
        compare("seed: 2\nmodel default top_p: 0.9\ndata: x\narithmetic: 2, this GPU\n", why),
        IDENTITY_SAME);
    assert_string_equal(why, "");
}

static void the_first_line_that_differs_is_quoted(void **state)
{
    (void)state;
    static const struct {
        const char *there;
        enum identity_verdict verdict;
        const char *why;
    } cases[] = {
        {"arithmetic: 2, this GPU\ndata: x\nmodel default top_p: 0.9\nseed: 1\n",
         IDENTITY_OTHER_JOB, "\"seed: 1\" there, \"seed: 2\" now"},
        {"arithmetic: 2, this GPU\ndata: x\nmodel default top_p: 0.9\n", IDENTITY_OTHER_JOB,
         "the default there, \"seed: 2\" now"},
        {"arithmetic: 2, this GPU\ndata: x\nmodel default top_p: 0.9\nseed: 2\nmore: 1\n",
         IDENTITY_OTHER_JOB, "\"more: 1\" there, the default now"},
        {"arithmetic: 2, that GPU\ndata: x\nmodel default top_p: 0.9\nseed: 2\n",
         IDENTITY_OTHER_ARITHMETIC,
         "\"arithmetic: 2, that GPU\" there, \"arithmetic: 2, this GPU\" now"},
        {"data: x\nseed: 2\n", IDENTITY_OTHER_ARITHMETIC,
         "the default there, \"arithmetic: 2, this GPU\" now"},
        /* The job's difference counts more than the arithmetic's. */
        {"arithmetic: 2, that GPU\ndata: x\nmodel default top_p: 0.9\nseed: 1\n",
         IDENTITY_OTHER_JOB, "\"seed: 1\" there, \"seed: 2\" now"},
        {"", IDENTITY_OTHER_JOB, "the default there, \"data: x\" now"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char why[IDENTITY_WHY_BYTES];
        assert_int_equal(compare(cases[i].there, why), cases[i].verdict);
        assert_string_equal(why, cases[i].why);
    }
}

static void generations_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *identity;
        int generation;
    } cases[] = {
        {now, 2},
        {"data: x\n", 1}, /* sluice 0.1 named none */
        {"", 1},
        {"data: x\narithmetic: 17", 17},
        {"arithmetic: none\n", 1},
        {"arithmetic: 99999999999\n", 999999},
        {"generate.stop: \"arithmetic: 5\"\n", 1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *identity = cases[i].identity;
        assert_int_equal(identity_generation(identity, strlen(identity)), cases[i].generation);
    }
}

static void the_arithmetic_can_be_taken_out(void **state)
{
    (void)state;
    struct buffer text = {0};
    assert_int_equal(identity_arithmetic(now, strlen(now), &text), STATUS_OK);
    assert_string_equal(text.data, "2, this GPU");
    buffer_clear(&text);
    assert_int_equal(identity_without_arithmetic(now, strlen(now), &text), STATUS_OK);
    assert_string_equal(text.data, "data: x\nseed: 2\n");
    buffer_destroy(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_compared_in_any_order),
        cmocka_unit_test(the_first_line_that_differs_is_quoted),
        cmocka_unit_test(generations_are_read),
        cmocka_unit_test(the_arithmetic_can_be_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
