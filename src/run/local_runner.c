/* One rank without MPI. */
#include "sluice/local_runner.h"

#include <stdlib.h>

#include "run/stage.h"
#include "sluice/engine.h"

struct local_runner {
    const struct job *job;
    struct model *model;
    struct plan plan;
    struct stage stage;
};

static status runner_start(struct local_runner *self, bool random_weights)
{
    TRY(model_open(self->job->model.path, &self->model));
    const struct model_config *config = model_config(self->model);
    if (config != NULL && config->encoder) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: %s is an encoder: it has no logits; `sluice run` embeds with it",
                           self->job->model.path, config->architecture);
    }
    TRY(plan_create(self->job, self->model, 1, 1, 0, NULL, &self->plan));
    self->plan.random_weights = random_weights;
    return stage_create(&self->plan, self->model, MPI_COMM_NULL, 0, &self->stage);
}

status local_runner_create(const struct job *job, bool random_weights, struct local_runner **out)
{
    struct local_runner *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a runner");
    }
    self->job = job;
    status s = runner_start(self, random_weights);
    if (s != STATUS_OK) {
        local_runner_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

void local_runner_destroy(struct local_runner *self)
{
    if (self == NULL) {
        return;
    }
    stage_destroy(&self->stage);
    model_close(self->model);
    free(self);
}

const struct plan *local_runner_plan(const struct local_runner *self)
{
    return &self->plan;
}

const struct model *local_runner_model(const struct local_runner *self)
{
    return self->model;
}

const char *local_runner_device(const struct local_runner *self)
{
    return self->stage.backend->operations->device_name(self->stage.backend);
}

double local_runner_load_seconds(const struct local_runner *self)
{
    return self->stage.load_seconds;
}

/* ---- Logits ---- */

/* One sequence's memory: block b of it is block b of the cache. */
struct logits_run {
    int32_t *positions, *output_rows, *block_table;
    float *values; /* [chunk, vocabulary] */
    int chunk;
    uint8_t long_rope;
};

static status logits_chunk(struct local_runner *self, const struct logits_run *run,
                           const int32_t *ids, int first, int count, int blocks)
{
    int32_t query_start[2] = {0, count};
    int32_t context_length = first + count;
    for (int i = 0; i < count; i++) {
        run->positions[i] = first + i;
    }
    struct batch batch = {
        .tokens = count,
        .sequences = 1,
        .outputs = count,
        .token_ids = ids + first,
        .positions = run->positions,
        .query_start = query_start,
        .context_length = &context_length,
        .block_table = run->block_table,
        .block_table_stride = blocks,
        .long_rope = run->long_rope ? &run->long_rope : NULL,
        .output_rows = run->output_rows,
    };
    struct device_buffer *logits;
    struct backend *backend = self->stage.backend;
    TRY(forward_step(self->stage.forward, &batch, &logits));
    size_t bytes = (size_t)count * (size_t)model_config(self->model)->vocabulary * sizeof(float);
    return backend->operations->download(backend, logits, 0, run->values, bytes);
}

static status check_ids(const struct local_runner *self, const int32_t *ids, size_t count)
{
    int vocabulary = model_config(self->model)->vocabulary;
    if (count == 0) {
        return status_fail(STATUS_INVALID, "no token ids");
    }
    if (count > (size_t)self->plan.max_model_len) {
        return status_fail(STATUS_INVALID, "%zu token ids; the context holds %d", count,
                           self->plan.max_model_len);
    }
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= vocabulary) {
            return status_fail(STATUS_INVALID, "token id %d is outside of the vocabulary of %d",
                               ids[i], vocabulary);
        }
    }
    return STATUS_OK;
}

status local_runner_logits(struct local_runner *self, const int32_t *ids, size_t count,
                           logits_visitor visit, void *context)
{
    TRY(check_ids(self, ids, count));
    const struct model_config *config = model_config(self->model);
    const struct plan *plan = &self->plan;
    int most =
        plan->max_batch_tokens < plan->max_sequences ? plan->max_batch_tokens : plan->max_sequences;
    int blocks = (int)((count + (size_t)plan->kv_block_tokens - 1) / (size_t)plan->kv_block_tokens);
    struct logits_run run = {.chunk = most};
    run.positions = calloc((size_t)most, sizeof *run.positions);
    run.output_rows = calloc((size_t)most, sizeof *run.output_rows);
    run.block_table = calloc((size_t)blocks, sizeof *run.block_table);
    run.values = calloc((size_t)most * (size_t)config->vocabulary, sizeof *run.values);
    /* The same choice as the engine makes for a whole sequence. */
    run.long_rope =
        config->rope.kind == ROPE_LONGROPE && count > (size_t)config->rope.original_max_positions;
    status s = STATUS_OK;
    if (run.positions == NULL || run.output_rows == NULL || run.block_table == NULL ||
        run.values == NULL) {
        s = status_fail(STATUS_NO_MEMORY, "out of memory for logits");
    }
    for (int i = 0; s == STATUS_OK && i < most; i++) {
        run.output_rows[i] = i;
    }
    for (int i = 0; s == STATUS_OK && i < blocks; i++) {
        run.block_table[i] = i;
    }
    for (int first = 0; s == STATUS_OK && first < (int)count; first += run.chunk) {
        int left = (int)count - first;
        int now = left < run.chunk ? left : run.chunk;
        s = logits_chunk(self, &run, ids, first, now, blocks);
        if (s == STATUS_OK) {
            s = visit(context, first, now, run.values);
        }
    }
    free(run.positions);
    free(run.output_rows);
    free(run.block_table);
    free(run.values);
    return s;
}

