/* SPDX-License-Identifier: Apache-2.0 */
/* Guesses of answers' lengths beside a page of obvious code: bins in a list, searches from the
 * front, after random ends, cuts and running rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/admission/lengths.h"
#include "sluice/base.h"

enum { BINS = LENGTH_BINS, ROUNDS = 60 };

/* What is documented: rows count half after each 8,192, and four rows are assumed. */
struct model {
    double ended[BINS], cut[BINS], running[BINS], left[BINS + 1], total;
    int longest;
};

static uint64_t drawn;

static int below(int limit)
{
    int64_t key = (int64_t)++drawn;
    return (int)(hash_bytes(&key, sizeof key, 11) % (uint64_t)limit);
}

/* 0 to 15, then eight bins for each doubling. */
static double start_of(int bin)
{
    static double starts[BINS + 1];
    for (int i = 0; i < BINS && starts[BINS] == 0; i++) {
        starts[i + 1] = starts[i] + (i < 16 ? 1 : ldexp(2, (i - 16) / 8));
    }
    return starts[bin];
}

static int bin_of(int length)
{
    int bin = 0;
    while (bin + 1 < BINS && start_of(bin + 1) <= length) {
        bin++;
    }
    return bin;
}

static void model_end(struct model *model, int length, bool is_cut)
{
    (is_cut ? model->cut : model->ended)[bin_of(length)] += 1;
    model->total += 1;
    if (model->total >= 8192) {
        model->total /= 2;
        for (int i = 0; i < BINS; i++) {
            model->ended[i] /= 2;
            model->cut[i] /= 2;
        }
    }
}

/* The part of [0, longest) that lies in a bin, of four rows. */
static double assumed(const struct model *model, int bin)
{
    double longest = model->longest > 0 ? model->longest : 1;
    double from = fmin(start_of(bin), longest), to = fmin(start_of(bin + 1), longest);
    return 4 * (to - from) / longest;
}

static void model_settle(struct model *model)
{
    double left = 1;
    for (int i = 0; i < BINS; i++) {
        double at_risk = 4;
        for (int j = 0; j < BINS; j++) {
            double gone = j < i ? assumed(model, j) : 0;
            at_risk -= gone;
            at_risk += j >= i ? model->ended[j] + model->cut[j] + model->running[j] : 0;
        }
        model->left[i] = left;
        double there = at_risk - (model->cut[i] + model->running[i]) / 2;
        double ends = model->ended[i] + assumed(model, i);
        left *= there > ends + 1e-9 ? 1 - ends / there : 0;
    }
    model->left[BINS] = 0;
}

static double model_left_at(const struct model *model, double length)
{
    int bin = bin_of((int)length);
    double share = (length - start_of(bin)) / (start_of(bin + 1) - start_of(bin));
    return model->left[bin] * (1 - fmin(share, 1)) + model->left[bin + 1] * fmin(share, 1);
}

/* Where the share left has fallen to what luck leaves; not rounded, at most `most`. */
static double model_predict(const struct model *model, double luck, int length, int most)
{
    double wanted = (1 - luck) * model_left_at(model, length);
    int bin = bin_of(length);
    while (bin <= bin_of(most) && model->left[bin + 1] > wanted) {
        bin++;
    }
    if (bin >= BINS) {
        return most;
    }
    double left = model->left[bin], right = model->left[bin + 1];
    double share = left > right ? fmin(fmax((left - wanted) / (left - right), 0), 1) : 1;
    return fmin(start_of(bin) + share * (start_of(bin + 1) - start_of(bin)), most);
}

static double model_mean(const struct model *model, int most)
{
    double mean = 0;
    for (int length = 0; length < most; length++) { /* a straight line between two bins */
        double here = model_left_at(model, length);
        int bin = bin_of(length);
        double width = start_of(bin + 1) - start_of(bin);
        double end = fmin(start_of(bin + 1), most);
        double middle = (model->left[bin] + model->left[bin + 1]) / 2;
        mean += end < start_of(bin + 1) || width > 1 ? middle : (here + model->left[bin + 1]) / 2;
    }
    return mean;
}

