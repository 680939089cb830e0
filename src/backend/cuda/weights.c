/* SPDX-License-Identifier: Apache-2.0 */
/* Weights: from host memory through pinned staging to their place, converted on the device. */
#include "backend/cuda/cuda.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    FP8_ALIGNMENT = 16,      /* values, of what an fp8 product reads */
    STAGING_BYTES = 8 << 20, /* each part */
    STAGING_PARTS = 4,
    FILLING_THREADS = 8,
    FILLING_BYTES = 1 << 20, /* at least, for a thread */
};

/* Pinned memory that the host fills while the other parts travel, and their copies on the device
 * for what must be converted there. */
struct cuda_loader {
    void *pinned[STAGING_PARTS];
    void *device[STAGING_PARTS];     /* NULL until something is converted */
    cudaEvent_t done[STAGING_PARTS]; /* the part may be filled again */
    int next;
    float *row_scale; /* device: the scales that came with the rows being written */
    size_t row_scale_capacity;
};

void cuda_loader_destroy(struct cuda_loader *loader)
{
    if (loader == NULL) {
        return;
    }
    for (int i = 0; i < STAGING_PARTS; i++) {
        (void)cudaFreeHost(loader->pinned[i]);
        (void)cudaFree(loader->device[i]);
        if (loader->done[i] != NULL) {
            (void)cudaEventDestroy(loader->done[i]);
        }
    }
    (void)cudaFree(loader->row_scale);
    free(loader);
}

static status loader_of(struct cuda_backend *cuda, struct cuda_loader **out)
{
    if (cuda->loader == NULL) {
        cuda->loader = calloc(1, sizeof *cuda->loader);
        if (cuda->loader == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for weights");
        }
    }
    struct cuda_loader *loader = cuda->loader;
    for (int i = 0; i < STAGING_PARTS; i++) {
        if (loader->pinned[i] == NULL) {
            TRY(cuda_check(cudaMallocHost(&loader->pinned[i], STAGING_BYTES), "weights"));
        }
        if (loader->done[i] == NULL) {
            TRY(cuda_check(cudaEventCreateWithFlags(&loader->done[i], cudaEventDisableTiming),
                           "weights"));
        }
    }
    *out = loader;
    return STATUS_OK;
}

/* The next part of the staging, once the copy that used it has ended. */
static status next_part(struct cuda_loader *loader, int *part)
{
    *part = loader->next;
    loader->next = (loader->next + 1) % STAGING_PARTS;
    return cuda_check(cudaEventSynchronize(loader->done[*part]), "weights");
}

/* float32 values through the staging, so that loading does not wait for the copies before. */
static status copy_floats(struct cuda_backend *cuda, float *to, const float *values, int total)
{
    struct cuda_loader *loader;
    TRY(loader_of(cuda, &loader));
    const int most = STAGING_BYTES / (int)sizeof *values;
    for (int first = 0; first < total; first += most) {
        const int count = total - first < most ? total - first : most;
        int part;
        TRY(next_part(loader, &part));
        memcpy(loader->pinned[part], values + first, (size_t)count * sizeof *values);
        TRY(cuda_check(cudaMemcpyAsync(to + first, loader->pinned[part],
                                       (size_t)count * sizeof *values, cudaMemcpyHostToDevice,
                                       cuda->stream),
                       "weights"));
        TRY(cuda_check(cudaEventRecord(loader->done[part], cuda->stream), "weights"));
    }
    return STATUS_OK;
}

/* ---- Matrices ---- */

/* fp8 stays fp8; everything else is kept as the activations are, as a product needs it. */
static enum dtype kept_type(const struct cuda_backend *cuda, enum weight_format stored)
{
    return stored == WEIGHT_FP8 ? DTYPE_FLOAT8_E4M3 : cuda->activation;
}

bool cuda_matrix_takes(struct backend *backend, enum weight_format format)
{
    const struct cuda_backend *cuda = cuda_of(backend);
    const int from = weight_format_facts(format)->gpu_from;
    return from > 0 && 10 * cuda->major + cuda->minor >= from;
}

static int padded_columns(int columns)
{
    return (columns + FP8_ALIGNMENT - 1) / FP8_ALIGNMENT * FP8_ALIGNMENT;
}

