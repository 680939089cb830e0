/* SPDX-License-Identifier: Apache-2.0 */
/* Latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): what a position keeps is one
 * latent and one rotary key for all heads.
 *
 * Cut over ranks by query heads; every rank has the latent whole and makes it itself. */
#include <stdlib.h>

#include "model/mixers/mixer.h"

struct latent {
    struct mixer mixer; /* first: the interface is cast to this */
    struct latent_facts facts;
    struct rope_facts rope;
    struct group_norm_facts query_norm;
    int32_t query_slice[2];
    struct device_buffer *query_latent; /* [T, query latent]; NULL where q is made without */
    struct device_buffer *sums;         /* [T, 1] float32 of its norm; NULL likewise */
    struct device_buffer *q;            /* [T, heads · (key_dim + rope_dim)] */
    struct device_buffer *latent;       /* [T, latent_dim + rope_dim] */
    struct device_buffer *queries;      /* [T, heads · (latent_dim + rope_dim)] */
    struct device_buffer *attended;     /* [T, heads · latent_dim] */
    struct device_buffer *out;          /* [T, heads · value_dim] */
};

/* Norms of latents have the epsilon of their class, whatever rms_norm_eps says (transformers'
 * modeling_deepseek_v3.py, and DeepSeek's own). */
static const float latent_epsilon = 1e-6f;

static struct cache_store latent_store(const struct model_config *config,
                                       const struct partition *partition, struct layer_kind kind)
{
    (void)partition; /* the same on every rank */
    (void)kind;
    return (struct cache_store){.kind = STORE_LATENT,
                                .kv_heads = 1,
                                .head_dim = config->latent_dim + config->latent_rope_dim};
}

enum {
    BUFFER_QUERY_LATENT,
    BUFFER_SUMS,
    BUFFER_Q,
    BUFFER_LATENT,
    BUFFER_QUERIES,
    BUFFER_ATTENDED,
    BUFFER_OUT,
    BUFFERS
};

static int latent_extents(const struct step_shape *shape, struct extent extents[MIXER_MOST_BUFFERS])
{
    const int64_t act = (int64_t)dtype_bytes(shape->compute), heads = shape->query_heads;
    const int64_t wide = shape->latent_dim + shape->latent_rope;
    const int64_t compressed = shape->query_latent > 0 ? shape->tokens : -1;
    extents[BUFFER_QUERY_LATENT] = (struct extent){compressed, shape->query_latent, act};
    extents[BUFFER_SUMS] = (struct extent){compressed, 1, sizeof(float)};
    extents[BUFFER_Q] =
        (struct extent){shape->tokens, heads * (shape->latent_key + shape->latent_rope), act};
    extents[BUFFER_LATENT] = (struct extent){shape->tokens, wide, act};
    extents[BUFFER_QUERIES] = (struct extent){shape->tokens, heads * wide, act};
    extents[BUFFER_ATTENDED] = (struct extent){shape->tokens, heads * shape->latent_dim, act};
    extents[BUFFER_OUT] = (struct extent){shape->tokens, heads * shape->head_dim, act};
    return BUFFERS;
}

/* Where each buffer is kept. */
static void list_buffers(struct latent *self, struct device_buffer **at[BUFFERS])
{
    at[BUFFER_QUERY_LATENT] = &self->query_latent;
    at[BUFFER_SUMS] = &self->sums;
    at[BUFFER_Q] = &self->q;
    at[BUFFER_LATENT] = &self->latent;
    at[BUFFER_QUERIES] = &self->queries;
    at[BUFFER_ATTENDED] = &self->attended;
    at[BUFFER_OUT] = &self->out;
}

static void latent_destroy(struct forward *forward, struct mixer *mixer)
{
    struct device_buffer **at[BUFFERS];
    list_buffers((struct latent *)mixer, at);
    for (int i = 0; i < BUFFERS; i++) {
        forward->operations->buffer_destroy(forward->options.backend, *at[i]);
    }
    free(mixer);
}

