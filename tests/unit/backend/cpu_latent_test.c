/* SPDX-License-Identifier: Apache-2.0 */
/* Latent attention of the CPU backend against the form that makes keys and values, in double; and
 * the same bits however a sequence is cut into steps and with which kernels. */
#include "cpu_fixture.h"

#include <math.h>

enum {
    TOKENS = 150, /* more than a chunk of attention */
    BLOCK = 16,
    BLOCKS = 10,
    HEADS = 5,
    LATENT = 37,
    ROPE = 6,
    KEY = 11,
    VALUE = 13,
    WIDE = LATENT + ROPE,
    Q = KEY + ROPE,
};

static const int32_t kv_head[HEADS] = {0};
static const struct latent_facts facts = {
    .heads = {.query_heads = HEADS, .kv_heads = 1, .head_dim = WIDE, .kv_head = kv_head},
    .latent_dim = LATENT,
    .rope_dim = ROPE,
    .key_dim = KEY,
    .value_dim = VALUE,
    .scale = 0.3f,
    .epsilon = 1e-6f};
static const float frequency[ROPE / 2] = {1.0f, 0.1f, 0.01f};
static const struct rope_facts rope = {
    .dimensions = ROPE, .inverse_frequency = frequency, .magnitude = 1};

/* What a layer is given. */
struct inputs {
    float *latent, *q, *norm, *key_up, *value_up;
};

static struct inputs make_inputs(void)
{
    return (struct inputs){.latent = fixture_random(TOKENS * WIDE, 1),
                           .q = fixture_random(TOKENS * HEADS * Q, 2),
                           .norm = fixture_random(LATENT, 3),
                           .key_up = fixture_random(HEADS * LATENT * KEY, 4),
                           .value_up = fixture_random(HEADS * VALUE * LATENT, 5)};
}

static void free_inputs(struct inputs *in)
{
    free(in->latent);
    free(in->q);
    free(in->norm);
    free(in->key_up);
    free(in->value_up);
}

/* ---- The plain form ---- */

static void rotate(const float *from, int position, double *to)
{
    for (int i = 0; i < ROPE / 2; i++) {
        const double angle = (double)(float)(position * frequency[i]);
        to[i] = from[i] * cos(angle) - from[i + ROPE / 2] * sin(angle);
        to[i + ROPE / 2] = from[i + ROPE / 2] * cos(angle) + from[i] * sin(angle);
    }
}

static void normalize(const struct inputs *in, int token, double *to)
{
    const float *from = in->latent + (size_t)token * WIDE;
    double sum = 0;
    for (int i = 0; i < LATENT; i++) {
        sum += (double)from[i] * (double)from[i];
    }
    for (int i = 0; i < LATENT; i++) {
        to[i] = from[i] / sqrt(sum / LATENT + 1e-6) * in->norm[i];
    }
}

/* A head's key of a position: what the latent makes, then the rotary part. */
static void make_key(const struct inputs *in, int head, int token, double *key)
{
    double latent[LATENT];
    normalize(in, token, latent);
    for (int k = 0; k < KEY; k++) {
        key[k] = 0;
        for (int i = 0; i < LATENT; i++) {
            key[k] += (double)in->key_up[(head * LATENT + i) * KEY + k] * latent[i];
        }
    }
    rotate(in->latent + (size_t)token * WIDE + LATENT, token, key + KEY);
}

static void attend(const struct inputs *in, int head, int token, double out[VALUE])
{
    const float *from = in->q + ((size_t)token * HEADS + (size_t)head) * Q;
    double q[Q], key[Q], latent[LATENT], weight[TOKENS], largest = -INFINITY, total = 0;
    for (int k = 0; k < KEY; k++) {
        q[k] = (double)from[k];
    }
    rotate(from + KEY, token, q + KEY);
    for (int t = 0; t <= token; t++) {
        make_key(in, head, t, key);
        weight[t] = 0;
        for (int k = 0; k < Q; k++) {
            weight[t] += q[k] * key[k] * (double)facts.scale;
        }
        largest = fmax(largest, weight[t]);
    }
    memset(out, 0, VALUE * sizeof *out);
    for (int t = 0; t <= token; t++) {
        total += weight[t] = exp(weight[t] - largest);
    }
    for (int t = 0; t <= token; t++) {
        normalize(in, t, latent);
        for (int v = 0; v < VALUE; v++) {
            for (int i = 0; i < LATENT; i++) {
                out[v] += weight[t] / total * latent[i] *
                          (double)in->value_up[(head * VALUE + v) * LATENT + i];
            }
        }
    }
}

