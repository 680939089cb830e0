/* SPDX-License-Identifier: Apache-2.0 */
/* The CUDA backend's mixture of experts alone: microseconds of one layer beside its floor, for
 * layers of two models' shapes and several numbers of tokens.
 *
 *     bench_gpu_experts [TYPE [BANDWIDTH [RATE]]]
 *
 * TYPE: bfloat16 (default), float16, float32 or fp8, of the experts' weights. BANDWIDTH in
 * TB/s (3.0) and RATE in TFLOP/s (700; twice that in fp8) make the floor: the longer of reading the
 * weights of the experts that are used (as many as even routing uses) and of the multiplications.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/backend.h"

#ifndef SLUICE_CUDA
int main(void)
{
    fprintf(stderr, "bench_gpu_experts: this build has no CUDA backend (SLUICE_CUDA)\n");
    return 1;
}
#else

enum { MOST_TOKENS = 4096, SLICES = 2, WARM_UP = 3, RUNS = 20, ROUNDS = 3 };

struct layer {
    const char *name;
    int experts, used, hidden, width;
};
static const struct layer layers[] = {
    {"Qwen3-30B-A3B", 128, 8, 2048, 768},
    {"Mixtral-8x7B", 8, 2, 4096, 14336},
};

static void check(status s)
{
    if (s != STATUS_OK) {
        fprintf(stderr, "bench_gpu_experts: %s\n", status_message());
        exit(1);
    }
}

static void fill_random(float *values, size_t count, float most)
{
    static uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = ((float)(state >> 8) / (1 << 24) - 0.5f) * 2.0f * most;
    }
}

/* All of a stack's products get the same random values. */
static struct matrix *random_stack(struct backend *backend, int count, int rows, int columns,
                                   int slices, enum weight_format stored)
{
    const struct backend_operations *op = backend->operations;
    int32_t start[SLICES + 1];
    for (int i = 0; i <= slices; i++) {
        start[i] = slices > 0 ? columns / slices * i : 0;
    }
    const size_t values = (size_t)rows * (size_t)columns;
    float *from = malloc(values * sizeof *from);
    struct matrix *matrix;
    if (from == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "weights"));
    }
    fill_random(from, values, 1.7f / sqrtf((float)columns));
    check(op->matrix_create(backend, count, rows, columns, start, slices, stored, &matrix));
    for (int i = 0; i < count; i++) {
        check(op->matrix_write(backend, matrix, i, 0, rows,
                               &(const struct weight_rows){.data = from,
                                                           .format = WEIGHT_FLOAT32,
                                                           .stride = (size_t)columns}));
    }
    check(op->matrix_finish(backend, matrix));
    free(from);
    return matrix;
}

/* Random tokens in the backend's activation type. */
static struct device_buffer *random_rows(struct backend *backend, int hidden)
{
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const size_t values = (size_t)MOST_TOKENS * (size_t)hidden;
    float *from = malloc(values * sizeof *from);
    struct device_buffer *buffer;
    if (from == NULL) {
        check(status_fail(STATUS_NO_MEMORY, "tokens"));
    }
    fill_random(from, values, 1.7f);
    for (size_t i = 0; i < values; i++) {
        if (act == DTYPE_BFLOAT16) { /* in place: a value is written behind the one read */
            uint32_t bits;
            memcpy(&bits, &from[i], sizeof bits);
            ((uint16_t *)(void *)from)[i] = (uint16_t)(bits >> 16);
        } else if (act == DTYPE_FLOAT16) {
            const _Float16 value = (_Float16)from[i];
            memcpy((char *)from + 2 * i, &value, sizeof value);
        }
    }
    const size_t bytes = values * dtype_bytes(act);
    check(op->buffer_create(backend, bytes, &buffer));
    check(op->upload(backend, buffer, 0, from, bytes));
    free(from);
    return buffer;
}

static void begin_step(struct backend *backend, int tokens)
{
    static int32_t ids[MOST_TOKENS], positions[MOST_TOKENS], blocks[1];
    static int32_t start[2], context;
    static struct batch batch;
    for (int i = 0; i < tokens; i++) {
        positions[i] = i;
    }
    start[1] = context = tokens;
    batch = (struct batch){.tokens = tokens,
                           .sequences = 1,
                           .token_ids = ids,
                           .positions = positions,
                           .query_start = start,
                           .context_length = &context,
                           .block_table = blocks,
                           .block_table_stride = 1};
    check(backend->operations->step_begin(backend, &batch));
}

