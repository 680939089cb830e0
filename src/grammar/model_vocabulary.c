/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of a model's tokenizer: what each token adds to a text. */
#include <stdlib.h>

#include "grammar/grammar.h"

static bool has_bytes(const struct tokenizer *tokenizer, int32_t token)
{
    return (size_t)token < tokenizer_vocabulary_size(tokenizer) &&
           !tokenizer_is_special(tokenizer, token);
}

static status gather_tokens(const struct tokenizer *tokenizer, size_t count, struct buffer *bytes,
                            size_t *lengths)
{
    for (size_t i = 0; i < count; i++) {
        const size_t before = bytes->length;
        if (has_bytes(tokenizer, (int32_t)i)) {
            TRY(tokenizer_token_bytes(tokenizer, (int32_t)i, bytes));
        }
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
