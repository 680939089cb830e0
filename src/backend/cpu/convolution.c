/* SPDX-License-Identifier: Apache-2.0 */
/* Causal convolutions of channels over a sequence's latest positions.
 *
 * One form for all positions: a token's value is a chain over its window, whether the earlier part
 * of that comes from the state or from the step. */
#include <string.h>

#include "backend/cpu/cpu.h"

/* The row of channels `back` positions before token `token` of sequence `s`. */
static const float *row_before(const struct cpu_backend *cpu,
                               const struct channel_convolution *call, int s, int token, int back)
{
    const int first = cpu->batch->query_start[s], from = token - back;
    return from >= first ? call->in + (size_t)from * call->in_stride
                         : cpu_state_at(cpu, &call->states, s) +
                               (size_t)(call->taps - 1 + from - first) * (size_t)call->channels;
}

static void convolve_token(const struct cpu_backend *cpu, const struct channel_convolution *call,
                           int token)
{
    const float *window[MOST_TAPS];
    for (int j = 0; j < call->taps; j++) {
        window[j] = row_before(cpu, call, cpu->token_sequence[token], token, call->taps - 1 - j);
    }
    cpu->kernels->convolve(window, call->weights, (size_t)call->channels, call->taps, call->bias,
                           call->channels, call->out + (size_t)token * (size_t)call->channels);
}

/* The latest rows, for the next step. */
static void keep_rows(const struct cpu_backend *cpu, const struct channel_convolution *call, int s)
{
    const int end = cpu->batch->query_start[s + 1], kept = call->taps - 1;
    float *state = cpu_state_at(cpu, &call->states, s);
    for (int j = 0; j < kept; j++) { /* ascending: what moves down is read before it is written */
        memmove(state + (size_t)j * (size_t)call->channels,
                row_before(cpu, call, s, end - 1, kept - 1 - j),
                (size_t)call->channels * sizeof *state);
    }
}

void cpu_convolve(const struct cpu_backend *cpu, const struct channel_convolution *call)
{
    const int tokens = cpu->batch->tokens;
    const int threads = cpu_threads_for(cpu, 2.0 * tokens * call->channels * call->taps);
#pragma omp parallel for num_threads(threads)
    for (int token = 0; token < tokens; token++) {
        convolve_token(cpu, call, token);
    }
    for (int s = 0; s < cpu->batch->sequences; s++) {
        keep_rows(cpu, call, s);
    }
}
