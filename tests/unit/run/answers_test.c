/* SPDX-License-Identifier: Apache-2.0 */
/* Answers into thinking, calls and text where the markers are special tokens, which texts lack, and
 * where they are not; and which grammar a row's form becomes, by what its prompt has begun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/constraint.h"
#include "run/answers/row_forms.h"
#include "scratch_folder.h"

/* `from` becomes `to` everywhere. */
static void replace(struct buffer *text, const char *from, const char *to)
{
    struct buffer out = {0};
    const char *at = text->data, *next;
    for (; (next = strstr(at, from)) != NULL; at = next + strlen(from)) {
        assert_int_equal(buffer_append(&out, at, (size_t)(next - at)), STATUS_OK);
        assert_int_equal(buffer_append_text(&out, to), STATUS_OK);
    }
    assert_int_equal(buffer_append_text(&out, at), STATUS_OK);
    buffer_destroy(text);
    *text = out;
}

struct fixture {
    struct model *model;
    struct job job;
    struct answer_reader reader;
    struct arena arena;
};

/* The small model, two of whose special tokens are called otherwise. */
static void begin(struct fixture *self, void **state, const char *first, const char *second,
                  bool are_special)
{
    static const char *const names[] = {"config.json", "tokenizer.json"};
    *self = (struct fixture){0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[1024];
        struct buffer text = {0};
        snprintf(path, sizeof path, "%s/data/small-model/%s", SLUICE_SOURCE_DIR, names[i]);
        assert_int_equal(file_read(path, 1 << 20, &text), STATUS_OK);
        replace(&text, "<|im_start|>", first);
        replace(&text, "<|im_end|>", second);
        if (!are_special) {
            replace(&text, "\"special\":true", "\"special\":false");
        }
        assert_non_null(scratch_write(state, names[i], text.data, text.length));
        buffer_destroy(&text);
    }
    if (model_open(((struct scratch_folder *)*state)->path, &self->model) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    self->job.model.reasoning = self->job.model.tool_calls = -1;
    answer_reader_start(&self->reader, &self->job, self->model);
}

static void end(struct fixture *self)
{
    answer_reader_end(&self->reader);
    arena_destroy(&self->arena);
    model_close(self->model);
}

static void encode(const struct fixture *self, const char *text, struct token_list *out)
{
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(self->reader.tokenizer);
    assert_non_null(scratch);
    out->count = 0;
    assert_int_equal(
        tokenizer_encode(self->reader.tokenizer, scratch, text, strlen(text), false, out),
        STATUS_OK);
    tokenizer_scratch_destroy(scratch);
}

/* ---- Answers ---- */

struct example {
    const char *tokens; /* what was generated, markers by their names */
    const char *text;   /* of the sample, as the engine has it */
    bool is_thinking, keeps_special, includes_stop, has_tools;
    enum finish_reason reason;
    const char *stops[2];
    const char *reasoning, *calls, *answer; /* wanted; NULL: none */
};

static void expect_part(const char *text, size_t length, const char *wanted)
{
    if (wanted == NULL) {
        assert_null(text);
    } else {
        assert_non_null(text);
        assert_int_equal(length, strlen(wanted));
        assert_memory_equal(text, wanted, length);
    }
}

static void check(struct fixture *self, const struct example *example)
{
    struct token_list tokens = {0};
    encode(self, example->tokens, &tokens);
    struct row row = {.may_call_tools = example->has_tools};
    row.params.keep_special_tokens = example->keeps_special;
    row.params.include_stop = example->includes_stop;
    for (int i = 0; i < 2 && example->stops[i] != NULL; i++) {
        row.params.stop[row.params.stop_count++] = example->stops[i];
    }
    const struct finished_sample sample = {
        .reason = example->reason, .token_ids = tokens.ids, .completion_tokens = (int)tokens.count};
    struct result result = {.text = example->text, .text_length = strlen(example->text)};
    assert_int_equal(answer_reader_take(&self->reader, &row, example->is_thinking, &sample,
                                        &self->arena, &result),
                     STATUS_OK);
    expect_part(result.reasoning, result.reasoning_length, example->reasoning);
    expect_part(result.tool_calls, result.tool_calls_length, example->calls);
    expect_part(result.text, result.text_length, example->answer);
    token_list_destroy(&tokens);
}

static void markers_that_texts_lack(void **state)
{
    static const struct example examples[] = {
        {.tokens = "<think>one</think>two", .text = "onetwo", .reasoning = "one", .answer = "two"},
        {.tokens = "one</think>two",
         .text = "onetwo",
         .is_thinking = true,
         .reasoning = "one",
         .answer = "two"},
        {.tokens = "two", .text = "two", .answer = "two"},
        {.tokens = "",
         .text = "<think>one</think>two",
         .keeps_special = true,
         .reasoning = "one",
         .answer = "two"},
        /* Stop strings are cut off once more: the tokens have them. */
        {.tokens = "<think>a b</think>a b c",
         .text = "a ba ",
         .stops = {"b"},
         .reasoning = "a b",
         .answer = "a "},
        {.tokens = "<think>a</think>a b c b d",
         .text = "x",
         .stops = {"b", "much longer than all of the text of this answer"},
         .reasoning = "a",
         .answer = "a b c "},
        {.tokens = "<think>a</think>a b c d",
         .text = "x",
         .stops = {"d", "b"},
         .reasoning = "a",
         .answer = "a "},
        {.tokens = "<think>a</think>a b",
         .text = "x",
         .stops = {"b"},
         .includes_stop = true,
         .reasoning = "a",
         .answer = "a b"},
        {.tokens = "<think>a</think>a b",
         .text = "x",
         .stops = {"b"},
         .reason = FINISH_LENGTH,
         .reasoning = "a",
         .answer = "a b"},
    };
    struct fixture self;
    begin(&self, state, "<think>", "</think>", true);
    assert_string_equal(self.reader.reasoning->name, "think");
    assert_null(self.reader.calls);
    assert_true(self.reader.special[0] && self.reader.special[1]);
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        check(&self, &examples[i]);
    }
    end(&self);
}

