/* SPDX-License-Identifier: Apache-2.0 */
/* Products through cuBLASLt, and what they are run with.
 *
 * Row-major out[tokens][rows] = in[tokens][columns] · matrix[rows][columns]ᵀ is, in cuBLASLt's
 * column-major order, D[rows × tokens] = Aᵀ · B with A the weights and B the input as they lie.
 *
 * Bits: reductions over several blocks (split-K) are excluded, so that an output is one sum over
 * the columns in the order of the algorithm's tiles. That this order is the same for all the
 * algorithms in use, whatever the number of tokens, is not assumed: algorithms.c takes only those
 * that give a shape's reference bits. */
#include "backend/cuda/product.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cuda/kind/memory.h"

enum { WORKSPACE_BYTES = 32 << 20 };

status cuda_products_create(struct cuda_backend *cuda, struct cuda_products **out)
{
    *out = NULL;
    struct cuda_products *products = calloc(1, sizeof *products);
    if (products == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for products");
    }
    status s = cuda_check_blas(cublasLtCreate(&products->handle), "cuBLASLt");
    if (s == STATUS_OK) {
        s = cuda_check(cudaMalloc(&products->workspace, WORKSPACE_BYTES), "cuBLASLt workspace");
        products->workspace_bytes = WORKSPACE_BYTES;
    }
    if (s == STATUS_OK) {
        s = algorithms_create(cuda, &products->algorithms);
    }
    if (s != STATUS_OK) {
        cuda_products_destroy(products);
        return s;
    }
    *out = products;
    return STATUS_OK;
}

void cuda_products_destroy(struct cuda_products *products)
{
    if (products == NULL) {
        return;
    }
    algorithms_destroy(products->algorithms);
    (void)cudaFree(products->workspace);
    if (products->handle != NULL) {
        (void)cublasLtDestroy(products->handle);
    }
    free(products);
}

/* ---- Running one ---- */

status cuda_widen(struct cuda_backend *cuda, int operand, const void *from, size_t count,
                  const void **values)
{
    struct cuda_space *space = &cuda->widened[operand];
    TRY(cuda_space_grow(cuda, space, count * sizeof(float), "wide sums"));
    *values = space->data;
    return cuda_check(rows_widen_launch(cuda->stream, from, count, space->data), "wide sums");
}

static status run(struct cuda_backend *cuda, const struct product_shape *shape, const void *a,
                  const void *b, int tokens, void *out);

/* The same product of the same numbers in float32. fp8 operands have no gaps between rows. */
static status run_wide(struct cuda_backend *cuda, const struct product_shape *shape, const void *a,
                       const void *b, int tokens, void *out)
{
    const size_t row = (size_t)shape->count * (size_t)shape->columns;
    TRY(cuda_widen(cuda, 0, a, row * (size_t)shape->rows, &a));
    TRY(cuda_widen(cuda, 1, b, row * (size_t)tokens, &b));
    struct product_shape wide = *shape;
    wide.in = DTYPE_FLOAT32;
    wide.alignment = 16;
    return run(cuda, &wide, a, b, tokens, out);
}

/* out = in · aᵀ, with zeros where there is nothing to add up. */
static status run(struct cuda_backend *cuda, const struct product_shape *shape, const void *a,
                  const void *b, int tokens, void *out)
{
    const size_t bytes =
        (size_t)shape->count * (size_t)tokens * (size_t)shape->rows * dtype_bytes(shape->out);
    if (bytes == 0) {
        return STATUS_OK;
    }
    if (shape->columns == 0) {
        return cuda_check(cudaMemsetAsync(out, 0, bytes, cuda->stream), "product");
    }
    if (cuda->wide_sums && shape->in == DTYPE_FLOAT8_E4M3) {
        return run_wide(cuda, shape, a, b, tokens, out);
    }
    struct product_description description;
    TRY(product_describe(shape, tokens, &description));
    const cublasLtMatmulAlgo_t *algorithm;
    TRY(algorithms_find(cuda, shape, a, tokens, &algorithm));
    return cuda_check_blas(product_launch(cuda, &description, algorithm, a, b, out), "product");
}

