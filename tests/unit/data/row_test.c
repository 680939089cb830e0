/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: which field means what, what travels on, what is refused and with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "data/row/generate_fields.h"
#include "data/row/request_fields.h"
#include "sluice/data.h"

struct parsed {
    struct arena arena;
    struct row row;
    struct buffer passthrough; /* as JSON text, "" where there is none */
    status status;
};

static enum task task; /* of the job that the rows belong to */

static void parse_as(struct parsed *parsed, enum record_kind kind, const void *bytes, size_t length,
                     const struct row_format *format)
{
    static const struct row_format usual;
    struct generate_params defaults;
    struct record record = {.row = 41, .position = 42, .kind = kind};
    generate_params_defaults(&defaults);
    defaults.task = task;
    *parsed = (struct parsed){.status = STATUS_OK};
    assert_int_equal(buffer_append(&record.bytes, bytes, length), STATUS_OK);
    parsed->status = row_parse(&record, format != NULL ? format : &usual, &defaults, &parsed->arena,
                               &parsed->row);
    buffer_destroy(&record.bytes); /* the row must not point into it */
    assert_int_equal(buffer_append_text(&parsed->passthrough, ""), STATUS_OK);
    if (parsed->row.passthrough != NULL) {
        assert_int_equal(json_write(parsed->row.passthrough, &parsed->passthrough), STATUS_OK);
    }
}

static void parse(struct parsed *parsed, const char *text)
{
    parse_as(parsed, RECORD_JSON, text, strlen(text), NULL);
}

static void release(struct parsed *parsed)
{
    buffer_destroy(&parsed->passthrough);
    arena_destroy(&parsed->arena);
}

static void text_with_fields_of_its_own(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p,
          "{\"id\": 7.50, \"prompt\": \"Hi \\u00e9\", \"temperature\": 0.5, \"max_tokens\": 3, "
          "\"label\": 1.50, \"tools\": \"hammer\", \"text\": \"other\", \"deep\": {\"a\":[1e2]}}");
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.row.index, 41);
    assert_string_equal(p.row.id, "7.50");
    assert_int_equal(p.row.kind, PROMPT_TEXT);
    assert_string_equal(p.row.text, "Hi é");
    assert_int_equal(p.row.text_length, 5);
    assert_true(p.row.params.sampling.temperature == 0.5);
    assert_int_equal(p.row.params.max_new_tokens, 3);
    assert_null(p.row.tools);
    assert_string_equal(
        p.passthrough.data,
        "{\"label\":1.50,\"tools\":\"hammer\",\"text\":\"other\",\"deep\":{\"a\":[1e2]}}");
    release(&p);
}

static void defaults_and_index_where_the_row_says_nothing(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "{\"text\": \"Hi\", \"id\": null, \"seed\": null}");
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.id, "41");
    assert_int_equal(p.row.params.max_new_tokens, 256);
    assert_string_equal(p.passthrough.data, "{\"id\":null}");
    release(&p);
    parse(&p, "{\"prompt\": null, \"text\": \"Hi\"}");
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.text, "Hi");
    release(&p);
}

static void messages_with_tools(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "{\"custom_id\": \"x\", \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
              "\"text\", \"text\": \"a\"}]}, {\"role\": \"assistant\", \"content\": null, "
              "\"tool_calls\": []}], \"tools\": [{}], \"documents\": [], \"chat_template_kwargs\": "
              "{\"enable_thinking\": false}, \"tool_choice\": \"auto\", \"more\": 1}");
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.id, "x");
    assert_int_equal(p.row.kind, PROMPT_MESSAGES);
    assert_int_equal(p.row.messages->length, 2);
    assert_int_equal(p.row.tools->length, 1);
    assert_non_null(p.row.documents);
    assert_int_equal(p.row.template_variables->length, 1);
    assert_string_equal(p.passthrough.data, "{\"more\":1}");
    release(&p);
}

static void token_ids_under_each_name(void **state)
{
    (void)state;
    static const char *const lines[] = {"{\"prompt_token_ids\": [1, 2147483647, 0]}",
                                        "{\"prompt\": [1, 2147483647, 0]}"};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct parsed p;
        parse(&p, lines[i]);
        assert_int_equal(p.status, STATUS_OK);
        assert_int_equal(p.row.kind, PROMPT_TOKENS);
        assert_int_equal(p.row.token_count, 3);
        assert_int_equal(p.row.tokens[1], INT32_MAX);
        assert_null(p.row.passthrough);
        release(&p);
    }
}

