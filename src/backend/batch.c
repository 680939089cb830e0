/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of a batch: what a caller got wrong is told before a kernel reads past its arrays. */
#include "backend/batch.h"

static status check_sequence(const struct batch *batch, int sequence)
{
    const int first = batch->query_start[sequence], last = batch->query_start[sequence + 1];
    if (first >= last || last > batch->tokens) {
        return status_fail(STATUS_INTERNAL, "step: sequence %d has tokens %d to %d of %d", sequence,
                           first, last, batch->tokens);
    }
    for (int token = first; token < last; token++) {
        if (batch->positions[token] < 0 ||
            batch->positions[token] != batch->context_length[sequence] - (last - token)) {
            return status_fail(
                STATUS_INTERNAL, "step: sequence %d: token %d stands at position %d, context %d",
                sequence, token, batch->positions[token], batch->context_length[sequence]);
        }
    }
    return STATUS_OK;
}

status batch_check(const struct batch *batch, int max_tokens, int max_sequences)
{
    if (batch->tokens < 1 || batch->tokens > max_tokens || batch->sequences < 1 ||
        batch->sequences > max_sequences || batch->outputs < 0 || batch->outputs > max_sequences ||
        batch->query_start[0] != 0 || batch->query_start[batch->sequences] != batch->tokens) {
        return status_fail(
            STATUS_INTERNAL, "step of %d tokens, %d sequences, %d outputs; made for %d and %d",
            batch->tokens, batch->sequences, batch->outputs, max_tokens, max_sequences);
    }
    for (int s = 0; s < batch->sequences; s++) {
        TRY(check_sequence(batch, s));
    }
    int before = -1;
    for (int i = 0; i < batch->outputs; i++) {
        if (batch->output_rows[i] <= before || batch->output_rows[i] >= batch->tokens) {
            return status_fail(STATUS_INTERNAL, "step: output row %d after %d, of %d tokens",
                               batch->output_rows[i], before, batch->tokens);
        }
        before = batch->output_rows[i];
    }
    return STATUS_OK;
}

status batch_check_drawn(const struct batch *batch, int drawn)
{
    for (int token = 0; token < batch->tokens; token++) {
        const int32_t id = batch->token_ids[token];
        if (id < 0 && batch_drawn(id) >= drawn) {
            return status_fail(STATUS_INTERNAL,
                               "step: token %d is output %d of the step before, which drew %d",
                               token, batch_drawn(id), drawn);
        }
    }
    return STATUS_OK;
}

status batch_check_blocks(const struct batch *batch, int block_tokens, int blocks)
{
    for (int s = 0; s < batch->sequences; s++) {
        const int used = (batch->context_length[s] - 1) / block_tokens + 1;
        const int32_t *table = batch->block_table + (size_t)s * (size_t)batch->block_table_stride;
        if (used > batch->block_table_stride) {
            return status_fail(STATUS_INTERNAL, "step: sequence %d needs %d KV blocks, has %d", s,
                               used, batch->block_table_stride);
        }
        for (int i = 0; i < used; i++) {
            if (table[i] < 0 || table[i] >= blocks) {
                return status_fail(STATUS_INTERNAL, "step: KV block %d of %d", table[i], blocks);
            }
        }
    }
    return STATUS_OK;
}
