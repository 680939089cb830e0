/* SPDX-License-Identifier: Apache-2.0 */
/* What rows and jobs ask of the form of answers, in all the names that APIs have for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "data/row/structured.h"
#include "sluice/data.h"

struct parsed {
    struct arena arena;
    struct row row;
    status status;
};

static void parse_with(struct parsed *p, const struct generate_params *defaults, const char *line)
{
    const struct row_format format = {.chat = CHAT_AUTO};
    struct json *json;
    *p = (struct parsed){0};
    assert_int_equal(json_parse(line, strlen(line), &p->arena, &json), STATUS_OK);
    p->status = row_parse_json(json, &format, defaults, &p->arena, &p->row);
}

static void parse(struct parsed *p, const char *line)
{
    struct generate_params defaults;
    generate_params_defaults(&defaults);
    parse_with(p, &defaults, line);
}

static void every_name_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        enum structured_kind kind;
        const char *text;
    } cases[] = {
        {"\"response_format\": {\"type\": \"text\"}", STRUCTURED_NONE, NULL},
        {"\"response_format\": {\"type\": \"json_object\"}", STRUCTURED_JSON_OBJECT, NULL},
        {"\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"n\", "
         "\"strict\": true, \"schema\": {\"type\": \"null\"}}}",
         STRUCTURED_JSON_SCHEMA, "{\"type\":\"null\"}"},
        {"\"response_format\": \"{\\\"type\\\": \\\"json_object\\\"}\"", STRUCTURED_JSON_OBJECT,
         NULL},
        {"\"guided_json\": {\"b\": 1, \"a\": 2}", STRUCTURED_JSON_SCHEMA, "{\"b\":1,\"a\":2}"},
        {"\"guided_json\": \"{ \\\"type\\\": \\\"null\\\" }\"", STRUCTURED_JSON_SCHEMA,
         "{\"type\":\"null\"}"},
        {"\"guided_json\": null, \"guided_regex\": \"\", \"guided_choice\": []", STRUCTURED_NONE,
         NULL},
        {"\"guided_regex\": \"[0-9]+\"", STRUCTURED_REGEX, "[0-9]+"},
        {"\"guided_choice\": [\"yes\", \"no\"]", STRUCTURED_CHOICE, "[\"yes\",\"no\"]"},
        {"\"guided_grammar\": \"root ::= \\\"x\\\"\"", STRUCTURED_GRAMMAR, "root ::= \"x\""},
        {"\"structured_outputs\": {\"json\": true, \"regex\": null, \"backend\": \"auto\"}",
         STRUCTURED_JSON_SCHEMA, "true"},
        {"\"structured_outputs\": {\"json_object\": true}", STRUCTURED_JSON_OBJECT, NULL},
        {"\"guided_decoding\": {\"choice\": [\"a\"]}", STRUCTURED_CHOICE, "[\"a\"]"},
        {"\"structured\": {\"json_schema\": {}, \"close\": true}", STRUCTURED_JSON_SCHEMA, "{}"},
        {"\"tools\": [{\"function\": {\"name\": \"f\"}}], \"tool_choice\": \"auto\"",
         STRUCTURED_NONE, NULL},
        {"\"tools\": [{\"function\": {\"name\": \"f\"}}], \"tool_choice\": \"required\"",
         STRUCTURED_TOOL_CALL, "[{\"function\":{\"name\":\"f\"}}]"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed p;
        char line[512];
        snprintf(line, sizeof line, "{\"prompt\": \"x\", %s}", cases[i].field);
        parse(&p, line);
        if (p.status != STATUS_OK) {
            fail_msg("%s: %s", line, status_message());
        }
        const struct structured_request *form = &p.row.params.structured;
        assert_int_equal(form->kind, cases[i].kind);
        assert_null(form->function);
        if (cases[i].text != NULL) {
            assert_string_equal(form->text, cases[i].text);
            assert_int_equal(form->text_length, strlen(cases[i].text));
        }
        arena_destroy(&p.arena);
    }
}

static void settings_are_read(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "{\"prompt\": \"x\", \"structured\": {\"white_space\": \"any\", \"close\": true, "
              "\"closed_objects\": true, \"compile_limit\": 0.5}}");
    const struct structured_request *form = &p.row.params.structured;
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(form->kind, STRUCTURED_NONE);
    assert_true(form->any_white_space && form->close && form->closed_objects);
    assert_true(form->compile_limit == 0.5);
    arena_destroy(&p.arena);
    parse(&p, "{\"prompt\": \"x\", \"structured_outputs\": {\"json\": {}, "
              "\"disable_additional_properties\": true}}");
    assert_true(form->closed_objects && !form->close && !form->any_white_space);
    assert_true(form->compile_limit == STRUCTURED_COMPILE_LIMIT);
    arena_destroy(&p.arena);
}

/* The row's form replaces the job's whole; the job's settings stay. */
static void a_row_wins(void **state)
{
    (void)state;
    static const char job_text[] = "{\"choice\": [\"a\"], \"close\": true}";
    struct generate_params job;
    struct arena arena = {0};
    struct json *value;
    struct parsed p;
    bool known;
    generate_params_defaults(&job);
    assert_int_equal(json_parse(job_text, strlen(job_text), &arena, &value), STATUS_OK);
    assert_int_equal(generate_params_set(&job, "structured", value, &arena, &known), STATUS_OK);
    parse_with(&p, &job, "{\"prompt\": \"x\"}");
    assert_int_equal(p.row.params.structured.kind, STRUCTURED_CHOICE);
    arena_destroy(&p.arena);
    parse_with(&p, &job, "{\"prompt\": \"x\", \"guided_regex\": \"b\"}");
    assert_int_equal(p.status, STATUS_OK);
    assert_int_equal(p.row.params.structured.kind, STRUCTURED_REGEX);
    assert_string_equal(p.row.params.structured.text, "b");
    assert_true(p.row.params.structured.close);
    arena_destroy(&p.arena);
    parse_with(&p, &job, "{\"prompt\": \"x\", \"response_format\": {\"type\": \"text\"}}");
    assert_int_equal(p.row.params.structured.kind, STRUCTURED_NONE);
    arena_destroy(&p.arena);
    arena_destroy(&arena);
}