/* ---- The backend's ---- */

static struct matrix *make_stack(struct backend *backend, int rows, int columns,
                                 const float *values)
{
    struct matrix *matrix;
    check(backend->operations->matrix_create(backend, HEADS, rows, columns, NULL, 0, WEIGHT_FLOAT32,
                                             &matrix));
    for (int head = 0; head < HEADS; head++) {
        const struct weight_rows part = {.data = values + (size_t)head * (size_t)(rows * columns),
                                         .format = WEIGHT_FLOAT32,
                                         .stride = (size_t)columns};
        check(backend->operations->matrix_write(backend, matrix, head, 0, rows, &part));
    }
    return matrix;
}

static struct kv_cache *make_cache(struct backend *backend, enum dtype dtype)
{
    const struct cache_store store = {STORE_LATENT, 1, WIDE, 0};
    const struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = BLOCK, .dtype = dtype};
    struct kv_cache *cache;
    check(backend->operations->kv_create(backend, &layout, BLOCKS, &cache));
    /* One row for all heads, in whole vectors. */
    assert_int_equal(backend->operations->kv_block_bytes(backend, &layout),
                     BLOCK * 48 * (dtype == DTYPE_FLOAT32 ? 4 : 2));
    return cache;
}

/* out [TOKENS, HEADS · VALUE], in steps of `chunk` tokens. */
static void run(const struct inputs *in, struct variant variant, enum dtype dtype, int chunk,
                float *out)
{
    struct backend *backend = fixture_backend(variant);
    const struct backend_operations *op = backend->operations;
    struct kv_cache *cache = make_cache(backend, dtype);
    struct matrix *key_up = make_stack(backend, LATENT, KEY, in->key_up);
    struct matrix *value_up = make_stack(backend, VALUE, LATENT, in->value_up);
    struct vector *norm = fixture_vector(backend, in->norm, LATENT);
    int32_t ids[TOKENS] = {0}, positions[TOKENS], blocks[BLOCKS];
    for (int i = 0; i < TOKENS; i++) {
        positions[i] = i;
        blocks[i % BLOCKS] = BLOCKS - 1 - i % BLOCKS;
    }
    for (int done = 0; done < TOKENS; done += chunk) {
        const int count = TOKENS - done < chunk ? TOKENS - done : chunk;
        const int32_t start[] = {0, count}, context = done + count;
        const struct batch batch = {.tokens = count,
                                    .sequences = 1,
                                    .token_ids = ids,
                                    .positions = positions + done,
                                    .query_start = start,
                                    .context_length = &context,
                                    .block_table = blocks,
                                    .block_table_stride = BLOCKS};
        const size_t at = (size_t)done, n = (size_t)count;
        struct device_buffer *latent = fixture_buffer(backend, in->latent + at * WIDE, n * WIDE);
        struct device_buffer *q = fixture_buffer(backend, in->q + at * HEADS * Q, n * HEADS * Q);
        struct device_buffer *queries = fixture_buffer(backend, NULL, n * HEADS * WIDE);
        struct device_buffer *attended = fixture_buffer(backend, NULL, n * HEADS * LATENT);
        struct device_buffer *to = fixture_buffer(backend, NULL, n * HEADS * VALUE);
        check(op->step_begin(backend, &batch));
        check(op->latent_append(backend, &facts, &rope, norm, latent, cache, 0));
        check(op->latent_queries(backend, &facts, &rope, key_up, q, queries));
        check(
            op->latent_attention(backend, &facts, value_up, queries, cache, 0, attended, NULL, to));
        check(op->download(backend, to, 0, out + at * HEADS * VALUE,
                           n * HEADS * VALUE * sizeof(float)));
        struct device_buffer *buffers[] = {latent, q, queries, attended, to};
        for (size_t i = 0; i < COUNT_OF(buffers); i++) {
            op->buffer_destroy(backend, buffers[i]);
        }
    }
    op->vector_destroy(backend, norm);
    op->matrix_destroy(backend, key_up);
    op->matrix_destroy(backend, value_up);
    op->kv_destroy(backend, cache);
    op->destroy(backend);
}

