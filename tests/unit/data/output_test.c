/* SPDX-License-Identifier: Apache-2.0 */
/* Output files: the layout as HDF5 shows it, round trips, the atomic end, hostile files. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <hdf5.h>

#include "output_examples.h"

#include "sluice/export.h"

/* ---- As HDF5 shows it ---- */

static hid_t open_dataset(hid_t file, const char *path, H5T_class_t type_class, int rank,
                          hsize_t length)
{
    hsize_t sizes[2] = {0};
    hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    assert_true(dataset >= 0);
    hid_t type = H5Dget_type(dataset);
    hid_t space = H5Dget_space(dataset);
    assert_int_equal(H5Tget_class(type), type_class);
    assert_int_equal(H5Sget_simple_extent_ndims(space), rank);
    H5Sget_simple_extent_dims(space, sizes, NULL);
    assert_int_equal(sizes[0], length);
    if (type_class == H5T_STRING) {
        assert_true(H5Tis_variable_str(type) > 0);
        assert_int_equal(H5Tget_cset(type), H5T_CSET_UTF8);
    }
    H5Tclose(type);
    H5Sclose(space);
    return dataset;
}

static void the_layout_is_as_documented(void **state)
{
    static const struct {
        const char *path;
        H5T_class_t type_class;
        int rank;
        hsize_t length;
    } datasets[] = {
        {"/results/row", H5T_INTEGER, 1, 4},
        {"/results/id", H5T_STRING, 1, 4},
        {"/results/sample", H5T_INTEGER, 1, 4},
        {"/results/prompt", H5T_STRING, 1, 4},
        {"/results/text", H5T_STRING, 1, 4},
        {"/results/finish_reason", H5T_ENUM, 1, 4},
        {"/results/error", H5T_STRING, 1, 4},
        {"/results/prompt_tokens", H5T_INTEGER, 1, 4},
        {"/results/completion_tokens", H5T_INTEGER, 1, 4},
        {"/results/token_ids", H5T_INTEGER, 1, 6},
        {"/results/token_offsets", H5T_INTEGER, 1, 5},
        {"/results/logprobs", H5T_FLOAT, 1, 6},
        {"/results/top_logprob_ids", H5T_INTEGER, 2, 6},
        {"/results/top_logprob_values", H5T_FLOAT, 2, 6},
        {"/results/seconds", H5T_FLOAT, 1, 4},
        {"/results/rank", H5T_INTEGER, 1, 4},
        {"/results/endpoint", H5T_ENUM, 1, 4},
        {"/results/status_code", H5T_INTEGER, 1, 4},
        {"/results/id_is_number", H5T_ENUM, 1, 4},
        {"/vocabulary/token_ids", H5T_INTEGER, 1, 6},
        {"/vocabulary/offsets", H5T_INTEGER, 1, 7},
        {"/vocabulary/bytes", H5T_INTEGER, 1, 18},
        {"/passthrough/json", H5T_STRING, 1, 4},
        {"/metrics/ranks", H5T_COMPOUND, 1, 2},
        {"/metrics/timeline/rank_0", H5T_COMPOUND, 1, 1},
        {"/metrics/timeline/rank_1", H5T_COMPOUND, 1, 2},
    };
    const char *path = scratch_path(state, "layout.h5");
    write_examples(path, &all_columns);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    assert_true(file >= 0);
    for (size_t i = 0; i < COUNT_OF(datasets); i++) {
        H5Dclose(open_dataset(file, datasets[i].path, datasets[i].type_class, datasets[i].rank,
                              datasets[i].length));
    }
    hid_t dataset = open_dataset(file, "/results/finish_reason", H5T_ENUM, 1, 4);
    hid_t type = H5Dget_type(dataset);
    int8_t value;
    assert_int_equal(H5Tget_size(type), 1);
    assert_true(H5Tenum_valueof(type, "length", &value) >= 0 && value == FINISH_LENGTH);
    assert_true(H5Tenum_valueof(type, "error", &value) >= 0 && value == FINISH_ERROR);
    H5Tclose(type);
    H5Dclose(dataset);
    int64_t offsets[5];
    dataset = open_dataset(file, "/results/token_offsets", H5T_INTEGER, 1, 5);
    assert_true(H5Dread(dataset, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, offsets) >= 0);
    const int64_t expected[] = {0, 3, 5, 5, 6};
    assert_memory_equal(offsets, expected, sizeof expected);
    H5Dclose(dataset);
    int32_t tokens[6];
    dataset = open_dataset(file, "/results/token_ids", H5T_INTEGER, 1, 6);
    assert_true(H5Dread(dataset, H5T_NATIVE_INT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, tokens) >= 0);
    const int32_t expected_tokens[] = {11, 12, 13, 11, 12, -1};
    assert_memory_equal(tokens, expected_tokens, sizeof tokens);
    H5Dclose(dataset);
    H5Fclose(file);
}

