/* SPDX-License-Identifier: Apache-2.0 */
/* The way of a text through the parts of a tokenizer. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* Positions in a text are counted in 31 bits by the models. */
enum { TEXT_LONGEST = INT32_MAX / 4 };

struct tokenizer_scratch *tokenizer_scratch_create(const struct tokenizer *tokenizer)
{
    struct tokenizer_scratch *scratch = calloc(1, sizeof *scratch);
    if (scratch != NULL) {
        scratch->owner = tokenizer;
    }
    return scratch;
}

void tokenizer_scratch_destroy(struct tokenizer_scratch *scratch)
{
    if (scratch == NULL) {
        return;
    }
    normalize_scratch_destroy(&scratch->normalize);
    pre_tokenize_scratch_destroy(&scratch->pre_tokenize);
    buffer_destroy(&scratch->base);
    free(scratch->raw.items);
    free(scratch->pieces.items);
    bpe_scratch_destroy(&scratch->bpe);
    unigram_scratch_destroy(&scratch->unigram);
    word_cache_destroy(&scratch->cache);
    buffer_destroy(&scratch->mapped);
    token_list_destroy(&scratch->word);
    token_list_destroy(&scratch->processed);
    free(scratch);
}

static status append_ids(struct token_list *out, const int32_t *ids, size_t count)
{
    void *memory = out->ids;
    status s = array_grow(&memory, &out->capacity, out->count + count, sizeof *out->ids);
    out->ids = memory;
    if (s == STATUS_OK && count > 0) {
        memcpy(out->ids + out->count, ids, count * sizeof *ids);
        out->count += count;
    }
    return s;
}

/* Whether the model takes bytes and maps them to characters itself, word by word, after its cache.
 */
static bool maps_bytes_late(const struct tokenizer *tokenizer)
{
    size_t count = tokenizer->pre_tokenizer_count;
    return tokenizer->model == MODEL_BPE && count > 0 &&
           tokenizer->pre_tokenizers[count - 1].kind == PRE_TOKENIZER_BYTE_LEVEL;
}

static status encode_word_with_model(const struct tokenizer *tokenizer,
                                     struct tokenizer_scratch *scratch, const char *text,
                                     size_t length, struct token_list *out)
{
    const struct token_table *vocabulary = &tokenizer->vocabulary;
    switch (tokenizer->model) {
    case MODEL_BPE:
        if (maps_bytes_late(tokenizer)) {
            buffer_clear(&scratch->mapped);
            TRY(byte_alphabet_append(&tokenizer->alphabet, text, length, &scratch->mapped));
            text = scratch->mapped.data;
            length = scratch->mapped.length;
        }
        return bpe_encode(&tokenizer->bpe, vocabulary, &scratch->bpe, text, length, out);
    case MODEL_UNIGRAM:
        return unigram_encode(&tokenizer->unigram, vocabulary, &scratch->unigram, text, length,
                              out);
    case MODEL_WORDPIECE:
        return wordpiece_encode(&tokenizer->wordpiece, text, length, out);
    case MODEL_WORDLEVEL: {
        int32_t id = token_table_find(vocabulary, text, length);
        id = id != NO_TOKEN ? id : tokenizer->wordlevel_unknown;
        return id != NO_TOKEN
                   ? token_list_append(out, id)
                   : status_fail(STATUS_INVALID,
                                 "the tokenizer's unknown token is not in its vocabulary, and the "
                                 "text has an unknown word");
    }
    }
    return status_fail(STATUS_INTERNAL, "a model of no known kind");
}

static status encode_word(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                          const char *text, size_t length, struct token_list *out)
{
    if (length > WORD_CACHE_LONGEST) {
        return encode_word_with_model(tokenizer, scratch, text, length, out);
    }
    uint64_t hash = hash_bytes(text, length, 0);
    const int32_t *ids;
    size_t count;
    if (word_cache_find(&scratch->cache, text, length, hash, &ids, &count)) {
        return append_ids(out, ids, count);
    }
    struct token_list *word = &scratch->word;
    word->count = 0;
    TRY(encode_word_with_model(tokenizer, scratch, text, length, word));
    TRY(word_cache_add(&scratch->cache, text, length, hash, word->ids, word->count));
    return append_ids(out, word->ids, word->count);
}

static status encode_piece(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                           const char *text, size_t length, struct token_list *out)
{
    if (tokenizer->model != MODEL_BPE || !tokenizer->bpe.may_cut || maps_bytes_late(tokenizer)) {
        return encode_word(tokenizer, scratch, text, length, out);
    }
    for (size_t start = 0; start < length;) {
        size_t end = bpe_find_cut(&tokenizer->bpe, text, length, start);
        TRY(encode_word(tokenizer, scratch, text + start, end - start, out));
        start = end;
    }
    return STATUS_OK;
}