static void a_named_function_is_a_tool(void **state)
{
    (void)state;
    struct parsed p;
    parse(&p, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"tools\": "
              "[{\"function\": {\"name\": \"f\"}}, {\"function\": {\"name\": \"g\"}}], "
              "\"tool_choice\": {\"type\": \"function\", \"function\": {\"name\": \"g\"}}}");
    assert_int_equal(p.status, STATUS_OK);
    assert_string_equal(p.row.params.structured.function, "g");
    assert_true(p.row.may_call_tools);
    arena_destroy(&p.arena);
    parse(&p, "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"tools\": "
              "[{\"function\": {\"name\": \"f\"}}], \"tool_choice\": \"none\"}");
    assert_int_equal(p.row.params.structured.kind, STRUCTURED_NONE);
    assert_false(p.row.may_call_tools);
    arena_destroy(&p.arena);
}

static void errors_name_the_field(void **state)
{
    (void)state;
    static const struct {
        const char *field, *message;
    } cases[] = {
        {"\"response_format\": {\"type\": \"json_schema\"}",
         "response_format.json_schema.schema: missing"},
        {"\"response_format\": {}", "response_format.type: missing; expected text"},
        {"\"guided_json\": \"{\"", "guided_json: byte"},
        {"\"guided_json\": 5", "guided_json: expected a JSON schema, not a number"},
        {"\"guided_regex\": 5", "guided_regex: expected a string, not a number"},
        {"\"guided_choice\": [\"a\", 5]", "guided_choice: expected a list of strings"},
        {"\"guided_json\": {}, \"guided_regex\": \"a\"",
         "guided_regex: the row asks for another form of its answer, too"},
        {"\"structured_outputs\": {\"json\": {}, \"choice\": [\"a\"]}",
         "structured_outputs.choice: the row asks for another form"},
        {"\"structured_outputs\": {\"structural_tag\": \"x\"}",
         "structured_outputs.structural_tag: not supported"},
        {"\"structured\": {\"jsn\": {}}", "structured.jsn: unknown"},
        {"\"structured\": {\"white_space\": \"some\"}", "structured.white_space: expected compact"},
        {"\"structured\": {\"close\": 1}", "structured.close: expected a boolean"},
        {"\"structured\": {\"compile_limit\": 0}", "structured.compile_limit: expected a number"},
        {"\"structured\": [1]", "structured: expected a map"},
        {"\"tool_choice\": \"required\"", "tool_choice: the row has no tools"},
        {"\"tools\": [{\"function\": {\"name\": \"f\"}}], \"tool_choice\": {\"function\": "
         "{\"name\": \"h\"}}",
         "tool_choice: no tool is called h"},
        {"\"tools\": [{}], \"tool_choice\": \"any\"", "tool_choice: expected none, auto"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed p;
        char line[512];
        snprintf(line, sizeof line, "{\"prompt\": \"x\", %s}", cases[i].field);
        parse(&p, line);
        assert_int_equal(p.status, STATUS_INVALID);
        if (strncmp(status_message(), cases[i].message, strlen(cases[i].message)) != 0) {
            fail_msg("%s: %s", line, status_message());
        }
        arena_destroy(&p.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_is_read),
        cmocka_unit_test(settings_are_read),
        cmocka_unit_test(a_row_wins),
        cmocka_unit_test(a_named_function_is_a_tool),
        cmocka_unit_test(errors_name_the_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
