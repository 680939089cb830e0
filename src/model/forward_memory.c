/* SPDX-License-Identifier: Apache-2.0 */
/* The shape of a rank's steps, and the sizes of the forward pass's own buffers. */
#include "model/forward_memory.h"

/* Values of a key head of the gated delta rule, with its value heads: of what is convolved, or in
 * all. */
static int delta_width(const struct model_config *config, bool all)
{
    if (config->delta_key_heads == 0) {
        return 0;
    }
    const int heads = config->delta_value_heads / config->delta_key_heads;
    return 2 * config->delta_key_dim + heads * config->delta_value_dim +
           (all ? heads * (config->delta_value_dim + 2) : 0);
}

/* What a state space's convolution takes: x of the heads, B and C of the groups. */
static int scan_channels(const struct model_config *config, const struct partition *partition)
{
    return partition->scan_heads.count * config->scan_head_dim +
           2 * partition->scan_group_count * config->scan_state_dim;
}

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
        .wide_qk_norm = config->wide_qk_norm,
        .query_heads = partition->head_count,
        .kv_heads = partition->kv_head_count,
        .channels = partition->channels.count,
        .gated_attention = config->gated_attention,
        .scan_width = partition->scan_heads.count * config->scan_head_dim,
        .scan_channels = scan_channels(config, partition),
        .scan_heads = partition->scan_heads.count,
        .scan_norm_groups = config->scan_norm_groups,
        .delta_channels = partition->delta_keys.count * delta_width(config, false),
        .delta_row = partition->delta_keys.count * delta_width(config, true),
        .delta_out = partition->delta_keys.slice_start[partition->local_slices],
        .latent_dim = config->latent_dim,
        .latent_rope = config->latent_rope_dim,
        .latent_key = config->latent_key_dim,
        .query_latent = config->query_latent_dim,
        .columns = partition->column_count,
        .gated = config->gated,
        .experts = config->experts + model_shared_experts(config),
        .experts_used = config->router.used + model_shared_experts(config),
        .expert_columns = partition->expert_column_count,
        .ranks = partition->tp,
        .rank = partition->tp_rank,
        .slices = partition->local_slices,
        .vocabulary = partition->has_head && !config->pools ? config->vocabulary : 0,
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
