/* SPDX-License-Identifier: Apache-2.0 */
/* A job's validation: model, plan, every row, the place of the output. */
#include "sluice/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "run/answers/row_forms.h"
#include "run/data_set.h"
#include "run/order/row_batch.h"
#include "run/output_place.h"
#include "run/predict/predict.h"
#include "run/prompt.h"
#include "run/provenance.h"
#include "run/report/error_tally.h"
#include "run/report/notes.h"
#include "run/report/repeats.h"
#include "run/steps/engine_setup.h"
#include "sluice/task.h"

struct check {
    const struct job *job; /* `resolved`, once the model is open */
    struct job resolved;   /* borrows what the job owns */
    int64_t record_bytes;  /* of all rows */
    const struct check_options *options;
    struct check_report *report;
    struct model *model; /* NULL where it cannot be opened */
    bool is_planned;     /* the next three are there */
    struct plan plan;
    struct engine_options engine;
    int max_model_len; /* 0 where there is no plan */
    bool skips_rows;
    struct error_tally errors;
    struct notes notes;
    struct repeats twins;
    struct predict_sample sample;
    struct input_files files; /* of the data set */
    struct answer_reader answers;
    struct row_forms forms;
};

/* Takes what a step found wrong into the report, once; running out of memory ends the check. The
 * steps go in run's order, and run ends at the first problem: its status is that one's. */
static status note_problem(struct check *check, status s)
{
    if (s == STATUS_OK || s == STATUS_NO_MEMORY) {
        return s;
    }
    struct check_report *report = check->report;
    const char *message = status_message();
    if (report->problem_count > 0 && strstr(report->problems.data, message) != NULL) {
        return STATUS_OK;
    }
    report->is_refused = report->problem_count++ == 0 ? s == STATUS_REFUSED : report->is_refused;
    return buffer_format(&report->problems, "%s\n", message);
}

/* ---- Model and plan ---- */

/* As far as this host tells what the ranks' hosts have. */
static status note_idle_devices(struct check *check)
{
    const struct backend_kind *kind = check->plan.kind;
    int there = kind->has_own_memory ? backend_kind_device_count(kind) : 0;
    int taken = check->options->ranks_per_host;
    return there <= taken
               ? STATUS_OK
               : buffer_format(&check->report->warnings,
                               "%d of this host's %d %s would be idle: %d %s a host; --ranks %d "
                               "plans for all\n",
                               there - taken, there, kind->devices, taken,
                               taken == 1 ? "rank" : "ranks", there);
}

static status check_plan(struct check *check)
{
    TRY(plan_create(check->job, check->model, check->options->ranks, check->options->ranks_per_host,
                    0, NULL, &check->plan));
    check->engine = engine_setup(check->job, check->model, &check->plan);
    TRY(engine_check_options(&check->engine));
    check->max_model_len = check->plan.max_model_len;
    check->is_planned = true;
    check->report->has_template = model_chat_template(check->model) != NULL;
    TRY(note_idle_devices(check));
    return plan_describe(&check->plan, check->model, &check->report->plan);
}

/* The job with what the model decides of it. */
static status resolve_job(struct check *check)
{
    check->resolved = *check->job;
    check->job = &check->resolved;
    TRY(job_take_model_defaults(&check->resolved, check->model, &check->report->defaults));
    /* A task that the model cannot do is what its plan fails for. */
    const struct model_config *config = model_config(check->model);
    if (config == NULL || job_check_task(check->job, config) != STATUS_OK) {
        return STATUS_OK;
    }
    TRY(job_warn_unused(check->job));
    return model_prepare(check->model, check->job->generate.task);
}

static bool has_config(const struct check *check)
{
    return check->model != NULL && model_config(check->model) != NULL;
}

static status check_model(struct check *check)
{
    TRY(model_open(check->job->model.path, &check->model));
    TRY(model_use_template(check->model, check->job->data.chat_template));
    TRY(resolve_job(check));
    status weights = model_check_weights(check->model);
    if (!has_config(check)) {
        return weights; /* a plan would fail for the same reason */
    }
    TRY(note_problem(check, weights));
    TRY(check_plan(check));
    status s = data_set_check_system(check->job);
    if (s == STATUS_OK) {
        s = prompt_check_tokenizer(check->job, &check->files, check->model);
    }
    check->skips_rows = s != STATUS_OK; /* one line instead of one a row */
    return s;
}

