/* SPDX-License-Identifier: Apache-2.0 */
/* What every file of the CUDA backend stands on: CUDA's errors as statuses, device memory that
 * grows, and whether a buffer is large enough. Uses none of the others. */
#include "backend/cuda/cuda.h"

/* ---- Errors ---- */

status cuda_check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) {
        return STATUS_OK;
    }
    (void)cudaGetLastError(); /* so that the next check does not find it again */
    if (error == cudaErrorMemoryAllocation) {
        size_t free_bytes = 0, total = 0;
        (void)cudaMemGetInfo(&free_bytes, &total);
        return status_fail(STATUS_NO_MEMORY,
                           "%s: out of GPU memory (%.2f of %.2f GB are free); lower "
                           "engine.kv_memory or engine.max_batch_tokens",
                           what, (double)free_bytes / 1e9, (double)total / 1e9);
    }
    return status_fail(STATUS_IO, "%s: CUDA: %s", what, cudaGetErrorString(error));
}

status cuda_check_blas(cublasStatus_t code, const char *what)
{
    return code == CUBLAS_STATUS_SUCCESS
               ? STATUS_OK
               : status_fail(code == CUBLAS_STATUS_ALLOC_FAILED ? STATUS_NO_MEMORY : STATUS_IO,
                             "%s: cuBLASLt: %s", what, cublasLtGetStatusString(code));
}

/* ---- Memory ---- */

status cuda_space_grow(struct cuda_backend *cuda, struct cuda_space *space, size_t bytes,
                       const char *what)
{
    if (bytes <= space->bytes) {
        return STATUS_OK;
    }
    if (space->data != NULL) {
        TRY(cuda_check(cudaStreamSynchronize(cuda->stream), what));
        cuda_space_free(space);
    }
    TRY(cuda_check(cudaMalloc(&space->data, bytes), what));
    space->bytes = bytes;
    return STATUS_OK;
}

void cuda_space_free(struct cuda_space *space)
{
    (void)cudaFree(space->data);
    *space = (struct cuda_space){0};
}

status cuda_buffer_check(const struct device_buffer *buffer, int rows, int64_t width,
                         size_t value_bytes)
{
    if ((uint64_t)rows * (uint64_t)width > buffer->bytes / value_bytes) {
        return status_fail(STATUS_INTERNAL, "buffer of %zu bytes: %d rows of %lld do not fit",
                           buffer->bytes, rows, (long long)width);
    }
    return STATUS_OK;
}
