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

/* Reads the job out of the file, and finds its data set: `input`, or where that is NULL what the
 * job names. STATUS_INVALID where the file holds no job of this program. */
status output_job_read(struct output_reader *reader, const char *input,
                       struct output_job *out) MUST_CHECK;
/* The job alone, of the output at `path`, with these overrides as of job_load. What the model had
 * set by its own defaults is left to the model again. End with job_destroy, also after a failure.
 */
status output_job_load(const char *path, const char *const *overrides, size_t override_count,
                       struct job *job) MUST_CHECK;
/* Hashes the data set. STATUS_INVALID where the output was not made from it. */
status output_job_check_data(struct output_reader *reader, struct output_job *self) MUST_CHECK;
void output_job_destroy(struct output_job *self);

#endif
