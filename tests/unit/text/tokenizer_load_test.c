/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizers that cannot be loaded, questions about tokens, configuration, hostile input. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/tokenizer.h"

/* A word-level tokenizer with one more part. */
static const char word_level[] =
    "{\"model\":{\"type\":\"WordLevel\",\"unk_token\":\"?\",\"vocab\":{\"?\":0,\"a\":1,\"b\":2,"
    "\"ab\":3}},\"pre_tokenizer\":{\"type\":\"Whitespace\"}%s}";

static status create(const char *part, const char *config, struct tokenizer **out)
{
    char json[2048];
    snprintf(json, sizeof json, word_level, part);
    return tokenizer_create(json, strlen(json), config, config != NULL ? strlen(config) : 0, out);
}

static void assert_ids(const struct tokenizer *tokenizer, const char *text, bool special,
                       const char *expected)
{
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    assert_non_null(scratch);
    struct token_list ids = {0};
    struct buffer line = {0};
    assert_int_equal(tokenizer_encode(tokenizer, scratch, text, strlen(text), special, &ids),
                     STATUS_OK);
    assert_int_equal(buffer_append(&line, "", 0), STATUS_OK);
    for (size_t i = 0; i < ids.count; i++) {
        assert_int_equal(buffer_format(&line, "%s%d", i > 0 ? " " : "", ids.ids[i]), STATUS_OK);
    }
    assert_string_equal(line.data, expected);
    buffer_destroy(&line);
    token_list_destroy(&ids);
    tokenizer_scratch_destroy(scratch);
}

static void failures_name_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        status expected;
        const char *message;
    } cases[] = {
        {"", STATUS_INVALID, "not JSON"},
        {"[]", STATUS_INVALID, "expected an object"},
        {"{}", STATUS_INVALID, "model: "},
        {"{\"model\":{\"type\":\"Magic\"}}", STATUS_UNSUPPORTED, "\"Magic\" (supported: BPE"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", STATUS_INVALID,
         "id -1"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":4294967296},\"merges\":[]}}",
         STATUS_INVALID, "not in [0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", STATUS_INVALID,
         "merges[0]"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", STATUS_INVALID,
         "expected two tokens"},
        {"{\"model\":{\"type\":\"BPE\",\"dropout\":0.1,\"vocab\":{},\"merges\":[]}}",
         STATUS_UNSUPPORTED, "dropout"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[[\"a\",0]]}}", STATUS_INVALID,
         "unk_id"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\"]]}}", STATUS_INVALID, "vocab[0]"},
        {"{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"a\",\"vocab\":{}}}", STATUS_INVALID,
         "continuing_subword_prefix"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tokenizer *tokenizer;
        status s = tokenizer_create(cases[i].json, strlen(cases[i].json), NULL, 0, &tokenizer);
        if (s != cases[i].expected || strstr(status_message(), cases[i].message) == NULL) {
            fail_msg("%s: %s: %s", cases[i].json, status_name(s), status_message());
        }
        assert_null(tokenizer);
    }
}

static void bad_parts_name_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        status expected;
        const char *message;
    } cases[] = {
        {",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"X\"}]}",
         STATUS_UNSUPPORTED, "normalizer: normalizers[0]: unknown type \"X\" (supported: "},
        {",\"normalizer\":{\"type\":\"Replace\",\"pattern\":\"a\",\"content\":\"\"}",
         STATUS_INVALID, "pattern"},
        {",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"(\"},\"content\":\"\"}",
         STATUS_INVALID, "regular expression, byte 1"},
        {",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA*\"}",
         STATUS_INVALID, "not base64"},
        {",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}",
         STATUS_INVALID, "shorter than it says"},
        {",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{"
         "\"id\":\"x\"}}],\"special_tokens\":{}}",
         STATUS_INVALID, "lacks \"x\""},
        {",\"decoder\":{\"type\":\"CTC\"}", STATUS_UNSUPPORTED, "decoder: unknown type \"CTC\""},
        {",\"decoder\":{\"type\":\"Strip\",\"content\":\"ab\",\"start\":0,\"stop\":0}",
         STATUS_INVALID, "one character"},
        {",\"added_tokens\":[{\"id\":1}]", STATUS_INVALID, "added_tokens[0]"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct tokenizer *tokenizer;
        status s = create(cases[i].part, NULL, &tokenizer);
        if (s != cases[i].expected || strstr(status_message(), cases[i].message) == NULL) {
            fail_msg("%s: %s: %s", cases[i].part, status_name(s), status_message());
        }
        assert_null(tokenizer);
    }
}

static void questions_are_answered(void **state)
{
    (void)state;
    struct tokenizer *tokenizer;
    assert_int_equal(create(",\"added_tokens\":[{\"id\":9,\"content\":\"<s>\",\"special\":true},"
                            "{\"id\":2,\"content\":\"b\",\"special\":false}]",
                            NULL, &tokenizer),
                     STATUS_OK);
    assert_int_equal(tokenizer_vocabulary_size(tokenizer), 5);
    assert_int_equal(tokenizer_token_id(tokenizer, "<s>"),
                     4); /* the next free id, not the stated */
    assert_int_equal(tokenizer_token_id(tokenizer, "b"), 2);
    assert_int_equal(tokenizer_token_id(tokenizer, "nothing"), -1);
    assert_string_equal(tokenizer_token(tokenizer, 3), "ab");
    assert_null(tokenizer_token(tokenizer, 5));
    assert_null(tokenizer_token(tokenizer, -1));
    assert_true(tokenizer_is_special(tokenizer, 4));
    assert_false(tokenizer_is_special(tokenizer, 2));
    assert_false(tokenizer_is_special(tokenizer, 77));
    assert_ids(tokenizer, "a ab<s>ab", false, "1 1 2 4 1 2"); /* the added b cuts words */
    struct buffer text = {0};
    static const int32_t ids[] = {1, 4, 99, -5, 3};
    assert_int_equal(tokenizer_decode(tokenizer, ids, COUNT_OF(ids), true, &text), STATUS_OK);
    assert_string_equal(text.data, "a ab");
    buffer_clear(&text);
    assert_int_equal(tokenizer_decode(tokenizer, ids, COUNT_OF(ids), false, &text), STATUS_OK);
    assert_string_equal(text.data, "a <s> ab");
    buffer_destroy(&text);
    tokenizer_destroy(tokenizer);
}

static void config_adds_tokens(void **state)
{
    (void)state;
    struct tokenizer *tokenizer;
    assert_int_equal(
        create("",
               "{\"added_tokens_decoder\":{\"10\":{\"content\":\"<z>\",\"special\":true},"
               "\"9\":{\"content\":\"<y>\",\"special\":false,\"normalized\":false}}}",
               &tokenizer),
        STATUS_OK);
    assert_int_equal(tokenizer_token_id(tokenizer, "<y>"), 4);
    assert_int_equal(tokenizer_token_id(tokenizer, "<z>"), 5);
    assert_true(tokenizer_is_special(tokenizer, 5));
    assert_ids(tokenizer, "a<y>b<z>", true, "1 4 2 5");
    tokenizer_destroy(tokenizer);
    assert_int_equal(create("", "{\"added_tokens_decoder\":{\"9\":{}}}", &tokenizer),
                     STATUS_INVALID);
    assert_int_equal(create("", "[", &tokenizer), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "tokenizer_config.json"));
}

static void bad_texts_are_refused(void **state)
{
    (void)state;
    struct tokenizer *tokenizer;
    assert_int_equal(create("", NULL, &tokenizer), STATUS_OK);
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(tokenizer, scratch, "a\xFF", 2, false, &ids), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "byte 1"));
    assert_int_equal(ids.count, 0);
    assert_int_equal(tokenizer_encode(tokenizer, scratch, "a\0b", 3, false, &ids), STATUS_OK);
    assert_int_equal(ids.count, 3);
    token_list_destroy(&ids);
    tokenizer_scratch_destroy(scratch);
    tokenizer_destroy(tokenizer);
}

