/* SPDX-License-Identifier: Apache-2.0 */
/* What kernels of layers with states share: rows in any type, and which state a sequence has. */
#ifndef SLUICE_CUDA_STATES_CUH
#define SLUICE_CUDA_STATES_CUH

#include "backend/cuda/kernels/numbers.cuh"
#include "backend/cuda/kernels/states/states.h"

/* The tokens of a sequence in the step, its state before them and where that goes. */
struct state_run {
    int first, last;
    const float *before; /* may be `state` */
    float *state;
    bool is_fresh; /* the state before counts as zeros, whatever it holds */
};

__device__ __forceinline__ state_run run_of(const states_view &view, int sequence)
{
    const int first = view.query_start[sequence], place = view.place[sequence];
    const int from = view.from != nullptr ? view.from[sequence] : place;
    return {first, view.query_start[sequence + 1], view.first + (size_t)from * view.stride,
            view.first + (size_t)place * view.stride, view.positions[first] == 0};
}

__device__ __forceinline__ float silu(float x)
{
    return x / (1.0f + expf(-x));
}

/* Calls launch(T{}) for the type of number `dtype`. */
template <typename Launch> static cudaError_t with_number(int dtype, Launch launch)
{
    switch (dtype) {
    case TYPE_FLOAT32:
        launch(float{});
        break;
    case TYPE_BFLOAT16:
        launch(__nv_bfloat16{});
        break;
    case TYPE_FLOAT16:
        launch(__half{});
        break;
    default:
        return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}

#endif
