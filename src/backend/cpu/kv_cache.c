/* SPDX-License-Identifier: Apache-2.0 */
/* The paged key/value cache: its layout, rotary embedding and the append. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/batch.h"
#include "backend/cpu/cpu.h"

/* head_dim rounded up to whole vectors: what a value's row takes. */
int cpu_padded_dimension(int head_dim)
{
    return (head_dim + 15) / 16 * 16;
}

/* bfloat16 has all numbers of fp8, which are computed with in float32 anyway. */
static size_t kept_bytes(enum dtype dtype)
{
    return dtype == DTYPE_FLOAT32 ? sizeof(float) : sizeof(uint16_t);
}

/* The store of a layer of such a cache. The offsets are the caller's. */
static status plan_store(const struct cache_layout *layout, int layer, struct kv_store *store)
{
    const struct cache_store *described = &layout->stores[layer];
    if (described->kind == STORE_NO_POSITIONS) {
        *store = (struct kv_store){.key_scale = 1.0f, .value_scale = 1.0f};
        return STATUS_OK;
    }
    if (described->kv_heads < 0 || described->head_dim < 1 || described->head_dim > 1 << 16 ||
        layout->block_tokens < 1) {
        return status_fail(STATUS_INVALID, "KV cache: %d heads of %d values, blocks of %d tokens",
                           described->kv_heads, described->head_dim, layout->block_tokens);
    }
    const size_t value_bytes = kept_bytes(layout->dtype);
    *store = (struct kv_store){.kv_heads = described->kv_heads,
                               .head_dim = described->head_dim,
                               .padded_dim = cpu_padded_dimension(described->head_dim),
                               .key_scale = 1.0f,
                               .value_scale = 1.0f};
    store->is_latent = described->kind == STORE_LATENT;
    store->head_key_bytes =
        store->is_latent ? 0 : (size_t)layout->block_tokens * (size_t)store->head_dim * value_bytes;
    store->head_value_bytes =
        (size_t)layout->block_tokens * (size_t)store->padded_dim * value_bytes;
    return STATUS_OK;
}

/* Adds the bytes that `blocks` blocks of the store take to those of the layers before it. */
static status add_bytes(const struct kv_store *store, int blocks, size_t *keys, size_t *values)
{
    size_t key_bytes, value_bytes;
    TRY(cpu_size(&key_bytes, "KV cache", 3, (size_t)blocks, (size_t)store->kv_heads,
                 store->head_key_bytes));
    TRY(cpu_size(&value_bytes, "KV cache", 3, (size_t)blocks, (size_t)store->kv_heads,
                 store->head_value_bytes));
    if (__builtin_add_overflow(*keys, key_bytes, keys) ||
        __builtin_add_overflow(*values, value_bytes, values) || *keys > INT64_MAX / 2 ||
        *values > INT64_MAX / 2) {
        return status_fail(STATUS_LIMIT, "KV cache: more bytes than can be addressed");
    }
    return STATUS_OK;
}

int64_t cpu_kv_block_bytes(struct backend *backend, const struct cache_layout *layout)
{
    (void)backend;
    size_t keys = 0, values = 0;
    for (int i = 0; i < layout->layers; i++) {
        struct kv_store store;
        if (plan_store(layout, i, &store) != STATUS_OK ||
            add_bytes(&store, 1, &keys, &values) != STATUS_OK) {
            return INT64_MAX;
        }
    }
    return (int64_t)(keys + values);
}

static status check_layout(const struct cache_layout *layout, int blocks)
{
    if (layout->dtype == DTYPE_FLOAT16) {
        return status_fail(STATUS_UNSUPPORTED,
                           "KV cache in float16: the CPU keeps it in float32, bfloat16 or fp8");
    }
    if (layout->layers < 0 || layout->block_tokens < 1 ||
        layout->block_tokens % POSITION_GROUP != 0 || blocks < 0) {
        return status_fail(STATUS_INVALID,
                           "KV cache: blocks of %d tokens; the CPU wants a multiple of %d",
                           layout->block_tokens, POSITION_GROUP);
    }
    return STATUS_OK;
}

/* Plans every layer's store and makes the memory of all. */
static status create_stores(struct kv_cache *cache, const struct cache_layout *layout)
{
    cache->stores = calloc((size_t)cache->layers + 1, sizeof *cache->stores);
    if (cache->stores == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the KV cache");
    }
    size_t keys = 0, values = 0;
    for (int i = 0; i < cache->layers; i++) {
        struct kv_store *store = &cache->stores[i];
        TRY(plan_store(layout, i, store));
        store->key_offset = keys;
        store->value_offset = values;
        TRY(add_bytes(store, cache->blocks, &keys, &values));
    }
    TRY(cpu_region_create(&cache->keys, keys, "KV cache"));
    TRY(cpu_region_create(&cache->values, values, "KV cache"));
    return cpu_states_create(cache, layout);
}

