/* SPDX-License-Identifier: Apache-2.0 */
/* The sum over ranks of gathered blocks: tree.cu. */
#ifndef SLUICE_COMM_NCCL_TREE_H
#define SLUICE_COMM_NCCL_TREE_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { TREE_MAX_RANKS = 8 };

/* to[i] = the pairwise tree over r of blocks[r · count + i], i < count. `ranks` is a power of two
 * up to TREE_MAX_RANKS. */
cudaError_t tree_sum_launch(cudaStream_t stream, const float *blocks, int ranks, size_t count,
                            float *to);

#ifdef __cplusplus
}
#endif

#endif
