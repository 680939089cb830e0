/* SPDX-License-Identifier: Apache-2.0 */
/* Decode steps of the CPU backend beside OpenBLAS: tokens a second of whole steps (embedding to
 * logits) with a model of SmolLM2-135M's shape and random weights, the same linear layers alone as
 * cblas_sgemm does them, and where the time goes.
 *
 *     bench_cpu_step [PROMPT [WEIGHTS [KV_CACHE [SEQUENCES]]]]
 *
 * WEIGHTS and KV_CACHE: float32 or bfloat16; SEQUENCES: at most that many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/backend.h"
#ifdef SLUICE_BENCH_BLAS
#include <cblas.h>
/* OpenBLAS's own: the processor that it took this one for. It falls back to SSE where it does not
 * know the processor; OPENBLAS_CORETYPE=SkylakeX mends that. */
__attribute__((weak)) char *openblas_get_corename(void);
#endif

enum {
    LAYERS = 30,
    HIDDEN = 576,
    HEADS = 9,
    KV_HEADS = 3,
    HEAD_DIM = 64,
    QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM,
    COLUMNS = 1536,
    VOCABULARY = 49152,
    SLICES = 8,
    BLOCK_TOKENS = 16,
    MAX_SEQUENCES = 128,
    MAX_TOKENS = 2048,
    STEPS = 8,
    ROUNDS = 5,
};

enum phase {
    QKV_PRODUCT,
    ROPE,
    ATTENTION,
    OUTPUT_PRODUCT,
    GATE_UP_PRODUCT,
    ACTIVATE,
    DOWN_PRODUCT,
    NORMS,
    LOGITS,
    PHASES
};
static const char *const phase_names[PHASES] = {"qkv",    "rope, append", "attention",
                                                "output", "gate and up",  "activation",
                                                "down",   "embed, norms", "logits"};

/* What a linear layer is to both sides. */
struct shape {
    int rows, columns, count; /* count: in one step */
};
static const struct shape shapes[] = {
    {QKV, HIDDEN, LAYERS},     {HIDDEN, HIDDEN, LAYERS}, {2 * COLUMNS, HIDDEN, LAYERS},
    {HIDDEN, COLUMNS, LAYERS}, {VOCABULARY, HIDDEN, 1},
};

struct bench {
    const struct backend_operations *op;
    struct backend *backend;
    struct matrix *table, *qkv[LAYERS], *output[LAYERS], *gate_up[LAYERS], *down[LAYERS];
    struct vector *norm;
    struct kv_cache *cache;
    struct device_buffer *residual, *normed, *qkv_rows, *attended, *gates, *active, *branch,
        *logits;
    struct rope_facts rope;
    float frequency[HEAD_DIM / 2];
    double seconds[PHASES];
    double before;
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_cpu_step: %s\n", status_message());
        exit(1);
    }
}

static void fill_random(float *values, size_t count, uint32_t seed)
{
    uint32_t state = seed * 2654435761u + 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = ((float)(state >> 8) / (1 << 24) - 0.5f) * 0.1f;
    }
}

static struct matrix *random_matrix(struct bench *bench, int rows, int columns, int slices,
                                    enum weight_format stored, uint32_t seed)
{
    int32_t start[SLICES + 1];
    for (int i = 0; i <= slices; i++) {
        /* The attention output is cut by heads. */
        start[i] = columns == HIDDEN ? HEADS * i / SLICES * HEAD_DIM : columns / SLICES * i;
    }
    struct matrix *matrix;
    float *values = malloc((size_t)rows * (size_t)columns * sizeof *values);
    if (values == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "weights"));
    }
    fill_random(values, (size_t)rows * (size_t)columns, seed);
    check(
        bench->op->matrix_create(bench->backend, 1, rows, columns, start, slices, stored, &matrix));
    check(bench->op->matrix_write(bench->backend, matrix, 0, 0, rows,
                                  &(const struct weight_rows){.data = values,
                                                              .format = WEIGHT_FLOAT32,
                                                              .stride = (size_t)columns}));
    check(bench->op->matrix_finish(bench->backend, matrix));
    free(values);
    return matrix;
}

static struct device_buffer *scratch(struct bench *bench, size_t rows, size_t width)
{
    struct device_buffer *buffer;
    check(bench->op->buffer_create(bench->backend, rows * width * sizeof(float), &buffer));
    return buffer;
}