static void only_the_columns_asked_for(void **state)
{
    const struct output_columns none = {0};
    const char *path = scratch_path(state, "few.h5");
    write_examples(path, &none);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    static const char *const absent[] = {
        "/results/prompt",   "/results/token_ids",       "/results/token_offsets",
        "/results/logprobs", "/results/top_logprob_ids", "/results/id_is_number",
        "/vocabulary"};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        assert_int_equal(H5Lexists(file, absent[i], H5P_DEFAULT), 0);
    }
    H5Fclose(file);
    struct output_reader *reader = open_reader(path);
    assert_int_equal(output_result_count(reader), 4);
    output_reader_close(reader);
}

/* ---- Round trips ---- */

static bool is_packed; /* the file that compare_example sees */

static status compare_example(void *context, const struct result *result)
{
    int *next = context;
    const struct result *expected = &examples[(*next)++];
    assert_int_equal(result->row, expected->row);
    assert_int_equal(result->sample, expected->sample);
    assert_int_equal(result->rank, expected->rank);
    assert_int_equal(result->finish_reason, expected->finish_reason);
    assert_int_equal(result->endpoint, expected->endpoint);
    assert_int_equal(result->id_is_number, expected->id_is_number);
    assert_string_equal(result->id, expected->id);
    assert_string_equal(result->prompt, expected->prompt != NULL ? expected->prompt : "");
    if (*next == 2) {
        /* A NUL is the end of HDF5's own strings; a packed text may have one. */
        const char *nul = is_packed ? "\0" : "\xEF\xBF\xBD";
        size_t size = is_packed ? 1 : 3;
        assert_int_equal(result->text_length, 2 + size + 3);
        assert_memory_equal(result->text + 1, nul, size);
        assert_string_equal(result->text + 1 + size, "b\xEF\xBF\xBD");
    } else {
        assert_string_equal(result->text, expected->text != NULL ? expected->text : "");
    }
    assert_string_equal(result->error, expected->error != NULL ? expected->error : "");
    assert_string_equal(result->passthrough,
                        expected->passthrough != NULL ? expected->passthrough : "");
    assert_int_equal(result->prompt_tokens, expected->prompt_tokens);
    assert_int_equal(result->completion_tokens, expected->completion_tokens);
    assert_true(result->seconds == expected->seconds);
    if (expected->token_ids != NULL) {
        size_t tokens = (size_t)expected->completion_tokens;
        assert_memory_equal(result->token_ids, expected->token_ids, tokens * 4);
        assert_memory_equal(result->logprobs, expected->logprobs, tokens * 4);
        assert_int_equal(result->top_logprobs, 2);
        assert_int_equal(result->top_ids[1], expected->top_logprobs == 2 ? 90 : -1);
        assert_true(expected->top_logprobs == 2 || isnan(result->top_values[1]));
    } else {
        assert_null(result->logprobs);
        assert_int_equal(result->top_logprobs, 0);
    }
    return STATUS_OK;
}

/* ---- Scores and embeddings ---- */

static const float embedding[] = {0.5f, -1e-30f, 3.25f};

