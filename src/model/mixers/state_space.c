/* SPDX-License-Identifier: Apache-2.0 */
/* State spaces of the second Mamba (Dao and Gu, arXiv 2405.21060): Granite 4, Nemotron-H,
 * Falcon-H1.
 *
 * Cut over ranks by heads; a rank keeps the groups of B and C that its heads read. What comes out
 * is gated and, but in some models, normed over all heads of a group, which ranks share: squares
 * are summed over them.
 */
#include <stdlib.h>

#include "model/mixers/mixer.h"

struct state_space {
    struct mixer mixer; /* first: the interface is cast to this */
    struct scan_facts facts;
    struct group_norm_facts norm;
    struct device_buffer *input; /* [T, z, x, B, C, dt of the rank's heads and groups] */
    struct device_buffer *work;  /* [T, channels] float32 */
    struct device_buffer *out;   /* [T, heads · head_dim] */
    struct device_buffer *sums;  /* [T, groups of all ranks] float32 */
};

static struct scan_facts facts_of(const struct model_config *config,
                                  const struct partition *partition)
{
    return (struct scan_facts){.heads = partition->scan_heads.count,
                               .head_dim = config->scan_head_dim,
                               .groups = partition->scan_group_count,
                               .state_dim = config->scan_state_dim,
                               .first_head = partition->scan_heads.first,
                               .heads_per_group = config->scan_heads / config->scan_groups,
                               .taps = config->convolution_taps,
                               .least_step = config->scan_least_step,
                               .most_step = config->scan_most_step,
                               .gates = !config->scan_norm_first};
}

static struct group_norm_facts norm_of(const struct model_config *config,
                                       const struct partition *partition)
{
    const struct model_cut *cut = &partition->scan_heads;
    const int width = config->scan_heads * config->scan_head_dim;
    const int groups = config->scan_norm_groups > 0 ? config->scan_norm_groups : 1;
    return (struct group_norm_facts){.groups = groups,
                                     .group_width = width / groups,
                                     .first = cut->first * config->scan_head_dim,
                                     .width = cut->count * config->scan_head_dim,
                                     .slices = partition->local_slices,
                                     .slice_start = cut->slice_start,
                                     .epsilon = config->norm.epsilon};
}

static struct cache_store space_store(const struct model_config *config,
                                      const struct partition *partition, struct layer_kind kind)
{
    (void)kind;
    const struct scan_facts facts = facts_of(config, partition);
    const int64_t inner = (int64_t)facts.heads * facts.head_dim;
    const int64_t channels = inner + 2 * (int64_t)facts.groups * facts.state_dim;
    return (struct cache_store){.kind = STORE_NO_POSITIONS,
                                .state_values =
                                    (facts.taps - 1) * channels + inner * facts.state_dim};
}

enum { BUFFER_INPUT, BUFFER_WORK, BUFFER_OUT, BUFFER_SUMS, BUFFERS };

static int space_extents(const struct step_shape *shape, struct extent extents[MIXER_MOST_BUFFERS])
{
    const int64_t act = (int64_t)dtype_bytes(shape->compute);
    const int64_t row = (int64_t)shape->scan_width + shape->scan_channels + shape->scan_heads;
    extents[BUFFER_INPUT] = (struct extent){shape->tokens, row, act};
    extents[BUFFER_WORK] = (struct extent){shape->tokens, shape->scan_channels, sizeof(float)};
    extents[BUFFER_OUT] = (struct extent){shape->tokens, shape->scan_width, act};
    extents[BUFFER_SUMS] = (struct extent){shape->scan_norm_groups > 0 ? shape->tokens : -1,
                                           shape->scan_norm_groups, sizeof(float)};
    return BUFFERS;
}

static void space_destroy(struct forward *forward, struct mixer *mixer)
{
    struct state_space *self = (struct state_space *)mixer;
    struct device_buffer *buffers[] = {self->input, self->work, self->out, self->sums};
    for (size_t i = 0; i < COUNT_OF(buffers); i++) {
        forward->operations->buffer_destroy(forward->options.backend, buffers[i]);
    }
    free(self);
}

