/* SPDX-License-Identifier: Apache-2.0 */
/* The plan as text for people. */
#include "sluice/job.h"

static status describe_memory(const struct plan *plan, struct buffer *out)
{
    const struct {
        const char *text;
        int64_t bytes;
    } parts[] = {{"memory     weights ", plan->weight_bytes},
                 {" + activations ", plan->activation_bytes},
                 {" + KV cache ", plan->kv_bytes},
                 {", of ", plan->memory_bytes}};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        TRY(buffer_append_text(out, parts[i].text));
        char size[24];
        TRY(buffer_append_text(out, format_bytes(parts[i].bytes, size)));
    }
    return buffer_append_text(out, " a rank\n");
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
    TRY(buffer_format(out,
                      "KV cache   %d blocks of %d tokens = %lld tokens, %.1f sequences of "
                      "max_model_len %d\n",
                      plan->kv_blocks, plan->kv_block_tokens, (long long)tokens,
                      (double)tokens / plan->max_model_len, plan->max_model_len));
    return describe_ranks(plan, model, out);
}
