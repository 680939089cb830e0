/* SPDX-License-Identifier: Apache-2.0 */
/* Names and patterns to files; rows over several files; the list that a job keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_folder.h"
#include "sluice/data.h"
#include "sluice/inputs.h"

static const char row[] = "{\"prompt\":\"a\"}\n";

static void write_set(void *const *state, const char *name, const char *text)
{
    assert_non_null(scratch_write(state, name, text, strlen(text)));
}

static status resolve(void *const *state, const char *first, const char *second,
                      struct input_files *files)
{
    const char *names[] = {scratch_path(state, first),
                           second != NULL ? scratch_path(state, second) : NULL};
    return input_files_resolve(names, second != NULL ? 2 : 1, files);
}

/* Names without their folders, one after the other. */
static void assert_names(const struct input_files *files, const char *expected)
{
    struct buffer names = {0};
    for (size_t i = 0; i < files->count; i++) {
        assert_int_equal(buffer_format(&names, "%s ", path_name(files->items[i].path)), STATUS_OK);
    }
    assert_string_equal(names.data, expected);
    buffer_destroy(&names);
}

static void assert_refused(void *const *state, const char *first, const char *second,
                           const char *message)
{
    struct input_files files;
    assert_int_equal(resolve(state, first, second, &files), STATUS_INVALID);
    if (strstr(status_message(), message) == NULL ||
        strncmp(status_message(), "data.input: ", 12) != 0) {
        fail_msg("%s", status_message());
    }
}

static void patterns_in_order_of_bytes(void **state)
{
    struct input_files files;
    static const char *const names[] = {"s10.jsonl", "s2.jsonl", "s1.jsonl", "B.jsonl", "b.jsonl"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        write_set(state, names[i], row);
    }
    assert_int_equal(resolve(state, "*.jsonl", NULL, &files), STATUS_OK);
    assert_names(&files, "B.jsonl b.jsonl s1.jsonl s10.jsonl s2.jsonl ");
    assert_true(files.has_patterns && files.items[0].matched);
    input_files_destroy(&files);
    assert_int_equal(resolve(state, "s[2-9].jsonl", "?.jsonl", &files), STATUS_OK);
    assert_names(&files, "s2.jsonl B.jsonl b.jsonl ");
    input_files_destroy(&files);
    /* The order of the list is the job's. */
    assert_int_equal(resolve(state, "s2.jsonl", "s1.jsonl", &files), STATUS_OK);
    assert_names(&files, "s2.jsonl s1.jsonl ");
    assert_false(files.has_patterns);
    input_files_destroy(&files);
    assert_int_equal(mkdir(scratch_path(state, "in"), 0777), 0);
    write_set(state, "in/x.jsonl", row);
    assert_int_equal(resolve(state, "i*/x.js*", NULL, &files), STATUS_OK);
    assert_names(&files, "x.jsonl ");
    input_files_destroy(&files);
    /* A file of that very name is no pattern. */
    write_set(state, "odd[1].jsonl", row);
    assert_int_equal(resolve(state, "odd[1].jsonl", NULL, &files), STATUS_OK);
    assert_false(files.has_patterns);
    input_files_destroy(&files);
}

static void lists_that_are_refused(void **state)
{
    write_set(state, "s1.jsonl", row);
    write_set(state, "t.csv", "prompt\na\n");
    assert_refused(state, "none*.jsonl", NULL, "none*.jsonl: no file matches");
    assert_refused(state, "**/s1.jsonl", NULL, "** is not known");
    assert_refused(state, "s1.jsonl", "s1.jsonl", "s1.jsonl is there twice");
    assert_refused(state, "s1.jsonl", "s*.jsonl", "s1.jsonl is there twice");
    assert_int_equal(symlink("s1.jsonl", scratch_path(state, "soft.jsonl")), 0);
    assert_refused(state, "soft.jsonl", "s1.jsonl", "are the same file");
    remove(scratch_path(state, "soft.jsonl"));
    assert_int_equal(link(scratch_path(state, "s1.jsonl"), scratch_path(state, "hard.jsonl")), 0);
    assert_refused(state, "hard.jsonl", "s1.jsonl", "are the same file");
    remove(scratch_path(state, "hard.jsonl"));
    assert_refused(state, "s1.jsonl", "t.csv", "t.csv is CSV; files of a job are of one kind");
}

