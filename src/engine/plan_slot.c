/* SPDX-License-Identifier: Apache-2.0 */
/* From the sequences of a step to its arrays. */
#include "engine/plan_slot.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

status slot_create(struct plan_slot *slot, const struct engine_options *options)
{
    size_t sequences = (size_t)options->max_sequences;
    size_t tokens = (size_t)options->max_batch_tokens;
    slot->sequences = calloc(sequences, sizeof(struct sequence *));
    slot->first = calloc(sequences, sizeof *slot->first);
    slot->chunks = calloc(sequences, sizeof *slot->chunks);
    slot->outputs = calloc(sequences, sizeof *slot->outputs);
    slot->draws = calloc(sequences, sizeof *slot->draws);
    slot->is_late = calloc(sequences, sizeof *slot->is_late);
    slot->is_void = calloc(sequences, sizeof *slot->is_void);
    slot->token_ids = calloc(tokens, sizeof *slot->token_ids);
    slot->positions = calloc(tokens, sizeof *slot->positions);
    slot->query_start = calloc(sequences + 1, sizeof *slot->query_start);
    slot->context_length = calloc(sequences, sizeof *slot->context_length);
    slot->output_rows = calloc(sequences, sizeof *slot->output_rows);
    slot->long_rope = calloc(sequences, sizeof *slot->long_rope);
    slot->token_types = calloc(tokens, sizeof *slot->token_types);
    slot->state_place = calloc(sequences, sizeof *slot->state_place);
    slot->state_from = calloc(sequences, sizeof *slot->state_from);
    slot->step.requests = calloc(sequences, sizeof *slot->step.requests);
    slot->mask_outputs = calloc(sequences, sizeof *slot->mask_outputs);
    slot->acceptances = calloc(sequences, sizeof *slot->acceptances);
    size_t width = (size_t)options->embedding_width;
    slot->step.embeddings = width > 0 ? calloc(sequences * width, sizeof(float)) : NULL;
    bool created =
        slot->sequences != NULL && slot->chunks != NULL && slot->outputs != NULL &&
        (width == 0 || slot->step.embeddings != NULL) && slot->token_ids != NULL &&
        slot->positions != NULL && slot->query_start != NULL && slot->context_length != NULL &&
        slot->output_rows != NULL && slot->long_rope != NULL && slot->token_types != NULL &&
        slot->state_place != NULL && slot->state_from != NULL && slot->step.requests != NULL &&
        slot->mask_outputs != NULL && slot->acceptances != NULL && slot->first != NULL &&
        slot->draws != NULL && slot->is_late != NULL && slot->is_void != NULL;
    return created ? STATUS_OK
                   : status_fail(STATUS_NO_MEMORY, "out of memory for the plan of a step");
}

void slot_destroy(struct plan_slot *slot)
{
    free(slot->sequences);
    free(slot->first);
    free(slot->chunks);
    free(slot->outputs);
    free(slot->draws);
    free(slot->is_late);
    free(slot->is_void);
    free(slot->step.embeddings);
    free(slot->token_ids);
    free(slot->positions);
    free(slot->query_start);
    free(slot->context_length);
    free(slot->output_rows);
    free(slot->long_rope);
    free(slot->token_types);
    free(slot->state_place);
    free(slot->state_from);
    free(slot->step.requests);
    free(slot->mask_outputs);
    for (size_t i = 0; i < slot->accepting.count; i++) { /* of a step that failed */
        free(((struct acceptance *)slot->accepting.items[i])->message);
    }
    free(slot->acceptances);
    team_batch_destroy(&slot->masks);
    team_batch_destroy(&slot->accepting);
    free(slot->block_table);
}

void slot_add(struct plan_slot *slot, struct sequence *sequence, int chunk)
{
    const int reached = sequence_reached(sequence), end = reached + chunk;
    const int first = sequence_first_output(sequence);
    assert(chunk > 0 && end <= sequence_known(sequence) && reached <= first);
    const int outputs = end > first ? end - first : 0, at = slot->count++;
    const bool draws = sequence->row->work == WORK_SAMPLE && end == sequence_known(sequence);
    slot->sequences[at] = sequence;
    slot->first[at] = reached;
    slot->chunks[at] = chunk;
    slot->outputs[at] = outputs;
    slot->draws[at] = draws;
    slot->is_late[at] = end > sequence->count;
    slot->is_void[at] = false;
    slot->step.batch.tokens += chunk;
    slot->step.batch.outputs += outputs;
    sequence->open_steps++;
    sequence->under_way += chunk;
    sequence->to_come += draws;
    sequence->asked += outputs;
    sequence->joining = chunk;
    sequence->joining_draws = draws;
}

void slot_open(struct plan_slot *slot)
{
    for (int i = 0; i < slot->count; i++) {
        slot->sequences[i]->joining = slot->sequences[i]->joining_draws = 0;
    }
    slot->open = true;
}

