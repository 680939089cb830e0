/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-level BPE from tokens with ranks in place of merges: tiktoken's files, a token in base64 and
 * its rank a line, and Mistral's tekken.json, which brings pattern and special tokens along. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/read/source.h"

struct rank_reader {
    struct tokenizer *tokenizer;
    struct buffer bytes, mapped;
    struct scored_token *tokens;
    size_t count, capacity;
};

/* A token's bytes become the characters that stand for them; what merges first has the best score.
 */
static status add_token(struct rank_reader *reader, struct text_span base64, int64_t id)
{
    struct tokenizer *tokenizer = reader->tokenizer;
    buffer_clear(&reader->bytes);
    buffer_clear(&reader->mapped);
    TRY(base64_decode(base64.data, base64.length, &reader->bytes));
    TRY(byte_alphabet_append(&tokenizer->alphabet, reader->bytes.data, reader->bytes.length,
                             &reader->mapped));
    if (token_table_at(&tokenizer->vocabulary, (int32_t)id) != NULL ||
        token_table_find(&tokenizer->vocabulary, reader->mapped.data, reader->mapped.length) !=
            NO_TOKEN) {
        return status_fail(STATUS_INVALID, "a token or a rank that was there before");
    }
    TRY(token_table_add(&tokenizer->vocabulary, reader->mapped.data, reader->mapped.length, id));
    void *tokens = reader->tokens;
    status s = array_grow(&tokens, &reader->capacity, reader->count + 1, sizeof *reader->tokens);
    reader->tokens = tokens;
    if (s == STATUS_OK) {
        reader->tokens[reader->count++] = (struct scored_token){-(double)id, (int32_t)id};
    }
    return s;
}

/* Takes what `read` gives the reader for a model. */
static status load_ranks(const struct tokenizer_source *source, struct tokenizer *tokenizer,
                         status (*read)(const struct tokenizer_source *, struct rank_reader *))
{
    struct rank_reader reader = {.tokenizer = tokenizer};
    tokenizer->model = MODEL_BPE;
    tokenizer->bpe.unknown = NO_TOKEN;
    tokenizer->bpe.ignore_merges = true;
    status s = read(source, &reader);
    tokenizer->model_size = tokenizer->vocabulary.id_count;
    if (s == STATUS_OK) {
        s = byte_bpe_check_alphabet(tokenizer);
    }
    if (s == STATUS_OK) {
        s = bpe_add_scored_merges(&tokenizer->bpe, &tokenizer->vocabulary, reader.tokens,
                                  reader.count);
    }
    buffer_destroy(&reader.bytes);
    buffer_destroy(&reader.mapped);
    free(reader.tokens);
    return s == STATUS_OK ? bpe_finish(&tokenizer->bpe, &tokenizer->vocabulary) : s;
}

/* ---- tiktoken ---- */

static bool read_rank(struct text_span text, int64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < text.length; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || *out > TOKEN_MAX_ID) {
            return false;
        }
        *out = *out * 10 + (text.data[i] - '0');
    }
    return text.length > 0 && *out <= TOKEN_MAX_ID;
}

bool tiktoken_recognise(const char *text, size_t length)
{
    struct text_lines lines = {text, text + length, 0};
    struct text_span line, token, rank;
    struct buffer bytes = {0};
    int64_t id;
    bool is_ranks = length > 0 && text_lines_next(&lines, &line) &&
                    text_line_split(line, &token, &rank) && read_rank(rank, &id) &&
                    base64_decode(token.data, token.length, &bytes) == STATUS_OK;
    buffer_destroy(&bytes);
    return is_ranks;
}

static status read_line(struct rank_reader *reader, struct text_span line)
{
    struct text_span token, rank;
    int64_t id;
    return text_line_split(line, &token, &rank) && read_rank(rank, &id)
               ? add_token(reader, token, id)
               : status_fail(STATUS_INVALID, "expected a token in base64 and its rank");
}

static status read_tiktoken(const struct tokenizer_source *source, struct rank_reader *reader)
{
    struct text_span file = source->files->vocabulary, line;
    struct text_lines lines = {file.data, file.data + file.length, 0};
    while (text_lines_next(&lines, &line)) {
        TRY(status_context(read_line(reader, line), "line %zu", lines.number));
    }
    return STATUS_OK;
}

/* What stands behind the ranks where no file lists it. */
static status add_special_tokens(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    const struct tokenizer_class *class_ = source->class_;
    if (json_get(source->config, "added_tokens_decoder") != NULL || source->added != NULL) {
        return STATUS_OK;
    }
    if (class_->special == NULL || tokenizer->vocabulary.count != (size_t)class_->rank_count) {
        return status_fail(STATUS_UNSUPPORTED,
                           "which special tokens stand behind these %zu ranks is not known; "
                           "tokenizer_config.json must list them (added_tokens_decoder)",
                           tokenizer->vocabulary.count);
    }
    return source_add_series(source, tokenizer);
}

