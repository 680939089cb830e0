/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of a header that kernels (CUDA C++) and the host's files (C) both compile. */
#ifndef SLUICE_CUDA_EITHER_SIDE_H
#define SLUICE_CUDA_EITHER_SIDE_H

#ifdef __CUDACC__
#define EITHER_SIDE static __host__ __device__ __forceinline__
#else
#define EITHER_SIDE static inline
#endif

#endif
