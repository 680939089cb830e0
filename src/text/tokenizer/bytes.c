/* SPDX-License-Identifier: Apache-2.0 */
/* What a single token contributes to a text. */
#include <string.h>

#include "text/tokenizer/internal.h"

/* What the second of two equal tokens adds: decoders treat the first of a text in their own way
 * (they take its space away, say). */
static status append_second(const struct tokenizer *tokenizer, int32_t id, struct buffer *out)
{
    const int32_t twice[2] = {id, id};
    struct buffer one = {0}, two = {0};
    status s = decode_ids(tokenizer, twice, 1, true, &one);
    if (s == STATUS_OK) {
        s = decode_ids(tokenizer, twice, 2, true, &two);
    }
    if (s == STATUS_OK) {
        bool follows = two.length >= one.length &&
                       (one.length == 0 || memcmp(one.data, two.data, one.length) == 0);
        size_t start = follows ? one.length : 0;
        const struct buffer *whole = follows ? &two : &one;
        s = buffer_append(out, whole->data + start, whole->length - start);
    }
    buffer_destroy(&one);
    buffer_destroy(&two);
    return s;
}

status tokenizer_token_bytes(const struct tokenizer *tokenizer, int32_t id, struct buffer *out)
{
    if (decode_entry(tokenizer, id, false) == NULL) {
        return STATUS_OK;
    }
    if (tokenizer->stream.byte_level && tokenizer->decoders[0].kind == DECODER_BYTE_LEVEL) {
        return decode_bytes(tokenizer, id, out);
    }
    if (tokenizer->stream.byte_fallback != SIZE_MAX) {
        int byte;
        TRY(decode_byte(tokenizer, id, &byte));
        if (byte >= 0) {
            return buffer_append_byte(out, (char)byte);
        }
    }
    return append_second(tokenizer, id, out);
}
