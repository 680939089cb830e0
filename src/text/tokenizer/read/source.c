/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer from a directory's files: which builder reads them, and what tokenizer_config.json,
 * special_tokens_map.json and added_tokens.json add. */
#include "text/tokenizer/read/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What the files say ---- */

static const char *const role_keys[TOKEN_ROLE_COUNT] = {
    [ROLE_NONE] = "",
    [ROLE_BOS] = "bos_token",
    [ROLE_EOS] = "eos_token",
    [ROLE_UNKNOWN] = "unk_token",
    [ROLE_SEPARATOR] = "sep_token",
    [ROLE_PAD] = "pad_token",
    [ROLE_CLASSIFY] = "cls_token",
    [ROLE_MASK] = "mask_token",
};

status source_bool(const struct tokenizer_source *source, const char *key, bool *out)
{
    const struct json *value = json_get(source->config, key);
    if (value != NULL && value->type != JSON_NULL && !json_bool(value, out)) {
        return status_fail(STATUS_INVALID, "tokenizer_config.json: \"%s\": expected a boolean",
                           key);
    }
    return STATUS_OK;
}

/* A token is a string, or an object with "content". */
static const struct json *token_content(const struct json *value)
{
    return value != NULL && value->type == JSON_OBJECT ? json_get(value, "content") : value;
}

/* What tokenizer_config.json, else special_tokens_map.json gives a key; NULL: neither. */
static const struct json *find_token(const struct tokenizer_source *source, const char *key)
{
    const struct json *value = json_get(source->config, key);
    if (value == NULL || value->type == JSON_NULL) {
        value = json_get(source->map, key);
    }
    return value != NULL && value->type != JSON_NULL ? value : NULL;
}

static void find_roles(struct tokenizer_source *source)
{
    for (size_t i = ROLE_BOS; i < TOKEN_ROLE_COUNT; i++) {
        const char *said = json_string(token_content(find_token(source, role_keys[i])));
        source->roles[i] = said != NULL ? said : source->class_->roles[i];
    }
}

static status parse_object(const char *name, struct text_span text, struct arena *arena,
                           const struct json **out)
{
    struct json *root;
    if (text.data == NULL) {
        return STATUS_OK;
    }
    TRY(status_context(json_parse(text.data, text.length, arena, &root), "%s", name));
    *out = root;
    return root->type == JSON_OBJECT ? STATUS_OK
                                     : status_fail(STATUS_INVALID, "%s: expected an object", name);
}

/* ---- Added tokens ---- */

static void read_flags(const struct json *value, struct added_token *token)
{
    json_bool(json_get(value, "single_word"), &token->single_word);
    json_bool(json_get(value, "lstrip"), &token->strip_left);
    json_bool(json_get(value, "rstrip"), &token->strip_right);
    json_bool(json_get(value, "special"), &token->special);
    token->normalized = !token->special;
    json_bool(json_get(value, "normalized"), &token->normalized);
}

static bool is_role(const struct tokenizer_source *source, const char *content)
{
    for (size_t i = 0; i < TOKEN_ROLE_COUNT; i++) {
        if (source->roles[i] != NULL && strcmp(source->roles[i], content) == 0) {
            return true;
        }
    }
    return false;
}

struct listed_token {
    int64_t id;
    struct added_token token;
};

static int compare_ids(const void *a, const void *b)
{
    int64_t left = ((const struct listed_token *)a)->id,
            right = ((const struct listed_token *)b)->id;
    return (left > right) - (left < right);
}

/* A symbol of ▁ is in normalized texts alone: looking for it in the text as given, as its flags may
 * say, would find none. */
static bool is_of_spaces(const struct tokenizer *tokenizer, const struct added_token *token)
{
    const struct added_vocabulary *added = &tokenizer->added;
    int32_t known = token_table_find(&added->by_content, token->content, token->length);
    return known != NO_TOKEN && added->tokens[known].verbatim && !token->special &&
           memmem(token->content, token->length, "\xE2\x96\x81", 3) != NULL;
}

