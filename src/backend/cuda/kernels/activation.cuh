/* SPDX-License-Identifier: Apache-2.0 */
/* Activation functions, the same bits wherever they are inlined: where a multiply and an add could
 * become one operation or two, the source says which. */
#ifndef SLUICE_CUDA_ACTIVATION_CUH
#define SLUICE_CUDA_ACTIVATION_CUH

enum { SILU, GELU_TANH, GELU, RELU, RELU_SQUARED }; /* enum activation */

__device__ __forceinline__ float activation_of(int activation, float x)
{
    switch (activation) {
    case SILU:
        return x / (1.0f + expf(-x));
    case GELU_TANH: {
        const float cube = __fmaf_rn(__fmul_rn(__fmul_rn(0.044715f, x), x), x, x);
        return 0.5f * x * __fadd_rn(1.0f, tanhf(0.7978845608028654f * cube));
    }
    case GELU:
        return 0.5f * x * __fadd_rn(1.0f, erff(x * 0.7071067811865476f));
    case RELU_SQUARED: {
        const float positive = fmaxf(x, 0.0f);
        return __fmul_rn(positive, positive);
    }
    default:
        return fmaxf(x, 0.0f);
    }
}

/* Rounded as x / y is, for 2^-40 <= |x| <= 2^60 and 1 <= y <= 2^60: the steps of the compiler's own
 * division, which leaves the straight line for other ranges. */
__device__ __forceinline__ float divide_within(float x, float y)
{
    float inverse;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(y));
    inverse = __fmaf_rn(inverse, __fmaf_rn(-y, inverse, 1.0f), inverse);
    const float quotient = __fmul_rn(x, inverse);
    return __fmaf_rn(inverse, __fmaf_rn(-y, quotient, x), quotient);
}

/* activation_of for N values, with its bits; most of the time eight divisions side by side. */
template <int ACTIVATION, int N> __device__ __forceinline__ void activate(float *values)
{
    if constexpr (ACTIVATION == SILU && N > 1) {
        float least = INFINITY, most = 0.0f;
#pragma unroll
        for (int k = 0; k < N; k++) {
            least = fminf(least, fabsf(values[k]));
            most = fmaxf(most, fabsf(values[k]));
        }
        if (least >= 0x1p-40f && most <= 40.0f) {
#pragma unroll
            for (int k = 0; k < N; k++) {
                values[k] = divide_within(values[k], 1.0f + expf(-values[k]));
            }
            return;
        }
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        values[k] = activation_of(ACTIVATION, values[k]);
    }
}

#endif
