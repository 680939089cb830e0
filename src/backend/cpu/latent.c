/* SPDX-License-Identifier: Apache-2.0 */
/* Latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1) in absorbed form: all query heads
 * read a position's one row, and a head's own products are made with queries and with what was
 * attended. One form for all positions, so that their bits know nothing of steps. */
#include <string.h>

#include "backend/cpu/cpu.h"

enum { PIECE_ROWS = 48 }; /* of a head's product that a thread does at once */

/* A product of every head with its own columns of the rows. */
struct head_products {
    const struct matrix *matrix; /* a stack [heads] */
    const float *in;             /* of head h at h · in_step */
    size_t in_stride, in_step;
    float *out;
    size_t out_stride, out_step;
};

static void run_heads(const struct cpu_backend *cpu, const struct head_products *call)
{
    const struct matrix *matrix = call->matrix;
    const int rows = cpu->rows, heads = matrix->count;
    const int pieces = (rows + PIECE_ROWS - 1) / PIECE_ROWS;
    const int threads = cpu_threads_for(cpu, (double)rows * heads * matrix->rows * matrix->columns);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < (int64_t)pieces * heads; i++) {
        const size_t head = (size_t)(i / pieces);
        const int first = (int)(i % pieces) * PIECE_ROWS;
        const struct product_call product = {.matrix = matrix,
                                             .index = (int)head,
                                             .in = call->in + head * call->in_step,
                                             .in_stride = call->in_stride,
                                             .rows = rows,
                                             .out = call->out + head * call->out_step,
                                             .out_stride = call->out_stride};
        cpu_product_rows(cpu->kernels, &product, first,
                         first + PIECE_ROWS < rows ? first + PIECE_ROWS : rows);
    }
}

static bool is_stack_of(const struct matrix *matrix, int heads, int rows, int columns)
{
    return matrix->count == heads && matrix->rows == rows && matrix->columns == columns &&
           matrix->slices == 0 && !matrix->fp8;
}

static bool fits_store(const struct kv_cache *cache, int layer, const struct latent_facts *facts)
{
    return layer >= 0 && layer < cache->layers && cache->stores[layer].is_latent &&
           cache->stores[layer].kv_heads == 1 &&
           cache->stores[layer].head_dim == facts->latent_dim + facts->rope_dim &&
           facts->heads.head_dim == facts->latent_dim + facts->rope_dim &&
           facts->heads.kv_heads == 1;
}

static status check_rope(const struct latent_facts *facts, const struct rope_facts *rope)
{
    return rope->dimensions == facts->rope_dim && rope->dimensions % 2 == 0
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "latent attention: rope of %d of %d values",
                             rope->dimensions, facts->rope_dim);
}

status cpu_latent_append(struct backend *backend, const struct latent_facts *facts,
                         const struct rope_facts *rope, const struct vector *norm,
                         struct device_buffer *latent, struct kv_cache *cache, int layer)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, width = facts->latent_dim + facts->rope_dim;
    const int half = facts->rope_dim / 2;
    float *rows = cpu_floats(latent, tokens, width);
    if (rows == NULL) {
        return STATUS_INTERNAL;
    }
    if (!fits_store(cache, layer, facts) || norm->length != facts->latent_dim) {
        return status_fail(STATUS_INTERNAL, "latent append: the cache or the norm is another");
    }
    TRY(check_rope(facts, rope));
    TRY(cpu_check_blocks(cpu, cache));
    const struct rope_table *table;
    TRY(cpu_rope_table(cpu, rope, &table));
    const struct norm_facts norm_facts = {.epsilon = facts->epsilon};
    const int threads = cpu_threads_for(cpu, 8.0 * tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        float *row = rows + (size_t)token * (size_t)width;
        const size_t at = (size_t)token * (size_t)half;
        cpu->kernels->norm(&norm_facts, row, norm->region.data, NULL, facts->latent_dim, row);
        cpu->kernels->rotate(row + facts->latent_dim, table->cosine + at, table->sine + at, half);
        cpu_round(cpu, NULL, row, (size_t)width);
        cpu_write_row(cache, &cache->stores[layer], 0, cpu_place_of(cpu, cache, token), row);
    }
    return STATUS_OK;
}

