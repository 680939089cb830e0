/* SPDX-License-Identifier: Apache-2.0 */
/* WordPiece: the longest piece of the vocabulary that a word begins with, then the longest that
 * continues it; a word that cannot be cut so is unknown as a whole. */
#include "text/tokenizer/internal.h"

status wordpiece_finish(struct wordpiece_model *model, const struct token_table *vocabulary,
                        const char *prefix, size_t prefix_length)
{
    for (size_t i = 0; i < vocabulary->count; i++) {
        const struct token_entry *entry = &vocabulary->entries[i];
        TRY(byte_trie_add(&model->trie, entry->text, entry->length, entry->id));
    }
    model->prefix_empty = prefix_length == 0;
    uint32_t node = 0;
    for (size_t i = 0; i < prefix_length; i++) {
        node = byte_trie_child(&model->trie, node, (unsigned char)prefix[i]);
        if (node == 0) {
            break;
        }
    }
    model->prefix_node = node;
    return STATUS_OK;
}

static status append_unknown(const struct wordpiece_model *model, size_t before,
                             struct token_list *out)
{
    out->count = before;
    return model->unknown != NO_TOKEN
               ? token_list_append(out, model->unknown)
               : status_fail(STATUS_INVALID, "the tokenizer's unknown token is not in its "
                                             "vocabulary, and the text has an unknown word");
}

status wordpiece_encode(const struct wordpiece_model *model, const char *text, size_t length,
                        struct token_list *out)
{
    size_t before = out->count, characters = 0;
    for (size_t at = 0; at < length; characters++) {
        unicode_next(text, &at);
    }
    if (characters > model->max_characters) {
        return append_unknown(model, before, out);
    }
    for (size_t start = 0; start < length;) {
        if (start > 0 && model->prefix_node == 0 && !model->prefix_empty) {
            return append_unknown(model, before, out);
        }
        uint32_t node = start > 0 ? model->prefix_node : 0;
        int32_t best = NO_TOKEN;
        size_t best_end = start;
        for (size_t end = start; end < length;) {
            node = byte_trie_child(&model->trie, node, (unsigned char)text[end++]);
            if (node == 0) {
                break;
            }
            if (model->trie.values[node] != NO_TOKEN) {
                best = model->trie.values[node];
                best_end = end;
            }
        }
        if (best == NO_TOKEN) {
            return append_unknown(model, before, out);
        }
        TRY(token_list_append(out, best));
        start = best_end;
    }
    return STATUS_OK;
}

void wordpiece_destroy(struct wordpiece_model *model)
{
    byte_trie_destroy(&model->trie);
}
