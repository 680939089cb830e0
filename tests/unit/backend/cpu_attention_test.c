/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary embedding, cache and attention of the CPU backend against a plain reference in double, and
 * the same bits however a sequence is cut into steps, batched and placed. */
#include "cpu_fixture.h"

#include <math.h>

enum {
    SEQUENCES = 3,
    MAX_CONTEXT = 300,
    BLOCK_TOKENS = 32,
    STRIDE = MAX_CONTEXT / BLOCK_TOKENS + 1
};

struct shape {
    const char *what;
    int query_heads, kv_heads, head_dim, rotated;
    int32_t kv_head[12];
    int window;
    float soft_cap;
    bool norm;
    enum dtype kv;
    bool bidirectional; /* runs whole sequences in a step */
};

static const struct shape shapes[] = {
    {"grouped", 9, 3, 64, 64, {0, 0, 0, 1, 1, 1, 2, 2, 2}, 0, 0, false, DTYPE_FLOAT32, false},
    {"one head each, window", 2, 2, 8, 8, {0, 1}, 16, 0, false, DTYPE_FLOAT32, false},
    {"any map, soft cap", 5, 3, 24, 12, {2, 0, 2, 1, 0}, 0, 1.5f, true, DTYPE_FLOAT32, false},
    {"one for all, wide window", 12, 1, 80, 80, {0}, 129, 0, false, DTYPE_FLOAT32, false},
    {"large heads", 4, 2, 256, 256, {0, 0, 1, 1}, 0, 30, true, DTYPE_FLOAT32, false},
    {"odd size, bfloat16", 4, 2, 6, 4, {0, 0, 1, 1}, 40, 0, false, DTYPE_BFLOAT16, false},
    {"bfloat16", 6, 2, 32, 32, {0, 0, 0, 1, 1, 1}, 0, 0, true, DTYPE_BFLOAT16, false},
    {"both directions",
     12,
     12,
     32,
     32,
     {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
     0,
     0,
     false,
     DTYPE_FLOAT32,
     true},
    {"both directions, bfloat16", 4, 2, 24, 8, {0, 0, 1, 1}, 0, 0, true, DTYPE_BFLOAT16, true},
};

static const int lengths[SEQUENCES] = {MAX_CONTEXT, 37, 150};

/* One model layer's inputs and what each way of running it computed. */
struct trial {
    const struct shape *shape;
    float *qkv[SEQUENCES]; /* [length, (query heads + 2 · kv heads) · head_dim] */
    float *out[SEQUENCES]; /* [length, query heads · head_dim] */
    float frequency[128], long_frequency[128], q_norm[256], k_norm[256];
};

static int width_of(const struct shape *shape)
{
    return (shape->query_heads + 2 * shape->kv_heads) * shape->head_dim;
}

static const struct norm_facts norm_facts = {.epsilon = 1e-5f, .weight_offset = 1.0f};

static void trial_create(struct trial *trial, const struct shape *shape)
{
    trial->shape = shape;
    for (int s = 0; s < SEQUENCES; s++) {
        trial->qkv[s] =
            fixture_random((size_t)lengths[s] * (size_t)width_of(shape), (uint32_t)s + 10);
        trial->out[s] = calloc((size_t)lengths[s] * (size_t)(shape->query_heads * shape->head_dim),
                               sizeof(float));
        assert_non_null(trial->out[s]);
    }
    for (int i = 0; i < 128; i++) {
        trial->frequency[i] = powf(100.0f, -(float)i / 16);
        trial->long_frequency[i] = trial->frequency[i] / 3;
    }
    for (int i = 0; i < 256; i++) {
        trial->q_norm[i] = 0.01f * (float)(i % 7);
        trial->k_norm[i] = -0.02f * (float)(i % 5);
    }
}

static void trial_destroy(struct trial *trial)
{
    for (int s = 0; s < SEQUENCES; s++) {
        free(trial->qkv[s]);
        free(trial->out[s]);
    }
}

/* The facts with their head layout; sequence 1 uses the long frequencies. */
static struct rope_facts rope_of(const struct trial *trial)
{
    return (struct rope_facts){.dimensions = trial->shape->rotated,
                               .inverse_frequency = trial->frequency,
                               .long_inverse_frequency = trial->long_frequency,
                               .magnitude = 1.0f,
                               .long_magnitude = 1.25f};
}

/* One step of sequences in `set`: tokens [done, done + chunk) of each. */
static bool trial_step(struct trial *trial, struct backend *backend, struct kv_cache *cache,
                       unsigned set, int done, int chunk, int shuffle)
{
    const struct backend_operations *op = backend->operations;
    const struct shape *shape = trial->shape;
    const int width = width_of(shape), out_width = shape->query_heads * shape->head_dim;
    int32_t ids[FIXTURE_TOKENS] = {0}, positions[FIXTURE_TOKENS], start[SEQUENCES + 1] = {0},
            context[SEQUENCES], table[SEQUENCES * STRIDE];
    uint8_t is_long[SEQUENCES];
    int source[SEQUENCES];
    struct batch batch = {.token_ids = ids,
                          .positions = positions,
                          .query_start = start,
                          .context_length = context,
                          .block_table = table,
                          .block_table_stride = STRIDE,
                          .long_rope = is_long};
    for (int s = 0; s < SEQUENCES; s++) {
        const int left = lengths[s] - done;
        if ((set >> s & 1) == 0 || left <= 0) {
            continue;
        }
        const int here = left < chunk ? left : chunk;
        for (int i = 0; i < here; i++) {
            positions[batch.tokens++] = done + i;
        }
        for (int i = 0; i < STRIDE; i++) {
            table[batch.sequences * STRIDE + i] =
                ((s * STRIDE + i) * shuffle + 3) % (SEQUENCES * STRIDE);
        }
        is_long[batch.sequences] = s == 1;
        source[batch.sequences] = s;
        context[batch.sequences++] = done + here;
        start[batch.sequences] = batch.tokens;
    }
    if (batch.tokens == 0) {
        return false;
    }
    struct device_buffer *qkv = fixture_buffer(backend, NULL, (size_t)batch.tokens * (size_t)width);
    struct device_buffer *out =
        fixture_buffer(backend, NULL, (size_t)batch.tokens * (size_t)out_width);
    for (int s = 0; s < batch.sequences; s++) {
        check(op->upload(backend, qkv, (size_t)start[s] * (size_t)width * sizeof(float),
                         trial->qkv[source[s]] + (size_t)done * (size_t)width,
                         (size_t)(start[s + 1] - start[s]) * (size_t)width * sizeof(float)));
    }
    const struct head_layout heads = {.query_heads = shape->query_heads,
                                      .kv_heads = shape->kv_heads,
                                      .head_dim = shape->head_dim,
                                      .kv_head = shape->kv_head};
    const struct rope_facts rope = rope_of(trial);
    const struct attention_facts facts = {.scale = 0.3f,
                                          .soft_cap = shape->soft_cap,
                                          .window = shape->window,
                                          .bidirectional = shape->bidirectional};
    struct vector *q_norm =
        shape->norm ? fixture_vector(backend, trial->q_norm, shape->head_dim) : NULL;
    struct vector *k_norm =
        shape->norm ? fixture_vector(backend, trial->k_norm, shape->head_dim) : NULL;
    check(op->step_begin(backend, &batch));
    check(op->rope_append(backend, &heads, &rope, &norm_facts, q_norm, k_norm, qkv, cache, 1));
    check(op->attention(backend, &heads, &facts, qkv, cache, 1, NULL, out));
    for (int s = 0; s < batch.sequences; s++) {
        check(op->download(backend, out, (size_t)start[s] * (size_t)out_width * sizeof(float),
                           trial->out[source[s]] + (size_t)done * (size_t)out_width,
                           (size_t)(start[s + 1] - start[s]) * (size_t)out_width * sizeof(float)));
    }
    op->vector_destroy(backend, q_norm);
    op->vector_destroy(backend, k_norm);
    op->buffer_destroy(backend, qkv);
    op->buffer_destroy(backend, out);
    return true;
}

/* Fresh caches hold NaN: what a sequence has not written must not reach it. */
static void trial_run(struct trial *trial, struct variant variant, unsigned set, int chunk,
                      int shuffle)
{
    struct backend *backend = fixture_backend(variant);
    const struct shape *shape = trial->shape;
    struct kv_cache *cache;
    /* The layer that is read has another of another shape before it. */
    const struct cache_store stores[] = {
        {STORE_KEYS_VALUES, shape->kv_heads + 1, shape->head_dim + 3, 0},
        {STORE_KEYS_VALUES, shape->kv_heads, shape->head_dim, 0}};
    const struct cache_layout layout = {
        .layers = 2, .stores = stores, .block_tokens = BLOCK_TOKENS, .dtype = shape->kv};
    check(backend->operations->kv_create(backend, &layout, SEQUENCES * STRIDE, &cache));
    memset(cache->keys.data, 0xff, cache->keys.bytes);
    memset(cache->values.data, 0xff, cache->values.bytes);
    if (shape->bidirectional) {
        chunk = MAX_CONTEXT;
    }
    for (int done = 0; trial_step(trial, backend, cache, set, done, chunk, shuffle);
         done += chunk) {
    }
    backend->operations->kv_destroy(backend, cache);
    backend->operations->destroy(backend);
}

/* ---- The reference ---- */

static void reference_head(const struct trial *trial, int sequence, int position,
                           const float *values, const float *weight, double *out)
{
    const int dim = trial->shape->head_dim, half = trial->shape->rotated / 2;
    double squares = 0, head[256];
    for (int i = 0; i < dim; i++) {
        squares += (double)values[i] * values[i];
    }
    for (int i = 0; i < dim; i++) {
        head[i] = weight == NULL ? (double)values[i]
                                 : values[i] / sqrt(squares / dim + 1e-5) * (1.0 + weight[i]);
    }
    memcpy(out, head, (size_t)dim * sizeof *out);
    for (int i = 0; i < half; i++) {
        const float *frequency = sequence == 1 ? trial->long_frequency : trial->frequency;
        const double magnitude = sequence == 1 ? 1.25 : 1.0;
        const double angle = (float)position * frequency[i];
        const double c = cos(angle) * magnitude, s = sin(angle) * magnitude;
        out[i] = head[i] * c - head[half + i] * s;
        out[half + i] = head[half + i] * c + head[i] * s;
    }
}

static void reference_attention(const struct trial *trial, int sequence, int position, int head,
                                double *out)
{
    const struct shape *shape = trial->shape;
    const int dim = shape->head_dim, width = width_of(shape);
    const int kv = shape->kv_head[head];
    const float *rows = trial->qkv[sequence];
    double query[256], key[256], weight[MAX_CONTEXT], total = 0, largest = -INFINITY;
    const int oldest =
        shape->window > 0 && position >= shape->window ? position - shape->window + 1 : 0;
    const int last = shape->bidirectional ? lengths[sequence] - 1 : position;
    reference_head(trial, sequence, position, rows + position * width + head * dim,
                   shape->norm ? trial->q_norm : NULL, query);
    for (int j = oldest; j <= last; j++) {
        reference_head(trial, sequence, j, rows + j * width + (shape->query_heads + kv) * dim,
                       shape->norm ? trial->k_norm : NULL, key);
        double score = 0;
        for (int i = 0; i < dim; i++) {
            score += query[i] * key[i];
        }
        score *= 0.3f;
        weight[j] = shape->soft_cap > 0 ? shape->soft_cap * tanh(score / shape->soft_cap) : score;
        largest = weight[j] > largest ? weight[j] : largest;
    }
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int j = oldest; j <= last; j++) {
        weight[j] = exp(weight[j] - largest);
        total += weight[j];
        const float *value = rows + j * width + (shape->query_heads + shape->kv_heads + kv) * dim;
        for (int i = 0; i < dim; i++) {
            out[i] += weight[j] * (double)value[i];
        }
    }
    for (int i = 0; i < dim; i++) {
        out[i] /= total;
    }
}

