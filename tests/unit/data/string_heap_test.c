/* SPDX-License-Identifier: Apache-2.0 */
/* Strings that were written beside the HDF5 library: it reads them, and goes on with the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "data/output/text.h"
#include "scratch_folder.h"
#include "sluice/base.h"

enum { ROWS = 3 * OUTPUT_BATCH_ROWS + 100, LONGEST = 200000 };

/* Short ones, with lengths at both sides of a collection's smallest and usual size now and then. */
static size_t length_of(int row)
{
    static const size_t lengths[] = {4063, 4064, 4065, 4072, 4080, 65503, 65520, 65536, LONGEST};
    if (row % 500 == 3) {
        return lengths[row / 500 % COUNT_OF(lengths)];
    }
    return row % 4 == 0 ? 0 : (size_t)row % 37;
}

static void fill(char *text, int row)
{
    const size_t length = length_of(row);
    for (size_t i = 0; i < length; i++) {
        text[i] = (char)('a' + ((size_t)row + i) % 26);
    }
    text[length] = '\0';
}

static void check_texts(const char *path, int rows)
{
    char *expected = malloc(LONGEST + 1);
    assert_non_null(expected);
    hid_t file;
    struct text_source source = {0};
    assert_int_equal(hdf5_open_readonly(path, &file), STATUS_OK);
    assert_int_equal(output_text_open(file, "/texts", rows, &source), STATUS_OK);
    for (int first = 0; first < rows; first += 1000) {
        struct arena arena = {0};
        const char *texts[1000];
        size_t lengths[1000];
        const int count = rows - first < 1000 ? rows - first : 1000;
        assert_int_equal(
            output_text_read(&source, first, count, SIZE_MAX / 2, &arena, texts, lengths),
            STATUS_OK);
        for (int i = 0; i < count; i++) {
            fill(expected, first + i);
            assert_int_equal(lengths[i], length_of(first + i));
            assert_string_equal(texts[i], expected);
        }
        arena_destroy(&arena);
    }
    output_text_close(&source);
    H5Fclose(file);
    free(expected);
}

/* Flushes after every so many rows, so that chunks are written again and again. */
static void write_texts(const char *path, int flush_rows)
{
    char *text = malloc(LONGEST + 1);
    assert_non_null(text);
    hdf5_silence();
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    hid_t type = hdf5_string_type();
    struct text_column column = {0};
    assert_int_equal(output_text_create(file, fd, "/texts", type, false, &column), STATUS_OK);
    for (int row = 0; row < ROWS; row++) {
        fill(text, row);
        assert_int_equal(output_text_append(&column, text, length_of(row)), STATUS_OK);
        if (row % flush_rows == flush_rows - 1) {
            assert_int_equal(output_text_flush(&column), STATUS_OK);
            assert_int_equal(output_text_pending(&column), 0);
        }
    }
    assert_int_equal(output_text_flush(&column), STATUS_OK);
    assert_int_equal(output_text_flush(&column), STATUS_OK); /* nothing more */
    H5Dclose(column.dataset);
    output_text_destroy(&column);
    H5Tclose(type);
    assert_true(H5Fclose(file) >= 0);
    close(fd);
    free(text);
}

static void the_library_reads_them(void **state)
{
    static const int flushes[] = {OUTPUT_BATCH_ROWS, 700, 2 * OUTPUT_BATCH_ROWS + 1, ROWS};
    for (size_t i = 0; i < COUNT_OF(flushes); i++) {
        const char *path = scratch_write(state, "texts.h5", "", 0);
        write_texts(path, flushes[i]);
        check_texts(path, ROWS);
    }
}

/* One row more by the library's own way, which must not come to lie over what is there. */
static void the_library_goes_on(void **state)
{
    const char *path = scratch_write(state, "texts.h5", "", 0);
    write_texts(path, OUTPUT_BATCH_ROWS);
    char *text = malloc(LONGEST + 1);
    assert_non_null(text);
    fill(text, ROWS);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t dataset = H5Dopen2(file, "/texts", H5P_DEFAULT);
    hid_t type = hdf5_string_type();
    const char *texts[] = {text};
    assert_int_equal(output_dataset_append(dataset, type, ROWS, 1, 0, texts), STATUS_OK);
    H5Tclose(type);
    H5Dclose(dataset);
    assert_true(H5Fclose(file) >= 0);
    free(text);
    check_texts(path, ROWS + 1);
}

/* What there is little of takes little room. */
static void few_strings_take_one_small_collection(void **state)
{
    struct string_heap heap = {0};
    struct buffer references = {0};
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(string_heap_begin(&heap), STATUS_OK);
        if (i > 4) {
            assert_int_equal(buffer_append_text(&heap.bytes, "abc"), STATUS_OK);
        }
        assert_int_equal(string_heap_end(&heap, &references), STATUS_OK);
        assert_int_equal(heap.bytes.length, i > 4 ? 16 + 24 * (i - 4) : 0);
    }
    assert_int_equal(references.length, 10 * STRING_REFERENCE_BYTES);
    buffer_destroy(&heap.bytes);
    buffer_destroy(&references);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_reads_them),
        cmocka_unit_test(the_library_goes_on),
        cmocka_unit_test(few_strings_take_one_small_collection),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
