/* SPDX-License-Identifier: Apache-2.0 */
/* A backend for tests of loading: it only keeps what is written, as float32. */
#ifndef LOAD_BACKEND_H
#define LOAD_BACKEND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/backend.h"

struct matrix {
    int count, rows, columns, slices;
    int32_t slice_start[MAX_SLICES + 1];
    enum weight_format stored;
    float *values;    /* [count, rows, columns] */
    uint8_t *written; /* times, likewise */
    bool finished;
};

struct vector {
    int length;
    float *values;
};

static int live_objects;

static enum dtype activation_dtype(struct backend *backend)
{
    (void)backend;
    return DTYPE_FLOAT32;
}

static status matrix_create(struct backend *backend, int count, int rows, int columns,
                            const int32_t *slice_start, int slices, enum weight_format stored,
                            struct matrix **out)
{
    (void)backend;
    struct matrix *matrix = calloc(1, sizeof *matrix);
    size_t size = (size_t)count * (size_t)rows * (size_t)columns;
    matrix->count = count;
    matrix->rows = rows;
    matrix->columns = columns;
    matrix->slices = slices;
    matrix->stored = stored;
    if (slices > 0) {
        memcpy(matrix->slice_start, slice_start, (size_t)(slices + 1) * sizeof *slice_start);
        assert_int_equal(slice_start[0], 0);
        assert_int_equal(slice_start[slices], columns);
    }
    matrix->values = calloc(size + 1, sizeof *matrix->values);
    matrix->written = calloc(size + 1, 1);
    live_objects++;
    *out = matrix;
    return STATUS_OK;
}

static float half_value(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float value =
        exponent == 0 ? (float)fraction / 16777216.0f : (float)(1024 + fraction) / 1024.0f;
    for (int i = 15; exponent != 0 && i < exponent; i++) {
        value *= 2;
    }
    for (int i = exponent; exponent != 0 && i < 15; i++) {
        value /= 2;
    }
    return half & 0x8000 ? -value : value;
}

static float value_of(const void *data, enum weight_format format, size_t index)
{
    if (format == WEIGHT_FLOAT32) {
        float value;
        memcpy(&value, (const char *)data + 4 * index, 4);
        return value;
    }
    uint16_t half;
    memcpy(&half, (const char *)data + 2 * index, 2);
    if (format == WEIGHT_FLOAT16) {
        return half_value(half);
    }
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static bool matrix_takes(struct backend *backend, enum weight_format format)
{
    (void)backend;
    return weight_format_facts(format)->expand == NULL;
}

static status matrix_write(struct backend *backend, struct matrix *matrix, int index, int first_row,
                           int row_count, const struct weight_rows *rows)
{
    (void)backend;
    assert_in_range(index, 0, matrix->count - 1);
    assert_true(first_row >= 0 && row_count >= 0 && first_row + row_count <= matrix->rows);
    assert_true(rows->stride >= (size_t)matrix->columns);
    assert_null(weight_format_facts(rows->format)->expand);
    assert_null(rows->scales);
    for (int row = 0; row < row_count; row++) {
        size_t at = ((size_t)index * (size_t)matrix->rows + (size_t)(first_row + row)) *
                    (size_t)matrix->columns;
        for (int column = 0; column < matrix->columns; column++) {
            matrix->values[at + (size_t)column] =
                value_of(rows->data, rows->format, (size_t)row * rows->stride + (size_t)column);
            matrix->written[at + (size_t)column]++;
        }
    }
    return STATUS_OK;
}

static status matrix_finish(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    size_t size = (size_t)matrix->count * (size_t)matrix->rows * (size_t)matrix->columns;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(matrix->written[i], 1);
    }
    matrix->finished = true;
    return STATUS_OK;
}

static void matrix_destroy(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    live_objects--;
    free(matrix->values);
    free(matrix->written);
    free(matrix);
}

static int64_t matrix_bytes(struct backend *backend, int count, int rows, int columns, int slices,
                            enum weight_format stored)
{
    (void)backend;
    (void)slices;
    return (int64_t)count * rows * columns * (stored == WEIGHT_FLOAT32 ? 4 : 2);
}

static status vector_create(struct backend *backend, int length, const float *values,
                            struct vector **out)
{
    (void)backend;
    struct vector *vector = calloc(1, sizeof *vector);
    vector->length = length;
    vector->values = malloc((size_t)length * sizeof *values + 1);
    memcpy(vector->values, values, (size_t)length * sizeof *values);
    live_objects++;
    *out = vector;
    return STATUS_OK;
}

static void vector_destroy(struct backend *backend, struct vector *vector)
{
    (void)backend;
    live_objects--;
    free(vector->values);
    free(vector);
}

static const struct backend_operations operations = {
    .activation_dtype = activation_dtype,
    .matrix_create = matrix_create,
    .matrix_takes = matrix_takes,
    .matrix_write = matrix_write,
    .matrix_finish = matrix_finish,
    .matrix_destroy = matrix_destroy,
    .matrix_bytes = matrix_bytes,
    .vector_create = vector_create,
    .vector_destroy = vector_destroy,
};
static struct backend keeping = {.operations = &operations};

#endif