static void openai_batch_line(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "{\"custom_id\": \"r-1\", \"method\": \"POST\", \"url\": \"/v1/chat/completions\", "
              "\"extra\": [], \"body\": {\"model\": \"m\", \"messages\": [{\"role\": \"user\", "
              "\"content\": \"Hi\"}], \"max_completion_tokens\": 9, \"stop\": \"X\", \"n\": 2, "
              "\"logprobs\": true, \"top_logprobs\": 2, \"seed\": 5, \"user\": \"u\", \"stream\": "
              "false, \"response_format\": {\"type\": \"text\"}, \"logit_bias\": {}}}");
    if (p.status != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    assert_string_equal(p.row.id, "r-1");
    assert_int_equal(p.row.kind, PROMPT_MESSAGES);
    assert_int_equal(p.row.params.max_new_tokens, 9);
    assert_int_equal(p.row.params.samples, 2);
    assert_int_equal(p.row.params.sampling.logprobs, 2);
    assert_string_equal(p.row.params.stop[0], "X");
    assert_string_equal(
        p.passthrough.data,
        "{\"extra\":[],\"body\":{\"model\":\"m\",\"user\":\"u\",\"stream\":false}}");
    release(&p);
    /* A column that happens to be called body makes no envelope. */
    parse(&p, "{\"id\": \"1\", \"prompt\": \"x\", \"body\": {\"prompt\": \"y\"}}");
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.text, "x");
    assert_string_equal(p.passthrough.data, "{\"body\":{\"prompt\":\"y\"}}");
    release(&p);
}

static void named_fields(void **state)
{
    (void)state;
    const struct row_format format = {.prompt_field = "question", .id_field = "key"};
    static const char line[] = "{\"question\": \"Q\", \"key\": \"k\", \"prompt\": 5, \"id\": 1}";
    struct parsed p;
    parse_as(&p, RECORD_JSON, line, strlen(line), &format);
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.text, "Q");
    assert_string_equal(p.row.id, "k");
    assert_string_equal(p.passthrough.data, "{\"prompt\":5,\"id\":1}");
    release(&p);
    static const char other[] = "{\"prompt\": \"Q\"}";
    parse_as(&p, RECORD_JSON, other, strlen(other), &format);
    assert_int_equal(p.status, STATUS_INVALID);
    assert_string_equal(status_message(), "no field question");
    assert_string_equal(p.row.id, "41");
    release(&p);
}

static void chat_modes(void **state)
{
    (void)state;
    const struct row_format always = {.chat = CHAT_ALWAYS};
    const struct row_format never = {.chat = CHAT_NEVER};
    static const char text[] = "{\"prompt\": \"Hi\", \"tools\": [1]}";
    static const char messages[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}";
    struct parsed p;
    struct buffer written = {0};
    parse_as(&p, RECORD_JSON, text, strlen(text), &always);
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.row.kind, PROMPT_MESSAGES);
    assert_int_equal(json_write(p.row.messages, &written), STATUS_OK);
    assert_string_equal(written.data, "[{\"role\":\"user\",\"content\":\"Hi\"}]");
    assert_non_null(p.row.tools);
    release(&p);
    parse_as(&p, RECORD_TEXT, "Hi", 2, &always);
    assert_int_equal(p.row.kind, PROMPT_MESSAGES);
    release(&p);
    parse_as(&p, RECORD_JSON, messages, strlen(messages), &never);
    assert_int_equal(p.status, STATUS_INVALID);
    assert_string_equal(status_message(), "messages: messages, though data.chat is never");
    release(&p);
    parse_as(&p, RECORD_JSON, text, strlen(text), &never);
    assert_int_equal(p.row.kind, PROMPT_TEXT);
    release(&p);
    buffer_destroy(&written);
}

