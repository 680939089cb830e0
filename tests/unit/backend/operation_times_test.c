/* SPDX-License-Identifier: Apache-2.0 */
/* A backend whose operations are timed has all that it had, does the same, and counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/operation_times.h"

enum { TOKENS = 3, ROWS = 40, COLUMNS = 24 };

struct watched {
    struct backend *backend;
    const struct backend_operations *own;
    struct operation_times *times;
};

static int set_up(void **state)
{
    static struct watched watched;
    const struct backend_options options = {
        .compute = DTYPE_FLOAT32, .max_tokens = 8, .max_sequences = 4};
    assert_int_equal(backend_create("cpu", &options, &watched.backend), STATUS_OK);
    watched.own = watched.backend->operations;
    assert_int_equal(operation_times_begin(watched.backend, &watched.times), STATUS_OK);
    *state = &watched;
    return 0;
}

static int tear_down(void **state)
{
    struct watched *watched = *state;
    operation_times_end(watched->times);
    assert_ptr_equal(watched->backend->operations, watched->own);
    watched->backend->operations->destroy(watched->backend);
    return 0;
}

/* The table is nothing but functions. From step_begin on they are operations of a step, which are
 * timed, but for partial_bytes, which only says a number, and for sampling that is not waited for,
 * which profiles do not use; all before is the backend's own. */
static void times_the_operations_of_a_step(void **state)
{
    const struct watched *watched = *state;
    typedef void (*operation)(void);
    enum {
        COUNT = sizeof(struct backend_operations) / sizeof(operation),
        FIRST = offsetof(struct backend_operations, step_begin) / sizeof(operation),
        FACT = offsetof(struct backend_operations, partial_bytes) / sizeof(operation),
        AHEAD = offsetof(struct backend_operations, sample_begin) / sizeof(operation),
    };
    operation own[COUNT], timed[COUNT];
    assert_int_equal(sizeof own, sizeof(struct backend_operations));
    memcpy(own, watched->own, sizeof own);
    memcpy(timed, watched->backend->operations, sizeof timed);
    for (size_t i = 0; i < COUNT; i++) {
        if ((own[i] != timed[i]) != (i >= FIRST && i != FACT && i < AHEAD)) {
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
    struct watched *watched = *state;
    float weights[ROWS * COLUMNS], in[TOKENS * COLUMNS];
    float plain[TOKENS * ROWS], timed[TOKENS * ROWS];
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        weights[i] = (float)(i * 37 % 101) - 50;
    }
    for (int i = 0; i < TOKENS * COLUMNS; i++) {
        in[i] = (float)(i * 13 % 29) - 14;
    }
    operation_times_reset(watched->times);
    product(watched->backend, weights, in, timed);
    const double *seconds = operation_times_seconds(watched->times);
    for (int i = 0; i < TIMED_OPERATIONS; i++) {
        assert_int_equal(seconds[i] > 0, i == TIMED_STEP_BEGIN || i == TIMED_PRODUCT);
    }
    operation_times_reset(watched->times);
    assert_true(seconds[TIMED_PRODUCT] == 0);
    operation_times_end(watched->times);
    product(watched->backend, weights, in, plain);
    assert_memory_equal(plain, timed, sizeof plain);
    assert_int_equal(operation_times_begin(watched->backend, &watched->times), STATUS_OK);
}

struct noted {
    int count[TIMED_OPERATIONS];
    double seconds, last_end;
};

static void take_note(void *context, enum timed_operation operation, double start, double end)
{
    struct noted *noted = context;
    assert_true(noted->last_end <= start && start <= end);
    noted->count[operation]++;
    noted->seconds += end - start;
    noted->last_end = end;
}

static void notes_each_operation(void **state)
{
    struct watched *watched = *state;
    float weights[ROWS * COLUMNS] = {1}, in[TOKENS * COLUMNS] = {2}, out[TOKENS * ROWS];
    struct noted noted = {.last_end = clock_seconds()};
    operation_times_note(watched->times, take_note, &noted);
    operation_times_reset(watched->times);
    product(watched->backend, weights, in, out);
    const double *seconds = operation_times_seconds(watched->times);
    double sum = 0;
    for (int i = 0; i < TIMED_OPERATIONS; i++) {
        assert_int_equal(noted.count[i], i == TIMED_STEP_BEGIN || i == TIMED_PRODUCT);
        assert_true(timed_operation_names[i] != NULL);
        sum += seconds[i];
    }
    assert_true(noted.seconds > 0.999 * sum && noted.seconds < 1.001 * sum);
    operation_times_note(watched->times, NULL, NULL);
    product(watched->backend, weights, in, out);
    assert_int_equal(noted.count[TIMED_PRODUCT], 1);
}

/* Failures pass through with their message. */
static void failures_pass(void **state)
{
    const struct watched *watched = *state;
    struct batch batch = {.tokens = 1000, .sequences = 1};
    assert_int_not_equal(watched->backend->operations->step_begin(watched->backend, &batch),
                         STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(times_the_operations_of_a_step, set_up, tear_down),
        cmocka_unit_test_setup_teardown(does_the_same_and_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(notes_each_operation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_pass, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
