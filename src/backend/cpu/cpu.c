/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU backend: creation, buffers, the step, and the table of its operations. */
#include "backend/cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/batch.h"
#include "backend/cpu/sample.h"

/* Below this many multiply-adds waking the other threads costs more than they bring. */
static const double WORK_PER_THREAD = 50e3;

/* Whether the environment asks for no more than the kernels that every processor has. */
static bool baseline_asked_for(void)
{
    const char *wanted = getenv("SLUICE_CPU_KERNELS");
    return wanted != NULL && strcmp(wanted, "baseline") == 0;
}

const struct cpu_kernels *cpu_kernels_best(void)
{
    if (baseline_asked_for()) {
        return &cpu_kernels_baseline;
    }
#ifdef SLUICE_CPU_X86_KERNELS
    __builtin_cpu_init();
    /* What of x86-64-v3 and v4 the compiler may use; no processor has these without the rest. */
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
        return &cpu_kernels_v4;
    }
    if (v3) {
        return &cpu_kernels_v3;
    }
#endif
    return &cpu_kernels_baseline;
}

const char *cpu_arithmetic(void)
{
    return cpu_kernels_best() != &cpu_kernels_baseline ? "processors with fused multiply-add"
                                                       : "processors without fused multiply-add";
}

float *cpu_floats(const struct device_buffer *buffer, int rows, int width)
{
    if ((uint64_t)rows * (uint64_t)width > buffer->region.bytes / sizeof(float)) {
        (void)status_fail(STATUS_INTERNAL, "buffer of %zu bytes: %d rows of %d do not fit",
                          buffer->region.bytes, rows, width);
        return NULL;
    }
    return buffer->region.data;
}

int cpu_threads_for(const struct cpu_backend *cpu, double work)
{
    const double wanted = work / WORK_PER_THREAD;
    return wanted >= cpu->threads ? cpu->threads : wanted > 1.0 ? (int)wanted : 1;
}

static void backend_destroy(struct backend *backend)
{
    struct cpu_backend *cpu = cpu_of(backend);
    for (int i = 0; i < ROPE_TABLES; i++) {
        cpu_region_destroy(&cpu->rope[i].region);
    }
    cpu_region_destroy(&cpu->gathered);
    cpu_region_destroy(&cpu->rounded);
    cpu_region_destroy(&cpu->partials);
    cpu_region_destroy(&cpu->attention);
    cpu_region_destroy(&cpu->experts);
    free(cpu->token_sequence);
    free(cpu->drawn);
    free(cpu);
}

static const char *device_name(struct backend *backend)
{
    return cpu_of(backend)->name;
}

static status memory(struct backend *backend, int64_t *total_bytes, int64_t *free_bytes)
{
    (void)backend;
    return cpu_host_memory(total_bytes, free_bytes);
}

/* ---- Buffers ---- */

static status buffer_create(struct backend *backend, size_t bytes, struct device_buffer **out)
{
    (void)backend;
    *out = NULL;
    struct device_buffer *buffer = calloc(1, sizeof *buffer);
    if (buffer == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a buffer");
    }
    status s = cpu_region_create(&buffer->region, bytes, "buffer");
    if (s != STATUS_OK) {
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
        cpu_region_destroy(&buffer->region);
        free(buffer);
    }
}

static status check_range(const struct device_buffer *buffer, size_t offset, size_t bytes)
{
    return offset <= buffer->region.bytes && bytes <= buffer->region.bytes - offset
               ? STATUS_OK
               : status_fail(STATUS_INTERNAL, "buffer of %zu bytes: %zu from %zu do not fit",
                             buffer->region.bytes, bytes, offset);
}

static status upload(struct backend *backend, struct device_buffer *to, size_t offset,
                     const void *from, size_t bytes)
{
    (void)backend;
    TRY(check_range(to, offset, bytes));
    if (bytes > 0) {
        memcpy((char *)to->region.data + offset, from, bytes);
    }
    return STATUS_OK;
}

