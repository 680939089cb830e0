/* SPDX-License-Identifier: Apache-2.0 */
/* Attention and the append of the CUDA backend, one layer of 32 query and 8 key/value heads of 128,
 * blocks of 16 scattered over the cache, random data: decode steps in TB/s of keys and values read,
 * causal prefill in TFLOP/s, each beside its floor; and a hash of the result, by which the bits of
 * two versions of a kernel are compared. Times are CUDA events around CALLS calls in a row, the
 * median of ROUNDS.
 *
 *     bench_gpu_attention [TB/s of the memory] [TFLOP/s of products in 16 bits] [SHAPE]
 *
 * SHAPE: only shapes named so ("64 x 128"), for a profiler. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/cuda.h"

enum {
    QUERY_HEADS = 32,
    KV_HEADS = 8,
    HEAD_DIM = 128,
    WIDTH = (QUERY_HEADS + 2 * KV_HEADS) * HEAD_DIM,
    BLOCK_TOKENS = 16,
    MOST_TOKENS = 32768,
    MOST_SEQUENCES = 4096,
    CALLS = 10,
    ROUNDS = 5,
};

static const struct shape {
    int sequences, context, query;
} shapes[] = {
    {4096, 192, 1}, {2048, 192, 1},  {1024, 256, 1},    {256, 256, 1},   {64, 1024, 1},
    {512, 1024, 1}, {1024, 1152, 1}, {256, 2048, 1},    {512, 4096, 1},  {64, 8192, 1},
    {16, 32000, 1}, {1, 32000, 1},   {1, 32768, 32768}, {1, 8192, 8192}, {4, 2048, 2048},
    {16, 512, 512}, {64, 128, 128},  {8, 4096, 256},
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_gpu_attention: %s\n", status_message());
        exit(1);
    }
}

static void check_cuda(cudaError_t error)
{
    check(cuda_check(error, "benchmark"));
}

struct bench {
    struct backend *backend;
    const struct backend_operations *op;
    struct device_buffer *qkv, *out;
    struct kv_cache *cache;
    cudaEvent_t start, end;
    int32_t *positions, *ids, *query_start, *context, *table;
    double memory, products; /* bytes and operations a second */
};

static int blocks_of(const struct shape *shape)
{
    return (shape->context + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
}

/* Bell-like values of deviation 1, in the type. */
static void fill(void *to, size_t count, enum dtype dtype)
{
    static uint64_t state = 88172645463325252u;
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        float value = 0;
        for (int k = 0; k < 4; k++) {
            value += (float)(state >> (16 * k) & 0xffff) / 65536.0f - 0.5f;
        }
        value *= 1.7320508f;
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        if (dtype == DTYPE_BFLOAT16) {
            ((uint16_t *)to)[i] = (uint16_t)(bits >> 16);
        } else { /* e4m3 of a magnitude from 2^-6 up, cut off */
            const int exponent = (int)(bits >> 23 & 255) - 127 + 7;
            ((uint8_t *)to)[i] =
                exponent < 1
                    ? 0
                    : (uint8_t)((bits >> 31) << 7 | (uint32_t)exponent << 3 | (bits >> 20 & 7));
        }
    }
}

/* Random bytes of `from`, over and over. */
static void spread(void *to, size_t bytes, const void *from, size_t from_bytes)
{
    for (size_t at = 0; at < bytes; at += from_bytes) {
        const size_t here = bytes - at < from_bytes ? bytes - at : from_bytes;
        check_cuda(cudaMemcpy((char *)to + at, from, here, cudaMemcpyHostToDevice));
    }
}

static void *new_memory(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "benchmark"));
    }
    return memory;
}

static void bench_create(struct bench *bench)
{
    const struct backend_options options = {
        .compute = DTYPE_BFLOAT16, .max_tokens = MOST_TOKENS, .max_sequences = MOST_SEQUENCES};
    check(backend_create("cuda", &options, &bench->backend));
    bench->op = bench->backend->operations;
    const size_t values = (size_t)MOST_TOKENS * WIDTH;
    check(bench->op->buffer_create(bench->backend, values * 2, &bench->qkv));
    check(bench->op->buffer_create(bench->backend, values * 2, &bench->out));
    const size_t some = (size_t)4 << 20;
    void *random = new_memory(some * 2);
    fill(random, some, DTYPE_BFLOAT16);
    spread(bench->qkv->data, values * 2, random, some * 2);
    free(random);
    check_cuda(cudaEventCreate(&bench->start));
    check_cuda(cudaEventCreate(&bench->end));
    bench->positions = new_memory(MOST_TOKENS * sizeof(int32_t));
    bench->ids = calloc(MOST_TOKENS, sizeof(int32_t));
    bench->query_start = new_memory((MOST_SEQUENCES + 1) * sizeof(int32_t));
    bench->context = new_memory(MOST_SEQUENCES * sizeof(int32_t));
}