static status compare_scored(void *context, const struct result *result)
{
    int *row = context;
    assert_int_equal(isfinite(result->logprob_sum) != 0, *row == 0);
    if (*row == 0) {
        double sum = (double)logprobs[0] + logprobs[1] + logprobs[2];
        assert_true(result->logprob_sum == sum && result->logprob_mean == sum / 3);
    }
    assert_int_equal(result->embedding_width, *row == 1 ? 3 : 0);
    assert_int_equal(result->embedding != NULL, *row == 1);
    if (*row == 1) {
        assert_memory_equal(result->embedding, embedding, sizeof embedding);
    }
    ++*row;
    return STATUS_OK;
}

static status append_line(void *context, const char *line, size_t length)
{
    return buffer_append(context, line, length);
}

static void scores_and_embeddings(void **state)
{
    const struct output_columns columns = {
        .token_ids = true, .logprobs = true, .scores = true, .embedding_width = 3};
    const char *path = scratch_path(state, "given.h5");
    struct output_writer *writer = create(path, true, &columns);
    const struct result rows[] = {
        {.row = 0, TEXT(id, "a"), .completion_tokens = 3, .token_ids = ids, .logprobs = logprobs},
        {.row = 1, TEXT(id, "b"), .embedding_width = 3, .embedding = embedding},
        {.row = 2, TEXT(id, "c"), .finish_reason = FINISH_ERROR, TEXT(error, "why")},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(output_append(writer, &rows[i]), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    struct output_reader *reader = open_reader(path);
    int row = 0;
    assert_int_equal(output_visit(reader, compare_scored, &row), STATUS_OK);
    assert_int_equal(row, 3);
    struct buffer lines = {0};
    assert_int_equal(output_export(reader, EXPORT_JSONL, append_line, &lines), STATUS_OK);
    assert_non_null(strstr(lines.data, "\"embedding\":[0.5,-1e-30,3.25]"));
    assert_non_null(strstr(lines.data, "\"logprob_mean\":"));
    buffer_destroy(&lines);
    output_reader_close(reader);

    /* A result whose embedding has another width belongs to another job. */
    writer = create(path, true, &columns);
    struct result wide = rows[1];
    wide.embedding_width = 2;
    assert_int_equal(output_append(writer, &wide), STATUS_INTERNAL);
    output_abandon(writer);
}

static status stop_at_once(void *context, const struct result *result)
{
    (void)context;
    (void)result;
    return status_fail(STATUS_STOPPED, "enough");
}

static void check_all_of(const char *path, const struct output_columns *columns)
{
    is_packed = columns->packed_texts;
    write_examples(path, columns);
    struct output_reader *reader = open_reader(path);
    struct arena arena = {0};
    int next = 0;
    assert_int_equal(output_visit(reader, compare_example, &next), STATUS_OK);
    assert_int_equal(next, 4);
    assert_int_equal(output_visit(reader, stop_at_once, NULL), STATUS_STOPPED);
    assert_string_equal(status_message(), "enough");
    const struct rank_metrics *ranks;
    size_t count;
    assert_int_equal(output_rank_metrics(reader, &arena, &ranks, &count), STATUS_OK);
    assert_int_equal(count, 2);
    assert_string_equal(ranks[0].host, "node-a");
    assert_true(isnan(ranks[0].energy_joules) && ranks[0].seconds_idle == 0.25);
    assert_string_equal(ranks[1].device, "NVIDIA");
    assert_true(ranks[1].output_tokens == 1LL << 40);
    assert_string_equal(output_attribute_text(reader, "format_version", &arena),
                        is_packed ? "2" : "1");
    assert_string_equal(output_attribute_text(reader, "sluice_version", &arena), SLUICE_VERSION);
    assert_string_equal(output_attribute_text(reader, "job", &arena), "a: 1\n");
    assert_string_equal(output_attribute_text(reader, "wall_seconds", &arena), "2.5");
    assert_string_equal(output_attribute_text(reader, "rows", &arena), "3000000");
    assert_null(output_attribute_text(reader, "nothing", &arena));
    arena_destroy(&arena);
    output_reader_close(reader);
}

static void everything_comes_back(void **state)
{
    struct output_columns columns = all_columns;
    check_all_of(scratch_path(state, "back.h5"), &columns);
    columns.packed_texts = true;
    check_all_of(scratch_path(state, "packed.h5"), &columns);
}

/* A number of rows past every batch, with texts of all sizes. */
static void fill_result(int64_t i, char *text, struct result *result)
{
    *result = (struct result){.row = i,
                              .id = "x",
                              .id_length = 1,
                              .text = text,
                              .text_length = (size_t)(i % 1000 == 0 ? 300000 : i * 7919 % 200),
                              .completion_tokens = (int32_t)(i % 5),
                              .token_ids = ids};
}

struct many {
    int64_t next;
    char *text;
};

static status compare_many(void *context, const struct result *result)
{
    struct many *many = context;
    struct result expected;
    fill_result(many->next++, many->text, &expected);
    assert_int_equal(result->row, expected.row);
    assert_int_equal(result->text_length, expected.text_length);
    assert_memory_equal(result->text, expected.text, expected.text_length);
    assert_int_equal(result->completion_tokens, expected.completion_tokens);
    return STATUS_OK;
}

static void write_and_read_many(const char *path, bool packed)
{
    enum { ROWS = 10000 };
    static const int32_t five[] = {1, 2, 3, 4, 5};
    const struct output_columns columns = {.token_ids = true, .packed_texts = packed};
    struct many many = {.text = malloc(300001)};
    assert_non_null(many.text);
    memset(many.text, 'z', 300000);
    struct output_writer *writer = create(path, false, &columns);
    for (int64_t i = 0; i < ROWS; i++) {
        struct result result;
        fill_result(i, many.text, &result);
        result.token_ids = five;
        assert_int_equal(output_append(writer, &result), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    struct output_reader *reader = open_reader(path);
    assert_int_equal(output_result_count(reader), ROWS);
    if (output_visit(reader, compare_many, &many) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_int_equal(many.next, ROWS);
    output_reader_close(reader);
    free(many.text);
}

static void many_rows(void **state)
{
    write_and_read_many(scratch_path(state, "many.h5"), false);
    write_and_read_many(scratch_path(state, "many_packed.h5"), true);
    struct stat variable, packed;
    assert_int_equal(stat(scratch_path(state, "many.h5"), &variable), 0);
    assert_int_equal(stat(scratch_path(state, "many_packed.h5"), &packed), 0);
    assert_true(packed.st_size * 4 < variable.st_size);
}

/* ---- The atomic end ---- */

static void nothing_is_overwritten_unasked(void **state)
{
    const char *path = scratch_path(state, "taken.h5");
    const char *partial = scratch_path(state, "taken.h5.partial");
    struct output_writer *writer;
    struct output_writer *second;
    writer = create(path, false, &all_columns);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(partial, F_OK), 0);
    assert_int_equal(output_create(path, false, &all_columns, &second), STATUS_EXISTS);
    assert_non_null(strstr(status_message(), "is being written by another process"));
    assert_int_equal(access(partial, F_OK), 0);
    /* Somebody else's file comes in between. */
    assert_non_null(scratch_write(state, "taken.h5", "precious", 8));
    assert_int_equal(output_finish(writer), STATUS_EXISTS);
    assert_int_equal(access(partial, F_OK), -1);
    assert_int_equal(output_create(path, false, &all_columns, &writer), STATUS_EXISTS);
    assert_non_null(strstr(status_message(), "exists"));
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, 8);
    /* What a crash left behind is no obstacle. */
    assert_non_null(scratch_write(state, "taken.h5.partial", "left over", 9));
    writer = create(path, true, &all_columns);
    assert_int_equal(output_finish(writer), STATUS_OK);
    output_reader_close(open_reader(path));
    writer = create(path, true, &all_columns);
    output_abandon(writer);
    assert_int_equal(access(partial, F_OK), -1);
    output_reader_close(open_reader(path));
    assert_int_equal(
        output_create(scratch_path(state, "no/where.h5"), false, &all_columns, &writer), STATUS_IO);
    assert_int_equal(mkdir(scratch_path(state, "folder.h5"), 0700), 0);
    assert_int_equal(output_create(scratch_path(state, "folder.h5"), true, &all_columns, &writer),
                     STATUS_EXISTS);
}

static void a_full_disk_leaves_nothing(void **state)
{
    const char *path = scratch_path(state, "full.h5");
    pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {300000, 300000};
        static char text[4096];
        memset(text, 'q', sizeof text);
        signal(SIGXFSZ, SIG_IGN);
        struct output_writer *writer;
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 ||
            output_create(path, false, &all_columns, &writer) != STATUS_OK) {
            _exit(1);
        }
        status s = STATUS_OK;
        for (int i = 0; s == STATUS_OK && i < 20000; i++) {
            const struct result result = {.row = i, .text = text, .text_length = sizeof text};
            s = output_append(writer, &result);
        }
        bool told = s == STATUS_IO && strstr(status_message(), "File too large") != NULL;
        bool refuses = output_append(writer, &examples[0]) == STATUS_IO;
        bool fails = output_finish(writer) == STATUS_IO;
        _exit(told && refuses && fails ? 0 : 2 + told + 2 * refuses + 4 * fails);
    }
    int exit_status;
    assert_int_equal(waitpid(child, &exit_status, 0), child);
    assert_int_equal(exit_status, 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(scratch_path(state, "full.h5.partial"), F_OK), -1);
}

/* ---- Hostile files ---- */

static void replace_dataset(const char *path, const char *name, hid_t type, int rank, hsize_t a,
                            hsize_t b, const void *items)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    H5Ldelete(file, name, H5P_DEFAULT);
    const hsize_t sizes[2] = {a, b};
    if (type >= 0) {
        hid_t space = rank == 0 ? H5Screate(H5S_NULL) : H5Screate_simple(rank, sizes, NULL);
        hid_t dataset = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        assert_true(dataset >= 0);
        if (items != NULL) {
            assert_true(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, items) >= 0);
        }
        H5Dclose(dataset);
        H5Sclose(space);
    }
    H5Fclose(file);
}