/* A token at the id that a file gives it: the model was trained with that one. */
static status add_at(struct tokenizer *tokenizer, const struct listed_token *listed)
{
    const char *content = listed->token.content;
    if (listed->id < 0 || listed->id > TOKEN_MAX_ID) {
        return status_fail(STATUS_INVALID, "\"%.60s\": no id of a token", content);
    }
    if (token_table_at(&tokenizer->vocabulary, (int32_t)listed->id) == NULL) {
        tokenizer->added.next_id = (int32_t)listed->id;
    }
    if (!is_of_spaces(tokenizer, &listed->token)) {
        TRY(added_vocabulary_add(tokenizer, listed->token));
    }
    int32_t id = tokenizer_token_id(tokenizer, content);
    return id == listed->id || listed->token.length == 0
               ? STATUS_OK
               : status_fail(STATUS_INVALID,
                             "\"%.60s\" is token %d of the vocabulary, and is said to be %lld",
                             content, id, (long long)listed->id);
}

status source_add_at(struct tokenizer *tokenizer, const char *content, size_t length, int64_t id)
{
    struct listed_token listed = {.id = id,
                                  .token = {.content = content, .length = length, .special = true}};
    return add_at(tokenizer, &listed);
}

static status add_list(struct tokenizer *tokenizer, struct listed_token *list, size_t count)
{
    if (count > 0) {
        qsort(list, count, sizeof *list, compare_ids);
    }
    added_vocabulary_begin(tokenizer);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && list[i].id == list[i - 1].id) {
            return status_fail(STATUS_INVALID, "two tokens of the id %lld", (long long)list[i].id);
        }
        TRY(add_at(tokenizer, &list[i]));
    }
    return STATUS_OK;
}

/* {"32000": {"content": "<pad>", …}, …} */
static status read_decoder(const struct json_member *member, struct listed_token *out)
{
    const struct json *content = json_get(member->value, "content");
    char *end;
    out->id = strtoll(member->key, &end, 10);
    if (json_string(content) == NULL || end == member->key || *end != '\0') {
        return status_fail(STATUS_INVALID, "\"%.60s\": expected an id with a token's \"content\"",
                           member->key);
    }
    out->token = (struct added_token){.content = content->text, .length = content->length};
    read_flags(member->value, &out->token);
    return STATUS_OK;
}

/* {"<pad>": 32000, …}: special are those that something else says are. */
static status read_added(const struct tokenizer_source *source, const struct json_member *member,
                         struct listed_token *out)
{
    if (!json_int64(member->value, &out->id)) {
        return status_fail(STATUS_INVALID, "\"%.60s\": expected an id", member->key);
    }
    bool special = is_role(source, member->key);
    out->token = (struct added_token){.content = member->key,
                                      .length = member->key_length,
                                      .special = special,
                                      .normalized = !special};
    return STATUS_OK;
}

/* A name with a number in the place of its '#'. */
static status write_name(const char *pattern, int32_t number, struct buffer *out)
{
    size_t head = strcspn(pattern, "#");
    buffer_clear(out);
    TRY(buffer_append(out, pattern, head));
    return pattern[head] == '\0' ? STATUS_OK
                                 : buffer_format(out, "%d%s", (int)number, pattern + head + 1);
}

static status add_series(struct tokenizer *tokenizer, const struct token_series *series,
                         struct buffer *name)
{
    for (int32_t i = 0; i < series->count; i++) {
        TRY(write_name(series->name, series->number + i, name));
        TRY(source_add_at(tokenizer, name->data, name->length, series->id + i));
    }
    return STATUS_OK;
}

status source_add_series(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    struct buffer name = {0};
    status s = STATUS_OK;
    added_vocabulary_begin(tokenizer);
    for (const struct token_series *series = source->class_->special;
         s == STATUS_OK && series->name != NULL; series++) {
        s = add_series(tokenizer, series, &name);
    }
    buffer_destroy(&name);
    return s;
}

/* added_tokens_decoder, or without one added_tokens.json. */
static status add_listed(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    const struct json *decoder = json_get(source->config, "added_tokens_decoder");
    bool has_decoder = decoder != NULL && decoder->type == JSON_OBJECT;
    const struct json *object = has_decoder ? decoder : source->added;
    const char *name =
        has_decoder ? "tokenizer_config.json: added_tokens_decoder" : "added_tokens.json";
    size_t count = object != NULL ? object->length : 0;
    struct listed_token *list = calloc(count + 1, sizeof *list);
    if (list == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for added tokens");
    }
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        s = has_decoder ? read_decoder(&object->members[i], &list[i])
                        : read_added(source, &object->members[i], &list[i]);
        list[i].token.normalized = list[i].token.normalized && !source->match_raw;
    }
    if (s == STATUS_OK) {
        s = add_list(tokenizer, list, count);
    }
    free(list);
    return status_context(s, "%s", name);
}

