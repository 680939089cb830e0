/* SPDX-License-Identifier: Apache-2.0 */
/* A backend that times another one. */
#include "backend/timed.h"

#include <stdlib.h>
#include <string.h>

#include "sluice/base.h"

struct timed_backend {
    struct backend base;
    struct backend *inner;
    struct backend_operations operations; /* all of them, but for what the inner one lacks */
    double seconds[TIMED_OPERATIONS];
};

static struct timed_backend *timed_of(struct backend *backend)
{
    return (struct timed_backend *)(void *)backend;
}

static struct backend *inner_of(struct backend *backend)
{
    return timed_of(backend)->inner;
}

static const struct backend_operations *operations_of(struct backend *backend)
{
    return inner_of(backend)->operations;
}

/* Ends a timed operation that began at `start` and returned `s`. */
static status book(struct backend *backend, enum timed_operation operation, double start, status s)
{
    if (s == STATUS_OK) {
        s = operations_of(backend)->synchronize(inner_of(backend));
    }
    timed_of(backend)->seconds[operation] += clock_seconds() - start;
    return s;
}

static void timed_destroy(struct backend *backend)
{
    free(timed_of(backend));
}

static const char *timed_device_name(struct backend *backend)
{
    return operations_of(backend)->device_name(inner_of(backend));
}

static status timed_memory(struct backend *backend, int64_t *total_bytes, int64_t *free_bytes)
{
    return operations_of(backend)->memory(inner_of(backend), total_bytes, free_bytes);
}

static status timed_buffer_create(struct backend *backend, size_t bytes, struct device_buffer **out)
{
    return operations_of(backend)->buffer_create(inner_of(backend), bytes, out);
}

static void timed_buffer_destroy(struct backend *backend, struct device_buffer *buffer)
{
    operations_of(backend)->buffer_destroy(inner_of(backend), buffer);
}

static status timed_upload(struct backend *backend, struct device_buffer *to, size_t offset,
                           const void *from, size_t bytes)
{
    return operations_of(backend)->upload(inner_of(backend), to, offset, from, bytes);
}

static status timed_download(struct backend *backend, const struct device_buffer *from,
                             size_t offset, void *to, size_t bytes)
{
    return operations_of(backend)->download(inner_of(backend), from, offset, to, bytes);
}

static status timed_copy(struct backend *backend, const struct device_buffer *from,
                         struct device_buffer *to, size_t bytes)
{
    return operations_of(backend)->copy(inner_of(backend), from, to, bytes);
}

static void *timed_host_address(struct backend *backend, struct device_buffer *buffer)
{
    return operations_of(backend)->host_address(inner_of(backend), buffer);
}

static bool timed_is_idle(struct backend *backend)
{
    return operations_of(backend)->is_idle(inner_of(backend));
}

static status timed_synchronize(struct backend *backend)
{
    return operations_of(backend)->synchronize(inner_of(backend));
}

static enum dtype timed_activation_dtype(struct backend *backend)
{
    return operations_of(backend)->activation_dtype(inner_of(backend));
}

static status timed_matrix_create(struct backend *backend, int count, int rows, int columns,
                                  const int32_t *slice_start, int slices, enum weight_format stored,
                                  struct matrix **out)
{
    return operations_of(backend)->matrix_create(inner_of(backend), count, rows, columns,
                                                 slice_start, slices, stored, out);
}

static status timed_matrix_write(struct backend *backend, struct matrix *matrix, int index,
                                 int first_row, int row_count, const struct weight_rows *rows)
{
    return operations_of(backend)->matrix_write(inner_of(backend), matrix, index, first_row,
                                                row_count, rows);
}

static status timed_matrix_finish(struct backend *backend, struct matrix *matrix)
{
    return operations_of(backend)->matrix_finish(inner_of(backend), matrix);
}

static bool timed_matrix_takes(struct backend *backend, enum weight_format format)
{
    return operations_of(backend)->matrix_takes(inner_of(backend), format);
}

static status timed_matrix_input_scale(struct backend *backend, struct matrix *matrix, int index,
                                       float scale)
{
    return operations_of(backend)->matrix_input_scale(inner_of(backend), matrix, index, scale);
}

static void timed_matrix_destroy(struct backend *backend, struct matrix *matrix)
{
    operations_of(backend)->matrix_destroy(inner_of(backend), matrix);
}

static int64_t timed_matrix_bytes(struct backend *backend, int count, int rows, int columns,
                                  int slices, enum weight_format stored)
{
    return operations_of(backend)->matrix_bytes(inner_of(backend), count, rows, columns, slices,
                                                stored);
}