static void other_kinds_of_records(void **state)
{
    (void)state;
    const int32_t tokens[] = {3, 0, 5};
    const int32_t negative[] = {3, -1};
    struct parsed p;
    parse_as(&p, RECORD_TOKENS, tokens, sizeof tokens, NULL);
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.row.token_count, 3);
    assert_int_equal(p.row.tokens[2], 5);
    assert_string_equal(p.row.id, "41");
    release(&p);
    parse_as(&p, RECORD_TOKENS, negative, sizeof negative, NULL);
    assert_int_equal(p.status, STATUS_INVALID);
    release(&p);
    parse_as(&p, RECORD_TOKENS, tokens, 5, NULL);
    assert_int_equal(p.status, STATUS_INVALID);
    release(&p);
    parse_as(&p, RECORD_TEXT, "a\xFF", 2, NULL);
    assert_int_equal(p.status, STATUS_INVALID);
    assert_string_equal(status_message(), "byte 1: not valid UTF-8");
    release(&p);
    parse_as(&p, RECORD_BAD, "too long", 8, NULL);
    assert_int_equal(p.status, STATUS_INVALID);
    assert_string_equal(status_message(), "too long");
    assert_string_equal(p.row.id, "41");
    release(&p);
}

static void bad_rows_keep_id_and_passthrough(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "{\"temperature\": \"hot\", \"id\": \"me\", \"x\": 1, \"prompt\": \"Hi\"}");
    assert_int_equal(p.status, STATUS_INVALID);
    assert_string_equal(status_message(), "temperature: expected a number, not a string");
    assert_string_equal(p.row.id, "me");
    assert_string_equal(p.passthrough.data, "{\"x\":1}");
    release(&p);
}

/* Where rows are scored, what comes after the prompt has a field; elsewhere that travels on. */
static void completions_are_read_where_rows_are_scored(void **state)
{
    (void)state;
    static const struct row_format named = {.completion_field = "answer"};
    static const struct {
        const char *line;
        const struct row_format *format;
        const char *text;
        int count; /* of token ids */
        const char *passthrough;
    } cases[] = {
        {"{\"prompt\": \"a\", \"completion\": \" b\", \"mode\": \"x\"}", NULL, " b", 0,
         "{\"mode\":\"x\"}"},
        {"{\"prompt\": [1], \"completion\": [2, 3]}", NULL, NULL, 2, ""},
        {"{\"text\": \"a\", \"completion\": null}", NULL, NULL, 0, "{\"completion\":null}"},
        {"{\"text\": \"a\", \"answer\": \"b\", \"completion\": \"c\"}", &named, "b", 0,
         "{\"completion\":\"c\"}"},
    };
    struct parsed p;
    task = TASK_SCORE;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        parse_as(&p, RECORD_JSON, cases[i].line, strlen(cases[i].line), cases[i].format);
        assert_int_equal(p.status, STATUS_OK);
        assert_int_equal(p.row.params.task, TASK_SCORE);
        assert_int_equal(p.row.completion != NULL, cases[i].text != NULL);
        if (cases[i].text != NULL) {
            assert_string_equal(p.row.completion, cases[i].text);
        }
        assert_int_equal(p.row.completion_token_count, cases[i].count);
        assert_string_equal(p.passthrough.data, cases[i].passthrough);
        release(&p);
    }
    static const struct {
        const char *line;
        const struct row_format *format;
        const char *message;
    } bad[] = {
        {"{\"prompt\": \"a\", \"completion\": 5}", NULL,
         "completion: expected a string or token ids, not a number"},
        {"{\"prompt\": \"a\", \"completion\": \"\"}", NULL, "completion: empty: nothing to score"},
        {"{\"prompt\": \"a\", \"completion\": [1, \"x\"]}", NULL,
         "completion: a list of prompts; write one row for each"},
        {"{\"prompt\": \"a\", \"completion\": \"b\"}", &named, "no field answer"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        parse_as(&p, RECORD_JSON, bad[i].line, strlen(bad[i].line), bad[i].format);
        assert_int_equal(p.status, STATUS_INVALID);
        assert_string_equal(status_message(), bad[i].message);
        release(&p);
    }
    task = TASK_GENERATE;
    parse(&p, "{\"prompt\": \"a\", \"completion\": \"b\", \"mode\": \"score\"}");
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.row.params.task, TASK_GENERATE);
    assert_null(p.row.completion);
    assert_string_equal(p.passthrough.data, "{\"completion\":\"b\",\"mode\":\"score\"}");
    release(&p);
}

