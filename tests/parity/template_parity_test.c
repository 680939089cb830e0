/* SPDX-License-Identifier: Apache-2.0 */
/* Templates rendered as Jinja renders them: every case that tools/make_template_cases.py wrote with
 * the reference implementation, text for text and error for error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/chat_template.h"

enum { MAX_FILE_BYTES = 64 << 20 };

static struct chat_variables variables_of(const struct json *given, const struct json *file)
{
    int64_t now = 0;
    assert_true(json_int64(json_get(file, "now"), &now));
    struct chat_variables variables = {
        .messages = json_get(given, "messages"),
        .tools = json_get(given, "tools"),
        .documents = json_get(given, "documents"),
        .extra = json_get(given, "extra"),
        .bos_token = json_string(json_get(given, "bos_token")),
        .eos_token = json_string(json_get(given, "eos_token")),
        .pad_token = json_string(json_get(given, "pad_token")),
        .unk_token = json_string(json_get(given, "unk_token")),
        .as_given = true,
        .now = now,
    };
    (void)json_bool(json_get(given, "add_generation_prompt"), &variables.add_generation_prompt);
    return variables;
}

/* Whether a message of ours, which is one line, ends with the reference's, which may be several. */
static bool says_at_its_end(const char *message, const char *reference)
{
    size_t length = strlen(message), wanted = strlen(reference);
    if (wanted > length) {
        return false;
    }
    message += length - wanted;
    for (size_t i = 0; i < wanted; i++) {
        if (message[i] != (reference[i] == '\n' ? ' ' : reference[i])) {
            return false;
        }
    }
    return true;
}

/* Prints what differs; whether all is well. `error` is the reference's message, or NULL where the
 * wording is Python's own and only the failure counts. */
static bool check_case(const char *where, const struct chat_template *template_, status created,
                       const struct chat_variables *variables, const struct json *expected)
{
    struct buffer out = {0};
    const char *text = json_string(json_get(expected, "text"));
    const struct json *error = json_get(expected, "error");
    status s = created != STATUS_OK ? created : chat_template_render(template_, variables, &out);
    bool right;
    if (text != NULL) {
        right = s == STATUS_OK && out.length == json_get(expected, "text")->length &&
                memcmp(out.data == NULL ? "" : out.data, text, out.length) == 0;
    } else {
        const char *message = json_string(error);
        right = s != STATUS_OK && (message == NULL || says_at_its_end(status_message(), message));
    }
    if (!right) {
        const char *wanted = text != NULL                 ? text
                             : json_string(error) != NULL ? json_string(error)
                                                          : "(an error)";
        print_error("%s:\n  expected %s: %s\n  got %s: %s\n", where,
                    text != NULL ? "text" : "error", wanted, status_name(s),
                    s != STATUS_OK     ? status_message()
                    : out.data == NULL ? ""
                                       : out.data);
    }
    buffer_destroy(&out);
    return right;
}

/* Texts alone: no parts, no calls, nothing that is null or missing. */
static bool is_plain(const struct json *messages)
{
    static const char *const others[] = {"tool_calls", "function_call"};
    for (size_t i = 0; messages != NULL && i < messages->length; i++) {
        const struct json *message = messages->items[i];
        if (json_string(json_get(message, "content")) == NULL ||
            json_get(message, others[0]) != NULL || json_get(message, others[1]) != NULL) {
            return false;
        }
    }
    return messages != NULL && messages->type == JSON_ARRAY;
}

/* A file: {"now", "variables": [sets], "cases": [{"name", "template", "results": [[set,
 * result]…]}]}
 */
static void run_file(const char *name)
{
    struct arena arena = {0};
    struct buffer text = {0};
    struct json *file;
    char path[1024];
    size_t wrong = 0, count = 0;
    snprintf(path, sizeof path, "%s/templates/%s", SLUICE_TEST_DATA, name);
    assert_int_equal(file_read(path, MAX_FILE_BYTES, &text), STATUS_OK);
    assert_int_equal(json_parse(text.data, text.length, &arena, &file), STATUS_OK);
    const struct json *sets = json_get(file, "variables"), *cases = json_get(file, "cases");
    assert_non_null(sets);
    assert_non_null(cases);
    for (size_t i = 0; i < cases->length; i++) {
        const struct json *item = cases->items[i], *source = json_get(item, "template");
        const struct json *results = json_get(item, "results");
        struct chat_template *template_ = NULL;
        status created = chat_template_create("template", source->text, source->length, &template_);
        for (size_t j = 0; j < results->length; j++) {
            int64_t set;
            char where[256];
            assert_true(json_int64(results->items[j]->items[0], &set));
            snprintf(where, sizeof where, "%s: %s, variables %ld", name,
                     json_string(json_get(item, "name")) != NULL
                         ? json_string(json_get(item, "name"))
                         : source->text,
                     (long)set);
            struct chat_variables variables = variables_of(sets->items[set], file);
            count++;
            wrong +=
                !check_case(where, template_, created, &variables, results->items[j]->items[1]);
            /* Where there is nothing to bring into another form, nothing is. */
            variables.as_given = !is_plain(variables.messages);
            wrong +=
                !check_case(where, template_, created, &variables, results->items[j]->items[1]);
        }
        chat_template_destroy(template_);
    }
    buffer_destroy(&text);
    arena_destroy(&arena);
    if (wrong > 0) {
        fail_msg("%s: %zu of %zu cases differ", name, wrong, count);
    }
    assert_true(count > 0);
}

static void chat_templates(void **state)
{
    (void)state;
    run_file("chat.json");
}

static void small_templates(void **state)
{
    (void)state;
    run_file("language.json");
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_templates),
        cmocka_unit_test(small_templates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
