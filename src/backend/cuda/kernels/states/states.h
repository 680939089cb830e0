/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels of layers that keep a state of each sequence: convolve.cu, recur.cu. Types
 * are enum dtype's values of sluice/backend.h, without fp8; states are float32. */
#ifndef SLUICE_CUDA_STATES_H
#define SLUICE_CUDA_STATES_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    STATES_MOST_TAPS = 8,  /* of a convolution */
    STATES_MOST_ROWS = 256 /* of a head's state: key_dim, state_dim */
};

/* The step's sequences and a layer's states: that of sequence s is at first + place[s] · stride.
 * One whose first token of the step stands at position 0 begins with zeros, and one with another
 * place in `from` with what stands there, which stays as it is. */
struct states_view {
    int tokens, sequences;
    float *first;
    size_t stride;
    const int32_t *place;          /* [S] */
    const int32_t *from;           /* [S] or NULL: as place */
    const int32_t *query_start;    /* [S + 1] */
    const int32_t *positions;      /* [T] */
    const int32_t *token_sequence; /* [T] */
};

/* out[T][channels] = f(bias + Σ_j weights[j][c] · what stood in channel c taps - 1 - j positions
 * before). What stands there is in[T][in_stride], times factors[T][in_stride] where they are given;
 * f is SiLU, or with gates [T][in_stride] a product with these. The state begins with the latest
 * taps - 1 rows of channels. */
struct states_convolve {
    struct states_view states;
    int channels, taps;
    const void *in, *factors, *gates; /* of dtype; the latter two NULL or both there */
    int dtype;
    size_t in_stride;
    const float *weights, *bias; /* [taps][channels], [channels] or NULL */
    void *out;
    int out_dtype; /* float32 or dtype */
};
cudaError_t states_convolve_launch(cudaStream_t stream, const struct states_convolve *call);

/* The gated delta rule as struct backend_operations has it. `mixed` [T][channels] holds q, k and v
 * of all heads behind the convolution; afterwards v's place holds what the rule gave. gates[T][row]
 * of dtype are z, b and a. A head's state [key_dim][value_dim] stands state_offset behind the
 * sequence's. */
struct states_delta {
    struct states_view states;
    int key_heads, value_heads, key_dim, value_dim;
    float epsilon;
    float *mixed;
    const void *gates;
    int dtype;
    size_t gate_stride, state_offset;
    const float *decay, *step_bias, *norm;
    void *out; /* [T][value_heads · value_dim] of dtype */
};
cudaError_t states_delta_launch(cudaStream_t stream, const struct states_delta *call);

/* The state space of the second Mamba, likewise: `mixed` holds x, B and C; in[T][in_stride] z, then
 * what was mixed, then dt. A head's state is [state_dim][head_dim]. */
struct states_scan {
    struct states_view states;
    int heads, head_dim, groups, state_dim;
    int first_head, heads_per_group;
    float least_step, most_step;
    int gates; /* whether the result is gated by SiLU(z) */
    const float *mixed;
    const void *in;
    int dtype;
    size_t in_stride, state_offset;
    const float *decay, *step_bias, *skip;
    void *out; /* [T][heads · head_dim] of dtype */
};
cudaError_t states_scan_launch(cudaStream_t stream, const struct states_scan *call);

#ifdef __cplusplus
}
#endif

#endif
