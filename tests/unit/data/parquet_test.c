/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a Parquet file: page headers, levels and values as the format's documents have them.
 * Other programs read whole files in tests/real/python_test.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <zstd.h>

#include "data/export/parquet.h"

static status collect(void *context, const char *bytes, size_t length)
{
    return buffer_append(context, bytes, length);
}

/* The page at `at` holds these bytes, of so many values; returns where it ends. */
static size_t check_page(const struct buffer *file, size_t at, char values, const char *expected,
                         size_t length)
{
    char content[256];
    const char *bytes = file->data + at;
    assert_memory_equal(bytes, "\x15\x00\x15", 3); /* DATA_PAGE; then the sizes, in zigzag */
    assert_int_equal(bytes[3], 2 * length);
    assert_int_equal(bytes[4], 0x15);
    const size_t packed = (size_t)bytes[5] / 2;
    assert_memory_equal(bytes + 6, "\x2C\x15", 2);
    assert_int_equal(bytes[8], 2 * values);
    assert_memory_equal(bytes + 9, "\x15\x00\x15\x06\x15\x06\x00\x00", 8); /* PLAIN, RLE, RLE */
    assert_int_equal(ZSTD_decompress(content, sizeof content, bytes + 17, packed), length);
    assert_memory_equal(content, expected, length);
    return at + 17 + packed;
}

static void pages_are_levels_and_values(void **state)
{
    (void)state;
    static const struct parquet_column columns[] = {{"number", PARQUET_INT32, 0},
                                                    {"list", PARQUET_INT32, 1},
                                                    {"lists", PARQUET_INT32, 2},
                                                    {"text", PARQUET_TEXT, 0},
                                                    {"truth", PARQUET_BOOLEAN, 0}};
    static const int32_t seven = 7, pair[] = {1, 2}, table[] = {3, 4, 5, 0};
    static const size_t sizes[] = {2, 1}, none[] = {0};
    const bool yes = true;
    struct buffer file = {0};
    struct parquet *parquet;
    assert_int_equal(parquet_create(columns, COUNT_OF(columns), collect, &file, &parquet), 0);
    for (size_t row = 0; row < 3; row++) {
        const bool there = row == 0;
        assert_int_equal(there ? parquet_put_value(parquet, 0, &seven, sizeof seven)
                               : parquet_put_nothing(parquet, 0),
                         0);
        assert_int_equal(row < 2 ? parquet_put_list(parquet, 1, pair, there ? 2 : 0)
                                 : parquet_put_nothing(parquet, 1),
                         0);
        assert_int_equal(there      ? parquet_put_lists(parquet, 2, table, 2, sizes, 2)
                         : row == 1 ? parquet_put_lists(parquet, 2, table, 2, none, 1)
                                    : parquet_put_lists(parquet, 2, table, 2, none, 0),
                         0);
        assert_int_equal(parquet_put_value(parquet, 3, "a\xFF", there ? 2 : 1), 0);
        assert_int_equal(parquet_put_value(parquet, 4, &yes, sizeof yes), 0);
        assert_int_equal(parquet_end_row(parquet), 0);
    }
    const struct parquet_note notes[] = {{"key", "value"}};
    assert_int_equal(parquet_finish(parquet, notes, 1), 0);
    parquet_destroy(parquet);

    /* Levels: their length, then runs of (times · 2, level). */
    static const char number[] = "\4\0\0\0"
                                 "\2\1\4\0"
                                 "\7\0\0\0";
    static const char list[] = "\6\0\0\0"
                               "\2\0\2\1\4\0"
                               "\6\0\0\0"
                               "\4\2\2\1\2\0"
                               "\1\0\0\0\2\0\0\0";
    static const char lists[] = "\10\0\0\0"
                                "\2\0\2\2\2\1\4\0"
                                "\6\0\0\0"
                                "\6\3\2\2\2\1"
                                "\3\0\0\0\4\0\0\0\5\0\0\0";
    static const char text[] = "\2\0\0\0"
                               "\6\1"
                               "\4\0\0\0a\xEF\xBF\xBD"
                               "\1\0\0\0a\1\0\0\0a";
    static const char truth[] = "\2\0\0\0"
                                "\6\1"
                                "\7";
    assert_memory_equal(file.data, "PAR1", 4);
    size_t at = check_page(&file, 4, 3, number, sizeof number - 1);
    at = check_page(&file, at, 4, list, sizeof list - 1);
    at = check_page(&file, at, 5, lists, sizeof lists - 1);
    at = check_page(&file, at, 3, text, sizeof text - 1);
    at = check_page(&file, at, 3, truth, sizeof truth - 1);
    /* The footer is the rest, and says its length. */
    uint32_t footer;
    memcpy(&footer, file.data + file.length - 8, sizeof footer);
    assert_int_equal(at + footer + 8, file.length);
    assert_memory_equal(file.data + file.length - 4, "PAR1", 4);
    assert_memory_equal(file.data + at, "\x15\x02\x19", 3); /* version 1, then the schema */
    assert_non_null(memmem(file.data + at, footer, "\3key\x18\5value", 10));
    buffer_destroy(&file);
}

static void empty_tables_are_whole(void **state)
{
    (void)state;
    static const struct parquet_column columns[] = {{"a", PARQUET_TEXT, 0}};
    struct buffer file = {0};
    struct parquet *parquet;
    assert_int_equal(parquet_create(columns, 1, collect, &file, &parquet), 0);
    assert_int_equal(parquet_finish(parquet, NULL, 0), 0);
    parquet_destroy(parquet);
    uint32_t footer;
    memcpy(&footer, file.data + file.length - 8, sizeof footer);
    assert_int_equal(4 + footer + 8, file.length);
    buffer_destroy(&file);
}

/* How often a footer says a number of 64 bits in the second form of a field: its head, and the
 * number in zigzag. */
static int count_numbers(const struct buffer *file, int64_t number)
{
    uint32_t footer;
    char bytes[12] = {0x16};
    size_t length = 1;
    for (uint64_t left = 2 * (uint64_t)number; left > 0 || length == 1; left >>= 7) {
        bytes[length++] = (char)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
    }
    memcpy(&footer, file->data + file->length - 8, sizeof footer);
    const char *at = file->data + file->length - 8 - footer, *end = at + footer;
    int count = 0;
    while ((at = memmem(at, (size_t)(end - at), bytes, length)) != NULL) {
        count++;
        at++;
    }
    return count;
}

/* Each group of rows says its own values. */
static void groups_are_counted_apart(void **state)
{
    (void)state;
    enum { GROUP = 1 << 20, MORE = 77777 };
    static const struct parquet_column columns[] = {{"a", PARQUET_BOOLEAN, 0}};
    const bool yes = true;
    struct buffer file = {0};
    struct parquet *parquet;
    assert_int_equal(parquet_create(columns, 1, collect, &file, &parquet), 0);
    for (int i = 0; i < GROUP + MORE; i++) {
        assert_int_equal(parquet_put_value(parquet, 0, &yes, sizeof yes), 0);
        assert_int_equal(parquet_end_row(parquet), 0);
    }
    assert_int_equal(parquet_finish(parquet, NULL, 0), 0);
    parquet_destroy(parquet);
    assert_int_equal(count_numbers(&file, GROUP + MORE), 1); /* of the file */
    assert_int_equal(count_numbers(&file, GROUP), 2);        /* of the first group: values, rows */
    assert_int_equal(count_numbers(&file, MORE), 2);
    buffer_destroy(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_levels_and_values),
        cmocka_unit_test(empty_tables_are_whole),
        cmocka_unit_test(groups_are_counted_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
