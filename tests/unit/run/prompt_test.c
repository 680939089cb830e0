/* SPDX-License-Identifier: Apache-2.0 */
/* From rows to token ids, with a tokenizer that puts a token before every text: where it belongs,
 * where not, and which tokens are scored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "run/prompt.h"
#include "scratch_folder.h"
#include "sluice/model.h"

enum { START = 1, MOST = 24 };

/* The small model's tokenizer, with START before every text. */
static const char processor[] =
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
    "\"<|im_start|>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
    "\"special_tokens\":{\"<|im_start|>\":{\"id\":\"<|im_start|>\",\"ids\":[1],\"tokens\":["
    "\"<|im_start|>\"]}}}";

static struct model *model;
static struct prompt_encoder encoder;
static struct tokenizer_scratch *scratch;

static void copy(void **folder, const char *name, const char *with)
{
    static const char none[] = "\"post_processor\":null";
    char path[1024];
    struct buffer text = {0}, changed = {0};
    snprintf(path, sizeof path, "%s/data/small-model/%s", SLUICE_SOURCE_DIR, name);
    assert_int_equal(file_read(path, 1 << 20, &text), STATUS_OK);
    if (with != NULL) {
        char *at = strstr(text.data, none);
        assert_non_null(at);
        *at = '\0';
        assert_int_equal(buffer_append_text(&changed, text.data), STATUS_OK);
        assert_int_equal(buffer_append_text(&changed, with), STATUS_OK);
        assert_int_equal(buffer_append_text(&changed, at + sizeof none - 1), STATUS_OK);
    } else {
        assert_int_equal(buffer_append(&changed, text.data, text.length), STATUS_OK);
    }
    assert_non_null(scratch_write(folder, name, changed.data, changed.length));
    buffer_destroy(&text);
    buffer_destroy(&changed);
}

