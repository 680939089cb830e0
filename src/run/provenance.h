/* SPDX-License-Identifier: Apache-2.0 */
/* What a job is (the journal's identity) and where a result came from (the output's attributes). */
#ifndef SLUICE_RUN_PROVENANCE_H
#define SLUICE_RUN_PROVENANCE_H

#include "run/coordinator.h"
#include "sluice/inputs.h"
#include "sluice/job.h"
#include "sluice/run.h"

struct provenance {
    char config_sha256[65], weights_sha256[65], text_sha256[65]; /* of the model */
    char data_sha256[65];
    char template_time[21]; /* what templates took for now */
    char part[160];         /* a line, of a start that is about a part of the data set; or empty */
    char embedding[512];    /* how an encoder's vectors are pooled; empty for a decoder */
    int64_t data_bytes;
    const struct input_files *files; /* of the data set; borrowed */
};

/* Takes the hashes of the data set, which are there (input_files_hash), or else zeros for now
 * (input_hash_start), and hashes the model's facts and tensor index. */
status provenance_create(const struct input_files *files, struct model *model,
                         struct provenance *out) MUST_CHECK;
/* Takes the hashes of the data set again. */
status provenance_take_data(struct provenance *provenance) MUST_CHECK;

/* Appends the identity: lines "key: value" of everything that decides what a row answers and which
 * columns there are, and of nothing else: neither layout nor batch sizes, nor the paths of files
 * whose hashes are there. */
status provenance_identity(const struct provenance *provenance, const struct job *job,
                           const struct plan *plan, struct buffer *out) MUST_CHECK;

/* Appends lines of an identity (each ends with a newline) but for those of job keys that have their
 * default: how identities are written, and how sluice 0.1, which wrote all keys, is understood. */
status provenance_drop_defaults(const char *lines, struct buffer *out) MUST_CHECK;

/* Writes the output's root attributes. */
status provenance_write(const struct provenance *provenance, const struct job *job,
                        const struct plan *plan, const struct run_summary *summary,
                        struct output_writer *writer) MUST_CHECK;

#endif