static void cache_create(struct bench *bench, enum dtype dtype)
{
    size_t blocks = 0;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        const size_t here = (size_t)shapes[i].sequences * (size_t)blocks_of(&shapes[i]);
        blocks = here > blocks ? here : blocks;
    }
    const struct cache_store store = {STORE_KEYS_VALUES, KV_HEADS, HEAD_DIM, 0};
    const struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = BLOCK_TOKENS, .dtype = dtype};
    check(bench->op->kv_create(bench->backend, &layout, (int)blocks, &bench->cache));
    const size_t some = (size_t)16 << 20, bytes = some * dtype_bytes(dtype);
    const size_t whole = blocks * BLOCK_TOKENS * KV_HEADS * HEAD_DIM * dtype_bytes(dtype);
    void *random = new_memory(bytes);
    fill(random, some, dtype);
    spread(bench->cache->keys, whole, random, bytes);
    spread(bench->cache->values, whole, random, bytes);
    free(random);
    bench->table = new_memory(blocks * sizeof(int32_t));
}

/* Sequences' blocks in a random order over all that they take together. */
static struct batch describe(struct bench *bench, const struct shape *shape)
{
    const int blocks = blocks_of(shape), count = blocks * shape->sequences;
    for (int i = 0; i < count; i++) {
        bench->table[i] = i;
    }
    uint64_t state = 1;
    for (int i = count - 1; i > 0; i--) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const int other = (int)((state >> 33) % (uint64_t)(i + 1));
        const int32_t kept = bench->table[i];
        bench->table[i] = bench->table[other];
        bench->table[other] = kept;
    }
    for (int s = 0; s < shape->sequences; s++) {
        bench->query_start[s] = s * shape->query;
        bench->context[s] = shape->context;
        for (int i = 0; i < shape->query; i++) {
            bench->positions[s * shape->query + i] = shape->context - shape->query + i;
        }
    }
    bench->query_start[shape->sequences] = shape->sequences * shape->query;
    return (struct batch){.tokens = shape->sequences * shape->query,
                          .sequences = shape->sequences,
                          .token_ids = bench->ids,
                          .positions = bench->positions,
                          .query_start = bench->query_start,
                          .context_length = bench->context,
                          .block_table = bench->table,
                          .block_table_stride = blocks};
}

static int compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static const struct head_layout *heads(void)
{
    static int32_t map[QUERY_HEADS];
    static struct head_layout layout = {QUERY_HEADS, KV_HEADS, HEAD_DIM, map};
    for (int h = 0; h < QUERY_HEADS; h++) {
        map[h] = h / (QUERY_HEADS / KV_HEADS);
    }
    return &layout;
}

static void call(struct bench *bench, bool append)
{
    static float frequencies[HEAD_DIM / 2];
    static const struct rope_facts rope = {
        .dimensions = HEAD_DIM, .inverse_frequency = frequencies, .magnitude = 1.0f};
    for (int i = 0; i < HEAD_DIM / 2; i++) {
        frequencies[i] = 1.0f / (float)(1 + i);
    }
    static const struct attention_facts facts = {.scale = 0.08838834764831845f};
    if (append) {
        check(bench->op->rope_append(bench->backend, heads(), &rope, NULL, NULL, NULL, bench->qkv,
                                     bench->cache, 0));
    } else {
        check(bench->op->attention(bench->backend, heads(), &facts, bench->qkv, bench->cache, 0,
                                   NULL, bench->out));
    }
}

/* Seconds of a call. */
static double measure(struct bench *bench, bool append)
{
    float times[ROUNDS];
    cudaStream_t stream = cuda_of(bench->backend)->stream;
    call(bench, append);
    for (int round = 0; round < ROUNDS; round++) {
        check_cuda(cudaEventRecord(bench->start, stream));
        for (int i = 0; i < CALLS; i++) {
            call(bench, append);
        }
        check_cuda(cudaEventRecord(bench->end, stream));
        check_cuda(cudaEventSynchronize(bench->end));
        check_cuda(cudaEventElapsedTime(&times[round], bench->start, bench->end));
    }
    qsort(times, ROUNDS, sizeof times[0], compare_floats);
    return (double)times[ROUNDS / 2] * 1e-3 / CALLS;
}

