/* SPDX-License-Identifier: Apache-2.0 */
/* Grading an output file: how many answers equal what the data set says they should be. */
#ifndef SLUICE_GRADE_H
#define SLUICE_GRADE_H

#include "sluice/data.h"

struct grade_group {
    const char *name;
    int64_t results, right;
};

struct grade_table {
    struct arena arena;
    struct grade_group total;   /* name "total" */
    struct grade_group *groups; /* [group_count], by name */
    size_t group_count, group_capacity;
    int64_t ungraded; /* results whose row has no such field */
};

/* Compares every result's text, without the white space around it, with the passthrough field
 * `field` of its row (a string as it is, any other value as JSON). With `by` not NULL results are
 * also counted by the value of that field. STATUS_NOT_FOUND where no row has `field`, STATUS_LIMIT
 * for more than 1000 groups. End with grade_table_destroy, also after a failure. */
status grade_output(struct output_reader *reader, const char *field, const char *by,
                    struct grade_table *out) MUST_CHECK;
void grade_table_destroy(struct grade_table *table);

#endif
