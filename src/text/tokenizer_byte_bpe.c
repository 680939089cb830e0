/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-level BPE from vocab.json and merges.txt, or from tiktoken's ranks, and the way of a text to
 * it: both come with a vocabulary and the class's pattern. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_source.h"

/* ---- What both have ----------------------------------------------------------------------------
 */

/* Without all of them a text would lose what it is made of. */
static status check_alphabet(const struct tokenizer *tokenizer)
{
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t length = utf8_encode(tokenizer->alphabet.character[byte], text);
        if (token_table_find(&tokenizer->vocabulary, text, length) == NO_TOKEN) {
            return status_fail(
                STATUS_INVALID,
                "not the vocabulary of a byte-level BPE: no token for the byte 0x%02x",
                (unsigned)byte);
        }
    }
    return STATUS_OK;
}

static status load_text_parts(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    const struct tokenizer_class *class_ = source->class_;
    bool add_prefix_space = false;
    TRY(source_bool(source, "add_prefix_space", &add_prefix_space));
    if (class_->compose) {
        struct normalizer *normalizer;
        TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
        normalizer->kind = NORMALIZER_FORM;
        normalizer->compose = true;
    }
    if (class_->pattern != NULL) {
        TRY(tokenizer_add_split(tokenizer, class_->pattern));
    }
    struct pre_tokenizer *byte_level;
    TRY(tokenizer_add_pre_tokenizer(tokenizer, &byte_level));
    byte_level->behavior = SPLIT_ISOLATED;
    TRY(pre_tokenizer_make_byte_level(byte_level, add_prefix_space, class_->pattern == NULL,
                                      &tokenizer->arena));
    struct decoder *decoder;
    return tokenizer_add_decoder_of(tokenizer, DECODER_BYTE_LEVEL, &decoder);
}

/* ---- Lines -------------------------------------------------------------------------------------
 */

struct lines {
    const char *at, *end;
    size_t number; /* of the line read last */
};

/* The next line that is not empty, without its end; false behind the last. */
static bool next_line(struct lines *lines, struct text_span *out)
{
    while (lines->at < lines->end) {
        const char *stop = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
        size_t length = (size_t)((stop != NULL ? stop : lines->end) - lines->at);
        *out = (struct text_span){lines->at, length};
        out->length -= length > 0 && out->data[length - 1] == '\r';
        lines->at = stop != NULL ? stop + 1 : lines->end;
        lines->number++;
        if (out->length > 0) {
            return true;
        }
    }
    return false;
}

/* Both sides of the line's only space. */
static bool split_line(struct text_span line, struct text_span *left, struct text_span *right)
{
    const char *space = memchr(line.data, ' ', line.length);
    if (space == NULL) {
        return false;
    }
    *left = (struct text_span){line.data, (size_t)(space - line.data)};
    *right = (struct text_span){space + 1, line.length - left->length - 1};
    return left->length > 0 && right->length > 0 && memchr(right->data, ' ', right->length) == NULL;
}

/* ---- vocab.json and merges.txt -----------------------------------------------------------------
 */

static status load_vocabulary(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    struct arena arena = {0};
    struct json *root;
    struct text_span file = source->files->vocabulary;
    status s = json_parse(file.data, file.length, &arena, &root);
    if (s == STATUS_OK) {
        s = tokenizer_load_vocabulary(tokenizer, root);
    }
    arena_destroy(&arena);
    tokenizer->model_size = tokenizer->vocabulary.id_count;
    return s;
}

static status add_merge(struct tokenizer *tokenizer, struct text_span line, uint32_t rank,
                        struct buffer *joined)
{
    struct text_span left, right;
    if (!split_line(line, &left, &right)) {
        return status_fail(STATUS_INVALID, "expected two tokens");
    }
    struct bpe_merge_parts parts = {left.data, right.data, left.length, right.length};
    return bpe_add_merge_of(&tokenizer->bpe, &tokenizer->vocabulary, &parts, rank, joined);
}

