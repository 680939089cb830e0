/* SPDX-License-Identifier: Apache-2.0 */
/* A job from start to finished file: what every rank does, in order. */
#include <errno.h>
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run/coordinator.h"
#include "run/data_set.h"
#include "run/hosts/heartbeat.h"
#include "run/output/run_part.h"
#include "run/output_place.h"
#include "run/predict/job_prediction.h"
#include "run/prompt.h"
#include "run/provenance.h"
#include "run/ranks/crash_note.h"
#include "run/ranks/devices.h"
#include "run/ranks/stop_request.h"
#include "run/ranks/world.h"
#include "run/replica.h"
#include "run/report/notes_warn.h"
#include "run/report/phase.h"
#include "run/report/start_line.h"
#include "run/steps/stage.h"
#include "run/writing/early_output.h"
#include "sluice/mpi_check.h"
#include "sluice/run.h"
#include "sluice/task.h"

struct run {
    const struct job *job; /* `resolved`, once the model is open */
    struct job resolved;   /* borrows what the job owns */
    const struct run_options *options;
    const struct world *world;
    double start;
    struct model *model;
    struct plan plan;
    struct stage stage;
    MPI_Comm control, replica; /* MPI_COMM_NULL until they exist */
    struct replica_report report;
    /* On rank 0 alone: */
    struct input_files files; /* of the data set */
    int64_t *file_rows;       /* [files.count] of each, at the end */
    int64_t rows;             /* of the data set, where that is known at the start; or -1 */
    struct provenance provenance;
    struct run_part part;
    struct journal *journal;
    int64_t template_time; /* Unix seconds */
    struct attempts *attempts;
    struct early_output *early; /* NULL: the output is written at the end */
    struct coordinator *coordinator;
    struct job_prediction *prediction; /* NULL: nothing is known */
};

/* ---- Setting up ---- */

/* The earlier start may have died between the output's appearance and the journal's end. */
static void remove_leftovers(const char *directory, const char *identity)
{
    struct journal *journal;
    struct stat info;
    if (stat(directory, &info) != 0) {
        return;
    }
    if (journal_open(directory, identity, JOURNAL_KEEP_MIXED, &journal) == STATUS_OK) {
        journal_close(journal, true);
    } else {
        log_write(LOG_WARNING, "%s", status_message());
    }
}

static status find_files(struct run *run)
{
    const struct job *job = run->job;
    const bool fresh = run->options->fresh;
    switch (run->options->part) {
    case RUN_WHOLE:
        return data_set_find(job, fresh, &run->files);
    case RUN_AGAIN: /* those of the output */
        TRY(data_set_find(job, true, &run->files));
        return input_files_keep(run->options->of, false, &run->files);
    case RUN_APPEND: /* new ones as well, but for those that came after an interrupted start */
        TRY(data_set_find(job, true, &run->files));
        return fresh ? STATUS_OK : input_files_keep(job->output.path, true, &run->files);
    }
    return STATUS_OK;
}

static status find_data(struct run *run)
{
    TRY(data_set_check_system(run->job));
    TRY(find_files(run));
    return prompt_check_tokenizer(run->job, &run->files, run->model);
}

/* A data set that cannot be opened leaves no journal behind. */
static status try_data(struct run *run)
{
    const struct record_reader_options options = data_set_options(run->job, &run->files);
    TRY(record_reader_try(&options, &run->rows));
    if (run->rows < 0) {
        run->rows = input_files_rows(&run->files);
    }
    return STATUS_OK;
}

static int64_t limited_rows(const struct run *run)
{
    int64_t limit = run->job->data.limit;
    if (run->part.kind != RUN_WHOLE) {
        return run->part.rows.count;
    }
    return run->rows >= 0 && limit >= 0 && limit < run->rows ? limit : run->rows;
}

/* ---- Columns ---- */

/* The output tells input files apart where there may be several. */
static status count_files(struct run *run)
{
    if (run->files.count == 1 && !run->files.has_patterns) {
        return STATUS_OK;
    }
    run->file_rows = calloc(run->files.count, sizeof *run->file_rows);
    return run->file_rows != NULL
               ? STATUS_OK
               : status_fail(STATUS_NO_MEMORY, "out of memory for the table of input files");
}

