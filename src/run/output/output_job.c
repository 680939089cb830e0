/* SPDX-License-Identifier: Apache-2.0 */
/* From an output file back to its job and its data set. */
#include "run/output/output_job.h"

#include <stdlib.h>
#include <string.h>

static status read_job(struct output_reader *reader, const char *const *overrides,
                       size_t override_count, struct job *job)
{
    struct arena arena = {0};
    const char *text = output_attribute_text(reader, "job", &arena);
    status s = text != NULL ? job_read("the output's job", text, strlen(text), overrides,
                                       override_count, job)
                            : status_fail(STATUS_INVALID, "the output does not say its job");
    arena_destroy(&arena);
    return s;
}

status output_job_read(struct output_reader *reader, const char *input,
                       const char *const *overrides, size_t override_count, struct output_job *out)
{
    *out = (struct output_job){0};
    TRY(read_job(reader, overrides, override_count, &out->job));
    return input != NULL ? input_files_resolve(&input, 1, &out->files)
                         : input_files_resolve(out->job.data.input.items, out->job.data.input.count,
                                               &out->files);
}

status output_job_check_data(struct output_reader *reader, struct output_job *self)
{
    struct arena arena = {0};
    const char *name = self->files.count == 1 ? self->files.items[0].path : "these files";
    char sha256[65];
    int64_t bytes;
    TRY(input_files_hash(&self->files));
    TRY(input_files_digest(&self->files, &bytes, sha256));
    const char *wanted = output_attribute_text(reader, "data_sha256", &arena);
    status s = wanted != NULL && strcmp(wanted, sha256) == 0
                   ? STATUS_OK
                   : status_fail(STATUS_INVALID,
                                 "%s: another data set than the one that the output was made from "
                                 "(sha256 %.12s…, not %.12s…)",
                                 name, sha256, wanted != NULL ? wanted : "unknown");
    arena_destroy(&arena);
    return s;
}

void output_job_destroy(struct output_job *self)
{
    input_files_destroy(&self->files);
    job_destroy(&self->job);
}
