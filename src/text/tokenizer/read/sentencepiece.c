/* SPDX-License-Identifier: Apache-2.0 */
/* A tokenizer from a SentencePiece model: its pieces at the ids that the class gives them, BPE by
 * score or unigram, and the rules for spaces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/read/sentencepiece.h"
#include "text/tokenizer/read/source.h"

/* ---- Ids ---- */

/* What stands before and behind the model's own pieces, of which the first `skip` are left away. */
static const struct layout_facts {
    size_t skip;
    const char *before[6], *behind[2];
    int extra; /* <extra_id_N>, so many, the last first */
} layouts[] = {
    [LAYOUT_PLAIN] = {0},
    [LAYOUT_T5] = {.extra = 100},
    [LAYOUT_FAIRSEQ] = {3, {"<s>", "<pad>", "</s>", "<unk>"}, {"<mask>"}, 0},
    [LAYOUT_CAMEMBERT] = {1,
                          {"<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"},
                          {"<mask>"},
                          0},
};

struct piece_table {
    struct sentencepiece *pieces; /* by id */
    size_t count;
};

static void add_own(struct piece_table *table, const char *text)
{
    bool is_unknown = strcmp(text, "<unk>") == 0;
    table->pieces[table->count++] = (struct sentencepiece){
        .text = {text, strlen(text)}, .type = is_unknown ? PIECE_UNKNOWN : PIECE_CONTROL};
}

static status lay_out(struct tokenizer_source *source, const struct sentencepiece_model *model,
                      struct piece_table *table)
{
    const struct layout_facts *facts = &layouts[source->class_->layout];
    size_t most =
        model->count + COUNT_OF(facts->before) + COUNT_OF(facts->behind) + (size_t)facts->extra;
    table->pieces = calloc(most, sizeof *table->pieces);
    if (table->pieces == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for %zu pieces", most);
    }
    for (size_t i = 0; i < COUNT_OF(facts->before) && facts->before[i] != NULL; i++) {
        add_own(table, facts->before[i]);
    }
    for (size_t i = facts->skip; i < model->count; i++) {
        table->pieces[table->count++] = model->pieces[i];
    }
    for (int i = facts->extra; i-- > 0;) {
        char name[32];
        int length = snprintf(name, sizeof name, "<extra_id_%d>", i);
        const char *kept = arena_copy(&source->arena, name, (size_t)length);
        if (kept == NULL) {
            return status_fail(STATUS_NO_MEMORY, "out of memory for a token");
        }
        add_own(table, kept);
    }
    for (size_t i = 0; i < COUNT_OF(facts->behind) && facts->behind[i] != NULL; i++) {
        add_own(table, facts->behind[i]);
    }
    return STATUS_OK;
}

/* added_tokens_decoder may call a piece by another name: <|assistant|> for one that was kept free.
 */
static void rename_pieces(const struct tokenizer_source *source, struct piece_table *table)
{
    const struct json *decoder = json_get(source->config, "added_tokens_decoder");
    for (size_t i = 0; decoder != NULL && decoder->type == JSON_OBJECT && i < decoder->length;
         i++) {
        const struct json_member *member = &decoder->members[i];
        const struct json *content = json_get(member->value, "content");
        char *end;
        unsigned long long id = strtoull(member->key, &end, 10);
        if (json_string(content) != NULL && content->length > 0 && end != member->key &&
            *end == '\0' && id < table->count) {
            struct sentencepiece *piece = &table->pieces[id];
            bool same = piece->text.length == content->length &&
                        memcmp(piece->text.data, content->text, content->length) == 0;
            piece->text = (struct wire_bytes){content->text, content->length};
            piece->type = same ? piece->type : PIECE_CONTROL;
        }
    }
}

static status load_pieces(struct tokenizer *tokenizer, const struct piece_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        struct wire_bytes text = table->pieces[i].text;
        int32_t before = token_table_find(&tokenizer->vocabulary, text.data, text.length);
        if (before != NO_TOKEN) {
            return status_fail(STATUS_INVALID, "pieces %d and %zu are the same", before, i);
        }
        TRY(token_table_add(&tokenizer->vocabulary, text.data, text.length, (int64_t)i));
    }
    tokenizer->model_size = table->count;
    return STATUS_OK;
}

