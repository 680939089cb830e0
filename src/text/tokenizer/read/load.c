/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json: normalizers, pre-tokenizers, post-processors, decoders. */
#include <stdio.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* ---- Reading fields ---- */

static status need_string(const struct json *object, const char *key, const char **text,
                          size_t *length)
{
    const struct json *value = json_get(object, key);
    *text = "";
    *length = 0;
    if (value == NULL || value->type != JSON_STRING) {
        return status_fail(STATUS_INVALID, "\"%s\": expected a string, found %s", key,
                           value != NULL ? json_kind(value) : "nothing");
    }
    *text = value->text;
    *length = value->length;
    return STATUS_OK;
}

/* A boolean; missing is an error. */
static status need_bool(const struct json *object, const char *key, bool *out)
{
    const struct json *value = json_get(object, key);
    if (!json_bool(value, out)) {
        return status_fail(STATUS_INVALID, "\"%s\": expected a boolean, found %s", key,
                           value != NULL ? json_kind(value) : "nothing");
    }
    return STATUS_OK;
}

/* A boolean; missing or null leaves *out alone. */
static status read_bool(const struct json *object, const char *key, bool *out)
{
    const struct json *value = json_get(object, key);
    return value == NULL || value->type == JSON_NULL ? STATUS_OK : need_bool(object, key, out);
}

static status need_size(const struct json *object, const char *key, size_t *out)
{
    int64_t value;
    if (!json_int64(json_get(object, key), &value) || value < 0) {
        return status_fail(STATUS_INVALID, "\"%s\": expected a count", key);
    }
    *out = (size_t)value;
    return STATUS_OK;
}

static status need_character(const struct json *object, const char *key, int32_t *out)
{
    const char *text;
    size_t length, size = 0;
    TRY(need_string(object, key, &text, &length));
    if (length > 0) {
        *out = unicode_next(text, &size);
    }
    if (length == 0 || size != length) {
        return status_fail(STATUS_INVALID, "\"%s\": expected one character", key);
    }
    return STATUS_OK;
}

/* A string kept in the tokenizer's arena. */
static status keep_string(struct tokenizer *tokenizer, const struct json *object, const char *key,
                          const char **text, size_t *length)
{
    const char *found;
    TRY(need_string(object, key, &found, length));
    *text = arena_copy(&tokenizer->arena, found, *length);
    return *text != NULL ? STATUS_OK
                         : status_fail(STATUS_NO_MEMORY, "out of memory for \"%s\"", key);
}

/* {"String": …} or {"Regex": …}. */
static status read_pattern(struct tokenizer *tokenizer, const struct json *object,
                           struct text_pattern *out)
{
    const struct json *value = json_get(object, "pattern");
    if (value != NULL && value->type == JSON_OBJECT && value->length == 1) {
        const struct json_member *member = &value->members[0];
        bool is_regex = strcmp(member->key, "Regex") == 0;
        if ((is_regex || strcmp(member->key, "String") == 0) &&
            member->value->type == JSON_STRING) {
            return status_context(text_pattern_create(out, member->value->text,
                                                      member->value->length, is_regex,
                                                      &tokenizer->arena),
                                  "\"pattern\"");
        }
    }
    return status_fail(STATUS_INVALID, "\"pattern\": expected {\"String\": …} or {\"Regex\": …}");
}

/* Index of a name in a table of `count`, or -1. */
static int find_name(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; name != NULL && i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* Index of the object's "type" in `names`; the failure lists them. */
static status read_type(const struct json *value, const char *const *names, size_t count,
                        int *index)
{
    if (value == NULL || value->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "expected an object");
    }
    const char *type = json_string(json_get(value, "type"));
    *index = find_name(type, names, count);
    if (*index >= 0) {
        return STATUS_OK;
    }
    char list[512];
    size_t used = 0;
    list[0] = '\0';
    for (size_t i = 0; i < count && used < sizeof list; i++) {
        int written =
            snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
        used += written > 0 ? (size_t)written : 0;
    }
    return status_fail(type != NULL ? STATUS_UNSUPPORTED : STATUS_INVALID,
                       "unknown type \"%.60s\" (supported: %s)", type != NULL ? type : "", list);
}

/* The parts of a Sequence, each given to `load`. */
static status load_sequence(struct tokenizer *tokenizer, const struct json *value, const char *key,
                            status (*load)(struct tokenizer *, const struct json *))
{
    const struct json *items = json_get(value, key);
    if (items == NULL || items->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID, "\"%s\": expected an array", key);
    }
    for (size_t i = 0; i < items->length; i++) {
        TRY(status_context(load(tokenizer, items->items[i]), "%s[%zu]", key, i));
    }
    return STATUS_OK;
}

