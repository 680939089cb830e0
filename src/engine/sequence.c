/* SPDX-License-Identifier: Apache-2.0 */
/* A sample: its tokens, its text so far, and when it ends. */
#include "engine/sequence.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/stop.h"

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

static status begin_constraint(struct sequence *self, const struct engine_options *options);

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
    if (row->params.grammar != NULL && row->work == WORK_SAMPLE) {
        status s = begin_constraint(self, options);
        if (s != STATUS_OK) {
            sequence_destroy(self);
            return s;
        }
    }
    *out = self;
    return STATUS_OK;
}

void sequence_destroy(struct sequence *self)
{
    if (self != NULL) {
        constraint_destroy(self->constraint);
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
        return row->pools_last ? self->count - 1 : self->count;
    case WORK_READ:
        return row->first_scored + self->scored - 1;
    case WORK_SAMPLE:
        break;
    }
    return row->params.sampling.logprobs >= 0 ? row->prompt_count + self->reported - 1 + self->asked
                                              : self->count - 1 + self->to_come;
}

int sequence_longest(const struct sequence *self, const struct engine_options *options)
{
    return longest(options, self->row);
}

bool sequence_leaves(const struct sequence *self, const struct engine_options *options)
{
    return self->is_over ||
           (self->to_come > 0 && sequence_known(self) >= sequence_longest(self, options));
}

