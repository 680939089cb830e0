/* SPDX-License-Identifier: Apache-2.0 */
/* Output files: the layout as HDF5 shows it, round trips, exports, the atomic end, hostile files.
 */
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

#include "scratch_folder.h"
#include "sluice/data.h"

static const struct output_columns all_columns = {
    .prompt = true, .token_ids = true, .logprobs = true, .top_logprobs = 2};

static const int32_t ids[] = {11, 12, 13};
static const float logprobs[] = {-0.1f, -0.25f, -3.0f};
static const int32_t top_ids[] = {11, 90, 12, 91, 13, 92};
static const float top_values[] = {-0.1f, -2.5f, -0.25f, -1.5f, -3.0f, -4.0f};

#define TEXT(field, string) .field = (string), .field##_length = sizeof(string) - 1

/* Three rows: one with two samples, one with an error, one that asked for nothing. */
static const struct result examples[] = {
    {.row = 0,
     .sample = 0,
     .rank = 1,
     .finish_reason = FINISH_STOP,
     TEXT(id, "first"),
     TEXT(prompt, "Say \"hi\""),
     TEXT(text, "hi \xF0\x9F\x98\x80\n"),
     TEXT(passthrough, "{\"label\":1.50,\"text\":\"mine\",\"input_text\":null}"),
     .prompt_tokens = 4,
     .completion_tokens = 3,
     .token_ids = ids,
     .logprobs = logprobs,
     .top_logprobs = 2,
     .top_ids = top_ids,
     .top_values = top_values,
     .seconds = 0.5},
    {.row = 0,
     .sample = 1,
     .rank = 1,
     .finish_reason = FINISH_LENGTH,
     TEXT(id, "first"),
     TEXT(prompt, "Say \"hi\""),
     TEXT(text, "a\0b\xFF"),
     TEXT(passthrough, "{\"label\":1.50}"),
     .prompt_tokens = 4,
     .completion_tokens = 2,
     .token_ids = ids,
     .logprobs = logprobs,
     .top_logprobs = 1,
     .top_ids = top_ids,
     .top_values = top_values,
     .seconds = 0.75},
    {.row = 1, .finish_reason = FINISH_ERROR, TEXT(id, "1"), TEXT(error, "line 2: no prompt")},
    {.row = 2,
     .rank = 3,
     .finish_reason = FINISH_STOP,
     TEXT(id, "2"),
     TEXT(prompt, "p"),
     TEXT(text, "t"),
     TEXT(passthrough, "{\"body\":{\"model\":\"m-7\"}}"),
     .prompt_tokens = 1,
     .completion_tokens = 1,
     .seconds = 1},
};

