/* SPDX-License-Identifier: Apache-2.0 */
/* Attention over keys and values, full or in a window (Vaswani et al., arXiv 1706.03762; grouped
 * heads: Ainslie et al., arXiv 2305.13245; windows: Beltagy et al., arXiv 2004.05150).
 *
 * Cut over ranks by query heads; a rank keeps the key/value heads that its query heads read. */
#include <math.h>
#include <stdlib.h>

#include "model/mixers/mixer.h"

struct attention {
    struct mixer mixer; /* first: the interface is cast to this */
    struct head_layout heads;
    struct rope_facts rope[ATTENTION_KINDS]; /* of the layers of each kind */
    bool has_rope[ATTENTION_KINDS];

    struct device_buffer *qkv;      /* [T, (heads + 2 · kv heads) · head_dim] */
    struct device_buffer *attended; /* [T, heads · head_dim] */
    struct device_buffer *gates;    /* [T, heads · head_dim]; NULL without gates */
    struct device_buffer *squares;  /* [T, 2] float32, of norms over all heads; else NULL */
    struct head_slices slices;      /* of these norms */
    float *bias;                    /* by distance, as struct attention_facts has it, or NULL */
    int bias_reach;
};

static struct cache_store attention_store(const struct model_config *config,
                                          const struct partition *partition, struct layer_kind kind)
{
    (void)kind; /* a window's keys are kept as long as the others': blocks are of all layers */
    return (struct cache_store){.kind = STORE_KEYS_VALUES,
                                .kv_heads = partition->kv_head_count,
                                .head_dim = config->head_dim};
}

/* ---- Creation ---- */

static status create_ropes(struct forward *forward, struct attention *attention)
{
    const struct model_config *config = forward->options.config;
    const struct rope_config *ropes[ATTENTION_KINDS] = {
        [ATTENTION_FULL] = &config->rope,
        [ATTENTION_WINDOWED] = config->layer_kinds != NULL ? &config->rope_local : NULL,
    };
    for (int kind = 0; kind < ATTENTION_KINDS; kind++) {
        if (ropes[kind] != NULL && ropes[kind]->kind != ROPE_NONE) {
            TRY(rope_facts_create(config, kind == ATTENTION_WINDOWED,
                                  forward->options.max_model_len, &forward->arena,
                                  &attention->rope[kind]));
            attention->has_rope[kind] = true;
        }
    }
    return STATUS_OK;
}

enum { BUFFER_QKV, BUFFER_ATTENDED, BUFFER_SQUARES, BUFFER_GATES, BUFFERS };

static int attention_extents(const struct step_shape *shape,
                             struct extent extents[MIXER_MOST_BUFFERS])
{
    const int64_t act = (int64_t)dtype_bytes(shape->compute);
    const int64_t head_width = (int64_t)shape->query_heads * shape->head_dim;
    const int64_t kv_width = (int64_t)shape->kv_heads * shape->head_dim;
    extents[BUFFER_QKV] = (struct extent){shape->tokens, head_width + 2 * kv_width, act};
    extents[BUFFER_ATTENDED] = (struct extent){shape->tokens, head_width, act};
    extents[BUFFER_SQUARES] =
        (struct extent){shape->wide_qk_norm ? shape->tokens : -1, 2, sizeof(float)};
    extents[BUFFER_GATES] =
        (struct extent){shape->gated_attention ? shape->tokens : -1, head_width, act};
    return BUFFERS;
}

static status create_scratch(struct forward *forward, struct attention *attention)
{
    struct extent extents[MIXER_MOST_BUFFERS];
    (void)attention_extents(&forward->shape, extents);
    TRY(forward_scratch(forward, &extents[BUFFER_QKV], &attention->qkv));
    TRY(forward_scratch(forward, &extents[BUFFER_SQUARES], &attention->squares));
    TRY(forward_scratch(forward, &extents[BUFFER_GATES], &attention->gates));
    return forward_scratch(forward, &extents[BUFFER_ATTENDED], &attention->attended);
}

/* The slices that norms over all heads are added by. */
static status create_slices(struct forward *forward, struct attention *attention)
{
    const struct model_config *config = forward->options.config;
    const struct partition *part = forward->options.partition;
    uint8_t *is_first = arena_allocate(&forward->arena, (size_t)part->head_count + 1);
    if (is_first == NULL) {
        return status_fail(STATUS_NO_MEMORY, "attention");
    }
    for (int i = 0; i < part->head_count; i++) {
        is_first[i] = (part->first_head + i) % (config->heads / config->kv_heads) == 0;
    }
    attention->slices = (struct head_slices){
        .count = part->local_slices, .start = part->head_slice_start, .is_first = is_first};
    return STATUS_OK;
}

