/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of layers that keep states, on rows of channels side by side. Channels do not mix, so
 * the bits know no vector's width. */
#include "backend/cpu/kernels/declare.h"
#include "backend/cpu/kernels/vector.h"

void CPU_KERNEL(cpu_kernel_multiply)(const float *a, const float *b, int n, float *to)
{
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(to + at, vec_load(a + at) * vec_load(b + at));
    }
    for (; at < n; at++) {
        to[at] = a[at] * b[at];
    }
}

void CPU_KERNEL(cpu_kernel_convolve)(const float *const *window, const float *weights,
                                     size_t stride, int taps, const float *bias, int n, float *out)
{
    for (int at = 0; at < n; at += VECTOR_LANES) {
        const int rest = n - at;
        const bool is_whole = rest >= VECTOR_LANES;
        vec sum = bias == NULL ? vec_set(0.0f)
                  : is_whole   ? vec_load(bias + at)
                               : vec_load_part(bias + at, rest);
        for (int j = 0; j < taps; j++) {
            const float *weight = weights + (size_t)j * stride + at, *value = window[j] + at;
            sum = is_whole ? vec_fma(vec_load(weight), vec_load(value), sum)
                           : vec_fma(vec_load_part(weight, rest), vec_load_part(value, rest), sum);
        }
        if (is_whole) {
            vec_store(out + at, sum);
        } else {
            vec_store_part(out + at, sum, rest);
        }
    }
}

void CPU_KERNEL(cpu_kernel_gate)(const float *gates, int n, float *values)
{
    const vec one = vec_set(1.0f);
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(values + at, vec_load(values + at) / (one + vec_exp(-vec_load(gates + at))));
    }
    if (at < n) {
        vec value = vec_load_part(values + at, n - at);
        vec_store_part(values + at, value / (one + vec_exp(-vec_load_part(gates + at, n - at))),
                       n - at);
    }
}

/* Of `wide` vectors of columns from `state` on. */
ALWAYS_INLINE void delta_columns(float *state, const float *q, const float *k, const float *v,
                                 float decay, float beta, int key_dim, size_t stride, float *out,
                                 const int wide)
{
    enum { MOST = 4 };
    vec sum[MOST], change[MOST];
    UNROLL for (int g = 0; g < wide; g++)
    {
        sum[g] = vec_set(0.0f);
    }
    for (int i = 0; i < key_dim; i++) {
        float *row = state + (size_t)i * stride;
        UNROLL for (int g = 0; g < wide; g++)
        {
            vec kept = vec_load(row + g * VECTOR_LANES) * vec_set(decay);
            vec_store(row + g * VECTOR_LANES, kept);
            sum[g] = vec_fma(vec_set(k[i]), kept, sum[g]);
        }
    }
    UNROLL for (int g = 0; g < wide; g++)
    {
        change[g] = (vec_load(v + g * VECTOR_LANES) - sum[g]) * vec_set(beta);
        sum[g] = vec_set(0.0f);
    }
    for (int i = 0; i < key_dim; i++) {
        float *row = state + (size_t)i * stride;
        UNROLL for (int g = 0; g < wide; g++)
        {
            vec now = vec_fma(vec_set(k[i]), change[g], vec_load(row + g * VECTOR_LANES));
            vec_store(row + g * VECTOR_LANES, now);
            sum[g] = vec_fma(vec_set(q[i]), now, sum[g]);
        }
    }
    UNROLL for (int g = 0; g < wide; g++)
    {
        vec_store(out + g * VECTOR_LANES, sum[g]);
    }
}

/* The last columns, fewer than a vector's. */
static void delta_rest(float *state, const float *q, const float *k, const float *v, float decay,
                       float beta, int key_dim, size_t stride, float *out, int rest)
{
    vec sum = vec_set(0.0f);
    for (int i = 0; i < key_dim; i++) {
        float *row = state + (size_t)i * stride;
        vec kept = vec_load_part(row, rest) * vec_set(decay);
        vec_store_part(row, kept, rest);
        sum = vec_fma(vec_set(k[i]), kept, sum);
    }
    const vec change = (vec_load_part(v, rest) - sum) * vec_set(beta);
    sum = vec_set(0.0f);
    for (int i = 0; i < key_dim; i++) {
        float *row = state + (size_t)i * stride;
        vec now = vec_fma(vec_set(k[i]), change, vec_load_part(row, rest));
        vec_store_part(row, now, rest);
        sum = vec_fma(vec_set(q[i]), now, sum);
    }
    vec_store_part(out, sum, rest);
}