/* ---- Rows ---- */

static int64_t vector_bytes(const struct check *check)
{
    return 4 * (int64_t)model_config(check->model)->answer_width;
}

/* Upper bound of what a row leaves on disk, once in the journal and once in the output. */
static int64_t row_bytes(const struct check *check, const struct row *row, int64_t row_size,
                         int64_t new_tokens)
{
    enum { FIXED = 150, TEXT_BYTES_A_TOKEN = 5 };
    const struct task_facts *task = task_facts(row->params.task);
    bool with_ids = check->model != NULL && prompt_keeps_token_ids(check->job, check->model, row);
    int64_t a_token = TEXT_BYTES_A_TOKEN + (with_ids ? 4 : 0);
    if (row->params.sampling.logprobs >= 0) {
        a_token += 4 + 8 * (int64_t)row->params.sampling.logprobs;
    } else if (task_gives(task, "logprobs")) {
        a_token += 4;
    }
    if (task->work == WORK_POOL) {
        return 2 * (FIXED + row_size + vector_bytes(check));
    }
    return 2 * row->params.samples * (FIXED + row_size + a_token * new_tokens);
}

/* What of this is certain, however short the answers are: numbers of results, and those of tokens
 * that are given. */
static int64_t least_row_bytes(const struct check *check, const struct row *row, int64_t tokens)
{
    enum { LEAST_FIXED = 64, SCORED_TOKEN = 8 };
    const struct task_facts *task = task_facts(row->params.task);
    int64_t values = task_gives(task, "embedding")  ? vector_bytes(check)
                     : task_gives(task, "logprobs") ? SCORED_TOKEN * tokens
                                                    : 0;
    return 2 * row->params.samples * (LEAST_FIXED + values);
}

/* Rows whose random numbers are those of another row. */
static status note_twin(struct check *check, const struct row *row,
                        const struct prompt_encoder *encoder)
{
    uint64_t stream = random_stream(row, encoder->tokens.ids, encoder->tokens.count);
    bool is_sampled =
        task_facts(row->params.task)->work == WORK_SAMPLE && row->params.sampling.temperature > 0;
    return is_sampled && random_stream_has_id(stream) ? repeats_add(&check->twins, stream)
                                                      : STATUS_OK;
}

/* Whether the engine would take it, in the form that it asks for. */
static status check_for_engine(struct check *check, const struct prompt_encoder *encoder,
                               struct row *row)
{
    struct structured_entry *form;
    TRY(row_forms_take(&check->forms, &encoder->tokens, &row->params, &form));
    status s = engine_check_row(&check->engine, encoder->tokens.ids, encoder->tokens.count,
                                encoder->first_scored, &row->params,
                                model_config(check->model)->vocabulary);
    row_forms_release(&check->forms, form);
    return s;
}

static status check_row(struct check *check, struct prompt_encoder *encoder,
                        const struct record *record, struct arena *arena)
{
    if (record->kind == RECORD_BAD) {
        return status_fail(STATUS_INVALID, "%.*s", (int)record->bytes.length, record->bytes.data);
    }
    struct check_report *report = check->report;
    struct row_format format = prompt_row_format(check->job);
    struct row row;
    status s = row_parse(record, &format, &check->job->generate, arena, &row);
    status noted = notes_add_parsed(&check->notes, check->job, &row);
    TRY(s != STATUS_OK ? s : noted);
    int64_t prompt = 0;
    if (has_config(check)) {
        const int parts = row.completions != NULL ? row_answers(&row) : 1;
        for (int i = 0; i < parts; i++) {
            TRY(row_take_part(&row, i));
            TRY(prompt_encode(encoder, &row));
            TRY(note_twin(check, &row, encoder));
            TRY(check->is_planned ? check_for_engine(check, encoder, &row) : STATUS_OK);
            prompt += (int64_t)encoder->tokens.count;
        }
    }
    report->texts += row.kind == PROMPT_TEXT;
    int64_t room = check->max_model_len > 0 ? check->max_model_len - prompt : INT32_MAX;
    int64_t new_tokens = row.params.max_new_tokens < room ? row.params.max_new_tokens : room;
    const enum task_work work = task_facts(row.params.task)->work;
    if (work == WORK_POOL) {
        new_tokens = 0;
    } else if (work == WORK_READ) {
        new_tokens = prompt - (int64_t)encoder->first_scored;
        prompt = (int64_t)encoder->first_scored;
    }
    if (check->options->sample > 0 && check->is_planned) {
        TRY(predict_add_row(&check->sample, &row, encoder, check->max_model_len));
    }
    report->cut_answers += work == WORK_SAMPLE && row.params.max_new_tokens > room;
    report->samples += row.params.samples;
    report->prompt_tokens += prompt;
    report->longest_prompt = prompt > report->longest_prompt ? prompt : report->longest_prompt;
    report->output_tokens += row.params.samples * new_tokens;
    report->output_bytes += row_bytes(check, &row, (int64_t)record->bytes.length, new_tokens);
    report->least_bytes += least_row_bytes(check, &row, new_tokens);
    return STATUS_OK;
}

