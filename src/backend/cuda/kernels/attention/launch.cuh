/* SPDX-License-Identifier: Apache-2.0 */
/* Launches of the attention kernels for one type of cache. */
#ifndef SLUICE_CUDA_ATTENTION_LAUNCH_CUH
#define SLUICE_CUDA_ATTENTION_LAUNCH_CUH

#include "backend/cuda/kernels/attention/few_rows.cuh"
#include "backend/cuda/kernels/attention/warpgroup.cuh"

template <typename Kernel>
static cudaError_t launch(Kernel kernel, unsigned blocks, unsigned threads, int shared_bytes,
                          cudaStream_t stream, const attention_call &call)
{
    if (shared_bytes > 40 * 1024) { /* 48 without being asked for, with what is static */
        const cudaError_t error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
        if (error != cudaSuccess) {
            return error;
        }
    }
    kernel<<<blocks, threads, (size_t)shared_bytes, stream>>>(call);
    return cudaGetLastError();
}

template <typename Cache, int DIM, int GROUPS>
static cudaError_t launch_groups(cudaStream_t stream, const attention_call &call)
{
    typedef group_shape<Cache, DIM, GROUPS> shape;
    const int works = chunk_works(call, shape::ROWS);
    const int most = call.chunk_blocks / 2; /* one of these fits where two of the others do */
    return launch(group_kernel<Cache, DIM, GROUPS>, (unsigned)(works < most ? works : most),
                  shape::THREADS + shape::COPIERS, shape::SHARED_BYTES, stream, call);
}

/* Chunks by warpgroups: three to a block, or two where three would often be left without rows. */
template <typename Cache, int DIM>
static cudaError_t launch_chunks(cudaStream_t stream, const attention_call &call)
{
    enum { FEW_ROWS = 1536 };
    if constexpr (DIM == 64 || DIM == 128) {
        const int64_t rows = (int64_t)call.chunk_tokens * call.largest_group;
        if (call.by_warpgroups) {
            return rows / call.chunk_count < FEW_ROWS ? launch_groups<Cache, DIM, 2>(stream, call)
                                                      : launch_groups<Cache, DIM, 3>(stream, call);
        }
    }
    typedef chunk_shape<Cache, DIM> shape;
    const int works = chunk_works(call, shape::ROWS);
    return launch(chunk_kernel<Cache, DIM>,
                  (unsigned)(works < call.chunk_blocks ? works : call.chunk_blocks), CHUNK_THREADS,
                  shape::SHARED_BYTES, stream, call);
}

/* Items by warps, with as few places for tiles as leave none waiting for memory. */
template <typename Cache, int DIM>
static cudaError_t launch_items(cudaStream_t stream, const attention_call &call)
{
    const int row_tiles = (call.longest_short * call.largest_group + 15) / 16;
    const unsigned blocks = (unsigned)call.item_count * (unsigned)(row_tiles * call.kv_heads);
    if constexpr (Cache::BYTES == 1) {
        enum { SLOTS = 2 };
        if (call.longest_short * call.largest_group <= FEW_ROWS) {
            return launch(few_rows_kernel<DIM, SLOTS>, blocks, 32,
                          few_rows_shape<DIM, SLOTS>::SHARED_BYTES, stream, call);
        }
    }
    enum { SLOTS = 3 };
    return launch(split_kernel<Cache, DIM, SLOTS>, blocks, 32,
                  split_shape<Cache, DIM, SLOTS>::SHARED_BYTES, stream, call);
}

template <typename Cache, int DIM>
static cudaError_t launch_all(cudaStream_t stream, const attention_call &call)
{
    cudaError_t error = cudaSuccess;
    if (call.chunk_count > 0) {
        error = launch_chunks<Cache, DIM>(stream, call);
    }
    if (call.item_count > 0 && error == cudaSuccess) {
        error = launch_items<Cache, DIM>(stream, call);
    }
    return error;
}

template <typename Cache>
static cudaError_t launch_head_dim(cudaStream_t stream, const attention_call &call)
{
    switch (call.head_dim) {
    case 32:
        return launch_all<Cache, 32>(stream, call);
    case 64:
        return launch_all<Cache, 64>(stream, call);
    case 80:
        return launch_all<Cache, 80>(stream, call);
    case 96:
        return launch_all<Cache, 96>(stream, call);
    case 128:
        return launch_all<Cache, 128>(stream, call);
    case 256:
        return launch_all<Cache, 256>(stream, call);
    default:
        return cudaErrorInvalidValue;
    }
}

#endif
