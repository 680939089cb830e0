/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: a tokenizer.json, a NUL, and a text to encode. Whatever loads must encode any text,
 * decode what it made, and give the same text piece by piece.
 *
 *     clang -fsanitize=fuzzer,address,undefined … tests/fuzz/tokenizer_fuzz.c libsluice.a …
 *     ./tokenizer_fuzz -max_len=8192 -timeout=20 CORPUS */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_decoding(const struct tokenizer *tokenizer, const struct token_list *ids)
{
    struct buffer whole = {0}, streamed = {0};
    struct token_stream stream = {0};
    status s = tokenizer_decode(tokenizer, ids->ids, ids->count, true, &whole);
    for (size_t i = 0; i < ids->count && s == STATUS_OK; i++) {
        s = token_stream_push(&stream, tokenizer, ids->ids[i], &streamed);
        if (s == STATUS_OK && streamed.length > 0 &&
            !utf8_valid(streamed.data, streamed.length, NULL)) {
            abort();
        }
    }
    if (s == STATUS_OK) {
        s = token_stream_finish(&stream, tokenizer, &streamed);
    }
    if (s == STATUS_OK &&
        (whole.length != streamed.length ||
         (whole.length > 0 && memcmp(whole.data, streamed.data, whole.length) != 0))) {
        abort();
    }
    token_stream_destroy(&stream);
    buffer_destroy(&whole);
    buffer_destroy(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    size_t json_length = end != NULL ? (size_t)(end - data) : size;
    const char *text = (const char *)data + json_length + (end != NULL);
    size_t length = size - json_length - (end != NULL);
    struct tokenizer *tokenizer;
    if (tokenizer_create((const char *)data, json_length, NULL, 0, &tokenizer) != STATUS_OK) {
        return 0;
    }
    struct tokenizer_scratch *scratch = tokenizer_scratch_create(tokenizer);
    struct token_list ids = {0};
    if (scratch != NULL &&
        tokenizer_encode(tokenizer, scratch, text, length, true, &ids) == STATUS_OK) {
        for (size_t i = 0; i < ids.count; i++) {
            if (ids.ids[i] < 0) {
                abort();
            }
        }
        check_decoding(tokenizer, &ids);
    }
    ids.count = 0;
    for (size_t i = 0; i < length && ids.ids != NULL && i < ids.capacity; i++) {
        ids.ids[ids.count++] = (unsigned char)text[i]; /* any ids, not those of a text */
    }
    check_decoding(tokenizer, &ids);
    token_list_destroy(&ids);
    tokenizer_scratch_destroy(scratch);
    tokenizer_destroy(tokenizer);
    return 0;
}