static void bench_create(struct bench *bench, enum weight_format stored, enum dtype kv, int blocks)
{
    const struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = MAX_TOKENS, .max_sequences = MAX_SEQUENCES};
    check(backend_create("cpu", &options, &bench->backend));
    bench->op = bench->backend->operations;
    bench->table = random_matrix(bench, VOCABULARY, HIDDEN, 0, stored, 1);
    for (uint32_t i = 0; i < LAYERS; i++) {
        bench->qkv[i] = random_matrix(bench, QKV, HIDDEN, 0, stored, 2 + i);
        bench->output[i] = random_matrix(bench, HIDDEN, HIDDEN, SLICES, stored, 102 + i);
        bench->gate_up[i] = random_matrix(bench, 2 * COLUMNS, HIDDEN, 0, stored, 202 + i);
        bench->down[i] = random_matrix(bench, HIDDEN, COLUMNS, SLICES, stored, 302 + i);
    }
    float ones[HIDDEN];
    for (int i = 0; i < HIDDEN; i++) {
        ones[i] = 1.0f;
    }
    check(bench->op->vector_create(bench->backend, HIDDEN, ones, &bench->norm));
    struct cache_store stores[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        stores[i] = (struct cache_store){STORE_KEYS_VALUES, KV_HEADS, HEAD_DIM, 0};
    }
    const struct cache_layout layout = {
        .layers = LAYERS, .stores = stores, .block_tokens = BLOCK_TOKENS, .dtype = kv};
    check(bench->op->kv_create(bench->backend, &layout, blocks, &bench->cache));
    bench->residual = scratch(bench, MAX_TOKENS, HIDDEN);
    bench->normed = scratch(bench, MAX_TOKENS, HIDDEN);
    bench->qkv_rows = scratch(bench, MAX_TOKENS, QKV);
    bench->attended = scratch(bench, MAX_TOKENS, HIDDEN);
    bench->gates = scratch(bench, MAX_TOKENS, 2 * COLUMNS);
    bench->active = scratch(bench, MAX_TOKENS, COLUMNS);
    bench->branch = scratch(bench, MAX_TOKENS, HIDDEN);
    bench->logits = scratch(bench, MAX_SEQUENCES, VOCABULARY);
    for (int i = 0; i < HEAD_DIM / 2; i++) {
        bench->frequency[i] = 1.0f / (float)(1 + i * i);
    }
    bench->rope = (struct rope_facts){
        .dimensions = HEAD_DIM, .inverse_frequency = bench->frequency, .magnitude = 1.0f};
}

static void bench_destroy(struct bench *bench)
{
    const struct backend_operations *op = bench->op;
    op->matrix_destroy(bench->backend, bench->table);
    for (int i = 0; i < LAYERS; i++) {
        op->matrix_destroy(bench->backend, bench->qkv[i]);
        op->matrix_destroy(bench->backend, bench->output[i]);
        op->matrix_destroy(bench->backend, bench->gate_up[i]);
        op->matrix_destroy(bench->backend, bench->down[i]);
    }
    op->vector_destroy(bench->backend, bench->norm);
    op->kv_destroy(bench->backend, bench->cache);
    struct device_buffer *buffers[] = {bench->residual, bench->normed, bench->qkv_rows,
                                       bench->attended, bench->gates,  bench->active,
                                       bench->branch,   bench->logits};
    for (size_t i = 0; i < COUNT_OF(buffers); i++) {
        op->buffer_destroy(bench->backend, buffers[i]);
    }
    op->destroy(bench->backend);
}

/* Books the time since the last call under `phase`. */
static void lap(struct bench *bench, enum phase phase)
{
    const double now = clock_seconds();
    bench->seconds[phase] += now - bench->before;
    bench->before = now;
}