/* ---- Shapes ---- */

static struct product_shape whole_shape(const struct matrix *matrix, enum dtype out,
                                        int most_tokens)
{
    const bool fp8 = matrix->dtype == DTYPE_FLOAT8_E4M3;
    const int columns = fp8 ? matrix->padded : matrix->columns;
    return (struct product_shape){.rows = matrix->rows,
                                  .columns = columns,
                                  .count = 1,
                                  .in = matrix->dtype,
                                  .out = out,
                                  .a_leading = columns,
                                  .b_leading = columns,
                                  .alignment = 16,
                                  .most_tokens = most_tokens};
}

/* The largest power of two, at most 16, that divides all of these byte offsets. */
static int alignment_of(size_t a, size_t b)
{
    int alignment = 16;
    while ((a | b) % (size_t)alignment != 0) {
        alignment /= 2;
    }
    return alignment;
}

static bool slices_are_equal(const struct matrix *matrix)
{
    for (int i = 0; i < matrix->slices; i++) {
        if (matrix->slice_start[i + 1] - matrix->slice_start[i] != matrix->slice_start[1]) {
            return false;
        }
    }
    return true;
}

/* cuda_product_run for at most `most_tokens` rows. */
static status run_rows(struct cuda_backend *cuda, const struct matrix *matrix, int index,
                       const void *in, int tokens, int most_tokens, void *out, enum dtype out_type)
{
    struct product_shape shape = whole_shape(matrix, out_type, most_tokens);
    const size_t row_bytes = (size_t)shape.columns * dtype_bytes(matrix->dtype);
    shape.alignment = alignment_of(row_bytes, 0);
    return run(cuda, &shape,
               (const char *)matrix->data + (size_t)index * (size_t)matrix->rows * row_bytes, in,
               tokens, out);
}

status cuda_product_run(struct cuda_backend *cuda, const struct matrix *matrix, int index,
                        const void *in, int tokens, void *out, enum dtype out_type)
{
    return run_rows(cuda, matrix, index, in, tokens, cuda->max_tokens, out, out_type);
}

/* Packs where the product wants fp8; the input's address. */
static status find_input(struct cuda_backend *cuda, const struct matrix *matrix,
                         struct device_buffer *in, const void **address)
{
    const int tokens = cuda->step.tokens;
    if (matrix->dtype == DTYPE_FLOAT8_E4M3) {
        TRY(cuda_pack(cuda, matrix, in, tokens));
        *address = in->packed.data;
        return STATUS_OK;
    }
    if (in->packed.valid) {
        return status_fail(STATUS_INTERNAL, "product: its input was left for another one");
    }
    *address = in->data;
    return cuda_buffer_check(in, tokens, matrix->columns, dtype_bytes(matrix->dtype));
}

/* ---- Operations ---- */

status cuda_product(struct backend *backend, const struct matrix *matrix, const struct vector *bias,
                    struct device_buffer *in, struct device_buffer *out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const int tokens = cuda->step.tokens;
    if (matrix->slices > 0 || matrix->count != 1 ||
        (bias != NULL && bias->length != matrix->rows)) {
        return status_fail(STATUS_INTERNAL, "product: the matrix is sliced or a stack, or the bias "
                                            "has another length");
    }
    const void *from;
    TRY(find_input(cuda, matrix, in, &from));
    TRY(cuda_buffer_check(out, tokens, matrix->rows, dtype_bytes(cuda->activation)));
    cuda_buffer_is_plain(out);
    TRY(cuda_product_run(cuda, matrix, 0, from, tokens, out->data, cuda->activation));
    out->pending.bias = bias != NULL ? bias->data : NULL;
    if (matrix->dtype == DTYPE_FLOAT8_E4M3) {
        out->pending.row_scale = in->packed.scale;
        out->pending.column_scale = matrix->scale;
    }
    return STATUS_OK;
}

