/* SPDX-License-Identifier: Apache-2.0 */
/* The backend that times another one: has all that the other has, does the same, counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/timed.h"

enum { TOKENS = 3, ROWS = 40, COLUMNS = 24 };

struct pair {
    struct backend *inner, *timed;
};

static int set_up(void **state)
{
    static struct pair pair;
    const struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = 8, .max_sequences = 4};
    assert_int_equal(backend_create("cpu", &options, &pair.inner), STATUS_OK);
    assert_int_equal(timed_backend_create(pair.inner, &pair.timed), STATUS_OK);
    *state = &pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;
    pair->timed->operations->destroy(pair->timed);
    pair->inner->operations->destroy(pair->inner);
    return 0;
}

/* The table is nothing but functions: one that the wrapper forgets would be NULL. */
static void has_every_operation(void **state)
{
    const struct pair *pair = *state;
    enum { COUNT = sizeof(struct backend_operations) / sizeof(void (*)(void)) };
    void (*inner[COUNT])(void), (*timed[COUNT])(void);
    assert_int_equal(sizeof inner, sizeof(struct backend_operations));
    memcpy(inner, pair->inner->operations, sizeof inner);
    memcpy(timed, pair->timed->operations, sizeof timed);
    for (size_t i = 0; i < COUNT; i++) {
        if ((inner[i] == NULL) != (timed[i] == NULL)) {
            fail_msg("operation %zu of the table", i);
        }
    }
}

static void product(struct backend *backend, const float *weights, const float *in, float *out)
{
    const struct backend_operations *op = backend->operations;
    struct matrix *matrix;
    struct device_buffer *from, *to;
    const int32_t zeros[TOKENS] = {0}, positions[TOKENS] = {0, 1, 2};
    const int32_t query_start[2] = {0, TOKENS}, context = TOKENS;
    const struct batch batch = {.tokens = TOKENS,
                                .sequences = 1,
                                .token_ids = zeros,
                                .positions = positions,
                                .query_start = query_start,
                                .context_length = &context,
                                .block_table = zeros,
                                .block_table_stride = 1,
                                .output_rows = zeros};
    assert_int_equal(op->matrix_create(backend, 1, ROWS, COLUMNS, NULL, 0, WEIGHT_FLOAT32, &matrix),
                     STATUS_OK);
    assert_int_equal(op->matrix_write(backend, matrix, 0, 0, ROWS,
                                      &(const struct weight_rows){.data = weights,
                                                                  .format = WEIGHT_FLOAT32,
                                                                  .stride = COLUMNS}),
                     STATUS_OK);
    assert_int_equal(op->matrix_finish(backend, matrix), STATUS_OK);
    assert_int_equal(op->buffer_create(backend, sizeof(float) * TOKENS * COLUMNS, &from),
                     STATUS_OK);
    assert_int_equal(op->buffer_create(backend, sizeof(float) * TOKENS * ROWS, &to), STATUS_OK);
    assert_int_equal(op->upload(backend, from, 0, in, sizeof(float) * TOKENS * COLUMNS), STATUS_OK);
    assert_int_equal(op->step_begin(backend, &batch), STATUS_OK);
    assert_int_equal(op->product(backend, matrix, NULL, from, to), STATUS_OK);
    assert_int_equal(op->download(backend, to, 0, out, sizeof(float) * TOKENS * ROWS), STATUS_OK);
    op->buffer_destroy(backend, from);
    op->buffer_destroy(backend, to);
    op->matrix_destroy(backend, matrix);
}

static void does_the_same_and_counts(void **state)
{
    const struct pair *pair = *state;
    float weights[ROWS * COLUMNS], in[TOKENS * COLUMNS];
    float plain[TOKENS * ROWS], timed[TOKENS * ROWS];
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        weights[i] = (float)(i * 37 % 101) - 50;
    }
    for (int i = 0; i < TOKENS * COLUMNS; i++) {
        in[i] = (float)(i * 13 % 29) - 14;
    }
    timed_backend_reset(pair->timed);
    product(pair->inner, weights, in, plain);
    product(pair->timed, weights, in, timed);
    assert_memory_equal(plain, timed, sizeof plain);
    const double *seconds = timed_backend_seconds(pair->timed);
    for (int i = 0; i < TIMED_OPERATIONS; i++) {
        assert_int_equal(seconds[i] > 0, i == TIMED_STEP_BEGIN || i == TIMED_PRODUCT);
    }
    timed_backend_reset(pair->timed);
    assert_true(seconds[TIMED_PRODUCT] == 0);
}

/* Failures pass through with their message. */
static void failures_pass(void **state)
{
    const struct pair *pair = *state;
    struct batch batch = {.tokens = 1000, .sequences = 1};
    assert_int_not_equal(pair->timed->operations->step_begin(pair->timed, &batch), STATUS_OK);
}

static void copies(void **state)
{
    const struct pair *pair = *state;
    for (int i = 0; i < 2; i++) {
        struct backend *backend = i == 0 ? pair->inner : pair->timed;
        const struct backend_operations *op = backend->operations;
        struct device_buffer *from, *to;
        char in[1001], out[1001];
        for (size_t j = 0; j < sizeof in; j++) {
            in[j] = (char)(j * 7);
        }
        assert_int_equal(op->buffer_create(backend, sizeof in, &from), STATUS_OK);
        assert_int_equal(op->buffer_create(backend, sizeof in, &to), STATUS_OK);
        assert_int_equal(op->upload(backend, from, 0, in, sizeof in), STATUS_OK);
        assert_int_equal(op->copy(backend, from, to, sizeof in), STATUS_OK);
        assert_int_equal(op->download(backend, to, 0, out, sizeof out), STATUS_OK);
        assert_memory_equal(in, out, sizeof in);
        assert_int_equal(op->copy(backend, from, to, sizeof in + 1), STATUS_INTERNAL);
        op->buffer_destroy(backend, from);
        op->buffer_destroy(backend, to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(has_every_operation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(does_the_same_and_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_pass, set_up, tear_down),
        cmocka_unit_test_setup_teardown(copies, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
