/* SPDX-License-Identifier: Apache-2.0 */
/* A row and its samples: tokens, text so far, and when a sample ends. */
#include "engine/sequence.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/stop.h"

/* ---- Rows ---- */

static status check_params(const struct engine_options *options,
                           const struct generate_params *params)
{
    if (params->max_new_tokens < 1 || params->samples < 1 ||
        params->samples > GENERATE_MAX_SAMPLES || params->sampling.logprobs < -1 ||
        params->sampling.logprobs > SAMPLING_MAX_LOGPROBS || params->stop_count < 0 ||
        params->stop_count > GENERATE_MAX_STOPS || params->stop_id_count < 0 ||
        params->stop_id_count > GENERATE_MAX_STOP_IDS) {
        return status_fail(STATUS_INVALID, "generation parameters out of range");
    }
    const struct task_facts *task = task_facts(params->task);
    if ((task->work == WORK_POOL) != (options->embedding_width > 0)) {
        return status_fail(STATUS_INVALID, "engine: no text is %s here", task->done);
    }
    if (params->samples > 1 && task->work != WORK_SAMPLE) {
        return status_fail(STATUS_INVALID, "n: %d; a text is %s once", params->samples, task->done);
    }
    if (params->stop_count > 0 && options->tokenizer == NULL) {
        return status_fail(STATUS_INVALID,
                           "stop strings need a tokenizer, and the model has none; use "
                           "stop_token_ids");
    }
    for (int i = 0; i < params->stop_count; i++) {
        if (params->stop[i] == NULL || params->stop[i][0] == '\0') {
            return status_fail(STATUS_INVALID, "an empty stop string");
        }
    }
    return STATUS_OK;
}

static status check_prompt(const struct engine_options *options, const int32_t *prompt,
                           size_t prompt_count, bool is_answered, int vocabulary)
{
    if (prompt_count == 0) {
        return status_fail(STATUS_INVALID, "an empty prompt");
    }
    if (prompt_count + is_answered > (size_t)options->max_model_len) {
        return status_fail(STATUS_INVALID, "prompt of %zu tokens; the context holds %d",
                           prompt_count, options->max_model_len);
    }
    for (size_t i = 0; i < prompt_count; i++) {
        if (prompt[i] < 0 || prompt[i] >= vocabulary) {
            return status_fail(STATUS_INVALID, "prompt token %zu is %d; the vocabulary has %d", i,
                               (int)prompt[i], vocabulary);
        }
    }
    return STATUS_OK;
}

status engine_check_row(const struct engine_options *options, const int32_t *prompt,
                        size_t prompt_count, size_t first_scored,
                        const struct generate_params *params, int vocabulary)
{
    const enum task_work work = task_facts(params->task)->work;
    TRY(check_params(options, params));
    TRY(check_prompt(options, prompt, prompt_count, work == WORK_SAMPLE, vocabulary));
    if ((work == WORK_READ) != (first_scored > 0) || first_scored >= prompt_count) {
        return status_fail(STATUS_INVALID, "no token to score: the text has %zu, from %zu on",
                           prompt_count, first_scored);
    }
    return work == WORK_SAMPLE ? processors_check(options, params, vocabulary) : STATUS_OK;
}

