/* SPDX-License-Identifier: Apache-2.0 */
/* Each operation of the CPU backend takes buffers of exactly the size that it needs and vectors of
 * exactly the length, and refuses what is one number off. */
#include <math.h>

#include "cpu_fixture.h"

enum { TOKENS = 3, HIDDEN = 10, ROWS = 6, DIM = 4, QUERY_HEADS = 2, KV_HEADS = 1, BLOCK = 16 };
enum { QKV = (QUERY_HEADS + 2 * KV_HEADS) * DIM, OUT = QUERY_HEADS * DIM };

static struct backend *backend;
static const struct backend_operations *op;
static const float ones[64] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static int set_up(void **state)
{
    (void)state;
    backend = fixture_backend((struct variant){cpu_kernels_best(), 1});
    op = backend->operations;
    fixture_step(backend, TOKENS, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    op->destroy(backend);
    return 0;
}

static struct matrix *new_matrix(int count, int rows, int columns, int slices)
{
    static int32_t starts[MAX_SLICES + 1];
    struct matrix *matrix;
    for (int i = 0; i <= slices; i++) {
        starts[i] = slices > 0 ? columns * i / slices : 0;
    }
    check(op->matrix_create(backend, count, rows, columns, slices > 0 ? starts : NULL, slices,
                            WEIGHT_FLOAT32, &matrix));
    return matrix;
}

/* What an operation is called with; made afresh for each call. */
struct call {
    struct device_buffer *buffers[3];
    struct vector *vectors[4];
};

typedef status operation(const struct call *call);

/* An operation, floats of its buffers and lengths of its vectors; 0: there is none. */
struct use {
    operation *run;
    int floats[3], lengths[4];
};

static status run_with(const struct use *use, const int *floats, const int *lengths)
{
    struct call call;
    for (int i = 0; i < 3; i++) {
        call.buffers[i] = floats[i] > 0 ? fixture_buffer(backend, NULL, (size_t)floats[i]) : NULL;
    }
    for (int i = 0; i < 4; i++) {
        call.vectors[i] = lengths[i] > 0 ? fixture_vector(backend, ones, lengths[i]) : NULL;
    }
    const status s = use->run(&call);
    for (int i = 0; i < 3; i++) {
        op->buffer_destroy(backend, call.buffers[i]);
    }
    for (int i = 0; i < 4; i++) {
        op->vector_destroy(backend, call.vectors[i]);
    }
    fixture_step(backend, TOKENS, NULL); /* whatever became of it */
    return s;
}

static void check_use(const struct use *use)
{
    assert_int_equal(run_with(use, use->floats, use->lengths), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        int floats[3] = {use->floats[0], use->floats[1], use->floats[2]};
        floats[i]--;
        if (use->floats[i] > 0) {
            assert_int_equal(run_with(use, floats, use->lengths), STATUS_INTERNAL);
        }
    }
    for (int i = 0; i < 4; i++) {
        for (int off = -1; off <= 1 && use->lengths[i] > 0; off += 2) {
            int lengths[4] = {use->lengths[0], use->lengths[1], use->lengths[2], use->lengths[3]};
            lengths[i] += off;
            assert_int_equal(run_with(use, use->floats, lengths), STATUS_INTERNAL);
        }
    }
}

static const struct norm_facts rms = {.epsilon = 1e-5f};

static status run_norm(const struct call *call)
{
    return op->norm(backend, &rms, call->vectors[0], call->vectors[1], call->buffers[0], HIDDEN,
                    NULL, call->buffers[1]);
}

enum { PARTS = 2 };

static status run_add_norm(const struct call *call)
{
    return op->add_norm(backend, &rms, call->buffers[0], PARTS, call->vectors[0], 1.0f,
                        call->vectors[1], call->buffers[1], HIDDEN, call->vectors[2],
                        call->vectors[3], NULL, call->buffers[2]);
}

static status run_activate(const struct call *call)
{
    return op->activate(backend, ACTIVATION_SILU, true, ROWS, call->buffers[0], NULL,
                        call->buffers[1]);
}

static status run_activate_alone(const struct call *call)
{
    return op->activate(backend, ACTIVATION_SILU, false, ROWS, call->buffers[0], NULL,
                        call->buffers[1]);
}

static status run_keep_outputs(const struct call *call)
{
    return op->keep_outputs(backend, call->buffers[0], HIDDEN, call->buffers[1], ROWS);
}

static void rows_are_checked(void **state)
{
    (void)state;
    const int hidden = TOKENS * HIDDEN;
    const struct use uses[] = {
        {run_norm, {hidden, hidden}, {HIDDEN, HIDDEN}},
        {run_norm, {hidden, hidden}, {0}},
        {run_add_norm, {PARTS * hidden, hidden, hidden}, {HIDDEN, HIDDEN, HIDDEN, HIDDEN}},
        {run_add_norm, {PARTS * hidden, hidden}, {HIDDEN, HIDDEN}},
        {run_activate, {TOKENS * 2 * ROWS, TOKENS * ROWS}, {0}},
        {run_activate_alone, {TOKENS * ROWS, TOKENS * ROWS}, {0}},
        {run_keep_outputs, {hidden, TOKENS * ROWS}, {0}},
    };
    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        check_use(&uses[i]);
    }
}

