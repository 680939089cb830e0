/* SPDX-License-Identifier: Apache-2.0 */
/* Norms over all heads and over groups, gates, scaled queries and token types on the CUDA backend
 * beside the CPU's, and the same bits of a row in another batch. */
#include "gpu/gpu_fixture.h"

enum { TOKENS = 70, HEADS = 8, KV_HEADS = 4, DIM = 20, SLICES = 4, GROUPS = 2 };
enum { Q = HEADS * DIM, KV = KV_HEADS * DIM, ROW = Q + 2 * KV };

static const struct {
    const char *name;
    enum dtype compute;
    double most;
} types[] = {
    {"float32", DTYPE_FLOAT32, 1e-6},
    {"bfloat16", DTYPE_BFLOAT16, 1e-2},
    {"float16", DTYPE_FLOAT16, 2e-3},
};

static void begin_step(struct backend *backend, int first, int tokens)
{
    static int32_t ids[TOKENS], positions[TOKENS], start[2], context, blocks[1 + TOKENS];
    static uint8_t is_second[TOKENS];
    static struct batch batch;
    for (int i = 0; i < tokens; i++) {
        positions[i] = first + i;
        is_second[i] = (uint8_t)((first + i) / 3 % 2);
    }
    start[1] = tokens;
    context = first + tokens;
    batch = (struct batch){.tokens = tokens,
                           .sequences = 1,
                           .token_ids = ids,
                           .positions = positions,
                           .token_types = is_second,
                           .query_start = start,
                           .context_length = &context,
                           .block_table = blocks,
                           .block_table_stride = 1 + TOKENS};
    check(backend->operations->step_begin(backend, &batch));
}

static void random_rows(float *values, size_t count, uint64_t seed, enum dtype dtype)
{
    gpu_random(values, count, seed, 1.0f);
    gpu_round(values, count, dtype);
}

static struct vector *random_vector(struct backend *backend, int length, uint64_t seed)
{
    float values[ROW];
    struct vector *vector;
    gpu_random(values, (size_t)length, seed, 0.5f);
    check(backend->operations->vector_create(backend, length, values, &vector));
    return vector;
}

/* What the operations leave of tokens [first, first + tokens): rows, sums of squares, gated and
 * grouped values. */
struct results {
    float qkv[TOKENS * ROW], squares[TOKENS * 2], gated[TOKENS * Q], grouped[TOKENS * Q],
        embedded[TOKENS * Q];
};

static void run_heads(struct backend *backend, enum dtype compute, int first, int tokens,
                      struct results *out)
{
    static const int32_t kv_head[HEADS] = {0, 0, 1, 1, 2, 2, 3, 3};
    static const uint8_t is_first[HEADS] = {1, 0, 1, 0, 1, 0, 1, 0};
    static const int32_t start[SLICES + 1] = {0, 2 * DIM, 4 * DIM, 4 * DIM, Q};
    static float rows[TOKENS * ROW];
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const size_t count = (size_t)tokens * ROW;
    const struct head_layout heads = {HEADS, KV_HEADS, DIM, kv_head};
    const struct head_slices slices = {SLICES, start, is_first};
    const struct norm_facts norm = {.epsilon = 1e-5f, .weight_offset = 1.0f};
    random_rows(rows, TOKENS * ROW, 1, compute);
    struct device_buffer *qkv = gpu_buffer(backend, rows + (size_t)first * ROW, count, act);
    struct device_buffer *sums = gpu_buffer(backend, NULL, (size_t)tokens * 2, DTYPE_FLOAT32);
    struct vector *q_norm = random_vector(backend, Q, 2), *k_norm = random_vector(backend, KV, 3);
    begin_step(backend, first, tokens);
    check(op->head_squares(backend, &heads, &slices, qkv, sums));
    check(op->head_normalize(backend, &heads, &norm, q_norm, k_norm, Q, KV, sums, qkv));
    check(op->scale_queries(backend, &heads, 0.1f, 8, qkv));
    gpu_values(backend, qkv, count, act, out->qkv);
    gpu_values(backend, sums, (size_t)tokens * 2, DTYPE_FLOAT32, out->squares);
    op->vector_destroy(backend, q_norm);
    op->vector_destroy(backend, k_norm);
    op->buffer_destroy(backend, qkv);
    op->buffer_destroy(backend, sums);
}

