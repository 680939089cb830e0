/* SPDX-License-Identifier: Apache-2.0 */
/* Exports: our lines, and OpenAI's batch output in the form of each endpoint. */
#include "output_examples.h"

#include <hdf5.h>

#include "sluice/export.h"
#include "sluice/json.h"

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
        "\"error\",\"prompt_tokens\":0,\"completion_tokens\":0,\"error\":\"line 2: no prompt\"}\n"
        "{\"id\":2.50,\"row\":2,\"sample\":0,\"prompt\":\"p\",\"text\":\"t\",\"finish_reason\":"
        "\"stop\",\"prompt_tokens\":1,\"completion_tokens\":1,\"body\":{\"model\":\"m-7\"}}\n");
    buffer_destroy(&out);
    output_reader_close(reader);
}

/* ---- OpenAI's form ---- */

struct lines {
    struct buffer text;
    struct arena arena;
    const struct json *items[8];
    size_t count;
};

static void export_openai(const char *path, struct lines *lines)
{
    struct output_reader *reader = open_reader(path);
    if (output_export(reader, EXPORT_OPENAI, collect_line, &lines->text) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    output_reader_close(reader);
    for (char *line = strtok(lines->text.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        struct json *value;
        assert_true(lines->count < COUNT_OF(lines->items));
        if (json_parse(line, strlen(line), &lines->arena, &value) != STATUS_OK) {
            fail_msg("%s in %s", status_message(), line);
        }
        lines->items[lines->count++] = value;
    }
}

static void lines_destroy(struct lines *lines)
{
    buffer_destroy(&lines->text);
    arena_destroy(&lines->arena);
}

/* Member by member from an object down. */
static const struct json *at(const struct json *value, const char *first, const char *second,
                             const char *third)
{
    const char *const names[] = {first, second, third};
    for (size_t i = 0; i < COUNT_OF(names) && names[i] != NULL; i++) {
        value = json_get(value, names[i]);
    }
    return value;
}

static const struct json *body_of(const struct json *line)
{
    return at(line, "response", "body", NULL);
}

static void assert_json(const struct json *value, const char *expected)
{
    struct buffer text = {0};
    assert_non_null(value);
    assert_int_equal(json_write(value, &text), STATUS_OK);
    assert_string_equal(text.data, expected);
    buffer_destroy(&text);
}

static void chat_completions(void **state)
{
    struct lines lines = {0};
    const char *path = scratch_path(state, "openai.h5");
    write_examples(path, &all_columns);
    export_openai(path, &lines);
    assert_int_equal(lines.count, 3);
    const struct json *line = lines.items[0], *body = body_of(line);
    const struct json *choices = json_get(body, "choices");
    assert_json(json_get(line, "id"), "\"batch_req_0\"");
    assert_json(json_get(line, "custom_id"), "\"first\"");
    assert_json(json_get(line, "error"), "null");
    assert_json(at(line, "response", "status_code", NULL), "200");
    assert_json(json_get(body, "id"), "\"chatcmpl-0\"");
    assert_json(json_get(body, "object"), "\"chat.completion\"");
    assert_json(json_get(body, "model"), "\"models/tiny\"");
    assert_json(json_get(body, "created"), "1769860800");
    assert_json(json_get(body, "usage"),
                "{\"prompt_tokens\":4,\"completion_tokens\":5,\"total_tokens\":9}");
    assert_int_equal(choices->length, 2);
    assert_json(json_get(choices->items[1], "index"), "1");
    assert_json(json_get(choices->items[1], "finish_reason"), "\"length\"");
    assert_json(json_get(choices->items[0], "message"),
                "{\"role\":\"assistant\",\"content\":\"hi \xF0\x9F\x98\x80\\n\"}");
    const struct json *content = at(choices->items[0], "logprobs", "content", NULL);
    assert_int_equal(content->length, 3);
    assert_json(content->items[0],
                "{\"token\":\" h\xC3\xA9\",\"logprob\":-0.1,\"bytes\":[32,104,195,169],"
                "\"top_logprobs\":[{\"token\":\" h\xC3\xA9\",\"logprob\":-0.1,\"bytes\":[32,104,"
                "195,169]},{\"token\":\" h\xC3\xA9\",\"logprob\":-2.5,\"bytes\":[32,104,195,169]}"
                "]}");
    assert_json(json_get(choices->items[0], "token_ids"), "[11,12,13]");
    /* Part of a character has its bytes, and no text; the third token has neither. */
    assert_json(json_get(content->items[1], "token"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_json(json_get(content->items[1], "bytes"), "[240,159]");
    assert_json(json_get(content->items[2], "token"), "\"\"");
    assert_json(json_get(content->items[2], "bytes"), "[]");
    /* The second sample asked for fewer. */
    content = at(choices->items[1], "logprobs", "content", NULL);
    assert_int_equal(json_get(content->items[0], "top_logprobs")->length, 1);
    lines_destroy(&lines);
}

static void text_completions(void **state)
{
    static const int32_t chosen[] = {11, 12, 40};
    static const float far[] = {-0.5f, -INFINITY, -3.0f};
    const struct result rows[] = {
        {.row = 0,
         .endpoint = ENDPOINT_COMPLETIONS,
         TEXT(id, "12"),
         .id_is_number = true,
         TEXT(text, "t"),
         .completion_tokens = 3,
         .token_ids = chosen,
         .logprobs = far,
         .top_logprobs = 2,
         .top_ids = top_ids,
         .top_values = top_values},
        {.row = 1, .endpoint = ENDPOINT_COMPLETIONS, TEXT(text, "u"), .completion_tokens = 1},
    };
    struct lines lines = {0};
    const char *path = scratch_path(state, "texts.h5");
    struct output_writer *writer = create(path, true, &all_columns);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(output_append(writer, &rows[i]), STATUS_OK);
    }
    assert_int_equal(output_write_vocabulary(writer, example_token, NULL), STATUS_OK);
    assert_int_equal(output_finish(writer), STATUS_OK);
    export_openai(path, &lines);
    assert_int_equal(lines.count, 2);
    const struct json *body = body_of(lines.items[0]);
    const struct json *choice = json_get(body, "choices")->items[0];
    assert_json(json_get(lines.items[0], "custom_id"), "12");
    assert_json(json_get(body, "id"), "\"cmpl-0\"");
    assert_json(json_get(body, "object"), "\"text_completion\"");
    assert_json(json_get(choice, "text"), "\"t\"");
    assert_null(json_get(choice, "message"));
    const struct json *given = json_get(choice, "logprobs");
    assert_json(json_get(given, "tokens"),
                "[\" h\xC3\xA9\",\"\xEF\xBF\xBD\xEF\xBF\xBD\",\"<40>\"]");
    assert_json(json_get(given, "text_offset"), "[0,3,5]");
    assert_json(json_get(given, "token_logprobs"), "[-0.5,-9999,-3]");
    /* A text that another token has too is told apart; the chosen one is always there. */
    const struct json *top = json_get(given, "top_logprobs");
    assert_json(top->items[0], "{\" h\xC3\xA9\":-0.1,\"token_id:90\":-2.5}");
    assert_json(top->items[2], "{\"\":-3,\"<92>\":-4,\"<40>\":-3}");
    choice = json_get(body_of(lines.items[1]), "choices")->items[0];
    assert_json(json_get(choice, "logprobs"), "null");
    assert_json(json_get(choice, "finish_reason"), "\"stop\"");
    lines_destroy(&lines);
}

/* Likeliest tokens end at -1 or at the most; token 0 is one as any other, and a result may have
 * log-probabilities without any. */
static void likeliest_tokens_are_counted(void **state)
{
    static const int32_t chosen[] = {0, 7, 5}, none[] = {-1, -1, -1, -1, -1, -1};
    static const int32_t tops[] = {0, 9, 7, -1, -1, -1};
    const struct result rows[] = {
        {.row = 0,
         .endpoint = ENDPOINT_CHAT,
         .completion_tokens = 3,
         .token_ids = chosen,
         .logprobs = logprobs,
         .top_logprobs = 2,
         .top_ids = tops,
         .top_values = top_values},
        {.row = 1,
         .endpoint = ENDPOINT_CHAT,
         .completion_tokens = 3,
         .token_ids = chosen,
         .logprobs = logprobs},
        {.row = 2,
         .endpoint = ENDPOINT_COMPLETIONS,
         .completion_tokens = 3,
         .token_ids = chosen,
         .logprobs = logprobs,
         .top_logprobs = 2,
         .top_ids = none,
         .top_values = top_values},
        {.row = 3, .endpoint = ENDPOINT_CHAT, .completion_tokens = 3, .token_ids = chosen},
    };
    static const size_t expected[][3] = {{2, 1, 0}, {0, 0, 0}};
    struct lines lines = {0};
    const char *path = scratch_path(state, "tops.h5");
    struct output_writer *writer = create(path, true, &all_columns);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(output_append(writer, &rows[i]), STATUS_OK);
    }
    assert_int_equal(output_write_vocabulary(writer, example_token, NULL), STATUS_OK);
    assert_int_equal(output_finish(writer), STATUS_OK);
    export_openai(path, &lines);
    assert_int_equal(lines.count, COUNT_OF(rows));
    for (size_t row = 0; row < COUNT_OF(expected); row++) {
        const struct json *choice = json_get(body_of(lines.items[row]), "choices")->items[0];
        const struct json *content = at(choice, "logprobs", "content", NULL);
        assert_int_equal(content->length, 3);
        for (size_t token = 0; token < 3; token++) {
            assert_int_equal(json_get(content->items[token], "top_logprobs")->length,
                             expected[row][token]);
        }
    }
    const struct json *choice = json_get(body_of(lines.items[0]), "choices")->items[0];
    const struct json *first = at(choice, "logprobs", "content", NULL)->items[0];
    assert_json(json_get(json_get(first, "top_logprobs")->items[0], "token"), "\"<0>\"");
    choice = json_get(body_of(lines.items[2]), "choices")->items[0];
    assert_json(at(choice, "logprobs", "top_logprobs", NULL),
                "[{\"<0>\":-0.1},{\"<7>\":-0.25},{\"<5>\":-3}]");
    choice = json_get(body_of(lines.items[3]), "choices")->items[0];
    assert_json(json_get(choice, "logprobs"), "null");
    lines_destroy(&lines);
}

static void embeddings(void **state)
{
    static const float vector[] = {0.5f, -1.0f, 2.0f};
    const struct output_columns columns = {.embedding_width = 3};
    const struct result rows[] = {
        {.row = 0, TEXT(id, "a"), .prompt_tokens = 7, .embedding_width = 3, .embedding = vector},
        {.row = 1,
         TEXT(id, "b"),
         TEXT(passthrough, "{\"body\":{\"encoding_format\":\"base64\",\"model\":\"e\"}}"),
         .endpoint = ENDPOINT_EMBEDDINGS,
         .embedding_width = 3,
         .embedding = vector},
    };
    struct lines lines = {0};
    const char *path = scratch_path(state, "vectors.h5");
    struct output_writer *writer = create(path, true, &columns);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(output_append(writer, &rows[i]), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    export_openai(path, &lines);
    const struct json *body = body_of(lines.items[0]);
    assert_json(json_get(body, "object"), "\"list\"");
    assert_json(json_get(body, "data"),
                "[{\"index\":0,\"object\":\"embedding\",\"embedding\":[0.5,-1,2]}]");
    assert_json(json_get(body, "usage"), "{\"prompt_tokens\":7,\"total_tokens\":7}");
    /* struct.pack("<3f", 0.5, -1, 2) */
    assert_json(json_get(json_get(body_of(lines.items[1]), "data")->items[0], "embedding"),
                "\"AAAAPwAAgL8AAABA\"");
    assert_json(json_get(body_of(lines.items[1]), "model"), "\"e\"");
    lines_destroy(&lines);
}

static void errors_have_a_status_code(void **state)
{
    const struct output_columns columns = {0};
    const struct result rows[] = {
        {.row = 0, .finish_reason = FINISH_ERROR, TEXT(id, "a"), TEXT(error, "line 1: why")},
        {.row = 1,
         .finish_reason = FINISH_ERROR,
         .is_fault = true,
         TEXT(id, "b"),
         TEXT(error, "a NaN")},
        /* One sample of two ended well. */
        {.row = 2, TEXT(id, "c"), TEXT(text, "fine"), .completion_tokens = 1},
        {.row = 2, .sample = 1, .finish_reason = FINISH_ERROR, TEXT(id, "c"), TEXT(error, "no")},
    };
    struct lines lines = {0};
    const char *path = scratch_path(state, "errors.h5");
    struct output_writer *writer = create(path, true, &columns);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(output_append(writer, &rows[i]), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    export_openai(path, &lines);
    static const char bad[] = "{\"message\":\"line 1: why\",\"type\":\"BadRequestError\","
                              "\"param\":null,\"code\":400}";
    assert_json(at(lines.items[0], "response", "status_code", NULL), "400");
    assert_json(at(lines.items[0], "response", "request_id", NULL), "\"row-0\"");
    assert_json(at(lines.items[0], "response", "body", "error"), bad);
    assert_json(json_get(lines.items[0], "error"), bad);
    assert_json(at(lines.items[1], "response", "status_code", NULL), "500");
    assert_json(at(lines.items[1], "error", "type", NULL), "\"InternalServerError\"");
    assert_json(at(lines.items[2], "response", "status_code", NULL), "200");
    assert_int_equal(json_get(body_of(lines.items[2]), "choices")->length, 1);
    assert_json(at(lines.items[2], "error", "message", NULL), "\"no\"");
    lines_destroy(&lines);
}

/* ---- Files of earlier versions, and ids that only claim to be numbers ---- */

static void older_files_are_exported_as_before(void **state)
{
    static const char *const newer[] = {"/results/endpoint", "/results/status_code",
                                        "/results/id_is_number", "/vocabulary"};
    struct lines lines = {0};
    const char *path = scratch_path(state, "older.h5");
    write_examples(path, &all_columns);
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    for (size_t i = 0; i < COUNT_OF(newer); i++) {
        assert_true(H5Ldelete(file, newer[i], H5P_DEFAULT) >= 0);
    }
    H5Fclose(file);
    export_openai(path, &lines);
    assert_int_equal(lines.count, 3);
    const struct json *body = body_of(lines.items[2]);
    assert_json(json_get(body, "object"), "\"chat.completion\"");
    assert_json(json_get(lines.items[2], "custom_id"), "\"2.50\"");
    const struct json *choice = json_get(body_of(lines.items[0]), "choices")->items[0];
    const struct json *first = at(choice, "logprobs", "content", NULL)->items[0];
    assert_json(json_get(first, "token"), "\"token_id:11\"");
    assert_json(json_get(first, "bytes"), "null");
    lines_destroy(&lines);
}

static void ids_are_numbers_where_they_are(void **state)
{
    static const struct {
        const char *id;
        bool number;
    } cases[] = {{"7", true},    {"-2", true},      {"12345678901234567890", true},
                 {"1.50", true}, {"-0.1e+5", true}, {"2E9", true},
                 {"NaN", false}, {"", false},       {"-", false},
                 {"01", false},  {"1.", false},     {".5", false},
                 {"1e", false},  {"7 ", false},     {"7,\"x\":1", false}};
    const struct output_columns columns = {.id_is_number = true};
    const char *path = scratch_path(state, "ids.h5");
    struct output_writer *writer = create(path, true, &columns);
    struct buffer expected = {0}, out = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct result result = {.row = (int64_t)i,
                                      .id = cases[i].id,
                                      .id_length = strlen(cases[i].id),
                                      .id_is_number = true};
        assert_int_equal(output_append(writer, &result), STATUS_OK);
    }
    assert_int_equal(output_finish(writer), STATUS_OK);
    struct output_reader *reader = open_reader(path);
    assert_int_equal(output_export(reader, EXPORT_JSONL, collect_line, &out), STATUS_OK);
    output_reader_close(reader);
    const char *line = out.data;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        buffer_clear(&expected);
        assert_int_equal(buffer_append_text(&expected, "{\"id\":"), STATUS_OK);
        assert_int_equal(cases[i].number
                             ? buffer_append_text(&expected, cases[i].id)
                             : json_write_string(cases[i].id, strlen(cases[i].id), &expected),
                         STATUS_OK);
        assert_int_equal(buffer_append_text(&expected, ",\"row\":"), STATUS_OK);
        assert_memory_equal(line, expected.data, expected.length);
        line = strchr(line, '\n') + 1;
    }
    buffer_destroy(&expected);
    buffer_destroy(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(likeliest_tokens_are_counted),
        cmocka_unit_test(export_as_json_lines),
        cmocka_unit_test(chat_completions),
        cmocka_unit_test(text_completions),
        cmocka_unit_test(embeddings),
        cmocka_unit_test(errors_have_a_status_code),
        cmocka_unit_test(older_files_are_exported_as_before),
        cmocka_unit_test(ids_are_numbers_where_they_are),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