/* What the job asks for is there, whatever its rows came to, and so is what any row asked for. */
static struct output_columns choose_columns(const void *context)
{
    const struct run *run = context;
    const struct job *job = run->job;
    const struct task_facts *task = task_facts(job->generate.task);
    struct output_columns columns = journal_columns(run->journal);
    columns.packed_texts = job->output.strings == STRINGS_PACKED;
    columns.prompt |= job->output.include_prompt;
    columns.arithmetic |= run->options->keep_mixed;
    columns.token_ids |= job->output.include_token_ids;
    columns.valid |= job->generate.structured.kind != STRUCTURED_NONE;
    columns.logprobs |= job->generate.sampling.logprobs >= 0;
    columns.top_logprobs = job->generate.sampling.logprobs > columns.top_logprobs
                               ? job->generate.sampling.logprobs
                               : columns.top_logprobs;
    task_choose_columns(task, model_config(run->model)->hidden, &columns);
    if (run->file_rows != NULL) {
        coordinator_file_rows(run->coordinator, run->file_rows);
        columns.files = &run->files;
        columns.file_rows = run->file_rows;
    }
    if (run->part.kind == RUN_APPEND) {
        output_columns_join(run->part.reader, &columns);
    }
    return columns;
}

/* The output is written beside the job where that may be, and where rows come from the first on. */
static status prepare_output(struct run *run)
{
    const struct early_output_options options = {.path = run->job->output.path,
                                                 .overwrite = run->job->output.overwrite,
                                                 .journal = run->journal,
                                                 .columns = choose_columns,
                                                 .context = run};
    TRY(count_files(run));
    return run->part.kind == RUN_WHOLE && output_may_write_beside(&run->files)
               ? early_output_create(&options, &run->early)
               : STATUS_OK;
}

/* ---- Rank 0's files ---- */

static status open_journal(struct run *run, const char *directory, const char *identity,
                           struct run_summary *summary)
{
    bool fresh = run->options->fresh;
    double start = clock_seconds();
    unsigned how =
        (fresh ? JOURNAL_FRESH : 0) | (run->options->keep_mixed ? JOURNAL_KEEP_MIXED : 0);
    phase_begin("reading the journal");
    TRY(journal_open(directory, identity, how, &run->journal));
    TRY(attempts_open(directory, run->journal, fresh, &run->attempts));
    run->template_time = run->job->data.template_time;
    if (run->template_time < 0) {
        run->template_time = run->part.template_time;
    }
    if (run->template_time < 0) {
        TRY(template_time_open(directory, fresh, &run->template_time));
    }
    clock_write_timestamp(run->template_time, run->provenance.template_time);
    summary->journal_seconds += clock_seconds() - start;
    TRY(input_files_save(directory, &run->files));
    TRY(prepare_output(run));
    struct coordinator_options options = {.job = run->job,
                                          .files = &run->files,
                                          .journal = run->journal,
                                          .attempts = run->attempts,
                                          .early = run->early,
                                          .comm = run->control,
                                          .replicas = run->plan.dp,
                                          .replica_ranks = run->plan.tp * run->plan.pp,
                                          .choice = &run->part.rows,
                                          .rows = limited_rows(run),
                                          .progress = {.directory = directory,
                                                       .output = run->job->output.path,
                                                       .metrics = run->job->output.metrics,
                                                       .plan = &run->plan,
                                                       .quiet = run->options->quiet}};
    return coordinator_create(&options, &run->coordinator);
}

static void say_kept(const struct run *run)
{
    int64_t rows = run->journal != NULL ? journal_row_count(run->journal) : 0;
    if (rows > 0) {
        log_write(LOG_INFO, "%lld %s kept from an earlier start", (long long)rows,
                  rows == 1 ? "row" : "rows");
    }
}

static void say_part(const struct run *run)
{
    const struct row_choice *rows = &run->part.rows;
    if (run->part.kind == RUN_AGAIN) {
        log_write(LOG_INFO, "%lld %s of %s run again", (long long)rows->count,
                  rows->count == 1 ? "row" : "rows", run->options->of);
    } else if (run->part.kind == RUN_APPEND) {
        log_write(LOG_INFO, "%s has the first %lld rows; those behind them are appended",
                  run->options->of, (long long)rows->from);
    }
}

