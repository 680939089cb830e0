/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on one row: norms, residual additions, activations, rotary embedding, soft-max. */
#include "backend/cpu/kernels/declare.h"
#include "backend/cpu/kernels/vector.h"

#include <math.h>

/* One group of 16 values of a row; `count` of them exist, the rest read as 0. */
ALWAYS_INLINE void group_load(vec lanes[GROUP_VECTORS], const float *from, int count)
{
    if (count >= GROUP) {
        UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
        {
            lanes[i] = vec_load(from + i * VECTOR_LANES);
        }
    } else {
        float values[GROUP] = {0};
        memcpy(values, from, (size_t)count * sizeof *values);
        UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
        {
            lanes[i] = vec_load(values + i * VECTOR_LANES);
        }
    }
}

/* The sum of values² (shift 0) or (values - shift)², in the order of 16 lanes. */
static float sum_squares(const float *values, float shift, int n)
{
    vec sum[GROUP_VECTORS], lanes[GROUP_VECTORS];
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        sum[i] = vec_set(0.0f);
    }
    int at = 0;
    for (; at + GROUP <= n; at += GROUP) {
        UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
        {
            vec x = vec_load(values + at + i * VECTOR_LANES) - vec_set(shift);
            sum[i] = vec_fma(x, x, sum[i]);
        }
    }
    if (at < n) {
        float rest[GROUP] = {0};
        for (int i = 0; at + i < n; i++) {
            rest[i] = values[at + i] - shift;
        }
        group_load(lanes, rest, GROUP);
        UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
        {
            sum[i] = vec_fma(lanes[i], lanes[i], sum[i]);
        }
    }
    return group_sum(sum);
}

static float sum_values(const float *values, int n)
{
    vec sum[GROUP_VECTORS], lanes[GROUP_VECTORS];
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        sum[i] = vec_set(0.0f);
    }
    for (int at = 0; at < n; at += GROUP) {
        group_load(lanes, values + at, n - at);
        UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
        {
            sum[i] += lanes[i];
        }
    }
    return group_sum(sum);
}

/* RMS norm: Zhang and Sennrich, arXiv 1910.07467; layer norm: Ba et al., arXiv 1607.06450. */
void CPU_KERNEL(cpu_kernel_norm)(const struct norm_facts *facts, const float *in,
                                 const float *weight, const float *bias, int n, float *out)
{
    const float mean = facts->layer_norm ? sum_values(in, n) / (float)n : 0.0f;
    const float variance = sum_squares(in, mean, n) / (float)n;
    const float inverse = 1.0f / sqrtf(variance + facts->epsilon);
    const vec offset = vec_set(facts->weight_offset);
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec x = (vec_load(in + at) - vec_set(mean)) * vec_set(inverse);
        x *= vec_load(weight + at) + offset;
        vec_store(out + at, bias != NULL ? x + vec_load(bias + at) : x);
    }
    for (; at < n; at++) {
        float x = (in[at] - mean) * inverse * (weight[at] + facts->weight_offset);
        out[at] = bias != NULL ? x + bias[at] : x;
    }
}

/* The pairwise tree over a power of two of parts, or over any number with the missing ones 0. */
static float tree_value(const float *from, int first, int parts, int width, size_t stride)
{
    if (width == 1) {
        return first < parts ? from[(size_t)first * stride] : 0.0f;
    }
    return tree_value(from, first, parts, width / 2, stride) +
           tree_value(from, first + width / 2, parts, width / 2, stride);
}

ALWAYS_INLINE vec tree_two(const float *from, size_t stride)
{
    return vec_load(from) + vec_load(from + stride);
}

ALWAYS_INLINE vec tree_four(const float *from, size_t stride)
{
    return tree_two(from, stride) + tree_two(from + 2 * stride, stride);
}

void CPU_KERNEL(cpu_kernel_add_parts)(const float *from, int parts, size_t stride,
                                      const float *bias, int n, float *to)
{
    int width = 1;
    while (width < parts) {
        width *= 2;
    }
    int at = 0;
    if (width == parts && width <= 8) {
        for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
            const float *here = from + at;
            vec sum = parts == 1   ? vec_load(here)
                      : parts == 2 ? tree_two(here, stride)
                      : parts == 4 ? tree_four(here, stride)
                                   : tree_four(here, stride) + tree_four(here + 4 * stride, stride);
            vec_store(to + at, bias != NULL ? sum + vec_load(bias + at) : sum);
        }
    }
    for (; at < n; at++) {
        float sum = tree_value(from + at, 0, parts, width, stride);
        to[at] = bias != NULL ? sum + bias[at] : sum;
    }
}

void CPU_KERNEL(cpu_kernel_add_scaled)(float *to, const float *from, float factor, int n)
{
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(to + at, vec_fma(vec_set(factor), vec_load(from + at), vec_load(to + at)));
    }
    if (at < n) {
        vec sum = vec_fma(vec_set(factor), vec_load_part(from + at, n - at),
                          vec_load_part(to + at, n - at));
        vec_store_part(to + at, sum, n - at);
    }
}

