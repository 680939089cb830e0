/* SPDX-License-Identifier: Apache-2.0 */
/* Byte pair encoding: characters become symbols, and of all neighbours that may merge those of the
 * lowest rank do, the leftmost first, until none may. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer/internal.h"

struct bpe_merge {
    int32_t left, right; /* left NO_TOKEN: free */
    uint32_t rank;
    int32_t merged;
};

enum { NO_RANK = UINT32_MAX, FEW_SYMBOLS = 24, BOUNDARY = 0x2581 };

struct bpe_symbol {
    int32_t id;         /* NO_TOKEN: merged into its left neighbour */
    int32_t prev, next; /* -1: none */
    uint32_t rank;      /* of the merge with the next symbol, or NO_RANK */
    int32_t merged;     /* what that merge gives */
};

static size_t merge_slot(const struct bpe_model *model, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    key *= UINT64_C(0x9E3779B97F4A7C15);
    size_t mask = model->merge_slots - 1;
    for (size_t i = (key ^ key >> 32) & mask;; i = (i + 1) & mask) {
        const struct bpe_merge *merge = &model->merges[i];
        if (merge->left == NO_TOKEN || (merge->left == left && merge->right == right)) {
            return i;
        }
    }
}

static status grow_merges(struct bpe_model *model)
{
    if (model->merge_slots * 3 >= (model->merge_count + 1) * 5) {
        return STATUS_OK;
    }
    struct bpe_merge *old = model->merges;
    size_t old_slots = model->merge_slots, slots = old_slots == 0 ? 64 : 2 * old_slots;
    struct bpe_merge *merges = calloc(slots, sizeof *merges);
    if (merges == NULL) {
        return status_fail(STATUS_NO_MEMORY, "out of memory for merges");
    }
    for (size_t i = 0; i < slots; i++) {
        merges[i].left = NO_TOKEN;
    }
    model->merges = merges;
    model->merge_slots = slots;
    for (size_t i = 0; i < old_slots; i++) {
        if (old[i].left != NO_TOKEN) {
            merges[merge_slot(model, old[i].left, old[i].right)] = old[i];
        }
    }
    free(old);
    return STATUS_OK;
}

status bpe_add_merge(struct bpe_model *model, int32_t left, int32_t right, uint32_t rank,
                     int32_t merged)
{
    TRY(grow_merges(model));
    size_t slot = merge_slot(model, left, right);
    model->merge_count += model->merges[slot].left == NO_TOKEN;
    model->merges[slot] = (struct bpe_merge){left, right, rank, merged};
    return STATUS_OK;
}

status bpe_add_merge_of(struct bpe_model *model, const struct token_table *vocabulary,
                        const struct bpe_merge_parts *parts, uint32_t rank, struct buffer *joined)
{
    size_t prefix_length = strlen(model->prefix);
    if (parts->right_length < prefix_length) {
        return status_fail(STATUS_INVALID, "\"%.60s\" is shorter than the prefix", parts->right);
    }
    buffer_clear(joined);
    TRY(buffer_append(joined, parts->left, parts->left_length));
    TRY(buffer_append(joined, parts->right + prefix_length, parts->right_length - prefix_length));
    int32_t left = token_table_find(vocabulary, parts->left, parts->left_length);
    int32_t right = token_table_find(vocabulary, parts->right, parts->right_length);
    int32_t merged = token_table_find(vocabulary, joined->data, joined->length);
    if (left == NO_TOKEN || right == NO_TOKEN || merged == NO_TOKEN) {
        return status_fail(STATUS_INVALID, "\"%.60s\" is not in the vocabulary",
                           merged == NO_TOKEN ? joined->data : parts->left);
    }
    return bpe_add_merge(model, left, right, rank, merged);
}

/* Whether a symbol's text is not the text that it was made from: unknown and byte tokens. */
static bool stands_for_other_text(const struct bpe_model *model,
                                  const struct token_table *vocabulary, int32_t id)
{
    const struct token_entry *entry = token_table_at(vocabulary, id);
    return id == model->unknown ||
           (entry != NULL && entry->length == 6 && memcmp(entry->text, "<0x", 3) == 0);
}

