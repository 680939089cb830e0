/* SPDX-License-Identifier: Apache-2.0 */
/* Random grammars and texts: what matchers say, held against a slow matcher (grammar_check.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "grammar_check.h"

enum { GRAMMARS = 200, CHOICES = 400 };

static void random_grammars(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252U;
    uint8_t choices[CHOICES];
    int checked = 0;
    for (int i = 0; i < GRAMMARS; i++) {
        for (size_t j = 0; j < sizeof choices; j++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            choices[j] = (uint8_t)(random >> 32);
        }
        checked += check_grammar(choices, sizeof choices);
    }
    assert_true(checked > GRAMMARS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_grammars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