static int set_up(void **state)
{
    assert_int_equal(scratch_create(state), 0);
    copy(state, "config.json", NULL);
    copy(state, "tokenizer.json", processor);
    if (model_open(((struct scratch_folder *)*state)->path, &model) != STATUS_OK ||
        prompt_encoder_start(&encoder, model, MOST, 0) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    scratch = tokenizer_scratch_create(model_tokenizer(model));
    assert_non_null(scratch);
    return 0;
}

static int tear_down(void **state)
{
    tokenizer_scratch_destroy(scratch);
    prompt_encoder_end(&encoder);
    model_close(model);
    return scratch_destroy(state);
}

/* The ids of a text alone, nothing before it. */
static void append_ids(const char *text, struct token_list *out)
{
    assert_int_equal(
        tokenizer_encode(model_tokenizer(model), scratch, text, strlen(text), false, out),
        STATUS_OK);
}

static status encode(const char *line, enum task task)
{
    const struct row_format format = {.completion_field =
                                          strstr(line, "completion") != NULL ? "completion" : NULL};
    struct generate_params defaults;
    struct arena arena = {0};
    struct row row;
    struct record record = {.kind = RECORD_JSON};
    generate_params_defaults(&defaults);
    defaults.task = task;
    assert_int_equal(buffer_append_text(&record.bytes, line), STATUS_OK);
    status s = row_parse(&record, &format, &defaults, &arena, &row);
    s = s == STATUS_OK ? prompt_encode(&encoder, &row) : s;
    arena_destroy(&arena);
    buffer_destroy(&record.bytes);
    return s;
}

/* START where `starts`, then the ids of each text on its own. */
static void expect(const char *line, enum task task, bool starts, const char *first,
                   const char *second, size_t first_scored)
{
    struct token_list wanted = {0};
    const int32_t start = START;
    if (encode(line, task) != STATUS_OK) {
        fail_msg("%s: %s", line, status_message());
    }
    append_ids(first, &wanted);
    append_ids(second, &wanted);
    const struct token_list *tokens = &encoder.tokens;
    if (tokens->count != wanted.count + starts) {
        fail_msg("%s: %zu tokens", line, tokens->count);
    }
    if (starts) {
        assert_memory_equal(tokens->ids, &start, sizeof start);
    }
    assert_memory_equal(tokens->ids + starts, wanted.ids, wanted.count * sizeof *wanted.ids);
    assert_int_equal(encoder.first_scored, first_scored);
    free(wanted.ids);
}

#define IDS "\"prompt_token_ids\": [35, 36, 37]" /* A, B, C */

static void the_start_token_stands_before_texts_alone(void **state)
{
    (void)state;
    expect("{\"prompt\": \"red\"}", TASK_GENERATE, true, "red", "", 0);
    expect("{" IDS "}", TASK_GENERATE, false, "A", "BC", 0);
    expect("{\"custom_id\": \"a\", \"body\": {\"prompt\": \"red\", \"add_special_tokens\": false}}",
           TASK_GENERATE, false, "red", "", 0);
    expect("{\"prompt\": \"\"}", TASK_GENERATE, true, "", "", 0);
}

/* What is scored begins behind the prompt: a completion never has a start token of its own. */
static void completions_follow_their_prompt(void **state)
{
    (void)state;
    struct token_list red = {0};
    append_ids("red", &red);
    expect("{" IDS ", \"completion\": \" and\"}", TASK_SCORE, false, "ABC", " and", 3);
    expect("{" IDS ", \"completion\": [38, 39]}", TASK_SCORE, false, "ABC", "DE", 3);
    expect("{\"prompt\": \"red\", \"completion\": \" and\"}", TASK_SCORE, true, "red", " and",
           1 + red.count);
    expect("{\"prompt\": \"red\"}", TASK_SCORE, true, "red", "", 1);
    expect("{" IDS "}", TASK_SCORE, false, "ABC", "", 1);
    expect("{\"prompt\": \"\", \"completion\": \"red\"}", TASK_SCORE, true, "red", "", 1);
    free(red.ids);
}

/* A token that begins in the prompt and ends in the completion is the completion's. */
static void a_token_over_the_border_is_scored(void **state)
{
    (void)state;
    struct token_list lett = {0}, letter = {0};
    append_ids(" lett", &lett);
    append_ids(" letter", &letter);
    assert_int_equal(letter.count, 1);
    assert_true(lett.count > 1);
    expect("{\"prompt\": \" lett\", \"completion\": \"er\"}", TASK_SCORE, true, " letter", "", 1);
    free(lett.ids);
    free(letter.ids);
}

/* Cut prompts keep their last tokens, and the start token where a text has one. */
static void cut_prompts_keep_their_end(void **state)
{
    (void)state;
    expect("{\"prompt\": \"ZYXWV\", \"truncate_prompt_tokens\": 3}", TASK_GENERATE, true, "WV", "",
           0);
    expect("{\"prompt_token_ids\": [35, 36, 37, 38], \"truncate_prompt_tokens\": 3}", TASK_GENERATE,
           false, "BCD", "", 0);
    expect("{\"prompt\": \"ZYXWV\", \"completion\": \"QK\", \"truncate_prompt_tokens\": 3}",
           TASK_SCORE, true, "WV", "QK", 3);
    /* -1: what leaves room for the answer; the context holds MOST. */
    expect("{\"prompt\": \"ZYXWV\", \"truncate_prompt_tokens\": -1, \"max_tokens\": 21}",
           TASK_GENERATE, true, "WV", "", 0);
    expect("{\"prompt\": \"ZYXWV\", \"truncate_prompt_tokens\": -1, \"max_tokens\": 18}",
           TASK_GENERATE, true, "ZYXWV", "", 0);
}

static void nothing_to_score_is_refused(void **state)
{
    (void)state;
    assert_int_equal(encode("{\"prompt_token_ids\": [35]}", TASK_SCORE), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "nothing to score"));
    assert_int_equal(encode("{" IDS ", \"completion\": \"\"}", TASK_SCORE), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_token_stands_before_texts_alone),
        cmocka_unit_test(completions_follow_their_prompt),
        cmocka_unit_test(a_token_over_the_border_is_scored),
        cmocka_unit_test(cut_prompts_keep_their_end),
        cmocka_unit_test(nothing_to_score_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