/* Normalizes the raw pieces into one base text and splits them at normalized added tokens. */
static status normalize_pieces(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                               const char **base)
{
    const char *raw = *base;
    bool rewrites = tokenizer->normalizer_count > 0;
    scratch->pieces.count = 0;
    buffer_clear(&scratch->base);
    for (size_t i = 0; i < scratch->raw.count; i++) {
        struct piece piece = scratch->raw.items[i];
        if (piece.token == NO_TOKEN && rewrites) {
            const char *text;
            size_t length;
            TRY(normalize_text(tokenizer->normalizers, tokenizer->normalizer_count,
                               &tokenizer->alphabet, &scratch->normalize, raw + piece.start,
                               piece.length, &text, &length, &piece.at_origin));
            piece.start = scratch->base.length;
            piece.length = length;
            TRY(buffer_append(&scratch->base, text, length));
        }
        scratch->raw.items[i] = piece;
    }
    if (rewrites) {
        TRY(buffer_append(&scratch->base, "", 0));
        *base = scratch->base.data;
    }
    for (size_t i = 0; i < scratch->raw.count; i++) {
        struct piece piece = scratch->raw.items[i];
        TRY(piece.token != NO_TOKEN
                ? piece_list_append(&scratch->pieces, piece)
                : added_vocabulary_split(&tokenizer->added, &tokenizer->added.normalized, *base,
                                         piece, &scratch->pieces));
    }
    return STATUS_OK;
}

static status encode_text(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                          const char *text, size_t length, struct token_list *out)
{
    scratch->raw.count = 0;
    TRY(added_vocabulary_split(&tokenizer->added, &tokenizer->added.raw, text,
                               (struct piece){0, length, NO_TOKEN, true}, &scratch->raw));
    const char *base = text;
    TRY(normalize_pieces(tokenizer, scratch, &base));
    TRY(pre_tokenize(tokenizer->pre_tokenizers, tokenizer->pre_tokenizer_count,
                     &tokenizer->alphabet, maps_bytes_late(tokenizer), &scratch->pre_tokenize,
                     &base, &scratch->pieces));
    for (size_t i = 0; i < scratch->pieces.count; i++) {
        struct piece piece = scratch->pieces.items[i];
        if (piece.token != NO_TOKEN) {
            TRY(token_list_append(out, piece.token));
        } else if (piece.length > 0) {
            TRY(encode_piece(tokenizer, scratch, base + piece.start, piece.length, out));
        }
    }
    return STATUS_OK;
}

/* Puts the ids behind `before` through the post-processor. */
static status post_process(const struct post_processor *post, struct tokenizer_scratch *scratch,
                           bool add_special, size_t before, struct token_list *out)
{
    struct token_list *processed = &scratch->processed;
    processed->count = 0;
    if (out->count > before) {
        TRY(append_ids(processed, out->ids + before, out->count - before));
    }
    out->count = before;
    if (post->kind == POST_BERT) {
        TRY(add_special ? token_list_append(out, post->first) : STATUS_OK);
        TRY(append_ids(out, processed->ids, processed->count));
        return add_special ? token_list_append(out, post->last) : STATUS_OK;
    }
    for (size_t i = 0; i < post->single.count; i++) {
        const struct template_item *item = &post->single.items[i];
        if (item->is_sequence) {
            TRY(append_ids(out, processed->ids, processed->count));
        } else if (add_special) {
            TRY(append_ids(out, item->ids, item->id_count));
        }
    }
    return STATUS_OK;
}

status tokenizer_encode(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                        const char *text, size_t length, bool add_special, struct token_list *out)
{
    size_t bad_offset;
    if (scratch->owner != tokenizer) { /* its cache would give the ids of another vocabulary */
        return status_fail(STATUS_INTERNAL, "a tokenizer with the scratch of another");
    }
    if (length > TEXT_LONGEST) {
        char size[24], most[24];
        return status_fail(STATUS_LIMIT, "a text of %s, more than %s",
                           format_bytes((int64_t)length, size), format_bytes(TEXT_LONGEST, most));
    }
    if (!utf8_valid(text, length, &bad_offset)) {
        return status_fail(STATUS_INVALID, "byte %zu of the text: not valid UTF-8", bad_offset);
    }
    size_t before = out->count;
    status s = encode_text(tokenizer, scratch, text, length, out);
    for (size_t i = 0; i < tokenizer->post_processor_count && s == STATUS_OK; i++) {
        s = post_process(&tokenizer->post_processors[i], scratch, add_special, before, out);
    }
    if (s != STATUS_OK) {
        out->count = before;
    }
    return s;
}

