/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between ranks: what stands in them, and how it is packed. Used on one machine type at a
 * time: native byte order.
 *
 *   leader -> coordinator  TAG_REQUEST  int32: records wanted
 *   coordinator -> leader  TAG_SHARD    shard (below); may be empty
 *   leader -> coordinator  TAG_ROWS     finished rows (below)
 *   leader -> coordinator  TAG_LEADER_DONE  nothing: all its rows were sent
 *   leader -> coordinator  TAG_STATE    struct replica_state, about every second
 *   leader -> its replica  TAG_STEP     a step (below), or nothing: no more steps
 */
#ifndef SLUICE_RUN_WIRE_H
#define SLUICE_RUN_WIRE_H

#include "sluice/backend.h"
#include "sluice/data.h"

enum { TAG_REQUEST = 1, TAG_SHARD, TAG_ROWS, TAG_LEADER_DONE, TAG_STEP, TAG_STATE };

/* How a replica stands, since the job's start. */
struct replica_state {
    int64_t tokens;        /* computed, of prompts and answers */
    int64_t output_tokens; /* of them, those that were sampled */
    double busy_seconds;   /* in steps */
    int32_t running, waiting, kv_blocks_used, kv_blocks;
    char host[64]; /* of its leader */
};

/* A shard: a flag byte, then records one after the other. */
enum { SHARD_MORE = 0, SHARD_LAST = 1, SHARD_STOP = 2 };
status shard_begin(struct buffer *message) MUST_CHECK; /* clears; the flag is SHARD_MORE */
status shard_append(struct buffer *message, const struct record *record) MUST_CHECK;

/* Reads a packed sequence front to back; a message of this program that does not parse is
 * STATUS_INTERNAL. */
struct wire_reader {
    const char *bytes;
    size_t length, offset;
};
/* The next record; its bytes are copied into record->bytes. *more is false at the end. */
status shard_next(struct wire_reader *reader, struct record *record, bool *more) MUST_CHECK;

/* Finished rows: int64 row, uint64 length, the results' wire forms. */
status rows_append(struct buffer *message, int64_t row, const void *results,
                   size_t length) MUST_CHECK;
status rows_next(struct wire_reader *reader, int64_t *row, const void **results, size_t *length,
                 bool *more) MUST_CHECK;

/* A step: header and arrays of a batch as int32, block tables cut to the longest in use, of blocks
 * of `block_tokens` positions. */
status step_pack(const struct batch *batch, int block_tokens, int prefill_tokens,
                 struct buffer *message) MUST_CHECK;
/* The batch points into `message`, which must be aligned for int32. */
status step_unpack(const void *message, size_t length, struct batch *batch,
                   int *prefill_tokens) MUST_CHECK;

#endif