static void equals_the_form_with_keys_and_values(void **state)
{
    (void)state;
    static float out[TOKENS * HEADS * VALUE], half[TOKENS * HEADS * VALUE];
    struct inputs in = make_inputs();
    run(&in, (struct variant){cpu_kernels_best(), 2}, DTYPE_FLOAT32, TOKENS, out);
    run(&in, (struct variant){cpu_kernels_best(), 2}, DTYPE_BFLOAT16, TOKENS, half);
    for (int token = 0; token < TOKENS; token += token < 20 ? 1 : 13) {
        for (int head = 0; head < HEADS; head++) {
            double should[VALUE];
            attend(&in, head, token, should);
            for (int v = 0; v < VALUE; v++) {
                const int at = (token * HEADS + head) * VALUE + v;
                assert_true(fabs(out[at] - should[v]) < 2e-5);
                assert_true(fabs(half[at] - should[v]) < 0.1);
            }
        }
    }
    free_inputs(&in);
}

static void bits_do_not_depend_on_steps_and_kernels(void **state)
{
    (void)state;
    static float whole[TOKENS * HEADS * VALUE], other[TOKENS * HEADS * VALUE];
    static const int chunks[] = {1, 7, 64, TOKENS};
    struct variant variants[FIXTURE_VARIANTS];
    const int count = fixture_variants(variants);
    struct inputs in = make_inputs();
    for (int kind = 0; kind < 2; kind++) {
        const enum dtype dtype = kind == 0 ? DTYPE_FLOAT32 : DTYPE_BFLOAT16;
        run(&in, variants[0], dtype, TOKENS, whole);
        for (int i = 0; i < count; i++) {
            for (size_t c = 0; c < COUNT_OF(chunks); c++) {
                run(&in, variants[i], dtype, chunks[c], other);
                assert_memory_equal(whole, other, sizeof whole);
            }
        }
    }
    free_inputs(&in);
}

/* Attention over keys and values does not take such a cache, nor this one another's. */
static void other_caches_are_refused(void **state)
{
    (void)state;
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    struct kv_cache *cache = make_cache(backend, DTYPE_FLOAT32), *plain;
    const struct cache_store store = {STORE_KEYS_VALUES, 1, WIDE, 0};
    const struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = BLOCK, .dtype = DTYPE_FLOAT32};
    check(op->kv_create(backend, &layout, BLOCKS, &plain));
    static const float ones[LATENT];
    struct vector *norm = fixture_vector(backend, ones, LATENT);
    struct vector *short_norm = fixture_vector(backend, ones, LATENT - 1);
    struct device_buffer *rows = fixture_buffer(backend, NULL, (HEADS + 2) * WIDE);
    const int32_t id = 0, position = 0, start[] = {0, 1}, context = 1;
    const struct batch batch = {.tokens = 1,
                                .sequences = 1,
                                .token_ids = &id,
                                .positions = &position,
                                .query_start = start,
                                .context_length = &context,
                                .block_table = &id,
                                .block_table_stride = 1};
    check(op->step_begin(backend, &batch));
    assert_int_equal(op->latent_append(backend, &facts, &rope, norm, rows, plain, 0),
                     STATUS_INTERNAL);
    assert_int_equal(op->latent_append(backend, &facts, &rope, norm, rows, cache, 1),
                     STATUS_INTERNAL);
    assert_int_equal(op->latent_append(backend, &facts, &rope, short_norm, rows, cache, 0),
                     STATUS_INTERNAL);
    assert_int_equal(op->rope_append(backend, &facts.heads, NULL, NULL, NULL, NULL, rows, cache, 0),
                     STATUS_INTERNAL);
    check(op->latent_append(backend, &facts, &rope, norm, rows, cache, 0));
    op->buffer_destroy(backend, rows);
    op->vector_destroy(backend, norm);
    op->vector_destroy(backend, short_norm);
    op->kv_destroy(backend, cache);
    op->kv_destroy(backend, plain);
    op->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_form_with_keys_and_values),
        cmocka_unit_test(bits_do_not_depend_on_steps_and_kernels),
        cmocka_unit_test(other_caches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
