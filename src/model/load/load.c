/* SPDX-License-Identifier: Apache-2.0 */
/* Weights of a rank: from the files into the backend, and their bytes for plans.
 *
 * The model is walked twice: first for the list of what has to be read for the matrices, then to
 * hand it to the backend in the same order, while threads read ahead. */
#include <stdlib.h>
#include <string.h>

#include "model/load/names.h"
#include "model/load/read_ahead.h"
#include "model/load/scales.h"
#include "model/load/weight_walk.h"
#include "model/model_internal.h"
#include "model/read/config.h"

/* Staging of one read: raw bytes and, for what is expanded, values. With as many of them as are
 * kept ahead well below the 256 MiB promised. */
static const size_t staging_bytes = 8u << 20;

struct loader {
    struct model *model;
    struct backend *backend;
    enum weight_format stored;
    struct tensor_scratch scratch; /* of vectors */
    struct tensor_read *reads;     /* of matrices, in the order of the walk */
    size_t read_count, read_capacity;
    struct read_ahead *ahead; /* NULL on the first walk */
};

/* One product of the matrix at hand. */
struct product_place {
    struct matrix *matrix; /* NULL on the first walk */
    enum weight_format kept;
    int index;
};

static const struct backend_operations *operations(const struct loader *loader)
{
    return loader->backend->operations;
}

/* How many values of a head rotate in pairs in the files; 0: they rotate as halves. */
static int paired_dimensions(const struct loader *loader, const struct weight_part *part)
{
    const struct model *model = loader->model;
    if (!part->is_head_rows) {
        return 0;
    }
    if (model->is_gguf) {
        return model->family->permuted_in_gguf ? model->config.head_dim : 0;
    }
    return model->config.rope_pairs ? config_rotary_dimensions(&model->config) : 0;
}

/* Rows of a head, of a part that is whole heads. */
static int head_size_of(const struct loader *loader, const struct weight_part *part)
{
    return part->head_size > 0 ? part->head_size : loader->model->config.head_dim;
}

/* Writes rows that are whole heads, of which `paired` from `before` on are in the interleaved rope
 * order (2j and 2j + 1 rotate against each other), as halves (j and j + paired / 2): each half is
 * every second row. */
static status write_heads(struct loader *loader, const struct product_place *place, int at_row,
                          int row_count, const struct weight_part *part,
                          const struct weight_rows *rows)
{
    const int paired = paired_dimensions(loader, part), before = part->before_rotated;
    const int size = head_size_of(loader, part), half = paired / 2;
    const size_t row_bytes = rows->stride * (size_t)weight_format_facts(rows->format)->bytes;
    /* From which row of a head, how many, and how far apart. */
    const int pieces[][3] = {{0, before, 1},
                             {before, half, 2},
                             {before + 1, half, 2},
                             {before + paired, size - before - paired, 1}};
    if (rows->scales != NULL) {
        return status_fail(STATUS_INTERNAL, "interleaved heads with a scale for each row");
    }
    for (int head = 0; head < row_count; head += size) {
        int done = head;
        for (size_t i = 0; i < COUNT_OF(pieces); i++) {
            const size_t start = (size_t)(head + pieces[i][0]);
            const struct weight_rows piece = {.data =
                                                  (const uint8_t *)rows->data + start * row_bytes,
                                              .format = rows->format,
                                              .stride = (size_t)pieces[i][2] * rows->stride};
            if (pieces[i][1] > 0) {
                TRY(operations(loader)->matrix_write(loader->backend, place->matrix, place->index,
                                                     at_row + done, pieces[i][1], &piece));
            }
            done += pieces[i][1];
        }
    }
    return STATUS_OK;
}

