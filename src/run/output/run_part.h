/* SPDX-License-Identifier: Apache-2.0 */
/* A start that is about a part of its data set, because an output has the rest: rows that are run
 * again, and rows that have come to the data set's end. */
#ifndef SLUICE_RUN_OUTPUT_RUN_PART_H
#define SLUICE_RUN_OUTPUT_RUN_PART_H

#include "run/provenance.h"
#include "run/row_choice.h"
#include "sluice/run.h"

/* Zero-initialise; end with run_part_close. */
struct run_part {
    enum run_part_kind kind;
    struct output_reader *reader; /* of the output that there is */
    struct row_choice rows;
    int64_t template_time; /* that the output's rows had; -1: not known */
    bool nothing;          /* no row is left to run, or has come */
};

/* Opens the output that the options name, makes sure that it belongs to this data set, and chooses
 * rows. `data_rows` of the data set, -1 where that is not known. Writes a line into the identity of
 * the start (provenance->part), which is that of a whole job otherwise. STATUS_INVALID: another
 * data set, or one whose old part is not what the output was made from; an output that is not
 * whole. */
status run_part_open(const struct run_options *options, const struct job *job, int64_t data_rows,
                     struct provenance *provenance, struct run_part *out) MUST_CHECK;
/* Of rows that are appended: whether the output that is there was made by this job but for its data
 * set. `identity`: of the whole job now. STATUS_EXISTS says the first difference. */
status run_part_check_job(const struct run_part *self, const char *identity,
                          bool keep_mixed) MUST_CHECK;
void run_part_close(struct run_part *self);

#endif
