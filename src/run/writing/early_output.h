/* SPDX-License-Identifier: Apache-2.0 */
/* The output file while the job runs: a thread writes the results of all rows from the first on
 * without a gap, so that at the end only the last ones are left to write. Rows that ended long ago
 * behind a gap are put into the file before their turn (output_put_ahead): with many rows under way
 * most are, and at the end only their numbers are left to write.
 *
 * The journal stays the only truth. What this has written counts for nothing until the job is done:
 * where it fails, or the job ends before, the file is removed and written anew from the journal. */
#ifndef SLUICE_RUN_EARLY_OUTPUT_H
#define SLUICE_RUN_EARLY_OUTPUT_H

#include "run/writing/results_file.h"

/* Begun when so many rows from the first on are there: smaller jobs are written in a moment at the
 * end. Tests make it small. */
extern int64_t early_output_rows;
/* Bytes of the journal that a row is followed by when it is put into the file before its turn: most
 * gaps are closed by then. Tests make it small. */
extern int64_t early_output_lag;

struct early_output_options {
    const char *path; /* of the output; borrowed, like all here */
    bool overwrite;
    const struct journal *journal;
    /* The columns as far as they are known now. A row that asks for another one later makes the
     * file begin anew. */
    struct output_columns (*columns)(const void *context);
    const void *context;
};

struct early_output;
status early_output_create(const struct early_output_options *options,
                           struct early_output **out) MUST_CHECK;
/* Hands the thread rows that have come since, of the first `rows_read` of the data set: of which
 * file a later row is, which the journal of an earlier start may have, is not known yet. Never
 * waits. */
void early_output_follow(struct early_output *self, int64_t rows_read);
/* Waits for the thread to write what it has in hand, which interrupts cut short. *file is what it
 * has written, the caller's, and *row the first one that is not in it; NULL and 0 where there is
 * nothing, as after a failure, which is told at level info. */
status early_output_take(struct early_output *self, struct results_file **file,
                         int64_t *row) MUST_CHECK;
/* Ends the thread; removes the file if it was not taken. NULL is ignored. */
void early_output_destroy(struct early_output *self);

#endif
