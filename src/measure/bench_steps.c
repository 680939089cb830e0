/* SPDX-License-Identifier: Apache-2.0 */
/* A benchmark's ends of the step loop: made-up prompts go in, samples are counted, times kept. */
#include "measure/bench_steps.h"

#include <math.h>
#include <stdlib.h>

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

static status add_prompts(const struct bench_run *self, int32_t *prompt)
{
    const struct bench_load *load = self->load;
    int vocabulary = model_config(self->stage->model)->vocabulary;
    struct generate_params params;
    generate_params_defaults(&params);
    params.sampling.temperature = 0;
    params.max_new_tokens = load->new_tokens;
    params.ignore_eos = true;
    for (int i = 0; i < load->requests; i++) {
        int64_t row = load->first_row + i;
        for (int j = 0; j < load->prompt_tokens; j++) {
            int64_t key[2] = {row, j};
            prompt[j] = (int32_t)(hash_bytes(key, sizeof key, 0) % (uint64_t)vocabulary);
        }
        params.sampling.stream = (uint64_t)row;
        TRY(engine_add(self->engine, row, prompt, (size_t)load->prompt_tokens, &params, vocabulary,
                       NULL));
    }
    return STATUS_OK;
}

/* All at once, so that no step is less full than it can be. */
static status supply_prompts(void *context, enum supply *supply)
{
    struct bench_run *self = context;
    int32_t *prompt = calloc((size_t)self->load->prompt_tokens, sizeof *prompt);
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

/* A step that is over at `end`, from there back: planned, launched, waited for and completed one
 * after the other. From one step's answer to the next one's launch is the device's gap. */
static void draw_step(struct bench_run *self, const struct step_seconds *step, double end)
{
    struct timeline *timeline = self->load->timeline;
    const double answered = end - step->complete, launched = answered - step->wait;
    const double start = launched - step->launch;
    const double planned = fmax(self->last_end, start - step->plan);
    timeline_add(timeline, TIMELINE_HOST, "plan", planned, start);
    timeline_add(timeline, TIMELINE_HOST, "launch", start, launched);
    timeline_add(timeline, TIMELINE_HOST, "wait", launched, answered);
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
    const struct step_loop_options loop = {.stage = self->stage,
                                           .replica = replica,
                                           .engine = self->engine,
                                           .hooks = {.context = self,
                                                     .supply = supply_prompts,
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
