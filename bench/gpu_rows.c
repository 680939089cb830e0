/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend's kernels on rows with the shape of Llama-3.1-8B (hidden 4096, width 14336, 32
 * query and 8 key/value heads of 128, bfloat16, products in two slices), random data: microseconds
 * a call, GB/s of what has to be read and written once, and the share of the bandwidth of a copy
 * within the device's memory, which is measured first; and a hash of what a call leaves, by which
 * the bits of two versions of a kernel are compared.
 *
 * A call is one of a CUDA graph of many on memory that no call before it has touched for 256 MB, so
 * that the second-level cache holds little of it (at most SETS calls: small ones stay there). Times
 * are CUDA events around the graph, the median of ROUNDS.
 *
 *     bench_gpu_rows [ROWS]
 *
 * ROWS: only that number of them, of those below, for a profiler. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"

enum {
    HIDDEN = 4096,
    WIDTH = 14336,
    QUERY_HEADS = 32,
    KV_HEADS = 8,
    HEAD_DIM = 128,
    QKV = (QUERY_HEADS + 2 * KV_HEADS) * HEAD_DIM,
    SLICES = 2,
    BLOCK_TOKENS = 16,
    MOST_ROWS = 8192,
    SETS = 256,
    ROUNDS = 5,
};

static const size_t apart = (size_t)256 << 20;

enum operation { ACTIVATE, ADD_NORM, ROUND, APPEND };

static const struct {
    const char *name;
    enum operation operation;
    bool fp8;         /* weights: scales pending in what is read, the result rounded */
    int values, out;  /* a row: read in bfloat16, and written */
    double row_bytes; /* read and written once */
} cases[] = {
    {"activation, to fp8", ACTIVATE, true, 2 * WIDTH, WIDTH, WIDTH * 5.0},
    {"activation, to bfloat16", ACTIVATE, false, 2 * WIDTH, WIDTH, WIDTH * 6.0},
    {"add and norm, to fp8", ADD_NORM, true, SLICES *HIDDEN, HIDDEN, HIDDEN * 13.0},
    {"add and norm, to bfloat16", ADD_NORM, false, SLICES *HIDDEN, HIDDEN, HIDDEN * 14.0},
    {"rounding to fp8", ROUND, true, HIDDEN, HIDDEN, HIDDEN * 3.0},
    {"append, scaled, fp8 cache", APPEND, true, QKV, 0, QKV * 4.0 + 2.0 * KV_HEADS *HEAD_DIM},
    {"append, bfloat16 cache", APPEND, false, QKV, 0, /* the values are not written back */
     QKV * 4.0 - 2.0 * KV_HEADS *HEAD_DIM + 4.0 * KV_HEADS *HEAD_DIM},
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_gpu_rows: %s\n", status_message());
        exit(1);
    }
}

static void check_cuda(cudaError_t error)
{
    check(cuda_check(error, "benchmark"));
}

/* What one call works on. */
struct set {
    struct device_buffer *in, *residual, *out;
};

struct bench {
    struct backend *backend;
    const struct backend_operations *op;
    int rows;
    struct matrix *gate_up, *down, *attention_out; /* readers, fp8 */
    struct vector *scales, *weight;
    struct device_buffer *row_scales;
    struct kv_cache *caches[2];
    void *random; /* device */
    size_t random_bytes;
    double bandwidth;
    cudaEvent_t start, end;
};

/* bfloat16 of magnitudes between 2^-2 and 2; pairs of them are float32 of such magnitudes. */
static void random_create(struct bench *bench)
{
    bench->random_bytes = (size_t)64 << 20;
    uint16_t *host = malloc(bench->random_bytes);
    if (host == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "benchmark"));
    }
    uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < bench->random_bytes / 2; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        const uint64_t exponent = 125 + (state >> 20) % 3;
        host[i] = (uint16_t)((state >> 60 & 1) << 15 | exponent << 7 | (state >> 40 & 127));
    }
    check_cuda(cudaMalloc(&bench->random, bench->random_bytes));
    check_cuda(cudaMemcpy(bench->random, host, bench->random_bytes, cudaMemcpyHostToDevice));
    free(host);
}

