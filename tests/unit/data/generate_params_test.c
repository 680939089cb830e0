/* SPDX-License-Identifier: Apache-2.0 */
/* The table of generation parameters: defaults, ranges, names, messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/data.h"

/* Sets one parameter from JSON text on top of `params`. */
static status set(struct generate_params *params, struct arena *arena, const char *name,
                  const char *text)
{
    struct json *value;
    bool known;
    assert_int_equal(json_parse(text, strlen(text), arena, &value), STATUS_OK);
    status s = generate_params_set(params, name, value, arena, &known);
    assert_true(known);
    return s;
}

static void defaults_are_neutral(void **state)
{
    (void)state;
    struct generate_params params;
    memset(&params, 0x5A, sizeof params);
    generate_params_defaults(&params);
    assert_int_equal(params.max_new_tokens, 256);
    assert_true(params.sampling.temperature == 1 && params.sampling.top_p == 1 &&
                params.sampling.min_p == 0);
    assert_true(params.sampling.repetition_penalty == 1 && params.sampling.presence_penalty == 0);
    assert_true(params.sampling.frequency_penalty == 0);
    assert_int_equal(params.sampling.top_k, 0);
    assert_true(params.sampling.seed == 0);
    assert_int_equal(params.samples, 1);
    assert_int_equal(params.stop_count, 0);
    assert_int_equal(params.stop_id_count, 0);
    assert_false(params.ignore_eos);
    assert_int_equal(params.sampling.logprobs, -1);
}

static void every_field_describes_itself_and_takes_its_default(void **state)
{
    (void)state;
    const char *name, *type, *default_text, *meaning;
    size_t count = 0;
    struct arena arena = {0};
    struct generate_params expected;
    generate_params_defaults(&expected);
    while (generate_field_describe(count, &name, &type, &default_text, &meaning)) {
        struct generate_params params;
        generate_params_defaults(&params);
        assert_true(strlen(type) > 0 && strlen(meaning) > 0);
        char text[64]; /* of the words only "false" and "true" are JSON as they stand */
        bool is_word = strcmp(name, "mode") == 0 || strcmp(name, "defaults") == 0;
        snprintf(text, sizeof text, is_word ? "\"%s\"" : "%s", default_text);
        assert_int_equal(set(&params, &arena, name, text), STATUS_OK);
        assert_memory_equal(&params, &expected, sizeof params);
        assert_int_equal(set(&params, &arena, name, "null"), STATUS_OK);
        assert_memory_equal(&params, &expected, sizeof params);
        count++;
    }
    assert_int_equal(count, 25);
    arena_destroy(&arena);
}

