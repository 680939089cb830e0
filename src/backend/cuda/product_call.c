/* SPDX-License-Identifier: Apache-2.0 */
/* One product for cuBLASLt: its types and layouts described, and the call itself. Which algorithm
 * it runs with is algorithms.c's to say, what is multiplied product.c's. */
#include "backend/cuda/product.h"

cudaDataType_t cuda_data_type(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_FLOAT32:
        return CUDA_R_32F;
    case DTYPE_BFLOAT16:
        return CUDA_R_16BF;
    case DTYPE_FLOAT16:
        return CUDA_R_16F;
    case DTYPE_FLOAT8_E4M3:
        break;
    }
    return CUDA_R_8F_E4M3;
}

static cublasStatus_t layout(cublasLtMatrixLayoutOpaque_t *to, enum dtype dtype, int rows,
                             int columns, int64_t leading, int count, int64_t stride)
{
    cublasStatus_t code = cublasLtMatrixLayoutInit(to, cuda_data_type(dtype), (uint64_t)rows,
                                                   (uint64_t)columns, leading);
    if (code == CUBLAS_STATUS_SUCCESS && count > 1) {
        code = cublasLtMatrixLayoutSetAttribute(to, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                sizeof count);
    }
    if (code == CUBLAS_STATUS_SUCCESS && count > 1) {
        code = cublasLtMatrixLayoutSetAttribute(to, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                &stride, sizeof stride);
    }
    return code;
}

status product_describe(const struct product_shape *shape, int tokens,
                        struct product_description *out)
{
    const cublasOperation_t transposed = CUBLAS_OP_T, plain = CUBLAS_OP_N;
    cublasStatus_t code = cublasLtMatmulDescInit(&out->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (code == CUBLAS_STATUS_SUCCESS) {
        code = cublasLtMatmulDescSetAttribute(&out->operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                              &transposed, sizeof transposed);
    }
    if (code == CUBLAS_STATUS_SUCCESS) {
        code = cublasLtMatmulDescSetAttribute(&out->operation, CUBLASLT_MATMUL_DESC_TRANSB, &plain,
                                              sizeof plain);
    }
    if (code == CUBLAS_STATUS_SUCCESS && shape->in == DTYPE_FLOAT8_E4M3) {
        const int8_t fast = 1;
        code = cublasLtMatmulDescSetAttribute(&out->operation, CUBLASLT_MATMUL_DESC_FAST_ACCUM,
                                              &fast, sizeof fast);
    }
    if (code == CUBLAS_STATUS_SUCCESS) {
        code = layout(&out->a, shape->in, shape->columns, shape->rows, shape->a_leading,
                      shape->count, shape->a_stride);
    }
    if (code == CUBLAS_STATUS_SUCCESS) {
        const int64_t stride =
            shape->b_is_packed ? (int64_t)tokens * shape->b_leading : shape->b_stride;
        code = layout(&out->b, shape->in, shape->columns, tokens, shape->b_leading, shape->count,
                      stride);
    }
    if (code == CUBLAS_STATUS_SUCCESS) {
        code = layout(&out->d, shape->out, shape->rows, tokens, shape->rows, shape->count,
                      (int64_t)tokens * shape->rows);
    }
    return cuda_check_blas(code, "product");
}

cublasStatus_t product_launch(const struct cuda_backend *cuda,
                              struct product_description *description,
                              const cublasLtMatmulAlgo_t *algorithm, const void *a, const void *b,
                              void *d)
{
    static const float one = 1.0f, zero = 0.0f;
    const struct cuda_products *products = cuda->products;
    return cublasLtMatmul(products->handle, &description->operation, &one, a, &description->a, b,
                          &description->b, &zero, d, &description->d, d, &description->d, algorithm,
                          products->workspace, products->workspace_bytes, cuda->stream);
}
