/* SPDX-License-Identifier: Apache-2.0 */
/* Record readers of HDF5 files: strings, token ids, columns as fields, and files that lead
 * elsewhere or are packed in ways that are not known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <hdf5.h>

#include "data/hdf5/lzf.h"
#include "record_checks.h"

static hid_t make_file(const char *path)
{
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(file >= 0);
    return file;
}

static void add_dataset(hid_t file, const char *name, hid_t type, hsize_t count, const void *items)
{
    hid_t space = H5Screate_simple(1, &count, NULL);
    hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(dataset >= 0);
    if (count > 0 && items != NULL) {
        assert_true(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, items) >= 0);
    }
    H5Dclose(dataset);
    H5Sclose(space);
}

static hid_t string_type(size_t size, H5T_str_t padding)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    assert_true(H5Tset_size(type, size) >= 0 && H5Tset_cset(type, H5T_CSET_UTF8) >= 0);
    if (size != H5T_VARIABLE) {
        assert_true(H5Tset_strpad(type, padding) >= 0);
    }
    return type;
}

static void hdf5_strings(void **state)
{
    static const char *const texts[] = {"one", "", "drei\n", "\xE5\x9B\x9B"};
    const char *path = scratch_path(state, "strings.data");
    hid_t file = make_file(path);
    hid_t variable = string_type(H5T_VARIABLE, H5T_STR_NULLTERM);
    hid_t padded = string_type(4, H5T_STR_SPACEPAD);
    hid_t nulls = string_type(4, H5T_STR_NULLPAD);
    add_dataset(file, "prompt", variable, 4, texts);
    static const struct {
        const char *group;
        hsize_t count;
        const void *items;
    } groups[] = {{"unwritten", 2, NULL},
                  {"padded", 2, "ab  abcd"},
                  {"nulls", 2, "ab\0\0abcd"},
                  {"deep", 1, texts}};
    const hid_t types[] = {variable, padded, nulls, variable};
    hid_t group = H5I_BADID;
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        group = H5Gcreate2(file, groups[i].group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        add_dataset(group, "er", types[i], groups[i].count, groups[i].items);
        assert_true(i + 1 == COUNT_OF(groups) || H5Gclose(group) >= 0);
    }
    H5Gclose(group);
    H5Tclose(variable);
    H5Tclose(padded);
    H5Tclose(nulls);
    assert_true(H5Fclose(file) >= 0);
    assert_rows(path, NULL, "0:1:one|1:1:|2:1:drei\n|3:1:\xE5\x9B\x9B|");
    assert_rows(path, "unwritten/er", "0:1:|1:1:|");
    assert_rows(path, "/padded/er", "0:1:ab|1:1:abcd|");
    assert_rows(path, "nulls/er", "0:1:ab|1:1:abcd|");
    assert_rows(path, "deep/er", "0:1:one|");
    status last;
    free(read_all(path, "no/where", &last));
    assert_int_equal(last, STATUS_NOT_FOUND);
    assert_non_null(strstr(status_message(), "no dataset no/where"));
    struct record_reader *reader = open_limited(path, 1);
    int64_t bytes;
    char hex[65];
    char expected[65];
    struct buffer whole = {0};
    assert_int_equal(record_reader_digest(reader, &bytes, hex), STATUS_OK);
    assert_int_equal(file_read(path, 1 << 20, &whole), STATUS_OK);
    assert_int_equal(bytes, whole.length);
    struct sha256 *hash = sha256_create();
    sha256_update(hash, whole.data, whole.length);
    sha256_finish(hash, expected);
    assert_string_equal(hex, expected);
    buffer_destroy(&whole);
    record_reader_close(reader);
}

static void hdf5_strings_too_long_for_a_batch(void **state)
{
    size_t size = (size_t)40 << 20;
    char *large = malloc(2 * size);
    assert_non_null(large);
    memset(large, 'y', 2 * size);
    large[2 * size - 1] = '\0';
    const char *texts[] = {"a", large + size, large + size, large, "b"};
    const char *path = scratch_path(state, "large.h5");
    hid_t file = make_file(path);
    hid_t variable = string_type(H5T_VARIABLE, H5T_STR_NULLTERM);
    add_dataset(file, "prompt", variable, COUNT_OF(texts), texts);
    H5Tclose(variable);
    H5Fclose(file);
    struct record_reader *reader = open_limited(path, -1);
    struct record record = {0};
    bool more;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
        assert_true(more);
        assert_int_equal(record.kind, i == 3 ? RECORD_BAD : RECORD_TEXT);
        assert_int_equal(record.bytes.length,
                         i == 3 ? strlen("a string of more than 64 MiB") : strlen(texts[i]));
    }
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_false(more);
    record_reader_close(reader);
    buffer_destroy(&record.bytes);
    free(large);
    remove(path);
}

static void hdf5_tokens(void **state)
{
    static const int16_t ids[] = {5, 6, 7, -8, 9};
    static const uint64_t offsets[] = {0, 2, 2, 3, 5, 4, 99, UINT64_MAX};
    const char *path = scratch_path(state, "tokens.h5");
    hid_t file = make_file(path);
    add_dataset(file, "input_ids", H5T_NATIVE_INT16, COUNT_OF(ids), ids);
    add_dataset(file, "input_offsets", H5T_NATIVE_UINT64, COUNT_OF(offsets), offsets);
    H5Fclose(file);
    assert_rows(path, NULL,
                "0:2:5,6,|1:2:|2:2:7,|3:3:input_ids: -8 is no token id|"
                "4:3:input_offsets: 5 to 4 is no range of 5 input_ids|"
                "5:3:input_offsets: 4 to 99 is no range of 5 input_ids|"
                "6:3:input_offsets: 99 to 9223372036854775807 is no range of 5 input_ids|");
}

static void hdf5_tokens_across_windows(void **state)
{
    enum { ROWS = 5000, LENGTH = 30 };
    int32_t *ids = malloc(sizeof *ids * ROWS * LENGTH);
    int64_t *offsets = malloc(sizeof *offsets * (ROWS + 1));
    assert_true(ids != NULL && offsets != NULL);
    for (int i = 0; i < ROWS * LENGTH; i++) {
        ids[i] = i;
    }
    for (int i = 0; i <= ROWS; i++) {
        offsets[i] = (int64_t)i * LENGTH;
    }
    const char *path = scratch_path(state, "many.h5");
    hid_t file = make_file(path);
    add_dataset(file, "input_ids", H5T_NATIVE_INT32, ROWS * LENGTH, ids);
    add_dataset(file, "input_offsets", H5T_NATIVE_INT64, ROWS + 1, offsets);
    H5Fclose(file);
    struct record_reader *reader = open_limited(path, -1);
    struct record record = {0};
    bool more;
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
        assert_int_equal(record.bytes.length, LENGTH * sizeof *ids);
        assert_memory_equal(record.bytes.data, ids + i * LENGTH, record.bytes.length);
    }
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_false(more);
    record_reader_close(reader);
    buffer_destroy(&record.bytes);
    free(ids);
    free(offsets);
}

static void hdf5_files_of_another_kind(void **state)
{
    static const double numbers[] = {1, 2};
    static const int32_t none[] = {0};
    const char *path = scratch_path(state, "other.h5");
    hid_t file = make_file(path);
    H5Fclose(file);
    assert_refused(path, STATUS_INVALID, "holds neither /prompt nor /input_ids");
    file = make_file(path);
    add_dataset(file, "prompt", H5T_NATIVE_DOUBLE, 2, numbers);
    H5Fclose(file);
    assert_refused(path, STATUS_INVALID, "/prompt: expected a dataset of strings");
    file = make_file(path);
    H5Gclose(H5Gcreate2(file, "prompt", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Fclose(file);
    assert_refused(path, STATUS_INVALID, "/prompt: not a readable dataset");
    file = make_file(path);
    add_dataset(file, "input_ids", H5T_NATIVE_INT32, 1, none);
    H5Fclose(file);
    assert_refused(path, STATUS_NOT_FOUND, "no dataset /input_offsets");
    file = make_file(path);
    add_dataset(file, "input_ids", H5T_NATIVE_INT32, 1, none);
    add_dataset(file, "input_offsets", H5T_NATIVE_INT32, 1, none);
    H5Fclose(file);
    assert_refused(path, STATUS_INVALID, "holds no rows");
    struct buffer whole = {0};
    assert_int_equal(file_read(path, 1 << 20, &whole), STATUS_OK);
    assert_refused(scratch_write(state, "half.h5", whole.data, whole.length / 2), STATUS_INVALID,
                   "HDF5");
    buffer_destroy(&whole);
}

/* A data set may not read other files for us: no link, no raw data and no view that leads there. */
static void hdf5_leads_to_other_files(void **state)
{
    const char *secret = scratch_path(state, "secret.h5");
    const char *raw = scratch_path(state, "secret");
    const char *path = scratch_path(state, "leads.h5");
    static const char words[2][8] = {"SECRET1", "SECRET2"};
    hid_t type = string_type(8, H5T_STR_NULLPAD);
    hsize_t count = 2;
    hid_t space = H5Screate_simple(1, &count, NULL);
    hid_t file = H5Fcreate(secret, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    add_dataset(file, "prompt", type, 2, words);
    H5Fclose(file);
    FILE *stream = fopen(raw, "wb");
    assert_true(stream != NULL && fwrite(words, 1, sizeof words, stream) == sizeof words);
    fclose(stream);
    for (int way = 0; way < 4; way++) {
        file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
        if (way < 2) {
            assert_true(H5Lcreate_external(secret, "/prompt", file, way == 0 ? "prompt" : "there",
                                           H5P_DEFAULT, H5P_DEFAULT) >= 0);
            assert_true(way == 0 ||
                        H5Lcreate_soft("/there", file, "prompt", H5P_DEFAULT, H5P_DEFAULT) >= 0);
        } else {
            assert_true((way == 2 ? H5Pset_external(storage, raw, 0, sizeof words)
                                  : H5Pset_virtual(storage, space, secret, "/prompt", space)) >= 0);
            H5Dclose(H5Dcreate2(file, "prompt", type, space, H5P_DEFAULT, storage, H5P_DEFAULT));
        }
        H5Pclose(storage);
        assert_true(H5Fclose(file) >= 0);
        assert_refused(path, STATUS_INVALID,
                       way < 2 ? "holds neither" : "its values lie in other files");
    }
    H5Sclose(space);
    H5Tclose(type);
}

/* As h5py writes booleans. */
static hid_t boolean_type(void)
{
    hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
    const int8_t values[] = {0, 1};
    assert_true(H5Tenum_insert(type, "FALSE", &values[0]) >= 0 &&
                H5Tenum_insert(type, "TRUE", &values[1]) >= 0);
    return type;
}

static hid_t color_type(void)
{
    hid_t type = H5Tenum_create(H5T_NATIVE_INT16);
    const int16_t values[] = {-3, 300};
    assert_true(H5Tenum_insert(type, "red", &values[0]) >= 0 &&
                H5Tenum_insert(type, "blue", &values[1]) >= 0);
    return type;
}

static void hdf5_columns_are_fields(void **state)
{
    static const char *const texts[] = {"one", "zw\"ei"};
    static const char *const stops[] = {"", "[\"x\"]"}; /* HDF5 has no other place for these */
    static const uint64_t numbers[] = {7, UINT64_MAX};
    static const int16_t small[] = {-5, 300};
    static const float singles[] = {0.1F, 2};
    static const double doubles[] = {0.1, 1e300};
    static const int8_t booleans[] = {1, 0};
    static const int16_t colors[] = {300, -3};
    const char *path = scratch_path(state, "fields.h5");
    hid_t file = make_file(path);
    hid_t variable = string_type(H5T_VARIABLE, H5T_STR_NULLTERM);
    hid_t fixed = string_type(3, H5T_STR_NULLPAD);
    hid_t boolean = boolean_type(), color = color_type();
    add_dataset(file, "prompt", variable, 2, texts);
    add_dataset(file, "big", H5T_NATIVE_UINT64, 2, numbers);
    add_dataset(file, "small", H5T_NATIVE_INT16, 2, small);
    add_dataset(file, "single", H5T_NATIVE_FLOAT, 2, singles);
    add_dataset(file, "double", H5T_NATIVE_DOUBLE, 2, doubles);
    add_dataset(file, "ok", boolean, 2, booleans);
    add_dataset(file, "color", color, 2, colors);
    add_dataset(file, "stop", variable, 2, stops);
    add_dataset(file, "tag", fixed, 2, "a\0\0abc");
    H5Gclose(H5Gcreate2(file, "elsewhere", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    assert_true(H5Fclose(file) >= 0);
    assert_rows(path, NULL,
                "0:0:{\"prompt\":\"one\",\"big\":7,\"color\":\"blue\",\"double\":0.1,\"ok\":true,"
                "\"single\":0.1,\"small\":-5,\"stop\":null,\"tag\":\"a\"}|"
                "1:0:{\"prompt\":\"zw\\\"ei\",\"big\":18446744073709551615,\"color\":\"red\","
                "\"double\":1e+300,\"ok\":false,\"single\":2,\"small\":300,"
                "\"stop\":[\"x\"],\"tag\":\"abc\"}|");
    /* As the job writes a name, the row's field is called. */
    struct record_reader_options options = {
        .path = path, .prompt_field = "/tag", .id_field = "/big", .limit = 1};
    struct record_reader *reader;
    struct record record = {0};
    bool more;
    assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_int_equal(record.unit, UNIT_PROMPT);
    assert_memory_equal(record.bytes.data, "{\"/tag\":\"a\",\"/big\":7,\"color\"", 28);
    record_reader_close(reader);
    const struct record_reader_options bad[] = {
        {.path = path, .id_field = "ids"},
        {.path = path, .completion_field = "ids"},
        {.path = path, .prompt_template = "{prompt} {ids}"}};
    int64_t rows;
    assert_int_equal(record_reader_try(&options, &rows), STATUS_OK);
    assert_int_equal(rows, 2);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(record_reader_try(&bad[i], &rows), STATUS_NOT_FOUND);
        assert_non_null(strstr(status_message(), ": no dataset ids"));
    }
    H5Tclose(variable);
    H5Tclose(fixed);
    H5Tclose(boolean);
    H5Tclose(color);
    buffer_destroy(&record.bytes);
}

static void hdf5_tokens_with_fields(void **state)
{
    static const int32_t ids[] = {5, 6, 7}, labels[] = {-1, 1};
    static const int64_t offsets[] = {0, 2, 3};
    static const char *const texts[] = {"[{\"role\": \"user\"}]", "\xFF"};
    const char *path = scratch_path(state, "labels.h5");
    hid_t file = make_file(path);
    hid_t variable = string_type(H5T_VARIABLE, H5T_STR_NULLTERM);
    add_dataset(file, "input_ids", H5T_NATIVE_INT32, 3, ids);
    add_dataset(file, "input_offsets", H5T_NATIVE_INT64, 3, offsets);
    add_dataset(file, "label", H5T_NATIVE_INT32, 2, labels);
    assert_true(H5Fclose(file) >= 0);
    assert_rows(path, NULL,
                "0:0:{\"prompt_token_ids\":[5,6],\"label\":-1}|"
                "1:0:{\"prompt_token_ids\":[7],\"label\":1}|");
    assert_rows(path, "input_ids",
                "0:0:{\"input_ids\":[5,6],\"label\":-1}|1:0:{\"input_ids\":[7],\"label\":1}|");
    file = make_file(path);
    add_dataset(file, "messages", variable, 2, texts);
    assert_true(H5Fclose(file) >= 0);
    assert_rows(path, NULL,
                "0:0:{\"messages\":[{\"role\":\"user\"}]}|"
                "1:3:/messages: byte 0: not valid UTF-8|");
    H5Tclose(variable);
}

static void hdf5_datasets_that_are_no_columns(void **state)
{
    static const char *const texts[] = {"one", "two"};
    static const int32_t numbers[] = {1, 2, 3};
    const char *path = scratch_path(state, "odd.h5");
    hid_t variable = string_type(H5T_VARIABLE, H5T_STR_NULLTERM);
    hsize_t sizes[] = {2, 3};
    for (int way = 0; way < 3; way++) {
        hid_t file = make_file(path);
        add_dataset(file, "prompt", variable, 2, texts);
        if (way == 0) {
            add_dataset(file, "label", H5T_NATIVE_INT32, 3, numbers);
        } else if (way == 1) {
            hid_t space = H5Screate_simple(2, sizes, NULL);
            H5Dclose(H5Dcreate2(file, "label", H5T_NATIVE_INT32, space, H5P_DEFAULT, H5P_DEFAULT,
                                H5P_DEFAULT));
            H5Sclose(space);
        } else {
            hid_t type = H5Tcreate(H5T_OPAQUE, 4);
            add_dataset(file, "label", type, 2, NULL);
            H5Tclose(type);
        }
        assert_true(H5Fclose(file) >= 0);
        assert_refused(path, STATUS_INVALID,
                       way == 0   ? "/label: 3 values where there are 2 rows (/prompt)"
                       : way == 1 ? "/label: expected a dataset of 1 dimension"
                                  : "/label: expected a dataset of numbers, booleans or strings");
    }
    H5Tclose(variable);
}

/* One chunk of bytes that a filter is said to have packed. */
static void add_packed(hid_t file, const char *name, H5Z_filter_t filter, hsize_t count,
                       const void *packed, size_t length)
{
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(1, &count, NULL);
    const unsigned values[] = {4, 0x105, (unsigned)count * 8};
    assert_true(H5Pset_chunk(storage, 1, &count) >= 0);
    assert_true(H5Pset_filter(storage, filter, H5Z_FLAG_OPTIONAL, 3, values) >= 0);
    hid_t dataset = H5Dcreate2(file, name, H5T_STD_I64LE, space, H5P_DEFAULT, storage, H5P_DEFAULT);
    const hsize_t start = 0;
    assert_true(dataset >= 0);
    assert_true(H5Dwrite_chunk(dataset, H5P_DEFAULT, 0, &start, length, packed) >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(storage);
}

/* HDF5 makes no dataset with a filter that it can only read with: the number is put in later. */
static void make_lzf(const char *path)
{
    struct buffer bytes = {0};
    assert_int_equal(file_read(path, 1 << 20, &bytes), STATUS_OK);
    char *number = memmem(bytes.data, bytes.length, "\x04\x7D", 2);
    assert_non_null(number);
    number[0] = '\0';
    FILE *file = fopen(path, "wb");
    assert_true(file != NULL && fwrite(bytes.data, 1, bytes.length, file) == bytes.length);
    assert_int_equal(fclose(file), 0);
    buffer_destroy(&bytes);
}

static void hdf5_filters(void **state)
{
    static const char *const texts[] = {"a", "b", "c"};
    /* 7, then the seven zeros as one and a copy of it; the same 8 bytes twice more. */
    static const unsigned char packed[] = {1, 7, 0, 0x80, 0, 0xE0, 7, 7};
    const char *path = scratch_path(state, "packed.h5");
    hid_t file = make_file(path);
    hid_t variable = string_type(H5T_VARIABLE, H5T_STR_NULLTERM);
    add_dataset(file, "prompt", variable, 3, texts);
    add_packed(file, "n", 32004, 3, packed, sizeof packed);
    H5Fclose(file);
    assert_refused(path, STATUS_UNSUPPORTED,
                   "/n: is compressed by a filter that is not here, LZ4 (32004)");
    make_lzf(path);
    assert_rows(path, NULL,
                "0:0:{\"prompt\":\"a\",\"n\":7}|1:0:{\"prompt\":\"b\",\"n\":7}|"
                "2:0:{\"prompt\":\"c\",\"n\":7}|");
    H5Tclose(variable);
}

static void lzf_streams_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } streams[] = {{"\x02"
                    "ab",
                    3},
                   {"\x20\x00", 2},
                   {"\x00"
                    "a\x20",
                    3},
                   {"\x00"
                    "a\xE0",
                    3},
                   {"\x00"
                    "a\xE0\xFF\x00",
                    5},
                   {"\x00"
                    "a\x20\x01",
                    4}};
    unsigned char out[64];
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        assert_int_equal(
            lzf_unpack((const unsigned char *)streams[i].bytes, streams[i].length, out, sizeof out),
            0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hdf5_strings),
        cmocka_unit_test(hdf5_strings_too_long_for_a_batch),
        cmocka_unit_test(hdf5_tokens),
        cmocka_unit_test(hdf5_tokens_across_windows),
        cmocka_unit_test(hdf5_files_of_another_kind),
        cmocka_unit_test(hdf5_leads_to_other_files),
        cmocka_unit_test(hdf5_columns_are_fields),
        cmocka_unit_test(hdf5_tokens_with_fields),
        cmocka_unit_test(hdf5_datasets_that_are_no_columns),
        cmocka_unit_test(hdf5_filters),
        cmocka_unit_test(lzf_streams_that_are_none),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
