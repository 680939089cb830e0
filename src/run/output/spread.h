/* SPDX-License-Identifier: Apache-2.0 */
/* How values are spread: percentiles and histograms of any number of values, in 4 MiB. */
#ifndef SLUICE_RUN_OUTPUT_SPREAD_H
#define SLUICE_RUN_OUTPUT_SPREAD_H

#include "sluice/base.h"

/* Counted in 2^19 bins whose width is a part in 4096 of their value, so that integers below 4096
 * have one each. Zero-initialise; end with spread_destroy. */
struct spread {
    int64_t *bins;
    int64_t count;
    double least, most;
};

status spread_create(struct spread *self) MUST_CHECK;
/* What is negative or not finite is left out. */
void spread_add(struct spread *self, double value);
/* The value that `share` of all are not above; of a bin, its lower end. */
double spread_percentile(const struct spread *self, double share);
/* How many values are in [from, to), by the lower ends of their bins. */
int64_t spread_between(const struct spread *self, double from, double to);
void spread_destroy(struct spread *self);

/* The percentiles that are shown. */
struct percentile {
    const char *name, *json;
    double share; /* below 0: the least; above 1: the most */
};
enum { SPREAD_PERCENTILES = 6 };
extern const struct percentile spread_percentiles[SPREAD_PERCENTILES];
double spread_value(const struct spread *self, const struct percentile *percentile);

#endif
