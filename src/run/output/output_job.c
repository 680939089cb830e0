/* SPDX-License-Identifier: Apache-2.0 */
/* From an output file back to its job and its data set. */
#include "run/output/output_job.h"
#include "sluice/progress.h"

#include <stdlib.h>
#include <string.h>

/* The stored job names all values that it ran with. Those that the model brought are taken out
 * again, so that they are the model's: "generate.temperature=null". */
static status list_model_defaults(const char *identity, struct arena *arena, const char **settings,
                                  size_t most, size_t *count)
{
    static const char prefix[] = "model default ";
    for (const char *line = identity; line != NULL && *count < most;
         line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, prefix, strlen(prefix)) != 0) {
            continue;
        }
        const char *name = line + strlen(prefix);
        struct buffer setting = {0};
        TRY(buffer_format(&setting, "generate.%.*s=null", (int)strcspn(name, ":\n"), name));
        settings[*count] = arena_copy(arena, setting.data, setting.length);
        buffer_destroy(&setting);
        if (settings[*count] == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for the output's job");
        }
        ++*count;
    }
    return STATUS_OK;
}

static status read_job(struct output_reader *reader, struct arena *arena,
                       const char *const *overrides, size_t override_count, struct job *job)
{
    enum { MODEL_DEFAULTS = COUNT_OF(((struct job *)NULL)->model_defaults) };
    const char *text = output_attribute_text(reader, "job", arena);
    const char *identity = output_attribute_text(reader, "identity", arena);
    size_t count = 0;
    const char **settings =
        arena_allocate_array(arena, MODEL_DEFAULTS + override_count, sizeof *settings);
    if (text == NULL || identity == NULL) {
        return status_fail(STATUS_INVALID, "the output does not say its job");
    }
    if (settings == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the output's job");
    }
    TRY(list_model_defaults(identity, arena, settings, MODEL_DEFAULTS, &count));
    for (size_t i = 0; i < override_count; i++) {
        settings[count++] = overrides[i];
    }
    return job_read("the output's job", text, strlen(text), settings, count, job);
}

status output_job_load(const char *path, const char *const *overrides, size_t override_count,
                       struct job *job)
{
    struct output_reader *reader;
    struct arena arena = {0};
    *job = (struct job){0};
    TRY(job_output_open(path, &reader));
    status s = status_context(read_job(reader, &arena, overrides, override_count, job), "%s", path);
    arena_destroy(&arena);
    output_reader_close(reader);
    return s;
}

status output_job_read(struct output_reader *reader, const char *input, struct output_job *out)
{
    struct arena arena = {0};
    *out = (struct output_job){0};
    status s = read_job(reader, &arena, NULL, 0, &out->job);
    arena_destroy(&arena);
    TRY(s);
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