static void markers_that_are_text(void **state)
{
    static const struct example thinking = {.tokens = "", /* not looked at */
                                            .text = "<think>one</think>two",
                                            .stops = {"one"},
                                            .reasoning = "one",
                                            .answer = "two"};
    static const struct example whole = {.tokens = "<think>one</think>two",
                                         .text = "<think>one</think>two",
                                         .answer = "<think>one</think>two"};
    struct fixture self;
    begin(&self, state, "<think>", "</think>", false);
    assert_string_equal(self.reader.reasoning->name, "think");
    assert_false(self.reader.special[0] || self.reader.special[1]);
    check(&self, &thinking);
    self.job.model.reasoning = -2; /* none */
    answer_reader_end(&self.reader);
    answer_reader_start(&self.reader, &self.job, self.model);
    assert_null(self.reader.reasoning);
    check(&self, &whole);
    self.job.model.reasoning = 3; /* another than the vocabulary's */
    answer_reader_end(&self.reader);
    answer_reader_start(&self.reader, &self.job, self.model);
    assert_string_equal(self.reader.reasoning->name, reasoning_form_at(3)->name);
    check(&self, &whole);
    end(&self);
}

static void calls_of_rows_with_tools(void **state)
{
    static const struct example call = {
        .tokens = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>",
        .text = "\n{\"name\": \"f\", \"arguments\": {}}\n",
        .has_tools = true,
        .calls = "[{\"name\":\"f\",\"arguments\":\"{}\"}]",
        .answer = ""};
    struct fixture self;
    begin(&self, state, "<tool_call>", "</tool_call>", true);
    assert_null(self.reader.calls); /* no template says so */
    const struct tool_call_form *hermes = tool_call_form_find("hermes");
    for (int i = 0; tool_call_form_at((size_t)i) != NULL; i++) {
        if (tool_call_form_at((size_t)i) == hermes) {
            self.job.model.tool_calls = i;
        }
    }
    answer_reader_end(&self.reader);
    answer_reader_start(&self.reader, &self.job, self.model);
    assert_ptr_equal(self.reader.calls, hermes);
    assert_false(self.reader.special[0]);
    assert_true(self.reader.special[1]);
    check(&self, &call);
    struct example without = call;
    without.has_tools = false;
    without.calls = NULL;
    without.answer = call.text;
    check(&self, &without);
    self.job.model.tool_calls = -2;
    answer_reader_end(&self.reader);
    answer_reader_start(&self.reader, &self.job, self.model);
    assert_null(self.reader.calls);
    end(&self);
}