static status timed_vector_create(struct backend *backend, int length, const float *values,
                                  struct vector **out)
{
    return operations_of(backend)->vector_create(inner_of(backend), length, values, out);
}

static void timed_vector_destroy(struct backend *backend, struct vector *vector)
{
    operations_of(backend)->vector_destroy(inner_of(backend), vector);
}

static status timed_kv_create(struct backend *backend, const struct cache_layout *layout,
                              int blocks, struct kv_cache **out)
{
    return operations_of(backend)->kv_create(inner_of(backend), layout, blocks, out);
}

static void timed_kv_destroy(struct backend *backend, struct kv_cache *cache)
{
    operations_of(backend)->kv_destroy(inner_of(backend), cache);
}

static int64_t timed_kv_block_bytes(struct backend *backend, const struct cache_layout *layout)
{
    return operations_of(backend)->kv_block_bytes(inner_of(backend), layout);
}

static status timed_kv_scale(struct backend *backend, struct kv_cache *cache, int layer,
                             float key_scale, float value_scale)
{
    return operations_of(backend)->kv_scale(inner_of(backend), cache, layer, key_scale,
                                            value_scale);
}

static status timed_step_begin(struct backend *backend, const struct batch *batch)
{
    double start = clock_seconds();
    return book(backend, TIMED_STEP_BEGIN, start,
                operations_of(backend)->step_begin(inner_of(backend), batch));
}

static status timed_embed(struct backend *backend, const struct matrix *table, int first_row,
                          float scale, struct device_buffer *residual)
{
    double start = clock_seconds();
    return book(
        backend, TIMED_EMBED, start,
        operations_of(backend)->embed(inner_of(backend), table, first_row, scale, residual));
}

static status timed_embed_positions(struct backend *backend, const struct matrix *table,
                                    int first_row, struct device_buffer *residual)
{
    double start = clock_seconds();
    return book(
        backend, TIMED_EMBED, start,
        operations_of(backend)->embed_positions(inner_of(backend), table, first_row, residual));
}

static status timed_norm(struct backend *backend, const struct norm_facts *facts,
                         const struct vector *weight, const struct vector *bias,
                         struct device_buffer *residual, int hidden, const struct matrix *reader,
                         struct device_buffer *normed)
{
    double start = clock_seconds();
    return book(backend, TIMED_NORM, start,
                operations_of(backend)->norm(inner_of(backend), facts, weight, bias, residual,
                                             hidden, reader, normed));
}

static status timed_add_norm(struct backend *backend, const struct norm_facts *facts,
                             struct device_buffer *partials, int parts, const struct vector *bias,
                             float multiplier, const struct vector *post_weight,
                             struct device_buffer *residual, int hidden,
                             const struct vector *weight, const struct vector *norm_bias,
                             const struct matrix *reader, struct device_buffer *normed)
{
    double start = clock_seconds();
    return book(backend, TIMED_ADD_NORM, start,
                operations_of(backend)->add_norm(inner_of(backend), facts, partials, parts, bias,
                                                 multiplier, post_weight, residual, hidden, weight,
                                                 norm_bias, reader, normed));
}

static status timed_product(struct backend *backend, const struct matrix *matrix,
                            const struct vector *bias, struct device_buffer *in,
                            struct device_buffer *out)
{
    double start = clock_seconds();
    return book(backend, TIMED_PRODUCT, start,
                operations_of(backend)->product(inner_of(backend), matrix, bias, in, out));
}

static size_t timed_partial_bytes(struct backend *backend, const struct matrix *matrix, int tokens)
{
    return operations_of(backend)->partial_bytes(inner_of(backend), matrix, tokens);
}

static status timed_product_sliced(struct backend *backend, const struct matrix *matrix,
                                   struct device_buffer *in, struct device_buffer *out)
{
    double start = clock_seconds();
    return book(backend, TIMED_PRODUCT_SLICED, start,
                operations_of(backend)->product_sliced(inner_of(backend), matrix, in, out));
}

static status timed_rope_append(struct backend *backend, const struct head_layout *heads,
                                const struct rope_facts *rope, const struct norm_facts *norm,
                                const struct vector *q_norm, const struct vector *k_norm,
                                struct device_buffer *qkv, struct kv_cache *cache, int layer)
{
    double start = clock_seconds();
    return book(backend, TIMED_ROPE_APPEND, start,
                operations_of(backend)->rope_append(inner_of(backend), heads, rope, norm, q_norm,
                                                    k_norm, qkv, cache, layer));
}

