/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of a tile of queries, causal or over the whole context, over the paged key/value cache:
 * soft-max on line (Milakov and Gimelshein, arXiv 1805.02867) over chunks of 128 positions that lie
 * at fixed positions, so that a query's bits follow from its own context, however many queries
 * share the tile.
 *
 * Keys stand transposed in groups of 16 positions, so that 16 scores form in one vector. Where a
 * position has one row for both, its score is summed along the row: by lanes, then as a tree.
 * Memory beyond a row's own positions is read with its group but never enters its result. */
#include "backend/cpu/kernels/declare.h"
#include "backend/cpu/kernels/vector.h"

#include <math.h>

enum {
    BLOCK_ROWS = VECTOR_LANES >= 8 ? 6 : 3,
    WIDE = VECTOR_LANES == 16 ? 4 : 1, /* groups of 16 that fit beside BLOCK_ROWS rows */
};

/* One chunk as the blocks below see it. */
struct chunk {
    const char *keys[CHUNK_GROUPS], *values[CHUNK_GROUPS];
    int first_group, last_group; /* groups in use: [first, last) */
};

/* What a tile carries from chunk to chunk, in its scratch. */
struct rows_state {
    float *query;   /* [rows][padded_dim] */
    float *sum;     /* [rows][padded_dim]: weighted sum of values so far */
    float *weight;  /* [rows][ATTENTION_CHUNK]: scores, then exponentials */
    float *total;   /* [rows][16]: sum of exponentials, by lane */
    float *largest; /* [rows] */
};

ALWAYS_INLINE vec cached(const char *from, size_t index, const bool bfloat16)
{
    return bfloat16 ? vec_load_bfloat16((const uint16_t *)from + index)
                    : vec_load((const float *)from + index);
}

/* weight[r][16 · g ..] = query[r] · keys of groups [group, group + groups). */
ALWAYS_INLINE void score_block(const struct attention_tile *tile, const struct chunk *chunk,
                               const struct rows_state *state, int first_row, int group,
                               const int rows, const int groups, const bool bfloat16)
{
    vec sum[BLOCK_ROWS][WIDE][GROUP_VECTORS];
    const size_t stride = (size_t)tile->padded_dim;
    const float *query = state->query + (size_t)first_row * stride;
    float *out = state->weight + (size_t)first_row * ATTENTION_CHUNK + group * GROUP;
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int g = 0; g < groups; g++)
        {
            UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
            {
                sum[r][g][i] = vec_set(0.0f);
            }
        }
    }
    for (int d = 0; d < tile->head_dim; d++) {
        UNROLL for (int g = 0; g < groups; g++)
        {
            /* The values of the same positions, wanted next, come near meanwhile. */
            __builtin_prefetch(chunk->values[group + g] + (size_t)d * GROUP * (bfloat16 ? 2 : 4));
            UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
            {
                vec key = cached(chunk->keys[group + g], (size_t)(d * GROUP + i * VECTOR_LANES),
                                 bfloat16);
                UNROLL for (int r = 0; r < rows; r++)
                {
                    vec x = vec_set(query[(size_t)r * stride + (size_t)d]);
                    sum[r][g][i] = vec_fma(x, key, sum[r][g][i]);
                }
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int g = 0; g < groups; g++)
        {
            UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
            {
                vec_store(out + r * ATTENTION_CHUNK + g * GROUP + i * VECTOR_LANES, sum[r][g][i]);
            }
        }
    }
}

/* sum[r][columns] += weight[r][j] · value of position j, for j in [first, last) of the chunk, over
 * `wide` groups of 16 columns from `column`. */