static status note_bad_row(struct check *check, const struct record *record)
{
    struct check_report *report = check->report;
    char place[RECORD_PLACE_BYTES];
    record_describe_place(record, place);
    status s = status_context(STATUS_INVALID, "%s", place);
    (void)s;
    const char *error = status_message();
    TRY(error_tally_add(&check->errors, record->row, error, strlen(error)));
    return ++report->bad_row_count > CHECK_MAX_BAD_ROWS
               ? STATUS_OK
               : buffer_format(&report->bad_rows, "%s\n", error);
}

/* What the bad rows come to: a warning, or why the job fails. */
static status judge_bad_rows(struct check *check)
{
    struct check_report *report = check->report;
    TRY(error_tally_describe(&check->errors, &report->errors));
    if (report->bad_row_count == 0) {
        return STATUS_OK;
    }
    if (!check->job->data.skip_bad_rows) {
        return status_fail(STATUS_INVALID, "%s: %lld bad rows, and data.skip_bad_rows is false: %s",
                           check->job->data.input.text, (long long)report->bad_row_count,
                           report->errors.data);
    }
    return report->bad_row_count < report->rows
               ? STATUS_OK
               : status_fail(STATUS_INVALID, "%s: no row would have an answer: %s",
                             check->job->data.input.text, report->errors.data);
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
        check->record_bytes += (int64_t)record->bytes.length;
        if (check->options->sample > 0 && check->report->rows > check->options->sample) {
            continue;
        }
        arena_reset(arena);
        status s = check_row(check, encoder, record, arena);
        if (s == STATUS_NO_MEMORY) {
            return s;
        }
        if (s != STATUS_OK) {
            TRY(note_bad_row(check, record));
        }
    }
    TRY(notes_describe(&check->notes, &check->report->warnings));
    if (repeats_count(&check->twins) > 0) {
        TRY(buffer_format(&check->report->warnings, REPEATS_WARNING "\n",
                          (long long)repeats_count(&check->twins)));
    }
    return judge_bad_rows(check);
}

/* Rows that wait in order beside the journal: of two batches what memory does not hold. */
static int64_t order_bytes(const struct check *check)
{
    const int64_t most = 2 * (int64_t)ROW_BATCH_BYTES, held = ROW_BATCH_MEMORY;
    const int64_t bytes = check->record_bytes < most ? check->record_bytes : most;
    const bool is_as_read = check->job->data.order == ORDER_FILE || !check->job->data.skip_bad_rows;
    return is_as_read || bytes < held ? 0 : bytes - held;
}

/* What the sample says of all rows. */
static void scale_totals(struct check *check)
{
    struct check_report *report = check->report;
    const double scale = (double)report->rows / (double)check->options->sample;
    int64_t *const totals[] = {&report->samples, &report->prompt_tokens, &report->output_tokens,
                               &report->output_bytes, &report->least_bytes};
    for (size_t i = 0; i < COUNT_OF(totals) && scale > 1; i++) {
        *totals[i] = (int64_t)((double)*totals[i] * scale);
    }
}

