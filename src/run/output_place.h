/* SPDX-License-Identifier: Apache-2.0 */
/* What stands where a job's output goes: `run` acts by it and `check` foretells it. */
#ifndef SLUICE_RUN_OUTPUT_PLACE_H
#define SLUICE_RUN_OUTPUT_PLACE_H

#include "sluice/data.h"
#include "sluice/job.h"

struct output_place {
    bool complete;   /* the output is there, written by this very job */
    bool no_answers; /* ... and each of its rows is an error row */
    int64_t rows, error_rows;
    char errors[900];     /* the commonest, as the summary said them */
    char arithmetic[160]; /* complete, but written with this one: the job's own would be another */
};

/* For a complete output with an `arithmetic`: path, that, the generation and arithmetic of now. */
#define OUTPUT_OTHER_ARITHMETIC                                                                    \
    "%s was written with another arithmetic (%s); output.overwrite=true computes it anew with "    \
    "this one (%d, %s)"

/* Whether a file is there that the job may not replace. Only then, or where the job's journal is
 * looked at, does the identity matter. */
bool output_place_is_taken(const struct job *job);

/* Fails where the job cannot write its output there: a folder, or a file that is not this job's and
 * that output.overwrite does not give up. `identity` may be NULL: then no file is this job's. */
status output_place_examine(const struct job *job, const char *identity,
                            struct output_place *out) MUST_CHECK;

/* Appends the path of the job's journal: "OUT.h5.sluice". */
status output_place_journal(const struct job *job, struct buffer *path) MUST_CHECK;

/* Makes the folders above the output, as `mkdir -p` does. */
status output_place_make_folders(const char *output) MUST_CHECK;

#endif