static struct device_buffer *new_buffer(struct bench *bench, size_t bytes, size_t number)
{
    struct device_buffer *buffer;
    check(bench->op->buffer_create(bench->backend, bytes, &buffer));
    check(bench->op->synchronize(bench->backend)); /* its zeros come by another stream */
    for (size_t at = 0; at < bytes;) { /* each buffer begins elsewhere in the random values */
        const size_t from = at > 0 ? 0 : number * 4099 * 4096 % bench->random_bytes;
        const size_t rest = bytes - at, most = bench->random_bytes - from;
        const size_t here = rest < most ? rest : most;
        check_cuda(cudaMemcpy((char *)buffer->data + at, (char *)bench->random + from, here,
                              cudaMemcpyDeviceToDevice));
        at += here;
    }
    return buffer;
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Bytes a second, read and written, of a copy. */
static double copy_bandwidth(struct bench *bench)
{
    const size_t bytes = (size_t)1 << 30;
    void *from, *to;
    float times[ROUNDS];
    check_cuda(cudaMalloc(&from, bytes));
    check_cuda(cudaMalloc(&to, bytes));
    for (size_t at = 0; at < bytes; at += bench->random_bytes) {
        check_cuda(cudaMemcpy((char *)from + at, bench->random, bench->random_bytes,
                              cudaMemcpyDeviceToDevice));
    }
    for (int round = -1; round < ROUNDS; round++) {
        check_cuda(cudaEventRecord(bench->start, NULL));
        for (int i = 0; i < 4; i++) {
            check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, NULL));
        }
        check_cuda(cudaEventRecord(bench->end, NULL));
        check_cuda(cudaEventSynchronize(bench->end));
        check_cuda(cudaEventElapsedTime(&times[round < 0 ? 0 : round], bench->start, bench->end));
    }
    check_cuda(cudaFree(from));
    check_cuda(cudaFree(to));
    qsort(times, ROUNDS, sizeof times[0], compare_floats);
    return 4 * 2.0 * (double)bytes / ((double)times[ROUNDS / 2] * 1e-3);
}

static struct matrix *new_reader(struct bench *bench, int columns, int slices)
{
    struct matrix *matrix;
    int32_t start[MAX_SLICES + 1] = {0};
    for (int i = 1; i <= slices; i++) {
        start[i] = columns / slices * i;
    }
    check(bench->op->matrix_create(bench->backend, 1, 1, columns, slices > 0 ? start : NULL, slices,
                                   WEIGHT_FP8, &matrix));
    return matrix;
}

/* A step of `rows` sequences of one token each. */
static void begin_step(struct bench *bench)
{
    static int32_t ids[MOST_ROWS], positions[MOST_ROWS], start[MOST_ROWS + 1], context[MOST_ROWS];
    static int32_t blocks[MOST_ROWS];
    static struct batch batch;
    for (int i = 0; i < bench->rows; i++) {
        positions[i] = i % BLOCK_TOKENS;
        context[i] = positions[i] + 1;
        start[i + 1] = i + 1;
        blocks[i] = i;
    }
    batch = (struct batch){.tokens = bench->rows,
                           .sequences = bench->rows,
                           .token_ids = ids,
                           .positions = positions,
                           .query_start = start,
                           .context_length = context,
                           .block_table = blocks,
                           .block_table_stride = 1};
    check(bench->op->step_begin(bench->backend, &batch));
}

static void backend_open(struct bench *bench, int rows)
{
    const struct backend_options options = {
        .compute = DTYPE_BFLOAT16, .max_tokens = rows, .max_sequences = rows};
    check(backend_create("cuda", &options, &bench->backend));
    bench->op = bench->backend->operations;
    bench->rows = rows;
    bench->gate_up = new_reader(bench, HIDDEN, 0);
    bench->down = new_reader(bench, WIDTH, SLICES);
    bench->attention_out = new_reader(bench, HIDDEN, SLICES);
    static float vector[2 * WIDTH];
    for (int i = 0; i < 2 * WIDTH; i++) {
        vector[i] = 0.5f + (float)(i % 17) / 16.0f;
    }
    check(bench->op->vector_create(bench->backend, 2 * WIDTH, vector, &bench->scales));
    check(bench->op->vector_create(bench->backend, HIDDEN, vector, &bench->weight));
    bench->row_scales = new_buffer(bench, (size_t)rows * sizeof(float), 0);
    for (int i = 0; i < 2; i++) {
        const struct cache_store store = {STORE_KEYS_VALUES, KV_HEADS, HEAD_DIM, 0};
        const struct cache_layout layout = {.layers = 1,
                                            .stores = &store,
                                            .block_tokens = BLOCK_TOKENS,
                                            .dtype = i == 1 ? DTYPE_FLOAT8_E4M3 : DTYPE_BFLOAT16};
        check(bench->op->kv_create(bench->backend, &layout, rows, &bench->caches[i]));
    }
    begin_step(bench);
}

