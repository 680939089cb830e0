/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-level BPE from vocab.json and merges.txt, and the way of a text to one, whatever it is read
 * from. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/read/source.h"

/* ---- What all have ---- */

status byte_bpe_check_alphabet(const struct tokenizer *tokenizer)
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

status byte_bpe_load_text_parts(const struct tokenizer_source *source, struct tokenizer *tokenizer,
                                const char *pattern)
{
    bool add_prefix_space = false;
    TRY(source_bool(source, "add_prefix_space", &add_prefix_space));
    if (source->class_->compose) {
        struct normalizer *normalizer;
        TRY(tokenizer_add_normalizer(tokenizer, &normalizer));
        normalizer->kind = NORMALIZER_FORM;
        normalizer->compose = true;
    }
    if (pattern != NULL) {
        TRY(status_context(tokenizer_add_split(tokenizer, pattern), "pattern"));
    }
    struct pre_tokenizer *byte_level;
    TRY(tokenizer_add_pre_tokenizer(tokenizer, &byte_level));
    byte_level->behavior = SPLIT_ISOLATED;
    TRY(pre_tokenizer_make_byte_level(byte_level, add_prefix_space, pattern == NULL,
                                      &tokenizer->arena));
    struct decoder *decoder;
    return tokenizer_add_decoder_of(tokenizer, DECODER_BYTE_LEVEL, &decoder);
}

/* ---- Lines ---- */

bool text_lines_next(struct text_lines *lines, struct text_span *out)
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

bool text_line_split(struct text_span line, struct text_span *left, struct text_span *right)
{
    const char *space = memchr(line.data, ' ', line.length);
    if (space == NULL) {
        return false;
    }
    *left = (struct text_span){line.data, (size_t)(space - line.data)};
    *right = (struct text_span){space + 1, line.length - left->length - 1};
    return left->length > 0 && right->length > 0 && memchr(right->data, ' ', right->length) == NULL;
}

/* ---- vocab.json and merges.txt ---- */

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
    if (!text_line_split(line, &left, &right)) {
        return status_fail(STATUS_INVALID, "expected two tokens");
    }
    struct bpe_merge_parts parts = {left.data, right.data, left.length, right.length};
    return bpe_add_merge_of(&tokenizer->bpe, &tokenizer->vocabulary, &parts, rank, joined);
}

static status load_merges(struct tokenizer *tokenizer, struct text_span merges)
{
    struct text_lines lines = {merges.data, merges.data + merges.length, 0};
    struct buffer joined = {0};
    struct text_span line;
    status s = STATUS_OK;
    uint32_t rank = 0;
    while (s == STATUS_OK && text_lines_next(&lines, &line)) {
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
    TRY(byte_bpe_check_alphabet(tokenizer));
    TRY(load_merges(tokenizer, source->files->merges));
    TRY(bpe_finish(&tokenizer->bpe, &tokenizer->vocabulary));
    return byte_bpe_load_text_parts(source, tokenizer, source->class_->pattern);
}
