/* SPDX-License-Identifier: Apache-2.0 */
/* Added tokens: found in the text before any model sees it. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

void added_vocabulary_begin(struct tokenizer *tokenizer)
{
    int32_t size = (int32_t)tokenizer->model_size, next = size;
    for (size_t i = 0; i < tokenizer->added.count; i++) {
        int32_t id = tokenizer->added.tokens[i].id;
        next = id >= size && id >= next ? id + 1 : next;
    }
    tokenizer->added.next_id = next;
}

/* What a token looks like once the text around it is normalized. */
static status normalize_content(struct tokenizer *tokenizer, struct added_token *token)
{
    token->normalized_content = token->content;
    token->normalized_length = token->length;
    if (!token->normalized || token->verbatim || tokenizer->normalizer_count == 0) {
        return STATUS_OK;
    }
    struct normalize_scratch scratch = {0};
    const char *text;
    size_t length;
    bool at_origin = true;
    status s =
        normalize_text(tokenizer->normalizers, tokenizer->normalizer_count, &tokenizer->alphabet,
                       &scratch, token->content, token->length, &text, &length, &at_origin);
    if (s == STATUS_OK) {
        token->normalized_content = arena_copy(&tokenizer->arena, text, length);
        token->normalized_length = length;
        if (token->normalized_content == NULL) {
            s = status_fail(STATUS_NO_MEMORY, "out of memory for an added token");
        }
    }
    normalize_scratch_destroy(&scratch);
    return s;
}

status added_vocabulary_add(struct tokenizer *tokenizer, struct added_token token)
{
    struct added_vocabulary *added = &tokenizer->added;
    if (token.length == 0) {
        return STATUS_OK;
    }
    token.content = arena_copy(&tokenizer->arena, token.content, token.length);
    if (token.content == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for an added token");
    }
    TRY(normalize_content(tokenizer, &token));
    int32_t known = token_table_find(&added->by_content, token.content, token.length);
    if (known != NO_TOKEN) { /* a token that comes again replaces its flags and keeps its id */
        token.id = added->tokens[known].id;
        added->tokens[known] = token;
        return STATUS_OK;
    }
    token.id = token_table_find(&tokenizer->vocabulary, token.content, token.length);
    if (token.id == NO_TOKEN) {
        token.id = added->next_id++;
        if (token.id > TOKEN_MAX_ID) {
            return status_fail(STATUS_LIMIT, "more than %d tokens", TOKEN_MAX_ID);
        }
    }
    void *tokens = added->tokens;
    status s = array_grow(&tokens, &added->capacity, added->count + 1, sizeof *added->tokens);
    added->tokens = tokens;
    if (s == STATUS_OK) {
        s = token_table_add(&added->by_content, token.content, token.length, (int64_t)added->count);
    }
    if (s == STATUS_OK) {
        added->tokens[added->count++] = token;
    }
    return s;
}

status added_vocabulary_finish(struct added_vocabulary *added)
{
    for (size_t i = 0; i < added->count; i++) {
        const struct added_token *token = &added->tokens[i];
        TRY(byte_trie_add(token->normalized ? &added->normalized : &added->raw,
                          token->normalized_content, token->normalized_length, (int32_t)i));
    }
    return STATUS_OK;
}

/* The longest token at `text`; its length, or 0. */
static size_t longest_token(const struct byte_trie *trie, const char *text, size_t length,
                            int32_t *index)
{
    uint32_t node = 0;
    size_t longest = 0;
    for (size_t i = 0; i < length; i++) {
        node = byte_trie_child(trie, node, (unsigned char)text[i]);
        if (node == 0) {
            break;
        }
        if (trie->values[node] != NO_TOKEN) {
            *index = trie->values[node];
            longest = i + 1;
        }
    }
    return longest;
}

static bool is_single_word(const char *text, size_t length, size_t start, size_t end)
{
    size_t before = start > 0 ? unicode_previous(text, start) : 0;
    return (start == 0 || !unicode_is_word(unicode_next(text, &before))) &&
           (end == length || !unicode_is_word(unicode_next(text, &end)));
}

status added_vocabulary_split(const struct added_vocabulary *added, const struct byte_trie *trie,
                              const char *base, struct piece piece, struct piece_list *out)
{
    const char *text = base + piece.start;
    size_t taken = 0; /* up to here the text is in pieces */
    for (size_t at = 0; trie->node_count > 0 && at < piece.length;) {
        int32_t index = NO_TOKEN;
        size_t longest = trie->roots[(unsigned char)text[at]] != 0
                             ? longest_token(trie, text + at, piece.length - at, &index)
                             : 0;
        if (longest == 0) {
            at++;
            continue;
        }
        const struct added_token *token = &added->tokens[index];
        size_t start = at, end = at + longest;
        at = end;
        if (token->single_word && !is_single_word(text, piece.length, start, end)) {
            continue;
        }
        while (token->strip_left && start > taken) {
            size_t before = unicode_previous(text, start), next = before;
            if (!unicode_is_space(unicode_next(text, &next))) {
                break;
            }
            start = before;
        }
        if (token->strip_left && start < taken) {
            start = taken;
        }
        while (token->strip_right && end < piece.length) {
            size_t next = end;
            if (!unicode_is_space(unicode_next(text, &next))) {
                break;
            }
            end = next;
        }
        if (start > taken) {
            TRY(piece_list_append(out, (struct piece){piece.start + taken, start - taken, NO_TOKEN,
                                                      piece.at_origin && taken == 0}));
        }
        /* A token inside of the space that the one before it took still counts, as in the
         * reference. */
        if (end > start) {
            TRY(piece_list_append(
                out, (struct piece){piece.start + start, end - start, token->id, false}));
        }
        taken = end;
    }
    if (taken < piece.length) {
        TRY(piece_list_append(out, (struct piece){piece.start + taken, piece.length - taken,
                                                  NO_TOKEN, piece.at_origin && taken == 0}));
    }
    return STATUS_OK;
}

void added_vocabulary_destroy(struct added_vocabulary *added)
{
    free(added->tokens);
    token_table_destroy(&added->by_content);
    byte_trie_destroy(&added->raw);
    byte_trie_destroy(&added->normalized);
}
