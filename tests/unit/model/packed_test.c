/* SPDX-License-Identifier: Apache-2.0 */
/* Weights that checkpoints pack into words: the values that their methods mean, to the bit, in any
 * rectangle (tests/data/packed, of tools/make_packed_weights.py); parts that are missing or do not
 * fit each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/formats/safetensors.h"
#include "model/read/packed.h"
#include "scratch_folder.h"
#include "source_rows.h"

static status open_packed(const char *path, enum weight_packing_method method, int group,
                          struct tensor_table *table)
{
    struct buffer bytes = {0};
    int file;
    memset(table, 0, sizeof *table);
    TRY(tensor_table_open_file(table, path, &file));
    uint64_t length;
    assert_int_equal(file_read(path, 1 << 24, &bytes), STATUS_OK);
    memcpy(&length, bytes.data, sizeof length);
    status s = safetensors_parse_header(table, file, bytes.data + 8, (size_t)length, 8 + length);
    buffer_destroy(&bytes);
    TRY(s);
    TRY(tensor_table_finish(table));
    return packed_weights_find(table, &(struct weight_packing){method, group});
}

/* Whatever the rectangle, its values are those of `expected` [rows, columns]. */
static void assert_rectangle(const struct tensor_table *table, const struct tensor *weight,
                             const float *expected, int columns, struct rectangle want)
{
    struct tensor_scratch scratch = {0};
    struct weight_rows rows;
    if (source_rows(table, weight, want, false, &scratch, &rows) != STATUS_OK) {
        fail_msg("%s: %s", weight->name, status_message());
    }
    assert_int_equal(rows.format, WEIGHT_FLOAT32);
    for (int row = 0; row < want.rows; row++) {
        const float *is = (const float *)rows.data + (size_t)row * rows.stride;
        const float *should = expected + (want.first_row + row) * columns + want.first_column;
        for (int i = 0; i < want.columns; i++) {
            if (is[i] != should[i]) {
                fail_msg("%s, row %d, column %d: %.9g, not %.9g", weight->name,
                         want.first_row + row, want.first_column + i, (double)is[i],
                         (double)should[i]);
            }
        }
    }
    tensor_scratch_destroy(&scratch);
}

static void assert_expected(const struct tensor_table *table, const struct tensor *expected)
{
    char name[128];
    const int rows = (int)expected->shape[0], columns = (int)expected->shape[1];
    snprintf(name, sizeof name, "%.*s.weight", (int)(strlen(expected->name) - strlen(".expected")),
             expected->name);
    const struct tensor *weight = tensor_table_find(table, name);
    if (weight == NULL) { /* of a stack */
        *strrchr(name, '.') = '\0';
        weight = tensor_table_find(table, name);
    }
    assert_non_null(weight);
    assert_int_equal(weight->shape[weight->rank - 1], columns);
    struct tensor_scratch scratch = {0};
    float *values = malloc((size_t)rows * (size_t)columns * sizeof *values);
    assert_int_equal(tensor_read_values(table, expected, 0, rows * columns, &scratch, values),
                     STATUS_OK);
    const struct rectangle rectangles[] = {
        {0, rows, 0, columns},         {1, rows - 1, 0, columns},
        {0, rows, 1, columns - 1},     {rows / 2, 1, columns / 3, columns / 2},
        {3, rows - 5, columns - 1, 1}, {rows - 1, 1, 0, 3},
    };
    for (size_t i = 0; i < COUNT_OF(rectangles); i++) {
        assert_rectangle(table, weight, values, columns, rectangles[i]);
    }
    free(values);
    tensor_scratch_destroy(&scratch);
}

