/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine's tests put in a model's and a tokenizer's place. Included once in a program: it
 * defines the token_stream functions.
 *
 * The fake device keeps a cache that is addressed by blocks as a real one is. A position holds its
 * token, its place and a hash of everything before it, computed from what stands in the cache; the
 * next token is a hash of all that is read back through the block table. A wrong block, position,
 * order or a stale key therefore changes what comes out. */
#ifndef SLUICE_TESTS_ENGINE_FAKE_H
#define SLUICE_TESTS_ENGINE_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/engine.h"

enum { FAKE_VOCABULARY = 97 };

static inline uint64_t fake_mix(uint64_t a, uint64_t b)
{
    uint64_t x = (a ^ b * UINT64_C(0x9e3779b97f4a7c15)) + UINT64_C(0x632be59bd9b4e019);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline uint64_t fake_chain(uint64_t before, int32_t token, int position, bool long_rope)
{
    return fake_mix(before, (uint64_t)token << 32 | (uint64_t)position << 1 | long_rope);
}

/* What the model says after a history whose hash is `chain`. */
static inline struct sample_result fake_next(uint64_t chain, int32_t sample, int32_t position,
                                             const struct sampling *params)
{
    uint64_t x =
        fake_mix(chain, fake_mix(params->stream, (uint64_t)sample << 32 | (uint64_t)position));
    struct sample_result result = {.token = (int32_t)(x % FAKE_VOCABULARY),
                                   .logprob = (float)(x >> 40)};
    for (int i = 0; i < params->logprobs; i++) {
        result.top_ids[i] = (int32_t)(x >> 20 & 1023) + i;
        result.top_logprobs[i] = (float)(x >> 50) - (float)i;
    }
    result.top_count = params->logprobs > 0 ? params->logprobs : 0;
    return result;
}

struct fake_slot {
    int32_t token, position;
    uint64_t chain;
    bool long_rope;
};

struct fake_device {
    int block_tokens, blocks, long_rope_threshold;
    struct fake_slot *slots;  /* [blocks, block_tokens] */
    int *writer;              /* [blocks] sequence of the step that wrote it */
    int places;               /* 0: no states */
    struct fake_slot *states; /* [places] the latest position's, of whatever ran there last */
};

static inline struct fake_device fake_create(const struct engine_options *options)
{
    struct fake_device device = {.block_tokens = options->kv_block_tokens,
                                 .blocks = options->kv_blocks,
                                 .long_rope_threshold = options->long_rope_threshold};
    size_t slots = (size_t)options->kv_blocks * (size_t)options->kv_block_tokens;
    device.slots = calloc(slots, sizeof *device.slots);
    device.writer = calloc((size_t)options->kv_blocks, sizeof *device.writer);
    device.places = options->has_states ? options->max_sequences + options->kept_states : 0;
    device.states = calloc((size_t)device.places + 1, sizeof *device.states);
    assert_non_null(device.states);
    assert_non_null(device.slots);
    assert_non_null(device.writer);
    return device;
}

static inline void fake_destroy(struct fake_device *device)
{
    free(device->slots);
    free(device->writer);
    free(device->states);
}

static inline int32_t fake_block_of(const struct fake_device *device, const struct batch *batch,
                                    int sequence, int position)
{
    int32_t block =
        batch->block_table[sequence * batch->block_table_stride + position / device->block_tokens];
    assert_in_range(block, 0, device->blocks - 1);
    return block;
}

static inline struct fake_slot *fake_slot_of(const struct fake_device *device,
                                             const struct batch *batch, int sequence, int position)
{
    int32_t block = fake_block_of(device, batch, sequence, position);
    return &device->slots[block * device->block_tokens + position % device->block_tokens];
}

/* A token of the step, which may be one that the step before drew. */
static inline int32_t fake_token(const struct batch *batch, int token,
                                 const struct sample_result *drawn)
{
    const int32_t id = batch->token_ids[token];
    assert_true(id >= 0 || drawn != NULL);
    return id >= 0 ? id : drawn[batch_drawn(id)].token;
}

/* A sequence's state after this step; what is in its place before is what its last step left. */
static inline void fake_advance(const struct fake_device *device, const struct batch *batch,
                                int sequence, const struct sample_result *drawn)
{
    assert_int_equal(device->places > 0, batch->state_place != NULL);
    if (device->places == 0) {
        return;
    }
    const int place = batch->state_place[sequence], first = batch->query_start[sequence];
    assert_in_range(place, 0, device->places - 1);
    for (int s = 0; s < sequence; s++) {
        assert_int_not_equal(batch->state_place[s], place);
    }
    struct fake_slot *state = &device->states[place];
    const int from = batch->state_from[sequence];
    assert_in_range(from, 0, device->places - 1);
    for (int s = 0; s < batch->sequences; s++) { /* nobody writes what another begins with */
        assert_true(s == sequence || batch->state_place[s] != from);
    }
    *state = device->states[from];
    for (int t = first; t < batch->query_start[sequence + 1]; t++) {
        const int position = batch->positions[t];
        assert_true(position == 0 || state->position == position - 1);
        *state = (struct fake_slot){
            .position = position,
            .chain = fake_chain(position > 0 ? state->chain : 0, fake_token(batch, t, drawn),
                                position, batch->long_rope != NULL && batch->long_rope[sequence])};
    }
    const int last = batch->positions[batch->query_start[sequence + 1] - 1];
    assert_true(state->chain == fake_slot_of(device, batch, sequence, last)->chain);
}

/* Appends a step's tokens to the cache. `drawn`: results of the step before, where this one was
 * planned ahead of them; else NULL. */
static inline void fake_write(struct fake_device *device, const struct batch *batch,
                              const struct sample_result *drawn)
{
    memset(device->writer, -1, (size_t)device->blocks * sizeof *device->writer);
    assert_int_equal(batch->query_start[0], 0);
    assert_int_equal(batch->query_start[batch->sequences], batch->tokens);
    for (int s = 0; s < batch->sequences; s++) {
        int first = batch->query_start[s], end = batch->query_start[s + 1];
        assert_true(first < end);
        assert_int_equal(batch->context_length[s], batch->positions[end - 1] + 1);
        for (int i = 0; i < batch->block_table_stride; i++) { /* kernels load whole rows of it */
            assert_in_range(batch->block_table[s * batch->block_table_stride + i], 0,
                            device->blocks - 1);
        }
        bool long_rope = batch->long_rope != NULL && batch->long_rope[s];
        for (int t = first; t < end; t++) {
            int position = batch->positions[t];
            assert_true(t == first || position == batch->positions[t - 1] + 1);
            uint64_t before =
                position > 0 ? fake_slot_of(device, batch, s, position - 1)->chain : 0;
            const int32_t token = fake_token(batch, t, drawn);
            *fake_slot_of(device, batch, s, position) = (struct fake_slot){
                token, position, fake_chain(before, token, position, long_rope), long_rope};
            /* A block that is being filled belongs to one sequence. */
            int *writer = &device->writer[fake_block_of(device, batch, s, position)];
            assert_true(*writer == -1 || *writer == s);
            *writer = s;
        }
        fake_advance(device, batch, s, drawn);
    }
}

/* The next token from there on that the mask allows. */
static inline struct sample_result fake_allow(struct sample_result result, const uint32_t *allowed)
{
    for (int i = 0; allowed != NULL && i < FAKE_VOCABULARY; i++) {
        const int32_t token = result.token;
        if ((allowed[token / 32] >> (token % 32) & 1) != 0) {
            return result;
        }
        result.token = (token + 1) % FAKE_VOCABULARY;
    }
    result.not_finite = allowed != NULL;
    return result;
}

/* Reads a sequence's whole cache back and says what follows. */
static inline struct sample_result fake_read(const struct fake_device *device,
                                             const struct batch *batch, int sequence,
                                             const struct sample_request *request)
{
    uint64_t chain = 0;
    bool long_rope = batch->long_rope != NULL && batch->long_rope[sequence];
    int count = batch->context_length[sequence];
    assert_int_equal(long_rope,
                     device->long_rope_threshold > 0 && count > device->long_rope_threshold);
    for (int position = 0; position < count; position++) {
        const struct fake_slot *slot = fake_slot_of(device, batch, sequence, position);
        assert_int_equal(slot->position, position);
        assert_int_equal(slot->long_rope, long_rope);
        chain = fake_chain(chain, slot->token, position, long_rope);
        assert_true(chain == slot->chain);
        if (request->history != NULL) {
            assert_int_equal(request->history[position], slot->token);
        }
    }
    assert_int_equal(request->history_count, request->history != NULL ? count : 0);
    struct sample_result result =
        fake_next(chain, request->sample, request->position, request->params);
    return fake_allow(result, request->allowed);
}

/* What the model says of a given token after a history whose hash is `chain`. */
static inline struct sample_result fake_score(uint64_t chain, int32_t token)
{
    struct sample_result result = {.token = token,
                                   .logprob = -(float)(fake_mix(chain, (uint64_t)token) >> 44)};
    return result;
}

/* Reads the cache back as far as the output's position and scores the token that follows. */
static inline struct sample_result fake_read_scored(const struct fake_device *device,
                                                    const struct batch *batch, int sequence,
                                                    int row, const struct sample_request *request)
{
    uint64_t chain = 0;
    bool long_rope = batch->long_rope != NULL && batch->long_rope[sequence];
    for (int position = 0; position <= batch->positions[row]; position++) {
        const struct fake_slot *slot = fake_slot_of(device, batch, sequence, position);
        assert_int_equal(slot->position, position);
        assert_int_equal(slot->long_rope, long_rope);
        chain = fake_chain(chain, slot->token, position, long_rope);
        assert_true(chain == slot->chain);
    }
    return fake_score(chain, request->scored);
}

/* Answers a plan that has been written: fills results[batch.outputs]. */
static inline void fake_answer(const struct fake_device *device, const struct step_plan *plan,
                               struct sample_result *results)
{
    const struct batch *batch = &plan->batch;
    int output = 0;
    for (int s = 0; s < batch->sequences; s++) {
        while (output < batch->outputs && plan->requests[output].is_scored &&
               batch->output_rows[output] < batch->query_start[s + 1]) {
            int row = batch->output_rows[output];
            assert_true(row >= batch->query_start[s]);
            results[output] = fake_read_scored(device, batch, s, row, &plan->requests[output]);
            output++;
        }
        if (output < batch->outputs &&
            batch->output_rows[output] == batch->query_start[s + 1] - 1 &&
            !plan->requests[output].is_scored) {
            results[output] = fake_read(device, batch, s, &plan->requests[output]);
            output++;
        }
    }
    assert_int_equal(output, batch->outputs);
}

/* Runs a plan. */
static inline void fake_run(struct fake_device *device, const struct step_plan *plan,
                            struct sample_result *results)
{
    fake_write(device, &plan->batch, NULL);
    fake_answer(device, plan, results);
}

/* ---- Tokenizer: a list of pieces; a piece may end inside a UTF-8 character ---- */

struct tokenizer {
    const char *const *pieces; /* [count]; "" for special tokens */
    int count;
};

static inline status fake_window_text(const struct token_stream *stream,
                                      const struct tokenizer *tokenizer, struct buffer *text)
{
    for (size_t i = 0; i < stream->window.count; i++) {
        const char *piece = tokenizer->pieces[stream->window.ids[i]];
        bool is_kept = stream->keep_special && piece[0] == '\0';
        TRY(buffer_append_text(text, is_kept ? "<s>" : piece));
    }
    return STATUS_OK;
}

/* Hands the window's text out once it is whole characters. */
status token_stream_push(struct token_stream *stream, const struct tokenizer *tokenizer, int32_t id,
                         struct buffer *out)
{
    struct token_list *window = &stream->window;
    void *ids = window->ids;
    status s = array_grow(&ids, &window->capacity, window->count + 1, sizeof *window->ids);
    window->ids = ids;
    TRY(s);
    window->ids[window->count++] = id;
    struct buffer text = {0};
    s = fake_window_text(stream, tokenizer, &text);
    if (s == STATUS_OK && text.length > 0 && utf8_valid(text.data, text.length, NULL)) {
        s = buffer_append(out, text.data, text.length);
        window->count = 0;
    }
    buffer_destroy(&text);
    return s;
}

status token_stream_finish(struct token_stream *stream, const struct tokenizer *tokenizer,
                           struct buffer *out)
{
    struct buffer text = {0};
    status s = fake_window_text(stream, tokenizer, &text);
    if (s == STATUS_OK && text.length > 0) {
        s = buffer_append_text(out, "\xef\xbf\xbd");
    }
    stream->window.count = 0;
    buffer_destroy(&text);
    return s;
}

void token_stream_destroy(struct token_stream *stream)
{
    free(stream->window.ids);
    *stream = (struct token_stream){0};
}

#endif