status engine_row_create(const struct engine_options *options, int64_t row, const int32_t *prompt,
                         size_t prompt_count, size_t first_scored,
                         const struct generate_params *params, int vocabulary, void *tag,
                         struct engine_row **out)
{
    TRY(engine_check_row(options, prompt, prompt_count, first_scored, params, vocabulary));
    size_t prompt_bytes = prompt_count * sizeof *prompt;
    size_t bytes = sizeof(struct engine_row) + prompt_bytes;
    for (int i = 0; i < params->stop_count; i++) {
        bytes += strlen(params->stop[i]) + 1;
    }
    struct engine_row *self = malloc(bytes);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a row of %zu tokens", prompt_count);
    }
    char *behind = (char *)(self + 1);
    *self = (struct engine_row){
        .row = row,
        .tag = tag,
        .work = task_facts(params->task)->work,
        .params = *params,
        .prompt_count = (int)prompt_count,
        .prompt = memcpy(behind, prompt, prompt_bytes),
        .first_scored = (int)first_scored,
        .needs_history = params->sampling.repetition_penalty != 1 ||
                         params->sampling.presence_penalty != 0 ||
                         params->sampling.frequency_penalty != 0,
    };
    if (self->work == WORK_READ && self->params.sampling.logprobs < 0) {
        self->params.sampling.logprobs = 0;
    }
    behind += prompt_bytes;
    for (int i = 0; i < params->stop_count; i++) {
        size_t length = strlen(params->stop[i]) + 1;
        self->params.stop[i] = memcpy(behind, params->stop[i], length);
        behind += length;
    }
    if (self->work == WORK_SAMPLE) {
        status s = processors_create(options, params, vocabulary, &self->processors);
        if (s != STATUS_OK) {
            engine_row_destroy(self);
            return s;
        }
    }
    self->params.allowed_ids = NULL; /* the processors have what of them counts */
    self->params.biases = NULL;
    *out = self;
    return STATUS_OK;
}

void engine_row_destroy(struct engine_row *row)
{
    processors_destroy(&row->processors);
    free(row);
}

/* ---- Samples ---- */

/* Prompt and output together at most. */
static int longest(const struct engine_options *options, const struct engine_row *row)
{
    if (row->work != WORK_SAMPLE) {
        return row->prompt_count;
    }
    int room = options->max_model_len - row->prompt_count;
    int output = row->params.max_new_tokens < room ? row->params.max_new_tokens : room;
    return row->prompt_count + output;
}

status sequence_create(const struct engine_options *options, struct engine_row *row, int32_t sample,
                       int64_t order, struct sequence **out)
{
    size_t blocks = ((size_t)longest(options, row) + (size_t)options->kv_block_tokens - 1) /
                    (size_t)options->kv_block_tokens;
    size_t tokens = (size_t)row->prompt_count + 1;
    struct sequence *self = calloc(1, sizeof *self);
    if (self != NULL) {
        self->blocks = malloc(blocks * sizeof *self->blocks);
        self->tokens = malloc(tokens * sizeof *self->tokens);
        self->token_capacity = tokens;
    }
    if (self == NULL || self->blocks == NULL || self->tokens == NULL) {
        sequence_destroy(self);
        return status_fail(STATUS_NO_MEMORY, "out of memory for a sequence");
    }
    memcpy(self->tokens, row->prompt, (size_t)row->prompt_count * sizeof *self->tokens);
    self->count = row->prompt_count - (row->work == WORK_READ);
    self->stream.keep_special = row->params.keep_special_tokens;
    self->row = row;
    self->sample = sample;
    self->order = order;
    *out = self;
    return STATUS_OK;
}

void sequence_destroy(struct sequence *self)
{
    if (self != NULL) {
        token_stream_destroy(&self->stream);
        buffer_destroy(&self->text);
        buffer_destroy(&self->error);
        free(self->tokens);
        free(self->blocks);
        free(self->logprobs);
        free(self->top_ids);
        free(self->top_logprobs);
        free(self->embedding);
        free(self);
    }
}

bool sequence_wants_long_rope(const struct sequence *self, const struct engine_options *options)
{
    int count = self->row->work == WORK_READ ? self->row->prompt_count : self->count;
    return options->long_rope_threshold > 0 && count > options->long_rope_threshold;
}

int sequence_first_output(const struct sequence *self)
{
    const struct engine_row *row = self->row;
    switch (row->work) {
    case WORK_POOL:
        return self->count;
    case WORK_READ:
        return row->first_scored + self->scored - 1;
    case WORK_SAMPLE:
        break;
    }
    return self->count - 1;
}

