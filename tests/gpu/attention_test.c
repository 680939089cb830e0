/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary embedding, cache and attention of the CUDA backend beside the CPU's, and the same bits
 * however a sequence is cut into steps, batched, placed in blocks, and its heads cut over ranks.
 *
 * The CPU takes the GPU's own rounded queries, keys and values (in the cache's type), so that what
 * differs is the arithmetic of attention alone. */
#include "gpu/attention_fixture.h"

static int failures;

static void expect(bool right, const char *what, const char *shape, const char *type, double figure)
{
    if (!right) {
        failures++;
        print_error("WRONG: %s: %s, %s: %g\n", what, shape, type, figure);
    }
}

static const struct types types[] = {
    {"float32", DTYPE_FLOAT32, DTYPE_FLOAT32, 1e-6, 1e-5},
    {"bfloat16", DTYPE_BFLOAT16, DTYPE_BFLOAT16, 4e-3, 1e-2},
    {"float16", DTYPE_FLOAT16, DTYPE_FLOAT16, 5e-4, 2e-3},
    {"bfloat16, fp8 cache", DTYPE_BFLOAT16, DTYPE_FLOAT8_E4M3, 4e-3, 1e-2},
    {"float16, fp8 cache", DTYPE_FLOAT16, DTYPE_FLOAT8_E4M3, 5e-4, 2e-3},
    {"float32, fp8 cache", DTYPE_FLOAT32, DTYPE_FLOAT8_E4M3, 1e-6, 1e-5},
    {"bfloat16, float32 cache", DTYPE_BFLOAT16, DTYPE_FLOAT32, 4e-3, 1e-2},
    {"float32, bfloat16 cache", DTYPE_FLOAT32, DTYPE_BFLOAT16, 1e-6, 1e-5},
};
enum { ALL_TYPES = COUNT_OF(types), COMMON_TYPES = 5 };

