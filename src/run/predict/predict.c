/* SPDX-License-Identifier: Apache-2.0 */
/* Plays a sample through an engine whose steps take no time but are counted at their cost. */
#include "run/predict/predict.h"

#include <stdlib.h>
#include <string.h>

#include "sluice/task.h"

struct predict_row {
    int32_t *tokens;
    size_t count;
    int output, samples;
};

status predict_add(struct predict_sample *self, const int32_t *tokens, size_t count, int output,
                   int samples)
{
    void *rows = self->rows;
    status s = array_grow(&rows, &self->capacity, self->count + 1, sizeof *self->rows);
    self->rows = rows;
    TRY(s);
    int32_t *copy = malloc(count * sizeof *copy + 1);
    if (copy == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a sample of rows");
    }
    memcpy(copy, tokens, count * sizeof *copy);
    self->rows[self->count++] = (struct predict_row){copy, count, output, samples};
    return STATUS_OK;
}

status predict_add_row(struct predict_sample *self, const struct row *row,
                       const struct prompt_encoder *encoder, int max_model_len)
{
    const struct token_list *tokens = &encoder->tokens;
    const struct generate_params *params = &row->params;
    const enum task_work work = task_facts(params->task)->work;
    const int64_t room = max_model_len - (int64_t)tokens->count;
    const int64_t most = params->max_new_tokens < room ? params->max_new_tokens : room;
    return work == WORK_POOL ? STATUS_OK
                             : predict_add(self, tokens->ids, tokens->count,
                                           work == WORK_SAMPLE ? (int)most : 1, params->samples);
}

void predict_destroy(struct predict_sample *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->rows[i].tokens);
    }
    free(self->rows);
    *self = (struct predict_sample){0};
}

struct play {
    const struct predict_sample *sample;
    const struct step_cost *cost;
    const atomic_bool *cancelled;
    struct engine *engine;
    struct sample_result *results;
    size_t rows; /* to be played: the sample's, from the first again where there are more */
    size_t added, finished;
    double seconds, decodes, blocks, tokens, positions;
    double outputs;
    double quarter, three_quarters; /* seconds until so many samples were done */
    size_t samples;
    int64_t steps, needed;
};

/* A row that comes again is another row: it shares no beginning with itself. */
static void begin_otherwise(const struct predict_row *row, size_t round)
{
    enum { STEP = 1000003 };
    if (row->count > 0 && round > 0) {
        row->tokens[0] = (int32_t)(((int64_t)row->tokens[0] + STEP) % INT32_MAX);
    }
}

static status add_rows(struct play *self, int waiting)
{
    struct generate_params params;
    generate_params_defaults(&params);
    params.sampling.temperature = 0;
    params.ignore_eos = true;
    while (self->added < self->rows && engine_waiting(self->engine) < waiting) {
        const size_t round = self->added / self->sample->count;
        const struct predict_row *row = &self->sample->rows[self->added++ % self->sample->count];
        params.max_new_tokens = row->output;
        params.samples = row->samples;
        begin_otherwise(row, round);
        TRY(engine_add(self->engine, (int64_t)self->added, row->tokens, row->count, &params,
                       INT32_MAX, NULL));
        self->outputs += (double)row->samples * row->output;
        self->needed += (int64_t)row->samples * ((int64_t)row->count + row->output - 1);
    }
    if (self->added == self->rows) {
        engine_end_supply(self->engine);
    }
    return STATUS_OK;
}

static void count_step(struct play *self, const struct batch *batch)
{
    double positions = 0;
    for (int i = 0; i < batch->sequences; i++) {
        positions += batch->context_length[i];
    }
    self->seconds +=
        self->cost->fixed + self->cost->row * batch->tokens + self->cost->position * positions;
    self->tokens += batch->tokens;
    self->positions += positions;
    self->decodes += batch->sequences;
    self->blocks += engine_counters(self->engine).blocks_used;
    self->steps++;
}

static void count_finished(struct play *self)
{
    struct finished_sample *sample;
    while ((sample = engine_next_finished(self->engine)) != NULL) {
        engine_release(self->engine, sample);
        self->finished++;
        self->quarter = self->finished == (self->samples + 3) / 4 ? self->seconds : self->quarter;
        self->three_quarters =
            self->finished == (3 * self->samples + 3) / 4 ? self->seconds : self->three_quarters;
    }
}

