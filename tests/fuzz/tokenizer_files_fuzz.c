/* SPDX-License-Identifier: Apache-2.0 */
/* A model directory's tokenizer without tokenizer.json: the first byte chooses the vocabulary's
 * name, then come tokenizer_config.json, special_tokens_map.json, added_tokens.json, merges.txt and
 * a text, each ended by a NUL, and the rest is the vocabulary. Whatever loads must encode any text
 * and decode what it made, with ids of its vocabulary. */
#include "fuzz.h"
#include "sluice/tokenizer.h"

static const struct {
    const char *name, *model_type;
} kinds[] = {
    {"tokenizer.model", "llama"},
    {"spiece.model", "t5"},
    {"sentencepiece.bpe.model", "xlm-roberta"},
    {"sentencepiece.bpe.model", "camembert"},
    {"vocab.json", "gpt2"},
    {"vocab.json", "qwen2"},
    {"vocab.json", "roberta"},
    {"vocab.txt", "bert"},
    {"tiktoken.model", "kimi_k2"},
    {"qwen.tiktoken", "qwen"},
    {"tekken.json", "mistral"},
};

static struct text_span span_of(struct fuzz_input input)
{
    return input.length > 0 ? (struct text_span){(const char *)input.bytes, input.length}
                            : (struct text_span){0};
}

static void check_ids(const struct tokenizer *tokenizer, struct fuzz_input text)
{
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    struct token_list ids = {0};
    struct buffer decoded = {0};
    REQUIRE(scratch != NULL);
    status s =
        tokenizer_encode(tokenizer, scratch, (const char *)text.bytes, text.length, true, &ids);
    for (size_t i = 0; s == STATUS_OK && i < ids.count; i++) {
        REQUIRE(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_vocabulary_size(tokenizer));
    }
    if (s == STATUS_OK) {
        s = tokenizer_decode(tokenizer, ids.ids, ids.count, false, &decoded);
        REQUIRE(s != STATUS_OK || decoded.length == 0 ||
                utf8_valid(decoded.data, decoded.length, NULL));
    }
    buffer_destroy(&decoded);
    token_list_destroy(&ids);
    tokenizer_scratch_destroy(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    if (length == 0) {
        return 0;
    }
    size_t kind = bytes[0] % COUNT_OF(kinds);
    struct fuzz_input input = {bytes + 1, length - 1};
    struct tokenizer_files files = {.name = kinds[kind].name, .model_type = kinds[kind].model_type};
    files.config = span_of(take_text(&input));
    files.special_tokens_map = span_of(take_text(&input));
    files.added_tokens = span_of(take_text(&input));
    files.merges = span_of(take_text(&input));
    struct fuzz_input text = take_text(&input);
    files.vocabulary = (struct text_span){(const char *)input.bytes, input.length};
    struct tokenizer *tokenizer;
    status s = tokenizer_create_from_files(&files, &tokenizer);
    require_message(s);
    if (s == STATUS_OK) {
        for (size_t i = 0; i < TOKENIZER_NAME_COUNT; i++) {
            const char *name = tokenizer_named(tokenizer, (enum tokenizer_name)i);
            REQUIRE(name == NULL || utf8_valid(name, strlen(name), NULL));
        }
        check_ids(tokenizer, text);
        tokenizer_destroy(tokenizer);
    }
    return 0;
}