static void check_guesses(const struct lengths *lengths, const struct model *model, int most)
{
    for (int i = 0; i < 60; i++) {
        int length = below(most), limit = 1 + below(most);
        double luck = below(1000) / 1000.0;
        double exact = model_predict(model, luck, length, limit);
        int guess = lengths_predict(lengths, luck, length, limit);
        if (length + 1 >= limit) {
            assert_int_equal(guess, limit);
        } else if (fabs(exact - round(exact)) > 1e-6) { /* else rounding decides */
            int expected = (int)ceil(exact);
            assert_int_equal(guess, expected > length + 1 ? expected : length + 1);
        }
    }
    int limit = 1 + below(most);
    assert_true(fabs(lengths_mean(lengths, limit) - model_mean(model, limit)) < 1e-6 * limit);
}

/* One data set: lengths of a kind, ends and cuts, then a round with some that run. */
static void random_rounds(int rounds, int ends, int most)
{
    struct lengths lengths = {0};
    struct model model = {0};
    for (int i = 0; i < 2; i++) { /* the longest counts, not the last */
        int limit = i == 0 ? most : 1 + below(most);
        lengths_note_limit(&lengths, limit);
        model.longest = most;
    }
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < ends; i++) {
            int length = below(1 + below(most));
            bool is_cut = below(4) == 0;
            lengths_note_end(&lengths, length, is_cut);
            model_end(&model, length, is_cut);
        }
        for (int i = 0; i < BINS; i++) {
            model.running[i] = 0;
        }
        lengths_begin(&lengths);
        for (int i = below(50); i > 0; i--) {
            int length = below(most);
            lengths_note_running(&lengths, length);
            model.running[bin_of(length)] += 1;
        }
        lengths_settle(&lengths);
        model_settle(&model);
        for (int i = 0; start_of(i) < most; i++) { /* behind that nothing is at risk */
            assert_true(fabs(lengths.survival[i] - model.left[i]) < 1e-6);
        }
        check_guesses(&lengths, &model, most);
    }
}

static void guesses_are_those_of_obvious_code(void **state)
{
    (void)state;
    static const int limits[] = {1, 3, 15, 16, 17, 40, 500, 4097};
    for (int i = 0; i < ROUNDS; i++) {
        random_rounds(2, below(200), limits[i % COUNT_OF(limits)]);
    }
}

static void half_is_forgotten_at_the_documented_row(void **state)
{
    (void)state;
    random_rounds(1, 8191, 50);
    random_rounds(2, 8192, 50);
}

/* Before anything is known, lengths are spread evenly up to the limit, also where none is. */
static void nothing_known(void **state)
{
    (void)state;
    struct lengths lengths = {0};
    lengths_begin(&lengths);
    lengths_settle(&lengths);
    assert_true(fabs(lengths_mean(&lengths, 8) - 0.5) < 1e-9);
    lengths_note_limit(&lengths, 8);
    lengths_settle(&lengths);
    for (int i = 0; i < 8; i++) {
        assert_true(fabs(lengths.survival[i] - (8 - i) / 8.0) < 1e-9);
    }
    assert_int_equal(lengths_predict(&lengths, 0.49, 0, 100), 4);
    assert_int_equal(lengths_predict(&lengths, 0.51, 0, 100), 5);
}

/* Beyond the last bin everything is as long as it may be. */
static void longest_lengths(void **state)
{
    (void)state;
    struct lengths lengths = {0};
    lengths_note_limit(&lengths, INT32_MAX);
    lengths_note_end(&lengths, INT32_MAX, false);
    lengths_begin(&lengths);
    lengths_note_running(&lengths, INT32_MAX);
    lengths_settle(&lengths);
    assert_int_equal(lengths_predict(&lengths, 0.999, 5, INT32_MAX), INT32_MAX);
    assert_in_range(lengths_predict(&lengths, 0.01, INT32_MAX - 9, INT32_MAX), INT32_MAX - 8,
                    INT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guesses_are_those_of_obvious_code),
        cmocka_unit_test(half_is_forgotten_at_the_documented_row),
        cmocka_unit_test(nothing_known),
        cmocka_unit_test(longest_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
