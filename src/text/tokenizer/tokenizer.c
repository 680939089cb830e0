/* SPDX-License-Identifier: Apache-2.0 */
/* Tokenizer: its life, and what it answers about its tokens. */
#include "sluice/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* ---- Life ---- */

struct tokenizer *tokenizer_new(void)
{
    struct tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer != NULL) {
        byte_alphabet_create(&tokenizer->alphabet);
        tokenizer->bpe.prefix = tokenizer->bpe.suffix = "";
    }
    return tokenizer;
}

static status load_added_token(struct tokenizer *tokenizer, const struct json *value)
{
    const struct json *content = json_get(value, "content");
    if (json_string(content) == NULL) {
        return status_fail(STATUS_INVALID, "\"content\": expected a string");
    }
    struct added_token token = {.content = content->text, .length = content->length};
    json_bool(json_get(value, "single_word"), &token.single_word);
    json_bool(json_get(value, "lstrip"), &token.strip_left);
    json_bool(json_get(value, "rstrip"), &token.strip_right);
    json_bool(json_get(value, "special"), &token.special);
    token.normalized = !token.special;
    json_bool(json_get(value, "normalized"), &token.normalized);
    return added_vocabulary_add(tokenizer, token);
}

static status load_added_tokens(struct tokenizer *tokenizer, const struct json *tokens)
{
    if (tokens == NULL || tokens->type == JSON_NULL) {
        return STATUS_OK;
    }
    if (tokens->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID, "\"added_tokens\": expected an array");
    }
    added_vocabulary_begin(tokenizer);
    for (size_t i = 0; i < tokens->length; i++) {
        TRY(status_context(load_added_token(tokenizer, tokens->items[i]), "added_tokens[%zu]", i));
    }
    return STATUS_OK;
}

static int compare_keys_as_ids(const void *a, const void *b)
{
    long long left = strtoll(((const struct json_member *)a)->key, NULL, 10);
    long long right = strtoll(((const struct json_member *)b)->key, NULL, 10);
    return (left > right) - (left < right);
}

/* tokenizer_config.json may name tokens that tokenizer.json does not. */
static status load_config(struct tokenizer *tokenizer, const struct json *config)
{
    const struct json *decoder = json_get(config, "added_tokens_decoder");
    if (decoder == NULL || decoder->type != JSON_OBJECT) {
        return STATUS_OK;
    }
    added_vocabulary_begin(tokenizer);
    qsort(decoder->members, decoder->length, sizeof *decoder->members, compare_keys_as_ids);
    for (size_t i = 0; i < decoder->length; i++) {
        const struct json *content = json_get(decoder->members[i].value, "content");
        if (json_string(content) == NULL ||
            token_table_find(&tokenizer->added.by_content, content->text, content->length) ==
                NO_TOKEN) {
            TRY(status_context(load_added_token(tokenizer, decoder->members[i].value),
                               "added_tokens_decoder: \"%.60s\"", decoder->members[i].key));
        }
    }
    return STATUS_OK;
}

/* A part that may be missing or null. */
static status load_part(struct tokenizer *tokenizer, const struct json *root, const char *key,
                        status (*load)(struct tokenizer *, const struct json *))
{
    const struct json *value = json_get(root, key);
    return value == NULL || value->type == JSON_NULL
               ? STATUS_OK
               : status_context(load(tokenizer, value), "%s", key);
}

static status load_root(struct tokenizer *tokenizer, const struct json *root)
{
    if (root->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "expected an object, found %s", json_kind(root));
    }
    TRY(status_context(tokenizer_load_model(tokenizer, json_get(root, "model")), "model"));
    TRY(load_part(tokenizer, root, "normalizer", tokenizer_load_normalizer));
    TRY(load_part(tokenizer, root, "pre_tokenizer", tokenizer_load_pre_tokenizer));
    TRY(load_part(tokenizer, root, "post_processor", tokenizer_load_post_processor));
    TRY(load_part(tokenizer, root, "decoder", tokenizer_load_decoder));
    return load_added_tokens(tokenizer, json_get(root, "added_tokens"));
}

