/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: directories with and without an index, types, FP8 scales, hostile headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "model/formats/safetensors.h"
#include "scratch_folder.h"
#include "source_rows.h"

static void write_bytes(void *const *state, const char *name, const void *bytes, size_t length)
{
    assert_non_null(scratch_write(state, name, bytes, length));
}

static void write_tensors(void *const *state, const char *name, const char *header,
                          const void *data, size_t data_bytes)
{
    struct buffer file = {0};
    uint64_t length = strlen(header);
    assert_int_equal(buffer_append(&file, &length, 8), STATUS_OK);
    assert_int_equal(buffer_append(&file, header, length), STATUS_OK);
    assert_int_equal(buffer_append(&file, data, data_bytes), STATUS_OK);
    write_bytes(state, name, file.data, file.length);
    buffer_destroy(&file);
}

static status open_folder(const char *folder, struct tensor_table *table)
{
    bool found = false;
    memset(table, 0, sizeof *table);
    status s = safetensors_open_directory(table, folder, &found);
    if (s == STATUS_OK) {
        assert_true(found);
        s = tensor_table_finish(table);
    }
    return s;
}

static void assert_refused(const char *folder, const char *message)
{
    struct tensor_table table;
    status s = open_folder(folder, &table);
    if (s == STATUS_OK || strstr(status_message(), message) == NULL ||
        strchr(status_message(), '\n') != NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
    tensor_table_destroy(&table);
}

static void hostile_headers_are_refused(void **state)
{
    struct scratch_folder *folder = *state;
    static const uint8_t data[64];
    static const struct {
        const char *header, *message;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,15]}}",
         "tensor a: data_offsets span 15 bytes where shape and dtype make 16"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4,5],\"data_offsets\":[0,80]}}",
         "tensor a: ends at byte"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}",
         "tensor a: data_offsets: expected [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[-16,0]}}",
         "tensor a: data_offsets: expected [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4],\"data_offsets\":[0,0]}}",
         "tensor a: shape: too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,0]}}",
         "tensor a: shape: expected integers"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}",
         "tensor a: shape: 9 dimensions"},
        {"{\"a\":{\"dtype\":\"F3\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         "tensor a: unknown dtype \"F3\""},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "tensor a: unknown dtype"},
        {"{\"a\":7}", "tensor a: unknown dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         "tensors a and b share bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "tensors a and b share bytes"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"shape\":[1],\"data_offsets\":[0,4]}}", "twice"},
        {"{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         "a NUL in the name"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,0]}}",
         "tensor a: shape: too large"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}",
         "tensor a: shape: too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551615],\"data_offsets\":[0,0]}}",
         "tensor a: shape: expected integers"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807],"
         "\"data_offsets\":[0,9223372036854775807]}}",
         "tensor a: ends at byte"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],"
         "\"data_offsets\":[9223372036854775807,9223372036854775807]}}",
         "tensor a: ends at byte"},
        {"[]", "header: expected an object"},
        {"{", "header: byte "},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_tensors(state, "model.safetensors", cases[i].header, data, sizeof data);
        assert_refused(folder->path, cases[i].message);
    }
    write_bytes(state, "model.safetensors", "short", 5);
    assert_refused(folder->path, "5 bytes, too short for a safetensors file");
    write_bytes(state, "model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    assert_refused(folder->path, "not a safetensors file, or truncated");
    /* Header lengths: all that 64 bits hold, and one more than there is. */
    static const uint64_t lengths[] = {UINT64_MAX,        UINT64_MAX - 7, UINT64_MAX - 8,
                                       (uint64_t)1 << 63, 100000001,      3};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        char file[10] = "........{}";
        memcpy(file, &lengths[i], sizeof lengths[i]);
        write_bytes(state, "model.safetensors", file, sizeof file);
        assert_refused(folder->path, "not a safetensors file, or truncated");
    }
    remove(scratch_path(state, "model.safetensors"));
}

