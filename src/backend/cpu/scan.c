/* SPDX-License-Identifier: Apache-2.0 */
/* State spaces of the second Mamba (Dao and Gu, arXiv 2405.21060), position by position, and the
 * norm over groups behind them.
 *
 * A head's state stays in a core's cache while its sequence's tokens go through it. Chunks of
 * products would need more operations here, not fewer; so there is one form, and a position's bits
 * know nothing of steps. */
#include <math.h>

#include "backend/cpu/cpu.h"

static int inner_width(const struct scan_facts *facts)
{
    return facts->heads * facts->head_dim;
}

static int channels_of(const struct scan_facts *facts)
{
    return inner_width(facts) + 2 * facts->groups * facts->state_dim;
}

static int row_width(const struct scan_facts *facts)
{
    return inner_width(facts) + channels_of(facts) + facts->heads;
}

/* What a step's heads are computed with. */
struct scan_call {
    const struct cpu_backend *cpu;
    const struct scan_facts *facts;
    const float *in; /* [T][row_width] */
    float *mixed;    /* [T][channels] x, B and C behind the convolution */
    const float *decay, *step_bias, *skip;
    struct state_view states;
    float *out; /* [T][heads · head_dim] */
};

static float step_of(const struct scan_call *call, int head, float dt)
{
    const double x = (double)dt + (double)call->step_bias[head];
    const float step = (float)(x > 20 ? x : log1p(exp(x)));
    const struct scan_facts *facts = call->facts;
    return step < facts->least_step  ? facts->least_step
           : step > facts->most_step ? facts->most_step
                                     : step;
}

/* One head of one sequence, all its tokens. */
static void run_head(const struct scan_call *call, int sequence, int head)
{
    const struct scan_facts *facts = call->facts;
    const struct batch *batch = call->cpu->batch;
    const struct cpu_kernels *kernels = call->cpu->kernels;
    const size_t inner = (size_t)inner_width(facts), channels = (size_t)channels_of(facts);
    const size_t width = (size_t)row_width(facts), dim = (size_t)facts->head_dim;
    const size_t h = (size_t)head, state_dim = (size_t)facts->state_dim;
    const size_t group = (size_t)((facts->first_head + head) / facts->heads_per_group -
                                  facts->first_head / facts->heads_per_group);
    const size_t b = inner + group * state_dim, c = b + (size_t)facts->groups * state_dim;
    const double rate = -exp((double)call->decay[head]);
    float *state = cpu_state_at(call->cpu, &call->states, sequence) +
                   (size_t)(facts->taps - 1) * channels + h * state_dim * dim;
    for (int t = batch->query_start[sequence]; t < batch->query_start[sequence + 1]; t++) {
        const float *row = call->mixed + (size_t)t * channels, *in = call->in + (size_t)t * width;
        float *out = call->out + (size_t)t * inner + h * dim;
        const float step = step_of(call, head, in[inner + channels + h]);
        kernels->scan(state, row + b, row + c, row + h * dim, (float)exp(rate * (double)step), step,
                      call->skip[head], facts->state_dim, facts->head_dim, out);
        if (facts->gates) {
            kernels->activate(ACTIVATION_SILU, in + h * dim, out, facts->head_dim, out);
        }
    }
}

static void run_heads(const struct scan_call *call)
{
    const struct cpu_backend *cpu = call->cpu;
    const struct scan_facts *facts = call->facts;
    const int tokens = cpu->batch->tokens, heads = facts->heads, channels = channels_of(facts);
    const int64_t jobs = (int64_t)cpu->batch->sequences * heads;
    const int threads =
        cpu_threads_for(cpu, 3.0 * tokens * heads * facts->head_dim * facts->state_dim);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for
        for (int token = 0; token < tokens; token++) {
            float *row = call->mixed + (size_t)token * (size_t)channels;
            cpu->kernels->activate(ACTIVATION_SILU, row, NULL, channels, row);
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < jobs; i++) {
            run_head(call, (int)(i / heads), (int)(i % heads));
        }
    }
}

static status check_shapes(const struct scan_facts *facts, const struct scan_weights *weights)
{
    const int channels = channels_of(facts), first = facts->first_head;
    const int per_group = facts->heads_per_group;
    const bool has_groups =
        per_group >= 1 && first >= 0 &&
        (facts->heads == 0 ||
         (first + facts->heads - 1) / per_group - first / per_group < facts->groups);
    return has_groups && facts->heads >= 0 && facts->taps >= 1 && facts->taps <= MOST_TAPS &&
                   (int64_t)weights->convolution->length == (int64_t)facts->taps * channels &&
                   (weights->convolution_bias == NULL ||
                    weights->convolution_bias->length == channels) &&
                   weights->decay->length == facts->heads &&
                   weights->step_bias->length == facts->heads &&
                   weights->skip->length == facts->heads
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "state space: weights of other heads");
}