/* ---- With matrices ---- */

static struct matrix *plain, *sliced, *stack;

static status run_product(const struct call *call)
{
    return op->product(backend, plain, call->vectors[0], call->buffers[0], call->buffers[1]);
}

static status run_sliced(const struct call *call)
{
    return op->product_sliced(backend, sliced, call->buffers[0], call->buffers[1]);
}

static status run_logits(const struct call *call)
{
    return op->logits(backend, plain, 1.0f, 0.0f, call->buffers[0], call->buffers[1]);
}

static status run_embed(const struct call *call)
{
    return op->embed(backend, plain, 0, 1.0f, call->buffers[0]);
}

static status run_embed_positions(const struct call *call)
{
    return op->embed_positions(backend, plain, 0, call->buffers[0]);
}

static void products_are_checked(void **state)
{
    (void)state;
    plain = new_matrix(1, ROWS, HIDDEN, 0);
    sliced = new_matrix(1, ROWS, HIDDEN, 2);
    stack = new_matrix(2, ROWS, HIDDEN, 0);
    const int in = TOKENS * HIDDEN, out = TOKENS * ROWS;
    const struct use uses[] = {
        {run_product, {in, out}, {ROWS}}, {run_product, {in, out}, {0}},
        {run_sliced, {in, out}, {0}},     {run_logits, {in, out}, {0}},
        {run_embed, {in}, {0}},           {run_embed_positions, {in}, {0}},
    };
    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        check_use(&uses[i]);
    }
    struct device_buffer *from = fixture_buffer(backend, NULL, (size_t)in);
    struct device_buffer *to = fixture_buffer(backend, NULL, (size_t)in);
    assert_int_equal(op->product(backend, sliced, NULL, from, to), STATUS_INTERNAL);
    assert_int_equal(op->product(backend, stack, NULL, from, to), STATUS_INTERNAL);
    assert_int_equal(op->product_sliced(backend, plain, from, to), STATUS_INTERNAL);
    assert_int_equal(op->product_sliced(backend, stack, from, to), STATUS_INTERNAL);
    assert_int_equal(op->logits(backend, sliced, 1, 0, from, to), STATUS_INTERNAL);
    assert_int_equal(op->logits(backend, stack, 1, 0, from, to), STATUS_INTERNAL);
    check(op->embed_positions(backend, plain, ROWS - TOKENS, to));
    assert_int_equal(op->embed_positions(backend, plain, ROWS - TOKENS + 1, to), STATUS_INTERNAL);
    assert_string_equal(status_message(), "position 2: the table has 6, from 4 on");
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, to);
    op->matrix_destroy(backend, plain);
    op->matrix_destroy(backend, sliced);
    op->matrix_destroy(backend, stack);
}