static void forward(struct bench *b, const struct batch *batch)
{
    static const struct norm_facts facts = {.epsilon = 1e-5f};
    static const struct attention_facts attention = {.scale = 0.125f};
    static const int32_t kv_head[HEADS] = {0, 0, 0, 1, 1, 1, 2, 2, 2};
    const struct head_layout heads = {
        .query_heads = HEADS, .kv_heads = KV_HEADS, .head_dim = HEAD_DIM, .kv_head = kv_head};
    const struct backend_operations *op = b->op;

    b->before = clock_seconds();
    check(op->step_begin(b->backend, batch));
    check(op->embed(b->backend, b->table, 0, 1.0f, b->residual));
    check(op->norm(b->backend, &facts, b->norm, NULL, b->residual, HIDDEN, NULL, b->normed));
    lap(b, NORMS);
    for (int i = 0; i < LAYERS; i++) {
        check(op->product(b->backend, b->qkv[i], NULL, b->normed, b->qkv_rows));
        lap(b, QKV_PRODUCT);
        check(op->rope_append(b->backend, &heads, &b->rope, NULL, NULL, NULL, b->qkv_rows, b->cache,
                              i));
        lap(b, ROPE);
        check(op->attention(b->backend, &heads, &attention, b->qkv_rows, b->cache, i, NULL,
                            b->attended));
        lap(b, ATTENTION);
        check(op->product_sliced(b->backend, b->output[i], b->attended, b->branch));
        lap(b, OUTPUT_PRODUCT);
        check(op->add_norm(b->backend, &facts, b->branch, 1, NULL, 1.0f, NULL, b->residual, HIDDEN,
                           b->norm, NULL, NULL, b->normed));
        lap(b, NORMS);
        check(op->product(b->backend, b->gate_up[i], NULL, b->normed, b->gates));
        lap(b, GATE_UP_PRODUCT);
        check(op->activate(b->backend, ACTIVATION_SILU, true, COLUMNS, b->gates, NULL, b->active));
        lap(b, ACTIVATE);
        check(op->product_sliced(b->backend, b->down[i], b->active, b->branch));
        lap(b, DOWN_PRODUCT);
        check(op->add_norm(b->backend, &facts, b->branch, 1, NULL, 1.0f, NULL, b->residual, HIDDEN,
                           b->norm, NULL, NULL, b->normed));
        lap(b, NORMS);
    }
    check(op->logits(b->backend, b->table, 1.0f, 0.0f, b->normed, b->logits));
    lap(b, LOGITS);
}

/* One step of `each` tokens at `position` for every sequence. */
static void step(struct bench *bench, int sequences, int position, int each,
                 const int32_t *block_table, int stride)
{
    static int32_t ids[MAX_TOKENS], positions[MAX_TOKENS], start[MAX_SEQUENCES + 1],
        context[MAX_SEQUENCES], outputs[MAX_SEQUENCES];
    for (int s = 0; s < sequences; s++) {
        for (int i = 0; i < each; i++) {
            ids[s * each + i] = (s * 7919 + (position + i) * 104729) % VOCABULARY;
            positions[s * each + i] = position + i;
        }
        start[s] = s * each;
        context[s] = position + each;
        outputs[s] = s * each + each - 1;
    }
    start[sequences] = sequences * each;
    const struct batch batch = {.tokens = sequences * each,
                                .sequences = sequences,
                                .outputs = sequences,
                                .token_ids = ids,
                                .positions = positions,
                                .query_start = start,
                                .context_length = context,
                                .block_table = block_table,
                                .block_table_stride = stride,
                                .output_rows = outputs};
    forward(bench, &batch);
}

/* Seconds of one step's linear layers in cblas_sgemm, the best of `ROUNDS` rounds is the caller's.
 */
static double blas_seconds(int rows, const float *weights, const float *in, float *out)
{
#ifdef SLUICE_BENCH_BLAS
    const double start = clock_seconds();
    size_t at = 0;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        for (int j = 0; j < shapes[i].count; j++) {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, shapes[i].rows,
                        shapes[i].columns, 1.0f, in, shapes[i].columns, weights + at,
                        shapes[i].columns, 0.0f, out, shapes[i].rows);
            at += (size_t)shapes[i].rows * (size_t)shapes[i].columns;
        }
    }
    return clock_seconds() - start;
#else
    (void)rows, (void)weights, (void)in, (void)out;
    return 0.0;
#endif
}

static void print_phases(const double seconds[PHASES], int steps)
{
    printf("   ");
    for (int p = 0; p < PHASES; p++) {
        printf(" %s %.2f ms%s", phase_names[p], 1e3 * seconds[p] / steps,
               p + 1 < PHASES ? "," : "\n");
    }
}

/* One sequence's prompt, in steps of at most MAX_TOKENS; returns seconds. */
static double prefill(struct bench *bench, int prompt, const int32_t *blocks, int stride)
{
    const double start = clock_seconds();
    for (int at = 0; at < prompt; at += MAX_TOKENS) {
        step(bench, 1, at, prompt - at < MAX_TOKENS ? prompt - at : MAX_TOKENS, blocks, stride);
    }
    return clock_seconds() - start;
}

/* Weights, input and output of the same linear layers for sgemm. */
struct reference {
    float *weights, *in, *out;
};

