/* SPDX-License-Identifier: Apache-2.0 */
/* What the CPU backend works in for steps of a shape, in float32 as jobs have it. Each number comes
 * from the function that the operation itself asks before it allocates. */
#include "backend/cpu/cpu.h"

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The largest copy of rows: of a product's input, or of those whose logits are wanted. */
static size_t copied_floats(const struct step_shape *shape)
{
    const size_t widths[] = {(size_t)shape->hidden, (size_t)shape->query_latent,
                             (size_t)shape->query_heads * (size_t)shape->head_dim,
                             (size_t)shape->columns};
    size_t most = shape->vocabulary > 0 ? cpu_output_floats(shape->outputs, shape->hidden) : 0;
    for (size_t i = 0; i < COUNT_OF(widths); i++) {
        most = larger(most, cpu_copied_floats(shape->tokens, widths[i]));
    }
    return most;
}

/* What a plan leaves for all this at least, beside the margin on rows: a row of the residual for
 * each token, and one between an MLP's products where these are not gated. Most models need less;
 * messages between ranks and threads' stacks take the rest. */
static int64_t usual_bytes(const struct step_shape *shape)
{
    return (int64_t)sizeof(float) * shape->tokens *
           (shape->hidden + (shape->gated ? 0 : shape->columns));
}

void cpu_add_scratch(const struct step_shape *shape, struct scratch_bytes *total)
{
    const int threads = cpu_host_threads();
    const int latent = shape->latent_dim + shape->latent_rope;
    const int head_dim = latent > shape->head_dim ? latent : shape->head_dim;
    const size_t floats =
        copied_floats(shape) + ROPE_TABLES * cpu_rope_floats(shape->tokens, head_dim) +
        cpu_attention_floats(threads, head_dim, shape->query_heads, shape->outputs) +
        cpu_experts_floats(shape, threads);
    const int64_t usual = usual_bytes(shape);
    total->rows += usual;
    const int64_t left = (int64_t)(floats * sizeof(float)) - usual - total->rows / CPU_ROW_MARGIN;
    total->work += left > 0 ? left : 0;
}
