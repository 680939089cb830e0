/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on each token's row alone: embedding, norms, activation, rounding to fp8. */
#include "backend/cuda/cuda.h"

#include <string.h>

_Static_assert((int)MAX_SLICES == (int)ROWS_MAX_SLICES, "kernels see other slices");

static const float *values_or_null(const struct vector *vector)
{
    return vector != NULL ? vector->data : NULL;
}

static bool has_length(const struct vector *vector, int length)
{
    return vector == NULL || vector->length == length;
}

/* ---- Targets ---- */

/* Room in buffer->packed for the rows that `reader` reads, for the most tokens of a step. */
static status reserve_packed(struct cuda_backend *cuda, const struct matrix *reader,
                             struct device_buffer *buffer)
{
    struct cuda_packed *packed = &buffer->packed;
    const size_t slices = reader->slices > 0 ? (size_t)reader->slices : 1;
    const size_t bytes = slices * (size_t)cuda->max_tokens * (size_t)reader->padded;
    const int scales = (int)slices * cuda->max_tokens;
    if (bytes > packed->bytes || scales > packed->scale_capacity) {
        TRY(cuda_check(cudaStreamSynchronize(cuda->stream), "buffer"));
        (void)cudaFree(packed->data);
        (void)cudaFree(packed->scale);
        *packed = (struct cuda_packed){0};
        TRY(cuda_check(cudaMalloc(&packed->data, bytes + 1), "buffer"));
        TRY(cuda_check(cudaMalloc((void **)&packed->scale, (size_t)scales * sizeof(float)),
                       "buffer"));
        packed->bytes = bytes;
        packed->scale_capacity = scales;
    }
    packed->slices = (int)slices;
    packed->padded = reader->padded;
    packed->scale_stride = cuda->max_tokens;
    return STATUS_OK;
}

static bool reads_packed(const struct matrix *reader)
{
    return reader != NULL && reader->dtype == DTYPE_FLOAT8_E4M3 && reader->count == 1;
}

static void describe_packed(const struct matrix *reader, const struct cuda_packed *packed,
                            struct rows_target *target)
{
    *target = (struct rows_target){
        .packed = packed->data,
        .scale = packed->scale,
        .slices = packed->slices,
        .padded = packed->padded,
        .scale_stride = packed->scale_stride,
        .static_scale = reader->input_scale != NULL ? reader->input_scale[0] : 0.0f,
    };
    if (reader->slices > 0) {
        memcpy(target->slice_start, reader->slice_start, sizeof target->slice_start);
    } else {
        target->slice_start[1] = reader->columns;
    }
}

/* Where an operation writes `width` values a row: as the reader wants them, else plain. */
static status find_target(struct cuda_backend *cuda, const struct matrix *reader, int width,
                          struct device_buffer *buffer, struct rows_target *target)
{
    cuda_buffer_is_plain(buffer);
    if (reads_packed(reader) && reader->columns == width) {
        TRY(reserve_packed(cuda, reader, buffer));
        describe_packed(reader, &buffer->packed, target);
        buffer->packed.valid = true;
        return STATUS_OK;
    }
    *target = (struct rows_target){.plain = buffer->data, .dtype = (int)cuda->activation};
    return cuda_buffer_check(buffer, cuda->step.tokens, width, dtype_bytes(cuda->activation));
}

status cuda_pack(struct cuda_backend *cuda, const struct matrix *reader,
                 struct device_buffer *buffer, int tokens)
{
    if (buffer->packed.valid) {
        return STATUS_OK;
    }
    struct rows_copy call = {.rows = tokens,
                             .width = reader->columns,
                             .in = buffer->data,
                             .dtype = (int)cuda->activation};
    TRY(cuda_buffer_check(buffer, tokens, reader->columns, dtype_bytes(cuda->activation)));
    TRY(reserve_packed(cuda, reader, buffer));
    describe_packed(reader, &buffer->packed, &call.target);
    TRY(cuda_check(rows_copy_launch(cuda->stream, &call), "rounding to fp8"));
    buffer->packed.valid = true;
    return STATUS_OK;
}

