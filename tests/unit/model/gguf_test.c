/* SPDX-License-Identifier: Apache-2.0 */
/* GGUF: block formats against what the gguf package makes of them, metadata, hostile files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/formats/gguf.h"
#include "sluice/model.h"
#include "source_rows.h"

static void check_expansion(const struct tensor_table *table, const char *name)
{
    char expected_name[64];
    snprintf(expected_name, sizeof expected_name, "%s.expected", name);
    const struct tensor *tensor = tensor_table_find(table, name);
    const struct tensor *expected = tensor_table_find(table, expected_name);
    assert_non_null(tensor);
    assert_non_null(expected);
    struct tensor_scratch scratch = {0}, other = {0};
    struct weight_rows rows, all;
    float values[512], wanted[512];
    for (int row = 0; row < 3; row++) {
        assert_int_equal(
            source_rows(table, expected, (struct rectangle){row, 1, 0, 512}, false, &other, &all),
            STATUS_OK);
        memcpy(wanted, all.data, sizeof wanted);
        assert_int_equal(
            tensor_read_values(table, tensor, 512 * (int64_t)row, 512, &scratch, values),
            STATUS_OK);
        for (int i = 0; i < 512; i++) {
            if (values[i] != wanted[i]) {
                fail_msg("%s: row %d, value %d: %g where %g is right", name, row, i,
                         (double)values[i], (double)wanted[i]);
            }
        }
    }
    /* A range that begins and ends inside of blocks, of the last two rows. */
    assert_int_equal(
        source_rows(table, tensor, (struct rectangle){1, 2, 100, 300}, false, &scratch, &rows),
        STATUS_OK);
    if (rows.format == WEIGHT_FLOAT32) {
        const float *second = (const float *)rows.data + rows.stride;
        assert_memory_equal(second, wanted + 100, 300 * sizeof *second);
    }
    tensor_scratch_destroy(&scratch);
    tensor_scratch_destroy(&other);
}

static void blocks_expand_as_the_reference_does(void **state)
{
    (void)state;
    static const char *const names[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K",
                                        "Q3_K", "Q4_K", "Q5_K", "Q6_K", "F16",  "F32"};
    struct tensor_table table = {0};
    struct gguf gguf;
    assert_int_equal(gguf_open(&table, SLUICE_TEST_DATA "/gguf/quants.gguf", &gguf), STATUS_OK);
    assert_int_equal(tensor_table_finish(&table), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        check_expansion(&table, names[i]);
    }
    gguf_destroy(&gguf);
    tensor_table_destroy(&table);
}

static void blocks_of_tables_expand_too(void **state)
{
    (void)state;
    static const char *const names[] = {"IQ4_NL", "IQ4_XS", "MXFP4"};
    struct tensor_table table = {0};
    struct gguf gguf;
    assert_int_equal(gguf_open(&table, SLUICE_TEST_DATA "/gguf/tables.gguf", &gguf), STATUS_OK);
    assert_int_equal(tensor_table_finish(&table), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        check_expansion(&table, names[i]);
    }
    gguf_destroy(&gguf);
    tensor_table_destroy(&table);
}

static void metadata_is_typed(void **state)
{
    (void)state;
    struct tensor_table table = {0};
    struct gguf gguf;
    assert_int_equal(gguf_open(&table, SLUICE_TEST_DATA "/gguf/llama.gguf", &gguf), STATUS_OK);
    int64_t integer;
    double real;
    assert_true(gguf_integer(&gguf, "llama.block_count", &integer));
    assert_int_equal(integer, 2);
    assert_true(gguf_real(&gguf, "llama.rope.freq_base", &real));
    assert_true(real == 10000.0);
    assert_string_equal(gguf_text(&gguf, "general.architecture"), "llama");
    assert_null(gguf_text(&gguf, "llama.block_count"));
    assert_false(gguf_integer(&gguf, "general.architecture", &integer));
    assert_null(gguf_find(&gguf, "absent"));
    const struct gguf_value *tokens = gguf_find(&gguf, "tokenizer.ggml.tokens");
    assert_non_null(tokens);
    assert_int_equal(tokens->count, 40);
    assert_string_equal(tokens->texts[2], "t0");
    gguf_destroy(&gguf);
    tensor_table_destroy(&table);
}

