/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json: the models. Vocabularies are large, so that members are walked in order and never
 * looked up by key. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

status tokenizer_load_vocabulary(struct tokenizer *tokenizer, const struct json *vocabulary)
{
    if (vocabulary == NULL || vocabulary->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "\"vocab\": expected an object");
    }
    for (size_t i = 0; i < vocabulary->length; i++) {
        const struct json_member *member = &vocabulary->members[i];
        int64_t id;
        if (!json_int64(member->value, &id)) {
            return status_fail(STATUS_INVALID, "\"vocab\": token \"%.60s\": expected an id",
                               member->key);
        }
        TRY(status_context(
            token_table_add(&tokenizer->vocabulary, member->key, member->key_length, id),
            "\"vocab\""));
    }
    tokenizer->model_size = tokenizer->vocabulary.count;
    return STATUS_OK;
}

/* A string, or "" where it is missing or null, kept in the arena. */
static status keep_optional(struct tokenizer *tokenizer, const struct json *model, const char *key,
                            const char **out)
{
    const struct json *value = json_get(model, key);
    if (value != NULL && value->type != JSON_NULL && value->type != JSON_STRING) {
        return status_fail(STATUS_INVALID, "\"%s\": expected a string or null", key);
    }
    const char *text = json_string(value);
    *out = arena_copy(&tokenizer->arena, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
    return *out != NULL ? STATUS_OK
                        : status_fail(STATUS_NO_MEMORY, "out of memory for \"%s\"", key);
}

static status optional_bool(const struct json *model, const char *key, bool *out)
{
    const struct json *value = json_get(model, key);
    *out = false;
    if (value != NULL && value->type != JSON_NULL && !json_bool(value, out)) {
        return status_fail(STATUS_INVALID, "\"%s\": expected a boolean", key);
    }
    return STATUS_OK;
}

/* ---- BPE ---- */

/* "left right" or ["left", "right"]. */
static status read_merge(const struct json *merge, struct bpe_merge_parts *parts)
{
    if (merge->type == JSON_ARRAY && merge->length == 2 && merge->items[0]->type == JSON_STRING &&
        merge->items[1]->type == JSON_STRING) {
        *parts = (struct bpe_merge_parts){merge->items[0]->text, merge->items[1]->text,
                                          merge->items[0]->length, merge->items[1]->length};
        return STATUS_OK;
    }
    const char *space = merge->type == JSON_STRING ? memchr(merge->text, ' ', merge->length) : NULL;
    if (space == NULL ||
        memchr(space + 1, ' ', merge->length - (size_t)(space + 1 - merge->text)) != NULL) {
        return status_fail(STATUS_INVALID, "expected two tokens");
    }
    size_t left_length = (size_t)(space - merge->text);
    *parts = (struct bpe_merge_parts){merge->text, space + 1, left_length,
                                      merge->length - left_length - 1};
    return STATUS_OK;
}

static status load_merges(struct tokenizer *tokenizer, const struct json *merges)
{
    if (merges == NULL || merges->type != JSON_ARRAY || merges->length >= UINT32_MAX) {
        return status_fail(STATUS_INVALID, "\"merges\": expected an array");
    }
    struct buffer joined = {0};
    status s = STATUS_OK;
    uint32_t rank = 0;
    for (size_t i = 0; i < merges->length && s == STATUS_OK; i++) {
        const struct json *merge = merges->items[i];
        if (merge->type == JSON_STRING && strncmp(merge->text, "#version", 8) == 0) {
            continue;
        }
        struct bpe_merge_parts parts = {0};
        s = read_merge(merge, &parts);
        if (s == STATUS_OK) {
            s = bpe_add_merge_of(&tokenizer->bpe, &tokenizer->vocabulary, &parts, rank++, &joined);
        }
        s = status_context(s, "merges[%zu]", i);
    }
    buffer_destroy(&joined);
    return s;
}

static status load_bpe(struct tokenizer *tokenizer, const struct json *model)
{
    struct bpe_model *bpe = &tokenizer->bpe;
    tokenizer->model = MODEL_BPE;
    double dropout;
    if (json_double(json_get(model, "dropout"), &dropout) && dropout != 0) {
        return status_fail(STATUS_UNSUPPORTED, "\"dropout\": a tokenizer that draws lots");
    }
    TRY(keep_optional(tokenizer, model, "continuing_subword_prefix", &bpe->prefix));
    TRY(keep_optional(tokenizer, model, "end_of_word_suffix", &bpe->suffix));
    TRY(optional_bool(model, "fuse_unk", &bpe->fuse_unknown));
    TRY(optional_bool(model, "byte_fallback", &bpe->byte_fallback));
    TRY(optional_bool(model, "ignore_merges", &bpe->ignore_merges));
    TRY(tokenizer_load_vocabulary(tokenizer, json_get(model, "vocab")));
    const struct json *unknown = json_get(model, "unk_token");
    bpe->has_unknown = json_string(unknown) != NULL;
    bpe->unknown = bpe->has_unknown
                       ? token_table_find(&tokenizer->vocabulary, unknown->text, unknown->length)
                       : NO_TOKEN;
    TRY(load_merges(tokenizer, json_get(model, "merges")));
    return bpe_finish(bpe, &tokenizer->vocabulary);
}

/* ---- The others ---- */

static status load_unigram_pieces(struct tokenizer *tokenizer, const struct json *pieces)
{
    struct unigram_model *unigram = &tokenizer->unigram;
    if (pieces == NULL || pieces->type != JSON_ARRAY || pieces->length > TOKEN_MAX_ID) {
        return status_fail(STATUS_INVALID, "\"vocab\": expected an array");
    }
    unigram->scores = calloc(pieces->length + 1, sizeof *unigram->scores);
    if (unigram->scores == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for scores");
    }
    for (size_t i = 0; i < pieces->length; i++) {
        const struct json *piece = pieces->items[i];
        if (piece->type != JSON_ARRAY || piece->length != 2 ||
            piece->items[0]->type != JSON_STRING ||
            !json_double(piece->items[1], &unigram->scores[i])) {
            return status_fail(STATUS_INVALID, "vocab[%zu]: expected [piece, score]", i);
        }
        TRY(token_table_add(&tokenizer->vocabulary, piece->items[0]->text, piece->items[0]->length,
                            (int64_t)i));
    }
    tokenizer->model_size = pieces->length;
    return STATUS_OK;
}

static status load_unigram(struct tokenizer *tokenizer, const struct json *model)
{
    struct unigram_model *unigram = &tokenizer->unigram;
    tokenizer->model = MODEL_UNIGRAM;
    TRY(load_unigram_pieces(tokenizer, json_get(model, "vocab")));
    TRY(optional_bool(model, "byte_fallback", &unigram->byte_fallback));
    const struct json *unknown = json_get(model, "unk_id");
    unigram->unknown = NO_TOKEN;
    if (unknown != NULL && unknown->type != JSON_NULL) {
        int64_t id;
        if (!json_int64(unknown, &id) || id < 0 || (size_t)id >= tokenizer->model_size) {
            return status_fail(STATUS_INVALID, "\"unk_id\": not in the vocabulary");
        }
        unigram->unknown = (int32_t)id;
    }
    return unigram_finish(unigram, &tokenizer->vocabulary, NULL);
}

static status find_unknown(const struct tokenizer *tokenizer, const struct json *model,
                           int32_t *out)
{
    const struct json *unknown = json_get(model, "unk_token");
    if (json_string(unknown) == NULL) {
        return status_fail(STATUS_INVALID, "\"unk_token\": expected a string");
    }
    *out = token_table_find(&tokenizer->vocabulary, unknown->text, unknown->length);
    return STATUS_OK;
}

static status load_wordpiece(struct tokenizer *tokenizer, const struct json *model)
{
    struct wordpiece_model *wordpiece = &tokenizer->wordpiece;
    tokenizer->model = MODEL_WORDPIECE;
    TRY(tokenizer_load_vocabulary(tokenizer, json_get(model, "vocab")));
    TRY(find_unknown(tokenizer, model, &wordpiece->unknown));
    const struct json *prefix = json_get(model, "continuing_subword_prefix");
    int64_t most;
    if (json_string(prefix) == NULL ||
        !json_int64(json_get(model, "max_input_chars_per_word"), &most) || most < 0) {
        return status_fail(STATUS_INVALID, "\"continuing_subword_prefix\" and "
                                           "\"max_input_chars_per_word\" are both needed");
    }
    wordpiece->max_characters = (size_t)most;
    return wordpiece_finish(wordpiece, &tokenizer->vocabulary, prefix->text, prefix->length);
}

static status load_wordlevel(struct tokenizer *tokenizer, const struct json *model)
{
    tokenizer->model = MODEL_WORDLEVEL;
    TRY(tokenizer_load_vocabulary(tokenizer, json_get(model, "vocab")));
    return find_unknown(tokenizer, model, &tokenizer->wordlevel_unknown);
}

status tokenizer_load_model(struct tokenizer *tokenizer, const struct json *model)
{
    if (model == NULL || model->type != JSON_OBJECT) {
        return status_fail(STATUS_INVALID, "expected an object");
    }
    const char *type = json_string(json_get(model, "type"));
    if (type == NULL) { /* early files do not say */
        type = json_get(model, "merges") != NULL                     ? "BPE"
               : json_get(model, "max_input_chars_per_word") != NULL ? "WordPiece"
               : json_get(model, "unk_token") != NULL                ? "WordLevel"
                                                                     : "Unigram";
    }
    static const struct {
        const char *name;
        status (*load)(struct tokenizer *, const struct json *);
    } models[] = {{"BPE", load_bpe},
                  {"Unigram", load_unigram},
                  {"WordPiece", load_wordpiece},
                  {"WordLevel", load_wordlevel}};
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        if (strcmp(type, models[i].name) == 0) {
            return models[i].load(tokenizer, model);
        }
    }
    return status_fail(STATUS_UNSUPPORTED,
                       "unknown type \"%.60s\" (supported: BPE, Unigram, WordPiece, WordLevel)",
                       type);
}
