/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of a step: how it is cut into tiles for the threads (kernels/attention.c does one). */
#include <omp.h>

#include "backend/cpu/cpu.h"

/* Work lists, all in one region: query heads sorted by the key/value head that they read, cut into
 * bundles of one key/value head, and the tiles of each sequence. */
struct tile_plan {
    int32_t *head;         /* [query_heads] */
    int32_t *bundle_start; /* [bundles + 1] into head */
    int32_t *bundle_kv;    /* [bundles] */
    int bundles;
    int bundle_tokens;   /* tokens of a tile */
    int32_t *tile_start; /* [sequences + 1] tiles before each sequence */
};

static void plan_bundles(struct tile_plan *plan, const struct head_layout *heads, int most)
{
    int count = 0;
    plan->bundles = 0;
    for (int kv = 0; kv < heads->kv_heads; kv++) {
        int in_bundle = most;
        for (int h = 0; h < heads->query_heads; h++) {
            if (heads->kv_head[h] != kv) {
                continue;
            }
            if (in_bundle == most) {
                plan->bundle_start[plan->bundles] = count;
                plan->bundle_kv[plan->bundles++] = kv;
                in_bundle = 0;
            }
            plan->head[count++] = h;
            in_bundle++;
        }
    }
    plan->bundle_start[plan->bundles] = count;
}

/* Tiles of at most `rows` query rows; returns their number over all sequences and bundles. */
static int64_t plan_tiles(struct tile_plan *plan, const struct head_layout *heads,
                          const struct batch *batch, int rows)
{
    plan_bundles(plan, heads, rows);
    int widest = 1;
    for (int i = 0; i < plan->bundles; i++) {
        const int width = plan->bundle_start[i + 1] - plan->bundle_start[i];
        widest = width > widest ? width : widest;
    }
    plan->bundle_tokens = rows / widest;
    int tiles = 0;
    for (int s = 0; s < batch->sequences; s++) {
        plan->tile_start[s] = tiles;
        const int tokens = batch->query_start[s + 1] - batch->query_start[s];
        tiles += (tokens + plan->bundle_tokens - 1) / plan->bundle_tokens;
    }
    plan->tile_start[batch->sequences] = tiles;
    return (int64_t)tiles * plan->bundles;
}