/* ---- Hostile headers, written here ---- */

static struct buffer file;

static void put(const void *bytes, size_t count)
{
    assert_int_equal(buffer_append(&file, bytes, count), STATUS_OK);
}

static void put32(uint32_t value)
{
    put(&value, sizeof value);
}

static void put64(uint64_t value)
{
    put(&value, sizeof value);
}

static void put_string(const char *text)
{
    put64(strlen(text));
    put(text, strlen(text));
}

static void begin(uint32_t version, uint64_t tensors, uint64_t entries)
{
    buffer_clear(&file);
    put("GGUF", 4);
    put32(version);
    put64(tensors);
    put64(entries);
}

static void put_tensor(const char *name, uint64_t columns, uint64_t rows, uint32_t type,
                       uint64_t offset)
{
    put_string(name);
    put32(2);
    put64(columns);
    put64(rows);
    put32(type);
    put64(offset);
}

static void assert_refused(status expected, const char *message)
{
    struct gguf gguf;
    bool needs_more;
    status s = gguf_parse((const uint8_t *)file.data, file.length, file.length, &gguf, &needs_more);
    if (s != expected || strstr(status_message(), message) == NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
    gguf_destroy(&gguf);
}

static void hostile_headers_are_refused(void **state)
{
    (void)state;
    begin(3, 0, 0);
    file.data[0] = 'X';
    assert_refused(STATUS_INVALID, "not a GGUF file");
    begin(1, 0, 0);
    assert_refused(STATUS_UNSUPPORTED, "version 1");
    begin(0x03000000, 0, 0);
    assert_refused(STATUS_UNSUPPORTED, "big-endian");
    begin(3, 1ull << 60, 0);
    assert_refused(STATUS_INVALID, "plausible");
    begin(3, 0, 1);
    assert_refused(STATUS_INVALID, "truncated");

    begin(3, 0, 1);
    put64(1ull << 62); /* a key's length */
    assert_refused(STATUS_INVALID, "a string of");

    begin(3, 0, 1);
    put_string("a");
    put32(99);
    assert_refused(STATUS_INVALID, "a: unknown type 99");

    begin(3, 0, 1);
    put_string("a");
    put32(GGUF_ARRAY);
    put32(GGUF_UINT64);
    put64(1ull << 61);
    assert_refused(STATUS_INVALID, "a: an array of");

    begin(3, 0, 1);
    put_string("a");
    put32(GGUF_ARRAY);
    put32(GGUF_ARRAY);
    put64(1);
    assert_refused(STATUS_UNSUPPORTED, "a: an array of arrays");

    begin(3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_string("same");
        put32(GGUF_UINT32);
        put32(1);
    }
    assert_refused(STATUS_INVALID, "key same is there twice");

    begin(3, 1, 0);
    put_tensor("t", 32, 1ull << 58, 0, 0);
    assert_refused(STATUS_INVALID, "tensor t: the shape is too large");

    begin(3, 1, 0);
    put_tensor("t", 33, 2, 2, 0);
    assert_refused(STATUS_INVALID, "tensor t: rows of 33 values are not whole Q4_0 blocks");

    begin(3, 1, 0); /* a scalar of blocks */
    put_string("t");
    put32(0);
    put32(2);
    put64(0);
    assert_refused(STATUS_INVALID, "tensor t: rows of 1 values are not whole Q4_0 blocks");

    begin(3, 1, 0);
    put_tensor("t", 32, 2, 17, 0);
    assert_refused(STATUS_UNSUPPORTED, "tensor t: type number 17 is not supported (supported: F32");

    begin(3, 1, 0);
    put_tensor("t", 32, 2, 0, 1 << 20);
    assert_refused(STATUS_INVALID, "tensor t ends past the file");

    begin(3, 1, 0);
    put_tensor("t", 32, 2, 0, UINT64_MAX - 8);
    assert_refused(STATUS_INVALID, "tensor t ends past the file");

    begin(3, 0, 1);
    put_string("general.alignment");
    put32(GGUF_UINT32);
    put32(3);
    assert_refused(STATUS_INVALID, "general.alignment");
    buffer_destroy(&file);
}

/* Every count and length of a header, at the ends of what 64 bits hold. */
static void lengths_near_the_end_of_64_bits(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {UINT64_MAX,     UINT64_MAX - 7, UINT64_MAX / 2 + 1,
                                       UINT64_MAX / 4, UINT64_MAX / 8, (uint64_t)1 << 32};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        begin(3, lengths[i], 0);
        assert_refused(STATUS_INVALID, "");
        begin(3, 0, lengths[i]);
        assert_refused(STATUS_INVALID, "");
        begin(3, lengths[i], lengths[i]);
        assert_refused(STATUS_INVALID, "");
        begin(3, 0, 1);
        put64(lengths[i]); /* a key */
        assert_refused(STATUS_INVALID, "a string of");
        begin(3, 0, 1);
        put_string("a");
        put32(GGUF_STRING);
        put64(lengths[i]);
        assert_refused(STATUS_INVALID, "a: a string of");
        for (uint32_t type = 0; type < GGUF_TYPE_COUNT; type++) {
            begin(3, 0, 1);
            put_string("a");
            put32(GGUF_ARRAY);
            put32(type);
            put64(lengths[i]);
            assert_refused(type == GGUF_ARRAY ? STATUS_UNSUPPORTED : STATUS_INVALID,
                           type == GGUF_ARRAY ? "an array of arrays" : "a: an array of");
        }
        begin(3, 0, 1); /* the last of an array's strings */
        put_string("a");
        put32(GGUF_ARRAY);
        put32(GGUF_STRING);
        put64(2);
        put_string("b");
        put64(lengths[i]);
        assert_refused(STATUS_INVALID, "a: a string of");
        begin(3, 1, 0);
        put64(lengths[i]); /* a tensor's name */
        assert_refused(STATUS_INVALID, "a string of");
        begin(3, 1, 0);
        put_tensor("t", lengths[i], lengths[i], 0, 0);
        assert_refused(STATUS_INVALID, "tensor t");
        begin(3, 1, 0);
        put_tensor("t", 32, 1, 0, lengths[i]);
        assert_refused(STATUS_INVALID, "tensor t ends past the file");
    }
    buffer_destroy(&file);
}

/* Every prefix of a real file is refused, or asks for more when the file is said to be longer. */
static void every_cut_is_noticed(void **state)
{
    (void)state;
    struct buffer whole = {0};
    assert_int_equal(file_read(SLUICE_TEST_DATA "/gguf/llama.gguf", 1 << 20, &whole), STATUS_OK);
    for (size_t length = 0; length < 2000; length++) {
        struct gguf gguf;
        bool needs_more;
        status s = gguf_parse((const uint8_t *)whole.data, length, length, &gguf, &needs_more);
        assert_int_equal(s, STATUS_INVALID);
        gguf_destroy(&gguf);
        s = gguf_parse((const uint8_t *)whole.data, length, whole.length, &gguf, &needs_more);
        assert_int_equal(s, STATUS_OK);
        assert_true(needs_more);
        gguf_destroy(&gguf);
    }
    buffer_destroy(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_expand_as_the_reference_does),
        cmocka_unit_test(blocks_of_tables_expand_too),
        cmocka_unit_test(metadata_is_typed),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(lengths_near_the_end_of_64_bits),
        cmocka_unit_test(every_cut_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
