/* SPDX-License-Identifier: Apache-2.0 */
/* How values are spread, in memory that does not grow with their number. */
#include "run/output/spread.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BIN_SHIFT = 12, BINS = 1 << 19 };

status spread_create(struct spread *self)
{
    self->bins = calloc(BINS, sizeof *self->bins);
    return self->bins != NULL ? STATUS_OK
                              : status_fail(STATUS_NO_MEMORY, "out of memory for percentiles");
}

/* Floats that are not negative are in the order of their bits; the first of those are the bin. */
void spread_add(struct spread *self, double value)
{
    float rounded = (float)value;
    uint32_t bits;
    if (!(value >= 0) || !isfinite(rounded)) {
        return;
    }
    memcpy(&bits, &rounded, sizeof bits);
    self->bins[(bits & 0x7FFFFFFF) >> BIN_SHIFT]++;
    self->least = self->count == 0 || value < self->least ? value : self->least;
    self->most = self->count == 0 || value > self->most ? value : self->most;
    self->count++;
}

/* The value that `share` of all are not above; of a bin, its lower end. */
double spread_percentile(const struct spread *self, double share)
{
    int64_t wanted = (int64_t)ceil(share * (double)self->count), seen = 0;
    uint32_t bin = 0;
    for (; bin < BINS - 1 && (seen += self->bins[bin]) < wanted; bin++) {
    }
    uint32_t bits = bin << BIN_SHIFT;
    float value;
    memcpy(&value, &bits, sizeof value);
    return fmin(fmax((double)value, self->least), self->most);
}

const struct percentile spread_percentiles[SPREAD_PERCENTILES] = {
    {"least", "least", -1}, {"10%", "p10", 0.1},  {"50%", "p50", 0.5},
    {"90%", "p90", 0.9},    {"99%", "p99", 0.99}, {"most", "most", 2}};

double spread_value(const struct spread *self, const struct percentile *percentile)
{
    return percentile->share < 0   ? self->least
           : percentile->share > 1 ? self->most
                                   : spread_percentile(self, percentile->share);
}

static double bin_value(uint32_t bin)
{
    uint32_t bits = bin << BIN_SHIFT;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

int64_t spread_between(const struct spread *self, double from, double to)
{
    int64_t count = 0;
    for (uint32_t bin = 0; bin < BINS && bin_value(bin) < to; bin++) {
        count += bin_value(bin) >= from ? self->bins[bin] : 0;
    }
    return count;
}

void spread_destroy(struct spread *self)
{
    free(self->bins);
    *self = (struct spread){0};
}
