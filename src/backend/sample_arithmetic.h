/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of sampling that all backends share, so that the same logits give the same tokens
 * on each: weights, their sums, the order of logits, biases, penalties. cpu/sample.h says what is
 * computed.
 *
 * Plain C that a CUDA file includes too. A float's bits must not depend on who compiles: files that
 * include this are built without fused multiply-adds (-ffp-contract=off, -fmad=false). */
#ifndef SLUICE_SAMPLE_ARITHMETIC_H
#define SLUICE_SAMPLE_ARITHMETIC_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define SAMPLE_FUNCTION static __forceinline__ __host__ __device__
#else
#define SAMPLE_FUNCTION static inline __attribute__((always_inline))
#endif

enum {
    SAMPLE_MAX_VOCABULARY = 1 << 22, /* sums of weights stay below 2^63 */
    SAMPLE_FRACTION_BITS = 40,       /* of a weight as an integer */
};
#define SAMPLE_GREEDY_BELOW 1e-5     /* temperature */
#define SAMPLE_LEAST_WEIGHT 0x1p-40f /* lower ones are 0 as integers */

/* e^x for x in [-87, 0], to within 2 units in the last place: x = n · ln 2 + r, a polynomial in r
 * (minimax coefficients of Cephes' expf), n into the exponent. Operations are plain products and
 * sums that vectorise and that any processor rounds alike. */
SAMPLE_FUNCTION float sample_exp(float x)
{
    const float round = 0x1.8p23f; /* adding it leaves the nearest integer in the low bits */
    float n = (x * 1.44269504f + round) - round;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f; /* ln 2 in two parts */
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    int32_t exponent = ((int32_t)n + 127) * (1 << 23);
    float power;
    memcpy(&power, &exponent, sizeof power);
    return p * power;
}

/* e^((logit - highest) · inverse) in [0, 1]; `inverse` is 1 / temperature. */
SAMPLE_FUNCTION float sample_weight(float logit, float highest, float inverse)
{
    const float lowest_exponent = -87; /* its power is a normal float far below 2^-40 */
    float below = logit - highest;
    float exponent = (below > -FLT_MAX ? below : -FLT_MAX) * inverse;
    float weight = sample_exp(exponent > lowest_exponent ? exponent : lowest_exponent);
    return logit < -FLT_MAX ? 0 : weight;
}

/* floor(weight · 2^40). */
SAMPLE_FUNCTION uint64_t sample_fixed_point(float weight)
{
    /* By way of int64_t, for which processors have an instruction. */
    return (uint64_t)(int64_t)(weight * (float)(INT64_C(1) << SAMPLE_FRACTION_BITS));
}

/* The log of the soft-max's denominator from the sum of fixed-point weights. */
static inline double sample_log_sum(uint64_t total)
{
    return log((double)total) - SAMPLE_FRACTION_BITS * 0.69314718055994530942;
}

/* Order of the floats as order of integers; -0 and +0 are one key. */
SAMPLE_FUNCTION uint32_t sample_key(float logit)
{
    float value = logit + 0.0f;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/* Whether a mask (sluice/sampling.h) leaves the token in. */
SAMPLE_FUNCTION int sample_is_allowed(const uint32_t *mask, int32_t id)
{
    return (int)(mask[id >> 5] >> (id & 31) & 1u);
}

/* A logit after a bias, which is finite and far from what a float holds, or -infinity. */
SAMPLE_FUNCTION float sample_biased(float raw, float bias)
{
    return raw + bias;
}

/* The place of `id` among `count` ascending ids that stand `stride` bytes apart, or -1. */
SAMPLE_FUNCTION int32_t sample_find_id(const void *ids, size_t stride, int32_t count, int32_t id)
{
    int32_t first = 0, end = count;
    while (first < end) {
        const int32_t middle = first + (end - first) / 2;
        int32_t there;
        memcpy(&there, (const char *)ids + (size_t)middle * stride, sizeof there);
        if (there == id) {
            return middle;
        }
        first = there < id ? middle + 1 : first;
        end = there < id ? end : middle;
    }
    return -1;
}

/* A logit after penalties. `occurrences`: in the output; `repetition` is at least FLT_MIN. */
SAMPLE_FUNCTION float sample_penalised(float raw, int32_t occurrences, float repetition,
                                       float frequency, float presence)
{
    float x = raw < 0 ? raw * repetition : raw / repetition;
    if (occurrences > 0) {
        x = x - frequency * (float)occurrences - presence;
    }
    /* A factor far from 1 may not make an infinity of a logit that was none. */
    if (raw >= -FLT_MAX) {
        x = x > FLT_MAX ? FLT_MAX : x < -FLT_MAX ? -FLT_MAX : x;
    }
    return x;
}

#endif