/* From a sample of rows and the cost of steps that earlier runs have had here. */
static status predict(struct check *check)
{
    struct step_cost cost;
    struct prediction prediction;
    struct buffer *out = &check->report->prediction;
    char time[24], bound[STEP_BOUND_BYTES];
    if (check->sample.count == 0) {
        return STATUS_OK;
    }
    if (!step_cost_load(&check->plan, model_config(check->model), &cost)) {
        return buffer_format(out, "not known: this model has not run on such a device yet; some "
                                  "hundred rows of it (data.limit) are enough\n");
    }
    TRY(predict_job(&check->sample, &check->engine, &cost,
                    (check->report->rows + check->plan.dp - 1) / check->plan.dp, NULL,
                    &prediction));
    const double seconds = prediction_seconds(&prediction, check->report->rows, check->plan.dp);
    return buffer_format(
        out,
        "%s, if every answer runs to its limit\n"
        "%.0f sequences a step; %.0f%% of the cache in use; %.2f tokens computed for each\n"
        "of it %s\n",
        format_seconds(seconds, time), prediction.decodes, 100 * prediction.cache_use,
        prediction.computed, step_bound_describe(&prediction.bound, bound));
}

static status check_data(struct check *check)
{
    const struct job *job = check->job;
    struct record_reader_options options = data_set_options(job, &check->files);
    struct record_reader *reader;
    int64_t rows;
    TRY(record_reader_try(&options, &rows));
    options.quiet = true;
    TRY(record_reader_open(&options, &reader));
    struct prompt_encoder encoder = {0};
    struct record record = {0};
    struct arena arena = {0};
    int64_t now = job->data.template_time >= 0 ? job->data.template_time : (int64_t)time(NULL);
    status s = has_config(check)
                   ? prompt_encoder_start(&encoder, check->model, check->max_model_len, now)
                   : STATUS_OK;
    if (has_config(check)) {
        answer_reader_start(&check->answers, job, check->model);
        row_forms_start(&check->forms, check->model, &check->answers);
    }
    if (s == STATUS_OK) {
        s = check_rows(check, reader, &encoder, &record, &arena);
    }
    if (s == STATUS_OK && check->options->sample > 0) {
        scale_totals(check);
        s = predict(check);
    }
    check->report->output_bytes += order_bytes(check);
    predict_destroy(&check->sample);
    row_forms_end(&check->forms);
    answer_reader_end(&check->answers);
    prompt_encoder_end(&encoder);
    buffer_destroy(&record.bytes);
    arena_destroy(&arena);
    record_reader_close(reader);
    return s;
}

/* ---- Output ---- */

/* Whether something can be made in a folder: a file without a name, or where the file system has no
 * such, a folder that is gone at once. Rights alone do not tell: not root's, and not of /proc. */
static status try_folder(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) {
        close(fd);
        return STATUS_OK;
    }
    struct buffer path = {0};
    status s = buffer_format(&path, "%s/.sluice-check-XXXXXX", folder);
    if (s == STATUS_OK && (mkdtemp(path.data) == NULL || rmdir(path.data) != 0)) {
        s = status_fail_errno(STATUS_IO, "output.path: cannot write in %s", folder);
    }
    buffer_destroy(&path);
    return s;
}

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
    TRY(try_folder(folder));
    struct statvfs space;
    if (statvfs(folder, &space) == 0) {
        check->report->free_bytes = (int64_t)(space.f_bavail * space.f_frsize);
    }
    return STATUS_OK;
}

/* Room for what is written. How much that is depends on how long the answers come to be: where it
 * may not be enough, nobody knows before the end, and it is said. */
static status check_space(struct check *check)
{
    const struct check_report *report = check->report;
    char least[24], most[24], there[24];
    if (report->free_bytes < 0 || report->output_bytes <= report->free_bytes) {
        return STATUS_OK;
    }
    format_bytes(report->output_bytes, most);
    format_bytes(report->free_bytes, there);
    if (report->least_bytes > report->free_bytes) {
        return status_fail(STATUS_LIMIT, "output.path: %s: %s to %s will be written, %s are free",
                           check->job->output.path, format_bytes(report->least_bytes, least), most,
                           there);
    }
    return buffer_format(&check->report->warnings,
                         "output.path: %s: up to %s will be written, %s are free; whether that is "
                         "enough depends on how long the answers are\n",
                         check->job->output.path, most, there);
}

/* The nearest folder above the output that exists. */
static status check_place(struct check *check)
{
    char *folder = strdup(check->job->output.path);
    if (folder == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a path");
    }
    status s = check_folder(check, folder);
    free(folder);
    return s;
}

