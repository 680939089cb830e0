/* SPDX-License-Identifier: Apache-2.0 */
/* Weights in the CPU's layout: packed into panels of 32 outputs once, when they are loaded. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"

enum { PACKED_COLUMNS = 128 };

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t cpu_bfloat16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40); /* a NaN stays one */
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* A number of `exponent_bits` and `mantissa_bits` below a sign bit, denormals and all; every one of
 * them is exact in float32. */
static float small_float(uint32_t bits, int exponent_bits, int mantissa_bits)
{
    const uint32_t mantissa_mask = (1u << mantissa_bits) - 1;
    const uint32_t exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
    const uint32_t sign = bits >> (exponent_bits + mantissa_bits) & 1;
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const uint32_t fraction = (bits & mantissa_mask) | (exponent > 0 ? mantissa_mask + 1 : 0);
    const int power = (exponent > 0 ? (int)exponent : 1) - bias - mantissa_bits;
    const float magnitude = (float)fraction * float_of_bits((uint32_t)(power + 127) << 23);
    return sign ? -magnitude : magnitude;
}

static float float16_value(uint16_t bits)
{
    if ((bits & 0x7c00) == 0x7c00) { /* infinities and NaNs */
        return float_of_bits((uint32_t)(bits & 0x8000) << 16 | 0x7f800000u |
                             (uint32_t)(bits & 0x3ff) << 13);
    }
    return small_float(bits, 5, 10);
}

/* The variant without infinities (arXiv 2209.05433). */
static float float8_value(uint8_t bits)
{
    return (bits & 0x7f) == 0x7f ? float_of_bits(0x7fc00000u) : small_float(bits, 4, 3);
}

float cpu_element(const void *data, enum dtype type, size_t index)
{
    switch (type) {
    case DTYPE_FLOAT32: {
        float value;
        memcpy(&value, (const char *)data + 4 * index, sizeof value);
        return value;
    }
    case DTYPE_BFLOAT16:
    case DTYPE_FLOAT16: {
        uint16_t bits;
        memcpy(&bits, (const char *)data + 2 * index, sizeof bits);
        return type == DTYPE_FLOAT16 ? float16_value(bits) : float_of_bits((uint32_t)bits << 16);
    }
    case DTYPE_FLOAT8_E4M3:
        break;
    }
    return float8_value(((const uint8_t *)data)[index]);
}

/* ---- Matrices ---- */

static status check_slices(const int32_t *slice_start, int slices, int columns)
{
    bool fits = slices <= MAX_SLICES && (slices & (slices - 1)) == 0 && slice_start[0] == 0 &&
                slice_start[slices] == columns;
    for (int i = 0; fits && i < slices; i++) {
        fits = slice_start[i] <= slice_start[i + 1];
    }
    return fits ? STATUS_OK
                : status_fail(STATUS_INTERNAL, "matrix: %d slices that do not cover %d columns",
                              slices, columns);
}

/* fp8 numbers are computed with in float32, and kept so. */
static size_t kept_bytes(enum weight_format stored)
{
    return stored == WEIGHT_BFLOAT16 ? sizeof(uint16_t) : sizeof(float);
}

bool cpu_matrix_takes(struct backend *backend, enum weight_format format)
{
    (void)backend;
    return format == WEIGHT_FLOAT32 || format == WEIGHT_BFLOAT16 || format == WEIGHT_FP8;
}

static size_t part_count(const struct matrix *matrix)
{
    return matrix->slices > 0 ? (size_t)matrix->slices : 1;
}

static float *scale_of(const struct matrix *matrix, int index, int part, int row)
{
    return matrix->scale +
           ((size_t)index * part_count(matrix) + (size_t)part) * (size_t)matrix->rows + (size_t)row;
}

static status create_scales(struct matrix *matrix)
{
    const size_t values = (size_t)matrix->count * part_count(matrix) * (size_t)matrix->rows;
    matrix->scale = calloc(values + 1, sizeof(float));
    matrix->input_scale = calloc((size_t)matrix->count + 1, sizeof(float));
    if (matrix->scale == NULL || matrix->input_scale == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for scales of weights");
    }
    for (size_t i = 0; i < values; i++) {
        matrix->scale[i] = 1.0f;
    }
    return STATUS_OK;
}