static const struct shape shapes[] = {
    {"8 for 2 of 128", 8, 2, 128, 128, {-1}, 0, 0, false, false, false, .lengths = {300, 37, 150}},
    {"4 for 4 of 64", 4, 4, 64, 64, {-1}, 0, 0, false, false, true, .lengths = {300, 37, 150}},
    {"6 for 3 of 80", 6, 3, 80, 32, {-1}, 70, 0, false, false, true, .lengths = {300, 37, 150}},
    {"9 for 3 of 96", 9, 3, 96, 96, {-1}, 0, 30, true, false, false, .lengths = {200, 1, 129}},
    {"8 for 2 of 256", 8, 2, 256, 256, {-1}, 100, 20, true, false, true, .lengths = {300, 37, 150}},
    {"14 for 2 of 128", 14, 2, 128, 64, {-1}, 0, 0, false, false, true, .lengths = {257, 64, 65}},
    {"8 for 1 of 256", 8, 1, 256, 256, {-1}, 0, 0, false, false, false, .lengths = {130, 63, 33}},
    {"20 for 1 of 64", 20, 1, 64, 64, {-1}, 0, 0, false, true, false, .lengths = {100, 65, 17}},
    {"uneven map of 128",
     5,
     3,
     128,
     128,
     {2, 0, 2, 1, 2},
     33,
     0,
     true,
     true,
     true,
     .lengths = {190, 2, 140}},
    {"4 for 2 of 8", 4, 2, 8, 8, {-1}, 0, 0, true, false, true, .lengths = {300, 37, 150}},
    {"3 for 1 of 16", 3, 1, 16, 8, {-1}, 21, 5, false, false, false, .lengths = {140, 37, 15}},
    {"8 for 2 of 32", 8, 2, 32, 32, {-1}, 0, 0, false, false, false, .lengths = {300, 37, 150}},
    {"4 for 2 of 20", 4, 2, 20, 12, {-1}, 0, 0, true, true, true, .lengths = {130, 129, 5}},
    {"long, 8 for 2 of 128",
     8,
     2,
     128,
     128,
     {-1},
     0,
     0,
     false,
     false,
     false,
     .lengths = {2900, 130, 1030}},
    {"long, window, 4 for 2 of 64",
     4,
     2,
     64,
     64,
     {-1},
     1100,
     0,
     false,
     false,
     true,
     .lengths = {2500, 1024, 50}},
    {"long, cap, 2 for 1 of 256",
     2,
     1,
     256,
     256,
     {-1},
     0,
     30,
     false,
     false,
     false,
     .lengths = {2100, 1025, 3}},
    {.what = "both ways, 12 of 32",
     .query_heads = 12,
     .kv_heads = 12,
     .head_dim = 32,
     .rotated = 32,
     .map = {-1},
     .pending = true,
     .lengths = {300, 37, 12},
     .bidirectional = true},
    {.what = "both ways, 4 for 2 of 64",
     .query_heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .rotated = 64,
     .map = {-1},
     .lengths = {512, 16, 1},
     .bidirectional = true},
    {.what = "both ways, cap, 2 for 1 of 256",
     .query_heads = 2,
     .kv_heads = 1,
     .head_dim = 256,
     .rotated = 256,
     .map = {-1},
     .soft_cap = 30,
     .lengths = {290, 33, 17},
     .bidirectional = true},
    {.what = "both ways, 4 for 2 of 20",
     .query_heads = 4,
     .kv_heads = 2,
     .head_dim = 20,
     .rotated = 12,
     .map = {-1},
     .lengths = {130, 129, 5},
     .bidirectional = true},
    {.what = "both ways, long, 4 for 4 of 64",
     .query_heads = 4,
     .kv_heads = 4,
     .head_dim = 64,
     .rotated = 64,
     .map = {-1},
     .pending = true,
     .lengths = {2100, 1025, 64},
     .bidirectional = true},
    {.what = "scales, long, 8 for 2 of 128",
     .query_heads = 8,
     .kv_heads = 2,
     .head_dim = 128,
     .rotated = 128,
     .map = {-1},
     .lengths = {2100, 37, 150},
     .key_scale = 0.02f,
     .value_scale = 3.0f},
    {.what = "scales, cap, 4 for 2 of 64",
     .query_heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .rotated = 64,
     .map = {-1},
     .soft_cap = 20,
     .pending = true,
     .lengths = {300, 37, 150},
     .key_scale = 3.0f,
     .value_scale = 0.02f},
    {.what = "scales, cap, 4 for 2 of 20",
     .query_heads = 4,
     .kv_heads = 2,
     .head_dim = 20,
     .rotated = 12,
     .map = {-1},
     .soft_cap = 20,
     .lengths = {130, 129, 5},
     .key_scale = 0.02f,
     .value_scale = 3.0f},
    {.what = "sinks, window, 16 for 2 of 64",
     .query_heads = 16,
     .kv_heads = 2,
     .head_dim = 64,
     .rotated = 64,
     .map = {-1},
     .window = 128,
     .pending = true,
     .lengths = {300, 37, 150},
     .sinks = true},
    {.what = "sinks, long, 8 for 2 of 128",
     .query_heads = 8,
     .kv_heads = 2,
     .head_dim = 128,
     .rotated = 128,
     .map = {-1},
     .lengths = {2900, 130, 1030},
     .sinks = true},
    {.what = "sinks, cap, scales, 2 for 1 of 256",
     .query_heads = 2,
     .kv_heads = 1,
     .head_dim = 256,
     .rotated = 256,
     .map = {-1},
     .soft_cap = 30,
     .lengths = {1025, 33, 17},
     .key_scale = 0.02f,
     .value_scale = 3.0f,
     .sinks = true},
    {.what = "sinks, 4 for 2 of 20",
     .query_heads = 4,
     .kv_heads = 2,
     .head_dim = 20,
     .rotated = 12,
     .map = {-1},
     .window = 50,
     .lengths = {130, 129, 5},
     .sinks = true},
};

/* ---- Beside the CPU ---- */

