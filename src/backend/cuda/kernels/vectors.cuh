/* SPDX-License-Identifier: Apache-2.0 */
/* Eight neighbouring values of a row, as one or two wide accesses where their address allows. */
#ifndef SLUICE_CUDA_VECTORS_CUH
#define SLUICE_CUDA_VECTORS_CUH

#include "backend/cuda/kernels/numbers.cuh"

/* `wide`: from is aligned to eight values (or 16 bytes) and all are there; else the first `count`
 * are read and the others are 0. */
template <typename T>
__device__ __forceinline__ void load_eight(const T *from, bool wide, int count, float (&to)[8])
{
    if (wide) {
        alignas(16) T values[8];
        if constexpr (sizeof(T) == 1) {
            *reinterpret_cast<uint2 *>(values) = *reinterpret_cast<const uint2 *>(from);
        } else {
#pragma unroll
            for (int i = 0; i < (int)sizeof(T) / 2; i++) {
                reinterpret_cast<uint4 *>(values)[i] = reinterpret_cast<const uint4 *>(from)[i];
            }
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            to[i] = to_float(values[i]);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        to[i] = i < count ? to_float(from[i]) : 0.0f;
    }
}

template <typename T>
__device__ __forceinline__ void store_eight(T *to, bool wide, int count, const float (&from)[8])
{
    alignas(16) T values[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
        values[i] = from_float<T>(from[i]);
    }
    if (wide) {
#pragma unroll
        for (int i = 0; i < (int)sizeof(T) / 2; i++) {
            reinterpret_cast<uint4 *>(to)[i] = reinterpret_cast<const uint4 *>(values)[i];
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (i < count) {
            to[i] = values[i];
        }
    }
}

#endif