static void print_line(const struct layer *layer, enum weight_format stored, int tokens,
                       double seconds, double bandwidth, double rate)
{
    const double used =
        layer->experts * (1.0 - pow(1.0 - (double)layer->used / layer->experts, tokens));
    const double weights = 3.0 * layer->hidden * layer->width;
    const double bytes = used * weights * weight_format_bits(stored) / 8;
    const double operations = 2.0 * weights * tokens * layer->used;
    const double floor = fmax(bytes / bandwidth, operations / rate);
    printf("%-14s %5d tokens: %9.1f us, %5.2f TB/s of weights, %6.1f TFLOP/s; floor %9.1f us, "
           "share %3.0f%%\n",
           layer->name, tokens, 1e6 * seconds, 1e-12 * bytes / seconds,
           1e-12 * operations / seconds, 1e6 * floor, 100.0 * floor / seconds);
}

static void measure(struct backend *backend, const struct layer *layer, enum weight_format stored,
                    double bandwidth, double rate)
{
    const struct backend_operations *op = backend->operations;
    struct matrix *router = random_stack(backend, 1, layer->experts, layer->hidden, 0,
                                         weight_format_of(op->activation_dtype(backend)));
    struct matrix *gate_up =
        random_stack(backend, layer->experts, 2 * layer->width, layer->hidden, 0, stored);
    struct matrix *down =
        random_stack(backend, layer->experts, layer->hidden, layer->width, SLICES, stored);
    struct device_buffer *in = random_rows(backend, layer->hidden), *out;
    check(op->buffer_create(backend, op->partial_bytes(backend, down, MOST_TOKENS), &out));
    const struct expert_facts facts = {
        .router = {.used = layer->used, .normalize = true, .scale = 1}};
    const struct expert_weights weights = {.router = router, .gate_up = gate_up, .down = down};
    static const int counts[] = {1, 8, 64, 512, 4096};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        double best = 1e9;
        begin_step(backend, counts[i]);
        for (int round = 0; round < ROUNDS; round++) {
            double start = 0;
            for (int run = 0; run < WARM_UP + RUNS; run++) {
                if (run == WARM_UP) {
                    check(op->synchronize(backend));
                    start = clock_seconds();
                }
                check(op->experts(backend, &facts, &weights, in, out));
            }
            check(op->synchronize(backend));
            const double seconds = (clock_seconds() - start) / RUNS;
            best = seconds < best ? seconds : best;
        }
        print_line(layer, stored, counts[i], best, bandwidth, rate);
    }
    op->buffer_destroy(backend, in);
    op->buffer_destroy(backend, out);
    op->matrix_destroy(backend, router);
    op->matrix_destroy(backend, gate_up);
    op->matrix_destroy(backend, down);
}

static enum weight_format type_argument(const char *text)
{
    static const enum weight_format known[] = {WEIGHT_BFLOAT16, WEIGHT_FLOAT16, WEIGHT_FLOAT32,
                                               WEIGHT_FP8};
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(text, weight_format_name(known[i])) == 0) {
            return known[i];
        }
    }
    fprintf(stderr, "bench_gpu_experts: %s: not a type of weights\n", text);
    exit(2);
}

int main(int argc, char **argv)
{
    const enum weight_format stored = argc > 1 ? type_argument(argv[1]) : WEIGHT_BFLOAT16;
    const double bandwidth = 1e12 * (argc > 2 ? atof(argv[2]) : 3.0);
    const double rate = 1e12 * (argc > 3 ? atof(argv[3]) : stored == WEIGHT_FP8 ? 1400.0 : 700.0);
    const struct backend_options options = {.compute =
                                                stored == WEIGHT_FP8 ? DTYPE_BFLOAT16 : stored,
                                            .max_tokens = MOST_TOKENS,
                                            .max_sequences = 1};
    struct backend *backend;
    check(backend_create("cuda", &options, &backend));
    printf("%s; weights in %s, %d slices\n", backend->operations->device_name(backend),
           weight_format_name(stored), SLICES);
    for (size_t i = 0; i < COUNT_OF(layers); i++) {
        measure(backend, &layers[i], stored, bandwidth, rate);
    }
    backend->operations->destroy(backend);
    return 0;
}
#endif