/* What the product stands for, in float32. */
static void apply_pending(const struct trial *trial, const struct step *step, float *rows)
{
    const size_t width = (size_t)width_of(trial);
    for (int i = 0; trial->shape->pending && i < step->batch.tokens; i++) {
        for (size_t k = 0; k < width; k++) {
            float *value = rows + (size_t)i * width + k;
            *value = *value * (trial->row_scale[step->positions[i]] * trial->column_scale[k]) +
                     trial->bias[k];
        }
    }
}

/* What values that lie in a cache with this scale stand for; scales are of fp8 alone. */
static void round_scaled(float *values, size_t count, enum dtype dtype, float scale)
{
    const float divisor = dtype == DTYPE_FLOAT8_E4M3 && scale > 0 ? scale : 1.0f;
    for (size_t i = 0; i < count; i++) {
        values[i] /= divisor;
    }
    round_values(values, count, dtype);
    for (size_t i = 0; i < count; i++) {
        values[i] *= divisor;
    }
}

/* The GPU's queries, and its keys and values as its cache holds them. */
static float *gather_rounded(const struct trial *trial, const struct step *step)
{
    const size_t width = (size_t)width_of(trial), q_width = (size_t)out_width_of(trial);
    const size_t kv_width = (width - q_width) / 2;
    float *rows = gather(step, trial->qkv, width);
    for (int i = 0; i < step->batch.tokens; i++) {
        float *keys = rows + (size_t)i * width + q_width;
        round_scaled(keys, kv_width, trial->types->kv, trial->shape->key_scale);
        round_scaled(keys + kv_width, kv_width, trial->types->kv, trial->shape->value_scale);
    }
    return rows;
}

static void compare(const struct trial *trial, struct backend *cpu)
{
    const struct backend_operations *op = cpu->operations;
    const struct shape *shape = trial->shape;
    const struct way whole = {"", 7, MOST_TOKENS, 1, 1, CPU_BLOCK_TOKENS};
    const int blocks = SEQUENCES * blocks_for(trial, CPU_BLOCK_TOKENS);
    static struct step step;
    step.table = malloc((size_t)SEQUENCES * (size_t)blocks * sizeof *step.table);
    assert_non_null(step.table);
    assert_true(step_make(trial, &whole, 0, &step));
    const size_t tokens = (size_t)step.batch.tokens;
    const size_t width = (size_t)width_of(trial), out_width = (size_t)out_width_of(trial);
    struct kv_cache *cache;
    const struct cache_store store = store_of(trial);
    const struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = CPU_BLOCK_TOKENS, .dtype = DTYPE_FLOAT32};
    check(op->kv_create(cpu, &layout, blocks, &cache));
    struct vector *q_norm = shape->norm ? new_vector(cpu, trial->q_norm, shape->head_dim) : NULL;
    struct vector *k_norm = shape->norm ? new_vector(cpu, trial->k_norm, shape->head_dim) : NULL;
    const struct rope_facts rope = rope_of(trial);
    const struct norm_facts norm = norm_of(trial);
    struct vector *sinks = shape->sinks ? new_vector(cpu, trial->sinks, trial->query_heads) : NULL;
    const struct attention_facts facts = facts_of(trial, sinks);
    const struct head_layout heads = heads_of(trial);
    check(op->step_begin(cpu, &step.batch));

    float *expected = gather(&step, trial->raw, width);
    apply_pending(trial, &step, expected);
    struct device_buffer *qkv = gpu_buffer(cpu, expected, tokens * width, DTYPE_FLOAT32);
    struct device_buffer *out = gpu_buffer(cpu, NULL, tokens * out_width, DTYPE_FLOAT32);
    check(op->rope_append(cpu, &heads, &rope, &norm, q_norm, k_norm, qkv, cache, 0));
    gpu_values(cpu, qkv, tokens * width, DTYPE_FLOAT32, expected);
    float *is = gather(&step, trial->qkv, width);
    const double roped = gpu_distance(is, expected, tokens * width);
    free(is);
    free(expected);

    float *rounded = gather_rounded(trial, &step);
    check(op->upload(cpu, qkv, 0, rounded, tokens * width * sizeof(float)));
    check(op->rope_append(cpu, &heads, NULL, &norm, NULL, NULL, qkv, cache, 0));
    check(op->attention(cpu, &heads, &facts, qkv, cache, 0, NULL, out));
    expected = new_values(tokens * out_width);
    gpu_values(cpu, out, tokens * out_width, DTYPE_FLOAT32, expected);
    is = gather(&step, trial->out, out_width);
    double worst = 0; /* of a token's head */
    size_t worst_at = 0;
    for (size_t i = 0; i < tokens * (size_t)trial->query_heads; i++) {
        const double distance =
            gpu_distance(is + i * (size_t)shape->head_dim, expected + i * (size_t)shape->head_dim,
                         (size_t)shape->head_dim);
        if (distance > worst) {
            worst = distance;
            worst_at = i;
        }
    }
    const double distance = gpu_distance(is, expected, tokens * out_width);
    const size_t token = worst_at / (size_t)trial->query_heads;
    print_message("%-28s %-24s rope %.1e, attention %.1e, worst %.1e (sequence of token %zu at "
                  "position %d, head %zu: %g, expected %g)\n",
                  shape->what, trial->types->name, roped, distance, worst, token,
                  step.positions[token], worst_at % (size_t)trial->query_heads,
                  (double)is[worst_at * (size_t)shape->head_dim],
                  (double)expected[worst_at * (size_t)shape->head_dim]);
    expect(roped < trial->types->rope, "rope", shape->what, trial->types->name, roped);
    expect(distance < trial->types->attention, "attention", shape->what, trial->types->name,
           distance);
    expect(worst < 5 * trial->types->attention, "worst head", shape->what, trial->types->name,
           worst);
    free(is);
    free(expected);
    free(rounded);
    free(step.table);
    op->buffer_destroy(cpu, qkv);
    op->buffer_destroy(cpu, out);
    op->vector_destroy(cpu, q_norm);
    op->vector_destroy(cpu, k_norm);
    op->vector_destroy(cpu, sinks);
    op->kv_destroy(cpu, cache);
}

