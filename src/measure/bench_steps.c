/* SPDX-License-Identifier: Apache-2.0 */
/* A benchmark's ends of the step loop: made-up prompts go in, samples are counted, times kept. */
#include "measure/bench_steps.h"

#include <math.h>
#include <stdlib.h>

#include "measure/drawn_length.h"
#include "run/predict/step_cost.h"
#include "run/steps/engine_setup.h"
#include "run/steps/step_loop.h"

void bench_times_destroy(struct bench_times *times)
{
    step_times_destroy(&times->prefill);
    step_times_destroy(&times->decode);
    *times = (struct bench_times){0};
}

struct bench_run {
    struct stage *stage;
    const struct bench_load *load;
    struct engine *engine; /* the leader's */
    struct bench_times *times;
    struct step_fit fit;
    double last_end, last_answer; /* of a step; at first of the prompts' supply */
};

/* ---- Lengths ---- */

int bench_prompt_length(const struct bench_load *load, int64_t row)
{
    const int tokens = load->prompt_tokens;
    return load->lengths == BENCH_EQUAL ? tokens
                                        : drawn_length(row, 0, tokens, BENCH_SPREAD_MOST * tokens);
}

static int answer_length(const struct bench_load *load, int64_t row)
{
    const int tokens = load->new_tokens;
    return load->lengths == BENCH_EQUAL ? tokens
                                        : drawn_length(row, 2, tokens, BENCH_SPREAD_MOST * tokens);
}

/* Of lengths that are not known the engine sees what it sees of a job's: a limit, and an end token
 * that comes some day. */
static const int32_t end_token = 0, other_token = 1;

static bool ends_unknown(const struct bench_load *load)
{
    return load->lengths == BENCH_SPREAD;
}

/* Random weights know no end: one stands at the row's length, and at no other place. */
static void end_answers(void *context, const struct step_plan *step, struct sample_result *results)
{
    const struct bench_run *self = context;
    for (int i = 0; i < step->batch.outputs; i++) {
        const struct sample_request *request = &step->requests[i];
        const int length = answer_length(self->load, (int64_t)request->params->stream);
        if (request->position + 1 == length) {
            results[i].token = end_token;
        } else if (results[i].token == end_token) {
            results[i].token = other_token;
        }
    }
}

/* ---- Supply ---- */

static status add_prompt(const struct bench_run *self, int64_t row, int32_t *prompt)
{
    const struct bench_load *load = self->load;
    const int vocabulary = model_config(self->stage->model)->vocabulary;
    const int count = bench_prompt_length(load, row);
    struct generate_params params;
    generate_params_defaults(&params);
    params.sampling.temperature = 0;
    params.sampling.stream = (uint64_t)row;
    params.ignore_eos = !ends_unknown(load);
    params.max_new_tokens =
        ends_unknown(load) ? BENCH_SPREAD_MOST * load->new_tokens : answer_length(load, row);
    for (int j = 0; j < count; j++) {
        int64_t key[2] = {row, j};
        prompt[j] = (int32_t)(hash_bytes(key, sizeof key, 0) % (uint64_t)vocabulary);
    }
    return engine_add(self->engine, row, prompt, (size_t)count, &params, vocabulary, NULL);
}

struct long_row {
    int64_t row;
    int tokens;
};

static int compare_long(const void *a, const void *b)
{
    const struct long_row *first = a, *second = b;
    return first->tokens != second->tokens
               ? second->tokens - first->tokens
               : (first->row > second->row) - (first->row < second->row);
}

/* Where lengths are known, rows of more than four times the mean come first, the longest in front,
 * as rank 0 has a job's (src/run/order/row_batch.c). */
static void order_rows(const struct bench_load *load, struct long_row *rows)
{
    const int mean = load->prompt_tokens + load->new_tokens;
    for (int i = 0; i < load->requests; i++) {
        const int64_t row = load->first_row + i;
        const int tokens = bench_prompt_length(load, row) + answer_length(load, row);
        const bool is_long = load->lengths == BENCH_SPREAD_KNOWN && tokens > 4 * mean;
        rows[i] = (struct long_row){row, is_long ? tokens : 0};
    }
    qsort(rows, (size_t)load->requests, sizeof *rows, compare_long);
}

static status add_prompts(const struct bench_run *self, int32_t *prompt)
{
    const int count = self->load->requests;
    struct long_row *rows = calloc((size_t)count, sizeof *rows);
    status s = rows != NULL ? STATUS_OK : status_fail(STATUS_NO_MEMORY, "out of memory for rows");
    if (s == STATUS_OK) {
        order_rows(self->load, rows);
    }
    for (int i = 0; s == STATUS_OK && i < count; i++) {
        s = add_prompt(self, rows[i].row, prompt);
    }
    free(rows);
    return s;
}

