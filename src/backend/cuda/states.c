/* SPDX-License-Identifier: Apache-2.0 */
/* States of sequences on the GPU: where each layer's lie, and the operations of layers that keep
 * them. Nothing clears a state: a kernel takes one for zeros where its sequence begins. */
#include "backend/cuda/cuda.h"

#include "backend/cuda/kernels/states/states.h"

/* ---- Memory ---- */

/* The floats of a place: all layers' states. */
static status plan_place(const struct cache_layout *layout, struct kv_store *stores, size_t *values)
{
    *values = 0;
    for (int i = 0; i < layout->layers; i++) {
        const int64_t own = layout->stores[i].state_values;
        if (own < 0 || __builtin_add_overflow(*values, (size_t)own, values) ||
            *values > INT64_MAX / (2 * sizeof(float))) {
            return status_fail(STATUS_LIMIT, "states: more bytes than can be addressed");
        }
        if (stores != NULL) {
            stores[i].state_offset = *values - (size_t)own;
            stores[i].state_values = (size_t)own;
        }
    }
    return STATUS_OK;
}

int64_t cuda_state_bytes(struct backend *backend, const struct cache_layout *layout)
{
    (void)backend;
    size_t values;
    return plan_place(layout, NULL, &values) == STATUS_OK ? (int64_t)(values * sizeof(float))
                                                          : INT64_MAX;
}

status cuda_states_create(struct kv_cache *cache, const struct cache_layout *layout)
{
    size_t bytes;
    if (layout->places < 0) {
        return status_fail(STATUS_INVALID, "states: %d places", layout->places);
    }
    TRY(plan_place(layout, cache->stores, &cache->place_values));
    cache->places = layout->places;
    if (__builtin_mul_overflow((size_t)layout->places, cache->place_values * sizeof(float),
                               &bytes) ||
        bytes > (size_t)INT64_MAX / 2) {
        return status_fail(STATUS_LIMIT, "states: %d places", layout->places);
    }
    return bytes > 0 ? cuda_check(cudaMalloc((void **)&cache->states, bytes), "states of sequences")
                     : STATUS_OK;
}

/* A layer's states of `values` floats, as this step's sequences have them. */
static status states_of(const struct cuda_backend *cuda, const struct kv_cache *cache, int layer,
                        size_t values, struct states_view *out)
{
    const struct batch *batch = cuda->batch;
    const struct cuda_step *step = &cuda->step;
    if (batch == NULL || layer < 0 || layer >= cache->layers ||
        cache->stores[layer].state_values != values) {
        return status_fail(STATUS_INTERNAL, "layer %d keeps no states of %zu values", layer,
                           values);
    }
    for (int s = 0; s < batch->sequences; s++) {
        if (batch->state_place == NULL || batch->state_place[s] < 0 ||
            batch->state_place[s] >= cache->places) {
            return status_fail(STATUS_INTERNAL, "step: sequence %d has place %d for states, of %d",
                               s, batch->state_place == NULL ? -1 : batch->state_place[s],
                               cache->places);
        }
        if (batch->state_from != NULL &&
            (batch->state_from[s] < 0 || batch->state_from[s] >= cache->places)) {
            return status_fail(STATUS_INTERNAL, "step: sequence %d begins with place %d of %d", s,
                               batch->state_from[s], cache->places);
        }
    }
    *out = (struct states_view){.tokens = batch->tokens,
                                .sequences = batch->sequences,
                                .first = cache->states + cache->stores[layer].state_offset,
                                .stride = cache->place_values,
                                .place = step->state_place,
                                .from = step->state_from,
                                .query_start = step->query_start,
                                .positions = step->positions,
                                .token_sequence = step->token_sequence};
    return STATUS_OK;
}

static bool has_length(const struct vector *vector, int64_t length)
{
    return (int64_t)vector->length == length;
}

static const void *values_from(const struct cuda_backend *cuda, const struct device_buffer *buffer,
                               size_t values)
{
    return (const char *)buffer->data + values * dtype_bytes(cuda->activation);
}

/* ---- Short convolutions ---- */