static void attention_is_right(void **state)
{
    (void)state;
    const struct way ways[] = {{"", 7, MOST_TOKENS, 1, 1, 16}};
    failures = 0;
    struct backend *cpu = gpu_backend("cpu", DTYPE_FLOAT32, MOST_TOKENS, 8);
    for (size_t t = 0; t < ALL_TYPES; t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, MOST_TOKENS, 8);
        for (size_t i = 0; i < COUNT_OF(shapes); i++) {
            if ((t >= COMMON_TYPES && i % 3 != 0) ||
                gpu_leaves_out(t * COUNT_OF(shapes) + i, shapes[i].lengths[0], 600)) {
                continue;
            }
            struct trial trial;
            trial_create(&trial, &shapes[i], &types[t]);
            run_way(&trial, gpu, &ways[0]);
            compare(&trial, cpu);
            trial_destroy(&trial);
        }
        gpu->operations->destroy(gpu);
    }
    cpu->operations->destroy(cpu);
    assert_int_equal(failures, 0);
}

/* ---- Bits ---- */

/* The values of the sequences in `set`, heads from first_query of `should` on. */
static void compare_bits(const struct trial *is, const struct trial *should, const char *what,
                         unsigned set)
{
    const size_t dim = (size_t)is->shape->head_dim;
    const size_t width = (size_t)out_width_of(is), whole = (size_t)out_width_of(should);
    size_t differ = 0, values = 0;
    int sequence = -1, position = -1, last_position = -1;
    float one = 0, other = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        for (int p = 0; (set >> s & 1) && p < is->shape->lengths[s]; p++) {
            const float *a = is->out[s] + (size_t)p * width;
            const float *b = should->out[s] + (size_t)p * whole + (size_t)is->first_query * dim;
            for (size_t k = 0; k < width; k++) {
                values++;
                if (memcmp(a + k, b + k, sizeof *a) == 0) {
                    continue;
                }
                if (differ++ == 0) {
                    sequence = s;
                    position = p;
                    one = a[k];
                    other = b[k];
                }
                last_position = p;
            }
        }
    }
    if (differ > 0) {
        failures++;
        print_error("WRONG: bits: %s, %s, %s: %zu of %zu values differ, first in sequence %d at "
                    "position %d (last position %d): %.9g, otherwise %.9g\n",
                    is->shape->what, is->types->name, what, differ, values, sequence, position,
                    last_position, (double)one, (double)other);
    }
}

