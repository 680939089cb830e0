/* SPDX-License-Identifier: Apache-2.0 */
/* The table of one instruction set's kernels. */
#include "backend/cpu/kernels/declare.h"
#include "backend/cpu/kernels/vector.h"

const struct cpu_kernels CPU_KERNEL(cpu_kernels) = {
    .name = VECTOR_LANES == 16  ? "AVX-512"
            : VECTOR_LANES == 8 ? "AVX2"
                                : "baseline",
    .tile_rows = PRODUCT_ROWS,
    .product = CPU_KERNEL(cpu_kernel_product),
    .attention = CPU_KERNEL(cpu_kernel_attention),
    .norm = CPU_KERNEL(cpu_kernel_norm),
    .add_parts = CPU_KERNEL(cpu_kernel_add_parts),
    .add_scaled = CPU_KERNEL(cpu_kernel_add_scaled),
    .activate = CPU_KERNEL(cpu_kernel_activate),
    .activate_clamped = CPU_KERNEL(cpu_kernel_activate_clamped),
    .sigmoid = CPU_KERNEL(cpu_kernel_sigmoid),
    .scale_cap = CPU_KERNEL(cpu_kernel_scale_cap),
    .rotate = CPU_KERNEL(cpu_kernel_rotate),
    .soft_max = CPU_KERNEL(cpu_kernel_soft_max),
    .multiply = CPU_KERNEL(cpu_kernel_multiply),
    .convolve = CPU_KERNEL(cpu_kernel_convolve),
    .gate = CPU_KERNEL(cpu_kernel_gate),
    .delta = CPU_KERNEL(cpu_kernel_delta),
    .scan = CPU_KERNEL(cpu_kernel_scan),
};
