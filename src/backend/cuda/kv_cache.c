/* SPDX-License-Identifier: Apache-2.0 */
/* The paged key/value cache on the GPU: its memory, the step's rotations, and the append. */
#include "backend/cuda/cuda.h"

#include <stdlib.h>
#include <string.h>

#include "backend/batch.h"

/* Bytes of the keys (or values) of `blocks` blocks of a layer; false where they do not fit a
 * size_t.
 */
static bool store_bytes(const struct cache_layout *layout, int layer, int blocks, size_t *bytes)
{
    const struct cache_store *store = &layout->stores[layer];
    if (store->kind == STORE_NO_POSITIONS) {
        *bytes = 0;
        return true;
    }
    const size_t factors[] = {(size_t)store->kv_heads, (size_t)store->head_dim,
                              (size_t)layout->block_tokens, (size_t)blocks,
                              dtype_bytes(layout->dtype)};
    *bytes = 1;
    for (size_t i = 0; i < COUNT_OF(factors); i++) {
        if (__builtin_mul_overflow(*bytes, factors[i], bytes)) {
            return false;
        }
    }
    return *bytes <= (size_t)INT64_MAX / 2;
}

int64_t cuda_kv_block_bytes(struct backend *backend, const struct cache_layout *layout)
{
    (void)backend;
    size_t all = 0;
    for (int i = 0; i < layout->layers; i++) {
        size_t bytes;
        if (!store_bytes(layout, i, 1, &bytes) || __builtin_add_overflow(all, bytes, &all) ||
            all > (size_t)INT64_MAX / 2) {
            return INT64_MAX;
        }
    }
    return 2 * (int64_t)all;
}

static status check_layout(const struct cache_layout *layout, int blocks)
{
    /* A tile of 64 keys has at most 32 blocks, one a lane; positions are cut by shifts. */
    const int block_tokens = layout->block_tokens;
    if (layout->layers < 0 || blocks < 0 || block_tokens < 2 ||
        (block_tokens & (block_tokens - 1)) != 0) {
        return status_fail(STATUS_INVALID,
                           "KV cache: blocks of %d tokens; the GPU wants a power of two from 2 up",
                           block_tokens);
    }
    for (int i = 0; i < layout->layers; i++) {
        const struct cache_store *store = &layout->stores[i];
        if (store->kind == STORE_NO_POSITIONS) {
            continue;
        }
        if (store->kind != STORE_KEYS_VALUES) {
            return status_fail(STATUS_UNSUPPORTED, "cache: the GPU keeps no latents yet");
        }
        if (store->kv_heads < 0 || store->head_dim < 1) {
            return status_fail(STATUS_INVALID, "KV cache: %d heads of %d values", store->kv_heads,
                               store->head_dim);
        }
        if (store->head_dim > KV_MAX_HEAD_DIM) {
            return status_fail(STATUS_UNSUPPORTED, "KV cache: heads of %d values; the most are %d",
                               store->head_dim, KV_MAX_HEAD_DIM);
        }
    }
    return STATUS_OK;
}

/* The cache's stores, one behind the other; *all: what they take of keys, and of values. */
static status create_stores(struct kv_cache *cache, const struct cache_layout *layout, size_t *all)
{
    enum { ALIGNMENT = 256 }; /* as of cudaMalloc */
    cache->stores = malloc(((size_t)cache->layers + 1) * sizeof *cache->stores);
    if (cache->stores == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the KV cache");
    }
    *all = 0;
    for (int i = 0; i < cache->layers; i++) {
        cache->stores[i] = (struct kv_store){.kv_heads = layout->stores[i].kv_heads,
                                             .head_dim = layout->stores[i].head_dim,
                                             .offset = *all,
                                             .scales = {.key = 1.0f, .value = 1.0f}};
        size_t bytes;
        if (!store_bytes(layout, i, cache->blocks, &bytes) ||
            __builtin_add_overflow(*all, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, all) ||
            *all > (size_t)INT64_MAX / 2) {
            return status_fail(STATUS_LIMIT, "KV cache of %d blocks", cache->blocks);
        }
    }
    return STATUS_OK;
}

