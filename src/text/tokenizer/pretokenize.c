/* SPDX-License-Identifier: Apache-2.0 */
/* Pre-tokenizers: each splits pieces into smaller ones; some rewrite the text too. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"
#include "text/tokenizer/patterns.h"

status pre_tokenizer_make_byte_level(struct pre_tokenizer *pre_tokenizer, bool add_prefix_space,
                                     bool use_regex, struct arena *arena)
{
    pre_tokenizer->kind = PRE_TOKENIZER_BYTE_LEVEL;
    pre_tokenizer->add_prefix_space = add_prefix_space;
    pre_tokenizer->use_regex = use_regex;
    return use_regex ? text_pattern_create(&pre_tokenizer->pattern, PATTERN_GPT2,
                                           strlen(PATTERN_GPT2), true, arena)
                     : STATUS_OK;
}

/* ---- Splitting one piece ---- */

/* Takes the spans of a piece in order, delimiters and what is between them, and gives pieces as the
 * behaviour says. */
struct splitter {
    struct piece piece;
    enum split_behavior behavior;
    bool invert;
    struct piece_list *out;
    size_t open_start, open_end; /* a span that may still grow */
    bool has_open, open_is_delimiter;
};

static status splitter_emit(const struct splitter *splitter, size_t start, size_t end)
{
    if (start == end) {
        return STATUS_OK;
    }
    return piece_list_append(splitter->out,
                             (struct piece){splitter->piece.start + start, end - start, NO_TOKEN,
                                            splitter->piece.at_origin && start == 0});
}

static status splitter_close(struct splitter *splitter)
{
    bool had_open = splitter->has_open;
    splitter->has_open = false;
    return had_open ? splitter_emit(splitter, splitter->open_start, splitter->open_end) : STATUS_OK;
}

static status splitter_take(struct splitter *splitter, size_t start, size_t end, bool is_match)
{
    bool is_delimiter = is_match != splitter->invert;
    bool grow = false;
    switch (splitter->behavior) {
    case SPLIT_REMOVED:
        return is_delimiter ? STATUS_OK : splitter_emit(splitter, start, end);
    case SPLIT_ISOLATED:
        return splitter_emit(splitter, start, end);
    case SPLIT_CONTIGUOUS:
        grow = splitter->open_is_delimiter == is_delimiter;
        break;
    case SPLIT_MERGED_WITH_PREVIOUS:
        grow = is_delimiter && !splitter->open_is_delimiter;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        grow = !is_delimiter && splitter->open_is_delimiter;
        break;
    }
    if (!splitter->has_open || !grow) {
        TRY(splitter_close(splitter));
        splitter->open_start = start;
        splitter->has_open = true;
    }
    splitter->open_end = end;
    splitter->open_is_delimiter = is_delimiter;
    return STATUS_OK;
}

static status split_by_pattern(const struct pre_tokenizer *pre_tokenizer, struct pattern_scan *scan,
                               const char *base, struct piece piece, struct piece_list *out)
{
    struct splitter splitter = {.piece = piece,
                                .behavior = pre_tokenizer->behavior,
                                .invert = pre_tokenizer->invert,
                                .out = out};
    size_t taken = 0;
    pattern_scan_start(scan, &pre_tokenizer->pattern, base + piece.start, piece.length);
    for (;;) {
        bool found;
        TRY(pattern_scan_next(scan, &found));
        if (!found) {
            break;
        }
        if (scan->match_start > taken) {
            TRY(splitter_take(&splitter, taken, scan->match_start, false));
        }
        TRY(splitter_take(&splitter, scan->match_start, scan->match_end, true));
        taken = scan->match_end;
    }
    if (taken < piece.length) {
        TRY(splitter_take(&splitter, taken, piece.length, false));
    }
    return splitter_close(&splitter);
}

static bool is_delimiter(const struct pre_tokenizer *pre_tokenizer, int32_t c)
{
    switch (pre_tokenizer->kind) {
    case PRE_TOKENIZER_DIGITS:
        return unicode_is_numeric(c);
    case PRE_TOKENIZER_PUNCTUATION:
        return unicode_is_punctuation(c);
    case PRE_TOKENIZER_WHITESPACE_SPLIT:
        return unicode_is_space(c);
    default: /* METASPACE, DELIMITER */
        return c == pre_tokenizer->character;
    }
}