ALWAYS_INLINE void value_block(const struct attention_tile *tile, const struct chunk *chunk,
                               const struct rows_state *state, int first_row, int first, int last,
                               int column, const int rows, const int wide, const bool bfloat16)
{
    vec sum[BLOCK_ROWS][WIDE][GROUP_VECTORS];
    const size_t stride = (size_t)tile->padded_dim;
    const size_t row_bytes = stride * (bfloat16 ? 2 : 4);
    const float *weight = state->weight + (size_t)first_row * ATTENTION_CHUNK;
    float *to = state->sum + (size_t)first_row * stride + column;
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int g = 0; g < wide; g++)
        {
            UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
            {
                sum[r][g][i] = vec_load(to + (size_t)r * stride + g * GROUP + i * VECTOR_LANES);
            }
        }
    }
    for (int j = first; j < last;) {
        const int end = (j / GROUP + 1) * GROUP < last ? (j / GROUP + 1) * GROUP : last;
        const char *at = chunk->values[j / GROUP] + (size_t)(j % GROUP) * row_bytes;
        for (; j < end; j++, at += row_bytes) {
            UNROLL for (int g = 0; g < wide; g++)
            {
                UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
                {
                    vec value =
                        cached(at, (size_t)(column + g * GROUP + i * VECTOR_LANES), bfloat16);
                    UNROLL for (int r = 0; r < rows; r++)
                    {
                        vec x = vec_set(weight[r * ATTENTION_CHUNK + j]);
                        sum[r][g][i] = vec_fma(x, value, sum[r][g][i]);
                    }
                }
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int g = 0; g < wide; g++)
        {
            UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
            {
                vec_store(to + (size_t)r * stride + g * GROUP + i * VECTOR_LANES, sum[r][g][i]);
            }
        }
    }
}

/* The same of keys that are the values' rows, `wide` positions at a time. */
ALWAYS_INLINE void score_along(const struct attention_tile *tile, const struct chunk *chunk,
                               const struct rows_state *state, int first_row, int group,
                               const int rows, const int wide, const bool bfloat16)
{
    const size_t stride = (size_t)tile->padded_dim;
    const size_t row_bytes = stride * (bfloat16 ? 2 : 4);
    const float *query = state->query + (size_t)first_row * stride;
    float *out = state->weight + (size_t)first_row * ATTENTION_CHUNK + group * GROUP;
    for (int position = 0; position < GROUP; position += wide) {
        const char *key = chunk->values[group] + (size_t)position * row_bytes;
        vec sum[BLOCK_ROWS][WIDE][GROUP_VECTORS];
        UNROLL for (int r = 0; r < rows; r++)
        {
            UNROLL for (int p = 0; p < wide; p++)
            {
                UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
                {
                    sum[r][p][i] = vec_set(0.0f);
                }
            }
        }
        for (size_t d = 0; d < stride; d += GROUP) {
            UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
            {
                const size_t at = d + (size_t)(i * VECTOR_LANES);
                UNROLL for (int p = 0; p < wide; p++)
                {
                    vec value = cached(key + (size_t)p * row_bytes, at, bfloat16);
                    UNROLL for (int r = 0; r < rows; r++)
                    {
                        sum[r][p][i] =
                            vec_fma(vec_load(query + (size_t)r * stride + at), value, sum[r][p][i]);
                    }
                }
            }
        }
        UNROLL for (int r = 0; r < rows; r++)
        {
            UNROLL for (int p = 0; p < wide; p++)
            {
                out[r * ATTENTION_CHUNK + position + p] = group_sum(sum[r][p]);
            }
        }
    }
}

ALWAYS_INLINE void score_rows(const struct attention_tile *tile, const struct chunk *chunk,
                              const struct rows_state *state, int first_row, const int rows,
                              const bool bfloat16)
{
    int group = chunk->first_group;
    for (; tile->keys == NULL && group < chunk->last_group; group++) {
        score_along(tile, chunk, state, first_row, group, rows, WIDE, bfloat16);
    }
    for (; WIDE > 1 && group + WIDE <= chunk->last_group; group += WIDE) {
        score_block(tile, chunk, state, first_row, group, rows, WIDE, bfloat16);
    }
    for (; group < chunk->last_group; group++) {
        score_block(tile, chunk, state, first_row, group, rows, 1, bfloat16);
    }
}

