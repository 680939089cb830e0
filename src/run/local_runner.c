/* SPDX-License-Identifier: Apache-2.0 */
/* One rank without MPI. */
#include "sluice/local_runner.h"

#include <stdlib.h>

#include "run/steps/stage.h"

struct local_runner {
    const struct job *job;
    struct model *model;
    struct plan plan;
    struct stage stage;
};

static status runner_start(struct local_runner *self)
{
    TRY(model_open(self->job->model.path, &self->model));
    const struct model_config *config = model_config(self->model);
    if (config != NULL && config->head != HEAD_VOCABULARY) {
        return status_fail(STATUS_UNSUPPORTED, "%s: %s %s; `sluice run` %s with it",
                           self->job->model.path, config->architecture,
                           config->encoder ? "is an encoder: it has no logits"
                                           : "has no logits of tokens",
                           config->head == HEAD_LABELS ? "classifies" : "embeds");
    }
    TRY(plan_create(self->job, self->model, 1, 1, 0, NULL, &self->plan));
    return stage_create(&self->plan, self->model, MPI_COMM_NULL, 0, &self->stage);
}

status local_runner_create(const struct job *job, struct local_runner **out)
{
    struct local_runner *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a runner");
    }
    self->job = job;
    status s = runner_start(self);
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
    int32_t context_length = first + count, state_place = 0;
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
        .state_place = &state_place,
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