static status download(struct backend *backend, const struct device_buffer *from, size_t offset,
                       void *to, size_t bytes)
{
    (void)backend;
    TRY(check_range(from, offset, bytes));
    if (bytes > 0) {
        memcpy(to, (const char *)from->region.data + offset, bytes);
    }
    return STATUS_OK;
}

static status copy(struct backend *backend, const struct device_buffer *from,
                   struct device_buffer *to, size_t bytes)
{
    TRY(check_range(from, 0, bytes));
    TRY(check_range(to, 0, bytes));
    const int threads = cpu_threads_for(cpu_of(backend), (double)bytes);
#pragma omp parallel for num_threads(threads)
    for (int i = 0; i < threads; i++) {
        const size_t first = bytes / (size_t)threads * (size_t)i;
        const size_t end = i + 1 < threads ? bytes / (size_t)threads * (size_t)(i + 1) : bytes;
        memcpy((char *)to->region.data + first, (const char *)from->region.data + first,
               end - first);
    }
    return STATUS_OK;
}

static void *host_address(struct backend *backend, struct device_buffer *buffer)
{
    (void)backend;
    return buffer->region.data;
}

static status synchronize(struct backend *backend)
{
    (void)backend; /* every operation is done when it returns */
    return STATUS_OK;
}

static bool is_idle(struct backend *backend)
{
    (void)backend;
    return true;
}

static enum dtype activation_dtype(struct backend *backend)
{
    (void)backend;
    return DTYPE_FLOAT32;
}

static size_t partial_bytes(struct backend *backend, const struct matrix *matrix, int tokens)
{
    (void)backend;
    (void)matrix;
    (void)tokens;
    return 0; /* sums in float32 */
}

/* ---- The step ---- */

static status step_begin(struct backend *backend, const struct batch *batch)
{
    struct cpu_backend *cpu = cpu_of(backend);
    cpu->batch = NULL;
    cpu->checked = NULL;
    cpu->next_rope = 0;
    for (int i = 0; i < ROPE_TABLES; i++) {
        cpu->rope[i].facts = NULL;
    }
    TRY(batch_check(batch, cpu->max_tokens, cpu->max_sequences));
    TRY(batch_check_drawn(batch, cpu->drawn_count));
    for (int s = 0; s < batch->sequences; s++) {
        for (int token = batch->query_start[s]; token < batch->query_start[s + 1]; token++) {
            cpu->token_sequence[token] = s;
        }
    }
    for (int token = 0; token < batch->tokens; token++) {
        const int32_t id = batch->token_ids[token];
        cpu->token_ids[token] = id < 0 ? cpu->drawn[batch_drawn(id)].token : id;
    }
    cpu->batch = batch;
    cpu->rows = batch->tokens;
    return STATUS_OK;
}

static status sample(struct backend *backend, struct device_buffer *logits, int count,
                     int vocabulary, const struct sample_request *requests,
                     struct sample_result *results)
{
    (void)backend;
    float *rows = cpu_floats(logits, count, vocabulary);
    return rows != NULL ? cpu_sample(rows, count, vocabulary, requests, results) : STATUS_INTERNAL;
}

static status sample_begin(struct backend *backend, struct device_buffer *logits, int count,
                           int vocabulary, const struct sample_request *requests)
{
    struct cpu_backend *cpu = cpu_of(backend);
    cpu->drawn_count = 0;
    if (count > cpu->max_sequences) {
        return status_fail(STATUS_INTERNAL, "sampling: %d rows; made for %d", count,
                           cpu->max_sequences);
    }
    TRY(count > 0 ? sample(backend, logits, count, vocabulary, requests, cpu->drawn) : STATUS_OK);
    cpu->drawn_count = count;
    return STATUS_OK;
}

static bool sample_is_done(struct backend *backend)
{
    (void)backend;
    return true;
}