/* The sequence that tile `tile` belongs to. */
static int sequence_of_tile(const struct tile_plan *plan, int sequences, int tile)
{
    int low = 0, high = sequences;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (plan->tile_start[middle] <= tile) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t cpu_attention_floats(int threads, int head_dim, int query_heads, int sequences)
{
    const size_t list_entries = 3 * (size_t)query_heads + (size_t)sequences + 2;
    return (size_t)threads * attention_scratch_floats(cpu_padded_dimension(head_dim)) +
           list_entries;
}

status cpu_attend(struct cpu_backend *cpu, const struct attention_call *call)
{
    const struct batch *batch = cpu->batch;
    const struct head_layout *heads = call->heads;
    const struct attention_facts *facts = call->facts;
    const struct kv_cache *cache = call->cache;
    const struct kv_store *store = &cache->stores[call->layer];
    const int out_width = heads->query_heads * call->value_dim;
    for (int h = 0; h < heads->query_heads; h++) {
        if (heads->kv_head[h] < 0 || heads->kv_head[h] >= heads->kv_heads) {
            return status_fail(STATUS_INTERNAL, "attention: head %d reads key/value head %d of %d",
                               h, heads->kv_head[h], heads->kv_heads);
        }
    }

    if (facts->sinks != NULL && facts->sinks->length != heads->query_heads) {
        return status_fail(STATUS_INTERNAL, "attention: %d sinks of %d heads", facts->sinks->length,
                           heads->query_heads);
    }

    const size_t scratch_floats = attention_scratch_floats(store->padded_dim);
    const size_t floats =
        cpu_attention_floats(cpu->threads, heads->head_dim, heads->query_heads, batch->sequences);
    TRY(cpu_region_grow(&cpu->attention, floats * sizeof(float), "attention"));
    float *scratch = cpu->attention.data;
    struct tile_plan plan = {.head = (int32_t *)(scratch + (size_t)cpu->threads * scratch_floats)};
    plan.bundle_kv = plan.head + heads->query_heads;
    plan.bundle_start = plan.bundle_kv + heads->query_heads;
    plan.tile_start = plan.bundle_start + heads->query_heads + 1;

    /* Large tiles read the cache less often; small ones keep all threads at work. */
    int64_t tiles = 0;
    for (int most = ATTENTION_ROWS;; most /= 2) {
        tiles = plan_tiles(&plan, heads, batch, most);
        if (tiles >= 4 * (int64_t)cpu->threads || most <= 3) {
            break;
        }
    }
    const char *keys = store->is_latent ? NULL : (const char *)cache->keys.data + store->key_offset;
    const char *values = (const char *)cache->values.data + store->value_offset;
    double positions = 0;
    for (int s = 0; s < batch->sequences; s++) {
        positions +=
            (double)batch->context_length[s] * (batch->query_start[s + 1] - batch->query_start[s]);
    }
    const int threads =
        cpu_threads_for(cpu, positions * heads->query_heads * (heads->head_dim + call->value_dim));
#pragma omp parallel num_threads(threads)
    {
        const int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (int64_t i = tiles - 1; i >= 0; i--) { /* the longest contexts of a prompt first */
            const int bundle = (int)(i % plan.bundles), tile = (int)(i / plan.bundles);
            const int s = sequence_of_tile(&plan, batch->sequences, tile);
            const int first =
                batch->query_start[s] + (tile - plan.tile_start[s]) * plan.bundle_tokens;
            const int left = batch->query_start[s + 1] - first;
            const size_t kv = (size_t)plan.bundle_kv[bundle];
            const struct attention_tile work = {
                .queries = call->queries + (size_t)first * call->query_stride,
                .query_stride = call->query_stride,
                .out = call->out + (size_t)first * (size_t)out_width,
                .out_stride = (size_t)out_width,
                .head = plan.head + plan.bundle_start[bundle],
                .heads = plan.bundle_start[bundle + 1] - plan.bundle_start[bundle],
                .tokens = left < plan.bundle_tokens ? left : plan.bundle_tokens,
                .first_position = batch->positions[first],
                .keys = keys != NULL ? keys + kv * store->head_key_bytes : NULL,
                .values = values + kv * store->head_value_bytes,
                .key_block_bytes = (size_t)store->kv_heads * store->head_key_bytes,
                .value_block_bytes = (size_t)store->kv_heads * store->head_value_bytes,
                .blocks = batch->block_table + (size_t)s * (size_t)batch->block_table_stride,
                .block_tokens = cache->block_tokens,
                .head_dim = store->head_dim,
                .padded_dim = store->padded_dim,
                .value_dim = call->value_dim,
                .bfloat16 = cache->bfloat16,
                .scale = facts->scale * store->key_scale,
                .soft_cap = facts->soft_cap,
                .sinks = facts->sinks != NULL ? facts->sinks->region.data : NULL,
                .window = facts->window,
                .context = facts->bidirectional ? batch->context_length[s] : 0,
                .bias = facts->bias != NULL ? facts->bias + facts->bias_reach : NULL,
                .bias_stride = 2 * (size_t)facts->bias_reach + 16,
                .scratch = scratch + (size_t)thread * scratch_floats,
            };
            cpu->kernels->attention(&work);
        }
    }
    const float value_scale = store->value_scale;
    for (size_t i = 0; value_scale != 1.0f && i < (size_t)batch->tokens * (size_t)out_width; i++) {
        call->out[i] *= value_scale;
    }
    cpu_round(cpu, NULL, call->out, (size_t)batch->tokens * (size_t)out_width);
    return STATUS_OK;
}

status cpu_attention(struct backend *backend, const struct head_layout *heads,
                     const struct attention_facts *facts, struct device_buffer *qkv,
                     struct kv_cache *cache, int layer, const struct matrix *reader,
                     struct device_buffer *out)
{
    (void)reader;
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens;
    const int width = (heads->query_heads + 2 * heads->kv_heads) * heads->head_dim;
    const struct attention_call call = {
        .heads = heads,
        .facts = facts,
        .cache = cache,
        .layer = layer,
        .queries = cpu_floats(qkv, tokens, width),
        .query_stride = (size_t)width,
        .value_dim = heads->head_dim,
        .out = cpu_floats(out, tokens, heads->query_heads * heads->head_dim)};
    if (call.queries == NULL || call.out == NULL) {
        return STATUS_INTERNAL;
    }
    if (cpu->checked != cache || !cpu_store_fits(cache, layer, heads)) {
        return status_fail(STATUS_INTERNAL, "attention: nothing was appended to this cache");
    }
    return cpu_attend(cpu, &call);
}
