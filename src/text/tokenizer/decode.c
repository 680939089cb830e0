/* SPDX-License-Identifier: Apache-2.0 */
/* Decoders: token strings to text, a list of strings to a list of strings at each step. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* Strings one behind the other. */
struct text_list {
    struct buffer bytes;
    size_t *ends;
    size_t count, capacity;
};

static size_t text_start(const struct text_list *list, size_t index)
{
    return index > 0 ? list->ends[index - 1] : 0;
}

/* The bytes appended since the last text become one. */
static status text_list_close(struct text_list *list)
{
    void *ends = list->ends;
    status s = array_grow(&ends, &list->capacity, list->count + 1, sizeof *list->ends);
    list->ends = ends;
    if (s == STATUS_OK) {
        list->ends[list->count++] = list->bytes.length;
    }
    return s;
}

static status text_list_append(struct text_list *list, const char *text, size_t length)
{
    TRY(buffer_append(&list->bytes, text, length));
    return text_list_close(list);
}

static void text_list_destroy(struct text_list *list)
{
    buffer_destroy(&list->bytes);
    free(list->ends);
}

/* ---- Bytes to text ---- */

/* How many bytes at `bytes` are one character, or the longest beginning of one that is not
 * complete or not valid; *valid tells which. *cut: the end of the bytes cuts it. */
static size_t sequence_length(const unsigned char *bytes, size_t length, bool *valid, bool *cut)
{
    unsigned first = bytes[0];
    *valid = first < 0x80;
    *cut = false;
    if (first < 0xC2 || first > 0xF4) {
        return 1;
    }
    size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    for (size_t i = 1; i < wanted; i++) {
        if (i == length) {
            *cut = true;
            return i;
        }
        unsigned low = 0x80, high = 0xBF; /* table 3-7 of the Unicode standard */
        if (i == 1) {
            low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : low;
            high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : high;
        }
        if (bytes[i] < low || bytes[i] > high) {
            return i;
        }
    }
    *valid = true;
    return wanted;
}

size_t decode_incomplete_tail(const char *bytes, size_t length)
{
    for (size_t back = 1; back <= 3 && back <= length; back++) {
        const unsigned char *from = (const unsigned char *)bytes + length - back;
        if ((*from & 0xC0) != 0x80) {
            bool valid, cut;
            size_t taken = sequence_length(from, back, &valid, &cut);
            return cut && taken == back ? back : 0;
        }
    }
    return 0;
}

static status append_lossy(const char *bytes, size_t length, struct buffer *out)
{
    for (size_t at = 0; at < length;) {
        size_t start = at;
        bool valid = true, cut;
        size_t size = 0;
        while (at < length) {
            size = sequence_length((const unsigned char *)bytes + at, length - at, &valid, &cut);
            if (!valid) {
                break;
            }
            at += size;
        }
        TRY(buffer_append(out, bytes + start, at - start));
        if (!valid) {
            TRY(buffer_append_text(out, "\xEF\xBF\xBD"));
            at += size;
        }
    }
    return STATUS_OK;
}

/* ---- Decoders ---- */

/* A token all of whose characters stand for bytes gives those, another one itself. */
static status append_token_bytes(const struct byte_alphabet *alphabet, const char *text,
                                 size_t length, struct buffer *out)
{
    size_t before = out->length;
    for (size_t at = 0; at < length;) {
        int32_t c = unicode_next(text, &at);
        int byte = c < (int32_t)COUNT_OF(alphabet->byte) ? alphabet->byte[c] : -1;
        if (byte < 0) {
            out->length = before;
            return buffer_append(out, text, length);
        }
        TRY(buffer_append_byte(out, (char)byte));
    }
    return STATUS_OK;
}

static status decode_byte_level(const struct tokenizer *tokenizer, const struct text_list *in,
                                bool incomplete_tail, struct text_list *out)
{
    struct buffer bytes = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < in->count && s == STATUS_OK; i++) {
        size_t start = text_start(in, i);
        s = append_token_bytes(&tokenizer->alphabet, in->bytes.data + start, in->ends[i] - start,
                               &bytes);
    }
    if (s == STATUS_OK && bytes.length > 0) {
        size_t tail = incomplete_tail ? 0 : decode_incomplete_tail(bytes.data, bytes.length);
        s = append_lossy(bytes.data, bytes.length - tail, &out->bytes);
    }
    buffer_destroy(&bytes);
    return s == STATUS_OK ? text_list_close(out) : s;
}

/* The byte that <0x0A> names, or -1. The reference reads the digits as Rust does, which takes a
 * sign too: <0x+A>. */
