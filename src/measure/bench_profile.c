/* SPDX-License-Identifier: Apache-2.0 */
/* Steps made by hand in the shape of a run's: to warm up, and to time every operation. */
#include <stdlib.h>
#include <string.h>

#include "measure/bench_steps.h"
#include "sluice/call_times.h"
#include "sluice/operation_times.h"

const char *const bench_phase_names[BENCH_PHASES] = {
    [BENCH_PRODUCTS] = "products",
    [BENCH_ATTENTION] = "attention",
    [BENCH_COMMUNICATION] = "communication",
    [BENCH_SAMPLING] = "sampling",
    [BENCH_OTHER] = "norms, rope, activations",
};

enum { WARM_STEPS = 1, TIMED_STEPS = 5 };

/* ---- Steps ---- */

/* `sequences` of `query` tokens each, the last of which is at position context - 1. What the cache
 * holds there does not matter for times; sequences may share its blocks. */
struct made_step {
    struct batch batch;
    struct sample_request *requests;
    struct sample_result *results;
    struct generate_params params;
    int32_t *memory;
};

static void made_step_destroy(struct made_step *step)
{
    free(step->memory);
    free(step->requests);
    free(step->results);
}

static status make_step(const struct stage *stage, int sequences, int query, int context,
                        struct made_step *out)
{
    const struct plan *plan = stage->plan;
    int vocabulary = model_config(stage->model)->vocabulary;
    size_t tokens = (size_t)sequences * (size_t)query, count = (size_t)sequences;
    size_t stride = (size_t)(context + plan->kv_block_tokens - 1) / (size_t)plan->kv_block_tokens;
    *out = (struct made_step){0};
    out->memory = calloc(2 * tokens + 3 * count + 1 + count * stride, sizeof *out->memory);
    out->requests = calloc(count, sizeof *out->requests);
    out->results = calloc(count, sizeof *out->results);
    if (out->memory == NULL || out->requests == NULL || out->results == NULL) {
        made_step_destroy(out);
        return status_fail(STATUS_NO_MEMORY, "out of memory for a step");
    }
    generate_params_defaults(&out->params);
    out->params.sampling.temperature = 0;
    int32_t *ids = out->memory, *positions = ids + tokens, *query_start = positions + tokens;
    int32_t *context_length = query_start + count + 1, *outputs = context_length + count;
    int32_t *blocks = outputs + count;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < (size_t)query; j++) {
            size_t token = i * (size_t)query + j;
            ids[token] = (int32_t)(hash_bytes(&token, sizeof token, 0) % (uint64_t)vocabulary);
            positions[token] = context - query + (int32_t)j;
        }
        query_start[i + 1] = (int32_t)((i + 1) * (size_t)query);
        context_length[i] = context;
        outputs[i] = query_start[i + 1] - 1;
        for (size_t j = 0; j < stride; j++) {
            blocks[i * stride + j] = (int32_t)((i * stride + j) % (size_t)plan->kv_blocks);
        }
        out->requests[i] =
            (struct sample_request){.params = &out->params.sampling, .sample = (int32_t)i};
    }
    out->batch = (struct batch){.tokens = (int)tokens,
                                .sequences = sequences,
                                .outputs = sequences,
                                .token_ids = ids,
                                .positions = positions,
                                .query_start = query_start,
                                .context_length = context_length,
                                .block_table = blocks,
                                .block_table_stride = (int)stride,
                                .output_rows = outputs};
    return STATUS_OK;
}

static int least(int64_t a, int64_t b)
{
    return (int)(a < b ? a : b);
}

/* A step full of prompts, whole ones or the last chunk of one. */
static status make_prefill(const struct stage *stage, const struct bench_load *load,
                           struct made_step *out, struct bench_profile *shape)
{
    const struct plan *plan = stage->plan;
    int query = least(load->prompt_tokens, plan->max_batch_tokens);
    int fitting = least(plan->max_batch_tokens / query, plan->max_sequences);
    int sequences = least(fitting, load->requests);
    *shape = (struct bench_profile){
        .tokens = sequences * query, .sequences = sequences, .context = load->prompt_tokens};
    return make_step(stage, sequences, query, load->prompt_tokens, out);
}

/* A step of decoding halfway through the outputs, of as many sequences as run at once. */
static status make_decode(const struct stage *stage, const struct bench_load *load,
                          struct made_step *out, struct bench_profile *shape)
{
    const struct plan *plan = stage->plan;
    int context = load->prompt_tokens + (load->new_tokens + 1) / 2;
    int blocks = (context + plan->kv_block_tokens - 1) / plan->kv_block_tokens;
    int sequences = least(least(plan->max_sequences, load->requests),
                          plan->kv_blocks > blocks ? plan->kv_blocks / blocks : 1);
    *shape =
        (struct bench_profile){.tokens = sequences, .sequences = sequences, .context = context};
    return make_step(stage, sequences, 1, context, out);
}