static void rows_of_embeddings_have_inputs(void **state)
{
    (void)state;
    static const char line[] = "{\"custom_id\": \"x\", \"url\": \"/v1/embeddings\", \"body\": "
                               "{\"input\": \"Hi\", \"model\": \"m\"}}";
    struct parsed p;
    task = TASK_EMBED;
    parse(&p, line);
    task = TASK_GENERATE;
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.text, "Hi");
    assert_string_equal(p.passthrough.data, "{\"body\":{\"model\":\"m\"}}");
    release(&p);
    parse(&p, line);
    assert_int_equal(p.status, STATUS_INVALID);
    release(&p);
}

static void bad_rows_say_what_is_wrong(void **state)
{
    (void)state;
#define BODY(fields) "{\"custom_id\": \"1\", \"body\": {\"prompt\": \"x\", " fields "}}"
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"{", "byte 1: not JSON"},
        {"[1]", "expected an object, not an array"},
        {"{}", "no prompt: expected one of the fields prompt, text, messages, prompt_token_ids"},
        {"{\"context\": \"x\", \"continuations\": [\"a\"]}",
         "no prompt: expected one of the fields prompt, text, messages, prompt_token_ids; context "
         "is for rows to be scored"},
        {"{\"query\": \"x\"}", "no prompt: expected one of the fields prompt, text, messages, "
                               "prompt_token_ids; query is for rows to be ranked"},
        {"{\"prompt\": 5}", "prompt: expected a string, a list of messages or token ids, not a "
                            "number"},
        {"{\"prompt\": []}", "prompt: an empty list"},
        {"{\"prompt\": [\"a\", \"b\"]}", "prompt: a list of prompts; write one row for each"},
        {"{\"prompt\": [1, -5]}", "prompt[1]: expected a token id, not -5"},
        {"{\"prompt\": [1, 2147483648]}", "prompt[1]: expected a token id, not 2147483648"},
        {"{\"prompt_token_ids\": [null]}", "prompt_token_ids[0]: expected a token id, not null"},
        {"{\"messages\": \"Hi\"}", "messages: expected a list of messages, not a string"},
        {"{\"messages\": [\"Hi\"]}", "messages[0]: expected an object, not a string"},
        {"{\"messages\": [{}]}", "messages[0].role: expected a string, not null"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": 5}]}",
         "messages[0].content: expected a string, null or a list, not a number"},
        {"{\"messages\": [{\"role\": \"user\"}], \"tools\": 5}",
         "tools: expected a list, not a number"},
        {"{\"prompt\": \"x\", \"id\": [1]}", "id: expected a string or a number, not an array"},
        {"{\"prompt\": \"x\", \"logprobs\": false, \"top_logprobs\": 2}",
         "top_logprobs: logprobs is false"},
        {"{\"prompt\": \"x\", \"response_format\": {\"type\": \"xml\"}}",
         "response_format.type: xml; expected text, json_object or json_schema; or set "
         "data.row_parameters=false where it is data"},
        {BODY("\"stream\": true"), "body.stream: not supported"},
        {BODY("\"logit_bias\": {\"x\": 1}"), "body.logit_bias: expected token ids as names"},
        {BODY("\"best_of\": 3"), "body.best_of: not supported"},
        {BODY("\"suffix\": \"end\""), "body.suffix: not supported"},
        {BODY("\"tool_choice\": \"required\""), "body.tool_choice: the row has no tools"},
        {BODY("\"prompt_logprobs\": 0"), "body.prompt_logprobs: not supported"},
        {BODY("\"length_penalty\": 0.5"), "body.length_penalty: not supported"},
        {BODY("\"modalities\": [\"text\", \"audio\"]"), "body.modalities: not supported"},
        {BODY("\"parallel_tool_calls\": false"), "body.parallel_tool_calls: not supported"},
        {BODY("\"enable_thinking\": false"), "body.enable_thinking: not supported"},
        {BODY("\"system\": \"Be brief.\""), "body.system: not supported"},
        {"{\"text\": \"x\", \"sampling_params\": {\"temperature\": 0}}",
         "sampling_params: not supported"},
        {BODY("\"do_sample\": false"), "body.do_sample: not supported"},
        {BODY("\"encoding_format\": \"ubinary\""), "body.encoding_format: not supported"},
        {"{\"prompt\": \"x\", \"allowed_token_ids\": [NaN]}",
         "allowed_token_ids: expected token ids of at least 0, not NaN"},
        {"{\"prompt\": \"x\", \"temperature\": NaN}", "temperature: expected a number, not NaN"},
        {"{\"prompt\": \"x\", \"seed\": Infinity}", "seed: expected an integer, not Infinity"},
        {"{\"prompt\": \"x\", \"stop_token_ids\": [NaN]}",
         "stop_token_ids: expected token ids of at least 0, not NaN"},
        {"{\"prompt\": NaN}",
         "prompt: expected a string, a list of messages or token ids, not NaN"},
        {"{\"prompt\": [5, -Infinity]}", "prompt[1]: expected a token id, not -Infinity"},
        {"{\"prompt\": \"x\", \"id\": NaN}", "id: expected a string or a number, not NaN"},
        {BODY("\"top_p\": 1.5"), "body.top_p: 1.5 is not in (0, 1]"},
        {BODY("\"seed\": 1") "x", "byte "},
        {"{\"custom_id\": \"1\", \"url\": \"/v1/embeddings\", \"body\": {\"prompt\": \"x\"}}",
         "url: /v1/embeddings is not supported"},
        {"{\"custom_id\": \"1\", \"url\": \"a\\nb\", \"body\": {\"prompt\": \"x\"}}",
         "url: a b is not supported"},
        {"{\"custom_id\": \"1\", \"method\": \"GET\", \"body\": {\"prompt\": \"x\"}}",
         "method: only POST is known"},
        {"{\"custom_id\": \"1\", \"body\": {}}", "no prompt: expected one of the fields prompt, "
                                                 "text, messages, prompt_token_ids in body"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed p;
        parse(&p, cases[i].line);
        assert_int_equal(p.status, STATUS_INVALID);
        if (strncmp(status_message(), cases[i].message, strlen(cases[i].message)) != 0) {
            fail_msg("%s: %s", cases[i].line, status_message());
        }
        release(&p);
    }
}