/* Nothing is to be done: what the finished output holds. */
static void note_complete(const struct run *run, const struct output_place *place,
                          struct run_summary *summary)
{
    if (place->arithmetic[0] != '\0') {
        log_write(LOG_WARNING, OUTPUT_OTHER_ARITHMETIC, run->job->output.path, place->arithmetic,
                  ARITHMETIC_GENERATION, run->plan.arithmetic);
    }
    summary->complete_before = true;
    summary->no_answers = place->no_answers;
    summary->rows = place->rows;
    summary->error_rows = place->error_rows;
    snprintf(summary->errors, sizeof summary->errors, "%s", place->errors);
}

static status create_identity(struct run *run, struct buffer *identity)
{
    phase_begin("hashing the data set and samples of the model");
    TRY(provenance_create(&run->files, run->model, &run->provenance));
    TRY(run_part_open(run->options, run->job, input_files_rows(&run->files), &run->provenance,
                      &run->part));
    return provenance_identity(&run->provenance, run->job, &run->plan, identity);
}

/* What a start that appends finds in its output's place is the output that it goes on with. */
static status examine_place(struct run *run, const char *identity, struct output_place *place)
{
    *place = (struct output_place){0};
    if (run->part.kind != RUN_APPEND) {
        return output_place_examine(run->job, identity, place);
    }
    return run_part_check_job(&run->part, identity, run->options->keep_mixed);
}

/* A start that is about a part of which there is nothing. A journal beside an output that has all
 * rows is one that was left. */
static void note_nothing(struct run *run, const char *directory, struct run_summary *summary)
{
    struct journal *journal;
    struct stat info;
    summary->complete_before = true;
    if (run->part.kind == RUN_AGAIN) {
        snprintf(summary->nothing, sizeof summary->nothing,
                 "no row of %.200s is to be run again; nothing is written", run->options->of);
        return;
    }
    snprintf(summary->nothing, sizeof summary->nothing,
             "%.200s has all rows of the data set; nothing is to be appended", run->options->of);
    if (stat(directory, &info) == 0 &&
        journal_open(directory, "", JOURNAL_FRESH, &journal) == STATUS_OK) {
        journal_close(journal, true);
    }
}

/* Rank 0's own preparations: the output's place, the journal, the data set. */
static status open_job(struct run *run, struct run_summary *summary)
{
    const struct job *job = run->job;
    struct buffer identity = {0}, directory = {0};
    struct output_place place;
    bool refused =
        run->options->fresh && run->options->part != RUN_APPEND && output_place_is_taken(job);
    status s = refused ? STATUS_OK : create_identity(run, &identity);
    if (s == STATUS_OK) {
        s = output_place_journal(job, &directory);
    }
    if (s == STATUS_OK) {
        s = examine_place(run, refused ? NULL : identity.data, &place);
    }
    if (s == STATUS_OK && run->part.nothing) {
        note_nothing(run, directory.data, summary);
    } else if (s == STATUS_OK && place.complete) {
        note_complete(run, &place, summary);
        remove_leftovers(directory.data, identity.data);
    } else if (s == STATUS_OK) {
        s = try_data(run);
        if (s == STATUS_OK) {
            s = output_place_make_folders(job->output.path);
        }
        if (s == STATUS_OK) {
            s = open_journal(run, directory.data, identity.data, summary);
        }
    }
    buffer_destroy(&identity);
    buffer_destroy(&directory);
    return s;
}

/* Ranks of a replica follow each other, so that on most hosts a replica's ranks are neighbours. */
static status create_groups(struct run *run)
{
    int ranks = run->plan.tp * run->plan.pp;
    TRY(mpi_check(
        MPI_Comm_split(MPI_COMM_WORLD, run->world->rank / ranks, run->world->rank, &run->replica),
        "group a replica's ranks"));
    MPI_Comm_set_errhandler(run->replica, MPI_ERRORS_RETURN);
    return STATUS_OK;
}