status cpu_matrix_create(struct backend *backend, int count, int rows, int columns,
                         const int32_t *slice_start, int slices, enum weight_format stored,
                         struct matrix **out)
{
    *out = NULL;
    if (!cpu_matrix_takes(backend, stored)) {
        return status_fail(STATUS_UNSUPPORTED,
                           "weights in %s: the CPU keeps them in float32, bfloat16 or fp8",
                           weight_format_name(stored));
    }
    if (count < 0 || rows < 0 || columns < 0 || rows > INT32_MAX - PANEL || slices < 0) {
        return status_fail(STATUS_INTERNAL, "matrix of %d × %d × %d", count, rows, columns);
    }
    if (slices > 0) {
        TRY(check_slices(slice_start, slices, columns));
    }
    struct matrix *matrix = calloc(1, sizeof *matrix);
    if (matrix == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a matrix");
    }
    *matrix = (struct matrix){.count = count,
                              .rows = rows,
                              .columns = columns,
                              .panels = (rows + PANEL - 1) / PANEL,
                              .bfloat16 = stored == WEIGHT_BFLOAT16,
                              .fp8 = stored == WEIGHT_FP8,
                              .slices = slices};
    matrix->panel_bytes = (size_t)columns * PANEL * kept_bytes(stored);
    if (slices > 0) {
        memcpy(matrix->slice_start, slice_start, (size_t)(slices + 1) * sizeof *slice_start);
    }
    size_t bytes = 0;
    status s =
        cpu_size(&bytes, "weights", 3, (size_t)count, (size_t)matrix->panels, matrix->panel_bytes);
    if (s == STATUS_OK) {
        s = cpu_region_create(&matrix->region, bytes, "weights");
    }
    if (s == STATUS_OK && matrix->fp8) {
        s = create_scales(matrix);
    }
    if (s != STATUS_OK) {
        cpu_matrix_destroy(backend, matrix);
        return s;
    }
    *out = matrix;
    return STATUS_OK;
}

/* A row of product `index` in fp8, part by part: data that are fp8 keep theirs and the scale that
 * came for them, others get one from their largest magnitude. `to` takes every PANEL-th value. */
static void pack_rounded(const struct matrix *matrix, int index, int row, const void *data,
                         size_t from, enum dtype source, float *to)
{
    const int32_t whole[2] = {0, matrix->columns};
    const int32_t *start = matrix->slices > 0 ? matrix->slice_start : whole;
    for (size_t part = 0; part < part_count(matrix); part++) {
        float most = 0.0f, inverse = 1.0f;
        if (source != DTYPE_FLOAT8_E4M3) {
            for (int k = start[part]; k < start[part + 1]; k++) {
                most = fmaxf(most, fabsf(cpu_element(data, source, from + (size_t)k)));
            }
            float *scale = scale_of(matrix, index, (int)part, row);
            *scale = most > 0.0f ? most / CPU_FP8_MOST : 1.0f;
            inverse = 1.0f / *scale;
        }
        for (int k = start[part]; k < start[part + 1]; k++) {
            const float value = cpu_element(data, source, from + (size_t)k);
            to[(size_t)k * PANEL] = source == DTYPE_FLOAT8_E4M3 ? value : cpu_fp8(value * inverse);
        }
    }
}

/* `count` values of one row, from column `first`, to their place in a panel. */
static void pack_values(const struct matrix *matrix, char *panel, int place, const void *data,
                        size_t row, enum dtype source, size_t first, size_t count)
{
    if (!matrix->bfloat16) {
        float *to = (float *)(void *)panel + first * PANEL + place;
        for (size_t k = 0; k < count; k++) {
            to[k * PANEL] = cpu_element(data, source, row + first + k);
        }
        return;
    }
    uint16_t *to = (uint16_t *)(void *)panel + first * PANEL + place;
    if (source == DTYPE_BFLOAT16) { /* bit for bit, NaNs too */
        const char *from = (const char *)data + 2 * (row + first);
        for (size_t k = 0; k < count; k++) {
            memcpy(to + k * PANEL, from + 2 * k, sizeof *to);
        }
        return;
    }
    for (size_t k = 0; k < count; k++) {
        to[k * PANEL] = cpu_bfloat16(cpu_element(data, source, row + first + k));
    }
}

/* Rows [first, last) of one panel, from `rows`, which start at row `at_row`. */
static void pack_rows(const struct matrix *matrix, int index, char *panel, int panel_row, int first,
                      int last, int at_row, const struct weight_rows *rows)
{
    const enum dtype source = weight_format_facts(rows->format)->numbers;
    for (int row = first; matrix->fp8 && row < last; row++) {
        const size_t from = (size_t)(row - at_row) * rows->stride;
        const size_t place = (size_t)panel_place(row - panel_row, false);
        pack_rounded(matrix, index, row, rows->data, from, source, (float *)panel + place);
    }
    /* Some columns of all rows at a time, so that a line of the panel is still in the cache when
     * its next row comes. */
    const size_t columns = matrix->fp8 ? 0 : (size_t)matrix->columns;
    for (size_t k = 0; k < columns; k += PACKED_COLUMNS) {
        const size_t count = columns - k < PACKED_COLUMNS ? columns - k : PACKED_COLUMNS;
        for (int row = first; row < last; row++) {
            pack_values(matrix, panel, panel_place(row - panel_row, matrix->bfloat16), rows->data,
                        (size_t)(row - at_row) * rows->stride, source, k, count);
        }
    }
}

