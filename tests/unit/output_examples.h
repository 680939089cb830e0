/* SPDX-License-Identifier: Apache-2.0 */
/* An output file of a few results of each kind, which several tests read. */
#ifndef SLUICE_TESTS_OUTPUT_EXAMPLES_H
#define SLUICE_TESTS_OUTPUT_EXAMPLES_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scratch_folder.h"
#include "sluice/data.h"

static const struct output_columns all_columns = {
    .prompt = true, .token_ids = true, .logprobs = true, .id_is_number = true, .top_logprobs = 2};

/* Tokens' bytes: 12 is part of a character, 13 has none, 90 is the same text as 11. */
static inline status example_token(const void *context, int32_t id, struct buffer *out)
{
    (void)context;
    switch (id) {
    case 11:
    case 90:
        return buffer_append_text(out, " h\xC3\xA9");
    case 12:
        return buffer_append_text(out, "\xF0\x9F");
    case 13:
        return STATUS_OK;
    default:
        return buffer_format(out, "<%d>", id);
    }
}

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
     .endpoint = ENDPOINT_CHAT,
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
     .endpoint = ENDPOINT_CHAT,
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
     .endpoint = ENDPOINT_COMPLETIONS,
     TEXT(id, "2.50"),
     .id_is_number = true,
     TEXT(prompt, "p"),
     TEXT(text, "t"),
     TEXT(passthrough, "{\"body\":{\"model\":\"m-7\"}}"),
     .prompt_tokens = 1,
     .completion_tokens = 1,
     .seconds = 1},
};

static inline struct output_writer *create(const char *path, bool overwrite,
                                           const struct output_columns *columns)
{
    struct output_writer *writer;
    if (output_create(path, overwrite, columns, &writer) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return writer;
}

static inline void write_examples(const char *path, const struct output_columns *columns)
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
        {.seconds = 2, .rank = 1, .running = 4, .output_tokens = 9, .prompt_tokens = 7, .rows = 2}};
    const struct output_attribute attributes[] = {{"model_path", "models/tiny", 0},
                                                  {"job", "a: 1\n", 0},
                                                  {"wall_seconds", NULL, 2.5},
                                                  {"rows", NULL, 3000000},
                                                  {"created", "2026-01-31T12:00:00Z", 0}};
    assert_int_equal(output_write_vocabulary(writer, example_token, NULL), STATUS_OK);
    assert_int_equal(output_write_ranks(writer, ranks, COUNT_OF(ranks)), STATUS_OK);
    assert_int_equal(output_write_timeline(writer, points, COUNT_OF(points)), STATUS_OK);
    assert_int_equal(output_write_attributes(writer, attributes, COUNT_OF(attributes)), STATUS_OK);
    if (output_finish(writer) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static inline struct output_reader *open_reader(const char *path)
{
    struct output_reader *reader;
    if (output_open(path, &reader) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    return reader;
}

#endif
