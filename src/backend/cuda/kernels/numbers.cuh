/* SPDX-License-Identifier: Apache-2.0 */
/* Number types and fixed-order reductions that the kernels share. */
#ifndef SLUICE_CUDA_NUMBERS_CUH
#define SLUICE_CUDA_NUMBERS_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <stdint.h>

/* enum dtype of sluice/backend.h, which is C. */
enum { TYPE_FLOAT32, TYPE_BFLOAT16, TYPE_FLOAT16, TYPE_FLOAT8 };

static constexpr float FP8_MAX = 448.0f;

__device__ __forceinline__ float to_float(float x)
{
    return x;
}
__device__ __forceinline__ float to_float(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}
__device__ __forceinline__ float to_float(__half x)
{
    return __half2float(x);
}
__device__ __forceinline__ float to_float(__nv_fp8_e4m3 x)
{
    return static_cast<float>(x);
}

template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x)
{
    return x;
}
template <> __device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x)
{
    return __float2bfloat16_rn(x);
}
template <> __device__ __forceinline__ __half from_float<__half>(float x)
{
    return __float2half_rn(x);
}
template <> __device__ __forceinline__ __nv_fp8_e4m3 from_float<__nv_fp8_e4m3>(float x)
{
    __nv_fp8_e4m3 y;
    y.__x = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
    return y;
}

/* The sum (or maximum) over a block of a multiple of 32 threads, the same on every thread, in an
 * order that the block's size alone decides. `shared` holds 32 floats; a barrier stands at both
 * ends. */
__device__ __forceinline__ float block_sum(float x, float *shared)
{
    for (int distance = 16; distance > 0; distance >>= 1) {
        x += __shfl_xor_sync(0xffffffffu, x, distance);
    }
    const int warps = (int)blockDim.x / 32;
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = x;
    }
    __syncthreads();
    float sum = shared[0];
    for (int i = 1; i < warps; i++) {
        sum += shared[i];
    }
    return sum;
}

__device__ __forceinline__ float block_max(float x, float *shared)
{
    for (int distance = 16; distance > 0; distance >>= 1) {
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, distance));
    }
    const int warps = (int)blockDim.x / 32;
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        shared[threadIdx.x / 32] = x;
    }
    __syncthreads();
    float most = shared[0];
    for (int i = 1; i < warps; i++) {
        most = fmaxf(most, shared[i]);
    }
    return most;
}

#endif
