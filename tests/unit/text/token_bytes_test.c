/* SPDX-License-Identifier: Apache-2.0 */
/* What single tokens stand for, under each kind of decoder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sluice/tokenizer.h"

struct expected {
    int32_t id;
    const char *bytes;
};

static void check(const char *json, const struct expected *expected, size_t count)
{
    struct tokenizer *tokenizer;
    struct buffer bytes = {0};
    if (tokenizer_create(json, strlen(json), NULL, 0, &tokenizer) != STATUS_OK) {
        fail_msg("%s", status_message());
    }
    for (size_t i = 0; i < count; i++) {
        buffer_clear(&bytes);
        assert_int_equal(buffer_append_text(&bytes, ""), STATUS_OK);
        assert_int_equal(tokenizer_token_bytes(tokenizer, expected[i].id, &bytes), STATUS_OK);
        assert_string_equal(bytes.data, expected[i].bytes);
    }
    buffer_destroy(&bytes);
    tokenizer_destroy(tokenizer);
}

static void byte_level(void **state)
{
    (void)state;
    static const char json[] =
        "{\"added_tokens\":[{\"id\":4,\"content\":\"<|end|>\",\"special\":true}],"
        "\"model\":{\"type\":\"BPE\",\"vocab\":{\"\xC4\xA0h\":0,\"\xC3\xA3\":1,\"\xC2\xA9\":2,"
        "\"\xC4\x8A\":3},\"merges\":[]},\"decoder\":{\"type\":\"ByteLevel\"}}";
    static const struct expected expected[] = {{0, " h"},      {1, "\xE3"}, {2, "\xA9"}, {3, "\n"},
                                               {4, "<|end|>"}, {5, ""},     {-1, ""}};
    check(json, expected, COUNT_OF(expected));
}

static void byte_fallback(void **state)
{
    (void)state;
    /* As SentencePiece's models have it: the first space of a text goes, that of a token stays. */
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,\"unk_token\":\"<unk>\",\"vocab\":{"
        "\"<unk>\":0,\"<0xF0>\":1,\"<0x0A>\":2,\"\xE2\x96\x81the\":3,\"ing\":4,\"\xE2\x96\x81\":5},"
        "\"merges\":[]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":["
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},\"content\":\" \"},"
        "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
        "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}}";
    static const struct expected expected[] = {{0, "<unk>"}, {1, "\xF0"}, {2, "\n"},
                                               {3, " the"},  {4, "ing"},  {5, " "}};
    check(json, expected, COUNT_OF(expected));
}

static void metaspace_and_wordpiece(void **state)
{
    (void)state;
    static const char metaspace[] =
        "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],"
        "[\"\xE2\x96\x81the\",-1],[\"ing\",-2]]},"
        "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\","
        "\"prepend_scheme\":\"always\"}}";
    static const struct expected of_metaspace[] = {{1, " the"}, {2, "ing"}};
    static const char wordpiece[] =
        "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"continuing_subword_prefix\":"
        "\"##\",\"max_input_chars_per_word\":9,\"vocab\":{\"?\":0,\"the\":1,\"##ing\":2}},"
        "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}}";
    static const struct expected of_wordpiece[] = {{1, " the"}, {2, "ing"}};
    check(metaspace, of_metaspace, COUNT_OF(of_metaspace));
    check(wordpiece, of_wordpiece, COUNT_OF(of_wordpiece));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level),
        cmocka_unit_test(byte_fallback),
        cmocka_unit_test(metaspace_and_wordpiece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
