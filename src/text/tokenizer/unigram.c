/* SPDX-License-Identifier: Apache-2.0 */
/* Unigram: the segmentation with the greatest sum of scores, found left to right (Viterbi). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

/* What an unknown character costs more than the worst piece. */
static const double UNKNOWN_PENALTY = 10.0;

struct unigram_node {
    double score;  /* of the best way to here */
    uint32_t from; /* where its last piece begins */
    int32_t id;    /* of that piece; NO_TOKEN: no way leads here yet */
};

static double add_scores(const struct unigram_model *model, double left, double right)
{
    double sum = left + right;
    return model->single_precision ? (double)(float)sum : sum;
}

status unigram_finish(struct unigram_model *model, const struct token_table *vocabulary,
                      const bool *plain)
{
    double least = INFINITY;
    for (size_t i = 0; i < vocabulary->id_count; i++) {
        bool counts = plain == NULL || plain[i];
        least = counts && model->scores[i] < least ? model->scores[i] : least;
    }
    model->unknown_score = add_scores(model, isfinite(least) ? least : 0, -UNKNOWN_PENALTY);
    for (size_t i = 0; i < vocabulary->count; i++) {
        const struct token_entry *entry = &vocabulary->entries[i];
        if (plain != NULL && !plain[entry->id]) {
            continue;
        }
        TRY(byte_trie_add(&model->trie, entry->text, entry->length, entry->id));
    }
    return STATUS_OK;
}

static void offer(struct unigram_node *node, double score, size_t from, int32_t id)
{
    if (node->id == NO_TOKEN || score > node->score) {
        *node = (struct unigram_node){score, (uint32_t)from, id};
    }
}

/* The id of a piece's text; unknown characters that follow each other are one piece. */
static status append_piece(const struct unigram_model *model, const struct token_table *vocabulary,
                           const char *text, size_t length, struct token_list *out)
{
    int32_t id = token_table_find(vocabulary, text, length);
    if (id != NO_TOKEN) {
        return token_list_append(out, id);
    }
    bool all = model->byte_fallback;
    for (size_t i = 0; i < length && all; i++) {
        all = token_table_find_byte(vocabulary, (unsigned char)text[i]) != NO_TOKEN;
    }
    if (!all) {
        return token_list_append(out, model->unknown);
    }
    for (size_t i = 0; i < length; i++) {
        TRY(token_list_append(out, token_table_find_byte(vocabulary, (unsigned char)text[i])));
    }
    return STATUS_OK;
}

static status find_ways(const struct unigram_model *model, struct unigram_node *nodes,
                        const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        size_t next = at;
        unicode_next(text, &next);
        double score = nodes[at].score;
        bool single = false;
        uint32_t node = 0;
        for (size_t end = at; end < length;) {
            node = byte_trie_child(&model->trie, node, (unsigned char)text[end++]);
            if (node == 0) {
                break;
            }
            int32_t id = model->trie.values[node];
            if (id != NO_TOKEN) {
                offer(&nodes[end], add_scores(model, score, model->scores[id]), at, id);
                single = single || end == next;
            }
        }
        if (!single) {
            if (model->unknown == NO_TOKEN) {
                return status_fail(STATUS_INVALID, "the tokenizer has no unknown token, and the "
                                                   "text has a character that it does not know");
            }
            offer(&nodes[next], add_scores(model, score, model->unknown_score), at, model->unknown);
        }
        at = next;
    }
    return STATUS_OK;
}

status unigram_encode(const struct unigram_model *model, const struct token_table *vocabulary,
                      struct unigram_scratch *scratch, const char *text, size_t length,
                      struct token_list *out)
{
    void *memory = scratch->nodes;
    status s = array_grow(&memory, &scratch->node_capacity, length + 1, sizeof *scratch->nodes);
    scratch->nodes = memory;
    if (s != STATUS_OK) {
        return s;
    }
    struct unigram_node *nodes = scratch->nodes;
    for (size_t i = 0; i <= length; i++) {
        nodes[i] = (struct unigram_node){0, 0, NO_TOKEN};
    }
    TRY(find_ways(model, nodes, text, length));
    struct token_list *ends = &scratch->reversed;
    ends->count = 0;
    bool fusing = false;
    for (size_t end = length; end > 0; end = nodes[end].from) {
        bool unknown = nodes[end].id == model->unknown;
        if (!(unknown && fusing)) { /* else it belongs to the piece behind it */
            TRY(token_list_append(ends, (int32_t)end));
        }
        fusing = unknown;
    }
    size_t start = 0;
    for (size_t i = ends->count; i-- > 0;) {
        size_t end = (size_t)ends->ids[i];
        TRY(append_piece(model, vocabulary, text + start, end - start, out));
        start = end;
    }
    return STATUS_OK;
}

void unigram_destroy(struct unigram_model *model)
{
    free(model->scores);
    byte_trie_destroy(&model->trie);
}

void unigram_scratch_destroy(struct unigram_scratch *scratch)
{
    free(scratch->nodes);
    token_list_destroy(&scratch->reversed);
}
