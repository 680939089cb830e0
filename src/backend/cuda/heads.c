/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on a token's heads together, gates, and norms over groups of values. What a product
 * left raw is finished first: several read it. */
#include "backend/cuda/cuda.h"

#include "backend/cuda/kernels/states/heads.h"

_Static_assert((int)CUDA_MAX_HEADS == (int)HEADS_MOST, "kernels see other heads");
_Static_assert((int)MAX_SLICES == (int)HEADS_MAX_SLICES, "kernels see other slices");

static int row_width(const struct head_layout *heads)
{
    return (heads->query_heads + 2 * heads->kv_heads) * heads->head_dim;
}

status cuda_settle(struct cuda_backend *cuda, struct device_buffer *buffer, int width)
{
    const struct cuda_pending *pending = &buffer->pending;
    TRY(cuda_buffer_check(buffer, cuda->step.tokens, width, dtype_bytes(cuda->activation)));
    if (buffer->packed.valid) {
        return status_fail(STATUS_INTERNAL, "these rows were left for another product");
    }
    if (pending->row_scale != NULL || pending->column_scale != NULL || pending->bias != NULL) {
        const struct rows_settle call = {
            .tokens = cuda->step.tokens,
            .width = width,
            .values = buffer->data,
            .dtype = (int)cuda->activation,
            .pending = {pending->row_scale, pending->column_scale, pending->bias}};
        TRY(cuda_check(rows_settle_launch(cuda->stream, &call), "scales of a product"));
    }
    cuda_buffer_is_plain(buffer);
    return STATUS_OK;
}

/* ---- Norms over all heads ---- */

status cuda_head_squares(struct backend *backend, const struct head_layout *heads,
                         const struct head_slices *slices, struct device_buffer *qkv,
                         struct device_buffer *sums)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (slices->count < 1 || slices->count > MAX_SLICES ||
        slices->start[slices->count] != heads->query_heads * heads->head_dim) {
        return status_fail(STATUS_INTERNAL, "head squares: slices of other heads");
    }
    if (heads->query_heads > CUDA_MAX_HEADS) {
        return status_fail(STATUS_UNSUPPORTED, "norms over %d heads; the most are %d",
                           heads->query_heads, (int)CUDA_MAX_HEADS);
    }
    TRY(cuda_settle(cuda, qkv, row_width(heads)));
    TRY(cuda_buffer_check(sums, cuda->step.tokens, 2, sizeof(float)));
    struct heads_squares call = {.tokens = cuda->step.tokens,
                                 .query_heads = heads->query_heads,
                                 .kv_heads = heads->kv_heads,
                                 .head_dim = heads->head_dim,
                                 .slices = slices->count,
                                 .qkv = qkv->data,
                                 .dtype = (int)cuda->activation,
                                 .sums = sums->data};
    for (int i = 0; i <= slices->count; i++) {
        call.slice_head[i] = (int16_t)(slices->start[i] / heads->head_dim);
    }
    for (int h = 0; h < heads->query_heads; h++) {
        call.counted[h] = (int16_t)(slices->is_first[h] ? heads->kv_head[h] : -1);
    }
    cuda_buffer_is_plain(sums);
    return cuda_check(heads_squares_launch(cuda->stream, &call), "norm over heads");
}

status cuda_head_normalize(struct backend *backend, const struct head_layout *heads,
                           const struct norm_facts *norm, const struct vector *q_norm,
                           const struct vector *k_norm, int q_width, int k_width,
                           struct device_buffer *sums, struct device_buffer *qkv)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const int own_q = heads->query_heads * heads->head_dim;
    const int own_k = heads->kv_heads * heads->head_dim;
    if (q_norm->length != own_q || k_norm->length != own_k || q_width < 1 || k_width < 1) {
        return status_fail(STATUS_INTERNAL, "head norm: weights of other heads");
    }
    TRY(cuda_settle(cuda, qkv, row_width(heads)));
    TRY(cuda_buffer_check(sums, cuda->step.tokens, 2, sizeof(float)));
    const struct heads_normalize call = {.tokens = cuda->step.tokens,
                                         .q_width = own_q,
                                         .k_width = own_k,
                                         .stride = row_width(heads),
                                         .q_count = (float)q_width,
                                         .k_count = (float)k_width,
                                         .epsilon = norm->epsilon,
                                         .weight_offset = norm->weight_offset,
                                         .q_weight = q_norm->data,
                                         .k_weight = k_norm->data,
                                         .sums = sums->data,
                                         .qkv = qkv->data,
                                         .dtype = (int)cuda->activation};
    return cuda_check(heads_normalize_launch(cuda->stream, &call), "norm over heads");
}