/* A special token, unless it is one already. */
static status add_special(struct tokenizer *tokenizer, const struct json *value)
{
    const struct json *content = token_content(value);
    if (json_string(content) == NULL ||
        token_table_find(&tokenizer->added.by_content, content->text, content->length) !=
            NO_TOKEN) {
        return STATUS_OK;
    }
    struct added_token token = {.content = content->text, .length = content->length};
    read_flags(value, &token);
    token.special = true;
    token.normalized = false;
    json_bool(json_get(value, "normalized"), &token.normalized);
    return added_vocabulary_add(tokenizer, token);
}

/* The class's own tokens are only those that the vocabulary has. */
static status add_role(const struct tokenizer_source *source, struct tokenizer *tokenizer,
                       enum token_role role)
{
    const struct json *said = find_token(source, role_keys[role]);
    if (json_string(token_content(said)) != NULL) {
        return add_special(tokenizer, said);
    }
    const char *content = source->roles[role];
    if (content == NULL ||
        token_table_find(&tokenizer->vocabulary, content, strlen(content)) == NO_TOKEN) {
        return STATUS_OK;
    }
    struct json value = {.type = JSON_STRING, .length = strlen(content), .text = content};
    return add_special(tokenizer, &value);
}

status source_add_tokens(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    TRY(add_listed(source, tokenizer));
    added_vocabulary_begin(tokenizer);
    for (size_t i = ROLE_BOS; i < TOKEN_ROLE_COUNT; i++) {
        TRY(add_role(source, tokenizer, (enum token_role)i));
    }
    static const char *const lists[] = {"additional_special_tokens", "extra_special_tokens"};
    for (size_t i = 0; i < COUNT_OF(lists); i++) {
        const struct json *list = find_token(source, lists[i]);
        bool named = list != NULL && list->type == JSON_OBJECT; /* {"image_token": "<image>"} */
        size_t count = named || (list != NULL && list->type == JSON_ARRAY) ? list->length : 0;
        for (size_t j = 0; j < count; j++) {
            TRY(add_special(tokenizer, named ? list->members[j].value : list->items[j]));
        }
    }
    return STATUS_OK;
}

/* ---- Tokens around a text ---- */

struct around {
    struct tokenizer *tokenizer;
    struct template_items *items;
};

static status add_around(struct around *around, const char *token, size_t length)
{
    char name[256];
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : 0), token);
    int32_t id = tokenizer_token_id(around->tokenizer, name);
    int32_t *ids = arena_allocate(&around->tokenizer->arena, sizeof *ids);
    if (id == NO_TOKEN) {
        return status_fail(STATUS_INVALID,
                           "\"%.60s\" belongs around a text and is not in the vocabulary", name);
    }
    if (ids == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    *ids = id;
    around->items->items[around->items->count++] =
        (struct template_item){.ids = ids, .id_count = 1};
    return STATUS_OK;
}

static status add_role_around(struct around *around, const struct tokenizer_source *source,
                              enum token_role role)
{
    const char *token = source->roles[role];
    return token != NULL ? add_around(around, token, strlen(token)) : STATUS_OK;
}

/* Each of a list's tokens in spaces. */
static status add_list_around(struct around *around, const char *list)
{
    for (const char *at = list; *at != '\0'; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        TRY(add_around(around, at, length));
        at += length;
    }
    return STATUS_OK;
}

