/* SPDX-License-Identifier: Apache-2.0 */
/* Random weights, for benchmarks without files. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "model/load/weight_walk.h"

/* ---- Random values ---- */

/* Normal values of standard deviation 0.02 are drawn once into a table; a row of a matrix is the
 * table read from a place that a hash of (seed, layer, tensor, product, row) gives. So a value
 * does not depend on how the model is cut, and filling costs a copy. */

enum { TABLE_VALUES = 1 << 20, CHUNK_VALUES = 8 << 20, PARALLEL_VALUES = 1 << 20 };

struct filler {
    const struct model_config *config;
    struct backend *backend;
    enum weight_format stored;
    uint64_t seed;
    uint16_t *table; /* bfloat16, so that no stored type rounds them differently */
    uint16_t *chunk;
};

static uint16_t to_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16); /* to nearest, ties to even */
}

static float from_bfloat16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Box and Muller (1958) on hashes of the position. */
static void fill_table(uint16_t *table, uint64_t seed)
{
    for (uint64_t i = 0; i < TABLE_VALUES; i += 2) {
        uint64_t word = hash_bytes(&i, sizeof i, seed);
        double first = ((double)(word >> 32) + 1) / 4294967296.0;
        double second = (double)(word & 0xffffffffu) / 4294967296.0;
        double radius = 0.02 * sqrt(-2 * log(first)), angle = 6.283185307179586 * second;
        table[i] = to_bfloat16((float)(radius * cos(angle)));
        table[i + 1] = to_bfloat16((float)(radius * sin(angle)));
    }
}

static void fill_row(const struct filler *filler, const struct weight_item *item,
                     const struct weight_part *part, int index, int row, uint16_t *out)
{
    int64_t key[] = {item->layer, part->role, part->first_head + index, row};
    size_t start = (size_t)hash_bytes(key, sizeof key, filler->seed) + (size_t)part->first_column;
    for (int done = 0; done < part->column_count;) {
        size_t at = (start + (size_t)done) % TABLE_VALUES;
        size_t left = (size_t)(part->column_count - done);
        size_t count = TABLE_VALUES - at < left ? TABLE_VALUES - at : left;
        memcpy(out + done, filler->table + at, count * sizeof *out);
        done += (int)count;
    }
}

static status fill_part(const struct filler *filler, const struct weight_item *item,
                        const struct weight_part *part, int index)
{
    if (part->column_count == 0) {
        return STATUS_OK;
    }
    int chunk = CHUNK_VALUES / part->column_count;
    bool large = (int64_t)part->row_count * part->column_count >= PARALLEL_VALUES;
    int threads = large ? omp_get_max_threads() : 1;
    for (int row = 0; row < part->row_count; row += chunk) {
        int count = part->row_count - row < chunk ? part->row_count - row : chunk;
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int i = 0; i < count; i++) {
            fill_row(filler, item, part, index, weight_part_row(part, row + i),
                     filler->chunk + (size_t)i * (size_t)part->column_count);
        }
        const struct weight_rows rows = {
            .data = filler->chunk, .format = WEIGHT_BFLOAT16, .stride = (size_t)part->column_count};
        TRY(filler->backend->operations->matrix_write(filler->backend, *item->matrix, index,
                                                      part->at_row + row, count, &rows));
    }
    return STATUS_OK;
}

static status fill_vector(const struct filler *filler, const struct weight_item *item)
{
    const size_t columns = (size_t)item->columns;
    float *values = calloc((size_t)item->count * columns + 1, sizeof *values);
    if (values == NULL) {
        return status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    float middle = item->is_norm ? 1 - filler->config->norm.weight_offset : 0;
    for (int i = 0; i < item->count * item->part_count; i++) {
        const int index = i / item->part_count;
        const struct weight_part *part = &item->parts[i % item->part_count];
        float *to = values + (size_t)index * columns + part->at_row;
        fill_row(filler, item, part, index, 0, filler->chunk);
        for (int j = 0; j < part->column_count; j++) {
            to[j] = middle + from_bfloat16(filler->chunk[j]);
        }
    }
    status s = weight_finish_vector(item, values);
    if (s == STATUS_OK) {
        s = filler->backend->operations->vector_create(filler->backend, item->count * item->columns,
                                                       values, item->vector);
    }
    free(values);
    return s;
}

static status fill_item(void *context, const struct weight_item *item)
{
    const struct filler *filler = context;
    if (item->is_vector) {
        return fill_vector(filler, item);
    }
    const struct backend_operations *operations = filler->backend->operations;
    /* The values are exact in bfloat16, as a checkpoint's of that type would be. */
    enum weight_format stored =
        weight_kept_format(filler->backend, item, filler->stored, filler->config->dtype);
    TRY(operations->matrix_create(filler->backend, item->count, item->rows, item->columns,
                                  item->slice_start, item->slices, stored, item->matrix));
    for (int index = 0; index < item->count; index++) {
        for (int i = 0; i < item->part_count; i++) {
            TRY(fill_part(filler, item, &item->parts[i], index));
        }
    }
    return operations->matrix_finish(filler->backend, *item->matrix);
}

status model_load_random(const struct model_config *config, const struct partition *partition,
                         struct backend *backend, enum weight_format stored, uint64_t seed,
                         struct model_weights **out)
{
    *out = NULL;
    struct filler filler = {.config = config, .backend = backend, .stored = stored, .seed = seed};
    struct model_weights *weights = NULL;
    status s = model_weights_create(partition, &weights);
    filler.table = malloc(TABLE_VALUES * sizeof *filler.table);
    filler.chunk = malloc(CHUNK_VALUES * sizeof *filler.chunk);
    if (s == STATUS_OK && (filler.table == NULL || filler.chunk == NULL)) {
        s = status_fail(STATUS_NO_MEMORY, "weights: out of memory");
    }
    if (s == STATUS_OK) {
        fill_table(filler.table, seed);
        s = weights_visit(config, partition, weights, fill_item, &filler);
    }
    free(filler.table);
    free(filler.chunk);
    if (s != STATUS_OK) {
        model_weights_destroy(weights, partition, backend);
        return s;
    }
    *out = weights;
    return STATUS_OK;
}