status tokenizer_create(const char *json, size_t json_length, const char *config,
                        size_t config_length, struct tokenizer **out)
{
    *out = NULL;
    struct arena arena = {0};
    struct json *root;
    struct tokenizer *tokenizer = tokenizer_new();
    if (tokenizer == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a tokenizer");
    }
    status s = json_parse(json, json_length, &arena, &root);
    if (s == STATUS_OK) {
        s = load_root(tokenizer, root);
    }
    if (s == STATUS_OK && config != NULL) {
        arena_reset(&arena);
        s = json_parse(config, config_length, &arena, &root);
        if (s == STATUS_OK) {
            s = load_config(tokenizer, root);
        }
        s = status_context(s, "tokenizer_config.json");
    }
    arena_destroy(&arena);
    if (s == STATUS_OK) {
        s = tokenizer_finish(tokenizer);
    }
    if (s != STATUS_OK) {
        tokenizer_destroy(tokenizer);
        return s;
    }
    *out = tokenizer;
    return STATUS_OK;
}

status tokenizer_create_from_gguf(const struct gguf_vocabulary *vocabulary, struct tokenizer **out)
{
    *out = NULL;
    struct tokenizer *tokenizer = tokenizer_new();
    if (tokenizer == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a tokenizer");
    }
    status s = tokenizer_load_gguf(tokenizer, vocabulary);
    if (s == STATUS_OK) {
        s = tokenizer_finish(tokenizer);
    }
    if (s != STATUS_OK) {
        tokenizer_destroy(tokenizer);
        return s;
    }
    *out = tokenizer;
    return STATUS_OK;
}

static size_t greatest_size(const struct tokenizer *tokenizer)
{
    size_t size = tokenizer->vocabulary.id_count;
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        size_t next = (size_t)tokenizer->added.tokens[i].id + 1;
        size = next > size ? next : size;
    }
    return size;
}

status tokenizer_finish(struct tokenizer *tokenizer)
{
    TRY(added_vocabulary_finish(&tokenizer->added));
    size_t size = greatest_size(tokenizer);
    tokenizer->size = size;
    tokenizer->decoded = calloc(size + 1, sizeof *tokenizer->decoded);
    tokenizer->special = calloc(size + 1, sizeof *tokenizer->special);
    if (tokenizer->decoded == NULL || tokenizer->special == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu tokens", size);
    }
    for (size_t id = 0; id < size; id++) {
        const struct token_entry *entry = token_table_at(&tokenizer->vocabulary, (int32_t)id);
        if (entry != NULL) {
            tokenizer->decoded[id] = *entry;
        }
    }
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        const struct added_token *token = &tokenizer->added.tokens[i];
        tokenizer->decoded[token->id] = (struct token_entry){
            token->normalized_content, (uint32_t)token->normalized_length, token->id};
    }
    /* A token is special by its string, which for one that is normalized is another string. */
    for (size_t id = 0; id < size; id++) {
        const struct token_entry *entry = &tokenizer->decoded[id];
        int32_t index = entry->text != NULL ? token_table_find(&tokenizer->added.by_content,
                                                               entry->text, entry->length)
                                            : NO_TOKEN;
        tokenizer->special[id] = index != NO_TOKEN && tokenizer->added.tokens[index].special;
    }
    stream_plan_create(tokenizer);
    return STATUS_OK;
}

void tokenizer_destroy(struct tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    for (size_t i = 0; i < tokenizer->normalizer_count; i++) {
        normalizer_destroy(&tokenizer->normalizers[i]);
    }
    for (size_t i = 0; i < tokenizer->pre_tokenizer_count; i++) {
        regex_destroy(tokenizer->pre_tokenizers[i].pattern.regex);
    }
    for (size_t i = 0; i < tokenizer->decoder_count; i++) {
        regex_destroy(tokenizer->decoders[i].pattern.regex);
    }
    free(tokenizer->normalizers);
    free(tokenizer->pre_tokenizers);
    free(tokenizer->post_processors);
    free(tokenizer->decoders);
    free(tokenizer->decoded);
    free(tokenizer->special);
    bpe_destroy(&tokenizer->bpe);
    unigram_destroy(&tokenizer->unigram);
    wordpiece_destroy(&tokenizer->wordpiece);
    added_vocabulary_destroy(&tokenizer->added);
    token_table_destroy(&tokenizer->vocabulary);
    arena_destroy(&tokenizer->arena);
    free(tokenizer);
}

/* ---- Arrays of parts ---- */

/* Room for one more zeroed item; *index is where. */
static status add_part(void **items, size_t *count, size_t *capacity, size_t size, size_t *index)
{
    TRY(array_grow(items, capacity, *count + 1, size));
    memset((char *)*items + *count * size, 0, size);
    *index = (*count)++;
    return STATUS_OK;
}