/* Rows that an earlier start has left, or why they are in the way. */
static status check_journal(struct check *check, const char *directory, const char *identity)
{
    struct check_report *report = check->report;
    struct journal_state state;
    TRY(journal_look(directory, identity, check->options->keep_mixed, &state));
    report->has_journal = state.exists;
    report->kept_rows = state.rows;
    return state.lock_unsure
               ? buffer_format(&report->warnings,
                               "%s/lock: held by a process of another machine; run waits up to a "
                               "minute for a sign of life from it, and takes over where none "
                               "comes\n",
                               directory)
               : STATUS_OK;
}

/* As run_open of open_job.c goes about it. Both files' identities are only made where something is
 * there to compare with, since the whole data set is read for it. */
static status check_earlier_starts(struct check *check)
{
    const struct job *job = check->job;
    bool fresh = check->options->fresh, taken = output_place_is_taken(job);
    struct buffer directory = {0}, identity = {0};
    struct stat info;
    struct output_place place = {0};
    struct provenance provenance = {0};
    status s = output_place_journal(job, &directory);
    bool there = s == STATUS_OK && stat(directory.data, &info) == 0;
    if (s == STATUS_OK && !there && errno != ENOENT && errno != ENOTDIR) {
        s = status_fail_errno(STATUS_IO, "%s", directory.data); /* such as a name too long */
    }
    bool wanted = !fresh && (taken || there);
    if (s == STATUS_OK && wanted) {
        s = input_files_hash(&check->files);
        if (s == STATUS_OK) {
            s = provenance_create(&check->files, check->model, &provenance);
        }
        if (s == STATUS_OK) {
            s = provenance_identity(&provenance, job, &check->plan, &identity);
        }
    }
    if (s == STATUS_OK) {
        s = output_place_examine(job, wanted ? identity.data : NULL, &place);
    }
    check->report->complete = s == STATUS_OK && place.complete;
    if (check->report->complete && place.arithmetic[0] != '\0') {
        s = buffer_format(&check->report->warnings, OUTPUT_OTHER_ARITHMETIC "\n", job->output.path,
                          place.arithmetic, ARITHMETIC_GENERATION, check->plan.arithmetic);
    }
    if (check->report->complete && place.no_answers) {
        s = status_fail(STATUS_INVALID, "%s is complete, and no row has an answer: %s",
                        job->output.path, place.errors);
    } else if (s == STATUS_OK && wanted && !place.complete) {
        s = check_journal(check, directory.data, identity.data);
    }
    buffer_destroy(&directory);
    buffer_destroy(&identity);
    return s;
}

static status check_all(struct check *check)
{
    TRY(note_problem(check, check_model(check)));
    if (check->report->problem_count == 0) {
        TRY(note_problem(check, check_earlier_starts(check)));
    }
    if (check->report->complete) {
        return STATUS_OK; /* run does not look at the rows either */
    }
    TRY(check->skips_rows ? STATUS_OK : note_problem(check, check_data(check)));
    TRY(note_problem(check, check_place(check)));
    return note_problem(check, check_space(check));
}

status check_job(const struct job *job, const struct check_options *options,
                 struct check_report *report)
{
    /* An HDF5 file of no rows takes some 28 kB, one of a few twice as much. */
    enum { LEAST_FILE = 24000, MOST_FILE = 64000 };
    *report = (struct check_report){
        .free_bytes = -1, .least_bytes = LEAST_FILE, .output_bytes = MOST_FILE};
    struct check check = {.job = job, .options = options, .report = report};
    status s = data_set_find(job, options->fresh, &check.files);
    if (s == STATUS_OK) {
        s = check_all(&check);
    }
    input_files_destroy(&check.files);
    error_tally_destroy(&check.errors);
    notes_destroy(&check.notes);
    repeats_destroy(&check.twins);
    model_close(check.model);
    return s;
}

void check_report_destroy(struct check_report *report)
{
    buffer_destroy(&report->plan);
    buffer_destroy(&report->bad_rows);
    buffer_destroy(&report->errors);
    buffer_destroy(&report->warnings);
    buffer_destroy(&report->defaults);
    buffer_destroy(&report->problems);
    buffer_destroy(&report->prediction);
}
