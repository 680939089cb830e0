/* SPDX-License-Identifier: Apache-2.0 */
/* Reads ahead of their use: in order, with the right bytes, and failures where they belong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/load/read_ahead.h"

enum { ROWS = 300, COLUMNS = 2048, READS = 400 };

static float value_of(int64_t row, int64_t column)
{
    return (float)(row * COLUMNS + column);
}

struct fixture {
    struct tensor_table table;
    struct tensor_read reads[READS];
};

/* A file that is one tensor, and another tensor that is of no weights. */
static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    float *values = malloc(sizeof(float) * ROWS * COLUMNS);
    assert_non_null(fixture);
    assert_non_null(values);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        values[i] = value_of(i / COLUMNS, i % COLUMNS);
    }
    char path[] = "read_ahead_XXXXXX";
    const size_t bytes = sizeof(float) * ROWS * COLUMNS;
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, values, bytes), bytes);
    assert_int_equal(close(file), 0);
    free(values);
    int index;
    assert_int_equal(tensor_table_open_file(&fixture->table, path, &index), STATUS_OK);
    assert_int_equal(unlink(path), 0);
    const struct tensor weights = {.name = "weights",
                                   .format = WEIGHT_FLOAT32,
                                   .type_name = "F32",
                                   .rank = 2,
                                   .shape = {ROWS, COLUMNS},
                                   .file = index,
                                   .bytes = bytes};
    struct tensor other = weights;
    other.name = "other";
    other.format = WEIGHT_NONE;
    other.type_name = "I32";
    assert_int_equal(tensor_table_add(&fixture->table, &weights), STATUS_OK);
    assert_int_equal(tensor_table_add(&fixture->table, &other), STATUS_OK);
    for (int i = 0; i < READS; i++) {
        const int first_row = i * 7 % (ROWS - 20), first_column = i * 31 % 1000;
        fixture->reads[i] = (struct tensor_read){.source = {.values = &fixture->table.items[0]},
                                                 .first_row = first_row,
                                                 .row_count = 1 + i % 20,
                                                 .first_column = first_column,
                                                 .column_count = 1 + i * 5 % 1048};
    }
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    tensor_table_destroy(&fixture->table);
    free(fixture);
    return 0;
}

static void expect_values(const struct tensor_read *read, const struct weight_rows *rows)
{
    assert_int_equal(rows->format, WEIGHT_FLOAT32);
    const float *values = rows->data;
    for (int row = 0; row < read->row_count; row++) {
        for (int column = 0; column < read->column_count; column++) {
            const float wanted = value_of(read->first_row + row, read->first_column + column);
            assert_true(values[(size_t)row * rows->stride + (size_t)column] == wanted);
        }
    }
}

static void reads_come_in_order(void **state)
{
    const struct fixture *fixture = *state;
    struct read_ahead *ahead;
    struct weight_rows rows;
    assert_int_equal(read_ahead_create(&fixture->table, fixture->reads, READS, &ahead), STATUS_OK);
    for (int i = 0; i < READS; i++) {
        assert_int_equal(read_ahead_next(ahead, &rows), STATUS_OK);
        expect_values(&fixture->reads[i], &rows);
    }
    assert_int_equal(read_ahead_next(ahead, &rows), STATUS_INTERNAL);
    read_ahead_destroy(ahead);
}

static void ends_early(void **state)
{
    const struct fixture *fixture = *state;
    struct read_ahead *ahead;
    struct weight_rows rows;
    for (int taken = 0; taken < 20; taken++) {
        assert_int_equal(read_ahead_create(&fixture->table, fixture->reads, READS, &ahead),
                         STATUS_OK);
        for (int i = 0; i < taken; i++) {
            assert_int_equal(read_ahead_next(ahead, &rows), STATUS_OK);
            expect_values(&fixture->reads[i], &rows);
        }
        read_ahead_destroy(ahead);
    }
    assert_int_equal(read_ahead_create(&fixture->table, NULL, 0, &ahead), STATUS_OK);
    assert_int_equal(read_ahead_next(ahead, &rows), STATUS_INTERNAL);
    read_ahead_destroy(ahead);
}

/* The message of another thread's failure comes with the read that failed, not before. */
static void failures_stand_in_line(void **state)
{
    struct fixture *fixture = *state;
    struct read_ahead *ahead;
    struct weight_rows rows;
    fixture->reads[3].source.values = &fixture->table.items[1];
    assert_int_equal(read_ahead_create(&fixture->table, fixture->reads, READS, &ahead), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_ahead_next(ahead, &rows), STATUS_OK);
        expect_values(&fixture->reads[i], &rows);
    }
    assert_int_equal(read_ahead_next(ahead, &rows), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "tensor other"));
    read_ahead_destroy(ahead);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_come_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ends_early, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_stand_in_line, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