static int part_count(int slices)
{
    return slices > 0 ? slices : 1;
}

static int widest_part(const int32_t *slice_start, int slices, int columns)
{
    int widest = slices > 0 ? 0 : columns;
    for (int i = 0; i < slices; i++) {
        const int width = slice_start[i + 1] - slice_start[i];
        widest = width > widest ? width : widest;
    }
    return widest;
}

int64_t cuda_matrix_bytes(struct backend *backend, int count, int rows, int columns, int slices,
                          enum weight_format stored)
{
    const enum dtype kept = kept_type(cuda_of(backend), stored);
    if (kept != DTYPE_FLOAT8_E4M3) {
        return (int64_t)count * rows * columns * (int64_t)dtype_bytes(kept);
    }
    /* Slices as equal as they can be. */
    const int parts = part_count(slices);
    const int64_t padded = padded_columns((columns + parts - 1) / parts);
    return (int64_t)count * parts * rows * (padded + (int64_t)sizeof(float));
}

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

static status allocate_matrix(struct matrix *matrix)
{
    const size_t rows = (size_t)matrix->count * (size_t)matrix->rows;
    if (matrix->dtype == DTYPE_FLOAT8_E4M3) {
        const size_t parts = (size_t)part_count(matrix->slices);
        matrix->bytes = rows * parts * (size_t)matrix->padded;
        TRY(cuda_check(cudaMalloc((void **)&matrix->scale, (rows * parts + 1) * sizeof(float)),
                       "weights"));
    } else {
        matrix->bytes = rows * (size_t)matrix->columns * dtype_bytes(matrix->dtype);
    }
    return cuda_check(cudaMalloc(&matrix->data, matrix->bytes + 1), "weights");
}

status cuda_matrix_create(struct backend *backend, int count, int rows, int columns,
                          const int32_t *slice_start, int slices, enum weight_format stored,
                          struct matrix **out)
{
    *out = NULL;
    struct cuda_backend *cuda = cuda_of(backend);
    if (count < 0 || rows < 0 || columns < 0 || slices < 0) {
        return status_fail(STATUS_INTERNAL, "matrix of %d × %d × %d", count, rows, columns);
    }
    if (!cuda_matrix_takes(backend, stored)) {
        const int from = weight_format_facts(stored)->gpu_from;
        const char *name = weight_format_name(stored);
        return status_fail(STATUS_UNSUPPORTED,
                           "%s weights: %s has compute capability %d.%d, %s needs %d.%d; use "
                           "model.dtype: bfloat16",
                           name, cuda->name, cuda->major, cuda->minor, name, from / 10, from % 10);
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
                              .dtype = kept_type(cuda, stored),
                              .slices = slices,
                              .padded = padded_columns(widest_part(slice_start, slices, columns))};
    if (slices > 0) {
        memcpy(matrix->slice_start, slice_start, (size_t)(slices + 1) * sizeof *slice_start);
    } else {
        matrix->slice_start[1] = columns;
    }
    const status s = allocate_matrix(matrix);
    if (s != STATUS_OK) {
        cuda_matrix_destroy(backend, matrix);
        return s;
    }
    *out = matrix;
    return STATUS_OK;
}

void cuda_matrix_destroy(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    if (matrix != NULL) {
        (void)cudaFree(matrix->data);
        (void)cudaFree(matrix->scale);
        free(matrix->input_scale);
        free(matrix);
    }
}

static status check_rows(const struct matrix *matrix, int index, int first_row, int row_count)
{
    if (index < 0 || index >= matrix->count || first_row < 0 || row_count < 0 ||
        row_count > matrix->rows - first_row) {
        return status_fail(STATUS_INTERNAL, "matrix %d of %d: rows %d to %d of %d", index,
                           matrix->count, first_row, first_row + row_count, matrix->rows);
    }
    return STATUS_OK;
}