void slot_close(struct plan_slot *slot)
{
    for (int i = 0; i < slot->count; i++) {
        struct sequence *sequence = slot->sequences[i];
        assert(sequence->open_steps > 0);
        sequence->open_steps--;
        sequence->under_way -= slot->chunks[i];
        sequence->to_come -= slot->draws[i];
        sequence->asked -= slot->is_void[i] ? 0 : slot->outputs[i];
        sequence->computed += slot->chunks[i];
    }
}

static status fill_block_table(struct plan_slot *slot, const struct engine_options *options)
{
    struct batch *batch = &slot->step.batch;
    int stride = 0;
    for (int i = 0; i < slot->count; i++) {
        int blocks = (slot->context_length[i] - 1) / options->kv_block_tokens + 1;
        stride = blocks > stride ? blocks : stride;
    }
    void *table = slot->block_table;
    size_t entries = (size_t)stride * (size_t)slot->count;
    status s = array_grow(&table, &slot->block_table_capacity, entries, sizeof *slot->block_table);
    slot->block_table = table;
    TRY(s);
    for (int i = 0; i < slot->count; i++) {
        int32_t *entry = slot->block_table + (size_t)i * (size_t)stride;
        int blocks = (slot->context_length[i] - 1) / options->kv_block_tokens + 1;
        assert(blocks <= slot->sequences[i]->block_count);
        memcpy(entry, slot->sequences[i]->blocks, (size_t)blocks * sizeof *entry);
        /* A valid block also where nothing may be read, for kernels that load whole rows. */
        memset(entry + blocks, 0, (size_t)(stride - blocks) * sizeof *entry);
    }
    batch->block_table = slot->block_table;
    batch->block_table_stride = stride;
    return STATUS_OK;
}

/* Of output `index` of the sequence in this step, whose logits are those of position `at`. */
static void fill_request(const struct sequence *sequence, int index, int at,
                         struct sample_request *request)
{
    const struct engine_row *row = sequence->row;
    if (row->work == WORK_READ) {
        int scored = sequence->scored + index;
        *request = (struct sample_request){.params = &row->params.sampling,
                                           .is_scored = true,
                                           .scored = row->prompt[row->first_scored + scored],
                                           .sample = sequence->sample,
                                           .position = scored};
        return;
    }
    if (at < sequence->count - 1) { /* the next token is there: it was not drawn */
        *request = (struct sample_request){.params = &row->params.sampling,
                                           .is_scored = true,
                                           .scored = sequence->tokens[at + 1],
                                           .sample = sequence->sample,
                                           .position = at + 1 - row->prompt_count};
        return;
    }
    *request = (struct sample_request){
        .params = &row->params.sampling,
        .sample = sequence->sample,
        .position = at + 1 - row->prompt_count,
        .history = row->needs_history ? sequence->tokens : NULL,
        .history_count = row->needs_history ? at + 1 : 0,
        .prompt_count = row->needs_history ? row->prompt_count : 0,
    };
    processors_apply(&row->processors, request);
}

static void compute_mask(void *constraint)
{
    constraint_mask(constraint);
}

/* The mask of a sequence whose grammar says what may be drawn as output `output` of the step. */
static status add_mask(struct plan_slot *slot, const struct sequence *sequence, int output)
{
    struct sample_request *request = &slot->step.requests[output];
    if (sequence->constraint == NULL || sequence->is_ending || request->is_scored) {
        return STATUS_OK;
    }
    if (sequence->constraint->has_mask) {
        constraint_set_mask(sequence->constraint, request);
        return STATUS_OK;
    }
    slot->mask_outputs[slot->masks.count] = output;
    return team_batch_add(&slot->masks, sequence->constraint);
}

/* What comes of its output is not asked for any more. */
static void discard_output(struct plan_slot *slot, int i)
{
    slot->is_void[i] = true;
    slot->sequences[i]->asked -= slot->outputs[i];
}

static void settle(struct plan_slot *slot, int i, const struct engine_options *options)
{
    struct sequence *sequence = slot->sequences[i];
    const bool is_other = sequence->computed < slot->first[i];
    const bool is_followed = sequence->count > slot->first[i] + 1;
    const bool is_stale = sequence_wants_long_rope(sequence, options) != sequence->long_rope;
    if (!is_other && !is_followed) {
        return;
    }
    sequence->to_come -= slot->draws[i];
    slot->draws[i] = false;
    if (is_other) {
        sequence->under_way -= slot->chunks[i];
        slot->chunks[i] = 0;
    }
    if (is_other || is_stale || sequence->row->params.sampling.logprobs < 0) {
        discard_output(slot, i); /* else it is what the first token that follows is scored by */
    }
}

