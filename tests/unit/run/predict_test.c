/* SPDX-License-Identifier: Apache-2.0 */
/* The cost of steps from steps, and a job's time from that cost. */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "run/predict/predict.h"
#include "scratch_folder.h"

static const struct step_cost truth = {.fixed = 5e-3, .row = 1e-5, .position = 2e-8};

static bool is_near(double value, double expected)
{
    return fabs(value - expected) <= 0.02 * expected;
}

static double seconds_of(int64_t tokens, int64_t positions)
{
    return truth.fixed + truth.row * (double)tokens + truth.position * (double)positions;
}

/* Steps of many sizes; the first ones take far longer. */
static struct step_fit fit_of(int steps, bool with_positions)
{
    struct step_fit fit = {0};
    for (int i = 0; i < steps; i++) {
        int64_t tokens = 1 + (int64_t)i * 37 % 3000;
        int64_t positions = with_positions ? (int64_t)i * 7919 % 900000 : 0;
        double noise = 1 + 0.01 * (i % 3 - 1);
        step_fit_note(&fit, tokens, positions,
                      i < 10 ? 100 : noise * seconds_of(tokens, positions));
    }
    return fit;
}

static void a_fit_finds_what_steps_cost(void **state)
{
    (void)state;
    struct step_cost cost;
    struct step_fit fit = fit_of(400, true);
    assert_true(step_fit_solve(&fit, &cost));
    assert_true(is_near(cost.fixed, truth.fixed) && is_near(cost.row, truth.row) &&
                is_near(cost.position, truth.position));
    fit = fit_of(400, false); /* a term that never came up is 0, not anything */
    assert_true(step_fit_solve(&fit, &cost));
    assert_true(is_near(cost.row, truth.row) && cost.position == 0);
    fit = fit_of(40, true);
    assert_false(step_fit_solve(&fit, &cost));
}

/* Steps whose rows cost what no line says: steep at first, then flat. */
static void rows_cost_what_they_did(void **state)
{
    (void)state;
    struct step_fit fit = {0};
    struct step_cost cost;
    int renewed = 0;
    for (int i = 0; i < 1100; i++) {
        const int tokens = i % 2 == 0 ? 1000 + i % 7 : 4000 + i % 7;
        const int64_t positions = 1000 * (i % 11);
        step_fit_note(&fit, tokens, positions,
                      (i % 2 == 0 ? 0.02 : 0.03) + truth.position * (double)positions);
        renewed += step_fit_renew(&fit, &cost);
    }
    assert_int_equal(renewed, 2);
    step_fit_note(&fit, 8000, 0, 0.029); /* too few to tell, and less for more rows */
    assert_true(step_fit_solve(&fit, &cost));
    assert_int_equal(cost.rows.count, 2);
    assert_in_range(cost.rows.points[0].rows, 1000, 1006);
    assert_in_range(cost.rows.points[1].rows, 4000, 4006);
    assert_true(is_near(cost.rows.points[0].seconds, 0.02));
    assert_true(is_near(cost.rows.points[1].seconds, 0.03));
}

static void no_term_is_negative(void **state)
{
    (void)state;
    struct step_fit fit = {0};
    for (int i = 0; i < 200; i++) { /* more positions, less time: nothing that a device does */
        step_fit_note(&fit, 100 + i % 7, 1000 * i, 0.01 + 1e-3 * (200 - i) / 200);
    }
    struct step_cost cost;
    assert_true(step_fit_solve(&fit, &cost));
    assert_true(cost.fixed >= 0 && cost.row >= 0 && cost.position >= 0);
}

static void costs_are_kept_by_model_and_layout(void **state)
{
    setenv("XDG_CACHE_HOME", "", 1);
    char folder[PATH_MAX];
    assert_non_null(realpath(((const struct scratch_folder *)*state)->path, folder));
    setenv("XDG_CACHE_HOME", folder, 1);
    struct plan plan = {.arithmetic = "test", .tp = 1, .pp = 1};
    struct model_config config = {.layers = 2, .hidden = 64, .vocabulary = 100};
    struct step_cost cost, other = {.fixed = 1,
                                    .row = 2,
                                    .position = 3,
                                    .steps = 4,
                                    .rows = {2, {{10, 0.5}, {1000, 0.75}}}};
    assert_false(step_cost_load(&plan, &config, &cost));
    step_cost_save(&plan, &config, &truth);
    plan.tp = 2;
    assert_false(step_cost_load(&plan, &config, &cost));
    step_cost_save(&plan, &config, &other);
    step_cost_save(&plan, &config, &other); /* in place of itself */
    assert_true(step_cost_load(&plan, &config, &cost));
    assert_true(cost.fixed == 1 && cost.row == 2 && cost.position == 3 && cost.steps == 4);
    assert_memory_equal(&cost.rows, &other.rows, sizeof cost.rows.count);
    assert_true(cost.rows.points[1].rows == 1000 && cost.rows.points[1].seconds == 0.75);
    plan.tp = 1;
    assert_true(step_cost_load(&plan, &config, &cost));
    assert_true(cost.fixed == truth.fixed && cost.position == truth.position);
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "%s/sluice/steps", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("nonsense\n0123456789abcdef -1 nan 5 6\n", file);
    fclose(file);
    assert_false(step_cost_load(&plan, &config, &cost));
}