/* Room for `count` scales; it is reused in the order of the stream. */
static status grow_row_scale(struct cuda_backend *cuda, struct cuda_loader *loader, size_t count)
{
    if (count <= loader->row_scale_capacity) {
        return STATUS_OK;
    }
    TRY(cuda_check(cudaStreamSynchronize(cuda->stream), "weights"));
    (void)cudaFree(loader->row_scale);
    loader->row_scale = NULL;
    loader->row_scale_capacity = 0;
    count += count / 2;
    TRY(cuda_check(cudaMalloc((void **)&loader->row_scale, count * sizeof(float)), "weights"));
    loader->row_scale_capacity = count;
    return STATUS_OK;
}

/* The scales of `row_count` rows to the device, where rows have some. They are overwritten behind
 * the last kernel that reads those before: all of it is in the order of the stream. */
static status write_scales(struct cuda_backend *cuda, struct cuda_loader *loader,
                           const struct weight_rows *rows, int row_count)
{
    if (rows->scales == NULL) {
        return STATUS_OK;
    }
    TRY(grow_row_scale(cuda, loader, (size_t)row_count));
    return copy_floats(cuda, loader->row_scale, rows->scales, row_count);
}

/* Quantised rows are for matrices of their format, and come with their scales. */
static status check_format(const struct matrix *matrix, const struct weight_rows *rows)
{
    const struct weight_format_facts *facts = weight_format_facts(rows->format);
    const bool fits = facts->expand == NULL
                          ? rows->scales == NULL
                          : rows->format == weight_format_of(matrix->dtype) && rows->scales != NULL;
    return fits ? STATUS_OK
                : status_fail(STATUS_INTERNAL, "matrix: rows in %s that were to be expanded",
                              weight_format_name(rows->format));
}

status cuda_matrix_input_scale(struct backend *backend, struct matrix *matrix, int index,
                               float scale)
{
    (void)backend;
    TRY(check_rows(matrix, index, 0, 0));
    if (matrix->dtype != DTYPE_FLOAT8_E4M3) {
        return STATUS_OK; /* its input keeps its precision */
    }
    if (matrix->input_scale == NULL) {
        matrix->input_scale = calloc((size_t)matrix->count, sizeof *matrix->input_scale);
        if (matrix->input_scale == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for a matrix");
        }
    }
    matrix->input_scale[index] = scale;
    return STATUS_OK;
}

/* ---- Writing ---- */

/* `count` rows side by side. One processor copies slower than a GPU's link takes, so that a few
 * share the rows. */
static void fill_part(char *to, const char *from, int count, size_t row_bytes, size_t stride_bytes)
{
    const size_t shares = row_bytes * (size_t)count / FILLING_BYTES;
    const int wanted = shares < FILLING_THREADS ? (int)shares : FILLING_THREADS;
    const int threads = wanted < omp_get_max_threads() ? wanted : omp_get_max_threads();
#pragma omp parallel for num_threads(threads > 0 ? threads : 1) schedule(static)
    for (int i = 0; i < count; i++) {
        memcpy(to + (size_t)i * row_bytes, from + (size_t)i * stride_bytes, row_bytes);
    }
}

static status convert_part(struct cuda_backend *cuda, struct cuda_loader *loader,
                           struct matrix *matrix, int part, int index, int first_row, int count,
                           enum dtype source, const float *row_scale, void *to)
{
    if (loader->device[part] == NULL) {
        TRY(cuda_check(cudaMalloc(&loader->device[part], STAGING_BYTES), "weights"));
    }
    const size_t bytes = (size_t)matrix->columns * dtype_bytes(source) * (size_t)count;
    TRY(cuda_check(cudaMemcpyAsync(loader->device[part], loader->pinned[part], bytes,
                                   cudaMemcpyHostToDevice, cuda->stream),
                   "weights"));
    const size_t scales = (size_t)matrix->rows * (size_t)part_count(matrix->slices);
    struct rows_weights call = {
        .from = loader->device[part],
        .source = (int)source,
        .source_stride = (size_t)matrix->columns,
        .rows = count,
        .columns = matrix->columns,
        .first_row = first_row,
        .matrix_rows = matrix->rows,
        .to = to,
        .dtype = (int)matrix->dtype,
        .parts = part_count(matrix->slices),
        .padded = matrix->padded,
        .scale = matrix->scale == NULL ? NULL : matrix->scale + (size_t)index * scales,
        .row_scale = row_scale};
    memcpy(call.slice_start, matrix->slice_start, sizeof call.slice_start);
    return cuda_check(rows_weights_launch(cuda->stream, &call), "weights");
}

