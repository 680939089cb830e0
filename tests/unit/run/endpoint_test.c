/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint a row was written for: by its url, else by its prompt. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/data.h"

static void check_task(enum task task, const char *line, const struct row_format *format,
                       enum endpoint expected)
{
    struct generate_params defaults;
    struct arena arena = {0};
    struct row row;
    struct record record = {.kind = RECORD_JSON};
    generate_params_defaults(&defaults);
    defaults.task = task;
    assert_int_equal(buffer_append_text(&record.bytes, line), STATUS_OK);
    /* A row that is refused has the endpoint that its url names all the same. */
    status s = row_parse(&record, format, &defaults, &arena, &row);
    assert_true(s == STATUS_OK || s == STATUS_INVALID);
    if (row.endpoint != expected) {
        fail_msg("%s: %s, not %s", line, endpoint_name(row.endpoint), endpoint_name(expected));
    }
    arena_destroy(&arena);
    buffer_destroy(&record.bytes);
}

static void check(const char *line, const struct row_format *format, enum endpoint expected)
{
    check_task(TASK_GENERATE, line, format, expected);
}

#define LINE(url, body) "{\"custom_id\": \"a\", \"url\": \"" url "\", \"body\": {" body "}}"
#define MESSAGES        "\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]"

static void rows_know_their_endpoint(void **state)
{
    (void)state;
    const struct row_format plain = {0}, wrapped = {.chat = CHAT_ALWAYS};
    check(LINE("/v1/chat/completions", MESSAGES), &plain, ENDPOINT_CHAT);
    check(LINE("/v1/completions", "\"prompt\": \"x\""), &plain, ENDPOINT_COMPLETIONS);
    check(LINE("https://host/v1/completions", "\"prompt\": [1, 2]"), &plain, ENDPOINT_COMPLETIONS);
    check(LINE("/v1/completions", "\"prompt\": \"x\", \"top_p\": 9"), &plain, ENDPOINT_COMPLETIONS);
    check(LINE("/v1/completions", "\"prompt\": \"x\""), &wrapped, ENDPOINT_COMPLETIONS);
    check_task(TASK_EMBED, LINE("/v1/embeddings", "\"input\": \"x\""), &plain, ENDPOINT_EMBEDDINGS);
    check("{\"custom_id\": \"a\", \"body\": {" MESSAGES "}}", &plain, ENDPOINT_CHAT);
    check("{" MESSAGES "}", &plain, ENDPOINT_CHAT);
    check("{\"prompt\": \"x\"}", &plain, ENDPOINT_COMPLETIONS);
    check("{\"prompt\": \"x\"}", &wrapped, ENDPOINT_CHAT);
    check("{\"prompt_token_ids\": [1]}", &plain, ENDPOINT_COMPLETIONS);
    check_task(TASK_EMBED, "{\"prompt\": \"x\"}", &plain, ENDPOINT_EMBEDDINGS);
    check_task(TASK_SCORE, "{\"prompt\": \"x\"}", &plain, ENDPOINT_COMPLETIONS);
    /* A column that happens to be called so is data. */
    check("{\"prompt\": \"x\", \"url\": \"/v1/chat/completions\"}", &plain, ENDPOINT_COMPLETIONS);
    check("not JSON", &plain, ENDPOINT_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rows_know_their_endpoint)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