static void prompts_that_begin_to_think(void **state)
{
    struct fixture self;
    struct token_list prompt = {0};
    begin(&self, state, "<think>", "</think>", true);
    static const struct {
        const char *text;
        bool is_thinking;
    } prompts[] = {{"say <think>", true},
                   {"say <think>\n", true},
                   {"say", false},
                   {"<think>say", false},
                   {"", false},
                   {"<think>", true},
                   {"<think>say it", false},
                   {"say <think>a</think>", false}};
    for (size_t i = 0; i < COUNT_OF(prompts); i++) {
        encode(&self, prompts[i].text, &prompt);
        assert_int_equal(answer_reader_is_thinking(&self.reader, &prompt), prompts[i].is_thinking);
    }
    token_list_destroy(&prompt);
    end(&self);
}

/* ---- Forms ---- */

static void choose_form(struct fixture *self, struct generate_params *params, const char *text)
{
    struct json *value;
    bool known;
    generate_params_defaults(params);
    assert_int_equal(json_parse(text, strlen(text), &self->arena, &value), STATUS_OK);
    if (generate_params_set(params, "structured", value, &self->arena, &known) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
}

static struct structured_entry *take(struct fixture *self, struct row_forms *forms,
                                     const char *text, struct generate_params *params)
{
    struct token_list prompt = {0};
    struct structured_entry *entry;
    encode(self, text, &prompt);
    choose_form(self, params, "{\"choice\": [\"yes\", \"no\"]}");
    if (row_forms_take(forms, &prompt, params, &entry) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    token_list_destroy(&prompt);
    return entry;
}

static void forms_behind_a_marker(void **state)
{
    struct fixture self;
    struct row_forms forms;
    struct generate_params params;
    struct token_list prompt = {0};
    begin(&self, state, "<think>", "</think>", true);
    row_forms_start(&forms, self.model, &self.reader);
    assert_true(forms.has_marker);
    struct structured_entry *thinking = take(&self, &forms, "say <think>", &params);
    assert_non_null(thinking);
    assert_non_null(params.grammar);
    assert_int_equal(params.grammar_after_count, 1);
    assert_int_equal(params.grammar_after[0], 2);
    struct structured_entry *plain = take(&self, &forms, "say", &params);
    assert_ptr_equal(plain, thinking); /* the same grammar, from another token on */
    assert_int_equal(params.grammar_after_count, 0);
    row_forms_release(&forms, plain);
    row_forms_release(&forms, thinking);
    row_forms_release(&forms, NULL);
    generate_params_defaults(&params); /* no form is asked for */
    assert_int_equal(row_forms_take(&forms, &prompt, &params, &plain), STATUS_OK);
    assert_null(plain);
    choose_form(&self, &params, "{\"choice\": [\"yes\"]}");
    params.task = TASK_SCORE; /* nothing is generated */
    assert_int_equal(row_forms_take(&forms, &prompt, &params, &plain), STATUS_OK);
    assert_null(plain);
    assert_null(params.grammar);
    row_forms_end(&forms);
    end(&self);
}

static bool has_mask_bit(const struct constraint *constraint, int32_t id)
{
    return (constraint->mask[id / 32] >> (id % 32) & 1) != 0;
}

/* Whatever the other channels say, the form holds from the final one's message on. */
static void hold_final_channel(const struct fixture *self, const struct generate_params *params)
{
    struct token_list all = {0}, answer = {0};
    struct constraint *constraint;
    bool ok;
    encode(self,
           "<|channel|>analysis<|message|>no, final <|channel|>commentary<|message|>maybe"
           "<|channel|>final<|message|>",
           &all);
    assert_int_equal(constraint_create(params, NULL, &constraint), STATUS_OK);
    for (size_t i = 0; i < all.count; i++) {
        assert_false(constraint->is_active);
        constraint_mask(constraint);
        assert_null(constraint->mask);
        assert_int_equal(constraint_take(constraint, params, all.ids, (int)i + 1, &ok), STATUS_OK);
        assert_true(ok);
    }
    assert_true(constraint->is_active);
    assert_false(constraint_may_end(constraint));
    encode(self, "y", &answer);
    constraint_mask(constraint);
    assert_true(has_mask_bit(constraint, answer.ids[0]));
    encode(self, "maybe", &answer);
    assert_false(has_mask_bit(constraint, answer.ids[0]));
    for (int i = 0; i < params->grammar_after_count; i++) { /* the markers do not fit any more */
        assert_false(has_mask_bit(constraint, params->grammar_after[i]));
    }
    constraint_destroy(constraint);
    token_list_destroy(&answer);
    token_list_destroy(&all);
}

static void forms_of_channels(void **state)
{
    struct fixture self;
    struct row_forms forms;
    struct generate_params params;
    struct token_list marker = {0};
    begin(&self, state, "<|channel|>", "<|message|>", true);
    assert_true(self.reader.reasoning->has_channels);
    row_forms_start(&forms, self.model, &self.reader);
    struct structured_entry *entry = take(&self, &forms, "say", &params);
    encode(&self, "<|channel|>final<|message|>", &marker);
    assert_int_equal(params.grammar_after_count, marker.count);
    assert_memory_equal(params.grammar_after, marker.ids, marker.count * sizeof *marker.ids);
    hold_final_channel(&self, &params);
    row_forms_release(&forms, entry);
    row_forms_end(&forms);
    token_list_destroy(&marker);
    end(&self);
}

/* The grammar itself holds what is thought: all of it, the rest of it, or nothing. */
static void forms_with_thinking_as_text(void **state)
{
    static const char *const prompts[] = {"say", "say <think>", "say <think>a</think>"};
    struct structured_entry *entries[3];
    struct fixture self;
    struct row_forms forms;
    struct generate_params params;
    begin(&self, state, "<think>", "</think>", false);
    row_forms_start(&forms, self.model, &self.reader);
    assert_false(forms.has_marker);
    assert_ptr_equal(forms.style.reasoning, self.reader.reasoning);
    for (int i = 0; i < 3; i++) {
        entries[i] = take(&self, &forms, prompts[i], &params);
        assert_int_equal(params.grammar_after_count, 0);
        struct structured_entry *again = take(&self, &forms, prompts[i], &params);
        assert_ptr_equal(again, entries[i]);
        row_forms_release(&forms, again);
    }
    assert_ptr_not_equal(entries[0], entries[1]);
    assert_ptr_not_equal(entries[1], entries[2]);
    assert_ptr_not_equal(entries[0], entries[2]);
    for (int i = 0; i < 3; i++) {
        row_forms_release(&forms, entries[i]);
    }
    row_forms_end(&forms);
    end(&self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markers_that_texts_lack),
        cmocka_unit_test(markers_that_are_text),
        cmocka_unit_test(calls_of_rows_with_tools),
        cmocka_unit_test(prompts_that_begin_to_think),
        cmocka_unit_test(forms_behind_a_marker),
        cmocka_unit_test(forms_of_channels),
        cmocka_unit_test(forms_with_thinking_as_text),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
