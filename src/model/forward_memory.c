/* SPDX-License-Identifier: Apache-2.0 */
/* What the forward pass needs: the shape of a rank's steps, and the sizes of its buffers. */
#include "model/forward_memory.h"

#include "model/mixers/mixer.h"

struct step_shape forward_step_shape(const struct model_config *config,
                                     const struct partition *partition,
                                     const struct step_limits *limits)
{
    return (struct step_shape){
        .compute = limits->compute,
        .stored = limits->stored,
        .tokens = limits->tokens,
        .outputs = limits->outputs,
        .hidden = config->hidden,
        .head_dim = config->head_dim,
        .query_heads = partition->head_count,
        .kv_heads = partition->kv_head_count,
        .columns = partition->column_count,
        .gated = config->gated,
        .experts = config->experts,
        .experts_used = config->experts_used,
        .expert_columns = partition->expert_column_count,
        .ranks = partition->tp,
        .rank = partition->tp_rank,
        .slices = partition->local_slices,
        .vocabulary = partition->has_head && !config->encoder ? config->vocabulary : 0,
        .vocabulary_rows = partition->has_head ? partition->vocabulary_row_count : 0,
    };
}

status extent_bytes(const struct extent *extent, int64_t *bytes)
{
    if (extent->rows < 0) {
        *bytes = 0;
        return STATUS_OK;
    }
    return __builtin_mul_overflow(extent->rows, extent->width, bytes) ||
                   __builtin_mul_overflow(*bytes, extent->value_bytes, bytes)
               ? status_fail(STATUS_LIMIT, "scratch of %lld rows of %lld", (long long)extent->rows,
                             (long long)extent->width)
               : STATUS_OK;
}

void forward_extents(const struct step_shape *shape, size_t partial_bytes,
                     struct extent extents[FORWARD_BUFFERS])
{
    static const struct extent none = {.rows = -1};
    const int64_t act = (int64_t)dtype_bytes(shape->compute), wide = sizeof(float);
    const int64_t tokens = shape->tokens, outputs = shape->outputs, hidden = shape->hidden;
    const int64_t columns = shape->columns, partials = (int64_t)partial_bytes;
    const bool has_logits = shape->vocabulary > 0;
    extents[FORWARD_RESIDUAL] = (struct extent){tokens, hidden, wide};
    extents[FORWARD_NORMED] = (struct extent){tokens, hidden, act};
    extents[FORWARD_GATES] = (struct extent){tokens, (shape->gated ? 2 : 1) * columns, act};
    extents[FORWARD_ACTIVE] = (struct extent){tokens, columns, act};
    extents[FORWARD_BRANCH] =
        partials > 0 ? (struct extent){1, partials, 1} : (struct extent){tokens, hidden, wide};
    extents[FORWARD_BRANCHES] =
        partials > 0 && shape->ranks > 1 ? (struct extent){shape->ranks, partials, 1} : none;
    extents[FORWARD_RANK_LOGITS] = has_logits && shape->ranks > 1
                                       ? (struct extent){outputs, shape->vocabulary_rows, wide}
                                       : none;
    extents[FORWARD_LOGITS] =
        has_logits && shape->rank == 0 ? (struct extent){outputs, shape->vocabulary, wide} : none;
}

static status add_extents(const struct extent *extents, int count, struct scratch_bytes *total)
{
    for (int i = 0; i < count; i++) {
        int64_t bytes;
        TRY(extent_bytes(&extents[i], &bytes));
        total->rows += bytes;
    }
    return STATUS_OK;
}

/* Each kind of mixer that the rank's layers have, once. */
static status add_mixers(const struct model_config *config, const struct partition *partition,
                         const struct step_shape *shape, struct scratch_bytes *total)
{
    bool added[MIXER_KINDS] = {false};
    for (int layer = 0; layer < partition->layer_count; layer++) {
        const enum mixer_kind kind = model_layer_kind(config, partition->first_layer + layer).mixer;
        if (!added[kind]) {
            struct extent extents[MIXER_MOST_BUFFERS];
            const int count = mixer_operations_of(kind)->extents(shape, extents);
            TRY(add_extents(extents, count, total));
            added[kind] = true;
        }
    }
    return STATUS_OK;
}

status forward_add_scratch(const struct model_config *config, const struct partition *partition,
                           const struct backend_kind *kind, const struct step_shape *shape,
                           struct scratch_bytes *total)
{
    struct extent extents[FORWARD_BUFFERS];
    const size_t partials = kind->partial_bytes != NULL ? kind->partial_bytes(shape) : 0;
    forward_extents(shape, partials, extents);
    TRY(add_extents(extents, FORWARD_BUFFERS, total));
    return add_mixers(config, partition, shape, total);
}