status source_add_template(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    enum { MOST = 8 };
    const struct tokenizer_class *class_ = source->class_;
    bool add_bos = class_->add_bos, add_eos = false;
    TRY(source_bool(source, "add_bos_token", &add_bos));
    TRY(source_bool(source, "add_eos_token", &add_eos));
    enum token_role before = class_->before, after = class_->after;
    if (before == ROLE_NONE && after == ROLE_NONE && class_->prefix == NULL) {
        before = add_bos ? ROLE_BOS : ROLE_NONE;
        after = add_eos ? ROLE_EOS : ROLE_NONE;
    }
    struct post_processor *post;
    TRY(tokenizer_add_post_processor(tokenizer, &post));
    post->kind = POST_TEMPLATE;
    post->single.items = arena_allocate_array(&tokenizer->arena, MOST, sizeof *post->single.items);
    if (post->single.items == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    struct around around = {tokenizer, &post->single};
    TRY(class_->prefix != NULL ? add_list_around(&around, class_->prefix) : STATUS_OK);
    TRY(add_role_around(&around, source, before));
    post->single.items[post->single.count++] = (struct template_item){.is_sequence = true};
    return add_role_around(&around, source, after);
}

/* What the roles' tokens are called, for whoever opens the model. */
static void keep_names(const struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    static const enum token_role roles[TOKENIZER_NAME_COUNT] = {
        [TOKENIZER_BOS] = ROLE_BOS,
        [TOKENIZER_EOS] = ROLE_EOS,
        [TOKENIZER_PAD] = ROLE_PAD,
        [TOKENIZER_UNKNOWN] = ROLE_UNKNOWN,
    };
    for (size_t i = 0; i < TOKENIZER_NAME_COUNT; i++) {
        const char *name = source->roles[roles[i]];
        int32_t id = name != NULL ? tokenizer_token_id(tokenizer, name) : NO_TOKEN;
        tokenizer->names[i] = id != NO_TOKEN ? tokenizer_token(tokenizer, id) : NULL;
    }
}

/* ---- The whole ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Names say it, but for *.model, which is of one of two forms. */
static status find_form(const struct tokenizer_files *files, enum tokenizer_form *out)
{
    const char *name = files->name;
    const char *text = files->vocabulary.data;
    size_t length = files->vocabulary.length;
    if (strcmp(name, "tekken.json") == 0) {
        *out = FORM_TEKKEN;
    } else if (ends_with(name, ".json")) {
        *out = FORM_BYTE_BPE;
    } else if (ends_with(name, ".txt")) {
        *out = FORM_WORDPIECE;
    } else if (tiktoken_recognise(text, length)) {
        *out = FORM_TIKTOKEN;
    } else if (ends_with(name, ".model") && length > 0 && text[0] == '\n') {
        *out = FORM_SENTENCEPIECE;
    } else {
        return status_fail(STATUS_INVALID,
                           ends_with(name, ".model")
                               ? "neither a SentencePiece model nor tiktoken's ranks"
                               : "not tiktoken's ranks");
    }
    return STATUS_OK;
}

static status load(struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    static status (*const builders[])(struct tokenizer_source *, struct tokenizer *) = {
        [FORM_SENTENCEPIECE] = tokenizer_load_sentencepiece,
        [FORM_BYTE_BPE] = tokenizer_load_byte_bpe,
        [FORM_WORDPIECE] = tokenizer_load_wordpiece,
        [FORM_TIKTOKEN] = tokenizer_load_tiktoken,
        [FORM_TEKKEN] = tokenizer_load_tekken,
    };
    const struct tokenizer_files *files = source->files;
    enum tokenizer_form form;
    TRY(find_form(files, &form));
    struct arena *arena = &source->arena;
    TRY(parse_object("tokenizer_config.json", files->config, arena, &source->config));
    TRY(parse_object("special_tokens_map.json", files->special_tokens_map, arena, &source->map));
    TRY(parse_object("added_tokens.json", files->added_tokens, arena, &source->added));
    TRY(tokenizer_class_find(source, form));
    find_roles(source);
    TRY(builders[form](source, tokenizer));
    TRY(source_add_tokens(source, tokenizer));
    TRY(source_add_template(source, tokenizer));
    TRY(tokenizer_finish(tokenizer));
    keep_names(source, tokenizer);
    return STATUS_OK;
}

status tokenizer_create_from_files(const struct tokenizer_files *files, struct tokenizer **out)
{
    *out = NULL;
    struct tokenizer_source source = {.files = files};
    struct tokenizer *tokenizer = tokenizer_new();
    if (tokenizer == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a tokenizer");
    }
    status s = load(&source, tokenizer);
    arena_destroy(&source.arena);
    if (s != STATUS_OK) {
        tokenizer_destroy(tokenizer);
        return s;
    }
    *out = tokenizer;
    return STATUS_OK;
}
