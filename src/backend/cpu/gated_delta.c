/* SPDX-License-Identifier: Apache-2.0 */
/* The gated delta rule (Yang et al., arXiv 2412.06464), position by position.
 *
 * A head's state of 128 by 128 values stays in a core's cache while its sequence's tokens go
 * through it. Chunks of products would need more operations here, not fewer; so there is one form,
 * and a position's bits know nothing of steps. */
#include <math.h>

#include "backend/cpu/cpu.h"

/* Floats of a row of `in`, and of the parts of it that the convolution takes. */
static int channels_of(const struct delta_facts *facts)
{
    return 2 * facts->key_heads * facts->key_dim + facts->value_heads * facts->value_dim;
}

static int row_width(const struct delta_facts *facts)
{
    return channels_of(facts) + facts->value_heads * (facts->value_dim + 2);
}

/* What a step's heads are computed with. */
struct delta_call {
    const struct cpu_backend *cpu;
    const struct delta_facts *facts;
    const float *in; /* [T][row_width] */
    float *mixed;    /* [T][channels] q, k and v behind the convolution */
    const float *decay, *step_bias, *norm;
    struct state_view states;
    float *out; /* [T][value_heads · value_dim] */
};

/* Divides a head by its length, and by `more`. */
static void normalize_head(float *values, int count, double more)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (double)values[i] * (double)values[i];
    }
    const float factor = (float)(1 / (sqrt(sum + 1e-6) * more));
    for (int i = 0; i < count; i++) {
        values[i] *= factor;
    }
}

/* Of every token: SiLU of q, k and v; lengths of q and k. */
static void prepare_token(const struct delta_call *call, int token)
{
    const struct delta_facts *facts = call->facts;
    const int channels = channels_of(facts), dim = facts->key_dim;
    float *row = call->mixed + (size_t)token * (size_t)channels;
    call->cpu->kernels->activate(ACTIVATION_SILU, row, NULL, channels, row);
    for (int head = 0; head < 2 * facts->key_heads; head++) {
        normalize_head(row + (size_t)head * (size_t)dim, dim,
                       head < facts->key_heads ? sqrt(dim) : 1);
    }
}

/* exp(-exp(A_log) · softplus(a + dt_bias)) */
static float decay_of(const struct delta_call *call, int head, float a)
{
    const double x = (double)a + (double)call->step_bias[head];
    const double softplus = x > 20 ? x : log1p(exp(x));
    return (float)exp(-exp((double)call->decay[head]) * softplus);
}

/* One value head of one sequence, all its tokens. */
static void run_head(const struct delta_call *call, int sequence, int head)
{
    const struct delta_facts *facts = call->facts;
    const struct batch *batch = call->cpu->batch;
    const struct cpu_kernels *kernels = call->cpu->kernels;
    const size_t key_dim = (size_t)facts->key_dim, value_dim = (size_t)facts->value_dim;
    const size_t channels = (size_t)channels_of(facts), width = (size_t)row_width(facts);
    const size_t heads = (size_t)facts->value_heads, h = (size_t)head;
    const size_t key_head = h / (heads / (size_t)facts->key_heads);
    const size_t q = key_head * key_dim, k = q + (size_t)facts->key_heads * key_dim;
    const size_t v = 2 * (size_t)facts->key_heads * key_dim + h * value_dim;
    const struct norm_facts norm = {.epsilon = facts->epsilon};
    float *state = cpu_state_at(call->cpu, &call->states, sequence) +
                   (size_t)(facts->taps - 1) * channels + h * key_dim * value_dim;
    for (int t = batch->query_start[sequence]; t < batch->query_start[sequence + 1]; t++) {
        const float *row = call->mixed + (size_t)t * channels;
        const float *gates = call->in + (size_t)t * width + channels; /* z, then b, then a */
        const float b = gates[heads * value_dim + h], a = gates[heads * value_dim + heads + h];
        float *out = call->out + (size_t)t * heads * value_dim + h * value_dim;
        kernels->delta(state, row + q, row + k, row + v, decay_of(call, head, a),
                       (float)(1 / (1 + exp(-(double)b))), facts->key_dim, facts->value_dim, out);
        kernels->norm(&norm, out, call->norm, NULL, facts->value_dim, out);
        kernels->activate(ACTIVATION_SILU, gates + h * value_dim, out, facts->value_dim, out);
    }
}

