/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that reads, tokenizes and plays a sample of a job's rows. */
#include "run/predict/job_prediction.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "run/data_set.h"
#include "run/steps/engine_setup.h"

enum { SAMPLE_ROWS = 1000, SAMPLE_TOKENS = 1 << 20 };

struct job_prediction {
    struct job_prediction_options options;
    struct step_cost cost;
    struct prediction prediction;
    pthread_t thread;
    bool is_joined;
    atomic_bool is_cancelled, is_ready;
    bool is_known; /* once it is ready */
};

/* ---- The thread ---- */

/* A row that cannot run takes no time. */
static status take_record(const struct job_prediction *self, const struct record *record,
                          struct prompt_encoder *encoder, struct arena *arena,
                          struct predict_sample *sample)
{
    const struct job *job = self->options.job;
    const struct row_format format = prompt_row_format(job);
    struct row row;
    arena_reset(arena);
    status s = row_parse(record, &format, &job->generate, arena, &row);
    if (s == STATUS_OK) {
        s = prompt_encode(encoder, &row);
    }
    const struct engine_options engine = engine_setup(job, self->options.model, self->options.plan);
    if (s == STATUS_OK) {
        s = engine_check_row(&engine, encoder->tokens.ids, encoder->tokens.count,
                             encoder->first_scored, &row.params,
                             model_config(self->options.model)->vocabulary);
    }
    if (s == STATUS_OK) {
        s = predict_add_row(sample, &row, encoder, self->options.plan->max_model_len);
    }
    return s == STATUS_NO_MEMORY ? s : STATUS_OK;
}

static status take_rows(struct job_prediction *self, struct record_reader *reader,
                        struct prompt_encoder *encoder, struct predict_sample *sample)
{
    struct record record = {0};
    struct arena arena = {0};
    status s = STATUS_OK;
    size_t tokens = 0;
    bool more = true;
    for (int i = 0; i < SAMPLE_ROWS && tokens < SAMPLE_TOKENS; i++) {
        s = record_reader_next(reader, &record, &more);
        if (s != STATUS_OK || !more || atomic_load(&self->is_cancelled)) {
            break;
        }
        if (record.kind != RECORD_BAD) {
            s = take_record(self, &record, encoder, &arena, sample);
            tokens += encoder->tokens.count;
        }
        if (s != STATUS_OK) {
            break;
        }
    }
    buffer_destroy(&record.bytes);
    arena_destroy(&arena);
    return s;
}

static status take_sample(struct job_prediction *self, struct predict_sample *sample)
{
    const struct job_prediction_options *options = &self->options;
    struct record_reader_options rows = data_set_options(options->job, options->files);
    struct prompt_encoder encoder = {0};
    struct record_reader *reader;
    rows.quiet = true;
    TRY(record_reader_open(&rows, &reader));
    status s =
        prompt_encoder_start(&encoder, options->model, options->plan->max_model_len, options->now);
    if (s == STATUS_OK) {
        s = take_rows(self, reader, &encoder, sample);
    }
    prompt_encoder_end(&encoder);
    record_reader_close(reader);
    return s;
}

static void *run_thread(void *context)
{
    struct job_prediction *self = context;
    const struct job_prediction_options *options = &self->options;
    const struct engine_options engine = engine_setup(options->job, options->model, options->plan);
    struct predict_sample sample = {0};
    status s = take_sample(self, &sample);
    if (s == STATUS_OK) {
        const int64_t rows =
            options->rows < 0 ? -1 : (options->rows + options->plan->dp - 1) / options->plan->dp;
        s = predict_job(&sample, &engine, &self->cost, rows, &self->is_cancelled,
                        &self->prediction);
    }
    predict_destroy(&sample);
    self->is_known = s == STATUS_OK;
    atomic_store(&self->is_ready, true);
    return NULL;
}

/* ---- The caller ---- */

status job_prediction_start(const struct job_prediction_options *options,
                            struct job_prediction **out)
{
    struct step_cost cost;
    *out = NULL;
    if (model_embedding(options->model) != NULL || !output_may_write_beside(options->files) ||
        !step_cost_load(options->plan, model_config(options->model), &cost)) {
        return STATUS_OK;
    }
    struct job_prediction *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a prediction");
    }
    self->options = *options;
    self->cost = cost;
    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool runs = pthread_create(&self->thread, NULL, run_thread, self) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (runs) {
        *out = self;
    } else { /* a job can do without */
        free(self);
    }
    return STATUS_OK;
}

bool job_prediction_is_ready(const struct job_prediction *self)
{
    return self != NULL && atomic_load(&self->is_ready);
}

bool job_prediction_take(struct job_prediction *self, struct prediction *out)
{
    if (self == NULL) {
        return false;
    }
    if (!self->is_joined) {
        pthread_join(self->thread, NULL);
        self->is_joined = true;
    }
    *out = self->prediction;
    return self->is_known;
}

void job_prediction_summarise(struct job_prediction *self, int64_t rows,
                              struct run_summary *summary)
{
    struct prediction prediction;
    if (rows > 0 && job_prediction_take(self, &prediction)) {
        summary->predicted_seconds = prediction_seconds(&prediction, rows, self->options.plan->dp);
        summary->predicted_tokens = prediction.output_tokens * (double)rows;
        step_bound_describe(&prediction.bound, summary->predicted_bound);
    }
}

void job_prediction_end(struct job_prediction *self)
{
    struct prediction prediction;
    if (self != NULL) {
        atomic_store(&self->is_cancelled, true);
        (void)job_prediction_take(self, &prediction);
        free(self);
    }
}
