/* SPDX-License-Identifier: Apache-2.0 */
/* Models in several files: parts of a GGUF file, and safetensors that no index names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "failing/failing.h"
#include "gguf_writer.h"
#include "model/formats/safetensors.h"
#include "model/read/tensor_source.h"
#include "scratch_folder.h"

/* ---- GGUF ---- */

/* One part, numbered from 1, with a tensor of its own: "tN" of three values N. */
static void write_part(void *const *state, const char *name, int number, uint16_t count,
                       int tensors)
{
    struct gguf_writer writer = {0};
    const uint16_t no = (uint16_t)(number - 1);
    const float values[] = {(float)number, (float)number, (float)number};
    char tensor[16];
    gguf_put_number(&writer, "split.no", GGUF_UINT16, &no, sizeof no);
    gguf_put_number(&writer, "split.count", GGUF_UINT16, &count, sizeof count);
    if (tensors >= 0) {
        gguf_put_number(&writer, "split.tensors.count", GGUF_INT32, &tensors, sizeof tensors);
    }
    gguf_put_text(&writer, "general.architecture", "llama");
    snprintf(tensor, sizeof tensor, "t%d", number);
    gguf_put_tensor(&writer, tensor, 3, 0, values);
    const struct buffer *whole = gguf_whole(&writer);
    assert_non_null(scratch_write(state, name, whole->data, whole->length));
    gguf_writer_end(&writer);
}

static const char *part_name(int number, int count)
{
    static char names[4][40];
    static int next;
    char *name = names[next++ % 4];
    snprintf(name, sizeof names[0], "m-%05d-of-%05d.gguf", number, count);
    return name;
}

static void write_parts(void *const *state, int count)
{
    for (int i = 1; i <= count; i++) {
        write_part(state, part_name(i, count), i, (uint16_t)count, count);
    }
}

static status open_gguf(void *const *state, const char *name, struct tensor_table *table)
{
    struct gguf gguf;
    *table = (struct tensor_table){0};
    status s = gguf_open(table, scratch_path(state, name), &gguf);
    gguf_destroy(&gguf); /* names of other parts live as long as the table */
    return s;
}