static status check_shapes(const struct delta_facts *facts, const struct delta_weights *weights)
{
    const bool is_even =
        facts->key_heads > 0 ? facts->value_heads % facts->key_heads == 0 : facts->value_heads == 0;
    return facts->key_heads >= 0 && is_even && facts->taps >= 1 && facts->taps <= MOST_TAPS &&
                   (int64_t)weights->convolution->length ==
                       (int64_t)facts->taps * channels_of(facts) &&
                   weights->decay->length == facts->value_heads &&
                   weights->step_bias->length == facts->value_heads &&
                   weights->norm->length == facts->value_dim
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "gated delta rule: weights of other heads");
}

static void run_heads(const struct delta_call *call)
{
    const struct cpu_backend *cpu = call->cpu;
    const struct delta_facts *facts = call->facts;
    const int tokens = cpu->batch->tokens, heads = facts->value_heads;
    const int64_t jobs = (int64_t)cpu->batch->sequences * heads;
    const int threads =
        cpu_threads_for(cpu, 4.0 * tokens * heads * facts->key_dim * facts->value_dim);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for
        for (int token = 0; token < tokens; token++) {
            prepare_token(call, token);
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < jobs; i++) {
            run_head(call, (int)(i / heads), (int)(i % heads));
        }
    }
}

status cpu_gated_delta(struct backend *backend, const struct delta_facts *facts,
                       const struct delta_weights *weights, struct device_buffer *in,
                       struct device_buffer *work, struct kv_cache *cache, int layer,
                       const struct matrix *reader, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, channels = channels_of(facts);
    const int out_width = facts->value_heads * facts->value_dim;
    struct delta_call call = {.cpu = cpu,
                              .facts = facts,
                              .in = cpu_floats(in, tokens, row_width(facts)),
                              .mixed = cpu_floats(work, tokens, channels),
                              .decay = weights->decay->region.data,
                              .step_bias = weights->step_bias->region.data,
                              .norm = weights->norm->region.data,
                              .out = cpu_floats(out, tokens, out_width)};
    if (call.in == NULL || call.mixed == NULL || call.out == NULL) {
        return STATUS_INTERNAL;
    }
    TRY(check_shapes(facts, weights));
    TRY(cpu_states_of(cpu, cache, layer,
                      (size_t)(facts->taps - 1) * (size_t)channels +
                          (size_t)out_width * (size_t)facts->key_dim,
                      &call.states));
    const struct channel_convolution convolution = {.in = cpu_floats(in, tokens, row_width(facts)),
                                                    .in_stride = (size_t)row_width(facts),
                                                    .channels = channels,
                                                    .taps = facts->taps,
                                                    .weights = weights->convolution->region.data,
                                                    .out = call.mixed,
                                                    .states = call.states};
    cpu_convolve(cpu, &convolution);
    run_heads(&call);
    cpu_round(cpu, reader, call.out, (size_t)tokens * (size_t)out_width);
    return STATUS_OK;
}

status cpu_scale(struct backend *backend, int width, int first, int count, float factor,
                 struct device_buffer *values)
{
    struct cpu_backend *cpu = cpu_of(backend);
    float *rows = cpu_floats(values, cpu->rows, width);
    if (rows == NULL) {
        return STATUS_INTERNAL;
    }
    for (int row = 0; row < cpu->rows; row++) {
        float *at = rows + (size_t)row * (size_t)width + first;
        for (int i = 0; i < count; i++) {
            at[i] *= factor;
        }
        cpu_round(cpu, NULL, at, (size_t)count);
    }
    return STATUS_OK;
}

status cpu_gate(struct backend *backend, int width, struct device_buffer *gates,
                const struct matrix *reader, struct device_buffer *values)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens;
    const float *from = cpu_floats(gates, tokens, width);
    float *to = cpu_floats(values, tokens, width);
    if (from == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    const int threads = cpu_threads_for(cpu, 16.0 * tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        const size_t at = (size_t)token * (size_t)width;
        cpu->kernels->gate(from + at, width, to + at);
    }
    cpu_round(cpu, reader, to, (size_t)tokens * (size_t)width);
    return STATUS_OK;
}
