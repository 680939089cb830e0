/* SPDX-License-Identifier: Apache-2.0 */
/* The forecast beside a count of every block at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/admission/forecast.h"

enum { BLOCKS = 4000, BLOCK_TOKENS = 4, SEQUENCES = 40, MOST_STEPS = 1500, MOST_SHARED = 9 };

struct runner {
    struct forecast_need need;
    int32_t shared[MOST_SHARED];
    int shared_count;
};

static uint64_t drawn;

static int below(int limit)
{
    int64_t key = (int64_t)++drawn;
    return (int)(hash_bytes(&key, sizeof key, 5) % (uint64_t)limit);
}

static void draw_runner(struct runner *runner)
{
    *runner = (struct runner){.shared_count = below(MOST_SHARED + 1)};
    int group = below(3); /* of sequences with the same beginning */
    for (int i = 0; i < runner->shared_count; i++) {
        runner->shared[i] = group * MOST_SHARED + i;
    }
    runner->need.tokens = runner->shared_count * BLOCK_TOKENS + 1 + below(100);
    runner->need.is_read = below(4) == 0;
    runner->need.steps = 1 + below(below(3) == 0 ? MOST_STEPS : 60);
}

static int blocks_of(int tokens)
{
    return (tokens + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
}

/* Blocks held at `step`; `late`: those that have ended in the span still count, as they were. */
static int count_blocks(const struct runner *runners, int count, int step, int span, bool late)
{
    bool seen[3 * MOST_SHARED] = {false};
    int blocks = 0;
    for (int i = 0; i < count; i++) {
        const struct forecast_need *need = &runners[i].need;
        int last = need->steps - 1;
        bool runs = late ? last / span >= step / span : last >= step;
        if (!runs) {
            continue;
        }
        int grown = need->is_read ? 0 : step < last ? step : last;
        blocks += blocks_of(need->tokens + grown) - runners[i].shared_count;
        for (int j = 0; j < runners[i].shared_count; j++) {
            blocks += !seen[runners[i].shared[j]];
            seen[runners[i].shared[j]] = true;
        }
    }
    return blocks;
}

/* Never below what is held at any step of a span; above it at most by what ended in the span. */
static void check_spans(const struct forecast *forecast, const struct runner *runners, int count)
{
    const int span = forecast->span;
    for (int i = 0; i < FORECAST_SPANS && i * span < MOST_STEPS; i++) {
        for (int step = i * span; step < (i + 1) * span; step++) {
            assert_true(forecast->held[i] >= count_blocks(runners, count, step, span, false));
        }
        assert_int_equal(forecast->held[i],
                         count_blocks(runners, count, (i + 1) * span - 1, span, true));
    }
}

static int by_end(const void *a, const void *b)
{
    return ((const struct runner *)b)->need.steps - ((const struct runner *)a)->need.steps;
}

static void add_all(struct forecast *forecast, struct runner *runners, int count)
{
    qsort(runners, (size_t)count, sizeof *runners, by_end);
    forecast_begin(forecast, MOST_STEPS);
    for (int i = 0; i < count; i++) {
        forecast_add(forecast, &runners[i].need, runners[i].shared, runners[i].shared_count);
    }
    forecast_settle(forecast);
}

static int highest(const struct runner *runners, int count, int until, int span)
{
    int most = 0;
    for (int step = span - 1; step - span < until; step += span) {
        int blocks = count_blocks(runners, count, step, span, true);
        most = blocks > most ? blocks : most;
    }
    return most;
}

static void sums_are_those_of_every_step(void **state)
{
    (void)state;
    struct forecast forecast;
    assert_int_equal(forecast_create(BLOCKS, BLOCK_TOKENS, &forecast), STATUS_OK);
    for (int round = 0; round < 60; round++) {
        struct runner runners[SEQUENCES];
        for (int i = 0; i < SEQUENCES; i++) {
            draw_runner(&runners[i]);
        }
        const int first = below(SEQUENCES);
        add_all(&forecast, runners, first);
        check_spans(&forecast, runners, first);
        for (int i = first; i < SEQUENCES; i++) {
            const struct runner *next = &runners[i];
            int peak = highest(runners, i + 1, next->need.steps - 1, forecast.span);
            assert_true(
                forecast_fits(&forecast, &next->need, next->shared, next->shared_count, peak));
            assert_false(
                forecast_fits(&forecast, &next->need, next->shared, next->shared_count, peak - 1));
            forecast_include(&forecast, &next->need, next->shared, next->shared_count);
            check_spans(&forecast, runners, i + 1);
        }
    }
    forecast_destroy(&forecast);
}

/* Ends that are spread leave room that peaks added up would not. */
static void peaks_at_different_times_do_not_add_up(void **state)
{
    (void)state;
    struct forecast forecast;
    assert_int_equal(forecast_create(BLOCKS, BLOCK_TOKENS, &forecast), STATUS_OK);
    forecast_begin(&forecast, 400);
    int64_t peaks = 0;
    for (int i = 9; i >= 0; i--) {
        struct forecast_need need = {.tokens = 400 - 40 * i, .steps = 1 + 40 * i};
        forecast_add(&forecast, &need, NULL, 0);
        peaks += 100;
    }
    forecast_settle(&forecast);
    const struct forecast_need next = {.tokens = 4, .steps = 397};
    assert_true(forecast_fits(&forecast, &next, NULL, 0, peaks * 2 / 3));
    assert_false(forecast_fits(&forecast, &next, NULL, 0, peaks / 2));
    forecast_destroy(&forecast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_every_step),
        cmocka_unit_test(peaks_at_different_times_do_not_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
