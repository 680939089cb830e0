/* SPDX-License-Identifier: Apache-2.0 */
/* The public face of the engine: rows in, plans out, results back, finished samples. */
#include "sluice/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "engine/scheduler.h"

enum { LEAST_TO_SHARE = 96 }; /* samples of a step from which on threads take their tokens */

struct engine {
    struct scheduler scheduler;
    struct constraint_tools tools;
    struct sequence *first_finished, *last_finished; /* not handed out yet, linked by next */
    int unfinished_rows;
};

status engine_check_options(const struct engine_options *options)
{
    if (options->max_sequences < 1 || options->kv_blocks < 1 || options->kv_block_tokens < 1 ||
        options->max_model_len < 2 || options->steps_in_flight < 1 ||
        options->long_rope_threshold < 0 || options->end_count < 0 ||
        options->embedding_width < 0 || options->half_tokens < 0) {
        return status_fail(STATUS_INVALID, "engine: options out of range");
    }
    if (options->plans_ahead && options->steps_in_flight != 1) {
        return status_fail(STATUS_INVALID, "engine: a pipeline's steps are not planned ahead");
    }
    if (options->max_batch_tokens < options->max_sequences) {
        return status_fail(STATUS_INVALID,
                           "max_batch_tokens %d: at least max_sequences (%d), a token for each",
                           options->max_batch_tokens, options->max_sequences);
    }
    if (options->embedding_width > 0 && !options->pools_last &&
        (options->prefix_cache || options->max_batch_tokens < options->max_model_len)) {
        return status_fail(STATUS_INVALID,
                           "max_batch_tokens %d: an encoder takes whole rows, of up to %d tokens",
                           options->max_batch_tokens, options->max_model_len);
    }
    if (options->kept_states < 0) {
        return status_fail(STATUS_INVALID, "engine: %d states kept", options->kept_states);
    }
    int64_t positions = (int64_t)options->kv_blocks * options->kv_block_tokens;
    if (positions < options->max_model_len) {
        return status_fail(STATUS_INVALID,
                           "max_model_len %d: the KV cache holds %lld positions (%d blocks of %d); "
                           "lower max_model_len or give kv_memory more",
                           options->max_model_len, (long long)positions, options->kv_blocks,
                           options->kv_block_tokens);
    }
    return STATUS_OK;
}

status engine_create(const struct engine_options *options, struct engine **out)
{
    TRY(engine_check_options(options));
    struct engine *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the engine");
    }
    constraint_tools_create(&self->tools, options->tokenizer);
    status s = scheduler_create(&self->scheduler, options);
    if (s != STATUS_OK) {
        engine_destroy(self);
        return s;
    }
    *out = self;
    return STATUS_OK;
}

static void release_sample(struct sequence *sequence)
{
    struct engine_row *row = sequence->row;
    sequence_destroy(sequence);
    if (++row->samples_released == row->params.samples) {
        engine_row_destroy(row);
    }
}

void engine_destroy(struct engine *engine)
{
    if (engine == NULL) {
        return;
    }
    while (engine->first_finished != NULL) {
        engine_release(engine, engine_next_finished(engine));
    }
    scheduler_destroy(&engine->scheduler);
    constraint_tools_destroy(&engine->tools);
    free(engine);
}

static status add_row(struct engine *engine, int64_t row, const int32_t *tokens, size_t count,
                      size_t first_scored, const struct generate_params *params, int vocabulary,
                      void *tag)
{
    struct engine_row *created;
    TRY(engine_row_create(&engine->scheduler.options, row, tokens, count, first_scored, params,
                          vocabulary, tag, &created));
    created->tools = &engine->tools;
    scheduler_add_row(&engine->scheduler, created);
    engine->unfinished_rows++;
    return STATUS_OK;
}

status engine_add(struct engine *engine, int64_t row, const int32_t *prompt, size_t prompt_count,
                  const struct generate_params *params, int vocabulary, void *tag)
{
    return add_row(engine, row, prompt, prompt_count, 0, params, vocabulary, tag);
}

status engine_add_scored(struct engine *engine, int64_t row, const int32_t *tokens, size_t count,
                         size_t first_scored, const struct generate_params *params, int vocabulary,
                         void *tag)
{
    return add_row(engine, row, tokens, count, first_scored, params, vocabulary, tag);
}

void engine_set_row_costs(struct engine *engine, const struct row_costs *costs)
{
    engine->scheduler.gathering.costs = *costs;
}

void engine_end_supply(struct engine *engine)
{
    engine->scheduler.supply_ended = true;
}

int engine_unfinished(const struct engine *engine)
{
    return engine->unfinished_rows;
}

int engine_waiting(const struct engine *engine)
{
    return engine->scheduler.waiting_rows;
}

status engine_plan_step(struct engine *engine, struct step_plan **out)
{
    return scheduler_plan(&engine->scheduler, out);
}

static void finish_sequence(struct engine *self, struct sequence *sequence)
{
    scheduler_remove(&self->scheduler, sequence);
    *(self->last_finished != NULL ? &self->last_finished->next : &self->first_finished) = sequence;
    self->last_finished = sequence;
    struct engine_row *row = sequence->row;
    self->unfinished_rows -= ++row->samples_finished == row->params.samples;
}

/* On any thread: it concerns one sample alone. */
static void accept_sampled(void *item)
{
    struct acceptance *self = item;
    self->failure =
        sequence_accept(self->sequence, self->options, self->results, self->count, &self->ended);
    self->message = self->failure != STATUS_OK ? strdup(status_message()) : NULL;
}

/* Lets all samples of a step take what it brought them: the tokens that were drawn, behind
 * log-probabilities of tokens that were not. */