/* Log-probabilities of token `output` of the answer, as far as the row asks for them. */
static status append_logprobs(struct sequence *self, int output, const struct sample_result *result)
{
    status s;
    int top = self->row->params.sampling.logprobs;
    if (top >= 0) {
        void *logprobs = self->logprobs;
        s = array_grow(&logprobs, &self->logprob_capacity, (size_t)output + 1,
                       sizeof *self->logprobs);
        self->logprobs = logprobs;
        TRY(s);
        self->logprobs[output] = result->logprob;
    }
    if (top > 0) {
        size_t start = (size_t)output * (size_t)top;
        void *ids = self->top_ids, *values = self->top_logprobs;
        s = array_grow(&ids, &self->top_id_capacity, start + (size_t)top, sizeof *self->top_ids);
        self->top_ids = ids;
        TRY(s);
        s = array_grow(&values, &self->top_logprob_capacity, start + (size_t)top,
                       sizeof *self->top_logprobs);
        self->top_logprobs = values;
        TRY(s);
        memcpy(self->top_ids + start, result->top_ids, (size_t)top * sizeof *self->top_ids);
        memcpy(self->top_logprobs + start, result->top_logprobs,
               (size_t)top * sizeof *self->top_logprobs);
    }
    return STATUS_OK;
}

static status append_token(struct sequence *self, const struct sample_result *result)
{
    void *tokens = self->tokens;
    status s =
        array_grow(&tokens, &self->token_capacity, (size_t)self->count + 1, sizeof *self->tokens);
    self->tokens = tokens;
    TRY(s);
    TRY(append_logprobs(self, self->count - self->row->prompt_count, result));
    self->tokens[self->count++] = result->token;
    return STATUS_OK;
}

static bool is_among(int32_t id, const int32_t *ids, int count)
{
    for (int i = 0; i < count; i++) {
        if (ids[i] == id) {
            return true;
        }
    }
    return false;
}

static bool is_end(const struct sequence *self, const struct engine_options *options, int32_t id)
{
    const struct generate_params *params = &self->row->params;
    return is_among(id, params->stop_ids, params->stop_id_count) ||
           (!params->ignore_eos && is_among(id, options->ends, options->end_count));
}

/* Cuts the text at a stop string that ends in its bytes from `fresh` on, or behind it. */
static bool cut_at_stop(struct sequence *self, size_t fresh)
{
    const struct generate_params *params = &self->row->params;
    size_t cut = 0, end;
    if (self->count - self->row->prompt_count <= params->min_tokens && params->min_tokens > 0) {
        return false;
    }
    if (!stop_find(self->text.data, self->text.length, fresh, params->stop, params->stop_count,
                   &cut, &end)) {
        return false;
    }
    cut = params->include_stop ? end : cut;
    self->text.length = cut;
    self->text.data[cut] = '\0';
    return true;
}

/* Hands out text that waited for further tokens. It may complete a stop string, too. */
static status finish_text(struct sequence *self, const struct engine_options *options,
                          enum finish_reason *reason)
{
    if (options->tokenizer == NULL) {
        return STATUS_OK;
    }
    size_t fresh = self->text.length;
    TRY(token_stream_finish(&self->stream, options->tokenizer, &self->text));
    if (cut_at_stop(self, fresh) && *reason == FINISH_LENGTH) {
        *reason = FINISH_STOP;
    }
    return STATUS_OK;
}