/* Collects which characters stand before a ▁ inside of what merges make. */
static status find_cuts(struct bpe_model *model, const struct token_table *vocabulary)
{
    static const char boundary[] = "\xE2\x96\x81";
    model->may_cut = !model->ignore_merges && model->prefix[0] == '\0' &&
                     model->suffix[0] == '\0' &&
                     token_table_find(vocabulary, boundary, strlen(boundary)) != NO_TOKEN;
    for (size_t i = 0; i < model->merge_slots && model->may_cut; i++) {
        const struct bpe_merge *merge = &model->merges[i];
        if (merge->left == NO_TOKEN) {
            continue;
        }
        if (stands_for_other_text(model, vocabulary, merge->left) ||
            stands_for_other_text(model, vocabulary, merge->right)) {
            model->may_cut = false;
        }
        const struct token_entry *merged = token_table_at(vocabulary, merge->merged);
        int32_t before = BOUNDARY;
        for (size_t at = 0; merged != NULL && at < merged->length;) {
            int32_t c = unicode_next(merged->text, &at);
            if (c == BOUNDARY && before != BOUNDARY) {
                TRY(unicode_set_add(&model->no_cut_behind, (uint32_t)before, (uint32_t)before));
            }
            before = c;
        }
    }
    unicode_set_finish(&model->no_cut_behind);
    return STATUS_OK;
}

status bpe_finish(struct bpe_model *model, const struct token_table *vocabulary)
{
    for (int byte = 0; byte < 256; byte++) {
        model->byte_ids[byte] = token_table_find_byte(vocabulary, (unsigned char)byte);
    }
    return find_cuts(model, vocabulary);
}

void bpe_destroy(struct bpe_model *model)
{
    free(model->merges);
    unicode_set_destroy(&model->no_cut_behind);
}

size_t bpe_find_cut(const struct bpe_model *model, const char *text, size_t length, size_t start)
{
    size_t at = start;
    int32_t before = BOUNDARY;
    while (at < length) {
        size_t next = at;
        int32_t c = unicode_next(text, &next);
        if (c == BOUNDARY && before != BOUNDARY &&
            !unicode_set_has(&model->no_cut_behind, before)) {
            return at;
        }
        before = c;
        at = next;
    }
    return length;
}

/* ---- Symbols ---- */

struct word {
    const struct bpe_model *model;
    const struct token_table *vocabulary;
    struct bpe_scratch *scratch;
    size_t count;
    int32_t pending_unknown; /* waits for what follows, since unknown neighbours may fuse */
};

static status add_symbol(struct word *word, int32_t id)
{
    struct bpe_scratch *scratch = word->scratch;
    void *symbols = scratch->symbols;
    status s =
        array_grow(&symbols, &scratch->symbol_capacity, word->count + 1, sizeof *scratch->symbols);
    scratch->symbols = symbols;
    if (s == STATUS_OK) {
        scratch->symbols[word->count++].id = id;
    }
    return s;
}

static status flush_unknown(struct word *word)
{
    int32_t id = word->pending_unknown;
    word->pending_unknown = NO_TOKEN;
    return id != NO_TOKEN ? add_symbol(word, id) : STATUS_OK;
}

/* One character, with the prefix or suffix it has in the vocabulary. */
static status add_character(struct word *word, const char *text, size_t length)
{
    const struct bpe_model *model = word->model;
    int32_t id = token_table_find(word->vocabulary, text, length);
    if (id != NO_TOKEN) {
        TRY(flush_unknown(word));
        return add_symbol(word, id);
    }
    if (model->byte_fallback) {
        bool all = true;
        for (size_t i = 0; i < length; i++) {
            all = all && model->byte_ids[(unsigned char)text[i]] != NO_TOKEN;
        }
        if (all) { /* a pending unknown token stays pending, as in the reference */
            for (size_t i = 0; i < length; i++) {
                TRY(add_symbol(word, model->byte_ids[(unsigned char)text[i]]));
            }
            return STATUS_OK;
        }
    }
    if (!model->has_unknown) {
        return STATUS_OK;
    }
    if (model->unknown == NO_TOKEN) {
        return status_fail(STATUS_INVALID,
                           "the tokenizer's unknown token is not in its vocabulary, and the text "
                           "has a character that is not there either");
    }
    if (!model->fuse_unknown) {
        TRY(flush_unknown(word));
    }
    word->pending_unknown = model->unknown;
    return STATUS_OK;
}

static status add_characters(struct word *word, const char *text, size_t length)
{
    const struct bpe_model *model = word->model;
    bool affixes = model->prefix[0] != '\0' || model->suffix[0] != '\0';
    for (size_t at = 0; at < length;) {
        size_t start = at;
        unicode_next(text, &at);
        if (!affixes) {
            TRY(add_character(word, text + start, at - start));
            continue;
        }
        struct buffer *part = &word->scratch->part;
        buffer_clear(part);
        if (start > 0) {
            TRY(buffer_append_text(part, model->prefix));
        }
        TRY(buffer_append(part, text + start, at - start));
        if (at == length) {
            TRY(buffer_append_text(part, model->suffix));
        }
        TRY(add_character(word, part->data, part->length));
    }
    return flush_unknown(word);
}

/* ---- Merging ---- */