static void backend_close(struct bench *bench)
{
    bench->op->buffer_destroy(bench->backend, bench->row_scales);
    bench->op->vector_destroy(bench->backend, bench->scales);
    bench->op->vector_destroy(bench->backend, bench->weight);
    bench->op->matrix_destroy(bench->backend, bench->gate_up);
    bench->op->matrix_destroy(bench->backend, bench->down);
    bench->op->matrix_destroy(bench->backend, bench->attention_out);
    for (int i = 0; i < 2; i++) {
        bench->op->kv_destroy(bench->backend, bench->caches[i]);
    }
    bench->op->destroy(bench->backend);
}

static struct cuda_partials partials_of(const struct bench *bench, bool scaled)
{
    struct cuda_partials partials = {.slices = SLICES, .scaled = scaled};
    partials.scales_offset = (size_t)SLICES * (size_t)bench->rows * HIDDEN * 2;
    partials.block_bytes =
        partials.scales_offset + (size_t)SLICES * ((size_t)bench->rows + HIDDEN) * sizeof(float);
    return partials;
}

static const struct head_layout *heads(void)
{
    static int32_t map[QUERY_HEADS];
    static const struct head_layout layout = {QUERY_HEADS, KV_HEADS, HEAD_DIM, map};
    for (int h = 0; h < QUERY_HEADS; h++) {
        map[h] = h / (QUERY_HEADS / KV_HEADS);
    }
    return &layout;
}

static void call(struct bench *bench, size_t c, struct set *set)
{
    static float frequencies[HEAD_DIM / 2];
    static const struct rope_facts rope = {
        .dimensions = HEAD_DIM, .inverse_frequency = frequencies, .magnitude = 1.0f};
    static const struct norm_facts norm = {.epsilon = 1e-5f};
    struct cuda_backend *cuda = cuda_of(bench->backend);
    const struct backend_operations *op = bench->op;
    const bool fp8 = cases[c].fp8;
    for (int i = 0; i < HEAD_DIM / 2; i++) {
        frequencies[i] = 1.0f / (float)(1 + i);
    }
    set->in->pending = (struct cuda_pending){fp8 ? bench->row_scales->data : NULL,
                                             fp8 ? bench->scales->data : NULL, NULL};
    switch (cases[c].operation) {
    case ACTIVATE:
        check(op->activate(bench->backend, ACTIVATION_SILU, true, WIDTH, set->in,
                           fp8 ? bench->down : NULL, set->out));
        return;
    case ADD_NORM:
        cuda->partials = partials_of(bench, fp8);
        check(op->add_norm(bench->backend, &norm, set->in, 1, NULL, 0.01f, NULL, set->residual,
                           HIDDEN, bench->weight, NULL, fp8 ? bench->gate_up : NULL, set->out));
        return;
    case ROUND:
        set->in->packed.valid = false;
        check(cuda_pack(cuda, bench->attention_out, set->in, bench->rows));
        return;
    case APPEND:
        check(op->rope_append(bench->backend, heads(), &rope, NULL, NULL, NULL, set->in,
                              bench->caches[fp8], 0));
        return;
    }
}

static uint64_t hash_device(uint64_t hash, const void *from, size_t bytes)
{
    void *host = malloc(bytes);
    if (host == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "benchmark"));
    }
    check_cuda(cudaMemcpy(host, from, bytes, cudaMemcpyDeviceToHost));
    hash = hash_bytes(host, bytes, hash);
    free(host);
    return hash;
}

/* A hash of what a call leaves. */
static uint64_t hash_call(struct bench *bench, size_t c, struct set *set)
{
    const size_t rows = (size_t)bench->rows;
    call(bench, c, set);
    check(bench->op->synchronize(bench->backend));
    if (cases[c].operation == APPEND) {
        const struct kv_cache *cache = bench->caches[cases[c].fp8];
        const size_t bytes = rows * BLOCK_TOKENS * KV_HEADS * HEAD_DIM * dtype_bytes(cache->dtype);
        return hash_device(
            hash_device(hash_device(0, set->in->data, rows * QKV * 2), cache->keys, bytes),
            cache->values, bytes);
    }
    const struct device_buffer *out = cases[c].operation == ROUND ? set->in : set->out;
    uint64_t hash = cases[c].operation == ADD_NORM
                        ? hash_device(0, set->residual->data, rows * HIDDEN * sizeof(float))
                        : 0;
    if (!out->packed.valid) {
        return hash_device(hash, out->data, rows * (size_t)cases[c].out * 2);
    }
    const struct cuda_packed *packed = &out->packed;
    hash = hash_device(hash, packed->data, (size_t)packed->slices * rows * (size_t)packed->padded);
    for (int i = 0; i < packed->slices; i++) {
        hash = hash_device(hash, packed->scale + (size_t)i * (size_t)packed->scale_stride,
                           rows * sizeof(float));
    }
    return hash;
}