static void set_facts(const struct forward *forward, struct latent *self)
{
    const struct model_config *config = forward->options.config;
    const struct partition *part = forward->options.partition;
    self->facts =
        (struct latent_facts){.heads = {.query_heads = part->head_count,
                                        .kv_heads = 1,
                                        .head_dim = config->latent_dim + config->latent_rope_dim,
                                        .kv_head = part->kv_head_of},
                              .latent_dim = config->latent_dim,
                              .rope_dim = config->latent_rope_dim,
                              .key_dim = config->latent_key_dim,
                              .value_dim = config->head_dim,
                              .scale = config->attention_scale,
                              .epsilon = latent_epsilon};
    self->query_slice[1] = config->query_latent_dim;
    self->query_norm = (struct group_norm_facts){.groups = 1,
                                                 .group_width = config->query_latent_dim,
                                                 .width = config->query_latent_dim,
                                                 .slices = 1,
                                                 .slice_start = self->query_slice,
                                                 .epsilon = latent_epsilon};
}

static status latent_create(struct forward *forward, struct mixer **out)
{
    const struct model_config *config = forward->options.config;
    const struct backend_operations *op = forward->operations;
    if (op->latent_append == NULL || op->group_squares == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: latent attention is not supported on this device; use the CPU",
                           config->architecture);
    }
    struct latent *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "latent attention");
    }
    self->mixer.operations = &mixer_latent;
    *out = &self->mixer;
    set_facts(forward, self);
    TRY(rope_facts_create(config, false, forward->options.max_model_len, &forward->arena,
                          &self->rope));
    struct extent extents[MIXER_MOST_BUFFERS];
    struct device_buffer **at[BUFFERS];
    (void)latent_extents(&forward->shape, extents);
    list_buffers(self, at);
    for (int i = 0; i < BUFFERS; i++) {
        TRY(forward_scratch(forward, &extents[i], at[i]));
    }
    return STATUS_OK;
}

static const struct matrix *latent_reader(const struct layer_weights *weights)
{
    (void)weights;
    return NULL; /* the latent's product and that of q */
}

/* q of the hidden state, or of the norm of its own latent. */
static status make_q(struct forward *forward, const struct latent *self,
                     const struct layer_weights *w)
{
    const struct backend_operations *op = forward->operations;
    struct backend *backend = forward->options.backend;
    if (w->query_down == NULL) {
        return op->product(backend, w->qkv, NULL, forward->normed, self->q);
    }
    TRY(op->product(backend, w->query_down, NULL, forward->normed, self->query_latent));
    TRY(op->group_squares(backend, &self->query_norm, self->query_latent, self->sums));
    TRY(op->group_normalize(backend, &self->query_norm, w->q_norm, self->sums, NULL, w->qkv,
                            self->query_latent));
    return op->product(backend, w->qkv, NULL, self->query_latent, self->q);
}

static status latent_run(struct forward *forward, struct mixer *mixer, const struct batch *batch,
                         int layer, bool is_read, struct mixed *out)
{
    (void)batch;
    const struct latent *self = (const struct latent *)mixer;
    const struct forward_options *options = &forward->options;
    const struct backend_operations *op = forward->operations;
    const struct layer_weights *w = &options->weights->layers[layer];
    TRY(op->product(options->backend, w->mixer_input, NULL, forward->normed, self->latent));
    TRY(op->latent_append(options->backend, &self->facts, &self->rope, w->mixer_norm, self->latent,
                          options->cache, layer));
    if (!is_read) {
        return STATUS_OK;
    }
    TRY(make_q(forward, self, w));
    TRY(op->latent_queries(options->backend, &self->facts, &self->rope, w->key_up, self->q,
                           self->queries));
    *out = (struct mixed){self->out, self->facts.heads.query_heads * self->facts.value_dim};
    return op->latent_attention(options->backend, &self->facts, w->value_up, self->queries,
                                options->cache, layer, self->attended, w->attention_output,
                                self->out);
}

const struct mixer_operations mixer_latent = {
    .store = latent_store,
    .extents = latent_extents,
    .create = latent_create,
    .destroy = latent_destroy,
    .reader = latent_reader,
    .run = latent_run,
};
