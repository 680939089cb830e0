/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of layers that keep states, on rows of channels side by side. Channels do not mix, so
 * the bits know no vector's width. */
#include "backend/cpu/kernels/declare.h"
#include "backend/cpu/kernels/vector.h"

void CPU_KERNEL(cpu_kernel_multiply)(const float *a, const float *b, int n, float *to)
{
    int at = 0;
    for (; at + VECTOR_LANES <= n; at += VECTOR_LANES) {
        vec_store(to + at, vec_load(a + at) * vec_load(b + at));
    }
    for (; at < n; at++) {
        to[at] = a[at] * b[at];
    }
}

void CPU_KERNEL(cpu_kernel_convolve)(const float *const *window, const float *weights,
                                     size_t stride, int taps, const float *bias, int n, float *out)
{
    for (int at = 0; at < n; at += VECTOR_LANES) {
        const int rest = n - at;
        const bool is_whole = rest >= VECTOR_LANES;
        vec sum = bias == NULL ? vec_set(0.0f)
                  : is_whole   ? vec_load(bias + at)
                               : vec_load_part(bias + at, rest);
        for (int j = 0; j < taps; j++) {
            const float *weight = weights + (size_t)j * stride + at, *value = window[j] + at;
            sum = is_whole ? vec_fma(vec_load(weight), vec_load(value), sum)
                           : vec_fma(vec_load_part(weight, rest), vec_load_part(value, rest), sum);
        }
        if (is_whole) {
            vec_store(out + at, sum);
        } else {
            vec_store_part(out + at, sum, rest);
        }
    }
}
