/* SPDX-License-Identifier: Apache-2.0 */
/* Scoring an output file: how many answers equal what the data set says they should be. */
#ifndef SLUICE_SCORE_H
#define SLUICE_SCORE_H

#include "sluice/data.h"

struct score_group {
    const char *name;
    int64_t results, right;
};

struct score_table {
    struct arena arena;
    struct score_group total;   /* name "total" */
    struct score_group *groups; /* [group_count], by name */
    size_t group_count, group_capacity;
    int64_t unscored; /* results whose row has no such field */
};

/* Compares every result's text, without the white space around it, with the passthrough field
 * `field` of its row (a string as it is, any other value as JSON). With `by` not NULL results are
 * also counted by the value of that field. STATUS_NOT_FOUND where no row has `field`, STATUS_LIMIT
 * for more than 1000 groups. End with score_table_destroy, also after a failure. */
status score_output(struct output_reader *reader, const char *field, const char *by,
                    struct score_table *out) MUST_CHECK;
void score_table_destroy(struct score_table *table);

#endif
