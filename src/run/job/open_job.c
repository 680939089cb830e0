/* SPDX-License-Identifier: Apache-2.0 */
/* A job's opening on rank 0: the data set, the output's place, the journal and the coordinator. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "run/data_set.h"
#include "run/job/run.h"
#include "run/output_place.h"
#include "run/prompt.h"
#include "run/report/phase.h"
#include "sluice/task.h"

/* ---- The data set ---- */

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

status run_find_data(struct run *run)
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

int64_t run_limited_rows(const struct run *run)
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
struct output_columns run_choose_columns(const void *context)
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
    const struct model_config *config = model_config(run->model);
    task_choose_columns(task, config->pools ? config->answer_width : config->hidden, &columns);
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
                                                 .columns = run_choose_columns,
                                                 .context = run};
    TRY(count_files(run));
    return run->part.kind == RUN_WHOLE && output_may_write_beside(&run->files)
               ? early_output_create(&options, &run->early)
               : STATUS_OK;
}

/* ---- Rank 0's files ---- */

static status name_journal(void *context)
{
    return run_name_journal(context, false);
}

/* One that looks like another job's is compared by the whole identity, for what it says then. */
static status find_journal(struct run *run, const char *directory, const char *identity,
                           unsigned how)
{
    struct buffer whole = {0};
    status s = journal_open(directory, identity, how, &run->journal);
    if (s != STATUS_EXISTS || run->hash == NULL) {
        return s;
    }
    s = run_take_hashes(run, &whole);
    if (s == STATUS_OK) {
        s = journal_open(directory, whole.data, how & ~(unsigned)JOURNAL_UNNAMED, &run->journal);
    }
    buffer_destroy(&whole);
    return s;
}

static status open_journal(struct run *run, const char *directory, const char *identity,
                           struct run_summary *summary)
{
    bool fresh = run->options->fresh;
    double start = clock_seconds();
    unsigned how = (fresh ? JOURNAL_FRESH : 0) |
                   (run->options->keep_mixed ? JOURNAL_KEEP_MIXED : 0) |
                   (run->hash != NULL ? JOURNAL_UNNAMED : 0);
    phase_begin("reading the journal");
    TRY(find_journal(run, directory, identity, how));
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
                                          .rows = run_limited_rows(run),
                                          .turn = name_journal,
                                          .context = run,
                                          .progress = {.directory = directory,
                                                       .output = run->job->output.path,
                                                       .metrics = run->job->output.metrics,
                                                       .plan = &run->plan,
                                                       .quiet = run->options->quiet}};
    return coordinator_create(&options, &run->coordinator);
}

void run_say_kept(const struct run *run)
{
    int64_t rows = run->journal != NULL ? journal_row_count(run->journal) : 0;
    if (rows > 0) {
        log_write(LOG_INFO, "%lld %s kept from an earlier start", (long long)rows,
                  rows == 1 ? "row" : "rows");
    }
}

void run_say_part(const struct run *run)
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
    TRY(run_hash_data(run));
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
status run_open(struct run *run, struct run_summary *summary)
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
