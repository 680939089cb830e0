/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that ranks may have died of: random ones against a sorted list, and failures on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing/failing.h"
#include "run/suspects.h"
#include "scratch_folder.h"

enum { ROWS = 60, ROUNDS = 40 };

static struct record make_record(int64_t row)
{
    struct record record = {.row = row, .position = row + 1, .kind = RECORD_TEXT};
    assert_int_equal(buffer_format(&record.bytes, "row %lld ", (long long)row), STATUS_OK);
    for (int64_t i = 0; i < row % 7 * 50; i++) {
        assert_int_equal(buffer_append_byte(&record.bytes, (char)('a' + row % 26)), STATUS_OK);
    }
    return record;
}

static void assert_record(const struct record *record, int64_t row)
{
    struct record expected = make_record(row);
    assert_int_equal(record->row, row);
    assert_int_equal(record->position, row + 1);
    assert_int_equal(record->kind, RECORD_TEXT);
    assert_int_equal(record->bytes.length, expected.bytes.length);
    assert_string_equal(record->bytes.data, expected.bytes.data);
    buffer_destroy(&expected.bytes);
}

static int larger_groups_first(const void *a, const void *b)
{
    const int64_t *first = a, *second = b;
    return first[1] != second[1] ? (first[1] < second[1] ? 1 : -1)
                                 : (first[0] > second[0]) - (first[0] < second[0]);
}

/* Every row comes once, larger groups first, rows in order, and no group holds more than any of its
 * rows may run with. */
static void random_suspects_come_in_groups(void **state)
{
    const struct scratch_folder *folder = *state;
    const int before = failing_open_descriptors();
    unsigned seed = 20261130;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t rows[ROWS][2];
        const int count = rand_r(&seed) % ROWS;
        struct suspects suspects = {0};
        for (int i = 0; i < count; i++) {
            rows[i][0] = (i * 37) % 61 + round; /* each once, in no order */
            rows[i][1] = 1 << rand_r(&seed) % 4;
            struct record record = make_record(rows[i][0]);
            assert_int_equal(suspects_keep(&suspects, folder->path, &record, rows[i][1]),
                             STATUS_OK);
            buffer_destroy(&record.bytes);
        }
        assert_int_equal(suspects_left(&suspects), count > 0);
        qsort(rows, (size_t)count, sizeof rows[0], larger_groups_first);
        struct record record = {0};
        int taken = 0;
        size_t group;
        while ((group = suspects_begin_group(&suspects)) > 0) {
            bool more;
            for (size_t i = 0; i < group; i++) {
                assert_int_equal(suspects_next(&suspects, &record, &more), STATUS_OK);
                assert_true(more);
                assert_true((int64_t)group <= rows[taken][1]);
                assert_record(&record, rows[taken++][0]);
                assert_int_equal(suspects_left(&suspects), taken < count);
            }
            assert_int_equal(suspects_next(&suspects, &record, &more), STATUS_OK);
            assert_false(more);
            /* The group is as large as it may be. */
            assert_true(taken == count || (int64_t)group == rows[taken - 1][1] ||
                        rows[taken][1] < (int64_t)group + 1);
        }
        assert_int_equal(taken, count);
        buffer_destroy(&record.bytes);
        suspects_destroy(&suspects);
    }
    assert_int_equal(failing_open_descriptors(), before);
}

static status keep_and_take(void *context)
{
    struct suspects suspects = {0};
    struct record record = {0};
    bool more = false;
    char bytes[] = "a row";
    struct record given = {.row = 3, .bytes = {.data = bytes, .length = 5}};
    status s = suspects_keep(&suspects, context, &given, 1);
    if (s == STATUS_OK) {
        suspects_begin_group(&suspects);
        s = suspects_next(&suspects, &record, &more);
    }
    buffer_destroy(&record.bytes);
    suspects_destroy(&suspects);
    return s;
}

static void failures_are_told(void **state)
{
    struct scratch_folder *folder = *state;
    const struct failing_walk walk = {.name = "suspects",
                                      .kinds = FAIL_MEMORY | FAIL_FILES,
                                      .act = keep_and_take,
                                      .context = folder->path,
                                      .optional = FAIL_CLOSE};
    assert_true(failing_walk(&walk) >= 6);
}

/* Nobody else sees the file. */
static void the_file_has_no_name(void **state)
{
    const struct scratch_folder *folder = *state;
    struct suspects suspects = {0};
    struct record record = make_record(1);
    assert_int_equal(suspects_keep(&suspects, folder->path, &record, 1), STATUS_OK);
    assert_int_equal(rmdir(folder->path), 0); /* it is empty */
    assert_int_equal(mkdir(folder->path, 0700), 0);
    buffer_destroy(&record.bytes);
    suspects_destroy(&suspects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_suspects_come_in_groups, scratch_create,
                                        scratch_destroy),
        cmocka_unit_test_setup_teardown(failures_are_told, scratch_create, scratch_destroy),
        cmocka_unit_test_setup_teardown(the_file_has_no_name, scratch_create, scratch_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
