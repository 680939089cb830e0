/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as families of models write them: what is thinking, what is a call, what is text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/answer.h"
#include "sluice/job.h"

static void check_span(const char *what, const char *answer, struct text_span got,
                       const char *wanted)
{
    bool same = wanted == NULL ? got.data == NULL
                               : got.data != NULL && got.length == strlen(wanted) &&
                                     memcmp(got.data, wanted, got.length) == 0;
    if (!same) {
        fail_msg("%s of %s: %.*s", what, answer, got.data != NULL ? (int)got.length : 4,
                 got.data != NULL ? got.data : "NULL");
    }
}

struct example {
    const char *reasoning_form, *call_form; /* or NULL */
    bool is_thinking;
    const char *answer;
    const char *reasoning, *text, *calls; /* wanted; NULL: none */
};

static void check(const struct example *example)
{
    struct arena arena = {0};
    struct answer_parts parts;
    const struct reasoning_form *reasoning =
        example->reasoning_form != NULL ? reasoning_form_find(example->reasoning_form) : NULL;
    const struct tool_call_form *calls =
        example->call_form != NULL ? tool_call_form_find(example->call_form) : NULL;
    assert_int_equal(answer_split(reasoning, calls, example->is_thinking, example->answer,
                                  strlen(example->answer), &arena, &parts),
                     STATUS_OK);
    check_span("reasoning", example->answer, parts.reasoning, example->reasoning);
    check_span("text", example->answer, parts.text, example->text);
    check_span("calls", example->answer, parts.tool_calls, example->calls);
    arena_destroy(&arena);
}

static void thinking_is_apart(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"think", NULL, false, "<think>\na\n</think>\n\nb", "a", "b", NULL},
        {"think", NULL, true, "a\n</think>\n\nb", "a", "b", NULL},
        {"think", NULL, false, "a</think>b", "a", "b", NULL},
        {"think", NULL, false, " plain <b>", NULL, " plain <b>", NULL},
        {"think", NULL, false, "<think>cut o", "cut o", "", NULL},
        {"think", NULL, true, "cut o", "cut o", "", NULL},
        {"think", NULL, false, "<think>\n\n</think>\n\nb", "", "b", NULL},
        {"magistral", NULL, false, "[THINK]a[/THINK]b", "a", "b", NULL},
        {NULL, NULL, true, "<think>a</think>b", NULL, "<think>a</think>b", NULL},
        {"harmony", NULL, false,
         "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b"
         "<|return|>",
         "a", "b", NULL},
        {"harmony", NULL, false, "<|channel|>analysis<|message|>cut", "cut", "", NULL},
        {"harmony", NULL, false, "b", NULL, "b", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        check(&examples[i]);
    }
}

#define CALL(name, arguments) "{\"name\":\"" name "\",\"arguments\":\"" arguments "\"}"
#define F                     "[" CALL("f", "{\\\"x\\\":1}") "]"
#define FG                    "[" CALL("f", "{\\\"x\\\":1}") "," CALL("g", "{}") "]"

static void calls_are_apart(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {NULL, "hermes", false,
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>", NULL, "", F},
        {NULL, "hermes", false,
         "Well.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>\n"
         "<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>\n",
         NULL, "Well.", FG},
        {NULL, "hermes", false, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1", NULL,
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1", NULL},
        {NULL, "hermes", false, "<tool_call>\n{\"name\": 5, \"arguments\": {}}\n</tool_call>", NULL,
         "<tool_call>\n{\"name\": 5, \"arguments\": {}}\n</tool_call>", NULL},
        {NULL, "hermes", false, "no call", NULL, "no call", NULL},
        {NULL, "llama3_json", false, "{\"name\": \"f\", \"parameters\": {\"x\": 1}}", NULL, "", F},
        {NULL, "llama3_json", false,
         "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"x\": 1}}; {\"name\": \"g\", "
         "\"parameters\": {}}",
         NULL, "", FG},
        {NULL, "llama3_json", false, "{\"name\": \"f\"} is JSON", NULL, "{\"name\": \"f\"} is JSON",
         NULL},
        {NULL, "mistral", false,
         "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"x\": 1}}, {\"name\": \"g\", "
         "\"arguments\": {}}]",
         NULL, "", FG},
        {NULL, "mistral_args", false, "[TOOL_CALLS]f[ARGS]{\"x\": 1}[TOOL_CALLS]g[ARGS]{}", NULL,
         "", FG},
        {NULL, "granite", false, "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"x\": 1}}]",
         NULL, "", F},
        {NULL, "phi4", false,
         "<|tool_call|>[{\"name\": \"f\", \"arguments\": \"{\\\"x\\\": 1}\"}]<|/tool_call|>", NULL,
         "", F},
        {NULL, "deepseek", false,
         "Ok<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"x\": "
         "1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n"
         "{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         NULL, "Ok", FG},
        {"harmony", "harmony", false,
         "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary "
         "to=functions.f <|constrain|>json<|message|>{\"x\": 1}<|call|>",
         "a", "", F},
        {"think", "hermes", false,
         "<think>a <tool_call> b</think>\n\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": "
         "1}}\n</tool_call>",
         "a <tool_call> b", "", F},
    };
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        check(&examples[i]);
    }
}

static void templates_say_their_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *form;
    } cases[] = {
        {"return within <tool_call></tool_call> tags", "hermes"},
        {"<tool_call>\n<function=name>", NULL},
        {"{{- '[TOOL_CALLS]' }}", "mistral"},
        {"{{- '[TOOL_CALLS]' + name + '[ARGS]' }}", "mistral_args"},
        {"{\"name\": function name, \"parameters\": dictionary of argument name and its value}",
         "llama3_json"},
        {"<|tool_call|>[...]<|/tool_call|>", "phi4"},
        {"<|start_of_role|>assistant<|tool_call|>", "granite"},
        {"<|channel|>commentary", "harmony"},
        {"{{ messages }}", NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct tool_call_form *form = tool_call_form_of(cases[i].text, strlen(cases[i].text));
        assert_string_equal(form != NULL ? form->name : "none",
                            cases[i].form != NULL ? cases[i].form : "none");
    }
}

/* The choices of model.reasoning and model.tool_calls are the tables' rows, by index. */
static void jobs_choose_by_name(void **state)
{
    (void)state;
    static const char base[] = "model: {path: m}\ndata: {input: d.jsonl}\noutput: {path: o.h5}\n";
    FILE *file = fopen("answer_test.yaml", "w");
    assert_non_null(file);
    assert_true(fputs(base, file) >= 0 && fclose(file) == 0);
    char setting[64];
    const char *settings[] = {setting};
    struct job job;
    for (size_t i = 0; reasoning_form_at(i) != NULL; i++) {
        snprintf(setting, sizeof setting, "model.reasoning=%s", reasoning_form_at(i)->name);
        assert_int_equal(job_load("answer_test.yaml", settings, 1, &job), STATUS_OK);
        assert_int_equal(job.model.reasoning, i);
        job_destroy(&job);
    }
    for (size_t i = 0; tool_call_form_at(i) != NULL; i++) {
        snprintf(setting, sizeof setting, "model.tool_calls=%s", tool_call_form_at(i)->name);
        assert_int_equal(job_load("answer_test.yaml", settings, 1, &job), STATUS_OK);
        assert_int_equal(job.model.tool_calls, i);
        job_destroy(&job);
    }
    remove("answer_test.yaml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thinking_is_apart),
        cmocka_unit_test(calls_are_apart),
        cmocka_unit_test(templates_say_their_form),
        cmocka_unit_test(jobs_choose_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
