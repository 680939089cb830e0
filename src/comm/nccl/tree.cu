/* SPDX-License-Identifier: Apache-2.0 */
/* Gathered float32 blocks [ranks][count] added up: to[count] = ((0+1)+(2+3))+((4+5)+(6+7)), the
 * tree that recursive doubling over ranks gives, whatever the count.
 *
 * Floor: reads ranks · count values and writes count. Values are taken in fours where the blocks
 * begin at multiples of 16 bytes. */
#include "comm/nccl/tree.h"

#include <stdint.h>

enum { THREADS = 256, MAX_BLOCKS = 1024 };

__device__ __forceinline__ float add(float a, float b)
{
    return a + b;
}

__device__ __forceinline__ float4 add(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

template <typename value, int RANKS>
__global__ void tree_kernel(const value *blocks, size_t count, value *to)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * THREADS) {
        value part[RANKS];
#pragma unroll
        for (int r = 0; r < RANKS; r++) {
            part[r] = blocks[(size_t)r * count + i];
        }
#pragma unroll
        for (int distance = 1; distance < RANKS; distance *= 2) {
#pragma unroll
            for (int r = 0; r + distance < RANKS; r += 2 * distance) {
                part[r] = add(part[r], part[r + distance]);
            }
        }
        to[i] = part[0];
    }
}

template <typename value>
static cudaError_t launch(cudaStream_t stream, const value *blocks, int ranks, size_t count,
                          value *to)
{
    const size_t wanted = (count + THREADS - 1) / THREADS;
    const unsigned grid = (unsigned)(wanted < MAX_BLOCKS ? wanted : MAX_BLOCKS);
    switch (ranks) {
    case 1:
        tree_kernel<value, 1><<<grid, THREADS, 0, stream>>>(blocks, count, to);
        break;
    case 2:
        tree_kernel<value, 2><<<grid, THREADS, 0, stream>>>(blocks, count, to);
        break;
    case 4:
        tree_kernel<value, 4><<<grid, THREADS, 0, stream>>>(blocks, count, to);
        break;
    case 8:
        tree_kernel<value, 8><<<grid, THREADS, 0, stream>>>(blocks, count, to);
        break;
    default:
        return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}

cudaError_t tree_sum_launch(cudaStream_t stream, const float *blocks, int ranks, size_t count,
                            float *to)
{
    if (count == 0) {
        return cudaSuccess;
    }
    const bool fours = count % 4 == 0 && ((uintptr_t)blocks % 16) == 0 && ((uintptr_t)to % 16) == 0;
    return fours ? launch(stream, reinterpret_cast<const float4 *>(blocks), ranks, count / 4,
                          reinterpret_cast<float4 *>(to))
                 : launch(stream, blocks, ranks, count, to);
}