static void rows_of_weights_are_checked(void **state)
{
    (void)state;
    struct matrix *matrix = new_matrix(2, ROWS, HIDDEN, 0);
    const struct weight_rows rows = {.data = ones, .format = WEIGHT_FLOAT32, .stride = 0};
    static const struct {
        int index, first, count;
        bool fits;
    } cases[] = {{0, 0, ROWS, true},     {1, 0, ROWS, true}, {2, 0, 1, false},    {-1, 0, 1, false},
                 {0, ROWS - 1, 1, true}, {0, ROWS, 0, true}, {0, ROWS, 1, false}, {0, -1, 1, false},
                 {0, 0, -1, false},      {0, 1, ROWS, false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(op->matrix_write(backend, matrix, cases[i].index, cases[i].first,
                                          cases[i].count, &rows),
                         cases[i].fits ? STATUS_OK : STATUS_INTERNAL);
    }
    assert_int_equal(op->matrix_input_scale(backend, matrix, 1, 2.0f), STATUS_OK);
    assert_int_equal(op->matrix_input_scale(backend, matrix, 2, 2.0f), STATUS_INTERNAL);
    op->matrix_destroy(backend, matrix);
    static const int32_t starts[][MAX_SLICES + 1] = {{0, 4, HIDDEN},
                                                     {1, 4, HIDDEN},
                                                     {0, 4, HIDDEN - 1},
                                                     {0, HIDDEN + 1, HIDDEN},
                                                     {0, 0, HIDDEN}};
    static const bool covers[] = {true, false, false, false, true};
    for (size_t i = 0; i < COUNT_OF(covers); i++) {
        assert_int_equal(
            op->matrix_create(backend, 1, ROWS, HIDDEN, starts[i], 2, WEIGHT_FLOAT32, &matrix),
            covers[i] ? STATUS_OK : STATUS_INTERNAL);
        op->matrix_destroy(backend, matrix);
    }
    static const int32_t three[] = {0, 3, 6, HIDDEN}; /* no power of two */
    assert_int_equal(op->matrix_create(backend, 1, ROWS, HIDDEN, three, 3, WEIGHT_FLOAT32, &matrix),
                     STATUS_INTERNAL);
    assert_int_equal(op->matrix_create(backend, -1, 1, 1, NULL, 0, WEIGHT_FLOAT32, &matrix),
                     STATUS_INTERNAL);
    assert_int_equal(op->matrix_create(backend, 1, -1, 1, NULL, 0, WEIGHT_FLOAT32, &matrix),
                     STATUS_INTERNAL);
    assert_int_equal(op->matrix_create(backend, 1, 1, -1, NULL, 0, WEIGHT_FLOAT32, &matrix),
                     STATUS_INTERNAL);
    assert_int_equal(op->matrix_create(backend, 1, 1, 1, NULL, -1, WEIGHT_FLOAT32, &matrix),
                     STATUS_INTERNAL);
    check(op->matrix_create(backend, 0, 0, 0, NULL, 0, WEIGHT_FLOAT32, &matrix));
    op->matrix_destroy(backend, matrix);
    struct vector *vector;
    assert_int_equal(op->vector_create(backend, -1, NULL, &vector), STATUS_INTERNAL);
    check(op->vector_create(backend, 0, NULL, &vector));
    op->vector_destroy(backend, vector);
}

/* ---- With a cache ---- */

static struct kv_cache *cache;
static const int32_t reads[QUERY_HEADS] = {0, 0};
static const struct head_layout heads = {
    .query_heads = QUERY_HEADS, .kv_heads = KV_HEADS, .head_dim = DIM, .kv_head = reads};
static const struct attention_facts facts = {.scale = 1};

static status run_append(const struct call *call)
{
    return op->rope_append(backend, &heads, NULL, &rms, call->vectors[0], call->vectors[1],
                           call->buffers[0], cache, 0);
}

static status run_attention(const struct call *call)
{
    struct device_buffer *whole = fixture_buffer(backend, NULL, TOKENS * QKV);
    check(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, whole, cache, 0));
    op->buffer_destroy(backend, whole);
    return op->attention(backend, &heads, &facts, call->buffers[0], cache, 0, NULL,
                         call->buffers[1]);
}