static status load_merges(struct tokenizer *tokenizer, struct text_span merges)
{
    struct lines lines = {merges.data, merges.data + merges.length, 0};
    struct buffer joined = {0};
    struct text_span line;
    status s = STATUS_OK;
    uint32_t rank = 0;
    while (s == STATUS_OK && next_line(&lines, &line)) {
        bool is_version = line.length >= 8 && memcmp(line.data, "#version", 8) == 0;
        if (!is_version) {
            s = status_context(add_merge(tokenizer, line, rank++, &joined), "merges.txt: line %zu",
                               lines.number);
        }
    }
    buffer_destroy(&joined);
    return s;
}

status tokenizer_load_byte_bpe(struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    if (source->files->merges.data == NULL) {
        return status_fail(STATUS_UNSUPPORTED, "there is no merges.txt beside it");
    }
    tokenizer->model = MODEL_BPE;
    tokenizer->bpe.unknown = NO_TOKEN;
    TRY(load_vocabulary(source, tokenizer));
    TRY(check_alphabet(tokenizer));
    TRY(load_merges(tokenizer, source->files->merges));
    TRY(bpe_finish(&tokenizer->bpe, &tokenizer->vocabulary));
    return load_text_parts(source, tokenizer);
}

/* ---- tiktoken ----------------------------------------------------------------------------------
 */

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
    struct lines lines = {text, text + length, 0};
    struct text_span line, token, rank;
    struct buffer bytes = {0};
    int64_t id;
    bool is_ranks = length > 0 && next_line(&lines, &line) && split_line(line, &token, &rank) &&
                    read_rank(rank, &id) &&
                    base64_decode(token.data, token.length, &bytes) == STATUS_OK;
    buffer_destroy(&bytes);
    return is_ranks;
}

struct rank_reader {
    struct tokenizer *tokenizer;
    struct buffer bytes, mapped;
    struct scored_token *tokens;
    size_t count, capacity;
};

/* A token's bytes become the characters that stand for them; what merges first has the best score.
 */
static status add_rank(struct rank_reader *reader, struct text_span line)
{
    struct text_span token, rank;
    struct tokenizer *tokenizer = reader->tokenizer;
    int64_t id;
    if (!split_line(line, &token, &rank) || !read_rank(rank, &id)) {
        return status_fail(STATUS_INVALID, "expected a token in base64 and its rank");
    }
    buffer_clear(&reader->bytes);
    buffer_clear(&reader->mapped);
    TRY(base64_decode(token.data, token.length, &reader->bytes));
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

static status load_ranks(struct tokenizer *tokenizer, struct text_span file)
{
    struct lines lines = {file.data, file.data + file.length, 0};
    struct rank_reader reader = {.tokenizer = tokenizer};
    struct text_span line;
    status s = STATUS_OK;
    while (s == STATUS_OK && next_line(&lines, &line)) {
        s = status_context(add_rank(&reader, line), "line %zu", lines.number);
    }
    tokenizer->model_size = tokenizer->vocabulary.id_count;
    if (s == STATUS_OK) {
        s = check_alphabet(tokenizer);
    }
    if (s == STATUS_OK) {
        s = bpe_add_scored_merges(&tokenizer->bpe, &tokenizer->vocabulary, reader.tokens,
                                  reader.count);
    }
    buffer_destroy(&reader.bytes);
    buffer_destroy(&reader.mapped);
    free(reader.tokens);
    return s;
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
    tokenizer->model = MODEL_BPE;
    tokenizer->bpe.unknown = NO_TOKEN;
    tokenizer->bpe.ignore_merges = true;
    TRY(load_ranks(tokenizer, source->files->vocabulary));
    TRY(bpe_finish(&tokenizer->bpe, &tokenizer->vocabulary));
    TRY(load_text_parts(source, tokenizer));
    return add_special_tokens(source, tokenizer);
}
