/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of a step: its work lists, made once a step on the host, and the choice of kernels. */
#include "backend/cuda/cuda.h"

#include <string.h>

_Static_assert((int)CUDA_MAX_HEADS == (int)ATTENTION_MAX_HEADS, "kernels see other heads");
_Static_assert(sizeof(struct attention_item) == 32 && sizeof(struct attention_chunk) == 32 &&
                   sizeof(struct attention_join) == 16,
               "work lists are copied as they lie");

/* ---- Work lists ---- */

static int splits_of(int context)
{
    return (context - 1) / ATTENTION_SPLIT + 1;
}

static int query_of(const struct batch *batch, int sequence)
{
    return batch->query_start[sequence + 1] - batch->query_start[sequence];
}

size_t cuda_attention_plan_size(const struct batch *batch, struct cuda_attention_plan *plan)
{
    *plan = (struct cuda_attention_plan){0};
    for (int s = 0; s < batch->sequences; s++) {
        const int query = query_of(batch, s), splits = splits_of(batch->context_length[s]);
        if (query > ATTENTION_SHORT) {
            plan->chunks++;
            plan->chunk_tokens += query;
            plan->long_chunks = plan->long_chunks || splits > 1;
            continue;
        }
        plan->items += splits;
        plan->longest_short = query > plan->longest_short ? query : plan->longest_short;
        if (splits > 1) {
            plan->joins += query;
            plan->slots += splits * query;
        }
    }
    return (size_t)plan->items * sizeof(struct attention_item) +
           (size_t)plan->chunks * sizeof(struct attention_chunk) +
           (size_t)plan->joins * sizeof(struct attention_join);
}

enum { LENGTHS = 16 }; /* classes of an item's keys */

static int length_class(int context, int split)
{
    const int keys = context - split * ATTENTION_SPLIT;
    return keys >= ATTENTION_SPLIT ? 0 : LENGTHS - 1 - (keys - 1) * LENGTHS / ATTENTION_SPLIT;
}

/* The items stand by falling number of keys, so that no long one starts last. */
static void place_items(const struct batch *batch, struct attention_item *items,
                        struct attention_join *joins)
{
    int next[LENGTHS + 1] = {0};
    for (int s = 0; s < batch->sequences; s++) {
        const int context = batch->context_length[s];
        for (int i = 0; query_of(batch, s) <= ATTENTION_SHORT && i < splits_of(context); i++) {
            next[length_class(context, i) + 1]++;
        }
    }
    for (int i = 0; i < LENGTHS; i++) {
        next[i + 1] += next[i];
    }
    int slot = 0, join = 0;
    for (int s = 0; s < batch->sequences; s++) {
        const int query = query_of(batch, s), context = batch->context_length[s];
        const int splits = splits_of(context), first = batch->query_start[s];
        if (query > ATTENTION_SHORT) {
            continue;
        }
        for (int i = 0; i < splits; i++) {
            items[next[length_class(context, i)]++] =
                (struct attention_item){.sequence = s,
                                        .split = i,
                                        .first_token = first,
                                        .query = query,
                                        .context = context,
                                        .slot = splits > 1 ? slot + i * query : -1};
        }
        for (int i = 0; splits > 1 && i < query; i++) {
            joins[join++] = (struct attention_join){.token = first + i,
                                                    .position = context - query + i,
                                                    .slot = slot + i,
                                                    .stride = query};
        }
        slot += splits > 1 ? splits * query : 0;
    }
}

static void place_chunks(const struct batch *batch, struct attention_chunk *chunks)
{
    int count = 0, before = 0;
    for (int s = 0; s < batch->sequences; s++) {
        const int query = query_of(batch, s);
        if (query > ATTENTION_SHORT) {
            chunks[count++] = (struct attention_chunk){.sequence = s,
                                                       .first_token = batch->query_start[s],
                                                       .query = query,
                                                       .context = batch->context_length[s],
                                                       .tokens_before = before};
            before += query;
        }
    }
}

