/* SPDX-License-Identifier: Apache-2.0 */
/* The variants of dense_kernel, for both types: warpgroups, 64 weights each so many times, tokens,
 * slices that a block adds up, PAIR, SPLIT. They have the same bits; launch.cu chooses. */
#ifndef SLUICE_CUDA_DENSE_PRODUCT_VARIANTS_CUH
#define SLUICE_CUDA_DENSE_PRODUCT_VARIANTS_CUH

#include "backend/cuda/kernels/dense_product/kernel.cuh"

#define DENSE_VARIANTS(V)                                                                          \
    /* few tokens: narrow tiles for all multiprocessors */                                         \
    V(1, 1, 16, 1, false, false)                                                                   \
    V(1, 1, 32, 1, false, false)                                                                   \
    V(1, 1, 64, 1, false, false)                                                                   \
    V(1, 1, 128, 1, false, false)                                                                  \
    V(1, 1, 16, 1, false, true)                                                                    \
    V(1, 1, 32, 1, false, true)                                                                    \
    V(1, 1, 64, 1, false, true)                                                                    \
    V(1, 1, 128, 1, false, true)                                                                   \
    V(2, 1, 128, 1, false, true)                                                                   \
    /* more: weights and tokens for waves that are full */                                         \
    V(2, 1, 64, 1, true, false)                                                                    \
    V(2, 1, 96, 1, true, false)                                                                    \
    V(2, 1, 128, 1, true, false)                                                                   \
    V(2, 1, 160, 1, true, false)                                                                   \
    V(2, 1, 192, 1, true, false)                                                                   \
    V(2, 1, 256, 1, true, false)                                                                   \
    V(2, 2, 128, 1, true, false)                                                                   \
    V(3, 1, 128, 1, true, false)                                                                   \
    V(3, 1, 192, 1, true, false)                                                                   \
    V(2, 1, 96, 2, true, false)                                                                    \
    V(2, 1, 128, 2, true, false)                                                                   \
    V(2, 1, 160, 2, true, false)                                                                   \
    V(2, 1, 192, 2, true, false)                                                                   \
    V(3, 1, 128, 2, true, false)                                                                   \
    V(2, 1, 128, 4, true, false)                                                                   \
    V(2, 1, 96, 8, true, false)

/* Number `variant` of them on a grid of `blocks` in clusters of `cluster`. */
cudaError_t dense_float8_launch(int variant, cudaStream_t stream, unsigned blocks, unsigned cluster,
                                const dense_work &work);
cudaError_t dense_bfloat16_launch(int variant, cudaStream_t stream, unsigned blocks,
                                  unsigned cluster, const dense_work &work);

template <class Shape>
static cudaError_t dense_launch(cudaStream_t stream, unsigned blocks, unsigned cluster,
                                const dense_work &work)
{
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim.x = cluster;
    attributes[0].val.clusterDim.y = attributes[0].val.clusterDim.z = 1;
    attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[1].val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(Shape::THREADS + Shape::PRODUCERS);
    config.dynamicSmemBytes = (size_t)Shape::SHARED_BYTES;
    config.stream = stream;
    config.attrs = attributes;
    config.numAttrs = work.call.starts_early ? 2 : 1;
    const cudaError_t error = cudaFuncSetAttribute(
        dense_kernel<Shape>, cudaFuncAttributeMaxDynamicSharedMemorySize, Shape::SHARED_BYTES);
    return error != cudaSuccess ? error : cudaLaunchKernelEx(&config, dense_kernel<Shape>, work);
}

typedef cudaError_t (*dense_launcher)(cudaStream_t, unsigned, unsigned, const dense_work &);

/* The launchers of type T's variants. */
#define DENSE_LAUNCHER(GROUPS, SUBS, TOKENS, SLICES, PAIR, SPLIT)                                  \
    dense_launch<dense_shape<DENSE_TYPE, GROUPS, SUBS, TOKENS, SLICES, PAIR, SPLIT>>,

#endif
