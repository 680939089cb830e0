/* SPDX-License-Identifier: Apache-2.0 */
/* JSON tree and writer: what comes in goes out unchanged, and what is malformed says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/json.h"

static void assert_round_trip(const char *text, const char *expected)
{
    struct arena arena = {0};
    struct buffer out = {0};
    struct json *value;
    assert_int_equal(json_parse(text, strlen(text), &arena, &value), STATUS_OK);
    assert_int_equal(json_write(value, &out), STATUS_OK);
    assert_string_equal(out.data, expected);
    buffer_destroy(&out);
    arena_destroy(&arena);
}

static void numbers_keep_their_digits(void **state)
{
    (void)state;
    assert_round_trip("[0.10, 1e400, 123456789012345678901234567890, -0]",
                      "[0.10,1e400,123456789012345678901234567890,-0]");
    assert_round_trip("{\"b\": [], \"a\": {\"\\u00e9\\n\": null}}",
                      "{\"b\":[],\"a\":{\"é\\n\":null}}");
    assert_round_trip("\"\\ud83d\\ude00\\u0000\\u0001\"", "\"😀\\u0000\\u0001\"");
    assert_round_trip(" 5", "5");
    assert_round_trip(" [5] \n", "[5]");
    assert_round_trip("\"\\\\ud83d\"", "\"\\\\ud83d\""); /* a backslash and letters */
}

/* As Python's json.dumps writes them; in strings and keys they are letters. */
static void what_is_not_finite_is_no_number(void **state)
{
    (void)state;
    assert_round_trip(
        "{\"NaN\": NaN, \"a\": [-Infinity, Infinity,NaN], \"b\": \"\\\"NaN, -Infinity\"}",
        "{\"NaN\":\"NaN\",\"a\":[\"-Infinity\",\"Infinity\",\"NaN\"],"
        "\"b\":\"\\\"NaN, -Infinity\"}");
    struct arena arena = {0};
    struct json *value;
    double real = 5;
    int64_t integer = 5;
    assert_int_equal(json_parse(" NaN", 4, &arena, &value), STATUS_OK);
    assert_int_equal(value->type, JSON_NOT_FINITE);
    assert_string_equal(json_kind(value), "NaN");
    assert_false(json_double(value, &real) || json_int64(value, &integer));
    arena_destroy(&arena);
}

static void malformed_text_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "empty"},
        {"{\"a\":1,}", "byte "},
        {"[1] 2", "trailing"},
        {"[1] \"a", "byte 3: not JSON: trailing"},
        {"{}\"", "trailing"},
        {"\"a\" \"", "trailing"},
        {"1 \"", "not JSON"},
        {"{\"a\":1,\"a\":2}", "twice"},
        {"\"\xff\"", "UTF-8"},
        {"[NaN, \"\xff\"]", "UTF-8"},
        {"[nan]", "not JSON"},
        {"[Nan]", "not JSON"},
        {"[NaN, inf]", "byte 7: not JSON"},
        {"[1, -NaN]", "not JSON"},
        {"[1NaN]", "not JSON"},
        {"[NaN1]", "not JSON"},
        {"[NaNNaN]", "not JSON"},
        {"[+Infinity]", "not JSON"},
        {"{NaN: 1}", "not JSON: NaN for a key"},
        {"{\"a\": Infinity", "premature"},
        {"NaN\"", "byte"},
        {"[1", "premature"},
        {"[\"\\ud83d\"]", "byte 2: \\ud83d is half"},
        {"{\"\\\\\\ude00\": 1}", "byte 4: \\ude00 is half"},
        {"\"\\ud83d\\u0041\"", "byte 1: \\ud83d is half"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct json *value;
        assert_int_equal(json_parse(cases[i].text, strlen(cases[i].text), &arena, &value),
                         STATUS_INVALID);
        if (strstr(status_message(), cases[i].message) == NULL) {
            fail_msg("%s: %s", cases[i].text, status_message());
        }
        arena_destroy(&arena);
    }
}

static void depth_is_bounded(void **state)
{
    (void)state;
    char text[2 * JSON_MAX_DEPTH + 3];
    for (int extra = 0; extra < 2; extra++) {
        size_t depth = (size_t)(JSON_MAX_DEPTH + extra);
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        struct arena arena = {0};
        struct json *value;
        assert_int_equal(json_parse(text, 2 * depth, &arena, &value),
                         extra == 0 ? STATUS_OK : STATUS_INVALID);
        arena_destroy(&arena);
    }
}

static void doubles_read_back_the_same(void **state)
{
    (void)state;
    struct buffer out = {0};
    assert_int_equal(json_write_double(0.1, &out), STATUS_OK);
    assert_string_equal(out.data, "0.1");
    buffer_clear(&out);
    assert_int_equal(json_write_double(1.0 / 3.0, &out), STATUS_OK);
    assert_string_equal(out.data, "0.3333333333333333");
    buffer_destroy(&out);
}

/* 40 and not 4e+01, as far as every digit is one of the number's. */
static void whole_numbers_have_their_digits(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {{0, "0"},
                 {40, "40"},
                 {-1200, "-1200"},
                 {1e6, "1000000"},
                 {123456789012345.0, "123456789012345"},
                 {999999999999999.0, "999999999999999"},
                 {1e15, "1e+15"},
                 {1.5e300, "1.5e+300"},
                 {40.5, "40.5"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buffer out = {0};
        assert_int_equal(json_write_double(cases[i].value, &out), STATUS_OK);
        assert_string_equal(out.data, cases[i].text);
        assert_true(strtod(out.data, NULL) == cases[i].value);
        buffer_destroy(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_digits),
        cmocka_unit_test(what_is_not_finite_is_no_number),
        cmocka_unit_test(malformed_text_says_where),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(doubles_read_back_the_same),
        cmocka_unit_test(whole_numbers_have_their_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