status tokenizer_add_normalizer(struct tokenizer *tokenizer, struct normalizer **out)
{
    void *items = tokenizer->normalizers;
    size_t index = 0;
    status s = add_part(&items, &tokenizer->normalizer_count, &tokenizer->normalizer_capacity,
                        sizeof *tokenizer->normalizers, &index);
    tokenizer->normalizers = items;
    *out = s == STATUS_OK ? &tokenizer->normalizers[index] : NULL;
    return s;
}

status tokenizer_add_pre_tokenizer(struct tokenizer *tokenizer, struct pre_tokenizer **out)
{
    void *items = tokenizer->pre_tokenizers;
    size_t index = 0;
    status s = add_part(&items, &tokenizer->pre_tokenizer_count, &tokenizer->pre_tokenizer_capacity,
                        sizeof *tokenizer->pre_tokenizers, &index);
    tokenizer->pre_tokenizers = items;
    *out = s == STATUS_OK ? &tokenizer->pre_tokenizers[index] : NULL;
    return s;
}

status tokenizer_add_post_processor(struct tokenizer *tokenizer, struct post_processor **out)
{
    void *items = tokenizer->post_processors;
    size_t index = 0;
    status s =
        add_part(&items, &tokenizer->post_processor_count, &tokenizer->post_processor_capacity,
                 sizeof *tokenizer->post_processors, &index);
    tokenizer->post_processors = items;
    *out = s == STATUS_OK ? &tokenizer->post_processors[index] : NULL;
    return s;
}

status tokenizer_add_decoder(struct tokenizer *tokenizer, struct decoder **out)
{
    void *items = tokenizer->decoders;
    size_t index = 0;
    status s = add_part(&items, &tokenizer->decoder_count, &tokenizer->decoder_capacity,
                        sizeof *tokenizer->decoders, &index);
    tokenizer->decoders = items;
    *out = s == STATUS_OK ? &tokenizer->decoders[index] : NULL;
    return s;
}

status tokenizer_add_split(struct tokenizer *tokenizer, const char *pattern)
{
    struct pre_tokenizer *split;
    TRY(tokenizer_add_pre_tokenizer(tokenizer, &split));
    split->kind = PRE_TOKENIZER_SPLIT;
    split->behavior = SPLIT_ISOLATED;
    return text_pattern_create(&split->pattern, pattern, strlen(pattern), true, &tokenizer->arena);
}

status tokenizer_add_decoder_of(struct tokenizer *tokenizer, enum decoder_kind kind,
                                struct decoder **out)
{
    TRY(tokenizer_add_decoder(tokenizer, out));
    (*out)->kind = kind;
    tokenizer->has_decoder = true;
    return STATUS_OK;
}

status tokenizer_add_space_decoders(struct tokenizer *tokenizer, bool strip_first)
{
    static const char space[] = "\xE2\x96\x81";
    struct decoder *decoder;
    TRY(tokenizer_add_decoder_of(tokenizer, DECODER_REPLACE, &decoder));
    decoder->content = " ";
    decoder->content_length = 1;
    TRY(text_pattern_create(&decoder->pattern, space, strlen(space), false, &tokenizer->arena));
    TRY(tokenizer_add_decoder_of(tokenizer, DECODER_BYTE_FALLBACK, &decoder));
    TRY(tokenizer_add_decoder_of(tokenizer, DECODER_FUSE, &decoder));
    if (strip_first) {
        TRY(tokenizer_add_decoder_of(tokenizer, DECODER_STRIP, &decoder));
        decoder->character = ' ';
        decoder->start = 1;
    }
    return STATUS_OK;
}

/* ---- Questions ---- */

size_t tokenizer_vocabulary_size(const struct tokenizer *tokenizer)
{
    return tokenizer->size;
}

int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token)
{
    size_t length = strlen(token);
    int32_t index = token_table_find(&tokenizer->added.by_content, token, length);
    return index != NO_TOKEN ? tokenizer->added.tokens[index].id
                             : token_table_find(&tokenizer->vocabulary, token, length);
}

const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->size ? tokenizer->decoded[id].text : NULL;
}

const char *tokenizer_named(const struct tokenizer *tokenizer, enum tokenizer_name name)
{
    return tokenizer->names[name];
}

bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->size && tokenizer->special[id];
}