void slot_settle(struct plan_slot *slot, const struct engine_options *options)
{
    for (int i = 0; i < slot->count; i++) {
        if (slot->is_late[i] && !slot->sequences[i]->is_over) {
            assert(slot->outputs[i] == 1 && slot->chunks[i] == 1);
            settle(slot, i, options);
        }
    }
}

status slot_fill_late(struct plan_slot *slot)
{
    slot->masks.count = 0;
    for (int i = 0, output = 0; i < slot->count; output += slot->outputs[i++]) {
        const struct sequence *sequence = slot->sequences[i];
        struct sample_request *request = &slot->step.requests[output];
        if (!slot->is_late[i]) {
            continue;
        }
        slot->is_late[i] = false;
        if (sequence->is_over || slot->is_void[i]) { /* whatever is drawn is nothing */
            *request = (struct sample_request){.params = &sequence->row->params.sampling};
        } else {
            fill_request(sequence, 0, slot->first[i], request);
            TRY(add_mask(slot, sequence, output));
        }
    }
    return STATUS_OK;
}

/* The border between sequences that lies nearest to half of the step's tokens; 0 where one of the
 * halves would be too small to be worth it. */
static int first_half(const struct plan_slot *slot, const struct engine_options *options)
{
    const int tokens = slot->step.batch.tokens, least = options->half_tokens;
    int best = 0;
    for (int i = 1; least > 0 && i < slot->count; i++) {
        int before = slot->query_start[i], other = slot->query_start[best];
        bool fits = before >= least && tokens - before >= least;
        best = fits && (best == 0 || abs(2 * before - tokens) < abs(2 * other - tokens)) ? i : best;
    }
    return best;
}

/* Of sequence `i` of the step, from the step's token `token` on. */
static void fill_tokens(struct plan_slot *slot, int i, int token)
{
    const struct sequence *sequence = slot->sequences[i];
    for (int j = 0; j < slot->chunks[i]; j++) {
        const int at = slot->first[i] + j;
        slot->token_ids[token + j] =
            at < sequence->count ? sequence->tokens[at] : batch_drawn(sequence->drawn_as);
        slot->positions[token + j] = at;
    }
}

/* Of sequence `i` of the step, whose tokens are there, from the step's output `output` on. */
static status fill_outputs(struct plan_slot *slot, int i, int output)
{
    struct sequence *sequence = slot->sequences[i];
    const int outputs = slot->outputs[i];
    const int from = slot->chunks[i] - outputs; /* of its tokens in the step */
    for (int j = 0; j < outputs; j++) {
        slot->output_rows[output + j] = slot->query_start[i] + from + j;
        if (!slot->is_late[i]) {
            fill_request(sequence, j, slot->first[i] + from + j, &slot->step.requests[output + j]);
            TRY(add_mask(slot, sequence, output + j));
        }
    }
    if (slot->draws[i]) {
        sequence->drawn_as = output + outputs - 1;
    }
    return STATUS_OK;
}

status slot_fill(struct plan_slot *slot, const struct engine_options *options)
{
    struct batch *batch = &slot->step.batch;
    int token = 0, output = 0;
    bool has_types = false;
    slot->masks.count = 0;
    slot->masks.work = compute_mask;
    for (int i = 0; i < slot->count; i++) {
        struct sequence *sequence = slot->sequences[i];
        const int second = sequence->row->params.second_text;
        slot->query_start[i] = token;
        fill_tokens(slot, i, token);
        for (int j = 0; j < slot->chunks[i]; j++) {
            slot->token_types[token + j] = second > 0 && slot->first[i] + j >= second;
            has_types = has_types || slot->token_types[token + j] != 0;
        }
        token += slot->chunks[i];
        slot->context_length[i] = slot->first[i] + slot->chunks[i];
        slot->long_rope[i] = sequence->long_rope;
        slot->state_place[i] = sequence->state_place;
        slot->state_from[i] = sequence->state_from;
        sequence->state_from = sequence->state_place;
        TRY(fill_outputs(slot, i, output));
        output += slot->outputs[i];
    }
    slot->query_start[slot->count] = token;
    assert(token == batch->tokens && token <= options->max_batch_tokens);
    assert(output == batch->outputs && output <= options->max_sequences);
    batch->sequences = slot->count;
    batch->token_ids = slot->token_ids;
    batch->positions = slot->positions;
    batch->token_types = has_types ? slot->token_types : NULL;
    batch->query_start = slot->query_start;
    batch->context_length = slot->context_length;
    batch->output_rows = slot->output_rows;
    batch->long_rope = options->long_rope_threshold > 0 ? slot->long_rope : NULL;
    batch->state_place = options->has_states ? slot->state_place : NULL;
    batch->state_from = options->has_states ? slot->state_from : NULL;
    batch->first_half = first_half(slot, options);
    return fill_block_table(slot, options);
}