static void set_rank(const struct bpe_model *model, struct bpe_symbol *symbols, int32_t at)
{
    struct bpe_symbol *symbol = &symbols[at];
    symbol->rank = NO_RANK;
    if (symbol->next >= 0 && model->merge_count > 0) {
        const struct bpe_merge *merge =
            &model->merges[merge_slot(model, symbol->id, symbols[symbol->next].id)];
        if (merge->left != NO_TOKEN) {
            symbol->rank = merge->rank;
            symbol->merged = merge->merged;
        }
    }
}

/* Merges a symbol with the next one and ranks the two new neighbourhoods. */
static void merge_at(const struct bpe_model *model, struct bpe_symbol *symbols, int32_t at)
{
    struct bpe_symbol *symbol = &symbols[at];
    struct bpe_symbol *right = &symbols[symbol->next];
    symbol->id = symbol->merged;
    symbol->next = right->next;
    right->id = NO_TOKEN;
    if (right->next >= 0) {
        symbols[right->next].prev = at;
    }
    set_rank(model, symbols, at);
    if (symbol->prev >= 0) {
        set_rank(model, symbols, symbol->prev);
    }
}

static void merge_few(const struct bpe_model *model, struct bpe_symbol *symbols)
{
    for (;;) {
        uint32_t best = NO_RANK;
        int32_t best_at = -1;
        for (int32_t at = 0; at >= 0; at = symbols[at].next) {
            if (symbols[at].rank < best) {
                best = symbols[at].rank;
                best_at = at;
            }
        }
        if (best_at < 0) {
            return;
        }
        merge_at(model, symbols, best_at);
    }
}

static void heap_push(uint64_t *heap, size_t *count, uint64_t item)
{
    size_t at = (*count)++;
    while (at > 0 && heap[(at - 1) / 2] > item) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = item;
}

static uint64_t heap_pop(uint64_t *heap, size_t *count)
{
    uint64_t top = heap[0], last = heap[--*count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= *count) {
            break;
        }
        child += child + 1 < *count && heap[child + 1] < heap[child];
        if (heap[child] >= last) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* The heap holds rank << 32 | position; what was overtaken by another merge is passed over. Every
 * merge takes one item and adds at most two, so that 3 a symbol are enough. */
static status merge_many(const struct word *word)
{
    struct bpe_scratch *scratch = word->scratch;
    struct bpe_symbol *symbols = scratch->symbols;
    void *heap_memory = scratch->heap;
    status s =
        array_grow(&heap_memory, &scratch->heap_capacity, 3 * word->count, sizeof *scratch->heap);
    scratch->heap = heap_memory;
    if (s != STATUS_OK) {
        return s;
    }
    uint64_t *heap = scratch->heap;
    size_t count = 0;
    for (size_t at = 0; at < word->count; at++) {
        if (symbols[at].rank != NO_RANK) {
            heap_push(heap, &count, (uint64_t)symbols[at].rank << 32 | at);
        }
    }
    while (count > 0) {
        uint64_t top = heap_pop(heap, &count);
        int32_t at = (int32_t)(top & UINT32_MAX);
        if (symbols[at].id == NO_TOKEN || symbols[at].rank != top >> 32) {
            continue;
        }
        merge_at(word->model, symbols, at);
        if (symbols[at].rank != NO_RANK) {
            heap_push(heap, &count, (uint64_t)symbols[at].rank << 32 | (uint32_t)at);
        }
        int32_t prev = symbols[at].prev;
        if (prev >= 0 && symbols[prev].rank != NO_RANK) {
            heap_push(heap, &count, (uint64_t)symbols[prev].rank << 32 | (uint32_t)prev);
        }
    }
    return STATUS_OK;
}

status bpe_encode(const struct bpe_model *model, const struct token_table *vocabulary,
                  struct bpe_scratch *scratch, const char *text, size_t length,
                  struct token_list *out)
{
    if (model->ignore_merges) {
        int32_t id = token_table_find(vocabulary, text, length);
        if (id != NO_TOKEN) {
            return token_list_append(out, id);
        }
    }
    struct word word = {model, vocabulary, scratch, 0, NO_TOKEN};
    TRY(add_characters(&word, text, length));
    struct bpe_symbol *symbols = scratch->symbols;
    for (size_t i = 0; i < word.count; i++) {
        symbols[i].prev = (int32_t)i - 1;
        symbols[i].next = i + 1 < word.count ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < word.count; i++) {
        set_rank(model, symbols, (int32_t)i);
    }
    if (word.count > FEW_SYMBOLS) {
        TRY(merge_many(&word));
    } else if (word.count > 0) {
        merge_few(model, symbols);
    }
    for (int32_t at = word.count > 0 ? 0 : -1; at >= 0; at = symbols[at].next) {
        TRY(token_list_append(out, symbols[at].id));
    }
    return STATUS_OK;
}

void bpe_scratch_destroy(struct bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    buffer_destroy(&scratch->part);
}