static void set_create(struct bench *bench, size_t c, size_t number, struct set *set)
{
    const size_t rows = (size_t)bench->rows;
    const size_t bytes = cases[c].operation == ADD_NORM ? partials_of(bench, true).block_bytes
                                                        : rows * (size_t)cases[c].values * 2;
    *set = (struct set){.in = new_buffer(bench, bytes, 3 * number)};
    set->residual =
        new_buffer(bench, cases[c].operation == ADD_NORM ? rows * HIDDEN * 4 : 4, 3 * number + 1);
    set->out = new_buffer(bench, rows * (size_t)cases[c].out * 2 + 4, 3 * number + 2);
}

/* Seconds of a call. */
static double measure(struct bench *bench, size_t c, struct set *sets, size_t count)
{
    cudaStream_t stream = cuda_of(bench->backend)->stream;
    const size_t calls = count < 16 ? 16 / count * count : count;
    float times[ROUNDS];
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    for (size_t i = 0; i < count; i++) {
        call(bench, c, &sets[i]);
    }
    check(bench->op->synchronize(bench->backend));
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (size_t i = 0; i < calls; i++) {
        call(bench, c, &sets[i % count]);
    }
    check_cuda(cudaStreamEndCapture(stream, &graph));
    check_cuda(cudaGraphInstantiate(&ready, graph, 0));
    check_cuda(cudaGraphLaunch(ready, stream));
    for (int round = 0; round < ROUNDS; round++) {
        check_cuda(cudaEventRecord(bench->start, stream));
        check_cuda(cudaGraphLaunch(ready, stream));
        check_cuda(cudaEventRecord(bench->end, stream));
        check_cuda(cudaEventSynchronize(bench->end));
        check_cuda(cudaEventElapsedTime(&times[round], bench->start, bench->end));
    }
    check_cuda(cudaGraphExecDestroy(ready));
    check_cuda(cudaGraphDestroy(graph));
    qsort(times, ROUNDS, sizeof times[0], compare_floats);
    return (double)times[ROUNDS / 2] * 1e-3 / (double)calls;
}

static void run(struct bench *bench, size_t c)
{
    static struct set sets[SETS];
    const double bytes = cases[c].row_bytes * bench->rows;
    const size_t wanted = (size_t)((double)apart / bytes) + 1;
    const size_t count = wanted < SETS ? wanted : SETS;
    for (size_t i = 0; i < count; i++) {
        set_create(bench, c, i, &sets[i]);
    }
    check_cuda(cudaDeviceSynchronize()); /* the sets' copies, before a stream that waits for none */
    const uint64_t hash = hash_call(bench, c, &sets[0]);
    const double seconds = measure(bench, c, sets, count);
    printf("%-26s %5d rows %9.1f us, floor %7.1f us, %7.0f GB/s (%.0f%%), bits %016" PRIx64 "\n",
           cases[c].name, bench->rows, 1e6 * seconds, 1e6 * bytes / bench->bandwidth,
           1e-9 * bytes / seconds, 100.0 * bytes / bench->bandwidth / seconds, hash);
    fflush(stdout);
    for (size_t i = 0; i < count; i++) {
        bench->op->buffer_destroy(bench->backend, sets[i].in);
        bench->op->buffer_destroy(bench->backend, sets[i].residual);
        bench->op->buffer_destroy(bench->backend, sets[i].out);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench;
    static const int rows[] = {16, 256, 1024, 2048, MOST_ROWS};
    check_cuda(cudaEventCreate(&bench.start));
    check_cuda(cudaEventCreate(&bench.end));
    random_create(&bench);
    bench.bandwidth = copy_bandwidth(&bench);
    bool named = false;
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        if (argc > 1 && atoi(argv[1]) != rows[r]) {
            continue;
        }
        backend_open(&bench, rows[r]);
        if (!named) {
            printf("%s; a copy reads and writes %.0f GB/s\n", bench.op->device_name(bench.backend),
                   1e-9 * bench.bandwidth);
            named = true;
        }
        for (size_t c = 0; c < COUNT_OF(cases); c++) {
            run(&bench, c);
        }
        backend_close(&bench);
    }
    check_cuda(cudaFree(bench.random));
    check_cuda(cudaEventDestroy(bench.start));
    check_cuda(cudaEventDestroy(bench.end));
    return 0;
}