static void values_arrive(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct generate_params params;
    generate_params_defaults(&params);
    assert_int_equal(set(&params, &arena, "max_tokens", "7"), STATUS_OK);
    assert_int_equal(params.max_new_tokens, 7);
    assert_int_equal(set(&params, &arena, "max_completion_tokens", "1e3"), STATUS_OK);
    assert_int_equal(params.max_new_tokens, 1000);
    assert_int_equal(set(&params, &arena, "temperature", "0.25"), STATUS_OK);
    assert_true(params.sampling.temperature == 0.25);
    assert_int_equal(set(&params, &arena, "top_k", "-1"), STATUS_OK);
    assert_int_equal(params.sampling.top_k, 0);
    assert_int_equal(set(&params, &arena, "seed", "18446744073709551615"), STATUS_OK);
    assert_true(params.sampling.seed == UINT64_MAX);
    assert_int_equal(set(&params, &arena, "seed", "-1"), STATUS_OK);
    assert_true(params.sampling.seed == UINT64_MAX);
    assert_int_equal(set(&params, &arena, "seed", "9223372036854775808"), STATUS_OK);
    assert_true(params.sampling.seed == (uint64_t)1 << 63);
    assert_int_equal(set(&params, &arena, "stop", "\"END\""), STATUS_OK);
    assert_int_equal(params.stop_count, 1);
    assert_string_equal(params.stop[0], "END");
    assert_int_equal(set(&params, &arena, "stop", "[\"a\", \"\\n\"]"), STATUS_OK);
    assert_int_equal(params.stop_count, 2);
    assert_string_equal(params.stop[1], "\n");
    assert_int_equal(set(&params, &arena, "stop_token_ids", "[0, 2147483647]"), STATUS_OK);
    assert_int_equal(params.stop_id_count, 2);
    assert_int_equal(params.stop_ids[1], INT32_MAX);
    assert_int_equal(set(&params, &arena, "min_tokens", "3"), STATUS_OK);
    assert_int_equal(params.min_tokens, 3);
    assert_int_equal(set(&params, &arena, "allowed_token_ids", "[7, 0, 7]"), STATUS_OK);
    assert_int_equal(params.allowed_id_count, 3);
    assert_int_equal(params.allowed_ids[0], 7);
    assert_int_equal(set(&params, &arena, "allowed_token_ids", "null"), STATUS_OK);
    assert_int_equal(params.allowed_id_count, 3);
    assert_int_equal(
        set(&params, &arena, "logit_bias", "{\"2147483647\": -100, \"5\": 0.5, \"12\": 100}"),
        STATUS_OK);
    assert_int_equal(params.bias_count, 3);
    for (int i = 0; i < 3; i++) { /* ascending, as numbers */
        static const struct logit_bias sorted[] = {{5, 0.5f}, {12, 100}, {INT32_MAX, -100}};
        assert_int_equal(params.biases[i].id, sorted[i].id);
        assert_true(params.biases[i].bias == sorted[i].bias);
    }
    assert_int_equal(set(&params, &arena, "logit_bias", "{}"), STATUS_OK);
    assert_int_equal(params.bias_count, 0);
    assert_int_equal(set(&params, &arena, "ignore_eos", "true"), STATUS_OK);
    assert_true(params.ignore_eos);
    assert_false(params.keep_special_tokens || params.include_stop);
    assert_int_equal(set(&params, &arena, "skip_special_tokens", "false"), STATUS_OK);
    assert_int_equal(set(&params, &arena, "include_stop_str_in_output", "true"), STATUS_OK);
    assert_true(params.keep_special_tokens && params.include_stop);
    assert_int_equal(set(&params, &arena, "truncate_prompt_tokens", "-1"), STATUS_OK);
    assert_int_equal(params.truncate_prompt, -1);
    arena_destroy(&arena);
}