/* ---- Tests ---- */

static void attention_is_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        struct trial trial;
        trial_create(&trial, &shapes[i]);
        const struct variant ways[] = {{cpu_kernels_best(), 2}, {&cpu_kernels_baseline, 1}};
        for (size_t w = 0; w < COUNT_OF(ways); w++) {
            trial_run(&trial, ways[w], 7, 150, 1);
            for (int s = 0; s < SEQUENCES; s++) {
                for (int position = 0; position < lengths[s]; position += 11) {
                    for (int head = 0; head < shapes[i].query_heads; head++) {
                        double out[256];
                        reference_attention(&trial, s, position, head, out);
                        const float *is = trial.out[s] + (position * shapes[i].query_heads + head) *
                                                             shapes[i].head_dim;
                        for (int d = 0; d < shapes[i].head_dim; d++) {
                            assert_near(is[d], out[d], shapes[i].kv == DTYPE_BFLOAT16 ? 2e-2 : 1e-5,
                                        shapes[i].what);
                        }
                    }
                }
            }
        }
        trial_destroy(&trial);
    }
}

static void attention_has_one_result(void **state)
{
    (void)state;
    static const struct {
        unsigned set;
        int chunk, shuffle;
    } ways[] = {{7, 150, 7}, {7, 1, 1}, {1, 64, 11}, {2, 37, 1}, {6, 23, 13}, {5, 129, 1}};
    struct variant variants[FIXTURE_VARIANTS];
    const int count = fixture_variants(variants);
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        struct trial first, other;
        trial_create(&first, &shapes[i]);
        trial_create(&other, &shapes[i]);
        trial_run(&first, variants[0], 7, 150, 1);
        for (int v = 0; v < count; v++) {
            for (size_t w = 0; w < COUNT_OF(ways); w++) {
                trial_run(&other, variants[v], ways[w].set, ways[w].chunk, ways[w].shuffle);
                for (int s = 0; s < SEQUENCES; s++) {
                    if (ways[w].set >> s & 1) {
                        assert_bits(
                            other.out[s], first.out[s],
                            (size_t)(lengths[s] * shapes[i].query_heads * shapes[i].head_dim),
                            shapes[i].what);
                    }
                }
            }
        }
        trial_destroy(&first);
        trial_destroy(&other);
    }
}