static status space_create(struct forward *forward, struct mixer **out)
{
    const struct forward_options *options = &forward->options;
    const struct backend_operations *op = forward->operations;
    if (op->scan == NULL || op->group_squares == NULL || op->group_normalize == NULL ||
        (op->scale == NULL && options->config->scan_scales[0] != 0)) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s: state spaces are not supported on this device; use the CPU",
                           options->config->architecture);
    }
    struct state_space *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return status_fail(STATUS_NO_MEMORY, "state spaces");
    }
    self->mixer.operations = &mixer_state_space;
    self->facts = facts_of(options->config, options->partition);
    self->norm = norm_of(options->config, options->partition);
    if (!self->facts.gates) { /* z, with which a row of the input begins */
        self->norm.gate_stride = 2 * self->norm.width + self->facts.heads +
                                 2 * self->facts.groups * self->facts.state_dim;
    }
    *out = &self->mixer;
    struct extent extents[MIXER_MOST_BUFFERS];
    (void)space_extents(&forward->shape, extents);
    TRY(forward_scratch(forward, &extents[BUFFER_INPUT], &self->input));
    TRY(forward_scratch(forward, &extents[BUFFER_WORK], &self->work));
    TRY(forward_scratch(forward, &extents[BUFFER_OUT], &self->out));
    return forward_scratch(forward, &extents[BUFFER_SUMS], &self->sums);
}

static const struct matrix *space_reader(const struct layer_weights *weights)
{
    return weights->mixer_input;
}

/* z, x, B, C and dt times the model's own factors (Falcon-H1). */
static status scale_input(struct forward *forward, const struct state_space *self)
{
    const struct model_config *config = forward->options.config;
    const struct scan_facts *facts = &self->facts;
    const int inner = facts->heads * facts->head_dim, groups = facts->groups * facts->state_dim;
    const int widths[] = {inner, inner, groups, groups, facts->heads};
    const int row = 2 * inner + 2 * groups + facts->heads;
    for (int i = 0, first = 0; i < (int)COUNT_OF(widths); first += widths[i++]) {
        TRY(forward->operations->scale(forward->options.backend, row, first, widths[i],
                                       config->scan_scales[i], self->input));
    }
    return STATUS_OK;
}

static status space_run(struct forward *forward, struct mixer *mixer, const struct batch *batch,
                        int layer, bool is_read, struct mixed *out)
{
    (void)batch;
    const struct state_space *self = (const struct state_space *)mixer;
    const struct forward_options *options = &forward->options;
    const struct backend_operations *op = forward->operations;
    const struct layer_weights *w = &options->weights->layers[layer];
    const struct scan_weights weights = {.convolution = w->convolution,
                                         .convolution_bias = w->convolution_bias,
                                         .decay = w->decay,
                                         .step_bias = w->step_bias,
                                         .skip = w->skip};
    TRY(op->product(options->backend, w->mixer_input, w->mixer_input_bias, forward->normed,
                    self->input));
    if (options->config->scan_scales[0] != 0) {
        TRY(scale_input(forward, self));
    }
    const bool has_norm = w->mixer_norm != NULL;
    const struct matrix *reader = mixer_output(w, MIXER_STATE_SPACE);
    TRY(op->scan(options->backend, &self->facts, &weights, self->input, self->work, options->cache,
                 layer, has_norm ? NULL : reader, self->out));
    *out = (struct mixed){self->out, self->norm.width};
    if (!is_read || !has_norm) {
        return STATUS_OK;
    }
    TRY(op->group_squares(options->backend, &self->norm, self->out, self->sums));
    if (options->partition->tp > 1) {
        TRY(options->tensor->sum(options->tensor, self->sums,
                                 (size_t)self->norm.groups * (size_t)forward->rows));
    }
    return op->group_normalize(options->backend, &self->norm, w->mixer_norm, self->sums,
                               self->norm.gate_stride > 0 ? self->input : NULL, reader, self->out);
}

const struct mixer_operations mixer_state_space = {
    .store = space_store,
    .extents = space_extents,
    .create = space_create,
    .destroy = space_destroy,
    .reader = space_reader,
    .run = space_run,
};
