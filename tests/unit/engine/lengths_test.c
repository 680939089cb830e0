/* SPDX-License-Identifier: Apache-2.0 */
/* Guesses of answers' lengths: from ended rows and from those that still run. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/admission/lengths.h"
#include "sluice/base.h"

enum { MOST = 2000, ROWS = 4000 };

/* Share of rows that get no longer than this, by the estimate. */
static double share_up_to(const struct lengths *lengths, int length)
{
    double low = 0, high = 1;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        *(lengths_predict(lengths, middle, 0, MOST) <= length ? &low : &high) = middle;
    }
    return low;
}

/* The length of row i: exponential with this mean. */
static int drawn(int i, double mean)
{
    return 1 + (int)(-mean * log(1 - (i + 0.5) / ROWS));
}

static void ended_rows_give_their_distribution(void **state)
{
    (void)state;
    struct lengths lengths = {0};
    lengths_note_limit(&lengths, MOST);
    for (int i = 0; i < ROWS; i++) {
        lengths_note_end(&lengths, drawn(i, 200), false);
    }
    lengths_begin(&lengths);
    lengths_settle(&lengths);
    static const int at[] = {10, 50, 139, 300, 600};
    for (size_t i = 0; i < COUNT_OF(at); i++) {
        double expected = 1 - exp(-at[i] / 200.0);
        assert_true(fabs(share_up_to(&lengths, at[i]) - expected) < 0.02);
    }
    assert_true(fabs(lengths_mean(&lengths, MOST) - 200) < 6);
    assert_true(lengths_mean(&lengths, 100) < 82 && lengths_mean(&lengths, 100) > 74); /* 78.7 */
}

/* All rows begin at once. By step 100 those of up to 100 tokens have ended, and a mean of these
 * says nothing; those that run say that most are longer. */
static void running_rows_count(void **state)
{
    (void)state;
    struct lengths lengths = {0};
    lengths_note_limit(&lengths, MOST);
    lengths_begin(&lengths);
    for (int i = 0; i < ROWS; i++) {
        int length = drawn(i, 400);
        if (length <= 100) {
            lengths_note_end(&lengths, length, false);
        } else {
            lengths_note_running(&lengths, 100);
        }
    }
    lengths_settle(&lengths);
    assert_true(fabs(share_up_to(&lengths, 60) - (1 - exp(-60 / 400.0))) < 0.02);
    assert_true(share_up_to(&lengths, 100) < 0.25);
    assert_true(lengths_predict(&lengths, 0.5, 100, MOST) > 300);
}

/* Rows that were cut say that they would have been longer. */
static void cut_rows_are_not_ends(void **state)
{
    (void)state;
    struct lengths lengths = {0};
    lengths_note_limit(&lengths, MOST);
    for (int i = 0; i < 1000; i++) {
        lengths_note_end(&lengths, 50, true);
        lengths_note_end(&lengths, 200, false);
    }
    lengths_begin(&lengths);
    lengths_settle(&lengths);
    assert_in_range(lengths_predict(&lengths, 0.5, 0, MOST), 190, 225);
    assert_int_equal(lengths_predict(&lengths, 0.5, 0, 50), 50);
}

static void guesses_stay_within_bounds(void **state)
{
    (void)state;
    struct lengths lengths = {0};
    lengths_note_limit(&lengths, MOST);
    for (int round = 0; round < 3; round++) {
        lengths_begin(&lengths);
        lengths_settle(&lengths);
        for (int length = 0; length < MOST; length += 7) {
            for (int most = length + 1; most <= MOST; most += 211) {
                int before = 0;
                for (double luck = 0; luck < 1; luck += 0.09) {
                    int guess = lengths_predict(&lengths, luck, length, most);
                    assert_in_range(guess, length + 1, most);
                    assert_true(guess >= before);
                    before = guess;
                }
            }
        }
        for (int i = 0; i < ROWS; i++) {
            lengths_note_end(&lengths, round == 0 ? 1 : drawn(i, 300), i % 5 == 0);
        }
    }
}

/* What came long ago is forgotten. */
static void estimates_follow_the_data(void **state)
{
    (void)state;
    struct lengths lengths = {0};
    lengths_note_limit(&lengths, MOST);
    for (int i = 0; i < 200000; i++) {
        lengths_note_end(&lengths, i < 100000 ? 10 : 1000, false);
    }
    lengths_begin(&lengths);
    lengths_settle(&lengths);
    assert_true(lengths_predict(&lengths, 0.05, 0, MOST) > 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ended_rows_give_their_distribution),
        cmocka_unit_test(running_rows_count),
        cmocka_unit_test(cut_rows_are_not_ends),
        cmocka_unit_test(guesses_stay_within_bounds),
        cmocka_unit_test(estimates_follow_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
