/* SPDX-License-Identifier: Apache-2.0 */
/* The gated delta rule (Yang et al., arXiv 2412.06464) in the layers of Qwen3-Next and Qwen 3.5.
 *
 * Cut over ranks by key heads, each with the value heads that read it: the convolution's channels,
 * the state and the norm behind it are a head's own. */
#include <stdlib.h>

#include "model/mixers/mixer.h"

struct gated_delta {
    struct mixer mixer; /* first: the interface is cast to this */
    struct delta_facts facts;
    struct device_buffer *input; /* [T, q, k, v, z, b, a of the rank's heads] */
    struct device_buffer *work;  /* [T, channels] float32 */
    struct device_buffer *out;   /* [T, value heads · value_dim] */
};

static struct delta_facts facts_of(const struct model_config *config,
                                   const struct partition *partition)
{
    const int keys = partition->delta_keys.count;
    return (struct delta_facts){.key_heads = keys,
                                .value_heads =
                                    keys * (config->delta_value_heads / config->delta_key_heads),
                                .key_dim = config->delta_key_dim,
                                .value_dim = config->delta_value_dim,
                                .taps = config->convolution_taps,
                                .epsilon = config->norm.epsilon};
}

static struct cache_store delta_store(const struct model_config *config,
                                      const struct partition *partition, struct layer_kind kind)
{
    (void)kind;
    const struct delta_facts facts = facts_of(config, partition);
    const int64_t values = (int64_t)facts.value_heads * facts.value_dim;
    const int64_t channels = 2 * (int64_t)facts.key_heads * facts.key_dim + values;
    return (struct cache_store){.kind = STORE_NO_POSITIONS,
                                .state_values =
                                    (facts.taps - 1) * channels + values * facts.key_dim};
}

enum { BUFFER_INPUT, BUFFER_WORK, BUFFER_OUT, BUFFERS };

static int delta_extents(const struct step_shape *shape, struct extent extents[MIXER_MOST_BUFFERS])
{
    const int64_t act = (int64_t)dtype_bytes(shape->compute);
    extents[BUFFER_INPUT] = (struct extent){shape->tokens, shape->delta_row, act};
    extents[BUFFER_WORK] = (struct extent){shape->tokens, shape->delta_channels, sizeof(float)};
    extents[BUFFER_OUT] = (struct extent){shape->tokens, shape->delta_out, act};
    return BUFFERS;
}

static void delta_destroy(struct forward *forward, struct mixer *mixer)
{
    struct gated_delta *self = (struct gated_delta *)mixer;
    forward->operations->buffer_destroy(forward->options.backend, self->input);
    forward->operations->buffer_destroy(forward->options.backend, self->work);
    forward->operations->buffer_destroy(forward->options.backend, self->out);
    free(self);
}

static status delta_create(struct forward *forward, struct mixer **out)
{
    const struct forward_options *options = &forward->options;
    if (forward->operations->gated_delta == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: the gated delta rule is not supported on this device; use the CPU",
                           options->config->architecture);
    }
    struct gated_delta *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "gated delta rule");
    }
    self->mixer.operations = &mixer_gated_delta;
    self->facts = facts_of(options->config, options->partition);
    *out = &self->mixer;
    struct extent extents[MIXER_MOST_BUFFERS];
    (void)delta_extents(&forward->shape, extents);
    TRY(forward_scratch(forward, &extents[BUFFER_INPUT], &self->input));
    TRY(forward_scratch(forward, &extents[BUFFER_WORK], &self->work));
    return forward_scratch(forward, &extents[BUFFER_OUT], &self->out);
}

static const struct matrix *delta_reader(const struct layer_weights *weights)
{
    return weights->mixer_input;
}

static status delta_run(struct forward *forward, struct mixer *mixer, const struct batch *batch,
                        int layer, bool is_read, struct mixed *out)
{
    (void)batch;
    (void)is_read; /* the state is made of what the outputs are made of */
    const struct gated_delta *self = (const struct gated_delta *)mixer;
    const struct forward_options *options = &forward->options;
    const struct backend_operations *op = forward->operations;
    const struct layer_weights *w = &options->weights->layers[layer];
    const struct delta_weights weights = {.convolution = w->convolution,
                                          .decay = w->decay,
                                          .step_bias = w->step_bias,
                                          .norm = w->mixer_norm};
    TRY(op->product(options->backend, w->mixer_input, NULL, forward->normed, self->input));
    *out = (struct mixed){self->out, self->facts.value_heads * self->facts.value_dim};
    return op->gated_delta(options->backend, &self->facts, &weights, self->input, self->work,
                           options->cache, layer, w->attention_output, self->out);
}

const struct mixer_operations mixer_gated_delta = {
    .store = delta_store,
    .extents = delta_extents,
    .create = delta_create,
    .destroy = delta_destroy,
    .reader = delta_reader,
    .run = delta_run,
};