static status accept_all_sampled(struct engine *self, struct plan_slot *slot,
                                 const struct sample_result *results)
{
    struct team_batch *batch = &slot->accepting;
    batch->work = accept_sampled;
    batch->count = 0;
    for (int i = 0, output = 0; i < slot->count; output += slot->outputs[i++]) {
        const struct sequence *sequence = slot->sequences[i];
        if (sequence->row->work != WORK_SAMPLE || slot->outputs[i] == 0 || sequence->is_over ||
            slot->is_void[i]) {
            continue;
        }
        slot->acceptances[i] = (struct acceptance){.options = &self->scheduler.options,
                                                   .sequence = slot->sequences[i],
                                                   .tokens_before = slot->sequences[i]->count,
                                                   .results = &results[output],
                                                   .count = slot->outputs[i]};
        TRY(team_batch_add(batch, &slot->acceptances[i]));
    }
    if (batch->count >= LEAST_TO_SHARE) {
        team_start(self->scheduler.team, batch);
        team_await(self->scheduler.team, batch);
        return STATUS_OK;
    }
    for (size_t i = 0; i < batch->count; i++) {
        accept_sampled(batch->items[i]);
    }
    return STATUS_OK;
}

/* What came of it. */
static status note_sampled(struct engine *self, struct acceptance *acceptance, bool *ended)
{
    struct sequence *sequence = acceptance->sequence;
    if (acceptance->failure != STATUS_OK) {
        status s = status_fail(acceptance->failure, "%s",
                               acceptance->message != NULL ? acceptance->message : "out of memory");
        free(acceptance->message);
        acceptance->message = NULL;
        return s;
    }
    const int grown = sequence->count - acceptance->tokens_before;
    self->scheduler.counters.output_tokens += grown;
    *ended = acceptance->ended;
    if (!*ended) {
        if (sequence->constraint != NULL && grown > 0) {
            form_draws_note(&self->scheduler.form_draws, grown > 1);
        }
        scheduler_continue(&self->scheduler, sequence);
    }
    return STATUS_OK;
}

static status accept_scores(struct engine *self, struct sequence *sequence,
                            const struct sample_result *results, int count, bool *ended)
{
    if (count == 0) {
        return STATUS_OK;
    }
    self->scheduler.counters.output_tokens += count;
    return sequence_accept_scores(sequence, results, count, ended);
}

/* Hands sequence `i` of a step what that brought: `count` results, or an embedding. */
static status accept(struct engine *self, struct plan_slot *slot, int i,
                     const struct sample_result *results, const float *embedding, bool *ended)
{
    struct sequence *sequence = slot->sequences[i];
    const int count = slot->outputs[i];
    *ended = sequence->is_over;
    if (sequence->is_over) { /* a step before this one ended it */
        return STATUS_OK;
    }
    switch (sequence->row->work) {
    case WORK_POOL:
        if (sequence->row->pools_last && count == 0) {
            return STATUS_OK; /* its last token is still to come */
        }
        *ended = true;
        return sequence_accept_embedding(sequence, embedding,
                                         self->scheduler.options.embedding_width);
    case WORK_READ:
        return accept_scores(self, sequence, results, count, ended);
    case WORK_SAMPLE:
        break;
    }
    if (slot->is_void[i]) {
        scheduler_continue(&self->scheduler, sequence);
        return STATUS_OK;
    }
    return count > 0 ? note_sampled(self, &slot->acceptances[i], ended) : STATUS_OK;
}

status engine_await_requests(struct engine *engine, struct step_plan *plan)
{
    return scheduler_await_requests(&engine->scheduler, (struct plan_slot *)plan);
}

status engine_complete_step(struct engine *engine, struct step_plan *plan,
                            const struct sample_result *results)
{
    struct plan_slot *slot = (struct plan_slot *)plan;
    scheduler_close(&engine->scheduler, slot);
    TRY(accept_all_sampled(engine, slot, results));
    const size_t width = (size_t)engine->scheduler.options.embedding_width;
    int output = 0;
    for (int i = 0; i < slot->count; i++) {
        const float *embedding =
            plan->embeddings != NULL ? plan->embeddings + (size_t)i * width : NULL;
        bool ended;
        TRY(accept(engine, slot, i, &results[output], embedding, &ended));
        output += slot->outputs[i];
        slot->sequences[i]->is_over = ended;
        if (ended && slot->sequences[i]->open_steps == 0) {
            finish_sequence(engine, slot->sequences[i]);
        }
    }
    assert(output == plan->batch.outputs);
    scheduler_settle(&engine->scheduler);
    return STATUS_OK;
}

struct finished_sample *engine_next_finished(struct engine *engine)
{
    struct sequence *sequence = engine->first_finished;
    if (sequence == NULL) {
        return NULL;
    }
    engine->first_finished = sequence->next;
    if (sequence->next == NULL) {
        engine->last_finished = NULL;
    }
    sequence->next = NULL;
    return &sequence->finished;
}

void engine_release(struct engine *engine, struct finished_sample *sample)
{
    (void)engine;
    release_sample((struct sequence *)sample);
}

struct engine_counters engine_counters(const struct engine *engine)
{
    const struct scheduler *scheduler = &engine->scheduler;
    struct engine_counters counters = scheduler->counters;
    counters.running = scheduler->running.count - scheduler->leaving;
    counters.waiting = scheduler->waiting_rows;
    counters.blocks_used = kv_blocks_used(scheduler->blocks);
    counters.peak_blocks_used = kv_blocks_peak_used(scheduler->blocks);
    return counters;
}
