/* SPDX-License-Identifier: Apache-2.0 */
/* A job from start to finished file: what every rank does, in order. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/hosts/heartbeat.h"
#include "run/job/run.h"
#include "run/output_place.h"
#include "run/ranks/crash_note.h"
#include "run/ranks/devices.h"
#include "run/ranks/stop_request.h"
#include "run/report/notes_warn.h"
#include "run/report/phase.h"
#include "run/report/start_line.h"
#include "sluice/mpi_check.h"

/* ---- Setting up ---- */

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

/* ---- From start to end ---- */

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
    if (s == STATUS_OK) {
        s = job_check_task(&run->resolved, model_config(run->model));
    }
    if (s == STATUS_OK) {
        s = model_prepare(run->model, run->resolved.generate.task);
    }
    if (s == STATUS_OK && taken.length > 0 && run->world->rank == 0) {
        log_write(LOG_INFO,
                  "sampling values of the model: %s (generate.defaults: none leaves them out)",
                  taken.data);
    }
    buffer_destroy(&taken);
    run->job = &run->resolved;
    return s;
}

/* Nothing notes the rows that it reads. So a row that kills whoever reads it ends the job once for
 * a prediction, and after that as a row under way, which is set aside. */
static status start_prediction(struct run *run)
{
    if (attempts_fear_rows(run->attempts)) {
        return STATUS_OK;
    }
    const struct job_prediction_options options = {.job = run->job,
                                                   .files = &run->files,
                                                   .model = run->model,
                                                   .plan = &run->plan,
                                                   .now = run->template_time,
                                                   .rows = run_limited_rows(run)};
    return job_prediction_start(&options, &run->prediction);
}

/* Where it has come out by now, and how many rows there are is known. */
static void say_prediction(const struct run *run)
{
    struct prediction prediction;
    char time[24], bound[STEP_BOUND_BYTES];
    const int64_t rows = run_limited_rows(run);
    const int64_t done = run->journal != NULL ? journal_row_count(run->journal) : 0;
    if (rows <= done || !job_prediction_is_ready(run->prediction) ||
        !job_prediction_take(run->prediction, &prediction)) {
        return;
    }
    const double seconds = prediction_seconds(&prediction, rows - done, run->plan.dp);
    if (seconds >= 1) {
        log_write(LOG_INFO, "the rows will take about %s, if every answer runs to its limit; %s",
                  format_seconds(seconds, time), step_bound_describe(&prediction.bound, bound));
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
    TRY(run_agree(run->world->rank == 0 ? run_find_data(run) : STATUS_OK));
    TRY(devices_compare(&run->plan, run->options->keep_mixed));
    TRY(run_agree(run->world->rank == 0 ? run_open(run, summary) : STATUS_OK));
    phase_end();
    TRY(run_share_outcome(run, summary));
    if (summary->complete_before) {
        return STATUS_OK;
    }
    /* Only now: a job that cannot run says why, and nothing else. */
    TRY(run_agree(run->world->rank == 0 ? job_warn_unused(run->job) : STATUS_OK));
    TRY(start_line_log(run->job, run->model, &run->plan, run->rows));
    TRY(run_agree(run->world->rank == 0 ? start_prediction(run) : STATUS_OK));
    run_say_kept(run);
    run_say_part(run);
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
    TRY(run_finish(run, summary));
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
    *rows = journal_kept_rows(run->journal);
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
    input_hash_end(run.hash);
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
