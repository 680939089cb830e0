/* SPDX-License-Identifier: Apache-2.0 */
/* Gated short convolutions (LFM2: Liquid AI, "LFM2 Technical Report", arXiv 2511.23404, 2.1).
 *
 * One form for all positions: a token's value is a chain over its window, whether the earlier part
 * of that comes from the state or from the step. */
#include <string.h>

#include "backend/cpu/cpu.h"

/* The step's tokens of one sequence. */
struct convolution_run {
    float *rows; /* [tokens][3 · width] B, C, x; B takes the product's place */
    float *out;  /* [tokens][width] */
    int tokens;
    float *state; /* [taps - 1][width] the oldest first */
};

static void convolve_run(const struct cpu_kernels *kernels, int width, int taps,
                         const float *weights, const float *bias, const struct convolution_run *run)
{
    const size_t row = 3 * (size_t)width, channels = (size_t)width;
    const int kept = taps - 1;
    for (int t = 0; t < run->tokens; t++) {
        float *b = run->rows + (size_t)t * row;
        kernels->multiply(b, b + 2 * channels, width, b);
    }
    for (int t = 0; t < run->tokens; t++) {
        const float *window[MOST_TAPS];
        for (int j = 0; j < taps; j++) {
            const int from = t + j - kept; /* of the step's tokens; before them: of the state */
            window[j] = from >= 0 ? run->rows + (size_t)from * row
                                  : run->state + (size_t)(kept + from) * channels;
        }
        float *to = run->out + (size_t)t * channels;
        kernels->convolve(window, weights, channels, taps, bias, width, to);
        kernels->multiply(to, run->rows + (size_t)t * row + channels, width, to);
    }
    for (int j = 0; j < kept; j++) { /* ascending: what moves down is read before it is written */
        const int from = run->tokens + j - kept;
        memmove(run->state + (size_t)j * channels,
                from >= 0 ? run->rows + (size_t)from * row
                          : run->state + (size_t)(kept + from) * channels,
                channels * sizeof(float));
    }
}

status cpu_short_convolution(struct backend *backend, int width, int taps,
                             const struct vector *weights, const struct vector *bias,
                             struct device_buffer *in, struct kv_cache *cache, int layer,
                             const struct matrix *reader, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const struct batch *batch = cpu->batch;
    const size_t values = (size_t)(taps - 1) * (size_t)width;
    float *rows = cpu_floats(in, batch->tokens, 3 * width);
    float *to = cpu_floats(out, batch->tokens, width);
    if (rows == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    if (taps < 1 || taps > MOST_TAPS || (int64_t)weights->length != (int64_t)taps * width ||
        (bias != NULL && bias->length != width)) {
        return status_fail(STATUS_INTERNAL, "short convolution: weights of other channels");
    }
    struct state_view states;
    TRY(cpu_states_of(cpu, cache, layer, values, &states));
    const int threads = cpu_threads_for(cpu, 2.0 * batch->tokens * width * taps);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int s = 0; s < batch->sequences; s++) {
        const int first = batch->query_start[s];
        const struct convolution_run run = {.rows = rows + (size_t)first * 3 * (size_t)width,
                                            .out = to + (size_t)first * (size_t)width,
                                            .tokens = batch->query_start[s + 1] - first,
                                            .state = cpu_state_begin(cpu, &states, s, values)};
        convolve_run(cpu->kernels, width, taps, weights->region.data,
                     bias != NULL ? bias->region.data : NULL, &run);
    }
    cpu_round(cpu, reader, to, (size_t)batch->tokens * (size_t)width);
    return STATUS_OK;
}