status cuda_short_convolution(struct backend *backend, int width, int taps,
                              const struct vector *weights, const struct vector *bias,
                              struct device_buffer *in, struct kv_cache *cache, int layer,
                              const struct matrix *reader, struct device_buffer *out)
{
    (void)reader; /* the product packs what is plain */
    struct cuda_backend *cuda = cuda_of(backend);
    if (taps < 1 || taps > STATES_MOST_TAPS || !has_length(weights, (int64_t)taps * width) ||
        (bias != NULL && bias->length != width)) {
        return status_fail(STATUS_INTERNAL, "short convolution: weights of other channels");
    }
    struct states_convolve call = {.channels = width,
                                   .taps = taps,
                                   .in = in->data,
                                   .factors = values_from(cuda, in, 2 * (size_t)width),
                                   .gates = values_from(cuda, in, (size_t)width),
                                   .dtype = (int)cuda->activation,
                                   .in_stride = 3 * (size_t)width,
                                   .weights = weights->data,
                                   .bias = bias != NULL ? bias->data : NULL,
                                   .out = out->data,
                                   .out_dtype = (int)cuda->activation};
    TRY(states_of(cuda, cache, layer, (size_t)(taps - 1) * (size_t)width, &call.states));
    TRY(cuda_settle(cuda, in, 3 * width));
    TRY(cuda_buffer_check(out, cuda->step.tokens, width, dtype_bytes(cuda->activation)));
    cuda_buffer_is_plain(out);
    return cuda_check(states_convolve_launch(cuda->stream, &call), "short convolution");
}

/* The convolution before a recurrence: `channels` of a row of `stride` values from `first` on, into
 * `work` [T][channels]. */
static status mix_channels(struct cuda_backend *cuda, const struct states_view *states,
                           const struct vector *weights, const struct vector *bias, int channels,
                           int taps, const struct device_buffer *in, int stride, int first,
                           struct device_buffer *work)
{
    TRY(cuda_buffer_check(work, cuda->step.tokens, channels, sizeof(float)));
    cuda_buffer_is_plain(work);
    const struct states_convolve call = {.states = *states,
                                         .channels = channels,
                                         .taps = taps,
                                         .in = values_from(cuda, in, (size_t)first),
                                         .dtype = (int)cuda->activation,
                                         .in_stride = (size_t)stride,
                                         .weights = weights->data,
                                         .bias = bias != NULL ? bias->data : NULL,
                                         .out = work->data,
                                         .out_dtype = DTYPE_FLOAT32};
    return cuda_check(states_convolve_launch(cuda->stream, &call), "convolution");
}

/* ---- The gated delta rule ---- */

static int delta_channels(const struct delta_facts *facts)
{
    return 2 * facts->key_heads * facts->key_dim + facts->value_heads * facts->value_dim;
}

static status check_delta(const struct delta_facts *facts, const struct delta_weights *weights)
{
    const bool is_even =
        facts->key_heads > 0 ? facts->value_heads % facts->key_heads == 0 : facts->value_heads == 0;
    if (facts->key_heads < 0 || !is_even || facts->taps < 1 || facts->taps > STATES_MOST_TAPS ||
        !has_length(weights->convolution, (int64_t)facts->taps * delta_channels(facts)) ||
        weights->decay->length != facts->value_heads ||
        weights->step_bias->length != facts->value_heads ||
        weights->norm->length != facts->value_dim) {
        return status_fail(STATUS_INTERNAL, "gated delta rule: weights of other heads");
    }
    return facts->key_dim <= STATES_MOST_ROWS
               ? STATUS_OK
               : status_fail(STATUS_UNSUPPORTED,
                             "gated delta rule: keys of %d values; the most "
                             "are %d",
                             facts->key_dim, (int)STATES_MOST_ROWS);
}