status cuda_kv_create(struct backend *backend, const struct cache_layout *layout, int blocks,
                      struct kv_cache **out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    *out = NULL;
    TRY(check_layout(layout, blocks));
    struct kv_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the KV cache");
    }
    *cache = (struct kv_cache){.layers = layout->layers,
                               .block_tokens = layout->block_tokens,
                               .blocks = blocks,
                               .dtype = layout->dtype};
    size_t bytes = 0;
    status s = create_stores(cache, layout, &bytes);
    if (s == STATUS_OK) {
        s = cuda_states_create(cache, layout);
    }
    if (s == STATUS_OK) {
        s = cuda_check(cudaMalloc(&cache->keys, bytes + 1), "KV cache");
    }
    if (s == STATUS_OK) {
        s = cuda_check(cudaMalloc(&cache->values, bytes + 1), "KV cache");
    }
    if (s != STATUS_OK) {
        cuda_kv_destroy(&cuda->backend, cache);
        return s;
    }
    *out = cache;
    return STATUS_OK;
}

void cuda_kv_destroy(struct backend *backend, struct kv_cache *cache)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (cache != NULL) {
        if (cuda->checked == cache) {
            cuda->checked = NULL;
        }
        (void)cudaFree(cache->keys);
        (void)cudaFree(cache->values);
        (void)cudaFree(cache->states);
        free(cache->stores);
        free(cache);
    }
}

status cuda_kv_scale(struct backend *backend, struct kv_cache *cache, int layer, float key_scale,
                     float value_scale)
{
    (void)backend;
    if (layer < 0 || layer >= cache->layers || !(key_scale > 0.0f) || !(value_scale > 0.0f)) {
        return status_fail(STATUS_INTERNAL, "KV cache: scales %g and %g of layer %d of %d",
                           (double)key_scale, (double)value_scale, layer, cache->layers);
    }
    if (cache->dtype == DTYPE_FLOAT8_E4M3) { /* other types have room for the values as they are */
        cache->stores[layer].scales = (struct kv_scales){.key = key_scale, .value = value_scale};
    }
    return STATUS_OK;
}

int cuda_block_shift(const struct kv_cache *cache)
{
    return __builtin_ctz((unsigned)cache->block_tokens);
}

void *cuda_layer_of(const struct kv_cache *cache, void *memory, int layer)
{
    return (char *)memory + cache->stores[layer].offset;
}

bool cuda_store_fits(const struct kv_cache *cache, int layer, const struct head_layout *heads)
{
    return layer >= 0 && layer < cache->layers &&
           cache->stores[layer].head_dim == heads->head_dim &&
           cache->stores[layer].kv_heads == heads->kv_heads;
}

/* ---- Rotary embedding ---- */

static status grow_table(struct cuda_backend *cuda, struct cuda_rope_table *table, size_t count)
{
    if (count <= table->capacity) {
        return STATUS_OK;
    }
    TRY(cuda_check(cudaStreamSynchronize(cuda->stream), "rotary embedding"));
    (void)cudaFree(table->cosine);
    (void)cudaFree(table->sine);
    *table = (struct cuda_rope_table){0};
    TRY(cuda_check(cudaMalloc((void **)&table->cosine, count * sizeof(float)), "rotary embedding"));
    TRY(cuda_check(cudaMalloc((void **)&table->sine, count * sizeof(float)), "rotary embedding"));
    table->capacity = count;
    return STATUS_OK;
}

/* cos and sin of every token's angles, once a step for each kind of layer. */
static status rope_table(struct cuda_backend *cuda, const struct rope_facts *facts,
                         const struct cuda_rope_table **out)
{
    for (int i = 0; i < CUDA_ROPE_TABLES; i++) {
        if (cuda->rope[i].facts == facts) {
            *out = &cuda->rope[i];
            return STATUS_OK;
        }
    }
    struct cuda_rope_table *table = &cuda->rope[cuda->next_rope];
    const struct cuda_step *step = &cuda->step;
    const int half = facts->dimensions / 2;
    table->facts = NULL;
    TRY(grow_table(cuda, table, (size_t)cuda->max_tokens * (size_t)half));
    const bool has_long = facts->long_inverse_frequency != NULL;
    struct kv_angles call = {.tokens = step->tokens,
                             .half = half,
                             .positions = step->positions,
                             .token_sequence = step->token_sequence,
                             .long_rope = has_long ? step->long_rope : NULL,
                             .magnitude = facts->magnitude,
                             .long_magnitude = facts->long_magnitude,
                             .cosine = table->cosine,
                             .sine = table->sine};
    for (call.first = 0; call.first < half; call.first += KV_ANGLES) {
        call.count = half - call.first < KV_ANGLES ? half - call.first : KV_ANGLES;
        const size_t bytes = (size_t)call.count * sizeof(float);
        memcpy(call.frequency, facts->inverse_frequency + call.first, bytes);
        if (has_long) {
            memcpy(call.long_frequency, facts->long_inverse_frequency + call.first, bytes);
        }
        TRY(cuda_check(kv_angles_launch(cuda->stream, &call), "rotary embedding"));
    }
    table->facts = facts;
    cuda->next_rope = (cuda->next_rope + 1) % CUDA_ROPE_TABLES;
    *out = table;
    return STATUS_OK;
}

