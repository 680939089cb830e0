/* SPDX-License-Identifier: Apache-2.0 */
/* Normalizers: each takes a text and gives another. */
#include <string.h>

#include "text/tokenizer/internal.h"

static status normalize_prepend(const struct normalizer *normalizer, const char *text,
                                size_t length, struct buffer *out)
{
    if (length > 0) {
        TRY(buffer_append(out, normalizer->content, normalizer->content_length));
    }
    return buffer_append(out, text, length);
}

static status normalize_replace(const struct normalizer *normalizer, struct pattern_scan *scan,
                                const char *text, size_t length, struct buffer *out,
                                bool *at_origin)
{
    if (*at_origin && length > 0) {
        /* What replaces several characters counts as standing where the last of them stood. */
        bool found;
        pattern_scan_start(scan, &normalizer->pattern, text, length);
        TRY(pattern_scan_next(scan, &found));
        size_t first = 0;
        unicode_next(text, &first);
        if (found && scan->match_start == 0 && scan->match_end > 0 &&
            (scan->match_end > first || normalizer->content_length == 0)) {
            *at_origin = false;
        }
    }
    return text_pattern_replace(&normalizer->pattern, scan, text, length, normalizer->content,
                                normalizer->content_length, out);
}

static status normalize_strip(const struct normalizer *normalizer, const char *text, size_t length,
                              struct buffer *out, bool *at_origin)
{
    size_t start = 0, end = length;
    while (normalizer->strip_left && start < length) {
        size_t next = start;
        if (!unicode_is_space(unicode_next(text, &next))) {
            break;
        }
        start = next;
        *at_origin = false;
    }
    while (normalizer->strip_right && end > start) {
        size_t last = unicode_previous(text, end), at = last;
        if (!unicode_is_space(unicode_next(text, &at))) {
            break;
        }
        end = last;
    }
    return buffer_append(out, text + start, end - start);
}

/* Copies what is not in a set of ranges. */
static status drop_ranges(const uint32_t *ranges, size_t count, const char *text, size_t length,
                          struct buffer *out, bool *at_origin)
{
    for (size_t at = 0; at < length;) {
        size_t start = at;
        int32_t c = unicode_next(text, &at);
        if (!unicode_in_ranges(c, ranges, count)) {
            TRY(buffer_append(out, text + start, at - start));
        } else if (start == 0) {
            *at_origin = false;
        }
    }
    return STATUS_OK;
}

/* SentencePiece's "nmt" rules: control characters go, odd spaces become spaces. */
static status normalize_nmt(const char *text, size_t length, struct buffer *out, bool *at_origin)
{
    for (size_t at = 0; at < length;) {
        size_t start = at;
        int32_t c = unicode_next(text, &at);
        if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
            c == 0x9F) {
            *at_origin = *at_origin && start > 0;
            continue;
        }
        bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xFEFF || c == 0xFFFD;
        TRY(unicode_append(out, space ? ' ' : c));
    }
    return STATUS_OK;
}

