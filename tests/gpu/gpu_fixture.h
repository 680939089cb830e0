/* SPDX-License-Identifier: Apache-2.0 */
/* A CPU backend and a CUDA backend side by side, and values compared between them. */
#ifndef SLUICE_GPU_FIXTURE_H
#define SLUICE_GPU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/philox.h"
#include "gpu/gpu_require.h"
#include "sluice/backend.h"

/* Whether a few small cases are enough: kernels run many times slower under a sanitizer
 * (sanitizer_test.sh). */
static inline bool gpu_few(void)
{
    return getenv("SLUICE_GPU_FEW") != NULL;
}

/* Whether the case of this number (and size, of which small ones stay) is left out then. */
static inline bool gpu_leaves_out(size_t number, int size, int most)
{
    return gpu_few() && (number % 7 != 0 || size > most);
}

/* Before the tests of a group: ends where there is no GPU; leaves out what compares bits of many
 * runs where a few cases are enough. */
static inline void gpu_prepare(void)
{
    gpu_require();
    if (gpu_few()) {
        cmocka_set_skip_filter("bits_*");
    }
}

static inline void check(status s)
{
    if (s != STATUS_OK) {
        fail_msg("%s: %s", status_name(s), status_message());
    }
}

static inline struct backend *gpu_backend(const char *name, enum dtype compute, int max_tokens,
                                          int max_sequences)
{
    struct backend_options options = {
        .compute = compute, .max_tokens = max_tokens, .max_sequences = max_sequences};
    struct backend *backend;
    check(backend_create(name, &options, &backend));
    return backend;
}

/* `count` values of a bell-like shape around 0 with standard deviation `deviation`, the same for
 * the same seed. */
static inline void gpu_random(float *values, size_t count, uint64_t seed, float deviation)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = philox_token_bits(seed, (int64_t)i, 0, 0);
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            sum += (float)(bits >> (16 * k) & 0xffff) / 65536.0f - 0.5f;
        }
        values[i] = sum * 1.7320508f * deviation;
    }
}

static inline float gpu_bfloat16_value(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static inline uint16_t gpu_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* The values as the type keeps them, so that both sides compute from the same. */
static inline void gpu_round(float *values, size_t count, enum dtype dtype)
{
    for (size_t i = 0; i < count; i++) {
        if (dtype == DTYPE_BFLOAT16) {
            values[i] = gpu_bfloat16_value(gpu_bfloat16(values[i]));
        } else if (dtype == DTYPE_FLOAT16) {
            values[i] = (float)(_Float16)values[i];
        }
    }
}

/* A new buffer of `count` values in `dtype`; NULL values: filled with NaN bytes, so that what is
 * not written shows. */
static inline struct device_buffer *gpu_buffer(struct backend *backend, const float *values,
                                               size_t count, enum dtype dtype)
{
    const size_t bytes = count * dtype_bytes(dtype);
    struct device_buffer *buffer;
    check(backend->operations->buffer_create(backend, bytes, &buffer));
    void *host = malloc(bytes + 1);
    assert_non_null(host);
    memset(host, 0xff, bytes);
    for (size_t i = 0; values != NULL && i < count; i++) {
        if (dtype == DTYPE_FLOAT32) {
            ((float *)host)[i] = values[i];
        } else if (dtype == DTYPE_BFLOAT16) {
            ((uint16_t *)host)[i] = gpu_bfloat16(values[i]);
        } else {
            ((_Float16 *)host)[i] = (_Float16)values[i];
        }
    }
    check(backend->operations->upload(backend, buffer, 0, host, bytes));
    free(host);
    return buffer;
}

static inline void gpu_values(struct backend *backend, const struct device_buffer *buffer,
                              size_t count, enum dtype dtype, float *values)
{
    const size_t bytes = count * dtype_bytes(dtype);
    void *host = malloc(bytes + 1);
    assert_non_null(host);
    check(backend->operations->download(backend, buffer, 0, host, bytes));
    for (size_t i = 0; i < count; i++) {
        values[i] = dtype == DTYPE_FLOAT32    ? ((const float *)host)[i]
                    : dtype == DTYPE_BFLOAT16 ? gpu_bfloat16_value(((const uint16_t *)host)[i])
                                              : (float)((const _Float16 *)host)[i];
    }
    free(host);
}

/* ‖a − b‖ / ‖b‖; infinite where a value is not finite. */
static inline double gpu_distance(const float *a, const float *b, size_t count)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            return INFINITY;
        }
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference) / fmax(sqrt(norm), 1e-30);
}

#endif
