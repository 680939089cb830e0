/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend: creation, buffers, the step, and the table of its operations. */
#include "backend/cuda/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/batch.h"

/* ---- Memory ---- */

static status buffer_create(struct backend *backend, size_t bytes, struct device_buffer **out)
{
    struct cuda_backend *cuda = cuda_of(backend);
    *out = NULL;
    struct device_buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a buffer");
    }
    buffer->bytes = bytes;
    status s = cuda_check(cudaMalloc(&buffer->data, bytes > 0 ? bytes : 1), "buffer");
    if (s == STATUS_OK) {
        s = cuda_check(cudaMemsetAsync(buffer->data, 0, bytes, cuda->stream), "buffer");
    }
    if (s != STATUS_OK) {
        (void)cudaFree(buffer->data);
        free(buffer);
        return s;
    }
    *out = buffer;
    return STATUS_OK;
}

static void buffer_free(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    if (buffer != NULL) {
        (void)cudaFree(buffer->data);
        (void)cudaFree(buffer->packed.data);
        (void)cudaFree(buffer->packed.scale);
        free(buffer);
    }
}

static status check_range(const struct device_buffer *buffer, size_t offset, size_t bytes)
{
    return offset <= buffer->bytes && bytes <= buffer->bytes - offset
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "buffer of %zu bytes: %zu from %zu do not fit",
                             buffer->bytes, bytes, offset);
}

static status upload(struct backend *backend, struct device_buffer *to, size_t offset,
                     const void *from, size_t bytes)
{
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(check_range(to, offset, bytes));
    cuda_buffer_is_plain(to);
    TRY(cuda_check(cudaMemcpyAsync((char *)to->data + offset, from, bytes, cudaMemcpyHostToDevice,
                                   cuda->stream),
                   "copy to the GPU"));
    return cuda_check(cudaStreamSynchronize(cuda->stream), "copy to the GPU");
}

static status download(struct backend *backend, const struct device_buffer *from, size_t offset,
                       void *to, size_t bytes)
{
    struct cuda_backend *cuda = cuda_of(backend);
    TRY(check_range(from, offset, bytes));
    TRY(cuda_check(cudaMemcpyAsync(to, (const char *)from->data + offset, bytes,
                                   cudaMemcpyDeviceToHost, cuda->stream),
                   "copy from the GPU"));
    return cuda_check(cudaStreamSynchronize(cuda->stream), "copy from the GPU");
}

static status copy(struct backend *backend, const struct device_buffer *from,
                   struct device_buffer *to, size_t bytes)
{
    TRY(check_range(from, 0, bytes));
    TRY(check_range(to, 0, bytes));
    cuda_buffer_is_plain(to);
    return cuda_check(cudaMemcpyAsync(to->data, from->data, bytes, cudaMemcpyDeviceToDevice,
                                      cuda_of(backend)->stream),
                      "copy on the GPU");
}

static void *host_address(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    (void)buffer;
    return NULL;
}

static status synchronize(struct backend *backend)
{
    return cuda_check(cudaStreamSynchronize(cuda_of(backend)->stream), "GPU");
}

static bool is_idle(struct backend *backend)
{
    const bool idle = cudaStreamQuery(cuda_of(backend)->stream) != cudaErrorNotReady;
    (void)cudaGetLastError();
    return idle;
}

static enum dtype activation_dtype(struct backend *backend)
{
    return cuda_of(backend)->activation;
}

static const char *device_name(struct backend *backend)
{
    return cuda_of(backend)->name;
}

static status memory(struct backend *backend, int64_t *total_bytes, int64_t *free_bytes)
{
    (void)backend;
    size_t available, total;
    TRY(cuda_check(cudaMemGetInfo(&available, &total), "GPU memory"));
    *total_bytes = (int64_t)total;
    *free_bytes = (int64_t)available;
    return STATUS_OK;
}

/* ---- The step ---- */

/* One array of the batch: where it stands in the step's memory. */
struct step_array {
    const void *from;
    size_t bytes, offset;
};

enum {
    STEP_TOKEN_IDS,
    STEP_POSITIONS,
    STEP_TOKEN_SEQUENCE, /* made here */
    STEP_QUERY_START,
    STEP_CONTEXT_LENGTH,
    STEP_BLOCK_TABLE,
    STEP_LONG_ROPE,
    STEP_TOKEN_TYPES,
    STEP_STATE_PLACE,
    STEP_STATE_FROM,
    STEP_OUTPUT_ROWS,
    STEP_ATTENTION, /* made by attention.c */
    STEP_ARRAYS
};