static void logprobs_in_all_their_forms(void **state)
{
    (void)state;
    static const struct {
        const char *first, *first_value, *second, *second_value;
        int expected;
    } cases[] = {
        {"logprobs", "true", NULL, NULL, 0},
        {"logprobs", "5", NULL, NULL, 5},
        {"logprobs", "0", NULL, NULL, 0},
        {"logprobs", "true", "top_logprobs", "3", 3},
        {"top_logprobs", "3", "logprobs", "true", 3},
        {"logprobs", "false", "top_logprobs", "0", -1},
        {"top_logprobs", "0", NULL, NULL, -1},
        {"logprobs", "4", "logprobs", "false", -1},
        {"logprobs", "true", "top_logprobs", "null", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct generate_params params;
        generate_params_defaults(&params);
        assert_int_equal(set(&params, &arena, cases[i].first, cases[i].first_value), STATUS_OK);
        if (cases[i].second != NULL) {
            assert_int_equal(set(&params, &arena, cases[i].second, cases[i].second_value),
                             STATUS_OK);
        }
        assert_int_equal(params.sampling.logprobs, cases[i].expected);
        arena_destroy(&arena);
    }
}

static void wrong_values_say_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *message;
    } cases[] = {
        {"temperature", "\"hot\"", "temperature: expected a number, not a string"},
        {"temperature", "-0.1", "temperature: -0.1 is not in [0, 100]"},
        {"temperature", "1e999", "temperature: 1e999 is not in [0, 100]"},
        {"top_p", "1.5", "top_p: 1.5 is not in (0, 1]"},
        {"top_p", "0", "top_p: 0 is not in (0, 1]"},
        {"max_tokens", "0", "max_tokens: 0 is not in [1, 1000000000]"},
        {"max_tokens", "1.5", "max_tokens: expected an integer, not 1.5"},
        {"max_tokens", "99999999999999999999", "max_tokens: 99999999999999999999 is not in"},
        {"max_tokens", "true", "max_tokens: expected an integer, not a boolean"},
        {"n", "1025", "n: 1025 is not in [1, 1024]"},
        {"presence_penalty", "2.01", "presence_penalty: 2.01 is not in [-2, 2]"},
        {"seed", "18446744073709551616", "seed: 18446744073709551616 is not in"},
        {"seed", "0.5", "seed: expected an integer, not 0.5"},
        {"seed", "[]", "seed: expected an integer, not an array"},
        {"stop", "3", "stop: expected a string or a list of strings, not 3"},
        {"stop", "\"\"", "stop: an empty string"},
        {"stop", "\"a\\u0000b\"", "stop: a string with a NUL"},
        {"stop", "[\"a\", null]", "stop: expected a string or a list of strings, not null"},
        {"stop",
         "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
         "\"13\",\"14\",\"15\",\"16\",\"17\"]",
         "stop: 17 strings; at most 16"},
        {"stop_token_ids", "[-1]", "stop_token_ids: expected token ids of at least 0, not -1"},
        {"stop_token_ids", "5", "stop_token_ids: expected a list of token ids, not 5"},
        {"min_tokens", "-1", "min_tokens: -1 is not in [0, 1000000000]"},
        {"allowed_token_ids", "[1, 0.5]", "allowed_token_ids: expected token ids of at least 0"},
        {"allowed_token_ids", "[]", "allowed_token_ids: an empty list leaves no token to draw"},
        {"allowed_token_ids", "{}", "allowed_token_ids: expected a list of token ids"},
        {"logit_bias", "[]", "logit_bias: expected a map of token ids to numbers, not an array"},
        {"logit_bias", "{\"5\": 100.5}", "logit_bias: 100.5 is not in [-100, 100]"},
        {"logit_bias", "{\"5\": \"1\"}", "logit_bias: expected a number, not a string"},
        {"logit_bias", "{\"5\": 1, \"05\": 2}", "logit_bias: token 5 is there twice"},
        {"logit_bias", "{\"-5\": 1}", "logit_bias: expected token ids as names, not \"-5\""},
        {"logit_bias", "{\"\": 1}", "logit_bias: expected token ids as names, not \"\""},
        {"logit_bias", "{\"5\\u0000\": 1}", "logit_bias: expected token ids as names"},
        {"logit_bias", "{\"2147483648\": 1}", "logit_bias: expected token ids as names"},
        {"truncate_prompt", "-2", "truncate_prompt: -2 is not in [-1, 1000000000]"},
        {"skip_special_tokens", "0", "skip_special_tokens: expected a boolean, not 0"},
        {"ignore_eos", "1", "ignore_eos: expected a boolean, not 1"},
        {"logprobs", "21", "logprobs: 21 is not in [0, 20]"},
        {"logprobs", "\"yes\"", "logprobs: expected a boolean or an integer, not a string"},
        {"top_logprobs", "-1", "top_logprobs: -1 is not in [0, 20]"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct generate_params params;
        generate_params_defaults(&params);
        assert_int_equal(set(&params, &arena, cases[i].name, cases[i].text), STATUS_INVALID);
        if (strncmp(status_message(), cases[i].message, strlen(cases[i].message)) != 0) {
            fail_msg("%s %s: %s", cases[i].name, cases[i].text, status_message());
        }
        arena_destroy(&arena);
    }
}

static void other_names_are_not_known(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct generate_params params;
    struct json value = {.type = JSON_NULL};
    bool known = true;
    generate_params_defaults(&params);
    assert_int_equal(generate_params_set(&params, "temperatur", &value, &arena, &known), STATUS_OK);
    assert_false(known);
    assert_string_equal(finish_reason_name(FINISH_LENGTH), "length");
    assert_string_equal(finish_reason_name((enum finish_reason)7), "unknown");
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_neutral),
        cmocka_unit_test(every_field_describes_itself_and_takes_its_default),
        cmocka_unit_test(values_arrive),
        cmocka_unit_test(logprobs_in_all_their_forms),
        cmocka_unit_test(wrong_values_say_what_is_wrong),
        cmocka_unit_test(other_names_are_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