ALWAYS_INLINE vec activation_value(enum activation activation, vec x)
{
    const vec half = vec_set(0.5f), one = vec_set(1.0f);
    switch (activation) {
    case ACTIVATION_SILU:
        return x / (one + vec_exp(-x));
    case ACTIVATION_GELU_TANH: {
        vec cubic = vec_fma(x * x * x, vec_set(0.044715f), x);
        return half * x * (one + vec_tanh(cubic * vec_set(0.7978845608028654f)));
    }
    case ACTIVATION_GELU:
        return half * x * (one + vec_erf(x * vec_set(0.7071067811865476f)));
    case ACTIVATION_RELU:
        break;
    case ACTIVATION_RELU_SQUARED: {
        const vec positive = vec_max(vec_set(0.0f), x);
        return positive * positive;
    }
    }
    return vec_max(vec_set(0.0f), x);
}

ALWAYS_INLINE void activate_row(enum activation activation, const float *gate, const float *up,
                                int n, float *out)
{
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec x = activation_value(activation, vec_load(gate + at));
        vec_store(out + at, up != NULL ? x * vec_load(up + at) : x);
    }
    if (at < n) {
        vec x = activation_value(activation, vec_load_part(gate + at, n - at));
        vec_store_part(out + at, up != NULL ? x * vec_load_part(up + at, n - at) : x, n - at);
    }
}

void CPU_KERNEL(cpu_kernel_activate)(enum activation activation, const float *gate, const float *up,
                                     int n, float *out)
{
    switch (activation) {
    case ACTIVATION_SILU:
        activate_row(ACTIVATION_SILU, gate, up, n, out);
        break;
    case ACTIVATION_GELU_TANH:
        activate_row(ACTIVATION_GELU_TANH, gate, up, n, out);
        break;
    case ACTIVATION_GELU:
        activate_row(ACTIVATION_GELU, gate, up, n, out);
        break;
    case ACTIVATION_RELU:
        activate_row(ACTIVATION_RELU, gate, up, n, out);
        break;
    case ACTIVATION_RELU_SQUARED:
        activate_row(ACTIVATION_RELU_SQUARED, gate, up, n, out);
        break;
    }
}

/* gpt-oss (OpenAI's model card, arXiv 2508.10925, and its reference implementation). */
ALWAYS_INLINE vec clamped_swiglu(vec gate, vec up, vec limit)
{
    const vec one = vec_set(1.0f);
    gate = vec_min(limit, gate);
    up = vec_max(-limit, vec_min(limit, up));
    return gate / (one + vec_exp(gate * vec_set(-1.702f))) * (up + one);
}

void CPU_KERNEL(cpu_kernel_activate_clamped)(float limit, const float *gate, const float *up, int n,
                                             float *out)
{
    const vec most = vec_set(limit);
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(out + at, clamped_swiglu(vec_load(gate + at), vec_load(up + at), most));
    }
    if (at < n) {
        vec x =
            clamped_swiglu(vec_load_part(gate + at, n - at), vec_load_part(up + at, n - at), most);
        vec_store_part(out + at, x, n - at);
    }
}

ALWAYS_INLINE vec sigmoid_value(vec x)
{
    const vec one = vec_set(1.0f);
    return one / (one + vec_exp(-x));
}

void CPU_KERNEL(cpu_kernel_sigmoid)(float *values, int n)
{
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(values + at, sigmoid_value(vec_load(values + at)));
    }
    if (at < n) {
        vec_store_part(values + at, sigmoid_value(vec_load_part(values + at, n - at)), n - at);
    }
}

ALWAYS_INLINE vec capped(vec x, float scale, float cap)
{
    x *= vec_set(scale);
    return cap > 0.0f ? vec_set(cap) * vec_tanh(x / vec_set(cap)) : x;
}

void CPU_KERNEL(cpu_kernel_scale_cap)(float *values, float scale, float cap, int n)
{
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(values + at, capped(vec_load(values + at), scale, cap));
    }
    if (at < n) {
        vec_store_part(values + at, capped(vec_load_part(values + at, n - at), scale, cap), n - at);
    }
}

/* RoFormer, arXiv 2104.09864, in the order of Hugging Face: value i pairs with value half + i. */
void CPU_KERNEL(cpu_kernel_rotate)(float *values, const float *cosine, const float *sine, int half)
{
    float *other = values + half;
    int at = 0;
    for (; at + VECTOR_LANES <= half; at += VECTOR_LANES) {
        vec x = vec_load(values + at), y = vec_load(other + at);
        vec c = vec_load(cosine + at), s = vec_load(sine + at);
        vec_store(values + at, vec_fnma(y, s, x * c));
        vec_store(other + at, vec_fma(x, s, y * c));
    }
    if (at < half) {
        int rest = half - at;
        vec x = vec_load_part(values + at, rest), y = vec_load_part(other + at, rest);
        vec c = vec_load_part(cosine + at, rest), s = vec_load_part(sine + at, rest);
        vec_store_part(values + at, vec_fnma(y, s, x * c), rest);
        vec_store_part(other + at, vec_fma(x, s, y * c), rest);
    }
}

void CPU_KERNEL(cpu_kernel_soft_max)(float *values, int n)
{
    float largest = -INFINITY;
    for (int i = 0; i < n; i++) {
        largest = values[i] > largest ? values[i] : largest;
    }
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(values + at, vec_exp(vec_load(values + at) - vec_set(largest)));
    }
    if (at < n) {
        vec rest = vec_load_part(values + at, n - at);
        vec_store_part(values + at, vec_exp(rest - vec_set(largest)), n - at);
    }
    const vec sum = vec_set(sum_values(values, n));
    for (at = 0; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(values + at, vec_load(values + at) / sum);
    }
    if (at < n) {
        vec_store_part(values + at, vec_load_part(values + at, n - at) / sum, n - at);
    }
}
