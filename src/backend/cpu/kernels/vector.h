/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of the instruction set that a kernel file is compiled for: 16 floats with AVX-512, 8 with
 * AVX2 and FMA, else 4 by the compiler's own vector types.
 *
 * Kernels whose result depends on the order of a sum work on groups of 16 lanes (GROUP_VECTORS
 * vectors), whatever the hardware's width: AVX2 and AVX-512 then give the same bits. The 4-lane
 * variant differs from them only in that vec_fma rounds twice. */
#ifndef SLUICE_CPU_VECTOR_H
#define SLUICE_CPU_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { VECTOR_LANES = 16 };
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
enum { VECTOR_LANES = 8 };
#else
enum { VECTOR_LANES = 4 };
#endif

enum {
    GROUP = 16, /* lanes of a sum, positions of a key group */
    GROUP_VECTORS = GROUP / VECTOR_LANES,
    PRODUCT_ROWS = VECTOR_LANES == 16 ? 14 : 6, /* times two vectors fill the registers */
};

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL        _Pragma("GCC unroll 16")

#define VECTOR_BYTES (4 * VECTOR_LANES)
typedef float vec __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vec_int __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t vec_half __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef uint32_t vec_word __attribute__((vector_size(VECTOR_BYTES)));
/* The same in memory, at any address. */
typedef float vec_unaligned __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef uint32_t vec_word_unaligned
    __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef uint16_t vec_half_unaligned
    __attribute__((vector_size(VECTOR_BYTES / 2), aligned(2), may_alias));

ALWAYS_INLINE vec vec_load(const float *from)
{
    return *(const vec_unaligned *)from;
}

ALWAYS_INLINE void vec_store(float *to, vec value)
{
    *(vec_unaligned *)to = value;
}

/* VECTOR_LANES bfloat16 values. */
ALWAYS_INLINE vec vec_load_bfloat16(const uint16_t *from)
{
    return (vec)(__builtin_convertvector(*(const vec_half_unaligned *)from, vec_word) << 16);
}

ALWAYS_INLINE vec vec_set(float value)
{
#if defined(__AVX512F__)
    return _mm512_set1_ps(value);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_set1_ps(value);
#else
    return (vec){value, value, value, value};
#endif
}

/* a · b + c, rounded once where the hardware can. */
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

/* c - a · b */
ALWAYS_INLINE vec vec_fnma(vec a, vec b, vec c)
{
    return vec_fma(-a, b, c);
}

/* Lanes of `yes` where mask is all ones, of `no` where it is 0. */
ALWAYS_INLINE vec vec_select(vec_int mask, vec yes, vec no)
{
    return (vec)((mask & (vec_int)yes) | (~mask & (vec_int)no));
}

/* Of two the larger or smaller; the second where either is NaN. */
ALWAYS_INLINE vec vec_max(vec a, vec b)
{
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_max_ps(a, b);
#else
    return vec_select((vec_int)(a > b), a, b);
#endif
}

ALWAYS_INLINE vec vec_min(vec a, vec b)
{
#if defined(__AVX512F__)
    return _mm512_min_ps(a, b);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_min_ps(a, b);
#else
    return vec_select((vec_int)(a < b), a, b);
#endif
}

/* The first `count` < VECTOR_LANES values, the rest 0; and back. */
ALWAYS_INLINE vec vec_load_part(const float *from, int count)
{
    float values[VECTOR_LANES] = {0};
    memcpy(values, from, (size_t)count * sizeof *values);
    return vec_load(values);
}

ALWAYS_INLINE void vec_store_part(float *to, vec value, int count)
{
    float values[VECTOR_LANES];
    vec_store(values, value);
    memcpy(to, values, (size_t)count * sizeof *values);
}

/* The sum of 16 lanes as a tree: lane i and i + 8, then i and i + 4, 2, 1. */
ALWAYS_INLINE float group_sum(const vec lanes[GROUP_VECTORS])
{
    float values[GROUP];
    UNROLL for (int i = 0; i < GROUP_VECTORS; i++)
    {
        vec_store(values + i * VECTOR_LANES, lanes[i]);
    }
    for (int half = GROUP / 2; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) {
            values[i] += values[i + half];
        }
    }
    return values[0];
}

/* ---- Functions ---- */

/* Polynomials from the Cephes library (expf, tanhf) and Abramowitz and Stegun 7.1.26 (erf). */

/* e^x to 2 ulp; 0 below -87.3, e^88 above 88. NaN stays NaN. */
ALWAYS_INLINE vec vec_exp(vec x)
{
    const vec lowest = vec_set(-87.3f);
    vec_int vanishes = (vec_int)(x < lowest);
    x = vec_min(vec_set(88.0f), vec_max(lowest, x));
    /* Adding 1.5 · 2^23 rounds to an integer, which then stands in the low bits. */
    const vec magic = vec_set(12582912.0f);
    vec shifted = vec_fma(x, vec_set(1.44269504088896341f), magic);
    vec n = shifted - magic;
    vec r = vec_fnma(n, vec_set(0.693359375f), x);
    r = vec_fnma(n, vec_set(-2.12194440e-4f), r);
    vec p = vec_set(1.9875691500e-4f);
    p = vec_fma(p, r, vec_set(1.3981999507e-3f));
    p = vec_fma(p, r, vec_set(8.3334519073e-3f));
    p = vec_fma(p, r, vec_set(4.1665795894e-2f));
    p = vec_fma(p, r, vec_set(1.6666665459e-1f));
    p = vec_fma(p, r, vec_set(5.0000001201e-1f));
    p = vec_fma(p, r * r, r + vec_set(1.0f));
    vec_word exponent = (((vec_word)shifted - 0x4b400000u) + 127u) << 23;
    return (vec)((vec_int)(p * (vec)exponent) & ~vanishes);
}

ALWAYS_INLINE vec vec_absolute(vec x)
{
    return (vec)((vec_word)x & 0x7fffffffu);
}

/* tanh to 2 ulp below 0.625, to 2e-7 above. */
ALWAYS_INLINE vec vec_tanh(vec x)
{
    vec magnitude = vec_absolute(x);
    vec z = x * x;
    vec p = vec_set(-5.70498872745e-3f);
    p = vec_fma(p, z, vec_set(2.06390887954e-2f));
    p = vec_fma(p, z, vec_set(-5.37397155531e-2f));
    p = vec_fma(p, z, vec_set(1.33314422036e-1f));
    p = vec_fma(p, z, vec_set(-3.33332819422e-1f));
    vec small = vec_fma(p * z, x, x);
    vec one = vec_set(1.0f);
    vec large = one - vec_set(2.0f) / (vec_exp(magnitude + magnitude) + one);
    large = (vec)((vec_word)large | ((vec_word)x & 0x80000000u));
    return vec_select((vec_int)(magnitude < vec_set(0.625f)), small, large);
}

/* erf to 3e-7. */
ALWAYS_INLINE vec vec_erf(vec x)
{
    vec magnitude = vec_absolute(x);
    vec one = vec_set(1.0f);
    vec t = one / vec_fma(vec_set(0.3275911f), magnitude, one);
    vec p = vec_set(1.061405429f);
    p = vec_fma(p, t, vec_set(-1.453152027f));
    p = vec_fma(p, t, vec_set(1.421413741f));
    p = vec_fma(p, t, vec_set(-0.284496736f));
    p = vec_fma(p, t, vec_set(0.254829592f));
    vec y = vec_fnma(p * t, vec_exp(-(magnitude * magnitude)), one);
    return (vec)((vec_word)y | ((vec_word)x & 0x80000000u));
}

#endif