status tokenizer_load_tiktoken(struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    TRY(load_ranks(source, tokenizer, read_tiktoken));
    TRY(byte_bpe_load_text_parts(source, tokenizer, source->class_->pattern));
    return add_special_tokens(source, tokenizer);
}

/* ---- tekken.json ---- */

/* {"config": {"pattern": …, "default_vocab_size": …, "default_num_special_tokens": …}, "vocab":
 * [{"token_bytes": …}, …] in the order of ranks, "special_tokens": [{"rank": …, "token_str": …}]}
 */
struct tekken {
    const struct json *vocab, *special;
    const char *pattern;
    size_t special_count, count; /* ids below special_count are special tokens', then the ranks' */
};

static status read_count(const struct json *config, const char *key, size_t *out)
{
    const struct json *value = json_get(config, key);
    int64_t count;
    if (value == NULL || value->type == JSON_NULL) {
        return STATUS_OK;
    }
    if (!json_int64(value, &count) || count < 0 || count > TOKEN_MAX_ID) {
        return status_fail(STATUS_INVALID, "config: \"%s\": expected a count of tokens", key);
    }
    *out = (size_t)count;
    return STATUS_OK;
}

static status read_tekken_facts(const struct json *root, struct tekken *out)
{
    const struct json *config = json_get(root, "config");
    *out = (struct tekken){.vocab = json_get(root, "vocab"),
                           .special = json_get(root, "special_tokens"),
                           .pattern = json_string(json_get(config, "pattern"))};
    if (out->vocab == NULL || out->vocab->type != JSON_ARRAY || out->pattern == NULL) {
        return status_fail(STATUS_INVALID, "\"vocab\" or the \"pattern\" of \"config\" is missing");
    }
    if (out->special == NULL || out->special->type != JSON_ARRAY) {
        return status_fail(STATUS_UNSUPPORTED, "an early form, without \"special_tokens\"");
    }
    size_t size = out->special_count = out->special->length;
    TRY(read_count(config, "default_num_special_tokens", &out->special_count));
    size = out->special_count + out->vocab->length;
    TRY(read_count(config, "default_vocab_size", &size));
    if (out->special_count < out->special->length || size < out->special_count) {
        return status_fail(STATUS_INVALID, "config: counts that do not fit its tokens");
    }
    out->count = size - out->special_count;
    out->count = out->count < out->vocab->length ? out->count : out->vocab->length;
    return STATUS_OK;
}

static status read_tekken(const struct tokenizer_source *source, struct rank_reader *reader)
{
    const struct tekken *tekken = source->tekken;
    for (size_t i = 0; i < tekken->count; i++) {
        const struct json *bytes = json_get(tekken->vocab->items[i], "token_bytes");
        if (json_string(bytes) == NULL) {
            return status_fail(STATUS_INVALID, "vocab[%zu]: no \"token_bytes\"", i);
        }
        struct text_span base64 = {bytes->text, bytes->length};
        TRY(status_context(add_token(reader, base64, (int64_t)(tekken->special_count + i)),
                           "vocab[%zu]", i));
    }
    return STATUS_OK;
}

static status add_tekken_special(const struct tekken *tekken, struct tokenizer *tokenizer)
{
    added_vocabulary_begin(tokenizer);
    for (size_t i = 0; i < tekken->special->length; i++) {
        const struct json *item = tekken->special->items[i];
        const struct json *text = json_get(item, "token_str");
        int64_t rank;
        if (json_string(text) == NULL || !json_int64(json_get(item, "rank"), &rank) || rank < 0 ||
            (size_t)rank >= tekken->special_count) {
            return status_fail(STATUS_INVALID, "special_tokens[%zu]: no rank or \"token_str\"", i);
        }
        TRY(status_context(source_add_at(tokenizer, text->text, text->length, rank),
                           "special_tokens[%zu]", i));
    }
    return STATUS_OK;
}

status tokenizer_load_tekken(struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    struct text_span file = source->files->vocabulary;
    struct json *root;
    struct tekken tekken;
    TRY(json_parse(file.data, file.length, &source->arena, &root));
    TRY(read_tekken_facts(root, &tekken));
    source->tekken = &tekken;
    status s = load_ranks(source, tokenizer, read_tekken);
    source->tekken = NULL;
    TRY(s);
    TRY(byte_bpe_load_text_parts(source, tokenizer, tekken.pattern));
    return add_tekken_special(&tekken, tokenizer);
}
