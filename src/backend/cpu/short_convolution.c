/* SPDX-License-Identifier: Apache-2.0 */
/* Gated short convolutions (LFM2: Liquid AI, "LFM2 Technical Report", arXiv 2511.23404, 2.1). */
#include "backend/cpu/cpu.h"

/* rows[T][stride]: a of every row times b of it, into `to` [T][to_stride]. */
static void multiply_rows(const struct cpu_backend *cpu, int width, const float *a, size_t a_stride,
                          const float *b, size_t b_stride, float *to, size_t to_stride)
{
    const int tokens = cpu->batch->tokens;
    const int threads = cpu_threads_for(cpu, 1.0 * tokens * width);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        const size_t row = (size_t)token;
        cpu->kernels->multiply(a + row * a_stride, b + row * b_stride, width, to + row * to_stride);
    }
}

status cpu_short_convolution(struct backend *backend, int width, int taps,
                             const struct vector *weights, const struct vector *bias,
                             struct device_buffer *in, struct kv_cache *cache, int layer,
                             const struct matrix *reader, struct device_buffer *out)
{
    struct cpu_backend *cpu = cpu_of(backend);
    const int tokens = cpu->batch->tokens;
    const size_t channels = (size_t)width, stride = 3 * channels;
    float *rows = cpu_floats(in, tokens, 3 * width), *to = cpu_floats(out, tokens, width);
    if (rows == NULL || to == NULL) {
        return STATUS_INTERNAL;
    }
    if (taps < 1 || taps > MOST_TAPS || (int64_t)weights->length != (int64_t)taps * width ||
        (bias != NULL && bias->length != width)) {
        return status_fail(STATUS_INTERNAL, "short convolution: weights of other channels");
    }
    struct channel_convolution call = {.in = rows,
                                       .in_stride = stride,
                                       .channels = width,
                                       .taps = taps,
                                       .weights = weights->region.data,
                                       .bias = bias != NULL ? bias->region.data : NULL,
                                       .out = to};
    TRY(cpu_states_of(cpu, cache, layer, (size_t)(taps - 1) * channels, &call.states));
    multiply_rows(cpu, width, rows, stride, rows + 2 * channels, stride, rows, stride);
    cpu_convolve(cpu, &call);
    multiply_rows(cpu, width, to, channels, rows + channels, stride, to, channels);
    cpu_round(cpu, reader, to, (size_t)tokens * channels);
    return STATUS_OK;
}