static void begin_metrics(struct run *run)
{
    struct rank_metrics *metrics = &run->report.metrics;
    int ranks = run->plan.tp * run->plan.pp;
    int in_replica = run->world->rank % ranks;
    metrics->rank = run->world->rank;
    metrics->dp = run->world->rank / ranks;
    metrics->pp = in_replica / run->plan.tp;
    metrics->tp = in_replica % run->plan.tp;
    /* Where it stands now; replica.c takes the difference at the end. */
    metrics->energy_joules = backend_device_energy(run->plan.kind->name, run->plan.device_index);
    metrics->kv_bytes = run->plan.kv_bytes;
    snprintf(metrics->host, sizeof metrics->host, "%s", run->world->host);
    struct backend *backend = run->stage.backend;
    snprintf(metrics->device, sizeof metrics->device, "%s",
             backend->operations->device_name(backend));
}

/* ---- The end ---- */

/* What its results come to. */
static status take_totals(struct results_file *file, struct run_summary *summary)
{
    const struct results_totals *totals = &file->totals;
    struct buffer line = {0};
    summary->rows = totals->rows;
    summary->error_rows = totals->error_rows;
    summary->prompt_tokens = totals->prompt_tokens;
    summary->output_tokens = totals->output_tokens;
    summary->no_answers = totals->rows > 0 && totals->answers == 0;
    if (repeats_count(&file->twins) > 0) {
        log_write(LOG_WARNING, REPEATS_WARNING, (long long)repeats_count(&file->twins));
    }
    status s = error_tally_describe(&file->errors, &line);
    if (s == STATUS_OK && line.length > 0) {
        snprintf(summary->errors, sizeof summary->errors, "%s", line.data);
    }
    buffer_destroy(&line);
    return s;
}

static status write_result(void *context, const struct result *result)
{
    TRY(interrupt_check());
    return results_file_append(context, result);
}

static status append_token(const void *tokenizer, int32_t id, struct buffer *out)
{
    return tokenizer_token_bytes(tokenizer, id, out);
}

/* All results: what was written beside the job, and the rest. */
static status write_results(struct run *run, struct results_file **out, struct run_summary *summary)
{
    const struct job *job = run->job;
    struct results_file *file = NULL;
    int64_t row = 0;
    TRY(run->early != NULL ? early_output_take(run->early, &file, &row) : STATUS_OK);
    const bool appends = run->part.kind == RUN_APPEND;
    if (file == NULL) {
        const struct output_columns columns = choose_columns(run);
        TRY(results_file_create(job->output.path, job->output.overwrite || appends, &columns,
                                journal_arithmetic(run->journal), &file));
    }
    log_write(LOG_DEBUG, "%lld rows of the output were written while the job ran", (long long)row);
    status s = appends ? output_visit(run->part.reader, write_result, file) : STATUS_OK;
    double start = clock_seconds(), before = file->seconds;
    if (s == STATUS_OK) {
        s = journal_visit_from(run->journal, row, write_result, file);
    }
    summary->journal_seconds += clock_seconds() - start - (file->seconds - before);
    if (s != STATUS_OK) {
        results_file_destroy(file);
        return s;
    }
    *out = file;
    return STATUS_OK;
}

/* This start's speed, and what it was expected to be. */
static void note_speed(const struct run *run, const struct rank_metrics *ranks,
                       struct run_summary *summary)
{
    for (int i = 0; i < run->world->size; i++) {
        summary->tokens_now += ranks[i].output_tokens; /* leaders' alone are not 0 */
        summary->rows_seconds = fmax(summary->rows_seconds, ranks[i].seconds_total);
    }
    snprintf(summary->bound, sizeof summary->bound, "%s", run->report.bound);
    job_prediction_summarise(run->prediction, summary->rows - summary->resumed_rows, summary);
}