static void index_names_must_stay_in_the_folder(void **state)
{
    struct scratch_folder *folder = *state;
    static const char *const names[] = {
        "../x.safetensors",     "a/b.safetensors",       "..", ".", "", "/etc/x",
        "a.safetensors\\u0000", "..\\u002fx.safetensors"};
    char text[256];
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        write_bytes(state, "model.safetensors.index.json", text, strlen(text));
        assert_refused(folder->path, "weight_map: a: expected the name of a file");
    }
    write_bytes(state, "model.safetensors.index.json", "{}", 2);
    assert_refused(folder->path, "weight_map: expected an object");
    static const char absent[] = "{\"weight_map\":{\"a\":\"absent.safetensors\"}}";
    write_bytes(state, "model.safetensors.index.json", absent, strlen(absent));
    assert_refused(folder->path, "absent.safetensors: No such file");
}

static void shards_are_one_table(void **state)
{
    struct scratch_folder *folder = *state;
    static const char index[] = "{\"metadata\":{},\"weight_map\":{\"b\":\"2.safetensors\","
                                "\"a\":\"1.safetensors\",\"c\":\"1.safetensors\"}}";
    static const float values[] = {1, 2, 3, 4};
    write_bytes(state, "model.safetensors.index.json", index, strlen(index));
    write_tensors(state, "1.safetensors",
                  "{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}",
                  values, sizeof values);
    write_tensors(state, "2.safetensors",
                  "{\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}", values, 8);
    struct tensor_table table;
    if (open_folder(folder->path, &table) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_int_equal(table.count, 3);
    assert_int_equal(table.file_count, 2);
    struct tensor_scratch scratch = {0};
    struct weight_rows rows;
    float two[2];
    assert_int_equal(
        tensor_read_values(&table, tensor_table_find(&table, "c"), 0, 2, &scratch, two), STATUS_OK);
    assert_true(two[0] == 3 && two[1] == 4);
    assert_int_equal(source_rows(&table, tensor_table_find(&table, "b"),
                                 (struct rectangle){0, 1, 0, 1}, false, &scratch, &rows),
                     STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "2.safetensors: tensor b: type I64"));
    tensor_scratch_destroy(&scratch);
    tensor_table_destroy(&table);
    remove(scratch_path(state, "model.safetensors.index.json"));
}

/* A file that shrinks after it was opened gives a message, not a signal. */
static void a_shrunken_file_is_noticed(void **state)
{
    struct scratch_folder *folder = *state;
    static const float values[256];
    write_tensors(state, "model.safetensors",
                  "{\"a\":{\"dtype\":\"F32\",\"shape\":[256],\"data_offsets\":[0,1024]}}", values,
                  sizeof values);
    struct tensor_table table;
    assert_int_equal(open_folder(folder->path, &table), STATUS_OK);
    write_bytes(state, "model.safetensors", values, 200);
    struct tensor_scratch scratch = {0};
    float out[256];
    assert_int_equal(
        tensor_read_values(&table, tensor_table_find(&table, "a"), 0, 256, &scratch, out),
        STATUS_INVALID);
    assert_non_null(strstr(status_message(), "truncated"));
    tensor_scratch_destroy(&scratch);
    tensor_table_destroy(&table);
}

/* FP8 weights with a scale for all, for each row, and for blocks. 0x38 is 1, 0x40 is 2, 0xb8 is -1,
 * 0x01 is 2^-9. */
