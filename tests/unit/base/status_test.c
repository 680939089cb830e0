/* SPDX-License-Identifier: Apache-2.0 */
/* Messages: one line of UTF-8, whatever they quote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/base.h"

static void controls_become_spaces(void **state)
{
    (void)state;
    assert_int_equal(status_fail(STATUS_INVALID, "%s: unknown", "a\nb\x1b[31m\x7f\xc2\x9b"),
                     STATUS_INVALID);
    assert_string_equal(status_message(), "a b [31m   : unknown");
    assert_int_equal(status_context(STATUS_INVALID, "%s", "x\ty.jsonl"), STATUS_INVALID);
    assert_string_equal(status_message(), "x y.jsonl: a b [31m   : unknown");
}

static void text_is_utf8(void **state)
{
    (void)state;
    (void)status_fail(STATUS_INVALID, "%.3s|%s|%s", "\xe4\xb8\xad\xe6\x96\x87",
                      "\xff\xc3(\xed\xa0\x80", "na\xc3\xafve");
    assert_string_equal(status_message(), "\xe4\xb8\xad|?"
                                          "?(?"
                                          "?"
                                          "?|na\xc3\xafve");
    (void)status_fail(STATUS_INVALID, "%.4s", "\xe4\xb8\xad\xe6\x96\x87"); /* cut in a character */
    assert_string_equal(status_message(), "\xe4\xb8\xad?");
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    char text[4096];
    for (size_t i = 0; i + 3 <= sizeof text; i += 3) {
        memcpy(text + i, "\xe4\xb8\xad", 3);
    }
    text[sizeof text - 1] = '\0';
    for (int shift = 0; shift < 3; shift++) {
        (void)status_fail(STATUS_INVALID, "%.*s%s", shift, "xx", text);
        size_t length = strlen(status_message());
        assert_true(length > 1000 && length < 1024);
        assert_true(utf8_valid(status_message(), length, NULL));
        (void)status_context(STATUS_INVALID, "%s", text);
        assert_true(utf8_valid(status_message(), strlen(status_message()), NULL));
    }
}

/* An argument is text, never a format. */
static void arguments_are_no_formats(void **state)
{
    (void)state;
    (void)status_fail(STATUS_INVALID, "%s", "%n%s%1000000d");
    (void)status_context(STATUS_INVALID, "%s", "%s%n");
    assert_string_equal(status_message(), "%s%n: %n%s%1000000d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controls_become_spaces),
        cmocka_unit_test(text_is_utf8),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(arguments_are_no_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
