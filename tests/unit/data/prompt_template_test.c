/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts from columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/row/prompt_template.h"

static status apply(const char *text, const char *fields, struct buffer *out)
{
    struct arena arena = {0};
    struct json *object;
    assert_int_equal(json_parse(fields, strlen(fields), &arena, &object), STATUS_OK);
    status s = prompt_template_apply(text, object, out);
    arena_destroy(&arena);
    return s;
}

static void columns_and_braces(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{a}", "x"},
        {"<{a}>{a}", "<x>x"},
        {"{{{a}}} {{}}", "{x} {}"},
        {"}}{a}{{", "}x{"},
        {"{n} {big}", "1.50 12345678901234567890"},
        {"{yes} {list} {map}", "true [1,\"y\"] {\"k\":null}"},
        {"{two words:x}\n", "w\n"},
        {"{empty}.", "."},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer out = {0};
        assert_int_equal(prompt_template_check(cases[i].text), STATUS_OK);
        assert_int_equal(
            apply(cases[i].text,
                  "{\"a\":\"x\",\"n\":1.50,\"big\":12345678901234567890,\"yes\":true,"
                  "\"list\":[1,\"y\"],\"map\":{\"k\":null},\"two words:x\":\"w\",\"empty\":\"\"}",
                  &out),
            STATUS_OK);
        assert_string_equal(out.data, cases[i].expected);
        buffer_destroy(&out);
    }
}

static void columns_that_a_row_lacks(void **state)
{
    (void)state;
    struct buffer out = {0};
    assert_int_equal(apply("{a}{b}", "{\"a\":\"x\"}", &out), STATUS_INVALID);
    assert_string_equal(status_message(), "column b is missing; data.prompt_template needs it");
    assert_int_equal(apply("{a}", "{\"a\":null}", &out), STATUS_INVALID);
    assert_string_equal(status_message(), "column a is null; data.prompt_template needs it");
    assert_int_equal(apply("{a}", "{\"a\":NaN}", &out), STATUS_INVALID);
    assert_string_equal(status_message(), "column a is NaN; data.prompt_template needs it");
    buffer_destroy(&out);
}

static void templates_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a {b", "a { with no } after it"}, {"a } {b}", "a } with no { before it"},
        {"{}", "{} names no column"},       {"{{b}}", "names no column"},
        {"text", "names no column"},        {"{a{b}}", "a { with no } after it"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(prompt_template_check(cases[i].text), STATUS_INVALID);
        if (strstr(status_message(), cases[i].message) == NULL) {
            fail_msg("%s: %s", cases[i].text, status_message());
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_and_braces),
        cmocka_unit_test(columns_that_a_row_lacks),
        cmocka_unit_test(templates_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