static void reference_create(struct reference *reference)
{
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        count += (size_t)shapes[i].count * (size_t)shapes[i].rows * (size_t)shapes[i].columns;
    }
    reference->weights = malloc(count * sizeof(float));
    reference->in = malloc((size_t)MAX_SEQUENCES * COLUMNS * sizeof(float));
    reference->out = malloc((size_t)MAX_SEQUENCES * VOCABULARY * sizeof(float));
    if (reference->weights == NULL || reference->in == NULL || reference->out == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "weights"));
    }
    fill_random(reference->weights, count, 5);
    fill_random(reference->in, (size_t)MAX_SEQUENCES * COLUMNS, 6);
}

/* Decode steps of `n` sequences beside sgemm. Rounds alternate, so that what else the machine does
 * meets both sides; the best round of each counts. */
static void compare(struct bench *bench, const struct reference *reference, int n, int prompt,
                    const int32_t *table, int stride)
{
    double best = 1e9, best_blas = 1e9, phases[PHASES] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        memset(bench->seconds, 0, sizeof bench->seconds);
        const double start = clock_seconds();
        for (int j = 0; j < STEPS; j++) {
            step(bench, n, prompt + round * STEPS + j, 1, table, stride);
        }
        const double seconds = (clock_seconds() - start) / STEPS;
        if (seconds < best) {
            best = seconds;
            memcpy(phases, bench->seconds, sizeof phases);
        }
        for (int j = 0; j < 3; j++) {
            const double blas = blas_seconds(n, reference->weights, reference->in, reference->out);
            best_blas = blas < best_blas ? blas : best_blas;
        }
    }
    printf("%3d sequences: %7.1f tokens/s, %6.2f ms a step", n, n / best, 1e3 * best);
#ifdef SLUICE_BENCH_BLAS
    printf("; sgemm of the linear layers alone: %7.1f tokens/s; share %.0f%%", n / best_blas,
           100.0 * best_blas / best);
#endif
    printf("\n");
    print_phases(phases, STEPS);
}

static enum dtype type_argument(const char *text)
{
    return strcmp(text, "bfloat16") == 0 ? DTYPE_BFLOAT16 : DTYPE_FLOAT32;
}

int main(int argc, char **argv)
{
    const int prompt = argc > 1 ? atoi(argv[1]) : 128;
    const enum weight_format stored =
        weight_format_of(type_argument(argc > 2 ? argv[2] : "bfloat16"));
    const enum dtype kv = type_argument(argc > 3 ? argv[3] : "float32");
    const int most = argc > 4 ? atoi(argv[4]) : MAX_SEQUENCES;
    if (prompt < 1 || prompt > 1 << 20 || most < 1 || most > MAX_SEQUENCES) {
        fprintf(stderr, "bench_cpu_step: a prompt of 1 to 1048576 tokens, 1 to 128 sequences\n");
        return 2;
    }
    const int stride = (prompt + ROUNDS * STEPS) / BLOCK_TOKENS + 1;
    static struct bench bench;
    bench_create(&bench, stored, kv, stride * most);
    printf("%s; weights %s, KV cache %s, prompt %d\n", bench.op->device_name(bench.backend),
           weight_format_name(stored), dtype_name(kv), prompt);
#ifdef SLUICE_BENCH_BLAS
    printf("sgemm: %s\n", openblas_get_corename != NULL ? openblas_get_corename() : "not OpenBLAS");
#endif
    struct reference reference;
    reference_create(&reference);
    int32_t *table = malloc((size_t)stride * (size_t)most * sizeof *table);
    if (table == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "block table"));
    }
    for (int i = 0; i < stride * most; i++) {
        table[i] = i;
    }

    prefill(&bench, prompt, table, stride);
    memset(bench.seconds, 0, sizeof bench.seconds);
    printf("prefill of one prompt: %.0f tokens/s\n",
           prompt / prefill(&bench, prompt, table, stride));
    print_phases(bench.seconds, 1);
    static const int counts[] = {1, 8, 32, 128};
    for (size_t i = 0; i < COUNT_OF(counts) && counts[i] <= most; i++) {
        for (int s = 0; s < counts[i]; s++) {
            prefill(&bench, prompt, table + (size_t)s * (size_t)stride, stride);
        }
        compare(&bench, &reference, counts[i], prompt, table, stride);
    }
    free(table);
    free(reference.out);
    free(reference.in);
    free(reference.weights);
    bench_destroy(&bench);
    return 0;
}