void cuda_partials_describe(const struct cuda_backend *cuda, const struct matrix *matrix,
                            int tokens, struct cuda_partials *out)
{
    *out = (struct cuda_partials){
        .slices = matrix->slices,
        .scaled = matrix->dtype == DTYPE_FLOAT8_E4M3,
    };
    out->block_bytes =
        cuda_partials_bytes(matrix->slices, tokens, matrix->rows, dtype_bytes(cuda->activation),
                            out->scaled, &out->scales_offset);
}

size_t cuda_partial_bytes(struct backend *backend, const struct matrix *matrix, int tokens)
{
    struct cuda_partials partials;
    cuda_partials_describe(cuda_of(backend), matrix, tokens, &partials);
    return partials.block_bytes;
}

/* Column and row scales behind the partial sums, for other ranks: what vectors are read from comes
 * first, where their alignment does not depend on the tokens. */
static status append_scales(struct cuda_backend *cuda, const struct matrix *matrix,
                            const struct cuda_packed *packed, struct device_buffer *out)
{
    const size_t slices = (size_t)matrix->slices;
    const size_t row_bytes = (size_t)cuda->step.tokens * sizeof(float);
    const size_t column_bytes = slices * (size_t)matrix->rows * sizeof(float);
    char *to = (char *)out->data + cuda->partials.scales_offset;
    TRY(cuda_check(
        cudaMemcpyAsync(to, matrix->scale, column_bytes, cudaMemcpyDeviceToDevice, cuda->stream),
        "scales"));
    return cuda_check(cudaMemcpy2DAsync(to + column_bytes, row_bytes, packed->scale,
                                        (size_t)packed->scale_stride * sizeof(float), row_bytes,
                                        slices, cudaMemcpyDeviceToDevice, cuda->stream),
                      "scales");
}

/* Slices of unequal widths one by one, the others in one call. */
static status run_slices(struct cuda_backend *cuda, const struct matrix *matrix, const void *in,
                         struct device_buffer *out)
{
    const int tokens = cuda->step.tokens;
    const size_t value_bytes = dtype_bytes(matrix->dtype);
    struct product_shape shape = whole_shape(matrix, cuda->activation, cuda->max_tokens);
    if (matrix->dtype == DTYPE_FLOAT8_E4M3) {
        shape.count = matrix->slices;
        shape.a_stride = (int64_t)matrix->rows * matrix->padded;
        shape.b_is_packed = true;
        return run(cuda, &shape, matrix->data, in, tokens, out->data);
    }
    const size_t row_bytes = (size_t)matrix->columns * value_bytes;
    if (slices_are_equal(matrix)) {
        shape.columns = matrix->slice_start[1];
        shape.count = matrix->slices;
        shape.a_stride = shape.b_stride = matrix->slice_start[1];
        shape.alignment = alignment_of(row_bytes, (size_t)shape.columns * value_bytes);
        return run(cuda, &shape, matrix->data, in, tokens, out->data);
    }
    for (int i = 0; i < matrix->slices; i++) {
        const size_t offset = (size_t)matrix->slice_start[i] * value_bytes;
        shape.columns = matrix->slice_start[i + 1] - matrix->slice_start[i];
        shape.alignment = alignment_of(row_bytes, offset);
        TRY(run(cuda, &shape, (const char *)matrix->data + offset, (const char *)in + offset,
                tokens,
                (char *)out->data + (size_t)i * (size_t)tokens * (size_t)matrix->rows *
                                        dtype_bytes(cuda->activation)));
    }
    return STATUS_OK;
}

status cuda_product_sliced(struct backend *backend, const struct matrix *matrix,
                           struct device_buffer *in, struct device_buffer *out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (matrix->slices == 0 || matrix->count != 1) {
        return status_fail(STATUS_INTERNAL, "sliced product: the matrix has no slices");
    }
    cuda_partials_describe(cuda, matrix, cuda->step.tokens, &cuda->partials);
    if (cuda->partials.block_bytes > out->bytes) {
        return status_fail(STATUS_INTERNAL, "sliced product: %zu bytes in a buffer of %zu",
                           cuda->partials.block_bytes, out->bytes);
    }
    const void *from;
    TRY(find_input(cuda, matrix, in, &from));
    cuda_buffer_is_plain(out);
    TRY(run_slices(cuda, matrix, from, out));
    if (!cuda->partials.scaled) {
        return STATUS_OK;
    }
    if (!cuda->is_alone) {
        return append_scales(cuda, matrix, &in->packed, out);
    }
    cuda->partials.column_scale = matrix->scale; /* [slices][rows], as in the block */
    cuda->partials.row_scale = in->packed.scale;
    cuda->partials.row_scale_stride = in->packed.scale_stride;
    return STATUS_OK;
}