static void packed_weights_are_what_they_mean(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        enum weight_packing_method method;
        size_t weights;
    } files[] = {
        {"gptq", PACKING_GPTQ, 5},
        {"gptq_v2", PACKING_GPTQ_V2, 5},
        {"awq", PACKING_AWQ, 2},
        {"compressed", PACKING_COMPRESSED_TENSORS, 8},
        {"modelopt", PACKING_MODELOPT_FP4, 1},
        {"mxfp4", PACKING_MXFP4, 1},
        {"bitsandbytes", PACKING_BITSANDBYTES, 3},
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[1024];
        struct tensor_table table;
        snprintf(path, sizeof path, "%s/packed/%s.safetensors", SLUICE_TEST_DATA, files[i].file);
        if (open_packed(path, files[i].method, 0, &table) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        size_t weights = 0;
        for (size_t j = 0; j < table.count; j++) {
            const char *end = strrchr(table.items[j].name, '.');
            if (end != NULL && strcmp(end, ".expected") == 0) {
                assert_expected(&table, &table.items[j]);
                weights++;
            }
        }
        assert_int_equal(weights, files[i].weights);
        tensor_table_destroy(&table);
    }
}

/* A stack of experts keeps its shape. */
static void stacks_have_three_dimensions(void **state)
{
    (void)state;
    struct tensor_table table;
    assert_int_equal(
        open_packed(SLUICE_TEST_DATA "/packed/mxfp4.safetensors", PACKING_MXFP4, 0, &table),
        STATUS_OK);
    const struct tensor *stack = tensor_table_find(&table, "stack");
    assert_non_null(stack);
    assert_int_equal(stack->rank, 3);
    assert_true(stack->shape[0] == 3 && stack->shape[1] == 10 && stack->shape[2] == 64);
    tensor_table_destroy(&table);
}

/* ---- What does not fit ---- */

struct piece {
    const char *name, *type;
    int64_t shape[4];
    int rank;
    const void *data; /* NULL: zeros */
};

static int64_t type_bytes(const char *type)
{
    return strcmp(type, "I32") == 0 || strcmp(type, "F32") == 0 ? 4
           : strcmp(type, "F16") == 0                           ? 2
           : strcmp(type, "I64") == 0                           ? 8
                                                                : 1;
}

/* A file of these tensors, up to one without a name. */
static const char *write_pieces(void *const *state, const struct piece *pieces)
{
    struct buffer header = {0}, data = {0}, file = {0};
    assert_int_equal(buffer_append_text(&header, "{"), STATUS_OK);
    for (; pieces->name != NULL; pieces++) {
        int64_t count = 1;
        assert_int_equal(buffer_format(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                                       header.length > 1 ? "," : "", pieces->name, pieces->type),
                         STATUS_OK);
        for (int i = 0; i < pieces->rank; i++) {
            assert_int_equal(
                buffer_format(&header, "%s%lld", i > 0 ? "," : "", (long long)pieces->shape[i]),
                STATUS_OK);
            count *= pieces->shape[i];
        }
        const size_t bytes = (size_t)(count * type_bytes(pieces->type));
        assert_int_equal(buffer_format(&header, "],\"data_offsets\":[%zu,%zu]}", data.length,
                                       data.length + bytes),
                         STATUS_OK);
        static const uint8_t nothing[1 << 16];
        assert_true(bytes <= sizeof nothing);
        assert_int_equal(buffer_append(&data, pieces->data != NULL ? pieces->data : nothing, bytes),
                         STATUS_OK);
    }
    assert_int_equal(buffer_append_text(&header, "}"), STATUS_OK);
    const uint64_t length = header.length;
    assert_int_equal(buffer_append(&file, &length, sizeof length), STATUS_OK);
    assert_int_equal(buffer_append(&file, header.data, header.length), STATUS_OK);
    assert_int_equal(buffer_append(&file, data.data, data.length), STATUS_OK);
    const char *path = scratch_write(state, "model.safetensors", file.data, file.length);
    assert_non_null(path);
    buffer_destroy(&header);
    buffer_destroy(&data);
    buffer_destroy(&file);
    return path;
}