static void run_others(struct backend *backend, enum dtype compute, int first, int tokens,
                       struct results *out)
{
    static float rows[2][TOKENS * Q], zeros[TOKENS * Q], entries[2 * TOKENS * Q];
    const struct backend_operations *op = backend->operations;
    const enum dtype act = op->activation_dtype(backend);
    const size_t count = (size_t)tokens * Q, at = (size_t)first * Q;
    const struct group_norm_facts facts = {.groups = GROUPS,
                                           .group_width = Q / GROUPS,
                                           .width = Q,
                                           .slices = 2,
                                           .slice_start = (const int32_t[]){0, 50, Q},
                                           .epsilon = 1e-5f,
                                           .gate_stride = Q};
    random_rows(rows[0], TOKENS * Q, 4, compute);
    random_rows(rows[1], TOKENS * Q, 5, compute);
    random_rows(entries, 2 * TOKENS * Q, 6, compute);
    struct device_buffer *gates = gpu_buffer(backend, rows[0] + at, count, act);
    struct device_buffer *values = gpu_buffer(backend, rows[1] + at, count, act);
    struct device_buffer *sums = gpu_buffer(backend, NULL, (size_t)tokens * GROUPS, DTYPE_FLOAT32);
    struct device_buffer *residual = gpu_buffer(backend, zeros, count, DTYPE_FLOAT32);
    struct vector *weight = random_vector(backend, Q, 7);
    struct matrix *table;
    check(op->matrix_create(backend, 1, 2 * TOKENS, Q, NULL, 0, weight_format_of(act), &table));
    check(op->matrix_write(
        backend, table, 0, 0, 2 * TOKENS,
        &(const struct weight_rows){.data = entries, .format = WEIGHT_FLOAT32, .stride = Q}));
    check(op->matrix_finish(backend, table));
    begin_step(backend, first, tokens);
    check(op->gate(backend, Q, gates, NULL, values));
    gpu_values(backend, values, count, act, out->gated);
    check(op->group_squares(backend, &facts, values, sums));
    check(op->group_normalize(backend, &facts, weight, sums, gates, NULL, values));
    gpu_values(backend, values, count, act, out->grouped);
    check(op->embed_types(backend, table, 0, 1, TOKENS, residual));
    gpu_values(backend, residual, count, DTYPE_FLOAT32, out->embedded);
    op->matrix_destroy(backend, table);
    op->vector_destroy(backend, weight);
    op->buffer_destroy(backend, gates);
    op->buffer_destroy(backend, values);
    op->buffer_destroy(backend, sums);
    op->buffer_destroy(backend, residual);
}

static void run_all(struct backend *backend, enum dtype compute, int first, int tokens,
                    struct results *out)
{
    run_heads(backend, compute, first, tokens, out);
    run_others(backend, compute, first, tokens, out);
}

/* Distances of the parts, named. */
static int compare(const struct results *is, const struct results *should, const char *type,
                   double most)
{
    const struct {
        const char *what;
        const float *is, *should;
        size_t count;
    } parts[] = {
        {"squares of heads", is->squares, should->squares, TOKENS * 2},
        {"normed and scaled heads", is->qkv, should->qkv, TOKENS * ROW},
        {"gated values", is->gated, should->gated, TOKENS * Q},
        {"grouped values", is->grouped, should->grouped, TOKENS * Q},
        {"entries of types", is->embedded, should->embedded, TOKENS * Q},
    };
    int failures = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const double distance = gpu_distance(parts[i].is, parts[i].should, parts[i].count);
        const bool is_right = distance < most;
        failures += !is_right;
        print_message("%s%-24s %-10s %.1e\n", is_right ? "" : "WRONG: ", parts[i].what, type,
                      distance);
    }
    return failures;
}

static void heads_are_right(void **state)
{
    (void)state;
    static struct results is, should;
    int failures = 0;
    struct backend *cpu = gpu_backend("cpu", DTYPE_FLOAT32, TOKENS, 1);
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, TOKENS, 1);
        run_all(gpu, types[t].compute, 0, TOKENS, &is);
        run_all(cpu, types[t].compute, 0, TOKENS, &should);
        failures += compare(&is, &should, types[t].name, types[t].most);
        gpu->operations->destroy(gpu);
    }
    cpu->operations->destroy(cpu);
    assert_int_equal(failures, 0);
}

static void bits_know_no_batch(void **state)
{
    (void)state;
    static struct results whole, part;
    enum { FIRST = 33, PART = 5 };
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, TOKENS, 1);
        run_all(gpu, types[t].compute, 0, TOKENS, &whole);
        run_all(gpu, types[t].compute, FIRST, PART, &part);
        assert_memory_equal(part.qkv, whole.qkv + FIRST * ROW, PART * ROW * sizeof(float));
        assert_memory_equal(part.squares, whole.squares + FIRST * 2, PART * 2 * sizeof(float));
        assert_memory_equal(part.gated, whole.gated + FIRST * Q, PART * Q * sizeof(float));
        assert_memory_equal(part.grouped, whole.grouped + FIRST * Q, PART * Q * sizeof(float));
        assert_memory_equal(part.embedded, whole.embedded + FIRST * Q, PART * Q * sizeof(float));
        gpu->operations->destroy(gpu);
    }
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_right),
        cmocka_unit_test(bits_know_no_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
