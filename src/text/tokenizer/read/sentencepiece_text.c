/* SPDX-License-Identifier: Apache-2.0 */
/* What a SentencePiece model's normalizer_spec does to a text: its character map, spaces that go,
 * the space before the text, the character that stands for a space. */
#include <string.h>

#include "text/tokenizer/internal.h"

static const char boundary[] = "\xE2\x96\x81"; /* ▁ */
enum { BOUNDARY_LENGTH = 3 };

/* Longer symbols are looked at this far, so that time stays in proportion to the text. */
enum { SYMBOL_LONGEST = 4096 };

struct span {
    const char *text;
    size_t length;
};

static size_t match_kept(const struct byte_trie *kept, const char *text, size_t length)
{
    uint32_t node = 0;
    size_t longest = 0;
    for (size_t i = 0; i < length && i < SYMBOL_LONGEST; i++) {
        node = byte_trie_child(kept, node, (unsigned char)text[i]);
        if (node == 0) {
            break;
        }
        longest = kept->values[node] != NO_TOKEN ? i + 1 : longest;
    }
    return longest;
}

/* What stands for the next characters of the text; the count of bytes that it stands for. */
static size_t next_span(const struct normalizer *normalizer, const char *text, size_t length,
                        struct span *out)
{
    size_t taken = match_kept(&normalizer->kept, text, length);
    *out = (struct span){text, taken};
    if (taken > 0) {
        return taken;
    }
    taken = precompiled_match(normalizer, text, length, true, &out->text, &out->length);
    if (taken > 0) {
        return taken;
    }
    unicode_next(text, &taken);
    *out = (struct span){text, taken};
    return taken;
}

static bool is_space(struct span span)
{
    return span.length == 1 && span.text[0] == ' ';
}

static status append_span(const struct normalizer *normalizer, struct span span, struct buffer *out)
{
    while (span.length > 0) {
        const char *space = normalizer->escape_spaces ? memchr(span.text, ' ', span.length) : NULL;
        size_t plain = space != NULL ? (size_t)(space - span.text) : span.length;
        TRY(buffer_append(out, span.text, plain));
        if (space != NULL) {
            TRY(buffer_append(out, boundary, BOUNDARY_LENGTH));
            plain++;
        }
        span.text += plain;
        span.length -= plain;
    }
    return STATUS_OK;
}

static void drop_spaces_at_end(const struct normalizer *normalizer, size_t start,
                               struct buffer *out)
{
    const char *space = normalizer->escape_spaces ? boundary : " ";
    size_t length = strlen(space);
    while (out->length - start >= length &&
           memcmp(out->data + out->length - length, space, length) == 0) {
        out->length -= length;
    }
}

static bool wants_prefix(const struct normalizer *normalizer, const char *text, size_t length,
                         bool at_origin)
{
    if (!normalizer->dummy_first) {
        return normalizer->dummy_prefix;
    }
    bool begins_with_space = text[0] == ' ' || (length >= BOUNDARY_LENGTH &&
                                                memcmp(text, boundary, BOUNDARY_LENGTH) == 0);
    return normalizer->dummy_prefix && at_origin && !begins_with_space;
}

status sentencepiece_normalize(const struct normalizer *normalizer, const char *text, size_t length,
                               struct buffer *out, bool at_origin)
{
    size_t at = 0, start = out->length;
    struct span span;
    while (normalizer->remove_spaces && at < length) {
        size_t taken = next_span(normalizer, text + at, length - at, &span);
        if (!is_space(span)) {
            break;
        }
        at += taken;
    }
    if (at == length) {
        return STATUS_OK;
    }
    if (wants_prefix(normalizer, text + at, length - at, at_origin)) {
        TRY(append_span(normalizer, (struct span){" ", 1}, out));
    }
    bool behind_space = normalizer->remove_spaces;
    while (at < length) {
        at += next_span(normalizer, text + at, length - at, &span);
        while (behind_space && span.length > 0 && span.text[0] == ' ') {
            span.text++;
            span.length--;
        }
        if (span.length > 0) {
            TRY(append_span(normalizer, span, out));
            behind_space = normalizer->remove_spaces && span.text[span.length - 1] == ' ';
        }
    }
    if (normalizer->remove_spaces) {
        drop_spaces_at_end(normalizer, start, out);
    }
    return STATUS_OK;
}
