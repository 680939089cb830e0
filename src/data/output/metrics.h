/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks did, as tables of an output file. */
#ifndef SLUICE_DATA_OUTPUT_METRICS_H
#define SLUICE_DATA_OUTPUT_METRICS_H

#include <hdf5.h>

#include "sluice/data.h"

/* Compound of struct rank_metrics as it lies in memory; the caller closes it. Negative on failure.
 */
hid_t metrics_rank_type(void);
/* The same of a sample over time, whose rank is in no file. */
hid_t metrics_timeline_type(void);

status metrics_write_ranks(hid_t file, const struct rank_metrics *ranks, size_t count) MUST_CHECK;
/* A table for each rank that has points. */
status metrics_write_timeline(hid_t file, const struct timeline_point *points,
                              size_t count) MUST_CHECK;

#endif