static size_t lay_out_step(const struct batch *batch, size_t plan_bytes, struct step_array *arrays)
{
    const size_t tokens = (size_t)batch->tokens, sequences = (size_t)batch->sequences;
    const struct step_array wanted[STEP_ARRAYS] = {
        [STEP_TOKEN_IDS] = {.from = batch->token_ids, .bytes = 4 * tokens},
        [STEP_POSITIONS] = {.from = batch->positions, .bytes = 4 * tokens},
        [STEP_TOKEN_SEQUENCE] = {.bytes = 4 * tokens},
        [STEP_QUERY_START] = {.from = batch->query_start, .bytes = 4 * (sequences + 1)},
        [STEP_CONTEXT_LENGTH] = {.from = batch->context_length, .bytes = 4 * sequences},
        [STEP_BLOCK_TABLE] = {.from = batch->block_table,
                              .bytes = 4 * sequences * (size_t)batch->block_table_stride},
        [STEP_LONG_ROPE] = {.from = batch->long_rope,
                            .bytes = batch->long_rope != NULL ? sequences : 0},
        [STEP_TOKEN_TYPES] = {.from = batch->token_types,
                              .bytes = batch->token_types != NULL ? tokens : 0},
        [STEP_STATE_PLACE] = {.from = batch->state_place,
                              .bytes = batch->state_place != NULL ? 4 * sequences : 0},
        [STEP_STATE_FROM] = {.from = batch->state_from,
                             .bytes = batch->state_from != NULL ? 4 * sequences : 0},
        [STEP_OUTPUT_ROWS] = {.from = batch->output_rows, .bytes = 4 * (size_t)batch->outputs},
        [STEP_ATTENTION] = {.bytes = plan_bytes},
    };
    size_t total = 0;
    for (int i = 0; i < STEP_ARRAYS; i++) {
        arrays[i] = wanted[i];
        arrays[i].offset = total;
        total += (wanted[i].bytes + 255) / 256 * 256;
    }
    return total;
}

static status grow_staging(struct cuda_backend *cuda, size_t bytes)
{
    if (bytes <= cuda->staging_bytes) {
        return STATUS_OK;
    }
    TRY(cuda_check(cudaStreamSynchronize(cuda->stream), "step"));
    bytes += bytes / 2; /* block tables grow step by step */
    for (int i = 0; i < 2; i++) {
        (void)cudaFreeHost(cuda->staging[i]);
        cuda->staging[i] = NULL;
    }
    cuda->staging_bytes = 0;
    for (int i = 0; i < 2; i++) {
        TRY(cuda_check(cudaMallocHost(&cuda->staging[i], bytes), "step"));
    }
    cuda->staging_bytes = bytes;
    return cuda_space_grow(cuda, &cuda->step_space, bytes, "step");
}

static const void *on_device(const struct cuda_backend *cuda, const struct step_array *array)
{
    return (const char *)cuda->step_space.data + array->offset;
}

static void describe_step(struct cuda_backend *cuda, const struct batch *batch,
                          const struct step_array *arrays)
{
    struct cuda_step *step = &cuda->step;
    *step = (struct cuda_step){
        .tokens = batch->tokens,
        .sequences = batch->sequences,
        .outputs = batch->outputs,
        .block_table_stride = batch->block_table_stride,
        .token_ids = on_device(cuda, &arrays[STEP_TOKEN_IDS]),
        .positions = on_device(cuda, &arrays[STEP_POSITIONS]),
        .token_sequence = on_device(cuda, &arrays[STEP_TOKEN_SEQUENCE]),
        .query_start = on_device(cuda, &arrays[STEP_QUERY_START]),
        .context_length = on_device(cuda, &arrays[STEP_CONTEXT_LENGTH]),
        .block_table = on_device(cuda, &arrays[STEP_BLOCK_TABLE]),
        .long_rope = batch->long_rope != NULL ? on_device(cuda, &arrays[STEP_LONG_ROPE]) : NULL,
        .token_types =
            batch->token_types != NULL ? on_device(cuda, &arrays[STEP_TOKEN_TYPES]) : NULL,
        .state_place =
            batch->state_place != NULL ? on_device(cuda, &arrays[STEP_STATE_PLACE]) : NULL,
        .state_from = batch->state_from != NULL ? on_device(cuda, &arrays[STEP_STATE_FROM]) : NULL,
        .output_rows = on_device(cuda, &arrays[STEP_OUTPUT_ROWS]),
    };
    for (int s = 0; s < batch->sequences; s++) {
        const int query = batch->query_start[s + 1] - batch->query_start[s];
        const int context = batch->context_length[s];
        step->longest_query = query > step->longest_query ? query : step->longest_query;
        step->longest_context = context > step->longest_context ? context : step->longest_context;
    }
}

