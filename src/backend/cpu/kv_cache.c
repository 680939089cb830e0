/* SPDX-License-Identifier: Apache-2.0 */
/* The paged key/value cache: its layout, rotary embedding and the append. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/batch.h"
#include "backend/cpu/cpu.h"

/* head_dim rounded up to whole vectors: what a value's row takes. */
static int padded_dimension(int head_dim)
{
    return (head_dim + 15) / 16 * 16;
}

/* bfloat16 has all numbers of fp8, which are computed with in float32 anyway. */
static size_t kept_bytes(enum dtype dtype)
{
    return dtype == DTYPE_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
}

int64_t cpu_kv_block_bytes(struct backend *backend, int layers, int kv_heads, int head_dim,
                           int block_tokens, enum dtype dtype)
{
    (void)backend;
    size_t bytes;
    return cpu_size(&bytes, "KV cache", 5, (size_t)layers, (size_t)kv_heads, (size_t)block_tokens,
                    (size_t)(head_dim + padded_dimension(head_dim)), kept_bytes(dtype)) == STATUS_OK
               ? (int64_t)bytes
               : INT64_MAX;
}

static status create_scales(struct kv_cache *cache)
{
    cache->scales = calloc((size_t)cache->layers + 1, sizeof *cache->scales);
    if (cache->scales == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the KV cache");
    }
    for (int i = 0; i < cache->layers; i++) {
        cache->scales[i] = (struct kv_scales){.key = 1.0f, .value = 1.0f};
    }
    return STATUS_OK;
}

status cpu_kv_create(struct backend *backend, int layers, int kv_heads, int head_dim,
                     int block_tokens, int blocks, enum dtype dtype, struct kv_cache **out)
{
    (void)backend;
    *out = NULL;
    if (dtype == DTYPE_FLOAT16) {
        return status_fail(STATUS_UNSUPPORTED,
                           "KV cache in float16: the CPU keeps it in float32, bfloat16 or fp8");
    }
    if (layers < 0 || kv_heads < 0 || head_dim < 1 || head_dim > 1 << 16 || block_tokens < 1 ||
        block_tokens % POSITION_GROUP != 0 || blocks < 0) {
        return status_fail(STATUS_INVALID,
                           "KV cache: blocks of %d tokens; the CPU wants a multiple of %d",
                           block_tokens, POSITION_GROUP);
    }
    struct kv_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the KV cache");
    }
    *cache = (struct kv_cache){.layers = layers,
                               .kv_heads = kv_heads,
                               .head_dim = head_dim,
                               .padded_dim = padded_dimension(head_dim),
                               .block_tokens = block_tokens,
                               .blocks = blocks,
                               .bfloat16 = dtype != DTYPE_FLOAT32,
                               .fp8 = dtype == DTYPE_FLOAT8_E4M3};
    const size_t value_bytes = kept_bytes(dtype);
    cache->head_key_bytes = (size_t)block_tokens * (size_t)head_dim * value_bytes;
    cache->head_value_bytes = (size_t)block_tokens * (size_t)cache->padded_dim * value_bytes;
    size_t key_bytes = 0, cache_value_bytes = 0;
    status s = cpu_size(&key_bytes, "KV cache", 4, (size_t)layers, (size_t)blocks, (size_t)kv_heads,
                        cache->head_key_bytes);
    if (s == STATUS_OK) {
        s = cpu_size(&cache_value_bytes, "KV cache", 4, (size_t)layers, (size_t)blocks,
                     (size_t)kv_heads, cache->head_value_bytes);
    }
    if (s == STATUS_OK) {
        s = create_scales(cache);
    }
    if (s == STATUS_OK) {
        s = cpu_region_create(&cache->keys, key_bytes, "KV cache");
    }
    if (s == STATUS_OK) {
        s = cpu_region_create(&cache->values, cache_value_bytes, "KV cache");
    }
    if (s != STATUS_OK) {
        cpu_kv_destroy(backend, cache);
        return s;
    }
    *out = cache;
    return STATUS_OK;
}

void cpu_kv_destroy(struct backend *backend, struct kv_cache *cache)
{
    (void)backend;
    if (cache != NULL) {
        cpu_region_destroy(&cache->keys);
        cpu_region_destroy(&cache->values);
        free(cache->scales);
        free(cache);
    }
}

status cpu_kv_scale(struct backend *backend, struct kv_cache *cache, int layer, float key_scale,
                    float value_scale)
{
    (void)backend;
    if (layer < 0 || layer >= cache->layers || !(key_scale > 0.0f) || !(value_scale > 0.0f)) {
        return status_fail(STATUS_INTERNAL, "KV cache: scales %g and %g of layer %d of %d",
                           (double)key_scale, (double)value_scale, layer, cache->layers);
    }
    if (cache->fp8) { /* others hold keys and values as they are */
        cache->scales[layer] = (struct kv_scales){.key = key_scale, .value = value_scale};
    }
    return STATUS_OK;
}

/* ---- Rotary embedding --------------------------------------------------------------------------
 */

/* cos and sin of every token's angles, once a step for each kind of layer. The angle is rounded to
 * float32 as the models' own code does, its cosine is not approximated further. */