static status ignore(void *context, const struct result *result)
{
    (void)context;
    (void)result;
    return STATUS_OK;
}

static status ignore_line(void *context, const char *line, size_t length)
{
    (void)context;
    (void)line;
    (void)length;
    return STATUS_OK;
}

/* Everything that a reader can be asked; the first failure. */
static status use_file(const char *path)
{
    struct output_reader *reader;
    struct arena arena = {0};
    const struct rank_metrics *ranks;
    size_t count;
    TRY(output_open(path, &reader));
    status s = output_rank_metrics(reader, &arena, &ranks, &count);
    s = s == STATUS_OK ? output_visit(reader, ignore, NULL) : s;
    s = s == STATUS_OK ? output_export(reader, EXPORT_JSONL, ignore_line, NULL) : s;
    s = s == STATUS_OK ? output_export(reader, EXPORT_OPENAI, ignore_line, NULL) : s;
    arena_destroy(&arena);
    output_reader_close(reader);
    return s;
}

static void wrong_types_and_shapes_are_told(void **state)
{
    static const int64_t numbers[] = {0, 3, 2, 6, 6};
    static const int64_t high[] = {0, 3, 5, 5, INT64_MAX};
    static const int64_t over[] = {0, 1, 2, 5, 23, 24, 24}, below[] = {-1, 0, 0, 0, 0};
    static const int32_t unsorted[] = {1, 3, 2, 4, 5, 6};
    static const int8_t reasons[] = {0, 1, 3, 0}, endpoints[] = {0, 4, 0, 0};
    static const int32_t negative[] = {3, 2, -1, 1};
    static const char fixed[4][4] = {"{", "[1]", "5", ""};
    hid_t four = H5Tcopy(H5T_C_S1);
    H5Tset_size(four, 4);
    const struct {
        const char *name;
        hid_t type; /* negative: taken away */
        int rank;
        hsize_t a, b;
        const void *items;
        const char *message;
    } cases[] = {
        {"/results/row", -1, 1, 0, 0, NULL, "no dataset /results/row"},
        {"/results/text", -1, 1, 0, 0, NULL, "no dataset /results/text"},
        {"/results/text", H5T_NATIVE_INT, 1, 4, 0, numbers, "/results/text: expected a dataset"},
        {"/results/rank", H5T_NATIVE_INT, 1, 3, 0, numbers, "3 rows where"},
        {"/results/rank", H5T_NATIVE_INT, 2, 4, 1, numbers, "1 dimension"},
        {"/results/rank", H5T_NATIVE_INT, 0, 0, 0, NULL, "1 dimension"},
        {"/results/rank", H5T_NATIVE_DOUBLE, 1, 4, 0, numbers, "expected a dataset of integers"},
        {"/results/seconds", H5T_NATIVE_INT64, 1, 4, 0, numbers, "floating-point"},
        {"/results/finish_reason", H5T_NATIVE_INT8, 1, 4, 0, reasons, "result 2: values out of"},
        {"/results/completion_tokens", H5T_NATIVE_INT32, 1, 4, 0, negative, "result 2: values"},
        {"/results/completion_tokens", H5T_NATIVE_INT64, 1, 4, 0, numbers, "tokens where"},
        {"/results/token_offsets", -1, 1, 0, 0, NULL, "no dataset /results/token_offsets"},
        {"/results/token_offsets", H5T_NATIVE_INT64, 1, 4, 0, numbers, "4 offsets for 4 rows"},
        {"/results/token_offsets", H5T_NATIVE_INT64, 1, 5, 0, numbers, "3 to 2 is no range of 6"},
        {"/results/token_offsets", H5T_NATIVE_INT64, 1, 5, 0, high, "is no range of 6"},
        {"/results/token_ids", H5T_NATIVE_INT32, 1, 5, 0, NULL, "6 tokens where another"},
        {"/results/top_logprob_ids", -1, 1, 0, 0, NULL, "do not go together"},
        {"/results/top_logprob_ids", H5T_NATIVE_INT32, 2, 6, 1, NULL, "do not go together"},
        {"/results/top_logprob_values", H5T_NATIVE_FLOAT, 2, 6, 0, NULL, "do not go together"},
        {"/passthrough/json", four, 1, 4, 0, fixed, "row 0: passthrough: byte 1: not JSON"},
        {"/metrics/ranks", H5T_NATIVE_INT, 1, 4, 0, numbers, "expected a dataset of compounds"},
        {"/results/endpoint", H5T_NATIVE_INT8, 1, 4, 0, endpoints, "result 1: values out of"},
        {"/results/status_code", H5T_NATIVE_DOUBLE, 1, 4, 0, numbers, "dataset of integers"},
        {"/vocabulary/token_ids", H5T_NATIVE_INT32, 1, 6, 0, unsorted, "2 after 3; the ids ascend"},
        {"/vocabulary/token_ids", H5T_NATIVE_INT32, 1, 5, 0, NULL, "7 offsets where 6 belong"},
        {"/vocabulary/offsets", H5T_NATIVE_INT64, 1, 7, 0, over, "item 3: 5 to 23 is no range"},
        {"/vocabulary/bytes", -1, 1, 0, 0, NULL, "no dataset /vocabulary/bytes"},
        {"/results/text/offsets", H5T_NATIVE_INT64, 1, 4, 0, numbers, "4 offsets where 5 belong"},
        {"/results/text/offsets", H5T_NATIVE_INT64, 1, 5, 0, numbers, "item 1: 3 to 2 is no range"},
        {"/results/text/offsets", H5T_NATIVE_INT64, 1, 5, 0, high, "item 3: 5 to 9223372036854775"},
        {"/results/text/offsets", H5T_NATIVE_INT64, 1, 5, 0, below, "item 0: -1 to 0 is no range"},
        {"/results/text/offsets", -1, 1, 0, 0, NULL, "/results/text: not a readable dataset"},
        {"/results/text/bytes", -1, 1, 0, 0, NULL, "no dataset /results/text/bytes"},
        {"/results/text/bytes", H5T_NATIVE_DOUBLE, 1, 40, 0, NULL,
         "expected a dataset of integers"},
        {"/results/text/bytes", H5T_NATIVE_UINT8, 1, 3, 0, NULL, "is no range of 3"},
    };
    const char *path = scratch_path(state, "hostile.h5");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct output_columns columns = all_columns;
        columns.packed_texts = strncmp(cases[i].name, "/results/text/", 14) == 0;
        write_examples(path, &columns);
        assert_int_equal(use_file(path), STATUS_OK);
        replace_dataset(path, cases[i].name, cases[i].type, cases[i].rank, cases[i].a, cases[i].b,
                        cases[i].items);
        status s = use_file(path);
        if (s != STATUS_INVALID || strstr(status_message(), cases[i].message) == NULL ||
            strstr(status_message(), path) == NULL) {
            fail_msg("%s: %s: %s, not %s", cases[i].name, status_name(s), status_message(),
                     cases[i].message);
        }
    }
    H5Tclose(four);
}