/* All at once, so that no step is less full than it can be. */
static status supply_prompts(void *context, enum supply *supply)
{
    struct bench_run *self = context;
    const size_t most = (size_t)self->load->prompt_tokens * BENCH_SPREAD_MOST;
    int32_t *prompt = calloc(most, sizeof *prompt);
    if (prompt == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a prompt");
    }
    status s = add_prompts(self, prompt);
    free(prompt);
    *supply = SUPPLY_END;
    self->last_end = self->last_answer = clock_seconds();
    return s;
}

static status count_samples(void *context)
{
    struct bench_run *self = context;
    struct finished_sample *sample;
    while ((sample = engine_next_finished(self->engine)) != NULL) {
        status s =
            sample->error != NULL ? status_fail(STATUS_INTERNAL, "%s", sample->error) : STATUS_OK;
        self->times->prompt_tokens += sample->prompt_tokens;
        self->times->output_tokens += sample->completion_tokens;
        engine_release(self->engine, sample);
        TRY(s);
    }
    return STATUS_OK;
}

/* A step that is over: planned and launched, perhaps while the device was at the one before, then
 * waited for and completed. Its gap is the device's own, by the device's clock; where that is not
 * known it is from the answer before to the launch. */
static void draw_step(struct bench_run *self, const struct step_seconds *step, double end)
{
    struct timeline *timeline = self->load->timeline;
    const double answered = step->answered_at, launched = step->launched_at + step->launch;
    const double start =
        step->gap > 0 ? self->last_answer + step->gap : fmax(self->last_answer, step->launched_at);
    timeline_add(timeline, TIMELINE_HOST, "plan", step->launched_at - step->plan,
                 step->launched_at);
    timeline_add(timeline, TIMELINE_HOST, "launch", step->launched_at, launched);
    timeline_add(timeline, TIMELINE_HOST, "wait", step->awaited_at, answered);
    timeline_add(timeline, TIMELINE_HOST, "complete", answered, end);
    timeline_add(timeline, TIMELINE_STEPS, "gap", self->last_answer, start);
    timeline_add_step(timeline, step->prefill_tokens > 0 ? "prefill" : "decode", start, answered,
                      step->tokens, step->prefill_tokens);
    self->last_answer = answered;
}

static status note_step(void *context, const struct step_seconds *step)
{
    struct bench_run *self = context;
    struct bench_times *times = self->times;
    times->steps++;
    times->communication += step->communication;
    times->plan += step->plan;
    times->launch += step->launch;
    times->wait += step->wait;
    times->complete += step->complete;
    times->gap += step->gap > 0 ? step->gap : step->plan + step->complete;
    if (self->engine == NULL) {
        return STATUS_OK;
    }
    double end = clock_seconds(), seconds = end - self->last_end;
    if (self->load->timeline != NULL) {
        draw_step(self, step, end);
    }
    self->last_end = end;
    step_fit_note(&self->fit, step->tokens, step->positions, seconds);
    struct step_cost cost;
    if (step_fit_renew(&self->fit, &cost)) {
        engine_set_row_costs(self->engine, &cost.rows);
    }
    return step_times_add(step->prefill_tokens > 0 ? &times->prefill : &times->decode, seconds,
                          step->tokens);
}

static status run_steps(struct bench_run *self, MPI_Comm replica)
{
    void (*answer)(void *, const struct step_plan *, struct sample_result *) =
        ends_unknown(self->load) ? end_answers : NULL;
    const struct step_loop_options loop = {.stage = self->stage,
                                           .replica = replica,
                                           .engine = self->engine,
                                           .hooks = {.context = self,
                                                     .supply = supply_prompts,
                                                     .answer = answer,
                                                     .collect = count_samples,
                                                     .note = note_step}};
    double start = clock_seconds();
    TRY(step_loop_run(&loop));
    self->times->seconds = clock_seconds() - start;
    if (self->engine == NULL) {
        return STATUS_OK;
    }
    struct engine_counters counters = engine_counters(self->engine);
    self->times->preemptions = counters.preemptions;
    self->times->kv_peak_blocks = counters.peak_blocks_used;
    return engine_unfinished(self->engine) == 0 ? STATUS_OK
                                                : status_fail(STATUS_STOPPED, "stopped");
}

status bench_generate(const struct job *job, struct stage *stage, MPI_Comm replica,
                      const struct bench_load *load, struct bench_times *times)
{
    struct bench_run self = {.stage = stage, .load = load, .times = times};
    *times = (struct bench_times){0};
    if (stage_is_leader(stage)) {
        struct engine_options engine = engine_setup(job, stage->model, stage->plan);
        if (ends_unknown(load)) {
            engine.ends = &end_token;
            engine.end_count = 1;
        }
        TRY(engine_create(&engine, &self.engine));
        struct step_cost cost;
        if (step_cost_load(stage->plan, model_config(stage->model), &cost)) {
            engine_set_row_costs(self.engine, &cost.rows);
        }
    }
    status s = run_steps(&self, replica);
    engine_destroy(self.engine);
    return s;
}
