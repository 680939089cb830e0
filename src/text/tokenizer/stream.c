/* SPDX-License-Identifier: Apache-2.0 */
/* Incremental decoding: a window of the last ids is decoded again as ids come, and what is new in
 * its text is handed out. */
#include <string.h>

#include "text/tokenizer/internal.h"

/* Whether the text of the window's last tokens from `first` on includes all of the character that
 * has begun at its end; appends nothing, looks at bytes only. */
static status covers_tail(const struct token_stream *stream, const struct tokenizer *tokenizer,
                          size_t first, bool *covers)
{
    struct buffer bytes = {0};
    status s = STATUS_OK;
    for (size_t i = first; i < stream->window.count && s == STATUS_OK; i++) {
        s = decode_bytes(tokenizer, stream->window.ids[i], &bytes);
    }
    /* A tail cannot begin with a continuation byte: fewer than 3 bytes of only those are its end.
     */
    size_t continuation = 0;
    while (continuation < bytes.length && continuation < 3 &&
           ((unsigned char)bytes.data[continuation] & 0xC0) == 0x80) {
        continuation++;
    }
    *covers = continuation < bytes.length || continuation == 3;
    buffer_destroy(&bytes);
    return s;
}

/* Keeps as few ids at the end of the window as will do for context. */
static status shrink_window(struct token_stream *stream, const struct tokenizer *tokenizer)
{
    struct token_list *window = &stream->window;
    struct buffer text = {0};
    status s = STATUS_OK;
    size_t first = window->count;
    while (first > 0 && s == STATUS_OK) {
        first--;
        bool covers = true;
        if (tokenizer->stream.byte_level && first > 0) {
            s = covers_tail(stream, tokenizer, first, &covers);
        }
        if (s == STATUS_OK && covers) {
            buffer_clear(&text);
            s = decode_ids(tokenizer, window->ids + first, window->count - first, false, &text);
            if (text.length > 0) {
                break;
            }
        }
    }
    if (s == STATUS_OK) {
        memmove(window->ids, window->ids + first, (window->count - first) * sizeof *window->ids);
        window->count -= first;
        stream->emitted_bytes = text.length;
    }
    buffer_destroy(&text);
    return s;
}

/* Decodes the window and hands out what is new. */
static status emit_window(struct token_stream *stream, const struct tokenizer *tokenizer,
                          bool incomplete_tail, struct buffer *out)
{
    struct buffer text = {0};
    status s =
        decode_ids(tokenizer, stream->window.ids, stream->window.count, incomplete_tail, &text);
    if (s == STATUS_OK && text.length > stream->emitted_bytes) {
        s = buffer_append(out, text.data + stream->emitted_bytes,
                          text.length - stream->emitted_bytes);
    }
    buffer_destroy(&text);
    return s;
}

status token_stream_push(struct token_stream *stream, const struct tokenizer *tokenizer, int32_t id,
                         struct buffer *out)
{
    if (decode_entry(tokenizer, id, !stream->keep_special) == NULL) {
        return STATUS_OK;
    }
    TRY(token_list_append(&stream->window, id));
    if (tokenizer->stream.whole) {
        return STATUS_OK;
    }
    if (tokenizer->stream.byte_fallback != SIZE_MAX) {
        int byte;
        TRY(decode_byte(tokenizer, id, &byte));
        if (byte >= 0) {
            return STATUS_OK;
        }
    }
    TRY(emit_window(stream, tokenizer, false, out));
    return shrink_window(stream, tokenizer);
}

status token_stream_finish(struct token_stream *stream, const struct tokenizer *tokenizer,
                           struct buffer *out)
{
    TRY(emit_window(stream, tokenizer, true, out));
    stream->window.count = 0;
    stream->emitted_bytes = 0;
    return STATUS_OK;
}

void token_stream_destroy(struct token_stream *stream)
{
    token_list_destroy(&stream->window);
    *stream = (struct token_stream){0};
}