static void bits_know_no_batch(void **state)
{
    (void)state;
    static const struct way whole = {"whole", 7, MOST_TOKENS, 1, 1, 16};
    static const struct way ways[] = {
        {"alone", 1, MOST_TOKENS, 1, 7, 16},
        {"alone, second", 2, MOST_TOKENS, 1, 11, 32},
        {"two, blocks of 8", 6, MOST_TOKENS, 1, 13, 8},
        {"blocks of 8, chunks of 100", 7, 100, 100, 13, 8},
        {"chunks of 64", 5, 64, 64, 1, 32},
        {"chunks of 17", 7, 17, 17, 7, 16},
        {"chunks of 5", 7, 5, 5, 11, 16},
        {"token by token", 7, 1, 1, 1, 16},
    };
    failures = 0;
    for (size_t t = 0; t < COMMON_TYPES; t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, MOST_TOKENS, 8);
        for (size_t i = 0; i < COUNT_OF(shapes); i++) {
            struct trial first, other;
            trial_create(&first, &shapes[i], &types[t]);
            trial_create(&other, &shapes[i], &types[t]);
            run_way(&first, gpu, &whole);
            const bool is_long = shapes[i].lengths[0] > 2000;
            for (size_t w = 0; w < COUNT_OF(ways); w++) {
                struct way way = ways[w];
                if (shapes[i].bidirectional && way.first < MOST_TOKENS) {
                    continue; /* sequences run whole */
                }
                if (is_long && way.chunk < 64 && way.first < 64) {
                    way.first = shapes[i].lengths[0] - 20 * way.chunk; /* the end in chunks */
                }
                run_way(&other, gpu, &way);
                compare_bits(&other, &first, way.what, way.set);
            }
            trial_destroy(&first);
            trial_destroy(&other);
        }
        print_message("bits by batch, %s: %d cases differ so far\n", types[t].name, failures);
        gpu->operations->destroy(gpu);
    }
    assert_int_equal(failures, 0);
}

static void bits_know_no_ranks(void **state)
{
    (void)state;
    static const struct way whole = {"whole", 7, MOST_TOKENS, 1, 1, 16};
    static const struct way decode = {"token by token", 7, 120, 1, 1, 16};
    failures = 0;
    for (size_t t = 0; t < COMMON_TYPES; t++) {
        struct backend *gpu = gpu_backend("cuda", types[t].compute, MOST_TOKENS, 8);
        for (size_t i = 0; i < COUNT_OF(shapes); i++) {
            if (shapes[i].lengths[0] > 2000) {
                continue;
            }
            struct trial first;
            trial_create(&first, &shapes[i], &types[t]);
            run_way(&first, gpu, &whole);
            const int heads = shapes[i].query_heads;
            const int cuts[][2] = {
                {0, heads / 2}, {heads / 2, heads - heads / 2}, {heads - 1, 1}, {0, heads - 1}};
            for (size_t c = 0; c < COUNT_OF(cuts); c++) {
                struct trial part;
                char what[100];
                trial_cut(&first, cuts[c][0], cuts[c][1], &part);
                snprintf(what, sizeof what, "heads %d to %d", cuts[c][0],
                         cuts[c][0] + cuts[c][1] - 1);
                run_way(&part, gpu, c % 2 == 0 || shapes[i].bidirectional ? &whole : &decode);
                compare_bits(&part, &first, what, 7);
                trial_destroy(&part);
            }
            trial_destroy(&first);
        }
        print_message("bits by rank, %s: %d cases differ so far\n", types[t].name, failures);
        gpu->operations->destroy(gpu);
    }
    assert_int_equal(failures, 0);
}