static status write_output(struct run *run, const struct rank_metrics *ranks,
                           const struct timeline_point *timeline, size_t points,
                           struct run_summary *summary)
{
    const struct job *job = run->job;
    int64_t bytes;
    char sha256[65];
    TRY(coordinator_digest(run->coordinator, &bytes, sha256));
    if (bytes != run->provenance.data_bytes || strcmp(sha256, run->provenance.data_sha256) != 0) {
        return status_fail(STATUS_INVALID,
                           "%s: changed while the job ran; start again with --fresh",
                           job->data.input.text);
    }
    struct results_file *file;
    TRY(write_results(run, &file, summary));
    struct output_writer *writer = file->writer;
    status s = take_totals(file, summary);
    if (s == STATUS_OK && model_tokenizer(run->model) != NULL) {
        s = output_write_vocabulary(writer, append_token, model_tokenizer(run->model));
    }
    if (s == STATUS_OK) {
        s = output_write_inputs(writer);
    }
    if (s == STATUS_OK) {
        s = output_write_ranks(writer, ranks, (size_t)run->world->size);
    }
    if (s == STATUS_OK) {
        s = output_write_timeline(writer, timeline, points);
    }
    summary->seconds = clock_seconds() - run->start;
    note_speed(run, ranks, summary);
    if (run->part.kind == RUN_APPEND) { /* an output of the whole data set like any other */
        run->provenance.part[0] = '\0';
    }
    if (s == STATUS_OK) {
        s = provenance_write(&run->provenance, job, &run->plan, summary, writer);
    }
    if (s == STATUS_OK) {
        file->writer = NULL;
        s = output_finish(writer);
    }
    results_file_destroy(file);
    return s;
}

/* What every rank's exit status depends on. Collective. */
static status share_outcome(const struct run *run, struct run_summary *summary)
{
    int outcome[] = {summary->complete_before, summary->no_answers};
    TRY(mpi_check(MPI_Bcast(outcome, COUNT_OF(outcome), MPI_INT, 0, run->control),
                  "send the outcome"));
    summary->complete_before = outcome[0] != 0;
    summary->no_answers = outcome[1] != 0;
    return STATUS_OK;
}

/* Everybody's numbers at rank 0, and the file. Collective. */
static status finish_job(struct run *run, struct run_summary *summary)
{
    int size = run->world->size, rank = run->world->rank;
    struct rank_metrics *ranks = NULL;
    struct timeline_point *points = NULL;
    int *counts = NULL, *starts = NULL;
    int own = (int)(run->report.timeline_count * sizeof *points), total = 0;
    status s = STATUS_OK;
    if (rank == 0) {
        ranks = calloc((size_t)size, sizeof *ranks);
        counts = calloc(2 * (size_t)size, sizeof *counts);
        starts = counts != NULL ? counts + size : NULL;
        if (ranks == NULL || counts == NULL) {
            s = status_fail(STATUS_NO_MEMORY, "out of memory for the metrics of %d ranks", size);
        }
    }
    s = run_agree(s);
    if (s == STATUS_OK) {
        s = mpi_check(MPI_Gather(&run->report.metrics, sizeof *ranks, MPI_BYTE, ranks,
                                 sizeof *ranks, MPI_BYTE, 0, run->control),
                      "gather metrics");
    }
    if (s == STATUS_OK) {
        s = mpi_check(MPI_Gather(&own, 1, MPI_INT, counts, 1, MPI_INT, 0, run->control),
                      "gather metrics");
    }
    if (s == STATUS_OK && rank == 0) {
        for (int i = 0; i < size; i++) {
            starts[i] = total;
            total += counts[i];
        }
        points = malloc((size_t)total + 1);
        if (points == NULL) {
            s = status_fail(STATUS_NO_MEMORY, "out of memory for the timeline");
        }
    }
    s = run_agree(s);
    if (s == STATUS_OK) { /* from the first replica's leader */
        s = mpi_check(MPI_Bcast(run->report.bound, sizeof run->report.bound, MPI_CHAR,
                                (run->plan.pp - 1) * run->plan.tp, run->control),
                      "send what bounds steps");
    }
    if (s == STATUS_OK) {
        s = mpi_check(MPI_Gatherv(run->report.timeline, own, MPI_BYTE, points, counts, starts,
                                  MPI_BYTE, 0, run->control),
                      "gather metrics");
    }
    if (s == STATUS_OK && rank == 0) {
        s = write_output(run, ranks, points, (size_t)total / sizeof *points, summary);
    }
    free(ranks);
    free(points);
    free(counts);
    TRY(run_agree(s));
    return share_outcome(run, summary);
}