void cuda_attention_plan_write(const struct batch *batch, struct cuda_attention_plan *plan,
                               void *staging, const void *device)
{
    struct attention_item *items = staging;
    struct attention_chunk *chunks = (struct attention_chunk *)(void *)(items + plan->items);
    struct attention_join *joins = (struct attention_join *)(void *)(chunks + plan->chunks);
    place_items(batch, items, joins);
    place_chunks(batch, chunks);
    plan->item = device;
    plan->chunk = (const struct attention_chunk *)(const void *)(plan->item + plan->items);
    plan->join = (const struct attention_join *)(const void *)(plan->chunk + plan->chunks);
}

/* ---- The operation ---- */

/* Query heads by the key/value head that they read. */
static status sort_heads(const struct head_layout *heads, struct attention_call *call)
{
    if (heads->query_heads > ATTENTION_MAX_HEADS || heads->kv_heads > ATTENTION_MAX_HEADS) {
        return status_fail(STATUS_UNSUPPORTED, "attention with %d and %d heads; the most are %d",
                           heads->query_heads, heads->kv_heads, ATTENTION_MAX_HEADS);
    }
    struct attention_heads *sorted = &call->heads;
    int count = 0;
    for (int kv = 0; kv < heads->kv_heads; kv++) {
        sorted->start[kv] = (uint16_t)count;
        for (int h = 0; h < heads->query_heads; h++) {
            if (heads->kv_head[h] == kv) {
                sorted->kv_head[h] = (uint16_t)kv;
                sorted->head[count++] = (uint16_t)h;
            }
        }
        sorted->start[kv + 1] = (uint16_t)count;
        const int group = count - sorted->start[kv];
        call->largest_group = group > call->largest_group ? group : call->largest_group;
    }
    return count == heads->query_heads
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL,
                             "attention: %d of %d heads read one of %d key/value heads", count,
                             heads->query_heads, heads->kv_heads);
}

/* Constants of the soft-max in base 2; q·k takes the keys' scale with its own. */
static void set_scales(const struct attention_facts *facts, struct kv_scales kv,
                       struct attention_call *call)
{
    const double log2_e = 1.4426950408889634;
    const double scale = (double)facts->scale * (double)kv.key;
    call->window = facts->window;
    call->scale = (float)scale;
    call->soft_cap = facts->soft_cap;
    call->value_scale = kv.value;
    if (facts->soft_cap > 0.0f) {
        call->exponent_scale = (float)log2_e;
        call->cap_out = facts->soft_cap;
        call->cap_in = (float)(2.0 * log2_e * scale / (double)facts->soft_cap);
    } else {
        call->exponent_scale = (float)(log2_e * scale);
    }
}

/* The step's lists, and room for what lies between kernels. */
static status set_work(struct cuda_backend *cuda, struct attention_call *call)
{
    const struct cuda_attention_plan *plan = &cuda->step.attention;
    call->items = plan->item;
    call->chunks = plan->chunk;
    call->joins = plan->join;
    call->item_count = plan->items;
    call->chunk_count = plan->chunks;
    call->join_count = plan->joins;
    call->longest_short = plan->longest_short;
    call->chunk_tokens = plan->chunk_tokens;
    call->chunk_blocks = 2 * cuda->multiprocessors; /* what they hold at once */
#ifdef SLUICE_CUDA_SM90A
    call->by_warpgroups =
        cuda->major == 9 && cuda->minor == 0 && 1 << call->block_shift <= ATTENTION_GROUP_BLOCK;
#endif

    const size_t rows = (size_t)plan->slots * (size_t)call->query_heads;
    const size_t partials = rows * (size_t)call->head_dim;
    const size_t totals =
        plan->long_chunks ? (size_t)call->chunk_blocks * attention_total_floats(call->head_dim) : 0;
    const size_t bytes = (totals + partials + 2 * rows) * sizeof(float);
    if (bytes > cuda->attention.bytes) { /* contexts grow step by step */
        TRY(cuda_space_grow(cuda, &cuda->attention, bytes + bytes / 2, "attention"));
    }
    call->totals = cuda->attention.data;
    call->partials = call->totals + totals;
    call->partial_sums = (float2 *)(void *)(call->partials + partials);
    return STATUS_OK;
}