static struct output_writer *create(const char *path, bool overwrite,
                                    const struct output_columns *columns)
{
    struct output_writer *writer;
    if (output_create(path, overwrite, columns, &writer) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return writer;
}

static void write_examples(const char *path, const struct output_columns *columns)
{
    struct output_writer *writer = create(path, true, columns);
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        assert_int_equal(output_append(writer, &examples[i]), STATUS_OK);
    }
    const struct rank_metrics ranks[] = {
        {.host = "node-a",
         .device = "cpu",
         .rank = 0,
         .rows = 5,
         .seconds_idle = 0.25,
         .energy_joules = NAN},
        {.host = "node-b", .device = "NVIDIA", .rank = 1, .dp = 1, .output_tokens = 1LL << 40},
    };
    const struct timeline_point points[] = {
        {.seconds = 1, .rank = 1, .running = 3},
        {.seconds = 1, .rank = 0},
        {.seconds = 2, .rank = 1, .running = 4, .output_tokens = 9}};
    const struct output_attribute attributes[] = {{"model_path", "models/tiny", 0},
                                                  {"job", "a: 1\n", 0},
                                                  {"wall_seconds", NULL, 2.5},
                                                  {"rows", NULL, 3000000},
                                                  {"created", "2026-01-31T12:00:00Z", 0}};
    assert_int_equal(output_write_ranks(writer, ranks, COUNT_OF(ranks)), STATUS_OK);
    assert_int_equal(output_write_timeline(writer, points, COUNT_OF(points)), STATUS_OK);
    assert_int_equal(output_write_attributes(writer, attributes, COUNT_OF(attributes)), STATUS_OK);
    if (output_finish(writer) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static struct output_reader *open_reader(const char *path)
{
    struct output_reader *reader;
    if (output_open(path, &reader) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return reader;
}

/* ---- As HDF5 shows it ---------------------------------------------------------------------------
 */

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
    static const char *const absent[] = {"/results/prompt", "/results/token_ids",
                                         "/results/token_offsets", "/results/logprobs",
                                         "/results/top_logprob_ids"};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        assert_int_equal(H5Lexists(file, absent[i], H5P_DEFAULT), 0);
    }
    H5Fclose(file);
    struct output_reader *reader = open_reader(path);
    assert_int_equal(output_result_count(reader), 4);
    output_reader_close(reader);
}

/* ---- Round trips --------------------------------------------------------------------------------
 */

static status compare_example(void *context, const struct result *result)
{
    int *next = context;
    const struct result *expected = &examples[(*next)++];
    assert_int_equal(result->row, expected->row);
    assert_int_equal(result->sample, expected->sample);
    assert_int_equal(result->rank, expected->rank);
    assert_int_equal(result->finish_reason, expected->finish_reason);
    assert_string_equal(result->id, expected->id);
    assert_string_equal(result->prompt, expected->prompt != NULL ? expected->prompt : "");
    assert_string_equal(result->text, *next == 2               ? "a\xEF\xBF\xBD"
                                                                 "b\xEF\xBF\xBD"
                                      : expected->text != NULL ? expected->text
                                                               : "");
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
    assert_int_equal(result->has_scores, *row == 0);
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
    assert_int_equal(output_export(reader, EXPORT_OPENAI, append_line, &lines), STATUS_UNSUPPORTED);
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

static void everything_comes_back(void **state)
{
    const char *path = scratch_path(state, "back.h5");
    write_examples(path, &all_columns);
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
    assert_string_equal(output_attribute_text(reader, "format_version", &arena), "1");
    assert_string_equal(output_attribute_text(reader, "sluice_version", &arena), SLUICE_VERSION);
    assert_string_equal(output_attribute_text(reader, "job", &arena), "a: 1\n");
    assert_string_equal(output_attribute_text(reader, "wall_seconds", &arena), "2.5");
    assert_string_equal(output_attribute_text(reader, "rows", &arena), "3000000");
    assert_null(output_attribute_text(reader, "nothing", &arena));
    arena_destroy(&arena);
    output_reader_close(reader);
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

static void many_rows(void **state)
{
    enum { ROWS = 10000 };
    static const int32_t five[] = {1, 2, 3, 4, 5};
    const struct output_columns columns = {.token_ids = true};
    const char *path = scratch_path(state, "many.h5");
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

/* ---- Exports ------------------------------------------------------------------------------------
 */

static status collect_line(void *context, const char *line, size_t length)
{
    return buffer_append(context, line, length);
}

static void export_as_json_lines(void **state)
{
    const char *path = scratch_path(state, "lines.h5");
    struct buffer out = {0};
    write_examples(path, &all_columns);
    struct output_reader *reader = open_reader(path);
    assert_int_equal(output_export(reader, EXPORT_JSONL, collect_line, &out), STATUS_OK);
    assert_string_equal(
        out.data,
        "{\"id\":\"first\",\"row\":0,\"sample\":0,\"prompt\":\"Say \\\"hi\\\"\",\"text\":\"hi "
        "\xF0\x9F\x98\x80\\n\",\"finish_reason\":\"stop\",\"prompt_tokens\":4,"
        "\"completion_tokens\":3,\"token_ids\":[11,12,13],\"logprobs\":[-0.1,-0.25,-3],"
        "\"top_logprob_ids\":[[11,90],[12,91],[13,92]],\"top_logprob_values\":[[-0.1,-2.5],[-0.25,"
        "-1.5],[-3,-4]],\"label\":1.50,\"input_input_text\":\"mine\",\"input_text\":null}\n"
        "{\"id\":\"first\",\"row\":0,\"sample\":1,\"prompt\":\"Say \\\"hi\\\"\",\"text\":"
        "\"a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD\",\"finish_reason\":\"length\",\"prompt_tokens\":4,"
        "\"completion_tokens\":2,\"token_ids\":[11,12],\"logprobs\":[-0.1,-0.25],"
        "\"top_logprob_ids\":[[11],[90]],\"top_logprob_values\":[[-0.1],[-2.5]],\"label\":1.50}\n"
        "{\"id\":\"1\",\"row\":1,\"sample\":0,\"prompt\":\"\",\"text\":\"\",\"finish_reason\":"
        "\"error\",\"prompt_tokens\":0,\"completion_tokens\":0,\"error\":\"line 2: no prompt\","
        "\"token_ids\":[]}\n"
        "{\"id\":\"2\",\"row\":2,\"sample\":0,\"prompt\":\"p\",\"text\":\"t\",\"finish_reason\":"
        "\"stop\",\"prompt_tokens\":1,\"completion_tokens\":1,\"body\":{\"model\":\"m-7\"}}\n");
    buffer_destroy(&out);
    output_reader_close(reader);
}

static void export_as_openai_batch(void **state)
{
    const char *path = scratch_path(state, "openai.h5");
    struct buffer out = {0};
    struct arena arena = {0};
    write_examples(path, &all_columns);
    struct output_reader *reader = open_reader(path);
    assert_int_equal(output_export(reader, EXPORT_OPENAI, collect_line, &out), STATUS_OK);
    output_reader_close(reader);
    const struct json *lines[3];
    size_t count = 0;
    for (char *line = strtok(out.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        struct json *value;
        assert_true(count < COUNT_OF(lines));
        if (json_parse(line, strlen(line), &arena, &value) != STATUS_OK) {
            fail_msg("%s in %s", status_message(), line);
        }
        lines[count++] = value;
    }
    assert_int_equal(count, 3);
    const struct json *response = json_get(lines[0], "response");
    const struct json *body = json_get(response, "body");
    const struct json *choices = json_get(body, "choices");
    int64_t number;
    assert_true(json_is_string(json_get(lines[0], "custom_id"), "first"));
    assert_true(json_int64(json_get(response, "status_code"), &number) && number == 200);
    assert_true(json_is_string(json_get(body, "object"), "chat.completion"));
    assert_true(json_is_string(json_get(body, "model"), "models/tiny"));
    assert_true(json_int64(json_get(body, "created"), &number) && number == 1769860800);
    assert_int_equal(choices->length, 2);
    assert_true(json_is_string(json_get(choices->items[1], "finish_reason"), "length"));
    assert_true(json_is_string(json_get(json_get(choices->items[0], "message"), "content"),
                               "hi \xF0\x9F\x98\x80\n"));
    const struct json *content = json_get(json_get(choices->items[0], "logprobs"), "content");
    assert_int_equal(content->length, 3);
    assert_true(json_is_string(json_get(content->items[2], "token"), "token_id:13"));
    assert_int_equal(json_get(content->items[0], "top_logprobs")->length, 2);
    const struct json *usage = json_get(body, "usage");
    assert_true(json_int64(json_get(usage, "total_tokens"), &number) && number == 9);
    assert_int_equal(json_get(lines[0], "error")->type, JSON_NULL);
    assert_int_equal(json_get(lines[1], "response")->type, JSON_NULL);
    assert_true(
        json_is_string(json_get(json_get(lines[1], "error"), "message"), "line 2: no prompt"));
    body = json_get(json_get(lines[2], "response"), "body");
    assert_true(json_is_string(json_get(body, "model"), "m-7"));
    assert_int_equal(json_get(json_get(body, "choices")->items[0], "logprobs")->type, JSON_NULL);
    buffer_destroy(&out);
    arena_destroy(&arena);
}

/* ---- The atomic end -----------------------------------------------------------------------------
 */

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

/* ---- Hostile files ------------------------------------------------------------------------------
 */

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
    static const int8_t reasons[] = {0, 1, 3, 0};
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
    };
    const char *path = scratch_path(state, "hostile.h5");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        write_examples(path, &all_columns);
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
    const int64_t version = 2;
    H5Awrite(attribute, H5T_NATIVE_INT64, &version);
    H5Aclose(attribute);
    H5Sclose(space);
    H5Fclose(file);
    assert_int_equal(output_open(path, &reader), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "format version 2"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layout_is_as_documented),
        cmocka_unit_test(only_the_columns_asked_for),
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(scores_and_embeddings),
        cmocka_unit_test(many_rows),
        cmocka_unit_test(export_as_json_lines),
        cmocka_unit_test(export_as_openai_batch),
        cmocka_unit_test(nothing_is_overwritten_unasked),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(wrong_types_and_shapes_are_told),
        cmocka_unit_test(files_that_are_no_output),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
