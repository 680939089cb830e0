/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and unpacking of messages between ranks. */
#include "run/ranks/wire.h"

#include <string.h>

static status short_message(const char *what)
{
    return status_fail(STATUS_INTERNAL, "a message between ranks ends inside %s", what);
}

static status take(struct wire_reader *reader, void *to, size_t bytes, const char *what)
{
    if (reader->length - reader->offset < bytes) {
        return short_message(what);
    }
    memcpy(to, reader->bytes + reader->offset, bytes);
    reader->offset += bytes;
    return STATUS_OK;
}

/* ---- Shards ---- */

struct record_head {
    int64_t row, position;
    uint64_t bytes, file; /* lengths; of the file's name with its NUL, 0: there is none */
    int32_t kind, unit;
};

status shard_begin(struct buffer *message)
{
    buffer_clear(message);
    return buffer_append_byte(message, SHARD_MORE);
}

status shard_append(struct buffer *message, const struct record *record)
{
    struct record_head head = {.row = record->row,
                               .position = record->position,
                               .bytes = record->bytes.length,
                               .file = record->file != NULL ? strlen(record->file) + 1 : 0,
                               .kind = (int32_t)record->kind,
                               .unit = (int32_t)record->unit};
    TRY(buffer_append(message, &head, sizeof head));
    TRY(buffer_append(message, record->file, head.file));
    return buffer_append(message, record->bytes.data, record->bytes.length);
}

/* The file's name stays in the message. */
static status take_file(struct wire_reader *reader, uint64_t length, const char **file)
{
    const char *name = reader->bytes + reader->offset;
    *file = length > 0 ? name : NULL;
    if (reader->length - reader->offset < length || (length > 0 && name[length - 1] != '\0')) {
        return short_message("a record");
    }
    reader->offset += length;
    return STATUS_OK;
}

status shard_next(struct wire_reader *reader, struct record *record, bool *more)
{
    *more = reader->offset < reader->length;
    if (!*more) {
        return STATUS_OK;
    }
    struct record_head head;
    TRY(take(reader, &head, sizeof head, "a record"));
    TRY(take_file(reader, head.file, &record->file));
    if (reader->length - reader->offset < head.bytes) {
        return short_message("a record");
    }
    if (head.kind < RECORD_JSON || head.kind > RECORD_BAD || head.unit < UNIT_LINE ||
        head.unit > UNIT_PROMPT) {
        return status_fail(STATUS_INTERNAL, "a record of kind %d in a message between ranks",
                           head.kind);
    }
    record->row = head.row;
    record->position = head.position;
    record->unit = (enum record_unit)head.unit;
    record->kind = (enum record_kind)head.kind;
    buffer_clear(&record->bytes);
    TRY(buffer_append(&record->bytes, reader->bytes + reader->offset, head.bytes));
    reader->offset += head.bytes;
    return STATUS_OK;
}

/* ---- Finished rows ---- */

status rows_append(struct buffer *message, int64_t row, const void *results, size_t length)
{
    uint64_t bytes = length;
    TRY(buffer_append(message, &row, sizeof row));
    TRY(buffer_append(message, &bytes, sizeof bytes));
    return buffer_append(message, results, length);
}

status rows_next(struct wire_reader *reader, int64_t *row, const void **results, size_t *length,
                 bool *more)
{
    *more = reader->offset < reader->length;
    if (!*more) {
        return STATUS_OK;
    }
    uint64_t bytes = 0;
    TRY(take(reader, row, sizeof *row, "a row"));
    TRY(take(reader, &bytes, sizeof bytes, "a row"));
    if (reader->length - reader->offset < bytes) {
        return short_message("a row");
    }
    *results = reader->bytes + reader->offset;
    *length = bytes;
    reader->offset += bytes;
    return STATUS_OK;
}

/* ---- Steps ---- */

enum {
    STEP_TOKENS,
    STEP_SEQUENCES,
    STEP_OUTPUTS,
    STEP_STRIDE,
    STEP_PREFILL,
    STEP_LONG_ROPE,
    STEP_DECODES,
    STEP_FIRST_HALF,
    STEP_HAS_STATES,
    STEP_HAS_TYPES,
    STEP_HEADER
};

static int longest_table(const struct batch *batch, int block_tokens)
{
    int longest = 0;
    for (int s = 0; s < batch->sequences; s++) {
        int blocks = (batch->context_length[s] + block_tokens - 1) / block_tokens;
        longest = blocks > longest ? blocks : longest;
    }
    return longest < batch->block_table_stride ? longest : batch->block_table_stride;
}

static status append_ints(struct buffer *message, const int32_t *values, int count)
{
    return buffer_append(message, values, (size_t)count * sizeof *values);
}