/* ---- Pairs ---- */

/* How many tokens stay of texts of `first` and `second` that may have `most` together: of the
 * longer one as many as leave the shorter whole, where that is less than half of all; else halves.
 * As the reference's longest_first. */
static void share_tokens(size_t most, size_t *first, size_t *second)
{
    size_t *shorter = *first <= *second ? first : second;
    size_t *longer = shorter == first ? second : first;
    if (*first + *second <= most) {
        return;
    }
    if (*shorter > most - *shorter || *shorter > most) {
        *shorter = most / 2;
        *longer = most / 2 + most % 2;
        return;
    }
    *longer = most - *shorter;
}

struct pair {
    const struct token_list *texts; /* [2] */
    size_t counts[2];               /* that stay */
    struct token_list *out;
    size_t *second_text;
    size_t begin;
};

static status put_ids(struct pair *pair, const int32_t *ids, size_t count, int type)
{
    if (type == 1 && *pair->second_text == 0 && count > 0) {
        *pair->second_text = pair->out->count - pair->begin;
    }
    return append_ids(pair->out, ids, count);
}

static status put_text(struct pair *pair, int which, int type)
{
    return put_ids(pair, pair->texts[which].ids, pair->counts[which], type);
}

/* [CLS] A [SEP] B [SEP], of Roberta <s> A </s></s> B </s>. */
static status put_bert_pair(struct pair *pair, const struct post_processor *post)
{
    const int type = post->has_two_ends ? 0 : 1;
    TRY(put_ids(pair, &post->first, 1, 0));
    TRY(put_text(pair, 0, 0));
    TRY(put_ids(pair, &post->last, 1, 0));
    TRY(post->has_two_ends ? put_ids(pair, &post->last, 1, 0) : STATUS_OK);
    TRY(put_text(pair, 1, type));
    return put_ids(pair, &post->last, 1, type);
}

static status put_template_pair(struct pair *pair, const struct template_items *items)
{
    for (size_t i = 0; i < items->count; i++) {
        const struct template_item *item = &items->items[i];
        TRY(item->is_sequence ? put_text(pair, item->is_second ? 1 : 0, item->type)
                              : put_ids(pair, item->ids, item->id_count, item->type));
    }
    return STATUS_OK;
}

/* Without a template of its own a pair is one text behind the other, in the template of one. */
static status put_plain_pair(struct pair *pair, const struct template_items *single)
{
    for (size_t i = 0; i < single->count; i++) {
        const struct template_item *item = &single->items[i];
        if (item->is_sequence) {
            TRY(put_text(pair, 0, 0));
            TRY(put_text(pair, 1, 0));
        } else {
            TRY(put_ids(pair, item->ids, item->id_count, 0));
        }
    }
    return STATUS_OK;
}

static status put_pair(struct pair *pair, const struct post_processor *post)
{
    if (post == NULL) {
        TRY(put_text(pair, 0, 0));
        return put_text(pair, 1, 0);
    }
    return post->kind == POST_BERT ? put_bert_pair(pair, post)
           : post->pair.count > 0  ? put_template_pair(pair, &post->pair)
                                   : put_plain_pair(pair, &post->single);
}

status tokenizer_encode_pair(const struct tokenizer *tokenizer, struct tokenizer_scratch *scratch,
                             const struct text_span texts[2], size_t most, struct token_list *out,
                             size_t *second_text)
{
    struct token_list parts[2] = {{0}}, around = {0};
    const struct post_processor *post =
        tokenizer->post_processor_count > 0 ? &tokenizer->post_processors[0] : NULL;
    struct pair pair = {.texts = parts, .out = &around, .second_text = second_text};
    status s = STATUS_OK;
    *second_text = 0;
    for (int i = 0; i < 2 && s == STATUS_OK; i++) {
        s = tokenizer_encode(tokenizer, scratch, texts[i].data, texts[i].length, false, &parts[i]);
    }
    s = s == STATUS_OK ? put_pair(&pair, post) : s; /* of nothing: what stands around texts */
    if (s == STATUS_OK) {
        pair.counts[0] = parts[0].count;
        pair.counts[1] = parts[1].count;
        share_tokens(most > around.count ? most - around.count : 0, &pair.counts[0],
                     &pair.counts[1]);
        pair.out = out;
        pair.begin = out->count;
        *second_text = 0;
        s = put_pair(&pair, post);
    }
    token_list_destroy(&parts[0]);
    token_list_destroy(&parts[1]);
    token_list_destroy(&around);
    return s;
}