static void assert_message(status s, const char *message)
{
    if (s == STATUS_OK || strstr(status_message(), message) == NULL ||
        strchr(status_message(), '\n') != NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
}

static void misfits_are_refused(void **state)
{
    static const int64_t shape[] = {16, 64}, other_shape[] = {15, 64}, far_shape[] = {16, 1 << 30};
    static const float one[] = {1}, zero[] = {0};
    static const char quant_state[] = "{\"blocksize\":64,\"shape\":[8,64]} ";
    static const char bad_state[] = "{\"blocksize\":64,\"shape\":[8,-4]} ";
    static const struct {
        enum weight_packing_method method;
        int group;
        const char *message;
        struct piece pieces[7];
    } cases[] = {
        {PACKING_GPTQ,
         0,
         "tensor a.qweight: no a.qzeros beside it",
         {{"a.qweight", "I32", {8, 16}, 2, NULL}, {"a.scales", "F16", {2, 16}, 2, NULL}}},
        {PACKING_GPTQ,
         0,
         "tensor a.qweight: no a.scales beside it",
         {{"a.qweight", "I32", {8, 16}, 2, NULL}, {"a.qzeros", "I32", {2, 2}, 2, NULL}}},
        {PACKING_GPTQ,
         0,
         "tensor a.scales does not fit the shape of a.qweight",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {2, 1}, 2, NULL},
          {"a.scales", "F16", {2, 8}, 2, NULL}}},
        {PACKING_GPTQ,
         0,
         "tensor a.qzeros does not fit the shape of a.qweight",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {1, 2}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL}}},
        {PACKING_GPTQ,
         0,
         "a.qweight: its shape is that of no packed numbers",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {2, 7}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL}}},
        {PACKING_GPTQ,
         0,
         "tensor a.scales does not fit the shape of a.qweight",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {3, 2}, 2, NULL},
          {"a.scales", "F16", {3, 16}, 2, NULL}}}, /* 64 columns in three groups */
        {PACKING_GPTQ,
         16,
         "tensor a.scales does not fit the shape of a.qweight",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {2, 2}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL}}}, /* two groups of 16 */
        {PACKING_GPTQ,
         GROUP_OF_ALL,
         "tensor a.scales does not fit the shape of a.qweight",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {2, 2}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL}}},
        {PACKING_GPTQ,
         0,
         "tensor a.g_idx does not fit the shape of a.qweight",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {2, 2}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL},
          {"a.g_idx", "I32", {63}, 1, NULL}}},
        {PACKING_GPTQ,
         0,
         "a.qweight: packed numbers of type F16",
         {{"a.qweight", "F16", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {2, 2}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL}}},
        {PACKING_GPTQ,
         0,
         "tensor a.weight is there twice",
         {{"a.qweight", "I32", {8, 16}, 2, NULL},
          {"a.qzeros", "I32", {2, 2}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL},
          {"a.weight", "F16", {16, 64}, 2, NULL}}},
        {PACKING_AWQ,
         0,
         "tensor a.scales does not fit the shape of a.qweight",
         {{"a.qweight", "I32", {64, 3}, 2, NULL},
          {"a.qzeros", "I32", {2, 2}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL}}},
        {PACKING_AWQ,
         0,
         "a.qweight: its shape is that of no packed numbers",
         {{"a.qweight", "I32", {64, 4}, 2, NULL},
          {"a.qzeros", "I32", {2, 4}, 2, NULL},
          {"a.scales", "F16", {2, 16}, 2, NULL}}}, /* eight bits */
        {PACKING_COMPRESSED_TENSORS,
         0,
         "tensor a.weight_packed: no a.weight_shape beside it",
         {{"a.weight_packed", "I32", {16, 8}, 2, NULL},
          {"a.weight_scale", "F16", {16, 2}, 2, NULL}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "tensor a.weight_packed: no a.weight_scale beside it",
         {{"a.weight_packed", "I32", {16, 8}, 2, NULL}, {"a.weight_shape", "I64", {2}, 1, shape}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "tensor a.weight_shape does not fit",
         {{"a.weight_packed", "I32", {16, 8}, 2, NULL},
          {"a.weight_scale", "F16", {16, 2}, 2, NULL},
          {"a.weight_shape", "I64", {2}, 1, other_shape}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "its shape is that of no packed numbers",
         {{"a.weight_packed", "I32", {16, 8}, 2, NULL},
          {"a.weight_scale", "F16", {16, 2}, 2, NULL},
          {"a.weight_shape", "I64", {2}, 1, far_shape}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "tensor a.weight_scale does not fit",
         {{"a.weight_packed", "I32", {16, 8}, 2, NULL},
          {"a.weight_scale", "F16", {16, 3}, 2, NULL},
          {"a.weight_shape", "I64", {2}, 1, shape}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "tensor a.weight_zero_point does not fit",
         {{"a.weight_packed", "I32", {16, 8}, 2, NULL},
          {"a.weight_scale", "F16", {16, 2}, 2, NULL},
          {"a.weight_zero_point", "I32", {16, 2}, 2, NULL},
          {"a.weight_shape", "I64", {2}, 1, shape}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "no a.weight_global_scale beside it",
         {{"a.weight_packed", "U8", {16, 8}, 2, NULL},
          {"a.weight_scale", "F8_E4M3", {16, 1}, 2, NULL}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "tensor a.weight_global_scale: 0 is no scale",
         {{"a.weight_packed", "U8", {16, 8}, 2, NULL},
          {"a.weight_scale", "F8_E4M3", {16, 1}, 2, NULL},
          {"a.weight_global_scale", "F32", {1}, 1, zero}}},
        {PACKING_COMPRESSED_TENSORS,
         0,
         "tensor a.weight_scale does not fit",
         {{"a.weight_packed", "U8", {16, 8}, 2, NULL},
          {"a.weight_scale", "F8_E4M3", {15, 1}, 2, NULL},
          {"a.weight_global_scale", "F32", {1}, 1, one}}},
        {PACKING_MODELOPT_FP4,
         0,
         "tensor a.weight: no a.weight_scale_2 beside it",
         {{"a.weight", "U8", {16, 8}, 2, NULL}, {"a.weight_scale", "F8_E4M3", {16, 1}, 2, NULL}}},
        {PACKING_MXFP4,
         0,
         "tensor a_blocks: no a_scales beside it",
         {{"a_blocks", "U8", {2, 4, 2, 16}, 4, NULL}}},
        {PACKING_MXFP4,
         0,
         "tensor a_scales does not fit",
         {{"a_blocks", "U8", {2, 4, 2, 16}, 4, NULL}, {"a_scales", "U8", {2, 5, 2}, 3, NULL}}},
        {PACKING_BITSANDBYTES,
         0,
         "no quantisation's state in JSON",
         {{"a.weight", "U8", {256, 1}, 2, NULL},
          {"a.weight.absmax", "F32", {8}, 1, NULL},
          {"a.weight.quant_map", "F32", {16}, 1, NULL},
          {"a.weight.quant_state.bitsandbytes__nf4", "U8", {32}, 1, bad_state}}},
        {PACKING_BITSANDBYTES,
         0,
         "tensor a.weight does not fit",
         {{"a.weight", "U8", {255, 1}, 2, NULL},
          {"a.weight.absmax", "F32", {8}, 1, NULL},
          {"a.weight.quant_map", "F32", {16}, 1, NULL},
          {"a.weight.quant_state.bitsandbytes__nf4", "U8", {32}, 1, quant_state}}},
        {PACKING_BITSANDBYTES,
         0,
         "tensor a.weight.absmax does not fit",
         {{"a.weight", "U8", {256, 1}, 2, NULL},
          {"a.weight.absmax", "F32", {7}, 1, NULL},
          {"a.weight.quant_map", "F32", {16}, 1, NULL},
          {"a.weight.quant_state.bitsandbytes__nf4", "U8", {32}, 1, quant_state}}},
        {PACKING_BITSANDBYTES,
         0,
         "tensor a.weight.quant_map does not fit",
         {{"a.weight", "U8", {256, 1}, 2, NULL},
          {"a.weight.absmax", "F32", {8}, 1, NULL},
          {"a.weight.quant_map", "F32", {17}, 1, NULL},
          {"a.weight.quant_state.bitsandbytes__nf4", "U8", {32}, 1, quant_state}}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tensor_table table;
        assert_message(open_packed(write_pieces(state, cases[i].pieces), cases[i].method,
                                   cases[i].group, &table),
                       cases[i].message);
        tensor_table_destroy(&table);
    }
}

/* What only shows once numbers are read. */
static void bad_numbers_are_refused(void **state)
{
    static int32_t order[64];
    static uint16_t scales[32];
    static const struct {
        int32_t group;
        uint16_t scale;
        const char *message;
    } cases[] = {
        {2, 0, "a.g_idx: column 63 is of group 2, of 2 groups"},
        {-2, 0, "a.g_idx: column 63 is of group -2, of 2 groups"},
        {INT32_MIN, 0, "a.g_idx: column 63 is of group"},
        {1, 0x7e00, "a.scales: nan is no scale"},
        {1, 0x7c00, "a.scales: inf is no scale"},
    };
    const struct piece pieces[] = {{"a.qweight", "I32", {8, 16}, 2, NULL},
                                   {"a.qzeros", "I32", {2, 2}, 2, NULL},
                                   {"a.scales", "F16", {2, 16}, 2, scales},
                                   {"a.g_idx", "I32", {64}, 1, order},
                                   {0}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tensor_table table;
        struct tensor_scratch scratch = {0};
        struct weight_rows rows;
        order[63] = cases[i].group;
        scales[31] = cases[i].scale;
        if (open_packed(write_pieces(state, pieces), PACKING_GPTQ, 0, &table) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        const struct tensor *weight = tensor_table_find(&table, "a.weight");
        assert_message(
            source_rows(&table, weight, (struct rectangle){0, 16, 0, 64}, false, &scratch, &rows),
            cases[i].message);
        float value;
        assert_message(tensor_read_values(&table, weight, 0, 1, &scratch, &value),
                       "is packed where plain numbers belong");
        assert_message(
            source_rows(&table, weight, (struct rectangle){15, 2, 0, 64}, false, &scratch, &rows),
            "2 × 64 values from 15, 0");
        tensor_scratch_destroy(&scratch);
        tensor_table_destroy(&table);
    }
}

/* Names of parts are those of a weight, whole, or there is none: not another's that begins so. */
static void long_names_are_not_cut(void **state)
{
    enum { MOST = 511 };
    static char blocks[MOST + 3], scales[MOST + 3];
    for (size_t more = 0; more < 2; more++) {
        const size_t kept = MOST + more - strlen("_scales");
        memset(blocks, 'a', kept);
        memset(scales, 'a', kept);
        strcpy(blocks + kept, "_blocks");
        strcpy(scales + kept, "_scales");
        scales[MOST] = '\0';
        const struct piece pieces[] = {
            {blocks, "U8", {2, 4, 2, 16}, 4, NULL}, {scales, "U8", {2, 4, 2}, 3, NULL}, {0}};
        struct tensor_table table;
        assert_int_equal(open_packed(write_pieces(state, pieces), PACKING_MXFP4, 0, &table),
                         more == 0 ? STATUS_OK : STATUS_INVALID);
        tensor_table_destroy(&table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_weights_are_what_they_mean),
        cmocka_unit_test(stacks_have_three_dimensions),
        cmocka_unit_test(misfits_are_refused),
        cmocka_unit_test(bad_numbers_are_refused),
        cmocka_unit_test(long_names_are_not_cut),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