/* Each row's number, file, line and bytes. */
static void rows_are_numbered_through(void **state)
{
    write_set(state, "n1.jsonl", "\xEF\xBB\xBF{\"a\":1}\n\n{\"a\":2}");
    write_set(state, "n2.jsonl", "");
    write_set(state, "n3.jsonl", "\xEF\xBB\xBF{\"a\":3}\n");
    struct input_files files;
    assert_int_equal(resolve(state, "n?.jsonl", NULL, &files), STATUS_OK);
    struct record_reader *reader;
    struct record record = {0};
    struct buffer all = {0};
    bool more = true;
    struct record_reader_options options = {.files = &files, .limit = -1, .quiet = true};
    int64_t tried;
    assert_int_equal(record_reader_try(&options, &tried), STATUS_OK);
    assert_int_equal(tried, -1);
    assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
    for (;;) {
        assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
        if (!more) {
            break;
        }
        char place[RECORD_PLACE_BYTES];
        record_describe_place(&record, place);
        assert_int_equal(buffer_format(&all, "%lld %s %s|", (long long)record.row, path_name(place),
                                       record.bytes.data),
                         STATUS_OK);
    }
    assert_string_equal(all.data, "0 n1.jsonl: line 1 {\"a\":1}|1 n1.jsonl: line 3 {\"a\":2}|"
                                  "2 n3.jsonl: line 1 {\"a\":3}|");
    int64_t rows[3], bytes, hashed_bytes;
    record_reader_file_rows(reader, rows);
    assert_true(rows[0] == 2 && rows[1] == 0 && rows[2] == 1);
    char read_hash[65], own_hash[65];
    assert_int_equal(record_reader_digest(reader, &bytes, read_hash), STATUS_OK);
    assert_int_equal(input_files_hash(&files), STATUS_OK);
    assert_int_equal(input_files_rows(&files), 3);
    assert_int_equal(input_files_digest(&files, &hashed_bytes, own_hash), STATUS_OK);
    assert_string_equal(read_hash, own_hash);
    assert_int_equal(bytes, hashed_bytes);
    record_reader_close(reader);
    /* A limit counts over all, and the hash is of all. */
    options.limit = 1;
    assert_int_equal(record_reader_open(&options, &reader), STATUS_OK);
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_int_equal(record_reader_next(reader, &record, &more), STATUS_OK);
    assert_false(more);
    assert_int_equal(record_reader_digest(reader, &bytes, read_hash), STATUS_OK);
    assert_string_equal(read_hash, own_hash);
    record_reader_close(reader);
    input_files_destroy(&files);
    buffer_destroy(&record.bytes);
    buffer_destroy(&all);
}

/* Lines over blocks of 256 KiB, blank ones between them, the last without an end. */
static void lines_are_counted(void **state)
{
    enum { LINES = 100000 };
    struct buffer text = {0};
    for (int i = 0; i < LINES; i++) {
        assert_int_equal(buffer_append_text(&text, i % 3 == 0 ? "{}\n \t\n" : "{\"a\": 1}\r\n\r\n"),
                         STATUS_OK);
    }
    assert_int_equal(buffer_append_text(&text, "{}"), STATUS_OK);
    write_set(state, "counted.jsonl", text.data);
    buffer_destroy(&text);
    struct input_files files;
    assert_int_equal(resolve(state, "counted.jsonl", NULL, &files), STATUS_OK);
    assert_int_equal(input_files_hash(&files), STATUS_OK);
    assert_int_equal(input_files_rows(&files), LINES + 1);
    input_files_destroy(&files);
    scratch_write(state, "packed.jsonl", "\x1F\x8B\n\n{}\n", 7);
    assert_int_equal(resolve(state, "packed.jsonl", NULL, &files), STATUS_OK);
    assert_int_equal(input_files_hash(&files), STATUS_OK);
    assert_int_equal(input_files_rows(&files), -1);
    input_files_destroy(&files);
}

static void later_files_are_left_out(void **state)
{
    struct input_files files;
    const char *output = scratch_path(state, "out.h5");
    write_set(state, "k1.jsonl", row);
    write_set(state, "k3.jsonl", row);
    assert_int_equal(mkdir(scratch_path(state, "out.h5.sluice"), 0777), 0);
    assert_int_equal(resolve(state, "k*.jsonl", NULL, &files), STATUS_OK);
    assert_int_equal(input_files_save(scratch_path(state, "out.h5.sluice"), &files), STATUS_OK);
    input_files_destroy(&files);
    write_set(state, "k2.jsonl", row);
    assert_int_equal(resolve(state, "k*.jsonl", NULL, &files), STATUS_OK);
    assert_int_equal(files.count, 3);
    assert_int_equal(input_files_keep(output, false, &files), STATUS_OK);
    assert_names(&files, "k1.jsonl k3.jsonl ");
    input_files_destroy(&files);
    /* One that the job names itself is no accident: the identity will tell. */
    assert_int_equal(resolve(state, "k[13].jsonl", "k2.jsonl", &files), STATUS_OK);
    assert_int_equal(input_files_keep(output, false, &files), STATUS_OK);
    assert_int_equal(files.count, 3);
    input_files_destroy(&files);
    /* And so where one is gone. */
    remove(scratch_path(state, "k3.jsonl"));
    assert_int_equal(resolve(state, "k*.jsonl", NULL, &files), STATUS_OK);
    assert_int_equal(input_files_keep(output, false, &files), STATUS_OK);
    assert_names(&files, "k1.jsonl k2.jsonl ");
    input_files_destroy(&files);
    /* What is no list is none. */
    write_set(state, "out.h5.sluice/inputs", "[1");
    assert_int_equal(resolve(state, "k*.jsonl", NULL, &files), STATUS_OK);
    assert_int_equal(input_files_keep(output, false, &files), STATUS_OK);
    assert_int_equal(files.count, 2);
    input_files_destroy(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_in_order_of_bytes), cmocka_unit_test(lists_that_are_refused),
        cmocka_unit_test(rows_are_numbered_through),  cmocka_unit_test(lines_are_counted),
        cmocka_unit_test(later_files_are_left_out),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
