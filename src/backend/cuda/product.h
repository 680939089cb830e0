/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the CUDA backend's products. */
#ifndef SLUICE_CUDA_PRODUCT_H
#define SLUICE_CUDA_PRODUCT_H

#include "backend/cuda/cuda.h"

/* All of a product but the number of tokens: D[count][tokens][rows] = B[count][tokens][columns] ·
 * A[count][rows][columns]ᵀ. Leading dimensions and strides in elements. */
struct product_shape {
    int rows, columns, count;
    enum dtype in, out;
    int64_t a_leading, a_stride;
    int64_t b_leading, b_stride;
    bool b_is_packed; /* b_stride is tokens · b_leading */
    int alignment;    /* bytes, of the operands' rows and starts */
    int most_tokens;  /* that it is ever run for */
};

struct product_description {
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t a, b, d;
};

struct algorithms;

struct cuda_products {
    cublasLtHandle_t handle;
    void *workspace;
    size_t workspace_bytes;
    struct algorithms *algorithms;
};

/* ---- product_call.c: as cuBLASLt wants it ---- */

cudaDataType_t cuda_data_type(enum dtype dtype);
status product_describe(const struct product_shape *shape, int tokens,
                        struct product_description *out) MUST_CHECK;
cublasStatus_t product_launch(const struct cuda_backend *cuda,
                              struct product_description *description,
                              const cublasLtMatmulAlgo_t *algorithm, const void *a, const void *b,
                              void *d);

/* ---- algorithms.c ---- */

status algorithms_create(struct cuda_backend *cuda, struct algorithms **out) MUST_CHECK;
void algorithms_destroy(struct algorithms *algorithms);
/* The algorithm for a shape and a number of tokens. The first time that a shape is met its
 * candidates are tried on `a`, the weights, for all numbers of tokens (or read from the cache on
 * disk), which waits for the device. */
status algorithms_find(struct cuda_backend *cuda, const struct product_shape *shape, const void *a,
                       int tokens, const cublasLtMatmulAlgo_t **out) MUST_CHECK;

#endif