status step_pack(const struct batch *batch, int block_tokens, int prefill_tokens,
                 struct buffer *message)
{
    /* A block holds at least 16 positions, so no table in use is longer than this. */
    int stride = longest_table(batch, block_tokens);
    int32_t header[STEP_HEADER] = {
        [STEP_TOKENS] = batch->tokens,
        [STEP_SEQUENCES] = batch->sequences,
        [STEP_OUTPUTS] = batch->outputs,
        [STEP_STRIDE] = stride,
        [STEP_PREFILL] = prefill_tokens,
        [STEP_LONG_ROPE] = batch->long_rope != NULL,
        [STEP_DECODES] = batch->decodes,
        [STEP_FIRST_HALF] = batch->first_half,
        [STEP_HAS_STATES] = batch->state_place != NULL,
        [STEP_HAS_TYPES] = batch->token_types != NULL,
    };
    buffer_clear(message);
    TRY(append_ints(message, header, STEP_HEADER));
    TRY(append_ints(message, batch->token_ids, batch->tokens));
    TRY(append_ints(message, batch->positions, batch->tokens));
    TRY(append_ints(message, batch->query_start, batch->sequences + 1));
    TRY(append_ints(message, batch->context_length, batch->sequences));
    TRY(append_ints(message, batch->output_rows, batch->outputs));
    for (int s = 0; s < batch->sequences; s++) {
        TRY(append_ints(message, batch->block_table + (size_t)s * (size_t)batch->block_table_stride,
                        stride));
    }
    if (batch->state_place != NULL) {
        TRY(append_ints(message, batch->state_place, batch->sequences));
        TRY(append_ints(message, batch->state_from != NULL ? batch->state_from : batch->state_place,
                        batch->sequences));
    }
    if (batch->long_rope != NULL) {
        TRY(buffer_append(message, batch->long_rope, (size_t)batch->sequences));
    }
    if (batch->token_types != NULL) {
        TRY(buffer_append(message, batch->token_types, (size_t)batch->tokens));
    }
    return STATUS_OK;
}

status step_unpack(const void *message, size_t length, struct batch *batch, int *prefill_tokens)
{
    const int32_t *header = message;
    if (length < STEP_HEADER * sizeof(int32_t)) {
        return short_message("a step");
    }
    /* Counts that a message of this length can hold, so that the sums below do not overflow. */
    for (int i = 0; i <= STEP_STRIDE; i++) {
        if (header[i] < 0 || (size_t)header[i] > length) {
            return short_message("a step");
        }
    }
    size_t tokens = (size_t)header[STEP_TOKENS], sequences = (size_t)header[STEP_SEQUENCES];
    size_t outputs = (size_t)header[STEP_OUTPUTS], stride = (size_t)header[STEP_STRIDE];
    if (header[STEP_DECODES] < 0 || header[STEP_DECODES] > header[STEP_SEQUENCES] ||
        header[STEP_FIRST_HALF] < 0 || header[STEP_FIRST_HALF] > header[STEP_SEQUENCES]) {
        return short_message("a step");
    }
    if (sequences > 0 && stride > length / sequences) {
        return short_message("a step");
    }
    size_t tables = STEP_HEADER + 2 * tokens + 2 * sequences + 1 + outputs + sequences * stride;
    size_t ints = tables + (header[STEP_HAS_STATES] ? 2 * sequences : 0);
    size_t ropes = header[STEP_LONG_ROPE] ? sequences : 0;
    size_t types = header[STEP_HAS_TYPES] ? tokens : 0;
    if (length != ints * sizeof(int32_t) + ropes + types) {
        return short_message("a step");
    }
    const int32_t *next = header + STEP_HEADER;
    *batch = (struct batch){
        .tokens = header[STEP_TOKENS],
        .sequences = header[STEP_SEQUENCES],
        .outputs = header[STEP_OUTPUTS],
        .token_ids = next,
        .positions = next + tokens,
        .query_start = next + 2 * tokens,
        .context_length = next + 2 * tokens + sequences + 1,
        .output_rows = next + 2 * tokens + 2 * sequences + 1,
        .block_table = next + 2 * tokens + 2 * sequences + 1 + outputs,
        .block_table_stride = header[STEP_STRIDE],
        .state_place = header[STEP_HAS_STATES] ? header + tables : NULL,
        .state_from = header[STEP_HAS_STATES] ? header + tables + sequences : NULL,
        .long_rope = header[STEP_LONG_ROPE] ? (const uint8_t *)(header + ints) : NULL,
        .token_types = header[STEP_HAS_TYPES] ? (const uint8_t *)(header + ints) + ropes : NULL,
        .decodes = header[STEP_DECODES],
        .first_half = header[STEP_FIRST_HALF],
    };
    *prefill_tokens = header[STEP_PREFILL];
    return STATUS_OK;
}