/* to[O][width] = the outputs' rows of from [T][width], both of `dtype`. */
static status pick_outputs(struct cuda_backend *cuda, const void *from, int width, enum dtype dtype,
                           const char *what)
{
    const struct cuda_step *step = &cuda->step;
    const size_t bytes = (size_t)step->outputs * (size_t)width * dtype_bytes(dtype);
    TRY(cuda_space_grow(cuda, &cuda->scratch, bytes, what));
    const struct rows_copy call = {.rows = step->outputs,
                                   .width = width,
                                   .in = from,
                                   .dtype = (int)dtype,
                                   .pick = step->output_rows,
                                   .target = {.plain = cuda->scratch.data, .dtype = (int)dtype}};
    return cuda_check(rows_copy_launch(cuda->stream, &call), what);
}

status cuda_keep_outputs(struct backend *backend, struct device_buffer *residual, int hidden,
                         struct device_buffer *attended, int width)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct {
        struct device_buffer *buffer;
        int width;
        enum dtype dtype;
    } parts[] = {{residual, hidden, DTYPE_FLOAT32}, {attended, width, cuda->activation}};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        struct device_buffer *buffer = parts[i].buffer;
        const size_t row_bytes = (size_t)parts[i].width * dtype_bytes(parts[i].dtype);
        TRY(cuda_buffer_check(buffer, cuda->step.tokens, parts[i].width,
                              dtype_bytes(parts[i].dtype)));
        if (buffer->packed.valid) {
            return status_fail(STATUS_INTERNAL, "outputs: their rows were left for a product");
        }
        TRY(pick_outputs(cuda, buffer->data, parts[i].width, parts[i].dtype, "outputs"));
        TRY(cuda_check(cudaMemcpyAsync(buffer->data, cuda->scratch.data,
                                       (size_t)cuda->step.outputs * row_bytes,
                                       cudaMemcpyDeviceToDevice, cuda->stream),
                       "outputs"));
    }
    cuda->step.tokens = cuda->step.outputs;
    return STATUS_OK;
}

status cuda_logits(struct backend *backend, const struct matrix *matrix, float scale,
                   float soft_cap, struct device_buffer *in, struct device_buffer *logits)
{
    struct cuda_backend *cuda = cuda_of(backend);
    const struct cuda_step *step = &cuda->step;
    const size_t value_bytes = dtype_bytes(cuda->activation);
    if (matrix->slices > 0 || matrix->count != 1 || matrix->dtype == DTYPE_FLOAT8_E4M3 ||
        in->packed.valid) {
        return status_fail(STATUS_INTERNAL, "logits: the matrix is sliced, a stack or in fp8");
    }
    TRY(cuda_buffer_check(in, step->tokens, matrix->columns, value_bytes));
    TRY(cuda_buffer_check(logits, step->outputs, matrix->rows, sizeof(float)));
    const void *rows = in->data;
    if (step->outputs != step->tokens) { /* ascending: as many as tokens are all of them */
        TRY(pick_outputs(cuda, in->data, matrix->columns, cuda->activation, "logits"));
        rows = cuda->scratch.data;
    }
    cuda_buffer_is_plain(logits);
    /* Rows of logits are long: room to try the algorithms in is for outputs, not for tokens. */
    TRY(run_rows(cuda, matrix, 0, rows, step->outputs, cuda->max_sequences, logits->data,
                 DTYPE_FLOAT32));
    if (scale == 1.0f && soft_cap <= 0.0f) {
        return STATUS_OK;
    }
    return cuda_check(rows_scale_cap_launch(cuda->stream, logits->data, step->outputs, matrix->rows,
                                            scale, soft_cap),
                      "logits");
}