/* Rows of one length, one at a time, so that the time can be told by hand. */
static void time_is_that_of_all_steps(void **state)
{
    (void)state;
    enum { PROMPT = 10, OUTPUT = 20, SAMPLE = 40, ROWS = 1000 };
    const struct engine_options options = {.max_sequences = 1,
                                           .max_batch_tokens = PROMPT,
                                           .kv_blocks = 10,
                                           .kv_block_tokens = 16,
                                           .max_model_len = 100,
                                           .steps_in_flight = 1};
    const int32_t tokens[PROMPT] = {0};
    struct predict_sample sample = {0};
    for (int i = 0; i < SAMPLE; i++) {
        assert_int_equal(predict_add(&sample, tokens, PROMPT, OUTPUT, 1), STATUS_OK);
    }
    double row = 0;
    for (int step = 0; step < OUTPUT; step++) {
        row += seconds_of(step == 0 ? PROMPT : 1, PROMPT + step);
    }
    struct prediction prediction;
    assert_int_equal(predict_job(&sample, &options, &truth, -1, NULL, &prediction), STATUS_OK);
    assert_true(is_near(prediction_seconds(&prediction, ROWS, 1), ROWS * row));
    assert_true(is_near(prediction.computed, 1) && is_near(prediction.decodes, 1));
    assert_true(
        is_near(prediction.bound.row + prediction.bound.position + prediction.bound.rest, 1));
    assert_true(is_near(prediction_seconds(&prediction, ROWS, 4), ROWS * row / 4));
    assert_true(is_near(prediction.output_tokens, OUTPUT));
    const atomic_bool cancelled = true;
    assert_int_equal(predict_job(&sample, &options, &truth, -1, &cancelled, &prediction),
                     STATUS_STOPPED);
    predict_destroy(&sample);
    assert_int_equal(predict_job(&sample, &options, &truth, -1, NULL, &prediction), STATUS_INVALID);
}

/* A sample that fits into one batch says what many batches take: as if all rows had been in it. */
static void a_small_sample_stands_for_many_rows(void **state)
{
    (void)state;
    enum { PROMPT = 40, ROWS = 960 };
    const struct engine_options options = {.max_sequences = 64,
                                           .max_batch_tokens = 128,
                                           .kv_blocks = 2000,
                                           .kv_block_tokens = 16,
                                           .max_model_len = 200,
                                           .steps_in_flight = 1,
                                           .prefix_cache = true};
    static const struct {
        int sample, shortest, longest;
    } cases[] = {{50, 100, 100}, {50, 1, 100}, {10, 30, 60}, {300, 100, 100}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct predict_sample part = {0}, all = {0};
        const int span = cases[i].longest - cases[i].shortest + 1;
        for (int row = 0; row < ROWS; row++) {
            int32_t tokens[PROMPT] = {row};
            const int own = row % cases[i].sample;
            const int output = cases[i].shortest + own * 37 % span;
            assert_int_equal(predict_add(&all, tokens, PROMPT, output, 1), STATUS_OK);
            if (row < cases[i].sample) {
                assert_int_equal(predict_add(&part, tokens, PROMPT, output, 1), STATUS_OK);
            }
        }
        struct prediction small, whole;
        assert_int_equal(predict_job(&all, &options, &truth, ROWS, NULL, &whole), STATUS_OK);
        assert_int_equal(predict_job(&part, &options, &truth, ROWS, NULL, &small), STATUS_OK);
        const double expected = prediction_seconds(&whole, ROWS, 1);
        assert_float_equal(prediction_seconds(&small, ROWS, 1), expected, 0.1 * expected);
        assert_true(small.computed > 0.99); /* a row played again shares nothing with itself */
        assert_int_equal(predict_job(&part, &options, &truth, 5, NULL, &small), STATUS_OK);
        assert_int_equal(small.sample_rows, 5);
        predict_destroy(&part);
        predict_destroy(&all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_cost_what_they_did),
        cmocka_unit_test(a_fit_finds_what_steps_cost),
        cmocka_unit_test(no_term_is_negative),
        cmocka_unit_test(costs_are_kept_by_model_and_layout),
        cmocka_unit_test(time_is_that_of_all_steps),
        cmocka_unit_test(a_small_sample_stands_for_many_rows),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