/* Splits where single characters are delimiters. */
static status split_by_character(const struct pre_tokenizer *pre_tokenizer, const char *base,
                                 struct piece piece, struct piece_list *out)
{
    struct splitter splitter = {.piece = piece, .behavior = pre_tokenizer->behavior, .out = out};
    const char *text = base + piece.start;
    size_t taken = 0;
    for (size_t at = 0; at < piece.length;) {
        size_t start = at;
        if (is_delimiter(pre_tokenizer, unicode_next(text, &at))) {
            if (start > taken) {
                TRY(splitter_take(&splitter, taken, start, false));
            }
            TRY(splitter_take(&splitter, start, at, true));
            taken = at;
        }
    }
    if (taken < piece.length) {
        TRY(splitter_take(&splitter, taken, piece.length, false));
    }
    return splitter_close(&splitter);
}

/* Runs of word characters and runs of what is neither word nor space; spaces go. */
static status split_words(const char *base, struct piece piece, struct piece_list *out)
{
    enum { SPACE, WORD, OTHER };
    struct splitter splitter = {.piece = piece, .out = out};
    const char *text = base + piece.start;
    int run_kind = SPACE;
    size_t run_start = 0;
    for (size_t at = 0; at < piece.length;) {
        size_t start = at;
        int32_t c = unicode_next(text, &at);
        int kind = unicode_is_word(c) ? WORD : unicode_is_space(c) ? SPACE : OTHER;
        if (kind != run_kind) {
            TRY(run_kind != SPACE ? splitter_emit(&splitter, run_start, start) : STATUS_OK);
            run_kind = kind;
            run_start = start;
        }
    }
    return run_kind != SPACE ? splitter_emit(&splitter, run_start, piece.length) : STATUS_OK;
}

static status split_fixed(size_t characters, const char *base, struct piece piece,
                          struct piece_list *out)
{
    struct splitter splitter = {.piece = piece, .out = out};
    const char *text = base + piece.start;
    size_t start = 0, count = 0;
    for (size_t at = 0; at < piece.length;) {
        unicode_next(text, &at);
        if (++count == characters) {
            TRY(splitter_emit(&splitter, start, at));
            start = at;
            count = 0;
        }
    }
    return splitter_emit(&splitter, start, piece.length);
}

static status split_piece(const struct pre_tokenizer *pre_tokenizer, struct pattern_scan *scan,
                          const char *base, struct piece piece, struct piece_list *out)
{
    switch (pre_tokenizer->kind) {
    case PRE_TOKENIZER_SPLIT:
    case PRE_TOKENIZER_BYTE_LEVEL:
        return split_by_pattern(pre_tokenizer, scan, base, piece, out);
    case PRE_TOKENIZER_WHITESPACE:
        return split_words(base, piece, out);
    case PRE_TOKENIZER_FIXED_LENGTH:
        return split_fixed(pre_tokenizer->fixed_length, base, piece, out);
    default:
        return split_by_character(pre_tokenizer, base, piece, out);
    }
}

/* ---- Rewriting the text ---- */

enum rewriting { REWRITE_NOTHING, REWRITE_PREFIX_SPACE, REWRITE_METASPACE, REWRITE_BYTES };

static status rewrite_metaspace(const struct pre_tokenizer *pre_tokenizer, const char *text,
                                struct piece piece, struct buffer *out)
{
    size_t at = 0;
    int32_t first = text[0] == ' ' ? pre_tokenizer->character : unicode_next(text, &at);
    if (first != pre_tokenizer->character &&
        (pre_tokenizer->prepend == PREPEND_ALWAYS ||
         (pre_tokenizer->prepend == PREPEND_FIRST && piece.at_origin))) {
        TRY(unicode_append(out, pre_tokenizer->character));
    }
    size_t copied = 0;
    for (;;) {
        const char *space = memchr(text + copied, ' ', piece.length - copied);
        size_t end = space != NULL ? (size_t)(space - text) : piece.length;
        TRY(buffer_append(out, text + copied, end - copied));
        if (space == NULL) {
            return STATUS_OK;
        }
        TRY(unicode_append(out, pre_tokenizer->character));
        copied = end + 1;
    }
}

