/* SPDX-License-Identifier: Apache-2.0 */
/* Merges of a vocabulary that has scores in place of a list: any two neighbours that together are a
 * token merge, those first whose token has the best score. A merge is added for each way to cut
 * each token, in time proportional to the vocabulary's text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* Tokens that begin and end others, to be walked from either end of a text. */
struct token_ends {
    struct byte_trie forward, backward;
    struct buffer reversed;
    struct token_list lefts; /* of the token being cut: by length, the token that it begins with */
};

static int compare_scores(const void *a, const void *b)
{
    const struct scored_token *left = a, *right = b;
    int order = (left->score < right->score) - (left->score > right->score);
    return order != 0 ? order : (left->id > right->id) - (left->id < right->id);
}

static status note_ends(struct token_ends *ends, const struct token_entry *token)
{
    TRY(byte_trie_add(&ends->forward, token->text, token->length, token->id));
    buffer_clear(&ends->reversed);
    for (size_t i = token->length; i-- > 0;) {
        TRY(buffer_append_byte(&ends->reversed, token->text[i]));
    }
    return byte_trie_add(&ends->backward, ends->reversed.data, token->length, token->id);
}

static status find_lefts(struct token_ends *ends, const struct token_entry *token)
{
    uint32_t node = 0;
    ends->lefts.count = 0;
    TRY(token_list_append(&ends->lefts, NO_TOKEN));
    for (size_t i = 0; i + 1 < token->length; i++) {
        node = byte_trie_child(&ends->forward, node, (unsigned char)token->text[i]);
        TRY(token_list_append(&ends->lefts, ends->forward.values[node]));
    }
    return STATUS_OK;
}

static status add_cuts(struct bpe_model *model, struct token_ends *ends,
                       const struct token_entry *token, uint32_t rank)
{
    TRY(find_lefts(ends, token));
    uint32_t node = 0;
    for (size_t cut = token->length; --cut > 0;) {
        node = byte_trie_child(&ends->backward, node, (unsigned char)token->text[cut]);
        int32_t left = ends->lefts.ids[cut], right = ends->backward.values[node];
        if (left != NO_TOKEN && right != NO_TOKEN) {
            TRY(bpe_add_merge(model, left, right, rank, token->id));
        }
    }
    return STATUS_OK;
}

/* Tokens of one score are of one rank: then the leftmost merges first. */
static status add_merges(struct bpe_model *model, const struct token_table *vocabulary,
                         const struct scored_token *tokens, size_t count, struct token_ends *ends)
{
    for (size_t i = 0; i < count; i++) {
        const struct token_entry *token = token_table_at(vocabulary, tokens[i].id);
        if (token == NULL || token->length == 0 || isnan(tokens[i].score)) {
            return status_fail(STATUS_INVALID, "token %d: no text, or no score", tokens[i].id);
        }
        TRY(note_ends(ends, token));
    }
    uint32_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        rank += i > 0 && tokens[i].score != tokens[i - 1].score;
        TRY(add_cuts(model, ends, token_table_at(vocabulary, tokens[i].id), rank));
    }
    return STATUS_OK;
}

status bpe_add_scored_merges(struct bpe_model *model, const struct token_table *vocabulary,
                             struct scored_token *tokens, size_t count)
{
    struct token_ends ends = {0};
    if (count > 0) {
        qsort(tokens, count, sizeof *tokens, compare_scores);
    }
    status s = add_merges(model, vocabulary, tokens, count, &ends);
    byte_trie_destroy(&ends.forward);
    byte_trie_destroy(&ends.backward);
    buffer_destroy(&ends.reversed);
    token_list_destroy(&ends.lefts);
    return s;
}