/* Log-probabilities of token `output` of the answer, as far as the row asks for them. */
static status append_logprobs(struct sequence *self, int output, const struct sample_result *result)
{
    status s;
    int top = self->row->top;
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

static status append_token(struct sequence *self, int32_t id)
{
    void *tokens = self->tokens;
    status s =
        array_grow(&tokens, &self->token_capacity, (size_t)self->count + 1, sizeof *self->tokens);
    self->tokens = tokens;
    TRY(s);
    self->tokens[self->count++] = id;
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
           /* Under a grammar an end token comes where the text is complete, and has to end it. */
           ((!params->ignore_eos || self->constraint != NULL) &&
            is_among(id, options->ends, options->end_count));
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

/* Whether the text is one of the grammar's. A stop string cuts it somewhere: it is read again. */
static status has_valid_text(const struct sequence *self, bool is_cut, bool *valid)
{
    *valid = self->constraint != NULL && constraint_may_end(self->constraint);
    if (self->constraint == NULL || !is_cut) {
        return STATUS_OK;
    }
    struct grammar_matcher *matcher;
    TRY(grammar_matcher_create(self->row->params.grammar, &matcher));
    const status s =
        grammar_matcher_accept_bytes(matcher, self->text.data, self->text.length, valid);
    *valid = *valid && self->constraint->is_active && grammar_matcher_may_end(matcher);
    grammar_matcher_destroy(matcher);
    return s;
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
        .top_count = self->top_ids != NULL ? row->top : 0,
        .top_ids = self->top_ids,
        .top_logprobs = self->top_logprobs,
        .embedding = self->embedding,
        .is_greedy = is_read && self->greedy == self->scored,
        .seconds = clock_seconds() - self->first_step,
    };
}

/* How a sample ends, if it does. */
struct ending {
    bool ended, text_is_whole;
    enum finish_reason reason;
};

/* Appends a token to the sample and its text to the text. */
static status put_token(struct sequence *self, const struct engine_options *options, int32_t id,
                        struct ending *ending)
{
    TRY(append_token(self, id));
    const bool is_last = is_end(self, options, id);
    ending->ended = is_last || self->count == longest(options, self->row);
    ending->reason = is_last ? FINISH_STOP : FINISH_LENGTH;
    if (options->tokenizer != NULL && (!is_last || self->row->params.include_stop)) {
        size_t fresh = self->text.length;
        TRY(token_stream_push(&self->stream, options->tokenizer, id, &self->text));
        ending->text_is_whole = cut_at_stop(self, fresh);
        if (ending->text_is_whole) {
            ending->reason = FINISH_STOP;
            ending->ended = true;
        }
    }
    return STATUS_OK;
}

/* The constraint goes on by a token that comes next. An end token changes nothing. */
static status take_next(struct sequence *self, const struct engine_options *options, int32_t id,
                        bool *fits)
{
    const int prompt = self->row->prompt_count;
    *fits = true;
    if (is_end(self, options, id)) {
        return STATUS_OK;
    }
    TRY(append_token(self, id));
    const status s = constraint_take(self->constraint, &self->row->params, self->tokens + prompt,
                                     self->count - prompt, fits);
    self->count--; /* put_token will have it */
    return s;
}

/* Appends a token that the constraint has gone on by, or has refused. */
static status put_fitting(struct sequence *self, const struct engine_options *options, int32_t id,
                          bool fits, struct ending *ending)
{
    const struct engine_row *row = self->row;
    TRY(put_token(self, options, id, ending));
    if (!fits) {
        ending->ended = true;
        ending->reason = FINISH_ERROR;
        TRY(buffer_format(&self->error,
                          "row %lld, sample %d: the form of the answer is so ambiguous that output "
                          "token %d cannot be followed",
                          (long long)row->row, (int)self->sample,
                          self->count - row->prompt_count - 1));
    } else if (!ending->text_is_whole && constraint_must_end(self->constraint)) {
        ending->ended = true;
        ending->reason = FINISH_STOP;
    }
    return STATUS_OK;
}

static status put_all(struct sequence *self, const struct engine_options *options,
                      const struct token_list *tokens, struct ending *ending)
{
    for (size_t i = 0; i < tokens->count && !ending->ended; i++) {
        bool fits;
        TRY(take_next(self, options, tokens->ids[i], &fits));
        TRY(put_fitting(self, options, tokens->ids[i], fits, ending));
    }
    return STATUS_OK;
}

/* Appends what follows without being drawn. */
static status put_forced(struct sequence *self, const struct engine_options *options,
                         struct ending *ending)
{
    const struct engine_row *row = self->row;
    struct token_list tokens = {0};
    status s = constraint_forced(self->constraint, row->tools, longest(options, row) - self->count,
                                 row->params.grammar_closes, &tokens);
    if (s == STATUS_OK) {
        s = put_all(self, options, &tokens, ending);
    }
    token_list_destroy(&tokens);
    return s;
}

/* Appends the soonest end of the answer. */
static status put_end(struct sequence *self, const struct engine_options *options,
                      struct ending *ending)
{
    struct token_list tokens = {0};
    status s = constraint_close(self->constraint, &tokens);
    if (s == STATUS_OK) {
        s = put_all(self, options, &tokens, ending);
    }
    token_list_destroy(&tokens);
    if (!ending->text_is_whole) {
        *ending = (struct ending){.ended = true, .reason = FINISH_LENGTH}; /* that is why it ends */
    }
    return s;
}

/* Whether the answer can no longer be closed in time behind a token, by which the constraint has
 * gone on. */
static status is_too_late(const struct sequence *self, const struct engine_options *options,
                          bool *late)
{
    bool can = true;
    if (self->row->params.grammar_closes) {
        TRY(constraint_can_close(self->constraint, longest(options, self->row) - self->count - 1,
                                 &can));
    }
    *late = !can;
    return STATUS_OK;
}

/* Lets go of a drawn token that came too late: the answer ends in its place. The logits that it was
 * drawn from are gone; where the row asks for log-probabilities, the token before it is computed
 * again, so that those of the end come from it. */
static status put_end_instead(struct sequence *self, const struct engine_options *options,
                              struct ending *ending)
{
    const struct engine_row *row = self->row;
    const int before = self->count;
    TRY(constraint_rewind(self->constraint, &row->params, self->tokens + row->prompt_count,
                          before - row->prompt_count));
    TRY(put_end(self, options, ending));
    if (row->params.sampling.logprobs >= 0 && self->count > before) {
        self->computed = options->has_states ? 0 : before - 1; /* a state does not go back */
    }
    return STATUS_OK;
}

/* A token drawn under a grammar. */
static status put_constrained(struct sequence *self, const struct engine_options *options,
                              const struct sample_result *result, struct ending *ending)
{
    bool fits, late = false;
    TRY(take_next(self, options, result->token, &fits));
    if (fits && !is_end(self, options, result->token)) {
        TRY(is_too_late(self, options, &late));
    }
    if (late) {
        return put_end_instead(self, options, ending);
    }
    TRY(append_logprobs(self, self->reported++, result));
    TRY(put_fitting(self, options, result->token, fits, ending));
    TRY(ending->ended ? STATUS_OK : put_forced(self, options, ending));
    if (!ending->ended) { /* while what it needs is at hand */
        constraint_look_up_mask(self->constraint);
    }
    return STATUS_OK;
}

static status put_drawn(struct sequence *self, const struct engine_options *options,
                        const struct sample_result *result, struct ending *ending)
{
    if (self->constraint != NULL) {
        return put_constrained(self, options, result, ending);
    }
    TRY(append_logprobs(self, self->reported++, result));
    return put_token(self, options, result->token, ending);
}

/* A sample of a row with a grammar, at its beginning: what must come first is there at once. */
static status begin_constraint(struct sequence *self, const struct engine_options *options)
{
    struct ending ending = {0};
    TRY(constraint_create(&self->row->params, self->row->processors.allowed, &self->constraint));
    TRY(put_forced(self, options, &ending));
    self->is_ending = ending.ended;
    self->end_reason = ending.reason;
    return STATUS_OK;
}

static status fail_not_finite(struct sequence *self, int output, bool is_drawn,
                              struct ending *ending)
{
    *ending = (struct ending){.ended = true, .reason = FINISH_ERROR};
    const bool is_stuck = is_drawn && self->constraint != NULL && self->constraint->is_stuck;
    return buffer_format(&self->error,
                         is_stuck ? "row %lld, sample %d: no token of the vocabulary fits the form "
                                    "of the answer as output token %d"
                                  : "row %lld, sample %d: a NaN or an infinity among the logits of "
                                    "output token %d",
                         (long long)self->row->row, (int)self->sample, output);
}

/* Log-probabilities of tokens that were not drawn. */
static status take_reports(struct sequence *self, const struct sample_result *results, int count,
                           struct ending *ending)
{
    for (int i = 0; i < count && !ending->ended; i++) {
        if (results[i].not_finite) {
            return fail_not_finite(self, self->reported, false, ending);
        }
        TRY(append_logprobs(self, self->reported, &results[i]));
        self->reported++;
    }
    return STATUS_OK;
}

/* Whether tokens of an answer that is over still lack their log-probabilities. */
static bool lacks_reports(const struct sequence *self)
{
    return self->row->params.sampling.logprobs >= 0 &&
           self->reported < self->count - self->row->prompt_count;
}

static status end_sample(struct sequence *self, const struct engine_options *options,
                         struct ending *ending)
{
    if (!ending->text_is_whole) {
        TRY(finish_text(self, options, &ending->reason));
    }
    fill_finished(self, ending->reason);
    self->finished.has_form = self->constraint != NULL;
    return ending->reason == FINISH_ERROR
               ? STATUS_OK
               : has_valid_text(self, ending->text_is_whole, &self->finished.is_valid);
}

status sequence_accept(struct sequence *self, const struct engine_options *options,
                       const struct sample_result *results, int count, bool *ended)
{
    const int drawn = self->computed == self->count ? 1 : 0;
    struct ending ending = {.reason = FINISH_LENGTH};
    TRY(take_reports(self, results, count - drawn, &ending));
    if (ending.ended || drawn == 0) {
        *ended = ending.ended;
        return ending.ended ? end_sample(self, options, &ending) : STATUS_OK;
    }
    if (self->is_ending) { /* what was drawn behind the end is nothing */
        ending = (struct ending){true, self->text_is_whole, self->end_reason};
    } else if (results[count - 1].not_finite) {
        TRY(fail_not_finite(self, self->count - self->row->prompt_count, true, &ending));
    } else {
        TRY(put_drawn(self, options, &results[count - 1], &ending));
    }
    if (ending.ended && ending.reason != FINISH_ERROR && lacks_reports(self)) {
        self->is_ending = true;
        self->end_reason = ending.reason;
        self->text_is_whole = ending.text_is_whole;
        ending.ended = false;
    }
    *ended = ending.ended;
    return ending.ended ? end_sample(self, options, &ending) : STATUS_OK;
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
        self->greedy += results[i].top_ids[0] == results[i].token;
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