static void fp8_weights_are_scaled(void **state)
{
    struct scratch_folder *folder = *state;
    static const uint8_t codes[] = {0x38, 0x40, 0xb8, 0x01};
    uint8_t data[3 * 12 + 4 + 12 + 16 + 4];
    float scales[] = {0.5f, 1, 2, 4, 1, 10, 100, 1000, 0.25f};
    for (size_t i = 0; i < 36; i++) {
        data[i] = codes[i % 4];
    }
    memcpy(data + 36, scales, sizeof scales);
    write_tensors(
        state, "model.safetensors",
        "{\"all.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[3,4],\"data_offsets\":[0,12]},"
        "\"all.weight_scale\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[36,40]},"
        "\"row.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[3,4],\"data_offsets\":[12,24]},"
        "\"row.weight_scale\":{\"dtype\":\"F32\",\"shape\":[3,1],\"data_offsets\":[40,52]},"
        "\"block.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[3,4],\"data_offsets\":[24,36]},"
        "\"block.weight_scale_inv\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[52,68]},"
        "\"row.input_scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[68,72]}}",
        data, sizeof data);
    static const float plain[] = {1, 2, -1, 0x1p-9f};
    struct tensor_table table;
    struct tensor_scratch scratch = {0};
    struct weight_rows rows;
    if (open_folder(folder->path, &table) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    static const char *const names[] = {"all.weight", "row.weight", "block.weight"};
    for (int which = 0; which < 3; which++) {
        assert_int_equal(source_rows(&table, tensor_table_find(&table, names[which]),
                                     (struct rectangle){1, 2, 1, 3}, false, &scratch, &rows),
                         STATUS_OK);
        assert_int_equal(rows.format, WEIGHT_FLOAT32);
        for (int row = 1; row < 3; row++) {
            for (int column = 1; column < 4; column++) {
                float scale = which == 0   ? 0.5f
                              : which == 1 ? scales[1 + row]
                                           : scales[4 + row / 2 * 2 + column / 2];
                const float *values = rows.data;
                assert_true(values[(size_t)(row - 1) * rows.stride + (size_t)column - 1] ==
                            plain[column] * scale);
            }
        }
    }
    /* Kept as they are where a scale a row says all. */
    for (int which = 0; which < 3; which++) {
        assert_int_equal(source_rows(&table, tensor_table_find(&table, names[which]),
                                     (struct rectangle){1, 2, 1, 3}, true, &scratch, &rows),
                         STATUS_OK);
        if (which == 2) {
            assert_null(rows.scales);
            assert_int_equal(rows.format, WEIGHT_FLOAT32);
            continue;
        }
        assert_int_equal(rows.format, WEIGHT_FP8);
        for (size_t row = 0; row < 2; row++) {
            assert_true(rows.scales[row] == (which == 0 ? 0.5f : scales[2 + row]));
            assert_memory_equal((const uint8_t *)rows.data + row * rows.stride, codes + 1, 3);
        }
    }
    tensor_scratch_destroy(&scratch);
    tensor_table_destroy(&table);
}

/* INT8 weights: (number - zero) * scale, with one of each for a row, or for two columns of it. */
static void int8_weights_are_expanded(void **state)
{
    struct scratch_folder *folder = *state;
    static const int8_t numbers[] = {1, -128, 127, 0, -1, 2, 3, 4};
    static const int8_t zeros[] = {-3, 100, 0, 5};
    static const float scales[] = {0.5f, 3, 2, 0.25f};
    uint8_t data[8 + 4 + 16];
    memcpy(data, numbers, sizeof numbers);
    memcpy(data + 8, zeros, sizeof zeros);
    memcpy(data + 12, scales, sizeof scales);
    write_tensors(
        state, "model.safetensors",
        "{\"row.weight\":{\"dtype\":\"I8\",\"shape\":[2,2],\"data_offsets\":[0,4]},"
        "\"row.weight_scale\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[12,20]},"
        "\"group.weight\":{\"dtype\":\"I8\",\"shape\":[1,4],\"data_offsets\":[4,8]},"
        "\"group.weight_scale\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[20,28]},"
        "\"group.weight_zero_point\":{\"dtype\":\"I8\",\"shape\":[1,2],\"data_offsets\":[8,10]},"
        "\"bare.weight\":{\"dtype\":\"I8\",\"shape\":[1,1],\"data_offsets\":[10,11]},"
        "\"moved.weight\":{\"dtype\":\"I8\",\"shape\":[1,1],\"data_offsets\":[11,12]},"
        "\"moved.weight_scale\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[28,28]},"
        "\"moved.weight_g_idx\":{\"dtype\":\"I32\",\"shape\":[0],\"data_offsets\":[28,28]}}",
        data, sizeof data);
    struct tensor_table table;
    struct tensor_scratch scratch = {0};
    struct tensor_source source;
    struct weight_rows rows;
    if (open_folder(folder->path, &table) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    for (int as_it_is = 0; as_it_is < 2; as_it_is++) {
        assert_int_equal(source_rows(&table, tensor_table_find(&table, "group.weight"),
                                     (struct rectangle){0, 1, 1, 3}, as_it_is != 0, &scratch,
                                     &rows),
                         STATUS_OK);
        assert_int_equal(rows.format, WEIGHT_FLOAT32); /* zeros are not handed on */
        const float *values = rows.data;
        assert_true(values[0] == (2 + 3) * 2 && values[1] == (3 - 100) * 0.25f &&
                    values[2] == (4 - 100) * 0.25f);
    }
    assert_int_equal(source_rows(&table, tensor_table_find(&table, "row.weight"),
                                 (struct rectangle){1, 1, 0, 2}, false, &scratch, &rows),
                     STATUS_OK);
    assert_true(((const float *)rows.data)[0] == 127 * 3 && ((const float *)rows.data)[1] == 0);
    assert_int_equal(tensor_source_find(&table, tensor_table_find(&table, "bare.weight"), &source),
                     STATUS_INVALID);
    assert_non_null(strstr(status_message(), "no bare.weight_scale beside it"));
    assert_int_equal(tensor_source_find(&table, tensor_table_find(&table, "moved.weight"), &source),
                     STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "moved.weight_g_idx: columns of groups"));
    tensor_scratch_destroy(&scratch);
    tensor_table_destroy(&table);
}

/* Wide rows: a narrow range is read by itself, a wide one with its row; both are the same values.
 */
static void column_ranges_are_the_rows_columns(void **state)
{
    struct scratch_folder *folder = *state;
    enum { ROWS = 3, COLUMNS = 8192 };
    float *values = malloc(ROWS * COLUMNS * sizeof *values);
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        values[i] = (float)i;
    }
    write_tensors(state, "model.safetensors",
                  "{\"a\":{\"dtype\":\"F32\",\"shape\":[3,8192],\"data_offsets\":[0,98304]}}",
                  values, ROWS * COLUMNS * sizeof *values);
    struct tensor_table table;
    assert_int_equal(open_folder(folder->path, &table), STATUS_OK);
    static const int ranges[][2] = {{0, 8192}, {4096, 4096}, {100, 1024}, {8000, 192}, {5, 8000}};
    for (size_t i = 0; i < COUNT_OF(ranges); i++) {
        struct tensor_scratch scratch = {0};
        struct weight_rows rows;
        assert_int_equal(source_rows(&table, tensor_table_find(&table, "a"),
                                     (struct rectangle){1, 2, ranges[i][0], ranges[i][1]}, false,
                                     &scratch, &rows),
                         STATUS_OK);
        for (size_t row = 0; row < 2; row++) {
            assert_memory_equal((const float *)rows.data + row * rows.stride,
                                values + (row + 1) * COLUMNS + (size_t)ranges[i][0],
                                (size_t)ranges[i][1] * sizeof *values);
        }
        tensor_scratch_destroy(&scratch);
    }
    tensor_table_destroy(&table);
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(index_names_must_stay_in_the_folder),
        cmocka_unit_test(shards_are_one_table),
        cmocka_unit_test(a_shrunken_file_is_noticed),
        cmocka_unit_test(fp8_weights_are_scaled),
        cmocka_unit_test(int8_weights_are_expanded),
        cmocka_unit_test(column_ranges_are_the_rows_columns),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
