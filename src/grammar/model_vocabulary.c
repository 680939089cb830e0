/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of a model's tokenizer: what each token adds to a text. */
#include <stdlib.h>

#include "grammar/grammar.h"

void grammar_special_bytes(int32_t token, char out[GRAMMAR_SPECIAL_BYTES])
{
    out[0] = (char)0xFF;
    out[1] = (char)(0x80 | (token >> 14 & 0x7F));
    out[2] = (char)(0x80 | (token >> 7 & 0x7F));
    out[3] = (char)(0x80 | (token & 0x7F));
}

static status gather_token(const struct tokenizer *tokenizer, int32_t token, struct buffer *bytes)
{
    char special[GRAMMAR_SPECIAL_BYTES];
    if ((size_t)token >= tokenizer_vocabulary_size(tokenizer)) {
        return STATUS_OK;
    }
    if (!tokenizer_is_special(tokenizer, token)) {
        return tokenizer_token_bytes(tokenizer, token, bytes);
    }
    grammar_special_bytes(token, special);
    return buffer_append(bytes, special, sizeof special);
}

static status gather_tokens(const struct tokenizer *tokenizer, size_t count, struct buffer *bytes,
                            size_t *lengths)
{
    for (size_t i = 0; i < count; i++) {
        const size_t before = bytes->length;
        TRY(gather_token(tokenizer, (int32_t)i, bytes));
        lengths[i] = bytes->length - before;
    }
    return STATUS_OK;
}

status grammar_vocabulary_of(const struct tokenizer *tokenizer, size_t count, const int32_t *ends,
                             size_t end_count, struct grammar_vocabulary **out)
{
    struct buffer bytes = {0};
    size_t *lengths = calloc(count + 1, sizeof *lengths);
    const char **starts = calloc(count + 1, sizeof *starts);
    status s = lengths != NULL && starts != NULL
                   ? gather_tokens(tokenizer, count, &bytes, lengths)
                   : status_fail(STATUS_NO_MEMORY, "out of memory for a vocabulary");
    if (s == STATUS_OK) {
        const char *at = bytes.data != NULL ? bytes.data : "";
        for (size_t i = 0; i < count; i++) {
            starts[i] = at;
            at += lengths[i];
        }
        s = grammar_vocabulary_create(starts, lengths, count, ends, end_count, out);
    }
    buffer_destroy(&bytes);
    free(lengths);
    free(starts);
    return s;
}