/* ---- Generation ---- */

static status queue_prompts(struct local_runner *self, struct engine *engine, int requests,
                            int prompt_tokens, int new_tokens)
{
    int vocabulary = model_config(self->model)->vocabulary;
    struct generate_params params;
    generate_params_defaults(&params);
    params.temperature = 0;
    params.max_new_tokens = new_tokens;
    params.ignore_eos = true;
    int32_t *prompt = calloc((size_t)prompt_tokens, sizeof *prompt);
    if (prompt == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a prompt");
    }
    status s = STATUS_OK;
    for (int row = 0; s == STATUS_OK && row < requests; row++) {
        for (int i = 0; i < prompt_tokens; i++) {
            int32_t key[2] = {row, i};
            prompt[i] = (int32_t)(hash_bytes(key, sizeof key, 0) % (uint64_t)vocabulary);
        }
        s = engine_add(engine, row, prompt, (size_t)prompt_tokens, &params, vocabulary, NULL);
    }
    free(prompt);
    return s;
}

static status take_finished(struct engine *engine, struct local_runner_totals *totals)
{
    struct finished_sample *sample;
    while ((sample = engine_next_finished(engine)) != NULL) {
        status s =
            sample->error != NULL ? status_fail(STATUS_INTERNAL, "%s", sample->error) : STATUS_OK;
        totals->samples++;
        totals->prompt_tokens += sample->prompt_tokens;
        totals->output_tokens += sample->completion_tokens;
        engine_release(engine, sample);
        TRY(s);
    }
    return STATUS_OK;
}

static status run_steps(struct local_runner *self, struct engine *engine,
                        struct sample_result *results, struct local_runner_totals *totals)
{
    struct backend *backend = self->stage.backend;
    int vocabulary = model_config(self->model)->vocabulary;
    while (engine_unfinished(engine) > 0) {
        double start = clock_seconds();
        struct step_plan *step;
        TRY(engine_plan_step(engine, &step));
        if (step == NULL) {
            return status_fail(STATUS_INTERNAL, "the engine has rows and no step for them");
        }
        double planned = clock_seconds();
        struct step_totals *kind = step->prefill_tokens > 0 ? &totals->prefill : &totals->decode;
        kind->tokens += step->batch.tokens;
        struct device_buffer *logits;
        TRY(forward_step(self->stage.forward, &step->batch, &logits));
        TRY(backend->operations->synchronize(backend));
        double computed = clock_seconds();
        if (step->batch.outputs > 0) {
            TRY(backend->operations->sample(backend, logits, step->batch.outputs, vocabulary,
                                            step->requests, results));
        }
        double sampled = clock_seconds();
        TRY(engine_complete_step(engine, step, results));
        TRY(take_finished(engine, totals));
        double end = clock_seconds();
        kind->steps++;
        kind->seconds += end - start;
        totals->plan_seconds += planned - start;
        totals->forward_seconds += computed - planned;
        totals->sample_seconds += sampled - computed;
        totals->complete_seconds += end - sampled;
    }
    return STATUS_OK;
}

status local_runner_generate(struct local_runner *self, int requests, int prompt_tokens,
                             int new_tokens, struct local_runner_totals *totals)
{
    const struct plan *plan = &self->plan;
    *totals = (struct local_runner_totals){0};
    struct engine_options options = {
        .max_sequences = plan->max_sequences,
        .max_batch_tokens = plan->max_batch_tokens,
        .kv_blocks = plan->kv_blocks,
        .kv_block_tokens = plan->kv_block_tokens,
        .max_model_len = plan->max_model_len,
        .steps_in_flight = 1,
        .prefix_cache = self->job->engine.prefix_cache,
    };
    struct engine *engine;
    TRY(engine_create(&options, &engine));
    struct sample_result *results = calloc((size_t)plan->max_sequences, sizeof *results);
    double start = clock_seconds();
    status s = results != NULL ? queue_prompts(self, engine, requests, prompt_tokens, new_tokens)
                               : status_fail(STATUS_NO_MEMORY, "out of memory for samples");
    if (s == STATUS_OK) {
        s = run_steps(self, engine, results, totals);
    }
    totals->seconds = clock_seconds() - start;
    free(results);
    engine_destroy(engine);
    return s;
}
