/* SPDX-License-Identifier: Apache-2.0 */
/* A job's validation: model, plan, every row, the place of the output. */
#include "sluice/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "run/prompt.h"

struct check {
    const struct job *job;
    const struct check_options *options;
    struct check_report *report;
    struct model *model; /* NULL where it cannot be opened */
    int max_model_len;   /* 0 where there is no plan */
};

/* Takes what a step found wrong into the report; running out of memory ends the check. */
static status note_problem(struct check *check, status s)
{
    if (s == STATUS_OK || s == STATUS_NO_MEMORY) {
        return s;
    }
    check->report->problem_count++;
    return buffer_format(&check->report->problems, "%s\n", status_message());
}

/* ---- Model and plan ---- */

static status check_model(struct check *check)
{
    TRY(model_open(check->job->model.path, &check->model));
    struct plan plan;
    TRY(plan_create(check->job, check->model, check->options->ranks, check->options->ranks_per_host,
                    0, NULL, &plan));
    check->max_model_len = plan.max_model_len;
    return plan_describe(&plan, check->model, &check->report->plan);
}

/* ---- Rows ---- */

static bool has_config(const struct check *check)
{
    return check->model != NULL && model_config(check->model) != NULL;
}

static bool is_embedded(const struct check *check)
{
    return check->model != NULL && model_embedding(check->model) != NULL;
}

/* What the engine would refuse. */
static status check_prompt(const struct check *check, const struct row *row, const int32_t *ids,
                           size_t count)
{
    if (count == 0) {
        return status_fail(STATUS_INVALID, "the prompt is empty");
    }
    bool is_answered = !is_embedded(check) && row->params.mode == MODE_GENERATE;
    if (!is_answered && row->params.samples > 1) {
        return status_fail(STATUS_INVALID, "n: %d; a text is scored or embedded once",
                           row->params.samples);
    }
    if (check->max_model_len > 0 && count + is_answered > (size_t)check->max_model_len) {
        return status_fail(STATUS_INVALID, "prompt of %zu tokens; the context holds %d", count,
                           check->max_model_len);
    }
    int vocabulary = has_config(check) ? model_config(check->model)->vocabulary : INT32_MAX;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= vocabulary) {
            return status_fail(STATUS_INVALID, "token id %d is outside of the vocabulary of %d",
                               ids[i], vocabulary);
        }
    }
    if (row->params.stop_count > 0 && check->model != NULL &&
        model_tokenizer(check->model) == NULL) {
        return status_fail(STATUS_INVALID, "stop strings need a tokenizer, the model has none");
    }
    return STATUS_OK;
}

/* Upper bound of what a row leaves on disk, once in the journal and once in the output. */
static int64_t row_bytes(const struct check *check, const struct row *row, int64_t row_size,
                         int64_t new_tokens)
{
    enum { FIXED = 150, TEXT_BYTES_A_TOKEN = 5 };
    bool is_scored = row->params.mode == MODE_SCORE;
    bool with_ids = check->model != NULL && prompt_keeps_token_ids(check->job, check->model, row);
    int64_t a_token = TEXT_BYTES_A_TOKEN + (with_ids ? 4 : 0);
    if (row->params.logprobs >= 0) {
        a_token += 4 + 8 * (int64_t)row->params.logprobs;
    } else if (is_scored) {
        a_token += 4;
    }
    if (is_embedded(check)) {
        return 2 * (FIXED + row_size + 4 * (int64_t)model_config(check->model)->hidden);
    }
    return 2 * row->params.samples * (FIXED + row_size + a_token * new_tokens);
}

static status check_row(struct check *check, struct prompt_encoder *encoder,
                        const struct record *record, struct arena *arena)
{
    if (record->kind == RECORD_BAD) {
        return status_fail(STATUS_INVALID, "%.*s", (int)record->bytes.length, record->bytes.data);
    }
    struct check_report *report = check->report;
    struct row_format format = prompt_row_format(check->job, check->model);
    struct row row;
    TRY(row_parse(record, &format, &check->job->generate, arena, &row));
    int64_t prompt = 0;
    if (has_config(check)) {
        TRY(prompt_encode(encoder, &row));
        TRY(check_prompt(check, &row, encoder->tokens.ids, encoder->tokens.count));
        prompt = (int64_t)encoder->tokens.count;
    }
    int64_t room = check->max_model_len > 0 ? check->max_model_len - prompt : INT32_MAX;
    int64_t new_tokens = row.params.max_new_tokens < room ? row.params.max_new_tokens : room;
    if (is_embedded(check)) {
        new_tokens = 0;
    } else if (row.params.mode == MODE_SCORE) {
        new_tokens = prompt - (int64_t)encoder->first_scored;
        prompt = (int64_t)encoder->first_scored;
    }
    report->samples += row.params.samples;
    report->prompt_tokens += prompt;
    report->longest_prompt = prompt > report->longest_prompt ? prompt : report->longest_prompt;
    report->output_tokens += row.params.samples * new_tokens;
    report->output_bytes += row_bytes(check, &row, (int64_t)record->bytes.length, new_tokens);
    return STATUS_OK;
}