static status step_begin(struct backend *backend, const struct batch *batch)
{
    struct cuda_backend *cuda = cuda_of(backend);
    cuda->batch = NULL;
    cuda->checked = NULL;
    TRY(batch_check(batch, cuda->max_tokens, cuda->max_sequences));
    TRY(batch_check_drawn(batch, cuda->drawn.count));
    struct step_array arrays[STEP_ARRAYS];
    struct cuda_attention_plan plan;
    const size_t bytes = lay_out_step(batch, cuda_attention_plan_size(batch, &plan), arrays);
    TRY(grow_staging(cuda, bytes));

    /* The copy that used this half two steps ago must have ended. */
    const int half = cuda->next_staging;
    cuda->next_staging = 1 - half;
    TRY(cuda_check(cudaEventSynchronize(cuda->staged[half]), "step"));
    char *staging = cuda->staging[half];
    for (int i = 0; i < STEP_ARRAYS; i++) {
        if (arrays[i].from != NULL && arrays[i].bytes > 0) {
            memcpy(staging + arrays[i].offset, arrays[i].from, arrays[i].bytes);
        }
    }
    int32_t *token_sequence = (int32_t *)(void *)(staging + arrays[STEP_TOKEN_SEQUENCE].offset);
    for (int s = 0; s < batch->sequences; s++) {
        for (int token = batch->query_start[s]; token < batch->query_start[s + 1]; token++) {
            token_sequence[token] = s;
        }
    }
    cuda_attention_plan_write(batch, &plan, staging + arrays[STEP_ATTENTION].offset,
                              on_device(cuda, &arrays[STEP_ATTENTION]));
    TRY(cuda_check(cudaMemcpyAsync(cuda->step_space.data, staging, bytes, cudaMemcpyHostToDevice,
                                   cuda->stream),
                   "step"));
    TRY(cuda_check(cudaEventRecord(cuda->staged[half], cuda->stream), "step"));
    TRY(cuda_take_drawn(
        cuda, batch, (int32_t *)((char *)cuda->step_space.data + arrays[STEP_TOKEN_IDS].offset)));
    const cudaEvent_t began = cuda->times.began[++cuda->times.number % 2];
    TRY(cuda_check(cudaEventRecord(began, cuda->stream), "step"));
    describe_step(cuda, batch, arrays);
    cuda->step.attention = plan;
    for (int i = 0; i < CUDA_ROPE_TABLES; i++) {
        cuda->rope[i].facts = NULL;
    }
    cuda->next_rope = 0;
    cuda->batch = batch;
    return STATUS_OK;
}

/* ---- Creation ---- */

static void backend_destroy(struct backend *backend)
{
    struct cuda_backend *cuda = cuda_of(backend);
    if (cuda->stream != NULL) {
        (void)cudaStreamSynchronize(cuda->stream);
    }
    cuda_products_destroy(cuda->products);
    cuda_loader_destroy(cuda->loader);
    for (int i = 0; i < CUDA_ROPE_TABLES; i++) {
        (void)cudaFree(cuda->rope[i].cosine);
        (void)cudaFree(cuda->rope[i].sine);
    }
    struct cuda_space *spaces[] = {&cuda->step_space, &cuda->scratch,  &cuda->attention,
                                   &cuda->experts,    &cuda->sampling, &cuda->widened[0],
                                   &cuda->widened[1]};
    for (size_t i = 0; i < COUNT_OF(spaces); i++) {
        cuda_space_free(spaces[i]);
    }
    cuda_sampling_destroy(cuda);
    for (int i = 0; i < 2; i++) {
        (void)cudaFreeHost(cuda->staging[i]);
        if (cuda->staged[i] != NULL) {
            (void)cudaEventDestroy(cuda->staged[i]);
        }
    }
    if (cuda->stream != NULL) {
        (void)cudaStreamDestroy(cuda->stream);
    }
    free(cuda);
}