static status rope_table(struct cpu_backend *cpu, const struct rope_facts *facts,
                         const struct rope_table **out)
{
    for (int i = 0; i < ROPE_TABLES; i++) {
        if (cpu->rope[i].facts == facts) {
            *out = &cpu->rope[i];
            return STATUS_OK;
        }
    }
    struct rope_table *table = &cpu->rope[cpu->next_rope];
    const struct batch *batch = cpu->batch;
    const size_t half = (size_t)facts->dimensions / 2;
    const size_t count = (size_t)batch->tokens * half;
    table->facts = NULL;
    TRY(cpu_region_grow(&table->region, 2 * count * sizeof(float), "rotary embedding"));
    float *cosine = table->region.data, *sine = cosine + count;
    const int threads = cpu_threads_for(cpu, 64.0 * (double)count);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < batch->tokens; token++) {
        const bool is_long = batch->long_rope != NULL &&
                             batch->long_rope[cpu->token_sequence[token]] &&
                             facts->long_inverse_frequency != NULL;
        const float *frequency = is_long ? facts->long_inverse_frequency : facts->inverse_frequency;
        const float magnitude = is_long ? facts->long_magnitude : facts->magnitude;
        for (size_t i = 0; i < half; i++) {
            const float angle = (float)batch->positions[token] * frequency[i];
            cosine[(size_t)token * half + i] = (float)cos(angle) * magnitude;
            sine[(size_t)token * half + i] = (float)sin(angle) * magnitude;
        }
    }
    table->facts = facts;
    table->cosine = cosine;
    table->sine = sine;
    cpu->next_rope = (cpu->next_rope + 1) % ROPE_TABLES;
    *out = table;
    return STATUS_OK;
}

/* ---- Append ------------------------------------------------------------------------------------
 */

/* Every block that the step reads or writes lies in the cache. */
static status check_blocks(struct cpu_backend *cpu, const struct kv_cache *cache)
{
    if (cpu->checked == cache) {
        return STATUS_OK;
    }
    TRY(batch_check_blocks(cpu->batch, cache->block_tokens, cache->blocks));
    cpu->checked = cache;
    return STATUS_OK;
}

static void store_values(const struct kv_cache *cache, void *to, size_t index, size_t stride,
                         const float *from, float scale)
{
    for (int i = 0; i < cache->head_dim; i++) {
        const float value = cache->fp8 ? cpu_fp8(from[i] / scale) : from[i];
        if (cache->bfloat16) {
            ((uint16_t *)to)[index + (size_t)i * stride] = cpu_bfloat16(value);
        } else {
            ((float *)to)[index + (size_t)i * stride] = value;
        }
    }
}

static void append_head(const struct kv_cache *cache, int layer, int head, int block, int within,
                        const float *key, const float *value)
{
    const size_t place =
        ((size_t)layer * (size_t)cache->blocks + (size_t)block) * (size_t)cache->kv_heads +
        (size_t)head;
    const size_t group = (size_t)within / POSITION_GROUP;
    store_values(cache, (char *)cache->keys.data + place * cache->head_key_bytes,
                 group * (size_t)cache->head_dim * POSITION_GROUP + (size_t)within % POSITION_GROUP,
                 POSITION_GROUP, key, cache->scales[layer].key);
    store_values(cache, (char *)cache->values.data + place * cache->head_value_bytes,
                 (size_t)within * (size_t)cache->padded_dim, 1, value, cache->scales[layer].value);
}

status cpu_rope_append(struct backend *backend, const struct head_layout *heads,
                       const struct rope_facts *rope, const struct norm_facts *norm,
                       const struct vector *q_norm, const struct vector *k_norm,
                       struct device_buffer *qkv, struct kv_cache *cache, int layer)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct batch *batch = cpu->batch;
    const int dim = heads->head_dim;
    const int width = (heads->query_heads + 2 * heads->kv_heads) * dim;
    float *rows = cpu_floats(qkv, batch->tokens, width);
    if (rows == NULL) {
        return STATUS_INTERNAL;
    }
    if (dim != cache->head_dim || heads->kv_heads != cache->kv_heads || layer < 0 ||
        layer >= cache->layers || (q_norm != NULL && q_norm->length != dim) ||
        (k_norm != NULL && k_norm->length != dim) ||
        (rope != NULL && (rope->dimensions > dim || rope->dimensions % 2 != 0))) {
        return status_fail(STATUS_INTERNAL, "append: the cache or the norms have other heads");
    }
    TRY(check_blocks(cpu, cache));
    const struct rope_table *table = NULL;
    if (rope != NULL) {
        TRY(rope_table(cpu, rope, &table));
    }
    const int half = rope != NULL ? rope->dimensions / 2 : 0;
    const int turned = heads->query_heads + heads->kv_heads;
    const int threads = cpu_threads_for(cpu, 4.0 * batch->tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < batch->tokens; token++) {
        float *row = rows + (size_t)token * (size_t)width;
        for (int h = 0; h < turned; h++) {
            float *head = row + (size_t)h * (size_t)dim;
            const struct vector *weight = h < heads->query_heads ? q_norm : k_norm;
            if (weight != NULL) {
                cpu->kernels->norm(norm, head, weight->region.data, NULL, dim, head);
            }
            if (table != NULL) {
                const size_t at = (size_t)token * (size_t)half;
                cpu->kernels->rotate(head, table->cosine + at, table->sine + at, half);
            }
        }
        cpu_round(cpu, NULL, row, (size_t)width);
        const int position = batch->positions[token];
        const int block = batch->block_table[(size_t)cpu->token_sequence[token] *
                                                 (size_t)batch->block_table_stride +
                                             (size_t)(position / cache->block_tokens)];
        for (int h = 0; h < heads->kv_heads; h++) {
            const float *key = row + (size_t)(heads->query_heads + h) * (size_t)dim;
            append_head(cache, layer, h, block, position % cache->block_tokens, key,
                        key + (size_t)heads->kv_heads * (size_t)dim);
        }
    }
    return STATUS_OK;
}