static status play_rows(struct play *self, int waiting)
{
    do {
        TRY(add_rows(self, waiting));
        struct step_plan *plan;
        if (self->cancelled != NULL && atomic_load(self->cancelled)) {
            return status_fail(STATUS_STOPPED, "stopped");
        }
        TRY(engine_plan_step(self->engine, &plan));
        if (plan == NULL) {
            return status_fail(STATUS_INTERNAL, "a sample of rows does not end");
        }
        count_step(self, &plan->batch);
        TRY(engine_complete_step(self->engine, plan, self->results));
        count_finished(self);
    } while (self->added < self->rows || engine_unfinished(self->engine) > 0);
    return STATUS_OK;
}

static void describe(const struct play *play, const struct engine_options *engine,
                     struct prediction *out)
{
    const double rows = (double)play->rows, steps = (double)play->steps;
    *out = (struct prediction){
        .sample_rows = rows,
        .sample_seconds = play->seconds,
        .row_seconds = (play->three_quarters - play->quarter) * 2 / rows,
        .output_tokens = play->outputs / rows,
        .decodes = play->decodes / steps,
        .cache_use = play->blocks / steps / engine->kv_blocks,
        .computed = play->tokens / (double)play->needed,
        .bound = {.row = play->cost->row * play->tokens / play->seconds,
                  .position = play->cost->position * play->positions / play->seconds,
                  .rest = play->cost->fixed * steps / play->seconds},
    };
}

/* Rows beyond the sample take the time that those in the middle of it took: neither the start, in
 * which the batch grows, nor the end, in which it shrinks, comes again. */
double prediction_seconds(const struct prediction *self, int64_t rows, int replicas)
{
    const double own = (double)rows / replicas, beyond = own - self->sample_rows;
    return beyond > 0 ? self->sample_seconds + beyond * self->row_seconds
                      : self->sample_seconds * own / self->sample_rows;
}

/* Samples of the first `rows` that are played, the sample's again and again. */
static size_t count_samples(const struct predict_sample *sample, size_t rows)
{
    size_t samples = 0;
    for (size_t i = 0; i < rows; i++) {
        samples += (size_t)sample->rows[i % sample->count].samples;
    }
    return samples;
}

/* So many that the batch is filled four times: of the middle two it can be told what a row takes
 * where the batch is full. But not more than there are, nor, beyond the sample, than MOST_TOKENS of
 * answers, which take some seconds to play. */
static size_t choose_rows(const struct predict_sample *sample, const struct engine_options *engine,
                          int64_t rows)
{
    enum { FILLINGS = 4, MOST_TOKENS = 20000000 };
    int64_t samples = 0, tokens = 0;
    size_t chosen = 0;
    while ((rows < 0 || (int64_t)chosen < rows) &&
           (chosen < sample->count ||
            (samples < FILLINGS * (int64_t)engine->max_sequences && tokens < MOST_TOKENS))) {
        const struct predict_row *row = &sample->rows[chosen++ % sample->count];
        samples += row->samples;
        tokens += (int64_t)row->samples * row->output;
    }
    return chosen;
}

status predict_job(const struct predict_sample *sample, const struct engine_options *engine,
                   const struct step_cost *cost, int64_t rows, const atomic_bool *cancelled,
                   struct prediction *out)
{
    if (sample->count == 0 || rows == 0) {
        return status_fail(STATUS_INVALID, "no row to predict from");
    }
    struct engine_options options = *engine;
    options.steps_in_flight = 1;
    options.embedding_width = 0;
    options.tokenizer = NULL;
    options.end_count = 0;
    struct play play = {.sample = sample, .cost = cost, .cancelled = cancelled};
    play.rows = choose_rows(sample, engine, rows);
    play.samples = count_samples(sample, play.rows);
    play.results = calloc((size_t)options.max_sequences, sizeof *play.results);
    status s = play.results != NULL ? engine_create(&options, &play.engine)
                                    : status_fail(STATUS_NO_MEMORY, "out of memory for a sample");
    if (s == STATUS_OK) {
        s = play_rows(&play, options.max_sequences / 8 + 1);
    }
    if (s == STATUS_OK) {
        describe(&play, &options, out);
    }
    engine_destroy(play.engine);
    free(play.results);
    return s;
}