static bool is_chinese(int32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
           (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
           (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

static status bert_clean(const char *text, size_t length, struct buffer *out, bool *at_origin)
{
    for (size_t at = 0; at < length;) {
        size_t start = at;
        int32_t c = unicode_next(text, &at);
        if (c != '\t' && c != '\n' && c != '\r' &&
            (c == 0 || unicode_in_ranges(c, unicode_bert_control, unicode_bert_control_count))) {
            *at_origin = *at_origin && start > 0;
            continue;
        }
        TRY(unicode_append(out, unicode_is_space(c) ? ' ' : c));
    }
    return STATUS_OK;
}

static status bert_isolate_chinese(const char *text, size_t length, struct buffer *out)
{
    for (size_t at = 0; at < length;) {
        size_t start = at;
        bool chinese = is_chinese(unicode_next(text, &at));
        TRY(chinese ? buffer_append_byte(out, ' ') : STATUS_OK);
        TRY(buffer_append(out, text + start, at - start));
        TRY(chinese ? buffer_append_byte(out, ' ') : STATUS_OK);
    }
    return STATUS_OK;
}

/* Steps of one normalizer, each from one buffer to the other. */
struct steps {
    struct normalize_scratch *scratch;
    const char *text;
    size_t length;
    struct buffer *out;
};

static struct buffer *begin_step(struct steps *steps)
{
    steps->out = steps->text == steps->scratch->a.data ? &steps->scratch->b : &steps->scratch->a;
    buffer_clear(steps->out);
    return steps->out;
}

/* Takes the result of a step, or passes its failure on. */
static status end_step(struct steps *steps, status s)
{
    if (s == STATUS_OK) {
        s = buffer_append(steps->out, "", 0); /* data is not NULL, for an empty text too */
        steps->text = steps->out->data;
        steps->length = steps->out->length;
    }
    return s;
}

static status normalize_bert(const struct normalizer *normalizer, struct steps *steps,
                             bool *at_origin)
{
    if (normalizer->clean_text) {
        struct buffer *out = begin_step(steps);
        TRY(end_step(steps, bert_clean(steps->text, steps->length, out, at_origin)));
    }
    if (normalizer->chinese_chars) {
        struct buffer *out = begin_step(steps);
        TRY(end_step(steps, bert_isolate_chinese(steps->text, steps->length, out)));
    }
    if (normalizer->strip_accents) {
        struct buffer *out = begin_step(steps);
        TRY(end_step(steps, unicode_normalize(&steps->scratch->unicode, steps->text, steps->length,
                                              false, false, out)));
        out = begin_step(steps);
        TRY(end_step(steps, drop_ranges(unicode_bert_accent, unicode_bert_accent_count, steps->text,
                                        steps->length, out, at_origin)));
    }
    if (normalizer->lowercase) {
        struct buffer *out = begin_step(steps);
        TRY(end_step(steps, text_lower_case(steps->text, steps->length, out)));
    }
    return STATUS_OK;
}

static status normalize_step(const struct normalizer *normalizer,
                             const struct byte_alphabet *alphabet, struct steps *steps,
                             bool *at_origin)
{
    const char *text = steps->text;
    size_t length = steps->length;
    if (normalizer->kind == NORMALIZER_BERT) {
        return normalize_bert(normalizer, steps, at_origin);
    }
    struct buffer *out = begin_step(steps);
    status s = STATUS_OK;
    switch (normalizer->kind) {
    case NORMALIZER_FORM:
        s = unicode_normalize(&steps->scratch->unicode, text, length, normalizer->compose,
                              normalizer->compatibility, out);
        break;
    case NORMALIZER_PREPEND:
        s = normalize_prepend(normalizer, text, length, out);
        break;
    case NORMALIZER_REPLACE:
        s = normalize_replace(normalizer, &steps->scratch->scan, text, length, out, at_origin);
        break;
    case NORMALIZER_STRIP:
        s = normalize_strip(normalizer, text, length, out, at_origin);
        break;
    case NORMALIZER_LOWERCASE:
        s = text_lower_case(text, length, out);
        break;
    case NORMALIZER_STRIP_ACCENTS:
        s = drop_ranges(unicode_combining_mark, unicode_combining_mark_count, text, length, out,
                        at_origin);
        break;
    case NORMALIZER_NMT:
        s = normalize_nmt(text, length, out, at_origin);
        break;
    case NORMALIZER_PRECOMPILED:
        s = precompiled_apply(normalizer, text, length, out);
        break;
    case NORMALIZER_SENTENCEPIECE:
        s = sentencepiece_normalize(normalizer, text, length, out, *at_origin);
        break;
    case NORMALIZER_BYTE_LEVEL:
        s = byte_alphabet_append(alphabet, text, length, out);
        break;
    case NORMALIZER_BERT:
        break;
    }
    return end_step(steps, s);
}

status normalize_text(const struct normalizer *normalizers, size_t count,
                      const struct byte_alphabet *alphabet, struct normalize_scratch *scratch,
                      const char *text, size_t length, const char **out, size_t *out_length,
                      bool *at_origin)
{
    struct steps steps = {.scratch = scratch, .text = text, .length = length};
    for (size_t i = 0; i < count; i++) {
        TRY(normalize_step(&normalizers[i], alphabet, &steps, at_origin));
    }
    *out = steps.text;
    *out_length = steps.length;
    return STATUS_OK;
}

void normalize_scratch_destroy(struct normalize_scratch *scratch)
{
    buffer_destroy(&scratch->a);
    buffer_destroy(&scratch->b);
    unicode_normalizer_destroy(&scratch->unicode);
    pattern_scan_destroy(&scratch->scan);
}

void normalizer_destroy(struct normalizer *normalizer)
{
    regex_destroy(normalizer->pattern.regex);
    byte_trie_destroy(&normalizer->kept);
}