static void files_that_are_no_output(void **state)
{
    const char *path = scratch_path(state, "other.h5");
    struct output_reader *reader;
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    assert_int_equal(output_open(path, &reader), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "not an output file"));
    file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute =
        H5Acreate2(file, "format_version", H5T_STD_I64BE, space, H5P_DEFAULT, H5P_DEFAULT);
    const int64_t version = 3;
    H5Awrite(attribute, H5T_NATIVE_INT64, &version);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Fclose(file);
    assert_int_equal(output_open(path, &reader), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "format version 3"));
    assert_int_equal(output_open(scratch_path(state, "missing.h5"), &reader), STATUS_NOT_FOUND);
    assert_int_equal(output_open(scratch_path(state, "."), &reader), STATUS_INVALID);
    assert_int_equal(output_open(scratch_write(state, "text.h5", "hello", 5), &reader),
                     STATUS_INVALID);
    write_examples(path, &all_columns);
    struct buffer whole = {0};
    assert_int_equal(file_read(path, 16 << 20, &whole), STATUS_OK);
    for (size_t length = 0; length < whole.length; length += 1 + whole.length / 40) {
        assert_true(use_file(scratch_write(state, "cut.h5", whole.data, length)) != STATUS_OK);
    }
    buffer_destroy(&whole);
}

