/* SPDX-License-Identifier: Apache-2.0 */
/* What the CUDA backend works in for steps of a shape: see memory.h. What grows with contexts
 * (attention's parts, sampling with penalties) is in the kind's reserve. */
#include "backend/cuda/kind/memory.h"

#include "sluice/sampling.h"

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static size_t padded(size_t bytes)
{
    return (bytes + 15) / 16 * 16;
}

size_t cuda_partials_bytes(int slices, int tokens, int rows, size_t value_bytes, bool scaled,
                           size_t *scales_offset)
{
    const size_t parts = (size_t)slices;
    *scales_offset = padded(parts * (size_t)tokens * (size_t)rows * value_bytes);
    const size_t scales = parts * ((size_t)tokens + (size_t)rows) * sizeof(float);
    return *scales_offset + (scaled ? padded(scales) : 0);
}

/* Scales are in the kind's row_margin, here and below. */
size_t cuda_kind_partial_bytes(const struct step_shape *shape)
{
    size_t scales_offset;
    return cuda_partials_bytes(shape->slices, shape->tokens, shape->hidden,
                               dtype_bytes(shape->compute), false, &scales_offset);
}

/* Inputs of the layers' products rounded to fp8, beside the buffers that have them. */
static int64_t packed_bytes(const struct step_shape *shape)
{
    const int64_t heads = (int64_t)shape->query_heads * shape->head_dim;
    return weight_format_is_quantized(shape->stored)
               ? shape->tokens * (shape->hidden + heads + shape->columns)
               : 0;
}

/* While the algorithms of the largest product are chosen: its input and output for the most rows
 * that it has, or those of the reference where these are more (algorithms.c). */
static int64_t trial_bytes(const struct step_shape *shape)
{
    const int64_t width = (int64_t)dtype_bytes(shape->compute);
    const int64_t hidden = shape->hidden, columns = shape->columns;
    const int64_t heads = ((int64_t)shape->query_heads + 2 * shape->kv_heads) * shape->head_dim;
    int64_t widest = larger(hidden + (shape->gated ? 2 : 1) * columns, hidden + heads);
    widest = larger(widest, columns + shape->slices * hidden);
    const int64_t bytes = width * widest * larger(shape->tokens, CUDA_REFERENCE_TOKENS);
    const int64_t row = width * hidden + 4 * (int64_t)shape->vocabulary_rows;
    return shape->vocabulary_rows > 0
               ? larger(bytes, row * larger(shape->outputs, CUDA_REFERENCE_TOKENS))
               : bytes;
}

/* What experts work in (experts.c): activations and partial sums of the tokens and columns that are
 * worked on at once, both bounded, and where each row goes. */
static int64_t experts_bytes(const struct step_shape *shape)
{
    const int64_t rows = (int64_t)shape->tokens * shape->experts_used;
    const int64_t row_bytes = (int64_t)dtype_bytes(shape->compute);
    const int64_t active = 2 * rows * row_bytes * shape->expert_columns;
    const int64_t partials = shape->slices * rows * row_bytes * shape->hidden;
    return shape->experts > 0 ? smaller(active, CUDA_EXPERTS_ACTIVE_BYTES) +
                                    smaller(partials, CUDA_EXPERTS_PARTIAL_BYTES) + rows * 32
                              : 0;
}

/* Masks over the vocabulary that the device keeps: half again as many as a step has outputs
 * (sample.c).
 */
static int64_t masks_bytes(const struct step_shape *shape)
{
    const int64_t words = sampling_mask_words(shape->vocabulary);
    return shape->outputs * words * (int64_t)sizeof(uint32_t) * 3 / 2;
}

void cuda_kind_add_scratch(const struct step_shape *shape, struct scratch_bytes *total)
{
    total->rows += packed_bytes(shape);
    total->work += trial_bytes(shape) + experts_bytes(shape) + masks_bytes(shape);
}