static status check_rows(const struct matrix *matrix, int index, int first_row, int row_count)
{
    return index < 0 || index >= matrix->count || first_row < 0 || row_count < 0 ||
                   row_count > matrix->rows - first_row
               ? status_fail(STATUS_INTERNAL, "matrix %d of %d: rows %d to %d of %d", index,
                             matrix->count, first_row, first_row + row_count, matrix->rows)
               : STATUS_OK;
}

/* Quantised rows are for matrices of their format, and come with their scales. */
static status check_format(const struct matrix *matrix, const struct weight_rows *rows)
{
    const bool is_plain = weight_format_facts(rows->format)->expand == NULL;
    const bool fits = is_plain ? rows->scales == NULL
                               : rows->format == WEIGHT_FP8 && matrix->fp8 && rows->scales != NULL;
    return fits ? STATUS_OK
                : status_fail(STATUS_INTERNAL, "matrix: rows in %s that were to be expanded",
                              weight_format_name(rows->format));
}

/* The scales that came with rows, for each part of them. */
static void keep_scales(struct matrix *matrix, int index, int first_row, int row_count,
                        const float *scales)
{
    for (size_t part = 0; scales != NULL && part < part_count(matrix); part++) {
        memcpy(scale_of(matrix, index, (int)part, first_row), scales,
               (size_t)row_count * sizeof *scales);
    }
}

status cpu_matrix_input_scale(struct backend *backend, struct matrix *matrix, int index,
                              float scale)
{
    (void)backend;
    TRY(check_rows(matrix, index, 0, 0));
    if (matrix->fp8) {
        matrix->input_scale[index] = scale;
    }
    return STATUS_OK;
}

status cpu_matrix_write(struct backend *backend, struct matrix *matrix, int index, int first_row,
                        int row_count, const struct weight_rows *rows)
{
    TRY(check_rows(matrix, index, first_row, row_count));
    TRY(check_format(matrix, rows));
    if (row_count == 0) {
        return STATUS_OK;
    }
    keep_scales(matrix, index, first_row, row_count, rows->scales);
    char *base =
        (char *)matrix->region.data + (size_t)index * (size_t)matrix->panels * matrix->panel_bytes;
    const int last_row = first_row + row_count;
    const int threads = cpu_threads_for(cpu_of(backend), 4.0 * row_count * matrix->columns);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int p = first_row / PANEL; p <= (last_row - 1) / PANEL; p++) {
        const int first = p * PANEL > first_row ? p * PANEL : first_row;
        const int last = (p + 1) * PANEL < last_row ? (p + 1) * PANEL : last_row;
        pack_rows(matrix, index, base + (size_t)p * matrix->panel_bytes, p * PANEL, first, last,
                  first_row, rows);
    }
    return STATUS_OK;
}

status cpu_matrix_finish(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    (void)matrix; /* packed as it came */
    return STATUS_OK;
}

void cpu_matrix_destroy(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    if (matrix != NULL) {
        cpu_region_destroy(&matrix->region);
        free(matrix->scale);
        free(matrix->input_scale);
        free(matrix);
    }
}

int64_t cpu_matrix_bytes(struct backend *backend, int count, int rows, int columns, int slices,
                         enum weight_format stored)
{
    (void)backend;
    (void)slices;
    const size_t panels = ((size_t)rows + PANEL - 1) / PANEL;
    size_t bytes;
    return cpu_size(&bytes, "weights", 5, (size_t)count, panels, (size_t)columns, (size_t)PANEL,
                    kept_bytes(stored)) == STATUS_OK
               ? (int64_t)bytes
               : INT64_MAX;
}

/* ---- Vectors ---- */

status cpu_vector_create(struct backend *backend, int length, const float *values,
                         struct vector **out)
{
    (void)backend;
    *out = NULL;
    if (length < 0 || length > INT32_MAX - PANEL) {
        return status_fail(STATUS_INTERNAL, "vector of %d", length);
    }
    struct vector *vector = calloc(1, sizeof *vector);
    if (vector == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a vector");
    }
    vector->length = length;
    const size_t padded = ((size_t)length + PANEL - 1) / PANEL * PANEL;
    status s = cpu_region_create(&vector->region, padded * sizeof *values, "vector");
    if (s != STATUS_OK) {
        free(vector);
        return s;
    }
    if (length > 0) {
        memcpy(vector->region.data, values, (size_t)length * sizeof *values);
    }
    *out = vector;
    return STATUS_OK;
}

void cpu_vector_destroy(struct backend *backend, struct vector *vector)
{
    (void)backend;
    if (vector != NULL) {
        cpu_region_destroy(&vector->region);
        free(vector);
    }
}