/* Rotates the rotary part of every head of a token's q and copies it behind the head's latent. */
static void rotate_heads(const struct cpu_backend *cpu, const struct latent_facts *facts,
                         const struct rope_table *table, int token, float *q, float *queries)
{
    const size_t at = (size_t)token * (size_t)(facts->rope_dim / 2);
    const size_t width = (size_t)(facts->key_dim + facts->rope_dim);
    const size_t wide = (size_t)(facts->latent_dim + facts->rope_dim);
    for (size_t h = 0; h < (size_t)facts->heads.query_heads; h++) {
        float *part = q + h * width + facts->key_dim;
        cpu->kernels->rotate(part, table->cosine + at, table->sine + at, facts->rope_dim / 2);
        memcpy(queries + h * wide + facts->latent_dim, part,
               (size_t)facts->rope_dim * sizeof *part);
    }
}

status cpu_latent_queries(struct backend *backend, const struct latent_facts *facts,
                          const struct rope_facts *rope, const struct matrix *key_up,
                          struct device_buffer *q, struct device_buffer *queries)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, heads = facts->heads.query_heads;
    const size_t width = (size_t)(facts->key_dim + facts->rope_dim);
    const size_t wide = (size_t)(facts->latent_dim + facts->rope_dim), count = (size_t)heads;
    float *from = cpu_floats(q, tokens, heads * (int)width);
    float *to = cpu_floats(queries, tokens, heads * (int)wide);
    if (from == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    if (!is_stack_of(key_up, heads, facts->latent_dim, facts->key_dim)) {
        return status_fail(STATUS_INTERNAL, "latent queries: a stack of other heads");
    }
    TRY(check_rope(facts, rope));
    const struct rope_table *table;
    TRY(cpu_rope_table(cpu, rope, &table));
    const int threads = cpu_threads_for(cpu, 4.0 * tokens * heads * (double)width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        rotate_heads(cpu, facts, table, token, from + (size_t)token * count * width,
                     to + (size_t)token * count * wide);
    }
    const struct head_products call = {.matrix = key_up,
                                       .in = from,
                                       .in_stride = count * width,
                                       .in_step = width,
                                       .out = to,
                                       .out_stride = count * wide,
                                       .out_step = wide};
    run_heads(cpu, &call);
    cpu_round(cpu, NULL, to, (size_t)tokens * count * wide);
    return STATUS_OK;
}

status cpu_latent_attention(struct backend *backend, const struct latent_facts *facts,
                            const struct matrix *value_up, struct device_buffer *queries,
                            struct kv_cache *cache, int layer, struct device_buffer *attended,
                            const struct matrix *reader, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, heads = facts->heads.query_heads;
    const int wide = heads * (facts->latent_dim + facts->rope_dim);
    const struct attention_facts plain = {.scale = facts->scale};
    const struct attention_call call = {
        .heads = &facts->heads,
        .facts = &plain,
        .cache = cache,
        .layer = layer,
        .queries = cpu_floats(queries, tokens, wide),
        .query_stride = (size_t)wide,
        .value_dim = facts->latent_dim,
        .out = cpu_floats(attended, tokens, heads * facts->latent_dim)};
    float *to = cpu_floats(out, tokens, heads * facts->value_dim);
    if (call.queries == NULL || call.out == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    if (cpu->checked != cache || !fits_store(cache, layer, facts) ||
        !is_stack_of(value_up, heads, facts->value_dim, facts->latent_dim)) {
        return status_fail(STATUS_INTERNAL, "latent attention: another cache, or other heads");
    }
    TRY(cpu_attend(cpu, &call));
    const size_t count = (size_t)heads;
    const struct head_products products = {.matrix = value_up,
                                           .in = call.out,
                                           .in_stride = count * (size_t)facts->latent_dim,
                                           .in_step = (size_t)facts->latent_dim,
                                           .out = to,
                                           .out_stride = count * (size_t)facts->value_dim,
                                           .out_step = (size_t)facts->value_dim};
    run_heads(cpu, &products);
    cpu_round(cpu, reader, to, (size_t)tokens * count * (size_t)facts->value_dim);
    return STATUS_OK;
}