static void gguf_failures_name_the_key(void **state)
{
    (void)state;
    static const char *const tokens[] = {"a", "b", "ab"}, *const merges[] = {"a b"};
    static const float scores[] = {-1, -2, -3};
    const struct gguf_vocabulary good = {.model = "gpt2",
                                         .pre = "gpt-2",
                                         .token_count = 3,
                                         .tokens = tokens,
                                         .merge_count = 1,
                                         .merges = merges,
                                         .bos = -1,
                                         .eos = -1,
                                         .unknown = -1,
                                         .add_bos = -1,
                                         .add_eos = -1,
                                         .add_space_prefix = -1};
    struct tokenizer *tokenizer;
    assert_int_equal(tokenizer_create_from_gguf(&good, &tokenizer), STATUS_OK);
    assert_ids(tokenizer, "abba", true, "2 1 0");
    tokenizer_destroy(tokenizer);
    struct gguf_vocabulary bad = good;
    bad.pre = "gpt";
    assert_int_equal(tokenizer_create_from_gguf(&bad, &tokenizer), STATUS_UNSUPPORTED);
    assert_non_null(strstr(status_message(), "\"gpt\" (supported: gpt-2"));
    bad = good;
    bad.model = "t5";
    assert_int_equal(tokenizer_create_from_gguf(&bad, &tokenizer), STATUS_UNSUPPORTED);
    bad = good;
    bad.add_bos = 1;
    assert_int_equal(tokenizer_create_from_gguf(&bad, &tokenizer), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "bos"));
    bad = good;
    bad.model = "llama";
    assert_int_equal(tokenizer_create_from_gguf(&bad, &tokenizer), STATUS_INVALID);
    assert_non_null(strstr(status_message(), "scores"));
    bad.scores = scores;
    bad.add_space_prefix = 0;
    assert_int_equal(tokenizer_create_from_gguf(&bad, &tokenizer), STATUS_OK);
    assert_ids(tokenizer, "abba", true, "2 1 0");
    tokenizer_destroy(tokenizer);
}

static void *encode_many(void *argument)
{
    const struct tokenizer *tokenizer = argument;
    for (int i = 0; i < 200; i++) {
        assert_ids(tokenizer, "a b ab c", false, "1 2 3 0");
    }
    return NULL;
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    struct tokenizer *tokenizer;
    assert_int_equal(create("", NULL, &tokenizer), STATUS_OK);
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, encode_many, tokenizer), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    tokenizer_destroy(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_name_the_place),   cmocka_unit_test(bad_parts_name_the_place),
        cmocka_unit_test(questions_are_answered),    cmocka_unit_test(config_adds_tokens),
        cmocka_unit_test(bad_texts_are_refused),     cmocka_unit_test(gguf_failures_name_the_key),
        cmocka_unit_test(threads_share_a_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