static status run_tensor(struct cuda_backend *cuda, struct attention_call *call)
{
    TRY(set_work(cuda, call));
    cudaError_t error;
    if (call->kv_dtype == DTYPE_FLOAT8_E4M3) {
        error = attention_float8_launch(cuda->stream, call);
    } else if (call->kv_dtype == DTYPE_BFLOAT16) {
        error = attention_bfloat16_launch(cuda->stream, call);
    } else {
        error = attention_float16_launch(cuda->stream, call);
    }
    TRY(cuda_check(error, "attention"));
    return cuda_check(attention_join_launch(cuda->stream, call), "attention");
}

/* What follows a token must be there for it to see: all of each sequence (of a short one that is
 * one split, so that join_kernel, which goes by positions, has nothing to do). */
static status check_whole(const struct batch *batch, const struct attention_facts *facts)
{
    for (int s = 0; s < batch->sequences; s++) {
        if (facts->window != 0 || query_of(batch, s) != batch->context_length[s]) {
            return status_fail(STATUS_INTERNAL,
                               "attention in both directions: sequence %d has %d of %d tokens in "
                               "the step, window %d",
                               s, query_of(batch, s), batch->context_length[s], facts->window);
        }
    }
    return STATUS_OK;
}

status cuda_attention(struct backend *backend, const struct head_layout *heads,
                      const struct attention_facts *facts, struct device_buffer *qkv,
                      struct kv_cache *cache, int layer, const struct matrix *reader,
                      struct device_buffer *out)
{
    (void)reader; /* the product packs what is plain */
    struct cuda_backend *cuda = cuda_of(backend);
    const struct cuda_step *step = &cuda->step;
    const size_t value_bytes = dtype_bytes(cuda->activation);
    if (cuda->batch == NULL || cuda->checked != cache || !cuda_store_fits(cache, layer, heads) ||
        !(facts->scale > 0.0f)) {
        return status_fail(STATUS_INTERNAL, "attention: nothing was appended to this cache");
    }
    if (facts->sinks != NULL && facts->sinks->length != heads->query_heads) {
        return status_fail(STATUS_INTERNAL, "attention: %d sinks of %d heads", facts->sinks->length,
                           heads->query_heads);
    }
    if (facts->bidirectional) {
        TRY(check_whole(cuda->batch, facts));
    }
    struct attention_call call = {
        .query_heads = heads->query_heads,
        .kv_heads = heads->kv_heads,
        .head_dim = heads->head_dim,
        .dtype = (int)cuda->activation,
        .q = qkv->data,
        .q_stride = (heads->query_heads + 2 * heads->kv_heads) * heads->head_dim,
        .out = out->data,
        .keys = cuda_layer_of(cache, cache->keys, layer),
        .values = cuda_layer_of(cache, cache->values, layer),
        .kv_dtype = (int)cache->dtype,
        .block_shift = cuda_block_shift(cache),
        .block_table = step->block_table,
        .block_table_stride = step->block_table_stride,
        .tokens = step->tokens,
        .positions = step->positions,
        .token_sequence = step->token_sequence,
        .context_length = step->context_length,
        .bidirectional = facts->bidirectional,
        .sinks = facts->sinks != NULL ? facts->sinks->data : NULL,
    };
    TRY(cuda_buffer_check(qkv, step->tokens, call.q_stride, value_bytes));
    TRY(cuda_buffer_check(out, step->tokens, (int64_t)heads->query_heads * heads->head_dim,
                          value_bytes));
    TRY(sort_heads(heads, &call));
    set_scales(facts, cache->stores[layer].scales, &call);
    cuda_buffer_is_plain(out);
    if (heads->query_heads == 0) {
        return STATUS_OK;
    }
    return attention_tensor_knows(call.head_dim, call.dtype, call.kv_dtype)
               ? run_tensor(cuda, &call)
               : cuda_check(attention_general_launch(cuda->stream, &call), "attention");
}