static void fill_finished(struct sequence *self, enum finish_reason reason)
{
    const struct engine_row *row = self->row;
    /* A scored text's tokens have been there from the start. */
    const bool is_read = row->work == WORK_READ;
    int prompt = is_read ? row->first_scored : row->prompt_count;
    int end = is_read ? row->first_scored + self->scored : self->count;
    self->finished = (struct finished_sample){
        .row = row->row,
        .sample = self->sample,
        .tag = row->tag,
        .reason = reason,
        .error = reason == FINISH_ERROR ? self->error.data : NULL,
        .text = self->text.data != NULL ? self->text.data : "",
        .text_length = self->text.length,
        .prompt_tokens = prompt,
        .completion_tokens = end - prompt,
        .token_ids = self->tokens + prompt,
        .logprobs = self->logprobs,
        .top_count = self->top_ids != NULL ? row->params.sampling.logprobs : 0,
        .top_ids = self->top_ids,
        .top_logprobs = self->top_logprobs,
        .embedding = self->embedding,
        .seconds = clock_seconds() - self->first_step,
    };
}

status sequence_accept(struct sequence *self, const struct engine_options *options,
                       const struct sample_result *result, bool *ended)
{
    assert(self->computed == self->count && self->count < options->max_model_len);
    enum finish_reason reason = FINISH_LENGTH;
    int output = self->count - self->row->prompt_count;
    bool text_is_whole = false;
    if (result->not_finite) {
        reason = FINISH_ERROR;
        *ended = true;
        TRY(buffer_format(&self->error,
                          "row %lld, sample %d: a NaN or an infinity among the logits of output "
                          "token %d",
                          (long long)self->row->row, (int)self->sample, output));
    } else {
        TRY(append_token(self, result));
        *ended = self->count == longest(options, self->row);
        bool is_last = is_end(self, options, result->token);
        if (is_last) {
            reason = FINISH_STOP;
            *ended = true;
        }
        if (options->tokenizer != NULL && (!is_last || self->row->params.include_stop)) {
            size_t fresh = self->text.length;
            TRY(token_stream_push(&self->stream, options->tokenizer, result->token, &self->text));
            text_is_whole = cut_at_stop(self, fresh);
            if (text_is_whole) {
                reason = FINISH_STOP;
                *ended = true;
            }
        }
    }
    if (*ended) {
        if (!text_is_whole) {
            TRY(finish_text(self, options, &reason));
        }
        fill_finished(self, reason);
    }
    return STATUS_OK;
}

status sequence_accept_scores(struct sequence *self, const struct sample_result *results, int count,
                              bool *ended)
{
    const struct engine_row *row = self->row;
    enum finish_reason reason = FINISH_STOP;
    *ended = self->computed == self->count;
    for (int i = 0; i < count && reason != FINISH_ERROR; i++) {
        int at = row->first_scored + self->scored;
        assert(at < row->prompt_count);
        if (results[i].not_finite) {
            reason = FINISH_ERROR;
            *ended = true;
            TRY(buffer_format(&self->error,
                              "row %lld: a NaN or an infinity among the logits before token %d",
                              (long long)row->row, at));
            break;
        }
        if (results[i].token != self->tokens[at]) {
            return status_fail(STATUS_INTERNAL, "row %lld: token %d was scored in place of %d",
                               (long long)row->row, (int)results[i].token, (int)self->tokens[at]);
        }
        TRY(append_logprobs(self, self->scored, &results[i]));
        self->scored++;
    }
    if (*ended) {
        fill_finished(self, reason);
    }
    return STATUS_OK;
}

status sequence_accept_embedding(struct sequence *self, const float *embedding, int width)
{
    self->embedding = malloc((size_t)width * sizeof *self->embedding);
    if (self->embedding == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for an embedding");
    }
    memcpy(self->embedding, embedding, (size_t)width * sizeof *self->embedding);
    enum finish_reason reason = FINISH_STOP;
    for (int i = 0; i < width; i++) {
        if (!isfinite(embedding[i])) {
            reason = FINISH_ERROR;
        }
    }
    if (reason == FINISH_ERROR) {
        free(self->embedding);
        self->embedding = NULL;
        TRY(buffer_format(&self->error, "row %lld: a NaN or an infinity in the embedding",
                          (long long)self->row->row));
    }
    fill_finished(self, reason);
    return STATUS_OK;
}
