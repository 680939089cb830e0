/* SPDX-License-Identifier: Apache-2.0 */
/* Causal convolutions of channels over a sequence's latest positions.
 *
 * Floor: a token's channels are read and written once, (taps - 1) rows of each sequence's state
 * likewise; neighbouring tokens read the same rows from the cache.
 *
 * Bits: a value is one chain over its window in the order of positions, whether the earlier part of
 * that comes from the state or from the step; channels do not mix. */
#include "backend/cuda/kernels/states/states.cuh"

enum { CONVOLVE_THREADS = 256 };

/* What stood in a channel at token `from` of the step, which may be of the step before. */
template <typename T>
__device__ __forceinline__ float value_at(const states_convolve &call, const state_run &run,
                                          int from, int channel)
{
    if (from < run.first) {
        const size_t row = (size_t)(call.taps - 1 + from - run.first);
        return run.is_fresh ? 0.0f : run.before[row * (size_t)call.channels + (size_t)channel];
    }
    const size_t at = (size_t)from * call.in_stride + (size_t)channel;
    const float value = to_float(static_cast<const T *>(call.in)[at]);
    return call.factors == nullptr
               ? value
               : __fmul_rn(value, to_float(static_cast<const T *>(call.factors)[at]));
}

/* Block (token, part of the channels); a thread a channel. */
template <typename T, typename Out>
__global__ void __launch_bounds__(CONVOLVE_THREADS)
    convolve_kernel(const __grid_constant__ states_convolve call)
{
    const int token = (int)blockIdx.x;
    const int channel = (int)blockIdx.y * CONVOLVE_THREADS + (int)threadIdx.x;
    if (channel >= call.channels) {
        return;
    }
    const state_run run = run_of(call.states, call.states.token_sequence[token]);
    float sum = call.bias != nullptr ? call.bias[channel] : 0.0f;
    for (int j = 0; j < call.taps; j++) {
        const float weight = call.weights[(size_t)j * (size_t)call.channels + (size_t)channel];
        sum = __fmaf_rn(weight, value_at<T>(call, run, token - (call.taps - 1) + j, channel), sum);
    }
    if (call.gates != nullptr) {
        const size_t at = (size_t)token * call.in_stride + (size_t)channel;
        sum = __fmul_rn(sum, to_float(static_cast<const T *>(call.gates)[at]));
    } else {
        sum = silu(sum);
    }
    static_cast<Out *>(call.out)[(size_t)token * (size_t)call.channels + (size_t)channel] =
        from_float<Out>(sum);
}

/* Block (sequence, part of the channels): the latest rows, for the next step. All are read before
 * one is written. */
template <typename T>
__global__ void __launch_bounds__(CONVOLVE_THREADS)
    keep_kernel(const __grid_constant__ states_convolve call)
{
    const int channel = (int)blockIdx.y * CONVOLVE_THREADS + (int)threadIdx.x;
    if (channel >= call.channels) {
        return;
    }
    const state_run run = run_of(call.states, (int)blockIdx.x);
    float latest[STATES_MOST_TAPS - 1];
#pragma unroll
    for (int j = 0; j < STATES_MOST_TAPS - 1; j++) {
        if (j < call.taps - 1) {
            latest[j] = value_at<T>(call, run, run.last - (call.taps - 1) + j, channel);
        }
    }
#pragma unroll
    for (int j = 0; j < STATES_MOST_TAPS - 1; j++) {
        if (j < call.taps - 1) {
            run.state[(size_t)j * (size_t)call.channels + (size_t)channel] = latest[j];
        }
    }
}

cudaError_t states_convolve_launch(cudaStream_t stream, const states_convolve *call)
{
    const unsigned parts = (unsigned)(call->channels + CONVOLVE_THREADS - 1) / CONVOLVE_THREADS;
    if (parts == 0) {
        return cudaSuccess;
    }
    const dim3 tokens((unsigned)call->states.tokens, parts);
    const dim3 sequences((unsigned)call->states.sequences, parts);
    return with_number(call->dtype, [&](auto number) {
        using T = decltype(number);
        if (call->out_dtype == TYPE_FLOAT32) {
            convolve_kernel<T, float><<<tokens, CONVOLVE_THREADS, 0, stream>>>(*call);
        } else {
            convolve_kernel<T, T><<<tokens, CONVOLVE_THREADS, 0, stream>>>(*call);
        }
        keep_kernel<T><<<sequences, CONVOLVE_THREADS, 0, stream>>>(*call);
    });
}
