/* SPDX-License-Identifier: Apache-2.0 */
/* A job's end: all ranks' numbers at rank 0, and the output from the journal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/job/run.h"
#include "sluice/mpi_check.h"

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
        const struct output_columns columns = run_choose_columns(run);
        TRY(results_file_create(job->output.path, job->output.overwrite || appends, &columns,
                                journal_arithmetic(run->journal), &file));
    }
    log_write(LOG_DEBUG, "%lld rows of the output were written while the job ran", (long long)row);
    status s = appends ? output_visit(run->part.reader, write_result, file) : STATUS_OK;
    double start = clock_seconds(), before = file->seconds;
    if (s == STATUS_OK) {
        s = results_file_append_rest(file, run->journal, row);
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
    TRY(run_name_journal(run, true));
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
status run_share_outcome(const struct run *run, struct run_summary *summary)
{
    int outcome[] = {summary->complete_before, summary->no_answers};
    TRY(mpi_check(MPI_Bcast(outcome, COUNT_OF(outcome), MPI_INT, 0, run->control),
                  "send the outcome"));
    summary->complete_before = outcome[0] != 0;
    summary->no_answers = outcome[1] != 0;
    return STATUS_OK;
}

/* Everybody's numbers at rank 0, and the file. Collective. */
status run_finish(struct run *run, struct run_summary *summary)
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
    return run_share_outcome(run, summary);
}
