/* SPDX-License-Identifier: Apache-2.0 */
/* The product-limit estimate of answers' lengths over bins that widen with length. */
#include "engine/admission/lengths.h"

#include <math.h>
#include <string.h>

/* Lengths below 16 have a bin each, and every octave above has eight. */
enum { EXACT = 16, EXACT_BITS = 4, OCTAVE_BITS = 3, OCTAVE = 1 << OCTAVE_BITS };
/* Rows that are remembered at full weight; then all that was seen counts half. */
static const double MEMORY = 8192;
/* What is assumed before any row has ended: as much as so many rows would say, of lengths spread
 * evenly up to the limit. */
static const double PRIOR_ROWS = 4;

static int bin_of(int length)
{
    if (length < EXACT) {
        return length;
    }
    int octave = 31 - __builtin_clz((unsigned)length);
    int within = (length >> (octave - OCTAVE_BITS)) & (OCTAVE - 1);
    int bin = EXACT + (octave - EXACT_BITS) * OCTAVE + within;
    return bin < LENGTH_BINS ? bin : LENGTH_BINS - 1;
}

/* The shortest length of a bin. */
static double bin_start(int bin)
{
    if (bin < EXACT) {
        return bin;
    }
    int octave = EXACT_BITS + (bin - EXACT) / OCTAVE, within = (bin - EXACT) % OCTAVE;
    return ldexp(1.0 + (double)within / OCTAVE, octave);
}

void lengths_note_limit(struct lengths *self, int most)
{
    self->longest = most > self->longest ? most : self->longest;
}

void lengths_note_end(struct lengths *self, int length, bool is_cut)
{
    (is_cut ? self->cut : self->ended)[bin_of(length)]++;
    if (++self->total < MEMORY) {
        return;
    }
    self->total /= 2;
    for (int i = 0; i < LENGTH_BINS; i++) {
        self->ended[i] /= 2;
        self->cut[i] /= 2;
    }
}

void lengths_begin(struct lengths *self)
{
    memset(self->running, 0, sizeof self->running);
}

void lengths_note_running(struct lengths *self, int length)
{
    self->running[bin_of(length)]++;
}

/* Of the prior's rows, those that end in a bin. */
static double prior_ends(const struct lengths *self, int bin)
{
    double longest = self->longest > 0 ? self->longest : 1;
    double start = fmin(bin_start(bin), longest), end = fmin(bin_start(bin + 1), longest);
    return PRIOR_ROWS * (end - start) / longest;
}

void lengths_settle(struct lengths *self)
{
    double at_risk = PRIOR_ROWS, survival = 1;
    for (int i = 0; i < LENGTH_BINS; i++) {
        at_risk += self->ended[i] + self->cut[i] + self->running[i];
    }
    for (int i = 0; i < LENGTH_BINS; i++) {
        self->survival[i] = survival;
        double ends = self->ended[i] + prior_ends(self, i);
        double others = self->cut[i] + self->running[i];
        /* Those that are not over leave the bin somewhere on its way. */
        double there = at_risk - others / 2;
        survival *= there > ends ? 1 - ends / there : 0;
        at_risk -= ends + others;
    }
}

/* Share of answers longer than `length`, between two bins' shares. */
static double survival_at(const struct lengths *self, double length)
{
    int bin = bin_of((int)length);
    double start = bin_start(bin), width = bin_start(bin + 1) - start;
    double left = self->survival[bin];
    double right = bin + 1 < LENGTH_BINS ? self->survival[bin + 1] : 0;
    return left + (right - left) * fmin((length - start) / width, 1);
}

int lengths_predict(const struct lengths *self, double luck, int length, int most)
{
    if (length + 1 >= most) {
        return most;
    }
    double wanted = (1 - luck) * survival_at(self, length);
    int low = bin_of(length), high = bin_of(most) + 1;
    /* The first bin at whose end no more than `wanted` are left. */
    while (low < high) {
        int middle = (low + high) / 2;
        double left = middle + 1 < LENGTH_BINS ? self->survival[middle + 1] : 0;
        if (left > wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low >= LENGTH_BINS) {
        return most;
    }
    double left = self->survival[low], right = low + 1 < LENGTH_BINS ? self->survival[low + 1] : 0;
    double start = bin_start(low), width = bin_start(low + 1) - start;
    double share = left > right ? fmin(fmax((left - wanted) / (left - right), 0), 1) : 1;
    double predicted = ceil(start + share * width);
    return predicted >= most ? most : predicted > length + 1 ? (int)predicted : length + 1;
}

double lengths_mean(const struct lengths *self, int most)
{
    double mean = 0;
    for (int i = 0; i + 1 < LENGTH_BINS && bin_start(i) < most; i++) {
        double width = fmin(bin_start(i + 1), most) - bin_start(i);
        mean += width * (self->survival[i] + self->survival[i + 1]) / 2;
    }
    return mean;
}