/* `count` rows of the call, from `from`, in one part of the staging. */
static status write_rows(struct cuda_backend *cuda, struct cuda_loader *loader,
                         struct matrix *matrix, int index, int first_row, int count,
                         const char *from, enum dtype source, size_t stride_bytes,
                         const float *row_scale)
{
    int part;
    TRY(next_part(loader, &part));
    const size_t row_bytes = (size_t)matrix->columns * dtype_bytes(source);
    fill_part(loader->pinned[part], from, count, row_bytes, stride_bytes);
    const size_t product =
        (size_t)matrix->rows * (matrix->dtype == DTYPE_FLOAT8_E4M3
                                    ? (size_t)part_count(matrix->slices) * (size_t)matrix->padded
                                    : (size_t)matrix->columns * dtype_bytes(matrix->dtype));
    char *to = (char *)matrix->data + (size_t)index * product;
    if (source == matrix->dtype && source != DTYPE_FLOAT8_E4M3 && row_scale == NULL) {
        TRY(cuda_check(cudaMemcpyAsync(to + (size_t)first_row * row_bytes, loader->pinned[part],
                                       row_bytes * (size_t)count, cudaMemcpyHostToDevice,
                                       cuda->stream),
                       "weights"));
    } else {
        TRY(convert_part(cuda, loader, matrix, part, index, first_row, count, source, row_scale,
                         to));
    }
    return cuda_check(cudaEventRecord(loader->done[part], cuda->stream), "weights");
}

status cuda_matrix_write(struct backend *backend, struct matrix *matrix, int index, int first_row,
                         int row_count, const struct weight_rows *rows)
{
    struct cuda_backend *cuda = cuda_of(backend);
    struct cuda_loader *loader;
    TRY(check_rows(matrix, index, first_row, row_count));
    TRY(check_format(matrix, rows));
    TRY(loader_of(cuda, &loader));
    if (matrix->columns == 0 || row_count == 0) {
        return STATUS_OK;
    }
    const enum dtype source = weight_format_facts(rows->format)->numbers;
    const size_t value_bytes = dtype_bytes(source);
    const size_t row_bytes = (size_t)matrix->columns * value_bytes;
    if (row_bytes > STAGING_BYTES) {
        return status_fail(STATUS_LIMIT, "weights: a row of %d values", matrix->columns);
    }
    TRY(write_scales(cuda, loader, rows, row_count));
    const int most = (int)(STAGING_BYTES / row_bytes);
    for (int row = 0; row < row_count; row += most) {
        const int count = row_count - row < most ? row_count - row : most;
        const float *row_scale = rows->scales != NULL ? loader->row_scale + row : NULL;
        TRY(write_rows(cuda, loader, matrix, index, first_row + row, count,
                       (const char *)rows->data + (size_t)row * rows->stride * value_bytes, source,
                       rows->stride * value_bytes, row_scale));
    }
    return STATUS_OK;
}

status cuda_matrix_finish(struct backend *backend, struct matrix *matrix)
{
    (void)backend;
    (void)matrix;
    return STATUS_OK; /* copies are in order on the stream that uses them */
}

/* ---- Vectors ---- */

status cuda_vector_create(struct backend *backend, int length, const float *values,
                          struct vector **out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    *out = NULL;
    struct vector *vector = calloc(1, sizeof *vector);
    if (vector == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a vector");
    }
    vector->length = length;
    const size_t bytes = (size_t)length * sizeof *values;
    status s = cuda_check(cudaMalloc((void **)&vector->data, bytes + 1), "vector");
    if (s == STATUS_OK) {
        s = copy_floats(cuda, vector->data, values, length);
    }
    if (s != STATUS_OK) {
        cuda_vector_destroy(backend, vector);
        return s;
    }
    *out = vector;
    return STATUS_OK;
}

void cuda_vector_destroy(struct backend *backend, struct vector *vector)
{
    (void)backend;
    if (vector != NULL) {
        (void)cudaFree(vector->data);
        free(vector);
    }
}
