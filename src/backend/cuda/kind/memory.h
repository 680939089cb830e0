/* SPDX-License-Identifier: Apache-2.0 */
/* What the CUDA backend works in: sizes that its operations allocate by and that plans are made
 * with, also where there is no toolkit. */
#ifndef SLUICE_CUDA_KIND_MEMORY_H
#define SLUICE_CUDA_KIND_MEMORY_H

#include "sluice/backend_kind.h"

enum {
    /* Experts: activations of the tokens, partial sums of the columns, that are worked on at once
     */
    CUDA_EXPERTS_ACTIVE_BYTES = 512 << 20,
    CUDA_EXPERTS_PARTIAL_BYTES = 256 << 20,
    /* Tokens of the reference that a product's algorithms are compared with, also where a step
     * never has that many. */
    CUDA_REFERENCE_TOKENS = 512,
};

/* Partial sums [slices][tokens][rows] in the activation type, `value_bytes` each, and where they
 * are `scaled` (of fp8 products) column scales [slices][rows] and row scales [slices][tokens] at
 * *scales_offset. Returns the bytes of the block. */
size_t cuda_partials_bytes(int slices, int tokens, int rows, size_t value_bytes, bool scaled,
                           size_t *scales_offset);

/* For struct backend_kind. */
size_t cuda_kind_partial_bytes(const struct step_shape *shape);
void cuda_kind_add_scratch(const struct step_shape *shape, struct scratch_bytes *total);

#endif
