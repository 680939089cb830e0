/* SPDX-License-Identifier: Apache-2.0 */
/* dense_kernel for operands in bfloat16. */
#define DENSE_TYPE __nv_bfloat16
#include "backend/cuda/kernels/dense_product/variants.cuh"

static const dense_launcher launchers[] = {DENSE_VARIANTS(DENSE_LAUNCHER)};

cudaError_t dense_bfloat16_launch(int variant, cudaStream_t stream, unsigned blocks,
                                  unsigned cluster, const dense_work &work)
{
    return launchers[variant](stream, blocks, cluster, work);
}
