/* SPDX-License-Identifier: Apache-2.0 */
/* Attention over a cache in float16: the kernels of tensor.cuh and
 * warpgroup.cuh. */
#include "backend/cuda/kernels/attention/launch.cuh"

cudaError_t attention_float16_launch(cudaStream_t stream, const attention_call *call)
{
    return launch_head_dim<float16_cache>(stream, *call);
}
