/* Weights in the CPU's layout: packed into panels of 32 outputs once, when they are loaded. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"

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

static float element(const void *data, enum dtype type, size_t index)
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

/* ---- Matrices ----------------------------------------------------------------------------------
 */

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

status cpu_matrix_create(struct backend *backend, int count, int rows, int columns,
                         const int32_t *slice_start, int slices, enum dtype stored,
                         struct matrix **out)
{
    (void)backend;
    *out = NULL;
    if (stored != DTYPE_FLOAT32 && stored != DTYPE_BFLOAT16) {
        return status_fail(STATUS_UNSUPPORTED,
                           "weights in %s: the CPU keeps them in float32 or bfloat16",
                           dtype_name(stored));
    }
    if (count < 0 || rows < 0 || columns < 0 || rows > INT32_MAX - PANEL || slices < 0) {
        return status_fail(STATUS_INTERNAL, "matrix of %d × %d × %d", count, rows, columns);
    }
    if (slices > 0) {
        TRY(check_slices(slice_start, slices, columns));
    }
    struct matrix *matrix = calloc(1, sizeof *matrix);
    if (matrix == NULL) {
        return status_fail(STATUS_NO_MEMORY, "matrix");
    }
    *matrix = (struct matrix){.count = count,
                              .rows = rows,
                              .columns = columns,
                              .panels = (rows + PANEL - 1) / PANEL,
                              .bfloat16 = stored == DTYPE_BFLOAT16,
                              .slices = slices};
    matrix->panel_bytes = (size_t)columns * PANEL * dtype_bytes(stored);
    if (slices > 0) {
        memcpy(matrix->slice_start, slice_start, (size_t)(slices + 1) * sizeof *slice_start);
    }
    size_t bytes = 0;
    status s =
        cpu_size(&bytes, "weights", 3, (size_t)count, (size_t)matrix->panels, matrix->panel_bytes);
    if (s == STATUS_OK) {
        s = cpu_region_create(&matrix->region, bytes, "weights");
    }
    if (s != STATUS_OK) {
        free(matrix);
        return s;
    }
    *out = matrix;
    return STATUS_OK;
}

/* Rows [first, last) of one panel; `data` starts at row `data_row`. */
static void pack_rows(const struct matrix *matrix, char *panel, int panel_row, int first, int last,
                      const void *data, int data_row, enum dtype source, size_t source_stride)
{
    for (int row = first; row < last; row++) {
        const size_t from = (size_t)(row - data_row) * source_stride;
        const size_t place = (size_t)panel_place(row - panel_row, matrix->bfloat16);
        if (!matrix->bfloat16) {
            float *to = (float *)panel + place;
            for (size_t k = 0; k < (size_t)matrix->columns; k++) {
                to[k * PANEL] = element(data, source, from + k);
            }
            continue;
        }
        uint16_t *to = (uint16_t *)panel + place;
        for (size_t k = 0; k < (size_t)matrix->columns; k++) {
            if (source == DTYPE_BFLOAT16) { /* bit for bit, NaNs too */
                memcpy(to + k * PANEL, (const char *)data + 2 * (from + k), sizeof *to);
            } else {
                to[k * PANEL] = cpu_bfloat16(element(data, source, from + k));
            }
        }
    }
}

status cpu_matrix_write(struct backend *backend, struct matrix *matrix, int index, int first_row,
                        int row_count, const void *data, enum dtype source, size_t source_stride)
{
    if (index < 0 || index >= matrix->count || first_row < 0 || row_count < 0 ||
        row_count > matrix->rows - first_row) {
        return status_fail(STATUS_INTERNAL, "matrix %d of %d: rows %d to %d of %d", index,
                           matrix->count, first_row, first_row + row_count, matrix->rows);
    }
    if (row_count == 0) {
        return STATUS_OK;
    }
    char *base =
        (char *)matrix->region.data + (size_t)index * (size_t)matrix->panels * matrix->panel_bytes;
    const int last_row = first_row + row_count;
    const int threads = cpu_threads_for(cpu_of(backend), 4.0 * row_count * matrix->columns);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int p = first_row / PANEL; p <= (last_row - 1) / PANEL; p++) {
        const int first = p * PANEL > first_row ? p * PANEL : first_row;
        const int last = (p + 1) * PANEL < last_row ? (p + 1) * PANEL : last_row;
        pack_rows(matrix, base + (size_t)p * matrix->panel_bytes, p * PANEL, first, last, data,
                  first_row, source, source_stride);
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
        free(matrix);
    }
}

int64_t cpu_matrix_bytes(struct backend *backend, int count, int rows, int columns, int slices,
                         enum dtype stored)
{
    (void)backend;
    (void)slices;
    const size_t panels = ((size_t)rows + PANEL - 1) / PANEL;
    size_t bytes;
    return cpu_size(&bytes, "weights", 5, (size_t)count, panels, (size_t)columns, (size_t)PANEL,
                    dtype_bytes(stored)) == STATUS_OK
               ? (int64_t)bytes
               : INT64_MAX;
}

/* ---- Vectors -----------------------------------------------------------------------------------
 */

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
        return status_fail(STATUS_NO_MEMORY, "vector");
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
