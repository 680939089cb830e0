/* SPDX-License-Identifier: Apache-2.0 */
/* Gated short convolutions over the latest few positions (LFM2, arXiv 2511.23404, 2.1).
 *
 * Cut over ranks by channels, of which each is a convolution of its own. The state is a channel's
 * latest values: as many as the convolution reaches back. */
#include <stdlib.h>

#include "model/mixers/mixer.h"

struct short_convolution {
    struct mixer mixer;              /* first: the interface is cast to this */
    struct device_buffer *input;     /* [T, 3 · channels] */
    struct device_buffer *convolved; /* [T, channels] */
};

static struct cache_store convolution_store(const struct model_config *config,
                                            const struct partition *partition,
                                            struct layer_kind kind)
{
    (void)kind;
    return (struct cache_store){.kind = STORE_NO_POSITIONS,
                                .state_values = (int64_t)(config->convolution_taps - 1) *
                                                partition->channels.count};
}

enum { BUFFER_INPUT, BUFFER_CONVOLVED, BUFFERS };

static int convolution_extents(const struct step_shape *shape,
                               struct extent extents[MIXER_MOST_BUFFERS])
{
    const int64_t act = (int64_t)dtype_bytes(shape->compute);
    extents[BUFFER_INPUT] = (struct extent){shape->tokens, 3 * (int64_t)shape->channels, act};
    extents[BUFFER_CONVOLVED] = (struct extent){shape->tokens, shape->channels, act};
    return BUFFERS;
}

static void convolution_destroy(struct forward *forward, struct mixer *mixer)
{
    struct short_convolution *self = (struct short_convolution *)mixer;
    forward->operations->buffer_destroy(forward->options.backend, self->input);
    forward->operations->buffer_destroy(forward->options.backend, self->convolved);
    free(self);
}

static status convolution_create(struct forward *forward, struct mixer **out)
{
    if (forward->operations->short_convolution == NULL) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: short convolutions are not supported on this device; use the CPU",
                           forward->options.config->architecture);
    }
    struct short_convolution *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "short convolutions");
    }
    self->mixer.operations = &mixer_short_convolution;
    *out = &self->mixer;
    struct extent extents[MIXER_MOST_BUFFERS];
    (void)convolution_extents(&forward->shape, extents);
    TRY(forward_scratch(forward, &extents[BUFFER_INPUT], &self->input));
    return forward_scratch(forward, &extents[BUFFER_CONVOLVED], &self->convolved);
}

static const struct matrix *convolution_reader(const struct layer_weights *weights)
{
    return weights->mixer_input;
}

static status convolution_run(struct forward *forward, struct mixer *mixer,
                              const struct batch *batch, int layer, bool is_read, struct mixed *out)
{
    (void)batch;
    (void)is_read; /* the state is made of what the outputs are made of */
    const struct short_convolution *self = (const struct short_convolution *)mixer;
    const struct forward_options *options = &forward->options;
    const struct backend_operations *op = forward->operations;
    const struct layer_weights *w = &options->weights->layers[layer];
    const int channels = options->partition->channels.count;
    TRY(op->product(options->backend, w->mixer_input, w->mixer_input_bias, forward->normed,
                    self->input));
    *out = (struct mixed){self->convolved, channels};
    return op->short_convolution(options->backend, channels, options->config->convolution_taps,
                                 w->convolution, w->convolution_bias, self->input, options->cache,
                                 layer, w->attention_output, self->convolved);
}

const struct mixer_operations mixer_short_convolution = {
    .store = convolution_store,
    .extents = convolution_extents,
    .create = convolution_create,
    .destroy = convolution_destroy,
    .reader = convolution_reader,
    .run = convolution_run,
};
