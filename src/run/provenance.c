/* SPDX-License-Identifier: Apache-2.0 */
/* Identity and provenance. */
#include "run/provenance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/ranks/world.h"

status provenance_take_data(struct provenance *provenance)
{
    return input_files_digest(provenance->files, &provenance->data_bytes, provenance->data_sha256);
}

status provenance_create(const struct input_files *files, struct model *model,
                         struct provenance *out)
{
    const struct embedding_facts *facts = model_embedding(model);
    if (facts != NULL) {
        uint64_t prompt =
            facts->prompt != NULL ? hash_bytes(facts->prompt, strlen(facts->prompt), 0) : 0;
        snprintf(out->embedding, sizeof out->embedding, "embedding: %s%s%s, prompt %016llx\n",
                 pooling_name(facts->pooling), facts->normalize ? ", normalized" : "",
                 facts->lower_case ? ", lower case" : "", (unsigned long long)prompt);
    }
    out->files = files;
    TRY(provenance_take_data(out));
    TRY(model_text_digest(model, out->text_sha256));
    return model_digest(model, out->config_sha256, out->weights_sha256);
}

/* Whether a key of the resolved job decides results. The rest of the job may change from one start
 * to the next. */
static bool decides_results(const char *section, const char *key)
{
    static const struct {
        const char *section, *key;
    } free_keys[] = {
        {"model", "path"},       {"model", "dtype"},
        {"model", "kv_dtype"},   {"model", "max_model_len"},
        {"data", "input"},       {"layout", NULL},
        {"engine", NULL},        {"output", "path"},
        {"output", "overwrite"}, {"output", "strings"},
        {"output", "metrics"},   {"run", NULL},
        {"log", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(free_keys); i++) {
        if (strcmp(section, free_keys[i].section) == 0 &&
            (free_keys[i].key == NULL || strcmp(key, free_keys[i].key) == 0)) {
            return false;
        }
    }
    return true;
}

/* The resolved job is written one key a line under its section, which makes it a list to pick from.
 */
static status list_job_keys(const struct job *job, struct buffer *out)
{
    struct buffer yaml = {0};
    status s = job_write(job, &yaml);
    char section[64] = "";
    char *rest = yaml.data;
    for (char *line = strsep(&rest, "\n"); s == STATUS_OK && line != NULL;
         line = strsep(&rest, "\n")) {
        size_t indent = strspn(line, " ");
        size_t name = strcspn(line + indent, ":");
        if (line[indent] == '\0' || line[indent] == '#') {
            continue;
        }
        if (indent == 0) {
            snprintf(section, sizeof section, "%.*s", (int)name, line);
            continue;
        }
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)name, line + indent);
        if (decides_results(section, key)) {
            s = buffer_format(out, "%s.%s\n", section, line + indent);
        }
    }
    buffer_destroy(&yaml);
    return s;
}

static bool has_line(const char *text, const char *line, size_t length)
{
    for (const char *at = text; at != NULL && *at != '\0';
         at = strchr(at, '\n'), at += at != NULL) {
        if (strncmp(at, line, length) == 0 && at[length] == '\n') {
            return true;
        }
    }
    return false;
}

status provenance_drop_defaults(const char *lines, struct buffer *out)
{
    struct job plain;
    struct buffer defaults = {0};
    status s = job_initialize(&plain);
    if (s == STATUS_OK) {
        s = list_job_keys(&plain, &defaults);
    }
    for (const char *end; s == STATUS_OK && (end = strchr(lines, '\n')) != NULL; lines = end + 1) {
        size_t length = (size_t)(end - lines);
        if (!has_line(defaults.data, lines, length)) {
            s = buffer_append(out, lines, length + 1);
        }
    }
    buffer_destroy(&defaults);
    job_destroy(&plain);
    return s;
}

/* Keys at their default are left out, so that a key which a later version adds makes no job
 * another one. */
static status append_job_keys(const struct job *job, struct buffer *out)
{
    struct buffer lines = {0};
    struct job set = *job; /* what was set; what the model brings stands in lines of its own */
    set.model_default_count = 0;
    status s = list_job_keys(&set, &lines);
    if (s == STATUS_OK) {
        s = provenance_drop_defaults(lines.data, out);
    }
    for (size_t i = 0; s == STATUS_OK && i < job->model_default_count; i++) {
        s = buffer_format(out, "model default %s: %s\n", job->model_defaults[i].name,
                          job->model_defaults[i].value->text);
    }
    buffer_destroy(&lines);
    return s;
}

/* Of several files each has a line, so that the one that differs is named; of very many their
 * common hash is enough. Where they lie may change. */
static status append_files(const struct input_files *files, struct buffer *out)
{
    enum { MOST_LINES = 1000 };
    bool listed = files->count > 1 && files->count <= MOST_LINES;
    if (files->count > 1) {
        TRY(buffer_format(out, "data files: %zu\n", files->count));
    }
    for (size_t i = 0; listed && i < files->count; i++) {
        const struct input_file *file = &files->items[i];
        TRY(buffer_format(out, "data file %zu: sha256 %s ", i + 1, file->sha256));
        const char *name = path_name(file->path);
        TRY(json_write_string(name, strlen(name), out)); /* which may hold a newline */
        TRY(buffer_append_byte(out, '\n'));
    }
    return STATUS_OK;
}