static int byte_of_token(const char *text, size_t length)
{
    if (length != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') {
        return -1;
    }
    int high = text[3] == '+' ? 0 : unicode_hexadecimal(text[3]),
        low = unicode_hexadecimal(text[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static status flush_bytes(struct buffer *bytes, struct text_list *out)
{
    if (bytes->length == 0) {
        return STATUS_OK;
    }
    if (utf8_valid(bytes->data, bytes->length, NULL)) {
        TRY(text_list_append(out, bytes->data, bytes->length));
    } else {
        for (size_t i = 0; i < bytes->length; i++) {
            TRY(text_list_append(out, "\xEF\xBF\xBD", 3));
        }
    }
    buffer_clear(bytes);
    return STATUS_OK;
}

static status decode_byte_fallback(const struct text_list *in, struct text_list *out)
{
    struct buffer bytes = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < in->count && s == STATUS_OK; i++) {
        const char *text = in->bytes.data + text_start(in, i);
        size_t length = in->ends[i] - text_start(in, i);
        int byte = byte_of_token(text, length);
        if (byte >= 0) {
            s = buffer_append_byte(&bytes, (char)byte);
            continue;
        }
        s = flush_bytes(&bytes, out);
        if (s == STATUS_OK) {
            s = text_list_append(out, text, length);
        }
    }
    if (s == STATUS_OK) {
        s = flush_bytes(&bytes, out);
    }
    buffer_destroy(&bytes);
    return s;
}

static status decode_strip(const struct decoder *decoder, const char *text, size_t length,
                           struct text_list *out)
{
    size_t start = 0, end = length;
    for (size_t i = 0; i < decoder->start && start < end; i++) {
        size_t next = start;
        if (unicode_next(text, &next) != decoder->character) {
            break;
        }
        start = next;
    }
    for (size_t i = 0; i < decoder->stop && end > start; i++) {
        size_t last = unicode_previous(text, end), at = last;
        if (unicode_next(text, &at) != decoder->character) {
            break;
        }
        end = last;
    }
    return text_list_append(out, text + start, end - start);
}

static status decode_metaspace(const struct decoder *decoder, const char *text, size_t length,
                               bool first, struct text_list *out)
{
    for (size_t at = 0; at < length;) {
        size_t start = at;
        if (unicode_next(text, &at) != decoder->character) {
            TRY(buffer_append(&out->bytes, text + start, at - start));
        } else if (!first || decoder->keep_first_space) {
            TRY(buffer_append_byte(&out->bytes, ' '));
        }
    }
    return text_list_close(out);
}

/* Replaces every `from` in place at the end of the buffer, from `start` on; `to` is not longer. */
static void replace_shorter(struct buffer *buffer, size_t start, const char *from, const char *to)
{
    size_t from_length = strlen(from), to_length = strlen(to), kept = start, at = start;
    while (at < buffer->length) {
        if (buffer->length - at >= from_length &&
            memcmp(buffer->data + at, from, from_length) == 0) {
            memcpy(buffer->data + kept, to, to_length);
            kept += to_length;
            at += from_length;
        } else {
            buffer->data[kept++] = buffer->data[at++];
        }
    }
    buffer->length = kept;
}

static status decode_wordpiece(const struct decoder *decoder, const char *text, size_t length,
                               bool first, struct text_list *out)
{
    static const char *const cleanups[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    size_t start = out->bytes.length;
    if (!first) {
        if (length >= decoder->content_length &&
            memcmp(text, decoder->content, decoder->content_length) == 0) {
            text += decoder->content_length;
            length -= decoder->content_length;
        } else {
            TRY(buffer_append_byte(&out->bytes, ' '));
        }
    }
    TRY(buffer_append(&out->bytes, text, length));
    for (size_t i = 0; decoder->cleanup && i < COUNT_OF(cleanups); i++) {
        replace_shorter(&out->bytes, start, cleanups[i][0], cleanups[i][1]);
    }
    return text_list_close(out);
}

static status decode_bpe(const struct decoder *decoder, const char *text, size_t length, bool last,
                         struct text_list *out)
{
    size_t copied = 0;
    while (decoder->content_length > 0) {
        const char *found =
            memmem(text + copied, length - copied, decoder->content, decoder->content_length);
        if (found == NULL) {
            break;
        }
        TRY(buffer_append(&out->bytes, text + copied, (size_t)(found - text) - copied));
        TRY(last ? STATUS_OK : buffer_append_byte(&out->bytes, ' '));
        copied = (size_t)(found - text) + decoder->content_length;
    }
    return text_list_append(out, text + copied, length - copied);
}

static status decode_text(const struct decoder *decoder, struct pattern_scan *scan,
                          const struct text_list *in, size_t index, struct text_list *out)
{
    const char *text = in->bytes.data + text_start(in, index);
    size_t length = in->ends[index] - text_start(in, index);
    switch (decoder->kind) {
    case DECODER_STRIP:
        return decode_strip(decoder, text, length, out);
    case DECODER_METASPACE:
        return decode_metaspace(decoder, text, length, index == 0, out);
    case DECODER_WORDPIECE:
        return decode_wordpiece(decoder, text, length, index == 0, out);
    case DECODER_BPE:
        return decode_bpe(decoder, text, length, index + 1 == in->count, out);
    default: /* REPLACE */
        TRY(text_pattern_replace(&decoder->pattern, scan, text, length, decoder->content,
                                 decoder->content_length, &out->bytes));
        return text_list_close(out);
    }
}

static status decode_step(const struct tokenizer *tokenizer, const struct decoder *decoder,
                          struct pattern_scan *scan, bool incomplete_tail,
                          const struct text_list *in, struct text_list *out)
{
    switch (decoder->kind) {
    case DECODER_BYTE_LEVEL:
        return decode_byte_level(tokenizer, in, incomplete_tail, out);
    case DECODER_BYTE_FALLBACK:
        return decode_byte_fallback(in, out);
    case DECODER_FUSE:
        return text_list_append(out, in->bytes.data, in->bytes.length);
    default:
        for (size_t i = 0; i < in->count; i++) {
            TRY(decode_text(decoder, scan, in, i, out));
        }
        return STATUS_OK;
    }
}

/* Runs the first `step_count` decoders over *list. */
static status decode_list(const struct tokenizer *tokenizer, size_t step_count,
                          bool incomplete_tail, struct text_list *list)
{
    struct text_list other = {0};
    struct pattern_scan scan = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < step_count && s == STATUS_OK; i++) {
        other.count = 0;
        buffer_clear(&other.bytes);
        s = buffer_append(&list->bytes, "", 0); /* data is not NULL */
        if (s == STATUS_OK) {
            s = decode_step(tokenizer, &tokenizer->decoders[i], &scan, incomplete_tail, list,
                            &other);
        }
        struct text_list swapped = *list;
        *list = other;
        other = swapped;
    }
    text_list_destroy(&other);
    pattern_scan_destroy(&scan);
    return s;
}

const struct token_entry *decode_entry(const struct tokenizer *tokenizer, int32_t id,
                                       bool skip_special)
{
    if (id < 0 || (size_t)id >= tokenizer->size || tokenizer->decoded[id].text == NULL ||
        (skip_special && tokenizer->special[id])) {
        return NULL;
    }
    return &tokenizer->decoded[id];
}

status decode_ids(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                  bool incomplete_tail, struct buffer *out)
{
    struct text_list list = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        const struct token_entry *entry = decode_entry(tokenizer, ids[i], false);
        if (entry == NULL) {
            continue;
        }
        if (!tokenizer->has_decoder && list.count > 0) {
            s = buffer_append_byte(&list.bytes, ' ');
        }
        if (s == STATUS_OK) {
            s = text_list_append(&list, entry->text, entry->length);
        }
    }
    if (s == STATUS_OK) {
        s = decode_list(tokenizer, tokenizer->decoder_count, incomplete_tail, &list);
    }
    if (s == STATUS_OK) {
        s = buffer_append(out, list.bytes.data, list.bytes.length);
    }
    text_list_destroy(&list);
    return s;
}

status decode_byte(const struct tokenizer *tokenizer, int32_t id, int *byte)
{
    struct text_list list = {0};
    const struct token_entry *entry = decode_entry(tokenizer, id, false);
    status s = entry != NULL ? text_list_append(&list, entry->text, entry->length) : STATUS_OK;
    if (s == STATUS_OK) {
        s = decode_list(tokenizer, tokenizer->stream.byte_fallback, true, &list);
    }
    *byte = s == STATUS_OK ? byte_of_token(list.bytes.data, list.bytes.length) : -1;
    text_list_destroy(&list);
    return s;
}

status decode_bytes(const struct tokenizer *tokenizer, int32_t id, struct buffer *out)
{
    const struct token_entry *entry = decode_entry(tokenizer, id, false);
    return entry != NULL ? append_token_bytes(&tokenizer->alphabet, entry->text, entry->length, out)
                         : STATUS_OK;
}

status tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                        bool skip_special, struct buffer *out)
{
    struct token_list kept = {0};
    status s = STATUS_OK;
    for (size_t i = 0; i < count && s == STATUS_OK; i++) {
        if (decode_entry(tokenizer, ids[i], skip_special) != NULL) {
            s = token_list_append(&kept, ids[i]);
        }
    }
    if (s == STATUS_OK) {
        s = decode_ids(tokenizer, kept.ids, kept.count, true, out);
    }
    token_list_destroy(&kept);
    return s;
}