ALWAYS_INLINE void value_rows(const struct attention_tile *tile, const struct chunk *chunk,
                              const struct rows_state *state, int first_row, int first, int last,
                              const int rows, const bool bfloat16)
{
    const int columns = (tile->value_dim + GROUP - 1) / GROUP * GROUP;
    int column = 0;
    for (; WIDE > 1 && column + WIDE * GROUP <= columns; column += WIDE * GROUP) {
        value_block(tile, chunk, state, first_row, first, last, column, rows, WIDE, bfloat16);
    }
    for (; column < columns; column += GROUP) {
        value_block(tile, chunk, state, first_row, first, last, column, rows, 1, bfloat16);
    }
}

#define ATTENTION_FOR_ROWS(rows)                                                                   \
    static void score_##rows(const struct attention_tile *tile, const struct chunk *chunk,         \
                             const struct rows_state *state, int first_row)                        \
    {                                                                                              \
        if (tile->bfloat16) {                                                                      \
            score_rows(tile, chunk, state, first_row, rows, true);                                 \
        } else {                                                                                   \
            score_rows(tile, chunk, state, first_row, rows, false);                                \
        }                                                                                          \
    }                                                                                              \
    static void value_##rows(const struct attention_tile *tile, const struct chunk *chunk,         \
                             const struct rows_state *state, int first_row, int first, int last)   \
    {                                                                                              \
        if (tile->bfloat16) {                                                                      \
            value_rows(tile, chunk, state, first_row, first, last, rows, true);                    \
        } else {                                                                                   \
            value_rows(tile, chunk, state, first_row, first, last, rows, false);                   \
        }                                                                                          \
    }

ATTENTION_FOR_ROWS(1)
ATTENTION_FOR_ROWS(2)
ATTENTION_FOR_ROWS(3)
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
ATTENTION_FOR_ROWS(4)
ATTENTION_FOR_ROWS(5)
ATTENTION_FOR_ROWS(6)
#endif

typedef void score_function(const struct attention_tile *, const struct chunk *,
                            const struct rows_state *, int first_row);
typedef void value_function(const struct attention_tile *, const struct chunk *,
                            const struct rows_state *, int first_row, int first, int last);

static score_function *const score_for_rows[BLOCK_ROWS + 1] = {
    NULL,    score_1, score_2, score_3,
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
    score_4, score_5, score_6,
#endif
};
static value_function *const value_for_rows[BLOCK_ROWS + 1] = {
    NULL,    value_1, value_2, value_3,
#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
    value_4, value_5, value_6,
#endif
};

/* Positions of the chunk at `base` that row `row` sees: [*first, *last), relative to the chunk. */
ALWAYS_INLINE void visible(const struct attention_tile *tile, int row, int base, int *first,
                           int *last)
{
    const int position = tile->first_position + row / tile->heads;
    const int oldest =
        tile->window > 0 && position >= tile->window ? position - tile->window + 1 : 0;
    *first = oldest > base ? oldest - base : 0;
    if (tile->context > 0) {
        const int end = tile->window > 0 && position + tile->window < tile->context
                            ? position + tile->window
                            : tile->context;
        *last = end < base + ATTENTION_CHUNK ? end - base : ATTENTION_CHUNK;
        return;
    }
    *last = position + 1 < base + ATTENTION_CHUNK ? position + 1 - base : ATTENTION_CHUNK;
}

/* Scores of one row become exponentials of their distance to the largest so far, 0 where the row
 * does not see; what was summed before is rescaled to it. */
