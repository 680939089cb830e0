/* SPDX-License-Identifier: Apache-2.0 */
/* Which stream of random numbers a row draws from: sluice/data.h has the rule. */
#include "sluice/data.h"

/* Streams of row numbers lie below 2^63 - 1, those of ids from 2^63 on: none is another's. */
static const uint64_t own_seed_stream = INT64_MAX;
static const uint64_t id_streams = (uint64_t)1 << 63;

uint64_t random_stream(const struct row *row, const int32_t *tokens, size_t count)
{
    if (row->params.seed_is_own) {
        return own_seed_stream;
    }
    if (!row->has_id) {
        return (uint64_t)row->index;
    }
    uint64_t id = hash_bytes(row->id, row->id_length, 0);
    return id_streams | hash_bytes(tokens, count * sizeof *tokens, id);
}

bool random_stream_has_id(uint64_t stream)
{
    return stream >= id_streams;
}
