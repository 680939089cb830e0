/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as text for people. */
#include <string.h>

#include "sluice/job.h"

/* A line of the table: what it takes, and its share of what a rank may use, also as a bar. */
static status describe_part(const char *name, int64_t bytes, int64_t of, struct buffer *out)
{
    static const char bar[] = "########################################";
    double share = of > 0 ? (double)bytes / (double)of : 0;
    int width = (int)(share * (double)(sizeof bar - 1) + 0.5);
    char size[24];
    width = width < 0 ? 0 : width > (int)sizeof bar - 1 ? (int)sizeof bar - 1 : width;
    return buffer_format(out, "  %-12s %11s  %5.1f%%%s%.*s\n", name, format_bytes(bytes, size),
                         100 * share, width > 0 ? "  " : "", width, bar);
}

static status describe_memory(const struct plan *plan, struct buffer *out)
{
    const struct {
        const char *name;
        int64_t bytes;
    } parts[] = {{"weights", plan->weight_bytes},
                 {"activations", plan->activation_bytes},
                 {"states", plan->state_bytes},
                 {"KV cache", plan->kv_bytes}};
    int64_t left = plan->memory_bytes;
    char size[24];
    TRY(buffer_format(out, "memory     of %s that a rank may use:\n",
                      format_bytes(plan->memory_bytes, size)));
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (parts[i].bytes == 0 && plan->state_places == 0 &&
            strcmp(parts[i].name, "states") == 0) {
            continue;
        }
        TRY(describe_part(parts[i].name, parts[i].bytes, plan->memory_bytes, out));
        left -= parts[i].bytes;
    }
    return describe_part("left", left > 0 ? left : 0, plan->memory_bytes, out);
}

/* What layers keep of a whole sequence. */
static status describe_states(const struct plan *plan, struct buffer *out)
{
    char size[24];
    return plan->state_places == 0
               ? STATUS_OK
               : buffer_format(
                     out,
                     "states     %s a sequence, for %d at once and %d kept for the prefix "
                     "cache\n",
                     format_bytes(plan->state_bytes / plan->state_places, size),
                     plan->max_sequences, plan->kept_states);
}

/* One line a rank of a replica. */
static status describe_ranks(const struct plan *plan, const struct model *model, struct buffer *out)
{
    TRY(buffer_append_text(out, "\n  tp   pp  layers      heads  KV heads  columns  vocabulary\n"));
    for (int slot = 0; slot < plan->tp * plan->pp; slot++) {
        struct partition partition;
        TRY(partition_create(model_config(model), plan->tp, slot % plan->tp, plan->pp,
                             slot / plan->tp, plan->slices, &partition));
        int columns =
            partition.column_count > 0 ? partition.column_count : partition.expert_column_count;
        status s = buffer_format(
            out, "%4d %4d  %3d..%-3d %8d  %8d  %7d  %10d\n", partition.tp_rank, partition.pp_rank,
            partition.first_layer, partition.first_layer + partition.layer_count - 1,
            partition.head_count, partition.kv_head_count, columns, partition.vocabulary_row_count);
        partition_destroy(&partition);
        TRY(s);
    }
    return STATUS_OK;
}

status plan_describe(const struct plan *plan, const struct model *model, struct buffer *out)
{
    TRY(buffer_format(out, "device     %s: computes in %s, weights %s, KV cache %s\n",
                      plan->kind->name, dtype_name(plan->compute), weight_format_name(plan->stored),
                      dtype_name(plan->kv_dtype)));
    TRY(buffer_format(out, "ranks      %d = dp %d x tp %d x pp %d; sums in %d slices\n",
                      plan->ranks, plan->dp, plan->tp, plan->pp, plan->slices));
    TRY(buffer_format(out, "a replica  %d sequences at once, %d tokens a step\n",
                      plan->max_sequences, plan->max_batch_tokens));
    TRY(describe_memory(plan, out));
    int64_t tokens = (int64_t)plan->kv_blocks * plan->kv_block_tokens;
    TRY(buffer_format(out, "KV cache   %lld tokens in %d blocks of %d: %.1f contexts of %d\n",
                      (long long)tokens, plan->kv_blocks, plan->kv_block_tokens,
                      (double)tokens / plan->max_model_len, plan->max_model_len));
    TRY(describe_states(plan, out));
    return describe_ranks(plan, model, out);
}