/* ---- Models ---- */

static int32_t find_unknown(const struct piece_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->pieces[i].type == PIECE_UNKNOWN) {
            return (int32_t)i;
        }
    }
    return NO_TOKEN;
}

static status load_bpe(struct tokenizer *tokenizer, const struct sentencepiece_model *model,
                       const struct piece_table *table)
{
    struct bpe_model *bpe = &tokenizer->bpe;
    tokenizer->model = MODEL_BPE;
    bpe->byte_fallback = model->byte_fallback != 0;
    bpe->fuse_unknown = true;
    bpe->unknown = find_unknown(table);
    bpe->has_unknown = bpe->unknown != NO_TOKEN;
    struct scored_token *tokens = calloc(table->count + 1, sizeof *tokens);
    if (tokens == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for scores");
    }
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++) {
        if (table->pieces[i].type == PIECE_NORMAL) {
            tokens[count++] = (struct scored_token){(double)table->pieces[i].score, (int32_t)i};
        }
    }
    status s = bpe_add_scored_merges(bpe, &tokenizer->vocabulary, tokens, count);
    free(tokens);
    return s == STATUS_OK ? bpe_finish(bpe, &tokenizer->vocabulary) : s;
}

static status load_unigram(struct tokenizer *tokenizer, const struct sentencepiece_model *model,
                           const struct piece_table *table)
{
    struct unigram_model *unigram = &tokenizer->unigram;
    tokenizer->model = MODEL_UNIGRAM;
    unigram->byte_fallback = model->byte_fallback != 0;
    unigram->unknown = find_unknown(table);
    unigram->scores = calloc(table->count + 1, sizeof *unigram->scores);
    bool *plain = calloc(table->count + 1, sizeof *plain);
    if (unigram->scores == NULL || plain == NULL) {
        free(plain);
        return status_fail(STATUS_NO_MEMORY, "out of memory for scores");
    }
    for (size_t i = 0; i < table->count; i++) {
        unigram->scores[i] = (double)table->pieces[i].score;
        plain[i] = table->pieces[i].type == PIECE_NORMAL;
    }
    status s = unigram_finish(unigram, &tokenizer->vocabulary, plain);
    free(plain);
    return s;
}

static status load_model(const struct tokenizer_source *source, struct tokenizer *tokenizer,
                         const struct sentencepiece_model *model, const struct piece_table *table)
{
    /* The classes with layouts of their own are known by what transformers makes of them. */
    tokenizer->unigram.single_precision = source->class_->layout == LAYOUT_PLAIN;
    switch (model->algorithm) {
    case ALGORITHM_UNIGRAM:
        return load_unigram(tokenizer, model, table);
    case ALGORITHM_BPE:
        return load_bpe(tokenizer, model, table);
    case ALGORITHM_WORD:
    case ALGORITHM_CHAR:
        return status_fail(STATUS_UNSUPPORTED, "a SentencePiece %s model (supported: BPE, unigram)",
                           model->algorithm == ALGORITHM_WORD ? "word" : "char");
    default:
        return status_fail(STATUS_INVALID, "a SentencePiece model of the unknown kind %lld",
                           (long long)model->algorithm);
    }
}

/* ---- Spaces ---- */

static status keep_symbols(struct normalizer *normalizer, const struct piece_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        struct wire_bytes text = table->pieces[i].text;
        if (table->pieces[i].type == PIECE_USER_DEFINED) {
            TRY(byte_trie_add(&normalizer->kept, text.data, text.length, (int32_t)i));
        }
    }
    return STATUS_OK;
}