/* A failure of this rank that is not the job's own: people want to know which machine it was. */
static status name_rank(const struct run *run, status s)
{
    const struct world *world = run->world;
    bool of_machine = s == STATUS_NO_MEMORY || s == STATUS_IO || s == STATUS_INTERNAL;
    if (!of_machine || world->size == 1) {
        return s;
    }
    struct backend *backend = run->stage.backend;
    return status_context(s, "rank %d on %s (%s)", world->rank, world->host,
                          backend != NULL ? backend->operations->device_name(backend)
                                          : run->plan.kind->name);
}

/* The rows, on all ranks. */
static status run_rows(struct run *run, struct run_summary *summary)
{
    int64_t now = run->template_time;
    TRY(mpi_check(MPI_Bcast(&now, sizeof now, MPI_BYTE, 0, run->control), "send the date"));
    struct buffer directory = {0};
    status s = output_place_journal(run->job, &directory);
    if (s == STATUS_OK) {
        s = crash_note_start(directory.data, run->world->rank, run->world->size,
                             run->report.metrics.dp);
    }
    buffer_destroy(&directory);
    TRY(run_agree(s));
    char own[sizeof run->plan.arithmetic + 16];
    snprintf(own, sizeof own, "%d, %s", ARITHMETIC_GENERATION, run->plan.arithmetic);
    const char *arithmetic = run->options->keep_mixed ? own : NULL;
    struct replica_options replica = {.job = run->job,
                                      .stage = &run->stage,
                                      .control = run->control,
                                      .replica = run->replica,
                                      .coordinator = run->coordinator,
                                      .now = now,
                                      .arithmetic = arithmetic,
                                      .start = run->start};
    s = replica_run(&replica, &run->report);
    if (run->coordinator != NULL) {
        coordinator_rows_end(run->coordinator, summary->slow, sizeof summary->slow);
    }
    if (s != STATUS_OK) {
        /* The others are in the middle of steps that need this rank: there is no agreeing with them
         * any more. */
        summary->failed_alone = true;
        return name_rank(run, s);
    }
    TRY(notes_warn(&run->report.notes, run->control));
    if (run->coordinator != NULL) {
        struct coordinator_totals totals = coordinator_totals(run->coordinator);
        summary->resumed_rows = totals.rows_resumed + run->part.rows.from;
        summary->journal_seconds += totals.journal_seconds;
        s = totals.complete ? STATUS_OK : status_fail(STATUS_STOPPED, "stopped");
    }
    return run_agree(s);
}

/* The job with what the model decides of it. */
static status resolve_job(struct run *run)
{
    struct buffer taken = {0};
    run->resolved = *run->job;
    status s = job_take_model_defaults(&run->resolved, run->model, &taken);
    if (s == STATUS_OK && taken.length > 0 && run->world->rank == 0) {
        log_write(LOG_INFO,
                  "sampling values of the model: %s (generate.defaults: none leaves them out)",
                  taken.data);
    }
    buffer_destroy(&taken);
    run->job = &run->resolved;
    return s;
}

static status start_prediction(struct run *run)
{
    const struct job_prediction_options options = {.job = run->job,
                                                   .files = &run->files,
                                                   .model = run->model,
                                                   .plan = &run->plan,
                                                   .now = run->template_time};
    return job_prediction_start(&options, &run->prediction);
}

/* Where it has come out by now, and how many rows there are is known. */
static void say_prediction(const struct run *run)
{
    struct prediction prediction;
    char time[24], bound[STEP_BOUND_BYTES];
    const int64_t rows = limited_rows(run);
    const int64_t done = run->journal != NULL ? journal_row_count(run->journal) : 0;
    if (rows > done && job_prediction_is_ready(run->prediction) &&
        job_prediction_take(run->prediction, &prediction)) {
        log_write(LOG_INFO, "the rows will take about %s, if every answer runs to its limit; %s",
                  format_seconds(prediction_seconds(&prediction, rows - done, run->plan.dp), time),
                  step_bound_describe(&prediction.bound, bound));
    }
}