static void soften_row(const struct attention_tile *tile, const struct chunk *chunk,
                       const struct rows_state *state, int row, int base, int first, int last)
{
    const float *bias = NULL; /* of this row's position, by places of the chunk */
    if (tile->bias != NULL) {
        bias = tile->bias + (size_t)tile->head[row % tile->heads] * tile->bias_stride + base -
               (tile->first_position + row / tile->heads);
    }
    vec_int lane;
    int32_t lanes[VECTOR_LANES];
    for (int i = 0; i < VECTOR_LANES; i++) {
        lanes[i] = i;
    }
    memcpy(&lane, lanes, sizeof lane);

    float *weight = state->weight + (size_t)row * ATTENTION_CHUNK;
    const int begin = chunk->first_group * GROUP, end = chunk->last_group * GROUP;
    vec largest = vec_set(-INFINITY);
    for (int j = begin; j < end; j += VECTOR_LANES) {
        vec x = vec_load(weight + j) * vec_set(tile->scale);
        if (tile->soft_cap > 0.0f) {
            x = vec_set(tile->soft_cap) * vec_tanh(x / vec_set(tile->soft_cap));
        }
        if (bias != NULL) {
            x = x + vec_load(bias + j);
        }
        vec_int seen = (vec_int)(lane >= first - j) & (vec_int)(lane < last - j);
        x = vec_select(seen, x, vec_set(-INFINITY));
        vec_store(weight + j, x);
        largest = vec_max(largest, x);
    }
    float peaks[VECTOR_LANES];
    vec_store(peaks, largest);
    const float before = state->largest[row];
    float now = before;
    for (int i = 0; i < VECTOR_LANES; i++) {
        now = now > peaks[i] ? now : peaks[i];
    }
    state->largest[row] = now;

    const vec factor = vec_exp(vec_set(before) - vec_set(now));
    vec total[GROUP_VECTORS];
    float *totals = state->total + (size_t)row * GROUP;
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        total[i] = vec_load(totals + i * VECTOR_LANES) * factor;
    }
    for (int j = begin; j < end; j += GROUP) {
        UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
        {
            vec x = vec_exp(vec_load(weight + j + i * VECTOR_LANES) - vec_set(now));
            vec_store(weight + j + i * VECTOR_LANES, x);
            total[i] += x;
        }
    }
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        vec_store(totals + i * VECTOR_LANES, total[i]);
    }
    float *sum = state->sum + (size_t)row * (size_t)tile->padded_dim;
    for (int i = 0; i < tile->padded_dim; i += VECTOR_LANES) {
        vec_store(sum + i, vec_load(sum + i) * factor);
    }
}

/* Values of the positions that all of `rows` rows see are added together, the ragged ends row by
 * row; each row takes its own positions in ascending order and no others. */
static void add_values(const struct attention_tile *tile, const struct chunk *chunk,
                       const struct rows_state *state, int first_row, int rows, int base)
{
    int first, last;
    int common_first = 0, common_last = ATTENTION_CHUNK;
    for (int row = first_row; row < first_row + rows; row++) {
        visible(tile, row, base, &first, &last);
        common_first = first > common_first ? first : common_first;
        common_last = last < common_last ? last : common_last;
    }
    if (common_first >= common_last) {
        for (int row = first_row; row < first_row + rows; row++) {
            visible(tile, row, base, &first, &last);
            if (first < last) {
                value_1(tile, chunk, state, row, first, last);
            }
        }
        return;
    }
    for (int row = first_row; row < first_row + rows; row++) {
        visible(tile, row, base, &first, &last);
        if (first < common_first) {
            value_1(tile, chunk, state, row, first, common_first);
        }
    }
    value_for_rows[rows](tile, chunk, state, first_row, common_first, common_last);
    for (int row = first_row; row < first_row + rows; row++) {
        visible(tile, row, base, &first, &last);
        if (last > common_last) {
            value_1(tile, chunk, state, row, common_last, last);
        }
    }
}