static void attention_is_checked(void **state)
{
    (void)state;
    const struct cache_store store = {STORE_KEYS_VALUES, KV_HEADS, DIM, 0};
    const struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = BLOCK, .dtype = DTYPE_FLOAT32};
    check(op->kv_create(backend, &layout, 2, &cache));
    const struct use uses[] = {
        {run_append, {TOKENS * QKV}, {DIM, DIM}},
        {run_append, {TOKENS * QKV}, {0}},
        {run_attention, {TOKENS * QKV, TOKENS * OUT}, {0}},
    };
    for (size_t i = 0; i < COUNT_OF(uses); i++) {
        check_use(&uses[i]);
    }
    struct device_buffer *qkv = fixture_buffer(backend, NULL, 2 * TOKENS * QKV);
    struct device_buffer *out = fixture_buffer(backend, NULL, 2 * TOKENS * OUT);
    /* Nothing was appended in this step. */
    assert_int_equal(op->attention(backend, &heads, &facts, qkv, cache, 0, NULL, out),
                     STATUS_INTERNAL);
    check(op->rope_append(backend, &heads, NULL, NULL, NULL, NULL, qkv, cache, 0));
    check(op->attention(backend, &heads, &facts, qkv, cache, 0, NULL, out));
    for (int layer = -1; layer <= 1; layer += 2) {
        assert_int_equal(op->attention(backend, &heads, &facts, qkv, cache, layer, NULL, out),
                         STATUS_INTERNAL);
    }
    for (int head = -1; head <= 1; head += 2) { /* a query head that reads one that is not there */
        const int32_t wrong[QUERY_HEADS] = {0, head};
        struct head_layout other = heads;
        other.kv_head = wrong;
        assert_int_equal(op->attention(backend, &other, &facts, qkv, cache, 0, NULL, out),
                         STATUS_INTERNAL);
    }
    static const float frequency[DIM] = {1, 1, 1, 1};
    for (int dimensions = DIM - 1; dimensions <= DIM + 2; dimensions++) { /* even, within a head */
        const struct rope_facts rope = {
            .dimensions = dimensions, .inverse_frequency = frequency, .magnitude = 1};
        fixture_step(backend, TOKENS, NULL);
        assert_int_equal(op->rope_append(backend, &heads, &rope, NULL, NULL, NULL, qkv, cache, 0),
                         dimensions == DIM ? STATUS_OK : STATUS_INTERNAL);
    }
    op->buffer_destroy(backend, qkv);
    op->buffer_destroy(backend, out);
    op->kv_destroy(backend, cache);
}

static void caches_are_checked(void **state)
{
    (void)state;
    struct cache_store store = {STORE_KEYS_VALUES, KV_HEADS, DIM, 0};
    struct cache_layout layout = {
        .layers = 1, .stores = &store, .block_tokens = BLOCK, .dtype = DTYPE_FLOAT8_E4M3};
    check(op->kv_create(backend, &layout, 0, &cache)); /* of no blocks */
    check(op->kv_scale(backend, cache, 0, 2.0f, 0.5f));
    assert_true(cache->stores[0].key_scale == 2.0f && cache->stores[0].value_scale == 0.5f);
    const float wrong[] = {0.0f, -1.0f, NAN};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_int_equal(op->kv_scale(backend, cache, 0, wrong[i], 1.0f), STATUS_INTERNAL);
        assert_int_equal(op->kv_scale(backend, cache, 0, 1.0f, wrong[i]), STATUS_INTERNAL);
    }
    assert_int_equal(op->kv_scale(backend, cache, -1, 1.0f, 1.0f), STATUS_INTERNAL);
    assert_int_equal(op->kv_scale(backend, cache, 1, 1.0f, 1.0f), STATUS_INTERNAL);
    op->kv_destroy(backend, cache);
    layout.dtype = DTYPE_BFLOAT16; /* holds keys and values as they are */
    check(op->kv_create(backend, &layout, 1, &cache));
    check(op->kv_scale(backend, cache, 0, 2.0f, 0.5f));
    assert_true(cache->stores[0].key_scale == 1.0f && cache->stores[0].value_scale == 1.0f);
    op->kv_destroy(backend, cache);
    assert_int_equal(op->kv_create(backend, &layout, -1, &cache), STATUS_INVALID);
    layout.layers = -1;
    assert_int_equal(op->kv_create(backend, &layout, 1, &cache), STATUS_INVALID);
    layout.layers = 0; /* a stage may have none */
    check(op->kv_create(backend, &layout, 1, &cache));
    op->kv_destroy(backend, cache);
    layout.layers = 1;
    for (int tokens = -16; tokens <= 32; tokens += 8) {
        layout.block_tokens = tokens;
        const bool fits = tokens == 16 || tokens == 32;
        assert_int_equal(op->kv_create(backend, &layout, 1, &cache),
                         fits ? STATUS_OK : STATUS_INVALID);
        op->kv_destroy(backend, cache);
    }
    layout.block_tokens = BLOCK;
    static const int dims[] = {0, 1, 1 << 16, (1 << 16) + 1};
    for (size_t i = 0; i < COUNT_OF(dims); i++) {
        store.head_dim = dims[i];
        const bool fits = i == 1 || i == 2;
        assert_int_equal(op->kv_create(backend, &layout, 1, &cache),
                         fits ? STATUS_OK : STATUS_INVALID);
        op->kv_destroy(backend, cache);
        assert_int_equal(op->kv_block_bytes(backend, &layout) == INT64_MAX, !fits);
    }
    store =
        (struct cache_store){STORE_KEYS_VALUES, 3, 20, 0}; /* values' rows in whole vectors: 32 */
    assert_int_equal(op->kv_block_bytes(backend, &layout), 3 * BLOCK * (20 + 32) * 2);
    layout.dtype = DTYPE_FLOAT32;
    assert_int_equal(op->kv_block_bytes(backend, &layout), 3 * BLOCK * (20 + 32) * 4);
}