static status timed_attention(struct backend *backend, const struct head_layout *heads,
                              const struct attention_facts *facts, struct device_buffer *qkv,
                              struct kv_cache *cache, int layer, const struct matrix *reader,
                              struct device_buffer *out)
{
    double start = clock_seconds();
    return book(backend, TIMED_ATTENTION, start,
                operations_of(backend)->attention(inner_of(backend), heads, facts, qkv, cache,
                                                  layer, reader, out));
}

static status timed_keep_outputs(struct backend *backend, struct device_buffer *residual,
                                 int hidden, struct device_buffer *attended, int width)
{
    const double start = clock_seconds();
    return book(
        backend, TIMED_KEEP_OUTPUTS, start,
        operations_of(backend)->keep_outputs(inner_of(backend), residual, hidden, attended, width));
}

static status timed_activate(struct backend *backend, enum activation activation, bool gated,
                             int width, struct device_buffer *in, const struct matrix *reader,
                             struct device_buffer *out)
{
    double start = clock_seconds();
    return book(backend, TIMED_ACTIVATE, start,
                operations_of(backend)->activate(inner_of(backend), activation, gated, width, in,
                                                 reader, out));
}

static status timed_experts(struct backend *backend, const struct matrix *router, int used,
                            bool normalize, enum activation activation,
                            const struct matrix *gate_up, const struct matrix *down,
                            struct device_buffer *in, struct device_buffer *out)
{
    double start = clock_seconds();
    return book(backend, TIMED_EXPERTS, start,
                operations_of(backend)->experts(inner_of(backend), router, used, normalize,
                                                activation, gate_up, down, in, out));
}

static status timed_logits(struct backend *backend, const struct matrix *matrix, float scale,
                           float soft_cap, struct device_buffer *in, struct device_buffer *logits)
{
    double start = clock_seconds();
    return book(
        backend, TIMED_LOGITS, start,
        operations_of(backend)->logits(inner_of(backend), matrix, scale, soft_cap, in, logits));
}

static status timed_sample(struct backend *backend, struct device_buffer *logits, int count,
                           int vocabulary, const struct sample_request *requests,
                           struct sample_result *results)
{
    double start = clock_seconds();
    return book(backend, TIMED_SAMPLE, start,
                operations_of(backend)->sample(inner_of(backend), logits, count, vocabulary,
                                               requests, results));
}

static const struct backend_operations operations = {
    .destroy = timed_destroy,
    .device_name = timed_device_name,
    .memory = timed_memory,
    .buffer_create = timed_buffer_create,
    .buffer_destroy = timed_buffer_destroy,
    .upload = timed_upload,
    .download = timed_download,
    .copy = timed_copy,
    .host_address = timed_host_address,
    .synchronize = timed_synchronize,
    .is_idle = timed_is_idle,
    .activation_dtype = timed_activation_dtype,
    .matrix_create = timed_matrix_create,
    .matrix_write = timed_matrix_write,
    .matrix_finish = timed_matrix_finish,
    .matrix_takes = timed_matrix_takes,
    .matrix_input_scale = timed_matrix_input_scale,
    .matrix_destroy = timed_matrix_destroy,
    .matrix_bytes = timed_matrix_bytes,
    .vector_create = timed_vector_create,
    .vector_destroy = timed_vector_destroy,
    .kv_create = timed_kv_create,
    .kv_destroy = timed_kv_destroy,
    .kv_block_bytes = timed_kv_block_bytes,
    .kv_scale = timed_kv_scale,
    .step_begin = timed_step_begin,
    .embed = timed_embed,
    .embed_positions = timed_embed_positions,
    .norm = timed_norm,
    .add_norm = timed_add_norm,
    .product = timed_product,
    .partial_bytes = timed_partial_bytes,
    .product_sliced = timed_product_sliced,
    .rope_append = timed_rope_append,
    .attention = timed_attention,
    .keep_outputs = timed_keep_outputs,
    .activate = timed_activate,
    .experts = timed_experts,
    .logits = timed_logits,
    .sample = timed_sample,
};

status timed_backend_create(struct backend *inner, struct backend **out)
{
    *out = NULL;
    struct timed_backend *timed = calloc(1, sizeof *timed);
    if (timed == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a profile");
    }
    timed->inner = inner;
    timed->operations = operations;
    /* What the inner backend cannot do stays NULL for callers to see. */
    if (inner->operations->kv_scale == NULL) {
        timed->operations.kv_scale = NULL;
    }
    timed->base.operations = &timed->operations;
    *out = &timed->base;
    return STATUS_OK;
}

const double *timed_backend_seconds(const struct backend *timed)
{
    return ((const struct timed_backend *)(const void *)timed)->seconds;
}

void timed_backend_reset(struct backend *timed)
{
    memset(timed_of(timed)->seconds, 0, sizeof timed_of(timed)->seconds);
}