status provenance_identity(const struct provenance *provenance, const struct job *job,
                           const struct plan *plan, struct buffer *out)
{
    TRY(buffer_format(out, "arithmetic: %d, %s\n", ARITHMETIC_GENERATION, plan->arithmetic));
    TRY(append_files(provenance->files, out));
    TRY(buffer_format(out,
                      "data bytes: %lld\ndata sha256: %s\nmodel config sha256: %s\n"
                      "model weights sha256: %s\nmodel tokenizer and template sha256: %s\n",
                      (long long)provenance->data_bytes, provenance->data_sha256,
                      provenance->config_sha256, provenance->weights_sha256,
                      provenance->text_sha256));
    TRY(buffer_format(out,
                      "device: %s\ncompute type: %s\nweight type: %s\nkv type: %s\n"
                      "max_model_len: %d\ntp_slices: %d\n",
                      plan->kind->name, dtype_name(plan->compute), weight_format_name(plan->stored),
                      dtype_name(plan->kv_dtype), plan->max_model_len, plan->slices));
    TRY(buffer_append_text(out, provenance->part));
    TRY(buffer_append_text(out, provenance->embedding));
    return append_job_keys(job, out);
}

status provenance_write(const struct provenance *provenance, const struct job *job,
                        const struct plan *plan, const struct run_summary *summary,
                        struct output_writer *writer)
{
    struct buffer yaml = {0}, layout = {0}, slurm = {0}, identity = {0};
    char created[21];
    clock_timestamp(created);
    static const char *const slurm_names[] = {"SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID",
                                              "SLURM_RESTART_COUNT", "SLURM_JOB_NODELIST",
                                              "SLURM_CLUSTER_NAME"};
    status s = job_write(job, &yaml);
    if (s == STATUS_OK) {
        s = provenance_identity(provenance, job, plan, &identity);
    }
    if (s == STATUS_OK) {
        s = buffer_format(&layout, "{\"ranks\":%d,\"dp\":%d,\"tp\":%d,\"pp\":%d,\"tp_slices\":%d}",
                          plan->ranks, plan->dp, plan->tp, plan->pp, plan->slices);
    }
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(slurm_names); i++) {
        const char *value = getenv(slurm_names[i]);
        if (value != NULL) {
            s = buffer_format(&slurm, "%s=%s\n", slurm_names[i], value);
        }
    }
    if (s == STATUS_OK) {
        const struct output_attribute attributes[] = {
            {"sluice_version", SLUICE_VERSION, 0},
            {"created", created, 0},
            {"template_time", provenance->template_time, 0},
            {"job", yaml.data, 0},
            {"identity", identity.data, 0},
            {"model_path", job->model.path, 0},
            {"model_config_sha256", provenance->config_sha256, 0},
            {"model_weights_sha256", provenance->weights_sha256, 0},
            {"data_path", job->data.input.text, 0},
            {"data_bytes", NULL, (double)provenance->data_bytes},
            {"data_sha256", provenance->data_sha256, 0},
            {"layout", layout.data, 0},
            {"device", plan->kind->name, 0},
            {"compute_dtype", dtype_name(plan->compute), 0},
            {"kv_dtype", dtype_name(plan->kv_dtype), 0},
            {"max_model_len", NULL, plan->max_model_len},
            {"max_sequences", NULL, plan->max_sequences},
            {"kv_blocks", NULL, plan->kv_blocks},
            {"kv_block_tokens", NULL, plan->kv_block_tokens},
            {"host", world_get()->host, 0},
            {"slurm", slurm.data != NULL ? slurm.data : "", 0},
            {"resumed_rows", NULL, (double)summary->resumed_rows},
            {"wall_seconds", NULL, summary->seconds},
            {"wall_output_tokens", NULL, (double)summary->tokens_now},
            {"rows_seconds", NULL, summary->rows_seconds},
            {"bound", summary->bound, 0},
            {"predicted_seconds", NULL, summary->predicted_seconds},
            {"predicted_output_tokens", NULL, summary->predicted_tokens},
            {"predicted_bound", summary->predicted_bound, 0},
            {"journal_seconds", NULL, summary->journal_seconds},
            {"rows", NULL, (double)summary->rows},
            {"error_rows", NULL, (double)summary->error_rows},
            {"errors", summary->errors, 0},
            {"prompt_tokens", NULL, (double)summary->prompt_tokens},
            {"output_tokens", NULL, (double)summary->output_tokens},
        };
        s = output_write_attributes(writer, attributes, COUNT_OF(attributes));
    }
    buffer_destroy(&yaml);
    buffer_destroy(&layout);
    buffer_destroy(&slurm);
    buffer_destroy(&identity);
    return s;
}