/* ---- Normalizers ---- */

static status load_bert_normalizer(struct normalizer *normalizer, const struct json *value)
{
    normalizer->kind = NORMALIZER_BERT;
    TRY(need_bool(value, "clean_text", &normalizer->clean_text));
    TRY(need_bool(value, "handle_chinese_chars", &normalizer->chinese_chars));
    TRY(need_bool(value, "lowercase", &normalizer->lowercase));
    normalizer->strip_accents = normalizer->lowercase;
    return read_bool(value, "strip_accents", &normalizer->strip_accents);
}

status tokenizer_load_normalizer(struct tokenizer *tokenizer, const struct json *value)
{
    enum {
        SEQUENCE,
        NFC,
        NFD,
        NFKC,
        NFKD,
        PREPEND,
        REPLACE,
        STRIP,
        STRIP_ACCENTS,
        LOWERCASE,
        BERT,
        NMT,
        PRECOMPILED,
        BYTE_LEVEL
    };
    static const char *const names[] = {
        [SEQUENCE] = "Sequence",
        [NFC] = "NFC",
        [NFD] = "NFD",
        [NFKC] = "NFKC",
        [NFKD] = "NFKD",
        [PREPEND] = "Prepend",
        [REPLACE] = "Replace",
        [STRIP] = "Strip",
        [STRIP_ACCENTS] = "StripAccents",
        [LOWERCASE] = "Lowercase",
        [BERT] = "BertNormalizer",
        [NMT] = "Nmt",
        [PRECOMPILED] = "Precompiled",
        [BYTE_LEVEL] = "ByteLevel",
    };
    int type;
    TRY(read_type(value, names, COUNT_OF(names), &type));
    if (type == SEQUENCE) {
        return load_sequence(tokenizer, value, "normalizers", tokenizer_load_normalizer);
    }
    struct normalizer *normalizer;
    TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
    switch (type) {
    case NFC:
    case NFD:
    case NFKC:
    case NFKD:
        normalizer->kind = NORMALIZER_FORM;
        normalizer->compose = type == NFC || type == NFKC;
        normalizer->compatibility = type == NFKC || type == NFKD;
        return STATUS_OK;
    case PREPEND:
        normalizer->kind = NORMALIZER_PREPEND;
        return keep_string(tokenizer, value, "prepend", &normalizer->content,
                           &normalizer->content_length);
    case REPLACE:
        normalizer->kind = NORMALIZER_REPLACE;
        TRY(read_pattern(tokenizer, value, &normalizer->pattern));
        return keep_string(tokenizer, value, "content", &normalizer->content,
                           &normalizer->content_length);
    case STRIP:
        normalizer->kind = NORMALIZER_STRIP;
        TRY(need_bool(value, "strip_left", &normalizer->strip_left));
        return need_bool(value, "strip_right", &normalizer->strip_right);
    case STRIP_ACCENTS:
        normalizer->kind = NORMALIZER_STRIP_ACCENTS;
        return STATUS_OK;
    case LOWERCASE:
        normalizer->kind = NORMALIZER_LOWERCASE;
        return STATUS_OK;
    case BERT:
        return load_bert_normalizer(normalizer, value);
    case NMT:
        normalizer->kind = NORMALIZER_NMT;
        return STATUS_OK;
    case BYTE_LEVEL:
        normalizer->kind = NORMALIZER_BYTE_LEVEL;
        return STATUS_OK;
    default: {
        normalizer->kind = NORMALIZER_PRECOMPILED;
        const char *map;
        size_t length;
        TRY(need_string(value, "precompiled_charsmap", &map, &length));
        return precompiled_create_from_base64(normalizer, map, length, &tokenizer->arena);
    }
    }
}

/* ---- Pre-tokenizers ---- */