/* The bucket of a distance (Raffel et al., arXiv 1910.10683): half of them for keys behind the
 * query; of each half the first half for a distance each, then logarithmically up to 128. In
 * float32 as the reference computes it. */
static int bias_bucket(int distance, int buckets)
{
    enum { FARTHEST = 128 };
    const int half = buckets / 2, exact = half / 2;
    const int base = distance > 0 ? half : 0, size = distance < 0 ? -distance : distance;
    if (size < exact) {
        return base + size;
    }
    const float share =
        logf((float)size / (float)exact) / (float)log((double)FARTHEST / (double)exact);
    const int large = exact + (int)(share * (float)(half - exact));
    return base + (large < half ? large : half - 1);
}

/* Of every head of this rank the bias of each distance that positions can have. */
static status create_bias(struct forward *forward, struct attention *attention)
{
    const struct model_config *config = forward->options.config;
    const float *table = forward->options.weights->relative_bias;
    if (table == NULL) {
        return STATUS_OK;
    }
    enum { BEHIND = 16 }; /* what a vector reads past the last */
    const int reach = config->max_positions, heads = attention->heads.query_heads;
    const size_t stride = 2 * (size_t)reach + BEHIND;
    attention->bias = calloc((size_t)heads * stride + 1, sizeof *attention->bias);
    if (attention->bias == NULL) {
        return status_fail(STATUS_NO_MEMORY, "attention");
    }
    attention->bias_reach = reach;
    for (int distance = -reach; distance <= reach; distance++) {
        const float *row =
            table + (size_t)bias_bucket(distance, config->relative_buckets) * (size_t)config->heads;
        for (int h = 0; h < heads; h++) {
            attention->bias[(size_t)h * stride + (size_t)(reach + distance)] =
                row[forward->options.partition->first_head + h];
        }
    }
    return STATUS_OK;
}

/* What a backend may lack. */
static status check_operations(const struct forward *forward)
{
    const struct model_config *config = forward->options.config;
    const struct backend_operations *op = forward->operations;
    if (config->wide_qk_norm && op->head_squares == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: norms of q and k over all heads are not supported on this device; "
                           "use the CPU",
                           config->architecture);
    }
    const bool is_near = config->encoder && config->layer_kinds != NULL && config->window > 0;
    if ((is_near || config->relative_buckets > 0) && !op->attends_near) {
        return status_fail(
            STATUS_UNSUPPORTED, "%s: %s are not supported on this device; use the CPU",
            config->architecture, is_near ? "windows to both sides" : "biases by distance");
    }
    if (config->token_types > 0 && config->position_rows == 0 && op->embed_types == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: token types without positions are not supported on this device; "
                           "use the CPU",
                           config->architecture);
    }
    if (config->gated_attention && op->gate == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: attention with gates is not supported on this device; use the CPU",
                           config->architecture);
    }
    return config->query_scale_beta > 0 && op->scale_queries == NULL
               ? status_fail(STATUS_UNSUPPORTED,
                             "%s: queries scaled by their position (llama_4_scaling_beta) are not "
                             "supported on this device; use the CPU",
                             config->architecture)
               : STATUS_OK;
}

/* Static scales of the cache, as the checkpoint has them. */
static status set_scales(struct forward *forward)
{
    const struct forward_options *options = &forward->options;
    for (int layer = 0; layer < options->partition->layer_count; layer++) {
        const struct layer_weights *w = &options->weights->layers[layer];
        if (forward->operations->kv_scale != NULL &&
            mixer_has_part(forward_layer_kind(forward, layer).mixer, MIXER_ATTENTION)) {
            TRY(forward->operations->kv_scale(options->backend, options->cache, layer, w->key_scale,
                                              w->value_scale));
        }
    }
    return STATUS_OK;
}

static void attention_destroy(struct forward *forward, struct mixer *mixer)
{
    struct attention *attention = (struct attention *)mixer;
    forward->operations->buffer_destroy(forward->options.backend, attention->qkv);
    forward->operations->buffer_destroy(forward->options.backend, attention->attended);
    forward->operations->buffer_destroy(forward->options.backend, attention->squares);
    forward->operations->buffer_destroy(forward->options.backend, attention->gates);
    free(attention->bias);
    free(attention);
}