void CPU_KERNEL(cpu_kernel_delta)(float *state, const float *q, const float *k, const float *v,
                                  float decay, float beta, int key_dim, int value_dim, float *out)
{
    const size_t stride = (size_t)value_dim;
    int at = 0;
    for (; at + 4 * VECTOR_LANES <= value_dim; at += 4 * VECTOR_LANES) {
        delta_columns(state + at, q, k, v + at, decay, beta, key_dim, stride, out + at, 4);
    }
    for (; at + VECTOR_LANES <= value_dim; at += VECTOR_LANES) {
        delta_columns(state + at, q, k, v + at, decay, beta, key_dim, stride, out + at, 1);
    }
    if (at < value_dim) {
        delta_rest(state + at, q, k, v + at, decay, beta, key_dim, stride, out + at,
                   value_dim - at);
    }
}

/* Of `wide` vectors of columns from `state` on. */
ALWAYS_INLINE void scan_columns(float *state, const float *b, const float *c, const float *x,
                                float decay, float step, float skip, int state_dim, size_t stride,
                                float *out, const int wide)
{
    enum { MOST = 4 };
    vec sum[MOST], added[MOST];
    UNROLL for (int g = 0; g < wide; g++)
    {
        vec value = vec_load(x + g * VECTOR_LANES);
        added[g] = value * vec_set(step);
        sum[g] = value * vec_set(skip);
    }
    for (int i = 0; i < state_dim; i++) {
        float *row = state + (size_t)i * stride;
        UNROLL for (int g = 0; g < wide; g++)
        {
            vec kept = vec_load(row + g * VECTOR_LANES) * vec_set(decay);
            vec now = vec_fma(vec_set(b[i]), added[g], kept);
            vec_store(row + g * VECTOR_LANES, now);
            sum[g] = vec_fma(vec_set(c[i]), now, sum[g]);
        }
    }
    UNROLL for (int g = 0; g < wide; g++)
    {
        vec_store(out + g * VECTOR_LANES, sum[g]);
    }
}

/* The last columns, fewer than a vector's. */
static void scan_rest(float *state, const float *b, const float *c, const float *x, float decay,
                      float step, float skip, int state_dim, size_t stride, float *out, int rest)
{
    const vec value = vec_load_part(x, rest), added = value * vec_set(step);
    vec sum = value * vec_set(skip);
    for (int i = 0; i < state_dim; i++) {
        float *row = state + (size_t)i * stride;
        vec kept = vec_load_part(row, rest) * vec_set(decay);
        vec now = vec_fma(vec_set(b[i]), added, kept);
        vec_store_part(row, now, rest);
        sum = vec_fma(vec_set(c[i]), now, sum);
    }
    vec_store_part(out, sum, rest);
}

void CPU_KERNEL(cpu_kernel_scan)(float *state, const float *b, const float *c, const float *x,
                                 float decay, float step, float skip, int state_dim, int head_dim,
                                 float *out)
{
    const size_t stride = (size_t)head_dim;
    int at = 0;
    for (; at + 4 * VECTOR_LANES <= head_dim; at += 4 * VECTOR_LANES) {
        scan_columns(state + at, b, c, x + at, decay, step, skip, state_dim, stride, out + at, 4);
    }
    for (; at + VECTOR_LANES <= head_dim; at += VECTOR_LANES) {
        scan_columns(state + at, b, c, x + at, decay, step, skip, state_dim, stride, out + at, 1);
    }
    if (at < head_dim) {
        scan_rest(state + at, b, c, x + at, decay, step, skip, state_dim, stride, out + at,
                  head_dim - at);
    }
}