status cpu_kv_create(struct backend *backend, const struct cache_layout *layout, int blocks,
                     struct kv_cache **out)
{
    *out = NULL;
    TRY(check_layout(layout, blocks));
    struct kv_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the KV cache");
    }
    *cache = (struct kv_cache){.layers = layout->layers,
                               .block_tokens = layout->block_tokens,
                               .blocks = blocks,
                               .bfloat16 = layout->dtype != DTYPE_FLOAT32,
                               .fp8 = layout->dtype == DTYPE_FLOAT8_E4M3};
    status s = create_stores(cache, layout);
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
        cpu_region_destroy(&cache->states);
        free(cache->stores);
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
        cache->stores[layer].key_scale = key_scale;
        cache->stores[layer].value_scale = value_scale;
    }
    return STATUS_OK;
}

/* ---- Rotary embedding ---- */

size_t cpu_rope_floats(int tokens, int dimensions)
{
    return 2 * (size_t)tokens * ((size_t)dimensions / 2);
}

/* The angle is rounded to float32 as the models' own code does, its cosine is not approximated
 * further. */
status cpu_rope_table(struct cpu_backend *cpu, const struct rope_facts *facts,
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
    TRY(cpu_region_grow(&table->region,
                        cpu_rope_floats(batch->tokens, facts->dimensions) * sizeof(float),
                        "rotary embedding"));
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

/* ---- Append ---- */

status cpu_check_blocks(struct cpu_backend *cpu, const struct kv_cache *cache)
{
    if (cpu->checked == cache) {
        return STATUS_OK;
    }
    TRY(batch_check_blocks(cpu->batch, cache->block_tokens, cache->blocks));
    cpu->checked = cache;
    return STATUS_OK;
}

bool cpu_store_fits(const struct kv_cache *cache, int layer, const struct head_layout *heads)
{
    return layer >= 0 && layer < cache->layers && !cache->stores[layer].is_latent &&
           cache->stores[layer].head_dim == heads->head_dim &&
           cache->stores[layer].kv_heads == heads->kv_heads;
}

static void write_values(const struct kv_cache *cache, int count, void *to, size_t index,
                         size_t stride, const float *from, float scale)
{
    for (int i = 0; i < count; i++) {
        const float value = cache->fp8 ? cpu_fp8(from[i] / scale) : from[i];
        if (cache->bfloat16) {
            ((uint16_t *)to)[index + (size_t)i * stride] = cpu_bfloat16(value);
        } else {
            ((float *)to)[index + (size_t)i * stride] = value;
        }
    }
}

struct cache_place cpu_place_of(const struct cpu_backend *cpu, const struct kv_cache *cache,
                                int token)
{
    const struct batch *batch = cpu->batch;
    const int position = batch->positions[token];
    const int32_t *blocks =
        batch->block_table + (size_t)cpu->token_sequence[token] * (size_t)batch->block_table_stride;
    return (struct cache_place){.block = blocks[position / cache->block_tokens],
                                .within = position % cache->block_tokens};
}

void cpu_write_row(const struct kv_cache *cache, const struct kv_store *store, int head,
                   struct cache_place place, const float *values)
{
    const size_t at = (size_t)place.block * (size_t)store->kv_heads + (size_t)head;
    write_values(cache, store->head_dim,
                 (char *)cache->values.data + store->value_offset + at * store->head_value_bytes,
                 (size_t)place.within * (size_t)store->padded_dim, 1, values, store->value_scale);
}

static void append_head(const struct kv_cache *cache, const struct kv_store *store, int head,
                        struct cache_place place, const float *key, const float *value)
{
    const int dim = store->head_dim;
    const size_t at = (size_t)place.block * (size_t)store->kv_heads + (size_t)head;
    const size_t group = (size_t)place.within / POSITION_GROUP;
    char *keys = (char *)cache->keys.data + store->key_offset + at * store->head_key_bytes;
    write_values(cache, dim, keys,
                 group * (size_t)dim * POSITION_GROUP + (size_t)place.within % POSITION_GROUP,
                 POSITION_GROUP, key, store->key_scale);
    cpu_write_row(cache, store, head, place, value);
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
    if (!cpu_store_fits(cache, layer, heads) || (q_norm != NULL && q_norm->length != dim) ||
        (k_norm != NULL && k_norm->length != dim) ||
        (rope != NULL && (rope->dimensions > dim || rope->dimensions % 2 != 0))) {
        return status_fail(STATUS_INTERNAL, "append: the cache or the norms have other heads");
    }
    TRY(cpu_check_blocks(cpu, cache));
    const struct rope_table *table = NULL;
    if (rope != NULL) {
        TRY(cpu_rope_table(cpu, rope, &table));
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
        const struct cache_place place = cpu_place_of(cpu, cache, token);
        for (int h = 0; h < heads->kv_heads; h++) {
            const float *key = row + (size_t)(heads->query_heads + h) * (size_t)dim;
            append_head(cache, &cache->stores[layer], h, place, key,
                        key + (size_t)heads->kv_heads * (size_t)dim);
        }
    }
    return STATUS_OK;
}
