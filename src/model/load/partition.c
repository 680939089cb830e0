/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of a model a rank has. Everything is cut at n·i/parts, so that a cut into 8 slices and
 * a cut into 2 ranks fall on the same places. */
#include <stdlib.h>
#include <string.h>

#include "model/mixers/mixer.h"
#include "sluice/model.h"

static int cut(int count, int part, int parts)
{
    return (int)((int64_t)count * part / parts);
}

static status check(const struct model_config *config, int tp, int tp_rank, int pp, int pp_rank,
                    int slices)
{
    if (slices < 1 || slices > MAX_SLICES || (slices & (slices - 1)) != 0) {
        return status_fail(STATUS_INVALID, "tp_slices %d: expected 1, 2, 4 or 8", slices);
    }
    if (tp < 1 || tp > slices || slices % tp != 0) {
        return status_fail(STATUS_INVALID, "tp %d: does not divide the %d slices (tp_slices)", tp,
                           slices);
    }
    if (pp < 1) {
        return status_fail(STATUS_INVALID, "pp %d: expected a positive number", pp);
    }
    if (pp > config->layers) {
        return status_fail(STATUS_INVALID, "pp %d: the model has %d layers", pp, config->layers);
    }
    if (tp_rank < 0 || tp_rank >= tp || pp_rank < 0 || pp_rank >= pp) {
        return status_fail(STATUS_INTERNAL, "rank %d of tp %d, %d of pp %d", tp_rank, tp, pp_rank,
                           pp);
    }
    return STATUS_OK;
}

/* This rank's consecutive slices of `count` things of `width` columns each: the first thing, how
 * many, and where each slice starts among the rank's columns. */
static void cut_slices(const struct partition *partition, int count, int width, int *first,
                       int *own, int32_t *starts)
{
    int first_slice = partition->tp_rank * partition->local_slices;
    *first = cut(count, first_slice, partition->slices);
    *own = cut(count, first_slice + partition->local_slices, partition->slices) - *first;
    for (int i = 0; i <= partition->local_slices; i++) {
        starts[i] = (cut(count, first_slice + i, partition->slices) - *first) * width;
    }
}

static void cut_into(const struct partition *partition, int count, int width, struct model_cut *out)
{
    cut_slices(partition, count, width, &out->first, &out->count, out->slice_start);
}

status partition_create(const struct model_config *config, int tp, int tp_rank, int pp, int pp_rank,
                        int slices, struct partition *out)
{
    memset(out, 0, sizeof *out);
    TRY(check(config, tp, tp_rank, pp, pp_rank, slices));
    out->tp = tp;
    out->tp_rank = tp_rank;
    out->pp = pp;
    out->pp_rank = pp_rank;
    out->slices = slices;
    out->local_slices = slices / tp;
    out->first_layer = cut(config->layers, pp_rank, pp);
    out->layer_count = cut(config->layers, pp_rank + 1, pp) - out->first_layer;
    out->has_embedding = pp_rank == 0;
    out->has_head = pp_rank == pp - 1;

    cut_slices(out, config->heads, config->head_dim, &out->first_head, &out->head_count,
               out->head_slice_start);
    cut_into(out, config->hidden, 1, &out->channels);
    if (config->scan_heads > 0) {
        cut_into(out, config->scan_heads, config->scan_head_dim, &out->scan_heads);
        const int first = out->scan_heads.first, last = first + out->scan_heads.count - 1;
        const int per_group = config->scan_heads / config->scan_groups;
        out->first_scan_group = first / per_group;
        out->scan_group_count =
            out->scan_heads.count > 0 ? last / per_group - out->first_scan_group + 1 : 0;
    }
    if (config->delta_key_heads > 0) {
        const int heads = config->delta_value_heads / config->delta_key_heads;
        cut_into(out, config->delta_key_heads, heads * config->delta_value_dim, &out->delta_keys);
    }
    cut_slices(out, config->intermediate, 1, &out->first_column, &out->column_count,
               out->column_slice_start);
    cut_slices(out, config->expert_intermediate, 1, &out->first_expert_column,
               &out->expert_column_count, out->expert_slice_start);
    out->first_vocabulary_row = cut(config->vocabulary, tp_rank, tp);
    out->vocabulary_row_count =
        cut(config->vocabulary, tp_rank + 1, tp) - out->first_vocabulary_row;

    out->kv_head_of = calloc((size_t)out->head_count + 1, sizeof *out->kv_head_of);
    if (out->kv_head_of == NULL) {
        return status_fail(STATUS_NO_MEMORY, "partition: out of memory");
    }
    out->stores = calloc((size_t)out->layer_count + 1, sizeof *out->stores);
    if (out->stores == NULL) {
        partition_destroy(out);
        return status_fail(STATUS_NO_MEMORY, "partition: out of memory");
    }
    out->first_kv_head = cut(config->kv_heads, out->first_head, config->heads);
    for (int i = 0; i < out->head_count; i++) {
        out->kv_head_of[i] =
            cut(config->kv_heads, out->first_head + i, config->heads) - out->first_kv_head;
        out->kv_head_count = out->kv_head_of[i] + 1;
    }
    for (int i = 0; i < out->layer_count; i++) {
        struct layer_kind kind = model_layer_kind(config, out->first_layer + i);
        out->stores[i] = mixer_store(config, out, kind);
    }
    return STATUS_OK;
}

void partition_destroy(struct partition *partition)
{
    free(partition->kv_head_of);
    free(partition->stores);
    partition->kv_head_of = NULL;
    partition->stores = NULL;
}

struct cache_layout partition_cache(const struct partition *partition, int block_tokens,
                                    enum dtype dtype, int places)
{
    return (struct cache_layout){.layers = partition->layer_count,
                                 .stores = partition->stores,
                                 .block_tokens = block_tokens,
                                 .dtype = dtype,
                                 .places = places};
}