static status read_behavior(const struct json *value, enum split_behavior *out)
{
    static const char *const names[] = {
        [SPLIT_REMOVED] = "Removed",
        [SPLIT_ISOLATED] = "Isolated",
        [SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [SPLIT_CONTIGUOUS] = "Contiguous",
    };
    const char *text;
    size_t length;
    TRY(need_string(value, "behavior", &text, &length));
    int index = find_name(text, names, COUNT_OF(names));
    if (index < 0) {
        return status_fail(STATUS_INVALID, "\"behavior\": unknown \"%.60s\"", text);
    }
    *out = (enum split_behavior)index;
    return STATUS_OK;
}

/* "prepend_scheme" and the older "add_prefix_space", for the pre-tokenizer and the decoder. */
static status read_metaspace(const struct json *value, int32_t *character,
                             enum prepend_scheme *prepend)
{
    static const char *const names[] = {
        [PREPEND_ALWAYS] = "always", [PREPEND_FIRST] = "first", [PREPEND_NEVER] = "never"};
    TRY(need_character(value, "replacement", character));
    *prepend = PREPEND_ALWAYS;
    const struct json *scheme = json_get(value, "prepend_scheme");
    if (scheme != NULL) {
        int index = find_name(json_string(scheme), names, COUNT_OF(names));
        if (index < 0) {
            return status_fail(STATUS_INVALID,
                               "\"prepend_scheme\": expected always, first or never");
        }
        *prepend = (enum prepend_scheme)index;
    }
    bool add_prefix_space = true;
    TRY(read_bool(value, "add_prefix_space", &add_prefix_space));
    if (!add_prefix_space) {
        if (scheme != NULL && *prepend != PREPEND_NEVER) {
            return status_fail(STATUS_INVALID,
                               "\"add_prefix_space\" does not match \"prepend_scheme\"");
        }
        *prepend = PREPEND_NEVER;
    }
    return STATUS_OK;
}

static status load_byte_level(struct tokenizer *tokenizer, struct pre_tokenizer *pre_tokenizer,
                              const struct json *value)
{
    bool add_prefix_space, use_regex = true;
    TRY(need_bool(value, "add_prefix_space", &add_prefix_space));
    TRY(read_bool(value, "use_regex", &use_regex));
    pre_tokenizer->behavior = SPLIT_ISOLATED;
    return pre_tokenizer_make_byte_level(pre_tokenizer, add_prefix_space, use_regex,
                                         &tokenizer->arena);
}

/* Splits at white space, which goes, and isolates punctuation. */
status tokenizer_add_bert_pre_tokenizer(struct tokenizer *tokenizer)
{
    struct pre_tokenizer *pre_tokenizer;
    TRY(tokenizer_add_pre_tokenizer(tokenizer, &pre_tokenizer));
    pre_tokenizer->kind = PRE_TOKENIZER_WHITESPACE_SPLIT;
    pre_tokenizer->behavior = SPLIT_REMOVED;
    TRY(tokenizer_add_pre_tokenizer(tokenizer, &pre_tokenizer));
    pre_tokenizer->kind = PRE_TOKENIZER_PUNCTUATION;
    pre_tokenizer->behavior = SPLIT_ISOLATED;
    return STATUS_OK;
}

status tokenizer_load_pre_tokenizer(struct tokenizer *tokenizer, const struct json *value)
{
    enum {
        SEQUENCE,
        SPLIT,
        BYTE_LEVEL,
        METASPACE,
        DIGITS,
        PUNCTUATION,
        WHITESPACE,
        WHITESPACE_SPLIT,
        BERT,
        DELIMITER,
        FIXED_LENGTH
    };
    static const char *const names[] = {
        [SEQUENCE] = "Sequence",
        [SPLIT] = "Split",
        [BYTE_LEVEL] = "ByteLevel",
        [METASPACE] = "Metaspace",
        [DIGITS] = "Digits",
        [PUNCTUATION] = "Punctuation",
        [WHITESPACE] = "Whitespace",
        [WHITESPACE_SPLIT] = "WhitespaceSplit",
        [BERT] = "BertPreTokenizer",
        [DELIMITER] = "CharDelimiterSplit",
        [FIXED_LENGTH] = "FixedLength",
    };
    int type;
    TRY(read_type(value, names, COUNT_OF(names), &type));
    if (type == SEQUENCE) {
        return load_sequence(tokenizer, value, "pretokenizers", tokenizer_load_pre_tokenizer);
    }
    if (type == BERT) {
        return tokenizer_add_bert_pre_tokenizer(tokenizer);
    }
    struct pre_tokenizer *pre_tokenizer;
    TRY(tokenizer_add_pre_tokenizer(tokenizer, &pre_tokenizer));
    bool individual;
    switch (type) {
    case SPLIT:
        pre_tokenizer->kind = PRE_TOKENIZER_SPLIT;
        TRY(read_behavior(value, &pre_tokenizer->behavior));
        TRY(need_bool(value, "invert", &pre_tokenizer->invert));
        return read_pattern(tokenizer, value, &pre_tokenizer->pattern);
    case BYTE_LEVEL:
        return load_byte_level(tokenizer, pre_tokenizer, value);
    case METASPACE:
        pre_tokenizer->kind = PRE_TOKENIZER_METASPACE;
        pre_tokenizer->behavior = SPLIT_MERGED_WITH_NEXT;
        pre_tokenizer->split = true;
        TRY(read_metaspace(value, &pre_tokenizer->character, &pre_tokenizer->prepend));
        return read_bool(value, "split", &pre_tokenizer->split);
    case DIGITS:
        pre_tokenizer->kind = PRE_TOKENIZER_DIGITS;
        TRY(need_bool(value, "individual_digits", &individual));
        pre_tokenizer->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
        return STATUS_OK;
    case PUNCTUATION:
        pre_tokenizer->kind = PRE_TOKENIZER_PUNCTUATION;
        pre_tokenizer->behavior = SPLIT_ISOLATED;
        return json_get(value, "behavior") != NULL ? read_behavior(value, &pre_tokenizer->behavior)
                                                   : STATUS_OK;
    case WHITESPACE:
        pre_tokenizer->kind = PRE_TOKENIZER_WHITESPACE;
        return STATUS_OK;
    case WHITESPACE_SPLIT:
        pre_tokenizer->kind = PRE_TOKENIZER_WHITESPACE_SPLIT;
        pre_tokenizer->behavior = SPLIT_REMOVED;
        return STATUS_OK;
    case DELIMITER:
        pre_tokenizer->kind = PRE_TOKENIZER_DELIMITER;
        pre_tokenizer->behavior = SPLIT_REMOVED;
        return need_character(value, "delimiter", &pre_tokenizer->character);
    default:
        pre_tokenizer->kind = PRE_TOKENIZER_FIXED_LENGTH;
        pre_tokenizer->fixed_length = 5;
        TRY(json_get(value, "length") != NULL
                ? need_size(value, "length", &pre_tokenizer->fixed_length)
                : STATUS_OK);
        return pre_tokenizer->fixed_length > 0
                   ? STATUS_OK
                   : status_fail(STATUS_INVALID, "\"length\": expected at least 1");
    }
}

/* ---- Post-processors ---- */

static status need_id(const struct json *value, const char *what, int32_t *out)
{
    int64_t id;
    if (!json_int64(value, &id) || id < 0 || id > TOKEN_MAX_ID) {
        return status_fail(STATUS_INVALID, "%s: expected a token id", what);
    }
    *out = (int32_t)id;
    return STATUS_OK;
}

/* ["[CLS]", 101] */
static status need_token_pair(const struct json *object, const char *key, int32_t *id)
{
    const struct json *pair = json_get(object, key);
    if (pair == NULL || pair->type != JSON_ARRAY || pair->length != 2) {
        return status_fail(STATUS_INVALID, "\"%s\": expected [token, id]", key);
    }
    return need_id(pair->items[1], key, id);
}

/* {"SpecialToken": {"id": …}} or {"Sequence": {"id": "A"}}, with a type_id */
static status load_template_item(struct tokenizer *tokenizer, const struct json *special_tokens,
                                 const struct json *value, bool is_pair, struct template_item *item)
{
    const struct json *sequence = json_get(value, "Sequence");
    const struct json *own = sequence != NULL ? sequence : json_get(value, "SpecialToken");
    int64_t type;
    item->type = own != NULL && json_int64(json_get(own, "type_id"), &type) && type == 1;
    if (sequence != NULL) {
        item->is_sequence = true;
        item->is_second = is_pair && json_is_string(json_get(sequence, "id"), "B");
        return item->is_second || json_is_string(json_get(sequence, "id"), "A")
                   ? STATUS_OK
                   : status_fail(STATUS_UNSUPPORTED, "a template for one text that takes two");
    }
    const char *name;
    size_t length;
    TRY(need_string(json_get(value, "SpecialToken"), "id", &name, &length));
    const struct json *ids = json_get(json_get(special_tokens, name), "ids");
    if (ids == NULL || ids->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID, "\"special_tokens\" lacks \"%.60s\"", name);
    }
    item->id_count = ids->length;
    item->ids = arena_allocate_array(&tokenizer->arena, ids->length, sizeof *item->ids);
    if (item->ids == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    for (size_t i = 0; i < ids->length; i++) {
        TRY(need_id(ids->items[i], "\"special_tokens\"", &item->ids[i]));
    }
    return STATUS_OK;
}

static status load_template(struct tokenizer *tokenizer, const struct json *value, const char *key,
                            struct template_items *out)
{
    const bool is_pair = strcmp(key, "pair") == 0;
    const struct json *items = json_get(value, key);
    const struct json *special_tokens = json_get(value, "special_tokens");
    if (is_pair && (items == NULL || items->type != JSON_ARRAY)) {
        return STATUS_OK;
    }
    if (items == NULL || items->type != JSON_ARRAY) {
        return status_fail(STATUS_INVALID, "\"single\": expected an array");
    }
    out->items = arena_allocate_array(&tokenizer->arena, items->length, sizeof *out->items);
    if (out->items == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for a template");
    }
    out->count = items->length;
    for (size_t i = 0; i < items->length; i++) {
        TRY(status_context(
            load_template_item(tokenizer, special_tokens, items->items[i], is_pair, &out->items[i]),
            "%s[%zu]", key, i));
    }
    return STATUS_OK;
}

status tokenizer_load_post_processor(struct tokenizer *tokenizer, const struct json *value)
{
    enum { SEQUENCE, TEMPLATE, BERT, ROBERTA, BYTE_LEVEL };
    static const char *const names[] = {[SEQUENCE] = "Sequence",
                                        [TEMPLATE] = "TemplateProcessing",
                                        [BERT] = "BertProcessing",
                                        [ROBERTA] = "RobertaProcessing",
                                        [BYTE_LEVEL] = "ByteLevel"};
    int type;
    TRY(read_type(value, names, COUNT_OF(names), &type));
    if (type == SEQUENCE) {
        return load_sequence(tokenizer, value, "processors", tokenizer_load_post_processor);
    }
    if (type == BYTE_LEVEL) { /* moves offsets only */
        return STATUS_OK;
    }
    if (tokenizer->post_processor_count > 0) {
        return status_fail(STATUS_UNSUPPORTED, "%s behind another that adds tokens", names[type]);
    }
    struct post_processor *post;
    TRY(tokenizer_add_post_processor(tokenizer, &post));
    if (type == TEMPLATE) {
        post->kind = POST_TEMPLATE;
        TRY(load_template(tokenizer, value, "single", &post->single));
        return load_template(tokenizer, value, "pair", &post->pair);
    }
    post->kind = POST_BERT;
    post->has_two_ends = type == ROBERTA;
    TRY(need_token_pair(value, "cls", &post->first));
    return need_token_pair(value, "sep", &post->last);
}

/* ---- Decoders ---- */

status tokenizer_load_decoder(struct tokenizer *tokenizer, const struct json *value)
{
    enum { SEQUENCE, BYTE_LEVEL, BYTE_FALLBACK, FUSE, STRIP, REPLACE, METASPACE, WORDPIECE, BPE };
    static const char *const names[] = {
        [SEQUENCE] = "Sequence",   [BYTE_LEVEL] = "ByteLevel", [BYTE_FALLBACK] = "ByteFallback",
        [FUSE] = "Fuse",           [STRIP] = "Strip",          [REPLACE] = "Replace",
        [METASPACE] = "Metaspace", [WORDPIECE] = "WordPiece",  [BPE] = "BPEDecoder",
    };
    int type;
    TRY(read_type(value, names, COUNT_OF(names), &type));
    tokenizer->has_decoder = true;
    if (type == SEQUENCE) {
        return load_sequence(tokenizer, value, "decoders", tokenizer_load_decoder);
    }
    struct decoder *decoder;
    TRY(tokenizer_add_decoder(tokenizer, &decoder));
    enum prepend_scheme prepend;
    switch (type) {
    case BYTE_LEVEL:
        decoder->kind = DECODER_BYTE_LEVEL;
        return STATUS_OK;
    case BYTE_FALLBACK:
        decoder->kind = DECODER_BYTE_FALLBACK;
        return STATUS_OK;
    case FUSE:
        decoder->kind = DECODER_FUSE;
        return STATUS_OK;
    case STRIP:
        decoder->kind = DECODER_STRIP;
        TRY(need_character(value, "content", &decoder->character));
        TRY(need_size(value, "start", &decoder->start));
        return need_size(value, "stop", &decoder->stop);
    case REPLACE:
        decoder->kind = DECODER_REPLACE;
        TRY(read_pattern(tokenizer, value, &decoder->pattern));
        return keep_string(tokenizer, value, "content", &decoder->content,
                           &decoder->content_length);
    case METASPACE:
        decoder->kind = DECODER_METASPACE;
        TRY(read_metaspace(value, &decoder->character, &prepend));
        decoder->keep_first_space = prepend == PREPEND_NEVER;
        return STATUS_OK;
    case WORDPIECE:
        decoder->kind = DECODER_WORDPIECE;
        TRY(need_bool(value, "cleanup", &decoder->cleanup));
        return keep_string(tokenizer, value, "prefix", &decoder->content, &decoder->content_length);
    default:
        decoder->kind = DECODER_BPE;
        return keep_string(tokenizer, value, "suffix", &decoder->content, &decoder->content_length);
    }
}
