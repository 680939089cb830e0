/* SPDX-License-Identifier: Apache-2.0 */
/* The job that has written an output file, as the file tells it, and that job's data set. */
#ifndef SLUICE_RUN_OUTPUT_OUTPUT_JOB_H
#define SLUICE_RUN_OUTPUT_OUTPUT_JOB_H

#include "sluice/inputs.h"
#include "sluice/job.h"

/* Zero-initialise; end with output_job_destroy, also after a failure. */
struct output_job {
    struct job job;
    struct input_files files;
};

/* Reads the job out of the file, with these overrides as of job_load, and finds its data set:
 * `input`, or where that is NULL what the job names. STATUS_INVALID where the file holds no job of
 * this program. */
status output_job_read(struct output_reader *reader, const char *input,
                       const char *const *overrides, size_t override_count,
                       struct output_job *out) MUST_CHECK;
/* Hashes the data set. STATUS_INVALID where the output was not made from it. */
status output_job_check_data(struct output_reader *reader, struct output_job *self) MUST_CHECK;
void output_job_destroy(struct output_job *self);

#endif
