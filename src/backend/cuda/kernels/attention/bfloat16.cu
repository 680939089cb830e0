/* SPDX-License-Identifier: Apache-2.0 */
/* Attention over a cache in bfloat16: the kernels of tensor.cuh and
 * warpgroup.cuh. */
#include "backend/cuda/kernels/attention/launch.cuh"

cudaError_t attention_bfloat16_launch(cudaStream_t stream, const attention_call *call)
{
    return launch_head_dim<bfloat16_cache>(stream, *call);
}
