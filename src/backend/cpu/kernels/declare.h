/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of one variant, as table.c gathers them. */
#ifndef SLUICE_CPU_DECLARE_H
#define SLUICE_CPU_DECLARE_H

#include "backend/cpu/kernels.h"

void CPU_KERNEL(cpu_kernel_product)(const struct product_tile *tile);
void CPU_KERNEL(cpu_kernel_attention)(const struct attention_tile *tile);
void CPU_KERNEL(cpu_kernel_norm)(const struct norm_facts *facts, const float *in,
                                 const float *weight, const float *bias, int n, float *out);
void CPU_KERNEL(cpu_kernel_add_parts)(const float *from, int parts, size_t stride,
                                      const float *bias, int n, float *to);
void CPU_KERNEL(cpu_kernel_add_scaled)(float *to, const float *from, float factor, int n);
void CPU_KERNEL(cpu_kernel_activate)(enum activation activation, const float *gate, const float *up,
                                     int n, float *out);
void CPU_KERNEL(cpu_kernel_activate_clamped)(float limit, const float *gate, const float *up, int n,
                                             float *out);
void CPU_KERNEL(cpu_kernel_sigmoid)(float *values, int n);
void CPU_KERNEL(cpu_kernel_scale_cap)(float *values, float scale, float cap, int n);
void CPU_KERNEL(cpu_kernel_rotate)(float *values, const float *cosine, const float *sine, int half);
void CPU_KERNEL(cpu_kernel_soft_max)(float *values, int n);
void CPU_KERNEL(cpu_kernel_multiply)(const float *a, const float *b, int n, float *to);
void CPU_KERNEL(cpu_kernel_convolve)(const float *const *window, const float *weights,
                                     size_t stride, int taps, const float *bias, int n, float *out);
void CPU_KERNEL(cpu_kernel_gate)(const float *gates, int n, float *values);
void CPU_KERNEL(cpu_kernel_delta)(float *state, const float *q, const float *k, const float *v,
                                  float decay, float beta, int key_dim, int value_dim, float *out);
void CPU_KERNEL(cpu_kernel_scan)(float *state, const float *b, const float *c, const float *x,
                                 float decay, float step, float skip, int state_dim, int head_dim,
                                 float *out);

#endif