static void samples_over_time_are_read_back(void **state)
{
    const char *path = scratch_path(state, "timeline.h5");
    const struct rank_metrics *ranks;
    const struct timeline_point *points;
    size_t rank_count, count;
    struct arena arena = {0};
    write_examples(path, &all_columns);
    struct output_reader *reader = open_reader(path);
    assert_int_equal(output_rank_metrics(reader, &arena, &ranks, &rank_count), STATUS_OK);
    assert_int_equal(output_timeline(reader, ranks, rank_count, &arena, &points, &count),
                     STATUS_OK);
    assert_int_equal(count, 3);
    assert_int_equal(points[0].rank, 0);
    assert_int_equal(points[1].rank, 1);
    assert_int_equal(points[2].rank, 1);
    assert_true(points[1].seconds == 1 && points[2].seconds == 2);
    assert_int_equal(points[2].running, 4);
    assert_int_equal(points[2].output_tokens, 9);
    assert_int_equal(points[2].prompt_tokens, 7);
    assert_int_equal(points[2].rows, 2);
    output_reader_close(reader);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_over_time_are_read_back),
        cmocka_unit_test(the_layout_is_as_documented),
        cmocka_unit_test(only_the_columns_asked_for),
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(scores_and_embeddings),
        cmocka_unit_test(many_rows),
        cmocka_unit_test(nothing_is_overwritten_unasked),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(wrong_types_and_shapes_are_told),
        cmocka_unit_test(files_that_are_no_output),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