/* ---- Operations ---- */

status cuda_embed(struct backend *backend, const struct matrix *table, int first_row, float scale,
                  struct device_buffer *residual)
{
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(cuda_buffer_check(residual, cuda->step.tokens, table->columns, sizeof(float)));
    if (table->dtype == DTYPE_FLOAT8_E4M3 || table->slices > 0) {
        return status_fail(STATUS_INTERNAL, "embedding: the table is in fp8 or sliced");
    }
    cuda_buffer_is_plain(residual);
    const struct rows_embed call = {.table = table->data,
                                    .dtype = (int)table->dtype,
                                    .first_row = first_row,
                                    .rows = table->rows,
                                    .hidden = table->columns,
                                    .tokens = cuda->step.tokens,
                                    .scale = scale,
                                    .row_ids = cuda->step.token_ids,
                                    .residual = residual->data};
    return cuda_check(rows_embed_launch(cuda->stream, &call), "embedding");
}

status cuda_embed_positions(struct backend *backend, const struct matrix *table, int first_row,
                            struct device_buffer *residual)
{
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(cuda_buffer_check(residual, cuda->step.tokens, table->columns, sizeof(float)));
    if (table->dtype == DTYPE_FLOAT8_E4M3 || table->slices > 0) {
        return status_fail(STATUS_INTERNAL, "embedding: the table is in fp8 or sliced");
    }
    const struct rows_embed call = {.table = table->data,
                                    .dtype = (int)table->dtype,
                                    .first_row = -first_row,
                                    .rows = table->rows,
                                    .hidden = table->columns,
                                    .tokens = cuda->step.tokens,
                                    .scale = 1.0f,
                                    .is_added = 1,
                                    .row_ids = cuda->step.positions,
                                    .residual = residual->data};
    return cuda_check(rows_embed_launch(cuda->stream, &call), "embedding");
}

status cuda_embed_types(struct backend *backend, const struct matrix *table, int first_row,
                        int position_step, int type_step, struct device_buffer *residual)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct batch *batch = cuda->batch;
    TRY(cuda_buffer_check(residual, cuda->step.tokens, table->columns, sizeof(float)));
    if (batch == NULL || type_step < 1 || table->dtype == DTYPE_FLOAT8_E4M3 || table->slices > 0) {
        return status_fail(STATUS_INTERNAL, "embedding: the table is in fp8 or sliced");
    }
    for (int token = 0; token < batch->tokens; token++) {
        const int type = batch->token_types != NULL ? batch->token_types[token] : 0;
        if (first_row + (int64_t)batch->positions[token] * position_step +
                (int64_t)type * type_step >=
            table->rows) {
            return status_fail(STATUS_INTERNAL, "position %d of type %d: the table has %d rows",
                               batch->positions[token], type, table->rows);
        }
    }
    const struct rows_embed call = {.table = table->data,
                                    .dtype = (int)table->dtype,
                                    .first_row = -first_row,
                                    .rows = table->rows,
                                    .hidden = table->columns,
                                    .tokens = cuda->step.tokens,
                                    .scale = 1.0f,
                                    .is_added = 1,
                                    .row_ids = cuda->step.positions,
                                    .position_step = position_step,
                                    .type_step = type_step,
                                    .types = cuda->step.token_types,
                                    .residual = residual->data};
    return cuda_check(rows_embed_launch(cuda->stream, &call), "embedding");
}