status cuda_gated_delta(struct backend *backend, const struct delta_facts *facts,
                        const struct delta_weights *weights, struct device_buffer *in,
                        struct device_buffer *work, struct kv_cache *cache, int layer,
                        const struct matrix *reader, struct device_buffer *out)
{
    (void)reader;
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(check_delta(facts, weights));
    const int channels = delta_channels(facts), width = facts->value_heads * facts->value_dim;
    const int stride = channels + facts->value_heads * (facts->value_dim + 2);
    const size_t kept = (size_t)(facts->taps - 1) * (size_t)channels;
    struct states_delta call = {.key_heads = facts->key_heads,
                                .value_heads = facts->value_heads,
                                .key_dim = facts->key_dim,
                                .value_dim = facts->value_dim,
                                .epsilon = facts->epsilon,
                                .mixed = work->data,
                                .gates = values_from(cuda, in, (size_t)channels),
                                .dtype = (int)cuda->activation,
                                .gate_stride = (size_t)stride,
                                .state_offset = kept,
                                .decay = weights->decay->data,
                                .step_bias = weights->step_bias->data,
                                .norm = weights->norm->data,
                                .out = out->data};
    TRY(states_of(cuda, cache, layer, kept + (size_t)width * (size_t)facts->key_dim, &call.states));
    TRY(cuda_settle(cuda, in, stride));
    TRY(cuda_buffer_check(out, cuda->step.tokens, width, dtype_bytes(cuda->activation)));
    cuda_buffer_is_plain(out);
    TRY(mix_channels(cuda, &call.states, weights->convolution, NULL, channels, facts->taps, in,
                     stride, 0, work));
    return cuda_check(states_delta_launch(cuda->stream, &call), "gated delta rule");
}

/* ---- State spaces ---- */

static int scan_channels(const struct scan_facts *facts)
{
    return facts->heads * facts->head_dim + 2 * facts->groups * facts->state_dim;
}

static status check_scan(const struct scan_facts *facts, const struct scan_weights *weights)
{
    const int channels = scan_channels(facts), first = facts->first_head;
    const int per_group = facts->heads_per_group;
    const bool has_groups =
        per_group >= 1 && first >= 0 &&
        (facts->heads == 0 ||
         (first + facts->heads - 1) / per_group - first / per_group < facts->groups);
    if (!has_groups || facts->heads < 0 || facts->taps < 1 || facts->taps > STATES_MOST_TAPS ||
        !has_length(weights->convolution, (int64_t)facts->taps * channels) ||
        (weights->convolution_bias != NULL && weights->convolution_bias->length != channels) ||
        weights->decay->length != facts->heads || weights->step_bias->length != facts->heads ||
        weights->skip->length != facts->heads) {
        return status_fail(STATUS_INTERNAL, "state space: weights of other heads");
    }
    return facts->state_dim <= STATES_MOST_ROWS
               ? STATUS_OK
               : status_fail(STATUS_UNSUPPORTED, "state space: states of %d rows; the most are %d",
                             facts->state_dim, (int)STATES_MOST_ROWS);
}

status cuda_scan(struct backend *backend, const struct scan_facts *facts,
                 const struct scan_weights *weights, struct device_buffer *in,
                 struct device_buffer *work, struct kv_cache *cache, int layer,
                 const struct matrix *reader, struct device_buffer *out)
{
    (void)reader;
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(check_scan(facts, weights));
    const int channels = scan_channels(facts), width = facts->heads * facts->head_dim;
    const int stride = width + channels + facts->heads;
    const size_t kept = (size_t)(facts->taps - 1) * (size_t)channels;
    struct states_scan call = {.heads = facts->heads,
                               .head_dim = facts->head_dim,
                               .groups = facts->groups,
                               .state_dim = facts->state_dim,
                               .first_head = facts->first_head,
                               .heads_per_group = facts->heads_per_group,
                               .least_step = facts->least_step,
                               .most_step = facts->most_step,
                               .gates = facts->gates,
                               .mixed = work->data,
                               .in = in->data,
                               .dtype = (int)cuda->activation,
                               .in_stride = (size_t)stride,
                               .state_offset = kept,
                               .decay = weights->decay->data,
                               .step_bias = weights->step_bias->data,
                               .skip = weights->skip->data,
                               .out = out->data};
    TRY(states_of(cuda, cache, layer, kept + (size_t)width * (size_t)facts->state_dim,
                  &call.states));
    TRY(cuda_settle(cuda, in, stride));
    TRY(cuda_buffer_check(out, cuda->step.tokens, width, dtype_bytes(cuda->activation)));
    cuda_buffer_is_plain(out);
    TRY(mix_channels(cuda, &call.states, weights->convolution, weights->convolution_bias, channels,
                     facts->taps, in, stride, width, work));
    return cuda_check(states_scan_launch(cuda->stream, &call), "state space");
}
