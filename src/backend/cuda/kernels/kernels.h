/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA kernels' callers, in plain C: each puts its launches on the stream and returns the first
 * error of them. Pointers are device memory unless said; what a call computes, its shapes and its
 * floor stand at the head of the .cu file. */
#ifndef SLUICE_CUDA_KERNELS_H
#define SLUICE_CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#include "backend/cuda/kernels/attention/attention.h"
#include "backend/cuda/kernels/experts.h"
#include "backend/cuda/kernels/kv_cache.h"
#include "backend/cuda/kernels/rows.h"
#include "backend/cuda/kernels/sample.h"

#endif
