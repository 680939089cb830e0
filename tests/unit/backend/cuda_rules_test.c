/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic that CUDA kernels share with the host, where it is plain functions: a router's
 * rules, clamped gates, gates and steps of states. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/cuda/kernels/experts_rules.h"
#include "backend/cuda/kernels/states/rules.h"

static void numbers_have_an_order(void **state)
{
    (void)state;
    assert_true(expert_order(NAN) == -FLT_MAX);
    assert_true(expert_order(-INFINITY) == -FLT_MAX);
    assert_true(expert_order(0.25f) == 0.25f);
    assert_true(expert_goes_before(2, 7, 1, 3));
    assert_false(expert_goes_before(1, 3, 2, 7));
    assert_true(expert_goes_before(1, 3, 1, 7)); /* the lower number of equal ones */
    assert_false(expert_goes_before(1, 7, 1, 3));
    assert_true(expert_goes_before(-FLT_MAX, 5, -INFINITY, 9)); /* any before none */
}

static void groups_are_as_good_as_their_best(void **state)
{
    (void)state;
    const float scores[] = {0.5f, 0.125f, 0.75f, 0.75f};
    const float unknown[] = {-FLT_MAX, -FLT_MAX};
    assert_true(expert_group_order(scores, 4, 1) == 0.75f);
    assert_true(expert_group_order(scores, 4, 0) == 1.5f);
    assert_true(expert_group_order(scores, 2, 0) == 0.625f);
    assert_true(expert_group_order(scores, 1, 0) == 0.5f);
    assert_true(expert_group_order(unknown, 2, 0) == -FLT_MAX); /* and not -infinity: taken */
}

static void weights_follow_the_rule(void **state)
{
    (void)state;
    assert_true(expert_weight(0.25f, 0.5f, 0, 0, 1) == 0.25f);
    assert_true(expert_weight(0.25f, 0.5f, 0, 1, 1) == 0.5f);
    assert_true(expert_weight(0.25f, 0.5f, 1, 1, 4) == 1.0f);
    assert_true(expert_weight(0.25f, 0.5f, 0.125f, 1, 4) == 2.0f);
    assert_true(expert_sigmoid(0) == 0.5f);
}

static void gates_are_clamped(void **state)
{
    (void)state;
    const float limit = 7;
    assert_true(expert_clamped(0, 3, limit) == 0);
    assert_true(expert_clamped(9, 1, limit) == expert_clamped(7, 1, limit));
    assert_false(expert_clamped(-9, 1, limit) ==
                 expert_clamped(-7, 1, limit)); /* from above only */
    assert_true(expert_clamped(1, 8, limit) == expert_clamped(1, 7, limit));
    assert_true(expert_clamped(1, -8, limit) == expert_clamped(1, -7, limit));
    assert_true(expert_clamped(1, -1, limit) == 0);
    assert_float_equal(expert_clamped(2, 0.5f, limit), 2 / (1 + exp(-3.404)) * 1.5, 1e-6);
    assert_true(isnan(expert_clamped(NAN, 1, limit)));
    assert_true(isnan(expert_clamped(1, NAN, limit)));
}

static void steps_of_states_are_right(void **state)
{
    (void)state;
    assert_float_equal(state_softplus(0), log(2), 1e-12);
    assert_true(state_softplus(30) == 30);
    assert_float_equal(delta_decay(0.5f, 0.25f, -0.75f), exp(-exp(0.5) * log1p(exp(-0.5))), 1e-7);
    assert_float_equal(delta_beta(-1), 1 / (1 + exp(1)), 1e-7);
    assert_float_equal(delta_length(4, 2), 1 / (sqrt(4 + 1e-6) * 2), 1e-7);
    assert_float_equal(scan_step(0.5f, 0.5f, 0, 10), log1p(exp(1)), 1e-6);
    assert_true(scan_step(-50, 0, 0.25f, 10) == 0.25f);
    assert_true(scan_step(50, 0, 0.25f, 10) == 10);
    assert_float_equal(scan_decay(0.5f, 2), exp(-exp(0.5) * 2), 1e-7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_an_order),
        cmocka_unit_test(groups_are_as_good_as_their_best),
        cmocka_unit_test(weights_follow_the_rule),
        cmocka_unit_test(gates_are_clamped),
        cmocka_unit_test(steps_of_states_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