static uint64_t hash_result(const struct bench *bench, int tokens)
{
    const size_t bytes = (size_t)tokens * QUERY_HEADS * HEAD_DIM * 2;
    void *host = new_memory(bytes);
    check_cuda(cudaMemcpy(host, bench->out->data, bytes, cudaMemcpyDeviceToHost));
    const uint64_t hash = hash_bytes(host, bytes, 0);
    free(host);
    return hash;
}

static void name_shape(const struct shape *shape, char *name, size_t size)
{
    if (shape->query > 1 && shape->query < shape->context) {
        snprintf(name, size, "%d x %d of %d", shape->sequences, shape->query, shape->context);
    } else {
        snprintf(name, size, "%d x %d", shape->sequences, shape->context);
    }
}

static void run(struct bench *bench, const struct shape *shape)
{
    const struct batch batch = describe(bench, shape);
    check(bench->op->step_begin(bench->backend, &batch));
    const double kv_bytes = (double)dtype_bytes(bench->cache->dtype);
    const double append = measure(bench, true), seconds = measure(bench, false);
    /* q and k read and written, v read, k and v written to the cache */
    const double append_floor = (double)batch.tokens * HEAD_DIM *
                                (2.0 * (2 * QUERY_HEADS + 3 * KV_HEADS) + kv_bytes * 2 * KV_HEADS) /
                                bench->memory;
    const double bytes =
        (double)shape->sequences * shape->context * KV_HEADS * HEAD_DIM * 2 * kv_bytes;
    const double query = shape->query, before = (double)shape->context - query;
    const double operations = 4.0 * HEAD_DIM * QUERY_HEADS * (double)shape->sequences *
                              (query * before + query * (query + 1) / 2);
    const double floor = shape->query == 1 ? bytes / bench->memory : operations / bench->products;
    char name[64];
    name_shape(shape, name, sizeof name);
    printf("%-7s %-16s %9.1f us, floor %9.1f us, ", shape->query == 1 ? "decode" : "prefill", name,
           1e6 * seconds, 1e6 * floor);
    if (shape->query == 1) {
        printf("%6.2f TB/s", bytes / seconds * 1e-12);
    } else {
        printf("%6.1f TFLOP/s", operations / seconds * 1e-12);
    }
    printf(" (%.0f%%); append %7.1f us, floor %7.1f us; bits %016" PRIx64 "\n",
           100.0 * floor / seconds, 1e6 * append, 1e6 * append_floor,
           hash_result(bench, batch.tokens));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bench.memory = 1e12 * (argc > 1 ? atof(argv[1]) : 3.0);
    bench.products = 1e12 * (argc > 2 ? atof(argv[2]) : 710.0);
    if (!(bench.memory > 0 && bench.products > 0)) {
        fprintf(stderr, "bench_gpu_attention: [TB/s] [TFLOP/s], more than 0, [SHAPE]\n");
        return 2;
    }
    bench_create(&bench);
    printf("%s; floors at %.1f TB/s and %.0f TFLOP/s\n", bench.op->device_name(bench.backend),
           1e-12 * bench.memory, 1e-12 * bench.products);
    static const enum dtype caches[] = {DTYPE_BFLOAT16, DTYPE_FLOAT8_E4M3};
    for (size_t c = 0; c < COUNT_OF(caches); c++) {
        cache_create(&bench, caches[c]);
        printf("bfloat16, cache in %s\n", dtype_name(caches[c]));
        for (size_t i = 0; i < COUNT_OF(shapes); i++) {
            char name[64];
            name_shape(&shapes[i], name, sizeof name);
            if (argc <= 3 || strcmp(argv[3], name) == 0) {
                run(&bench, &shapes[i]);
            }
        }
        bench.op->kv_destroy(bench.backend, bench.cache);
        free(bench.table);
    }
    bench.op->buffer_destroy(bench.backend, bench.qkv);
    bench.op->buffer_destroy(bench.backend, bench.out);
    check_cuda(cudaEventDestroy(bench.start));
    check_cuda(cudaEventDestroy(bench.end));
    bench.op->destroy(bench.backend);
    free(bench.positions);
    free(bench.ids);
    free(bench.query_start);
    free(bench.context);
    return 0;
}