/* Rows of positions with a token type added, in float32: those of one type behind another. */
static status sum_positions(struct loader *loader, const struct weight_part *part, float *sums,
                            float *type)
{
    const struct model *model = loader->model;
    const struct weight_part types = {
        .role = ROLE_TOKEN_TYPES, .rows = part->token_types, .columns = part->columns};
    struct tensor_source positions, all_types;
    TRY(weight_source_find(model, part, false, 0, 0, 1, &positions));
    TRY(weight_source_find(model, &types, false, 0, 0, 1, &all_types));
    for (int row = 0; row < part->row_count; row++) {
        float *sum = sums + (size_t)row * (size_t)part->columns;
        if (row % part->rows == 0) {
            TRY(tensor_read_row(&model->tensors, &all_types, row / part->rows, &loader->scratch,
                                type));
        }
        TRY(tensor_read_row(&model->tensors, &positions, row % part->rows, &loader->scratch, sum));
        for (int i = 0; i < part->columns; i++) {
            sum[i] += type[i];
        }
    }
    return STATUS_OK;
}

/* The table of positions is small enough for one piece. */
static status load_positions(struct loader *loader, const struct weight_part *part,
                             struct matrix *matrix)
{
    size_t width = (size_t)part->columns, count = (size_t)part->row_count;
    float *sums = calloc((count + 1) * width, sizeof *sums);
    if (sums == NULL) {
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    status s = sum_positions(loader, part, sums, sums + count * width);
    if (s == STATUS_OK) {
        const struct weight_rows rows = {.data = sums, .format = WEIGHT_FLOAT32, .stride = width};
        s = operations(loader)->matrix_write(loader->backend, matrix, 0, part->at_row,
                                             part->row_count, &rows);
    }
    free(sums);
    return s;
}

/* On the first walk: notes the read. On the second: its rows go to the backend. */
static status load_rows(struct loader *loader, const struct tensor_read *read,
                        const struct weight_part *part, const struct product_place *place,
                        int at_row)
{
    if (loader->ahead == NULL) {
        void *grown = loader->reads;
        status s = array_grow(&grown, &loader->read_capacity, loader->read_count + 1,
                              sizeof *loader->reads);
        loader->reads = grown;
        TRY(s);
        loader->reads[loader->read_count++] = *read;
        return STATUS_OK;
    }
    struct weight_rows rows;
    TRY(read_ahead_next(loader->ahead, &rows));
    status s = paired_dimensions(loader, part) > 0
                   ? write_heads(loader, place, at_row, read->row_count, part, &rows)
                   : operations(loader)->matrix_write(loader->backend, place->matrix, place->index,
                                                      at_row, read->row_count, &rows);
    return status_context(s, "tensor %s", read->source.values->name);
}

/* Whether a matrix takes a source's rows without their being expanded first. */
static bool is_taken_as_it_is(const struct loader *loader, const struct product_place *place,
                              const struct tensor_source *source)
{
    return source->values->format == place->kept && weight_format_is_quantized(place->kept) &&
           operations(loader)->matrix_takes(loader->backend, place->kept) &&
           tensor_source_is_by_rows(source);
}

static status load_part(struct loader *loader, const struct weight_item *item,
                        const struct weight_part *part, const struct product_place *place)
{
    if (part->token_types > 0) { /* nothing is read ahead */
        return loader->ahead == NULL ? STATUS_OK : load_positions(loader, part, place->matrix);
    }
    const struct model *model = loader->model;
    struct tensor_source source;
    TRY(weight_source_find(model, part, false, item->layer, place->index, item->count, &source));
    const int paired = paired_dimensions(loader, part);
    int chunk = tensor_rows_within(&source, staging_bytes);
    if (paired > 0) {
        const int size = head_size_of(loader, part);
        chunk = chunk < size ? size : chunk / size * size;
    }
    if (part->column_count == 0) {
        return STATUS_OK;
    }
    for (int row = 0, count; row < part->row_count; row += count) {
        count = part->row_count - row < chunk ? part->row_count - row : chunk;
        if (part->piece > 0 && count > part->piece - row % part->piece) {
            count = part->piece - row % part->piece;
        }
        const struct tensor_read read = {.source = source,
                                         .first_row = weight_part_row(part, row),
                                         .row_count = count,
                                         .first_column = part->first_column,
                                         .column_count = part->column_count,
                                         .as_it_is = paired == 0 &&
                                                     is_taken_as_it_is(loader, place, &source)};
        TRY(load_rows(loader, &read, part, place, part->at_row + row));
    }
    return STATUS_OK;
}

/* What a matrix is in the files. */
struct file_types {
    enum dtype expanded; /* of all values once expanded; float32 unless it is one and the same */
    bool has_stored;     /* some tensor has the format that matrices are to be kept in */
};

static status find_file_types(const struct model *model, const struct weight_item *item,
                              enum weight_format stored, struct file_types *out)
{
    *out = (struct file_types){.expanded = DTYPE_FLOAT32};
    for (int index = 0; index < item->count; index++) {
        for (int i = 0; i < item->part_count; i++) {
            struct tensor_source source;
            TRY(weight_source_find(model, &item->parts[i], false, item->layer, index, item->count,
                                   &source));
            enum dtype here = item->parts[i].token_types > 0
                                  ? DTYPE_FLOAT32 /* a sum */
                                  : weight_format_expanded(source.values->format);
            out->has_stored = out->has_stored || source.values->format == stored;
            out->expanded = (index == 0 && i == 0) || here == out->expanded ? here : DTYPE_FLOAT32;
        }
    }
    return STATUS_OK;
}

/* The format that a matrix is kept in. What a quantised checkpoint leaves in more bits (layers that
 * its configuration says to ignore) is not rounded to its format here either. */
static status choose_kept(const struct model *model, struct backend *backend,
                          enum weight_format stored, const struct weight_item *item,
                          enum weight_format *out)
{
    struct file_types types;
    TRY(find_file_types(model, item, stored, &types));
    if (weight_format_is_quantized(stored) && model->config.published == stored &&
        !types.has_stored) {
        stored = weight_format_of(backend->operations->activation_dtype(backend));
    }
    *out = weight_kept_format(backend, item, stored, types.expanded);
    return STATUS_OK;
}

/* Only a matrix that is kept quantised rounds its inputs. */
static status write_input_scales(struct loader *loader, const struct weight_item *item,
                                 enum weight_format kept)
{
    if (!weight_format_is_quantized(kept) ||
        !operations(loader)->matrix_takes(loader->backend, kept)) {
        return STATUS_OK;
    }
    float *scales = calloc((size_t)item->count + 1, sizeof *scales);
    if (scales == NULL) {
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    status s = load_input_scales(loader->model, item, kept, scales);
    for (int index = 0; s == STATUS_OK && index < item->count; index++) {
        if (scales[index] > 0) {
            s = operations(loader)->matrix_input_scale(loader->backend, *item->matrix, index,
                                                       scales[index]);
        }
    }
    free(scales);
    return s;
}

/* All products of a matrix that is kept in a format; NULL on the first walk. */
static status load_products(struct loader *loader, const struct weight_item *item,
                            enum weight_format kept, struct matrix *matrix)
{
    for (int index = 0; index < item->count; index++) {
        const struct product_place place = {.matrix = matrix, .kept = kept, .index = index};
        for (int i = 0; i < item->part_count; i++) {
            TRY(load_part(loader, item, &item->parts[i], &place));
        }
    }
    return STATUS_OK;
}

static status load_matrix(struct loader *loader, const struct weight_item *item)
{
    enum weight_format kept;
    TRY(choose_kept(loader->model, loader->backend, loader->stored, item, &kept));
    TRY(operations(loader)->matrix_create(loader->backend, item->count, item->rows, item->columns,
                                          item->slice_start, item->slices, kept, item->matrix));
    TRY(load_products(loader, item, kept, *item->matrix));
    TRY(write_input_scales(loader, item, kept));
    return operations(loader)->matrix_finish(loader->backend, *item->matrix);
}

/* As write_heads, for the values of a bias. */
static status halve_heads(int size, int paired, int count, float *values)
{
    float *head = malloc((size_t)size * sizeof *head);
    if (head == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory");
    }
    for (int first = 0; first < count; first += size) {
        memcpy(head, values + first, (size_t)size * sizeof *head);
        for (int i = 0; i < paired; i++) {
            values[first + i] = head[i < paired / 2 ? 2 * i : 2 * (i - paired / 2) + 1];
        }
    }
    free(head);
    return STATUS_OK;
}

/* One part of a vector, which ends up at its place in values[item->columns]. */
static status load_vector_part(struct loader *loader, const struct weight_item *item,
                               const struct weight_part *part, int index, float *values)
{
    const int count = part->column_count, paired = paired_dimensions(loader, part);
    struct tensor_source source;
    TRY(weight_source_find(loader->model, part, true, item->layer, index, item->count, &source));
    if (count == 0) {
        return STATUS_OK;
    }
    float *to = values + part->at_row;
    TRY(tensor_read_vector(&loader->model->tensors, &source, part->first_column, count,
                           &loader->scratch, to));
    return paired > 0 ? halve_heads(loader->model->config.head_dim, paired, count, to) : STATUS_OK;
}

static status load_vector(struct loader *loader, const struct weight_item *item)
{
    const size_t columns = (size_t)item->columns;
    float *values = calloc((size_t)item->count * columns + 1, sizeof *values);
    if (values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    status s = STATUS_OK;
    for (int index = 0; index < item->count; index++) {
        for (int i = 0; s == STATUS_OK && i < item->part_count; i++) {
            s = load_vector_part(loader, item, &item->parts[i], index,
                                 values + (size_t)index * columns);
        }
    }
    if (s == STATUS_OK) {
        s = weight_finish_vector(item, values);
    }
    if (s == STATUS_OK) {
        s = operations(loader)->vector_create(loader->backend, item->count * item->columns, values,
                                              item->vector);
    }
    free(values);
    return s;
}

static status plan_item(void *context, const struct weight_item *item)
{
    struct loader *loader = context;
    enum weight_format kept;
    if (item->is_vector) {
        return STATUS_OK;
    }
    TRY(choose_kept(loader->model, loader->backend, loader->stored, item, &kept));
    return load_products(loader, item, kept, NULL);
}

static status load_item(void *context, const struct weight_item *item)
{
    struct loader *loader = context;
    TRY(interrupt_check());
    return item->is_vector ? load_vector(loader, item) : load_matrix(loader, item);
}

static status load_kv_scales(const struct loader *loader, const struct partition *partition,
                             struct model_weights *weights)
{
    for (int i = 0; i < partition->layer_count; i++) {
        struct layer_weights *layer = &weights->layers[i];
        TRY(load_cache_scales(loader->model, partition->first_layer + i, &layer->key_scale,
                              &layer->value_scale));
    }
    return STATUS_OK;
}

/* Small, and read by the host: attention makes a table of distances of it. */
static status load_relative_bias(struct loader *loader, struct model_weights *weights)
{
    const struct model *model = loader->model;
    const struct weight_part part = {.role = ROLE_RELATIVE_BIAS,
                                     .rows = model->config.relative_buckets,
                                     .columns = model->config.heads};
    struct tensor_source source;
    if (part.rows == 0) {
        return STATUS_OK;
    }
    TRY(weight_source_find(model, &part, false, 0, 0, 1, &source));
    weights->relative_bias =
        calloc((size_t)part.rows * (size_t)part.columns, sizeof *weights->relative_bias);
    if (weights->relative_bias == NULL) {
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    for (int row = 0; row < part.rows; row++) {
        TRY(tensor_read_row(&model->tensors, &source, row, &loader->scratch,
                            weights->relative_bias + (size_t)row * (size_t)part.columns));
    }
    return STATUS_OK;
}

static status load_all(struct loader *loader, const struct partition *partition,
                       struct model_weights *weights)
{
    const struct model *model = loader->model;
    TRY(weights_visit(&model->config, partition, weights, plan_item, loader));
    TRY(read_ahead_create(&model->tensors, loader->reads, loader->read_count, &loader->ahead));
    TRY(weights_visit(&model->config, partition, weights, load_item, loader));
    TRY(load_relative_bias(loader, weights));
    return load_kv_scales(loader, partition, weights);
}

status model_load(struct model *model, const struct partition *partition, struct backend *backend,
                  enum weight_format stored, struct model_weights **out)
{
    *out = NULL;
    if (!model->has_config) {
        return status_fail(STATUS_NOT_FOUND, "%s: there is no config.json", model->path);
    }
    struct loader loader = {.model = model, .backend = backend, .stored = stored};
    struct model_weights *weights;
    TRY(model_weights_create(partition, &weights));
    status s = load_all(&loader, partition, weights);
    read_ahead_destroy(loader.ahead);
    free(loader.reads);
    tensor_scratch_destroy(&loader.scratch);
    if (s != STATUS_OK) {
        model_weights_destroy(weights, partition, backend);
        return s;
    }
    *out = weights;
    return STATUS_OK;
}

static void destroy_layer(struct layer_weights *layer, struct backend *backend)
{
    struct matrix *matrices[] = {
        layer->qkv,     layer->mixer_input, layer->attention_gate, layer->attention_output,
        layer->gate_up, layer->down,        layer->router,         layer->query_down,
        layer->key_up,  layer->value_up,    layer->space_output,
    };
    struct vector *vectors[] = {
        layer->attention_norm,
        layer->attention_norm_bias,
        layer->qkv_bias,
        layer->mixer_input_bias,
        layer->decay,
        layer->step_bias,
        layer->skip,
        layer->mixer_norm,
        layer->convolution,
        layer->convolution_bias,
        layer->q_norm,
        layer->k_norm,
        layer->attention_output_bias,
        layer->attention_post_norm,
        layer->mlp_norm,
        layer->mlp_norm_bias,
        layer->gate_up_bias,
        layer->down_bias,
        layer->mlp_post_norm,
        layer->sinks,
        layer->router_bias,
        layer->router_correction,
    };
    for (size_t i = 0; i < COUNT_OF(matrices); i++) {
        if (matrices[i] != NULL) {
            backend->operations->matrix_destroy(backend, matrices[i]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        if (vectors[i] != NULL) {
            backend->operations->vector_destroy(backend, vectors[i]);
        }
    }
}

void model_weights_destroy(struct model_weights *weights, const struct partition *partition,
                           struct backend *backend)
{
    if (weights == NULL) {
        return;
    }
    for (int i = 0; i < partition->layer_count; i++) {
        destroy_layer(&weights->layers[i], backend);
    }
    struct layer_weights outside = {
        .qkv = weights->embedding,
        .router = weights->head == weights->embedding ? NULL : weights->head,
        .gate_up = weights->positions,
        .attention_norm = weights->final_norm,
        .attention_norm_bias = weights->final_norm_bias,
    };
    destroy_layer(&outside, backend);
    free(weights->relative_bias);
    free(weights->layers);
    free(weights);
}

/* ---- Bytes ---- */

struct counter {
    const struct model *model;
    struct backend *backend;
    enum weight_format stored;
    int64_t bytes;
};

static status count_item(void *context, const struct weight_item *item)
{
    struct counter *counter = context;
    if (item->is_vector) {
        counter->bytes += (int64_t)item->count * item->columns * (int64_t)sizeof(float);
        return STATUS_OK;
    }
    enum weight_format kept;
    if (counter->model->tensors.count > 0) {
        TRY(choose_kept(counter->model, counter->backend, counter->stored, item, &kept));
    } else {
        kept = weight_kept_format(counter->backend, item, counter->stored,
                                  counter->model->config.dtype);
    }
    counter->bytes += counter->backend->operations->matrix_bytes(
        counter->backend, item->count, item->rows, item->columns, item->slices, kept);
    return STATUS_OK;
}

int64_t model_weight_bytes(const struct model *model, const struct partition *partition,
                           struct backend *backend, enum weight_format stored)
{
    struct counter counter = {.model = model, .backend = backend, .stored = stored};
    struct model_weights *weights;
    if (!model->has_config || model_weights_create(partition, &weights) != STATUS_OK) {
        return -1;
    }
    status s = weights_visit(&model->config, partition, weights, count_item, &counter);
    free(weights->layers);
    free(weights);
    return s == STATUS_OK ? counter.bytes : -1;
}
