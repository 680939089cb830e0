/* SPDX-License-Identifier: Apache-2.0 */
/* Which error texts are one kind, and what is said of the commonest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "run/report/error_tally.h"

/* The line for these errors, a row each; the caller's until the next call. */
static const char *describe(const char *const *errors, size_t count)
{
    static struct buffer line;
    struct error_tally tally = {0};
    buffer_clear(&line);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(error_tally_add(&tally, (int64_t)i, errors[i], strlen(errors[i])),
                         STATUS_OK);
    }
    assert_int_equal(error_tally_describe(&tally, &line), STATUS_OK);
    error_tally_destroy(&tally);
    return line.data;
}

static void assert_one_kind(const char *a, const char *b, bool one)
{
    const char *const errors[] = {a, b};
    const char *line = describe(errors, 2);
    if ((strncmp(line, "2 rows: ", 8) == 0) != one) {
        fail_msg("\"%s\" and \"%s\": %s", a, b, line);
    }
}

static void what_may_differ(void **state)
{
    (void)state;
    assert_one_kind("line 1: no prompt", "line 27: no prompt", true);
    assert_one_kind("prompt 3: no prompt", "prompt 4: no prompt", true);
    assert_one_kind("row 3, sample 0: a NaN", "row 4, sample 11: a NaN", true);
    assert_one_kind("a.jsonl: line 3: no prompt", "b/c.jsonl: line 4: no prompt", true);
    assert_one_kind("line 1: top_p: 1.5 is not in (0, 1]", "line 1: top_p: -7 is not in (0, 1]",
                    true);
    assert_one_kind("line 1: prompt of 2,000 tokens", "line 2: prompt of 12 tokens", true);
    assert_one_kind("line 1: n: expected a number, not \"hot\"",
                    "line 2: n: expected a number, not \"very hot\"", true);
    assert_one_kind("line 1: unknown role 'bot'", "line 2: unknown role 'it's'", true);
    assert_one_kind("line 1: messages[0].content: null", "line 2: messages[12].content: null",
                    true);
    assert_one_kind("line 1: no `prompt` here", "line 2: no `text` here", true);
}

static void what_may_not(void **state)
{
    (void)state;
    assert_one_kind("line 1: no prompt", "line 2: no text", false);
    assert_one_kind("line 1: top_p: 1", "line 1: top_k: 1", false);
    assert_one_kind("line 1: doesn't fit, won't run", "line 1: doesn't fit, isn't run", false);
    assert_one_kind("line 1: \"a", "line 1: \"b", false); /* no end, no quotation */
}

static void the_commonest_come_first(void **state)
{
    (void)state;
    const char *const errors[] = {
        "line 1: a",    "line 2: b", "line 3: c: 1", "line 4: d",
        "line 5: c: 2", "line 6: e", "line 7: b",
    };
    assert_string_equal(describe(errors, COUNT_OF(errors)),
                        "2 rows: b (first: line 2); 2 rows: c: 1 (first: line 3); 1 row: a (line "
                        "1); 2 rows: other errors");
    const char *const placeless[] = {"of no place", "of no place"};
    assert_string_equal(describe(placeless, 2), "2 rows: of no place");
    const char *const file[] = {"b.csv: line 3: short"};
    assert_string_equal(describe(file, 1), "1 row: short (b.csv: line 3)");
}

static void samples_of_a_row_count_once(void **state)
{
    (void)state;
    struct error_tally tally = {0};
    struct buffer line = {0};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(error_tally_add(&tally, i / 3, "at token 3: NaN", 15), STATUS_OK);
    }
    assert_int_equal(error_tally_describe(&tally, &line), STATUS_OK);
    assert_string_equal(line.data, "2 rows: at token 3: NaN");
    error_tally_destroy(&tally);
    buffer_destroy(&line);
}

/* Errors without end, and long ones: bounded in number and length, cut between characters. */
static void memory_is_bounded(void **state)
{
    (void)state;
    struct error_tally tally = {0};
    struct buffer line = {0};
    char text[4000];
    for (int i = 0; i < 3000; i++) {
        for (size_t j = 0; j < 12; j++) {
            text[j] = (char)('a' + (i >> j) % 2);
        }
        assert_int_equal(error_tally_add(&tally, i, text, 12), STATUS_OK);
    }
    assert_true(tally.count <= 1000);
    assert_int_equal(error_tally_describe(&tally, &line), STATUS_OK);
    assert_non_null(strstr(line.data, "2997 rows: other errors"));
    error_tally_destroy(&tally);
    buffer_clear(&line);
    for (size_t i = 0; i < sizeof text; i += 2) {
        memcpy(text + i, "\xc3\xa9", 2);
    }
    assert_int_equal(error_tally_add(&tally, 0, "x", 1), STATUS_OK);
    assert_int_equal(error_tally_add(&tally, 0, text, sizeof text), STATUS_OK);
    assert_int_equal(error_tally_add(&tally, 1, "", 0), STATUS_OK);
    assert_int_equal(error_tally_describe(&tally, &line), STATUS_OK);
    assert_true(utf8_valid(line.data, line.length, NULL) && line.length < 400);
    error_tally_destroy(&tally);
    buffer_destroy(&line);
}

/* What is shown of a text of `length` letters and, where there is room for one, what follows. */
static size_t shown(size_t letters, const char *then, size_t more)
{
    char text[1024];
    struct error_tally tally = {0};
    struct buffer line = {0};
    memset(text, 'a', letters);
    memcpy(text + letters, then, more);
    assert_int_equal(error_tally_add(&tally, 0, text, letters + more), STATUS_OK);
    assert_int_equal(error_tally_describe(&tally, &line), STATUS_OK);
    assert_int_equal(strncmp(line.data, "1 row: ", 7), 0);
    assert_true(utf8_valid(line.data, line.length, NULL));
    const size_t length = line.length - 7;
    assert_memory_equal(line.data + 7, text, length);
    error_tally_destroy(&tally);
    buffer_destroy(&line);
    return length;
}

/* 240 bytes are shown, or those before a character that would be cut. */
static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    static const char four[] = "\xF0\x9F\x98\x80";
    assert_int_equal(shown(1, "", 0), 1);
    assert_int_equal(shown(239, "", 0), 239);
    assert_int_equal(shown(240, "", 0), 240);
    assert_int_equal(shown(241, "", 0), 240);
    assert_int_equal(shown(600, "", 0), 240);
    assert_int_equal(shown(236, four, 4), 240);
    for (size_t before = 237; before < 240; before++) {
        assert_int_equal(shown(before, four, 4), before);
    }
    assert_int_equal(shown(240, four, 4), 240);
    /* A text that begins as no character does is cut to nothing rather than before its begin. */
    struct error_tally tally = {0};
    struct buffer line = {0};
    char text[300];
    memset(text, 0x80, sizeof text);
    assert_int_equal(error_tally_add(&tally, 0, text, sizeof text), STATUS_OK);
    assert_int_equal(error_tally_describe(&tally, &line), STATUS_OK);
    assert_string_equal(line.data, "1 row: ");
    error_tally_destroy(&tally);
    buffer_destroy(&line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(what_may_differ),
        cmocka_unit_test(what_may_not),
        cmocka_unit_test(the_commonest_come_first),
        cmocka_unit_test(samples_of_a_row_count_once),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