static status note_bad_row(struct check *check, const struct record *record)
{
    struct check_report *report = check->report;
    bool lines = record->kind == RECORD_JSON || record->kind == RECORD_BAD;
    return ++report->bad_row_count > CHECK_MAX_BAD_ROWS
               ? STATUS_OK
               : buffer_format(&report->bad_rows, "%s %lld: %s\n", lines ? "line" : "prompt",
                               (long long)record->position, status_message());
}

static status check_rows(struct check *check, struct record_reader *reader,
                         struct prompt_encoder *encoder, struct record *record, struct arena *arena)
{
    for (;;) {
        bool more;
        TRY(record_reader_next(reader, record, &more));
        if (!more) {
            break;
        }
        check->report->rows++;
        arena_reset(arena);
        status s = check_row(check, encoder, record, arena);
        if (s == STATUS_NO_MEMORY) {
            return s;
        }
        if (s != STATUS_OK) {
            TRY(note_bad_row(check, record));
        }
    }
    if (check->report->bad_row_count > 0 && !check->job->data.skip_bad_rows) {
        return status_fail(STATUS_INVALID, "%s: %lld bad rows, and data.skip_bad_rows is false",
                           check->job->data.input, (long long)check->report->bad_row_count);
    }
    return check->report->rows > 0
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "%s: no rows", check->job->data.input);
}

static status check_data(struct check *check)
{
    const struct job *job = check->job;
    struct record_reader_options options = {
        .path = job->data.input, .prompt_field = job->data.prompt_field, .limit = job->data.limit};
    struct record_reader *reader;
    TRY(record_reader_open(&options, &reader));
    struct prompt_encoder encoder = {0};
    struct record record = {0};
    struct arena arena = {0};
    status s = has_config(check) ? prompt_encoder_start(&encoder, check->model, job->data.chat,
                                                        check->max_model_len, (int64_t)time(NULL))
                                 : STATUS_OK;
    if (s == STATUS_OK) {
        s = check_rows(check, reader, &encoder, &record, &arena);
    }
    prompt_encoder_end(&encoder);
    buffer_destroy(&record.bytes);
    arena_destroy(&arena);
    record_reader_close(reader);
    return s;
}

/* ---- Output ---- */

/* The nearest folder above the output that exists: the ones below it would be made. */
static status check_folder(struct check *check, char *folder)
{
    struct stat info;
    for (;;) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL) {
            strcpy(folder, "."); /* a path without folders has at least this much room */
        } else if (slash == folder) {
            folder[1] = '\0';
        } else {
            *slash = '\0';
        }
        if (stat(folder, &info) == 0) {
            break;
        }
        if (errno != ENOENT || slash == NULL) {
            return status_fail_errno(STATUS_IO, "output.path: %s", folder);
        }
    }
    if (!S_ISDIR(info.st_mode)) {
        return status_fail(STATUS_INVALID, "output.path: %s is not a folder", folder);
    }
    if (access(folder, W_OK | X_OK) != 0) {
        return status_fail_errno(STATUS_IO, "output.path: cannot write in %s", folder);
    }
    struct statvfs space;
    if (statvfs(folder, &space) == 0) {
        check->report->free_bytes = (int64_t)(space.f_bavail * space.f_frsize);
    }
    return STATUS_OK;
}

static status check_output(struct check *check)
{
    const char *path = check->job->output.path;
    struct stat info;
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            return status_fail(STATUS_INVALID, "output.path: %s is a folder", path);
        }
        if (!check->job->output.overwrite) {
            return status_fail(STATUS_EXISTS,
                               "output.path: %s exists; set output.overwrite=true to replace it",
                               path);
        }
    }
    char *folder = strdup(path);
    if (folder == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a path");
    }
    status s = check_folder(check, folder);
    free(folder);
    TRY(s);
    const struct check_report *report = check->report;
    if (report->free_bytes >= 0 && report->output_bytes > report->free_bytes) {
        return status_fail(STATUS_LIMIT,
                           "output.path: up to %.1f GB will be written, %.1f GB are free",
                           (double)report->output_bytes / 1e9, (double)report->free_bytes / 1e9);
    }
    return STATUS_OK;
}

status check_job(const struct job *job, const struct check_options *options,
                 struct check_report *report)
{
    *report = (struct check_report){.free_bytes = -1};
    struct check check = {.job = job, .options = options, .report = report};
    status s = note_problem(&check, check_model(&check));
    if (s == STATUS_OK) {
        s = note_problem(&check, check_data(&check));
    }
    if (s == STATUS_OK) {
        s = note_problem(&check, check_output(&check));
    }
    model_close(check.model);
    return s;
}

void check_report_destroy(struct check_report *report)
{
    buffer_destroy(&report->plan);
    buffer_destroy(&report->bad_rows);
    buffer_destroy(&report->problems);
}