static status load_normalizer(struct tokenizer_source *source, struct tokenizer *tokenizer,
                              const struct sentencepiece_model *model,
                              const struct piece_table *table)
{
    struct normalizer *normalizer;
    bool legacy = true, prefix = model->dummy_prefix != 0;
    TRY(source_bool(source, "legacy", &legacy));
    TRY(source_bool(source, "add_prefix_space", &prefix));
    TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
    normalizer->kind = NORMALIZER_SENTENCEPIECE;
    normalizer->dummy_prefix = source->match_raw = prefix;
    normalizer->dummy_first = !legacy;
    normalizer->remove_spaces = model->remove_spaces != 0;
    normalizer->escape_spaces = model->escape_spaces != 0;
    if (model->map.length > 0) {
        TRY(precompiled_create(normalizer, (const unsigned char *)model->map.data,
                               model->map.length, &tokenizer->arena));
    }
    TRY(keep_symbols(normalizer, table));
    return tokenizer_add_space_decoders(tokenizer, prefix || normalizer->remove_spaces);
}

/* Control pieces are special; user-defined symbols are found in the text as it is normalized, so
 * that a space before the text stays before them. */
static status load_symbols(struct tokenizer *tokenizer, const struct piece_table *table)
{
    added_vocabulary_begin(tokenizer);
    for (size_t i = 0; i < table->count; i++) {
        struct wire_bytes text = table->pieces[i].text;
        struct added_token token = {.content = text.data, .length = text.length};
        if (table->pieces[i].type == PIECE_USER_DEFINED) {
            token.normalized = token.verbatim = true;
            TRY(added_vocabulary_add(tokenizer, token));
        } else if (table->pieces[i].type == PIECE_CONTROL ||
                   table->pieces[i].type == PIECE_UNKNOWN) {
            token.special = true;
            TRY(added_vocabulary_add(tokenizer, token));
        }
    }
    return STATUS_OK;
}

/* The pieces that the model itself begins and ends texts with, where no file names others. */
static void find_ends(struct tokenizer_source *source, const struct sentencepiece_model *model,
                      const struct tokenizer *tokenizer)
{
    const struct {
        enum token_role role;
        int64_t id;
    } ends[] = {{ROLE_BOS, model->bos}, {ROLE_EOS, model->eos}, {ROLE_PAD, model->pad}};
    for (size_t i = 0; i < COUNT_OF(ends) && source->class_->layout == LAYOUT_PLAIN; i++) {
        const char **role = &source->roles[ends[i].role];
        const struct token_entry *token =
            token_table_at(&tokenizer->vocabulary, (int32_t)ends[i].id);
        bool is_of_class = *role == source->class_->roles[ends[i].role];
        if (is_of_class && (*role == NULL || tokenizer_token_id(tokenizer, *role) == NO_TOKEN)) {
            *role = token != NULL ? token->text : NULL;
        }
    }
}

static status load_parts(struct tokenizer_source *source, struct tokenizer *tokenizer,
                         const struct sentencepiece_model *model, struct piece_table *table)
{
    if (model->whitespace_suffix != 0 || model->denormalizer_map.length > 0) {
        return status_fail(STATUS_UNSUPPORTED, "a SentencePiece model with %s",
                           model->whitespace_suffix != 0 ? "treat_whitespace_as_suffix"
                                                         : "a denormalizer");
    }
    TRY(lay_out(source, model, table));
    rename_pieces(source, table);
    TRY(load_pieces(tokenizer, table));
    TRY(load_model(source, tokenizer, model, table));
    TRY(load_normalizer(source, tokenizer, model, table));
    TRY(load_symbols(tokenizer, table));
    find_ends(source, model, tokenizer);
    return STATUS_OK;
}

status tokenizer_load_sentencepiece(struct tokenizer_source *source, struct tokenizer *tokenizer)
{
    struct sentencepiece_model model = {0};
    struct piece_table table = {0};
    struct text_span file = source->files->vocabulary;
    status s = status_context(sentencepiece_read(file.data, file.length, &model),
                              "not a SentencePiece model");
    if (s == STATUS_OK) {
        s = load_parts(source, tokenizer, &model, &table);
    }
    free(table.pieces);
    sentencepiece_destroy(&model);
    return s;
}