/* Writes the text of all pieces anew into `out` and moves the pieces there. */
static status rewrite(const struct pre_tokenizer *pre_tokenizer, enum rewriting what,
                      const struct byte_alphabet *alphabet, const char *base, struct buffer *out,
                      struct piece_list *pieces)
{
    buffer_clear(out);
    for (size_t i = 0; i < pieces->count; i++) {
        struct piece *piece = &pieces->items[i];
        if (piece->token != NO_TOKEN || piece->length == 0) {
            continue;
        }
        const char *text = base + piece->start;
        size_t start = out->length;
        switch (what) {
        case REWRITE_METASPACE:
            TRY(rewrite_metaspace(pre_tokenizer, text, *piece, out));
            break;
        case REWRITE_BYTES:
            TRY(byte_alphabet_append(alphabet, text, piece->length, out));
            break;
        default:
            TRY(what == REWRITE_PREFIX_SPACE && text[0] != ' ' ? buffer_append_byte(out, ' ')
                                                               : STATUS_OK);
            TRY(buffer_append(out, text, piece->length));
        }
        piece->start = start;
        piece->length = out->length - start;
    }
    return STATUS_OK;
}

struct pipeline {
    const struct byte_alphabet *alphabet;
    struct pre_tokenize_scratch *scratch;
    const char *base;
    struct piece_list *pieces;
    size_t turn; /* which of the scratch's texts is free */
};

static status pipeline_rewrite(struct pipeline *pipeline, const struct pre_tokenizer *pre_tokenizer,
                               enum rewriting what)
{
    struct buffer *out = &pipeline->scratch->texts[pipeline->turn];
    TRY(rewrite(pre_tokenizer, what, pipeline->alphabet, pipeline->base, out, pipeline->pieces));
    TRY(buffer_append(out, "", 0));
    pipeline->base = out->data;
    pipeline->turn ^= 1;
    return STATUS_OK;
}

static status pipeline_split(struct pipeline *pipeline, const struct pre_tokenizer *pre_tokenizer)
{
    struct piece_list *fresh = &pipeline->scratch->pieces;
    fresh->count = 0;
    for (size_t i = 0; i < pipeline->pieces->count; i++) {
        struct piece piece = pipeline->pieces->items[i];
        TRY(piece.token != NO_TOKEN ? piece_list_append(fresh, piece)
                                    : split_piece(pre_tokenizer, &pipeline->scratch->scan,
                                                  pipeline->base, piece, fresh));
    }
    struct piece_list old = *pipeline->pieces;
    *pipeline->pieces = *fresh;
    *fresh = old;
    return STATUS_OK;
}

status pre_tokenize(const struct pre_tokenizer *pre_tokenizers, size_t count,
                    const struct byte_alphabet *alphabet, bool keep_bytes,
                    struct pre_tokenize_scratch *scratch, const char **base,
                    struct piece_list *pieces)
{
    struct pipeline pipeline = {alphabet, scratch, *base, pieces, 0};
    for (size_t i = 0; i < count; i++) {
        const struct pre_tokenizer *step = &pre_tokenizers[i];
        bool splits = true;
        if (step->kind == PRE_TOKENIZER_METASPACE) {
            TRY(pipeline_rewrite(&pipeline, step, REWRITE_METASPACE));
            splits = step->split;
        } else if (step->kind == PRE_TOKENIZER_BYTE_LEVEL) {
            if (step->add_prefix_space) {
                TRY(pipeline_rewrite(&pipeline, step, REWRITE_PREFIX_SPACE));
            }
            splits = step->use_regex;
        }
        if (splits) {
            TRY(pipeline_split(&pipeline, step));
        }
        if (step->kind == PRE_TOKENIZER_BYTE_LEVEL && !(keep_bytes && i + 1 == count)) {
            TRY(pipeline_rewrite(&pipeline, step, REWRITE_BYTES));
        }
    }
    *base = pipeline.base;
    return STATUS_OK;
}

void pre_tokenize_scratch_destroy(struct pre_tokenize_scratch *scratch)
{
    for (size_t i = 0; i < COUNT_OF(scratch->texts); i++) {
        buffer_destroy(&scratch->texts[i]);
    }
    free(scratch->pieces.items);
    pattern_scan_destroy(&scratch->scan);
}