static void harmless_values_of_refused_fields(void **state)
{
    (void)state;
    static const char *const lines[] = {
        BODY("\"best_of\": 2, \"n\": 2"),
        BODY("\"best_of\": 1"),
        BODY("\"length_penalty\": 1.0, \"prompt_logprobs\": null"),
        BODY("\"modalities\": [\"text\"], \"parallel_tool_calls\": true, \"num_beams\": 1"),
        BODY("\"user\": \"me\", \"metadata\": {\"a\": \"b\"}, \"store\": true, \"priority\": 5"),
        BODY("\"echo\": false, \"suffix\": null, \"min_tokens\": 0, \"tool_choice\": \"none\""),
        "{\"prompt\": \"x\", \"suffix\": \"a column of mine\", \"echo\": 7}"};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct parsed p;
        parse(&p, lines[i]);
        if (p.status != STATUS_OK) {
            fail_msg("%s: %s", lines[i], status_message());
        }
        release(&p);
    }
}

/* The table of fields and the table of parameters name the same parameters. */
static void parameters_stand_in_both_tables(void **state)
{
    (void)state;
    const struct request_field *field;
    int parameters = 0;
    for (size_t i = 0; (field = request_field_at(i)) != NULL; i++) {
        if (generate_name_known(field->name) != (field->use == REQUEST_PARAMETER)) {
            fail_msg("%s", field->name);
        }
        assert_ptr_equal(request_field_find(field->name, strlen(field->name)), field);
        parameters += field->use == REQUEST_PARAMETER;
    }
    const char *name;
    for (size_t i = 0; (name = generate_name_at(i)) != NULL; i++) {
        parameters--;
    }
    assert_int_equal(parameters, 0);
}

static void ids_that_were_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *line, *id;
        bool is_number;
    } cases[] = {
        {"{\"prompt\": \"x\", \"id\": 12345678901234567890}", "12345678901234567890", true},
        {"{\"prompt\": \"x\", \"id\": -2.50}", "-2.50", true},
        {"{\"prompt\": \"x\", \"id\": \"7\"}", "7", false},
        {"{\"prompt\": \"x\"}", "41", false},
        {"{\"custom_id\": 7, \"body\": {\"prompt\": \"x\"}}", "7", true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed p;
        parse(&p, cases[i].line);
        assert_int_equal(p.status, STATUS_OK);
        assert_string_equal(p.row.id, cases[i].id);
        assert_int_equal(p.row.id_is_number, cases[i].is_number);
        release(&p);
    }
}

