/* SPDX-License-Identifier: Apache-2.0 */
/* Samples over time to pieces of equal length, and the stretches in which nothing moved. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "run/output/series.h"
#include "run/output/spread.h"

/* `count` samples of a rank, one a second from 1 s on, with `step` tokens more in each. */
static void sample(struct timeline_point *points, size_t count, int32_t rank, int64_t step)
{
    for (size_t i = 0; i < count; i++) {
        points[i] = (struct timeline_point){.seconds = (double)(i + 1),
                                            .rank = rank,
                                            .running = 4,
                                            .waiting = rank,
                                            .kv_blocks_used = 7,
                                            .output_tokens = step * (int64_t)(i + 1),
                                            .prompt_tokens = 2 * step * (int64_t)(i + 1)};
    }
}

static void rates_are_of_pieces(void **state)
{
    (void)state;
    struct timeline_point points[16];
    struct arena arena = {0};
    struct series series;
    double *joined;
    sample(points, 10, 0, 100);
    sample(points + 10, 6, 2, 50);
    assert_int_equal(series_make(points, 16, true, &arena, &series), STATUS_OK);
    assert_int_equal(series.replicas, 2);
    assert_int_equal(series.pieces, 10);
    assert_true(series.end == 10);
    assert_int_equal(series.ranks[1], 2);
    assert_int_equal(series.gap_count, 0);
    assert_true(fabs(series.rate[5] - 100) < 1e-9);
    assert_true(fabs(series.rate[series.pieces + 3] - 50) < 1e-9);
    assert_true(isnan(series.rate[series.pieces + 8])); /* the second has ended */
    assert_true(series.running[5] == 4 && series.waiting[series.pieces + 3] == 2);
    assert_int_equal(series_join(&series, series.rate, SERIES_SUM, &arena, &joined), STATUS_OK);
    assert_true(fabs(joined[3] - 150) < 1e-9 && fabs(joined[8] - 100) < 1e-9);
    assert_int_equal(series_join(&series, series.rate, SERIES_LEAST, &arena, &joined), STATUS_OK);
    assert_true(fabs(joined[3] - 50) < 1e-9);
    assert_int_equal(series_join(&series, series.rate, SERIES_MOST, &arena, &joined), STATUS_OK);
    assert_true(fabs(joined[3] - 100) < 1e-9);
    assert_true(fabs(series_peak(joined, series.pieces) - 100) < 1e-9);
    assert_int_equal(series_make(points, 16, false, &arena, &series), STATUS_OK);
    assert_true(fabs(series.rate[5] - 200) < 1e-9);
    arena_destroy(&arena);
}

static void gaps_are_where_nothing_moves(void **state)
{
    (void)state;
    struct timeline_point points[40];
    struct arena arena = {0};
    struct series series;
    sample(points, 40, 1, 10);
    for (size_t i = 10; i < 17; i++) { /* samples go on, tokens do not */
        points[i].output_tokens = points[9].output_tokens;
        points[i].prompt_tokens = points[9].prompt_tokens;
    }
    for (size_t i = 30; i < 40; i++) { /* one long step */
        points[i].seconds += 9;
    }
    for (size_t i = 29; i < 40; i++) {
        points[i].running = 0;
        points[i].waiting = 0;
    }
    assert_int_equal(series_make(points, 40, true, &arena, &series), STATUS_OK);
    assert_int_equal(series.gap_count, 2);
    assert_true(series.gaps[0].from == 10 && series.gaps[0].to == 18);
    assert_true(series.gaps[0].had_rows);
    assert_int_equal(series.gaps[0].rank, 1);
    assert_true(series.gaps[1].from == 30 && series.gaps[1].to == 40);
    assert_false(series.gaps[1].had_rows);
    /* Prompts alone are work too. */
    for (size_t i = 10; i < 17; i++) {
        points[i].prompt_tokens = 200 + (int64_t)i;
    }
    assert_int_equal(series_make(points, 40, true, &arena, &series), STATUS_OK);
    assert_int_equal(series.gap_count, 1);
    arena_destroy(&arena);
}

static void odd_files_make_no_series(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct series series;
    const struct timeline_point odd[] = {
        {.seconds = NAN}, {.seconds = -4, .rank = 1}, {.seconds = NAN}};
    assert_int_equal(series_make(NULL, 0, true, &arena, &series), STATUS_OK);
    assert_int_equal(series.replicas, 0);
    assert_int_equal(series_make(odd, COUNT_OF(odd), true, &arena, &series), STATUS_OK);
    assert_int_equal(series.replicas, 0);
    const struct timeline_point back[] = {{.seconds = 5}, {.seconds = 2}, {.seconds = 3}};
    assert_int_equal(series_make(back, COUNT_OF(back), true, &arena, &series), STATUS_OK);
    assert_int_equal(series.replicas, 2);
    arena_destroy(&arena);
}

/* ---- How values are spread ---- */

static void spreads_have_percentiles(void **state)
{
    (void)state;
    static const double wanted[SPREAD_PERCENTILES] = {1, 100, 500, 900, 990, 1000};
    struct spread spread = {0};
    assert_int_equal(spread_create(&spread), STATUS_OK);
    for (int i = 1000; i > 0; i--) {
        spread_add(&spread, i);
    }
    static const double no_values[] = {-1, -0.5, NAN, INFINITY, -INFINITY, 1e300};
    for (size_t i = 0; i < COUNT_OF(no_values); i++) {
        spread_add(&spread, no_values[i]);
    }
    assert_int_equal(spread.count, 1000);
    assert_true(spread.least == 1 && spread.most == 1000);
    for (int i = 0; i < SPREAD_PERCENTILES; i++) {
        assert_true(spread_value(&spread, &spread_percentiles[i]) == wanted[i]);
    }
    assert_true(spread_percentile(&spread, 0.001) == 1 && spread_percentile(&spread, 0.0011) == 2);
    assert_true(spread_percentile(&spread, 1) == 1000);
    assert_int_equal(spread_between(&spread, 100, 200), 100);
    assert_int_equal(spread_between(&spread, 0, 1), 0);
    assert_int_equal(spread_between(&spread, 0, 1.5), 1);
    assert_int_equal(spread_between(&spread, 1000, 1e9), 1);
    assert_int_equal(spread_between(&spread, 0, 1e9), 1000);
    spread_destroy(&spread);
    assert_null(spread.bins);
    /* Of a bin the lower end, but nothing beyond what there was. */
    assert_int_equal(spread_create(&spread), STATUS_OK);
    spread_add(&spread, 0);
    spread_add(&spread, 100001);
    spread_add(&spread, 100003);
    assert_true(spread_percentile(&spread, 0.3) == 0);
    assert_true(spread_percentile(&spread, 0.5) <= 100001 &&
                spread_percentile(&spread, 0.5) > 100001 * (1 - 1.0 / 4096));
    spread_destroy(&spread);
    assert_int_equal(spread_create(&spread), STATUS_OK);
    spread_add(&spread, 100003.5);
    assert_true(spread_percentile(&spread, 0.5) == 100003.5);
    spread_destroy(&spread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spreads_have_percentiles),
        cmocka_unit_test(rates_are_of_pieces),
        cmocka_unit_test(gaps_are_where_nothing_moves),
        cmocka_unit_test(odd_files_make_no_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