static void attend_chunk(const struct attention_tile *tile, const struct rows_state *state,
                         int rows, int base, int first, int last)
{
    struct chunk chunk = {.first_group = first / GROUP, .last_group = (last + GROUP - 1) / GROUP};
    const size_t value_bytes = tile->bfloat16 ? 2 : 4;
    for (int g = chunk.first_group; g < chunk.last_group; g++) {
        const int position = base + g * GROUP;
        const size_t block = (size_t)tile->blocks[position / tile->block_tokens];
        const size_t within = (size_t)(position % tile->block_tokens);
        if (tile->keys != NULL) {
            chunk.keys[g] = tile->keys + block * tile->key_block_bytes +
                            within * (size_t)tile->head_dim * value_bytes;
        }
        chunk.values[g] = tile->values + block * tile->value_block_bytes +
                          within * (size_t)tile->padded_dim * value_bytes;
    }
    for (int row = 0; row < rows; row += BLOCK_ROWS) {
        score_for_rows[rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS](tile, &chunk, state, row);
    }
    for (int row = 0; row < rows; row++) {
        int row_first, row_last;
        visible(tile, row, base, &row_first, &row_last);
        if (row_first < row_last) {
            soften_row(tile, &chunk, state, row, base, row_first, row_last);
        }
    }
    for (int row = 0; row < rows; row += BLOCK_ROWS) {
        add_values(tile, &chunk, state, row, rows - row < BLOCK_ROWS ? rows - row : BLOCK_ROWS,
                   base);
    }
}

void CPU_KERNEL(cpu_kernel_attention)(const struct attention_tile *tile)
{
    const int rows = tile->heads * tile->tokens;
    const size_t padded = (size_t)tile->padded_dim;
    const size_t head_bytes = (size_t)tile->head_dim * sizeof(float);
    struct rows_state state = {.query = tile->scratch};
    state.sum = state.query + (size_t)ATTENTION_ROWS * padded;
    state.weight = state.sum + (size_t)ATTENTION_ROWS * padded;
    state.total = state.weight + (size_t)ATTENTION_ROWS * ATTENTION_CHUNK;
    state.largest = state.total + (size_t)ATTENTION_ROWS * GROUP;

    for (int row = 0; row < rows; row++) {
        const size_t token = (size_t)(row / tile->heads);
        const size_t head = (size_t)tile->head[row % tile->heads];
        memcpy(state.query + (size_t)row * padded,
               tile->queries + token * tile->query_stride + head * (size_t)tile->head_dim,
               head_bytes);
        memset(state.query + (size_t)row * padded + tile->head_dim, 0,
               padded * sizeof(float) - head_bytes); /* beside what pads a key's row */
        state.largest[row] = tile->sinks != NULL ? tile->sinks[head] : -INFINITY;
    }
    memset(state.sum, 0, (size_t)rows * padded * sizeof(float));
    memset(state.total, 0, (size_t)rows * GROUP * sizeof(float));
    for (int row = 0; tile->sinks != NULL && row < rows; row++) {
        state.total[row * GROUP] = 1.0f; /* a sink is a first position that has no value */
    }

    const int oldest = tile->window > 0 && tile->first_position >= tile->window
                           ? tile->first_position - tile->window + 1
                           : 0;
    int end = tile->context > 0 ? tile->context : tile->first_position + tile->tokens;
    if (tile->context > 0 && tile->window > 0 &&
        tile->first_position + tile->tokens - 1 + tile->window < end) {
        end = tile->first_position + tile->tokens - 1 + tile->window;
    }
    for (int base = oldest / ATTENTION_CHUNK * ATTENTION_CHUNK; base < end;
         base += ATTENTION_CHUNK) {
        const int first = oldest > base ? oldest - base : 0;
        const int last = end - base < ATTENTION_CHUNK ? end - base : ATTENTION_CHUNK;
        attend_chunk(tile, &state, rows, base, first, last);
    }

    for (int row = 0; row < rows; row++) {
        vec total[GROUP_VECTORS];
        UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
        {
            total[i] = vec_load(state.total + row * GROUP + i * VECTOR_LANES);
        }
        const vec sum = vec_set(group_sum(total));
        float *values = state.sum + (size_t)row * padded;
        for (int i = 0; i < tile->padded_dim; i += VECTOR_LANES) {
            vec_store(values + i, vec_load(values + i) / sum);
        }
        memcpy(tile->out + (size_t)(row / tile->heads) * tile->out_stride +
                   (size_t)tile->head[row % tile->heads] * (size_t)tile->value_dim,
               values, (size_t)tile->value_dim * sizeof(float));
    }
}