/* ---- Refusals ---- */

static void wrong_blocks_are_refused(void **state)
{
    (void)state;
    struct backend *backend = gpu_backend("cuda", DTYPE_BFLOAT16, 16, 4);
    const struct backend_operations *op = backend->operations;
    struct kv_cache *cache;
    const struct cache_store stores[] = {{STORE_KEYS_VALUES, 1, 64, 0},
                                         {STORE_KEYS_VALUES, 3, 32, 0}};
    struct cache_layout layout = {
        .layers = 2, .stores = stores, .block_tokens = 16, .dtype = DTYPE_FLOAT8_E4M3};
    assert_int_equal(op->kv_block_bytes(backend, &layout), 2 * 16 * (64 + 3 * 32));
    layout.dtype = DTYPE_BFLOAT16;
    layout.layers = 1;
    layout.block_tokens = 24;
    assert_int_equal(op->kv_create(backend, &layout, 4, &cache), STATUS_INVALID);
    layout.block_tokens = 16;
    check(op->kv_create(backend, &layout, 4, &cache));
    float values[192];
    gpu_random(values, COUNT_OF(values), 1, 1.0f);
    struct device_buffer *qkv = gpu_buffer(backend, values, COUNT_OF(values), DTYPE_BFLOAT16);
    struct device_buffer *out = gpu_buffer(backend, NULL, 64, DTYPE_BFLOAT16);
    static const int32_t map[1] = {0};
    const struct head_layout heads = {
        .query_heads = 1, .kv_heads = 1, .head_dim = 64, .kv_head = map};
    const struct attention_facts facts = {.scale = 0.125f};
    int32_t zero = 0, block = 4, start[2] = {0, 1}, length = 1;
    struct batch batch = {.tokens = 1,
                          .sequences = 1,
                          .token_ids = &zero,
                          .positions = &zero,
                          .query_start = start,
                          .context_length = &length,
                          .block_table = &block,
                          .block_table_stride = 1};
    for (int i = 0; i < 2; i++) {
        block = i == 0 ? 4 : -1;
        check(op->step_begin(backend, &batch));
        assert_int_equal(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 0),
                         STATUS_INTERNAL);
        assert_int_equal(op->attention(backend, &heads, &facts, qkv, cache, 0, NULL, out),
                         STATUS_INTERNAL);
    }
    block = 3;
    check(op->step_begin(backend, &batch));
    assert_int_equal(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 1),
                     STATUS_INTERNAL);
    check(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 0));
    check(op->attention(backend, &heads, &facts, qkv, cache, 0, NULL, out));
    float result[64];
    gpu_values(backend, out, 64, DTYPE_BFLOAT16, result);
    gpu_round(values, COUNT_OF(values), DTYPE_BFLOAT16);
    assert_memory_equal(result, values + 128, sizeof result); /* one key: its value */
    /* What follows, or comes before, is not all in the step. */
    const struct attention_facts both_ways = {.scale = 0.125f, .bidirectional = true};
    int32_t one = 1;
    batch.positions = &one;
    length = 2;
    check(op->step_begin(backend, &batch));
    check(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 0));
    assert_int_equal(op->attention(backend, &heads, &both_ways, qkv, cache, 0, NULL, out),
                     STATUS_INTERNAL);
    assert_int_equal(op->kv_scale(backend, cache, 1, 1.0f, 1.0f), STATUS_INTERNAL);
    assert_int_equal(op->kv_scale(backend, cache, 0, 0.0f, 1.0f), STATUS_INTERNAL);
    op->buffer_destroy(backend, qkv);
    op->buffer_destroy(backend, out);
    op->kv_destroy(backend, cache);
    op->destroy(backend);
}

int main(void)
{
    gpu_prepare();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_blocks_are_refused),
        cmocka_unit_test(attention_is_right),
        cmocka_unit_test(bits_know_no_batch),
        cmocka_unit_test(bits_know_no_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