static void expect_refused(void *const *state, const char *name, status expected,
                           const char *message)
{
    struct tensor_table table;
    const status s = open_gguf(state, name, &table);
    if (s != expected || strstr(status_message(), message) == NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
    tensor_table_destroy(&table);
}

static void expect_tensor(const struct tensor_table *table, const struct tensor *tensor, int file,
                          float expected)
{
    struct tensor_scratch scratch = {0};
    float values[3];
    assert_int_equal(tensor->file, file);
    assert_int_equal(tensor_read_values(table, tensor, 0, 3, &scratch, values), STATUS_OK);
    for (int i = 0; i < 3; i++) {
        assert_true(values[i] == expected);
    }
    tensor_scratch_destroy(&scratch);
}

static void parts_of_a_gguf_file(void **state)
{
    for (int count = 2; count <= 3; count++) {
        struct tensor_table table;
        write_parts(state, count);
        if (open_gguf(state, part_name(1, count), &table) != STATUS_OK) {
            fail_msg("%s", status_message());
        }
        assert_int_equal(table.count, count);
        for (int i = 1; i < count; i++) {
            char name[16];
            snprintf(name, sizeof name, "t%d", i + 1);
            assert_string_equal(table.items[i].name, name);
            expect_tensor(&table, &table.items[i], i, (float)i + 1);
        }
        tensor_table_destroy(&table);
    }
}

static void one_part_is_whole(void **state)
{
    struct tensor_table table;
    write_part(state, "alone.gguf", 1, 1, 9); /* what it says of others is not read */
    assert_int_equal(open_gguf(state, "alone.gguf", &table), STATUS_OK);
    assert_int_equal(table.count, 1);
    tensor_table_destroy(&table);
}

static void parts_that_do_not_fit(void **state)
{
    write_parts(state, 3);
    expect_refused(state, part_name(2, 3), STATUS_INVALID,
                   "part 2 of 3 of a split GGUF file; name the first part, m-00001-of-00003.gguf");
    remove(scratch_path(state, part_name(3, 3)));
    expect_refused(state, part_name(1, 3), STATUS_NOT_FOUND,
                   "m-00003-of-00003.gguf: part 3 of a GGUF file that is split in 3");
    write_part(state, part_name(3, 3), 2, 3, 3); /* the second once more */
    expect_refused(state, part_name(1, 3), STATUS_INVALID,
                   "says that it is part 2 of 3 of a split file, where part 3 of 3 is expected");
    write_part(state, part_name(3, 3), 3, 4, 3); /* of another whole */
    expect_refused(state, part_name(1, 3), STATUS_INVALID,
                   "says that it is part 3 of 4 of a split file, where part 3 of 3 is expected");
    write_part(state, part_name(3, 3), 3, 3, 3);
    write_part(state, part_name(1, 3), 2, 3, 3); /* by its name the first */
    expect_refused(state, part_name(1, 3), STATUS_INVALID,
                   "says that it is part 2 of 3 of a split file, where part 1 of 3 is expected");
    for (int tensors = 2; tensors <= 4; tensors += 2) {
        char message[80];
        write_part(state, part_name(1, 3), 1, 3, tensors);
        snprintf(message, sizeof message, "its 3 parts have 3 tensors instead of %d", tensors);
        expect_refused(state, part_name(1, 3), STATUS_INVALID, message);
    }
    struct tensor_table table;
    write_part(state, part_name(1, 3), 1, 3, -1); /* does not say how many */
    assert_int_equal(open_gguf(state, part_name(1, 3), &table), STATUS_OK);
    tensor_table_destroy(&table);
    assert_non_null(scratch_write(state, part_name(2, 3), "GGUF", 4));
    expect_refused(state, part_name(1, 3), STATUS_INVALID, "m-00002-of-00003.gguf");
}

static void names_that_are_no_parts(void **state)
{
    static const char *const message = "of a split file, and not called so: its parts are "
                                       "X-00001-of-00003.gguf and so on";
    write_part(state, "m.gguf", 1, 3, 3);
    expect_refused(state, "m.gguf", STATUS_INVALID, message);
    write_part(state, part_name(1, 2), 1, 3, 3);
    expect_refused(state, part_name(1, 2), STATUS_INVALID, message);
    write_part(state, "m-00001-of-04097.gguf", 1, 4097, 3);
    expect_refused(state, "m-00001-of-04097.gguf", STATUS_INVALID, "part 1 of 4097 of a split");
    write_part(state, "m-00001-of-04096.gguf", 1, 4096, 3); /* as many as are read */
    expect_refused(state, "m-00001-of-04096.gguf", STATUS_NOT_FOUND, "m-00002-of-04096.gguf");
}

/* ---- safetensors without an index ---- */

/* A file with one tensor of one value, called like the file. */
static void write_safetensors(void *const *state, const char *name)
{
    struct buffer file = {0}, header = {0};
    const float value = 1;
    assert_int_equal(buffer_format(&header,
                                   "{\"%s\":{\"dtype\":\"F32\",\"shape\":[1],"
                                   "\"data_offsets\":[0,4]}}",
                                   name),
                     STATUS_OK);
    const uint64_t length = header.length;
    gguf_append(&file, &length, sizeof length);
    gguf_append(&file, header.data, header.length);
    gguf_append(&file, &value, sizeof value);
    assert_non_null(scratch_write(state, name, file.data, file.length));
    buffer_destroy(&file);
    buffer_destroy(&header);
}

static status open_folder(void *const *state, struct tensor_table *table, bool *found)
{
    const struct scratch_folder *folder = *state;
    *table = (struct tensor_table){0};
    return safetensors_open_directory(table, folder->path, found);
}

static void expect_files(void *const *state, size_t count)
{
    struct tensor_table table;
    bool found;
    if (open_folder(state, &table, &found) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_int_equal(found, count > 0);
    assert_int_equal(table.count, count);
    tensor_table_destroy(&table);
}

static void expect_unclear(void *const *state, status expected, const char *message)
{
    struct tensor_table table;
    bool found;
    const status s = open_folder(state, &table, &found);
    if (s != expected || strstr(status_message(), message) == NULL) {
        fail_msg("expected \"%s\", got %s: %s", message, status_name(s), status_message());
    }
    assert_true(found);
    tensor_table_destroy(&table);
}

static void files_that_no_index_names(void **state)
{
    expect_files(state, 0);
    write_safetensors(state, "adapter_model.safetensors");
    expect_files(state, 0); /* of another model */
    remove(scratch_path(state, "adapter_model.safetensors"));
    write_safetensors(state, "whole.safetensors");
    expect_files(state, 1);
    write_safetensors(state, "a.safetensors");
    expect_unclear(state, STATUS_INVALID,
                   "there is no model.safetensors.index.json, and a.safetensors and "
                   "whole.safetensors are there");
    write_safetensors(state, "model.safetensors"); /* the one that counts */
    expect_files(state, 1);
}

static void parts_that_no_index_names(void **state)
{
    write_safetensors(state, "m-00001-of-00003.safetensors");
    write_safetensors(state, "m-00002-of-00003.safetensors");
    expect_unclear(state, STATUS_NOT_FOUND,
                   "m-00003-of-00003.safetensors is missing (there is no "
                   "model.safetensors.index.json either): m-00001-of-00003.safetensors is one of 3 "
                   "parts");
    write_safetensors(state, "m-00003-of-00003.safetensors");
    expect_files(state, 3);
    write_safetensors(state, "x.safetensors");
    expect_unclear(state, STATUS_INVALID, "x.safetensors stands beside the parts m-00001-of-00003");
    remove(scratch_path(state, "x.safetensors"));
    remove(scratch_path(state, "m-00001-of-00003.safetensors"));
    expect_unclear(state, STATUS_NOT_FOUND, "m-00001-of-00003.safetensors is missing");
    write_safetensors(state, "m-00001-of-00003.safetensors");
    remove(scratch_path(state, "m-00002-of-00003.safetensors"));
    expect_unclear(state, STATUS_NOT_FOUND, "m-00002-of-00003.safetensors is missing");
    write_safetensors(state, "m-00002-of-00004.safetensors"); /* of another whole */
    expect_unclear(state, STATUS_NOT_FOUND, "m-00002-of-00003.safetensors is missing");
}

/* ---- With each call failing ---- */

static status act_gguf(void *context)
{
    struct tensor_table table;
    const status s = open_gguf(context, part_name(1, 3), &table);
    tensor_table_destroy(&table);
    return s;
}

static status act_folder(void *context)
{
    struct tensor_table table;
    bool found;
    const status s = open_folder(context, &table, &found);
    tensor_table_destroy(&table);
    return s;
}

static void every_call_may_fail(void **state)
{
    static const char *const survivors[] = {"opendir file_names_read", NULL}; /* it has no files */
    write_parts(state, 3);
    struct failing_walk how = {.name = "gguf",
                               .kinds = FAIL_MEMORY | FAIL_ARENA | FAIL_FILES,
                               .act = act_gguf,
                               .context = state,
                               .optional = FAIL_CLOSE,
                               .survived_by = survivors};
    assert_true(failing_walk(&how) > 8);
    write_safetensors(state, "m-00001-of-00002.safetensors");
    write_safetensors(state, "m-00002-of-00002.safetensors");
    how.name = "parts";
    how.act = act_folder;
    assert_true(failing_walk(&how) > 8);
    remove(scratch_path(state, "m-00002-of-00002.safetensors")); /* what is missing is named */
    struct tensor_table table;
    bool found;
    assert_int_equal(open_folder(state, &table, &found), STATUS_NOT_FOUND);
    tensor_table_destroy(&table);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_create, scratch_destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(parts_of_a_gguf_file),      TEST(one_part_is_whole),
        TEST(parts_that_do_not_fit),     TEST(names_that_are_no_parts),
        TEST(files_that_no_index_names), TEST(parts_that_no_index_names),
        TEST(every_call_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