/* ---- Append ---- */

/* Every block that the step reads or writes lies in the cache. */
static status check_blocks(struct cuda_backend *cuda, const struct kv_cache *cache)
{
    const struct batch *batch = cuda->batch;
    if (batch == NULL) {
        return status_fail(STATUS_INTERNAL, "append: no step has begun");
    }
    if (cuda->checked == cache) {
        return STATUS_OK;
    }
    TRY(batch_check_blocks(batch, cache->block_tokens, cache->blocks));
    cuda->checked = cache;
    return STATUS_OK;
}

status cuda_rope_append(struct backend *backend, const struct head_layout *heads,
                        const struct rope_facts *rope, const struct norm_facts *norm,
                        const struct vector *q_norm, const struct vector *k_norm,
                        struct device_buffer *qkv, struct kv_cache *cache, int layer)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct cuda_step *step = &cuda->step;
    const int dim = heads->head_dim;
    const int64_t width = ((int64_t)heads->query_heads + 2 * (int64_t)heads->kv_heads) * dim;
    if (!cuda_store_fits(cache, layer, heads) || (q_norm != NULL && q_norm->length != dim) ||
        (k_norm != NULL && k_norm->length != dim) ||
        (rope != NULL && (rope->dimensions > dim || rope->dimensions % 2 != 0)) ||
        width > INT32_MAX || ((q_norm != NULL || k_norm != NULL) && norm == NULL)) {
        return status_fail(STATUS_INTERNAL, "append: the cache or the norms have other heads");
    }
    TRY(check_blocks(cuda, cache));
    TRY(cuda_buffer_check(qkv, step->tokens, width, dtype_bytes(cuda->activation)));
    struct kv_append call = {
        .tokens = step->tokens,
        .query_heads = heads->query_heads,
        .kv_heads = heads->kv_heads,
        .head_dim = dim,
        .qkv = qkv->data,
        .dtype = (int)cuda->activation,
        .row_scale = qkv->pending.row_scale,
        .column_scale = qkv->pending.column_scale,
        .bias = qkv->pending.bias,
        .q_norm = q_norm != NULL ? q_norm->data : NULL,
        .k_norm = k_norm != NULL ? k_norm->data : NULL,
        .epsilon = norm != NULL ? norm->epsilon : 0.0f,
        .weight_offset = norm != NULL ? norm->weight_offset : 0.0f,
        .layer_norm = norm != NULL && norm->layer_norm,
        .keys = cuda_layer_of(cache, cache->keys, layer),
        .values = cuda_layer_of(cache, cache->values, layer),
        .kv_dtype = (int)cache->dtype,
        .key_scale = cache->stores[layer].scales.key,
        .value_scale = cache->stores[layer].scales.value,
        .block_shift = cuda_block_shift(cache),
        .positions = step->positions,
        .token_sequence = step->token_sequence,
        .block_table = step->block_table,
        .block_table_stride = step->block_table_stride,
    };
    if (rope != NULL && rope->dimensions > 0) {
        const struct cuda_rope_table *table;
        TRY(rope_table(cuda, rope, &table));
        call.half = rope->dimensions / 2;
        call.cosine = table->cosine;
        call.sine = table->sine;
    }
    TRY(cuda_check(kv_append_launch(cuda->stream, &call), "rotary embedding and append"));
    cuda_buffer_is_plain(qkv);
    return STATUS_OK;
}