static status run_phases(struct run *run, struct run_summary *summary)
{
    run->start = clock_seconds();
    TRY(run_agree(model_open(run->job->model.path, &run->model)));
    TRY(run_agree(model_use_template(run->model, run->job->data.chat_template)));
    if (model_config(run->model) == NULL) {
        return model_check_weights(run->model); /* says what is there instead */
    }
    TRY(run_agree(resolve_job(run)));
    TRY(mpi_check(MPI_Comm_dup(MPI_COMM_WORLD, &run->control), "duplicate the world"));
    MPI_Comm_set_errhandler(run->control, MPI_ERRORS_RETURN);
    TRY(run_agree(run->world->rank == 0 ? model_check_weights(run->model) : STATUS_OK));
    TRY(devices_plan(run->job, run->model, &run->plan));
    TRY(run_agree(run->world->rank == 0 ? find_data(run) : STATUS_OK));
    TRY(devices_compare(&run->plan, run->options->keep_mixed));
    TRY(run_agree(run->world->rank == 0 ? open_job(run, summary) : STATUS_OK));
    phase_end();
    TRY(share_outcome(run, summary));
    if (summary->complete_before) {
        return STATUS_OK;
    }
    TRY(start_line_log(run->job, run->model, &run->plan, run->rows));
    TRY(run_agree(run->world->rank == 0 ? start_prediction(run) : STATUS_OK));
    say_kept(run);
    say_part(run);
    TRY(run_agree(create_groups(run)));
    int replica_rank;
    char size[24];
    MPI_Comm_rank(run->replica, &replica_rank);
    phase_begin("loading the weights, %s a rank", format_bytes(run->plan.weight_bytes, size));
    TRY(run_agree(name_rank(
        run, stage_create(&run->plan, run->model, run->replica, replica_rank, &run->stage))));
    phase_end();
    say_prediction(run);
    begin_metrics(run);
    TRY(run_rows(run, summary));
    interrupt_configure(stop_overdue);
    phase_begin("writing %s", run->job->output.path);
    TRY(finish_job(run, summary));
    phase_end();
    return STATUS_OK;
}

/* Closes rank 0's files. *rows is what the journal holds. */
static void close_files(struct run *run, status s, const struct run_summary *summary, int64_t *rows)
{
    bool died = summary->failed_alone && !coordinator_failed(run->coordinator);
    attempts_close(run->attempts, s == STATUS_OK ? ATTEMPTS_DONE
                                  : died         ? ATTEMPTS_DIED
                                                 : ATTEMPTS_ORDERLY);
    *rows = journal_row_count(run->journal);
    journal_close(run->journal, s == STATUS_OK);
}

status run_job(const struct job *job, const struct run_options *options,
               struct run_summary *summary)
{
    struct run run = {.job = job,
                      .options = options,
                      .world = world_get(),
                      .control = MPI_COMM_NULL,
                      .replica = MPI_COMM_NULL};
    *summary = (struct run_summary){0};
    heartbeat_configure((double)job->run.silence_warn, (double)job->run.silence_limit);
    status s = run_phases(&run, summary);
    phase_forget(); /* one that failed is not done */
    /* What goes wrong while all is put away says less. */
    char message[1024];
    snprintf(message, sizeof message, "%s", status_message());
    int64_t rows = 0;
    crash_note_end();
    job_prediction_end(run.prediction);
    early_output_destroy(run.early);
    if (run.journal != NULL) {
        close_files(&run, s, summary, &rows);
    }
    coordinator_destroy(run.coordinator);
    stage_destroy(&run.stage);
    if (run.replica != MPI_COMM_NULL) {
        MPI_Comm_free(&run.replica);
    }
    if (run.control != MPI_COMM_NULL) {
        MPI_Comm_free(&run.control);
    }
    run_part_close(&run.part);
    input_files_destroy(&run.files);
    free(run.file_rows);
    model_close(run.model);
    free(run.report.timeline);
    notes_destroy(&run.report.notes);
    if (s == STATUS_STOPPED) { /* which may have been noticed anywhere */
        return status_fail(s, "stopped: %lld rows are kept; the same command continues",
                           (long long)rows);
    }
    return s == STATUS_OK ? s : status_fail(s, "%s", message);
}
