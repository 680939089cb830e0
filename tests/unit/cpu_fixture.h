/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU backend's tests share: backends of every variant, random data, buffers. */
#ifndef SLUICE_TEST_CPU_FIXTURE_H
#define SLUICE_TEST_CPU_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/cpu/cpu.h"

enum { FIXTURE_TOKENS = 512, FIXTURE_VARIANTS = 4 };

struct variant {
    const struct cpu_kernels *kernels;
    int threads;
};

/* The reference first; all with fused multiply-adds give its bits. Returns how many there are. */
static inline int fixture_variants(struct variant variants[FIXTURE_VARIANTS])
{
    int count = 0;
    variants[count++] = (struct variant){cpu_kernels_best(), 1};
    variants[count++] = (struct variant){cpu_kernels_best(), 4};
#ifdef SLUICE_CPU_X86_KERNELS
    if (cpu_kernels_best() == &cpu_kernels_v4) {
        variants[count++] = (struct variant){&cpu_kernels_v3, 2};
    }
#endif
    return count;
}

static inline void check(status s)
{
    if (s != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static inline struct backend *fixture_backend(struct variant variant)
{
    const struct backend_options options = {.compute = DTYPE_FLOAT32,
                                            .max_tokens = FIXTURE_TOKENS,
                                            .max_sequences = FIXTURE_TOKENS,
                                            .threads = variant.threads};
    struct backend *backend;
    check(cpu_backend_create_with(variant.kernels, &options, &backend));
    return backend;
}

/* Values in [-1, 1), the same for the same seed. */
static inline float *fixture_random(size_t count, uint32_t seed)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    uint32_t state = seed * 2654435761u + 12345;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / (1 << 23) - 1.0f;
    }
    return values;
}

static inline struct device_buffer *fixture_buffer(struct backend *backend, const float *values,
                                                   size_t count)
{
    struct device_buffer *buffer;
    check(backend->operations->buffer_create(backend, count * sizeof(float), &buffer));
    if (values != NULL) {
        check(backend->operations->upload(backend, buffer, 0, values, count * sizeof(float)));
    }
    return buffer;
}

static inline struct vector *fixture_vector(struct backend *backend, const float *values, int n)
{
    struct vector *vector;
    check(backend->operations->vector_create(backend, n, values, &vector));
    return vector;
}

/* A step of `tokens` tokens of one sequence from position 0, every one an output; its arrays stand
 * in static memory, so that one is in use at a time. */
static inline void fixture_step(struct backend *backend, int tokens, const int32_t *ids)
{
    static int32_t start[2], context[1], table[1], positions[FIXTURE_TOKENS], zeros[FIXTURE_TOKENS];
    static struct batch batch;
    for (int i = 0; i < tokens; i++) {
        positions[i] = i;
    }
    start[1] = tokens;
    context[0] = tokens;
    batch = (struct batch){.tokens = tokens,
                           .sequences = 1,
                           .outputs = tokens,
                           .token_ids = ids != NULL ? ids : zeros,
                           .positions = positions,
                           .query_start = start,
                           .context_length = context,
                           .block_table = table,
                           .block_table_stride = 1,
                           .output_rows = positions};
    check(backend->operations->step_begin(backend, &batch));
}

static inline void assert_bits(const float *is, const float *should, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(is + i, should + i, sizeof *is) != 0) {
            fail_msg("%s: value %zu is %.9g, %.9g in another way", what, i, (double)is[i],
                     (double)should[i]);
        }
    }
}

static inline void assert_near(float is, double should, double tolerance, const char *what)
{
    const double difference = (double)is - should;
    if (!(difference <= tolerance && -difference <= tolerance)) {
        fail_msg("%s: %.9g, expected %.9g", what, (double)is, should);
    }
}

#endif