status cuda_scale_queries(struct backend *backend, const struct head_layout *heads, float beta,
                          int length, struct device_buffer *qkv)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (length < 1) {
        return status_fail(STATUS_INTERNAL, "scale of queries: a length of %d", length);
    }
    TRY(cuda_settle(cuda, qkv, row_width(heads)));
    const struct heads_scale call = {.tokens = cuda->step.tokens,
                                     .width = heads->query_heads * heads->head_dim,
                                     .stride = row_width(heads),
                                     .length = length,
                                     .beta = beta,
                                     .positions = cuda->step.positions,
                                     .qkv = qkv->data,
                                     .dtype = (int)cuda->activation};
    return cuda_check(heads_scale_launch(cuda->stream, &call), "scale of queries");
}

/* ---- Gates ---- */

status cuda_gate(struct backend *backend, int width, struct device_buffer *gates,
                 const struct matrix *reader, struct device_buffer *values)
{
    (void)reader; /* the product packs what is plain */
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(cuda_settle(cuda, gates, width));
    TRY(cuda_settle(cuda, values, width));
    const struct heads_gate call = {.tokens = cuda->step.tokens,
                                    .width = width,
                                    .gates = gates->data,
                                    .values = values->data,
                                    .dtype = (int)cuda->activation};
    return cuda_check(heads_gate_launch(cuda->stream, &call), "gates");
}

/* ---- Norms over groups ---- */

static status describe_groups(struct cuda_backend *cuda, const struct group_norm_facts *facts,
                              struct device_buffer *values, struct device_buffer *sums,
                              struct heads_groups *call)
{
    if (facts->groups < 1 || facts->group_width < 1 || facts->first < 0 ||
        (int64_t)facts->first + facts->width > (int64_t)facts->groups * facts->group_width ||
        facts->slices < 1 || facts->slices > MAX_SLICES ||
        facts->slice_start[facts->slices] != facts->width) {
        return status_fail(STATUS_INTERNAL, "group norm: slices or groups of other values");
    }
    TRY(cuda_settle(cuda, values, facts->width));
    TRY(cuda_buffer_check(sums, cuda->step.tokens, facts->groups, sizeof(float)));
    *call = (struct heads_groups){.tokens = cuda->step.tokens,
                                  .groups = facts->groups,
                                  .group_width = facts->group_width,
                                  .first = facts->first,
                                  .width = facts->width,
                                  .slices = facts->slices,
                                  .values = values->data,
                                  .dtype = (int)cuda->activation,
                                  .sums = sums->data,
                                  .epsilon = facts->epsilon};
    for (int i = 0; i <= facts->slices; i++) {
        call->slice_start[i] = facts->slice_start[i];
    }
    return STATUS_OK;
}

status cuda_group_squares(struct backend *backend, const struct group_norm_facts *facts,
                          struct device_buffer *values, struct device_buffer *sums)
{
    struct cuda_backend *cuda = cuda_of(backend);
    struct heads_groups call;
    TRY(describe_groups(cuda, facts, values, sums, &call));
    cuda_buffer_is_plain(sums);
    return cuda_check(heads_group_squares_launch(cuda->stream, &call), "norm over groups");
}

status cuda_group_normalize(struct backend *backend, const struct group_norm_facts *facts,
                            const struct vector *weight, struct device_buffer *sums,
                            struct device_buffer *gates, const struct matrix *reader,
                            struct device_buffer *values)
{
    (void)reader;
    struct cuda_backend *cuda = cuda_of(backend);
    struct heads_groups call;
    TRY(describe_groups(cuda, facts, values, sums, &call));
    if (weight->length != facts->width ||
        (facts->gate_stride > 0 && facts->gate_stride < facts->width)) {
        return status_fail(STATUS_INTERNAL, "group norm: weights of other values");
    }
    call.weight = weight->data;
    if (facts->gate_stride > 0) {
        TRY(cuda_settle(cuda, gates, facts->gate_stride));
        call.gates = gates->data;
        call.gate_stride = (size_t)facts->gate_stride;
    }
    return cuda_check(heads_group_normalize_launch(cuda->stream, &call), "norm over groups");
}