static status sample_end(struct backend *backend, struct sample_result *results, double *gap)
{
    const struct cpu_backend *cpu = cpu_of(backend);
    memcpy(results, cpu->drawn, (size_t)cpu->drawn_count * sizeof *results);
    *gap = 0;
    return STATUS_OK;
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
    .matrix_create = cpu_matrix_create,
    .matrix_takes = cpu_matrix_takes,
    .matrix_write = cpu_matrix_write,
    .matrix_finish = cpu_matrix_finish,
    .matrix_input_scale = cpu_matrix_input_scale,
    .matrix_destroy = cpu_matrix_destroy,
    .matrix_bytes = cpu_matrix_bytes,
    .vector_create = cpu_vector_create,
    .vector_destroy = cpu_vector_destroy,
    .kv_create = cpu_kv_create,
    .kv_destroy = cpu_kv_destroy,
    .kv_block_bytes = cpu_kv_block_bytes,
    .state_bytes = cpu_state_bytes,
    .kv_scale = cpu_kv_scale,
    .step_begin = step_begin,
    .embed = cpu_embed,
    .embed_positions = cpu_embed_positions,
    .embed_types = cpu_embed_types,
    .attends_near = true,
    .norm = cpu_norm,
    .add_norm = cpu_add_norm,
    .product = cpu_product,
    .partial_bytes = partial_bytes,
    .product_sliced = cpu_product_sliced,
    .rope_append = cpu_rope_append,
    .head_squares = cpu_head_squares,
    .head_normalize = cpu_head_normalize,
    .scale_queries = cpu_scale_queries,
    .attention = cpu_attention,
    .latent_append = cpu_latent_append,
    .latent_queries = cpu_latent_queries,
    .latent_attention = cpu_latent_attention,
    .short_convolution = cpu_short_convolution,
    .gated_delta = cpu_gated_delta,
    .scan = cpu_scan,
    .group_squares = cpu_group_squares,
    .group_normalize = cpu_group_normalize,
    .scale = cpu_scale,
    .gate = cpu_gate,
    .keep_outputs = cpu_keep_outputs,
    .activate = cpu_activate,
    .experts = cpu_experts,
    .logits = cpu_logits,
    .sample = sample,
    .sample_begin = sample_begin,
    .sample_is_done = sample_is_done,
    .sample_end = sample_end,
};

status cpu_backend_create_with(const struct cpu_kernels *kernels,
                               const struct backend_options *options, struct backend **out)
{
    *out = NULL;
    if (options->compute == DTYPE_FLOAT8_E4M3) {
        return status_fail(STATUS_UNSUPPORTED, "activations in fp8: use float32, bfloat16 or "
                                               "float16 with weights in fp8");
    }
    if (options->max_tokens < 1 || options->max_sequences < 1 || options->threads < 0) {
        return status_fail(STATUS_INVALID, "CPU backend for %d tokens, %d sequences, %d threads",
                           options->max_tokens, options->max_sequences, options->threads);
    }
    struct cpu_backend *cpu = calloc(1, sizeof *cpu);
    int32_t *tokens = calloc(2 * (size_t)options->max_tokens, sizeof *tokens);
    struct sample_result *drawn = calloc((size_t)options->max_sequences, sizeof *drawn);
    if (cpu == NULL || tokens == NULL || drawn == NULL) {
        free(cpu);
        free(tokens);
        free(drawn);
        return status_fail(STATUS_NO_MEMORY, "out of memory for the CPU backend");
    }
    cpu->backend.operations = &operations;
    cpu->kernels = kernels;
    cpu->activation = options->compute;
    cpu->threads = options->threads > 0 ? options->threads : cpu_host_threads();
    cpu->max_tokens = options->max_tokens;
    cpu->max_sequences = options->max_sequences;
    cpu->token_sequence = tokens;
    cpu->token_ids = tokens + options->max_tokens;
    cpu->drawn = drawn;
    char host[96];
    cpu_host_name(host, sizeof host);
    snprintf(cpu->name, sizeof cpu->name, "%s, %d thread%s, %s", host, cpu->threads,
             cpu->threads == 1 ? "" : "s", kernels->name);
    *out = &cpu->backend;
    return STATUS_OK;
}

status cpu_backend_create(const struct backend_options *options, struct backend **out)
{
    return cpu_backend_create_with(cpu_kernels_best(), options, out);
}