static void extra_body_is_the_body(void **state)
{
    (void)state;
    struct parsed p;
    parse(
        &p,
        "{\"custom_id\": \"1\", \"body\": {\"temperature\": 1, \"extra_body\": {\"prompt\": \"x\", "
        "\"temperature\": 1.0, \"top_k\": 5, \"mine\": [1]}, \"n\": "
        "3}}");
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.text, "x");
    assert_int_equal(p.row.params.sampling.top_k, 5);
    assert_int_equal(p.row.params.samples, 3);
    assert_int_equal(p.row.unknown_fields.count, 1);
    assert_string_equal(p.row.unknown_fields.names[0], "mine");
    release(&p);
    static const char *const clashes[] = {
        BODY("\"extra_body\": {\"prompt\": \"y\"}"),
        BODY("\"extra_body\": {\"extra_body\": {}}"),
        BODY("\"seed\": 9007199254740993, \"extra_body\": {\"seed\": 9007199254740992}"),
        BODY("\"note\": \"NaN\", \"extra_body\": {\"note\": NaN}"),
    };
    for (size_t i = 0; i < COUNT_OF(clashes); i++) {
        parse(&p, clashes[i]);
        assert_int_equal(p.status, STATUS_INVALID);
        assert_true(strstr(status_message(), "another value than body.") != NULL ||
                    strstr(status_message(), "an extra_body of its own") != NULL);
        release(&p);
    }
}

static void what_the_prompt_is_made_of_has_an_effect(void **state)
{
    (void)state;
    static const struct row_format made = {.prompt_template = "{a}{{b}}"};
    static const char line[] = BODY("\"a\": 1, \"b\": 2");
    struct parsed p;
    parse_as(&p, RECORD_JSON, line, strlen(line), &made);
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.text, "1{b}");
    assert_int_equal(p.row.unknown_fields.count, 1);
    assert_string_equal(p.row.unknown_fields.names[0], "b");
    release(&p);
}

/* Columns that are data stay data; the lists that go with messages are theirs. */
static void columns_can_be_data(void **state)
{
    (void)state;
    static const struct row_format data = {.columns_are_data = true};
    static const char line[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"n\": \"many\", \"stop\": 5, "
        "\"reasoning_effort\": 7, \"response_format\": \"A4\", \"tools\": [{}]}";
    struct parsed p;
    parse_as(&p, RECORD_JSON, line, strlen(line), &data);
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.row.tools->length, 1);
    assert_string_equal(p.passthrough.data, "{\"n\":\"many\",\"stop\":5,\"reasoning_effort\":7,"
                                            "\"response_format\":\"A4\"}");
    assert_int_equal(p.row.columns_taken.count, 0);
    release(&p);
}

/* The program's own table, word for word, stands in the documentation. */
static void documentation_holds_the_table(void **state)
{
    (void)state;
    struct buffer table = {0}, page = {0};
    assert_int_equal(request_fields_describe(&table), STATUS_OK);
    assert_int_equal(file_read(SLUICE_SOURCE_DIR "/docs/openai-batch.md", 1 << 20, &page),
                     STATUS_OK);
    if (strstr(page.data, table.data) == NULL) {
        fail_msg("docs/openai-batch.md does not hold the table that `sluice help fields` prints");
    }
    buffer_destroy(&table);
    buffer_destroy(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_with_fields_of_its_own),
        cmocka_unit_test(defaults_and_index_where_the_row_says_nothing),
        cmocka_unit_test(messages_with_tools),
        cmocka_unit_test(token_ids_under_each_name),
        cmocka_unit_test(openai_batch_line),
        cmocka_unit_test(named_fields),
        cmocka_unit_test(chat_modes),
        cmocka_unit_test(other_kinds_of_records),
        cmocka_unit_test(bad_rows_keep_id_and_passthrough),
        cmocka_unit_test(completions_are_read_where_rows_are_scored),
        cmocka_unit_test(rows_of_embeddings_have_inputs),
        cmocka_unit_test(bad_rows_say_what_is_wrong),
        cmocka_unit_test(harmless_values_of_refused_fields),
        cmocka_unit_test(parameters_stand_in_both_tables),
        cmocka_unit_test(ids_that_were_numbers),
        cmocka_unit_test(extra_body_is_the_body),
        cmocka_unit_test(what_the_prompt_is_made_of_has_an_effect),
        cmocka_unit_test(columns_can_be_data),
        cmocka_unit_test(documentation_holds_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