status cpu_scan(struct backend *backend, const struct scan_facts *facts,
                const struct scan_weights *weights, struct device_buffer *in,
                struct device_buffer *work, struct kv_cache *cache, int layer,
                const struct matrix *reader, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, channels = channels_of(facts);
    const int inner = inner_width(facts);
    float *rows = cpu_floats(in, tokens, row_width(facts));
    struct scan_call call = {.cpu = cpu,
                             .facts = facts,
                             .in = rows,
                             .mixed = cpu_floats(work, tokens, channels),
                             .decay = weights->decay->region.data,
                             .step_bias = weights->step_bias->region.data,
                             .skip = weights->skip->region.data,
                             .out = cpu_floats(out, tokens, inner)};
    if (rows == NULL || call.mixed == NULL || call.out == NULL) {
        return STATUS_INTERNAL;
    }
    TRY(check_shapes(facts, weights));
    TRY(cpu_states_of(cpu, cache, layer,
                      (size_t)(facts->taps - 1) * (size_t)channels +
                          (size_t)inner * (size_t)facts->state_dim,
                      &call.states));
    const struct vector *bias = weights->convolution_bias;
    const struct channel_convolution convolution = {.in = rows + inner,
                                                    .in_stride = (size_t)row_width(facts),
                                                    .channels = channels,
                                                    .taps = facts->taps,
                                                    .weights = weights->convolution->region.data,
                                                    .bias = bias != NULL ? bias->region.data : NULL,
                                                    .out = call.mixed,
                                                    .states = call.states};
    cpu_convolve(cpu, &convolution);
    run_heads(&call);
    cpu_round(cpu, facts->gates ? reader : NULL, call.out, (size_t)tokens * (size_t)inner);
    return STATUS_OK;
}

/* ---- The norm over groups ---- */

/* Squares are added in float64 and rounded once a slice and group, as in wide_norm.c. */
static void sum_row(const struct group_norm_facts *facts, const float *row, float *sums)
{
    for (int group = 0; group < facts->groups; group++) {
        float parts[MAX_SLICES];
        const int from = group * facts->group_width - facts->first;
        for (int slice = 0; slice < facts->slices; slice++) {
            const int begin = facts->slice_start[slice], end = facts->slice_start[slice + 1];
            double sum = 0;
            for (int i = begin > from ? begin : from; i < end && i < from + facts->group_width;
                 i++) {
                sum += (double)row[i] * (double)row[i];
            }
            parts[slice] = (float)sum;
        }
        for (int step = 1; step < facts->slices; step *= 2) {
            for (int i = 0; i + step < facts->slices; i += 2 * step) {
                parts[i] += parts[i + step];
            }
        }
        sums[group] = parts[0];
    }
}

status cpu_group_squares(struct backend *backend, const struct group_norm_facts *facts,
                         struct device_buffer *values, struct device_buffer *sums)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens;
    const float *rows = cpu_floats(values, tokens, facts->width);
    float *out = cpu_floats(sums, tokens, facts->groups);
    if (rows == NULL || out == NULL) {
        return STATUS_INTERNAL;
    }
    if (facts->slices < 1 || facts->slices > MAX_SLICES ||
        facts->slice_start[facts->slices] != facts->width) {
        return status_fail(STATUS_INTERNAL, "group squares: slices of other values");
    }
    const int threads = cpu_threads_for(cpu, 2.0 * tokens * facts->width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        sum_row(facts, rows + (size_t)token * (size_t)facts->width,
                out + (size_t)token * (size_t)facts->groups);
    }
    return STATUS_OK;
}

static void normalize_row(const struct group_norm_facts *facts, const float *weights,
                          const float *sums, float *row)
{
    for (int group = 0; group < facts->groups; group++) {
        const int from = group * facts->group_width - facts->first;
        const float factor = 1.0f / sqrtf(sums[group] / (float)facts->group_width + facts->epsilon);
        for (int i = from > 0 ? from : 0; i < facts->width && i < from + facts->group_width; i++) {
            row[i] = row[i] * factor * weights[i];
        }
    }
}

status cpu_group_normalize(struct backend *backend, const struct group_norm_facts *facts,
                           const struct vector *weight, struct device_buffer *sums,
                           struct device_buffer *gates, const struct matrix *reader,
                           struct device_buffer *values)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens, width = facts->width;
    const float *totals = cpu_floats(sums, tokens, facts->groups), *gate = NULL;
    float *rows = cpu_floats(values, tokens, width);
    if (rows == NULL || totals == NULL ||
        (facts->gate_stride > 0 &&
         (gate = cpu_floats(gates, tokens, facts->gate_stride)) == NULL)) {
        return STATUS_INTERNAL;
    }
    if (weight->length != width || (gate != NULL && facts->gate_stride < width)) {
        return status_fail(STATUS_INTERNAL, "group norm: weights of other values");
    }
    const int threads = cpu_threads_for(cpu, 4.0 * tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        float *row = rows + (size_t)token * (size_t)width;
        normalize_row(facts, weight->region.data, totals + (size_t)token * (size_t)facts->groups,
                      row);
        if (gate != NULL) {
            cpu->kernels->activate(ACTIVATION_SILU,
                                   gate + (size_t)token * (size_t)facts->gate_stride, row, width,
                                   row);
        }
    }
    cpu_round(cpu, reader, rows, (size_t)tokens * (size_t)width);
    return STATUS_OK;
}