/* A block table that points outside of the cache, or a cache of another shape. */
static void wrong_blocks_are_refused(void **state)
{
    (void)state;
    struct backend *backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    const struct backend_operations *op = backend->operations;
    struct kv_cache *cache;
    const struct cache_store stores[] = {{STORE_KEYS_VALUES, 1, 8, 0},
                                         {STORE_KEYS_VALUES, 2, 24, 0}};
    struct cache_layout layout = {
        .layers = 2, .stores = stores, .block_tokens = 24, .dtype = DTYPE_FLOAT32};
    assert_int_equal(op->kv_create(backend, &layout, 4, &cache), STATUS_INVALID);
    layout.block_tokens = 16;
    layout.dtype = DTYPE_FLOAT16;
    assert_int_equal(op->kv_create(backend, &layout, 4, &cache), STATUS_UNSUPPORTED);
    layout.dtype = DTYPE_FLOAT32;
    check(op->kv_create(backend, &layout, 4, &cache));
    assert_int_equal(op->kv_block_bytes(backend, &layout) * 4,
                     (int64_t)(cache->keys.bytes + cache->values.bytes));
    struct device_buffer *qkv = fixture_buffer(backend, NULL, 24);
    static const int32_t map[1] = {0};
    const struct head_layout heads = {
        .query_heads = 1, .kv_heads = 1, .head_dim = 8, .kv_head = map};
    int32_t zero = 0, block = 4, start[2] = {0, 1}, length = 1;
    struct batch batch = {.tokens = 1,
                          .sequences = 1,
                          .token_ids = &zero,
                          .positions = &zero,
                          .query_start = start,
                          .context_length = &length,
                          .block_table = &block,
                          .block_table_stride = 1};
    check(op->step_begin(backend, &batch));
    assert_int_equal(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 0),
                     STATUS_INTERNAL);
    block = -1;
    check(op->step_begin(backend, &batch));
    assert_int_equal(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 0),
                     STATUS_INTERNAL);
    block = 3;
    check(op->step_begin(backend, &batch));
    for (int layer = 1; layer < 3; layer++) { /* of other heads; not there */
        assert_int_equal(
            op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, layer),
            STATUS_INTERNAL);
    }
    check(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 0));
    length = 2; /* the token would stand at position 1 */
    assert_int_equal(op->step_begin(backend, &batch), STATUS_INTERNAL);
    op->buffer_destroy(backend, qkv);
    op->kv_destroy(backend, cache);
    op->destroy(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_right),
        cmocka_unit_test(attention_has_one_result),
        cmocka_unit_test(wrong_blocks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