/* ---- Experts ---- */

static void experts_are_checked(void **state)
{
    (void)state;
    enum { EXPERTS = 4, WIDTH = 6, USED = 2 };
    const struct shape {
        int router_rows, router_columns, gate_count, gate_rows, gate_columns, down_count,
            down_slices, router_slices, gate_slices, used;
        bool fits;
    } good = {EXPERTS, HIDDEN, EXPERTS, 2 * WIDTH, HIDDEN, EXPERTS, 2, 0, 0, USED, true};
    struct shape cases[16];
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        cases[i] = good;
        cases[i].fits = i < 4;
    }
    cases[1].gate_rows = WIDTH; /* without a gate */
    cases[2].used = EXPERTS;
    cases[3].used = 1;
    cases[4].used = 0;
    cases[5].used = EXPERTS + 1;
    cases[6].gate_count++;
    cases[7].down_count++;
    cases[8].router_columns++;
    cases[9].gate_columns++;
    cases[10].down_slices = 0;
    cases[11].router_slices = 1;
    cases[12].gate_slices = 1;
    cases[13].gate_rows = WIDTH + 1;
    cases[14].gate_rows = 2 * WIDTH + 1;
    cases[15].router_rows++;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct shape *c = &cases[i];
        struct matrix *router = new_matrix(1, c->router_rows, c->router_columns, c->router_slices);
        struct matrix *gates =
            new_matrix(c->gate_count, c->gate_rows, c->gate_columns, c->gate_slices);
        struct matrix *down = new_matrix(c->down_count, HIDDEN, WIDTH, c->down_slices);
        for (int less = 0; less < 3; less++) {
            struct device_buffer *in = fixture_buffer(backend, NULL, TOKENS * HIDDEN - (less == 1));
            struct device_buffer *out =
                fixture_buffer(backend, NULL, TOKENS * HIDDEN - (less == 2));
            const struct expert_facts mixture_facts = {
                .router = {.used = c->used, .normalize = true, .scale = 1}};
            const struct expert_weights mixture = {
                .router = router, .gate_up = gates, .down = down};
            assert_int_equal(op->experts(backend, &mixture_facts, &mixture, in, out),
                             c->fits && less == 0 ? STATUS_OK : STATUS_INTERNAL);
            op->buffer_destroy(backend, in);
            op->buffer_destroy(backend, out);
        }
        op->matrix_destroy(backend, router);
        op->matrix_destroy(backend, gates);
        op->matrix_destroy(backend, down);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(products_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_of_weights_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(attention_is_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(caches_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(experts_are_checked, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