static status attention_create(struct forward *forward, struct mixer **out)
{
    const struct partition *part = forward->options.partition;
    struct attention *attention = calloc(1, sizeof *attention);
    if (attention == NULL) {
        return status_fail(STATUS_NO_MEMORY, "attention");
    }
    attention->mixer.operations = &mixer_attention;
    attention->heads = (struct head_layout){.query_heads = part->head_count,
                                            .kv_heads = part->kv_head_count,
                                            .head_dim = forward->options.config->head_dim,
                                            .kv_head = part->kv_head_of};
    *out = &attention->mixer;
    TRY(check_operations(forward));
    TRY(create_ropes(forward, attention));
    TRY(create_slices(forward, attention));
    TRY(create_bias(forward, attention));
    TRY(create_scratch(forward, attention));
    return set_scales(forward);
}

/* ---- A step ---- */

static const struct matrix *attention_reader(const struct layer_weights *weights)
{
    return weights->attention_gate != NULL ? NULL : weights->qkv;
}

/* q and k over the root of their mean square over all heads of all ranks. */
static status normalize_all_heads(struct forward *forward, const struct attention *attention,
                                  const struct layer_weights *w)
{
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    const struct model_config *config = forward->options.config;
    struct communicator *tensor = forward->options.tensor;
    TRY(op->head_squares(backend, &attention->heads, &attention->slices, attention->qkv,
                         attention->squares));
    if (forward->options.partition->tp > 1) {
        TRY(tensor->sum(tensor, attention->squares, 2 * (size_t)forward->rows));
    }
    return op->head_normalize(backend, &attention->heads, &config->norm, w->q_norm, w->k_norm,
                              config->heads * config->head_dim, config->kv_heads * config->head_dim,
                              attention->squares, attention->qkv);
}

static status attention_run(struct forward *forward, struct mixer *mixer, const struct batch *batch,
                            int layer, bool is_read, struct mixed *out)
{
    (void)batch; /* the backend has had it from step_begin */
    const struct attention *attention = (const struct attention *)mixer;
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    const struct model_config *config = forward->options.config;
    const struct layer_weights *w = &forward->options.weights->layers[layer];
    struct kv_cache *cache = forward->options.cache;
    const struct head_layout *heads = &attention->heads;
    const int kind = (int)forward_layer_kind(forward, layer).attention;
    const int model_layer = forward->options.partition->first_layer + layer;
    const bool lacks_rope =
        config->layer_lacks_rope != NULL && config->layer_lacks_rope[model_layer];
    const struct rope_facts *rope =
        attention->has_rope[kind] && !lacks_rope ? &attention->rope[kind] : NULL;
    const struct attention_facts facts = {.scale = config->attention_scale,
                                          .soft_cap = config->attention_soft_cap,
                                          .window = model_layer_window(config, model_layer),
                                          .bidirectional = config->encoder,
                                          .sinks = w->sinks,

                                          .bias = attention->bias,
                                          .bias_reach = attention->bias_reach};

    TRY(op->product(backend, w->qkv, w->qkv_bias, forward->normed, attention->qkv));
    if (config->wide_qk_norm) {
        TRY(normalize_all_heads(forward, attention, w));
    }
    TRY(op->rope_append(backend, heads, rope, &config->norm,
                        config->wide_qk_norm ? NULL : w->q_norm,
                        config->wide_qk_norm ? NULL : w->k_norm, attention->qkv, cache, layer));
    if (!is_read) {
        return STATUS_OK;
    }
    if (config->query_scale_beta > 0) {
        TRY(op->scale_queries(backend, heads, config->query_scale_beta, config->query_scale_length,
                              attention->qkv));
    }
    *out = (struct mixed){attention->attended, heads->query_heads * heads->head_dim};
    if (w->attention_gate == NULL) {
        return op->attention(backend, heads, &facts, attention->qkv, cache, layer,
                             w->attention_output, attention->attended);
    }
    TRY(op->product(backend, w->attention_gate, NULL, forward->normed, attention->gates));
    TRY(op->attention(backend, heads, &facts, attention->qkv, cache, layer, NULL,
                      attention->attended));
    return op->gate(backend, out->width, attention->gates, w->attention_output,
                    attention->attended);
}

const struct mixer_operations mixer_attention = {
    .store = attention_store,
    .extents = attention_extents,
    .create = attention_create,
    .destroy = attention_destroy,
    .reader = attention_reader,
    .run = attention_run,
};