static const struct backend_operations operations = {
    .destroy = backend_destroy,
    .device_name = device_name,
    .memory = memory,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_free,
    .upload = upload,
    .download = download,
    .copy = copy,
    .host_address = host_address,
    .synchronize = synchronize,
    .is_idle = is_idle,
    .activation_dtype = activation_dtype,
    .matrix_create = cuda_matrix_create,
    .matrix_takes = cuda_matrix_takes,
    .matrix_write = cuda_matrix_write,
    .matrix_finish = cuda_matrix_finish,
    .matrix_input_scale = cuda_matrix_input_scale,
    .matrix_destroy = cuda_matrix_destroy,
    .matrix_bytes = cuda_matrix_bytes,
    .vector_create = cuda_vector_create,
    .vector_destroy = cuda_vector_destroy,
    .kv_create = cuda_kv_create,
    .kv_destroy = cuda_kv_destroy,
    .kv_block_bytes = cuda_kv_block_bytes,
    .state_bytes = cuda_state_bytes,
    .kv_scale = cuda_kv_scale,
    .step_begin = step_begin,
    .embed = cuda_embed,
    .embed_positions = cuda_embed_positions,
    .embed_types = cuda_embed_types,
    .norm = cuda_norm,
    .add_norm = cuda_add_norm,
    .product = cuda_product,
    .partial_bytes = cuda_partial_bytes,
    .product_sliced = cuda_product_sliced,
    .rope_append = cuda_rope_append,
    .head_squares = cuda_head_squares,
    .head_normalize = cuda_head_normalize,
    .scale_queries = cuda_scale_queries,
    .attention = cuda_attention,
    .short_convolution = cuda_short_convolution,
    .gated_delta = cuda_gated_delta,
    .scan = cuda_scan,
    .group_squares = cuda_group_squares,
    .group_normalize = cuda_group_normalize,
    .gate = cuda_gate,
    .keep_outputs = cuda_keep_outputs,
    .activate = cuda_activate,
    .experts = cuda_experts,
    .logits = cuda_logits,
    .sample = cuda_sample,
    .sample_begin = cuda_sample_begin,
    .sample_is_done = cuda_sample_is_done,
    .sample_end = cuda_sample_end,
};

static status open_device(struct cuda_backend *cuda)
{
    struct cudaDeviceProp properties;
    TRY(cuda_check(cudaSetDevice(cuda->device), "open the GPU"));
    TRY(cuda_check(cudaGetDeviceProperties(&properties, cuda->device), "open the GPU"));
    snprintf(cuda->name, sizeof cuda->name, "%s", properties.name);
    cuda->major = properties.major;
    cuda->minor = properties.minor;
    cuda->multiprocessors = properties.multiProcessorCount;
    if (cuda->major < 8) {
        return status_fail(STATUS_UNSUPPORTED,
                           "%s has compute capability %d.%d; this program runs on 8.0 and later",
                           cuda->name, cuda->major, cuda->minor);
    }
    TRY(cuda_check(cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking), "stream"));
    for (int i = 0; i < 2; i++) {
        TRY(cuda_check(cudaEventCreateWithFlags(&cuda->staged[i], cudaEventDisableTiming),
                       "event"));
    }
    TRY(cuda_sampling_create(cuda));
    return cuda_products_create(cuda, &cuda->products);
}

status cuda_backend_create(const struct backend_options *options, struct backend **out)
{
    *out = NULL;
    if (options->max_tokens < 1 || options->max_sequences < 1) {
        return status_fail(STATUS_INVALID, "CUDA backend for %d tokens, %d sequences",
                           options->max_tokens, options->max_sequences);
    }
    if (options->wide_sums && options->compute != DTYPE_FLOAT32) {
        return status_fail(STATUS_UNSUPPORTED, "wide sums are for float32 activations");
    }
    if (options->compute == DTYPE_FLOAT8_E4M3) {
        return status_fail(STATUS_UNSUPPORTED,
                           "activations in fp8: fp8 is a type of weights and of the KV cache");
    }
    struct cuda_backend *cuda = calloc(1, sizeof *cuda);
    if (cuda == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for the CUDA backend");
    }
    cuda->backend.operations = &operations;
    cuda->device = options->device;
    cuda->activation = options->compute;
    cuda->max_tokens = options->max_tokens;
    cuda->max_sequences = options->max_sequences;
    cuda->wide_sums = options->wide_sums;
    cuda->is_alone = options->is_alone;
    status s = open_device(cuda);
    if (s != STATUS_OK) {
        backend_destroy(&cuda->backend);
        return s;
    }
    *out = &cuda->backend;
    return STATUS_OK;
}