static status run_step(struct stage *stage, struct forward *forward, struct made_step *step)
{
    struct backend *backend = stage->backend;
    struct device_buffer *logits;
    TRY(forward_step(forward, &step->batch, &logits));
    if (stage_is_leader(stage)) {
        TRY(backend->operations->sample(backend, logits, step->batch.outputs,
                                        model_config(stage->model)->vocabulary, step->requests,
                                        step->results));
    }
    TRY(backend->operations->synchronize(backend));
    return forward_check(forward);
}

typedef status step_maker(const struct stage *stage, const struct bench_load *load,
                          struct made_step *out, struct bench_profile *shape);
static step_maker *const makers[] = {make_prefill, make_decode};

status bench_warm_up(struct stage *stage, const struct bench_load *load)
{
    for (size_t i = 0; i < COUNT_OF(makers); i++) {
        struct made_step step;
        struct bench_profile shape;
        TRY(makers[i](stage, load, &step, &shape));
        status s = run_step(stage, stage->forward, &step);
        made_step_destroy(&step);
        TRY(s);
    }
    return STATUS_OK;
}

/* ---- The profile ---- */

/* What a phase is made of; the host's part of beginning a step is small and counts as other. */
static const enum bench_phase phase_of[TIMED_OPERATIONS] = {
    [TIMED_STEP_BEGIN] = BENCH_OTHER,   [TIMED_EMBED] = BENCH_OTHER,
    [TIMED_NORM] = BENCH_OTHER,         [TIMED_ADD_NORM] = BENCH_OTHER,
    [TIMED_PRODUCT] = BENCH_PRODUCTS,   [TIMED_PRODUCT_SLICED] = BENCH_PRODUCTS,
    [TIMED_ROPE_APPEND] = BENCH_OTHER,  [TIMED_ATTENTION] = BENCH_ATTENTION,
    [TIMED_KEEP_OUTPUTS] = BENCH_OTHER, [TIMED_ACTIVATE] = BENCH_OTHER,
    [TIMED_EXPERTS] = BENCH_PRODUCTS,   [TIMED_LOGITS] = BENCH_PRODUCTS,
    [TIMED_SAMPLE] = BENCH_SAMPLING,
};

struct profiler {
    struct stage *stage;
    struct operation_times *times;
    struct communicator *tensor, *pipeline; /* NULL as in the stage */
    struct forward *forward;
};

/* The stage's forward pass over timed operations, in place of its own, whose scratch may be needed.
 */
static status profiler_create(struct stage *stage, struct profiler *out)
{
    *out = (struct profiler){.stage = stage};
    forward_destroy(stage->forward);
    stage->forward = NULL;
    TRY(operation_times_begin(stage->backend, &out->times));
    if (stage->tensor != NULL) {
        TRY(call_times_create(stage->tensor, stage->backend, &out->tensor));
    }
    if (stage->pipeline != NULL) {
        TRY(call_times_create(stage->pipeline, stage->backend, &out->pipeline));
    }
    struct forward_options options = stage_forward_options(stage);
    options.tensor = out->tensor;
    options.pipeline = out->pipeline;
    return forward_create(&options, &out->forward);
}

static void profiler_destroy(struct profiler *self)
{
    forward_destroy(self->forward);
    if (self->tensor != NULL) {
        self->tensor->destroy(self->tensor);
    }
    if (self->pipeline != NULL) {
        self->pipeline->destroy(self->pipeline);
    }
    operation_times_end(self->times);
}

static void draw_operation(void *context, enum timed_operation operation, double start, double end)
{
    timeline_add(context, TIMELINE_OPERATIONS, timed_operation_names[operation], start, end);
}

static status profile_steps(struct profiler *self, struct made_step *step,
                            struct timeline *timeline, struct bench_profile *profile)
{
    double before = 0;
    operation_times_note(self->times, NULL, NULL);
    for (int i = 0; i < WARM_STEPS + TIMED_STEPS; i++) {
        if (i == WARM_STEPS) {
            operation_times_note(self->times, timeline != NULL ? draw_operation : NULL, timeline);
            operation_times_reset(self->times);
            before = forward_communication_seconds(self->forward);
        }
        TRY(run_step(self->stage, self->forward, step));
    }
    const double *seconds = operation_times_seconds(self->times);
    for (int i = 0; i < TIMED_OPERATIONS; i++) {
        profile->seconds[phase_of[i]] += seconds[i] / TIMED_STEPS;
    }
    double waited = forward_communication_seconds(self->forward) - before;
    profile->seconds[BENCH_COMMUNICATION] += waited / TIMED_STEPS;
    return STATUS_OK;
}

status bench_profile(struct stage *stage, const struct bench_load *load,
                     struct bench_profile *prefill, struct bench_profile *decode)
{
    struct bench_profile *const profiles[] = {prefill, decode};
    struct profiler profiler;
    status s = profiler_create(stage, &profiler);
    for (size_t i = 0; s == STATUS_OK && i < COUNT_OF(makers); i++) {
        struct made_step step;
        s = makers[i](stage, load, &step, profiles[i]);
        if (s == STATUS_OK) {
            s = profile_steps(&profiler, &step, load->timeline, profiles[i]);
            made_step_destroy(&step);
        }
    }
    profiler_destroy(&profiler);
    return s;
}