static status run_norm(struct cuda_backend *cuda, const struct norm_facts *facts,
                       struct rows_norm *call, const struct vector *weight,
                       const struct vector *bias, struct device_buffer *residual, int hidden)
{
    if (!has_length(weight, hidden) || !has_length(bias, hidden)) {
        return status_fail(STATUS_INTERNAL, "norm: weights of another length than %d", hidden);
    }
    TRY(cuda_buffer_check(residual, cuda->step.tokens, hidden, sizeof(float)));
    call->tokens = cuda->step.tokens;
    call->hidden = hidden;
    call->epsilon = facts->epsilon;
    call->weight_offset = facts->weight_offset;
    call->layer_norm = facts->layer_norm;
    call->in_place = facts->in_place;
    call->residual = residual->data;
    call->weight = values_or_null(weight);
    call->norm_bias = values_or_null(bias);
    return cuda_check(rows_norm_launch(cuda->stream, call), "norm");
}

status cuda_norm(struct backend *backend, const struct norm_facts *facts,
                 const struct vector *weight, const struct vector *bias,
                 struct device_buffer *residual, int hidden, const struct matrix *reader,
                 struct device_buffer *normed)
{
    struct cuda_backend *cuda = cuda_of(backend);
    struct rows_norm call = {.write = 1};
    TRY(find_target(cuda, reader, hidden, normed, &call.target));
    return run_norm(cuda, facts, &call, weight, bias, residual, hidden);
}

/* Where the scales of partial sums are. */
static void place_scales(const struct cuda_partials *made, const struct device_buffer *partials,
                         int hidden, int tokens, struct rows_norm *call)
{
    call->scaled = made->scaled;
    if (made->column_scale != NULL) {
        call->column_scale = made->column_scale;
        call->row_scale = made->row_scale;
        call->row_scale_stride = made->row_scale_stride;
        return;
    }
    const char *block = partials->data;
    call->column_scale = (const float *)(const void *)(block + made->scales_offset);
    call->row_scale = call->column_scale + (size_t)made->slices * (size_t)hidden;
    call->row_scale_stride = tokens;
}

status cuda_add_norm(struct backend *backend, const struct norm_facts *facts,
                     struct device_buffer *partials, int parts, const struct vector *bias,
                     float multiplier, const struct vector *post_weight,
                     struct device_buffer *residual, int hidden, const struct vector *weight,
                     const struct vector *norm_bias, const struct matrix *reader,
                     struct device_buffer *normed)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct cuda_partials *made = &cuda->partials;
    if (made->slices < 1 || parts < 1 || parts * made->slices > MAX_SLICES ||
        (parts > 1 && made->column_scale != NULL) ||
        (size_t)parts * made->block_bytes > partials->bytes || !has_length(bias, hidden) ||
        !has_length(post_weight, hidden)) {
        return status_fail(STATUS_INTERNAL, "norm: %d parts of %d slices, %d values", parts,
                           made->slices, hidden);
    }
    struct rows_norm call = {.ranks = parts,
                             .slices = made->slices,
                             .partials = partials->data,
                             .rank_bytes = made->block_bytes,
                             .partial_dtype = (int)cuda->activation,
                             .bias = values_or_null(bias),
                             .post_weight = values_or_null(post_weight),
                             .multiplier = multiplier,
                             .write = normed != NULL};
    place_scales(made, partials, hidden, cuda->step.tokens, &call);
    if (normed != NULL) {
        TRY(find_target(cuda, reader, hidden, normed, &call.target));
    }
    return run_norm(cuda, facts, &call, weight, norm_bias, residual, hidden);
}

status cuda_activate(struct backend *backend, enum activation activation, bool gated, int width,
                     struct device_buffer *in, const struct matrix *reader,
                     struct device_buffer *out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(cuda_buffer_check(in, cuda->step.tokens, gated ? 2 * (int64_t)width : width,
                          dtype_bytes(cuda->activation)));
    struct rows_activate call = {
        .activation = (int)activation,
        .gated = gated,
        .tokens = cuda->step.tokens,
        .width = width,
        .in = in->data,
        .dtype = (int)cuda->activation,
        .pending = {in->pending.row_scale, in->pending.column_scale, in->pending.bias}};
    TRY(find_target(cuda, reader, width, out, &call.target));
    return cuda_check(rows_activate_launch(cuda->stream, &call), "activation");
}
